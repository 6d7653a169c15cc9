//! The hub: where members of a ring meet.
//!
//! It moves bytes. What is decided is decided by
//! [`ringleader_shared::relay::Relay`], one for each ring, each owned by one task.
//!
//! - [`run`]: accept connections until told to stop. Start here.
//! - `http`: routes, and the step from HTTP to a WebSocket.
//! - `socket`: one WebSocket: reading, writing, pings, closing.
//! - `outbox`: what waits to be written to one connection; bounded.
//! - `rings`: the rings there are, by name.
//! - `driver`: the task that owns a ring's relay.
//! - `timers`: the relay's timers on tokio's clock.

mod driver;
mod http;
mod outbox;
mod rings;
mod socket;
mod timers;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use ringleader_shared::message::Routing;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;
use tracing::{debug, warn};

use rings::Rings;

/// How a hub behaves.
#[derive(Debug, Clone)]
pub struct Config {
    /// How frames are passed on.
    pub routing: Routing,
    /// Web origins whose pages may join, besides the hub's own; `*` for all.
    pub allow_origins: Vec<String>,
    /// The limits of every connection and ring.
    pub limits: Limits,
}

/// What nobody may exceed.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How long a request's head may take, from the moment of connecting.
    pub handshake: Duration,
    /// How often a connection is pinged.
    pub ping_interval: Duration,
    /// How long a connection may be silent.
    pub silence: Duration,
    /// How long one write may take.
    pub write_deadline: Duration,
    /// How many bytes may wait for one connection, besides one frame of any size.
    pub outbox_bytes: usize,
    /// How many rings there may be.
    pub rings: usize,
    /// How many members a ring may have. With 5,000 the list of them, which a
    /// welcome has to hold, stays below the largest frame.
    pub members: usize,
    /// How long a member may hold a frame.
    pub hop_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config { routing: Routing::Ring, allow_origins: vec![], limits: Limits::default() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            handshake: Duration::from_secs(3),
            ping_interval: Duration::from_secs(1),
            silence: Duration::from_secs(3),
            write_deadline: Duration::from_secs(2),
            outbox_bytes: 256 * 1024,
            rings: 1_000,
            members: 5_000,
            hop_timeout: Duration::from_secs(1),
        }
    }
}

/// What every connection of a hub shares.
struct Hub {
    config: Config,
    rings: Rings,
    /// Every task of this hub, so that its end can be awaited.
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

/// How long connections get to say goodbye.
const GOODBYE: Duration = Duration::from_millis(700);

/// Serves on `listener` until `shutdown` is cancelled. Then every WebSocket is
/// closed with 1001 (going away), and this returns within a second.
pub async fn run(listener: TcpListener, config: Config, shutdown: CancellationToken) {
    let tasks = TaskTracker::new();
    let rings = Rings::new(config.clone(), tasks.clone(), shutdown.clone());
    let hub = Arc::new(Hub { config, rings, tasks, shutdown });
    let router = http::router(hub.clone());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = hub.shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, remote)) => {
                hub.tasks.spawn(serve(stream, remote, router.clone(), hub.clone()));
            }
            Err(error) => {
                // As a rule there are too many open files: wait for some to close.
                warn!("cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    hub.tasks.close();
    if tokio::time::timeout(GOODBYE, hub.tasks.wait()).await.is_err() {
        debug!("{} tasks did not end in time and are dropped", hub.tasks.len());
    }
}

/// HTTP on one connection; a WebSocket goes on in a task of its own.
async fn serve(stream: TcpStream, remote: SocketAddr, router: axum::Router, hub: Arc<Hub>) {
    // Small frames go out at once.
    if let Err(error) = stream.set_nodelay(true) {
        debug!("{remote}: cannot set TCP_NODELAY: {error}");
    }
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(http::Remote(remote));
        let mut router = router.clone();
        async move { Ok::<_, Infallible>(router.call(request).await.unwrap_or_else(|never| match never {})) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(hub.config.limits.handshake).max_buf_size(16 * 1024);
    let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
    tokio::select! {
        served = connection => if let Err(error) = served {
            debug!("{remote}: {error}");
        },
        () = hub.shutdown.cancelled() => {}
    }
}
