//! Groups of real processes, each on an address of its own, perhaps with a network
//! between them that can be cut.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use nix::sys::signal::Signal;
use serde_json::Value;
use socket2::SockRef;
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::world::{PATIENCE, Run};

/// Soon enough for tests, slow enough for a machine that is busy.
pub const SOON: [&str; 4] = ["--interval", "200ms", "--timeout", "800ms"];

/// A list of peers and where they are: on addresses that no other test has.
pub struct Group {
    pub port: u16,
    ids: Vec<u32>,
    folder: TempDir,
    /// The first three bytes of its addresses.
    net: [u8; 3],
}

impl Group {
    pub async fn of(ids: &[u32]) -> Group {
        static NETS: AtomicU32 = AtomicU32::new(0);
        let [high, low] = (std::process::id() as u16).to_be_bytes();
        let shifted = u32::from(high) + 37 * NETS.fetch_add(1, Ordering::Relaxed);
        let net = [127, 16 + (shifted % 200) as u8, low];
        let mut group = Group { port: 0, ids: ids.to_vec(), folder: TempDir::new().unwrap(), net };
        let listener = TcpListener::bind((group.at(0), 0)).await.unwrap();
        group.port = listener.local_addr().unwrap().port();
        std::fs::write(group.entry(), list(ids.iter().map(|&id| (id, group.address(id))))).unwrap();
        group
    }

    fn at(&self, last: u8) -> IpAddr {
        let [a, b, c] = self.net;
        Ipv4Addr::new(a, b, c, last).into()
    }

    /// From 1 to 14.
    fn place(&self, id: u32) -> u8 {
        self.ids.iter().position(|&other| other == id).unwrap() as u8 + 1
    }

    /// Where that one is.
    pub fn address(&self, id: u32) -> IpAddr {
        self.at(self.place(id))
    }

    /// An address that is no peer's.
    pub fn spare(&self) -> IpAddr {
        self.at(15)
    }

    pub fn socket(&self, id: u32) -> SocketAddr {
        SocketAddr::new(self.address(id), self.port)
    }

    pub fn entry(&self) -> PathBuf {
        self.folder.path().join("entry")
    }

    pub fn start(&self, id: u32, more: &[&str]) -> Run {
        self.start_with(id, &self.entry(), more)
    }

    fn start_with(&self, id: u32, entry: &Path, more: &[&str]) -> Run {
        let (id, port) = (id.to_string(), self.port.to_string());
        let arguments = ["heartbeat", &id, &port, "--entry", entry.to_str().unwrap()];
        // The later flag counts.
        let soon: &[&str] = if more.contains(&"--interval") { &[] } else { &SOON };
        Run::start(&[&arguments[..], soon, more].concat())
    }

    /// Starts that one with everybody else behind a network that can be cut.
    pub fn start_in(&self, _: &Network, id: u32, more: &[&str]) -> Run {
        let entry = self.folder.path().join(format!("entry-{id}"));
        let address = |to| if to == id { self.address(id) } else { self.wire(id, to) };
        std::fs::write(&entry, list(self.ids.iter().map(|&to| (to, address(to))))).unwrap();
        self.start_with(id, &entry, more)
    }

    /// Where `from` reaches `to`.
    fn wire(&self, from: u32, to: u32) -> IpAddr {
        self.at(16 * self.place(from) + self.place(to))
    }

    pub async fn network(&self) -> Network {
        let mut network = Network { cut: Arc::default(), wires: JoinSet::new() };
        for (&from, &to) in self.ids.iter().flat_map(|from| self.ids.iter().map(move |to| (from, to))) {
            if from != to {
                let listener = TcpListener::bind((self.wire(from, to), self.port)).await.unwrap();
                // An urgent byte goes on as any other.
                SockRef::from(&listener).set_out_of_band_inline(true).unwrap();
                network.wires.spawn(carry(listener, self.socket(to), (from, to), network.cut.clone()));
            }
        }
        network
    }
}

fn list(peers: impl ExactSizeIterator<Item = (u32, IpAddr)>) -> String {
    let count = peers.len();
    peers.fold(format!("{count}\n"), |text, (id, address)| format!("{text}{id} {address}\n"))
}

type Cut = Arc<Mutex<BTreeSet<(u32, u32)>>>;

/// One-way wires between all peers.
pub struct Network {
    cut: Cut,
    wires: JoinSet<()>,
}

impl Network {
    /// Nothing that one of `from` says to one of `to` comes through, nor an answer to it.
    pub fn cut(&self, from: &[u32], to: &[u32]) {
        let pairs = from.iter().flat_map(|&from| to.iter().map(move |&to| (from, to)));
        self.cut.lock().unwrap().extend(pairs);
    }

    /// Nothing comes through either way.
    pub fn part(&self, one: &[u32], other: &[u32]) {
        self.cut(one, other);
        self.cut(other, one);
    }

    /// The two hear each other again.
    pub fn join(&self, one: u32, other: u32) {
        self.cut.lock().unwrap().retain(|&wire| wire != (one, other) && wire != (other, one));
    }

    pub fn heal(&self) {
        self.cut.lock().unwrap().clear();
    }
}

async fn carry(listener: TcpListener, to: SocketAddr, wire: (u32, u32), cut: Cut) {
    let mut connections = JoinSet::new();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let is_cut = cut.lock().unwrap().contains(&wire);
        while connections.try_join_next().is_some() {}
        connections.spawn(async move {
            if !is_cut && let Ok(mut other) = TcpStream::connect(to).await {
                let _ = copy_bidirectional(&mut stream, &mut other).await;
            } else {
                // Nothing is said: to hang up would be an answer.
                sleep(PATIENCE).await;
            }
        });
    }
}

/// Reads lines of JSON until it names that leader. All of them, those before included, are kept.
pub async fn names(run: &mut Run, seen: &mut Vec<Value>, leader: Option<u32>) {
    loop {
        let line = run.line().await.unwrap_or_else(|| panic!("it ended before it named {leader:?}: {seen:?}"));
        seen.push(serde_json::from_str(&line).unwrap());
        let Some(line) = seen.last().filter(|line| line["event"] == "leader") else { continue };
        if line["leaderId"] == Value::from(leader) {
            return;
        }
    }
}

/// Ends it, and reads what is left.
pub async fn end(run: &mut Run, seen: &mut Vec<Value>) {
    run.signal(Signal::SIGTERM);
    assert_eq!(run.end().await.code(), Some(0));
    let (out, _) = run.rest().await;
    seen.extend(out.iter().map(|line| serde_json::from_str::<Value>(line).unwrap()));
}
