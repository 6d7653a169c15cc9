//! `ringleader job`: work for a ring's leader to share out.

mod wait;

use std::io::{ErrorKind, Write, stdout};
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use clap::builder::FalseyValueParser;
use ringleader_client::jobs::{Job, Jobs, JobsError};
use ringleader_shared::factorial::JobId;
use uuid::Uuid;

use super::join::Where;
use super::terminal::printable;
use crate::logs;

const EXAMPLES: &str = "Examples:
  ringleader job submit --factorial 10 --wait      prints 10!=3628800
  ringleader job submit --factorial 20000          prints the job's id, and does not wait
  ringleader job submit --factorial 10 --idempotency-key monday    as often as you like: one job
  ringleader job list
  ringleader job show ID
  ringleader job show ID --json | jq -r .result
  ringleader job cancel ID

The hub keeps jobs: one that is sent while nobody leads is done when somebody does.";

const SUBMIT_EXAMPLES: &str = "Examples:
  ringleader job submit --factorial 10 --wait
  ringleader job submit --factorial 20000 --hub ws://lab:8080 --ring red
  ringleader job submit --factorial 10 --idempotency-key monday

With --wait stdout has the result, as in 10!=3628800, and stderr how far it is. Ctrl-C ends the
waiting, not the job. Exit codes: 0 done (or, without --wait, taken), 1 refused, failed or
cancelled, 130 Ctrl-C.";

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct JobArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Ask for a factorial.
    #[command(after_help = SUBMIT_EXAMPLES)]
    Submit(SubmitArgs),
    /// Print the jobs of a ring, the oldest first.
    List {
        #[command(flatten)]
        place: Where,
    },
    /// Print one job: how far it is, who has computed, its result.
    Show {
        #[command(flatten)]
        place: Where,
        /// The job.
        id: JobId,
        /// As the hub tells it: one line of JSON.
        #[arg(long, env = "RINGLEADER_JSON", value_parser = FalseyValueParser::new())]
        json: bool,
    },
    /// Want a job no more.
    Cancel {
        #[command(flatten)]
        place: Where,
        /// The job.
        id: JobId,
    },
}

#[derive(Debug, Clone, clap::Args)]
struct SubmitArgs {
    #[command(flatten)]
    place: Where,
    /// The n of n!.
    #[arg(long, value_name = "N", value_parser = whole_number, allow_negative_numbers = true)]
    factorial: u64,
    /// Wait until the job is done, and print its result.
    #[arg(long)]
    wait: bool,
    /// A name of your own for the job: a second one by that name is the same job.
    /// 1 to 255 visible ASCII characters. [default: a new one]
    #[arg(long, value_name = "K", value_parser = key)]
    idempotency_key: Option<String>,
}

pub async fn run(args: JobArgs, logs: &logs::LogArgs) -> anyhow::Result<ExitCode> {
    logs::start(logs)?;
    match args.command {
        Command::Submit(args) => submit(args).await,
        Command::List { place } => {
            for job in Jobs::of(place.url()).list().await? {
                print(&row(&job))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Show { place, id, json } => {
            let job = Jobs::of(place.url()).show(id).await?;
            if json {
                print(&serde_json::to_string(&job)?)?
            } else {
                print(&whole(&job))?
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Cancel { place, id } => {
            let job = Jobs::of(place.url()).cancel(id).await?;
            print(&format!("{} {}! is {}", job.job_id, job.factorial, job.state))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn submit(args: SubmitArgs) -> anyhow::Result<ExitCode> {
    // With a key the same can be asked again when the answer was lost.
    let key = args.idempotency_key.unwrap_or_else(|| Uuid::new_v4().to_string());
    let hub = args.place.url();
    if args.wait {
        return wait::run(hub, args.factorial, &key).await;
    }
    match Jobs::of(hub.clone()).submit(args.factorial, &key).await {
        Ok(job) => print(&job.job_id.to_string())?,
        Err(error @ JobsError::Away(_)) => return Err(error).with_context(|| hub.to_string()),
        Err(error) => return Err(error.into()),
    }
    Ok(ExitCode::SUCCESS)
}

fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        // Whoever closes stdout has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to stdout"),
    }
}

/// A job as a line of a list.
fn row(job: &Job) -> String {
    let Job { job_id, state, parts, factorial, .. } = job;
    let waits = job.waits_for.as_deref().map(|what| format!(", waits for {}", printable(what))).unwrap_or_default();
    format!("{job_id} {state:9} {factorial}!, {} of {} parts{waits}", parts.done, parts.all)
}

/// A job with all that is known of it.
fn whole(job: &Job) -> String {
    let mut lines = vec![row(job)];
    if let Some(term) = job.term {
        lines.push(format!("coordinated in term {term}"));
    }
    lines.push(format!("{} parts done again, {} reassigned", job.parts.again, job.reassigned));
    for share in &job.workers {
        lines.push(format!("{} ({}): {} parts", printable(share.name.as_str()), share.client_id.short(), share.parts));
    }
    if let Some(reason) = &job.reason {
        lines.push(format!("because {}", printable(reason)));
    }
    if let Some(result) = &job.result {
        lines.push(result_line(job.factorial, result));
    }
    lines.join("\n")
}

fn result_line(n: u32, result: &str) -> String {
    format!("{n}!={result}")
}

fn whole_number(text: &str) -> Result<u64, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or_else(|| format!("expected a whole number, 0 or more, got {text:?}"))
}

fn key(text: &str) -> Result<String, String> {
    let fits = (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| text.to_owned()).ok_or_else(|| "expected 1 to 255 visible ASCII characters".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_numbers_have_factorials_here() {
        assert_eq!(whole_number("10"), Ok(10));
        for text in ["-3", "10.5", "ten", "", "+3", "1e9", "99999999999999999999"] {
            assert!(whole_number(text).is_err(), "{text:?}");
        }
    }
}
