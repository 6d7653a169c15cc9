//! `ringleader-hub`: flags, logs and signals around [`ringleader_hub::run`].

mod flags;
mod logs;

use std::io::{self, IsTerminal, stderr, stdout};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::builder::FalseyValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use ringleader_hub::store::Store;
use ringleader_hub::{Config, tls};
use ringleader_shared::message::Routing;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

/// The hub of a Ringleader ring: keeps the ordered list of members and relays
/// their frames. HTTP and WebSocket on one port.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

const EXAMPLES: &str = "Examples:
  ringleader-hub                              serve on port 8080
  ringleader-hub --listen 127.0.0.1:0         any free port; stdout says which
  ringleader-hub --data-dir /var/lib/ringleader   terms and jobs outlive it
  curl localhost:8080/rings/default/leader    who leads
  curl localhost:8080/rings/default/jobs -d '{\"factorial\": 10}'
                                              have its members compute 10!
  openssl rand -base64 32 > token; chmod 600 token; ringleader-hub --join-token-file token
                                              nobody joins who does not know it
  ringleader-hub healthcheck                  exit 0 if the hub on port 8080 is well";

#[derive(Subcommand)]
enum Command {
    /// Ask the hub on this machine whether it is well: exit code 0 if so, 1 if not.
    Healthcheck {
        /// Where the hub listens.
        #[arg(long, value_name = "HOST:PORT", env = "RINGLEADER_LISTEN", default_value = "0.0.0.0:8080")]
        listen: String,
        /// The hub's certificate in PEM, if it speaks TLS. No other is trusted.
        #[arg(long, value_name = "FILE", env = "RINGLEADER_TLS_CERT")]
        tls_cert: Option<PathBuf>,
    },
}

#[derive(Args)]
struct Serve {
    /// Where to listen. Port 0 takes any free port.
    #[arg(long, value_name = "HOST:PORT", env = "RINGLEADER_LISTEN", default_value = "0.0.0.0:8080")]
    listen: String,
    /// How frames are passed on: hop by hop round the ring, or the classic way.
    #[arg(long, env = "RINGLEADER_RELAY", default_value = "ring")]
    relay: Relay,
    /// A directory of the hub's own, where terms, leases and jobs are written down, so
    /// that a hub that is started again goes on above those terms and with these jobs.
    /// Made if need be.
    #[arg(long, value_name = "DIR", env = "RINGLEADER_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// For how long a leader may act on one lease. It renews it four times in that time.
    #[arg(long, value_name = "TIME", env = "RINGLEADER_LEASE", default_value = "4s", value_parser = flags::lease)]
    lease: Duration,
    /// Connections come through a proxy, so that one which just ends may have been ended
    /// by the proxy: a leader's lease is then waited out, unless it said goodbye.
    #[arg(long, env = "RINGLEADER_BEHIND_PROXY", value_parser = FalseyValueParser::new())]
    behind_proxy: bool,
    /// A web origin, such as http://lab.example, whose pages may join; `*` for all.
    /// The hub's own pages may, and what is no browser; everybody may watch.
    #[arg(long, value_name = "ORIGIN", env = "RINGLEADER_ALLOW_ORIGIN", value_delimiter = ',')]
    allow_origin: Vec<String>,
    /// How logs, which go to stderr, are written.
    #[arg(long, env = "RINGLEADER_LOG_FORMAT", default_value = "text")]
    log_format: LogFormat,
    /// What is logged: error, warn, info, debug or trace, or a filter such as
    /// ringleader_hub=trace (every frame).
    #[arg(long, value_name = "FILTER", env = "RINGLEADER_LOG", default_value = "info")]
    log: String,
    #[command(flatten)]
    security: flags::Security,
    #[command(flatten)]
    limits: flags::LimitFlags,
}

#[derive(Clone, Copy, ValueEnum)]
enum Relay {
    Ring,
    Direct,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

/// One thread: a ring has one owner, and frames that need not cross threads are
/// handed on faster than ones that do (`cargo bench -p ringleader-hub`).
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let done = match Cli::parse() {
        Cli { command: Some(Command::Healthcheck { listen, tls_cert }), .. } => healthcheck(listen, tls_cert).await,
        Cli { command: None, serve } => run(serve).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringleader-hub: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Like [`TcpListener::bind`], but thousands may come at one time, as when a hub has
/// restarted: whom the kernel has no room for can take itself for connected, and wait.
async fn listen(address: &str) -> io::Result<TcpListener> {
    const WAITING: u32 = 4096;
    let mut problem = None;
    for address in lookup_host(address).await? {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        match socket.bind(address).and_then(|()| socket.listen(WAITING)) {
            Ok(listener) => return Ok(listener),
            Err(error) => problem = Some(error),
        }
    }
    Err(problem.unwrap_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "that name has no address")))
}

