//! One WebSocket: what comes in goes to the ring's task, what the ring's task put
//! into the outbox goes out. Pings, silence, slowness and goodbyes are seen to here.

use std::fmt;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use ringleader_shared::id::ClientId;
use ringleader_shared::relay::Departure;
use ringleader_shared::wire::MAX_FRAME_BYTES;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::door::Pass;
use crate::driver::Happening;
use crate::outbox::{Outbox, TooSlow};
use crate::pace::Pace;
use crate::rings::Ring;
use crate::stream::Stream;
use crate::websocket::{READ_BUFFER_BYTES, WebSocket};
use crate::{Hub, Limits};

/// Who a connection is, and what it may do.
pub struct Visitor {
    pub id: ClientId,
    pub ring: Ring,
    pub may_join: bool,
    /// Whether it said that it would join: until it does, it is shown nothing.
    pub announced: bool,
}

/// More than an entry in an election takes.
const ENTRY_BYTES: usize = 1024;

/// How long to wait for the other side to have read our goodbye.
const LINGER: Duration = Duration::from_millis(500);

/// Why a connection ended.
enum End {
    /// The other side closed it.
    Closed,
    /// It just ended, as it does when the other side's process does.
    NoGoodbye,
    /// It broke.
    Broken(String),
    /// Nothing was heard for that long.
    Silent(Duration),
    /// It said that it would join, and did not in that time.
    NotJoined(Duration),
    /// It does not take what is for it.
    TooSlow,
    /// It sent what no WebSocket may.
    Refused(CloseCode, String),
    /// The hub ends.
    Shutdown,
}

impl End {
    /// Whether who was there knows of it, or has ended.
    fn departure(&self, behind_proxy: bool) -> Departure {
        match self {
            End::Closed => Departure::Closed,
            End::NoGoodbye if !behind_proxy => Departure::Closed,
            _ => Departure::Lost,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Closed => f.write_str("closed by the other side"),
            End::NoGoodbye => f.write_str("closed without a goodbye"),
            End::Broken(error) => write!(f, "connection broken: {error}"),
            End::Silent(silence) => write!(f, "silent for {}", humantime::format_duration(*silence)),
            End::NotJoined(greeting) => {
                let greeting = humantime::format_duration(*greeting);
                write!(f, "it announced that it would join (?join) and did not within {greeting}")
            }
            End::TooSlow => f.write_str("too slow: it does not take what is for it"),
            End::Refused(_, why) => write!(f, "closed: {why}"),
            End::Shutdown => f.write_str("the hub ends"),
        }
    }
}

/// Serves a WebSocket to its end. `read` is what came with the handshake's last bytes;
/// `_pass` counts this connection until it has ended.
///
/// This is all that an idle connection keeps in memory, so nothing large is moved
/// about in it (a moved value is kept twice), and what is rare is boxed.
pub async fn run(stream: Stream, read: Vec<u8>, visitor: Visitor, _pass: Option<Arc<Pass>>, hub: Arc<Hub>) {
    let limits = &hub.config.limits;
    let outbox = Arc::new(Outbox::new(limits.outbox_bytes));
    let Visitor { id, ring, may_join, announced } = visitor;
    let watches = !announced;
    ring.tell(Happening::Connected { id: id.clone(), outbox: outbox.clone(), may_join, watches }).await;
    let mut connection = Connection {
        socket: WebSocket::new(stream, read, limits.frame_bytes),
        takes: limits.frame_bytes,
        pace: Pace::new(limits.frames_per_second),
        join_by: announced.then(|| Instant::now() + limits.greeting),
        ring: &ring,
        id: &id,
        outbox: &outbox,
        limits,
    };
    let end = connection.serve(&hub.shutdown).await;
    match end {
        End::Closed | End::Shutdown => debug!(%id, "{end}"),
        _ => warn!(%id, "{end}"),
    }
    let departure = end.departure(hub.config.behind_proxy);
    ring.tell(Happening::Left { id: id.clone(), departure }).await;
    Box::pin(goodbye(&mut connection.socket, &end)).await;
}

