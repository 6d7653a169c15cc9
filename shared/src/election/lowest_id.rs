//! The lowest id that is heard leads: heartbeats from everyone to everyone, as
//! courses on distributed systems set it to be written. Garcia-Molina's bully
//! (IEEE Transactions on Computers C-31(1), 1982) goes by the highest id and asks
//! before it elects; here nobody asks, for everybody hears everybody already.
//!
//! Every peer knows the list. Each sends its id to all the others every interval,
//! to those that are silent too: so a network that heals is noticed. Who is heard is
//! online; who is silent for the timeout is not. When all of the list have been heard,
//! the first election is: the lowest id online, oneself included, leads. It stays an
//! election without any message. A leader's silence is told to all who are online by an
//! urgent heartbeat, so that they look whether they miss it as well.
//!
//! Holds: once messages come in time again, all who have started name the lowest id
//! that is there. With a quorum ([`Options::quorum`], `quorum`): no two lead at one time,
//! whatever is cut, stopped or started again, among peers that all run this.
//! Fails: without a quorum each side of a partition has a leader. With one: a peer that
//! cannot vote is counted while it is heard, whomever it hears itself; and a lowest id that
//! speaks but cannot lead (it is deaf, or still waits for all) keeps the others from leading.
//! Costs: n(n - 1) heartbeats an interval; a leader that falls silent costs up to
//! (n - 1)(n - 2) urgent ones. With a quorum, an answer to each.
//! Departs from the exercise: the quorum, and that an urgent message is believed only by
//! those who have missed a heartbeat of the leader themselves.

mod quorum;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::machine::{Effect, Input, Machine, exactly};
use crate::rule::rules;
use quorum::Quorum;

rules! {
    /// The first election is when all of the list have been heard, unless told not to wait.
    AllHeardFirst = "all-heard-first",
    /// Who is silent for the timeout is off the list.
    SilentOffTheList = "silent-off-the-list",
    /// With a quorum, who leads has the votes of a majority of the list.
    Majority = "majority",
    /// A vote goes to nobody else before it has run out.
    OneGrantAtATime = "one-grant-at-a-time",
    /// A candidate counts a vote for less long than its voter is bound by it.
    VoteEndsBeforeGrant = "vote-ends-before-grant",
    /// Who has just started votes for nobody until what it may have granted before has run out.
    RestartedGrantsLater = "restarted-grants-later",
}

/// Who a peer is: a number, and the lowest leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(u32);

impl PeerId {
    /// That number.
    pub const fn new(id: u32) -> Self {
        PeerId(id)
    }

    /// As a number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Not a [`PeerId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an id: a number from 0 to {}", u32::MAX)]
pub struct BadPeerId;

impl FromStr for PeerId {
    type Err = BadPeerId;

    /// Digits only: Rust's own parser would let a sign pass.
    fn from_str(text: &str) -> Result<Self, BadPeerId> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| digits).map(PeerId).ok_or(BadPeerId)
    }
}

/// How long to wait for what. All peers should have the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Timing {
    /// How often to say that we are there.
    pub interval: Duration,
    /// For how long somebody may be silent; at least twice the interval.
    pub timeout: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing { interval: Duration::from_secs(2), timeout: Duration::from_secs(5) }
    }
}

impl Timing {
    /// How long one heartbeat may take with its answer. An answer that comes later has to
    /// be dropped by the driver: see [`vote`](Timing::vote).
    pub fn exchange(&self) -> Duration {
        (self.interval / 2).min(self.timeout / 5)
    }

    /// How long a candidate counts a vote, from when it came. With the exchange before
    /// it at most 4/5 of the timeout, for which the voter is bound from when it was asked:
    /// so clocks may run up to a ninth too fast or too slow.
    pub fn vote(&self) -> Duration {
        self.timeout * 3 / 5
    }

    /// After how long a silent peer has missed a heartbeat.
    fn late(&self) -> Duration {
        self.interval * 3 / 2
    }
}

/// How a peer goes about it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Options {
    /// How long to wait for what.
    pub timing: Timing,
    /// Elect after the timeout with those who were heard, instead of waiting for all.
    pub start_without_all: bool,
    /// Lead only with the votes of a majority of the list. All peers should have the same.
    pub quorum: bool,
}

/// What peers say to each other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Message {
    /// The sender is there.
    Beat {
        /// It misses the leader.
        urgent: bool,
    },
    /// The answer to a heartbeat, with a quorum: for whom the answerer votes at present.
    Vote(Option<PeerId>),
}

/// The timers of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Say that we are there.
    Beat,
    /// That one has been silent for long: the first time it is late, the second time off the list.
    Silent(PeerId),
    /// Enough waiting for all to be heard.
    StartWithoutAll,
    /// Our vote has run out: it is free.
    Grant,
    /// That one's vote for us has run out.
    Vote(PeerId),
}

