//! A hub to test, and what it logged.

mod frames;
mod member;
mod peer;
mod process;
mod scene;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringleader_hub::Config;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::subscriber::DefaultGuard;

pub use frames::*;
pub use member::Member;
pub use peer::{FENCE, Peer, elect};
pub use process::{Process, run_hub};
pub use scene::Scene;

/// How long to wait for what has to come. Only a failing test waits so long.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Longer than any test takes: for limits that a test is not about, so that a slow
/// machine does not run into them.
pub const NEVER: Duration = Duration::from_secs(3600);

/// What `future` gives, before the patience ends.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// Waits until `holds`; for what shows nowhere but when asked for.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    soon(what, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// A hub, shut down on drop.
pub struct Hub {
    pub address: SocketAddr,
    pub shutdown: CancellationToken,
    pub running: JoinHandle<()>,
    log: Log,
    _logging: DefaultGuard,
}

impl Hub {
    /// One without hurry: nobody is silent, stalls or is slow.
    pub async fn start() -> Self {
        Hub::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let log = Log::default();
        let logging = log.clone().start();
        let mut config = Config::default();
        config.limits.silence = NEVER;
        config.limits.hop_timeout = NEVER;
        config.limits.handshake = NEVER;
        config.limits.write_deadline = NEVER;
        config.limits.greeting = NEVER;
        config.limits.frames_per_second = NonZeroU32::MAX;
        change(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(ringleader_hub::run(listener, config, shutdown.clone()));
        Hub { address, shutdown, running, log, _logging: logging }
    }

    /// A connection that has been welcomed.
    pub async fn connect(&self, path: &str) -> Peer {
        Peer::connect(self.address, path, &[]).await.unwrap_or_else(|answer| panic!("{path}: {answer:?}"))
    }

    /// A member, played by the test.
    pub async fn join(&self, rank: u32) -> Peer {
        let mut peer = self.connect("/?join").await;
        peer.join(rank).await;
        peer
    }

    /// Members in ring order, played by the test.
    pub async fn ring<const N: usize>(&self, ranks: [u32; N]) -> [Peer; N] {
        let mut peers = vec![];
        for rank in ranks {
            peers.push(self.join(rank).await);
        }
        peers.try_into().unwrap_or_else(|_| unreachable!("as many peers as ranks"))
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.request(&format!("GET {path} HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n")).await
    }

    pub async fn request(&self, request: &str) -> Answer {
        request_at(self.address, request).await
    }

    /// The default ring as anybody can see it, without what time alone changes.
    pub async fn view(&self) -> Value {
        let mut ring = self.get("/rings/default").await.json();
        for member in ring["members"].as_array_mut().unwrap() {
            member.as_object_mut().unwrap().remove("ageMs");
        }
        ring
    }

    /// The ids of the default ring's members, in ring order.
    pub async fn members(&self) -> Vec<String> {
        ids(&self.view().await["members"])
    }

    /// What a running hub tells whoever runs it, but for fences: each line at `warn` or
    /// above, and anything that is no line of a log.
    pub fn warnings(&self) -> Vec<String> {
        let harmless = |line: &&str| ["INFO ", "DEBUG "].iter().any(|level| line.trim_start().starts_with(level));
        let text = self.log.text();
        text.lines().filter(|line| !harmless(line) && !line.contains(FENCE)).map(String::from).collect()
    }

    /// Ends it; the time that took.
    pub async fn stop(&mut self) -> Duration {
        let begin = std::time::Instant::now();
        self.shutdown.cancel();
        soon("the hub's end", &mut self.running).await.unwrap();
        begin.elapsed()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.shutdown.cancel();
        if std::thread::panicking() {
            eprintln!("the hub's log:\n{}", self.log.text());
        }
    }
}

/// Sends these bytes, and reads until the hub closes; an answer of status 0 is none.
pub async fn request_at(hub: SocketAddr, request: &str) -> Answer {
    let answer = match TcpStream::connect(hub).await {
        Ok(mut stream) => {
            // It may be refused before it has asked.
            let _ = stream.write_all(request.as_bytes()).await;
            read_all(&mut stream).await
        }
        Err(_) => String::new(),
    };
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Answer { status: status.unwrap_or_default(), head: head.to_lowercase(), body: body.into() }
}

/// What comes until the hub closes the connection, or resets it.
pub async fn read_all(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = vec![];
    let _ = soon("the connection's end", stream.read_to_end(&mut bytes)).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A connection that has little room for what is not read.
pub async fn narrow(hub: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 * 1024).unwrap();
    socket.connect(hub).await.unwrap()
}

/// What HTTP answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// In lower case.
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Log lines, kept. Every test's hub runs on the test's own thread, so the log is its own.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn start(self) -> DefaultGuard {
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .without_time()
            .with_writer(move || self.clone());
        tracing::subscriber::set_default(subscriber.finish())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
