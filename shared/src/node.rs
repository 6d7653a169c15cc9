//! A machine made of machines: an election, and the work that its leader shares out.
//!
//! Winning the election makes a node the coordinator, as soon as it may act; losing it,
//! or its lease, ends that. Whoever follows is a worker. So a driver runs one machine.

use std::convert::Infallible;

use crate::election::eligible_array::{self as election, EligibleArray};
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

    fn handle(&mut self, _input: Input<Self>) -> Effects {
        vec![]
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
