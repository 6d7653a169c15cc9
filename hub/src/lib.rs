//! The hub: where members of a ring meet.
//!
//! It moves bytes. What is decided is decided by
//! [`ringleader_shared::relay::Relay`], one for each ring, each owned by one task.
//!
//! - [`run`]: accept connections until told to stop. Start here.
//! - `door`: how many connections there may be; [`token`]: the secrets they show.
//! - `stream`: the bytes of a connection, with or without [`tls`].
//! - `http`: routes, and the step from HTTP to a WebSocket.
//! - `socket`: one WebSocket: reading, writing, pings, closing; `websocket`: its frames;
//!   `pace`: how fast it may speak.
//! - `outbox`: what waits to be written to one connection; bounded.
//! - `rings`: the rings there are, by name.
//! - `driver`: the task that owns a ring's relay; `jobs`: the one that owns its jobs.
//! - [`store`]: what survives the hub; `keeper`: a ring's part of it.
//! - `timers`: the relay's timers on tokio's clock.

mod door;
mod driver;
#[cfg(feature = "echo")]
mod echo;
mod http;
mod jobs;
mod keeper;
mod outbox;
mod pace;
mod rings;
mod socket;
pub mod store;
mod stream;
mod timers;
pub mod tls;
pub mod token;
mod websocket;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use ringleader_shared::id::RingName;
use ringleader_shared::message::Routing;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;
use tracing::{debug, warn};

use door::{Door, Full, Pass};
use http::body::Bodies;
use rings::Rings;
use store::Store;
use token::Tokens;

/// How a hub behaves.
#[derive(Debug, Clone)]
pub struct Config {
    /// How frames are passed on.
    pub routing: Routing,
    /// Web origins whose pages may join, besides the hub's own; `*` for all.
    pub allow_origins: Vec<String>,
    /// For how long a leader may act on one lease.
    pub lease: Duration,
    /// Where terms and leases are written down. Without it they are forgotten when the
    /// hub ends.
    pub store: Option<Store>,
    /// Whether connections come through a proxy. Then one that just ends says nothing of
    /// who was at its other side: the proxy may have ended it. Only a goodbye counts.
    pub behind_proxy: bool,
    /// The limits of every connection and ring.
    pub limits: Limits,
    /// The secrets that joining and watching take.
    pub tokens: Tokens,
    /// How TLS is spoken: nothing else is, then.
    pub tls: Option<Arc<ServerConfig>>,
}

/// What nobody may exceed.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How long asking may take from the moment of connecting: the TLS handshake, if
    /// there is one, and a request's head.
    pub handshake: Duration,
    /// How long a connection that announced that it would join may take to do so. It
    /// is looked at with each ping.
    pub greeting: Duration,
    /// How often a connection is pinged.
    pub ping_interval: Duration,
    /// How long a connection may be silent.
    pub silence: Duration,
    /// How long one write may take, and over HTTP what is left of a request's body, and
    /// its answer.
    pub write_deadline: Duration,
    /// How many bytes may wait for one connection, besides one frame of any size.
    pub outbox_bytes: usize,
    /// How many bytes a frame may have that comes in. Whoever was handed a longer
    /// election may send that back with its entry.
    pub frame_bytes: usize,
    /// How many frames a connection may send in a second, pings and pongs among them;
    /// after a silence twice as many at once. Whoever sends more is read more slowly.
    pub frames_per_second: NonZeroU32,
    /// How many connections there may be.
    pub connections: usize,
    /// How many of them from one address; of IPv6 from one /64.
    pub connections_per_address: usize,
    /// How many rings there may be.
    pub rings: usize,
    /// How many members a ring may have. With 5,000 the list of them, which a
    /// welcome has to hold, stays below the largest frame.
    pub members: usize,
    /// How long a member may hold a frame.
    pub hop_timeout: Duration,
    /// The largest n of an n! that a job may be.
    pub factorial: u32,
    /// How many open jobs a ring may have.
    pub jobs: usize,
}

/// For how long a leader may act on one lease, unless told otherwise.
const LEASE: Duration = Duration::from_secs(4);

