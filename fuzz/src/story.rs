//! The words of a story.

use ringleader_shared::id::{Candidate, ClientId, Term};
use ringleader_shared::message::{
    AnswerLeader, CheckLeader, Election, Greeting, LeaderLeft, Lease, NewLeader, RingMessage,
};
use ringleader_shared::wire::{self, Body, Frame};

/// Longer stories say nothing that shorter ones do not.
const MOST_STEPS: usize = 300;

/// The letters of one step, read one by one. Where there are no more, they are zeros.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a>(&'a [u8]);

/// The steps of a story.
pub fn steps(bytes: &[u8]) -> impl Iterator<Item = Line<'_>> {
    bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).take(MOST_STEPS).map(Line)
}

impl<'a> Line<'a> {
    /// The next letter.
    pub fn letter(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// The next letter as one of `count` things: `a` is the first, and so is `0`.
    pub fn which(&mut self, count: usize) -> usize {
        let letter = self.letter();
        let from = if letter.is_ascii_digit() { b'0' } else { b'a' };
        usize::from(letter.wrapping_sub(from)) % count.max(1)
    }

    /// All that is left.
    pub fn rest(self) -> &'a [u8] {
        self.0
    }

    /// All that is left as text.
    pub fn text(self) -> String {
        String::from_utf8_lossy(self.0).into_owned()
    }
}

/// One of several, if there are any.
pub fn one_of<T: Clone>(line: &mut Line, things: impl IntoIterator<Item = T>) -> Option<T> {
    let things: Vec<T> = things.into_iter().collect();
    let which = line.which(things.len());
    things.get(which).cloned()
}

/// An id as stories write them.
pub fn id(text: &str) -> ClientId {
    ClientId::new(text).expect("stories write short ids")
}

/// A well-formed frame: its kind, whom it names, and a term near `newest`.
pub fn frame(line: &mut Line, from: &ClientId, named: ClientId, newest: Term) -> String {
    let kind = line.letter();
    // 5 is the newest, 6 the next one.
    let term = Term::new((newest.get() + line.which(10) as u64).saturating_sub(5)).unwrap_or(newest);
    let entry = |client_id: &ClientId, rank: u32| Candidate { rank: rank.into(), client_id: client_id.clone() };
    let message = match kind {
        b'e' => RingMessage::Election(Election { ranks: vec![entry(from, 3)], term: Some(term) }),
        b'E' => RingMessage::Election(Election { ranks: vec![entry(&named, 5), entry(from, 6)], term: Some(term) }),
        b'n' => RingMessage::NewLeader(NewLeader { act_after_ms: Some(500), ..NewLeader::of(named, Some(term)) }),
        b'N' => RingMessage::NewLeader(NewLeader::of(named, None)),
        b'c' => RingMessage::CheckLeader(CheckLeader { leader_id: named, term: Some(term) }),
        b'C' => RingMessage::CheckLeader(CheckLeader { leader_id: named, term: None }),
        b'a' => RingMessage::AnswerLeader(AnswerLeader { destination_id: named, term: Some(term) }),
        b'l' => RingMessage::LeaderLeft(LeaderLeft { leader_id: named, term, resigned: true }),
        b'L' => RingMessage::LeaderLeft(LeaderLeft { leader_id: named, term, resigned: false }),
        b'r' => RingMessage::Lease(Lease { term, lease_ms: None }),
        b'R' => RingMessage::Lease(Lease { term, lease_ms: Some(4_000) }),
        b'm' => {
            return format!(r#"{{"method":"message","data":{{"destinationId":"{named}","term":{term},"body":[]}}}}"#);
        }
        b'M' => return format!(r#"{{"method":"message","data":{{"destinationId":"*","term":{term},"body":null}}}}"#),
        b'g' => return r#"{"method":"greeting","data":"classic"}"#.into(),
        _ => {
            let greeting =
                Greeting { rank: Some(4.into()), name: None, forwards: kind.is_multiple_of(2), term: Some(term) };
            return wire::encode::<()>(&Frame { sender_id: None, client_id: None, body: Body::Greeting(greeting) });
        }
    };
    wire::encode(&Frame { sender_id: Some(from.clone()), client_id: None, body: Body::Ring(message) })
}
