//! Rules that are broken on purpose, to see that it is noticed: those of the machines
//! ([`Rule`]) and those that a driver has to keep ([`Slip`]).

use std::fmt;
use std::str::FromStr;

use ringleader_shared::rule::Rule;
use thiserror::Error;

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// A machine does not keep a rule.
    Rule(Rule),
    /// A driver slips.
    Slip(Slip),
}

/// What a driver can do wrong, or what it acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slip {
    /// The hub's store loses what is written to it.
    SavesLost,
    /// The hub says things first and writes them down afterwards.
    SavedAfterSaid,
    /// A hub that starts again forgets that a lease may run.
    LeaseForgotten,
    /// The hub takes every connection that is gone for one that its other side closed.
    LostTakenForClosed,
    /// Timers that were cancelled run out all the same.
    CancelledTimersFire,
    /// The fence lets older terms through.
    FenceAdmitsOlder,
    /// Clocks run faster and slower than leases allow for.
    ClocksBeyondBounds,
}

impl Slip {
    /// All of them.
    pub const ALL: &[Slip] = &[
        Slip::SavesLost,
        Slip::SavedAfterSaid,
        Slip::LeaseForgotten,
        Slip::LostTakenForClosed,
        Slip::CancelledTimersFire,
        Slip::FenceAdmitsOlder,
        Slip::ClocksBeyondBounds,
    ];

    /// What the rule is called that it breaks.
    pub fn name(self) -> &'static str {
        match self {
            Slip::SavesLost => "terms-are-durable",
            Slip::SavedAfterSaid => "saved-before-said",
            Slip::LeaseForgotten => "lease-outlives-hub",
            Slip::LostTakenForClosed => "lost-is-not-closed",
            Slip::CancelledTimersFire => "cancelled-timers-are-silent",
            Slip::FenceAdmitsOlder => "fence-refuses-older",
            Slip::ClocksBeyondBounds => "clock-rates-are-bounded",
        }
    }
}

/// There is no such plant.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("no rule is called {0:?}; sim --plant list prints the names")]
pub struct UnknownPlant(String);

impl Plant {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Plant> {
        let slips = Slip::ALL.iter().copied().map(Plant::Slip);
        Rule::ALL.iter().copied().map(Plant::Rule).chain(slips)
    }

    /// The rule that a machine does not keep.
    pub fn rule(self) -> Option<Rule> {
        match self {
            Plant::Rule(rule) => Some(rule),
            Plant::Slip(_) => None,
        }
    }
}

impl fmt::Display for Plant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Plant::Rule(rule) => rule.name(),
            Plant::Slip(slip) => slip.name(),
        })
    }
}

impl FromStr for Plant {
    type Err = UnknownPlant;

    fn from_str(name: &str) -> Result<Self, UnknownPlant> {
        Plant::all().find(|plant| plant.to_string() == name).ok_or_else(|| UnknownPlant(name.into()))
    }
}