async fn run(serve: Serve) -> anyhow::Result<()> {
    start_logs(&serve)?;
    raise_file_limit();
    let (tokens, tls) = (serve.security.tokens()?, serve.security.tls()?);
    let store = serve.data_dir.as_deref().map(Store::open).transpose()?;
    let scheme = if tls.is_some() { "wss" } else { "ws" };
    let listener = listen(&serve.listen)
        .await
        .with_context(|| format!("cannot listen on {} (choose another with --listen)", serve.listen))?;
    let address = listener.local_addr()?;
    let routing = match serve.relay {
        Relay::Ring => Routing::Ring,
        Relay::Direct => Routing::Direct,
    };
    info!(relay = ?routing, "listening on {scheme}://{address}");
    if store.is_none() {
        warn!("{FORGETFUL}");
    }
    if tokens.join.is_none() && !serve.security.open && !address.ip().to_canonical().is_loopback() {
        warn!("{}", open_to_all(address));
    }
    // For programs; a person at a terminal has the log.
    if !stdout().is_terminal() {
        println!("listening on {scheme}://{address}");
    }
    let shutdown = CancellationToken::new();
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let told = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminated.recv() => info!("told to stop (SIGTERM)"),
            _ = interrupted.recv() => info!("told to stop (Ctrl-C)"),
        }
        told.cancel();
    });
    let limits = serve.limits.limits();
    let Serve { lease, behind_proxy, allow_origin: allow_origins, .. } = serve;
    let config = Config { routing, allow_origins, lease, store, behind_proxy, limits, tokens, tls };
    ringleader_hub::run(listener, config, shutdown).await;
    info!("stopped");
    Ok(())
}

/// What a hub without a store does not promise.
const FORGETFUL: &str = "no --data-dir: what this hub knows ends with it, and so do jobs. One that is started again goes on above \
    the newest term that a member tells it of; if no such member is left, terms begin again at 1, and a fencing \
    token may come twice";

/// In a frame, so that it is seen among other lines.
fn open_to_all(address: SocketAddr) -> String {
    format!(
        "anybody who reaches this port can join and lead
  ************************************************************************
  *  {address} is not of this machine alone, and joining takes no token.
  *
  *  For this machine alone:      --listen 127.0.0.1:{port}
  *  For those who know a token:  --join-token-file FILE
  *      (openssl rand -base64 32 > FILE; chmod 600 FILE)
  *  For everybody, as it is:     --open
  ************************************************************************",
        port = address.port()
    )
}

/// A connection is an open file, and the soft limit is often 1,024: take what the
/// system allows.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        warn!("cannot raise the limit of open files: {error}");
    }
}

fn start_logs(serve: &Serve) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&serve.log)
        .with_context(|| format!("--log: expected a level such as info, or a filter; got {:?}", serve.log))?;
    let json = matches!(serve.log_format, LogFormat::Json);
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || logs::Escaped { to: stderr(), json })
        .with_target(false);
    match serve.log_format {
        LogFormat::Text => logs.with_ansi(stderr().is_terminal()).init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
    Ok(())
}

/// An address that stands for all of this machine's, such as 0.0.0.0, leads to
/// the machine itself.
async fn healthcheck(address: String, tls_cert: Option<PathBuf>) -> anyhow::Result<()> {
    let tls = tls_cert.map(|cert| tls::client_of(&cert)).transpose()?;
    let ask = async {
        let stream = TcpStream::connect(&address).await?;
        match tls {
            None => healthz(stream, &address).await,
            Some(tls) => {
                // The certificate itself is compared, so its names do not matter.
                let name = ServerName::try_from("localhost")?;
                healthz(TlsConnector::from(tls).connect(name, stream).await?, &address).await
            }
        }
    };
    let status = tokio::time::timeout(Duration::from_secs(2), ask)
        .await
        .with_context(|| format!("the hub at {address} does not answer"))?
        .with_context(|| format!("no hub at {address}"))?;
    if !status.is_success() {
        bail!("the hub at {address} answers {status}");
    }
    Ok(())
}

async fn healthz(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    address: &str,
) -> anyhow::Result<hyper::StatusCode> {
    let (mut hub, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = hyper::Request::get("/healthz").header("host", address).body(Empty::<Bytes>::new())?;
    Ok(hub.send_request(request).await?.status())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn flags_fit_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_flags_limits_are_those_of_the_library() {
        let cli = Cli::parse_from(["ringleader-hub"]);
        assert_eq!(format!("{:?}", cli.serve.limits.limits()), format!("{:?}", ringleader_hub::Limits::default()));
    }
}
