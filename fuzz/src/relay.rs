//! Bytes as a story of a ring: the hub's relay, five of our clients, and whatever else
//! comes over their connections. The clients are called a to e; the first connection of
//! a has the id `a1`, the second `a2`.
//!
//! | step | what happens |
//! |---|---|
//! | `+A`, `+AW` | A connects; W: only to watch |
//! | `.A` | A's client takes what came first, and says what it has to |
//! | `*` | everybody does, until all is quiet |
//! | `tAN`, `TN` | the Nth timer of A's client runs out; of the relay |
//! | `!ATEXT` | over A's connection comes TEXT |
//! | `sABKT` | over A's connection comes a frame of kind K that names B, in term T |
//! | `<AN` | over A's connection comes a frame that the relay sent N frames ago |
//! | `~ANPTEXT` | the same, at P overwritten with TEXT |
//! | `-A`, `xA` | A's connection is closed; is lost |
//! | `rA` | A's program is about to leave |
//! | `R`, `RW` | the hub is killed, and starts again with what it saved; W: it ends in good order |
//!
//! However it went, afterwards nobody lies any more, and the members come to agree.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ringleader_shared::election::{Belief, eligible_array};
use ringleader_shared::id::{ClientId, Term};
use ringleader_shared::machine::{Effect, Input, Machine};
use ringleader_shared::message::Routing;
use ringleader_shared::relay::{Config, Departure, Event, Relay, Timer};
use ringleader_shared::rule::Rule;

use crate::judge::{Judge, Step};
use crate::node::Node;
use crate::story::{Line, frame, id, one_of, steps};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
const RANKS: [u32; 5] = [5, 5, 9, 1, 7];
const REMEMBERED: usize = 16;
/// How many frames may move before a step that lets them is over.
const MOST_MOVES: usize = 2_000;
/// How soon the members agree once nobody lies: a check, its timeout, an election, and
/// twice as much for leases and elections that lies have left behind.
const AGREED_WITHIN: Duration = Duration::from_secs(60);

struct Seat {
    node: Node,
    connections: usize,
    /// While it is connected.
    id: Option<ClientId>,
    inbox: VecDeque<Arc<str>>,
}

struct World {
    relay: Relay,
    timers: BTreeMap<Timer, Duration>,
    config: Config,
    broken: Option<Rule>,
    seats: Vec<Seat>,
    /// What the relay sent lately.
    sent: VecDeque<Arc<str>>,
    judge: Judge,
    now: Duration,
}

/// Plays a story. A broken rule is for tests of this check.
pub fn run(bytes: &[u8], broken: Option<Rule>) {
    let mut lines = steps(bytes).peekable();
    let direct = lines.next_if(|line| line.rest() == b"direct").is_some();
    let mut world = World::new(if direct { Routing::Direct } else { Routing::Ring }, broken);
    lines.for_each(|line| world.step(line));
    world.agree();
}

impl World {
    fn new(routing: Routing, broken: Option<Rule>) -> Self {
        let config = Config { routing, ..Config::default() };
        let seat = |(which, (name, rank)): (usize, (&&str, u32))| Seat {
            node: Node::new(name, rank, which % 2 == 0, broken),
            connections: 0,
            id: None,
            inbox: VecDeque::new(),
        };
        World {
            relay: Relay::new(config.clone()).breaking(broken),
            timers: BTreeMap::new(),
            config,
            broken,
            seats: NAMES.iter().zip(RANKS).enumerate().map(seat).collect(),
            sent: VecDeque::new(),
            judge: Judge::default(),
            now: Duration::ZERO,
        }
    }

    fn step(&mut self, mut line: Line) {
        let word = line.letter();
        match word {
            b'*' => return self.settle(),
            b'T' => {
                if let Some(timer) = one_of(&mut line, self.timers.keys().cloned()) {
                    self.fire(timer);
                }
                return;
            }
            b'R' => return self.restart(line.letter() == b'W'),
            _ => {}
        }
        let who = line.which(NAMES.len());
        match word {
            b'+' => self.connect(who, line.letter() != b'W'),
            b'.' => {
                self.take(who);
            }
            b't' => {
                if let Some(timer) = one_of(&mut line, self.seats[who].node.timers().keys().copied()) {
                    self.fire_client(who, timer);
                }
            }
            b'!' => self.say(who, vec![line.text()]),
            b's' => self.say_a_frame(who, line),
            b'<' => {
                let again = one_of(&mut line, self.sent.iter().map(|text| text.to_string()));
                self.say(who, again.into_iter().collect());
            }
            b'~' => {
                let again = one_of(&mut line, self.sent.iter().map(|text| text.to_string()));
                let at = usize::from(line.letter());
                let changed = again.map(|text| overwritten(&text, at, line.rest()));
                self.say(who, changed.into_iter().collect());
            }
            b'-' => self.disconnect(who, Departure::Closed),
            b'x' => self.disconnect(who, Departure::Lost),
            b'r' => {
                let said = self.seats[who].node.resign(self.now);
                self.say(who, said);
            }
            _ => {}
        }
    }

    fn connect(&mut self, who: usize, may_join: bool) {
        let seat = &mut self.seats[who];
        if seat.id.is_some() {
            return;
        }
        seat.connections += 1;
        let new = id(&format!("{}{}", NAMES[who], seat.connections));
        seat.id = Some(new.clone());
        self.tell(Input::Event(Event::Connected { id: new, may_join }));
    }

