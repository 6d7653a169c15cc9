//! L1 to L3: what has to come to pass, and by when.

use std::collections::BTreeMap;
use std::time::Duration;

use ringleader_shared::id::Term;
use ringleader_shared::relay::Report;

use super::{Property, Violation};
use crate::trace::{Deed, Happening, HubDeed, What};
use crate::world::World;

/// By when what has to happen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// From the end of the faults to agreement: L1.
    pub agree: Duration,
    /// From then until the leader may act.
    pub act: Duration,
    /// From a member to the hub and back, at most.
    pub hop: Duration,
    /// How many members there are when all run, where each of them elects early.
    pub early: Option<u32>,
}

/// Watches what has to come to pass.
#[derive(Debug)]
pub struct Judge {
    /// `None`: nothing is promised.
    bounds: Option<Bounds>,
    state: State,
    failover: Option<Failover>,
    /// What it has measured.
    pub figures: Figures,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    /// There are faults.
    Stormy,
    /// There are none, since then; whether there was agreement already.
    Settling { since: Duration, agreed: bool },
    /// There is agreement, and nothing happens; whether the leader was seen to act, by then.
    Settled { acts_by: Option<Duration> },
}

/// The leader is gone, and nothing else happens.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Failover {
    since: Duration,
    closed: bool,
    by: Option<Duration>,
}

/// How long things took.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// From the end of faults to agreement.
    pub settling: Times,
    /// From a closed connection of the leader to the next one, where all elect early.
    pub closed_early: Times,
    /// The same, where the check decides for some.
    pub closed: Times,
    /// From its program standing still to the next one.
    pub hang: Times,
}

/// Times, counted by the millisecond: so that years of them fit.
#[derive(Debug, Clone, Default)]
pub struct Times(BTreeMap<u32, u64>);

impl Times {
    fn add(&mut self, time: Duration) {
        *self.0.entry(time.as_millis() as u32).or_default() += 1;
    }

    /// Takes in others.
    pub fn merge(&mut self, others: Times) {
        for (millis, count) in others.0 {
            *self.0.entry(millis).or_default() += count;
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.values().sum()
    }

    /// The time that this part of them does not exceed; of 1 the longest.
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let rank = (self.count() as f64 * part).ceil() as u64;
        let mut seen = 0;
        let found = self.0.iter().find(|(_, count)| {
            seen += **count;
            seen >= rank
        });
        found.map(|(millis, _)| Duration::from_millis((*millis).into()))
    }
}

impl Judge {
    /// Who promises this.
    pub fn new(bounds: Option<Bounds>) -> Self {
        Judge { bounds, state: State::Stormy, failover: None, figures: Figures::default() }
    }

    /// Something is about to be done to a node.
    pub fn on_deed(&mut self, world: &World, index: usize, deed: Deed) {
        let settled = matches!(self.state, State::Settled { .. });
        (self.state, self.failover) = (State::Stormy, None);
        if !settled || world.leader() != Some(index) {
            return;
        }
        let closed = match deed {
            Deed::Crashes => true,
            Deed::Pauses => false,
            _ => return,
        };
        // L3: n counts the leader, too.
        let early = self.bounds.and_then(|bounds| Some((bounds.early.filter(|_| closed)?, bounds.hop)));
        let by = early.filter(|(members, _)| *members > 1).map(|(members, hop)| world.now() + hop * (members + 3));
        self.failover = Some(Failover { since: world.now(), closed, by });
    }

    /// Something was done to the hub.
    pub fn on_hub_deed(&mut self, now: Duration, deed: HubDeed) {
        self.failover = None;
        self.state = match deed {
            HubDeed::Calm => State::Settling { since: now, agreed: false },
            _ => State::Stormy,
        };
    }

    /// When it wants to look next.
    pub fn due(&self) -> Option<Duration> {
        let bounds = self.bounds?;
        let state = match self.state {
            State::Stormy => None,
            State::Settling { since, .. } => Some(since + bounds.agree),
            State::Settled { acts_by } => acts_by,
        };
        let failover = self.failover.and_then(|failover| failover.by);
        state.into_iter().chain(failover).min()
    }

    /// Looks, when that is due.
    ///
    /// # Errors
    ///
    /// What had to come to pass has not.
    pub fn look(&mut self, now: Duration, world: &World) -> Result<(), Violation> {
        if let Some(bounds) = self.bounds
            && let State::Settling { since, .. } = self.state
            && since + bounds.agree <= now
        {
            self.all_agree(world, bounds, now)?;
        }
        if let State::Settled { acts_by: Some(by) } = self.state
            && by <= now
        {
            self.leader_acts(world)?;
        }
        if self.failover.is_some_and(|failover| failover.by.is_some_and(|by| by <= now)) {
            return Violation::of(Property::L3, "there is no new leader yet".into());
        }
        Ok(())
    }

    /// L1. Once faults stop, all agree on a live leader in time.
    ///
    /// Agreement and termination of an election (Garcia-Molina 1982, assertions 1
    /// and 2, after faults as there). Here the project claims it: README, "What it
    /// promises". How long it takes is in `Plan::bounds`.
    fn all_agree(&mut self, world: &World, bounds: Bounds, now: Duration) -> Result<(), Violation> {
        if world.agreed().is_none() {
            let problem = format!("they do not, {:?} after the last fault", bounds.agree);
            return Violation::of(Property::L1, problem);
        }
        self.state = State::Settled { acts_by: Some(now + bounds.act) };
        Ok(())
    }

    /// L1, too: a leader that never may act is none.
    fn leader_acts(&mut self, world: &World) -> Result<(), Violation> {
        self.state = State::Settled { acts_by: None };
        match world.agreed() {
            Some(leader) if world.may_act(leader) => Ok(()),
            Some(_) => Violation::of(Property::L1, "the leader may not act yet".into()),
            None => Violation::of(Property::L1, "they agree no more, and nothing happened".into()),
        }
    }

    /// Takes in what happened in one step of the world.
    ///
    /// # Errors
    ///
    /// There was no fault, and yet a new term: L2.
    pub fn see(&mut self, step: &[Happening], world: &World) -> Result<(), Violation> {
        for Happening { at, what } in step {
            match what {
                What::Hub(Report::Opened { term, .. }) => self.no_fault_no_term(*term)?,
                What::Hub(Report::Elected { .. }) => {
                    if let Some(failover) = self.failover.take() {
                        let took = *at - failover.since;
                        let early = self.bounds.is_some_and(|bounds| bounds.early.is_some());
                        let figures = &mut self.figures;
                        match (failover.closed, early) {
                            (true, true) => figures.closed_early.add(took),
                            (true, false) => figures.closed.add(took),
                            (false, _) => figures.hang.add(took),
                        }
                    }
                }
                _ => {}
            }
        }
        if let State::Settling { since, agreed: false } = self.state
            && !step.is_empty()
            && world.agreed().is_some()
        {
            self.figures.settling.add(world.now() - since);
            self.state = State::Settling { since, agreed: true };
        }
        Ok(())
    }

    /// L2. No fault, no new term.
    ///
    /// A leader keeps its place while nothing fails: stability (Aguilera and others
    /// 2001). Here the project claims it: README, "a leader stays until it is gone".
    fn no_fault_no_term(&self, term: Term) -> Result<(), Violation> {
        match self.state {
            State::Settled { .. } => Violation::of(Property::L2, format!("term {term} was opened")),
            _ => Ok(()),
        }
    }
}
