//! `ringleader ring demo`: a whole ring on this machine, each node a process with files
//! of its own, and its messages counted.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use anyhow::{Context, bail, ensure};
use clap::builder::FalseyValueParser;
use futures_util::future::join_all;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::commands::terminal::{Paint, Printer};
use crate::logs;

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct DemoArgs {
    /// How many nodes, each a process: 2 to 200.
    #[arg(long, value_name = "N", env = "RINGLEADER_NODES", default_value = "3", value_parser = clap::value_parser!(u8).range(2..=200))]
    nodes: u8,
    /// Where their directories go; must be new or empty. [default: ring-demo, or ring-demo-2 and so on]
    #[arg(long, value_name = "DIR", env = "RINGLEADER_DIR")]
    dir: Option<PathBuf>,
    /// With terms, so that dead nodes are skipped: kill one while it runs. Needs three nodes.
    #[arg(long, env = "RINGLEADER_REPAIR", value_parser = FalseyValueParser::new())]
    repair: bool,
}

const EXAMPLES: &str = "Examples:
  ringleader ring demo --nodes 3                 three nodes; it says where their logs are
  ringleader ring demo --nodes 100               a hundred
  ringleader ring demo --nodes 10 --dir my-ring  their files in my-ring/node-1 and so on

Exit code: 0 all nodes know the same leader; 1 else.";

pub async fn run(args: DemoArgs, logs: &logs::LogArgs) -> anyhow::Result<ExitCode> {
    ensure!(!args.repair || args.nodes >= 3, "--repair needs at least three --nodes: of two, nobody can be skipped");
    let mut terminated = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupted = signal(SignalKind::interrupt()).context("cannot wait for Ctrl-C")?;
    let printer = Printer::start();
    let code = tokio::select! {
        code = play(&args, logs, &printer) => code?,
        // Nodes that still run are killed when they are dropped.
        _ = terminated.recv() => ExitCode::FAILURE,
        _ = interrupted.recv() => ExitCode::FAILURE,
    };
    printer.finish().await?;
    Ok(code)
}

async fn play(args: &DemoArgs, logs: &logs::LogArgs, printer: &Printer) -> anyhow::Result<ExitCode> {
    let dir = make_directory(args.dir.as_deref())?;
    let addresses = free_addresses(args.nodes.into()).await?;
    let mut directories = vec![];
    for (index, address) in addresses.iter().enumerate() {
        let directory = dir.join(format!("node-{}", index + 1));
        // Theirs, the successor's, and with repair the others'.
        let count = if args.repair { addresses.len() } else { 2 };
        let from_us_on = addresses.iter().cycle().skip(index).take(count);
        let config: String = from_us_on.map(|address| format!("{address}\n")).collect();
        let written = fs::create_dir(&directory).and_then(|()| fs::write(directory.join("config.txt"), config));
        written.with_context(|| format!("cannot write {}/config.txt for {address}", directory.display()))?;
        directories.push(directory);
    }
    let nodes = args.nodes;
    let last = directories.last().map(|last| last.display().to_string()).unwrap_or_default();
    printer
        .print(format!("a ring of {nodes}; each has its config.txt and log.txt: {} … {last}", directories[0].display()))
        .await;

    let started = Instant::now();
    let children: Vec<Child> =
        directories.iter().map(|directory| start(directory, args.repair, logs)).collect::<anyhow::Result<_>>()?;
    let played = join_all(children.into_iter().map(attend)).await;
    let took = started.elapsed().as_secs_f32();
    let paint = Paint::for_stdout();
    for ((index, part), address) in played.iter().enumerate().zip(&addresses) {
        printer.print(part.line(index + 1, address, paint)).await;
    }
    let leaders: BTreeSet<&Option<String>> = played.iter().map(|part| &part.leader).collect();
    let agreed = match leaders.into_iter().collect::<Vec<_>>()[..] {
        [Some(leader)] => leader,
        _ => {
            printer.print(format!("they do not agree; {}/node-*/log.txt have the story", dir.display())).await;
            return Ok(ExitCode::FAILURE);
        }
    };
    printer.print(format!("{} leads: all {nodes} agree, after {took:.2} s", paint.with("1;32", agreed))).await;
    let sent: usize = played.iter().map(|part| part.candidates + part.announcements).sum();
    printer.print(format!("{sent} messages{}", bounds(nodes.into(), args.repair))).await;
    Ok(ExitCode::SUCCESS)
}

