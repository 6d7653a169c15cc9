//! Leases: who is granted one, how the hub counts it, and how it ends.

use super::*;

/// `b` leads `abc` in term 1 and holds a lease; so many eighths of it are over.
fn leased(eighths: u32) -> Ring {
    let mut ring = Ring::of("abc");
    ring.elect("a7 b9 c3", "b");
    ring.asks_for_lease("b", 1);
    for _ in 0..eighths {
        ring.eighth(1);
    }
    ring
}

/// How the announcement reads that makes `c` the leader now, of a new term.
fn announces_c(ring: &mut Ring) -> String {
    ring.election("a", "a1");
    ring.election("b", "a1");
    ring.election("c", "a1 c3");
    let got = ring.announces("a", "c");
    got.into_iter().find(|line| line.starts_with("b < newLeader")).unwrap()
}

#[test]
fn the_leader_is_granted_a_lease_and_that_is_saved_first() {
    let mut ring = leased(0);
    ring.leaves("b");
    ring.join('b');
    ring.elect("a7 c3 b9", "b");
    let granted = ["set lease 2", "b < lease term 2 for 4000 ms"];
    assert_eq!(ring.asks_for_lease("b", 2), [&["save 100, a lease is out"][..], &granted].concat());
    assert_eq!(ring.asks_for_lease("b", 2), granted, "it is known that one is out");
}

#[test]
fn a_lease_is_refused_to_others_and_for_other_terms() {
    let refused = |who: &str| vec![format!("{who} < error NotLeader"), format!("refused {who}: NotLeader")];
    // who asks, for which term, refused
    for (who, term, is_refused) in [("a", 1, true), ("c", 1, true), ("b", 2, true), ("b", 0, false)] {
        let mut ring = Ring::of("abc");
        ring.elect("a7 b9 c3", "b");
        let before = ring.0.clone();
        let absorbed = ["absorbed lease of b: of a term before; its announcement is on the way".into()].to_vec();
        let expected = if is_refused { refused(who) } else { absorbed };
        assert_eq!(ring.asks_for_lease(who, term), expected, "{who} for {term}");
        assert_eq!(ring.0, before);
    }

    assert_eq!(Ring::of("ab").asks_for_lease("b", 0), refused("b"), "nobody leads");
    let mut ring = leased(0);
    ring.resigns("b", "b", 1);
    assert_eq!(ring.asks_for_lease("b", 1), refused("b"), "it did, and resigned");
    let mut ring = leased(0);
    announces_c(&mut ring);
    assert_eq!(ring.asks_for_lease("b", 1), refused("b"), "it did, and was deposed");
    let mut ring = Ring::with("ab", Config { lease: None, ..Config::default() });
    ring.elect("a7 b9", "b");
    assert_eq!(ring.asks_for_lease("b", 1), refused("b"), "this hub grants none");
    let mut ring = leased(0);
    ring.0.handle(Input::Event(Event::Connected { id: id("s"), may_join: true }));
    assert_eq!(ring.asks_for_lease("s", 1), ["s < error NotAMember", "refused s: NotAMember"]);
}

/// That is how a client tells this refusal from another.
#[test]
fn a_refusal_names_what_it_is_about() {
    let mut relay = Ring::of("ab").0;
    let ask = r#"{"method":"lease","data":{"term":3}}"#;
    let got = relay.handle(Input::Message { from: id("a"), message: ask.into() });
    let [Effect::Send { message, .. }, _] = &got[..] else { panic!("{got:?}") };
    let expected = r#"{"method":"error","data":{"code":"not-leader","message":"lease: you do not lead term 3","about":"lease"},"senderId":null}"#;
    assert_eq!(&**message, expected);
}

#[test]
fn an_open_election_takes_no_lease_from_the_leader() {
    let mut ring = leased(0);
    assert_eq!(ring.election("a", "a7")[0], "opened 2 by a");
    assert_eq!(ring.asks_for_lease("b", 1), ["set lease 1", "b < lease term 1 for 4000 ms"]);
}

#[test]
fn a_lease_is_counted_down_by_eighths_and_forgotten() {
    let mut ring = leased(0);
    for _ in 1..8 {
        assert_eq!(ring.eighth(1), ["set lease 1"]);
    }
    assert_eq!(ring.eighth(1), ["save 100"]);
    assert_eq!(ring.0.leases, Leases::default());
    assert_eq!(ring.eighth(1), [] as [&str; 0], "a timer that fired as it was cancelled");
    assert_eq!(ring.0.snapshot().leader_id, Some(id("b")), "to lead is another thing");

    let mut ring = leased(7);
    ring.asks_for_lease("b", 1);
    assert_eq!(ring.eighth(1), ["set lease 1"], "a renewal runs for the whole length");
}

