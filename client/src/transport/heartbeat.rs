//! Direct TCP, everyone to everyone: a connection a message.
//!
//! A message is the sender's id in ASCII digits; its end is the end of the stream, or
//! a newline. With a quorum it is answered on the same connection: an id and a newline,
//! or `-` for nobody. All peers listen on the same port.
//!
//! An urgent message has its last byte sent out of band: TCP's urgent data, one byte
//! (RFC 9293, section 3.8.5; RFC 6093 says why nobody should begin to use it). Who reads
//! takes that byte out of the stream, unless asked not to. So:
//!
//! - an id of one digit is that byte: `recv(…, MSG_OOB)` gives the id;
//! - a longer id is sent as usual, and a newline after it is that byte: who reads the stream
//!   has the id, with the newline or without it.
//!
//! Others send all digits out of band, or add a byte to them: we keep the byte in the
//! stream (`SO_OOBINLINE`) and take the longest that is an id of the list.

mod incoming;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ringleader_shared::election::lowest_id::{Event, LowestId, Message, PeerId};
use ringleader_shared::machine::Input;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, warn};

/// More bytes are no id.
const MOST_BYTES: usize = 16;

/// How many messages may be on their way out at one time. A heartbeat is gone before
/// the next is due, so only urgent ones pile up.
const MOST_SENDING: usize = 1024;

/// How many messages may wait for the machine.
const MOST_WAITING: usize = 1024;

/// After so many messages without a pause timers have their turn.
const STREAK: u32 = 256;

/// How often somebody's nonsense is worth a line of the log.
const GRUMBLE: Duration = Duration::from_secs(5);

/// What to send from where to whom.
#[derive(Debug, Clone)]
pub struct Config {
    /// Who we are.
    pub me: PeerId,
    /// The list: everybody's address. We may be missing.
    pub list: BTreeMap<PeerId, IpAddr>,
    /// Where to listen; where that is one address, messages come from there too.
    pub listen: SocketAddr,
    /// How long one message may take, with its answer.
    pub exchange: Duration,
}

/// The connections of one peer. Gone with the value.
#[derive(Debug)]
pub struct Heartbeats {
    config: Arc<Config>,
    heard: mpsc::Receiver<Heard>,
    tell: mpsc::Sender<Heard>,
    /// One task that accepts.
    _accepting: JoinSet<()>,
    sending: JoinSet<()>,
    /// Whose heartbeat the machine was given last, and where an answer goes.
    asker: Option<(PeerId, oneshot::Sender<Option<PeerId>>)>,
    streak: u32,
    rest: Option<Instant>,
    grumbled: Option<Instant>,
    swallowed: u64,
}

#[derive(Debug)]
enum Heard {
    Beat {
        from: PeerId,
        urgent: bool,
        answer: oneshot::Sender<Option<PeerId>>,
    },
    /// `None` when the peer hung up instead.
    Answer {
        from: PeerId,
        asked: Instant,
        answer: Option<Option<PeerId>>,
    },
    Nonsense(String),
}

impl Heartbeats {
    /// Listens. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// When it cannot listen there.
    pub async fn listen(config: Config) -> io::Result<Self> {
        let listener = TcpListener::bind(config.listen).await?;
        // Accepted sockets have it from the one that listens.
        SockRef::from(&listener).set_out_of_band_inline(true)?;
        let (config, (tell, heard)) = (Arc::new(config), mpsc::channel(MOST_WAITING));
        let mut accepting = JoinSet::new();
        accepting.spawn(incoming::accept(listener, config.clone(), tell.clone()));
        Ok(Heartbeats {
            config,
            heard,
            tell,
            _accepting: accepting,
            sending: JoinSet::new(),
            asker: None,
            streak: 0,
            rest: None,
            grumbled: None,
            swallowed: 0,
        })
    }

    /// What comes next. Can be dropped and called again without losing anything.
    pub async fn next(&mut self) -> Input<LowestId> {
        loop {
            match self.take().await {
                Heard::Beat { from, urgent, answer } => {
                    debug!("{} heartbeat from {from}", if urgent { "urgent" } else { "usual" });
                    self.asker = Some((from, answer));
                    return Input::Message { from, message: Message::Beat { urgent } };
                }
                // We may have slept since it came, and its voter may be free again.
                Heard::Answer { asked, .. } if asked.elapsed() >= self.config.exchange => {}
                Heard::Answer { from, answer: Some(vote), .. } => {
                    return Input::Message { from, message: Message::Vote(vote) };
                }
                Heard::Answer { from, answer: None, .. } => return Input::Event(Event::Unanswered(from)),
                Heard::Nonsense(what) => self.grumble(&what),
            }
        }
    }

