//! What must hold of a relay after each step, seen from outside: by what it is told, what
//! it sends and what it reports.

use std::collections::{BTreeMap, BTreeSet};

use ringleader_shared::id::{Candidate, ClientId, Term};
use ringleader_shared::machine::{Effect, Input, Machine};
use ringleader_shared::message::{NewLeader, RingMessage};
use ringleader_shared::relay::{Event, Relay, Report, Saved, Timer};
use ringleader_shared::wire::{self, Body, Frame, MAX_FRAME_BYTES};

/// How much longer than what was said a frame may be that is sent: it holds a list of
/// members, or an array of their entries.
const MOST_BYTES_A_MEMBER: usize = 512;

/// An onlooker of one ring, over restarts of its hub.
#[derive(Debug, Default)]
pub struct Judge {
    /// Who was announced in which term.
    announced: BTreeMap<Term, ClientId>,
    /// Who started which election, and its array as it was handed on last.
    elections: BTreeMap<Term, (ClientId, Vec<Candidate>)>,
    /// Checks and answers that were started: method, by whom, whom they name, term.
    started: BTreeSet<(&'static str, ClientId, ClientId, Option<Term>)>,
    saved: Saved,
    longest_said: usize,
}

/// One step of a relay.
pub struct Step<'a> {
    /// What it was told.
    pub input: &'a Input<Relay>,
    /// What it wants to be done.
    pub effects: &'a [Effect<Relay>],
    /// The relay afterwards.
    pub relay: &'a Relay,
    /// Who is connected afterwards.
    pub connected: &'a BTreeSet<ClientId>,
    /// The timers that were set before.
    pub timers: &'a BTreeSet<Timer>,
}

impl Step<'_> {
    /// Who said something, if that is what happened.
    fn speaker(&self) -> Option<&ClientId> {
        match self.input {
            Input::Message { from, .. } => Some(from),
            _ => None,
        }
    }
}

impl Judge {
    /// What would be left after the hub's end.
    pub fn saved(&self) -> Saved {
        self.saved
    }

    /// The hub ends in good order and saves this; it gives up terms that it did not use.
    pub fn see_last_will(&mut self, saved: Saved) {
        let newest = self.elections.last_key_value().map(|(term, _)| *term);
        assert!(Some(saved.terms) >= newest, "terms that were used are forgotten: {saved:?}, used {newest:?}");
        self.saved = saved;
    }

    /// Who was announced in that term.
    pub fn announced(&self, term: Term) -> Option<&ClientId> {
        self.announced.get(&term)
    }

    /// Panics if something does not hold.
    pub fn see(&mut self, step: &Step) {
        step.relay.check();
        if let Input::Message { message, .. } = step.input {
            self.longest_said = self.longest_said.max(message.len());
        }
        let members = step.relay.members().count();
        let most = 24 + 6 * (step.timers.len() + members);
        assert!(step.effects.len() <= most, "{} effects of one step, {members} members", step.effects.len());
        let mut timers = step.timers.clone();
        for effect in step.effects {
            match effect {
                Effect::Save(saved) => {
                    assert!(saved.terms >= self.saved.terms, "saved terms fell: {saved:?} after {:?}", self.saved);
                    self.saved = *saved;
                }
                Effect::SetTimer { timer, after } => {
                    assert_eq!(after.start, after.end, "the relay leaves nothing to chance");
                    timers.insert(timer.clone());
                }
                Effect::CancelTimer(timer) => {
                    timers.remove(timer);
                }
                Effect::Send { to, message } => self.on_sent(step, to, message),
                Effect::Report(report) => self.on_report(step, report),
            }
        }
        assert!(timers.len() <= step.timers.len() + 2, "one step sets many timers: {timers:?}");
    }

    fn on_sent(&self, step: &Step, to: &ClientId, text: &str) {
        assert!(step.connected.contains(to), "sent to nobody: {text}");
        let is_member = step.relay.members().any(|member| member.client_id == *to);
        let members = step.relay.members().count() + 2 + self.elections.len();
        let most = self.longest_said + MOST_BYTES_A_MEMBER * members;
        assert!(text.len() <= most.min(MAX_FRAME_BYTES), "sent {} bytes", text.len());
        let frame = read(text);
        match frame.body {
            Body::Welcome(_) => {
                assert!(
                    matches!(step.input, Input::Event(Event::Connected { id, .. }) if id == to),
                    "who came is welcome"
                )
            }
            Body::Response(_) => assert!(is_member && step.speaker() == Some(to), "who greets gets a response"),
            Body::Error(_) => assert_eq!(step.speaker(), Some(to), "an error goes to whom it is about"),
            Body::Ring(RingMessage::Lease(lease)) => {
                let ring = step.relay.snapshot();
                assert_eq!((ring.leader_id.as_ref(), ring.term), (Some(to), lease.term), "the leader gets a lease");
            }
            Body::Ring(_) | Body::Message(_) => assert!(is_member, "spectators get no live frames: {text}"),
            Body::Greeting(_) | Body::Relayed(_) | Body::RingChanged(_) => panic!("no relay sends this: {text}"),
        }
    }

