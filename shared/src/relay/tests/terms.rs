//! Terms: which comes next, and what is written down before it is used.

use super::*;

#[test]
fn a_hub_that_lost_its_terms_goes_on_above_the_newest_that_is_known() {
    let mut ring = Ring::of("ab");
    assert_eq!(ring.says("a", &election("a7", Some(41)))[0], "opened 42 by a");
    let mut ring = Ring::of("a");
    ring.0.handle(Input::Event(Event::Connected { id: id("b"), may_join: true }));
    ring.says("b", r#"{"method":"greeting","data":{"forwards":true,"term":41}}"#);
    assert_eq!(ring.election("a", "a7")[0], "opened 42 by a");
}

#[test]
fn absurd_claims_of_terms_are_refused() {
    let mut ring = Ring::of("ab");
    let claim = Term::HIGHEST_CLAIM.get() + 1;
    let refused = ["a < error BadFrame", "refused a: BadFrame"];
    assert_eq!(ring.says("a", &election("a7", Some(claim))), refused);
    ring.0.handle(Input::Event(Event::Connected { id: id("c"), may_join: true }));
    let greeting = format!(r#"{{"method":"greeting","data":{{"term":{claim}}}}}"#);
    assert_eq!(ring.says("c", &greeting), ["c < error BadFrame", "refused c: BadFrame"]);
    assert_eq!(ring.0.last_term, Term::NONE);

    let mut ring = Ring::of("ab");
    ring.says("a", &election("a7", Some(claim - 1)));
    ring.leaves("a");
    assert_eq!(
        ring.says("b", &election("b7", Some(claim)))[0],
        format!("opened {} by b", claim + 1),
        "the ring has come there"
    );
}
