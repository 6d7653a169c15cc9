//! The world: a hub, nodes, connections from the nodes to the hub, and something
//! that only the leader may write to.
//!
//! It stands in for the drivers of `hub` and `client`: it takes what is due out of
//! an [`Agenda`], hands it to a machine, and plans what the machine wants done. Files
//! of this room:
//!
//! - this one: time, and how things happen;
//! - `node`: places where programs run, and what they do;
//! - `hub`: the place where the relay runs, and its store;
//! - `link`: connections: order, cuts, silence, and ends that only one side knows of;
//! - `deeds`: what befalls nodes and the hub;
//! - `resource`: what the leader writes to, behind a fence.

mod deeds;
mod hub;
mod link;
mod node;
mod resource;

use std::mem;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use ringleader_shared::election::Role;
use ringleader_shared::id::{ClientId, Name, Term};
use ringleader_shared::relay;

use crate::agenda::{Agenda, Slot};
use crate::member::Member;
use crate::plant::{Plant, Slip};
use crate::trace::{Happening, What};
use hub::Hub;
use link::Connection;
use node::Node;
use resource::Resource;

pub(crate) use link::NODE_PATIENCE;
pub use node::Cast;
pub(crate) use node::RECONNECT;

/// What a world is like from its beginning to its end.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Which run of chance.
    pub seed: u64,
    /// How long a frame takes from a node to the hub, or back.
    pub leg: Range<Duration>,
    /// How the ring is run.
    pub relay: relay::Config,
    /// How fast the hub's clock runs: 1.1 gains six minutes an hour.
    pub hub_clock: f64,
    /// Whether clock rates stay within what leases allow for: a tenth, either way.
    pub clocks_hold: bool,
    /// Whether leaders write to the resource.
    pub writes: bool,
    /// What is broken on purpose.
    pub plant: Option<Plant>,
}

impl Default for Setting {
    fn default() -> Self {
        Setting {
            seed: 0,
            leg: Duration::from_millis(5)..Duration::from_millis(15),
            relay: relay::Config::default(),
            hub_clock: 1.0,
            clocks_hold: true,
            writes: false,
            plant: None,
        }
    }
}

/// Everything there is.
#[derive(Debug)]
pub struct World {
    setting: Setting,
    agenda: Agenda<Due>,
    rng: StdRng,
    hub: Hub,
    nodes: Vec<Node>,
    /// In the order in which they were made. One stands until both sides know that it is over.
    connections: Vec<Connection>,
    /// How many there have been.
    connected: u32,
    resource: Resource,
    happened: Vec<Happening>,
}

/// Something that is due. Timers and silences are passed over where somebody has
/// forgotten their slot since.
#[derive(Debug)]
enum Due {
    HubTimer,
    NodeTimer(usize),
    AtHub(u32, Arrival),
    AtNode(u32, Arrival),
    /// The hub has not heard of this connection's other side for too long.
    HubSilence(u32),
    /// The node has not.
    NodeSilence(u32),
    /// The hub's patience with a slow reader is over.
    TooSlow(u32),
    Write(usize, Term),
}

/// What comes out of a connection.
#[derive(Debug)]
enum Arrival {
    Frame(Arc<str>),
    Closed,
}

/// Time: who plays calls [`step`](World::step), again and again.
impl World {
    /// A hub and nobody else.
    pub fn new(setting: Setting) -> Self {
        World {
            agenda: Agenda::default(),
            rng: StdRng::seed_from_u64(setting.seed),
            hub: Hub::new(&setting),
            nodes: vec![],
            connections: vec![],
            connected: 0,
            resource: Resource::new(setting.seed),
            happened: vec![],
            setting,
        }
    }

    /// The time, from the beginning.
    pub fn now(&self) -> Duration {
        self.agenda.now()
    }

    /// When the next thing is due.
    pub fn next_due(&self) -> Option<Duration> {
        self.agenda.next_due()
    }

    /// Lets the next thing happen. Says no when there is none.
    pub fn step(&mut self) -> bool {
        let Some((slot, due)) = self.agenda.pop() else { return false };
        self.happen(slot, due);
        true
    }

