//! A WebSocket to the hub.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures_util::{SinkExt, StreamExt};
use ringleader_shared::id::RingName;
use ringleader_shared::wire::MAX_FRAME_BYTES;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep, timeout};
use tokio_tungstenite::tungstenite::http::Uri;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use tracing::warn;

/// How long connecting may take, and one write.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between attempts to connect: from 0.1 s to 5 s. Each is twice the one before, and
/// chance at most doubles it.
const BACKOFF: ExponentialBuilder = ExponentialBuilder::new()
    .with_jitter()
    .with_min_delay(Duration::from_millis(100))
    .with_max_delay(Duration::from_millis(2_500))
    .without_max_times();

/// How long to wait when a link was lost: a hub that ends would otherwise have all
/// its members back at once.
pub fn pause() -> Duration {
    BACKOFF.build().next().unwrap_or_default()
}

/// How often to ping. Our hub pings too; a classic one does not.
const PING_INTERVAL: Duration = Duration::from_secs(2);

/// How long a hub may be silent.
const SILENCE: Duration = Duration::from_secs(6);

/// Where a hub is: `ws://HOST[:PORT]`, with a ring's name or a path of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubUrl {
    authority: String,
    host: String,
    port: u16,
    /// As it was given; empty where only a host was.
    path: String,
    ring: RingName,
}

/// Why a text is no [`HubUrl`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected ws://HOST:PORT, such as ws://localhost:8080; got {text:?}: {problem}")]
pub struct BadHubUrl {
    text: String,
    problem: &'static str,
}

impl FromStr for HubUrl {
    type Err = BadHubUrl;

    fn from_str(text: &str) -> Result<Self, BadHubUrl> {
        let bad = |problem| BadHubUrl { text: text.into(), problem };
        let uri: Uri = text.parse().map_err(|_| bad("that is no URL"))?;
        match uri.scheme_str() {
            Some("ws") => {}
            Some("wss") => return Err(bad("wss:// is not supported yet; use ws:// within a network that you trust")),
            Some("http" | "https") => return Err(bad("the scheme is ws")),
            _ => return Err(bad("it has no scheme; write ws:// in front")),
        }
        let authority = uri.authority().ok_or_else(|| bad("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(bad("a user and a password do not belong in it"));
        }
        // An address of IPv6 stands in brackets in a URL and without them elsewhere.
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(bad("it has no host"));
        }
        // What is no port is `None` here, too.
        let has_port = authority.as_str().len() > authority.host().len();
        if authority.port_u16() == Some(0) || (authority.port_u16().is_none() && has_port) {
            return Err(bad("the port is a number from 1 to 65535"));
        }
        let path = uri.path_and_query().map_or("", |path| path.as_str()).trim_start_matches('/').to_owned();
        Ok(HubUrl {
            authority: authority.to_string(),
            host,
            port: authority.port_u16().unwrap_or(80),
            path,
            ring: RingName::default(),
        })
    }
}

impl HubUrl {
    /// Another ring than `default`. A URL that has a path of its own keeps it.
    pub fn with_ring(self, ring: RingName) -> Self {
        HubUrl { ring, ..self }
    }

    /// Where to connect. The default ring is at the root, where other hubs are too.
    fn target(&self, purpose: Purpose) -> String {
        let ring = &self.ring;
        let is_default = *ring == RingName::default();
        let path = match (&*self.path, is_default, purpose) {
            ("", true, Purpose::Join) => "?join".into(),
            ("", true, Purpose::Watch) => "watch".into(),
            ("", false, Purpose::Join) => format!("rings/{ring}?join"),
            ("", false, Purpose::Watch) => format!("rings/{ring}/watch"),
            (path, ..) => path.to_owned(),
        };
        format!("ws://{}/{path}", self.authority)
    }
}

/// What a link is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To greet, and be a member. Saying so spares us what spectators are shown.
    Join,
    /// To watch, and nothing else.
    Watch,
}

impl fmt::Display for HubUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ws://{}", self.authority)
    }
}

/// Why there is no link.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// Nobody answers there.
    #[error("cannot reach it: {0}")]
    Unreachable(String),
    /// Somebody answers, who does not speak WebSocket.
    #[error("what answers there is no hub: {0}")]
    NoHub(String),
}

/// Why a link ended.
#[derive(Debug, Error)]
pub enum Lost {
    /// The hub closed it.
    #[error("the hub closed the connection{0}")]
    Closed(String),
    /// It broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// Nothing was heard.
    #[error("the hub was silent for {}", humantime::format_duration(SILENCE))]
    Silent,
    /// It takes nothing.
    #[error("the hub took nothing for {}", humantime::format_duration(PATIENCE))]
    Stuck,
}

/// A connection to a hub.
pub struct Link {
    socket: WebSocketStream<TcpStream>,
    pings: Interval,
    heard: Instant,
}

impl Link {
    /// Tries until there is a link, and says how it goes.
    pub async fn keep_trying(hub: &HubUrl, purpose: Purpose) -> Link {
        let started = Instant::now();
        let mut delays = BACKOFF.build();
        loop {
            let problem = match Link::connect(hub, purpose).await {
                Ok(link) => return link,
                Err(problem) => problem,
            };
            let delay = delays.next().unwrap_or_default();
            let (tried, next) = (started.elapsed().as_secs_f32(), delay.as_secs_f32());
            warn!("{hub}: {problem}; tried for {tried:.1} s, trying again in {next:.1} s");
            sleep(delay).await;
        }
    }

