//! `ringleader join`: a thin user of the library.

mod work;

use std::ffi::OsStr;
use std::io::{self, Write, stdout};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::builder::{FalseyValueParser, TypedValueParser};
use clap::error::ErrorKind;
use ringleader_client::transport::hub::{BadHubUrl, HubUrl};
use ringleader_client::{Config, Membership, Timing, draw_rank, own_name};
use ringleader_shared::id::{Name, Rank, RingName};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::logs;
use work::WorkArgs;

/// Where a ring is: the same for every command that goes to a hub.
#[derive(Debug, Clone, clap::Args)]
pub struct Where {
    /// Where the hub is; wss:// for one with TLS.
    #[arg(long, value_name = "URL", env = "RINGLEADER_HUB", default_value = "ws://localhost:8080", value_parser = Place)]
    pub hub: HubUrl,
    /// Which of its rings.
    #[arg(long, value_name = "NAME", env = "RINGLEADER_RING", default_value_t)]
    pub ring: RingName,
    /// A file that holds the token which the hub asks for. Read each time it connects.
    #[arg(long, value_name = "FILE", env = "RINGLEADER_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// For wss://, a PEM file of the authorities to trust, instead of the system's.
    #[arg(long, value_name = "FILE", env = "RINGLEADER_CA")]
    pub ca: Option<PathBuf>,
}

impl Where {
    pub fn url(self) -> HubUrl {
        let mut url = self.hub.with_ring(self.ring);
        if let Some(file) = self.token_file {
            url = url.with_token_file(file);
        }
        if let Some(file) = self.ca {
            url = url.with_ca(file);
        }
        url
    }
}

/// Parses a [`HubUrl`]. Left to itself clap repeats what it does not take, and there may
/// be a secret in it.
#[derive(Debug, Clone)]
struct Place;

impl TypedValueParser for Place {
    type Value = HubUrl;

    fn parse_ref(&self, command: &clap::Command, _: Option<&clap::Arg>, value: &OsStr) -> Result<HubUrl, clap::Error> {
        value.to_string_lossy().parse().map_err(|error: BadHubUrl| {
            clap::Error::raw(ErrorKind::ValueValidation, format!("--hub: {error}\n")).with_cmd(command)
        })
    }
}

const EXAMPLES: &str = "Examples:
  ringleader join                                  the ring of the hub on this machine
  ringleader join --hub ws://lab:8080 --ring red --rank 7 --name blue
  ringleader join --hub wss://lab:8443 --ca lab.pem --token-file lab.token
  ringleader join --json | jq -c '{role, term}'    for programs: a line a change
  ringleader join --check-interval 500ms --check-timeout 1s --early
  ringleader join --jobs-file jobs.txt             coordinate if elected, with jobs from a file
  ringleader join --workers-only --delay 50ms      compute only, and slowly

Ctrl-C or SIGTERM leaves the ring; a leader resigns first, so that the others elect at once.";

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct JoinArgs {
    #[command(flatten)]
    place: Where,
    /// What to stand with: the highest rank leads, ties are broken by id. [default: drawn from 1 to 9999]
    #[arg(long, value_name = "N", env = "RINGLEADER_RANK", allow_negative_numbers = true)]
    rank: Option<Rank>,
    /// What people call this member. [default: the host's name and the process id]
    #[arg(long, value_name = "NAME", env = "RINGLEADER_NAME")]
    name: Option<Name>,
    /// How often to check the leader.
    #[arg(long, value_name = "TIME", env = "RINGLEADER_CHECK_INTERVAL", default_value = "2s", value_parser = time)]
    check_interval: Duration,
    /// How long a check may stay unanswered.
    #[arg(long, value_name = "TIME", env = "RINGLEADER_CHECK_TIMEOUT", default_value = "5s", value_parser = time)]
    check_timeout: Duration,
    /// How long to wait for an announcement before starting again.
    #[arg(long, value_name = "TIME", env = "RINGLEADER_ELECTION_TIMEOUT", default_value = "5s", value_parser = time)]
    election_timeout: Duration,
    /// Elect as soon as the leader's connection is gone, not only when a check has
    /// stayed unanswered.
    #[arg(long, env = "RINGLEADER_EARLY", value_parser = FalseyValueParser::new())]
    early: bool,
    /// Print a line of JSON on stdout whenever what this member believes changes.
    #[arg(long, env = "RINGLEADER_JSON", value_parser = FalseyValueParser::new())]
    json: bool,
    /// Leave when stdin is closed: so no member outlives the demo that started it.
    #[arg(long, hide = true)]
    until_stdin_closes: bool,
    #[command(flatten)]
    work: WorkArgs,
}

