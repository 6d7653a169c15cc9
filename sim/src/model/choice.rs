//! What can happen next, and whether all is well.
//!
//! Frames take any time they like, and come in order on each connection. Time itself is
//! only this: a timer is longer than frames take. So it runs out when nothing is on its
//! way, or early, which counts as a fault; and one of five seconds runs out after one of
//! one, and after whoever is silent was closed.

use ringleader_shared::election::Role;
use ringleader_shared::election::eligible_array::Timer;
use ringleader_shared::relay;

use super::graph::Kind;
use super::keep::Kept;
use super::state::{Faults, Life, Link, NodeSide, Patience, State};
use crate::member::Member;

/// What can happen next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The hub takes in what is next on this connection, an index of [`State::links`].
    AtHub(usize),
    /// The node does.
    AtNode(usize),
    /// One of the hub's timers runs out.
    HubTimer(relay::Timer, When),
    /// One of a node's timers runs out.
    NodeTimer(usize, Timer, When),
    /// A node connects to the hub.
    Connect(usize),
    /// The hub closes a connection whose node is silent.
    Evict(usize),
    /// A node's program ends.
    Crash(usize),
    /// It starts again.
    Restart(usize),
    /// A node stands still.
    Pause(usize),
    /// It goes on.
    Wake(usize),
    /// The hub's program ends, and starts again.
    HubRestart,
}

/// When a timer runs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// When nothing else is left to wait for.
    InTime,
    /// While there is; see [`Faults::early_timeouts`].
    Early,
}

impl Action {
    /// What an action is to those who ask whether all ends well.
    pub(super) fn kind(&self) -> Kind {
        match self {
            Action::AtHub(_) | Action::AtNode(_) | Action::HubTimer(_, When::InTime) => Kind::Moves,
            Action::NodeTimer(_, _, When::InTime) | Action::Connect(_) | Action::Evict(_) => Kind::Goes,
            _ => Kind::Fault,
        }
    }
}

/// What can happen.
impl State {
    /// All that can.
    pub(super) fn actions(&self, actions: &mut Vec<Action>) {
        if let Some(at) = self.links.iter().position(|link| self.may_go_first(link)) {
            return actions.push(Action::AtNode(at));
        }
        let quiet = self.is_quiet();
        let may_be_early = self.left.early_timeouts > 0;
        for (at, link) in self.links.iter().enumerate() {
            if !link.to_hub.is_empty() {
                actions.push(Action::AtHub(at));
            }
            if !link.to_node.is_empty() && self.nodes[link.node].life == Life::Up {
                actions.push(Action::AtNode(at));
            }
            if self.is_silent(link) {
                actions.push(Action::Evict(at));
            }
        }
        let when = |in_time: bool| if in_time { Some(When::InTime) } else { may_be_early.then_some(When::Early) };
        for timer in &self.hub.timers {
            actions.extend(when(quiet).map(|when| Action::HubTimer(timer.clone(), when)));
        }
        // What runs for five seconds runs out after what runs for one, and after silence.
        let nothing_sooner = quiet && self.hub.timers.is_empty();
        let nothing_at_all = nothing_sooner && !self.links.iter().any(|link| self.is_silent(link));
        for (at, node) in self.nodes.iter().enumerate() {
            match node.life {
                Life::Up => {
                    if node.id.is_none() {
                        actions.push(Action::Connect(at));
                    }
                    for (timer, patience) in &node.timers {
                        let in_time = match (timer, patience) {
                            (_, Patience::None) => true,
                            (Timer::Check, _) => nothing_sooner && !node.asks() && self.nobody_is_silent_for_long(),
                            _ => nothing_at_all,
                        };
                        actions.extend(when(in_time).map(|when| Action::NodeTimer(at, *timer, when)));
                    }
                    if self.left.pauses > 0 && node.id.is_some() {
                        actions.push(Action::Pause(at));
                    }
                }
                Life::Paused => actions.push(Action::Wake(at)),
                Life::Down => actions.push(Action::Restart(at)),
            }
            if self.left.crashes > 0 && node.life != Life::Down {
                actions.push(Action::Crash(at));
            }
        }
        if self.left.hub_restarts > 0 {
            actions.push(Action::HubRestart);
        }
    }

    /// Whether what is next for this node may as well come first, now that nothing more can
    /// go wrong: whatever else can happen, happens as well after it, and comes to the same.
    fn may_go_first(&self, link: &Link) -> bool {
        let node = &self.nodes[link.node];
        let may_run_out = |patience: &Patience| *patience == Patience::None || self.left.early_timeouts > 0;
        !link.to_node.is_empty()
            && node.life == Life::Up
            && self.left == Faults { early_timeouts: self.left.early_timeouts, ..Faults::default() }
            && !node.timers.values().any(may_run_out)
    }

    /// Whether nothing is on its way to anybody who runs.
    fn is_quiet(&self) -> bool {
        self.links.iter().all(|link| {
            link.to_hub.is_empty() && (link.to_node.is_empty() || self.nodes[link.node].life == Life::Paused)
        })
    }

    /// Whether the hub hears nothing of a connection that it has.
    fn is_silent(&self, link: &Link) -> bool {
        link.hub_open && link.node_open && self.nodes[link.node].life == Life::Paused
    }

    /// Silence lasts three seconds at most and the next check is due after two: so not
    /// many frames come to wait for who stands still, before the hub closes its connection.
    fn nobody_is_silent_for_long(&self) -> bool {
        const WAITING: usize = 2;
        self.links.iter().all(|link| link.to_node.len() < WAITING || !self.is_silent(link))
    }

    /// The nodes that run.
    pub(super) fn live(&self) -> impl Iterator<Item = &Kept<NodeSide>> {
        self.nodes.iter().filter(|node| node.life == Life::Up)
    }

    /// Whether all who run hold the same member for the leader, in the same term; it
    /// too; the hub too; and nothing is on its way. So it is where nobody runs.
    pub fn agrees(&self) -> bool {
        if !self.is_quiet() || !self.hub.timers.is_empty() {
            return false;
        }
        let hub = self.hub.relay.snapshot();
        let mut led = false;
        for node in self.live() {
            let belief = node.member.belief();
            let counts_terms = matches!(node.member, Member::Ours { .. });
            if belief.leader.is_none() || belief.leader != hub.leader_id || (counts_terms && belief.term != hub.term) {
                return false;
            }
            led |= belief.role == Role::Leader;
        }
        led || self.live().next().is_none()
    }

    /// Whether nothing more has to happen. Who follows has a check ahead, so a ring that
    /// goes round without an end is not stuck: see [`super::graph`].
    pub(super) fn is_stuck(&self) -> bool {
        let silent = self.links.iter().any(|link| self.is_silent(link));
        self.is_quiet()
            && self.hub.timers.is_empty()
            && !silent
            && self.live().all(|node| node.id.is_some() && node.timers.is_empty())
    }
}
