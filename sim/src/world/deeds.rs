//! What befalls nodes: they start, crash, stand still, go on, are asked to resign.

use std::collections::BTreeMap;
use std::mem;
use std::time::Duration;

use ringleader_shared::id::Name;
use ringleader_shared::machine::Input;

use super::{Arrival, Cast, HubTimer, Life, Node, NodeTimer, SILENCE, World};
use crate::member;
use crate::trace::{Deed, What};

/// What befalls nodes. Each says no where it makes no sense.
impl World {
    /// Starts a node.
    pub fn start(&mut self, cast: Cast) -> bool {
        let name = cast.name.clone();
        let added = self.add(cast);
        if added {
            self.report(What::Deed { node: name, deed: Deed::Starts });
        }
        added
    }

    fn add(&mut self, cast: Cast) -> bool {
        let Cast { name, member, start_delay } = cast;
        if self.nodes.iter().any(|node| node.name == name) {
            return false;
        }
        let (fresh, timers, life) = (member.clone(), BTreeMap::new(), Life::Up);
        self.nodes.push(Node { name, member, fresh, id: None, connected_before: 0, timers, start_delay, life });
        self.set_node_timer(self.nodes.len() - 1, NodeTimer::Connect, Duration::ZERO);
        true
    }

    /// Starts nodes that are members as soon as they are there: so a ring begins, in
    /// the order in which its members are called up.
    pub fn seat(&mut self, casts: Vec<Cast>) -> bool {
        let members = self.relay.members().count() + casts.len();
        let added = casts.into_iter().all(|cast| self.add(cast));
        let leg = mem::replace(&mut self.leg, Duration::ZERO..Duration::ZERO);
        while added && self.relay.members().count() < members && self.step() {}
        self.leg = leg;
        added
    }

    /// Starts a node that had crashed. It has forgotten everything.
    pub fn restart(&mut self, name: &Name) -> bool {
        let Some(index) = self.find(name, |life| matches!(life, Life::Down)) else { return false };
        let node = &mut self.nodes[index];
        (node.member, node.life) = (node.fresh.clone(), Life::Up);
        self.report(What::Deed { node: name.clone(), deed: Deed::Starts });
        self.set_node_timer(index, NodeTimer::Connect, Duration::ZERO);
        true
    }

    /// Ends a node's program. Its connection closes.
    pub fn crash(&mut self, name: &Name) -> bool {
        let Some(index) = self.find(name, |life| !matches!(life, Life::Down)) else { return false };
        self.report(What::Deed { node: name.clone(), deed: Deed::Crashes });
        let node = &mut self.nodes[index];
        node.life = Life::Down;
        for (_, slot) in mem::take(&mut node.timers) {
            self.agenda.cancel(slot);
        }
        if let Some(id) = node.id.take() {
            self.send_to_hub(&id, Arrival::Closed);
            self.connections.remove(&id);
            self.cancel_hub_timer(&HubTimer::Silent(id));
        }
        true
    }

    /// Makes a node's program stand still.
    pub fn pause(&mut self, name: &Name) -> bool {
        let Some(index) = self.find(name, |life| matches!(life, Life::Up)) else { return false };
        self.report(What::Deed { node: name.clone(), deed: Deed::Pauses });
        self.nodes[index].life = Life::Paused { waiting: vec![] };
        if let Some(id) = self.nodes[index].id.clone() {
            self.set_hub_timer(HubTimer::Silent(id), SILENCE);
        }
        true
    }

    /// Makes a paused node go on, with everything that waits for it.
    pub fn wake(&mut self, name: &Name) -> bool {
        let Some(index) = self.find(name, |life| matches!(life, Life::Paused { .. })) else { return false };
        self.report(What::Deed { node: name.clone(), deed: Deed::Wakes });
        if let Some(id) = self.nodes[index].id.clone() {
            self.cancel_hub_timer(&HubTimer::Silent(id));
        }
        if let Life::Paused { waiting } = mem::replace(&mut self.nodes[index].life, Life::Up) {
            for (slot, due) in waiting {
                self.happen(slot, due);
            }
        }
        true
    }

    /// Asks a node to give up leading.
    pub fn resign(&mut self, name: &Name) -> bool {
        let Some(index) = self.find(name, |life| matches!(life, Life::Up)) else { return false };
        self.report(What::Deed { node: name.clone(), deed: Deed::Resigns });
        self.tell_node(index, Input::Event(member::Event::Resign));
        true
    }

    fn find(&self, name: &Name, alive: impl Fn(&Life) -> bool) -> Option<usize> {
        self.nodes.iter().position(|node| node.name == *name && alive(&node.life))
    }
}
