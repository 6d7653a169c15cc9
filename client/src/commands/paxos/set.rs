//! `ringleader paxos set`: one client, who wants a value chosen and hears which one was.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use backon::{BackoffBuilder, ExponentialBuilder};
use humantime::format_duration;
use ringleader_client::transport::mesh::{Address, Hello, MAX_LINE_BYTES, TurnedAway};
use ringleader_shared::paxos::{Message, NodeId, Refusal, Value, Waiting};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{info, warn};

use super::super::join::{die_with_parent, time};
use super::super::terminal::printable;
use super::Common;
use super::hosts::Hosts;
use super::tell::{Event, tell};
use crate::logs;

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct SetArgs {
    /// Which of the cli lines it is; ids count from 0 over all lines.
    #[arg(value_name = "ID")]
    id: u16,
    /// What it wants chosen: a text of 1 to 1024 bytes.
    #[arg(value_name = "VALUE", allow_hyphen_values = true)]
    value: Value,
    /// Which proposer to ask, counted from 0; one too many begins at 0 again.
    #[arg(value_name = "PROPOSER")]
    proposer: u16,
    #[command(flatten)]
    common: Common,
    /// How long to wait for the outcome.
    #[arg(long, value_name = "TIME", env = "RINGLEADER_PAXOS_TIMEOUT", default_value = "30s", value_parser = time)]
    timeout: Duration,
    /// End when the demo ends that started it.
    #[arg(long, hide = true)]
    with_parent: bool,
}

const EXAMPLES: &str = "Examples:
  ringleader paxos set 6 55 0                     client 6 wants 55, and asks proposer 0
  ringleader paxos set 7 210 1 --timeout 5s       client 7 wants 210, and asks proposer 1

It prints `chosen VALUE` and ends with 0, whoever wanted that value. Else it says why not on stderr,
and the code tells what is known:
  1  this proposer has proposed nothing: it refused, or could not be asked
  3  it is gone, and may have proposed: the value may be chosen or not. Ask again
  4  there was no outcome in time; the value may be chosen later";

/// How it ended.
enum End {
    Chosen(Value),
    NotProposed(String),
    Unknown(String),
    TimedOut(String),
}

pub async fn run(args: SetArgs, logs: &logs::LogArgs) -> anyhow::Result<ExitCode> {
    logs::start(logs)?;
    if args.with_parent {
        die_with_parent();
    }
    let hosts = Hosts::read(&args.common.hosts)?;
    hosts.client(args.id, &args.common.hosts)?;
    let proposers = hosts.roles.with(ringleader_shared::paxos::Role::Proposer).count() as u16;
    let to = NodeId(args.proposer % proposers);
    let client = args.id;
    let due = Instant::now() + args.timeout;
    let mut asking = Asking { args: &args, hosts: &hosts, to, waiting: None, sent: false };
    let end = match timeout_at(due, asking.ask()).await {
        Ok(end) => end?,
        Err(_) => End::TimedOut(asking.why_no_outcome().await),
    };
    let (code, why) = match end {
        End::Chosen(value) => {
            tell(args.common.json, &Event::Chosen { node: None, client: Some(client), value })?;
            return Ok(ExitCode::SUCCESS);
        }
        End::NotProposed(why) => (1, why),
        End::Unknown(why) => (3, why),
        End::TimedOut(why) => (4, why),
    };
    eprintln!("ringleader: {}", printable(&why));
    if args.common.json {
        tell(true, &Event::Failed { client, why })?;
    }
    Ok(ExitCode::from(code))
}

struct Asking<'a> {
    args: &'a SetArgs,
    hosts: &'a Hosts,
    to: NodeId,
    /// What the proposer said last that it waits for.
    waiting: Option<Waiting>,
    /// Whether the proposer may have heard of our value.
    sent: bool,
}

