//! What becomes of frames whose holder leaves or stalls, and of those for nobody.

use super::*;

#[test]
fn a_holder_that_leaves_is_passed_over() {
    let mut ring = Ring::of("abc");
    ring.election("a", "a7");
    let repaired = [
        "left b",
        "repaired election of term 1 of b: Left",
        "set hop of election of term 1",
        "c < election [a7] term 1 by a",
    ];
    assert_eq!(ring.leaves("b"), repaired);
}

#[test]
fn a_holder_that_stalls_is_passed_over_and_its_late_frame_absorbed() {
    let mut ring = Ring::of("abc");
    ring.election("a", "a7");
    let got = ring.stalls(Token::Election(term(1)));
    assert_eq!(got[0], "repaired election of term 1 of b: Stalled");
    assert_eq!(got[2], "c < election [a7] term 1 by a");
    assert_eq!(ring.election("b", "a7 b9"), ["absorbed election of b: its frame is elsewhere"]);
    ring.election("c", "a7 c3");
    assert_eq!(ring.announces("a", "b")[0], "a < error AnnouncementRefused", "b has not taken part");
}

#[test]
fn every_kind_of_token_is_handed_on_when_its_holder_leaves() {
    let mut ring = Ring::of("abcd");
    ring.elect("a7 b2 c3 d9", "d");
    ring.checks("a", "d", 1);
    ring.answers("d", "c", 1);
    ring.checks("a", "b", 1);
    // b holds a's check of d, a holds d's answer to c.
    assert_eq!(
        ring.leaves("b")[1..],
        [
            "repaired check by a in term 1 of b: Left",
            "set hop of check by a in term 1",
            "c < checkLeader d term 1 by a"
        ]
    );
    assert_eq!(
        ring.stalls(Token::Answer { answerer: id("d"), asker: id("c"), term: term(1) })[1..],
        ["cancel hop of answer to c in term 1", "c < answerLeader c term 1 by d"]
    );
}

#[test]
fn what_is_for_somebody_who_left_ends() {
    let mut ring = Ring::of("abcd");
    ring.elect("a7 b2 c9 d1", "c");
    ring.checks("a", "c", 1);
    ring.answers("c", "b", 1);
    let got = ring.leaves("c");
    assert_eq!(got[..2], ["left c", "leader left c"]);
    assert!(got.contains(&"cancel hop of check by a in term 1".into()), "{got:?}");
    assert!(ring.leaves("b").contains(&"cancel hop of answer to b in term 1".into()));
    assert_eq!(ring.0.tokens.names().count(), 0);
    assert_eq!(ring.answers("d", "b", 1), ["absorbed answerLeader of d: who had asked is no member"]);
}