    fn on_report(&mut self, step: &Step, report: &Report) {
        match report {
            Report::Opened { term, initiator } => {
                let newest = self.elections.last_key_value().map(|(term, _)| *term);
                assert!(Some(*term) > newest, "terms rise: {term} after {newest:?}");
                assert!(*term <= self.saved.terms, "term {term} is used before it is saved: {:?}", self.saved);
                assert_eq!(step.speaker(), Some(initiator), "who starts an election is its initiator");
                self.elections.insert(*term, (initiator.clone(), vec![]));
            }
            Report::Elected { leader, term } => self.on_elected(step, leader, *term),
            Report::Relayed { frame, .. } => self.on_relayed(step, frame),
            _ => {}
        }
    }

    fn on_elected(&mut self, step: &Step, leader: &ClientId, term: Term) {
        let first = self.announced.insert(term, leader.clone());
        assert_eq!(first, None, "S1: in term {term} {leader} is announced, too");
        let Some((initiator, array)) = self.elections.get(&term) else { panic!("S4: term {term} had no election") };
        assert_eq!(step.speaker(), Some(initiator), "S4: the initiator announces");
        assert!(step.relay.members().any(|member| member.client_id == *leader), "S4: the leader is a member");
        let best = array.iter().map(|entry| entry.rank).max();
        let took_part = array.iter().any(|entry| entry.client_id == *leader && Some(entry.rank) == best);
        assert!(took_part, "S4: {leader} is not the best of {array:?}");
        let waits = step.timers.iter().any(|timer| matches!(timer, Timer::Lease(_)));
        let told = step.effects.iter().any(|effect| match effect {
            Effect::Send { message, .. } => {
                matches!(
                    read(message).body,
                    Body::Ring(RingMessage::NewLeader(NewLeader { act_after_ms: Some(_), .. }))
                )
            }
            _ => false,
        });
        assert!(!waits || told, "S6: an older lease may run, and {leader} is not told to wait");
    }

    /// S7, among others: a frame names the member that it started from.
    fn on_relayed(&mut self, step: &Step, text: &str) {
        let Frame { sender_id, body, .. } = read(text);
        let sender = sender_id.as_ref();
        match body {
            Body::Ring(RingMessage::Election(election)) => {
                let term = election.term.expect("the hub stamps terms");
                let (initiator, array) = self.elections.get_mut(&term).expect("S8: an election that was opened");
                assert_eq!(sender, Some(&*initiator), "S7: an election is its initiator's");
                assert!(election.ranks.starts_with(array), "{array:?} became {:?}", election.ranks);
                let added = &election.ranks[array.len()..];
                let own = added.iter().all(|entry| Some(&entry.client_id) == step.speaker());
                assert!(added.len() <= 1 && own, "{:?} added {added:?}", step.speaker());
                *array = election.ranks;
            }
            Body::Ring(RingMessage::NewLeader(new)) => {
                let term = new.term.expect("the hub stamps terms");
                assert_eq!(self.announced.get(&term), Some(&new.leader_id), "S3: announced in term {term}");
                let initiator = self.elections.get(&term).map(|(initiator, _)| initiator);
                assert_eq!(sender, initiator, "S7: an announcement is its announcer's");
            }
            Body::Ring(RingMessage::CheckLeader(check)) => {
                self.on_moved(step, ("checkLeader", sender_id, check.leader_id, check.term));
            }
            Body::Ring(RingMessage::AnswerLeader(answer)) => {
                self.on_moved(step, ("answerLeader", sender_id, answer.destination_id, answer.term));
            }
            Body::Ring(RingMessage::LeaderLeft(left)) => {
                assert_eq!(sender, None, "the hub's own");
                assert_eq!(self.announced.get(&left.term), Some(&left.leader_id), "who left had led");
            }
            Body::Message(_) => assert_eq!(sender, step.speaker(), "S7: a message is its sender's"),
            _ => panic!("this does not move: {text}"),
        }
    }

    fn on_moved(&mut self, step: &Step, moved: (&'static str, Option<ClientId>, ClientId, Option<Term>)) {
        let (method, sender, named, term) = moved;
        let sender = sender.unwrap_or_else(|| panic!("S7: a {method} of nobody"));
        let by_speaker = step.speaker() == Some(&sender);
        let new = self.started.insert((method, sender.clone(), named, term));
        assert!(!new || by_speaker, "S7: a {method} that {sender} did not start");
    }
}

fn read(text: &str) -> Frame {
    wire::decode(text).unwrap_or_else(|error| panic!("the relay sends what no client can read: {error}: {text}"))
}
