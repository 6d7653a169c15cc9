//! Runs scenario files and seeds, and prints what happens.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sim::scenario::{COMMANDS, Error, Scenario};

const EXAMPLES: &str = "\
Examples:
  cargo run -p sim -- sim/scenarios/eligible-array/leader-dies.txt
  cargo run -p sim -- --algorithm eligible-array --nodes 5 --seed 42";

/// Runs a hub and its clients on virtual time.
///
/// Give it scenario files, or a seed for a fresh ring. It prints what happens;
/// where a file expects something else, it says so and exits with 1.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, after_help = EXAMPLES, after_long_help = long_help())]
struct Flags {
    /// Scenario files
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What the ring's members run
    #[arg(long, value_enum, default_value_t = Algorithm::EligibleArray, conflicts_with = "files")]
    algorithm: Algorithm,
    /// How many members the ring has
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=26), conflicts_with = "files")]
    nodes: u8,
    /// Which run of chance: the same seed, the same trace
    #[arg(long, default_value_t = 1, conflicts_with = "files")]
    seed: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Algorithm {
    /// The ring election of a hub's clients
    EligibleArray,
}

fn long_help() -> String {
    let commands: String = COMMANDS.lines().map(|line| format!("  {line}\n")).collect();
    format!("Commands in a scenario file:\n{commands}\n{EXAMPLES}")
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let mut right = true;
    if flags.files.is_empty() {
        let Algorithm::EligibleArray = flags.algorithm;
        right = play(fresh_ring(flags.nodes, flags.seed));
    }
    for file in &flags.files {
        right &= play(Scenario::read(file));
    }
    ExitCode::from(u8::from(!right))
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
