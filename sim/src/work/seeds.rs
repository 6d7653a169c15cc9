//! Plays plans, many at once, and finds the shortest story of one that goes wrong.

use std::fmt::{self, Write};
use std::num::NonZero;
use std::ops::Range;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use ringleader_shared::factorial::Factorial;
use ringleader_shared::factorial::rule::Rule;

use super::judge::Sum;
use super::plan::{Act, Plan};
use super::world::{Counts, World};
use crate::mesh::seeds::told;
use crate::seeds;

/// Which seeds, and how.
#[derive(Debug, Clone)]
pub struct Errand {
    /// Which.
    pub seeds: Range<u64>,
    /// How many are played at once.
    pub jobs: NonZero<usize>,
    /// The rule that is broken on purpose.
    pub broken: Option<Rule>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How many were played to their end.
    pub played: u64,
    /// What they came to.
    pub tally: Tally,
    /// How long it took.
    pub took: Duration,
    /// The first seed that went wrong, and its shortest story.
    pub wrong: Option<(u64, Story)>,
}

/// What runs come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// How much time passed.
    pub simulated: Duration,
    /// What befell them.
    pub counts: Counts,
    /// What came of their jobs.
    pub sum: Sum,
}

/// What went wrong.
#[derive(Debug, Clone)]
pub struct Story {
    /// What is wrong.
    pub what: String,
    /// What befalls whom.
    pub plan: Plan,
    /// What happens, line by line.
    pub trace: String,
}

impl Errand {
    /// Plays them. `progress` is told after each how many there have been.
    pub fn run(&self, progress: impl Fn(u64) + Sync) -> Outcome {
        // What panics is wrong, and told of as such.
        panic::set_hook(Box::new(|_| {}));
        let began = Instant::now();
        let sum = Mutex::new(Outcome::default());
        let first = seeds::each(self.seeds.clone(), self.jobs, |seed| {
            let tally = play(&Plan::draw(seed, self.broken)).map_err(|_| ())?;
            let mut sum = seeds::lock(&sum);
            sum.played += 1;
            sum.tally.add(tally);
            progress(sum.played);
            Ok(())
        });
        let mut outcome = sum.into_inner().unwrap_or_default();
        outcome.wrong = first.and_then(|seed| Some((seed, shortest(Plan::draw(seed, self.broken))?)));
        let _ = panic::take_hook();
        outcome.took = began.elapsed();
        outcome
    }
}

/// Plays a plan.
///
/// # Errors
///
/// What is wrong.
pub fn play(plan: &Plan) -> Result<Tally, String> {
    let mut world = World::new(plan);
    run(&mut world, plan)?;
    Ok(Tally { simulated: world.now(), counts: world.counts, sum: world.judge().sum })
}

fn run(world: &mut World, plan: &Plan) -> Result<(), String> {
    let played = panic::catch_unwind(AssertUnwindSafe(|| {
        for (at, act) in &plan.acts {
            world.run_until(*at)?;
            world.act(act)?;
        }
        world.run_until(plan.calm)?;
        world.calm(patience(plan))
    }));
    played.unwrap_or_else(|panic| Err(told(panic.as_ref())))
}

/// By when all jobs have ended, when nothing goes wrong any more: what was stalled or lost
/// is waited for, and then one worker could do everything.
fn patience(plan: &Plan) -> Duration {
    let parts: u32 = plan
        .acts
        .iter()
        .map(|(_, act)| if let Act::Submit { factorial, .. } = act { Factorial(*factorial).count() + 2 } else { 0 })
        .sum();
    let part = plan.setting.computes.end + plan.setting.leg.end * 4 + plan.setting.write.end;
    Duration::from_secs(120) + part * parts
}

/// The shortest story of a plan that goes wrong: acts are left out as long as it does.
fn shortest(plan: Plan) -> Option<Story> {
    const TRIES: usize = 300;
    let mut wrong = tell(plan)?;
    let mut tries = 0;
    let mut size = wrong.plan.acts.len().div_ceil(2);
    while size > 0 && tries < TRIES {
        let mut at = 0;
        while at < wrong.plan.acts.len() && tries < TRIES {
            let mut plan = wrong.plan.clone();
            plan.acts.drain(at..(at + size).min(plan.acts.len()));
            tries += 1;
            match tell(plan) {
                Some(shorter) => wrong = shorter,
                None => at += size,
            }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    Some(wrong)
}

fn tell(plan: Plan) -> Option<Story> {
    let mut world = World::new(&plan).traced();
    let what = run(&mut world, &plan).err()?;
    let trace = world.trace().to_owned();
    Some(Story { what, plan, trace })
}

impl Story {
    /// What happens; of a long story the end.
    pub fn text(&self) -> String {
        const MOST: usize = 60;
        let lines: Vec<&str> = self.trace.lines().collect();
        let mut text = self.plan.to_string();
        if lines.len() > MOST {
            let _ = writeln!(text, "… {} lines before", lines.len() - MOST);
        }
        for line in &lines[lines.len().saturating_sub(MOST)..] {
            let _ = writeln!(text, "{line}");
        }
        text
    }
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.simulated += other.simulated;
        let (counts, more) = (&mut self.counts, other.counts);
        counts.faults += more.faults;
        counts.failures += more.failures;
        counts.coordinators += more.coordinators;
        counts.stale_frames += more.stale_frames;
        counts.stale_requests += more.stale_requests;
        counts.multiplied += more.multiplied;
        let (sum, more) = (&mut self.sum, other.sum);
        sum.jobs += more.jobs;
        sum.done += more.done;
        sum.parts += more.parts;
        sum.again += more.again;
        sum.reassigned += more.reassigned;
        sum.checkpoints += more.checkpoints;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { simulated, counts, sum } = self;
        let Counts { faults, failures, coordinators, stale_frames, stale_requests, multiplied } = counts;
        let Sum { jobs, done, parts, again, reassigned, checkpoints } = sum;
        let cancelled = jobs - done;
        writeln!(f, "jobs        {jobs}: {done} done, {cancelled} cancelled; {checkpoints} checkpoints")?;
        writeln!(f, "faults      {faults}, and {failures} failed computations")?;
        writeln!(
            f,
            "leaders     {coordinators} coordinators, {:.1} simulated hours",
            simulated.as_secs_f64() / 3600.0
        )?;
        writeln!(f, "stale       {stale_frames} messages and {stale_requests} requests refused")?;
        writeln!(
            f,
            "parts       {parts} of the jobs done, {multiplied} multiplications, {reassigned} handed to another"
        )?;
        writeln!(f, "again       {again} parts that were lost with a coordinator")
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome { played, tally, took, wrong } = self;
        writeln!(
            f,
            "seeds       {played}, each with its own members, jobs and faults, in {:.1} s",
            took.as_secs_f64()
        )?;
        write!(f, "{tally}")?;
        write!(f, "violations  {}", u8::from(wrong.is_some()))
    }
}
