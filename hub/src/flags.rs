//! The flags that say who may come in and how much of everything there may be.

use std::fs;
use std::num::NonZeroU32;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use clap::builder::{FalseyValueParser, RangedU64ValueParser};
use clap::value_parser;
use ringleader_hub::token::{Token, Tokens};
use ringleader_hub::{Limits, tls};
use ringleader_shared::wire::MAX_FRAME_BYTES;
use tokio_rustls::rustls::ServerConfig;
use tracing::warn;

/// Where the secrets are.
#[derive(Args)]
#[command(next_help_heading = "Security")]
pub struct Security {
    /// A file with the token that joining takes: Authorization: Bearer TOKEN, or from
    /// a page new WebSocket(url, ["ringleader", "bearer." + encodeURIComponent(token)]).
    /// Whoever shows it may join from any origin.
    #[arg(long, value_name = "FILE", env = "RINGLEADER_JOIN_TOKEN_FILE")]
    join_token_file: Option<PathBuf>,
    /// Anybody who reaches the port may join, and that is meant: no warning.
    #[arg(long, env = "RINGLEADER_OPEN", value_parser = FalseyValueParser::new())]
    pub open: bool,
    /// A file with the token that watching takes, and all of HTTP but / and /healthz;
    /// the join token opens these, too.
    #[arg(long, value_name = "FILE", env = "RINGLEADER_WATCH_TOKEN_FILE", requires = "join_token_file")]
    watch_token_file: Option<PathBuf>,
    /// A file with the hub's certificate in PEM, and those that lead to a known
    /// authority: the hub then speaks TLS only (wss and https).
    #[arg(long, value_name = "FILE", env = "RINGLEADER_TLS_CERT", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// A file with the key of that certificate in PEM.
    #[arg(long, value_name = "FILE", env = "RINGLEADER_TLS_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

impl Security {
    pub fn tokens(&self) -> anyhow::Result<Tokens> {
        let token = |flag, file: &Option<PathBuf>| {
            file.as_ref().map(|file| read_token(file).with_context(|| format!("{flag} {}", file.display()))).transpose()
        };
        Ok(Tokens {
            join: token("--join-token-file", &self.join_token_file)?,
            watch: token("--watch-token-file", &self.watch_token_file)?,
        })
    }

    pub fn tls(&self) -> Result<Option<Arc<ServerConfig>>, tls::TlsError> {
        let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) else { return Ok(None) };
        tls::server(cert, key).map(Some)
    }
}

fn read_token(file: &Path) -> anyhow::Result<Token> {
    let token = Token::new(fs::read_to_string(file)?.trim())?;
    let mode = fs::metadata(file)?.permissions().mode();
    if mode & 0o077 != 0 {
        warn!("{0} can be read by others (mode {1:03o}): chmod 600 {0}", file.display(), mode & 0o777);
    }
    Ok(token)
}

