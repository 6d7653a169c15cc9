//! How elections open, gather ranks, close and are announced.

use super::*;

#[test]
fn a_start_is_stamped_and_handed_to_the_successor() {
    let mut relay = Ring::of("abc").0;
    let got = relay.handle(Input::Message { from: id("a"), message: election("a7", None).into() });
    let frame: Arc<str> =
        r#"{"method":"election","data":{"ranks":[{"rank":7,"clientId":"a"}],"term":1},"senderId":"a"}"#.into();
    let hop = Timer::Hop(Token::Election(term(1)));
    let expected = [
        Effect::Save(Saved { terms: term(100), lease_out: false }),
        Effect::Report(Report::Opened { term: term(1), initiator: id("a") }),
        Effect::Report(Report::Changed),
        Effect::SetTimer { timer: hop, after: exactly(Duration::from_secs(1)) },
        Effect::Send { to: id("b"), message: frame.clone() },
        Effect::Report(Report::Relayed { from: Some(id("a")), to: id("b"), frame }),
    ];
    assert_eq!(got, expected);
}

#[test]
fn an_election_goes_round_and_its_announcement_too() {
    let mut ring = Ring::of("abc");
    ring.election("a", "a7");
    assert_eq!(ring.election("b", "a7 b9"), ["set hop of election of term 1", "c < election [a7 b9] term 1 by a"]);
    let home = ["cancel hop of election of term 1", "a < election [a7 b9 c3] term 1 by a", "set announce 1"];
    assert_eq!(ring.election("c", "a7 b9 c3"), home);
    let accepted =
        ["cancel announce 1", "elected b term 1", "set hop of announcement of term 1", "b < newLeader b term 1 by a"];
    assert_eq!(ring.announces("a", "b"), accepted);
    assert_eq!(
        ring.passes_announcement_on("b", "b", 1),
        ["set hop of announcement of term 1", "c < newLeader b term 1 by a"]
    );
    assert_eq!(
        ring.passes_announcement_on("c", "b", 1),
        ["cancel hop of announcement of term 1", "a < newLeader b term 1 by a"],
        "it ends at its announcer"
    );
}

#[test]
fn alone_the_frame_is_home_at_once() {
    let mut ring = Ring::of("a");
    let home = [
        "save 100",
        "opened 1 by a",
        "cancel hop of election of term 1",
        "a < election [a7] term 1 by a",
        "set announce 1",
    ];
    assert_eq!(ring.election("a", "a7"), home);
    assert_eq!(ring.announces("a", "a").last().unwrap(), "a < newLeader a term 1 by a");
}

#[test]
fn a_start_while_one_is_open_is_absorbed() {
    let mut ring = Ring::of("abc");
    ring.election("a", "a7");
    assert_eq!(ring.election("c", "c9"), ["absorbed election of c: an election is open"]);
    assert_eq!(ring.election("b", "b9"), ["absorbed election of b: an election is open"], "though it holds the frame");
}

#[test]
fn a_start_that_does_not_know_the_leader_is_told() {
    let mut ring = Ring::of("abc");
    ring.elect("a7 b9 c3", "b");
    assert_eq!(ring.says("c", &election("c3", Some(0))), ["c < newLeader b term 1 by a"]);
    assert_eq!(ring.says("c", &election("c3", Some(1)))[0], "opened 2 by c", "it suspects this very leader");
}

#[test]
fn a_classic_start_carries_no_term_and_always_opens() {
    let mut ring = Ring::of("abC");
    ring.elect("a7 b9 c3", "b");
    assert_eq!(ring.election("c", "c3")[0], "opened 2 by c");
}

#[test]
fn nothing_of_what_a_holder_wrote_reaches_the_next_but_its_rank() {
    let mut ring = Ring::of("abc");
    ring.election("a", "a7");
    let text = r#"{"method":"election","data":{"ranks":[{"rank":7,"clientId":"a"},  {"clientId":"b","rank":9.0,"x":[[[[]]]]}]}}"#;
    let effects = ring.0.handle(Input::Message { from: id("b"), message: text.into() });
    let sent = effects.iter().find_map(|effect| match effect {
        Effect::Send { message, .. } => Some(&**message),
        _ => None,
    });
    let expected = r#"{"method":"election","data":{"ranks":[{"rank":7,"clientId":"a"},{"rank":9,"clientId":"b"}],"term":1},"senderId":"a"}"#;
    assert_eq!(sent, Some(expected));
}

#[test]
fn arrays_that_were_tampered_with_are_refused_and_the_token_stays() {
    for ranks in ["b9", "b9 a7", "a8 b9", "a7 b9 c5", "a7 c5", "a7 b9 b9"] {
        let mut ring = Ring::of("abc");
        ring.election("a", "a7");
        let got = ring.election("b", ranks);
        if ranks == "b9" {
            assert_eq!(got, ["absorbed election of b: an election is open"]);
        } else {
            assert_eq!(got, ["b < error BadRanks", "refused b: BadRanks"], "{ranks}");
        }
        assert_eq!(ring.election("b", "a7 b9").len(), 2, "it can still be passed on properly");
    }
}

#[test]
fn arrays_that_were_written_anew_are_read_in_full() {
    let mut ring = Ring::of("abc");
    ring.election("a", "a7");
    ring.election("b", "a7 b9");
    let text = r#"{"data":{"ranks":[{"clientId":"a","rank":7.0}, {"clientId":"c","rank":3}, {"clientId":"b","rank":9}]},"method":"election"}"#;
    assert_eq!(ring.says("c", text)[1], "a < election [a7 b9 c3] term 1 by a");
    assert_eq!(ring.announces("a", "b")[1], "elected b term 1");
}

