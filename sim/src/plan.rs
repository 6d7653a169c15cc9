//! What is going to befall a ring: drawn from a seed, and written down as a list, so
//! that a story can be told again with less in it.
//!
//! Each seed draws its own swarm (Groce and others 2012): which kinds of faults there
//! are at all, how often, how large the ring is, how fast clocks run. Runs that have
//! only some kinds find what runs with all of them hide. A plan goes from storm to
//! calm: faults, then none for long enough to agree, then one at rest, to see how
//! long it takes.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use ringleader_shared::election::eligible_array::Timing;
use ringleader_shared::id::{Name, Rank};
use ringleader_shared::relay;

use crate::classic::Classic;
use crate::liar::{Liar, Manner};
use crate::member::Member;
use crate::plant::{Plant, Slip};
use crate::property::liveness::Bounds;
use crate::trace::{Deed, HubDeed, Way};
use crate::world::{Cast, NODE_PATIENCE, RECONNECT, Setting};

/// The longest that a lagging node's frames take, in milliseconds.
const LAG: Range<u16> = 50..1_500;

/// A ring and what befalls it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The world that it happens in.
    pub setting: Setting,
    /// The nodes.
    pub nodes: Vec<Spec>,
    /// What is done, in order.
    pub acts: Vec<Act>,
    /// When it is over.
    pub end: Duration,
}

/// A node.
#[derive(Debug, Clone)]
pub struct Spec {
    /// What runs on it.
    pub kind: Kind,
    /// What it stands with.
    pub rank: Rank,
    /// How fast its clock runs.
    pub clock: f64,
    /// Ours only: how long it waits for what.
    pub timing: Timing,
    /// Whether it is there at all; a shorter story may do without it.
    pub takes_part: bool,
}

/// What runs on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Our client.
    Ours,
    /// A client of the older system.
    Classic,
    /// Somebody who lies.
    Liar(Manner),
}

/// Something that is done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Act {
    /// When.
    pub at: Duration,
    /// What.
    pub what: What,
}

/// What is done to whom.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum What {
    /// To a node.
    Node(Target, Deed),
    /// To the hub.
    Hub(HubDeed),
}

/// Which node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The one that leads by then.
    Leader,
    /// This one.
    Node(usize),
    /// The first, from this one on, to which it can be done.
    From(usize),
}

/// A kind of fault, and how it ends.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Node(Deed, Option<Deed>),
    Hub(HubDeed),
    HubLosesStore,
    /// Half of the nodes at once.
    Storm,
}

const FAULTS: [Fault; 18] = [
    Fault::Node(Deed::Crashes, Some(Deed::Starts)),
    Fault::Node(Deed::Vanishes, Some(Deed::Starts)),
    Fault::Node(Deed::Leaves, Some(Deed::Starts)),
    Fault::Node(Deed::Pauses, Some(Deed::Wakes)),
    Fault::Node(Deed::Resigns, None),
    Fault::Node(Deed::Suspects, None),
    Fault::Node(Deed::Cut(Way::Up), Some(Deed::Heals)),
    Fault::Node(Deed::Cut(Way::Down), Some(Deed::Heals)),
    Fault::Node(Deed::Cut(Way::Both), Some(Deed::Heals)),
    Fault::Node(Deed::IsForgotten, None),
    Fault::Node(Deed::Forgets, None),
    Fault::Node(Deed::StopsReading, None),
    Fault::Node(Deed::Lags(LAG.end), Some(Deed::CatchesUp)),
    Fault::Hub(HubDeed::Crashes),
    Fault::Hub(HubDeed::Vanishes),
    Fault::Hub(HubDeed::VanishesSaving { after: 0 }),
    Fault::HubLosesStore,
    Fault::Storm,
];

/// How much befalls a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Weather {
    /// One fault on the heels of another, for minutes; then minutes of calm.
    #[default]
    Stormy,
    /// A storm every day or so, and timings such as people choose who can wait: checks
    /// and leases of up to five minutes. So years pass in which what is slow can show.
    Fair,
}

impl Plan {
    /// What a seed comes to.
    pub fn draw(seed: u64, length: Duration, weather: Weather, plant: Option<Plant>) -> Self {
        Drawing { rng: StdRng::seed_from_u64(seed), weather }.plan(seed, length, plant)
    }