    /// Whoever floods us must not keep our timers from running out.
    async fn take(&mut self) -> Heard {
        if self.streak >= STREAK {
            let until = *self.rest.get_or_insert_with(|| Instant::now() + Duration::from_millis(1));
            sleep_until(until).await;
            (self.streak, self.rest) = (0, None);
        }
        let heard = match self.heard.try_recv() {
            Ok(heard) => heard,
            Err(_) => {
                self.streak = 0;
                self.heard.recv().await.expect("we hold a sender ourselves")
            }
        };
        self.streak += 1;
        heard
    }

    /// Takes it on to send that. Nobody waits for a peer that is slow or away.
    pub fn send(&mut self, to: PeerId, message: Message) {
        match message {
            Message::Beat { urgent } => self.beat(to, urgent),
            Message::Vote(vote) => {
                // The answer to another is not ours to give any more.
                if let Some((_, answer)) = self.asker.take().filter(|(asker, _)| *asker == to) {
                    debug!("vote told to {to}: {}", answer_line(vote).trim());
                    let _ = answer.send(vote);
                }
            }
        }
    }

    fn beat(&mut self, to: PeerId, urgent: bool) {
        while self.sending.try_join_next().is_some() {}
        let Some(&address) = self.config.list.get(&to).filter(|_| self.sending.len() < MOST_SENDING) else { return };
        debug!("{} heartbeat to {to}", if urgent { "urgent" } else { "usual" });
        let (config, tell) = (self.config.clone(), self.tell.clone());
        self.sending.spawn(async move {
            let asked = Instant::now();
            let address = SocketAddr::new(address, config.listen.port());
            let heard = match timeout(config.exchange, exchange(&config, address, urgent)).await {
                Ok(Ok(answer)) => match understand_answer(&answer) {
                    Ok(answer) => Heard::Answer { from: to, asked, answer },
                    Err(what) => Heard::Nonsense(format!("{to} at {address} answered {what}")),
                },
                Ok(Err(error)) => return debug!("no heartbeat to {to} at {address}: {error}"),
                Err(_) => return debug!("no answer from {to} at {address} in {:?}", config.exchange),
            };
            // Full: an answer that is lost is as good as a late one.
            let _ = tell.try_send(heard);
        });
    }

    fn grumble(&mut self, what: &str) {
        if self.grumbled.is_some_and(|then| then.elapsed() < GRUMBLE) {
            self.swallowed += 1;
            return debug!("{what}");
        }
        match std::mem::take(&mut self.swallowed) {
            0 => warn!("{what}"),
            more => warn!("{what} (and {more} more since the last such line)"),
        }
        self.grumbled = Some(Instant::now());
    }
}

impl Config {
    fn others(&self) -> BTreeSet<PeerId> {
        self.list.keys().copied().filter(|&peer| peer != self.me).collect()
    }
}

/// One message, and what is answered. Waits for the peer to hang up in any case: to close
/// first what it still writes to would take our id out of its hands.
async fn exchange(config: &Config, to: SocketAddr, urgent: bool) -> io::Result<Vec<u8>> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    let from = config.listen.ip();
    if !from.is_unspecified() {
        // Others may look at where a message comes from.
        socket.bind(SocketAddr::new(from, 0))?;
    }
    let mut stream = socket.connect(to).await?;
    say(&mut stream, config.me, urgent).await?;
    stream.shutdown().await?;
    let mut answer = vec![];
    match stream.take(MOST_BYTES as u64).read_to_end(&mut answer).await {
        Ok(_) => Ok(answer),
        // It closed with something of ours unread, such as an urgent byte.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(answer),
        Err(error) => Err(error),
    }
}

async fn say(stream: &mut TcpStream, me: PeerId, urgent: bool) -> io::Result<()> {
    let id = me.to_string();
    if !urgent {
        return stream.write_all(id.as_bytes()).await;
    }
    let (normal, out_of_band) = if id.len() == 1 { ("", &*id) } else { (&*id, "\n") };
    stream.write_all(normal.as_bytes()).await?;
    stream.writable().await?;
    SockRef::from(&*stream).send_out_of_band(out_of_band.as_bytes()).map(|_| ())
}

fn understand_answer(bytes: &[u8]) -> Result<Option<Option<PeerId>>, String> {
    let text = String::from_utf8_lossy(bytes);
    match text.trim() {
        "" => Ok(None),
        "-" => Ok(Some(None)),
        id => id.parse().map(|id| Some(Some(id))).map_err(|error| format!("{text:?}: {error}, or -")),
    }
}

fn answer_line(vote: Option<PeerId>) -> String {
    vote.map_or_else(|| "-\n".into(), |id| format!("{id}\n"))
}
