//! `ringleader demo`: a hub in this process, and members that are processes of their
//! own, to watch and to break.

mod child;
mod scribe;
mod story;

use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::builder::FalseyValueParser;
use clap::error::ErrorKind;
use humantime::format_duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::join::time;
use super::terminal::Printer;
use crate::logs;
use child::Happening;
use scribe::{Scribe, Speaker};
use story::{Member, Next, Plan, Story};

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct DemoArgs {
    /// How many members, each a process: 1 to 100.
    #[arg(long, value_name = "N", env = "RINGLEADER_CLIENTS", default_value = "5", value_parser = clap::value_parser!(u8).range(1..=100))]
    clients: u8,
    /// Where the hub listens, on this machine only. 0 takes any free port.
    #[arg(long, env = "RINGLEADER_PORT", default_value = "8080")]
    port: u16,
    /// Elect as soon as the leader's connection is gone, not only when a check has
    /// stayed unanswered.
    #[arg(long, env = "RINGLEADER_EARLY", value_parser = FalseyValueParser::new())]
    early: bool,
    /// Play the story without you: kill the leader when it has stood for this long,
    /// tell how long the others took to agree on a new one, and end.
    #[arg(long, value_name = "TIME", env = "RINGLEADER_KILL_LEADER_AFTER", value_parser = time)]
    kill_leader_after: Option<Duration>,
    /// How often members check their leader.
    #[arg(long, value_name = "TIME", env = "RINGLEADER_CHECK_INTERVAL", default_value = "2s", value_parser = time)]
    check_interval: Duration,
    /// How long a check may stay unanswered.
    #[arg(long, value_name = "TIME", env = "RINGLEADER_CHECK_TIMEOUT", default_value = "5s", value_parser = time)]
    check_timeout: Duration,
}

const EXAMPLES: &str = "Examples:
  ringleader demo                            five members; it says what to try on them
  ringleader demo --kill-leader-after 10s    a story that plays by itself, and ends
  ringleader demo --clients 20 --early       more members, who do not wait for a check
  ringleader demo --port 0 --check-interval 500ms --check-timeout 1s
                                             any free port, and everything sooner

Ctrl-C ends the hub and all members. No process outlives this one.";

pub async fn run(args: DemoArgs, logs: &logs::LogArgs) -> anyhow::Result<()> {
    if args.kill_leader_after.is_some() && args.clients == 1 {
        let message = "--kill-leader-after needs at least two --clients: nobody would be left to elect another\n";
        clap::Error::raw(ErrorKind::ArgumentConflict, message).exit();
    }
    let signals = Signals::new()?;
    let printer = Printer::start();
    let cast = cast(args.clients.into());
    let scribe = Scribe::new(printer.clone(), cast.iter().map(|part| &*part.name));
    let hub_logs = scribe.clone();
    logs::start_into(&for_the_hub(logs), move || hub_logs.lines_of(Speaker::hub()), false)?;

    let port = args.port;
    let listener = TcpListener::bind(("127.0.0.1", port)).await.map_err(|error| {
        anyhow!("cannot listen on port {port} ({error}); choose another with --port, or any free one with --port 0")
    })?;
    let port = listener.local_addr()?.port();
    let closed = CancellationToken::new();
    let hub = tokio::spawn(ringleader_hub::run(listener, ringleader_hub::Config::default(), closed.clone()));
    scribe.demo(&format!("a hub on ws://localhost:{port}, and its clients:"));

    let troupe = Troupe::start(&cast, &scribe, |part| arguments(&args, logs, port, part))?;
    let told = play(troupe, Plan::new(&args, port), scribe, printer.clone(), signals).await;
    closed.cancel();
    hub.await.context("the hub has panicked")?;
    printer.finish().await?;
    told
}

/// To the end of the story, or until told to stop; then until everybody has left.
async fn play(
    troupe: Troupe,
    plan: Plan,
    scribe: Scribe,
    printer: Printer,
    mut signals: Signals,
) -> anyhow::Result<()> {
    let Troupe { members, mut happenings, end, kill } = troupe;
    let mut story = Story::new(members, plan, scribe);
    let told = loop {
        let next = tokio::select! {
            Some(happening) = happenings.recv() => story.on_happening(happening),
            () = sleep_until(story.due()) => story.on_due(),
            () = printer.closed() => Next::End(Ok(())),
            () = signals.next() => Next::End(Ok(())),
        };
        if let Next::End(told) = next {
            break told;
        }
    };
    story.ending();
    end.cancel();
    loop {
        tokio::select! {
            happening = happenings.recv() => match happening {
                Some(happening) => story.on_last_happening(happening),
                None => break,
            },
            // Asked a second time: whoever has not left by now is not waited for.
            () = signals.next() => kill.cancel(),
        }
    }
    story.ended();
    told
}

