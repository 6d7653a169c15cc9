//! `ringleader watch`.
#[derive(clap::Args)]
pub struct WatchArgs {}
pub async fn run(_args: WatchArgs, _logs: &crate::logs::LogArgs) -> anyhow::Result<()> {
    Ok(())
}
