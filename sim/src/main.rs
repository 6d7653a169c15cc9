//! Runs scenario files, seeds and plants, and prints what happens.

mod progress;

use std::io::{self, Write};
use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use progress::Progress;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sim::plan::Weather;
use sim::plant::{Plant, UnknownPlant};
use sim::scenario::{COMMANDS, Error, Scenario};
use sim::seeds::Errand;

const EXAMPLES: &str = "\
Examples:
  A story from a file, and a fresh ring:
    cargo run -p sim -- sim/scenarios/eligible-array/leader-dies.txt
    cargo run -p sim -- --algorithm eligible-array --nodes 5 --seed 42
  A minute of faults, and a long run:
    cargo run --release -p sim -- --seeds 1000 --hours 1
    cargo run --release -p sim -- --seeds 100000 --hours 1
  A hundred years of calmer weather:
    cargo run --release -p sim -- --seeds 1002 --hours 876.6 --calm
  Which rules can be broken on purpose, and what comes of it:
    cargo run --release -p sim -- --plant list
    cargo run --release -p sim -- --plant tokens-handed-on";

/// Runs a hub and its clients on virtual time.
///
/// Give it scenario files, or a seed for a fresh ring. It prints what happens;
/// where a file expects something else, it says so and exits with 1.
///
/// With --seeds it plays many rings with faults drawn at random, and watches what
/// has to hold (docs/properties.md). What does not is told as the shortest story it
/// finds, with the command to see it again, and the exit code is 1. With --plant it
/// breaks a rule first; then 1 says that this was noticed.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, after_help = EXAMPLES, after_long_help = long_help())]
struct Flags {
    /// Scenario files
    #[arg(value_name = "FILE", conflicts_with_all = ["seeds", "plant"])]
    files: Vec<PathBuf>,
    /// What the ring's members run
    #[arg(long, env = "RINGLEADER_SIM_ALGORITHM", value_enum, default_value_t = Algorithm::EligibleArray, conflicts_with = "files")]
    algorithm: Algorithm,
    /// How many members the ring has
    #[arg(long, env = "RINGLEADER_SIM_NODES", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=26), conflicts_with_all = ["files", "seeds", "plant"])]
    nodes: u8,
    /// Which run of chance: the same seed, the same trace
    #[arg(long, env = "RINGLEADER_SIM_SEED", default_value_t = 1, conflicts_with_all = ["files", "seeds", "plant"])]
    seed: u64,
    /// Play this many rings, each with its own faults
    #[arg(long, env = "RINGLEADER_SIM_SEEDS", value_name = "COUNT")]
    seeds: Option<u64>,
    /// The first seed of them
    #[arg(long, env = "RINGLEADER_SIM_FROM", value_name = "SEED", default_value_t = 1)]
    from: u64,
    /// How much time passes in each ring [default: 1; with --plant 0.2]
    #[arg(long, env = "RINGLEADER_SIM_HOURS", value_parser = hours)]
    hours: Option<Duration>,
    /// Few faults, and slow timings: a storm every day or so, checks and leases of up
    /// to five minutes. For years of simulated time
    #[arg(long, env = "RINGLEADER_SIM_CALM", conflicts_with_all = ["files", "plant"])]
    calm: bool,
    /// How many rings are played at once [default: one a core]
    #[arg(long, env = "RINGLEADER_SIM_JOBS")]
    jobs: Option<NonZero<usize>>,
    /// Break this rule on purpose and play until that is noticed; list prints the names
    #[arg(long, env = "RINGLEADER_SIM_PLANT", value_name = "NAME", value_parser = planted)]
    plant: Option<Planted>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Algorithm {
    /// The ring election of a hub's clients
    EligibleArray,
}

#[derive(Debug, Clone, Copy)]
enum Planted {
    List,
    One(Plant),
}

fn planted(name: &str) -> Result<Planted, UnknownPlant> {
    if name == "list" { Ok(Planted::List) } else { name.parse().map(Planted::One) }
}

fn hours(text: &str) -> Result<Duration, String> {
    let hours = text.parse().ok().filter(|hours: &f64| *hours > 0.0 && *hours <= 100_000.0);
    let hours = hours.ok_or_else(|| "expected a number of hours above 0, such as 1 or 0.5".to_owned())?;
    Ok(Duration::from_secs_f64(hours * 3600.0))
}

fn long_help() -> String {
    let commands: String = COMMANDS.lines().map(|line| format!("  {line}\n")).collect();
    format!("Commands in a scenario file:\n{commands}\n{EXAMPLES}")
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let Algorithm::EligibleArray = flags.algorithm;
    let right = match flags.plant {
        Some(Planted::List) => {
            Plant::all().for_each(|plant| print(&format!("{plant}\n")));
            true
        }
        Some(Planted::One(plant)) => play_seeds(&flags, Some(plant)),
        None if flags.seeds.is_some() => play_seeds(&flags, None),
        None if flags.files.is_empty() => play(fresh_ring(flags.nodes, flags.seed)),
        // All of them, also after one that is not as expected.
        None => flags.files.iter().filter(|file| !play(Scenario::read(file))).count() == 0,
    };
    ExitCode::from(u8::from(!right))
}

/// Plays many rings. Says no, and why, where a property does not hold.
fn play_seeds(flags: &Flags, plant: Option<Plant>) -> bool {
    // A broken rule shows soon, or in none of that many.
    const PLANTED: u64 = 10_000;
    let count = flags.seeds.unwrap_or(PLANTED);
    let usual = if plant.is_some() { 0.2 } else { 1.0 };
    let length = flags.hours.unwrap_or(Duration::from_secs_f64(usual * 3600.0));
    let weather = if flags.calm { Weather::Fair } else { Weather::Stormy };
    let jobs = flags.jobs.or(thread::available_parallelism().ok()).unwrap_or(NonZero::<usize>::MIN);
    let errand = Errand { seeds: flags.from..flags.from.saturating_add(count), length, jobs, weather, plant };
    let progress = Progress::new(count);
    let outcome = errand.run(|played| progress.show(played));
    progress.end();
    print(&format!("{outcome}\n"));
    let Some((seed, story)) = outcome.broken else { return true };
    print(&format!("\n{}\n", story.failure.violation));
    print(&format!("seed {seed}, the shortest story found:\n\n{}\n", story.tell()));
    print(&format!("to see it again:\n  {}\n", errand.command(seed)));
    false
}

/// Prints what happens. Says no, and why, where that is not what the file expects.
fn play(scenario: Result<Scenario, Error>) -> bool {
    let played = scenario.and_then(|scenario| {
        let trace = scenario.run()?;
        print(&scenario.with_trace(&trace));
        scenario.compare(&trace)
    });
    if let Err(error) = &played {
        eprintln!("{error}");
    }
    played.is_ok()
}

/// A ring that has just met, as the scenario file that it could be.
fn fresh_ring(nodes: u8, seed: u64) -> Result<Scenario, Error> {
    let mut rng = StdRng::seed_from_u64(seed);
    let members: String =
        (b'a'..).take(nodes.into()).map(|name| format!(" {}={}", char::from(name), rng.random_range(1..100))).collect();
    Scenario::parse("seed", &format!("seed {seed}\nnodes{members}\nsettle\n"))
}

/// Whoever reads may stop reading, as `head` does.
fn print(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}
