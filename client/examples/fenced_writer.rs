//! A program of which many run and one acts: whoever leads writes to a service over
//! HTTP, and shows its term. The service compares terms, and turns away who is late
//! (docs/leadership.md has one).
//!
//! ```console
//! $ cargo run -p ringleader-client --example fenced_writer -- --service http://localhost:9000/log
//! ```
//!
//! What matters is in `work`: ask before each act, show the term, heed a refusal.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail};
use axum::http::{Request, StatusCode, Uri};
use clap::Parser;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use ringleader_client::transport::hub::HubUrl;
use ringleader_client::{Config, Membership, Status, StatusLine, Term, Timing, draw_rank, own_name};
use ringleader_shared::id::{Name, Rank};
use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::time::{interval, sleep, timeout};
use tracing::{info, warn};

/// Joins a ring, and writes to a service for as long as it may act as the leader.
/// Prints a line of JSON whenever what it believes changes, or its lease is renewed.
#[derive(Parser)]
struct Args {
    /// Where the hub is.
    #[arg(long, value_name = "URL", env = "RINGLEADER_HUB", default_value = "ws://localhost:8080")]
    hub: HubUrl,
    /// What to write to: PUT, with the header Ringleader-Term; 412 means too late.
    #[arg(long, value_name = "URL", env = "RINGLEADER_SERVICE")]
    service: Uri,
    /// What people call this member. [default: the host's name and the process id]
    #[arg(long, value_name = "NAME", env = "RINGLEADER_NAME")]
    name: Option<Name>,
    /// What to stand with. [default: drawn from 1 to 9999]
    #[arg(long, value_name = "N", env = "RINGLEADER_RANK")]
    rank: Option<Rank>,
    /// Elect as soon as the leader's connection is gone.
    #[arg(long, env = "RINGLEADER_EARLY")]
    early: bool,
    /// How long an act is prepared, between the question whether to and the writing.
    #[arg(long, value_name = "TIME", env = "RINGLEADER_EFFORT", default_value = "50ms", value_parser = humantime::parse_duration)]
    effort: Duration,
}

/// Between acts.
const PAUSE: Duration = Duration::from_millis(100);

/// How long the service may take.
const PATIENCE: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let args = Args::parse();
    let name = args.name.unwrap_or_else(own_name);
    let service = Service::new(args.service, name.clone());
    let told_to_end = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;

    let membership = ringleader_client::join(Config {
        hub: args.hub,
        rank: args.rank.unwrap_or_else(draw_rank),
        name: name.clone(),
        timing: Timing { early: args.early, ..Timing::default() },
        work: Default::default(),
    });
    let said = tokio::spawn(say(membership.changes(), membership.status(), name));
    work(&membership, &service, args.effort, told_to_end).await;
    // The act in hand is done: only now resign, so that the next leader need not wait.
    membership.leave().await;
    said.await?
}

/// One act after another, until told to end.
async fn work(membership: &Membership, service: &Service, effort: Duration, mut told_to_end: Signal) {
    let (mut acts, mut over) = (0_u64, Term::NONE);
    let mut pace = interval(PAUSE);
    loop {
        tokio::select! {
            _ = told_to_end.recv() => return,
            _ = pace.tick() => {}
        }
        // Asked anew before each act. Never keep the answer for later.
        let Some(term) = membership.may_act().filter(|term| *term > over) else { continue };
        // Here the program may be stopped for longer than its lease lasts, and wake up
        // when another leads. It cannot notice; the service can, by the term.
        sleep(effort).await;
        match service.write(term, acts + 1).await {
            Ok(Answer::Done) => acts += 1,
            Ok(Answer::TooLate(why)) => {
                warn!("refused: {why}");
                over = term;
            }
            // The same act again, under the same number, in case this one did arrive.
            Err(error) => warn!("act {} in term {term}: {error:#}", acts + 1),
        }
    }
}

/// What is acted on.
struct Service {
    http: Client<HttpConnector, String>,
    at: Uri,
    me: Name,
}

enum Answer {
    Done,
    /// A newer leader was there already.
    TooLate(String),
}

impl Service {
    fn new(at: Uri, me: Name) -> Self {
        Service { http: Client::builder(TokioExecutor::new()).build_http(), at, me }
    }

    async fn write(&self, term: Term, act: u64) -> anyhow::Result<Answer> {
        let request = Request::put(self.at.clone())
            .header("Ringleader-Term", term.to_string())
            .body(format!("{} {act}", self.me))?;
        let answer = timeout(PATIENCE, self.http.request(request)).await.context("the service does not answer")??;
        match answer.status() {
            status if status.is_success() => Ok(Answer::Done),
            StatusCode::PRECONDITION_FAILED => Ok(Answer::TooLate(format!("term {term} is over"))),
            status => bail!("the service answers {status}"),
        }
    }
}

/// A line as `ringleader join --json` prints it, and when the lease runs out.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    #[serde(flatten)]
    status: StatusLine<'a>,
    /// In milliseconds since 1970.
    act_until_ms: Option<u64>,
}

/// Prints what the member believes, until it has left the ring.
async fn say(
    mut changes: broadcast::Receiver<Status>,
    newest: watch::Receiver<Status>,
    name: Name,
) -> anyhow::Result<()> {
    // A renewed lease is no change: look from time to time, at what was printed last.
    let (mut glances, mut printed, mut until) = (interval(PAUSE), None, None);
    loop {
        let status = tokio::select! {
            biased;
            change = changes.recv() => match change {
                Ok(status) => status,
                Err(RecvError::Lagged(missed)) => { warn!("{missed} changes were not printed"); continue }
                Err(RecvError::Closed) => break,
            },
            _ = glances.tick() => match newest.borrow().clone() {
                status if printed == Some(status.since) && status.act_until != until => status,
                _ => continue,
            },
        };
        (printed, until) = (Some(status.since), status.act_until);
        println!(
            "{}",
            serde_json::to_string(&Line { status: status.line(&name), act_until_ms: until.map(since_1970) })?
        );
    }
    info!("left the ring");
    Ok(())
}

/// A moment by the clock on the wall. That one is read first: who is stopped between
/// the two takes the moment for an earlier one, never for a later.
fn since_1970(moment: Instant) -> u64 {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = Instant::now();
    let at = match moment.checked_duration_since(now) {
        Some(left) => wall + left,
        None => wall.saturating_sub(now - moment),
    };
    at.as_millis() as u64
}
