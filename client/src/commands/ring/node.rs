//! One node: its connections, its log, and what its machine comes to.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Write, stdout};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::builder::FalseyValueParser;
use ringleader_client::direct::{self, World};
use ringleader_client::transport::ring::{Address, Heard, Links, Pace};
use ringleader_shared::election::chang_roberts::{ChangRoberts, Event, Message, Neighbour, Report, Timing};
use ringleader_shared::machine::Input;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::{config, record};
use crate::commands::join::{die_with_parent, time};
use crate::commands::terminal::now;
use crate::logs;

#[derive(Debug, Clone, clap::Args)]
pub struct NodeArgs {
    /// Who we are and who comes after us: a line ip,port each.
    #[arg(long, value_name = "FILE", env = "RINGLEADER_CONFIG", default_value = "config.txt")]
    config: PathBuf,
    /// Where to write what is received, ignored and sent. Written anew.
    #[arg(long = "log", value_name = "FILE", env = "RINGLEADER_LOG_FILE", default_value = "log.txt")]
    log_file: PathBuf,
    /// What to stand with: the greatest leads. [default: drawn, version 4]
    #[arg(long, value_name = "UUID", env = "RINGLEADER_ID")]
    id: Option<Uuid>,
    /// Skip the dead and go on. All nodes of the ring are to be told so.
    #[arg(long, env = "RINGLEADER_REPAIR", value_parser = FalseyValueParser::new())]
    repair: bool,
    /// How long a lost successor may have been a leader that announced itself and left.
    #[arg(long, value_name = "TIME", env = "RINGLEADER_GRACE", default_value = "1s", value_parser = time)]
    grace: Duration,
    /// With --repair: how long to stay for others when the leader is known, unless it says that all is done.
    #[arg(long, value_name = "TIME", env = "RINGLEADER_LINGER", default_value = "5s", value_parser = time)]
    linger: Duration,
    /// What lies between two messages at least, for neighbours that take one at a time.
    #[arg(long, value_name = "TIME", env = "RINGLEADER_PACE", default_value = "5ms", value_parser = time)]
    pace: Duration,
    /// What lies between the connection and the second message at least, for neighbours that begin to
    /// read late; 1ms where there are none.
    #[arg(long, value_name = "TIME", env = "RINGLEADER_SETTLE", default_value = "2s", value_parser = time)]
    settle: Duration,
    /// Print a line of JSON on stdout for each event, instead of the leader alone.
    #[arg(long, env = "RINGLEADER_JSON", value_parser = FalseyValueParser::new())]
    json: bool,
    /// End when whoever started us does.
    #[arg(long, hide = true)]
    die_with_parent: bool,
}

/// The ring is broken.
const BROKEN: u8 = 3;

/// Stopped before the leader was known: as shells have it, 128 and the signal.
const INTERRUPTED: u8 = 130;
const TERMINATED: u8 = 143;

pub async fn run(args: NodeArgs, logs: &logs::LogArgs) -> anyhow::Result<ExitCode> {
    logs::start(logs)?;
    if args.die_with_parent {
        die_with_parent();
    }
    let mut terminated = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupted = signal(SignalKind::interrupt()).context("cannot wait for Ctrl-C")?;
    let code = tokio::select! {
        code = elect(args) => code?,
        _ = terminated.recv() => TERMINATED,
        _ = interrupted.recv() => INTERRUPTED,
    };
    if code >= INTERRUPTED {
        info!("stopped, and no leader is known");
    }
    Ok(code.into())
}

async fn elect(args: NodeArgs) -> anyhow::Result<u8> {
    let ring: Arc<[Address]> = config::read(&args.config, args.repair)?.into();
    let log_file = File::create(&args.log_file)
        .with_context(|| format!("cannot write {}; name another file with --log FILE", args.log_file.display()))?;
    let listener = ring[0].listen().await.map_err(|error| {
        anyhow!(
            "{}:1: cannot listen on {} ({error}); expected a free ip,port of this machine",
            args.config.display(),
            ring[0]
        )
    })?;
    let me = args.id.unwrap_or_else(Uuid::new_v4);
    info!("{me} listens on {}, and dials {}", ring[0], ring[1]);
    let mut record = Record { log_file: Some(log_file), lines: 0, json: args.json, ring: ring.clone() };
    record.print(json!({ "event": "listening", "address": ring[0].to_string(), "uuid": me.to_string() }));
    let pace = Pace { between: args.pace, settle: args.settle };
    let links = Links::open(listener, ring.clone(), args.repair, pace).await;
    record.print(json!({ "event": "connected", "address": ring[1].to_string() }));

    let mut machine = ChangRoberts::new(me, Timing { grace: args.grace, linger: args.linger });
    if args.repair {
        machine = machine.repairing(ring.len() - 1);
    }
    let mut node = Node { links, record, bad: 0, predecessor: None };
    let end = direct::run(machine, &mut node, Input::Event(Event::Start)).await.unwrap_or_else(|never| match never {});
    match end {
        End::Leader(leader) => {
            // Before anything is closed, so that a slow neighbour holds up nobody who waits for this.
            let said = if args.json { Ok(()) } else { say(&format!("leader is {leader}")) };
            node.links.close().await;
            said.context("cannot write to stdout")?;
            Ok(0)
        }
        End::Broken(whom) => {
            let peer = node.predecessor.filter(|_| whom == "our predecessor");
            let whom = peer.map_or(whom.clone(), |peer| format!("{whom} (connected from {peer})"));
            eprintln!("ringleader: the ring is broken between {} and {whom}; start all nodes again", ring[0]);
            // What it has sent is to arrive: a successor that never heard of it would not miss it.
            node.links.close().await;
            Ok(BROKEN)
        }
    }
}

