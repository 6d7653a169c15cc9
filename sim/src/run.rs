//! Plays a plan to its end, or to where a property does not hold.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use ringleader_shared::relay::Report;

use crate::plan::{Act, Plan, Target, What as Done};
use crate::property::liveness::{Figures, Judge};
use crate::property::{Onlooker, Property, Violation};
use crate::trace::{Deed, Happening, HubDeed, What};
use crate::world::World;

/// What a run came to.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// How much time there was in it.
    pub simulated: Duration,
    /// How many announcements were accepted.
    pub elections: u64,
    /// How many frames were handed on.
    pub frames: u64,
    /// What was done, by kind.
    pub deeds: BTreeMap<&'static str, u64>,
    /// Writes that the fence let through, and that it refused.
    pub writes: (u64, u64),
    /// How long things took.
    pub figures: Figures,
}

/// A property that does not hold, and since when.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What does not hold.
    pub violation: Violation,
    /// From the beginning.
    pub at: Duration,
}

/// Plays a plan. `watch` is shown everything that happens.
///
/// # Errors
///
/// A property does not hold. A machine that panics is one, too.
pub fn play(plan: &Plan, mut watch: impl FnMut(&Happening)) -> Result<Tally, Failure> {
    let mut run = Run::new(plan);
    let played = catch_unwind(AssertUnwindSafe(|| run.play(plan, &mut watch)));
    let at = run.world.now();
    match played {
        Ok(Ok(())) => {
            run.tally.simulated = plan.end;
            run.tally.figures = run.judge.figures;
            Ok(run.tally)
        }
        Ok(Err(violation)) => Err(Failure { violation, at }),
        Err(panic) => {
            let problem = text_of(&*panic);
            Err(Failure { violation: Violation { property: Property::Invariant, problem }, at })
        }
    }
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked").to_owned()
}

struct Run {
    world: World,
    onlooker: Onlooker,
    judge: Judge,
    tally: Tally,
    happened: Vec<Happening>,
}

impl Run {
    fn new(plan: &Plan) -> Self {
        let mut world = World::new(plan.setting.clone());
        plan.casts().for_each(|cast| {
            world.enrol(cast);
        });
        for (index, _) in plan.nodes.iter().enumerate().filter(|(_, spec)| !spec.takes_part) {
            world.retire(index);
        }
        let onlooker = Onlooker::new(&plan.setting);
        Run { world, onlooker, judge: Judge::new(plan.bounds()), tally: Tally::default(), happened: vec![] }
    }

    fn play(&mut self, plan: &Plan, watch: &mut impl FnMut(&Happening)) -> Result<(), Violation> {
        for act in &plan.acts {
            self.advance(act.at, watch)?;
            self.perform(act);
            self.look(watch)?;
        }
        self.advance(plan.end, watch)
    }

    fn advance(&mut self, until: Duration, watch: &mut impl FnMut(&Happening)) -> Result<(), Violation> {
        loop {
            let next = self.world.next_due().filter(|due| *due <= until);
            let judged = self.judge.due().filter(|due| *due <= until);
            match (next, judged) {
                (next, Some(judged)) if next.is_none_or(|next| judged < next) => {
                    self.judge.look(judged, &self.world)?;
                }
                (Some(_), _) => {
                    self.world.step();
                    self.look(watch)?;
                }
                (None, _) => break,
            }
        }
        self.world.rest_until(until);
        Ok(())
    }

    fn perform(&mut self, act: &Act) {
        let now = self.world.now();
        match act.what {
            Done::Node(target, deed) => {
                let Some(index) = self.aim(target, deed) else { return };
                self.judge.on_deed(&self.world, index, deed);
                if self.world.perform(index, deed) {
                    *self.tally.deeds.entry(name(deed)).or_default() += 1;
                }
            }
            Done::Hub(deed) => {
                self.judge.on_hub_deed(now, deed);
                if self.world.perform_on_hub(deed) {
                    *self.tally.deeds.entry(name_of_hubs(deed)).or_default() += 1;
                }
            }
        }
    }

    fn aim(&self, target: Target, deed: Deed) -> Option<usize> {
        let count = self.world.count();
        let can = |index: &usize| self.world.can(*index, deed);
        match target {
            Target::Leader => self.world.leader(),
            Target::Node(index) => Some(index),
            Target::From(index) => (index..count).chain(0..index).find(can),
        }
        .filter(can)
    }

    fn look(&mut self, watch: &mut impl FnMut(&Happening)) -> Result<(), Violation> {
        self.world.take_happenings(&mut self.happened);
        for happening in &self.happened {
            watch(happening);
            match &happening.what {
                What::Hub(Report::Elected { .. }) => self.tally.elections += 1,
                What::Hub(Report::Relayed { .. }) => self.tally.frames += 1,
                What::Wrote { admitted: true, .. } => self.tally.writes.0 += 1,
                What::Wrote { .. } => self.tally.writes.1 += 1,
                _ => {}
            }
        }
        self.onlooker.see(&self.happened)?;
        self.judge.see(&self.happened, &self.world)
    }
}

impl Tally {
    /// Takes in another run's.
    pub fn merge(&mut self, other: Tally) {
        self.simulated += other.simulated;
        self.elections += other.elections;
        self.frames += other.frames;
        self.writes = (self.writes.0 + other.writes.0, self.writes.1 + other.writes.1);
        for (deed, count) in other.deeds {
            *self.deeds.entry(deed).or_default() += count;
        }
        self.figures.settling.merge(other.figures.settling);
        self.figures.closed_early.merge(other.figures.closed_early);
        self.figures.closed.merge(other.figures.closed);
        self.figures.hang.merge(other.figures.hang);
    }
}

/// What a summary calls it.
fn name(deed: Deed) -> &'static str {
    match deed {
        Deed::Starts => "start",
        Deed::Crashes => "crash",
        Deed::Vanishes => "power loss",
        Deed::Leaves => "leave",
        Deed::Pauses => "pause",
        Deed::Wakes => "wake",
        Deed::Resigns => "resign",
        Deed::Suspects => "early timeout",
        Deed::Cut(_) => "cut",
        Deed::Heals => "heal",
        Deed::IsForgotten => "half-open, hub forgot",
        Deed::Forgets => "half-open, client forgot",
        Deed::StopsReading => "slow reader",
        Deed::Lags(_) => "lag",
        Deed::CatchesUp => "lag ends",
    }
}

fn name_of_hubs(deed: HubDeed) -> &'static str {
    match deed {
        HubDeed::Crashes => "hub crash",
        HubDeed::Vanishes => "hub power loss",
        HubDeed::VanishesSaving { .. } => "hub power loss while saving",
        HubDeed::Starts => "hub start",
        HubDeed::StartsEmpty => "hub start without store",
        HubDeed::Calm => "calm",
    }
}
