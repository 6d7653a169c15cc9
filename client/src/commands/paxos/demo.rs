//! `ringleader paxos demo`: all the nodes and some clients, each a process, on this machine.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::builder::FalseyValueParser;
use ringleader_shared::paxos::{Roles, Value};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdin, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::info;

use super::super::join::time;
use super::super::terminal::Printer;
use super::tell::Event;
use crate::logs;

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct DemoArgs {
    /// How many proposers.
    #[arg(long, value_name = "N", env = "RINGLEADER_PAXOS_PROPOSERS", default_value = "2", value_parser = clap::value_parser!(u16).range(1..=20))]
    proposers: u16,
    /// How many acceptors.
    #[arg(long, value_name = "N", env = "RINGLEADER_PAXOS_ACCEPTORS", default_value = "3", value_parser = clap::value_parser!(u16).range(1..=20))]
    acceptors: u16,
    /// How many learners.
    #[arg(long, value_name = "N", env = "RINGLEADER_PAXOS_LEARNERS", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=20))]
    learners: u16,
    /// A client that wants this value; give it once a client. They all ask at once, each
    /// another proposer.
    #[arg(long = "set", value_name = "VALUE", default_values = ["210", "55"], allow_hyphen_values = true)]
    values: Vec<Value>,
    /// How long clients wait for the outcome.
    #[arg(long, value_name = "TIME", env = "RINGLEADER_PAXOS_TIMEOUT", default_value = "30s", value_parser = time)]
    timeout: Duration,
    /// Print what all nodes and clients tell as lines of JSON.
    #[arg(long, env = "RINGLEADER_JSON", value_parser = FalseyValueParser::new())]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  ringleader paxos demo --proposers 2 --acceptors 3 --learners 1 --set 210 --set 55
  ringleader paxos demo --set 1 --log error        only what is chosen
  ringleader paxos demo --json | jq -r 'select(.event == \"sent\") | .message.kind' | sort | uniq -c

It prints `chosen VALUE` for each client, and ends with 0 only if all of them heard the same.";

pub async fn run(args: DemoArgs, logs: &logs::LogArgs) -> anyhow::Result<ExitCode> {
    logs::start(logs)?;
    let mut terminated = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupted = signal(SignalKind::interrupt()).context("cannot wait for Ctrl-C")?;
    let roles = Roles::new(args.proposers, args.acceptors, args.learners).context("expected at most 100 nodes")?;
    let directory = Directory::new()?;
    let hosts = directory.0.join("hosts.txt");
    std::fs::write(&hosts, list(roles, args.values.len()).await?).context("cannot write hosts.txt")?;
    let stage = Stage::new(logs, &hosts)?;
    let printer = Printer::start();
    let played = tokio::select! {
        played = play(&args, roles, stage, printer.clone()) => played,
        _ = terminated.recv() => bail!("told to stop (SIGTERM)"),
        _ = interrupted.recv() => bail!("told to stop (Ctrl-C)"),
        () = printer.closed() => bail!("told to stop (stdout is closed)"),
    };
    printer.finish().await?;
    played
}

async fn play(args: &DemoArgs, roles: Roles, stage: Stage, printer: Printer) -> anyhow::Result<ExitCode> {
    let (tell, mut lines) = mpsc::channel(256);
    let mut nodes = vec![];
    for node in roles.all() {
        let arguments = ["node".into(), node.to_string(), "--until-stdin-closes".into()];
        nodes.push(stage.start(&arguments, tell.clone())?);
    }
    let mut clients = JoinSet::new();
    for (which, value) in args.values.iter().enumerate() {
        let id = usize::from(roles.count()) + which;
        let timeout = format!("--timeout={}", humantime::format_duration(args.timeout));
        // Flags first: a value may look like one.
        let arguments = [
            "set".into(),
            timeout,
            "--with-parent".into(),
            "--".into(),
            id.to_string(),
            value.to_string(),
            which.to_string(),
        ];
        let Actor { mut child, .. } = stage.start(&arguments, tell.clone())?;
        clients.spawn(async move { child.wait().await });
    }
    drop(tell);
    let (mut chosen, mut failed, mut nodes) = (vec![], false, Some(nodes));
    loop {
        tokio::select! {
            line = lines.recv() => {
                // All pipes are closed: everybody has ended.
                let Some(line) = line else { break };
                let Ok(event) = serde_json::from_str::<Event>(&line) else { continue };
                let heard = match &event {
                    Event::Chosen { client: Some(_), value, .. } => Some(format!("chosen {value}")),
                    _ => None,
                };
                chosen.extend(heard.clone());
                if let Some(line) = if args.json { Some(line) } else { heard } {
                    printer.print(line).await;
                }
            }
            Some(ended) = clients.join_next() => {
                failed |= !ended.context("a client's task has panicked")?.context("cannot wait for a client")?.success();
                if clients.is_empty() {
                    // With their stdin closed they end; and then what they have told is read to the end.
                    for node in nodes.take().into_iter().flatten() {
                        tokio::spawn(end(node));
                    }
                }
            }
        }
    }
    let all_agree = chosen.len() == args.values.len() && chosen.windows(2).all(|two| two[0] == two[1]);
    match all_agree && !failed {
        true => {
            info!("all {} clients heard the same", chosen.len());
            Ok(ExitCode::SUCCESS)
        }
        false => bail!("{} of {} clients heard an outcome: {}", chosen.len(), args.values.len(), chosen.join(", ")),
    }
}

/// How long a node that was told to end may take.
const LEAVE: Duration = Duration::from_secs(2);

async fn end(Actor { mut child, stdin }: Actor) {
    drop(stdin);
    if timeout(LEAVE, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

/// `hosts.txt`, with ports that are free now.
async fn list(roles: Roles, clients: usize) -> anyhow::Result<String> {
    use ringleader_shared::paxos::Role::{Acceptor, Learner, Proposer};
    let mut text = String::new();
    for (name, role) in [("PROPOSERS", Proposer), ("ACCEPTORS", Acceptor), ("LEARNERS", Learner)] {
        writeln!(text, "{name} {}", roles.with(role).count())?;
    }
    // Held until all are known, so that none is given out twice.
    let mut held = vec![];
    for _ in roles.all() {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot find a free port")?;
        writeln!(text, "127.0.0.1 {} con", listener.local_addr()?.port())?;
        held.push(listener);
    }
    text.push_str(&"127.0.0.1 0 cli\n".repeat(clients));
    Ok(text)
}

/// What all actors have in common.
struct Stage {
    program: PathBuf,
    arguments: Vec<String>,
}

/// A process of ours. It ends by itself when this one does.
struct Actor {
    child: Child,
    /// Kept open for as long as it is to stay.
    stdin: Option<ChildStdin>,
}

impl Stage {
    fn new(logs: &logs::LogArgs, hosts: &Path) -> anyhow::Result<Stage> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let log_format = match logs.log_format {
            logs::Format::Text => "text",
            logs::Format::Json => "json",
        };
        let arguments = vec![
            format!("--log={}", logs.log),
            format!("--log-format={log_format}"),
            "--json".into(),
            format!("--hosts={}", hosts.display()),
        ];
        Ok(Stage { program, arguments })
    }

    fn start(&self, arguments: &[String], tell: mpsc::Sender<String>) -> anyhow::Result<Actor> {
        let (verb, rest) = arguments.split_first().context("a verb comes first")?;
        let mut command = Command::new(&self.program);
        command.arg("paxos").arg(verb).args(&self.arguments).args(rest);
        // What is meant for us is not meant for them: a timeout, say.
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("RINGLEADER_") {
                command.env_remove(variable);
            }
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        // Ctrl-C is for us alone, so that everything ends in order.
        command.process_group(0);
        let mut child = command.spawn().with_context(|| format!("cannot start {}", self.program.display()))?;
        let who =
            format!("{verb} {}: ", rest.iter().find(|word| word.parse::<u16>().is_ok()).cloned().unwrap_or_default());
        tokio::spawn(forward(child.stdout.take(), move |line| {
            let tell = tell.clone();
            async move { tell.send(line).await.is_ok() }
        }));
        tokio::spawn(forward(child.stderr.take(), move |line| {
            eprintln!("{who}{line}");
            std::future::ready(true)
        }));
        let stdin = child.stdin.take();
        Ok(Actor { child, stdin })
    }
}

async fn forward<F: Future<Output = bool>>(pipe: Option<impl AsyncRead + Unpin>, to: impl Fn(String) -> F) {
    let Some(pipe) = pipe else { return };
    let mut lines = BufReader::new(pipe).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        if !to(String::from_utf8_lossy(&line).into_owned()).await {
            return;
        }
    }
}

/// A directory of our own, gone with the value.
struct Directory(PathBuf);

impl Directory {
    fn new() -> anyhow::Result<Directory> {
        let path = std::env::temp_dir().join(format!("ringleader-paxos-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Directory(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
