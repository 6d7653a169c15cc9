//! Bytes to a hub's port. The first byte says what the others are: `r`, all of what a
//! connection says; `w`, what is said after a proper handshake to become a WebSocket, a
//! frame a line: its first byte, whether it is masked, and its payload.
//!
//! The hub must not panic, must answer HTTP with HTTP, and must have closed soon after
//! the other side has said all.

use std::cell::OnceCell;
use std::net::SocketAddr;
use std::time::Duration;

use ringleader_hub::{Config, run as hub};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::story::{Line, steps};

/// The hub's deadlines are a tenth of this.
const PATIENCE: Duration = Duration::from_secs(10);
/// More than the hub says to one connection.
const MOST_BYTES: usize = 1 << 20;
const UPGRADE: &str = "HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const PATHS: [&str; 4] = ["/", "/?join", "/watch", "/rings/other"];

thread_local! {
    /// One hub for all inputs, on the thread of the fuzzer: so what it does is its input's.
    static HUB: OnceCell<(Runtime, SocketAddr)> = const { OnceCell::new() };
}

/// Says it to the hub.
pub fn run(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    let said = if *kind == b'w' { frames(rest) } else { rest.to_vec() };
    HUB.with(|running| {
        let (runtime, address) = running.get_or_init(start);
        let heard = runtime.block_on(async { timeout(PATIENCE, converse(*address, &said)).await });
        let heard = heard.expect("the hub closes soon after the other side has said all");
        assert!(heard.len() < MOST_BYTES, "{} bytes to one connection", heard.len());
        assert!(heard.is_empty() || heard.starts_with(b"HTTP/1."), "HTTP is answered with HTTP: {heard:?}");
        assert!(*kind != b'w' || heard.starts_with(b"HTTP/1.1 101 "), "a proper handshake is taken up");
    });
}

fn start() -> (Runtime, SocketAddr) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
    let address = listener.local_addr().expect("a port that is bound");
    let mut config = Config::default();
    let limits = &mut config.limits;
    for limit in [&mut limits.handshake, &mut limits.greeting, &mut limits.write_deadline, &mut limits.silence] {
        *limit = PATIENCE / 10;
    }
    runtime.spawn(hub(listener, config, CancellationToken::new()));
    (runtime, address)
}

/// Says all, and listens until the hub closes.
async fn converse(address: SocketAddr, said: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.expect("the hub listens");
    let mut heard = vec![];
    // The hub may have heard enough before all is said.
    let _ = stream.write_all(said).await;
    let _ = stream.shutdown().await;
    let _ = stream.read_to_end(&mut heard).await;
    heard
}

fn frames(bytes: &[u8]) -> Vec<u8> {
    let path = PATHS[bytes.first().map_or(0, |byte| usize::from(*byte) % PATHS.len())];
    let mut said = format!("GET {path} {UPGRADE}").into_bytes();
    for line in steps(bytes.get(1..).unwrap_or_default()) {
        frame(line, &mut said);
    }
    said
}

/// A frame of a client (RFC 6455 section 5.2), with a mask of zeros.
fn frame(mut line: Line, said: &mut Vec<u8>) {
    let (first, masked) = (line.letter(), if line.letter() == b'u' { 0 } else { 0x80 });
    let payload = line.rest();
    said.push(first);
    match u16::try_from(payload.len()) {
        Ok(short @ ..126) => said.push(masked | short as u8),
        long => {
            said.push(masked | 126);
            said.extend(long.unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    if masked != 0 {
        said.extend([0; 4]);
    }
    said.extend(payload);
}
