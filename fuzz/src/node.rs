//! One of our clients in a story, with what must hold of it after each step.

use std::collections::BTreeMap;
use std::time::Duration;

use ringleader_shared::election::eligible_array::{EligibleArray, Event, Hub, Timer, Timing};
use ringleader_shared::election::{Belief, Role};
use ringleader_shared::id::{Name, Rank, Term};
use ringleader_shared::machine::{Effect, Input, Machine};
use ringleader_shared::rule::Rule;
use ringleader_shared::session::{self, Heard, Introduction};

/// More than one step of a client has effects.
const MOST_EFFECTS: usize = 12;

/// A client, and the timers that are set for it.
#[derive(Debug)]
pub struct Node {
    introduction: Introduction,
    machine: EligibleArray,
    timers: BTreeMap<Timer, Duration>,
    counts_terms: bool,
    /// The newest term in which it led and gave up, on this connection.
    gave_up: Term,
    /// Two welcomes on one connection, which no hub sends, may leave a timer behind.
    welcomed: u32,
}

impl Node {
    /// A client that is not connected.
    pub fn new(name: &str, rank: u32, early: bool, broken: Option<Rule>) -> Self {
        let rank = Rank::from(rank);
        let name = Name::new(name).expect("stories write short names");
        let machine = EligibleArray::new(rank, Timing { early, ..Timing::default() }).breaking(broken);
        Node {
            introduction: Introduction { rank, name },
            machine,
            timers: BTreeMap::new(),
            counts_terms: false,
            gave_up: Term::NONE,
            welcomed: 0,
        }
    }

    /// What it believes.
    pub fn belief(&self) -> Belief {
        self.machine.belief()
    }

    /// The timers that are set, and when they are due.
    pub fn timers(&self) -> &BTreeMap<Timer, Duration> {
        &self.timers
    }

    /// Takes in a text from its hub at `now`; what it says.
    pub fn hear(&mut self, text: &str, now: Duration) -> Vec<String> {
        match session::hear(text, &self.introduction, self.belief().term) {
            Ok(Heard::Welcome { greeting, joined, .. }) => {
                self.welcomed += 1;
                self.counts_terms = joined.counts_terms;
                let mut said = vec![greeting];
                said.extend(self.step(Input::Event(Event::Joined(joined)), now));
                said
            }
            Ok(Heard::Input(input)) => self.step(input, now),
            Ok(Heard::Message { .. } | Heard::Error(_) | Heard::Nothing) | Err(_) => vec![],
        }
    }

    /// A timer that is set runs out.
    pub fn fire(&mut self, timer: Timer, now: Duration) -> Vec<String> {
        self.timers.remove(&timer).expect("only a timer that is set runs out");
        self.step(Input::Timeout(timer), now)
    }

    /// It loses its connection.
    pub fn disconnect(&mut self, now: Duration) {
        let said = self.step(Input::Event(Event::Disconnected), now);
        assert_eq!(said, [""; 0], "who is not connected says nothing");
        assert!(self.timers.is_empty() || self.welcomed > 1, "and waits for nothing: {:?}", self.timers);
        self.timers.clear();
        self.gave_up = Term::NONE;
        self.welcomed = 0;
    }

    /// Its program is about to leave.
    pub fn resign(&mut self, now: Duration) -> Vec<String> {
        let Belief { role, term, .. } = self.belief();
        if role == Role::Leader {
            self.gave_up = term;
        }
        self.step(Input::Event(Event::Resign), now)
    }

    fn step(&mut self, input: Input<EligibleArray>, now: Duration) -> Vec<String> {
        let before = self.belief();
        let effects = self.machine.handle(input);
        assert!(effects.len() <= MOST_EFFECTS, "{} effects of one step", effects.len());
        let mut said = vec![];
        for effect in effects {
            match effect {
                Effect::Send { to: Hub, message } => said.push(session::say(message)),
                Effect::SetTimer { timer, after } => {
                    assert!(after.start <= after.end, "a delay that cannot be drawn: {after:?}");
                    self.timers.insert(timer, now + after.start);
                }
                Effect::CancelTimer(timer) => {
                    self.timers.remove(&timer);
                }
                Effect::Save(never) => match never {},
                Effect::Report(_) => {}
            }
        }
        self.check(&before);
        said
    }

    fn check(&self, before: &Belief) {
        self.machine.check();
        let Belief { role, leader, term, may_act } = self.belief();
        assert!(term >= before.term, "S2: its term fell from {} to {term}", before.term);
        // A hub that counts no terms has all its leaders in one.
        assert!(
            role != Role::Leader || term > self.gave_up || term == Term::NONE || !self.counts_terms,
            "who gave up leads again in {term}"
        );
        assert!(!may_act || role == Role::Leader, "who may act leads");
        assert_eq!(leader.is_some(), matches!(role, Role::Leader | Role::Follower), "whom does a {role:?} know?");
        let runs = |timer| self.timers.contains_key(&timer);
        assert!(role != Role::Candidate || runs(Timer::Campaign), "who has no leader has an election timer armed");
        assert!(role != Role::Follower || runs(Timer::Check), "who follows checks");
        assert!(self.machine.lease_end().is_none_or(runs), "a lease that is held ends");
    }
}
