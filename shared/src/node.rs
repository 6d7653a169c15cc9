//! A machine made of machines: an election, and the work that its leader shares out.
//!
//! Winning the election makes a node the coordinator, as soon as it may act; losing it,
//! or its lease, ends that. Whoever follows is a worker. So a driver runs one machine.

use std::convert::Infallible;

use crate::election::eligible_array::{self as election, EligibleArray};
use crate::election::{Belief, Role};
use crate::factorial::coordinator::{self, Coordinator};
use crate::factorial::message as work;
use crate::factorial::message::Peer;
use crate::factorial::worker::{self, Worker};
use crate::id::{ClientId, Term};
use crate::machine::{Effect, Input, Machine};

/// What a node does besides electing; nothing, unless told.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Work {
    /// How it coordinates, if it is elected and does that.
    pub coordinates: Option<coordinator::Options>,
    /// How it computes for a coordinator that it follows, if it does that.
    pub computes: Option<worker::Options>,
}

/// Whom a node speaks to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum To {
    /// The hub, about the election.
    Hub,
    /// Whoever takes part in the work, under the leader of that term.
    Work(Peer, Term),
}

/// What it says and hears.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Message {
    /// About the election.
    Election(election::Sent),
    /// About the work.
    Work(work::Message),
}

/// Its timers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// The election's.
    Election(election::Timer),
    /// The coordinator's.
    Coordinator(coordinator::Timer),
    /// The worker's.
    Worker(worker::Timer),
}

/// What it tells.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Report {
    /// About the election.
    Election(election::Report),
    /// It coordinates from now on, in this term; or not any more.
    Coordinates(Option<Term>),
    /// The coordinator's.
    Coordinator(coordinator::Report),
    /// The worker's.
    Worker(worker::Report),
}

/// A member with its work.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Node {
    election: EligibleArray,
    work: Work,
    me: Option<ClientId>,
    worker: Option<Worker>,
    coordinator: Option<Coordinator>,
}

type Effects = Vec<Effect<Node>>;

impl Machine for Node {
    type Peer = To;
    type Message = Message;
    type Timer = Timer;
    type Event = election::Event;
    type Report = Report;
    type Saved = Infallible;

    fn handle(&mut self, input: Input<Self>) -> Effects {
        let mut out = vec![];
        match input {
            Input::Event(event) => self.elect(Input::Event(event), &mut out),
            Input::Message { message: Message::Election(message), .. } => {
                self.elect(Input::Message { from: election::Hub, message }, &mut out);
            }
            Input::Timeout(Timer::Election(timer)) => self.elect(Input::Timeout(timer), &mut out),
            Input::Message { from: To::Work(from, term), message: Message::Work(message) } => {
                self.on_work(from, term, message, &mut out);
            }
            // The hub's words about an election are no work.
            Input::Message { from: To::Hub, message: Message::Work(_) } => {}
            Input::Timeout(Timer::Coordinator(timer)) => self.coordinate(Input::Timeout(timer), &mut out),
            Input::Timeout(Timer::Worker(timer)) => self.compute(Input::Timeout(timer), &mut out),
        }
        out
    }

    fn check(&self) {
        self.election.check();
        self.worker.iter().for_each(Worker::check);
        self.coordinator.iter().for_each(Coordinator::check);
        let belief = self.election.belief();
        let acts = self.coordinator.as_ref().is_none_or(|it| belief.may_act && it.term() == belief.term);
        assert!(acts, "who coordinates may act as the leader, in that term");
    }
}

impl Node {
    /// A node that is in no ring yet.
    pub fn new(election: EligibleArray, work: Work) -> Self {
        let worker = work.computes.clone().map(Worker::new);
        Node { election, work, me: None, worker, coordinator: None }
    }

    /// The election's machine: what it believes, when its lease ends.
    pub fn election(&self) -> &EligibleArray {
        &self.election
    }

    /// The term in which this node coordinates, if it does.
    pub fn coordinates(&self) -> Option<Term> {
        self.coordinator.as_ref().map(Coordinator::term)
    }

