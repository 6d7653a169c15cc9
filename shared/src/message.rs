//! What members of a hub's ring say to each other, and what comes with it.

use serde::{Deserialize, Serialize};

use crate::id::{Candidate, ClientId, Name, Rank, Term};

/// How a hub passes frames on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Routing {
    /// Hop by hop, from a member to its ring successor, until consumed.
    #[default]
    Ring,
    /// The classic way: elections to the successor, announcements to everybody,
    /// checks and answers to whom they name.
    Direct,
}

/// A frame of the ring. `R` is how the ranks are held: parsed, for who elects;
/// as they came, for who only relays.
///
/// A `term` is missing in frames of classic members and hubs, which count none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RingMessage<R = Vec<Candidate>> {
    /// Gathers the ranks of the members, and is home when it is back at its initiator.
    Election(Election<R>),
    /// Says who leads.
    NewLeader(NewLeader),
    /// Asks the leader whether it is there.
    CheckLeader(CheckLeader),
    /// The leader's answer.
    AnswerLeader(AnswerLeader),
    /// From the hub: the leader is no member any more, or has resigned.
    /// From the leader: it resigns.
    LeaderLeft(LeaderLeft),
    /// From the leader: may it go on? From the hub: it may.
    Lease(Lease),
}

/// `election`: the eligible array on its way round.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Election<R> {
    /// Who has taken part so far, the initiator first. One entry: a start.
    pub ranks: R,
    /// In a start the newest term that its sender knows, later the election's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<Term>,
}

/// `newLeader`: the announcement.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewLeader {
    /// Who leads.
    pub leader_id: ClientId,
    /// In which term.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<Term>,
    /// What people call it. The hub adds this on the way out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader_name: Option<Name>,
    /// How long it has to wait before it acts, in milliseconds: an older leader's
    /// lease may run for so long. The hub adds this on the way out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act_after_ms: Option<u64>,
}

impl NewLeader {
    /// An announcement as a member makes it; the rest is the hub's.
    pub fn of(leader_id: ClientId, term: Option<Term>) -> Self {
        NewLeader { leader_id, term, leader_name: None, act_after_ms: None }
    }
}

/// `checkLeader`: is the leader there?
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckLeader {
    /// Who is asked.
    pub leader_id: ClientId,
    /// As leader of which term.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<Term>,
}

/// `answerLeader`: it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AnswerLeader {
    /// Who had asked.
    pub destination_id: ClientId,
    /// As leader of which term.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<Term>,
}

/// `leaderLeft`: there is no leader.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeaderLeft {
    /// Who it was.
    pub leader_id: ClientId,
    /// In which term.
    pub term: Term,
    /// Whether it gave up leading of its own will, so that there is nothing to wait for.
    #[serde(default)]
    pub resigned: bool,
}

/// `lease`: the leader asks that it may act for a while longer, and the hub grants
/// it. Leases are those of Gray and Cheriton (SOSP 1989): whoever holds one counts
/// from before it asked, whoever grants it from after, so no clock has to be right,
/// only run at about the right rate.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// As leader of which term.
    pub term: Term,
    /// In the hub's answer: for how long, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_ms: Option<u64>,
}

/// `greeting`: what joins the ring.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Greeting {
    /// What it will stand with.
    #[serde(default)]
    pub rank: Option<Rank>,
    /// What people call it.
    #[serde(default)]
    pub name: Option<Name>,
    /// Whether it passes on the frames that are not its own. Classic members
    /// pass on elections only; the hub goes on in their place.
    #[serde(default)]
    pub forwards: bool,
    /// The newest term it knows, so that a hub that lost its terms goes on above it.
    #[serde(default)]
    pub term: Option<Term>,
}

/// A member as others are told of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Who it is.
    pub client_id: ClientId,
    /// What people call it; classic members have no name.
    #[serde(default)]
    pub name: Option<Name>,
    /// What it stands with; classic members do not say before they stand.
    #[serde(default)]
    pub rank: Option<Rank>,
    /// Whether it passes on what is not its own; see [`Greeting::forwards`].
    #[serde(default)]
    pub forwards: bool,
}