    /// Lets time pass in which nothing is due.
    pub fn rest_until(&mut self, at: Duration) {
        self.agenda.rest_until(at);
    }

    /// What has happened since this was last asked, in place of what was in `out`.
    pub fn take_happenings(&mut self, out: &mut Vec<Happening>) {
        out.clear();
        mem::swap(out, &mut self.happened);
    }

    /// Whether everybody who is awake holds the same member for the leader, in the
    /// same term; it too; the hub too; and no frame is under way.
    pub fn is_settled(&self) -> bool {
        self.agreed().is_some() && !self.agenda.iter().any(|due| matches!(due, Due::AtHub(..) | Due::AtNode(..)))
    }

    /// The node that everybody who is awake holds for the leader, in the same term; it
    /// too, and the hub.
    pub fn agreed(&self) -> Option<usize> {
        let ring = self.hub.relay()?.snapshot();
        let leader = ring.leader_id?;
        let mut leads = None;
        let honest = |node: &&Node| node.is_up() && !matches!(node.member, Member::Liar(_));
        for (index, node) in self.nodes.iter().enumerate().filter(|(_, node)| honest(node)) {
            let belief = node.member.belief();
            let counts_terms = matches!(node.member, Member::Ours { .. });
            if belief.leader.as_ref() != Some(&leader) || (belief.term != ring.term && counts_terms) {
                return None;
            }
            if belief.role == Role::Leader && self.id_of(index) == Some(&leader) {
                leads = Some(index);
            }
        }
        leads
    }

    /// Whether a node may act as the leader, by what it knows. Classic ones always may.
    pub fn may_act(&self, index: usize) -> bool {
        let member = &self.nodes[index].member;
        matches!(member, Member::Classic(_)) || member.belief().may_act
    }

    /// The node that the hub holds for the leader, if that is a node which runs.
    pub fn leader(&self) -> Option<usize> {
        let leader = self.hub.relay()?.snapshot().leader_id?;
        (0..self.nodes.len()).find(|&index| self.id_of(index) == Some(&leader))
    }

    /// Whether a node leads, as far as it knows.
    pub fn leads(&self, index: usize) -> bool {
        self.nodes[index].member.belief().role == Role::Leader
    }

    /// The node of this name.
    pub fn index(&self, name: &Name) -> Option<usize> {
        self.nodes.iter().position(|node| node.name == *name)
    }

    /// How many nodes there are, started or not.
    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    fn id_of(&self, index: usize) -> Option<&ClientId> {
        let link = self.nodes[index].link?;
        self.connection(link).map(|connection| &connection.id)
    }
}

/// How things happen.
impl World {
    fn happen(&mut self, slot: Slot, due: Due) {
        match due {
            Due::HubTimer => self.on_hub_timer(slot),
            Due::NodeTimer(index) => self.on_node_timer(index, slot),
            Due::AtHub(link, arrival) => self.on_arrival_at_hub(link, arrival),
            Due::AtNode(link, arrival) => self.on_arrival_at_node(link, arrival),
            Due::HubSilence(link) => self.on_hub_silence(link, slot),
            Due::NodeSilence(link) => self.on_node_silence(link, slot),
            Due::TooSlow(link) => self.on_too_slow(link),
            Due::Write(index, term) => self.on_write(index, term),
        }
    }

    fn slips(&self, slip: Slip) -> bool {
        self.setting.plant == Some(Plant::Slip(slip))
    }

    /// A whole number of milliseconds out of a range; of an empty one its start.
    fn draw(&mut self, range: &Range<Duration>) -> Duration {
        let millis = range.start.as_millis() as u64..range.end.as_millis() as u64;
        if millis.is_empty() { range.start } else { Duration::from_millis(self.rng.random_range(millis)) }
    }

    fn report(&mut self, what: What) {
        self.happened.push(Happening { at: self.agenda.now(), what });
    }
}

/// How long something takes that a clock of this rate shows so long.
fn by_clock(shown: Duration, rate: f64) -> Duration {
    if rate == 1.0 { shown } else { shown.div_f64(rate) }
}
