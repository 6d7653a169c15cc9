//! `ringleader demo`.
#[derive(clap::Args)]
pub struct DemoArgs {}
pub async fn run(_args: DemoArgs, _logs: &crate::logs::LogArgs) -> anyhow::Result<()> {
    Ok(())
}