impl Asking<'_> {
    async fn ask(&mut self) -> anyhow::Result<End> {
        let name = self.hosts.describe(self.to);
        let stream = self.connect().await?;
        let (read, mut write) = stream.into_split();
        let mut read = BufReader::new(read);
        let hello = serde_json::to_string(&Hello { hello: self.args.id, to: self.to.0 })?;
        let propose = serde_json::to_string(&Message::Propose { value: self.args.value.clone() })?;
        self.sent = true;
        if let Err(error) = write.write_all(format!("{hello}\n{propose}\n").as_bytes()).await {
            return Ok(self.gone(&error.to_string()));
        }
        info!("asked {name}");
        loop {
            let mut text = vec![];
            match (&mut read).take(MAX_LINE_BYTES as u64).read_until(b'\n', &mut text).await {
                Ok(0) => return Ok(self.gone("it closed the connection")),
                Ok(_) => {}
                Err(error) => return Ok(self.gone(&error.to_string())),
            }
            if let Ok(TurnedAway { error }) = serde_json::from_slice(&text) {
                return Ok(End::NotProposed(format!("{name} turned us away: {error}")));
            }
            match serde_json::from_slice(&text) {
                Ok(Message::Outcome { value }) => return Ok(End::Chosen(value)),
                Ok(Message::Waiting { waiting }) => self.on_waiting(waiting)?,
                Ok(Message::Refused { why }) => return Ok(End::NotProposed(self.refused(why))),
                // A newer node may have more to say than we know.
                Ok(other) => warn!("{name} says {other}, which is not for clients"),
                Err(error) => bail!("{name} does not speak like a node: {error}"),
            }
        }
    }

    /// Until there is a connection, or our time is over.
    async fn connect(&self) -> anyhow::Result<TcpStream> {
        let address = self.hosts.nodes.get(usize::from(self.to.0)).context("proposers are nodes")?;
        let mut delays = ExponentialBuilder::new()
            .with_jitter()
            .with_min_delay(Duration::from_millis(50))
            .with_max_delay(Duration::from_millis(500))
            .without_max_times()
            .build();
        let mut has_said = false;
        loop {
            match dial(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) if !has_said => {
                    warn!("cannot reach {}: {error}; trying on", self.hosts.describe(self.to));
                    has_said = true;
                }
                Err(_) => {}
            }
            sleep(delays.next().unwrap_or_default()).await;
        }
    }

    fn on_waiting(&mut self, waiting: Waiting) -> anyhow::Result<()> {
        // It says so at each attempt; once is enough.
        if self.waiting.as_ref() != Some(&waiting) {
            match &waiting {
                Waiting::Start => info!("the nodes have not all been there yet: waiting for the leader to start"),
                Waiting::Acceptors(_) => info!("{}; waiting", self.silent(&waiting)),
            }
            if self.args.common.json {
                tell(true, &Event::Waits { client: self.args.id, waiting: waiting.clone() })?;
            }
        }
        self.waiting = Some(waiting);
        Ok(())
    }

    fn silent(&self, waiting: &Waiting) -> String {
        let Waiting::Acceptors(silent) = waiting else { return String::new() };
        let silent: Vec<String> = silent.iter().map(|node| self.hosts.describe(*node)).collect();
        format!("no majority of the acceptors answers: nothing from {}", silent.join(", "))
    }

    fn gone(&self, problem: &str) -> End {
        End::Unknown(format!(
            "{} is gone before an outcome ({problem}): {} may or may not be chosen. Ask again, or another proposer: \
             what was chosen stays so",
            self.hosts.describe(self.to),
            self.args.value
        ))
    }

    fn refused(&self, why: Refusal) -> String {
        let name = self.hosts.describe(self.to);
        match why {
            Refusal::NoProposer => format!("{name} is no proposer: its list of hosts is another one"),
            Refusal::Forgotten => {
                format!("{name} was restarted without its data and takes no part any more: ask another proposer")
            }
            Refusal::Busy => format!("too many clients wait at {name}: ask again later, or another proposer"),
        }
    }

    /// What stood in the way for all that time.
    async fn why_no_outcome(&self) -> String {
        let time = format_duration(self.args.timeout);
        let name = self.hosts.describe(self.to);
        if !self.sent {
            return format!("no outcome in {time}: cannot reach {name}. Start that node, or ask another proposer");
        }
        match &self.waiting {
            Some(Waiting::Start) => {
                let absent = self.absent().await;
                if absent.is_empty() {
                    return format!(
                        "no outcome in {time}: the run has not begun, though all nodes are there. Ask again"
                    );
                }
                format!(
                    "no outcome in {time}: the run begins when all nodes have been there; nobody at {}",
                    absent.join(", ")
                )
            }
            Some(waiting) => format!("no outcome in {time}: {}", self.silent(waiting)),
            None => format!("no outcome in {time}, and {name} did not say why"),
        }
    }

    /// Who does not listen.
    async fn absent(&self) -> Vec<String> {
        let mut dials = JoinSet::new();
        for (node, address) in (0..).map(NodeId).zip(self.hosts.nodes.clone()) {
            dials.spawn(async move { (node, dial(&address).await.is_ok()) });
        }
        let mut absent: Vec<NodeId> =
            dials.join_all().await.into_iter().filter(|(_, is_there)| !is_there).map(|(node, _)| node).collect();
        absent.sort();
        absent.into_iter().map(|node| self.hosts.describe(node)).collect()
    }
}

async fn dial(address: &Address) -> io::Result<TcpStream> {
    let stream = timeout(Duration::from_secs(5), TcpStream::connect((&*address.host, address.port)));
    let stream = stream.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    // On one machine a dialler can be given the very port that it dials, and meet itself.
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    stream.set_nodelay(true)?;
    Ok(stream)
}
