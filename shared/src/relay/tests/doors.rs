//! What the relay does with those who come: welcome, greeting, refusal.

use super::*;

#[test]
fn the_welcome_names_members_leader_and_the_leaders_own_term() {
    let mut ring = Ring::of("abc");
    ring.elect("a7 b9 c3", "b");
    ring.election("a", "a7"); // term 2 is open
    let effects = ring.0.handle(Input::Event(Event::Connected { id: id("d"), may_join: true }));
    let [Effect::Send { to, message }] = &effects[..] else { panic!("{effects:?}") };
    let frame: Frame = wire::decode(message).unwrap();
    assert_eq!((to, frame.client_id), (&id("d"), Some(id("d"))));
    let Body::Welcome(welcome) = frame.body else { panic!("{message}") };
    assert_eq!((welcome.leader_id, welcome.term), (Some(id("b")), Some(term(1))));
    let members: Vec<_> = welcome.members.unwrap().into_iter().map(|member| (member.client_id, member.rank)).collect();
    assert_eq!(members, ["a", "b", "c"].map(|name| (id(name), Some(Rank::from(1)))));
}

#[test]
fn whoever_has_not_greeted_only_watches() {
    let mut ring = Ring::of("ab");
    ring.0.handle(Input::Event(Event::Connected { id: id("s"), may_join: false }));
    for text in [election("s9", None), r#"{"method":"newLeader","data":{"leaderId":"s"}}"#.into()] {
        assert_eq!(ring.says("s", &text), ["s < error NotAMember", "refused s: NotAMember"]);
    }
    assert_eq!(ring.says("s", r#"{"method":"greeting","data":"hi"}"#), ["s < error WatchOnly", "refused s: WatchOnly"]);
    assert_eq!(ring.leaves("s"), [] as [&str; 0]);
    assert_eq!(ring.0.snapshot().members.len(), 2);
}

#[test]
fn a_full_ring_takes_no_more() {
    let mut ring = Ring::with("ab", Config { max_members: 2, ..Config::default() });
    assert_eq!(ring.join('c'), ["c < error RingFull", "refused c: RingFull"]);
    ring.leaves("a");
    ring.leaves("c");
    assert_eq!(ring.join('d'), ["d < response", "joined d"]);
}

#[test]
fn frames_that_do_not_go_cost_an_error_and_nothing_else() {
    let ring_before = {
        let mut ring = Ring::of("abc");
        ring.elect("a7 b9 c3", "b");
        ring
    };
    let table = [
        ("junk", "BadFrame"),
        (r#"{"method":"fly"}"#, "UnknownMethod"),
        (r#"{"method":"election","data":{"ranks":"x"}}"#, "BadRanks"),
        (r#"{"method":"election","data":{"ranks":[7]}}"#, "BadRanks"),
        (r#"{"method":"election","data":{"ranks":[]}}"#, "BadRanks"),
        (r#"{"method":"election","data":{"ranks":[{"rank":7,"clientId":"me"}]}}"#, "BadRanks"),
        (r#"{"method":"newLeader","data":{"leaderId":"a","term":9}}"#, "AnnouncementRefused"),
        (r#"{"method":"newLeader","data":{"leaderId":"a"},"senderId":"b"}"#, "AnnouncementRefused"),
        (r#"{"method":"greeting","data":"again"}"#, "AlreadyJoined"),
        (r#"{"method":"welcome","data":{}}"#, "HubOnly"),
        (r#"{"method":"ring","data":{"ring":"default","members":[],"leaderId":null,"term":0}}"#, "HubOnly"),
    ];
    for (text, code) in table {
        let mut ring = Ring(ring_before.0.clone());
        assert_eq!(ring.says("a", text), [format!("a < error {code}"), format!("refused a: {code}")], "{text}");
        assert_eq!(ring.0, ring_before.0, "{text} changes nothing");
    }
    let mut ring = Ring(ring_before.0.clone());
    let error = r#"{"method":"error","data":{"code":"no-such-code","message":"no","about":null}}"#;
    assert_eq!(ring.says("a", error), ["absorbed error of a: errors end where they arrive"]);
    assert_eq!(ring.says("nobody", "junk"), [] as [&str; 0], "a connection that is gone");
}
