//! That the judge sees what does not hold, and only that.

use ringleader_client::Term;
use ringleader_shared::id::ClientId;

use crate::judge::{Belief, Happening, What, judge};

fn term(value: u64) -> Term {
    Term::new(value).unwrap()
}

fn starts(node: &str) -> What {
    What::Starts { node: node.into() }
}

fn ends(node: &str) -> What {
    What::Ends { node: node.into() }
}

fn announced(leader: &str, value: u64) -> What {
    What::Announced { leader: ClientId::new(leader).unwrap(), term: term(value) }
}

fn follows(node: &str, leader: &str, value: u64) -> What {
    What::Believes(Belief {
        node: node.into(),
        id: ClientId::new(node).ok(),
        term: term(value),
        leader: ClientId::new(leader).ok(),
        may_act: false,
        act_until: None,
    })
}

fn acts(node: &str, value: u64, act_until: u64) -> What {
    let What::Believes(belief) = follows(node, node, value) else { unreachable!() };
    What::Believes(Belief { may_act: true, act_until: Some(act_until), ..belief })
}

fn wrote(node: &str, value: u64, accepted: bool) -> What {
    What::Wrote { node: node.into(), term: term(value), accepted }
}

#[test]
fn each_property_is_seen_to_be_broken() {
    // What happens, one thing each millisecond, and what is found.
    let table: &[(&[What], &[&str])] = &[
        (&[announced("a", 1), follows("b", "a", 1), announced("b", 2), follows("a", "b", 2)], &[]),
        (&[announced("a", 1), announced("a", 1)], &[]), // as it goes round
        (&[announced("a", 1), announced("b", 1)], &["S1"]),
        (&[announced("a", 1), follows("b", "c", 1)], &["S3"]),
        (&[follows("b", "c", 1), announced("a", 1)], &["S3"]),
        (&[follows("a", "a", 7), follows("b", "b", 7)], &["S3"]),
        (&[follows("a", "c", 2), follows("a", "b", 1)], &["S2"]),
        (&[follows("a", "c", 2), starts("a"), follows("a", "b", 1)], &[]),
        (&[follows("a", "c", 2), starts("b"), follows("a", "b", 1)], &["S2"]),
        (&[wrote("a", 1, true), wrote("b", 2, true), wrote("a", 1, false), wrote("b", 2, true)], &[]),
        (&[wrote("a", 1, true), wrote("b", 2, true), wrote("a", 1, true)], &["S5"]),
        // Leases: stood down, run out, ended; and not.
        (&[acts("a", 1, 9), follows("a", "b", 2), acts("b", 2, 9)], &[]),
        (&[acts("a", 1, 1), acts("b", 2, 9)], &[]),
        (&[acts("a", 1, 9), ends("a"), acts("b", 2, 9)], &[]),
        (&[acts("a", 1, 9), acts("b", 2, 9)], &["S6"]),
        (&[acts("a", 1, 1), acts("a", 1, 9), acts("b", 2, 9)], &["S6"]),
        (&[acts("a", 1, 9), ends("b"), acts("b", 2, 4)], &["S6"]),
        (&[acts("a", 1, 9), acts("a", 2, 12)], &[]),
    ];
    for (story, expected) in table {
        let history: Vec<_> = story.iter().zip(0..).map(|(what, at)| Happening { at, what: what.clone() }).collect();
        let found: Vec<_> = judge(&history).iter().map(|violation| violation.property).collect();
        assert_eq!(found, *expected, "{story:?}");
    }
}
