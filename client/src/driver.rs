//! The loop that runs the machine: await what happens next, hand it over, do what
//! is to be done. Pings are answered in this same loop, so that a member that
//! hangs also falls silent.

use std::collections::BTreeMap;
use std::time::SystemTime;

use ringleader_shared::election::eligible_array::{EligibleArray, Event, Report, Sent, Timing};
use ringleader_shared::election::{Belief, Role};
use ringleader_shared::factorial::message::Said;
use ringleader_shared::id::{ClientId, Name};
use ringleader_shared::machine::{Effect, Input, Machine};
use ringleader_shared::message::RingMessage;
use ringleader_shared::node::{self, Message, Node, Timer, To};
use ringleader_shared::session::{self, Heard, Introduction, NotAHub};
use ringleader_shared::wire::{Application, DecodeError, ErrorCode, ErrorFrame};
use tokio::sync::{broadcast, oneshot, watch};
use tokio::time::{Duration, Instant, sleep};
use tracing::{debug, info, warn};

use crate::Status;
use crate::timers::Timers;
use crate::transport::hub::{self, HubUrl, Link, Lost, Purpose};
use crate::work::fail::STALL;
use crate::work::{self, Errands, Happening, Work, say};

/// How long a hub may take to welcome us.
const WELCOME: Duration = Duration::from_secs(5);

pub struct Driver {
    machine: Node,
    errands: Errands,
    timers: Timers<Timer>,
    introduction: Introduction,
    timing: Timing,
    status: watch::Sender<Status>,
    changes: broadcast::Sender<Status>,
    /// Frames to send when the effects of an input are performed.
    outgoing: Vec<String>,
    /// Who is called what, as far as the hub said.
    names: BTreeMap<ClientId, Name>,
}

impl Driver {
    pub fn new(
        introduction: Introduction,
        timing: Timing,
        work: &Work,
        errands: Errands,
        status: watch::Sender<Status>,
        changes: broadcast::Sender<Status>,
    ) -> Self {
        let election = EligibleArray::new(introduction.rank, timing.clone());
        let election = if work.never_stands { election.without_standing() } else { election };
        Driver {
            machine: Node::new(election, work.node.clone()),
            errands,
            timers: Timers::new(),
            introduction,
            timing,
            status,
            changes,
            outgoing: vec![],
            names: BTreeMap::new(),
        }
    }

    /// Until told to leave, or until whoever could tell is gone.
    pub async fn run(mut self, hub: HubUrl, mut leave: oneshot::Receiver<()>) {
        loop {
            let mut link = tokio::select! {
                link = Link::keep_trying(&hub, Purpose::Join) => link,
                _ = &mut leave => return,
            };
            let lost = tokio::select! {
                lost = self.serve(&mut link, &hub) => lost,
                _ = &mut leave => {
                    self.leave(link).await;
                    return;
                }
            };
            warn!("{lost}");
            self.feed(Input::Event(Event::Disconnected));
            self.outgoing.clear();
            tokio::select! {
                () = sleep(hub::pause()) => {}
                _ = &mut leave => return,
            }
        }
    }

    /// One connection, to its end.
    async fn serve(&mut self, link: &mut Link, hub: &HubUrl) -> Lost {
        let started = Instant::now();
        let mut welcome = false;
        loop {
            let done = tokio::select! {
                // What the hub says comes first: who wakes after a long sleep learns
                // what has changed before its timers make it act.
                biased;
                text = link.receive() => match text {
                    Ok(text) => self.on_text(&text, &mut welcome, hub),
                    Err(lost) => return lost,
                },
                timer = self.timers.next() => {
                    self.feed(Input::Timeout(timer));
                    Ok(())
                }
                happening = self.errands.next() => {
                    match happening {
                        Happening::Input(input) => self.feed(input),
                        // Nothing is read and no ping answered meanwhile.
                        Happening::Stall => sleep(STALL).await,
                    }
                    Ok(())
                }
                () = sleep(WELCOME.saturating_sub(started.elapsed())), if !welcome => {
                    Err(Lost::Broken(format!("no welcome in {} s: is {hub} a hub?", WELCOME.as_secs())))
                }
            };
            if let Err(lost) = done {
                return lost;
            }
            if !self.outgoing.is_empty()
                && let Err(lost) = link.send(self.outgoing.drain(..)).await
            {
                return lost;
            }
        }
    }

