//! What the relay does with one input, effect by effect. Whole stories are in
//! `sim/scenarios`.

mod classic;
mod doors;
mod elections;
mod leaders;
mod leases;
mod messages;
mod terms;
mod tokens;

use super::*;
use crate::id::Rank;
use crate::machine::exactly;

fn id(text: &str) -> ClientId {
    ClientId::new(text).unwrap()
}

/// A ring of members named by letters, a capital being a classic one: lower-case
/// id, no rank, no terms, passes on elections only.
struct Ring(Relay);

impl Ring {
    fn of(members: &str) -> Ring {
        Ring::with(members, Config::default())
    }

    fn with(members: &str, config: Config) -> Ring {
        let mut ring = Ring(Relay::new(config));
        for member in members.chars() {
            ring.join(member);
        }
        ring
    }

    fn join(&mut self, member: char) -> Vec<String> {
        let name = member.to_lowercase().to_string();
        self.0.handle(Input::Event(Event::Connected { id: id(&name), may_join: true }));
        let greeting = match member.is_uppercase() {
            true => r#"{"method":"greeting","data":"hello"}"#,
            false => r#"{"method":"greeting","data":{"rank":1,"forwards":true}}"#,
        };
        self.says(&name, greeting)
    }

    /// One line an effect; what spectators see (`Relayed`) is left out, for it
    /// repeats what is sent.
    fn handle(&mut self, input: Input<Relay>) -> Vec<String> {
        let effects = self.0.handle(input);
        self.0.check();
        effects.iter().filter_map(line).collect()
    }

    fn says(&mut self, from: &str, text: &str) -> Vec<String> {
        self.handle(Input::Message { from: id(from), message: text.into() })
    }

    fn leaves(&mut self, member: &str) -> Vec<String> {
        self.handle(Input::Event(Event::Left { id: id(member), departure: Departure::Closed }))
    }

    /// Its connection broke; it may run still.
    fn loses(&mut self, member: &str) -> Vec<String> {
        self.handle(Input::Event(Event::Left { id: id(member), departure: Departure::Lost }))
    }

    fn stalls(&mut self, token: Token) -> Vec<String> {
        self.handle(Input::Timeout(Timer::Hop(token)))
    }

    /// `a7 b3` as an election frame.
    fn election(&mut self, from: &str, ranks: &str) -> Vec<String> {
        self.says(from, &election(ranks, None))
    }

