//! The world: a hub, nodes, and a connection from each node to the hub.
//!
//! It stands in for the drivers of `hub` and `client`: it takes what is due out of
//! an [`Agenda`], hands it to a machine, and plans what the machine wants done. A
//! frame takes some milliseconds each way, drawn by chance; on one connection none
//! overtakes another. A connection that is closed says so after the frames that
//! were sent before.

mod deeds;

use std::collections::BTreeMap;
use std::mem;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use ringleader_shared::election::Role;
use ringleader_shared::election::eligible_array::{Hub, Timer};
use ringleader_shared::id::{ClientId, Name};
use ringleader_shared::machine::{Effect, Input, Machine};
use ringleader_shared::relay::{self, Departure, Relay};

use crate::agenda::{Agenda, Slot};
use crate::member::{self, Member};
use crate::trace::{Happening, What};

/// How long a frame takes from a node to the hub, or back.
const LEG: Range<Duration> = Duration::from_millis(5)..Duration::from_millis(15);
/// How long a node waits before it connects again.
const RECONNECT: Range<Duration> = Duration::from_millis(100)..Duration::from_millis(300);
/// How long a connection may be silent before the hub closes it.
const SILENCE: Duration = Duration::from_secs(3);

/// Everything there is.
#[derive(Debug)]
pub struct World {
    agenda: Agenda<Due>,
    rng: StdRng,
    leg: Range<Duration>,
    relay: Relay,
    hub_timers: BTreeMap<HubTimer, Slot>,
    nodes: Vec<Node>,
    /// By the id that the hub gave out. One stands until its node knows that it is closed.
    connections: BTreeMap<ClientId, Connection>,
    happened: Vec<Happening>,
}

/// A place where a program runs.
#[derive(Debug)]
struct Node {
    name: Name,
    member: Member,
    /// How it begins, to begin again so.
    fresh: Member,
    /// A key of `World::connections`.
    id: Option<ClientId>,
    connected_before: u32,
    timers: BTreeMap<NodeTimer, Slot>,
    /// When its first election is due, where that is not left to chance.
    start_delay: Option<Duration>,
    life: Life,
}

#[derive(Debug)]
enum Life {
    Up,
    /// What happens to it has to wait.
    Paused {
        waiting: Vec<(Slot, Due)>,
    },
    /// It has neither timers nor a connection.
    Down,
}

#[derive(Debug)]
struct Connection {
    /// An index of `World::nodes`.
    node: usize,
    /// When the newest frame that was sent will be at the hub, and at the node.
    hub_end: Duration,
    node_end: Duration,
}

/// Something that is due.
#[derive(Debug)]
enum Due {
    HubTimer(HubTimer),
    NodeTimer(usize, NodeTimer),
    AtHub(ClientId, Arrival),
    AtNode(ClientId, Arrival),
}