/// The members' processes.
struct Troupe {
    members: Vec<Member>,
    happenings: mpsc::Receiver<Happening>,
    /// Tells all of them to leave.
    end: CancellationToken,
    /// Kills all of them.
    kill: CancellationToken,
}

impl Troupe {
    fn start(cast: &[Part], scribe: &Scribe, arguments: impl Fn(&Part) -> Vec<String>) -> anyhow::Result<Troupe> {
        // Who says more than we can take in waits a little.
        let (tell, happenings) = mpsc::channel(256);
        let (end, kill) = (CancellationToken::new(), CancellationToken::new());
        let mut members = vec![];
        for (who, part) in cast.iter().enumerate() {
            let kill = kill.child_token();
            let pid = child::start(who, &arguments(part), kill.clone(), end.clone(), tell.clone())?;
            let member = Member::new(Speaker::member(&part.name, pid, part.colour), kill);
            scribe.demo(&format!("  {member}, rank {}", part.rank));
            members.push(member);
        }
        Ok(Troupe { members, happenings, end, kill })
    }
}

/// Who a member is to be.
struct Part {
    name: String,
    colour: &'static str,
    rank: usize,
}

/// Names that are also colours, as parameters of SGR sequences.
const COLOURS: [(&str, &str); 12] = [
    ("red", "31"),
    ("blue", "94"),
    ("green", "32"),
    ("yellow", "33"),
    ("purple", "35"),
    ("cyan", "36"),
    ("orange", "38;5;208"),
    ("pink", "38;5;205"),
    ("brown", "38;5;137"),
    ("lime", "38;5;118"),
    ("teal", "38;5;37"),
    ("grey", "38;5;246"),
];

/// Short names and different ranks.
fn cast(count: usize) -> Vec<Part> {
    let ranks = rand::seq::index::sample(&mut rand::rng(), 999, count);
    let part = |(n, rank): (usize, usize)| {
        let (name, colour) = COLOURS[n % COLOURS.len()];
        let name = match n / COLOURS.len() {
            0 => name.to_owned(),
            round => format!("{name}{}", round + 1),
        };
        Part { name, colour, rank: rank + 1 }
    };
    ranks.into_iter().enumerate().map(part).collect()
}

/// How a member is called up.
fn arguments(args: &DemoArgs, logs: &logs::LogArgs, port: u16, part: &Part) -> Vec<String> {
    let log_format = match logs.log_format {
        logs::Format::Text => "text",
        logs::Format::Json => "json",
    };
    let mut arguments = vec![
        format!("--hub=ws://127.0.0.1:{port}"),
        format!("--name={}", part.name),
        format!("--rank={}", part.rank),
        format!("--check-interval={}", format_duration(args.check_interval)),
        format!("--check-timeout={}", format_duration(args.check_timeout)),
        format!("--log-format={log_format}"),
        format!("--log={}", logs.log),
    ];
    if args.early {
        arguments.push("--early".into());
    }
    arguments
}

/// Who joined, and who leads, the members say as well. So the hub says what only it
/// sees: what goes wrong. With another filter than the usual one it says what that asks for.
fn for_the_hub(logs: &logs::LogArgs) -> logs::LogArgs {
    let log = if logs.log == "info" { "info,ringleader_hub=warn".into() } else { logs.log.clone() };
    logs::LogArgs { log, log_format: logs.log_format }
}

struct Signals {
    terminated: Signal,
    interrupted: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Signals {
            terminated: signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?,
            interrupted: signal(SignalKind::interrupt()).context("cannot wait for Ctrl-C")?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminated.recv() => {}
            _ = self.interrupted.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_hundred_members_have_names_and_ranks_of_their_own() {
        let cast = cast(100);
        assert_eq!((&*cast[0].name, &*cast[12].name), ("red", "red2"));
        assert_eq!(cast.iter().map(|part| &part.name).collect::<BTreeSet<_>>().len(), 100);
        assert_eq!(cast.iter().map(|part| part.rank).collect::<BTreeSet<_>>().len(), 100);
    }
}
