//! Logs: where they go, and how they are written.

use std::io::{IsTerminal, stderr};

use anyhow::Context;
use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

#[derive(clap::Args)]
pub struct LogArgs {
    /// How logs, which go to stderr, are written.
    #[arg(long, global = true, env = "RINGLEADER_LOG_FORMAT", default_value = "text")]
    pub log_format: Format,
    /// What is logged: error, warn, info, debug (every frame) or trace, or a filter.
    #[arg(long, global = true, value_name = "FILTER", env = "RINGLEADER_LOG", default_value = "info")]
    pub log: String,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

/// To be called once, before the first line.
pub fn start(args: &LogArgs) -> anyhow::Result<()> {
    start_into(args, stderr, stderr().is_terminal())
}

/// The same, to somewhere else than stderr.
pub fn start_into<W>(args: &LogArgs, writer: W, colours: bool) -> anyhow::Result<()>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(&args.log)
        .with_context(|| format!("the log filter: expected a level such as info, or a filter; got {:?}", args.log))?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_target(false);
    match args.log_format {
        Format::Text => logs.with_ansi(colours).init(),
        Format::Json => logs.json().flatten_event(true).init(),
    }
    Ok(())
}