    /// Tries once.
    pub async fn connect(hub: &HubUrl, purpose: Purpose) -> Result<Link, ConnectError> {
        let unreachable = |error: std::io::Error| ConnectError::Unreachable(error.to_string());
        let seconds = PATIENCE.as_secs();
        let stream = timeout(PATIENCE, TcpStream::connect((&*hub.host, hub.port)))
            .await
            .map_err(|_| ConnectError::Unreachable(format!("no answer in {seconds} s")))?
            .map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        let config = WebSocketConfig::default()
            .read_buffer_size(16 * 1024)
            .max_message_size(Some(MAX_FRAME_BYTES))
            .max_frame_size(Some(MAX_FRAME_BYTES));
        let (socket, _) = timeout(PATIENCE, client_async_with_config(hub.target(purpose), stream, Some(config)))
            .await
            .map_err(|_| ConnectError::NoHub(format!("no WebSocket handshake in {seconds} s")))?
            .map_err(|error| match error {
                WsError::Http(response) => ConnectError::NoHub(refusal(&response)),
                error => ConnectError::NoHub(error.to_string()),
            })?;
        let mut pings = interval_at(Instant::now() + PING_INTERVAL, PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Link { socket, pings, heard: Instant::now() })
    }

    /// The next frame's text. Can be dropped and called again without losing one.
    pub async fn receive(&mut self) -> Result<String, Lost> {
        loop {
            tokio::select! {
                biased;
                message = self.socket.next() => {
                    self.heard = Instant::now();
                    match message {
                        Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
                        // Classic hubs send binary messages at times.
                        Some(Ok(Message::Binary(bytes))) => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
                        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                        Some(Ok(Message::Close(frame))) => {
                            // Answer it, as is due; the hub closes the TCP connection then.
                            let _ = timeout(PATIENCE, self.socket.flush()).await;
                            return Err(Lost::Closed(frame.map_or_else(String::new, |frame| format!(": {} {}", frame.code, readable(&frame.reason)))));
                        }
                        Some(Err(WsError::ConnectionClosed | WsError::AlreadyClosed)) | None => {
                            return Err(Lost::Closed(String::new()));
                        }
                        Some(Err(error)) => return Err(Lost::Broken(error.to_string())),
                    }
                }
                due = self.pings.tick() => {
                    // We ourselves have slept: what the hub said meanwhile is still to be read.
                    if due.elapsed() > PING_INTERVAL {
                        self.heard = Instant::now();
                    }
                    if self.heard.elapsed() >= SILENCE {
                        return Err(Lost::Silent);
                    }
                    self.send_all([Message::Ping(Default::default())]).await?;
                }
            }
        }
    }

    /// Sends frames, with one flush.
    pub async fn send(&mut self, texts: impl IntoIterator<Item = String>) -> Result<(), Lost> {
        self.send_all(texts.into_iter().map(Message::text)).await
    }

    async fn send_all(&mut self, messages: impl IntoIterator<Item = Message>) -> Result<(), Lost> {
        let socket = &mut self.socket;
        let sent = timeout(PATIENCE, async {
            for message in messages {
                socket.feed(message).await?;
            }
            socket.flush().await
        });
        sent.await.map_err(|_| Lost::Stuck)?.map_err(|error| Lost::Broken(error.to_string()))
    }

    /// Says goodbye and waits a moment for the hub to have read it.
    pub async fn close(mut self) {
        let goodbye = CloseFrame { code: CloseCode::Normal, reason: "leaving".into() };
        let _ = timeout(Duration::from_millis(500), async {
            let _ = self.socket.close(Some(goodbye)).await;
            while let Some(Ok(_)) = self.socket.next().await {}
        })
        .await;
    }
}

/// What an HTTP answer other than 101 says, in so far as people can read it.
fn refusal(response: &tokio_tungstenite::tungstenite::http::Response<Option<Vec<u8>>>) -> String {
    let body = readable(&String::from_utf8_lossy(response.body().as_deref().unwrap_or_default()));
    if body.is_empty() { format!("HTTP {}", response.status()) } else { format!("HTTP {}: {body}", response.status()) }
}

/// What others wrote, so that it cannot break a line of a log or fill it.
fn readable(text: &str) -> String {
    const MOST: usize = 200;
    text.chars().filter(|c| !c.is_control()).take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lead_to_a_ring() {
        let table = [
            ("ws://localhost:8080", "ws://localhost:8080/rings/blue?join", "ws://localhost:8080/rings/blue/watch"),
            ("ws://localhost:8080/", "ws://localhost:8080/rings/blue?join", "ws://localhost:8080/rings/blue/watch"),
            ("ws://hub", "ws://hub/rings/blue?join", "ws://hub/rings/blue/watch"),
            ("ws://[::1]:9", "ws://[::1]:9/rings/blue?join", "ws://[::1]:9/rings/blue/watch"),
            ("ws://hub/chat?x=1", "ws://hub/chat?x=1", "ws://hub/chat?x=1"),
        ];
        for (text, join, watch) in table {
            let url = text.parse::<HubUrl>().unwrap().with_ring("blue".parse().unwrap());
            assert_eq!((&*url.target(Purpose::Join), &*url.target(Purpose::Watch)), (join, watch));
        }
        let url: HubUrl = "ws://hub".parse().unwrap();
        assert_eq!((&*url.target(Purpose::Join), &*url.target(Purpose::Watch)), ("ws://hub/?join", "ws://hub/watch"));
    }

    #[test]
    fn wrong_urls_are_told_apart() {
        let table = [
            ("", "no URL"),
            ("localhost:8080", "ws://"),
            ("hub", "no scheme"),
            ("http://localhost:8080", "scheme is ws"),
            ("wss://localhost", "not supported yet"),
            ("ws://", "no URL"),
            ("ws://:8080", "no host"),
            ("ws://user:secret@hub", "password"),
            ("ws://hub:99999", "port"),
            ("ws://hub:0", "port"),
        ];
        for (text, expected) in table {
            let error = text.parse::<HubUrl>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
