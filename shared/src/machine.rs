//! The shape of everything that decides.
//!
//! A machine is a value. It is told what happened ([`Input`]) and answers with
//! what is to be done ([`Effect`]), in order. It reads no clock, opens no socket
//! and draws no number: a driver does, be it tokio's, the simulator's or a model
//! checker's. So equal machines given equal inputs do equal things, which is what
//! makes a trace repeat.
//!
//! The contract of a driver:
//!
//! 1. It owns the machine. One input at a time, no lock around it.
//! 2. It performs the effects in the order in which they stand, and none after an
//!    [`Effect::Save`] before that is written.
//! 3. A timer has a name. Setting one that runs replaces it; one that has fired
//!    or was cancelled does not come back.
//! 4. Messages between the same two come in the order in which they were sent,
//!    or not at all.

use std::fmt::Debug;
use std::hash::Hash;
use std::ops::Range;
use std::time::Duration;

/// A plain value: can be copied, printed, compared and hashed.
pub trait Value: Clone + Debug + Eq + Hash + 'static {}
impl<T: Clone + Debug + Eq + Hash + 'static> Value for T {}

/// Something that decides.
pub trait Machine: Value {
    /// Who a message can come from or go to.
    type Peer: Value;
    /// What is said.
    type Message: Value;
    /// The names of its timers.
    type Timer: Value + Ord;
    /// What else can happen to it: a link that breaks, somebody who asks.
    type Event: Value;
    /// What it has to tell: to logs, to onlookers, to the program around it.
    type Report: Value;
    /// What has to survive the end of its program; [`Infallible`](std::convert::Infallible) where nothing has to.
    type Saved: Value;

    /// Takes in what happened; returns what is to be done.
    fn handle(&mut self, input: Input<Self>) -> Vec<Effect<Self>>;

    /// Panics if an invariant that one node can see is broken. Tests, the
    /// simulator and the model checker call it after each step.
    fn check(&self) {}
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Input<M: Machine> {
    /// A message came.
    Message {
        /// Over whose connection.
        from: M::Peer,
        /// What it says.
        message: M::Message,
    },
    /// A timer ran out.
    Timeout(M::Timer),
    /// Something else.
    Event(M::Event),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Effect<M: Machine> {
    /// Send a message.
    Send {
        /// Over whose connection.
        to: M::Peer,
        /// What to say.
        message: M::Message,
    },
    /// Start a timer, or start it anew. The driver draws the delay from the
    /// range; an empty range means exactly its start.
    SetTimer {
        /// Its name.
        timer: M::Timer,
        /// How long, from now.
        after: Range<Duration>,
    },
    /// Stop a timer, if it runs.
    CancelTimer(M::Timer),
    /// Write this down, in place of what was written before. What stands after it
    /// is done only when it is written: a program that ends now can begin with it.
    Save(M::Saved),
    /// Tell the world.
    Report(M::Report),
}

/// A delay without any chance in it.
pub fn exactly(delay: Duration) -> Range<Duration> {
    delay..delay
}