/// What happens to a peer besides messages and timers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    /// It starts: once, and first of all.
    Start,
    /// That one took a heartbeat and hung up without an answer: it cannot vote. Not to
    /// be said of one that could not be reached, or was slow. Needed with a quorum only.
    Unanswered(PeerId),
}

/// What a peer tells.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Report {
    /// It has not heard these yet. Comes with every change and every heartbeat.
    Waiting(BTreeSet<PeerId>),
    /// The first election is, without these.
    Started {
        /// Who was not heard.
        without: BTreeSet<PeerId>,
    },
    /// It hears that one.
    Online(PeerId),
    /// It does not hear that one any more.
    Offline(PeerId),
    /// The leader fell silent; the others are told.
    LeaderSilent(PeerId),
    /// Somebody misses the leader.
    Urged {
        /// Who.
        by: PeerId,
    },
    /// That one is counted for a vote while it is heard, as it cannot vote.
    CannotVote(PeerId),
    /// It names another leader than before.
    Leader(Option<PeerId>),
}

/// One peer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LowestId {
    me: PeerId,
    /// The rest of the list.
    others: BTreeSet<PeerId>,
    options: Options,
    /// Whether the first election has been.
    started: bool,
    /// Who has never been heard; empty once started.
    awaited: BTreeSet<PeerId>,
    /// Who is heard. Each has [`Timer::Silent`] running.
    online: BTreeMap<PeerId, Presence>,
    /// Who votes for whom; `None` without a quorum.
    quorum: Option<Quorum>,
    /// A rule that is not kept, on purpose.
    broken: Option<Rule>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Presence {
    /// Heard within one and a half intervals.
    Fresh,
    /// Has missed a heartbeat.
    Late,
}

type Effects = Vec<Effect<LowestId>>;

impl Machine for LowestId {
    type Peer = PeerId;
    type Message = Message;
    type Timer = Timer;
    type Event = Event;
    type Report = Report;
    type Saved = Infallible;

    fn handle(&mut self, input: Input<Self>) -> Effects {
        let before = self.leader();
        let mut effects = match input {
            Input::Event(Event::Start) => self.on_start(),
            Input::Event(Event::Unanswered(peer)) => self.on_unanswered(peer),
            Input::Message { from, message: Message::Beat { urgent } } => self.on_beat(from, urgent),
            Input::Message { from, message: Message::Vote(candidate) } => self.on_vote(from, candidate),
            Input::Timeout(Timer::Beat) => self.on_beat_due(),
            Input::Timeout(Timer::Silent(peer)) => self.on_silence(peer),
            Input::Timeout(Timer::StartWithoutAll) => self.on_waited_enough(),
            Input::Timeout(Timer::Grant) => self.on_grant_end(),
            Input::Timeout(Timer::Vote(peer)) => self.on_vote_end(peer),
        };
        let after = self.leader();
        if after != before {
            effects.push(Effect::Report(Report::Leader(after)));
        }
        effects
    }

    fn check(&self) {
        assert!(!self.others.contains(&self.me), "nobody is another to itself");
        assert!(self.online.keys().all(|peer| self.others.contains(peer)), "only who is on the list is heard");
        assert!(self.awaited.iter().all(|peer| !self.online.contains_key(peer)), "who is heard is not awaited");
        assert!(!self.started || self.awaited.is_empty(), "who has started waits for nobody");
        assert!(self.started || self.leader().is_none(), "nobody leads before the first election");
        match &self.quorum {
            None => assert_eq!(self.leader(), self.started.then(|| self.lowest()), "the lowest id online leads"),
            Some(quorum) => self.check_quorum(quorum),
        }
    }
}

impl LowestId {
    /// A peer that is not running yet: [`Event::Start`] makes it run. It is on the
    /// list itself, even if the list does not have it.
    pub fn new(me: PeerId, list: impl IntoIterator<Item = PeerId>, options: Options) -> Self {
        let others: BTreeSet<PeerId> = list.into_iter().filter(|&peer| peer != me).collect();
        let quorum = options.quorum.then(Quorum::default);
        let (awaited, online) = (others.clone(), BTreeMap::new());
        LowestId { me, others, options, started: false, awaited, online, quorum, broken: None }
    }

    /// Breaks a rule on purpose, to see that it is missed.
    pub fn breaking(self, rule: Option<Rule>) -> Self {
        LowestId { broken: rule, ..self }
    }

    fn keeps(&self, rule: Rule) -> bool {
        self.broken != Some(rule)
    }

    /// Who it is.
    pub fn me(&self) -> PeerId {
        self.me
    }

    /// Whom it names. With a quorum: itself, if it has a majority's votes; else the one it
    /// has given its vote to, if it hears a majority.
    pub fn leader(&self) -> Option<PeerId> {
        match &self.quorum {
            _ if !self.started => None,
            None => Some(self.lowest()),
            Some(quorum) => self.leader_by_vote(quorum),
        }
    }

