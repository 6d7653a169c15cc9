//! Checks of the leader, its answers, its end.

use super::*;

#[test]
fn a_check_goes_to_the_leader_and_its_answer_to_the_asker() {
    let mut ring = Ring::of("abcd");
    ring.elect("a7 b2 c9 d1", "c");
    assert_eq!(ring.checks("a", "c", 1), ["set hop of check by a in term 1", "b < checkLeader c term 1 by a"]);
    assert_eq!(ring.checks("a", "c", 1), ["absorbed checkLeader of a: the same is on its way"]);
    assert_eq!(ring.checks("b", "c", 1), ["cancel hop of check by a in term 1", "c < checkLeader c term 1 by a"]);
    assert_eq!(ring.answers("c", "a", 1), ["set hop of answer to a in term 1", "d < answerLeader a term 1 by c"]);
    assert_eq!(ring.answers("d", "a", 1), ["cancel hop of answer to a in term 1", "a < answerLeader a term 1 by c"]);
}

#[test]
fn of_several_checks_in_hand_the_one_is_passed_on_that_it_says() {
    let mut ring = Ring::of("abcd");
    ring.elect("a7 b9 c3 d9", "d");
    ring.checks("a", "d", 1);
    ring.checks("b", "d", 1); // passes a's on: c holds it
    ring.checks("b", "d", 1); // b's own: c holds both
    let by =
        |asker: &str| format!(r#"{{"method":"checkLeader","data":{{"leaderId":"d","term":1}},"senderId":"{asker}"}}"#);
    assert_eq!(ring.says("c", &by("b"))[1], "d < checkLeader d term 1 by b");
    assert_eq!(ring.says("c", &by("z"))[1], "d < checkLeader d term 1 by a", "any other will do");
    assert_eq!(ring.says("c", &by("z"))[0], "cancel hop of check by c in term 1", "a new one, and its own");
}

#[test]
fn a_check_of_anyone_else_is_answered_with_the_leader() {
    let mut ring = Ring::of("abc");
    ring.elect("a7 b9 c3", "b");
    let told = ["c < newLeader b term 1 by a"];
    assert_eq!(ring.checks("c", "a", 1), told, "another member");
    assert_eq!(ring.checks("c", "b", 0), told, "an older term");
    assert_eq!(ring.checks("c", "gone", 1), told, "nobody");
    ring.leaves("b");
    assert_eq!(ring.checks("c", "b", 1), ["absorbed checkLeader of c: there is no leader"]);
}

#[test]
fn everybody_hears_that_the_leader_left() {
    let mut ring = Ring::of("abc");
    ring.elect("a7 b9 c3", "b");
    let told = ["left b", "leader left b", "a < leaderLeft b term 1", "c < leaderLeft b term 1"];
    assert_eq!(ring.leaves("b"), told);
}

#[test]
fn a_leader_that_leaves_during_its_announcement_is_told_after_it() {
    let mut ring = Ring::of("abc");
    ring.election("a", "a7");
    ring.election("b", "a7 b9");
    ring.election("c", "a7 b9 c3");
    ring.announces("a", "b");
    let got = ring.leaves("b");
    assert_eq!(got[..2], ["left b", "leader left b"]);
    assert_eq!(got.last().unwrap(), "c < newLeader b term 1 by a", "the announcement goes on");
    let got = ring.passes_announcement_on("c", "b", 1);
    assert_eq!(got[1..], ["a < newLeader b term 1 by a", "a < leaderLeft b term 1", "c < leaderLeft b term 1"]);
}

#[test]
fn only_the_leader_can_resign() {
    let mut ring = Ring::of("abc");
    ring.elect("a7 b9 c3", "b");
    assert_eq!(ring.resigns("a", "b", 1), ["a < error NotLeader", "refused a: NotLeader"]);
    assert_eq!(ring.resigns("b", "b", 0), ["b < error NotLeader", "refused b: NotLeader"]);
    let told = ["leader left b", "a < leaderLeft b term 1, resigned", "c < leaderLeft b term 1, resigned"];
    assert_eq!(ring.resigns("b", "b", 1), told);
    assert_eq!(ring.0.snapshot().leader_id, None);
    assert_eq!(ring.0.snapshot().term, term(1), "the last term stands while there is no leader");
}

#[test]
fn who_resigned_is_not_asked_any_more() {
    let mut ring = Ring::of("abc");
    ring.elect("a7 b9 c3", "b");
    ring.resigns("b", "b", 1);
    assert_eq!(ring.checks("c", "b", 1), ["absorbed checkLeader of c: there is no leader"]);
}
