//! A member that lies, in frames that are well formed.
//!
//! It joins as ours do and then says whatever it likes: as others, in wrong terms,
//! with forged ranks, what was said long ago, out of turn, or nothing where
//! something is due. Or it does one thing only: it answers in the leader's place, all
//! the time, and passes on what it should.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ringleader_shared::election::eligible_array::{Hub, Timer};
use ringleader_shared::election::{Belief, Role};
use ringleader_shared::id::{Candidate, ClientId, Rank, Term};
use ringleader_shared::machine::Effect;
use ringleader_shared::message::{
    AnswerLeader, CheckLeader, Election, Greeting, LeaderLeft, Lease, NewLeader, RingMessage,
};
use ringleader_shared::wire::{self, Body, Frame};

use crate::member::Member;

/// How many frames, and how many ids, it remembers.
const REMEMBERED: usize = 8;
/// How long it is silent, at most.
const SILENT: Duration = Duration::from_millis(1_500);

/// One liar.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Liar {
    /// `None` while there is no connection.
    me: Option<ClientId>,
    manner: Manner,
    /// Chance, kept in here so that it is a machine like the others.
    chance: u64,
    heard: VecDeque<Arc<str>>,
    /// Itself among them.
    ids: VecDeque<ClientId>,
    /// The newest term that it heard of.
    term: Term,
}

/// How it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Manner {
    /// In every way.
    Bold,
    /// In every way, but that it does not claim to know the highest term that a hub
    /// believes. Where a hub believes that and then loses its store, it believes no
    /// honest member any more, whose term is higher still: nothing is promised.
    Careful,
    /// It answers in the leader's place, and does not stand itself.
    Answers,
}

type Effects = Vec<Effect<Member>>;

impl Liar {
    /// A liar with a seed.
    pub fn new(seed: u64, manner: Manner) -> Self {
        Liar { me: None, manner, chance: seed, heard: VecDeque::new(), ids: VecDeque::new(), term: Term::NONE }
    }

    /// What it says that it believes: nothing.
    pub fn belief(&self) -> Belief {
        let role = if self.me.is_some() { Role::Candidate } else { Role::Disconnected };
        Belief { role, leader: None, term: Term::NONE, may_act: false }
    }

    /// Whether it has to be gone before the others can agree.
    pub fn is_a_fault(&self) -> bool {
        self.manner != Manner::Answers
    }

    pub(crate) fn on_frame(&mut self, text: &Arc<str>) -> Effects {
        let Ok(Frame { sender_id, client_id, body }) = wire::decode(text) else { return vec![] };
        if let Body::Welcome(welcome) = body {
            self.me = client_id;
            let members = welcome.members.unwrap_or_default().into_iter().map(|member| member.client_id);
            self.me.clone().into_iter().chain(members).for_each(|id| self.meet(id));
            let greeting = self.greeting();
            return vec![say(None, greeting), self.rest()];
        }
        let Body::Ring(message) = body else { return vec![] };
        sender_id.clone().into_iter().for_each(|id| self.meet(id));
        self.learn(&message);
        self.heard.push_front(text.clone());
        self.heard.truncate(REMEMBERED);
        if self.manner == Manner::Answers {
            let ends_here = sender_id == self.me && self.me.is_some();
            return if ends_here { vec![] } else { vec![Effect::Send { to: Hub, message: text.clone() }] };
        }
        match self.draw(10) {
            0..5 => self.pass_on(text, sender_id, message),
            5..8 => self.lie(),
            _ => vec![],
        }
    }

    pub(crate) fn on_timeout(&mut self) -> Effects {
        let mut effects = self.lie();
        effects.push(self.rest());
        effects
    }

    pub(crate) fn on_disconnected(&mut self) -> Effects {
        self.me = None;
        vec![Effect::CancelTimer(Timer::Campaign)]
    }

    fn rest(&self) -> Effect<Member> {
        let least = if self.manner == Manner::Answers { 1_000 } else { 20 };
        Effect::SetTimer { timer: Timer::Campaign, after: Duration::from_millis(least)..SILENT }
    }

    /// As ours do; but whom it adds, with which rank, and whom it announces is what it
    /// likes each time.
    fn pass_on(&mut self, text: &Arc<str>, origin: Option<ClientId>, message: RingMessage) -> Effects {
        match message {
            RingMessage::Election(election) if origin.is_some() && origin == self.me => {
                let best = election.ranks.into_iter().max().map(|entry| entry.client_id);
                let Some(id) = (if self.draw(2) == 0 { best } else { self.favourite() }) else { return vec![] };
                vec![say(origin, Body::Ring(RingMessage::NewLeader(NewLeader::of(id, election.term))))]
            }
            RingMessage::Election(mut election) => {
                let who = if self.draw(3) == 0 { self.anybody() } else { self.me.clone() };
                let entry = who.map(|id| self.forged(id));
                election.ranks.extend(entry);
                vec![say(origin, Body::Ring(RingMessage::Election(election)))]
            }
            RingMessage::LeaderLeft(_) | RingMessage::Lease(_) => vec![],
            _ => vec![Effect::Send { to: Hub, message: text.clone() }],
        }
    }

