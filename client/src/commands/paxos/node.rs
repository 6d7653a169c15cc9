//! `ringleader paxos node`: one node, until stopped.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::{ExitCode, exit};

use anyhow::{Context, bail};
use clap::ValueEnum;
use ringleader_client::direct::{self, World};
use ringleader_client::store::Store;
use ringleader_client::transport::mesh::{Address, Mesh};
use ringleader_shared::machine::Input;
use ringleader_shared::paxos::{Event, Incarnation, Message, Node, NodeId, Peer, Report, Roles, Saved, Timing};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{debug, error, info, warn};

use super::super::join::{die_with_parent, stdin_closed};
use super::super::terminal::printable;
use super::Common;
use super::hosts::Hosts;
use super::tell::{self, tell};
use crate::logs;

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct NodeArgs {
    /// Which of the con lines it is, from 0.
    #[arg(value_name = "ID", env = "RINGLEADER_PAXOS_ID")]
    id: u16,
    #[command(flatten)]
    common: Common,
    /// Where to keep what it must not forget. Without it, a node that is restarted while the
    /// others go on takes no part any more.
    #[arg(long, value_name = "DIR", env = "RINGLEADER_PAXOS_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Where to listen, if not at the address that hosts.txt has.
    #[arg(long, value_name = "HOST:PORT", env = "RINGLEADER_PAXOS_LISTEN", value_parser = listen_address)]
    listen: Option<Address>,
    /// End at that stage, with code 70, to see that the others go on.
    #[arg(long, value_name = "STAGE", env = "RINGLEADER_PAXOS_FAIL_AT")]
    fail_at: Option<Stage>,
    /// End when stdin is closed: so no node outlives the demo that started it.
    #[arg(long, hide = true)]
    until_stdin_closes: bool,
}

const EXAMPLES: &str = "Examples:
  ringleader paxos node 0                          node 0 of hosts.txt
  ringleader paxos node 3 --data-dir data          an acceptor that may be restarted at any moment
  ringleader paxos node 0 --fail-at accept         dies when one acceptor has been asked to accept
  ringleader paxos node 5 --json                   for programs: a line an event

It prints `started ROLE` when the leader has given out the roles, and `chosen VALUE` when it
knows. Ctrl-C or SIGTERM ends it.";

/// Where a node ends on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Stage {
    /// A proposer, before it asks for the first promise.
    Prepare,
    /// An acceptor that has saved its first promise, before it sends it.
    Promise,
    /// A proposer that has asked one acceptor to accept, and not yet the others.
    Accept,
    /// An acceptor that has accepted and saved, before it tells anybody.
    Accepted,
    /// A node that has found out what was chosen, before it tells anybody.
    Learn,
}

/// How a node ends that is told to fail (sysexits.h has it for software that is broken).
const FAILED: i32 = 70;

/// What is in `node-ID.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    node: NodeId,
    roles: Roles,
    saved: Saved,
}

pub async fn run(args: NodeArgs, logs: &logs::LogArgs) -> anyhow::Result<ExitCode> {
    logs::start(logs)?;
    let mut terminated = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupted = signal(SignalKind::interrupt()).context("cannot wait for Ctrl-C")?;
    if args.until_stdin_closes {
        die_with_parent();
    }
    let json = args.common.json;
    let hosts = Hosts::read(&args.common.hosts)?;
    let (me, address) = hosts.node(args.id, &args.common.hosts)?;
    let (store, saved) = remember(args.data_dir, me, hosts.roles)?;
    let address = args.listen.unwrap_or_else(|| address.clone());
    let listener = Mesh::listen(&address).await.context("name another place with --listen HOST:PORT")?;
    info!("node {me} listens on {address}");
    tell(json, &tell::Event::Listens { node: me, address: address.to_string() })?;
    let mesh = Mesh::new(me, &hosts.nodes, hosts.clients, listener);
    let roles = hosts.roles;
    let mut program = Program { me, hosts, store, mesh, json, silent: false, fail_at: args.fail_at };
    let machine = Node::new(me, roles, saved, Timing::default());
    let Err(error) = tokio::select! {
        ended = direct::run(machine, &mut program, Input::Event(Event::Start)) => {
            ended.map(|never: Infallible| match never {})
        }
        _ = terminated.recv() => {
            info!("told to stop (SIGTERM)");
            return Ok(ExitCode::SUCCESS);
        }
        _ = interrupted.recv() => {
            info!("told to stop (Ctrl-C)");
            return Ok(ExitCode::SUCCESS);
        }
        () = stdin_closed(), if args.until_stdin_closes => return Ok(ExitCode::SUCCESS),
    };
    Err(error)
}

