//! What has to hold in every run. A node cannot see these; an onlooker can, from
//! what the hub and the nodes tell. One function each, with where the claim comes
//! from; in plain words they are in `docs/properties.md`. Files of this room:
//!
//! - this one: their names, and the onlooker;
//! - `terms`: S1 to S3;
//! - `frames`: S4, S7 and S8;
//! - `leases`: S5 and S6;
//! - [`liveness`]: L1 to L3.
//!
//! A hub that comes back without its store begins a new history: terms may begin
//! again, and what was said in one is not held against another (S1, S3, S6).

mod frames;
mod leases;
pub mod liveness;
mod terms;

use std::fmt;
use std::time::Duration;

use ringleader_shared::election::eligible_array::Report;
use ringleader_shared::relay;
use thiserror::Error;

use crate::plant::{Plant, Slip};
use crate::trace::{Deed, Happening, HubDeed, What};
use crate::world::Setting;
use frames::Frames;
use leases::Leases;
use terms::Terms;

macro_rules! properties {
    ($($property:ident: $statement:literal,)*) => {
        /// A property.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Property {
            $(#[doc = $statement] $property,)*
        }

        impl Property {
            /// What it says.
            pub fn statement(self) -> &'static str {
                match self {
                    $(Property::$property => $statement,)*
                }
            }
        }
    };
}

properties! {
    S1: "at most one leader is announced a term",
    S2: "a member's term never falls",
    S3: "same term, same leader",
    S4: "an announced leader is a member, took part, and had the highest rank",
    S5: "what is fenced accepts no older term after a newer one",
    S6: "no two leases run at one instant",
    S7: "a relayed senderId is the member that started the frame",
    S8: "every frame that moves ends",
    L1: "once faults stop, all agree on a live leader in time",
    L2: "no fault, no new term",
    L3: "with --early, a closed connection is followed by a new leader in n+3 hops",
    Invariant: "no machine finds itself in a state that it excludes",
}

/// A property that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{property}, {}: {problem}", property.statement())]
pub struct Violation {
    /// Which.
    pub property: Property,
    /// What was seen.
    pub problem: String,
}

impl Violation {
    fn of<T>(property: Property, problem: String) -> Result<T, Violation> {
        Err(Violation { property, problem })
    }
}

/// What the onlooker has seen. It watches safety; for liveness there is a
/// [`Judge`](liveness::Judge).
#[derive(Debug)]
pub struct Onlooker {
    /// Counts the hubs that began with an empty store.
    history: u32,
    terms: Terms,
    frames: Frames,
    leases: Leases,
    /// Whether S6 is promised.
    clocks_hold: bool,
}

impl Onlooker {
    /// Who has seen nothing yet of such a world.
    pub fn new(setting: &Setting) -> Self {
        let hop_timeout = setting.relay.hop_timeout.div_f64(setting.hub_clock);
        Onlooker {
            history: 0,
            terms: Terms::default(),
            frames: Frames::new(hop_timeout),
            leases: Leases::default(),
            clocks_hold: setting.clocks_hold || setting.plant == Some(Plant::Slip(Slip::ClocksBeyondBounds)),
        }
    }

    /// Takes in what happened in one step of the world.
    ///
    /// # Errors
    ///
    /// A property does not hold any more.
    pub fn see(&mut self, step: &[Happening]) -> Result<(), Violation> {
        self.frames.begin_step();
        step.iter().try_for_each(|Happening { at, what }| self.see_one(*at, what))
    }

