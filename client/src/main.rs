//! `ringleader`: a member of a ring, and what helps to watch one.

mod commands;
mod logs;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use commands::{demo, heartbeat, job, join, paxos, ring, watch};

/// Leader election over WebSockets. Without a command: join a ring.
#[derive(Parser)]
#[command(name = "ringleader", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    join: join::JoinArgs,
    #[command(flatten)]
    logs: logs::LogArgs,
}

const EXAMPLES: &str = "Examples:
  ringleader demo                              a hub and five members on this machine
  ringleader --hub ws://localhost:8080         join the ring of that hub
  ringleader join --rank 7 --name blue --json  print a line whenever its belief changes
  ringleader watch                             print the frames as they go round
  ringleader job submit --factorial 10 --wait  work for the leader to share out
Without a hub:
  ringleader ring demo --nodes 3               Chang and Roberts on direct TCP
  ringleader heartbeat 1 5000                  the lowest id that is heard leads
  ringleader paxos demo --set 210 --set 55     basic Paxos";

#[derive(Subcommand)]
enum Command {
    /// Join a ring and take part in its elections, until stopped.
    Join(Box<join::JoinArgs>),
    /// Print the traffic of a ring, without taking part.
    Watch(watch::WatchArgs),
    /// Submit work to a ring, and look what comes of it.
    Job(job::JobArgs),
    /// Run a hub and some members on this machine, to watch and to break.
    Demo(demo::DemoArgs),
    /// Elect on a ring of direct connections, without a hub: Chang and Roberts.
    Ring(ring::RingArgs),
    /// Elect the lowest id of all that are heard, without a hub.
    Heartbeat(heartbeat::HeartbeatArgs),
    /// Agree on a value, without a hub: basic Paxos.
    Paxos(paxos::PaxosArgs),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Cli { command, join, logs } = Cli::parse();
    let done = match command.unwrap_or(Command::Join(Box::new(join))) {
        Command::Join(args) => join::run(*args, &logs).await.map(|()| ExitCode::SUCCESS),
        Command::Watch(args) => watch::run(args, &logs).await.map(|()| ExitCode::SUCCESS),
        Command::Job(args) => job::run(args, &logs).await,
        Command::Demo(args) => demo::run(args, &logs).await.map(|()| ExitCode::SUCCESS),
        Command::Ring(args) => ring::run(args, &logs).await,
        Command::Heartbeat(args) => heartbeat::run(args, &logs).await,
        Command::Paxos(args) => paxos::run(args, &logs).await,
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ringleader: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn flags_fit_together() {
        Cli::command().debug_assert();
    }
}
