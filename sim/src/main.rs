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
use ringleader_shared::factorial::rule::Rule;
use sim::algorithm::Algorithm;
use sim::mesh::chang_roberts::ChangRoberts;
use sim::mesh::lowest_id::LowestId;
use sim::mesh::paxos::Paxos;
use sim::mesh::seeds::{self as mesh, Chance};
use sim::plan::Weather;
use sim::plant::Plant;
use sim::scenario::{COMMANDS, Error, Scenario};
use sim::seeds::Errand;
use sim::work::plan::Plan;
use sim::work::seeds as work;

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
    cargo run --release -p sim -- --plant tokens-handed-on
  The algorithms without a hub, a hundred thousand runs with crashes in each:
    cargo run --release -p sim -- --algorithm paxos --seeds 100000
    cargo run --release -p sim -- --algorithm paxos --plant list
  Work for the leader, with coordinators and workers that fail:
    cargo run --release -p sim -- --algorithm factorial --seeds 1000
    cargo run --release -p sim -- --algorithm factorial --jobs-total 10000";

/// Runs a hub and its clients on virtual time, or nodes without a hub.
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
    /// What the nodes run
    #[arg(long, env = "RINGLEADER_SIM_ALGORITHM", value_enum, default_value_t = Algorithm::EligibleArray, conflicts_with = "files")]
    algorithm: Algorithm,
    /// How many nodes there are; with paxos, how many acceptors
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
    /// With factorial: one long run of this many small jobs
    #[arg(long, env = "RINGLEADER_SIM_JOBS_TOTAL", value_name = "COUNT", conflicts_with_all = ["files", "seeds", "plant"])]
    jobs_total: Option<usize>,
    /// Break this rule on purpose and play until that is noticed; list prints the names
    #[arg(long, env = "RINGLEADER_SIM_PLANT", value_name = "NAME")]
    plant: Option<String>,
}

fn hours(text: &str) -> Result<Duration, String> {
    let hours = text.parse().ok().filter(|hours: &f64| *hours > 0.0 && *hours <= 100_000.0);
    let hours = hours.ok_or_else(|| "expected a number of hours above 0, such as 1 or 0.5".to_owned())?;
    Ok(Duration::from_secs_f64(hours * 3600.0))
}

fn long_help() -> String {
    let indented = |lines: &str| -> String { lines.lines().map(|line| format!("  {line}\n")).collect() };
    let (hub, mesh) = (indented(COMMANDS), indented(sim::mesh::stage::COMMANDS));
    format!("Commands in a scenario file:\n{hub}\nWithout a hub:\n{mesh}\n{EXAMPLES}")
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    if !flags.files.is_empty() {
        // All of them, also after one that is not as expected.
        let right = flags.files.iter().filter(|file| !play(Scenario::read(file))).count() == 0;
        return ExitCode::from(u8::from(!right));
    }
    let right = match flags.algorithm {
        Algorithm::Factorial => shared_out(&flags),
        _ if flags.jobs_total.is_some() => Err("--jobs-total is for factorial alone".into()),
        Algorithm::EligibleArray => with_hub(&flags),
        Algorithm::ChangRoberts => without_hub::<ChangRoberts>(&flags),
        Algorithm::LowestId => without_hub::<LowestId>(&flags),
        Algorithm::Paxos => without_hub::<Paxos>(&flags),
    };
    right.map_or_else(
        |error| {
            eprintln!("sim: {error}");
            ExitCode::from(2)
        },
        |right| ExitCode::from(u8::from(!right)),
    )
}

fn with_hub(flags: &Flags) -> Result<bool, String> {
    match flags.plant.as_deref() {
        Some("list") => Plant::all().for_each(|plant| print(&format!("{plant}\n"))),
        Some(name) => return Ok(play_seeds(flags, Some(name.parse().map_err(|error| format!("--plant: {error}"))?))),
        None if flags.seeds.is_some() => return Ok(play_seeds(flags, None)),
        None => return Ok(play(fresh_ring(flags.nodes, flags.seed))),
    }
    Ok(true)
}

fn without_hub<A: Chance>(flags: &Flags) -> Result<bool, String> {
    if flags.calm || flags.hours.is_some() {
        return Err("--hours and --calm are for eligible-array alone".into());
    }
    let rules = A::rules();
    match flags.plant.as_deref() {
        Some("list") => {
            rules.iter().for_each(|(name, statement)| print(&format!("{name:<28} {}\n", statement.trim())));
            return Ok(true);
        }
        Some(name) if rules.iter().all(|(rule, _)| *rule != name) => {
            return Err(format!("--plant: expected list, or a name that list prints; got {name:?}"));
        }
        None if flags.seeds.is_none() => return Ok(play(fresh_nodes(flags))),
        _ => {}
    }
    const PLANTED: u64 = 100_000;
    let count = flags.seeds.unwrap_or(PLANTED);
    let seeds = flags.from..flags.from.saturating_add(count);
    let errand = mesh::Errand { seeds, jobs: jobs(flags), broken: flags.plant.clone() };
    let progress = Progress::new(count);
    let outcome = errand.run::<A>(|played| progress.show(played));
    progress.end();
    print(&format!("{outcome}\n"));
    let Some((seed, wrong, trace)) = outcome.wrong else { return Ok(true) };
    let plant = flags.plant.as_ref().map_or_else(String::new, |plant| format!(" --plant {plant}"));
    let algorithm = flags.algorithm.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
    print(&format!("\n{wrong}\nseed {seed}, the shortest story found:\n\n{trace}\nto see it again:\n"));
    print(&format!("  cargo run --release -p sim -- --algorithm {algorithm} --seeds 1 --from {seed}{plant}\n"));
    Ok(false)
}