struct Connection<'a> {
    socket: WebSocket,
    /// The largest message that it may send.
    takes: usize,
    pace: Pace,
    /// When it has to be a member, if it said that it would and is none.
    join_by: Option<Instant>,
    ring: &'a Ring,
    id: &'a ClientId,
    outbox: &'a Outbox,
    limits: &'a Limits,
}

impl Connection<'_> {
    async fn serve(&mut self, shutdown: &CancellationToken) -> End {
        let mut pings = self.pings();
        let mut heard = Instant::now();
        loop {
            let done = tokio::select! {
                message = next(&mut self.socket, &mut self.pace) => {
                    heard = Instant::now();
                    self.on_message(message).await
                }
                taken = self.outbox.take() => match taken {
                    Ok(frames) => self.write(frames).await,
                    Err(TooSlow) => Err(End::TooSlow),
                },
                due = pings.tick() => {
                    // We ourselves have slept: whoever was not asked could not answer.
                    if due.elapsed() > self.limits.ping_interval {
                        heard = Instant::now();
                        self.join_by = self.join_by.map(|by| by.max(heard + self.limits.ping_interval));
                    }
                    if heard.elapsed() >= self.limits.silence {
                        Err(End::Silent(self.limits.silence))
                    } else if self.join_by.is_some_and(|by| by <= Instant::now()) {
                        Err(End::NotJoined(self.limits.greeting))
                    } else {
                        self.ping().await
                    }
                }
                () = shutdown.cancelled() => Err(End::Shutdown),
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    fn pings(&self) -> Interval {
        let period = self.limits.ping_interval;
        let mut pings = interval_at(Instant::now() + period, period);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pings
    }

    async fn on_message(&mut self, message: Result<Message, Error>) -> Result<(), End> {
        let text = match message {
            Ok(Message::Text(text)) => text,
            Ok(Message::Binary(bytes)) if cfg!(feature = "echo") => {
                return self.socket.send(Message::Binary(bytes)).await.map_err(end_of);
            }
            // Some stacks send text as binary. What is no UTF-8 becomes nothing, which is no frame.
            Ok(Message::Binary(bytes)) => String::from_utf8(bytes.into()).unwrap_or_default().into(),
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => return Ok(()),
            Ok(Message::Close(_)) => return Err(End::Closed),
            Err(error) => return Err(end_of(error)),
        };
        self.ring.tell(Happening::Frame { id: self.id.clone(), text }).await;
        Ok(())
    }

    /// Everything that waits, in as few writes as the system takes. The texts are
    /// written from where they are: receivers share them, and a connection keeps no
    /// buffer as large as the largest frame it was ever sent.
    async fn write(&mut self, texts: Vec<Utf8Bytes>) -> Result<(), End> {
        texts.iter().for_each(|text| self.note(text));
        let socket = &mut self.socket;
        let written = timeout(self.limits.write_deadline, async {
            // An answer to a ping or to a close may be waiting; it must not be cut in two.
            socket.flush().await?;
            write_texts(socket.stream(), &texts).await.map_err(Error::Io)
        });
        written.await.map_err(|_| End::TooSlow)?.map_err(end_of)
    }

    /// What the hub says to a connection changes what that may do.
    fn note(&mut self, text: &str) {
        if says(text, "response") {
            self.join_by = None;
        }
        if text.len() > self.takes / 2 && says(text, "election") {
            // Not all who write JSON leave out the spaces between its parts.
            let back = text.len() + text.len() / 4 + ENTRY_BYTES;
            self.takes = self.takes.max(back.min(MAX_FRAME_BYTES));
            self.socket.take_up_to(self.takes);
        }
    }

    async fn ping(&mut self) -> Result<(), End> {
        let sent = timeout(self.limits.write_deadline, self.socket.send(Message::Ping(Default::default())));
        sent.await.map_err(|_| End::TooSlow)?.map_err(end_of)
    }
}

/// The next message, when it is time for one.
async fn next(socket: &mut WebSocket, pace: &mut Pace) -> Result<Message, Error> {
    pace.grant().await;
    let message = socket.next().await;
    pace.spend();
    message
}

/// Whether this is a frame of that method, as the hub writes them.
fn says(text: &str, method: &str) -> bool {
    let rest = text.strip_prefix(r#"{"method":""#).and_then(|rest| rest.strip_prefix(method));
    rest.is_some_and(|rest| rest.starts_with('"'))
}

/// Each text as one unmasked frame (RFC 6455 section 5.2).
async fn write_texts(stream: &mut Stream, texts: &[Utf8Bytes]) -> io::Result<()> {
    let text = FrameHeader { opcode: OpCode::Data(Data::Text), ..FrameHeader::default() };
    let mut headers = vec![];
    let mut ends = vec![0];
    for payload in texts {
        text.format(payload.len() as u64, &mut headers).map_err(io::Error::other)?;
        ends.push(headers.len());
    }
    let headers = ends.windows(2).map(|ends| &headers[ends[0]..ends[1]]);
    let mut slices: Vec<IoSlice> = headers
        .zip(texts)
        .flat_map(|(header, payload)| [IoSlice::new(header), IoSlice::new(payload.as_bytes())])
        .collect();
    let mut rest = &mut slices[..];
    while !rest.is_empty() {
        match stream.write_vectored(rest).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => IoSlice::advance_slices(&mut rest, written),
        }
    }
    // TLS may have taken more than it wrote.
    stream.flush().await
}

/// RFC 6455 section 7.4.1 has the codes.
fn end_of(error: Error) -> End {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => End::Closed,
        // Under TLS also an end without TLS's own goodbye, which others could forge.
        Error::Io(error) => End::Broken(error.to_string()),
        Error::Capacity(error) => End::Refused(CloseCode::Size, error.to_string()),
        Error::Utf8(_) => End::Refused(CloseCode::Invalid, "a text message that is not UTF-8".into()),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::NoGoodbye,
        Error::Protocol(error) => End::Refused(CloseCode::Protocol, error.to_string()),
        error => End::Broken(error.to_string()),
    }
}

/// Says why, and gives the other side a moment to read it: closing a socket with
/// unread bytes in it would throw our last words away.
async fn goodbye(socket: &mut WebSocket, end: &End) {
    let (code, reason) = match end {
        End::Closed => (CloseCode::Normal, String::new()),
        End::NoGoodbye | End::Broken(_) => return,
        End::Silent(_) | End::NotJoined(_) | End::TooSlow => (CloseCode::Policy, end.to_string()),
        End::Refused(code, why) => (*code, why.clone()),
        End::Shutdown => (CloseCode::Away, end.to_string()),
    };
    let close = CloseFrame { code, reason: reason.into() };
    let _ = timeout(LINGER, async {
        if matches!(end, End::Closed) {
            // The answer that is due waits in the socket; `close` would refuse to do it twice.
            let _ = socket.flush().await;
            return;
        }
        let _ = socket.send(Message::Close(Some(close))).await;
        match end {
            // What comes in can no longer be read as frames.
            End::Refused(..) => {
                // The server is the one to end the TCP connection first (RFC 6455 section 7.1.1).
                let _ = socket.stream().shutdown().await;
                let mut rest = vec![0; READ_BUFFER_BYTES];
                while socket.stream().read(&mut rest).await.is_ok_and(|count| count > 0) {}
            }
            _ => while socket.next().await.is_ok() {},
        }
        // So that TLS, too, ends with a goodbye.
        let _ = socket.stream().shutdown().await;
    })
    .await;
}
