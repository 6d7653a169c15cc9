//! What befalls nodes and the hub.

use std::mem;
use std::time::Duration;

use ringleader_shared::election::Role;
use ringleader_shared::election::eligible_array::Timer;
use ringleader_shared::machine::Input;

use super::link::WRITE_DEADLINE;
use super::node::{Cast, Life, Node, NodeTimer};
use super::{Arrival, Due, World};
use crate::member::{self, Member};
use crate::trace::{Deed, HubDeed, Way, What};

impl World {
    /// Adds a node that has not started yet; no, where there is one of this name.
    pub fn enrol(&mut self, cast: Cast) -> bool {
        let is_new = self.index(&cast.name).is_none();
        if is_new {
            self.nodes.push(Node::new(cast, self.setting.plant));
        }
        is_new
    }

    /// Starts nodes that are members as soon as they are there: so a ring begins, in
    /// the order in which its members are called up.
    pub fn seat(&mut self, casts: Vec<Cast>) -> bool {
        let members = self.count_members() + casts.len();
        let added = casts.into_iter().all(|cast| {
            let added = self.enrol(cast);
            if added {
                self.begin(self.nodes.len() - 1);
            }
            added
        });
        let leg = mem::replace(&mut self.setting.leg, Duration::ZERO..Duration::ZERO);
        while added && self.count_members() < members && self.step() {}
        self.setting.leg = leg;
        added
    }

    /// Keeps a node that has not started from ever starting.
    pub fn retire(&mut self, index: usize) {
        self.nodes[index].life = Life::Retired;
    }

    /// Whether a deed can be done to a node.
    pub fn can(&self, index: usize, deed: Deed) -> bool {
        let node = &self.nodes[index];
        let (down, cut) = (matches!(node.life, Life::Down), (node.cut_up, node.cut_down));
        match deed {
            Deed::Starts => down,
            Deed::Crashes | Deed::Vanishes => node.is_up() || matches!(node.life, Life::Paused { .. }),
            Deed::Leaves | Deed::Pauses => node.is_up(),
            Deed::Resigns => node.is_up() && node.member.belief().role == Role::Leader,
            Deed::Suspects => node.is_up() && node.runs(Timer::Check),
            Deed::Wakes => matches!(node.life, Life::Paused { .. }),
            Deed::Cut(Way::Up) => !cut.0,
            Deed::Cut(Way::Down) => !cut.1,
            Deed::Cut(Way::Both) => cut != (true, true),
            Deed::Heals => cut != (false, false),
            Deed::IsForgotten => self.link_of(index).is_some_and(|link| link.at_hub),
            Deed::Forgets => node.is_up() && node.link.is_some(),
            Deed::StopsReading => {
                node.is_up() && !cut.1 && !node.clogged && self.link_of(index).is_some_and(|link| link.at_hub)
            }
            Deed::Lags(_) => node.lag.is_none(),
            Deed::CatchesUp => node.lag.is_some(),
        }
    }