    fn on_text(&mut self, text: &str, welcome: &mut bool, hub: &HubUrl) -> Result<(), Lost> {
        debug!("← {text}");
        match session::hear(text, &self.introduction, self.machine.election().belief().term) {
            Ok(Heard::Welcome { greeting, joined, members }) => {
                *welcome = true;
                self.names = members;
                let Introduction { rank, name } = &self.introduction;
                info!("joined {hub} as {} (name {name}, rank {rank})", joined.me);
                let me = joined.me.clone();
                self.names.insert(me.clone(), name.clone());
                self.status.send_modify(|status| status.client_id = Some(me));
                self.say(greeting);
                self.feed(Input::Event(Event::Joined(joined)));
            }
            Ok(Heard::Input(input)) => {
                if let Input::Message { message: Sent { message: RingMessage::NewLeader(new), .. }, .. } = &input
                    && let Some(name) = &new.leader_name
                {
                    self.names.insert(new.leader_id.clone(), name.clone());
                }
                self.feed(input.into());
            }
            Ok(Heard::Message { from, said }) => self.on_said(from, &said),
            // Whoever a part was for is gone, or it was said too late: others go on with it.
            Ok(Heard::Error(error)) if is_late_message(&error) => debug!("the hub says: {}", error.message),
            Ok(Heard::Error(error)) => warn!("the hub says {:?}: {}", error.code, error.message),
            Ok(Heard::Nothing) => {}
            Err(error) if !*welcome => {
                return Err(Lost::Broken(format!("{hub} does not speak like a hub: {error}")));
            }
            // A newer hub may have more to say than we know.
            Err(NotAHub::Frame(DecodeError::UnknownMethod(method))) => debug!("passed over: unknown method {method:?}"),
            Err(error) => warn!("passed over a frame from the hub: {error}"),
        }
        Ok(())
    }

    /// Resigns, says goodbye, and closes.
    async fn leave(&mut self, mut link: Link) {
        self.feed(Input::Event(Event::Resign));
        if link.send(self.outgoing.drain(..)).await.is_ok() {
            link.close().await;
        }
        self.feed(Input::Event(Event::Disconnected));
        info!("left the ring");
    }

    fn on_said(&mut self, from: Option<ClientId>, said: &Application) {
        let Some((body, input)) = work::understand(from.clone(), said) else { return };
        match (body, from) {
            (Said::Ready { name, .. }, Some(from)) => drop(self.names.insert(from, name)),
            (Said::Left { client_id }, None) => {
                // Told of before it is forgotten.
                self.feed(input);
                self.names.remove(&client_id);
                return;
            }
            _ => {}
        }
        self.feed(input);
    }

    fn feed(&mut self, input: Input<Node>) {
        let effects = self.machine.handle(input);
        self.errands.coordinates(self.machine.coordinates());
        for effect in effects {
            match effect {
                Effect::Send { message: Message::Election(sent), .. } => self.say(session::say(sent)),
                Effect::Send { to: To::Work(to, term), message: Message::Work(message) } => {
                    if let Some(frame) = self.errands.perform(to, term, message) {
                        self.say(frame);
                    }
                }
                Effect::Send { to: To::Hub, message } => debug!("not for the hub: {message:?}"),
                Effect::SetTimer { timer, after } => self.timers.set(timer, after),
                Effect::CancelTimer(timer) => self.timers.cancel(&timer),
                Effect::Save(never) => match never {},
                Effect::Report(report) => self.on_report(report),
            }
        }
        self.note_lease();
    }