/// What comes out of a connection.
#[derive(Debug)]
enum Arrival {
    Frame(Arc<str>),
    Closed,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum HubTimer {
    Relay(relay::Timer),
    /// It has not answered a ping for too long.
    Silent(ClientId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum NodeTimer {
    Member(Timer),
    Connect,
}

/// How a node begins.
#[derive(Debug, Clone)]
pub struct Cast {
    /// What people call it; the ids that the hub gives it begin with this.
    pub name: Name,
    /// What runs on it.
    pub member: Member,
    /// When its first election is due, from its welcome on, where that is not left to chance.
    pub start_delay: Option<Duration>,
}

/// Time: who plays calls [`step`](World::step), again and again.
impl World {
    /// A hub and nobody else.
    pub fn new(seed: u64) -> Self {
        World {
            agenda: Agenda::default(),
            rng: StdRng::seed_from_u64(seed),
            leg: LEG,
            relay: Relay::new(relay::Config::default()),
            hub_timers: BTreeMap::new(),
            nodes: vec![],
            connections: BTreeMap::new(),
            happened: vec![],
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

    /// What has happened since this was last asked.
    pub fn take_happenings(&mut self) -> Vec<Happening> {
        mem::take(&mut self.happened)
    }

    /// Whether everybody who is awake holds the same member for the leader, in the
    /// same term; it too; the hub too; and no frame is under way.
    pub fn is_settled(&self) -> bool {
        let mut awake = self.nodes.iter().filter(|node| matches!(node.life, Life::Up)).peekable();
        let Some(leader) = awake.peek().and_then(|node| node.member.belief().leader) else { return false };
        let leads = |node: &Node| node.id.as_ref() == Some(&leader) && node.member.belief().role == Role::Leader;
        if !awake.clone().any(leads) {
            return false;
        }
        let hub = self.relay.snapshot();
        hub.leader_id.as_ref() == Some(&leader)
            && awake.all(|Node { member, .. }| {
                let belief = member.belief();
                let counts_terms = matches!(member, Member::Ours { .. });
                belief.leader.as_ref() == Some(&leader) && (belief.term == hub.term || !counts_terms)
            })
            && !self.agenda.iter().any(|due| matches!(due, Due::AtHub(..) | Due::AtNode(..)))
    }

    /// Whether a node of this name leads, as far as it knows.
    pub fn leads(&self, name: &Name) -> bool {
        self.nodes.iter().any(|node| node.name == *name && node.member.belief().role == Role::Leader)
    }
}

/// How things happen.
impl World {
    fn happen(&mut self, slot: Slot, due: Due) {
        let index = match &due {
            Due::HubTimer(_) | Due::AtHub(..) => None,
            Due::NodeTimer(index, _) => Some(*index),
            Due::AtNode(id, _) => match self.connections.get(id) {
                Some(connection) => Some(connection.node),
                None => return, // the node has closed it
            },
        };
        if let Some(Life::Paused { waiting }) = index.map(|index| &mut self.nodes[index].life) {
            return waiting.push((slot, due));
        }
        match due {
            Due::HubTimer(timer) => self.on_hub_timer(timer),
            Due::AtHub(from, Arrival::Frame(message)) => self.tell_hub(Input::Message { from, message }),
            Due::AtHub(id, Arrival::Closed) => {
                self.tell_hub(Input::Event(relay::Event::Left { id, departure: Departure::Closed }));
            }
            Due::NodeTimer(index, timer) => self.on_node_timer(index, timer, slot),
            Due::AtNode(id, arrival) => self.on_arrival(id, arrival),
        }
    }

    fn on_hub_timer(&mut self, timer: HubTimer) {
        self.hub_timers.remove(&timer);
        match timer {
            HubTimer::Relay(timer) => self.tell_hub(Input::Timeout(timer)),
            HubTimer::Silent(id) => {
                self.report(What::Silent(id.clone()));
                self.send_to_node(&id, Arrival::Closed);
                self.tell_hub(Input::Event(relay::Event::Left { id, departure: Departure::Lost }));
            }
        }
    }

    fn on_node_timer(&mut self, index: usize, timer: NodeTimer, slot: Slot) {
        let node = &mut self.nodes[index];
        if node.timers.get(&timer) != Some(&slot) {
            return; // it waited while the node was paused, and was then cancelled
        }
        node.timers.remove(&timer);
        match timer {
            NodeTimer::Member(timer) => self.tell_node(index, Input::Timeout(timer)),
            NodeTimer::Connect => self.connect(index),
        }
    }

    fn on_arrival(&mut self, id: ClientId, arrival: Arrival) {
        let Some(&Connection { node, .. }) = self.connections.get(&id) else { return };
        match arrival {
            Arrival::Frame(message) => self.tell_node(node, Input::Message { from: Hub, message }),
            Arrival::Closed => {
                self.connections.remove(&id);
                self.nodes[node].id = None;
                self.tell_node(node, Input::Event(member::Event::Disconnected));
                let after = self.draw(&RECONNECT);
                self.set_node_timer(node, NodeTimer::Connect, after);
            }
        }
    }

    /// The id is the node's name, with a number where it was here before: short,
    /// and never used again.
    fn connect(&mut self, index: usize) {
        let (node, now) = (&mut self.nodes[index], self.agenda.now());
        node.connected_before += 1;
        let id = match node.connected_before {
            1 => ClientId::new(node.name.as_str()),
            count => ClientId::new(format!("{}{count}", node.name)),
        };
        let id = id.expect("a node's name is short enough for an id");
        node.id = Some(id.clone());
        self.connections.insert(id.clone(), Connection { node: index, hub_end: now, node_end: now });
        self.tell_hub(Input::Event(relay::Event::Connected { id, may_join: true }));
    }

    fn tell_hub(&mut self, input: Input<Relay>) {
        let effects = self.relay.handle(input);
        self.relay.check();
        for effect in effects {
            match effect {
                Effect::Send { to, message } => self.send_to_node(&to, Arrival::Frame(message)),
                Effect::SetTimer { timer, after } => {
                    let after = self.draw(&after);
                    self.set_hub_timer(HubTimer::Relay(timer), after);
                }
                Effect::CancelTimer(timer) => self.cancel_hub_timer(&HubTimer::Relay(timer)),
                Effect::Save(_) => {}
                Effect::Report(report) => self.report(What::Hub(report)),
            }
        }
    }

    fn tell_node(&mut self, index: usize, input: Input<Member>) {
        let node = &mut self.nodes[index];
        let effects = node.member.handle(input);
        node.member.check();
        for effect in effects {
            match effect {
                Effect::Send { to: Hub, message } => {
                    if let Some(id) = self.nodes[index].id.clone() {
                        self.send_to_hub(&id, Arrival::Frame(message));
                    }
                }
                Effect::SetTimer { timer, after } => {
                    let fixed = self.nodes[index].start_delay.take_if(|_| timer == Timer::Campaign);
                    let after = fixed.unwrap_or_else(|| self.draw(&after));
                    self.set_node_timer(index, NodeTimer::Member(timer), after);
                }
                Effect::CancelTimer(timer) => {
                    if let Some(slot) = self.nodes[index].timers.remove(&NodeTimer::Member(timer)) {
                        self.agenda.cancel(slot);
                    }
                }
                Effect::Save(never) => match never {},
                Effect::Report(report) => {
                    let node = &self.nodes[index];
                    self.report(What::Node { node: node.name.clone(), id: node.id.clone(), report });
                }
            }
        }
    }

    fn send_to_hub(&mut self, id: &ClientId, arrival: Arrival) {
        let at = self.agenda.now() + self.draw(&self.leg.clone());
        let Some(connection) = self.connections.get_mut(id) else { return };
        connection.hub_end = connection.hub_end.max(at);
        self.agenda.plan(connection.hub_end, Due::AtHub(id.clone(), arrival));
    }

    fn send_to_node(&mut self, id: &ClientId, arrival: Arrival) {
        let at = self.agenda.now() + self.draw(&self.leg.clone());
        let Some(connection) = self.connections.get_mut(id) else { return };
        connection.node_end = connection.node_end.max(at);
        self.agenda.plan(connection.node_end, Due::AtNode(id.clone(), arrival));
    }

    fn set_hub_timer(&mut self, timer: HubTimer, after: Duration) {
        let slot = self.agenda.plan(self.agenda.now() + after, Due::HubTimer(timer.clone()));
        if let Some(replaced) = self.hub_timers.insert(timer, slot) {
            self.agenda.cancel(replaced);
        }
    }

    fn cancel_hub_timer(&mut self, timer: &HubTimer) {
        if let Some(slot) = self.hub_timers.remove(timer) {
            self.agenda.cancel(slot);
        }
    }

    fn set_node_timer(&mut self, index: usize, timer: NodeTimer, after: Duration) {
        let slot = self.agenda.plan(self.agenda.now() + after, Due::NodeTimer(index, timer));
        if let Some(replaced) = self.nodes[index].timers.insert(timer, slot) {
            self.agenda.cancel(replaced);
        }
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