    /// Does something to a node; no, where it makes no sense.
    pub fn perform(&mut self, index: usize, deed: Deed) -> bool {
        if !self.can(index, deed) {
            return false;
        }
        self.report(What::Deed { node: self.nodes[index].name.clone(), deed });
        match deed {
            Deed::Starts => self.begin(index),
            Deed::Crashes => self.end(index, true),
            Deed::Vanishes => self.end(index, false),
            Deed::Leaves => {
                self.tell_node(index, Input::Event(member::Event::Resign));
                self.end(index, true);
            }
            Deed::Resigns => self.tell_node(index, Input::Event(member::Event::Resign)),
            Deed::Pauses => {
                self.nodes[index].life = Life::Paused { arrived: vec![], due: vec![] };
                self.listen_to(index);
            }
            Deed::Suspects => {
                // It checks, and does not wait for the answer.
                self.run_out(index, Timer::Check);
                self.run_out(index, Timer::CheckTimeout);
            }
            Deed::Wakes => self.wake(index),
            Deed::Cut(way) => {
                let node = &mut self.nodes[index];
                node.cut_up |= way != Way::Down;
                node.cut_down |= way != Way::Up;
                self.listen_to(index);
            }
            Deed::Heals => {
                let node = &mut self.nodes[index];
                (node.cut_up, node.cut_down) = (false, false);
                self.release(index);
                self.listen_to(index);
            }
            Deed::IsForgotten => {
                if let Some(link) = self.nodes[index].link {
                    self.lose_connection(link, self.lost());
                }
            }
            Deed::Forgets => {
                if let Some(link) = self.nodes[index].link {
                    self.disconnect(link);
                }
            }
            Deed::StopsReading => {
                self.nodes[index].clogged = true;
                if let Some(link) = self.nodes[index].link {
                    self.agenda.plan(self.hubs_time(WRITE_DEADLINE), Due::TooSlow(link));
                }
            }
            Deed::Lags(millis) => self.nodes[index].lag = Some(Duration::from_millis(millis.into())),
            Deed::CatchesUp => self.nodes[index].lag = None,
        }
        true
    }

    /// Does something to the hub; no, where it makes no sense.
    pub fn perform_on_hub(&mut self, deed: HubDeed) -> bool {
        let runs = self.hub.relay().is_some();
        let can = match deed {
            HubDeed::Crashes | HubDeed::Vanishes | HubDeed::VanishesSaving { .. } => runs,
            HubDeed::Starts | HubDeed::StartsEmpty => !runs,
            HubDeed::Calm => true,
        };
        if !can {
            return false;
        }
        self.report(What::HubDeed(deed));
        match deed {
            HubDeed::Crashes => self.end_hub(true),
            HubDeed::VanishesSaving { after } => self.hub.fuse = Some(after),
            HubDeed::Vanishes => self.end_hub(false),
            HubDeed::Starts => self.begin_hub(true),
            HubDeed::StartsEmpty => self.begin_hub(false),
            HubDeed::Calm => self.calm(),
        }
        true
    }

    /// Everything runs and is connected. Who lies in every way is gone.
    fn calm(&mut self) {
        self.hub.fuse = None;
        self.perform_on_hub(HubDeed::Starts);
        for index in 0..self.nodes.len() {
            self.perform(index, Deed::Heals);
            self.perform(index, Deed::CatchesUp);
            self.perform(index, Deed::Wakes);
            if mem::take(&mut self.nodes[index].clogged) {
                self.release(index);
            }
            let lies = matches!(&self.nodes[index].member, Member::Liar(liar) if liar.is_a_fault());
            self.perform(index, if lies { Deed::Crashes } else { Deed::Starts });
        }
    }

    fn begin(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        (node.member, node.life) = (node.fresh.clone(), Life::Up);
        self.set_node_timer(index, NodeTimer::Connect, Duration::ZERO);
    }

    fn end(&mut self, index: usize, goodbye: bool) {
        let node = &mut self.nodes[index];
        node.life = Life::Down;
        node.timers.clear();
        if node.lease.take().is_some() {
            let node = node.name.clone();
            self.report(What::Idle { node });
        }
        if let Some(link) = self.nodes[index].link {
            if goodbye {
                self.send_to_hub(link, Arrival::Closed);
            }
            self.close_at_node(link);
        }
    }

    /// What the hub said comes first, as in the client's driver; then what is due. But
    /// before it knows better, its program does what it was about to do.
    fn wake(&mut self, index: usize) {
        let Life::Paused { arrived, due } = mem::replace(&mut self.nodes[index].life, Life::Up) else { return };
        self.listen_to(index);
        if let Some((term, _)) = self.nodes[index].lease
            && self.setting.writes
        {
            self.on_write(index, term);
        }
        for (link, arrival) in arrived {
            self.on_arrival_at_node(link, arrival);
        }
        for slot in due {
            self.on_node_timer(index, slot);
        }
    }

    fn link_of(&self, index: usize) -> Option<&super::Connection> {
        self.connection(self.nodes[index].link?)
    }
}
