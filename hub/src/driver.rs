//! The task that owns a ring's relay: it tells the relay what happens, one thing
//! at a time, and performs the effects.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ringleader_shared::factorial::message::Said;
use ringleader_shared::id::{ClientId, Name, RingName, Term};
use ringleader_shared::machine::{Effect, Input, Machine};
use ringleader_shared::message::Member;
use ringleader_shared::relay::{self, Departure, Event, Relay, Report, Why};
use ringleader_shared::wire::{self, Application, Body, Frame, Relayed, RingChanged};
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, trace, warn};

use crate::Config;
use crate::jobs::Jobs;
use crate::keeper::Keeper;
use crate::outbox::Outbox;
use crate::timers::Timers;

/// How many things may be taken in before spectators are told of the ring.
const BATCH: usize = 256;

/// What a ring's task is told.
pub enum Happening {
    /// A WebSocket is open.
    Connected {
        /// Its id, newly drawn.
        id: ClientId,
        /// Where to put what is for it.
        outbox: Arc<Outbox>,
        /// Whether it may become a member.
        may_join: bool,
        /// Whether it wants to see what spectators see until it joins.
        watches: bool,
    },
    /// It sent a text.
    Frame { id: ClientId, text: Utf8Bytes },
    /// It is gone.
    Left { id: ClientId, departure: Departure },
    /// The leader has to hear something of its ring's jobs.
    Tell { to: ClientId, term: Term, said: Said },
    /// Somebody wants to know.
    Asked(oneshot::Sender<Snapshot>),
}

/// A ring at one moment.
pub struct Snapshot {
    /// As spectators are told.
    pub ring: RingChanged,
    /// Since when each member is one, in the same order.
    pub joined: Vec<Instant>,
}

struct Driver {
    name: RingName,
    relay: Relay,
    timers: Timers,
    outboxes: HashMap<ClientId, Arc<Outbox>>,
    /// Those of them that are shown what goes on.
    spectators: HashMap<ClientId, Arc<Outbox>>,
    /// Since when each member is one, and what it is called.
    joined: HashMap<ClientId, (Instant, Option<Name>)>,
    leader: Option<(ClientId, Term)>,
    /// Told who leads, and who comes and goes.
    jobs: Jobs,
    /// Whether spectators have yet to be told of the ring as it is.
    changed: bool,
    /// Frames handed on so far.
    seq: u64,
    keeper: Keeper,
}

/// Drives a ring until nobody can reach it any more, or the hub ends.
pub async fn run(
    name: RingName,
    config: Config,
    jobs: Jobs,
    mut inbox: mpsc::Receiver<Happening>,
    pristine: Arc<AtomicBool>,
    shutdown: CancellationToken,
) {
    // A disk that does not answer must not keep the hub from ending.
    let Some(mut driver) = shutdown.run_until_cancelled(Driver::begin(name, &config, jobs)).await else { return };
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            // What comes after the end, such as everybody's leaving, is not taken in.
            biased;
            () = shutdown.cancelled() => return driver.keeper.save(driver.relay.last_will()).await,
            timer = driver.timers.next() => driver.feed(Input::Timeout(timer)).await,
            count = inbox.recv_many(&mut batch, BATCH) => {
                if count == 0 {
                    return;
                }
                for happening in batch.drain(..) {
                    driver.on_happening(happening).await;
                }
            }
        }
        driver.show_ring();
        pristine.store(driver.relay.is_pristine(), Ordering::Release);
    }
}

impl Driver {
    /// A ring that nobody is in yet, as it was saved if it was.
    async fn begin(name: RingName, config: &Config, jobs: Jobs) -> Self {
        let mut keeper = Keeper::new(name.clone(), config.store.clone());
        let saved = keeper.load().await;
        let (relay, effects) = Relay::restore(
            relay::Config {
                ring: name.clone(),
                routing: config.routing,
                hop_timeout: config.limits.hop_timeout,
                max_members: config.limits.members,
                lease: Some(config.lease),
            },
            saved,
        );
        let mut driver = Driver {
            name,
            relay,
            timers: Timers::default(),
            outboxes: HashMap::new(),
            spectators: HashMap::new(),
            joined: HashMap::new(),
            leader: None,
            jobs,
            changed: false,
            seq: 0,
            keeper,
        };
        driver.perform(effects).await;
        driver
    }

    async fn on_happening(&mut self, happening: Happening) {
        match happening {
            Happening::Connected { id, outbox, may_join, watches } => {
                self.outboxes.insert(id.clone(), outbox.clone());
                self.feed(Input::Event(Event::Connected { id: id.clone(), may_join })).await;
                if watches {
                    self.spectators.insert(id, outbox);
                }
            }
            Happening::Frame { id, text } => {
                self.feed(Input::Message { from: id, message: text.as_str().into() }).await;
            }
            Happening::Left { id, departure } => {
                self.outboxes.remove(&id);
                self.spectators.remove(&id);
                self.feed(Input::Event(Event::Left { id, departure })).await;
            }
            Happening::Tell { to, term, said } => self.tell_leader(to, term, &said),
            Happening::Asked(reply) => {
                let ring = self.relay.snapshot();
                let now = Instant::now();
                let since = |member: &Member| self.joined.get(&member.client_id).map_or(now, |(since, _)| *since);
                let joined = ring.members.iter().map(since).collect();
                // Whoever asked may have gone away meanwhile.
                let _ = reply.send(Snapshot { ring, joined });
            }
        }
    }

