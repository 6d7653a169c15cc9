//! Waiting for a job: how far it is goes to stderr, its result to stdout.

use std::io::{IsTerminal, stderr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use ringleader_client::jobs::{Job, Jobs, JobsError, State};
use ringleader_client::transport::hub::HubUrl;
use ringleader_shared::factorial::JobId;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};

use super::super::terminal::printable;
use super::{print, result_line};

/// How often the hub is asked: first, and after a while.
const SOON: Duration = Duration::from_millis(200);
const LATER: Duration = Duration::from_secs(1);

/// Where stderr is no terminal: how often it is told how far the job is.
const LINES: Duration = Duration::from_secs(5);

/// What a shell shows of a command that Ctrl-C has ended.
const INTERRUPTED: u8 = 130;

/// Submits n!, waits for it, and prints it.
pub async fn run(hub: HubUrl, n: u64, key: &str) -> anyhow::Result<ExitCode> {
    let mut interrupted = signal(SignalKind::interrupt()).context("cannot wait for Ctrl-C")?;
    let mut waiting = Waiting { jobs: Jobs::of(hub.clone()), hub, view: View::new(), job: None, away: false };
    let done = tokio::select! {
        done = waiting.wait(n, key) => done,
        _ = interrupted.recv() => {
            waiting.view.say(&match waiting.job {
                Some(id) => format!("not waiting any more; the job goes on: ringleader job show {id}"),
                None => "not waiting any more; the hub has not said that it took the job".into(),
            });
            return Ok(ExitCode::from(INTERRUPTED));
        }
    };
    waiting.view.clear();
    let job = done?;
    let id = job.job_id;
    let because = job.reason.as_deref().map(|reason| format!(": {}", printable(reason))).unwrap_or_default();
    match (job.state, &job.result) {
        (State::Done, Some(result)) => print(&result_line(job.factorial, result))?,
        (State::Done, None) => bail!("job {id} is done, but its result is not kept any more"),
        (state, _) => bail!("job {id} is {state}{because}"),
    }
    Ok(ExitCode::SUCCESS)
}

/// What may have become of a job that the hub had taken.
fn lost(job: Option<JobId>, reason: &str) -> String {
    let id = job.map(|id| id.to_string()).unwrap_or_default();
    let why = "it was started again without its --data-dir, or has forgotten the job among others that ended";
    format!("job {id} is not known to the hub any more: {why} ({})", printable(reason))
}

struct Waiting {
    hub: HubUrl,
    jobs: Jobs,
    view: View,
    /// Once the hub has taken it.
    job: Option<JobId>,
    /// Whether it was said that the hub does not answer.
    away: bool,
}

impl Waiting {
    /// Until nothing more comes of the job.
    async fn wait(&mut self, n: u64, key: &str) -> Result<Job, JobsError> {
        let mut pause = SOON;
        loop {
            let asked = match self.job {
                None => self.jobs.submit(n, key).await,
                Some(id) => self.jobs.show(id).await,
            };
            match asked {
                Ok(job) => {
                    if self.away {
                        self.view.say(&format!("{}: it is back", self.hub));
                    }
                    self.away = false;
                    // What a submission is answered with may be without the result.
                    let is_fresh = self.job.replace(job.job_id).is_none();
                    if job.state.is_over() {
                        if is_fresh {
                            continue;
                        }
                        return Ok(job);
                    }
                    self.view.show(&job);
                }
                Err(JobsError::Away(reason)) => {
                    if !self.away {
                        self.view.say(&format!("{}: {}; trying on", self.hub, printable(&reason)));
                    }
                    self.away = true;
                }
                Err(JobsError::Refused { status: 404, reason }) if self.job.is_some() => {
                    return Err(JobsError::Refused { status: 404, reason: lost(self.job, &reason) });
                }
                Err(error) => return Err(error),
            }
            sleep(pause).await;
            pause = (pause * 5 / 4).min(LATER);
        }
    }
}

/// A bar on a terminal, a line now and then elsewhere.
struct View {
    bar: Option<ProgressBar>,
    told: Option<(Instant, String)>,
}

impl View {
    fn new() -> Self {
        let bar = stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} parts, {wide_msg}");
            ProgressBar::new(1).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        View { bar, told: None }
    }

    fn show(&mut self, job: &Job) {
        let what = what(job);
        match &self.bar {
            Some(bar) => {
                bar.set_length(job.parts.all.into());
                bar.set_prefix(format!("{}!", job.factorial));
                bar.set_message(what);
                bar.set_position(job.parts.done.into());
            }
            None => {
                let line = format!("{}!: {} of {} parts, {what}", job.factorial, job.parts.done, job.parts.all);
                let is_due = self.told.as_ref().is_none_or(|(at, told)| at.elapsed() >= LINES && *told != line);
                if is_due {
                    eprintln!("{line}");
                    self.told = Some((Instant::now(), line));
                }
            }
        }
    }

    /// Something besides.
    fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn what(job: &Job) -> String {
    if let Some(waits) = &job.waits_for {
        return format!("waits for {}", printable(waits));
    }
    let workers = match job.workers.len() {
        1 => "1 worker".into(),
        count => format!("{count} workers"),
    };
    let again = match job.parts.again {
        0 => String::new(),
        again => format!(", {again} done again"),
    };
    format!("{workers}, {} reassigned{again}", job.reassigned)
}
