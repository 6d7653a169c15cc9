//! Many seeds at once: each a ring of its own, until all have been played or one
//! breaks a property.

use std::fmt::{self, Write};
use std::num::NonZero;
use std::ops::Range;
use std::panic;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::plan::{Plan, Weather};
use crate::plant::Plant;
use crate::property::liveness::Times;
use crate::run::{Tally, play};
use crate::shrink::Story;

/// Which seeds, and how.
#[derive(Debug, Clone)]
pub struct Errand {
    /// Which.
    pub seeds: Range<u64>,
    /// How much time each gets.
    pub length: Duration,
    /// How many are played at once.
    pub jobs: NonZero<usize>,
    /// How much befalls each.
    pub weather: Weather,
    /// What is broken on purpose.
    pub plant: Option<Plant>,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// How many seeds were played to their end.
    pub played: u64,
    /// What they came to.
    pub tally: Tally,
    /// How long it took.
    pub took: Duration,
    /// How many were played at once.
    pub jobs: NonZero<usize>,
    /// The first seed that broke a property, and its shortest story.
    pub broken: Option<(u64, Story)>,
}

impl Errand {
    /// Plays them. `progress` is told after each how many there have been.
    pub fn run(&self, progress: impl Fn(u64) + Sync) -> Outcome {
        // What panics is a violation, and told of as one.
        panic::set_hook(Box::new(|_| {}));
        let began = Instant::now();
        let played = AtomicU64::new(0);
        let tally = Mutex::new(Tally::default());
        let first = each(self.seeds.clone(), self.jobs, |seed| {
            let run = play(&Plan::draw(seed, self.length, self.weather, self.plant), |_| {}).map_err(|_| ())?;
            lock(&tally).merge(run);
            progress(played.fetch_add(1, Ordering::Relaxed) + 1);
            Ok(())
        });
        let broken = first.and_then(|seed| Some((seed, self.story(seed)?)));
        let _ = panic::take_hook();
        let tally = lock(&tally).clone();
        Outcome { played: played.into_inner(), tally, took: began.elapsed(), jobs: self.jobs, broken }
    }

    /// The shortest story of a seed that breaks a property.
    pub fn story(&self, seed: u64) -> Option<Story> {
        let plan = Plan::draw(seed, self.length, self.weather, self.plant);
        let failure = play(&plan, |_| {}).err()?;
        Some(Story::shortest(plan, failure))
    }

    /// The command that tells the story of a seed again.
    pub fn command(&self, seed: u64) -> String {
        let hours = self.length.as_secs_f64() / 3600.0;
        let plant = self.plant.map_or_else(String::new, |plant| format!(" --plant {plant}"));
        let calm = if self.weather == Weather::Fair { " --calm" } else { "" };
        format!("cargo run --release -p sim -- --seeds 1 --from {seed} --hours {hours}{calm}{plant}")
    }
}

/// Plays each of the seeds, so many at once, until one fails: the first that does.
pub(crate) fn each(
    seeds: Range<u64>,
    jobs: NonZero<usize>,
    play: impl Fn(u64) -> Result<(), ()> + Sync,
) -> Option<u64> {
    let (next, first) = (AtomicU64::new(seeds.start), AtomicU64::new(u64::MAX));
    thread::scope(|scope| {
        for _ in 0..jobs.get() {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    // One that comes before a failed one is still played: which
                    // seed is named does not hang on how fast others were.
                    if seed >= seeds.end || seed > first.load(Ordering::Relaxed) {
                        return;
                    }
                    if play(seed).is_err() {
                        first.fetch_min(seed, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    Some(first.into_inner()).filter(|seed| *seed != u64::MAX)
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Story {
    /// What happens, line by line; of a long story the end.
    pub fn tell(&self) -> String {
        const MOST: usize = 60;
        let mut lines = vec![];
        let _ = play(&self.plan, |happening| {
            if happening.what.is_worth_a_line() {
                lines.push(happening.to_string());
            }
        });
        let mut text = self.plan.to_string();
        if lines.len() > MOST {
            let _ = writeln!(text, "… {} lines before", lines.len() - MOST);
        }
        for line in &lines[lines.len().saturating_sub(MOST)..] {
            let _ = writeln!(text, "{line}");
        }
        let _ = writeln!(
            text,
            "{:>2}.{:03}  {}",
            self.failure.at.as_secs(),
            self.failure.at.subsec_millis(),
            self.failure.violation
        );
        text
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome { played, tally, took, jobs, broken } = self;
        let hours = tally.simulated.as_secs_f64() / 3600.0;
        let speed = hours / took.as_secs_f64().max(0.001) / jobs.get() as f64;
        let years = hours / 24.0 / 365.25;
        writeln!(f, "seeds       {played}, each with its own ring and faults")?;
        writeln!(
            f,
            "simulated   {hours:.1} hours ({years:.2} years), in {:.1} s on {jobs} threads: {speed:.0} hours a second a thread",
            took.as_secs_f64()
        )?;
        let faults: u64 = tally.deeds.iter().filter(|(deed, _)| is_fault(deed)).map(|(_, count)| count).sum();
        writeln!(f, "faults      {faults}")?;
        for (deed, count) in tally.deeds.iter().filter(|(deed, _)| is_fault(deed)) {
            writeln!(f, "            {count:>10}  {deed}")?;
        }
        writeln!(f, "elections   {}, frames handed on {}", tally.elections, tally.frames)?;
        writeln!(f, "writes      {} admitted by the fence, {} refused as stale", tally.writes.0, tally.writes.1)?;
        line(f, "settled", "from the end of faults to agreement", &tally.figures.settling)?;
        line(f, "failover", "connection closed, all with --early", &tally.figures.closed_early)?;
        line(f, "failover", "connection closed, the check decides", &tally.figures.closed)?;
        line(f, "failover", "program hangs", &tally.figures.hang)?;
        write!(f, "violations  {}", u8::from(broken.is_some()))
    }
}

/// The rest ends faults.
fn is_fault(deed: &str) -> bool {
    !["start", "wake", "heal", "lag ends", "hub start", "calm"].contains(&deed)
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, what: &str, times: &Times) -> fmt::Result {
    let at = |part| times.quantile(part).unwrap_or_default().as_secs_f64();
    let (p50, p99, max) = (at(0.5), at(0.99), at(1.0));
    writeln!(f, "{name:<11} p50 {p50:.3} s, p99 {p99:.3} s, max {max:.3} s  ({what}; {} times)", times.count())
}
