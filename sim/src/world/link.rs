//! Connections. A frame takes some milliseconds each way, drawn by chance; on one
//! connection none overtakes another, and a goodbye comes after the frames that were
//! sent before. Where a link is cut, frames wait, as TCP's do, and come when it heals.
//!
//! Each side has its own end and may be alone in knowing that the connection is over.
//! Then silence tells the other one: the hub pings once a second and gives up after
//! [`HUB_PATIENCE`], our clients ping, too, and give up after [`NODE_PATIENCE`].

use std::time::Duration;

use ringleader_shared::id::ClientId;
use ringleader_shared::machine::Input;
use ringleader_shared::relay::{self, Departure};

use super::node::{Life, NodeTimer, RECONNECT};
use super::{Arrival, Due, Slot, World, by_clock};
use crate::member;
use crate::plant::Slip;
use crate::trace::{Way, What};

/// How long a connection may be silent before the hub closes it.
pub(super) const HUB_PATIENCE: Duration = Duration::from_secs(3);
/// How long before a client does.
pub(crate) const NODE_PATIENCE: Duration = Duration::from_secs(6);
/// How long the hub waits for a reader that takes nothing.
pub(super) const WRITE_DEADLINE: Duration = Duration::from_secs(2);

/// A connection, as nobody sees it who is a part of it.
#[derive(Debug)]
pub(super) struct Connection {
    /// Counted from 1.
    pub number: u32,
    /// Given out by the hub.
    pub id: ClientId,
    /// An index of `World::nodes`.
    pub node: usize,
    /// Whether the hub has its end open, and the node.
    pub at_hub: bool,
    pub at_node: bool,
    up: Lane,
    down: Lane,
    /// When the hub's patience with it ends, and the node's.
    hub_silence: Option<Slot>,
    node_silence: Option<Slot>,
}

/// One direction.
#[derive(Debug, Default)]
struct Lane {
    /// When the newest frame that was sent will be there.
    end: Duration,
    /// What waits for the link to heal.
    held: Vec<Arrival>,
}

impl World {
    pub(super) fn connection(&self, number: u32) -> Option<&Connection> {
        let at = self.connections.binary_search_by_key(&number, |one| one.number).ok()?;
        Some(&self.connections[at])
    }

    fn connection_mut(&mut self, number: u32) -> Option<&mut Connection> {
        let at = self.connections.binary_search_by_key(&number, |one| one.number).ok()?;
        Some(&mut self.connections[at])
    }

    /// The id is the node's name, with a number where it was here before: short,
    /// and never used again.
    pub(super) fn connect(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        if self.hub.relay().is_none() || node.cut_up || node.cut_down {
            let after = self.draw(&RECONNECT);
            return self.set_node_timer(index, NodeTimer::Connect, after);
        }
        node.connected_before += 1;
        let id = match node.connected_before {
            1 => ClientId::new(node.name.as_str()),
            count => ClientId::new(format!("{}{count}", node.name)),
        };
        let id = id.expect("a node's name is short enough for an id");
        self.connected += 1;
        let number = self.connected;
        node.link = Some(number);
        let name = node.name.clone();
        let end = self.agenda.now();
        self.connections.push(Connection {
            number,
            id: id.clone(),
            node: index,
            at_hub: true,
            at_node: true,
            up: Lane { end, held: vec![] },
            down: Lane { end, held: vec![] },
            hub_silence: None,
            node_silence: None,
        });
        self.report(What::Connects { node: name });
        self.tell_hub(Input::Event(relay::Event::Connected { id, may_join: true }));
    }

    pub(super) fn send_to_hub(&mut self, number: u32, arrival: Arrival) {
        self.send(number, Way::Up, arrival);
    }

    pub(super) fn send_to_node(&mut self, number: u32, arrival: Arrival) {
        self.send(number, Way::Down, arrival);
    }

    fn send(&mut self, number: u32, way: Way, arrival: Arrival) {
        let Some(leg) = self.leg_of(number) else { return };
        let at = self.agenda.now() + leg;
        let Ok(place) = self.connections.binary_search_by_key(&number, |one| one.number) else { return };
        let connection = &mut self.connections[place];
        let node = &self.nodes[connection.node];
        let (lane, cut) = match way {
            Way::Up => (&mut connection.up, node.cut_up),
            _ => (&mut connection.down, node.cut_down || node.clogged),
        };
        if cut {
            return lane.held.push(arrival);
        }
        lane.end = lane.end.max(at);
        let due = if way == Way::Up { Due::AtHub(number, arrival) } else { Due::AtNode(number, arrival) };
        self.agenda.plan(lane.end, due);
    }

    fn leg_of(&mut self, number: u32) -> Option<Duration> {
        let node = self.connection(number)?.node;
        let mut leg = self.setting.leg.clone();
        leg.end = leg.end.max(self.nodes[node].lag.unwrap_or_default());
        Some(self.draw(&leg))
    }

