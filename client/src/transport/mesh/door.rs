//! Who comes in: nodes that speak, and clients that ask.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ringleader_shared::paxos::{ClientId, Message, NodeId};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};

use super::super::hub::readable;
use super::{Hello, MAX_LINE_BYTES, PATIENCE, QUEUE, TurnedAway, line};

/// How many connections may be open at a time.
const CONNECTIONS: usize = 512;

/// How often somebody's nonsense is worth a line of the log.
const GRUMBLE: Duration = Duration::from_secs(1);

/// What comes in. Connections are numbered; a client's id is its connection's number.
#[derive(Debug)]
pub enum Inbound {
    NodeCame(NodeId, u64),
    FromNode(NodeId, u64, Message),
    /// The channel takes lines to it; dropping that closes the connection.
    ClientCame(ClientId, mpsc::Sender<String>),
    FromClient(ClientId, Message),
    ClientGone(ClientId),
}

/// What is wrong with those who come, in the log; of a flood a line now and then.
#[derive(Debug, Default)]
pub struct Grumbles(Mutex<(Option<Instant>, u64)>);

impl Grumbles {
    /// Whether a line was written.
    pub fn say(&self, what: &str) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (said, swallowed) = &mut *last;
        if said.is_some_and(|then| then.elapsed() < GRUMBLE) {
            *swallowed += 1;
            debug!("{what}");
            return false;
        }
        *said = Some(Instant::now());
        match std::mem::take(swallowed) {
            0 => warn!("{what}"),
            more => warn!("{what} (and {more} more since the last such line)"),
        }
        true
    }
}

#[derive(Debug)]
pub struct Door {
    pub me: NodeId,
    pub nodes: u16,
    pub clients: u16,
    pub tell: mpsc::Sender<Inbound>,
    pub grumbles: Grumbles,
}

impl Door {
    pub async fn keep(self: Arc<Self>, listener: TcpListener) {
        let mut open = JoinSet::new();
        for connection in 0.. {
            let stream = loop {
                match listener.accept().await {
                    Ok((stream, _)) => break stream,
                    Err(error) => {
                        // Out of file descriptors, say: some may be free again later.
                        warn!("cannot take a connection: {error}");
                        sleep(Duration::from_millis(100)).await;
                    }
                }
            };
            while open.try_join_next().is_some() {}
            if open.len() >= CONNECTIONS {
                self.grumbles.say(&format!("a connection was closed: {CONNECTIONS} are open already"));
                continue;
            }
            let door = self.clone();
            open.spawn(async move {
                if let Err(problem) = door.serve(stream, connection).await {
                    debug!("connection {connection}: {problem}");
                }
            });
        }
    }

    async fn serve(&self, stream: TcpStream, connection: u64) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let (read, mut write) = stream.into_split();
        let mut read = BufReader::new(read);
        let hello = timeout(PATIENCE, next::<Hello>(&mut read)).await;
        let hello = hello.unwrap_or_else(|_| Err(io::Error::other("no hello")));
        let turned_away = match hello {
            Ok(Some(Hello { to, .. })) if to != self.me.0 => {
                format!("this is node {}, not node {to}: the lists of hosts differ", self.me)
            }
            Ok(Some(Hello { hello, .. })) if hello < self.nodes && hello != self.me.0 => {
                return self.hear_node(NodeId(hello), connection, read).await;
            }
            Ok(Some(Hello { hello, .. })) if (self.nodes..self.nodes + self.clients).contains(&hello) => {
                return self.hear_client(ClientId(connection), read, write).await;
            }
            Ok(Some(Hello { hello, .. })) => format!("node {} knows of no {hello}: the lists of hosts differ", self.me),
            Ok(None) => return Ok(()),
            Err(error) => format!(r#"expected a line such as {{"hello":3,"to":{}}}: {error}"#, self.me),
        };
        self.grumbles.say(&format!("turned somebody away: {}", readable(&turned_away)));
        let last = line(&TurnedAway { error: turned_away });
        timeout(PATIENCE, write.write_all(last.as_bytes())).await?
    }

    async fn hear_node(&self, node: NodeId, connection: u64, mut read: impl AsyncBufRead + Unpin) -> io::Result<()> {
        let mut inbound = Inbound::NodeCame(node, connection);
        // Fails when nobody listens any more.
        while self.tell.send(inbound).await.is_ok() {
            inbound = match next(&mut read).await {
                Ok(Some(message)) => Inbound::FromNode(node, connection, message),
                Ok(None) => break,
                Err(error) => {
                    let problem = readable(&error.to_string());
                    self.grumbles.say(&format!("what came from node {node} is no message: {problem}"));
                    return Err(error);
                }
            };
        }
        Ok(())
    }

    async fn hear_client(
        &self,
        client: ClientId,
        mut read: impl AsyncBufRead + Unpin,
        write: OwnedWriteHalf,
    ) -> io::Result<()> {
        let (answers, waiting) = mpsc::channel(QUEUE);
        let hear = async {
            let mut inbound = Inbound::ClientCame(client, answers);
            while self.tell.send(inbound).await.is_ok() {
                inbound = match next(&mut read).await? {
                    Some(message) => Inbound::FromClient(client, message),
                    None => break,
                };
            }
            Ok(())
        };
        let heard = tokio::select! {
            heard = hear => heard,
            answered = answer(waiting, write) => answered,
        };
        let _ = self.tell.send(Inbound::ClientGone(client)).await;
        heard
    }
}

/// Until the machine's side is done with this client, or it takes nothing.
async fn answer(mut waiting: mpsc::Receiver<String>, mut write: OwnedWriteHalf) -> io::Result<()> {
    while let Some(line) = waiting.recv().await {
        timeout(PATIENCE, write.write_all(line.as_bytes())).await??;
    }
    Ok(())
}

/// The next line; `None` at the end.
async fn next<T: DeserializeOwned>(read: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<T>> {
    let mut text = vec![];
    read.take(MAX_LINE_BYTES as u64).read_until(b'\n', &mut text).await?;
    match text.last() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(serde_json::from_slice(&text)?)),
        Some(_) if text.len() == MAX_LINE_BYTES => Err(io::Error::other("the line is too long")),
        // It ended in the middle of one.
        Some(_) => Ok(None),
    }
}
