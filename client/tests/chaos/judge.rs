//! What has to hold, told from outside: from what each node printed, what the hub
//! showed to a spectator, and what a fenced resource let through. The names are
//! those of `sim/src/property.rs`.
//!
//! Happenings of one source are in order; between sources only their times tell.
//! One machine has one clock, so times of different processes compare.

use std::collections::BTreeMap;
use std::fmt;

use ringleader_client::Term;
use ringleader_shared::id::ClientId;

/// Something that happened, at a time in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq)]
pub struct Happening {
    pub at: u64,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A node's process starts, and remembers nothing.
    Starts { node: String },
    /// It has ended: at the latest then it stopped acting.
    Ends { node: String },
    /// A node has said what it believes.
    Believes(Belief),
    /// The hub has sent an announcement round.
    Announced { leader: ClientId, term: Term },
    /// The resource let a write through, or turned it away.
    Wrote { node: String, term: Term, accepted: bool },
    /// What was done to the ring, for whoever reads the story.
    Fault(String),
}

/// One line of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Belief {
    pub node: String,
    pub id: Option<ClientId>,
    pub term: Term,
    pub leader: Option<ClientId>,
    pub may_act: bool,
    /// When its lease runs out, as far as it said.
    pub act_until: Option<u64>,
}

/// A property that did not hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Violation {
    pub at: u64,
    /// Its name, such as "S1".
    pub property: &'static str,
    pub how: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.at, self.property, self.how)
    }
}

/// Everything that did not hold in this history.
pub fn judge(history: &[Happening]) -> Vec<Violation> {
    let mut found = one_leader_a_term(history);
    found.extend(terms_never_fall(history));
    found.extend(no_stale_write(history));
    found.extend(one_lease_at_a_time(history));
    found.sort_by_key(|violation| violation.at);
    found
}

/// S1, at most one leader is announced in a term, and S3, all who believe in a leader
/// of a term believe in the same. Ids are the hub's and never come again, so that a
/// node which joined anew is somebody else.
fn one_leader_a_term(history: &[Happening]) -> Vec<Violation> {
    let announced = history.iter().filter_map(|happening| match &happening.what {
        What::Announced { leader, term } => Some((happening.at, "S1", "the hub announced".to_owned(), leader, term)),
        _ => None,
    });
    let believed = history.iter().filter_map(|happening| match &happening.what {
        What::Believes(belief @ Belief { leader: Some(leader), .. }) => {
            Some((happening.at, "S3", format!("{} believes in", belief.node), leader, &belief.term))
        }
        _ => None,
    });
    let mut leaders: BTreeMap<Term, (String, ClientId)> = BTreeMap::new();
    let mut found = vec![];
    for (at, property, who, leader, term) in announced.chain(believed) {
        let (first_who, first) = leaders.entry(*term).or_insert_with(|| (who.clone(), leader.clone()));
        if first != leader {
            let how = format!("term {term}: {first_who} {first}, {who} {leader}");
            found.push(Violation { at, property, how });
        }
    }
    found
}

/// S2: the term of a node's process never falls.
fn terms_never_fall(history: &[Happening]) -> Vec<Violation> {
    let mut newest: BTreeMap<&str, Term> = BTreeMap::new();
    let mut found = vec![];
    for Happening { at, what } in history {
        match what {
            What::Starts { node } => _ = newest.remove(node.as_str()),
            What::Believes(belief) => {
                let before = newest.insert(&belief.node, belief.term).unwrap_or(Term::NONE);
                if belief.term < before {
                    let how = format!("{} went from term {before} to {}", belief.node, belief.term);
                    found.push(Violation { at: *at, property: "S2", how });
                }
            }
            _ => {}
        }
    }
    found
}

/// S5: the resource never lets an older term through after a newer.
fn no_stale_write(history: &[Happening]) -> Vec<Violation> {
    let mut newest = Term::NONE;
    let mut found = vec![];
    for Happening { at, what } in history {
        if let What::Wrote { node, term, accepted: true } = what {
            if *term < newest {
                let how = format!("a write by {node} in term {term} was accepted after one in term {newest}");
                found.push(Violation { at: *at, property: "S5", how });
            }
            newest = newest.max(*term);
        }
    }
    found
}

/// S6: no two leases at one instant.
fn one_lease_at_a_time(history: &[Happening]) -> Vec<Violation> {
    let mut leases = leases(history);
    leases.sort_by_key(|lease| lease.from);
    let mut found = vec![];
    let mut longest: Option<&Lease> = None;
    for lease in &leases {
        match longest {
            Some(before) if lease.from < before.until && before.node != lease.node => {
                let how = format!(
                    "{} of term {} may act from {}, and {} of term {} until {}",
                    lease.node, lease.term, lease.from, before.node, before.term, before.until
                );
                found.push(Violation { at: lease.from, property: "S6", how });
            }
            _ => {}
        }
        if longest.is_none_or(|before| before.until < lease.until) {
            longest = Some(lease);
        }
    }
    found
}

/// From when to when a node might act. A stopped one says nothing: its lease goes on
/// to the end that it knew of.
struct Lease {
    node: String,
    term: Term,
    from: u64,
    until: u64,
}

fn leases(history: &[Happening]) -> Vec<Lease> {
    let mut open: BTreeMap<&str, Lease> = BTreeMap::new();
    let mut done = vec![];
    for Happening { at, what } in history {
        let (node, belief) = match what {
            What::Ends { node } => (node.as_str(), None),
            What::Believes(belief) => (belief.node.as_str(), Some(belief).filter(|belief| belief.may_act)),
            _ => continue,
        };
        let ends = open.get(node).is_some_and(|lease| belief.is_none_or(|belief| belief.term != lease.term));
        if ends && let Some(mut lease) = open.remove(node) {
            lease.until = lease.until.min(*at);
            done.push(lease);
        }
        if let Some(Belief { term, act_until, .. }) = belief {
            let until = act_until.unwrap_or(*at);
            let lease = Lease { node: node.to_owned(), term: *term, from: *at, until };
            let lease = open.entry(node).or_insert(lease);
            lease.until = lease.until.max(until);
        }
    }
    done.extend(open.into_values());
    done
}