    /// Keeps the end of the lease where the program can see it. A renewal is no
    /// change that anybody has to hear of.
    fn note_lease(&mut self) {
        let timer = self.machine.election().lease_end().map(Timer::Election);
        let until = timer.and_then(|timer| self.timers.due(&timer)).map(Instant::into_std);
        self.status.send_if_modified(|status| {
            status.act_until = until;
            false
        });
    }

    fn say(&mut self, text: String) {
        debug!("→ {text}");
        self.outgoing.push(text);
    }

    fn on_report(&mut self, report: node::Report) {
        match report {
            node::Report::Election(report) => self.on_election(report),
            node::Report::Coordinates(Some(term)) => info!("term {term}: coordinating"),
            node::Report::Coordinates(None) => info!("not coordinating any more"),
            node::Report::Coordinator(report) => {
                say::of_coordinator(report, self.machine.coordinates(), |id| self.called(id));
            }
            node::Report::Worker(report) => say::of_worker(report, |id| self.called(id)),
        }
    }

    fn on_election(&mut self, report: Report) {
        match report {
            Report::Believes(belief) => self.on_belief(belief),
            Report::Started => info!("election started"),
            Report::Announced { leader, entries } => {
                info!("my election is home, {entries} took part: announcing {}", self.called(&leader));
            }
            Report::Unanswered { leader } => {
                let waited = humantime::format_duration(self.timing.check_timeout);
                warn!("check unanswered for {waited}: {} counts as gone", self.called(&leader));
            }
            Report::Waits(wait) => {
                let wait = humantime::format_duration(wait);
                info!("elected, and waiting {wait} before acting: the lease of a leader before may still run");
            }
            Report::StoodDown { refused: true } => warn!("the hub refuses the lease: not leading any more"),
            Report::StoodDown { refused: false } => {
                warn!("the hub has not renewed the lease in time: not leading any more")
            }
            Report::LeaderLeft(left) => {
                let how = match (left.resigned, self.timing.early) {
                    (true, _) => "has resigned".into(),
                    (false, true) => "has left the ring".into(),
                    (false, false) => {
                        let check = humantime::format_duration(self.timing.check_interval + self.timing.check_timeout);
                        format!("has left the ring; without --early the check decides, in {check} or so at most")
                    }
                };
                info!("term {}: the leader, {}, {how}", left.term, self.called(&left.leader_id));
            }
        }
    }

    fn on_belief(&mut self, belief: Belief) {
        let term = belief.term;
        match (&belief.role, &belief.leader) {
            (Role::Leader, _) if belief.may_act && self.is_leased() => info!("term {term}: lease granted, may act"),
            (Role::Leader, _) => info!("term {term}: leader is {} (me)", self.introduction.name),
            (_, Some(leader)) => info!("term {term}: leader is {}", self.called(leader)),
            (Role::Disconnected, None) => info!("not connected: neither leading nor following"),
            (_, None) => info!("no leader known: a candidate"),
        }
        let Belief { role, leader, term, may_act } = belief;
        self.status.send_modify(|status| {
            let (since, client_id) = (SystemTime::now(), status.client_id.take());
            *status = Status { role, leader, term, may_act, act_until: status.act_until, since, client_id };
        });
        // Nobody has to listen.
        let _ = self.changes.send(self.status.borrow().clone());
    }

    /// Whether the hub grants leases: else to lead is to act, and one line says both.
    fn is_leased(&self) -> bool {
        self.machine.election().lease_end().is_some()
    }

    /// A member as people know it.
    fn called(&self, id: &ClientId) -> String {
        match self.names.get(id) {
            Some(name) => format!("{name} ({})", id.short()),
            None => id.short().to_owned(),
        }
    }
}

/// Whether the hub has not handed on a message because its time or its receiver is gone.
fn is_late_message(error: &ErrorFrame) -> bool {
    error.about.as_deref() == Some("message")
        && matches!(error.code, ErrorCode::StaleTerm | ErrorCode::NoSuchMember | ErrorCode::NotAMember)
}
