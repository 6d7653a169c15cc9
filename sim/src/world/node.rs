//! Places where programs run: their timers, their clocks, and their leases as an
//! onlooker sees them.

use std::ops::Range;
use std::time::Duration;

use ringleader_shared::election::eligible_array::{Hub, Timer};
use ringleader_shared::id::{Name, Term};
use ringleader_shared::machine::{Effect, Input, Machine};

use super::{Arrival, Due, Slot, World, by_clock};
use crate::member::Member;
use crate::plant::{Plant, Slip};
use crate::trace::What;

/// How long a node waits before it connects again.
pub(crate) const RECONNECT: Range<Duration> = Duration::from_millis(100)..Duration::from_millis(300);

/// How a node begins.
#[derive(Debug, Clone)]
pub struct Cast {
    /// What people call it; the ids that the hub gives it begin with this.
    pub name: Name,
    /// What runs on it.
    pub member: Member,
    /// When its first election is due, from its welcome on, where that is not left to chance.
    pub start_delay: Option<Duration>,
    /// How fast its clock runs.
    pub clock: f64,
}

/// A place where a program runs.
#[derive(Debug)]
pub(super) struct Node {
    pub name: Name,
    pub member: Member,
    /// How it begins, to begin again so.
    pub fresh: Member,
    /// Its connection, if it has one as far as it knows: [`Connection::number`](super::Connection::number).
    pub link: Option<u32>,
    pub connected_before: u32,
    pub timers: Vec<(NodeTimer, Slot)>,
    pub start_delay: Option<Duration>,
    pub clock: f64,
    pub life: Life,
    /// What does not arrive: at the hub, and here.
    pub cut_up: bool,
    pub cut_down: bool,
    /// It takes nothing of what the hub has for it.
    pub clogged: bool,
    /// How long its frames take at most, each way, where that is longer than others'.
    pub lag: Option<Duration>,
    /// The lease that it was last seen with: its term, and when it ends.
    pub lease: Option<(Term, Option<Duration>)>,
}

#[derive(Debug)]
pub(super) enum Life {
    Up,
    /// What happens to it has to wait.
    Paused {
        arrived: Vec<(u32, Arrival)>,
        due: Vec<Slot>,
    },
    /// It has neither timers nor a connection.
    Down,
    /// The same, for ever.
    Retired,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum NodeTimer {
    Member(Timer),
    Connect,
}

impl Node {
    pub fn new(cast: Cast, plant: Option<Plant>) -> Self {
        let member = cast.member.breaking(plant.and_then(Plant::rule));
        Node {
            name: cast.name,
            fresh: member.clone(),
            member,
            link: None,
            connected_before: 0,
            timers: vec![],
            start_delay: cast.start_delay,
            clock: cast.clock,
            life: Life::Down,
            cut_up: false,
            cut_down: false,
            clogged: false,
            lag: None,
            lease: None,
        }
    }

    pub fn is_up(&self) -> bool {
        matches!(self.life, Life::Up)
    }

    pub fn runs(&self, timer: Timer) -> bool {
        self.timers.iter().any(|(running, _)| *running == NodeTimer::Member(timer))
    }
}

impl World {
    pub(super) fn on_node_timer(&mut self, index: usize, slot: Slot) {
        let node = &mut self.nodes[index];
        let Some(running) = node.timers.iter().position(|(_, running)| *running == slot) else { return };
        if let Life::Paused { due, .. } = &mut node.life {
            return due.push(slot);
        }
        let (timer, _) = node.timers.swap_remove(running);
        match timer {
            NodeTimer::Member(timer) => self.tell_node(index, Input::Timeout(timer)),
            NodeTimer::Connect => self.connect(index),
        }
    }

    /// Lets a timer run out now, if it runs.
    pub(super) fn run_out(&mut self, index: usize, timer: Timer) {
        let running = self.nodes[index].timers.iter().find(|(running, _)| *running == NodeTimer::Member(timer));
        if let Some(slot) = running.map(|(_, slot)| *slot) {
            self.on_node_timer(index, slot);
        }
    }

    pub(super) fn tell_node(&mut self, index: usize, input: Input<Member>) {
        let node = &mut self.nodes[index];
        let effects = node.member.handle(input);
        node.member.check();
        for effect in effects {
            match effect {
                Effect::Send { to: Hub, message } => {
                    if let Some(link) = self.nodes[index].link {
                        self.send_to_hub(link, Arrival::Frame(message));
                    }
                }
                Effect::SetTimer { timer, after } => {
                    let fixed = self.nodes[index].start_delay.take_if(|_| timer == Timer::Campaign);
                    let after = fixed.unwrap_or_else(|| self.draw(&after));
                    self.set_node_timer(index, NodeTimer::Member(timer), after);
                }
                Effect::CancelTimer(timer) => {
                    if !self.slips(Slip::CancelledTimersFire) {
                        self.nodes[index].timers.retain(|(other, _)| *other != NodeTimer::Member(timer));
                    }
                }
                Effect::Save(never) => match never {},
                Effect::Report(report) => {
                    let (node, id) = (self.nodes[index].name.clone(), self.id_of(index).cloned());
                    self.report(What::Node { node, id, report });
                }
            }
        }
        self.look_at_lease(index);
    }

    pub(super) fn set_node_timer(&mut self, index: usize, timer: NodeTimer, after: Duration) {
        let node = &mut self.nodes[index];
        let slot = self.agenda.plan(self.agenda.now() + by_clock(after, node.clock), Due::NodeTimer(index));
        match node.timers.iter_mut().find(|(other, _)| *other == timer) {
            Some((_, running)) => *running = slot,
            None => node.timers.push((timer, slot)),
        }
    }

    /// Tells when a node's lease is another than before.
    pub(super) fn look_at_lease(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        // Most of what happens happens to nodes that do not lead.
        let belief = match node.member.lease_end() {
            None if node.lease.is_none() && self.setting.relay.lease.is_some() => return,
            _ => node.member.belief(),
        };
        let end = node.member.lease_end().map(NodeTimer::Member);
        let runs_until = node.timers.iter().find(|(timer, _)| Some(*timer) == end).map(|(_, slot)| slot.at);
        let lease = belief.may_act.then_some((belief.term, runs_until));
        if lease == node.lease {
            return;
        }
        node.lease = lease;
        let node = node.name.clone();
        match lease {
            Some((term, until)) => {
                let by_lease = self.setting.relay.lease.is_some();
                self.report(What::Leased { node, term, until, by_lease });
                self.plan_write(index, term);
            }
            None => self.report(What::Idle { node }),
        }
    }
}