/// [`Limits`], each with a flag.
#[derive(Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitFlags {
    /// How many connections there may be.
    #[arg(long, value_name = "N", env = "RINGLEADER_MAX_CONNECTIONS", default_value_t = Limits::default().connections,
        value_parser = count())]
    max_connections: usize,
    /// How many of them from one address; of IPv6 from one /64. Through a proxy all
    /// come from one.
    #[arg(long, value_name = "N", env = "RINGLEADER_MAX_CONNECTIONS_PER_ADDRESS", default_value_t = Limits::default().connections_per_address,
        value_parser = count())]
    max_connections_per_address: usize,
    /// How many rings there may be.
    #[arg(long, value_name = "N", env = "RINGLEADER_MAX_RINGS", default_value_t = Limits::default().rings,
        value_parser = count())]
    max_rings: usize,
    /// How many members a ring may have.
    #[arg(long, value_name = "N", env = "RINGLEADER_MAX_MEMBERS", default_value_t = Limits::default().members,
        value_parser = count())]
    max_members: usize,
    /// How many bytes a frame may have. Whoever was handed a longer election may send
    /// that back with its entry.
    #[arg(long, value_name = "BYTES", env = "RINGLEADER_MAX_FRAME_BYTES", default_value_t = Limits::default().frame_bytes,
        value_parser = RangedU64ValueParser::<usize>::new().range(1024..=MAX_FRAME_BYTES as u64))]
    max_frame_bytes: usize,
    /// How many frames a connection may send in a second, pings and pongs among them;
    /// after a silence twice as many at once. Whoever sends more is read more slowly.
    #[arg(long, value_name = "N", env = "RINGLEADER_MAX_FRAMES_PER_SECOND", default_value_t = Limits::default().frames_per_second.get(),
        value_parser = value_parser!(u32).range(10..))]
    max_frames_per_second: u32,
    /// How many bytes may wait for a connection that does not take them, besides one
    /// frame of any size; with more it is closed.
    #[arg(long, value_name = "BYTES", env = "RINGLEADER_MAX_OUTBOX_BYTES", default_value_t = Limits::default().outbox_bytes,
        value_parser = count())]
    max_outbox_bytes: usize,
    /// How long one write to a connection may take; then it is closed.
    #[arg(long, value_name = "TIME", env = "RINGLEADER_WRITE_DEADLINE", default_value = "2s", value_parser = time)]
    write_deadline: Duration,
    /// How long a TLS handshake and a request's head may take together, from connecting.
    #[arg(long, value_name = "TIME", env = "RINGLEADER_HANDSHAKE_TIMEOUT", default_value = "3s", value_parser = time)]
    handshake_timeout: Duration,
    /// How long a connection that announced that it would join (?join) may take to do
    /// so. One that watches may be silent for ever.
    #[arg(long, value_name = "TIME", env = "RINGLEADER_GREETING_TIMEOUT", default_value = "5s", value_parser = time)]
    greeting_timeout: Duration,
    /// How long a connection may leave pings, of which there is at least one each second,
    /// without an answer; then it is closed.
    #[arg(long, value_name = "TIME", env = "RINGLEADER_SILENCE", default_value = "3s", value_parser = time)]
    silence: Duration,
    /// How long a member may hold a frame; then it is handed on without it.
    #[arg(long, value_name = "TIME", env = "RINGLEADER_HOP_TIMEOUT", default_value = "1s", value_parser = time)]
    hop_timeout: Duration,
    /// The largest n of an n! that a job may be. Its size and the time it takes grow
    /// faster than n.
    #[arg(long, value_name = "N", env = "RINGLEADER_MAX_FACTORIAL", default_value_t = Limits::default().factorial,
        value_parser = value_parser!(u32).range(..=10_000_000))]
    max_factorial: u32,
    /// How many open jobs a ring may have; as many that have ended are kept at most.
    #[arg(long, value_name = "N", env = "RINGLEADER_MAX_JOBS", default_value_t = Limits::default().jobs,
        value_parser = count())]
    max_jobs: usize,
}

impl LimitFlags {
    pub fn limits(&self) -> Limits {
        let default = Limits::default();
        Limits {
            handshake: self.handshake_timeout,
            greeting: self.greeting_timeout,
            silence: self.silence,
            // One that is lost is not yet silence.
            ping_interval: default.ping_interval.min(self.silence / 3),
            write_deadline: self.write_deadline,
            outbox_bytes: self.max_outbox_bytes,
            frame_bytes: self.max_frame_bytes,
            frames_per_second: NonZeroU32::new(self.max_frames_per_second).unwrap_or(default.frames_per_second),
            connections: self.max_connections,
            connections_per_address: self.max_connections_per_address,
            rings: self.max_rings,
            members: self.max_members,
            hop_timeout: self.hop_timeout,
            factorial: self.max_factorial,
            jobs: self.max_jobs,
        }
    }
}

/// The time round the ring has to be short against it.
pub fn lease(text: &str) -> Result<Duration, String> {
    time_from(Duration::from_millis(100), text, "expected a time from 100ms to 1h, such as 4s")
}

fn time(text: &str) -> Result<Duration, String> {
    time_from(Duration::from_millis(1), text, "expected a time from 1ms to 1h, such as 2s")
}

/// Bounded, so that the hub's clock can add it to any moment.
fn time_from(shortest: Duration, text: &str, expected: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| format!("{expected}: {error}"))?;
    let bounds = shortest..=Duration::from_secs(3600);
    if bounds.contains(&time) { Ok(time) } else { Err(expected.into()) }
}

fn count() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}