    fn elect(&mut self, input: Input<EligibleArray>, out: &mut Effects) {
        if let Input::Event(election::Event::Joined(joined)) = &input {
            self.me = Some(joined.me.clone());
        }
        let before = self.election.belief();
        out.extend(self.election.handle(input).into_iter().map(from_election));
        let after = self.election.belief();
        if after != before {
            self.on_belief(after, out);
        }
    }

    fn on_belief(&mut self, belief: Belief, out: &mut Effects) {
        let Belief { role, leader, term, may_act } = belief;
        if self.coordinates().is_some_and(|since| !may_act || since != term)
            && let Some(coordinator) = self.coordinator.take()
        {
            out.push(Effect::Report(Report::Coordinates(None)));
            out.extend(coordinator.end().into_iter().map(|effect| from_coordinator(effect, term)));
        }
        // A hub that counts no terms has no board.
        if may_act
            && term != Term::NONE
            && self.coordinator.is_none()
            && let Some((me, options)) = self.me.clone().zip(self.work.coordinates.clone())
        {
            out.push(Effect::Report(Report::Coordinates(Some(term))));
            let memory = self.worker.as_ref().map(Worker::memory);
            let (coordinator, effects) = Coordinator::begin(me, term, options, memory);
            self.coordinator = Some(coordinator);
            out.extend(effects.into_iter().map(|effect| from_coordinator(effect, term)));
        }
        let follows = leader.filter(|_| role == Role::Follower).map(|leader| (leader, term));
        self.compute(Input::Event(worker::Event::Follows(follows)), out);
    }

    /// What is said under another leader than ours is of no concern, but for a call to
    /// work, which can be here before the announcement is.
    fn on_work(&mut self, from: Peer, term: Term, message: work::Message, out: &mut Effects) {
        if self.coordinates() == Some(term) {
            self.coordinate(Input::Message { from: from.clone(), message: message.clone() }, out);
        }
        self.compute(Input::Message { from: (from, term), message }, out);
    }

    fn coordinate(&mut self, input: Input<Coordinator>, out: &mut Effects) {
        if let Some(coordinator) = &mut self.coordinator {
            let term = coordinator.term();
            out.extend(coordinator.handle(input).into_iter().map(|effect| from_coordinator(effect, term)));
        }
    }

    fn compute(&mut self, input: Input<Worker>, out: &mut Effects) {
        if let Some(worker) = &mut self.worker {
            out.extend(worker.handle(input).into_iter().map(from_worker));
        }
    }
}

fn from_election(effect: Effect<EligibleArray>) -> Effect<Node> {
    match effect {
        Effect::Send { to: election::Hub, message } => {
            Effect::Send { to: To::Hub, message: Message::Election(message) }
        }
        Effect::SetTimer { timer, after } => Effect::SetTimer { timer: Timer::Election(timer), after },
        Effect::CancelTimer(timer) => Effect::CancelTimer(Timer::Election(timer)),
        Effect::Save(never) => match never {},
        Effect::Report(report) => Effect::Report(Report::Election(report)),
    }
}

fn from_coordinator(effect: Effect<Coordinator>, term: Term) -> Effect<Node> {
    match effect {
        Effect::Send { to, message } => Effect::Send { to: To::Work(to, term), message: Message::Work(message) },
        Effect::SetTimer { timer, after } => Effect::SetTimer { timer: Timer::Coordinator(timer), after },
        Effect::CancelTimer(timer) => Effect::CancelTimer(Timer::Coordinator(timer)),
        Effect::Save(never) => match never {},
        Effect::Report(report) => Effect::Report(Report::Coordinator(report)),
    }
}

fn from_worker(effect: Effect<Worker>) -> Effect<Node> {
    match effect {
        Effect::Send { to: (peer, term), message } => {
            Effect::Send { to: To::Work(peer, term), message: Message::Work(message) }
        }
        Effect::SetTimer { timer, after } => Effect::SetTimer { timer: Timer::Worker(timer), after },
        Effect::CancelTimer(timer) => Effect::CancelTimer(Timer::Worker(timer)),
        Effect::Save(never) => match never {},
        Effect::Report(report) => Effect::Report(Report::Worker(report)),
    }
}

