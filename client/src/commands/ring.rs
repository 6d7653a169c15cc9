//! `ringleader ring`: Chang and Roberts on direct TCP.

mod config;
mod demo;
mod node;
mod record;

use std::process::ExitCode;

use crate::logs;

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct RingArgs {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    node: node::NodeArgs,
    // In place of --log FILTER, which all other commands have: --log is another file here, as the
    // exercise has it. With the id of that one, clap does not add it, and takes the two for one.
    /// What is logged on stderr: error, warn, info, debug (every message) or trace, or a filter.
    #[arg(
        id = "log",
        long = "log-filter",
        global = true,
        value_name = "FILTER",
        env = "RINGLEADER_LOG",
        default_value = "info"
    )]
    filter: String,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Command {
    /// Run a whole ring on this machine, and count its messages.
    Demo(demo::DemoArgs),
}

const EXAMPLES: &str = "Examples:
  ringleader ring demo --nodes 3                  three nodes, with their files, on this machine
  printf '127.0.0.1,5001\\n127.0.0.1,5002\\n' > a.txt   two nodes, each the other's successor:
  printf '127.0.0.1,5002\\n127.0.0.1,5001\\n' > b.txt
  ringleader ring --config a.txt --log a.log & ringleader ring --config b.txt --log b.log
  ringleader ring                                 config.txt and log.txt of this directory
  ringleader ring --repair                        skips the dead; config.txt has the whole ring
  ringleader ring --json | jq -c .event           for programs: a line an event

config.txt: first line our own ip,port, second the successor's; for --repair all others, too,
in the order of the ring. Other nodes of Chang and Roberts' ring may stand anywhere in it that
send {\"uuid\": \"…\", \"flag\": 0} and so on.

Exit code: 0 the leader is known, and printed on stdout (leader is <uuid>); 3 the ring is broken;
1 another error; 130 or 143 stopped before that by Ctrl-C or SIGTERM.";

pub async fn run(args: RingArgs, logs: &logs::LogArgs) -> anyhow::Result<ExitCode> {
    let logs = &logs::LogArgs { log: args.filter, log_format: logs.log_format };
    match args.command {
        Some(Command::Demo(args)) => demo::run(args, logs).await,
        None => node::run(args.node, logs).await,
    }
}