/// What a node comes to.
enum End {
    Leader(Uuid),
    /// Between us and whom.
    Broken(String),
}

struct Node {
    links: Links,
    record: Record,
    /// How much has come that was no message.
    bad: usize,
    /// From where the predecessor that was lost had dialled.
    predecessor: Option<std::net::SocketAddr>,
}

impl World<ChangRoberts> for Node {
    type End = End;
    type Error = Infallible;

    async fn next(&mut self) -> Result<Input<ChangRoberts>, Infallible> {
        loop {
            match self.links.next().await {
                Heard::Message(message) => return Ok(Input::Message { from: Neighbour::Predecessor, message }),
                Heard::Bad(problem) => self.on_bad(&problem.to_string()),
                Heard::Lost { whom, peer, why } => {
                    debug!("{} is lost: {why}", record::place(whom, &self.record.ring));
                    if whom == Neighbour::Predecessor {
                        self.predecessor = peer;
                    }
                    return Ok(Input::Event(Event::Lost(whom)));
                }
            }
        }
    }

    async fn send(&mut self, to: Neighbour, message: Message) -> Result<(), Infallible> {
        if let Neighbour::Ahead(places) = to {
            self.links.send(places, &message);
        }
        Ok(())
    }

    async fn save(&mut self, saved: Infallible) -> Result<(), Infallible> {
        match saved {}
    }

    async fn report(&mut self, report: Report) -> Result<ControlFlow<End>, Infallible> {
        self.record.write(&report);
        let ring = &self.record.ring;
        match &report {
            Report::Received { message, .. } => debug!("received {message:?}"),
            Report::Ignored(message) => debug!("ignored {message:?}"),
            Report::Sent { to, message } => debug!("sent {message:?} to {}", record::place(*to, ring)),
            Report::Decided(leader) => info!("the leader is {leader}"),
            Report::Duplicate(why) => {
                warn!("somebody else in the ring has our UUID: {}. Give each its own", record::evidence(*why));
            }
            Report::SuccessorLost(whom) => {
                warn!("the successor at {} is lost, and no leader known yet", record::place(*whom, ring));
            }
            Report::Skipped { next: Some(next), term } => {
                warn!("the dead successor is skipped: on to {}, in term {term}", record::place(*next, ring));
            }
            Report::Skipped { next: None, .. } => warn!("no successor is left to go on to"),
            Report::Broken(at) => return Ok(ControlFlow::Break(End::Broken(record::place(*at, ring)))),
            Report::Ended(leader) => return Ok(ControlFlow::Break(End::Leader(*leader))),
        }
        Ok(ControlFlow::Continue(()))
    }
}

impl Node {
    fn on_bad(&mut self, problem: &str) {
        const SAID: usize = 100;
        self.bad += 1;
        match self.bad {
            ..SAID => warn!("passed over what is no message: {problem}"),
            SAID => warn!("passed over what is no message, for the {SAID}th time; more of it is not told"),
            _ => return,
        }
        self.record.print(json!({ "event": "bad", "problem": problem }));
    }
}

/// The log and stdout. Whichever cannot be written any more is let go of: an election does
/// not fail for that.
struct Record {
    log_file: Option<File>,
    lines: usize,
    json: bool,
    ring: Arc<[Address]>,
}

impl Record {
    fn write(&mut self, report: &Report) {
        /// More than any ring gives rise to; a neighbour that never stops would fill the disk.
        const MOST_LINES: usize = 100_000;
        if let (Some(line), Some(file)) = (record::line(report), &mut self.log_file) {
            self.lines += 1;
            // In one write, so that who reads along sees whole lines.
            let problem = match file.write_all(format!("{line}\n").as_bytes()) {
                Err(error) => Some(error.to_string()),
                Ok(()) => (self.lines == MOST_LINES).then(|| format!("it has {MOST_LINES} lines")),
            };
            if let Some(problem) = problem {
                warn!("the log file is written no further: {problem}");
                self.log_file = None;
            }
        }
        self.print(record::event(report, &self.ring));
    }

    fn print(&mut self, mut event: Value) {
        if self.json {
            event["at"] = now().into();
            if let Err(error) = say(&event.to_string()) {
                warn!("no more events are printed: {error}");
                self.json = false;
            }
        }
    }
}

fn say(line: &str) -> io::Result<()> {
    let mut stdout = stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}
