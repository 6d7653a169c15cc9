//! A WebSocket to the hub.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures_util::{SinkExt, StreamExt};
use ringleader_shared::wire::MAX_FRAME_BYTES;
use thiserror::Error;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::http::{StatusCode, header};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;
use tracing::warn;

use super::papers::Token;
use super::stream::{self, Stream};
pub use super::url::{BadHubUrl, HubUrl, Purpose};

/// How long connecting may take, and one write.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Between attempts to connect: from 0.1 s to 5 s. Each is twice the one before, and
/// chance at most doubles it.
pub(crate) const BACKOFF: ExponentialBuilder = ExponentialBuilder::new()
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

/// Why there is no link.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// A file that it takes cannot be used.
    #[error("cannot try: {0}")]
    Unready(String),
    /// Nobody answers there.
    #[error("cannot reach it: {0}")]
    Unreachable(String),
    /// Somebody answers, who does not speak WebSocket.
    #[error("what answers there is no hub: {0}")]
    NoHub(String),
    /// It may be somebody else.
    #[error("its certificate is not to be trusted: {0}")]
    Untrusted(String),
    /// It lets in only who shows the right token.
    #[error("it lets in only who shows a token; {0}")]
    Unauthorized(String),
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
    socket: WebSocketStream<Stream>,
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
        let (stream, token) = stream::open(hub).await?;
        let (token, seconds) = (token.as_ref(), PATIENCE.as_secs());
        let config = WebSocketConfig::default()
            .read_buffer_size(16 * 1024)
            .max_message_size(Some(MAX_FRAME_BYTES))
            .max_frame_size(Some(MAX_FRAME_BYTES));
        let mut request =
            hub.target(purpose).into_client_request().map_err(|error| ConnectError::NoHub(error.to_string()))?;
        if let Some(token) = token {
            request.headers_mut().insert(header::AUTHORIZATION, token.header());
        }
        // Without a subscriber: tungstenite logs the whole request, and the token with it.
        let handshake = client_async_with_config(request, stream, Some(config)).with_subscriber(NoSubscriber::new());
        let (socket, _) = timeout(PATIENCE, handshake)
            .await
            .map_err(|_| ConnectError::NoHub(format!("no WebSocket handshake in {seconds} s")))?
            .map_err(|error| refused(error, hub, token))?;
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

/// What a failed handshake means to whoever has to mend it.
fn refused(error: WsError, hub: &HubUrl, token: Option<&Token>) -> ConnectError {
    match &error {
        WsError::Http(response) => {
            let body = String::from_utf8_lossy(response.body().as_deref().unwrap_or_default());
            // Some answer with what they were sent.
            let body = readable(&token.map_or_else(|| body.to_string(), |token| token.out_of(&body)));
            let colon = if body.is_empty() { "" } else { ": " };
            let answer = format!("HTTP {}{colon}{body}", response.status());
            match response.status() {
                StatusCode::UNAUTHORIZED => unauthorized(&answer, hub),
                _ => ConnectError::NoHub(answer),
            }
        }
        // TLS answers what it takes for broken with a few bytes, or hangs up.
        WsError::Io(_) | WsError::Protocol(ProtocolError::HttparseError(_) | ProtocolError::HandshakeIncomplete)
            if hub.tls.is_none() =>
        {
            ConnectError::NoHub(format!("no WebSocket handshake ({error}); a hub with TLS is at wss://"))
        }
        _ => ConnectError::NoHub(error.to_string()),
    }
}

/// What to do about a token that is missing or wrong.
pub(super) fn unauthorized(answer: &str, hub: &HubUrl) -> ConnectError {
    ConnectError::Unauthorized(match &hub.token_file {
        None => format!("give the file that holds it with --token-file FILE (RINGLEADER_TOKEN_FILE) ({answer})"),
        Some(file) => format!("the one in {} will not do ({answer})", file.display()),
    })
}

/// What others wrote, so that it cannot break a line of a log or fill it.
pub(super) fn readable(text: &str) -> String {
    const MOST: usize = 200;
    text.chars().filter(|c| !c.is_control()).take(MOST).collect()
}