    /// The nodes, as the world wants them.
    pub fn casts(&self) -> impl Iterator<Item = Cast> {
        self.nodes.iter().enumerate().map(|(index, spec)| {
            let name = Name::new(char::from(b'a' + index as u8).to_string()).expect("a letter is a name");
            let member = match spec.kind {
                Kind::Ours => Member::ours(name.clone(), spec.rank, spec.timing.clone()),
                Kind::Classic => Member::Classic(Classic::new(spec.rank)),
                Kind::Liar(manner) => Member::Liar(Liar::new(self.setting.seed, manner)),
            };
            Cast { name, member, start_delay: None, clock: spec.clock }
        })
    }

    /// By when what has to come to pass. Nothing is promised where clocks run wild:
    /// then so do the timeouts.
    ///
    /// When faults stop, these may still have to pass, at worst one after the other,
    /// by the slowest clock:
    ///
    /// - a frame that lags, and what queues behind it: twice the longest lag;
    /// - a node notices by silence that its connection is gone, and comes back;
    /// - it checks a leader that is not there, and has no answer: interval with its
    ///   jitter, and timeout (5 s as a rule);
    /// - an election that is stuck is handed on by the hub from each member, and its
    ///   initiator does not announce: n+1 hop timeouts;
    /// - whoever counted on that one starts again: election timeout with its jitter;
    /// - an election of n+3 hops and an announcement of n.
    ///
    /// The rest is what the issue of a ring at rest asks for: 5 s, the interval, its
    /// jitter and n+3 hops.
    pub fn bounds(&self) -> Option<Bounds> {
        if !self.setting.clocks_hold {
            return None;
        }
        let members: Vec<&Spec> =
            self.nodes.iter().filter(|spec| spec.takes_part && !matches!(spec.kind, Kind::Liar(_))).collect();
        let longest = |time: fn(&Timing) -> Duration| members.iter().map(|spec| time(&spec.timing)).max();
        let clocks = members.iter().map(|spec| spec.clock).chain([self.setting.hub_clock]);
        let slowest = clocks.fold(1.0, f64::min);
        let n = self.nodes.len() as u32;
        let hop = self.setting.leg.end * 2;
        let lag = Duration::from_millis(LAG.end.into()) * 2;
        let back = NODE_PATIENCE + RECONNECT.end + longest(|timing| timing.start_delay)?;
        let check = longest(|timing| timing.check_interval * 11 / 10 + timing.check_timeout)?;
        let stuck = self.setting.relay.hop_timeout * (n + 1);
        let again = longest(|timing| timing.election_timeout * 3 / 2)?;
        let election = hop * (2 * n + 3);
        // A classic member checks every 10 s and waits 5 s for the answer; only its
        // next check starts again.
        let classic = members.iter().any(|spec| spec.kind == Kind::Classic);
        let classic = if classic { Duration::from_secs(25) } else { Duration::ZERO };
        let agree = (lag + back + check + stuck + again + election + classic).div_f64(slowest);
        let lease = self.setting.relay.lease.unwrap_or_default();
        let act = (lease + hop * 4).div_f64(slowest);
        let all_early = members.len() == self.nodes.len()
            && members.iter().all(|spec| spec.kind == Kind::Ours && spec.timing.early);
        Some(Bounds { agree, act, hop, early: all_early.then_some(members.len() as u32) })
    }
}

struct Drawing {
    rng: StdRng,
    weather: Weather,
}

impl Drawing {
    fn plan(mut self, seed: u64, length: Duration, plant: Option<Plant>) -> Plan {
        let (setting, timing) = self.setting(seed, plant);
        let swarm = self.swarm();
        let store_is_lost = swarm.iter().any(|(fault, _)| matches!(fault, Fault::HubLosesStore));
        let nodes = self.nodes(&setting, &timing, store_is_lost);
        let mut plan = Plan { setting, nodes, acts: vec![], end: Duration::ZERO };
        for index in 0..plan.nodes.len() {
            let at = self.millis(0..2_000);
            plan.acts.push(Act { at, what: What::Node(Target::Node(index), Deed::Starts) });
        }
        while plan.end < length {
            self.storm(&mut plan, &swarm);
            self.rest(&mut plan);
        }
        plan.acts.sort_by_key(|act| act.at);
        plan
    }

