//! A stand-in for the clients of the older system, of which ours is a descendant.
//!
//! It greets with a text and joins the same elections, but counts no terms, never
//! passes an announcement on, answers every check that it is handed, and of equal
//! ranks announces the one that it met first. It checks every 10 s, with 5 s for
//! the answer. How long it waits before its first election is our choice: as long
//! as our own clients.

use std::time::Duration;

use ringleader_shared::election::eligible_array::{Hub, Report, Timer, Timing};
use ringleader_shared::election::{Belief, Role};
use ringleader_shared::id::{Candidate, ClientId, Rank, Term};
use ringleader_shared::machine::{Effect, exactly};
use ringleader_shared::message::{AnswerLeader, CheckLeader, Election, NewLeader, RingMessage};
use ringleader_shared::wire::{self, Body, Frame};

use crate::member::Member;

const GREETING: &str = r#"{"method":"greeting","data":"hello","senderId":null}"#;
const CHECK_INTERVAL: Duration = Duration::from_secs(10);
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// One classic client.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Classic {
    rank: Rank,
    /// `None` while there is no connection.
    me: Option<ClientId>,
    leader: Option<ClientId>,
}

type Effects = Vec<Effect<Member>>;

impl Classic {
    /// A client that has no connection yet.
    pub fn new(rank: Rank) -> Self {
        Classic { rank, me: None, leader: None }
    }

    /// What it believes; it knows of no terms.
    pub fn belief(&self) -> Belief {
        let role = match (&self.me, &self.leader) {
            (None, _) => Role::Disconnected,
            (_, None) => Role::Candidate,
            (me, leader) if me == leader => Role::Leader,
            _ => Role::Follower,
        };
        Belief { role, leader: self.leader.clone(), term: Term::NONE, may_act: false }
    }

    pub(crate) fn on_frame(&mut self, text: &str) -> Effects {
        // To a classic client an unknown method is worth a warning, no more.
        let Ok(Frame { sender_id, client_id, body }) = wire::decode(text) else { return vec![] };
        match body {
            Body::Welcome(_) => self.on_welcome(client_id),
            Body::Ring(RingMessage::Election(election)) => self.on_election(election.ranks),
            Body::Ring(RingMessage::NewLeader(announcement)) => self.on_new_leader(announcement.leader_id),
            Body::Ring(RingMessage::CheckLeader(_)) => self.on_check(sender_id),
            Body::Ring(RingMessage::AnswerLeader(_)) => vec![Effect::CancelTimer(Timer::CheckTimeout)],
            _ => vec![],
        }
    }

    pub(crate) fn on_timeout(&mut self, timer: Timer) -> Effects {
        match timer {
            Timer::Campaign => self.start(),
            Timer::Check => self.on_check_due(),
            Timer::CheckTimeout => self.on_check_timeout(),
            // It knows of no leases.
            Timer::Act | Timer::Renew | Timer::LeaseEnd(_) => vec![],
        }
    }

    pub(crate) fn on_disconnected(&mut self) -> Effects {
        (self.me, self.leader) = (None, None);
        [Timer::Campaign, Timer::Check, Timer::CheckTimeout].map(Effect::CancelTimer).into()
    }

    fn on_welcome(&mut self, me: Option<ClientId>) -> Effects {
        self.me = me;
        vec![
            Effect::Send { to: Hub, message: GREETING.into() },
            Effect::SetTimer { timer: Timer::Campaign, after: Duration::ZERO..Timing::default().start_delay },
            Effect::SetTimer { timer: Timer::Check, after: exactly(CHECK_INTERVAL) },
        ]
    }

    fn on_election(&mut self, mut ranks: Vec<Candidate>) -> Effects {
        let Some(entry) = self.entry() else { return vec![] };
        if !ranks.iter().any(|other| other.client_id == entry.client_id) {
            ranks.push(entry);
            return self.send(RingMessage::Election(Election { ranks, term: None }));
        }
        let entries = ranks.len();
        let first_met = ranks.into_iter().reduce(|best, other| if other.rank > best.rank { other } else { best });
        let Some(Candidate { client_id: leader, .. }) = first_met else { return vec![] };
        let mut effects = self.send(RingMessage::NewLeader(NewLeader::of(leader.clone(), None)));
        effects.push(Effect::Report(Report::Announced { leader, entries }));
        effects
    }

    fn on_new_leader(&mut self, leader: ClientId) -> Effects {
        self.leader = Some(leader);
        [Timer::Campaign, Timer::CheckTimeout].map(Effect::CancelTimer).into()
    }

    fn on_check(&self, asker: Option<ClientId>) -> Effects {
        let Some(destination_id) = asker else { return vec![] };
        self.send(RingMessage::AnswerLeader(AnswerLeader { destination_id, term: None }))
    }

    fn on_check_due(&mut self) -> Effects {
        let mut effects = match &self.leader {
            None => self.start(),
            leader if *leader == self.me => vec![],
            Some(leader) => {
                let check = CheckLeader { leader_id: leader.clone(), term: None };
                let mut effects = self.send(RingMessage::CheckLeader(check));
                effects.push(Effect::SetTimer { timer: Timer::CheckTimeout, after: exactly(CHECK_TIMEOUT) });
                effects
            }
        };
        effects.push(Effect::SetTimer { timer: Timer::Check, after: exactly(CHECK_INTERVAL) });
        effects
    }

    fn on_check_timeout(&mut self) -> Effects {
        let Some(leader) = self.leader.take() else { return vec![] };
        let mut effects = vec![Effect::Report(Report::Unanswered { leader })];
        effects.extend(self.start());
        effects
    }

    fn start(&self) -> Effects {
        let Some(entry) = self.entry() else { return vec![] };
        let mut effects = self.send(RingMessage::Election(Election { ranks: vec![entry], term: None }));
        effects.push(Effect::Report(Report::Started));
        effects
    }

    fn entry(&self) -> Option<Candidate> {
        self.me.clone().map(|client_id| Candidate { rank: self.rank, client_id })
    }

    fn send(&self, message: RingMessage) -> Effects {
        let frame = Frame { sender_id: self.me.clone(), client_id: None, body: Body::Ring(message) };
        vec![Effect::Send { to: Hub, message: wire::encode(&frame).into() }]
    }
}
