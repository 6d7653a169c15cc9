//! `ringleader heartbeat`: the lowest id that is heard leads.

mod entry;
mod say;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::builder::FalseyValueParser;
use ringleader_client::direct::{World, run as run_machine};
use ringleader_client::transport::heartbeat::{Config, Heartbeats};
use ringleader_shared::election::lowest_id::{Event, LowestId, Message, Options, PeerId, Report, Timing};
use ringleader_shared::machine::Input;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use super::join::time;
use super::terminal::{Printer, now};
use crate::logs;

const EXAMPLES: &str = "Examples, three peers on this machine:
  printf '3\\n1 127.0.0.1\\n2 127.0.0.2\\n3 127.0.0.3\\n' > entry
  ringleader heartbeat 1 5000    # each in a terminal of its own
  ringleader heartbeat 2 5000    # prints: leader is 1
  ringleader heartbeat 3 5000    # and 5 s after you have stopped 1: leader is 2
With a majority's votes only, elected at the start without whoever is not there:
  ringleader heartbeat 1 5000 --quorum --start-without-all --json

Stdout has a line whenever the leader is another. Ctrl-C or SIGTERM ends it.";

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct HeartbeatArgs {
    /// Who we are: a number. The lowest leads.
    id: PeerId,
    /// The port of all peers; each has an address of its own.
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// The list of peers: how many there are, then `ID IP` a line.
    #[arg(long, value_name = "FILE", env = "RINGLEADER_ENTRY", default_value = "entry")]
    entry: PathBuf,
    /// Elect after the timeout with those who were heard, instead of waiting for all.
    #[arg(long, env = "RINGLEADER_START_WITHOUT_ALL", value_parser = FalseyValueParser::new())]
    start_without_all: bool,
    /// Lead only with the votes of a majority of the list, so that a partition cannot give
    /// two leaders. All peers should have the same.
    #[arg(long, env = "RINGLEADER_QUORUM", value_parser = FalseyValueParser::new())]
    quorum: bool,
    /// How often to say that we are there. All peers should have the same.
    #[arg(long, value_name = "TIME", env = "RINGLEADER_HEARTBEAT_INTERVAL", default_value = "2s", value_parser = time)]
    interval: Duration,
    /// For how long a peer may be silent: at least twice the interval.
    #[arg(long, value_name = "TIME", env = "RINGLEADER_HEARTBEAT_TIMEOUT", default_value = "5s", value_parser = time)]
    timeout: Duration,
    /// Where to listen. [default: our address on the list]
    #[arg(long, value_name = "IP", env = "RINGLEADER_HEARTBEAT_LISTEN")]
    listen: Option<IpAddr>,
    /// Print a line of JSON on stdout for each event, instead of the leader only.
    #[arg(long, env = "RINGLEADER_JSON", value_parser = FalseyValueParser::new())]
    json: bool,
}

pub async fn run(args: HeartbeatArgs, logs: &logs::LogArgs) -> anyhow::Result<ExitCode> {
    logs::start(logs)?;
    let (me, timing) = (args.id, Timing { interval: args.interval, timeout: args.timeout });
    if timing.timeout < timing.interval * 2 {
        bail!("--timeout: expected at least twice the interval of {:?}, got {:?}", timing.interval, timing.timeout);
    }
    let mut terminated = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupted = signal(SignalKind::interrupt()).context("cannot wait for Ctrl-C")?;
    let list = entry::read(&args.entry)?;
    let file = args.entry.display();
    let ours = list.get(&me).copied();
    if ours.is_none() && args.quorum {
        bail!("{me} is not in {file}: with --quorum a vote counts only if the list has its voter");
    }
    let listen = SocketAddr::new(args.listen.or(ours).unwrap_or(Ipv4Addr::UNSPECIFIED.into()), args.port);
    let exchange = timing.exchange();
    let options = Options { timing, start_without_all: args.start_without_all, quorum: args.quorum };
    let machine = LowestId::new(me, list.keys().copied(), options);
    let config = Config { me, list, listen, exchange };
    let heartbeats = Heartbeats::listen(config).await.map_err(|error| explain(error, me, listen, &args))?;

    info!("{me} listens on {listen}");
    if ours.is_none() {
        warn!("{me} is not in {file}: it counts as one more, and those without it on their list ignore it");
    }
    if !args.quorum {
        warn!("a network that is cut gives a leader to each side; --quorum, given to all peers, prevents that");
    }
    let printer = Printer::start();
    let mut peer = Peer { me, heartbeats, json: args.json, printer: printer.clone(), reminder: Default::default() };
    tokio::select! {
        never = run_machine(machine, &mut peer, Input::Event(Event::Start)) => match never {
            Ok(never) | Err(never) => match never {},
        },
        _ = terminated.recv() => info!("told to stop (SIGTERM)"),
        _ = interrupted.recv() => info!("told to stop (Ctrl-C)"),
        () = printer.closed() => info!("told to stop (stdout is closed)"),
    }
    drop(peer);
    printer.finish().await?;
    Ok(ExitCode::SUCCESS)
}

/// What is to be done about it.
fn explain(error: io::Error, me: PeerId, listen: SocketAddr, args: &HeartbeatArgs) -> anyhow::Error {
    let advice = match error.kind() {
        io::ErrorKind::AddrNotAvailable => format!(
            "no address of this machine. Is it really {me}? If others reach us there all the same, give an address \
             of ours: --listen IP (RINGLEADER_HEARTBEAT_LISTEN); --listen 0.0.0.0 is all of them"
        ),
        io::ErrorKind::AddrInUse => format!("another program listens there: does {me} run already?"),
        io::ErrorKind::PermissionDenied => "ports below 1024 are root's; choose another for all peers".into(),
        _ => format!("see {}, or give another address: --listen IP", args.entry.display()),
    };
    anyhow::anyhow!("cannot listen on {listen}: {error}; {advice}")
}

/// A peer at work.
struct Peer {
    me: PeerId,
    heartbeats: Heartbeats,
    json: bool,
    printer: Printer,
    reminder: say::Reminder,
}

impl World<LowestId> for Peer {
    type End = Infallible;
    type Error = Infallible;

    async fn next(&mut self) -> Result<Input<LowestId>, Infallible> {
        Ok(self.heartbeats.next().await)
    }

    async fn send(&mut self, to: PeerId, message: Message) -> Result<(), Infallible> {
        self.heartbeats.send(to, message);
        Ok(())
    }

    async fn save(&mut self, saved: Infallible) -> Result<(), Infallible> {
        match saved {}
    }

    async fn report(&mut self, report: Report) -> Result<ControlFlow<Infallible>, Infallible> {
        if self.reminder.is_due(&report, Instant::now()) {
            say::log(&report, self.me);
            match &report {
                report if self.json => {
                    let line = say::Line { at: now(), id: self.me.get(), event: report.into() };
                    // Nothing in it can fail to be written.
                    self.printer.offer(serde_json::to_string(&line).unwrap_or_default());
                }
                Report::Leader(Some(leader)) => self.printer.offer(format!("leader is {leader}")),
                _ => {}
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}
