//! Algorithms whose nodes speak to each other without a hub, and three ways to run them:
//!
//! - [`world`]: on virtual time, with a seed for chance;
//! - [`stage`]: as a story in a scenario file;
//! - [`seeds`]: under faults drawn by chance, many times;
//! - [`model`]: through everything that can happen, within bounds.
//!
//! One file an algorithm says how its nodes begin, whom they mean, and what has to hold:
//!
//! - [`chang_roberts`], [`lowest_id`], [`paxos`].

pub mod chang_roberts;
pub mod lowest_id;
pub mod model;
pub mod paxos;
pub mod seeds;
pub mod stage;
pub mod world;

use std::fmt::Debug;
use std::hash::Hash;
use std::time::Duration;

use rand::rngs::StdRng;
use ringleader_shared::id::Name;
use ringleader_shared::machine::{Effect, Input, Machine};

/// An algorithm and its cast: what the three ways to run it have to know.
///
/// Nodes are numbered from 0. Where one names another, [`Mesh::whom`] says which is meant.
pub trait Mesh: Clone + Debug + Eq + Hash + Send + Sync + 'static {
    /// What runs on a node.
    type Node: Machine<Peer: Send + Sync, Message: Send + Sync, Timer: Send + Sync, Saved: Send + Sync> + Send + Sync;
    /// What an onlooker keeps in mind.
    type Seen: Clone + Debug + Default + Eq + Hash + Send + Sync + 'static;

    /// Whether a message can be lost while both who speak run on. Else it comes, unless
    /// its receiver ends first.
    const LOSSY: bool;

    /// How many nodes there are.
    fn size(&self) -> usize;

    /// The machine of a program that starts, for the `run`th time (from 1); `saved` is what
    /// an earlier run wrote down.
    fn begin(&self, node: usize, run: u32, saved: Option<&Saved<Self>>) -> Self::Node;

    /// What wakes it.
    fn first(&self) -> Input<Self::Node>;

    /// Whom a node has to reach before it is woken; until then it takes in nothing.
    fn waits_for(&self, _node: usize) -> Option<usize> {
        None
    }

    /// Whom a node means; `None` for somebody who is no node, such as a client.
    fn whom(&self, node: usize, peer: &Peer<Self>) -> Option<usize>;

    /// How a node calls another that speaks to it.
    fn called(&self, node: usize, other: usize) -> Peer<Self>;

    /// What a node is told when the connection from `other` has ended, after all that
    /// came over it.
    fn ended(&self, _node: usize, _other: usize) -> Option<Input<Self::Node>> {
        None
    }

    /// What a node is told when its connection to `other` broke, or none came about.
    fn broken(&self, _node: usize, _other: usize) -> Option<Input<Self::Node>> {
        None
    }

    /// How long an exchange may take: what is said, and the answer on the same connection.
    /// Who wakes later finds no answer to what it asked, and nobody who waits for its own.
    fn exchange(&self) -> Duration {
        Duration::MAX
    }

    /// Whether this is such an answer.
    fn is_answer(&self, _message: &Message<Self>) -> bool {
        false
    }

    /// A message, on one line.
    fn line(&self, message: &Message<Self>) -> String;

    /// Whether a message is worth a line in a trace.
    fn is_news(&self, _message: &Message<Self>) -> bool {
        true
    }

    /// What a node tells, where that is worth a line.
    fn told(&self, node: usize, report: &Report<Self>) -> Option<String>;

    /// Whether a program that tells this ends with it.
    fn ends_with(&self, _report: &Report<Self>) -> bool {
        false
    }

    /// What somebody from outside asks a node for, in words.
    ///
    /// # Errors
    ///
    /// What was expected.
    fn wish(&self, _node: usize, _words: &str) -> Result<Input<Self::Node>, String> {
        Err("nothing can be asked of these nodes".into())
    }

    /// A wish by chance, to some node, if there are wishes.
    fn any_wish(&self, _rng: &mut StdRng) -> Option<(usize, Input<Self::Node>)> {
        None
    }

    /// Looks on while somebody asks for something.
    fn see_wish(&self, _seen: &mut Self::Seen, _wish: &Input<Self::Node>) {}

    /// Looks on while a node does something.
    ///
    /// # Errors
    ///
    /// What is wrong with that.
    fn see(&self, _seen: &mut Self::Seen, _node: usize, _effect: &Effect<Self::Node>) -> Result<(), String> {
        Ok(())
    }

    /// Looks at those that run.
    ///
    /// # Errors
    ///
    /// What is wrong.
    fn judge(&self, _seen: &Self::Seen, _nodes: &[Option<&Self::Node>]) -> Result<(), String> {
        Ok(())
    }

    /// Whether those that run have come to where the algorithm is to bring them.
    fn is_settled(&self, seen: &Self::Seen, nodes: &[Option<&Self::Node>]) -> bool;
}

/// Who a message is from or for.
pub type Peer<A> = <<A as Mesh>::Node as Machine>::Peer;
/// What is said.
pub type Message<A> = <<A as Mesh>::Node as Machine>::Message;
/// The names of timers.
pub type Timer<A> = <<A as Mesh>::Node as Machine>::Timer;
/// What nodes tell.
pub type Report<A> = <<A as Mesh>::Node as Machine>::Report;
/// What they write down.
pub type Saved<A> = <<A as Mesh>::Node as Machine>::Saved;

/// Names for so many nodes: a, b, c, …
pub fn letters(count: usize) -> Vec<Name> {
    (b'a'..=b'z').take(count).filter_map(|letter| Name::new(char::from(letter).to_string()).ok()).collect()
}
