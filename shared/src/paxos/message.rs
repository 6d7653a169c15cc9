//! What nodes and clients say to each other. As JSON, a line each:
//! `{"kind":"prepare","run":17,"ballot":{"round":1,"node":0}}`.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use super::roles::Roles;
use crate::id::MAX_SAFE_INTEGER;

/// The longest value, in bytes.
pub const MAX_VALUE_BYTES: usize = 1024;

/// A node: its position in the list of hosts, from 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u16);

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A client: its connection to a node, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub u64);

/// Who a message comes from or goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Peer {
    /// A node.
    Node(NodeId),
    /// Who wants a value chosen.
    Client(ClientId),
}

/// One memory of a node: what it knows, from when it began to know anything. A node that
/// saves keeps its incarnation over restarts; one that does not has a new one each time.
///
/// No two of one node are equal. A later one is greater, or its node is not heard until
/// the others are started again too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Incarnation(u64);

impl Incarnation {
    /// Such a number, if it is within what JSON readers keep exactly.
    pub fn new(number: u64) -> Option<Incarnation> {
        (number <= MAX_SAFE_INTEGER).then_some(Incarnation(number))
    }
}

impl<'de> Deserialize<'de> for Incarnation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        exact(deserializer).map(Incarnation)
    }
}

fn exact<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    match u64::deserialize(deserializer)? {
        number if number <= MAX_SAFE_INTEGER => Ok(number),
        number => Err(de::Error::custom(format!("expected a number up to {MAX_SAFE_INTEGER}, got {number}"))),
    }
}

/// One attempt to have a value chosen. Ballots compare by round, then by node; no two
/// nodes ever have the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ballot {
    /// Counts a proposer's attempts, above all that it has heard of.
    #[serde(deserialize_with = "exact")]
    pub round: u64,
    /// Whose attempt it is.
    pub node: NodeId,
}

impl fmt::Display for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.round, self.node)
    }
}

/// What is to be chosen: a text of 1 to 1024 bytes without control characters.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(Arc<str>);

/// Why a text is no [`Value`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a value is 1 to {MAX_VALUE_BYTES} bytes without control characters")]
pub struct BadValue;

impl Value {
    /// Checks the length and the characters.
    pub fn new(text: impl AsRef<str>) -> Result<Value, BadValue> {
        let text = text.as_ref();
        let fits = (1..=MAX_VALUE_BYTES).contains(&text.len()) && !text.chars().any(char::is_control);
        if fits { Ok(Value(text.into())) } else { Err(BadValue) }
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl std::str::FromStr for Value {
    type Err = BadValue;
    fn from_str(text: &str) -> Result<Self, BadValue> {
        Value::new(text)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::new(String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// What an acceptor has accepted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vote {
    /// In which ballot.
    pub ballot: Ballot,
    /// Which value.
    pub value: Value,
}

impl fmt::Display for Vote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} in {}", self.value, self.ballot)
    }
}

/// How a run begins: who is what, and with which memories. Whoever has heard it may
/// repeat it to whoever has not.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// What the leader gives out.
    pub roles: Roles,
    /// The incarnation of each node that the leader's candidate met, in the order of
    /// the ids. Only these take part.
    pub members: Vec<Incarnation>,
}

impl Start {
    /// The run's name: the incarnation of its leader, who stands last.
    pub fn run(&self) -> Option<Incarnation> {
        self.members.last().copied()
    }
}

/// Why a client does not hear an outcome yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Waiting {
    /// The run has not begun: the leader's candidate has not met all nodes.
    Start,
    /// No majority of the acceptors answers; these did not.
    Acceptors(Vec<NodeId>),
}