    /// What was meant for a leader that is none any more is for nobody.
    fn tell_leader(&mut self, to: ClientId, term: Term, said: &Said) {
        if self.leader.as_ref() != Some(&(to.clone(), term)) {
            return;
        }
        let body = match serde_json::value::to_raw_value(said) {
            Ok(body) => body,
            Err(error) => return warn!(ring = self.name.as_str(), "what the leader has to hear is no JSON: {error}"),
        };
        let message = Application { destination_id: to.clone(), term, body };
        let frame = wire::encode::<()>(&Frame { sender_id: None, client_id: None, body: Body::Message(message) });
        if let Some(outbox) = self.outboxes.get(&to) {
            outbox.push(frame.as_str().into());
        }
        self.show(None, to, &frame);
    }

    async fn feed(&mut self, input: Input<Relay>) {
        let effects = self.relay.handle(input);
        self.perform(effects).await;
    }

    async fn perform(&mut self, effects: Vec<Effect<Relay>>) {
        for effect in effects {
            match effect {
                Effect::Send { to, message } => {
                    if let Some(outbox) = self.outboxes.get(&to) {
                        outbox.push((&*message).into());
                    }
                }
                // The relay leaves nothing to chance: its ranges are empty.
                Effect::SetTimer { timer, after } => self.timers.set(timer, after.start),
                Effect::CancelTimer(timer) => self.timers.cancel(&timer),
                Effect::Save(saved) => self.keeper.save(saved).await,
                Effect::Report(report) => self.on_report(report),
            }
        }
    }

    fn on_report(&mut self, report: Report) {
        let ring = self.name.as_str();
        match report {
            Report::Joined(member) => {
                self.spectators.remove(&member.client_id);
                self.joined.insert(member.client_id.clone(), (Instant::now(), member.name.clone()));
                info!(ring, id = %member.client_id, name = name(&member), rank = rank(&member), "joined");
                self.jobs.joined(member.client_id);
            }
            Report::Left(member) => {
                self.joined.remove(&member.client_id);
                info!(ring, id = %member.client_id, name = name(&member), "left");
                self.jobs.left(member.client_id);
            }
            Report::Changed => self.changed = true,
            Report::Relayed { from, to, frame } => self.show(from, to, &frame),
            Report::Opened { term, initiator } => {
                info!(ring, %term, %initiator, name = self.called(&initiator), "election started");
            }
            Report::Elected { leader, term } => {
                info!(ring, %term, %leader, name = self.called(&leader), "elected");
                // The relay reports this before it sends the announcement to anybody.
                self.jobs.leads(Some((leader.clone(), term)));
                self.leader = Some((leader, term));
            }
            Report::Closed { term, why: Why::Left } => warn!(ring, %term, "election over: its initiator left"),
            Report::Closed { term, why: Why::Stalled } => {
                warn!(ring, %term, "election over: its initiator announced nobody in time");
            }
            // The refusal is logged, with its reason.
            Report::Closed { term, why: Why::Refused } => debug!(ring, %term, "election over"),
            Report::LeaderLeft(left) => {
                info!(ring, term = %left.term, leader = %left.leader_id, resigned = left.resigned, "leader left");
                self.jobs.leads(None);
                self.leader = None;
            }
            Report::Repaired { token, holder, why } => {
                let why = if why == Why::Left { "left" } else { "kept it too long" };
                warn!(ring, %holder, name = self.called(&holder), "{token} handed on: its holder {why}");
            }
            Report::Absorbed { from, method, why } => debug!(ring, %from, method, "absorbed: {why}"),
            Report::Refused { from, error } => warn!(ring, %from, code = ?error.code, "refused: {}", error.message),
        }
    }

    fn called(&self, id: &ClientId) -> Option<&str> {
        self.joined.get(id)?.1.as_ref().map(Name::as_str)
    }

    /// Shows spectators a frame that was handed on.
    fn show(&mut self, from: Option<ClientId>, to: ClientId, frame: &str) {
        self.seq += 1;
        let seq = self.seq;
        trace!(ring = self.name.as_str(), seq, from = from.as_ref().map(ClientId::as_str), %to, "{frame}");
        if self.spectators.is_empty() {
            return;
        }
        // So that nobody sees a frame go to a member that it has not heard of.
        self.show_ring();
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        match RawValue::from_string(frame.to_owned()) {
            Ok(frame) => self.tell_spectators(Body::Relayed(Relayed { seq, at, from, to, frame })),
            Err(error) => warn!(ring = self.name.as_str(), "a frame that is no JSON was relayed: {error}"),
        }
    }

    fn show_ring(&mut self) {
        if std::mem::take(&mut self.changed) && !self.spectators.is_empty() {
            self.tell_spectators(Body::RingChanged(self.relay.snapshot()));
        }
    }

    /// One text, encoded once and shared by all of them.
    fn tell_spectators(&self, body: Body<()>) {
        let text: Utf8Bytes = wire::encode(&Frame { sender_id: None, client_id: None, body }).into();
        for outbox in self.spectators.values() {
            outbox.push(text.clone());
        }
    }
}

fn name(member: &Member) -> Option<&str> {
    member.name.as_ref().map(Name::as_str)
}

fn rank(member: &Member) -> Option<String> {
    member.rank.map(|rank| rank.to_string())
}
