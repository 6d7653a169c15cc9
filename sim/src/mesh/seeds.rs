//! Faults by chance, many times: each seed draws a cast and what befalls it. Faults
//! first, and nothing may go wrong; then none, and all have to come to agree.

use std::any::Any;
use std::fmt;
use std::num::NonZero;
use std::ops::Range;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::world::{CrashAt, World};
use super::{Mesh, letters};
use crate::seeds;

/// An algorithm whose casts and faults can be drawn.
pub trait Chance: Mesh {
    /// For how long things go wrong.
    const STORM: Duration;
    /// How long they may then take to agree.
    const PATIENCE: Duration;

    /// A cast by chance.
    fn draw(rng: &mut StdRng) -> Self;

    /// The same, with a rule broken on purpose.
    fn breaking(self, rule: &str) -> Self;

    /// The rules that can be broken: what each is called, and what it says.
    fn rules() -> Vec<(&'static str, &'static str)>;

    /// What can befall this cast.
    fn faults(&self) -> &'static [Fault];

    /// Whether it promises that all come to agree once faults stop.
    fn agrees(&self) -> bool;
}

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A program ends, for good.
    Crash,
    /// A program ends, in the middle of something at times, and starts again later.
    CrashAndRestart,
    /// A program stands still for a while.
    Pause,
    /// Some ways are cut for a while.
    Cut,
    /// Two groups are cut from each other for a while.
    Partition,
    /// One message in five is lost, for as long as there are faults.
    Loss,
    /// No fault: somebody asks for something.
    Wish,
}

/// What happens once, and to whom.
#[derive(Debug, Clone, PartialEq)]
enum Act {
    Crash(usize, Option<usize>),
    Restart(usize),
    Pause(usize),
    Wake(usize),
    Cut(usize, usize),
    Partition(u32),
    Heal,
    Wish(u64),
}

/// Which seeds, and how.
#[derive(Debug, Clone)]
pub struct Errand {
    /// Which.
    pub seeds: Range<u64>,
    /// How many are played at once.
    pub jobs: NonZero<usize>,
    /// The rule that is broken on purpose.
    pub broken: Option<String>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How many were played to their end.
    pub played: u64,
    /// How much time passed in them.
    pub simulated: Duration,
    /// How many messages were sent.
    pub messages: u64,
    /// How many faults there were.
    pub faults: u64,
    /// How long it took.
    pub took: Duration,
    /// The first seed that went wrong, what was wrong, and the shortest story found.
    pub wrong: Option<(u64, String, String)>,
}

impl Errand {
    /// Plays them. `progress` is told after each how many there have been.
    pub fn run<A: Chance>(&self, progress: impl Fn(u64) + Sync) -> Outcome {
        // What panics is wrong, and told of as such.
        panic::set_hook(Box::new(|_| {}));
        let began = Instant::now();
        let sum = Mutex::new(Outcome::default());
        let play = |seed| {
            let world = self.play::<A>(seed, None, false).map_err(|_| ())?;
            let mut sum = seeds::lock(&sum);
            sum.played += 1;
            sum.simulated += world.now;
            sum.messages += world.sent;
            sum.faults += world.faults;
            let played = sum.played;
            drop(sum);
            progress(played);
            Ok(())
        };
        let first = seeds::each(self.seeds.clone(), self.jobs, play);
        let mut outcome = sum.into_inner().unwrap_or_default();
        outcome.wrong = first.and_then(|seed| self.story::<A>(seed));
        let _ = panic::take_hook();
        outcome.took = began.elapsed();
        outcome
    }

    /// The shortest story of a seed that goes wrong: acts are left out as long as it does.
    fn story<A: Chance>(&self, seed: u64) -> Option<(u64, String, String)> {
        const TRIES: usize = 400;
        let mut wrong = self.play::<A>(seed, None, true).err()?;
        let mut tries = 0;
        let mut size = wrong.acts.len().div_ceil(2);
        while size > 0 && tries < TRIES {
            let mut at = 0;
            while at < wrong.acts.len() && tries < TRIES {
                let mut acts = wrong.acts.clone();
                acts.drain(at..(at + size).min(acts.len()));
                tries += 1;
                match self.play::<A>(seed, Some(acts), true) {
                    Err(shorter) => wrong = shorter,
                    Ok(_) => at += size,
                }
            }
            size = if size == 1 { 0 } else { size.div_ceil(2) };
        }
        Some((seed, wrong.what, wrong.trace))
    }

    fn play<A: Chance>(&self, seed: u64, acts: Option<Vec<(Duration, Act)>>, traced: bool) -> Result<Run, Wrong> {
        let mut rng = StdRng::seed_from_u64(seed);
        let algorithm = A::draw(&mut rng);
        let algorithm = self.broken.iter().fold(algorithm, |algorithm, rule| algorithm.breaking(rule));
        let faults = algorithm.faults();
        let drawn = draw::<A>(&algorithm, &mut rng);
        let acts = acts.unwrap_or(drawn);
        let names = letters(algorithm.size());
        let mut world = World::new(algorithm, names, seed);
        if traced {
            world = world.traced();
        }
        let played = panic::catch_unwind(AssertUnwindSafe(|| {
            world.loss = if faults.contains(&Fault::Loss) && seed % 2 == 1 { 0.2 } else { 0.0 };
            storm(&mut world, &acts, &mut rng)?;
            calm(&mut world)
        }));
        let what = match played {
            Ok(Ok(())) => {
                let faults = acts
                    .iter()
                    .filter(|(_, act)| !matches!(act, Act::Wish(_) | Act::Heal | Act::Restart(_) | Act::Wake(_)));
                return Ok(Run { now: world.now(), sent: world.sent(), faults: faults.count() as u64 });
            }
            Ok(Err(what)) => what,
            Err(panic) => told(panic.as_ref()),
        };
        let trace = format!("{:?}\n{}", world.algorithm(), world.trace());
        Err(Wrong { what, acts, trace })
    }
}