    fn setting(&mut self, seed: u64, plant: Option<Plant>) -> (Setting, Timing) {
        let usual = Timing::default();
        let fair = self.weather == Weather::Fair;
        let timing = if fair {
            let check_interval = self.log_uniform(30.0..300.0);
            Timing { check_interval, ..usual }
        } else if self.rng.random_bool(0.4) {
            usual
        } else {
            Timing {
                check_interval: self.log_uniform(0.5..30.0),
                check_timeout: self.millis(2_000..8_000),
                election_timeout: self.millis(2_000..8_000),
                start_delay: self.millis(50..1_000),
                early: false,
            }
        };
        let lease = match self.rng.random_range(0..10) {
            _ if fair => Some(self.log_uniform(30.0..300.0)),
            0 => None,
            1..6 => Some(self.log_uniform(0.8..30.0)),
            _ => Some(Duration::from_secs(4)),
        };
        let hop_timeout = if self.rng.random_bool(0.6) { Duration::from_secs(1) } else { self.log_uniform(0.3..4.0) };
        let longest = *[3u64, 15, 40, 100].choose(&mut self.rng).expect("there are some");
        // Slower rings settle all the same, but not by the bounds.
        let longest = longest.min(hop_timeout.as_millis() as u64 / 4);
        let leg = Duration::from_millis(longest / 3)..Duration::from_millis(longest);
        let (hub_clock, clocks_hold) = match self.rng.random_range(0..20) {
            _ if plant == Some(Plant::Slip(Slip::ClocksBeyondBounds)) => (self.rng.random_range(0.5..2.0), false),
            0..10 => (1.0, true),
            10..17 => (self.rng.random_range(0.9..=1.1), true),
            _ => (self.rng.random_range(0.5..2.0), false),
        };
        let relay = relay::Config { lease, hop_timeout, ..relay::Config::default() };
        (Setting { seed, leg, relay, hub_clock, clocks_hold, writes: true, plant }, timing)
    }

    fn nodes(&mut self, setting: &Setting, timing: &Timing, store_is_lost: bool) -> Vec<Spec> {
        let count = self.rng.random_range(1..=7);
        let early = self.rng.random_range(0..3);
        let ranks = *[1, 3, 100].choose(&mut self.rng).expect("there are some");
        let mut nodes: Vec<Spec> = (0..count)
            .map(|_| Spec {
                kind: Kind::Ours,
                rank: Rank::from(self.rng.random_range(0..ranks)),
                clock: match (setting.clocks_hold, setting.hub_clock == 1.0) {
                    (true, true) => 1.0,
                    (true, false) => self.rng.random_range(0.9..=1.1),
                    (false, _) => self.rng.random_range(0.5..2.0),
                },
                timing: Timing { early: early == 0 || early == 1 && self.rng.random_bool(0.5), ..timing.clone() },
                takes_part: true,
            })
            .collect();
        let liar = match self.rng.random_range(0..3) {
            0 => Manner::Answers,
            _ if store_is_lost => Manner::Careful,
            _ => Manner::Bold,
        };
        for kind in [Kind::Classic, Kind::Liar(liar)] {
            // A liar lets nothing be calm, and a classic member checks every 10 s.
            if self.weather == Weather::Stormy && count > 1 && self.rng.random_bool(0.25) {
                nodes[self.rng.random_range(1..count)].kind = kind;
            }
        }
        nodes
    }

    /// Which faults there are, and how much time is between two of a kind.
    fn swarm(&mut self) -> Vec<(Fault, Duration)> {
        let mut swarm = vec![];
        for fault in FAULTS {
            let often = if matches!(fault, Fault::HubLosesStore) { 0.15 } else { 0.5 };
            if self.rng.random_bool(often) {
                swarm.push((fault, self.log_uniform(4.0..90.0)));
            }
        }
        swarm
    }

    fn storm(&mut self, plan: &mut Plan, swarm: &[(Fault, Duration)]) {
        let begins = plan.end;
        let ends = begins + self.log_uniform(10.0..120.0);
        for (fault, mean) in swarm {
            let mut at = begins + self.exponential(*mean);
            while at < ends {
                self.strike(plan, *fault, at);
                at += self.exponential(*mean);
            }
        }
        // What would end later ends with the storm.
        plan.acts.iter_mut().for_each(|act| act.at = act.at.min(ends));
        plan.acts.push(Act { at: ends, what: What::Hub(HubDeed::Calm) });
        plan.end = ends;
    }

