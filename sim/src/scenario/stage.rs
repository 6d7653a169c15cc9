//! Where a scenario is played: the world, the onlooker, and the trace.

use std::fmt::Write;
use std::time::Duration;

use ringleader_shared::election::eligible_array::Timing;
use ringleader_shared::id::Name;

use super::command::{Command, Spec};
use crate::classic::Classic;
use crate::member::Member;
use crate::property::Onlooker;
use crate::trace::{Deed, Happening};
use crate::world::{Cast, Setting, World};

/// How long a command may wait for what it waits for. Several elections fit in.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Stage {
    setting: Setting,
    world: World,
    timing: Timing,
    onlooker: Onlooker,
    trace: String,
}

impl Default for Stage {
    fn default() -> Self {
        let (timing, setting) = (Timing::default(), Setting::default());
        let onlooker = Onlooker::new(&setting);
        Stage { world: World::new(setting.clone()), setting, timing, onlooker, trace: String::new() }
    }
}

impl Stage {
    pub fn trace(&self) -> &str {
        &self.trace
    }

    /// Does what a command says; the problem where that cannot be done.
    pub fn perform(&mut self, command: &Command) -> Result<(), String> {
        match command {
            Command::Seed(_) | Command::Early if !self.trace.is_empty() => {
                Err("this has to stand before the first nodes".into())
            }
            Command::Seed(seed) => {
                self.setting.seed = *seed;
                self.world = World::new(self.setting.clone());
                Ok(())
            }
            Command::Early => {
                self.timing.early = true;
                Ok(())
            }
            Command::Nodes(specs) => {
                self.seat(specs, |spec, timing| Member::ours(spec.name.clone(), spec.rank, timing))
            }
            Command::Classic(specs) => self.seat(specs, |spec, _| Member::Classic(Classic::new(spec.rank))),
            Command::Join(spec) => {
                let member = Member::ours(spec.name.clone(), spec.rank, self.timing.clone());
                if !self.world.enrol(cast(spec, member)) {
                    return Err("there is a node of this name already".into());
                }
                self.on_deed(Deed::Starts, &spec.name)
            }
            Command::Do(deed, name) => self.on_deed(*deed, name),
            Command::DoToHub(deed) => {
                let done = self.world.perform_on_hub(*deed);
                self.look()?;
                done.then_some(()).ok_or_else(|| "the hub runs already, or does not run".into())
            }
            Command::RunFor(time) => self.run_for(*time),
            Command::RunUntil(name, event) => {
                let found = self.run_until(|_, happened| happened.iter().any(|one| event.is(name, one)))?;
                found.then_some(()).ok_or_else(|| format!("did not happen in {PATIENCE:?}"))
            }
            Command::Settle => {
                let settled = self.world.is_settled() || self.run_until(|world, _| world.is_settled())?;
                settled.then_some(()).ok_or_else(|| format!("no agreement in {PATIENCE:?}"))
            }
        }
    }

    fn seat(&mut self, specs: &[Spec], member: impl Fn(&Spec, Timing) -> Member) -> Result<(), String> {
        if self.world.now() > Duration::ZERO {
            return Err("a ring begins with its nodes; later they join".into());
        }
        let casts = specs.iter().map(|spec| cast(spec, member(spec, self.timing.clone()))).collect();
        let added = self.world.seat(casts);
        self.look()?;
        added.then_some(()).ok_or_else(|| "there is a node of one of these names already".into())
    }

    fn on_deed(&mut self, deed: Deed, name: &Name) -> Result<(), String> {
        let expected = match deed {
            Deed::Starts => "there is no such node that has crashed",
            Deed::Crashes | Deed::Vanishes => "there is no such node that runs",
            Deed::Wakes => "there is no such node that is paused",
            Deed::Resigns => "it does not lead",
            Deed::Heals => "there is no such node that is cut off",
            _ => "there is no such node that is awake",
        };
        let done = self.world.index(name).is_some_and(|index| self.world.perform(index, deed));
        self.look()?;
        done.then_some(()).ok_or_else(|| expected.into())
    }

    fn run_for(&mut self, time: Duration) -> Result<(), String> {
        let end = self.world.now() + time;
        while self.world.next_due().is_some_and(|due| due <= end) {
            self.world.step();
            self.look()?;
        }
        self.world.rest_until(end);
        Ok(())
    }

    /// Whether it came to that.
    fn run_until(&mut self, done: impl Fn(&World, &[Happening]) -> bool) -> Result<bool, String> {
        let end = self.world.now() + PATIENCE;
        while self.world.next_due().is_some_and(|due| due <= end) {
            self.world.step();
            let happened = self.look()?;
            if done(&self.world, &happened) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes down what has happened, and sees whether the properties still hold.
    fn look(&mut self) -> Result<Vec<Happening>, String> {
        let mut happened = vec![];
        self.world.take_happenings(&mut happened);
        for happening in happened.iter().filter(|happening| happening.what.is_worth_a_line()) {
            let _ = writeln!(self.trace, "{happening}");
        }
        self.onlooker.see(&happened).map_err(|violation| violation.to_string())?;
        Ok(happened)
    }
}

fn cast(spec: &Spec, member: Member) -> Cast {
    Cast { name: spec.name.clone(), member, start_delay: spec.start_delay, clock: 1.0 }
}
