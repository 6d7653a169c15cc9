//! What members' programs say to each other.

use super::*;

/// `abc`, led by `b` in term 2.
fn led() -> Ring {
    let mut ring = Ring::of("abc");
    ring.elect("a7 b9 c3", "b");
    ring.elect("a7 b9 c3", "b");
    ring
}

fn message(to: &str, term: u64) -> String {
    format!(r#"{{"method":"message","data":{{"destinationId":"{to}","term":{term},"body":{{"do": [1,2.0]}}}}}}"#)
}

#[test]
fn a_message_goes_straight_to_whom_it_names_with_its_sender_and_its_body_as_it_came() {
    let mut ring = led();
    assert_eq!(ring.says("a", &message("c", 2)), [r#"c < message to c term 2 by a: {"do": [1,2.0]}"#]);
    let forged = message("c", 2).replace(r#"{"method""#, r#"{"senderId":"b","method""#);
    let effects = ring.0.handle(Input::Message { from: id("a"), message: forged.into() });
    let frame: Arc<str> =
        r#"{"method":"message","data":{"destinationId":"c","term":2,"body":{"do": [1,2.0]}},"senderId":"a"}"#.into();
    let expected = [
        Effect::Send { to: id("c"), message: frame.clone() },
        Effect::Report(Report::Relayed { from: Some(id("a")), to: id("c"), frame }),
    ];
    assert_eq!(effects, expected);
}

#[test]
fn a_star_is_everybody_else() {
    let told = ["b", "c"].map(|to| format!(r#"{to} < message to * term 2 by a: {{"do": [1,2.0]}}"#));
    assert_eq!(led().says("a", &message("*", 2)), told);
}

#[test]
fn a_message_of_another_term_than_the_leaders_reaches_nobody() {
    for term in [0, 1, 3] {
        for to in ["c", "*", "gone"] {
            let got = led().says("b", &message(to, term));
            assert_eq!(got, ["b < error StaleTerm", "refused b: StaleTerm"], "to {to} in {term}");
        }
    }
    let mut ring = led();
    ring.election("a", "a7");
    assert_eq!(ring.says("b", &message("c", 2)).len(), 1, "the leader's term counts, not the last one");
}

#[test]
fn without_a_leader_no_message_reaches_anybody() {
    let mut ring = led();
    ring.resigns("b", "b", 2);
    assert_eq!(ring.says("a", &message("c", 2)), ["a < error StaleTerm", "refused a: StaleTerm"]);
}

#[test]
fn a_message_for_nobody_is_refused() {
    let mut ring = led();
    ring.0.handle(Input::Event(Event::Connected { id: id("s"), may_join: true }));
    for to in ["gone", "s"] {
        assert_eq!(ring.says("a", &message(to, 2)), ["a < error NoSuchMember", "refused a: NoSuchMember"], "{to}");
    }
}

#[test]
fn who_only_watches_sends_no_message() {
    let mut ring = led();
    ring.0.handle(Input::Event(Event::Connected { id: id("s"), may_join: true }));
    assert_eq!(ring.says("s", &message("*", 2)), ["s < error NotAMember", "refused s: NotAMember"]);
}