/// Plays the work for a leader. Says no, and why, where something is wrong.
fn shared_out(flags: &Flags) -> Result<bool, String> {
    if flags.calm || flags.hours.is_some() {
        return Err("--hours and --calm are for eligible-array alone".into());
    }
    if let Some(jobs) = flags.jobs_total {
        let played = work::play(&Plan::long(flags.seed, jobs));
        print(&played.as_ref().map_or_else(|wrong| format!("{wrong}\n"), ToString::to_string));
        return Ok(played.is_ok());
    }
    let named = |name: &str| Rule::ALL.iter().find(|rule| rule.name() == name).copied();
    let broken = match flags.plant.as_deref() {
        Some("list") => {
            Rule::ALL.iter().for_each(|rule| print(&format!("{:<28} {}\n", rule.name(), rule.statement().trim())));
            return Ok(true);
        }
        Some(name) => {
            let unknown = || format!("--plant: expected list, or a name that list prints; got {name:?}");
            Some(named(name).ok_or_else(unknown)?)
        }
        None if flags.seeds.is_none() => {
            return Err("factorial: expected --seeds COUNT, --jobs-total COUNT or --plant NAME".into());
        }
        None => None,
    };
    // A broken rule shows soon, or in none of that many.
    const PLANTED: u64 = 2_000;
    let count = flags.seeds.unwrap_or(PLANTED);
    let seeds = flags.from..flags.from.saturating_add(count);
    let errand = work::Errand { seeds, jobs: jobs(flags), broken };
    let progress = Progress::new(count);
    let outcome = errand.run(|played| progress.show(played));
    progress.end();
    print(&format!("{outcome}\n"));
    let Some((seed, story)) = outcome.wrong else { return Ok(true) };
    let plant = broken.map_or_else(String::new, |rule| format!(" --plant {rule}"));
    print(&format!("\n{}\nseed {seed}, the shortest story found:\n\n{}\nto see it again:\n", story.what, story.text()));
    print(&format!("  cargo run --release -p sim -- --algorithm factorial --seeds 1 --from {seed}{plant}\n"));
    Ok(false)
}

fn jobs(flags: &Flags) -> NonZero<usize> {
    flags.jobs.or(thread::available_parallelism().ok()).unwrap_or(NonZero::<usize>::MIN)
}

/// Plays many rings. Says no, and why, where a property does not hold.
fn play_seeds(flags: &Flags, plant: Option<Plant>) -> bool {
    // A broken rule shows soon, or in none of that many.
    const PLANTED: u64 = 10_000;
    let count = flags.seeds.unwrap_or(PLANTED);
    let usual = if plant.is_some() { 0.2 } else { 1.0 };
    let length = flags.hours.unwrap_or(Duration::from_secs_f64(usual * 3600.0));
    let weather = if flags.calm { Weather::Fair } else { Weather::Stormy };
    let seeds = flags.from..flags.from.saturating_add(count);
    let errand = Errand { seeds, length, jobs: jobs(flags), weather, plant };
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

/// Nodes without a hub that have just met, as the scenario file that they could be.
fn fresh_nodes(flags: &Flags) -> Result<Scenario, Error> {
    let &Flags { nodes, seed, algorithm, .. } = flags;
    let mut rng = StdRng::seed_from_u64(seed);
    let names: Vec<String> = (b'a'..).take(nodes.into()).map(|name| char::from(name).to_string()).collect();
    let mut with_ids = |ids: &mut dyn FnMut(&mut StdRng) -> u32| -> String {
        names.iter().map(|name| format!(" {name}={}", ids(&mut rng))).collect()
    };
    let cast = match algorithm {
        Algorithm::LowestId => {
            let mut next = 0;
            format!(
                "peers{}\nsettle\n",
                with_ids(&mut |_| {
                    next += 1;
                    next
                })
            )
        }
        Algorithm::Paxos => {
            format!("paxos pa,pb {} l\nrun-until l starts\nask pa 210\nask pb 55\nsettle\n", names.join(","))
        }
        _ => format!("ring{}\nsettle\n", with_ids(&mut |rng| rng.random())),
    };
    Scenario::parse("seed", &format!("seed {seed}\n{cast}"))
}

/// Whoever reads may stop reading, as `head` does.
fn print(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}
