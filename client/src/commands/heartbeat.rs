//! `ringleader heartbeat`: the lowest id that is heard leads.

use std::process::ExitCode;

use crate::logs;

#[derive(Debug, Clone, clap::Args)]
pub struct HeartbeatArgs {}

pub async fn run(_args: HeartbeatArgs, logs: &logs::LogArgs) -> anyhow::Result<ExitCode> {
    logs::start(logs)?;
    anyhow::bail!("not there yet")
}
