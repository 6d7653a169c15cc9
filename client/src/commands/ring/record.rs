//! What a node writes down of what its machine reports: the lines of `log.txt`, which
//! others know, and lines of JSON, which programs read.

use std::cmp::Ordering;

use ringleader_client::transport::ring::Address;
use ringleader_shared::election::chang_roberts::wire::number;
use ringleader_shared::election::chang_roberts::{Duplicate, Message, Neighbour, Report};
use serde_json::{Value, json};

/// The line of `log.txt`, if it has one for this.
pub fn line(report: &Report) -> Option<String> {
    let said = |message: &Message| format!("uuid={}, flag={}", message.uuid, number(message.flag));
    match report {
        Report::Received { message, compared, leader } => {
            let state = leader.map_or("0".into(), |leader| format!("1, leader={leader}"));
            Some(format!("Received: {}, {}, {state}", said(message), word(*compared)))
        }
        Report::Ignored(message) => Some(format!("Ignored: {}", said(message))),
        Report::Sent { message, .. } => Some(format!("Sent: {}", said(message))),
        Report::Decided(leader) => Some(format!("Leader is decided to {leader}.")),
        _ => None,
    }
}

/// The line of `--json`: without `at`, which the caller knows.
pub fn event(report: &Report, ring: &[Address]) -> Value {
    let named = |name: &str, message: &Message| {
        let mut event = json!({ "event": name, "uuid": message.uuid.to_string(), "flag": number(message.flag) });
        if let Some(term) = message.term {
            event["term"] = term.get().into();
            event["done"] = message.done.into();
        }
        event
    };
    match report {
        Report::Received { message, compared, leader } => {
            let mut event = named("received", message);
            event["compared"] = word(*compared).into();
            event["leaderId"] = leader.map(|leader| leader.to_string()).into();
            event
        }
        Report::Ignored(message) => named("ignored", message),
        Report::Sent { to, message } => {
            let mut event = named("sent", message);
            event["to"] = place(*to, ring).into();
            event
        }
        Report::Decided(leader) => json!({ "event": "decided", "leaderId": leader.to_string() }),
        Report::Duplicate(why) => json!({ "event": "duplicate", "evidence": evidence(*why) }),
        Report::SuccessorLost(whom) => json!({ "event": "successorLost", "address": place(*whom, ring) }),
        Report::Skipped { next, term } => {
            json!({ "event": "skipped", "next": next.map(|next| place(next, ring)), "term": term.get() })
        }
        Report::Broken(at) => json!({ "event": "broken", "between": [ring[0].to_string(), place(*at, ring)] }),
        Report::Ended(leader) => json!({ "event": "leader", "leaderId": leader.to_string() }),
    }
}

/// Who that is.
pub fn place(neighbour: Neighbour, ring: &[Address]) -> String {
    let address = match neighbour {
        Neighbour::Ahead(places) => ring.get(places),
        // Only who has the whole ring before it knows where the predecessor listens.
        Neighbour::Predecessor => ring.get(2..).and_then(<[Address]>::last),
    };
    address.map_or("our predecessor".into(), ToString::to_string)
}

/// Why somebody else must have our UUID.
pub fn evidence(why: Duplicate) -> &'static str {
    match why {
        Duplicate::PastAGreater => "it came to us after a greater one, whose node would have stopped ours",
        Duplicate::SecondHome => "it came home a second time",
        Duplicate::GreaterAfterHome => {
            "a greater one came after ours was home, though its node would have stopped ours"
        }
        Duplicate::NotOurAnnouncement => "it was announced, and not by us",
        Duplicate::AnotherLeader => "somebody else announced itself, though ours was home",
    }
}

fn word(compared: Ordering) -> &'static str {
    match compared {
        Ordering::Less => "less",
        Ordering::Equal => "same",
        Ordering::Greater => "greater",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringleader_shared::election::chang_roberts::Flag;
    use ringleader_shared::id::Term;
    use uuid::Uuid;

    const U: &str = "00000000-0000-0000-0000-000000000007";

    fn message(flag: Flag, term: Option<Term>) -> Message {
        Message { uuid: Uuid::from_u128(7), flag, term, done: false }
    }

    #[test]
    fn the_log_has_the_lines_that_others_know() {
        let uuid = Uuid::from_u128(7);
        let (flag0, flag1) = (message(Flag::Candidate, None), message(Flag::Elected, Term::new(3)));
        let received =
            |message: &Message, compared, leader| Report::Received { message: message.clone(), compared, leader };
        let table = [
            (received(&flag0, Ordering::Greater, None), format!("Received: uuid={U}, flag=0, greater, 0")),
            (received(&flag0, Ordering::Less, None), format!("Received: uuid={U}, flag=0, less, 0")),
            (received(&flag1, Ordering::Equal, Some(uuid)), format!("Received: uuid={U}, flag=1, same, 1, leader={U}")),
            (Report::Ignored(flag0.clone()), format!("Ignored: uuid={U}, flag=0")),
            (Report::Sent { to: Neighbour::Ahead(1), message: flag1 }, format!("Sent: uuid={U}, flag=1")),
            (Report::Decided(uuid), format!("Leader is decided to {U}.")),
        ];
        for (report, expected) in table {
            assert_eq!(line(&report), Some(expected));
        }
        assert_eq!(line(&Report::Ended(uuid)), None);
    }

    #[test]
    fn events_name_their_kind() {
        let ring: Vec<Address> = ["a,1", "b,2", "c,3"].map(|text| text.parse().unwrap()).into();
        let sent = Report::Sent { to: Neighbour::Ahead(1), message: message(Flag::Candidate, None) };
        assert_eq!(event(&sent, &ring), json!({ "event": "sent", "uuid": U, "flag": 0, "to": "b:2" }));
        let ignored = Report::Ignored(message(Flag::Elected, Term::new(3)));
        assert_eq!(
            event(&ignored, &ring),
            json!({ "event": "ignored", "uuid": U, "flag": 1, "term": 3, "done": false })
        );
        let broken = event(&Report::Broken(Neighbour::Predecessor), &ring);
        assert_eq!(broken, json!({ "event": "broken", "between": ["a:1", "c:3"] }));
        assert_eq!(place(Neighbour::Predecessor, &ring[..2]), "our predecessor");
    }
}
