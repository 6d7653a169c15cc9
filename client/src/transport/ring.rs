//! Direct TCP round a ring: accept the predecessor, dial the successor. Messages go one
//! way, from who dialled to who accepted, and each connection is made once and kept.
//!
//! Nothing is read from the predecessor before the successor has answered. So a node's
//! own UUID always goes out before anything that it passes on, in whatever order the
//! nodes are started.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use ringleader_shared::election::chang_roberts::wire::{self, BadMessage, Inbox, MAX_MESSAGE_BYTES};
use ringleader_shared::election::chang_roberts::{Message, Neighbour};
use socket2::{SockRef, TcpKeepalive};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, info, warn};

/// Between attempts to reach a successor that is not up: from 50 ms to 1 s.
const BACKOFF: ExponentialBuilder = ExponentialBuilder::new()
    .with_jitter()
    .with_min_delay(Duration::from_millis(50))
    .with_max_delay(Duration::from_millis(500))
    .without_max_times();

/// How long one attempt to connect may take, and one write.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the one after a dead successor may take to answer, before it counts as dead, too.
const NEXT_PATIENCE: Duration = Duration::from_secs(1);

/// How many messages may wait for a successor that takes none. As many as a node sends
/// in a ring of a thousand, and then some.
const QUEUE: usize = 4096;

/// How many connections may be open to us besides those of the ring. One more, and the
/// oldest that has said nothing of use makes room.
const STRANGERS: usize = 16;

/// How long what still waits to be sent may take at the end, besides the pace.
const FLUSH: Duration = Duration::from_secs(2);

/// Where a node listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    host: String,
    port: u16,
}

/// Why a text is no [`Address`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("expected ip,port, such as 127.0.0.1,5001")]
pub struct BadAddress;

impl FromStr for Address {
    type Err = BadAddress;

    /// `ip,port`; a name in place of the IP address is looked up when it is needed.
    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let (host, port) = text.split_once(',').ok_or(BadAddress)?;
        let (host, port) = (host.trim(), port.trim().parse().map_err(|_| BadAddress)?);
        let is_name = |host: &str| {
            let fits = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
            // What ends in a number is an IP address, or was meant for one.
            let last = host.rsplit('.').next().unwrap_or_default();
            (1..=253).contains(&host.len()) && host.chars().all(fits) && !last.starts_with(|c: char| c.is_ascii_digit())
        };
        let host = match host.parse::<std::net::IpAddr>() {
            Ok(ip) => ip.to_string(),
            Err(_) if is_name(host) => host.to_ascii_lowercase(),
            Err(_) => return Err(BadAddress),
        };
        if port == 0 { Err(BadAddress) } else { Ok(Address { host, port }) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Address { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl Address {
    /// Listens there.
    ///
    /// # Errors
    ///
    /// What the system says: taken, say, or not ours.
    pub async fn listen(&self) -> std::io::Result<TcpListener> {
        TcpListener::bind((&*self.host, self.port)).await
    }

    async fn connect(&self, patience: Duration) -> Result<TcpStream, String> {
        let stream = timeout(patience, TcpStream::connect((&*self.host, self.port)))
            .await
            .map_err(|_| "no answer".to_owned())?
            .map_err(|error| error.to_string())?;
        // Who dials a port of its own machine again and again can get itself on the line.
        if stream.local_addr().ok() == stream.peer_addr().ok() {
            return Err("nobody listens there".into());
        }
        // Each message is a packet of its own; and a machine that is gone without a word
        // is missed while the others still wait.
        let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(1)).with_interval(Duration::from_secs(1));
        let set_up = stream
            .set_nodelay(true)
            .and_then(|()| SockRef::from(&stream).set_tcp_keepalive(&keepalive.with_retries(2)));
        set_up.map_err(|error| error.to_string())?;
        Ok(stream)
    }
}

/// What lies between two messages to a successor: some nodes read one object a read,
/// whatever came.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Between two of them, at least.
    pub between: Duration,
    /// From the connection to the second message, at least: some only begin to read when they
    /// have slept and dialled.
    pub settle: Duration,
}

/// What comes over the connections.
#[derive(Debug)]
pub enum Heard {
    /// A message, from the predecessor.
    Message(Message),
    /// Something that is none. The connection goes on behind it.
    Bad(BadMessage),
    /// A connection has broken, or could not be made.
    Lost {
        /// To whom.
        whom: Neighbour,
        /// From where, if not from an address of the ring.
        peer: Option<SocketAddr>,
        /// How.
        why: String,
    },
}

/// The connections of one node: those who dialled it, and its successor.
#[derive(Debug)]
pub struct Links {
    /// All that is known of the ring, in order, from us on.
    ring: Arc<[Address]>,
    tell: mpsc::Sender<Heard>,
    heard: mpsc::Receiver<Heard>,
    successor: Successor,
    pace: Pace,
    acceptor: JoinHandle<()>,
}

#[derive(Debug)]
struct Successor {
    places: usize,
    /// Dropped, it lets the task write what is left and close.
    queue: mpsc::Sender<String>,
    task: JoinHandle<()>,
}

impl Links {
    /// Dials the first successor until it answers, for ever, and says so; then begins to
    /// read. `ring` is the ring in order, from us on, or at least us and the successor.
    /// With `repair` whoever dials us is heard, else only who first sends a message.
    pub async fn open(listener: TcpListener, ring: Arc<[Address]>, repair: bool, pace: Pace) -> Links {
        let stream = keep_dialling(&ring[1]).await;
        let (tell, heard) = mpsc::channel(64);
        let connected = tell.clone();
        let successor = Successor::new(1, |queue| async move { attend(1, stream, pace, queue, connected).await });
        let known = if repair { ring.len() } else { 1 };
        let door = Door { most: known + STRANGERS, predecessor: (!repair).then(Arc::default) };
        let acceptor = tokio::spawn(door.keep_open(listener, tell.clone()));
        Links { ring, tell, heard, successor, pace, acceptor }
    }