/// What the election is told, told to the whole.
impl From<Input<EligibleArray>> for Input<Node> {
    fn from(input: Input<EligibleArray>) -> Self {
        match input {
            Input::Message { from: election::Hub, message } => {
                Input::Message { from: To::Hub, message: Message::Election(message) }
            }
            Input::Timeout(timer) => Input::Timeout(Timer::Election(timer)),
            Input::Event(event) => Input::Event(event),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::election::eligible_array::{Event, Hub, Joined, Sent, Timing};
    use crate::factorial::message::{Request, Said};
    use crate::id::Name;
    use crate::message::{Lease, NewLeader, RingMessage, Routing};
    use std::time::Duration;

    fn id(text: &str) -> ClientId {
        ClientId::new(text).unwrap()
    }

    fn term(value: u64) -> Term {
        Term::new(value).unwrap()
    }

    /// `b`, of a ring whose hub grants leases.
    fn joined() -> Node {
        let name = Name::new("blue").unwrap();
        let work = Work { coordinates: Some(Default::default()), computes: Some(worker::Options::new(name)) };
        let mut node = Node::new(EligibleArray::new(7.into(), Timing::default()), work);
        let lease = Some(Duration::from_secs(4));
        let joined = Joined { me: id("b"), routing: Routing::Ring, counts_terms: true, leader: None, lease };
        node.handle(Input::Event(Event::Joined(joined)));
        node
    }

    fn hear(node: &mut Node, message: RingMessage) -> Effects {
        let effects =
            node.handle(Input::<EligibleArray>::Message { from: Hub, message: Sent { origin: None, message } }.into());
        node.check();
        effects
    }

    fn announce(node: &mut Node, leader: &str, in_term: u64) -> Effects {
        hear(node, RingMessage::NewLeader(NewLeader::of(id(leader), Some(term(in_term)))))
    }

    #[test]
    fn to_be_elected_is_not_yet_to_coordinate_and_to_be_granted_a_lease_is() {
        let mut node = joined();
        announce(&mut node, "b", 1);
        assert_eq!(node.coordinates(), None);
        let effects = hear(&mut node, RingMessage::Lease(Lease { term: term(1), lease_ms: Some(4000) }));
        assert_eq!(node.coordinates(), Some(term(1)));
        let claim = work::Message::Ask(Request::Claim { by: id("b"), term: term(1) });
        let claim = Effect::Send { to: To::Work(Peer::Board, term(1)), message: Message::Work(claim) };
        assert!(effects.contains(&claim), "{effects:?}");
        let effects = announce(&mut node, "a", 2);
        assert_eq!(node.coordinates(), None, "somebody else leads");
        assert!(effects.contains(&Effect::Report(Report::Coordinates(None))), "{effects:?}");
    }

    #[test]
    fn who_follows_takes_part_when_called_be_it_before_the_announcement_is_there() {
        let called = |from: &str| Input::Message {
            from: To::Work(Peer::Member(id(from)), term(1)),
            message: Message::Work(work::Message::Said(Said::Coordinating)),
        };
        let is_ready = |effects: &Effects| {
            effects.iter().any(|effect| {
                matches!(effect, Effect::Send { to: To::Work(Peer::Member(to), _), message } if *to == id("a")
                    && matches!(message, Message::Work(work::Message::Said(Said::Ready { .. }))))
            })
        };
        let mut late = joined();
        assert!(!is_ready(&late.handle(called("a"))));
        assert!(is_ready(&announce(&mut late, "a", 1)));
        let mut early = joined();
        assert!(!is_ready(&announce(&mut early, "a", 1)), "nobody has called");
        assert!(is_ready(&early.handle(called("a"))));
        assert!(!is_ready(&early.handle(called("c"))), "that one does not lead");
    }

    #[test]
    fn without_work_a_node_only_elects() {
        let mut node = Node::new(EligibleArray::new(7.into(), Timing::default()), Work::default());
        let joined = Joined { me: id("b"), routing: Routing::Ring, counts_terms: true, leader: None, lease: None };
        node.handle(Input::Event(Event::Joined(joined)));
        announce(&mut node, "b", 1);
        assert!(node.election().belief().may_act, "a hub without leases: to lead is to act");
        assert_eq!(node.coordinates(), None);
    }
}
