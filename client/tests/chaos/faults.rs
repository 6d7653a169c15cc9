//! What may befall a ring: which faults there are, how they are drawn, and how each
//! begins and ends.

use std::time::Duration;

use nix::sys::signal::Signal;
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::time::sleep;

use crate::judge::What;
use crate::proxy::{CLEAR, Cut, Way, Ways};
use crate::ring::Ring;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// kill -9, and started again.
    KillNode,
    /// SIGTERM, and started again.
    EndNode,
    /// SIGSTOP, then SIGCONT.
    StopNode,
    /// kill -9, and started again on its data.
    KillHub,
    /// SIGSTOP, then SIGCONT.
    StopHub,
    Cut,
    CutHubSide,
    CutNodeSide,
    HalfOpen,
    HalfOpenToHub,
    HalfOpenToNode,
    SlowReader,
    Delay,
}

/// With any ring.
const OF_PROCESSES: [Kind; 5] = [Kind::KillNode, Kind::EndNode, Kind::StopNode, Kind::KillHub, Kind::StopHub];

/// Where there are proxies.
const OF_LINKS: [Kind; 8] = [
    Kind::Cut,
    Kind::CutHubSide,
    Kind::CutNodeSide,
    Kind::HalfOpen,
    Kind::HalfOpenToHub,
    Kind::HalfOpenToNode,
    Kind::SlowReader,
    Kind::Delay,
];

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::KillNode => "node: kill -9",
            Kind::EndNode => "node: SIGTERM",
            Kind::StopNode => "node: SIGSTOP",
            Kind::KillHub => "hub: kill -9",
            Kind::StopHub => "hub: SIGSTOP",
            Kind::Cut => "link: cut",
            Kind::CutHubSide => "link: cut, hub's side only",
            Kind::CutNodeSide => "link: cut, node's side only",
            Kind::HalfOpen => "link: half-open",
            Kind::HalfOpenToHub => "link: half-open, to hub",
            Kind::HalfOpenToNode => "link: half-open, to node",
            Kind::SlowReader => "link: slow reader",
            Kind::Delay => "link: delay",
        }
    }

    fn is_of_hub(self) -> bool {
        matches!(self, Kind::KillHub | Kind::StopHub)
    }
}

#[derive(Debug, Clone)]
pub struct Fault {
    pub kind: Kind,
    /// Whom it befalls, unless the hub.
    pub node: usize,
    /// Counted from the storm's start.
    pub after: Duration,
    pub lasts: Duration,
}

/// Two to four at once, or what is left to do; the leader's are likely, and the hub has one at most.
pub fn draw_storm(rng: &mut StdRng, ring: &Ring, leader: usize, most: usize) -> Vec<Fault> {
    let count = rng.random_range(2..=4).min(most);
    let mut nodes = ring.all();
    let mut storm: Vec<Fault> = vec![];
    while storm.len() < count {
        let kinds: &[Kind] = if ring.setup.proxied && rng.random_bool(0.75) { &OF_LINKS } else { &OF_PROCESSES };
        let kind = kinds[rng.random_range(0..kinds.len())];
        if kind.is_of_hub() && storm.iter().any(|fault| fault.kind.is_of_hub()) {
            continue;
        }
        let at = nodes.iter().position(|node| *node == leader).filter(|_| rng.random_bool(0.5));
        // Each node is befallen by one fault at a time.
        let node = nodes.swap_remove(at.unwrap_or_else(|| rng.random_range(0..nodes.len())));
        let after = Duration::from_millis(rng.random_range(0..800));
        storm.push(Fault { kind, node, after, lasts: draw_time(rng) });
    }
    storm
}

/// From 0.2 to 8 s, short ones more often: each doubling is as likely as the next.
fn draw_time(rng: &mut StdRng) -> Duration {
    Duration::from_secs_f64(0.2 * 40_f64.powf(rng.random_range(0.0..1.0)))
}

impl Fault {
    /// Begins, lasts and ends; afterwards all that runs is well.
    pub async fn befall(&self, ring: &Ring) {
        let Fault { kind, node, after, lasts } = *self;
        sleep(after).await;
        let whom = if kind.is_of_hub() { String::new() } else { format!(" n{node}") };
        ring.note(What::Fault(format!("{}{whom} for {lasts:?}", kind.name())));
        match kind {
            Kind::KillNode => {
                ring.end_node(node, Signal::SIGKILL).await;
                sleep(lasts / 4).await;
                ring.start_node(node).await;
            }
            Kind::EndNode => {
                ring.end_node(node, Signal::SIGTERM).await;
                sleep(lasts / 4).await;
                ring.start_node(node).await;
            }
            Kind::StopNode => {
                ring.signal_node(node, Signal::SIGSTOP).await;
                sleep(lasts).await;
                ring.signal_node(node, Signal::SIGCONT).await;
            }
            Kind::KillHub => {
                ring.kill_hub().await;
                sleep(lasts / 4).await;
                ring.start_hub().await;
            }
            Kind::StopHub => {
                ring.signal_hub(Signal::SIGSTOP).await;
                sleep(lasts).await;
                ring.signal_hub(Signal::SIGCONT).await;
            }
            Kind::Cut => ring.proxy(node).cut(Cut::Both),
            Kind::CutHubSide => self.cut(ring, Cut::HubSide).await,
            Kind::CutNodeSide => self.cut(ring, Cut::NodeSide).await,
            Kind::HalfOpen => self.travel(ring, Ways { to_hub: Way::Held, to_node: Way::Held }).await,
            Kind::HalfOpenToHub => self.travel(ring, Ways { to_hub: Way::Held, ..CLEAR }).await,
            Kind::HalfOpenToNode => self.travel(ring, Ways { to_node: Way::Held, ..CLEAR }).await,
            Kind::SlowReader => self.travel(ring, Ways { to_node: Way::Slow, ..CLEAR }).await,
            Kind::Delay => {
                let way = Way::Delayed(lasts / 20);
                self.travel(ring, Ways { to_hub: way, to_node: way }).await;
            }
        }
        ring.note(What::Fault(format!("{}{whom} is over", kind.name())));
    }

    async fn cut(&self, ring: &Ring, cut: Cut) {
        ring.proxy(self.node).cut(cut);
        sleep(self.lasts).await;
        ring.proxy(self.node).heal();
    }

    async fn travel(&self, ring: &Ring, ways: Ways) {
        ring.proxy(self.node).set(ways);
        sleep(self.lasts).await;
        ring.proxy(self.node).heal();
    }
}