    /// What comes next. Can be dropped and called again without losing anything.
    pub async fn next(&mut self) -> Heard {
        match self.heard.recv().await {
            Some(heard) => heard,
            // There is always our own sender.
            None => std::future::pending().await,
        }
    }

    /// Sends to whoever is that many places ahead. Who is further ahead than the last one
    /// is dialled, and takes its place.
    pub fn send(&mut self, places: usize, message: &Message) {
        if places > self.successor.places
            && let Some(address) = self.ring.get(places)
        {
            // Whoever is to be reached after a repair has long begun to read.
            let pace = Pace { settle: Duration::ZERO, ..self.pace };
            let (address, tell) = (address.clone(), self.tell.clone());
            self.successor = Successor::new(places, |queue| dial(places, address, pace, queue, tell));
        }
        if places == self.successor.places && self.successor.queue.try_send(wire::encode(message)).is_err() {
            // Its end is told of, if it has ended; and nobody has that much to say.
            debug!("a message to {} is not sent: it takes none", self.ring[places]);
        }
    }

    /// Closes everything, when what waits for the successor has been written.
    pub async fn close(self) {
        let Successor { queue, task, .. } = self.successor;
        let waiting = queue.max_capacity() - queue.capacity() + 1;
        drop(queue);
        // What comes now comes too late, and is not to hold up the task.
        drop(self.heard);
        if timeout(FLUSH + self.pace.settle + self.pace.between * waiting as u32, task).await.is_err() {
            debug!("the successor did not take all that was sent");
        }
        self.acceptor.abort();
    }
}

impl Successor {
    fn new<F: Future<Output = ()> + Send + 'static>(
        places: usize,
        task: impl FnOnce(mpsc::Receiver<String>) -> F,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        Successor { places, queue, task: tokio::spawn(task(waiting)) }
    }
}

async fn keep_dialling(address: &Address) -> TcpStream {
    const FIRST: Duration = Duration::from_secs(1);
    const LAST: Duration = Duration::from_secs(30);
    let started = Instant::now();
    let mut delays = BACKOFF.build();
    let (mut interval, mut due) = (FIRST, started + FIRST);
    loop {
        let problem = match address.connect(PATIENCE).await {
            Ok(stream) => return stream,
            Err(problem) => problem,
        };
        if Instant::now() >= due {
            let tried = started.elapsed().as_secs_f32();
            warn!("waiting for the successor at {address}: {problem}; tried for {tried:.0} s, and going on");
            interval = (interval * 2).min(LAST);
            due = Instant::now() + interval;
        }
        sleep(delays.next().unwrap_or_default()).await;
    }
}

/// Another successor, in a ring that stood: who does not answer soon is dead.
async fn dial(places: usize, address: Address, pace: Pace, queue: mpsc::Receiver<String>, tell: mpsc::Sender<Heard>) {
    let until = Instant::now() + NEXT_PATIENCE;
    let mut delays = BACKOFF.build();
    let why = loop {
        match address.connect(until.saturating_duration_since(Instant::now())).await {
            Ok(stream) => {
                info!("our successor is {address} now");
                return attend(places, stream, pace, queue, tell).await;
            }
            Err(why) => {
                let again = Instant::now() + delays.next().unwrap_or_default();
                if again >= until {
                    break why;
                }
                sleep_until(again).await;
            }
        }
    };
    let _ = tell.send(Heard::Lost { whom: Neighbour::Ahead(places), peer: None, why }).await;
}

/// One successor, until it is lost or nothing is left to be sent.
async fn attend(
    places: usize,
    stream: TcpStream,
    pace: Pace,
    queue: mpsc::Receiver<String>,
    tell: mpsc::Sender<Heard>,
) {
    if let Err(why) = carry(stream, pace, queue).await {
        let _ = tell.send(Heard::Lost { whom: Neighbour::Ahead(places), peer: None, why }).await;
    }
}

