//! Direct TCP, everyone to everyone: lines of JSON.
//!
//! Whoever has something to say to a node dials it, says who it is and whom it takes the
//! other for, `{"hello":3,"to":0}`, and then a message a line. Between nodes what is said
//! goes one way on each connection; clients hear the answers on theirs.
//!
//! Holds: between two nodes lines come in the order in which they were sent, or not at
//! all. What is sent to somebody who is away waits for a while, the newest lines only.
//! Fails: nobody proves who they are. Whoever reaches the port can speak for any node.

mod door;
mod link;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use backon::{ConstantBuilder, Retryable};
use ringleader_shared::machine::Input;
use ringleader_shared::paxos::{ClientId, Event, Message, Node, NodeId, Peer};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::warn;

use door::{Door, Inbound};
use link::Parcel;

/// The longest line.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// How long connecting may take, or one write, or to say hello.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many lines may wait for one peer; then the oldest to a node is dropped, and a client is let go.
const QUEUE: usize = 64;

/// How many messages that came may wait for the machine; then senders wait.
const INBOX: usize = 256;

/// Where a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// A name, or an IP address.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// The first line on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// Who speaks, node or client: its position in the list of hosts.
    pub hello: u16,
    /// Whom it takes the other for.
    pub to: u16,
}

/// The last line to whoever is turned away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnedAway {
    /// Why.
    pub error: String,
}

/// Why there is no listener.
#[derive(Debug, Error)]
pub enum ListenError {
    /// The address belongs to another machine.
    #[error("cannot listen on {address}: that is no address of this machine")]
    NotHere {
        /// Where it was to listen.
        address: Address,
        /// What the system says.
        source: io::Error,
    },
    /// The port is taken, or not for this user.
    #[error("cannot listen on {address}")]
    Taken {
        /// Where it was to listen.
        address: Address,
        /// What the system says.
        source: io::Error,
    },
}

/// One node's connections. They end with the value.
#[derive(Debug)]
pub struct Mesh {
    inbox: mpsc::Receiver<Inbound>,
    links: BTreeMap<NodeId, mpsc::Sender<Parcel>>,
    clients: BTreeMap<ClientId, mpsc::Sender<String>>,
    /// Each node's newest connection: what is left of older ones does not count, so that
    /// nothing overtakes.
    newest: BTreeMap<NodeId, u64>,
    _tasks: JoinSet<()>,
}

impl Mesh {
    /// Listens there for a while, should the port not be free yet.
    ///
    /// # Errors
    ///
    /// When that fails.
    pub async fn listen(address: &Address) -> Result<TcpListener, ListenError> {
        // Whoever dials may hold any port for a moment.
        let often = ConstantBuilder::new().with_delay(Duration::from_millis(100)).with_max_times(20);
        let bind = || TcpListener::bind((&*address.host, address.port));
        let bound = bind.retry(often).sleep(tokio::time::sleep).when(|error| error.kind() == io::ErrorKind::AddrInUse);
        let address = address.clone();
        bound.await.map_err(|source| match source.kind() {
            io::ErrorKind::AddrNotAvailable => ListenError::NotHere { address, source },
            _ => ListenError::Taken { address, source },
        })
    }

    /// Node `me` of these nodes, with ids by position; the `clients` ids after them are clients.
    pub fn new(me: NodeId, nodes: &[Address], clients: u16, listener: TcpListener) -> Mesh {
        let mut tasks = JoinSet::new();
        let (tell, inbox) = mpsc::channel(INBOX);
        let door = Door { me, nodes: nodes.len() as u16, clients, tell, grumbles: Default::default() };
        tasks.spawn(Arc::new(door).keep(listener));
        let mut links = BTreeMap::new();
        for (to, address) in (0..).map(NodeId).zip(nodes).filter(|(to, _)| *to != me) {
            let (send, queue) = mpsc::channel(QUEUE);
            tasks.spawn(link::run(me, to, address.clone(), queue));
            links.insert(to, send);
        }
        Mesh { inbox, links, clients: BTreeMap::new(), newest: BTreeMap::new(), _tasks: tasks }
    }

    /// What comes next. Can be dropped and called again without losing anything.
    pub async fn next(&mut self) -> Input<Node> {
        loop {
            // The door ends with this value.
            let Some(inbound) = self.inbox.recv().await else { return std::future::pending().await };
            match inbound {
                Inbound::NodeCame(node, connection) => {
                    self.newest.insert(node, connection);
                }
                Inbound::FromNode(node, connection, message) => {
                    if self.newest.get(&node) == Some(&connection) {
                        return Input::Message { from: Peer::Node(node), message };
                    }
                }
                Inbound::ClientCame(client, answers) => {
                    self.clients.insert(client, answers);
                }
                Inbound::FromClient(client, message) => {
                    return Input::Message { from: Peer::Client(client), message };
                }
                Inbound::ClientGone(client) => {
                    self.clients.remove(&client);
                    return Input::Event(Event::ClientGone(client));
                }
            }
        }
    }

    /// Takes it on to send.
    pub fn send(&mut self, to: Peer, message: &Message) {
        match to {
            Peer::Node(node) => self.post(node, Parcel { line: line(message), written: None }),
            Peer::Client(client) => {
                let Some(answers) = self.clients.get(&client) else { return };
                if answers.try_send(line(message)).is_err() {
                    // It does not read. Its connection is closed, of which it hears.
                    self.clients.remove(&client);
                }
            }
        }
    }

    /// Sends to a node and waits until it is handed to the system; or for long enough.
    pub async fn send_out(&mut self, to: NodeId, message: &Message) {
        let (tell, written) = oneshot::channel();
        self.post(to, Parcel { line: line(message), written: Some(tell) });
        let _ = tokio::time::timeout(PATIENCE, written).await;
    }

    fn post(&mut self, to: NodeId, parcel: Parcel) {
        let Some(link) = self.links.get(&to) else { return };
        if link.try_send(parcel).is_err() {
            warn!("node {to} takes nothing; a message to it is dropped");
        }
    }
}

/// A message as a line.
fn line(message: &impl Serialize) -> String {
    let mut line = serde_json::to_string(message).expect("messages have text keys only");
    line.push('\n');
    line
}

#[cfg(test)]
mod tests;