#[test]
fn an_array_is_read_the_same_appended_to_or_written_anew() {
    // What follows the given `[{"rank":7,"clientId":"a"}` in the frame of b, its holder.
    let table = [
        (r#",{"rank":9,"clientId":"b"}],"term":1}}"#, "c < election [a7 b9] term 1 by a"),
        (r#", {"clientId":"b","rank":9}]}}"#, "c < election [a7 b9] term 1 by a"),
        (r#"],"term":1}}"#, "c < election [a7] term 1 by a"),
        (r#",{"rank":9,"clientId":"b"}],"term":2}}"#, "absorbed election of b: of another term"),
        (r#",{"rank":9,"clientId":"c"}],"term":1}}"#, "b < error BadRanks"),
        (r#",{"rank":9,"clientId":"b"},{"rank":8,"clientId":"b"}],"term":1}}"#, "b < error BadRanks"),
        (r#",7],"term":1}}"#, "b < error BadRanks"),
        (r#",],"term":1}}"#, "b < error BadFrame"),
        (r#",{"rank":9,"clientId":"b"}],"ranks":[]}}"#, "b < error BadFrame"),
        (r#",{"rank":9,"clientId":"b"}"#, "b < error BadFrame"),
    ];
    for (rest, expected) in table {
        for space in ["", " "] {
            let mut ring = Ring::of("abc");
            ring.election("a", "a7");
            let text = format!(r#"{{"method":"election","data":{{"ranks":[{space}{{"rank":7,"clientId":"a"}}{rest}"#);
            let got = ring.says("b", &text);
            assert!(got.contains(&expected.into()), "{text}: {got:?}");
        }
    }
}

#[test]
fn whoever_adds_nothing_does_not_stand() {
    let mut ring = Ring::of("ab");
    ring.election("a", "a7");
    assert_eq!(ring.election("b", "a7")[1], "a < election [a7] term 1 by a");
    assert_eq!(ring.announces("a", "b")[0], "a < error AnnouncementRefused");
}

#[test]
fn announcements_are_checked() {
    // who, announces whom, accepted
    let table = [("a", "b", true), ("a", "c", true), ("a", "a", false), ("b", "b", false), ("a", "z", false)];
    for (who, leader, accepted) in table {
        let mut ring = Ring::of("abc");
        ring.election("a", "a7");
        ring.election("b", "a7 b9");
        assert_eq!(ring.announces("a", "b")[0], "a < error AnnouncementRefused", "not home yet");
        assert_eq!(ring.0.election, None, "and closed by that");

        let mut ring = Ring::of("abc");
        ring.election("a", "a7");
        ring.election("b", "a7 b9");
        ring.election("c", "a7 b9 c9");
        let got = ring.announces(who, leader);
        assert_eq!(got.contains(&format!("elected {leader} term 1")), accepted, "{who} announces {leader}: {got:?}");
        if !accepted {
            assert_eq!(
                got[..2],
                [format!("{who} < error AnnouncementRefused"), format!("refused {who}: AnnouncementRefused")]
            );
            assert_eq!(ring.0.election.is_none(), who == "a", "only the initiator closes its election");
        }
    }
}

#[test]
fn one_announcement_a_term_gets_through() {
    let mut ring = Ring::of("abc");
    ring.elect("a9 b9 c9", "b");
    assert_eq!(ring.announces("a", "c"), ["a < error AnnouncementRefused", "refused a: AnnouncementRefused"]);
    assert_eq!(ring.passes_announcement_on("c", "b", 1), ["absorbed newLeader of c: it is announced already"]);
}

#[test]
fn a_leader_that_has_left_is_not_announced() {
    let mut ring = Ring::of("abc");
    ring.election("a", "a7");
    ring.election("b", "a7 b9");
    ring.election("c", "a7 b9 c3");
    ring.leaves("b");
    let got = ring.announces("a", "b");
    assert_eq!(
        got,
        ["a < error AnnouncementRefused", "refused a: AnnouncementRefused", "cancel announce 1", "closed 1: Refused"]
    );
}

#[test]
fn elections_close_when_the_initiator_leaves_or_does_not_announce() {
    let mut ring = Ring::of("abc");
    ring.election("a", "a7");
    assert_eq!(ring.leaves("a"), ["left a", "cancel hop of election of term 1", "closed 1: Left"]);
    assert_eq!(ring.election("b", "a7 b9"), ["absorbed election of b: its frame is elsewhere"]);
    ring.election("b", "b9");
    ring.election("c", "b9 c3");
    assert_eq!(ring.handle(Input::Timeout(Timer::Announce(term(1)))), [] as [&str; 0], "an older one");
    assert_eq!(ring.handle(Input::Timeout(Timer::Announce(term(2)))), ["cancel announce 2", "closed 2: Stalled"]);
    assert_eq!(ring.election("c", "c3")[0], "opened 3 by c");
}

#[test]
fn accepting_withdraws_older_announcements() {
    let mut ring = Ring::of("ab");
    ring.election("a", "a9");
    ring.election("b", "a9 b3");
    ring.announces("a", "a");
    // b holds the announcement of term 1 when a starts again and is through first.
    ring.election("a", "a9");
    ring.election("b", "a9 b3");
    assert!(ring.announces("a", "a").contains(&"cancel hop of announcement of term 1".into()));
    assert_eq!(ring.passes_announcement_on("b", "a", 1), ["absorbed newLeader of b: it is announced already"]);
    assert_eq!(ring.passes_announcement_on("b", "a", 2)[1], "a < newLeader a term 2 by a");
}

#[test]
fn a_newcomer_takes_part_in_an_election_that_has_not_passed_the_end() {
    let mut ring = Ring::of("ab");
    ring.election("a", "a7");
    ring.join('c');
    assert_eq!(ring.election("b", "a7 b9")[1], "c < election [a7 b9] term 1 by a");
}
