//! The place where the relay runs: its timers, its store, its ends and beginnings.

use std::mem;
use std::time::Duration;

use ringleader_shared::machine::{Effect, Input, Machine};
use ringleader_shared::relay::{self, Relay, Saved, Timer};

use super::{Arrival, Due, Setting, Slot, World, by_clock};
use crate::plant::{Plant, Slip};
use crate::trace::What;

/// The hub.
#[derive(Debug)]
pub(super) struct Hub {
    /// `None` while its program does not run.
    relay: Option<Relay>,
    timers: Vec<(Timer, Slot)>,
    saved: Saved,
    /// When it saves the next time, it loses power after so many effects.
    pub fuse: Option<u8>,
}

impl Hub {
    pub fn new(setting: &Setting) -> Self {
        let relay = Relay::new(setting.relay.clone()).breaking(setting.plant.and_then(Plant::rule));
        Hub { relay: Some(relay), timers: vec![], saved: Saved::default(), fuse: None }
    }

    pub fn relay(&self) -> Option<&Relay> {
        self.relay.as_ref()
    }
}

impl World {
    pub(super) fn tell_hub(&mut self, input: Input<Relay>) {
        let Some(relay) = &mut self.hub.relay else { return };
        let effects = relay.handle(input);
        relay.check();
        self.perform_hubs(effects);
    }

    fn perform_hubs(&mut self, mut effects: Vec<Effect<Relay>>) {
        if self.slips(Slip::SavedAfterSaid) {
            effects.sort_by_key(|effect| matches!(effect, Effect::Save(_)));
        }
        let mut fuse = self.hub.fuse.filter(|_| effects.iter().any(|effect| matches!(effect, Effect::Save(_))));
        for effect in effects {
            if fuse == Some(0) {
                self.report(What::PowerLost);
                return self.end_hub(false);
            }
            let told = matches!(effect, Effect::Report(_));
            fuse = fuse.map(|fuse| fuse - u8::from(!told));
            match effect {
                Effect::Send { to, message } => {
                    let to = self.connections.iter().find(|connection| connection.id == to && connection.at_hub);
                    if let Some(link) = to.map(|connection| connection.number) {
                        self.send_to_node(link, Arrival::Frame(message));
                    }
                }
                Effect::SetTimer { timer, after } => {
                    let after = self.draw(&after);
                    let slot =
                        self.agenda.plan(self.agenda.now() + by_clock(after, self.setting.hub_clock), Due::HubTimer);
                    match self.hub.timers.iter_mut().find(|(other, _)| *other == timer) {
                        Some((_, running)) => *running = slot,
                        None => self.hub.timers.push((timer, slot)),
                    }
                }
                Effect::CancelTimer(timer) => {
                    if !self.slips(Slip::CancelledTimersFire) {
                        self.hub.timers.retain(|(other, _)| *other != timer);
                    }
                }
                Effect::Save(saved) => self.hub.saved = saved,
                Effect::Report(report) => self.report(What::Hub(report)),
            }
        }
    }

    pub(super) fn on_hub_timer(&mut self, slot: Slot) {
        let Some(running) = self.hub.timers.iter().position(|(_, running)| *running == slot) else { return };
        let (timer, _) = self.hub.timers.swap_remove(running);
        self.tell_hub(Input::Timeout(timer));
    }

    /// Ends the hub's program. Where that is all that ends, its connections close.
    pub(super) fn end_hub(&mut self, goodbye: bool) {
        (self.hub.relay, self.hub.fuse) = (None, None);
        self.hub.timers.clear();
        let links: Vec<u32> = self.connections.iter().filter(|one| one.at_hub).map(|one| one.number).collect();
        for link in links {
            if goodbye {
                self.send_to_node(link, Arrival::Closed);
            }
            self.close_at_hub(link);
        }
    }

    /// Starts the hub's program.
    pub(super) fn begin_hub(&mut self, store: bool) {
        let saved = mem::take(&mut self.hub.saved);
        let config = self.setting.relay.clone();
        let broken = self.setting.plant.and_then(Plant::rule);
        if !store || self.slips(Slip::SavesLost) {
            self.hub.relay = Some(Relay::new(config).breaking(broken));
            return;
        }
        let lease_out = saved.lease_out && !self.slips(Slip::LeaseForgotten);
        self.hub.saved = Saved { lease_out, ..saved };
        let (relay, effects) = Relay::restore(config, self.hub.saved);
        self.hub.relay = Some(relay.breaking(broken));
        self.perform_hubs(effects);
    }

    /// How many members the ring has.
    pub(super) fn count_members(&self) -> usize {
        self.hub.relay().map_or(0, |relay| relay.members().count())
    }

    pub(super) fn hubs_time(&self, shown: Duration) -> Duration {
        self.agenda.now() + by_clock(shown, self.setting.hub_clock)
    }

    pub(super) fn lose_connection(&mut self, link: u32, departure: relay::Departure) {
        let Some(id) = self.connection(link).map(|connection| connection.id.clone()) else { return };
        self.close_at_hub(link);
        self.tell_hub(Input::Event(relay::Event::Left { id, departure }));
    }
}