    fn strike(&mut self, plan: &mut Plan, fault: Fault, at: Duration) {
        let over = at + self.log_uniform(0.05..15.0);
        let count = plan.nodes.len();
        let (who, other) = (self.rng.random_range(0..count), self.rng.random_range(0..count));
        let mut push = |at, what| plan.acts.push(Act { at, what });
        match fault {
            Fault::Node(deed, undone) => {
                let target = match deed {
                    // Who leads suspects nobody.
                    Deed::Suspects => Target::From(who),
                    _ if self.rng.random_bool(0.5) => Target::Leader,
                    _ => Target::Node(who),
                };
                let deed = match deed {
                    Deed::Lags(_) => Deed::Lags(self.rng.random_range(LAG)),
                    deed => deed,
                };
                push(at, What::Node(target, deed));
                if let Some(undone) = undone {
                    push(over, What::Node(Target::From(other), undone));
                }
            }
            Fault::Hub(deed) => {
                let deed = match deed {
                    HubDeed::VanishesSaving { .. } => HubDeed::VanishesSaving { after: self.rng.random_range(0..4) },
                    deed => deed,
                };
                push(at, What::Hub(deed));
                push(over, What::Hub(HubDeed::Starts));
            }
            Fault::HubLosesStore => {
                push(at, What::Hub(HubDeed::Crashes));
                push(over, What::Hub(HubDeed::StartsEmpty));
            }
            Fault::Storm => {
                for index in 0..count {
                    if self.rng.random_bool(0.5) {
                        let deed = if self.rng.random_bool(0.5) { Deed::Crashes } else { Deed::Leaves };
                        push(at, What::Node(Target::Node(index), deed));
                        push(over + self.millis(0..300), What::Node(Target::Node(index), Deed::Starts));
                    }
                }
            }
        }
    }

    /// Time without faults; then, perhaps, one.
    fn rest(&mut self, plan: &mut Plan) {
        let settled = plan.bounds().map_or(Duration::from_secs(60), |bounds| bounds.agree + bounds.act);
        plan.end += settled
            + match self.weather {
                Weather::Stormy => self.log_uniform(1.0..200.0),
                Weather::Fair => self.log_uniform(3_600.0..200_000.0),
            };
        let deed = match self.rng.random_range(0..4) {
            0 | 1 => Deed::Crashes,
            2 => Deed::Pauses,
            _ => return,
        };
        plan.acts.push(Act { at: plan.end, what: What::Node(Target::Leader, deed) });
        plan.end += Duration::from_secs(30);
    }

    fn millis(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.rng.random_range(range))
    }

    /// A number of seconds, as likely from 1 to 2 as from 10 to 20; whole milliseconds,
    /// for people have to read them.
    fn log_uniform(&mut self, range: Range<f64>) -> Duration {
        let seconds = self.rng.random_range(range.start.ln()..range.end.ln()).exp();
        Duration::from_millis((seconds * 1000.0) as u64)
    }

    /// The time between two of what comes at random (Poisson).
    fn exponential(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(-(1.0 - self.rng.random::<f64>()).ln())
    }
}

impl fmt::Display for Plan {
    /// The ring; what befalls it stands in the trace.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setting { leg, relay, hub_clock, .. } = &self.setting;
        for (spec, cast) in self.nodes.iter().zip(self.casts()).filter(|(spec, _)| spec.takes_part) {
            let Spec { kind, rank, clock, timing, .. } = spec;
            match kind {
                Kind::Ours => {
                    let Timing { check_interval, check_timeout, election_timeout, early, .. } = timing;
                    let early = if *early { ", early" } else { "" };
                    write!(
                        f,
                        "node {}: rank {rank}, checks every {check_interval:?}, {check_timeout:?} for the answer, {election_timeout:?} for an election{early}",
                        cast.name
                    )?;
                }
                Kind::Classic => write!(f, "node {}: rank {rank}, classic", cast.name)?,
                Kind::Liar(Manner::Answers) => write!(f, "node {}: answers in the leader's place", cast.name)?,
                Kind::Liar(_) => write!(f, "node {}: a liar", cast.name)?,
            }
            writeln!(f, "{}", clock_text(*clock))?;
        }
        let lease = relay.lease.map_or_else(|| "no leases".to_owned(), |lease| format!("leases of {lease:?}"));
        let hop_timeout = relay.hop_timeout;
        let clock = clock_text(*hub_clock);
        writeln!(f, "hub: {lease}, hop timeout {hop_timeout:?}, frames take {leg:?}{clock}")
    }
}

fn clock_text(rate: f64) -> String {
    if rate == 1.0 { String::new() } else { format!(", its clock at {rate:.3}") }
}