async fn carry(mut stream: TcpStream, pace: Pace, mut queue: mpsc::Receiver<String>) -> Result<(), String> {
    let (mut read, mut write) = stream.split();
    let mut passed_over = [0; 512];
    let (settled, mut next) = (Instant::now() + pace.settle, Instant::now());
    loop {
        tokio::select! {
            biased;
            line = queue.recv() => {
                let Some(line) = line else {
                    let _ = write.shutdown().await;
                    return Ok(());
                };
                sleep_until(next).await;
                let written = timeout(PATIENCE, write.write_all(line.as_bytes())).await;
                written.map_err(|_| "it takes nothing".to_owned())?.map_err(|error| error.to_string())?;
                next = settled.max(Instant::now() + pace.between);
            }
            // Messages go the other way: all there is to read is the end.
            read = read.read(&mut passed_over) => match read {
                Ok(0) => return Err("it closed the connection".into()),
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            },
        }
    }
}

/// Lets in whoever dials us.
struct Door {
    /// How many at a time.
    most: usize,
    /// In a static ring: which connection brought the first message.
    predecessor: Option<Arc<OnceLock<u64>>>,
}

impl Door {
    async fn keep_open(self, listener: TcpListener, tell: mpsc::Sender<Heard>) {
        // Ends them when this ends.
        let mut readers = JoinSet::new();
        // From the oldest on; and who has brought a message.
        let mut open: Vec<(AbortHandle, Arc<AtomicBool>)> = vec![];
        for number in 0.. {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Too many open files, say: a moment later there may be fewer.
                    warn!("cannot accept a connection: {error}");
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            while readers.try_join_next().is_some() {}
            open.retain(|(reader, _)| !reader.is_finished());
            if open.len() >= self.most {
                let Some(oldest) = open.iter().position(|(_, spoken)| !spoken.load(Relaxed)) else {
                    debug!("{peer} is not let in: {} have come", open.len());
                    continue;
                };
                open.remove(oldest).0.abort();
            }
            let spoken = Arc::<AtomicBool>::default();
            let predecessor = self.predecessor.clone();
            let reader = Reader { number, peer, predecessor, spoken: spoken.clone(), tell: tell.clone() };
            open.push((readers.spawn(reader.read(stream)), spoken));
        }
    }
}

/// One connection of somebody who dialled us.
struct Reader {
    number: u64,
    peer: SocketAddr,
    predecessor: Option<Arc<OnceLock<u64>>>,
    /// Whether it has brought a message.
    spoken: Arc<AtomicBool>,
    tell: mpsc::Sender<Heard>,
}

impl Reader {
    async fn read(self, mut stream: TcpStream) {
        let peer = self.peer;
        debug!("{peer} has connected");
        let (mut inbox, mut bytes) = (Inbox::default(), [0; MAX_MESSAGE_BYTES]);
        let why = loop {
            let count = match stream.read(&mut bytes).await {
                Ok(0) => break "it closed the connection".to_owned(),
                Ok(count) => count,
                Err(error) => break error.to_string(),
            };
            let others = |first: &&u64| **first != self.number;
            if self.predecessor.as_ref().and_then(|first| first.get()).filter(others).is_some() {
                return self.is_not_heard();
            }
            inbox.push(&bytes[..count]);
            while let Some(found) = inbox.next() {
                // What brings no message, such as a browser that was sent here, is no predecessor.
                if found.is_ok() && !self.spoken.swap(true, Relaxed) {
                    let first = self.predecessor.as_ref().map(|first| first.get_or_init(|| self.number));
                    if first.filter(others).is_some() {
                        return self.is_not_heard();
                    }
                }
                let heard = found.map_or_else(Heard::Bad, Heard::Message);
                if self.tell.send(heard).await.is_err() {
                    return;
                }
            }
        };
        if self.spoken.load(Relaxed) {
            let lost = Heard::Lost { whom: Neighbour::Predecessor, peer: Some(peer), why };
            let _ = self.tell.send(lost).await;
        } else {
            // A probe of the port, say. A predecessor has something to say from the start.
            debug!("{peer} has left without a message");
        }
    }

    fn is_not_heard(&self) {
        /// Of whoever dials again and again, more lines of the log would tell nothing new.
        const SAID: u64 = 100;
        match self.number {
            ..SAID => warn!("{} is not heard: the ring has its predecessor", self.peer),
            _ => debug!("{} is not heard: the ring has its predecessor", self.peer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_others_write_them() {
        let table = [
            ("127.0.0.1,5001", Some("127.0.0.1:5001")),
            (" 127.0.0.1 , 5001 ", Some("127.0.0.1:5001")),
            ("LocalHost,80", Some("localhost:80")),
            ("node-2.lab,5001", Some("node-2.lab:5001")),
            ("::1,5001", Some("[::1]:5001")),
            ("0:0::1,5001", Some("[::1]:5001")),
            ("127.0.0.1", None),
            ("127.0.0.1:5001", None),
            ("127.0.0.1,", None),
            ("127.0.0.1,0", None),
            ("127.0.0.1,65536", None),
            ("127.0.0.256,5001", None),
            ("127.0.1,5001", None),
            (",5001", None),
            ("a b,5001", None),
            ("127.0.0.1,5001,7", None),
        ];
        for (text, expected) in table {
            let got = text.parse::<Address>().ok().map(|address| address.to_string());
            assert_eq!(got.as_deref(), expected, "{text:?}");
        }
    }
}
