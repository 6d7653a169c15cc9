//! What a member does for its ring besides electing, as flags.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use clap::ValueEnum;
use clap::builder::FalseyValueParser;
use ringleader_client::{Fail, FailMode, Work};
use ringleader_shared::factorial::{coordinator, worker};
use ringleader_shared::id::Name;
use ringleader_shared::node;

/// Their heading in the help. Said for each, so that it is not that of the flags after them, too.
const WORK: &str = "Work";

/// How a member works.
#[derive(Debug, Clone, clap::Args)]
pub struct WorkArgs {
    /// How long to wait after each computation before answering, to see work going on.
    #[arg(long, help_heading = WORK, value_name = "TIME", env = "RINGLEADER_DELAY", default_value = "0ms", value_parser = delay)]
    delay: Duration,
    /// Compute, but never stand for election, and so never coordinate.
    #[arg(long, help_heading = WORK, env = "RINGLEADER_WORKERS_ONLY", value_parser = FalseyValueParser::new())]
    workers_only: bool,
    /// Compute nothing: elect, and coordinate if elected.
    #[arg(long, help_heading = WORK, env = "RINGLEADER_NO_WORK", value_parser = FalseyValueParser::new())]
    no_work: bool,
    /// How often a coordinator writes down what is done: after so many parts, or after that
    /// time, whichever is first. One of the two leaves the other as it is.
    #[arg(long, help_heading = WORK, value_name = "N|TIME|N,TIME", env = "RINGLEADER_CHECKPOINT_EVERY", default_value = "100,500ms", value_parser = checkpoint)]
    checkpoint_every: Checkpoint,
    /// A file of jobs, one a line, such as 10 or 10!. Whoever coordinates looks at its own
    /// each second; the same file gives each job once, whoever submits it.
    #[arg(long, help_heading = WORK, value_name = "FILE", env = "RINGLEADER_JOBS_FILE")]
    jobs_file: Option<PathBuf>,
    /// For tests: how likely it is that a computation fails, or, once a second at most, a
    /// coordinator that is about to write down what is done. From 0 to 1.
    #[arg(long, help_heading = WORK, value_name = "P", env = "RINGLEADER_FAIL_PROBABILITY", default_value = "0", value_parser = probability, allow_negative_numbers = true)]
    fail_probability: f64,
    /// For tests: what failing is.
    #[arg(long, help_heading = WORK, env = "RINGLEADER_FAIL_MODE", default_value = "exit")]
    fail_mode: Mode,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Mode {
    /// The process ends at once, with exit code 70.
    Exit,
    /// It hangs for 10 s, and answers no ping.
    Stall,
    /// The answer comes 2 s late.
    Delay,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Checkpoint {
    parts: u32,
    after: Duration,
}

impl WorkArgs {
    /// For a member of that name.
    pub fn work(self, name: &Name) -> anyhow::Result<Work> {
        ensure!(
            !(self.workers_only && self.no_work),
            "--workers-only and --no-work: expected one of them, for together they leave nothing to do"
        );
        let Checkpoint { parts, after } = self.checkpoint_every;
        let coordinates = coordinator::Options {
            checkpoint_parts: parts,
            checkpoint_after: after,
            ..coordinator::Options::default()
        };
        let mode = match self.fail_mode {
            Mode::Exit => FailMode::Exit,
            Mode::Stall => FailMode::Stall,
            Mode::Delay => FailMode::Delay,
        };
        let probability = self.fail_probability;
        Ok(Work {
            node: node::Work {
                coordinates: (!self.workers_only).then_some(coordinates),
                computes: (!self.no_work)
                    .then(|| worker::Options { delay: self.delay, ..worker::Options::new(name.clone()) }),
            },
            never_stands: self.workers_only,
            delay: self.delay,
            fail: (probability > 0.0).then_some(Fail { probability, mode }),
            jobs_file: self.jobs_file,
        })
    }
}

fn delay(text: &str) -> Result<Duration, String> {
    let expected = "expected a time up to 1h, such as 50ms, or 0";
    match text {
        "0" => Ok(Duration::ZERO),
        _ => match humantime::parse_duration(text) {
            Ok(time) if time <= Duration::from_secs(3600) => Ok(time),
            Ok(_) => Err(expected.into()),
            Err(error) => Err(format!("{expected}: {error}")),
        },
    }
}

fn probability(text: &str) -> Result<f64, String> {
    let value: Option<f64> = text.parse().ok();
    value.filter(|value| (0.0..=1.0).contains(value)).ok_or_else(|| "expected a number from 0 to 1, such as 0.3".into())
}

fn checkpoint(text: &str) -> Result<Checkpoint, String> {
    let expected = || "expected a number of parts, a time, or both, such as 100, 500ms or 100,500ms".to_owned();
    let usual = coordinator::Options::default();
    let (mut parts, mut after) = (None, None);
    for item in text.split(',').map(str::trim) {
        if !item.is_empty() && item.bytes().all(|byte| byte.is_ascii_digit()) {
            let number = item.parse().ok().filter(|number| *number > 0).ok_or_else(expected)?;
            if parts.replace(number).is_some() {
                return Err(expected());
            }
        } else {
            let time = super::time(item).map_err(|error| format!("{}: {error}", expected()))?;
            if after.replace(time).is_some() {
                return Err(expected());
            }
        }
    }
    Ok(Checkpoint { parts: parts.unwrap_or(usual.checkpoint_parts), after: after.unwrap_or(usual.checkpoint_after) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_are_after_parts_or_a_time() {
        let usual = coordinator::Options::default();
        let table = [
            ("100,500ms", Some((100, 500))),
            ("7", Some((7, usual.checkpoint_after.as_millis() as u64))),
            ("2s", Some((usual.checkpoint_parts, 2000))),
            ("1s, 5", Some((5, 1000))),
            ("", None),
            ("0", None),
            ("7,8", None),
            ("1s,2s", None),
            ("0s", None),
            ("-1", None),
            ("99999999999", None),
        ];
        for (text, expected) in table {
            let expected = expected.map(|(parts, after)| Checkpoint { parts, after: Duration::from_millis(after) });
            assert_eq!(checkpoint(text).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn the_usual_checkpoints_are_the_coordinators() {
        let usual = coordinator::Options::default();
        let Checkpoint { parts, after } = checkpoint("100,500ms").unwrap();
        assert_eq!((parts, after), (usual.checkpoint_parts, usual.checkpoint_after));
    }

    #[test]
    fn no_delay_is_a_delay() {
        assert_eq!(delay("0"), Ok(Duration::ZERO));
        assert_eq!(delay("0ms"), Ok(Duration::ZERO));
        assert_eq!(delay("50ms"), Ok(Duration::from_millis(50)));
        assert!(delay("2h").is_err() && delay("-1s").is_err() && delay("soon").is_err());
    }
}
