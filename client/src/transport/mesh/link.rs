//! What we say to one node: dialled when there is something to say, kept, dialled again.

use std::collections::VecDeque;
use std::io;

use backon::{BackoffBuilder, ExponentialBuilder};
use ringleader_shared::paxos::NodeId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Duration, sleep, timeout};
use tracing::{debug, info, warn};

use super::super::hub::readable;
use super::{Address, Hello, PATIENCE, QUEUE, line};

/// Between attempts to connect: from 0.1 s to 2 s. Each is twice the one before, and
/// chance at most doubles it.
const BACKOFF: ExponentialBuilder = ExponentialBuilder::new()
    .with_jitter()
    .with_min_delay(Duration::from_millis(100))
    .with_max_delay(Duration::from_millis(1_000))
    .without_max_times();

/// A line on its way.
#[derive(Debug)]
pub struct Parcel {
    /// With its end.
    pub line: String,
    /// Told when it is written.
    pub written: Option<oneshot::Sender<()>>,
}

pub async fn run(me: NodeId, to: NodeId, address: Address, mut queue: mpsc::Receiver<Parcel>) {
    let hello = line(&Hello { hello: me.0, to: to.0 });
    let mut waiting = VecDeque::new();
    let mut delays = BACKOFF.build();
    let mut is_away = false;
    loop {
        if waiting.is_empty() {
            let Some(parcel) = queue.recv().await else { return };
            waiting.push_back(parcel);
        }
        let problem = match connect(&address).await {
            Ok(mut stream) => {
                if is_away {
                    info!("node {to} ({address}) is there");
                }
                (is_away, delays) = (false, BACKOFF.build());
                match speak(&mut stream, &hello, &mut waiting, &mut queue).await {
                    Ok(()) => return,
                    Err(problem) => problem,
                }
            }
            Err(problem) => problem,
        };
        // Once for each time that it is away.
        match (is_away, waiting.is_empty()) {
            (true, _) => debug!("node {to} ({address}): {problem}"),
            (false, true) => info!("node {to} ({address}): {problem}"),
            (false, false) => warn!("node {to} ({address}): {problem}; trying again"),
        }
        is_away = true;
        let pause = sleep(delays.next().unwrap_or_default());
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => break,
                parcel = queue.recv() => {
                    let Some(parcel) = parcel else { return };
                    keep(&mut waiting, parcel);
                }
            }
        }
    }
}

/// The newest lines: what is old will have been said again.
fn keep(waiting: &mut VecDeque<Parcel>, parcel: Parcel) {
    if waiting.len() == QUEUE {
        waiting.pop_front();
    }
    waiting.push_back(parcel);
}

async fn connect(address: &Address) -> io::Result<TcpStream> {
    let stream = timeout(PATIENCE, TcpStream::connect((&*address.host, address.port)));
    let stream = stream.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    // On one machine a dialler can be given the very port that it dials, and meet itself.
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Says what there is to say, until the connection breaks; `Ok` when there will be nothing any more.
async fn speak(
    stream: &mut TcpStream,
    hello: &str,
    waiting: &mut VecDeque<Parcel>,
    queue: &mut mpsc::Receiver<Parcel>,
) -> io::Result<()> {
    write(stream, hello).await?;
    let mut heard = [0; 512];
    loop {
        while let Some(parcel) = waiting.front() {
            write(stream, &parcel.line).await?;
            if let Some(tell) = waiting.pop_front().and_then(|parcel| parcel.written) {
                let _ = tell.send(());
            }
        }
        tokio::select! {
            // It says nothing, unless it turns us away; so this is how we hear of its end before we
            // write to it in vain.
            biased;
            read = stream.read(&mut heard) => {
                let text = match read? {
                    0 => "it closed the connection".into(),
                    length => readable(&String::from_utf8_lossy(&heard[..length])),
                };
                return Err(io::Error::other(text));
            }
            parcel = queue.recv() => match parcel {
                Some(parcel) => waiting.push_back(parcel),
                None => return Ok(()),
            },
        }
    }
}

async fn write(stream: &mut TcpStream, line: &str) -> io::Result<()> {
    let written = timeout(PATIENCE, stream.write_all(line.as_bytes())).await;
    written.unwrap_or_else(|_| Err(io::Error::other("it takes nothing")))
}
