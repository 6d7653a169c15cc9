//! What the relay does for classic members, and in the classic routing.

use super::*;

#[test]
fn a_classic_member_gets_its_copy_and_nothing_of_others() {
    let mut ring = Ring::of("aBc");
    ring.election("a", "a7");
    ring.election("b", "a7 b3");
    ring.election("c", "a7 b3 c9");
    let got = ring.announces("a", "c");
    assert_eq!(
        got[2..],
        ["b < newLeader c term 1 by a", "set hop of announcement of term 1", "c < newLeader c term 1 by a"]
    );
    ring.passes_announcement_on("c", "c", 1);
    assert_eq!(ring.checks("a", "c", 1)[1], "c < checkLeader c term 1 by a", "b is passed over");
    let classic = r#"{"method":"checkLeader","data":{"leaderId":"c"},"senderId":"b"}"#;
    assert_eq!(ring.says("b", classic)[1], "c < checkLeader c term 1 by b", "stamped with the leader's term");
    assert_eq!(ring.answers("c", "b", 1)[1], "a < answerLeader b term 1 by c");
}

#[test]
fn a_classic_newcomer_is_told_of_the_leader_in_its_own_words() {
    let mut ring = Ring::of("abc");
    ring.elect("a7 b9 c3", "b");
    assert_eq!(ring.join('D'), ["d < response", "joined d", "d < newLeader b term 1 by a"]);
    assert_eq!(ring.join('e'), ["e < response", "joined e"], "ours has read the response");
}

#[test]
fn direct_routing_is_the_classic_one() {
    let mut ring = Ring::with("abcd", Config { routing: Routing::Direct, ..Config::default() });
    ring.election("a", "a7");
    ring.election("b", "a7 b9");
    ring.election("c", "a7 b9 c3");
    ring.election("d", "a7 b9 c3 d1");
    let got = ring.announces("a", "b");
    assert_eq!(got[2..], ["a", "b", "c", "d"].map(|to| format!("{to} < newLeader b term 1 by a")));
    assert_eq!(ring.checks("d", "b", 1), ["b < checkLeader b term 1 by d"]);
    assert_eq!(ring.answers("b", "d", 1), ["d < answerLeader d term 1 by b"]);
    assert_eq!(ring.passes_announcement_on("c", "b", 1), ["absorbed newLeader of c: it is announced already"]);
}