/// What the paper says about their number.
fn bounds(n: usize, repair: bool) -> String {
    let rounds = if repair { 2 * n } else { n };
    let (best, worst) = (2 * n - 1 + rounds, n * (n + 1) / 2 + rounds);
    let mean = (1..=n).map(|k| n as f64 / k as f64).sum::<f64>() + rounds as f64;
    let with = if repair { "2n" } else { "n" };
    format!(": at best {best}, in the mean n·H(n) + {with} = {mean:.1}, at worst n(n+1)/2 + {with} = {worst}")
}

fn make_directory(wanted: Option<&Path>) -> anyhow::Result<PathBuf> {
    let Some(dir) = wanted else {
        // Nobody's files are written over: so each demo gets its own.
        for number in 1..=1000 {
            let dir = PathBuf::from(if number == 1 { "ring-demo".into() } else { format!("ring-demo-{number}") });
            match fs::create_dir(&dir) {
                Ok(()) => return Ok(dir),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(error).with_context(|| {
                        format!("cannot make the directory {}; name another place with --dir DIR", dir.display())
                    });
                }
            }
        }
        bail!("there are a thousand ring-demo directories already; name another with --dir DIR");
    };
    fs::create_dir_all(dir).with_context(|| format!("cannot make the directory {}", dir.display()))?;
    let mut entries = fs::read_dir(dir).with_context(|| format!("cannot read the directory {}", dir.display()))?;
    ensure!(
        entries.next().is_none(),
        "--dir: expected a new or an empty directory; there is something in {}",
        dir.display()
    );
    Ok(dir.into())
}

/// As the files of `config.txt` have them. Held all at once, so that they differ.
async fn free_addresses(count: usize) -> anyhow::Result<Vec<String>> {
    let mut held = vec![];
    for _ in 0..count {
        held.push(TcpListener::bind("127.0.0.1:0").await.context("cannot find a free port")?);
    }
    let port = |listener: &TcpListener| Ok(format!("127.0.0.1,{}", listener.local_addr()?.port()));
    held.iter().map(port).collect()
}

fn start(directory: &Path, repair: bool, logs: &logs::LogArgs) -> anyhow::Result<Child> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let mut command = Command::new(&program);
    command
        .args(["ring", "--json", "--die-with-parent", "--settle", "1ms", "--log-filter", &logs.log])
        .current_dir(directory);
    if repair {
        command.arg("--repair");
    }
    // What is meant for us is not meant for the nodes.
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("RINGLEADER_") {
            command.env_remove(variable);
        }
    }
    // What a node logs goes beside its other files.
    let stderr = fs::File::create(directory.join("stderr.txt"))
        .with_context(|| format!("cannot write {}/stderr.txt", directory.display()))?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr).kill_on_drop(true);
    command.spawn().with_context(|| format!("cannot start {}", program.display()))
}

/// What became of a node.
#[derive(Default)]
struct Part {
    pid: u32,
    uuid: Option<String>,
    candidates: usize,
    announcements: usize,
    leader: Option<String>,
    /// How it ended, where it knew no leader.
    end: String,
}

async fn attend(mut child: Child) -> Part {
    let mut part = Part { pid: child.id().unwrap_or_default(), ..Part::default() };
    if let Some(stdout) = child.stdout.take() {
        let mut lines = BufReader::new(stdout).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            part.on_event(&serde_json::from_str(&line).unwrap_or_default());
        }
    }
    part.end = child.wait().await.map_or_else(|error| error.to_string(), |status| status.to_string());
    part
}

impl Part {
    fn on_event(&mut self, event: &Value) {
        let text = |name: &str| event[name].as_str().map(str::to_owned);
        match event["event"].as_str() {
            Some("listening") => self.uuid = text("uuid"),
            Some("sent") if event["flag"] == 0 => self.candidates += 1,
            Some("sent") => self.announcements += 1,
            Some("leader") => self.leader = text("leaderId"),
            _ => {}
        }
    }

    fn line(&self, number: usize, address: &str, paint: Paint) -> String {
        let Part { pid, candidates, announcements, .. } = self;
        let uuid = self.uuid.as_deref().unwrap_or("?");
        let leads = self.leader.is_some() && self.leader == self.uuid;
        let uuid = if leads { paint.with("1;32", uuid) } else { uuid.into() };
        let end = match &self.leader {
            _ if leads => "leads".into(),
            Some(leader) => format!("leader is {}", leader.get(..8).unwrap_or(leader)),
            None => self.end.clone(),
        };
        format!(
            "  node-{number:<3} {address:<15} pid {pid:<7} {uuid}  sent {candidates} with flag 0, {announcements} with flag 1; {end}"
        )
    }
}
