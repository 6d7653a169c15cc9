//! A ring of real processes, and all that is seen of it from outside.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener as Port};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex as Shared};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::put;
use nix::sys::signal::Signal;
use ringleader_client::transport::hub::{HubUrl, Link, Purpose};
use ringleader_client::{Fence, Term};
use ringleader_shared::id::ClientId;
use ringleader_shared::message::RingMessage;
use ringleader_shared::wire::{self, Body, Frame, RingChanged};
use serde::Deserialize;
use tokio::io::AsyncBufReadExt;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::judge::{Belief, Happening, What};
use crate::process::{Running, hub_program, writer_program};
use crate::proxy::Proxy;

/// What kind of ring. The rest of the world is kept the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setup {
    pub nodes: usize,
    /// Whether nodes elect as soon as the leader's connection is gone.
    pub early: bool,
    /// Whether there is a proxy between each node and the hub.
    pub proxied: bool,
    /// How long a writer prepares each act.
    pub effort: Duration,
    /// What is left out, to see that it is missed.
    pub without: Option<Safeguard>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Safeguard {
    /// The resource lets everybody through.
    Fence,
    /// The hub is not told that it is behind a proxy.
    BehindProxy,
    /// The hub keeps no terms.
    DataDir,
}

/// What was seen so far.
#[derive(Default)]
pub struct Seen {
    pub history: Vec<Happening>,
    /// The last thing that each process said, and when.
    pub beliefs: BTreeMap<String, (u64, Belief)>,
    /// When the first write of each term was accepted.
    pub first_writes: BTreeMap<Term, u64>,
    /// As a spectator is told; `None` while there is no hub.
    ring: Option<RingChanged>,
}

/// All of some nodes, and the hub, hold the same one of them for the leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement {
    pub term: Term,
    /// Which node leads.
    pub leader: usize,
    /// When the last of them came to believe it.
    pub at: u64,
}

pub struct Ring {
    pub setup: Setup,
    pub directory: PathBuf,
    pub seen: Arc<watch::Sender<Seen>>,
    nodes: Vec<Node>,
    hub_address: SocketAddr,
    hub: Mutex<Option<Running>>,
    service: SocketAddr,
    /// The spectator and the resource; gone with the value.
    _tasks: JoinSet<()>,
}

struct Node {
    name: String,
    proxy: Option<Proxy>,
    running: Mutex<Option<Running>>,
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64
}