#[test]
fn a_new_leader_is_told_to_wait_for_what_is_left_rounded_up_to_an_eighth() {
    let table = [
        (0, ", act after 4000 ms"),
        (1, ", act after 3500 ms"),
        (7, ", act after 500 ms"),
        (8, ""), // nothing to wait for
    ];
    for (eighths, wait) in table {
        let mut ring = leased(eighths);
        let announcement = format!("b < newLeader c term 2 by a{wait}");
        assert_eq!(announces_c(&mut ring), announcement);
        ring.passes_announcement_on("b", "c", 2);
        ring.passes_announcement_on("c", "c", 2);
        assert_eq!(ring.checks("b", "b", 1), [announcement], "whoever missed it is told the same");
    }
}

#[test]
fn who_is_elected_again_waits_for_its_own_lease() {
    let mut ring = leased(2);
    ring.election("a", "a7");
    ring.election("b", "a7 b9");
    ring.election("c", "a7 b9");
    assert!(ring.announces("a", "b").contains(&"b < newLeader b term 2 by a, act after 3000 ms".into()));
}

#[test]
fn who_resigns_gives_its_lease_back() {
    let gives_back = ["cancel lease 1", "save 100", "leader left b"];
    let mut ring = leased(0);
    assert_eq!(ring.resigns("b", "b", 1)[..3], gives_back);
    assert_eq!(announces_c(&mut ring), "b < newLeader c term 2 by a");
}

#[test]
fn who_closes_its_connection_gives_its_lease_back_and_who_is_lost_does_not() {
    let gives_back = ["left b", "cancel lease 1", "save 100", "leader left b"];
    assert_eq!(leased(0).leaves("b")[..4], gives_back);

    let mut ring = leased(0);
    let keeps = ["left b", "leader left b", "a < leaderLeft b term 1", "c < leaderLeft b term 1"];
    assert_eq!(ring.loses("b"), keeps);
    ring.eighth(1);
    ring.election("a", "a1");
    ring.election("c", "a1 c3");
    assert!(ring.announces("a", "c").contains(&"c < newLeader c term 2 by a, act after 3500 ms".into()));
}

#[test]
fn who_gives_back_its_own_lease_leaves_an_older_leaders() {
    let mut ring = leased(0);
    announces_c(&mut ring);
    assert_eq!(ring.asks_for_lease("c", 2), ["set lease 2", "c < lease term 2 for 4000 ms"]);
    ring.eighth(1);
    assert_eq!(ring.resigns("c", "c", 2)[..2], ["cancel lease 2", "leader left c"], "one is out still");
    assert_eq!(announces_c(&mut ring), "b < newLeader c term 3 by a, act after 3500 ms");
    for _ in 2..8 {
        ring.eighth(1);
    }
    assert_eq!(ring.eighth(1), ["save 100"]);
}

#[test]
fn of_several_leases_the_last_to_end_is_waited_for() {
    let mut ring = leased(0);
    announces_c(&mut ring);
    ring.asks_for_lease("c", 2);
    ring.eighth(2);
    for _ in 0..5 {
        ring.eighth(1);
    }
    assert_eq!(announces_c(&mut ring), "b < newLeader c term 3 by a, act after 3500 ms");
    for _ in 1..8 {
        ring.eighth(2);
    }
    assert_eq!(announces_c(&mut ring), "b < newLeader c term 4 by a, act after 1500 ms");
}

#[test]
fn a_deposed_leader_that_resigns_late_gives_back_its_lease() {
    let refused = |who: &str| [format!("{who} < error NotLeader"), format!("refused {who}: NotLeader")];
    let mut ring = leased(0);
    announces_c(&mut ring);
    // who, says that which leader of which term resigns
    for (who, leader, term) in [("a", "b", 1), ("c", "b", 1), ("b", "b", 2), ("b", "c", 2), ("b", "c", 1)] {
        assert_eq!(ring.resigns(who, leader, term), refused(who), "{who}: {leader} in {term}");
        assert_eq!(ring.0.act_after(), Some(4000));
    }
    let gives_back = ["cancel lease 1", "save 100"].map(String::from);
    assert_eq!(ring.resigns("b", "b", 1), [gives_back, refused("b")].concat());
    assert_eq!(announces_c(&mut ring), "b < newLeader c term 3 by a");
}