    fn disconnect(&mut self, who: usize, departure: Departure) {
        let seat = &mut self.seats[who];
        let Some(id) = seat.id.take() else { return };
        seat.inbox.clear();
        seat.node.disconnect(self.now);
        self.tell(Input::Event(Event::Left { id, departure }));
    }

    fn restart(&mut self, in_good_order: bool) {
        if in_good_order {
            self.judge.see_last_will(self.relay.last_will());
        }
        let saved = self.judge.saved();
        for seat in self.seats.iter_mut().filter(|seat| seat.id.is_some()) {
            seat.id = None;
            seat.inbox.clear();
            seat.node.disconnect(self.now);
        }
        self.timers.clear();
        let (relay, effects) = Relay::restore(self.config.clone(), saved);
        self.relay = relay.breaking(self.broken);
        self.perform(effects);
    }

    fn say_a_frame(&mut self, who: usize, mut line: Line) {
        let named = line.which(NAMES.len());
        let named = id(&format!("{}{}", NAMES[named], self.seats[named].connections.max(1)));
        let Some(from) = self.seats[who].id.clone() else { return };
        let text = frame(&mut line, &from, named, self.relay.snapshot().term);
        self.say(who, vec![text]);
    }

    /// Somebody's client takes one frame. Whether there was one.
    fn take(&mut self, who: usize) -> bool {
        let seat = &mut self.seats[who];
        let Some(text) = seat.inbox.pop_front() else { return false };
        let said = seat.node.hear(&text, self.now);
        self.believes(who);
        self.say(who, said);
        true
    }

    fn fire_client(&mut self, who: usize, timer: eligible_array::Timer) {
        let said = self.seats[who].node.fire(timer, self.now);
        self.believes(who);
        self.say(who, said);
    }

    fn believes(&self, who: usize) {
        let Belief { leader, term, .. } = self.seats[who].node.belief();
        if leader.is_some() && term > Term::NONE {
            assert_eq!(self.judge.announced(term), leader.as_ref(), "S3: {} in term {term}", NAMES[who]);
        }
    }

    fn fire(&mut self, timer: Timer) {
        self.timers.remove(&timer);
        self.tell(Input::Timeout(timer));
    }

    fn say(&mut self, who: usize, texts: Vec<String>) {
        for text in texts {
            let Some(from) = self.seats[who].id.clone() else { return };
            self.tell(Input::Message { from, message: text.into() });
        }
    }

    fn tell(&mut self, input: Input<Relay>) {
        let timers: BTreeSet<Timer> = self.timers.keys().cloned().collect();
        let effects = self.relay.handle(input.clone());
        let connected = self.seats.iter().filter_map(|seat| seat.id.clone()).collect();
        let (input, relay) = (&input, &self.relay);
        self.judge.see(&Step { input, effects: &effects, relay, connected: &connected, timers: &timers });
        self.perform(effects);
    }

    fn perform(&mut self, effects: Vec<Effect<Relay>>) {
        for effect in effects {
            match effect {
                Effect::Send { to, message } => {
                    self.sent.push_front(message.clone());
                    self.sent.truncate(REMEMBERED);
                    let seat = self.seats.iter_mut().find(|seat| seat.id.as_ref() == Some(&to));
                    seat.into_iter().for_each(|seat| seat.inbox.push_back(message.clone()));
                }
                Effect::SetTimer { timer, after } => {
                    self.timers.insert(timer, self.now + after.start);
                }
                Effect::CancelTimer(timer) => {
                    self.timers.remove(&timer);
                }
                Effect::Save(_) | Effect::Report(_) => {}
            }
        }
    }

    /// Everybody takes what came, until all is quiet.
    fn settle(&mut self) {
        for moved in 0.. {
            assert!(moved < MOST_MOVES, "S8: frames go on and on");
            let mut quiet = true;
            for who in 0..NAMES.len() {
                quiet &= !self.take(who);
            }
            if quiet {
                return;
            }
        }
    }

    /// Time goes on, and nobody lies: all members come to agree on one that is there.
    fn agree(&mut self) {
        let by = self.now + AGREED_WITHIN;
        self.settle();
        while !self.agreed() {
            let relays = self.timers.iter().map(|(timer, at)| (*at, None, Some(timer.clone()), None));
            let clients = self.seats.iter().enumerate().flat_map(|(who, seat)| {
                seat.node.timers().iter().map(move |(timer, at)| (*at, Some(who), None, Some(*timer)))
            });
            let Some((at, who, relays, client)) = relays.chain(clients).min() else {
                panic!("L1: nobody waits for anything, and they do not agree");
            };
            self.now = self.now.max(at);
            assert!(self.now <= by, "L1: they do not agree");
            match (who, relays, client) {
                (Some(who), _, Some(timer)) => self.fire_client(who, timer),
                (_, Some(timer), _) => self.fire(timer),
                _ => unreachable!("a timer is somebody's"),
            }
            self.settle();
        }
    }

    fn agreed(&self) -> bool {
        let ring = self.relay.snapshot();
        let mut members = self
            .seats
            .iter()
            .filter(|seat| ring.members.iter().any(|member| Some(&member.client_id) == seat.id.as_ref()));
        members.all(|seat| {
            let Belief { leader, term, .. } = seat.node.belief();
            leader.is_some() && leader == ring.leader_id && term == ring.term
        })
    }
}

/// A text with some bytes of it replaced. Where that is no UTF-8 any more, it is made so.
fn overwritten(text: &str, at: usize, with: &[u8]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let at = at.min(bytes.len());
    let end = (at + with.len()).min(bytes.len());
    bytes.splice(at..end, with.iter().copied());
    String::from_utf8_lossy(&bytes).into_owned()
}