impl Ring {
    /// A hub, and all nodes started.
    pub async fn start(setup: Setup, directory: &Path) -> Ring {
        let seen = Arc::new(watch::Sender::new(Seen::default()));
        let mut tasks = JoinSet::new();
        // One that can be had again when the hub is restarted.
        let hub_address = Port::bind("127.0.0.1:0").and_then(|port| port.local_addr()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let service = listener.local_addr().unwrap();
        let fence = (setup.without != Some(Safeguard::Fence)).then(Fence::new);
        tasks.spawn(resource(listener, fence, seen.clone()));
        tasks.spawn(watch_ring(format!("ws://{hub_address}").parse().unwrap(), seen.clone()));
        let mut nodes = vec![];
        for number in 0..setup.nodes {
            let proxy = if setup.proxied { Some(Proxy::start(hub_address).await) } else { None };
            nodes.push(Node { name: format!("n{number}"), proxy, running: Mutex::default() });
        }
        let directory = directory.to_owned();
        let hub = Mutex::default();
        let ring = Ring { setup, directory, seen, nodes, hub_address, hub, service, _tasks: tasks };
        ring.start_hub().await;
        for node in 0..setup.nodes {
            ring.start_node(node).await;
        }
        ring
    }

    pub async fn start_hub(&self) {
        let mut arguments = vec!["--listen".to_owned(), self.hub_address.to_string()];
        if self.setup.without != Some(Safeguard::DataDir) {
            arguments.extend(["--data-dir".into(), self.directory.join("hub").display().to_string()]);
        }
        if self.setup.proxied && self.setup.without != Some(Safeguard::BehindProxy) {
            arguments.push("--behind-proxy".into());
        }
        let (child, mut stdout) = Running::start(&hub_program(), &arguments, &self.directory.join("hub.log"));
        let mut line = String::new();
        let ready = timeout(Duration::from_secs(20), stdout.read_line(&mut line)).await;
        assert!(ready.is_ok() && line.contains("listening on"), "the hub does not listen: see {self}");
        *self.hub.lock().await = Some(Running::new(child, stdout, |_| {}));
    }

    pub async fn kill_hub(&self) {
        let hub = self.hub.lock().await.take();
        hub.expect("a hub").end(Signal::SIGKILL).await;
    }

    pub async fn signal_hub(&self, signal: Signal) {
        self.hub.lock().await.as_ref().expect("a hub").signal(signal);
    }

    pub async fn start_node(&self, node: usize) {
        let Node { name, proxy, running } = &self.nodes[node];
        let hub = proxy.as_ref().map_or(self.hub_address, |proxy| proxy.address);
        let effort = humantime::format_duration(self.setup.effort).to_string();
        let [hub, service] = [format!("ws://{hub}"), format!("http://{}/log", self.service)];
        let arguments = ["--hub", &hub, "--service", &service, "--name", name, "--effort", &effort];
        let mut arguments = arguments.map(str::to_owned).to_vec();
        if self.setup.early {
            arguments.push("--early".into());
        }
        self.note(What::Starts { node: name.clone() });
        let log = self.directory.join(format!("{name}.log"));
        let (child, stdout) = Running::start(&writer_program(), &arguments, &log);
        let seen = self.seen.clone();
        let on_line = move |line: &str| seen.send_modify(|seen| seen.on_line(line));
        *running.lock().await = Some(Running::new(child, stdout, on_line));
    }

    /// With SIGKILL it is over at once; with SIGTERM it leaves in good order.
    pub async fn end_node(&self, node: usize, signal: Signal) {
        let running = self.nodes[node].running.lock().await.take();
        let mut at = now();
        running.expect("a node that runs").end(signal).await;
        if signal != Signal::SIGKILL {
            at = now();
        }
        let what = What::Ends { node: self.nodes[node].name.clone() };
        self.seen.send_modify(|seen| seen.note(Happening { at, what }));
    }

    pub async fn signal_node(&self, node: usize, signal: Signal) {
        self.nodes[node].running.lock().await.as_ref().expect("a node that runs").signal(signal);
    }

    pub fn proxy(&self, node: usize) -> &Proxy {
        self.nodes[node].proxy.as_ref().expect("a ring with proxies")
    }

    pub fn note(&self, what: What) {
        self.seen.send_modify(|seen| seen.note(Happening { at: now(), what }));
    }

    /// What the others hold, in a newer term than this.
    pub fn agreement(&self, seen: &Seen, among: &[usize], newer_than: Term) -> Option<Agreement> {
        let RingChanged { members, leader_id, term, .. } = seen.ring.as_ref()?;
        let leader_id = leader_id.as_ref()?;
        if *term <= newer_than || members.len() != among.len() {
            return None;
        }
        let (mut leader, mut latest) = (None, 0);
        for node in among {
            let (at, belief) = seen.beliefs.get(&self.nodes[*node].name)?;
            let id = belief.id.as_ref()?;
            let is_member = members.iter().any(|member| member.client_id == *id);
            if belief.leader.as_ref() != Some(leader_id) || belief.term != *term || !is_member {
                return None;
            }
            if id == leader_id {
                leader = Some(*node);
            }
            latest = latest.max(*at);
        }
        Some(Agreement { term: *term, leader: leader?, at: latest })
    }

    pub fn name(&self) -> String {
        self.directory.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    pub fn all(&self) -> Vec<usize> {
        (0..self.setup.nodes).collect()
    }

    /// Waits until this can be seen; `None` when it takes too long.
    pub async fn until<T>(&self, limit: Duration, look: impl Fn(&Seen) -> Option<T>) -> Option<T> {
        let mut seen = self.seen.subscribe();
        let found = async {
            loop {
                if let Some(found) = look(&seen.borrow_and_update()) {
                    return found;
                }
                seen.changed().await.expect("the ring holds the sender");
            }
        };
        timeout(limit, found).await.ok()
    }
}

impl std::fmt::Display for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({:?})", self.directory.display(), self.setup)
    }
}