    /// Whether it takes itself for the leader.
    pub fn leads(&self) -> bool {
        self.leader() == Some(self.me)
    }

    /// The lowest id online, its own included.
    fn lowest(&self) -> PeerId {
        self.online.keys().next().map_or(self.me, |&lowest| lowest.min(self.me))
    }

    fn on_start(&mut self) -> Effects {
        let mut effects = vec![];
        if self.quorum.is_some() {
            effects.extend(self.withhold_vote());
        }
        if self.options.start_without_all {
            effects.push(set(Timer::StartWithoutAll, self.options.timing.timeout));
        }
        if self.awaited.is_empty() || !self.keeps(Rule::AllHeardFirst) {
            effects.extend(self.start());
        }
        effects.extend(self.on_beat_due());
        effects
    }

    fn on_beat_due(&mut self) -> Effects {
        // To those off the list too: else two sides of a healed network would never speak again.
        let beats = self.others.iter().map(|&peer| beat(peer, false));
        let mut effects: Effects = [set(Timer::Beat, self.options.timing.interval)].into_iter().chain(beats).collect();
        if !self.started {
            effects.push(Effect::Report(Report::Waiting(self.awaited.clone())));
        }
        effects
    }

    fn on_waited_enough(&mut self) -> Effects {
        // All may have been heard in time.
        if self.started { vec![] } else { self.start() }
    }

    /// From here on there are elections. They send nothing: see [`leader`](LowestId::leader).
    fn start(&mut self) -> Effects {
        self.started = true;
        vec![Effect::Report(Report::Started { without: std::mem::take(&mut self.awaited) })]
    }

    fn on_beat(&mut self, from: PeerId, urgent: bool) -> Effects {
        // Our own id, or one that the list does not have, is somebody's mistake.
        if !self.others.contains(&from) {
            return vec![];
        }
        let mut effects = self.hear(from);
        if urgent {
            effects.extend(self.on_urgent(from));
        }
        if self.quorum.is_some() {
            effects.extend(self.vote(from));
        }
        effects
    }

    fn hear(&mut self, peer: PeerId) -> Effects {
        let mut effects = vec![set(Timer::Silent(peer), self.options.timing.late())];
        if self.online.insert(peer, Presence::Fresh).is_none() {
            effects.push(Effect::Report(Report::Online(peer)));
        }
        if self.awaited.remove(&peer) {
            match self.awaited.is_empty() {
                true => effects.extend(self.start()),
                false => effects.push(Effect::Report(Report::Waiting(self.awaited.clone()))),
            }
        }
        effects
    }

    /// Somebody misses its leader. Ours goes only if we miss a heartbeat of it too:
    /// else one peer with a bad line could depose a leader that all others hear.
    fn on_urgent(&mut self, from: PeerId) -> Effects {
        let mut effects = vec![Effect::Report(Report::Urged { by: from })];
        match self.leader() {
            // It seems not to hear us.
            Some(leader) if leader == self.me => effects.push(beat(from, false)),
            Some(leader) if self.online.get(&leader) == Some(&Presence::Late) => effects.extend(self.strike(leader)),
            _ => {}
        }
        effects
    }

    fn on_silence(&mut self, peer: PeerId) -> Effects {
        match self.online.get(&peer) {
            Some(Presence::Fresh) => {
                self.online.insert(peer, Presence::Late);
                let timing = &self.options.timing;
                vec![set(Timer::Silent(peer), timing.timeout.saturating_sub(timing.late()))]
            }
            Some(Presence::Late) if self.keeps(Rule::SilentOffTheList) => self.give_up(peer),
            // Its timer was cancelled when it was struck off.
            _ => vec![],
        }
    }

    /// That one has been silent for the timeout.
    fn give_up(&mut self, peer: PeerId) -> Effects {
        let led = self.started && self.lowest() == peer;
        let mut effects = self.strike(peer);
        if led {
            effects.push(Effect::Report(Report::LeaderSilent(peer)));
            effects.extend(self.online.keys().map(|&other| beat(other, true)));
        }
        effects
    }

    /// Takes somebody off the list of those online.
    fn strike(&mut self, peer: PeerId) -> Effects {
        self.online.remove(&peer);
        if let Some(quorum) = &mut self.quorum {
            quorum.on_offline(peer);
        }
        vec![Effect::CancelTimer(Timer::Silent(peer)), Effect::Report(Report::Offline(peer))]
    }
}

fn beat(to: PeerId, urgent: bool) -> Effect<LowestId> {
    Effect::Send { to, message: Message::Beat { urgent } }
}

fn set(timer: Timer, after: Duration) -> Effect<LowestId> {
    Effect::SetTimer { timer, after: exactly(after) }
}