impl Default for Config {
    fn default() -> Self {
        Config {
            routing: Routing::Ring,
            allow_origins: vec![],
            lease: LEASE,
            store: None,
            behind_proxy: false,
            limits: Limits::default(),
            tokens: Tokens::default(),
            tls: None,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            handshake: Duration::from_secs(3),
            greeting: Duration::from_secs(5),
            ping_interval: Duration::from_secs(1),
            silence: Duration::from_secs(3),
            write_deadline: Duration::from_secs(2),
            outbox_bytes: 256 * 1024,
            frame_bytes: 64 * 1024,
            frames_per_second: NonZeroU32::new(1_000).expect("a thousand is not zero"),
            connections: 10_000,
            connections_per_address: 5_000,
            rings: 1_000,
            members: 5_000,
            hop_timeout: Duration::from_secs(1),
            factorial: 100_000,
            jobs: 10_000,
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
    /// Room for the bodies of requests.
    bodies: Bodies,
}

/// How long connections get to say goodbye.
const GOODBYE: Duration = Duration::from_millis(700);

/// Serves on `listener` until `shutdown` is cancelled. Then every WebSocket is
/// closed with 1001 (going away), and this returns within a second.
pub async fn run(listener: TcpListener, config: Config, shutdown: CancellationToken) {
    let tasks = TaskTracker::new();
    let rings = Rings::new(config.clone(), tasks.clone(), shutdown.clone());
    let bodies = Bodies::new(&config.limits);
    let hub = Arc::new(Hub { config, rings, tasks, shutdown, bodies });
    if hub.shutdown.run_until_cancelled(go_on(&hub)).await.is_none() {
        return;
    }
    let limits = &hub.config.limits;
    let door = Door::new(limits.connections, limits.connections_per_address);
    let router = http::router(hub.clone());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = hub.shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, remote)) => match door.enter(remote) {
                Ok(pass) => {
                    hub.tasks.spawn(serve(stream, Arc::new(pass), router.clone(), hub.clone()));
                }
                Err(full) => refuse(&stream, remote, full, &door, &hub),
            },
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

/// Begins the rings that have jobs, so that these are shown and go on.
async fn go_on(hub: &Hub) {
    let Some(store) = hub.config.store.clone() else { return };
    let rings = keeper::insist(&RingName::default(), "the hub does not begin", move || store.rings_with_jobs()).await;
    hub.rings.go_on(rings);
}

/// The connection is new, so there is room for this in its buffer. Under TLS nobody
/// could read it, and a handshake is what a flood of connections must not cost us.
fn refuse(stream: &TcpStream, remote: SocketAddr, full: Full, door: &Door, hub: &Hub) {
    if hub.config.tls.is_none() {
        let _ = stream.try_write(http::unavailable(&full.to_string()).as_bytes());
    }
    if let Some(count) = door.refused() {
        warn!("{count} connections refused, this one from {remote}: {full}");
    }
}

/// HTTP on one connection; a WebSocket goes on in a task of its own.
///
/// Asking has a deadline, and so has the answer: this ends, whoever is at the other end.
async fn serve(stream: TcpStream, pass: Arc<Pass>, router: axum::Router, hub: Arc<Hub>) {
    let limits = &hub.config.limits;
    let asked_by = Instant::now() + limits.handshake;
    let remote = pass.remote;
    // Small frames go out at once.
    if let Err(error) = stream.set_nodelay(true) {
        debug!("{remote}: cannot set TCP_NODELAY: {error}");
    }
    let served = async {
        let stream = timeout_at(asked_by, stream::accept(stream, hub.config.tls.as_ref())).await;
        let stream = match stream {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return debug!("{remote}: no TLS handshake: {error}"),
            Err(_) => return debug!("{remote}: the TLS handshake took too long"),
        };
        let answering = hub.clone();
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            let refusal = http::refusal(&answering, &mut request);
            request.extensions_mut().insert(pass.clone());
            let mut router = router.clone();
            async move {
                match refusal {
                    None => router.call(request).await,
                    Some(refusal) => Ok::<_, Infallible>(refusal),
                }
            }
        });
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(asked_by.duration_since(Instant::now()));
        let mut connection =
            pin!(http.max_buf_size(16 * 1024).serve_connection(TokioIo::new(stream), service).with_upgrades());
        let served = match timeout_at(asked_by, connection.as_mut()).await {
            Ok(served) => served,
            Err(_) => {
                connection.as_mut().graceful_shutdown();
                let Ok(served) = timeout(limits.write_deadline, connection).await else {
                    return debug!("{remote}: it does not take its answer");
                };
                served
            }
        };
        if let Err(error) = served {
            debug!("{remote}: {error}");
        }
    };
    tokio::select! {
        () = served => {}
        () = hub.shutdown.cancelled() => {}
    }
}