/// Why a node does nothing for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Refusal {
    /// It is no proposer.
    NoProposer,
    /// It was restarted and has forgotten what it had proposed.
    Forgotten,
    /// Too many clients wait already.
    Busy,
}

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", deny_unknown_fields)]
pub enum Message {
    /// Round the ring: somebody stands for leader. Each node that it passes adds its
    /// incarnation.
    Candidate {
        /// Who stands.
        id: NodeId,
        /// Its incarnation and those of the nodes after it, as far as it has come.
        members: Vec<Incarnation>,
    },
    /// Leader to all, or anybody started to who asks by a candidate: the run begins.
    Start(Start),
    /// Proposer to acceptors, phase 1a.
    Prepare {
        /// In which run.
        run: Incarnation,
        /// The attempt.
        ballot: Ballot,
    },
    /// Acceptor to proposer, phase 1b: it will accept nothing lower any more.
    Promise {
        /// In which run.
        run: Incarnation,
        /// What it promises.
        ballot: Ballot,
        /// What it had accepted last.
        accepted: Option<Vote>,
    },
    /// Acceptor to proposer: no, it has promised a higher one, or this one already.
    Nack {
        /// In which run.
        run: Incarnation,
        /// What was asked.
        ballot: Ballot,
        /// What it has promised.
        promised: Ballot,
    },
    /// Proposer to acceptors, phase 2a.
    Accept {
        /// In which run.
        run: Incarnation,
        /// What to accept.
        vote: Vote,
    },
    /// Acceptor to the learners and the proposer, phase 2b: it has accepted.
    Accepted {
        /// In which run.
        run: Incarnation,
        /// What.
        vote: Vote,
    },
    /// Who knows to who does not: this was chosen.
    Chosen {
        /// In which run.
        run: Incarnation,
        /// The value.
        value: Value,
    },
    /// A learner to all: what did you accept, or do you know what was chosen?
    Query {
        /// In which run.
        run: Incarnation,
        /// It has heard votes, and no quorum: who proposes is to bring it to an end.
        unfinished: bool,
    },
    /// Client to proposer.
    Propose {
        /// What it wants chosen.
        value: Value,
    },
    /// Proposer to client: this was chosen, wanted or not.
    Outcome {
        /// The value.
        value: Value,
    },
    /// Proposer to client: not yet.
    Waiting {
        /// For what.
        waiting: Waiting,
    },
    /// Node to client: no.
    Refused {
        /// Why.
        why: Refusal,
    },
}

impl Message {
    /// The run that it belongs to; `None` for what belongs to none.
    pub fn run(&self) -> Option<Incarnation> {
        match self {
            Message::Prepare { run, .. }
            | Message::Promise { run, .. }
            | Message::Nack { run, .. }
            | Message::Accept { run, .. }
            | Message::Accepted { run, .. }
            | Message::Chosen { run, .. }
            | Message::Query { run, .. } => Some(*run),
            Message::Candidate { .. }
            | Message::Start(_)
            | Message::Propose { .. }
            | Message::Outcome { .. }
            | Message::Waiting { .. }
            | Message::Refused { .. } => None,
        }
    }
}

/// For logs and traces: on one line, and without the run.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Candidate { id, members } => write!(f, "candidate {id}, met {}", members.len()),
            Message::Start(_) => write!(f, "start"),
            Message::Prepare { ballot, .. } => write!(f, "prepare {ballot}"),
            Message::Promise { ballot, accepted: None, .. } => write!(f, "promise {ballot}"),
            Message::Promise { ballot, accepted: Some(vote), .. } => write!(f, "promise {ballot}, accepted {vote}"),
            Message::Nack { ballot, promised, .. } => write!(f, "nack {ballot}, promised {promised}"),
            Message::Accept { vote, .. } => write!(f, "accept {vote}"),
            Message::Accepted { vote, .. } => write!(f, "accepted {vote}"),
            Message::Chosen { value, .. } => write!(f, "chosen {value:?}"),
            Message::Query { .. } => write!(f, "query"),
            Message::Propose { value } => write!(f, "propose {value:?}"),
            Message::Outcome { value } => write!(f, "outcome {value:?}"),
            Message::Waiting { waiting: Waiting::Start } => write!(f, "waiting for the start"),
            Message::Waiting { waiting: Waiting::Acceptors(silent) } => write!(f, "waiting for acceptors {silent:?}"),
            Message::Refused { why } => write!(f, "refused {why:?}"),
        }
    }
}