    fn announces(&mut self, from: &str, leader: &str) -> Vec<String> {
        self.says(from, &format!(r#"{{"method":"newLeader","data":{{"leaderId":"{leader}"}}}}"#))
    }

    fn passes_announcement_on(&mut self, from: &str, leader: &str, term: u64) -> Vec<String> {
        self.says(
            from,
            &format!(r#"{{"method":"newLeader","data":{{"leaderId":"{leader}","term":{term}}},"senderId":"x"}}"#),
        )
    }

    fn checks(&mut self, from: &str, leader: &str, term: u64) -> Vec<String> {
        self.says(from, &format!(r#"{{"method":"checkLeader","data":{{"leaderId":"{leader}","term":{term}}}}}"#))
    }

    fn answers(&mut self, from: &str, asker: &str, term: u64) -> Vec<String> {
        self.says(from, &format!(r#"{{"method":"answerLeader","data":{{"destinationId":"{asker}","term":{term}}}}}"#))
    }

    fn resigns(&mut self, from: &str, leader: &str, term: u64) -> Vec<String> {
        self.says(from, &format!(r#"{{"method":"leaderLeft","data":{{"leaderId":"{leader}","term":{term}}}}}"#))
    }

    fn asks_for_lease(&mut self, from: &str, term: u64) -> Vec<String> {
        self.says(from, &format!(r#"{{"method":"lease","data":{{"term":{term}}}}}"#))
    }

    /// An eighth of the lease of that term is over.
    fn eighth(&mut self, of: u64) -> Vec<String> {
        self.handle(Input::Timeout(Timer::Lease(term(of))))
    }

    /// A whole election, started by the first of `ranks`, who announces `leader`.
    fn elect(&mut self, ranks: &str, leader: &str) {
        let entries: Vec<&str> = ranks.split(' ').collect();
        for count in 1..=entries.len() {
            self.election(&entries[count - 1][..1], &entries[..count].join(" "));
        }
        let (first, term) = (&entries[0][..1], self.0.last_term.get());
        self.announces(first, leader);
        for entry in &entries[1..] {
            self.passes_announcement_on(&entry[..1], leader, term);
        }
        assert_eq!(self.0.leader.as_ref().map(|leader| leader.id.as_str()), Some(leader));
        assert_eq!(self.0.tokens.names().count(), 0);
    }
}

fn election(ranks: &str, term: Option<u64>) -> String {
    let entries: Vec<String> =
        ranks.split(' ').map(|entry| format!(r#"{{"rank":{},"clientId":"{}"}}"#, &entry[1..], &entry[..1])).collect();
    let term = term.map(|term| format!(r#","term":{term}"#)).unwrap_or_default();
    format!(r#"{{"method":"election","data":{{"ranks":[{}]{term}}}}}"#, entries.join(","))
}

fn line(effect: &Effect<Relay>) -> Option<String> {
    Some(match effect {
        Effect::Send { to, message } => format!("{to} < {}", said(message)),
        Effect::SetTimer { timer, after } => {
            let eighth = Duration::from_millis(500);
            let expected = if matches!(timer, Timer::Lease(_)) { eighth } else { Duration::from_secs(1) };
            assert_eq!(*after, exactly(expected), "{timer:?}");
            match timer {
                Timer::Hop(token) => format!("set hop of {token}"),
                Timer::Announce(term) => format!("set announce {term}"),
                Timer::Lease(term) => format!("set lease {term}"),
            }
        }
        Effect::CancelTimer(Timer::Hop(token)) => format!("cancel hop of {token}"),
        Effect::CancelTimer(Timer::Announce(term)) => format!("cancel announce {term}"),
        Effect::CancelTimer(Timer::Lease(term)) => format!("cancel lease {term}"),
        Effect::Save(saved) => {
            format!("save {}{}", saved.terms, if saved.lease_out { ", a lease is out" } else { "" })
        }
        Effect::Report(report) => match report {
            Report::Relayed { .. } | Report::Changed => return None,
            Report::Joined(member) => format!("joined {}", member.client_id),
            Report::Left(member) => format!("left {}", member.client_id),
            Report::Opened { term, initiator } => format!("opened {term} by {initiator}"),
            Report::Closed { term, why } => format!("closed {term}: {why:?}"),
            Report::Elected { leader, term } => format!("elected {leader} term {term}"),
            Report::LeaderLeft(left) => format!("leader left {}", left.leader_id),
            Report::Repaired { token, holder, why } => format!("repaired {token} of {holder}: {why:?}"),
            Report::Absorbed { from, method, why } => format!("absorbed {method} of {from}: {why}"),
            Report::Refused { from, error } => format!("refused {from}: {:?}", error.code),
        },
    })
}

/// A frame in one line.
fn said(text: &str) -> String {
    let frame: Frame = wire::decode(text).unwrap();
    let by = frame.sender_id.map(|sender| format!(" by {sender}")).unwrap_or_default();
    match frame.body {
        Body::Ring(RingMessage::Election(election)) => {
            let ranks: Vec<String> =
                election.ranks.iter().map(|entry| format!("{}{}", entry.client_id, entry.rank)).collect();
            format!("election [{}] term {}{by}", ranks.join(" "), election.term.unwrap())
        }
        Body::Ring(RingMessage::NewLeader(new)) => {
            let wait = new.act_after_ms.map(|millis| format!(", act after {millis} ms")).unwrap_or_default();
            format!("newLeader {} term {}{by}{wait}", new.leader_id, new.term.unwrap())
        }
        Body::Ring(RingMessage::CheckLeader(check)) => {
            format!("checkLeader {} term {}{by}", check.leader_id, check.term.unwrap())
        }
        Body::Ring(RingMessage::AnswerLeader(answer)) => {
            format!("answerLeader {} term {}{by}", answer.destination_id, answer.term.unwrap())
        }
        Body::Ring(RingMessage::LeaderLeft(left)) => {
            format!("leaderLeft {} term {}{}", left.leader_id, left.term, if left.resigned { ", resigned" } else { "" })
        }
        Body::Ring(RingMessage::Lease(lease)) => {
            format!("lease term {} for {} ms", lease.term, lease.lease_ms.unwrap())
        }
        Body::Message(message) => {
            format!("message to {} term {}{by}: {}", message.destination_id, message.term, message.body)
        }
        Body::Error(error) => format!("error {:?}", error.code),
        other => other.method().into(),
    }
}

fn term(value: u64) -> Term {
    Term::new(value).unwrap()
}