struct Run {
    now: Duration,
    sent: u64,
    faults: u64,
}

struct Wrong {
    what: String,
    acts: Vec<(Duration, Act)>,
    trace: String,
}

/// What befalls a cast, and when.
fn draw<A: Chance>(algorithm: &A, rng: &mut StdRng) -> Vec<(Duration, Act)> {
    let (size, faults) = (algorithm.size(), algorithm.faults());
    let mut acts = vec![];
    if faults.is_empty() {
        return acts;
    }
    // What nothing is lost between has to have met before anybody dies.
    let first = if A::LOSSY { Duration::ZERO } else { A::STORM / 10 };
    for _ in 0..rng.random_range(1..=20) {
        let at = rng.random_range(first..A::STORM);
        let later = at + rng.random_range(Duration::ZERO..A::STORM / 2);
        let node = rng.random_range(0..size);
        // Right after the beginning of something, or at any time.
        let within = rng.random_bool(0.5).then(|| rng.random_range(0..6));
        match faults.choose(rng) {
            Some(Fault::Crash) => acts.push((at, Act::Crash(node, within))),
            Some(Fault::CrashAndRestart) => acts.extend([(at, Act::Crash(node, within)), (later, Act::Restart(node))]),
            Some(Fault::Pause) => acts.extend([(at, Act::Pause(node)), (later, Act::Wake(node))]),
            Some(Fault::Cut) => acts.extend([(at, Act::Cut(node, rng.random_range(0..size))), (later, Act::Heal)]),
            Some(Fault::Partition) => acts.extend([(at, Act::Partition(rng.random())), (later, Act::Heal)]),
            Some(Fault::Wish) => acts.push((at, Act::Wish(rng.random()))),
            Some(Fault::Loss) | None => {}
        }
    }
    acts.sort_by_key(|(at, _)| *at);
    acts
}

fn storm<A: Chance>(world: &mut World<A>, acts: &[(Duration, Act)], rng: &mut StdRng) -> Result<(), String> {
    let size = world.algorithm().size();
    for node in 0..size {
        world.start(node, rng.random_range(Duration::ZERO..A::STORM / 10));
    }
    for (at, act) in acts {
        until(world, *at)?;
        match *act {
            Act::Crash(node, None) => _ = world.crash(node),
            Act::Crash(node, Some(effects)) => _ = world.crash_at(node, CrashAt::Effects(effects)),
            Act::Restart(node) => _ = world.start(node, Duration::ZERO),
            Act::Pause(node) => _ = world.pause(node),
            Act::Wake(node) => _ = world.wake(node)?,
            Act::Cut(from, to) => world.cut(from, to),
            Act::Heal => world.heal(),
            Act::Partition(groups) => {
                let group = |node: usize| groups >> node & 1;
                for (from, to) in (0..size).flat_map(|from| (0..size).map(move |to| (from, to))) {
                    if group(from) != group(to) {
                        world.cut(from, to);
                    }
                }
            }
            Act::Wish(seed) => {
                let wish = world.algorithm().any_wish(&mut StdRng::seed_from_u64(seed));
                if let Some((node, wish)) = wish {
                    world.ask(node, "a wish", wish)?;
                }
            }
        }
    }
    until(world, A::STORM)
}

/// Nothing goes wrong any more: in bounded time all agree.
fn calm<A: Chance>(world: &mut World<A>) -> Result<(), String> {
    world.loss = 0.0;
    world.spare_all();
    world.heal();
    for node in 0..world.algorithm().size() {
        world.wake(node)?;
        if world.algorithm().faults().contains(&Fault::CrashAndRestart) {
            world.start(node, Duration::ZERO);
        }
    }
    if !world.algorithm().agrees() {
        let end = world.now() + A::PATIENCE;
        return until(world, end);
    }
    let end = world.now() + A::PATIENCE;
    while !world.is_settled() {
        if world.next_due().is_none_or(|due| due > end) {
            return Err(format!("all is well again, and they do not agree in {:?}", A::PATIENCE));
        }
        world.step()?;
    }
    // And so it stays.
    let end = world.now() + A::PATIENCE / 4;
    until(world, end)?;
    if world.is_settled() { Ok(()) } else { Err("they agreed, and do not agree any more".into()) }
}

fn until<A: Mesh>(world: &mut World<A>, end: Duration) -> Result<(), String> {
    while world.next_due().is_some_and(|due| due <= end) {
        world.step()?;
    }
    if world.now() < end {
        world.rest_until(end);
    }
    Ok(())
}

/// What a panic says.
pub(crate) fn told(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic").to_owned()
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome { played, simulated, messages, faults, took, wrong } = self;
        let hours = simulated.as_secs_f64() / 3600.0;
        writeln!(f, "seeds       {played}, each with its own nodes and faults")?;
        writeln!(f, "simulated   {hours:.1} hours, in {:.1} s", took.as_secs_f64())?;
        writeln!(f, "faults      {faults}")?;
        writeln!(f, "messages    {messages}")?;
        write!(f, "violations  {}", u8::from(wrong.is_some()))
    }
}