pub async fn run(args: JoinArgs, logs: &logs::LogArgs) -> anyhow::Result<()> {
    logs::start(logs)?;
    let timing = Timing {
        check_interval: args.check_interval,
        check_timeout: args.check_timeout,
        election_timeout: args.election_timeout,
        early: args.early,
        ..Timing::default()
    };
    let name = args.name.unwrap_or_else(own_name);
    let (rank, work) = (args.rank.unwrap_or_else(draw_rank), args.work.work(&name)?);
    let config = Config { hub: args.place.url(), rank, name: name.clone(), timing, work };
    let mut terminated = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupted = signal(SignalKind::interrupt()).context("cannot wait for Ctrl-C")?;
    if args.until_stdin_closes {
        die_with_parent();
    }
    let membership = ringleader_client::join(config);
    tokio::select! {
        _ = terminated.recv() => info!("told to stop (SIGTERM)"),
        _ = interrupted.recv() => info!("told to stop (Ctrl-C)"),
        () = stdin_closed(), if args.until_stdin_closes => info!("told to stop (stdin closed)"),
        // Fails when nobody reads our lines any more: nothing is left to do.
        result = print_changes(&membership, &name), if args.json => {
            if let Err(error) = result {
                warn!("told to stop ({error:#})");
            }
        }
    }
    let last_words = membership.changes();
    membership.leave().await;
    if args.json {
        print_rest(last_words, &name)?;
    }
    Ok(())
}

async fn print_changes(membership: &Membership, name: &Name) -> anyhow::Result<()> {
    let mut changes = membership.changes();
    loop {
        match changes.recv().await {
            Ok(status) => print(&status, name)?,
            Err(RecvError::Lagged(count)) => warn!("{count} changes were not printed: stdout is too slow"),
            Err(RecvError::Closed) => bail!("the member's task has ended"),
        }
    }
}

fn print_rest(
    mut changes: tokio::sync::broadcast::Receiver<ringleader_client::Status>,
    name: &Name,
) -> anyhow::Result<()> {
    while let Ok(status) = changes.try_recv() {
        print(&status, name)?;
    }
    Ok(())
}

fn print(status: &ringleader_client::Status, name: &Name) -> anyhow::Result<()> {
    let line = serde_json::to_string(&status.line(name))?;
    let mut stdout = stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).context("cannot write to stdout")
}

/// On a thread of its own: the runtime would not end before tokio's reader of stdin does.
pub async fn stdin_closed() {
    let (tell, closed) = oneshot::channel();
    thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        let _ = tell.send(());
    });
    let _ = closed.await;
}

/// Whoever is stopped cannot see that stdin closes. So the demo's death kills, where that can be had.
pub fn die_with_parent() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)) {
        warn!("cannot ask to be killed when the demo dies: {error}");
    }
}

/// A time from 1 ms to 1 h.
pub fn time(text: &str) -> Result<Duration, String> {
    let expected = "expected a time from 1ms to 1h, such as 500ms or 2s";
    let time = humantime::parse_duration(text).map_err(|error| format!("{expected}: {error}"))?;
    let bounds = Duration::from_millis(1)..=Duration::from_secs(3600);
    if bounds.contains(&time) { Ok(time) } else { Err(expected.into()) }
}