/// What this node has saved, or a memory with nothing in it.
fn remember(directory: Option<PathBuf>, me: NodeId, roles: Roles) -> anyhow::Result<(Option<Store<Kept>>, Saved)> {
    let nothing = Saved::new(incarnation()?);
    let Some(directory) = directory else { return Ok((None, nothing)) };
    let file = directory.join(format!("node-{me}.json"));
    let (store, kept) = Store::<Kept>::open(&file)?;
    let saved = match kept {
        None => nothing,
        Some(kept) if kept.node == me && kept.roles == roles && kept.saved.fits(roles) => kept.saved,
        Some(Kept { node, roles: Roles { .. }, .. }) => bail!(
            "{} is of node {node} in a run with other hosts: give this run a --data-dir of its own",
            file.display()
        ),
    };
    Ok((Some(store), saved))
}

/// Microseconds since 1970: no two programs of a node start in the same one, and a later
/// one has a greater, as [`Incarnation`] wants it.
fn incarnation() -> anyhow::Result<Incarnation> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Incarnation::new(since.as_micros() as u64).context("the clock is centuries fast")
}

fn listen_address(text: &str) -> Result<Address, String> {
    let parsed = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let (host, port) = parsed.filter(|(host, _)| !host.is_empty()).ok_or("expected HOST:PORT, such as 0.0.0.0:8100")?;
    Ok(Address { host: host.trim_matches(['[', ']']).into(), port })
}

struct Program {
    me: NodeId,
    hosts: Hosts,
    store: Option<Store<Kept>>,
    mesh: Mesh,
    json: bool,
    /// Stdout is closed, or cannot be written for another reason.
    silent: bool,
    fail_at: Option<Stage>,
}

impl World<Node> for Program {
    type End = Infallible;
    type Error = anyhow::Error;

    async fn next(&mut self) -> anyhow::Result<Input<Node>> {
        let input = self.mesh.next().await;
        if let Input::Message { from, message } = &input {
            debug!("from {}: {message}", self.name(*from));
        }
        Ok(input)
    }

    async fn send(&mut self, to: Peer, message: Message) -> anyhow::Result<()> {
        let stage = match &message {
            Message::Prepare { .. } => Some(Stage::Prepare),
            Message::Promise { .. } => Some(Stage::Promise),
            Message::Accept { .. } => Some(Stage::Accept),
            Message::Accepted { .. } => Some(Stage::Accepted),
            _ => None,
        };
        let fails = stage.is_some() && stage == self.fail_at;
        if fails && stage != Some(Stage::Accept) {
            self.fail();
        }
        let name = self.name(to);
        match &message {
            // They come again and again while somebody is away.
            Message::Candidate { .. } | Message::Query { .. } => debug!("to {name}: {message}"),
            message => info!("to {name}: {message}"),
        }
        self.tell(&tell::Event::sent(self.me, to, &message));
        match to {
            Peer::Node(node) if fails => {
                self.mesh.send_out(node, &message).await;
                self.fail();
            }
            to => self.mesh.send(to, &message),
        }
        Ok(())
    }

    /// It waits for the disk, and so does all else: nothing may be done before.
    async fn save(&mut self, saved: Saved) -> anyhow::Result<()> {
        let Some(store) = &mut self.store else { return Ok(()) };
        store.save(&Kept { node: self.me, roles: self.hosts.roles, saved })?;
        Ok(())
    }

    async fn report(&mut self, report: Report) -> anyhow::Result<ControlFlow<Infallible>> {
        let node = self.me;
        let event = match report {
            Report::Leads => {
                info!("our candidate came home: we give out the roles");
                tell::Event::Leads { node }
            }
            Report::Started { role, takes_part } => {
                if takes_part {
                    info!("the run has begun: we are {}", self.hosts.describe(node));
                } else {
                    warn!(
                        "the run has begun without us, or we have forgotten it: we only learn. A node with \
                         --data-dir can be restarted; without, stop all nodes before one of them takes part again"
                    );
                }
                tell::Event::Started { node, role, takes_part }
            }
            Report::OtherRoles(other) => {
                error!("node {other} gives out other roles than our list of hosts has: use one hosts.txt for all");
                return Ok(ControlFlow::Continue(()));
            }
            Report::Chosen(value) => {
                if self.fail_at == Some(Stage::Learn) {
                    self.fail();
                }
                info!("chosen: {}", printable(value.as_str()));
                tell::Event::Chosen { node: Some(node), client: None, value }
            }
        };
        self.tell(&event);
        Ok(ControlFlow::Continue(()))
    }
}

impl Program {
    /// Others need this node, whoever reads what it prints: so it goes on without.
    fn tell(&mut self, event: &tell::Event) {
        if !self.silent
            && let Err(error) = tell(self.json, event)
        {
            warn!("nothing more is printed: {error:#}");
            self.silent = true;
        }
    }

    fn name(&self, peer: Peer) -> String {
        match peer {
            Peer::Node(node) => match self.hosts.roles.of(node) {
                Some(role) => format!("{role} {node}"),
                None => format!("node {node}"),
            },
            Peer::Client(_) => "a client".into(),
        }
    }

    /// As if it were killed.
    fn fail(&self) -> ! {
        error!("node {} fails, as it was told to (--fail-at)", self.me);
        exit(FAILED)
    }
}