    pub(super) fn on_arrival_at_hub(&mut self, number: u32, arrival: Arrival) {
        let Some(connection) = self.connection(number).filter(|one| one.at_hub) else { return };
        match arrival {
            Arrival::Frame(message) => {
                let (from, node) = (connection.id.clone(), connection.node);
                let lies = matches!(self.nodes[node].member, member::Member::Liar(_));
                self.report(What::Hears { from: from.clone(), lies, frame: message.clone() });
                self.tell_hub(Input::Message { from, message });
            }
            Arrival::Closed => self.lose_connection(number, Departure::Closed),
        }
    }

    pub(super) fn on_arrival_at_node(&mut self, number: u32, arrival: Arrival) {
        let Some(connection) = self.connection(number).filter(|one| one.at_node) else { return };
        let node = connection.node;
        if let Life::Paused { arrived, .. } = &mut self.nodes[node].life {
            return arrived.push((number, arrival));
        }
        match arrival {
            Arrival::Frame(message) => {
                let from = ringleader_shared::election::eligible_array::Hub;
                self.tell_node(node, Input::Message { from, message });
            }
            Arrival::Closed => self.disconnect(number),
        }
    }

    /// The node knows that its connection is over, and makes another one.
    pub(super) fn disconnect(&mut self, number: u32) {
        let Some(node) = self.connection(number).map(|connection| connection.node) else { return };
        self.close_at_node(number);
        self.tell_node(node, Input::Event(member::Event::Disconnected));
        let after = self.draw(&RECONNECT);
        self.set_node_timer(node, NodeTimer::Connect, after);
    }

    pub(super) fn close_at_node(&mut self, number: u32) {
        if let Some(connection) = self.connection_mut(number) {
            connection.at_node = false;
            let node = connection.node;
            self.nodes[node].link = None;
            self.nodes[node].clogged = false;
            self.listen(number);
        }
        self.forget_if_over(number);
    }

    pub(super) fn close_at_hub(&mut self, number: u32) {
        if let Some(connection) = self.connection_mut(number) {
            connection.at_hub = false;
            self.listen(number);
        }
        self.forget_if_over(number);
    }

    fn forget_if_over(&mut self, number: u32) {
        self.connections.retain(|one| one.number != number || one.at_hub || one.at_node);
    }

    pub(super) fn on_hub_silence(&mut self, number: u32, slot: Slot) {
        let Some(connection) = self.connection(number).filter(|one| one.hub_silence == Some(slot)) else { return };
        self.report(What::Silent(connection.id.clone()));
        self.send_to_node(number, Arrival::Closed);
        self.lose_connection(number, self.lost());
    }

    pub(super) fn on_too_slow(&mut self, number: u32) {
        let Some(connection) = self.connection(number).filter(|one| one.at_hub) else { return };
        let node = connection.node;
        if !self.nodes[node].clogged || self.nodes[node].link != Some(number) {
            return;
        }
        self.report(What::TooSlow(connection.id.clone()));
        self.send_to_node(number, Arrival::Closed);
        self.lose_connection(number, self.lost());
        self.nodes[node].clogged = false;
        self.release(node);
    }

    pub(super) fn lost(&self) -> Departure {
        if self.slips(Slip::LostTakenForClosed) { Departure::Closed } else { Departure::Lost }
    }

    pub(super) fn on_node_silence(&mut self, number: u32, slot: Slot) {
        if self.connection(number).is_some_and(|one| one.node_silence == Some(slot)) {
            self.send_to_hub(number, Arrival::Closed);
            self.disconnect(number);
        }
    }

    /// After a change of what gets through: whose patience runs now.
    pub(super) fn listen(&mut self, number: u32) {
        let hub_runs = self.hub.relay().is_some();
        let Ok(at) = self.connections.binary_search_by_key(&number, |one| one.number) else { return };
        let connection = &mut self.connections[at];
        let node = &self.nodes[connection.node];
        let said = connection.at_node && node.is_up() && !node.cut_up;
        if said || !connection.at_hub {
            connection.hub_silence = None;
        } else if connection.hub_silence.is_none() {
            let end = self.agenda.now() + by_clock(HUB_PATIENCE, self.setting.hub_clock);
            connection.hub_silence = Some(self.agenda.plan(end, Due::HubSilence(number)));
        }
        let said = connection.at_hub && hub_runs && !node.cut_down;
        if said || !connection.at_node || !node.is_up() {
            connection.node_silence = None;
        } else if connection.node_silence.is_none() {
            let end = self.agenda.now() + by_clock(NODE_PATIENCE, node.clock);
            connection.node_silence = Some(self.agenda.plan(end, Due::NodeSilence(number)));
        }
    }

    /// The same for all connections of a node.
    pub(super) fn listen_to(&mut self, index: usize) {
        for number in self.links_of(index) {
            self.listen(number);
        }
    }

    /// Lets go on what waited.
    pub(super) fn release(&mut self, index: usize) {
        for number in self.links_of(index) {
            let Some(connection) = self.connection_mut(number) else { continue };
            let (up, down) = (std::mem::take(&mut connection.up.held), std::mem::take(&mut connection.down.held));
            up.into_iter().for_each(|arrival| self.send_to_hub(number, arrival));
            down.into_iter().for_each(|arrival| self.send_to_node(number, arrival));
        }
    }

    fn links_of(&self, index: usize) -> Vec<u32> {
        self.connections.iter().filter(|one| one.node == index).map(|one| one.number).collect()
    }
}