/// A line of the writer, as far as it matters here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    at: u64,
    client_id: Option<ClientId>,
    name: String,
    term: Term,
    leader_id: Option<ClientId>,
    may_act: bool,
    act_until_ms: Option<u64>,
}

impl Seen {
    fn note(&mut self, happening: Happening) {
        if let What::Starts { node } | What::Ends { node } = &happening.what {
            self.beliefs.remove(node);
        }
        self.history.push(happening);
    }

    fn on_line(&mut self, line: &str) {
        let line: Line = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let belief = Belief {
            node: line.name,
            id: line.client_id,
            term: line.term,
            leader: line.leader_id,
            may_act: line.may_act,
            act_until: line.act_until_ms,
        };
        self.beliefs.insert(belief.node.clone(), (line.at, belief.clone()));
        self.history.push(Happening { at: line.at, what: What::Believes(belief) });
    }

    fn on_frame(&mut self, text: &str) {
        let frame: Frame = wire::decode(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let mut announced = |leader: &ClientId, term: Option<Term>| {
            if let Some(term) = term {
                let what = What::Announced { leader: leader.clone(), term };
                self.history.push(Happening { at: now(), what });
            }
        };
        match frame.body {
            Body::Welcome(welcome) => {
                if let Some(leader) = &welcome.leader_id {
                    announced(leader, welcome.term);
                }
                self.ring = Some(RingChanged {
                    ring: welcome.ring.expect("a ring"),
                    members: welcome.members.expect("members"),
                    leader_id: welcome.leader_id,
                    term: welcome.term.expect("a term"),
                });
            }
            Body::RingChanged(ring) => self.ring = Some(ring),
            Body::Relayed(relayed) => {
                let frame: Frame = wire::decode(relayed.frame.get()).unwrap_or_else(|error| panic!("{error}: {text}"));
                if let Body::Ring(RingMessage::NewLeader(new)) = frame.body {
                    announced(&new.leader_id, new.term);
                }
            }
            _ => {}
        }
    }
}

/// Watches without a proxy, for as long as the ring is there.
async fn watch_ring(hub: HubUrl, seen: Arc<watch::Sender<Seen>>) {
    loop {
        if let Ok(mut link) = Link::connect(&hub, Purpose::Watch).await {
            while let Ok(text) = link.receive().await {
                seen.send_modify(|seen| seen.on_frame(&text));
            }
            seen.send_modify(|seen| seen.ring = None);
        }
        sleep(Duration::from_millis(50)).await;
    }
}

struct Resource {
    fence: Option<Fence>,
    seen: Arc<watch::Sender<Seen>>,
}

/// What leaders write to: as docs/leadership.md has it, and writes down who came.
async fn resource(listener: TcpListener, fence: Option<Fence>, seen: Arc<watch::Sender<Seen>>) {
    let resource = Arc::new(Shared::new(Resource { fence, seen }));
    let service = Router::new().route("/log", put(write)).with_state(resource);
    axum::serve(listener, service).await.unwrap();
}

async fn write(State(resource): State<Arc<Shared<Resource>>>, headers: HeaderMap, act: String) -> (StatusCode, String) {
    let shown = headers.get("ringleader-term").and_then(|value| value.to_str().ok()?.parse().ok());
    let (Some(term), Some((node, _))) = (shown.and_then(Term::new), act.split_once(' ')) else {
        return (StatusCode::BAD_REQUEST, "expected a header such as Ringleader-Term: 17".into());
    };
    let mut resource = resource.lock().unwrap();
    let admitted = resource.fence.as_mut().map_or(Ok(()), |fence| fence.admit(term));
    // Still under the lock: the history has writes in the order in which they were let through.
    resource.seen.send_modify(|seen| {
        let (at, accepted) = (now(), admitted.is_ok());
        if accepted {
            seen.first_writes.entry(term).or_insert(at);
        }
        seen.history.push(Happening { at, what: What::Wrote { node: node.to_owned(), term, accepted } });
    });
    match admitted {
        Ok(()) => (StatusCode::OK, String::new()),
        Err(stale) => (StatusCode::PRECONDITION_FAILED, stale.to_string()),
    }
}