    fn see_one(&mut self, at: Duration, what: &What) -> Result<(), Violation> {
        match what {
            What::Hears { from, lies, frame } => {
                self.frames.hear(at, from, *lies, frame);
                Ok(())
            }
            What::Hub(relay::Report::Relayed { from, to, frame }) => self.frames.relayed(at, from.as_ref(), to, frame),
            What::Hub(relay::Report::Opened { term, initiator }) => self.frames.opened(*term, initiator),
            What::Hub(relay::Report::Elected { leader, term }) => {
                self.terms.one_leader_a_term((self.history, *term), leader)?;
                self.frames.leader_took_part(*term, leader)
            }
            What::Hub(relay::Report::Joined(member)) => {
                self.frames.joined(&member.client_id);
                Ok(())
            }
            What::Hub(relay::Report::Left(member)) => {
                self.frames.left(&member.client_id);
                Ok(())
            }
            What::Node { node, report: Report::Believes(belief), .. } => {
                self.terms.never_fall(node, belief.term)?;
                self.terms.same_term_same_leader(node, belief)
            }
            What::Connects { node } => {
                self.terms.connects(node, self.history);
                Ok(())
            }
            // A program that begins knows no term.
            What::Deed { node, deed: Deed::Starts } => {
                self.terms.starts(node);
                Ok(())
            }
            What::HubDeed(deed @ (HubDeed::Starts | HubDeed::StartsEmpty)) => {
                self.history += u32::from(*deed == HubDeed::StartsEmpty);
                self.frames.hub_starts();
                Ok(())
            }
            What::Leased { node, until, by_lease: true, .. } if self.clocks_hold => {
                // Of the hub that it got its lease from.
                let history = self.terms.history_of(node);
                self.leases.no_two_leases((at, history), node, *until)
            }
            What::Idle { node } => {
                self.leases.idle(node);
                Ok(())
            }
            What::Wrote { node, term, admitted: true } => self.leases.fenced((self.history, *term), node),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringleader_shared::election::{Belief, Role};
    use ringleader_shared::id::{ClientId, Name, Term};

    fn term(value: u64) -> Term {
        Term::new(value).unwrap()
    }

    fn name(node: &str) -> Name {
        Name::new(node).unwrap()
    }

    fn follows(node: &str, leader: &str, of: u64) -> What {
        let leader = ClientId::new(leader).ok();
        let report = Report::Believes(Belief { role: Role::Follower, leader, term: term(of), may_act: false });
        What::Node { node: name(node), id: None, report }
    }

    fn acts(node: &str, until: u64) -> What {
        What::Leased { node: name(node), term: term(1), until: Some(Duration::from_secs(until)), by_lease: true }
    }

    fn writes(node: &str, of: u64) -> What {
        What::Wrote { node: name(node), term: term(of), admitted: true }
    }

    fn starts(node: &str) -> What {
        What::Deed { node: name(node), deed: Deed::Starts }
    }

    /// What nobody has to play to know. The rest is in `tests/plants.rs`.
    #[test]
    fn the_onlooker_sees_each_violation() {
        let forgets = || What::HubDeed(HubDeed::StartsEmpty);
        // what happens at 1 s, and what the last of it breaks
        let table = [
            (vec![follows("a", "b", 1)], Some(Property::S3)),
            (vec![follows("a", "b", 0), acts("c", 1), acts("d", 4)], None),
            (vec![acts("c", 2), acts("d", 4)], Some(Property::S6)),
            (vec![acts("c", 2), What::Idle { node: name("c") }, acts("d", 4)], None),
            (vec![acts("c", 2), forgets(), What::Connects { node: name("d") }, acts("d", 4)], None),
            (vec![writes("c", 1), writes("c", 1), writes("d", 2)], None),
            (vec![writes("d", 2), writes("c", 1)], Some(Property::S5)),
            (vec![writes("c", 1), writes("d", 1)], Some(Property::S5)),
            (vec![writes("c", 1), forgets(), writes("d", 1)], None),
            (vec![follows("a", "b", 0), starts("a"), follows("a", "b", 0)], None),
        ];
        for (story, expected) in table {
            let mut onlooker = Onlooker::new(&Setting::default());
            let at = Duration::from_secs(1);
            let said: Vec<_> = story.iter().map(|what| onlooker.see(&[Happening { at, what: what.clone() }])).collect();
            let (last, before) = said.split_last().unwrap();
            assert!(before.iter().all(Result::is_ok), "{story:?}: {before:?}");
            assert_eq!(last.as_ref().err().map(|violation| violation.property), expected, "{story:?}");
        }
        let mut terms = Terms::default();
        assert!(terms.one_leader_a_term((0, term(1)), &ClientId::new("a").unwrap()).is_ok());
        assert!(terms.one_leader_a_term((1, term(1)), &ClientId::new("b").unwrap()).is_ok(), "another history");
        assert!(terms.one_leader_a_term((0, term(1)), &ClientId::new("a").unwrap()).is_err(), "twice the same, too");
        assert!(terms.never_fall(&name("a"), term(2)).is_ok());
        assert_eq!(terms.never_fall(&name("a"), term(1)).unwrap_err().property, Property::S2);
        terms.starts(&name("a"));
        assert!(terms.never_fall(&name("a"), term(0)).is_ok(), "a new program knows no term");
    }
}
