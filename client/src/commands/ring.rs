//! `ringleader ring`: Chang and Roberts on direct TCP.

use std::process::ExitCode;

use crate::logs;

#[derive(Debug, Clone, clap::Args)]
pub struct RingArgs {}

pub async fn run(_args: RingArgs, logs: &logs::LogArgs) -> anyhow::Result<ExitCode> {
    logs::start(logs)?;
    anyhow::bail!("not there yet")
}