    fn lie(&mut self) -> Effects {
        if self.me.is_none() {
            return vec![];
        }
        if self.manner == Manner::Answers {
            let answer = |destination_id| AnswerLeader { destination_id, term: None };
            let answers = self.ids.iter().cloned().map(|id| RingMessage::AnswerLeader(answer(id)));
            return answers.map(|answer| say(self.me.clone(), Body::Ring(answer))).collect();
        }
        let (sender, somebody, term) = (self.anybody(), self.anybody(), self.any_term());
        let Some(id) = somebody else { return vec![] };
        let message = match self.draw(11) {
            0 => RingMessage::Election(Election { ranks: self.entry().into_iter().collect(), term: Some(term) }),
            1 | 9 | 10 => {
                let mut ranks: Vec<Candidate> = self.ids.clone().into_iter().map(|id| self.forged(id)).collect();
                ranks.truncate(1 + self.draw(REMEMBERED as u64) as usize);
                ranks.extend(self.favourite().map(|client_id| Candidate { rank: Rank::from(99), client_id }));
                RingMessage::Election(Election { ranks, term: Some(term) })
            }
            2 => RingMessage::NewLeader(NewLeader::of(id, Some(term))),
            3 => RingMessage::CheckLeader(CheckLeader { leader_id: id, term: Some(term) }),
            4 => RingMessage::AnswerLeader(AnswerLeader { destination_id: id, term: Some(term) }),
            5 => RingMessage::LeaderLeft(LeaderLeft { leader_id: id, term, resigned: true }),
            6 => RingMessage::Lease(Lease { term, lease_ms: None }),
            7 => return vec![say(sender, self.greeting())],
            _ => {
                let old = self.draw(REMEMBERED as u64) as usize;
                let old = self.heard.get(old).cloned();
                return old.into_iter().map(|message| Effect::Send { to: Hub, message }).collect();
            }
        };
        vec![say(sender, Body::Ring(message))]
    }

    fn greeting(&mut self) -> Body {
        let term = if self.manner == Manner::Answers { self.term } else { self.any_term() };
        Body::Greeting(Greeting { rank: Some(self.any_rank()), name: None, forwards: true, term: Some(term) })
    }

    fn entry(&mut self) -> Option<Candidate> {
        let me = self.me.clone()?;
        Some(self.forged(me))
    }

    fn forged(&mut self, client_id: ClientId) -> Candidate {
        Candidate { rank: self.any_rank(), client_id }
    }

    fn any_rank(&mut self) -> Rank {
        Rank::from(self.draw(20) as u32)
    }

    fn anybody(&mut self) -> Option<ClientId> {
        let which = self.draw(self.ids.len().max(1) as u64) as usize;
        self.ids.get(which).cloned()
    }

    /// Whom it would like to lead: the one that it has known for longest.
    fn favourite(&self) -> Option<ClientId> {
        self.ids.back().cloned()
    }

    /// Near the one that counts, as a rule.
    fn any_term(&mut self) -> Term {
        match self.draw(64) {
            0 if self.manner == Manner::Bold => Term::HIGHEST_CLAIM,
            0..8 => self.term.later(self.draw(5)),
            8..16 => Term::new(self.term.get().saturating_sub(self.draw(3))).unwrap_or_default(),
            _ => self.term,
        }
    }

    fn meet(&mut self, id: ClientId) {
        if !self.ids.contains(&id) {
            self.ids.push_front(id);
            self.ids.truncate(REMEMBERED);
        }
    }

    fn learn(&mut self, message: &RingMessage) {
        let (id, term) = match message {
            RingMessage::Election(election) => {
                election.ranks.iter().for_each(|entry| self.meet(entry.client_id.clone()));
                (None, election.term)
            }
            RingMessage::NewLeader(new) => (Some(new.leader_id.clone()), new.term),
            RingMessage::CheckLeader(check) => (Some(check.leader_id.clone()), check.term),
            RingMessage::AnswerLeader(answer) => (Some(answer.destination_id.clone()), answer.term),
            RingMessage::LeaderLeft(left) => (Some(left.leader_id.clone()), Some(left.term)),
            RingMessage::Lease(lease) => (None, Some(lease.term)),
        };
        id.into_iter().for_each(|id| self.meet(id));
        self.term = self.term.max(term.unwrap_or_default());
    }

    /// Below `end`: SplitMix64 (Steele, Lea and Flood 2014).
    fn draw(&mut self, end: u64) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.chance;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ word >> 31) % end
    }
}

fn say(sender_id: Option<ClientId>, body: Body) -> Effect<Member> {
    Effect::Send { to: Hub, message: wire::encode(&Frame { sender_id, client_id: None, body }).into() }
}
