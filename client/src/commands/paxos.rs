//! `ringleader paxos`: nodes agree on a value, and never on two.

mod demo;
mod hosts;
mod node;
mod set;
mod tell;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use clap::builder::FalseyValueParser;

use crate::logs;

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct PaxosArgs {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  ringleader paxos demo --set 210 --set 55      six nodes and two clients on this machine
  ringleader paxos node 0                       node 0 of hosts.txt, until stopped
  ringleader paxos set 6 55 0                   client 6 wants 55, and asks proposer 0

The file hosts.txt: how many of each role, then the nodes (con), then the clients (cli).
Who is what goes by position; ids count from 0.

  PROPOSERS 2
  ACCEPTORS 3
  LEARNERS 1
  127.0.0.1 8100 con
  127.0.0.1 8101 con
  127.0.0.1 8102 con
  127.0.0.1 8103 con
  127.0.0.1 8104 con
  127.0.0.1 8105 con
  127.0.0.1 0 cli
  127.0.0.1 0 cli";

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Run a node, until stopped.
    Node(node::NodeArgs),
    /// Propose a value, and print the one that is chosen.
    Set(set::SetArgs),
    /// Run all the nodes and some clients on this machine.
    Demo(demo::DemoArgs),
}

/// What every subcommand takes.
#[derive(Debug, Clone, clap::Args)]
struct Common {
    /// Who and where the nodes are: see `ringleader paxos --help`.
    #[arg(long, value_name = "FILE", env = "RINGLEADER_PAXOS_HOSTS", default_value = "hosts.txt")]
    hosts: PathBuf,
    /// Print lines of JSON on stdout, one an event.
    #[arg(long, env = "RINGLEADER_JSON", value_parser = FalseyValueParser::new())]
    json: bool,
}

pub async fn run(args: PaxosArgs, logs: &logs::LogArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Node(args) => node::run(args, logs).await,
        Command::Set(args) => set::run(args, logs).await,
        Command::Demo(args) => demo::run(args, logs).await,
    }
}
