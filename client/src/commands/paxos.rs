//! `ringleader paxos`: nodes agree on a value.

use std::process::ExitCode;

use crate::logs;

#[derive(Debug, Clone, clap::Args)]
pub struct PaxosArgs {}

pub async fn run(_args: PaxosArgs, logs: &logs::LogArgs) -> anyhow::Result<ExitCode> {
    logs::start(logs)?;
    anyhow::bail!("not there yet")
}
