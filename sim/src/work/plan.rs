//! What is to be computed, by whom, and what befalls them meanwhile.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use ringleader_shared::factorial::board::Limits;
use ringleader_shared::factorial::coordinator;
use ringleader_shared::factorial::rule::Rule;

/// A run, before it is played.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Chance of the run.
    pub seed: u64,
    /// The members.
    pub members: Vec<Role>,
    /// What holds for all.
    pub setting: Setting,
    /// What happens, in order.
    pub acts: Vec<(Duration, Act)>,
    /// When things stop going wrong.
    pub calm: Duration,
}

/// What a member does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Role {
    /// It can be elected.
    pub stands: bool,
    /// It multiplies.
    pub works: bool,
    /// How many parts it takes at one time.
    pub slots: u16,
}

/// What holds for the whole run.
#[derive(Debug, Clone)]
pub struct Setting {
    /// How coordinators work.
    pub coordinator: coordinator::Options,
    /// How much the board takes.
    pub limits: Limits,
    /// How long a frame or a request takes, one way.
    pub leg: Range<Duration>,
    /// How long the hub takes to write.
    pub write: Range<Duration>,
    /// How long a computation takes.
    pub computes: Range<Duration>,
    /// How often a computation fails, of 1.
    pub fails: f64,
    /// How much longer a computation takes that stalls.
    pub stalls: Range<Duration>,
    /// How it fails then.
    pub modes: Vec<Failure>,
    /// How often a request or an answer to it is lost, of 1.
    pub loss: f64,
    /// The rule that is broken on purpose.
    pub broken: Option<Rule>,
}

/// How a computation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The program ends.
    Exit,
    /// Nothing comes of it for very long.
    Stall,
    /// It takes seconds longer.
    Delay,
}

/// What happens once.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// Somebody has a job; with a key, and then asks until there is an answer.
    Submit {
        /// Of which number.
        factorial: u32,
        /// Whether it has a key.
        key: bool,
    },
    /// Whoever submitted the how manieth job wants it no more.
    Cancel(usize),
    /// A program ends, and starts again later.
    Crash(Target, Duration),
    /// A program stands still for a while.
    Pause(Target, Duration),
    /// A connection is lost. The hub and the member notice so much later, each by itself;
    /// until then a leader goes on.
    Cut {
        /// Whose.
        who: Target,
        /// When the hub notices.
        hub: Duration,
        /// When the member notices.
        member: Duration,
    },
    /// Another is elected, and the leader there was hears of it so much later.
    Replace(Duration),
    /// A follower takes its leader for gone for a while, without a reason.
    Suspect(Target, Duration),
    /// The hub ends, and starts again later with what it had written.
    HubCrash(Duration),
}

/// Whom something befalls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Whoever leads then.
    Leader,
    /// This member.
    Member(usize),
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

impl Plan {
    /// What a seed comes to.
    pub fn draw(seed: u64, broken: Option<Rule>) -> Plan {
        let mut rng = StdRng::seed_from_u64(seed);
        let members = members(&mut rng);
        let setting = setting(&mut rng, broken);
        let calm = millis(rng.random_range(5_000..90_000));
        let mut plan = Plan { seed, members, setting, acts: vec![], calm };
        let jobs = rng.random_range(1..=12);
        for job in 0..jobs {
            let at = rng.random_range(Duration::ZERO..calm);
            plan.acts.push((at, Act::Submit { factorial: number(&mut rng), key: rng.random_bool(0.7) }));
            if rng.random_bool(0.1) {
                let later = rng.random_range(Duration::ZERO..millis(3_000));
                plan.acts.push((at + later, Act::Cancel(job)));
            }
        }
        let kinds: Vec<u8> = (0..6).filter(|_| rng.random_bool(0.6)).collect();
        for _ in 0..rng.random_range(0..30) {
            let at = rng.random_range(Duration::ZERO..calm);
            if let Some(kind) = kinds.choose(&mut rng) {
                let act = fault(*kind, plan.members.len(), &mut rng);
                plan.acts.push((at, act));
            }
        }
        plan.acts.sort_by_key(|(at, _)| *at);
        plan
    }

    /// Many small jobs, three computations of ten fail, and somebody else leads every few
    /// seconds: there is always one who does not know it yet.
    pub fn long(seed: u64, jobs: usize) -> Plan {
        let mut rng = StdRng::seed_from_u64(seed);
        let members = vec![Role { stands: true, works: true, slots: 16 }; 6];
        let coordinator = coordinator::Options { silence: millis(2_000), ..coordinator::Options::default() };
        let setting = Setting {
            coordinator,
            limits: Limits { jobs: jobs.max(1), ..Limits::default() },
            leg: millis(1)..millis(5),
            write: millis(1)..millis(4),
            computes: millis(1)..millis(20),
            fails: 0.3,
            stalls: millis(1_000)..millis(5_000),
            modes: vec![Failure::Exit, Failure::Stall, Failure::Delay],
            loss: 0.02,
            broken: None,
        };
        // As many seconds as it takes, more or less; what is left is done in the calm.
        let calm = millis(jobs as u64 * 900 + 10_000);
        let mut acts: Vec<(Duration, Act)> = (0..jobs)
            .map(|_| {
                let act = Act::Submit { factorial: rng.random_range(0..=20), key: true };
                (rng.random_range(Duration::ZERO..calm / 10 * 8), act)
            })
            .collect();
        let mut at = millis(3_000);
        while at < calm {
            acts.push((
                at,
                match rng.random_range(0..10) {
                    0..6 => Act::Replace(millis(rng.random_range(2_000..15_000))),
                    6..9 => Act::Crash(Target::Leader, millis(rng.random_range(200..2_000))),
                    _ => Act::HubCrash(millis(rng.random_range(100..1_000))),
                },
            ));
            at += millis(rng.random_range(2_000..5_000));
        }
        acts.sort_by_key(|(at, _)| *at);
        Plan { seed, members, setting, acts, calm }
    }
}

/// One can be elected, and whoever is elected, another works.
fn members(rng: &mut StdRng) -> Vec<Role> {
    let count = rng.random_range(2..=6);
    let slots = |rng: &mut StdRng| *[1, 2, 4, 16].choose(rng).expect("there are some");
    let mut members: Vec<Role> = (0..count)
        .map(|_| {
            let stands = rng.random_bool(0.7);
            Role { stands, works: !stands || rng.random_bool(0.8), slots: slots(rng) }
        })
        .collect();
    members[0].stands = true;
    members[1].works = true;
    members[1].stands &= members[0].works;
    members
}

fn setting(rng: &mut StdRng, broken: Option<Rule>) -> Setting {
    let usual = coordinator::Options::default();
    let coordinator = if rng.random_bool(0.3) {
        usual
    } else {
        coordinator::Options {
            checkpoint_parts: *[1, 3, 10, 100].choose(rng).expect("there are some"),
            checkpoint_after: millis(rng.random_range(20..2_000)),
            silence: millis(rng.random_range(1_000..8_000)),
            speculate: millis(rng.random_range(200..3_000)),
            gather: millis(rng.random_range(50..1_000)),
        }
    };
    let jobs = *[3, 100, 100].choose(rng).expect("there are some");
    let longest = *[5, 20, 60].choose(rng).expect("there are some");
    let slowest = *[2, 10, 100, 500].choose(rng).expect("there are some");
    let all = [Failure::Exit, Failure::Stall, Failure::Delay];
    let fails = rng.random_bool(0.6);
    Setting {
        coordinator,
        limits: Limits { jobs, ..Limits::default() },
        leg: millis(longest / 5)..millis(longest),
        write: millis(1)..millis(*[3, 30].choose(rng).expect("there are some")),
        computes: millis(slowest / 2)..millis(slowest),
        stalls: millis(5_000)..millis(60_000),
        fails: if fails { 0.3 } else { 0.0 },
        modes: all.into_iter().filter(|mode| *mode == Failure::Delay || rng.random_bool(0.6)).collect(),
        loss: *[0.0, 0.02, 0.2].choose(rng).expect("there are some"),
        broken,
    }
}

/// Mostly small ones; rarely one whose last products lie at the board.
fn number(rng: &mut StdRng) -> u32 {
    match rng.random_range(0..100) {
        0..60 => rng.random_range(0..=40),
        60..95 => rng.random_range(40..=300),
        95..98 => rng.random_range(300..=1_000),
        _ => rng.random_range(3_300..=3_600),
    }
}

fn fault(kind: u8, members: usize, rng: &mut StdRng) -> Act {
    let half = rng.random_bool(0.5);
    let who = if half { Target::Leader } else { Target::Member(rng.random_range(0..members)) };
    let soon = |rng: &mut StdRng| millis(rng.random_range(50..3_000));
    // Very late at times: such a coordinator goes on beside many newer ones.
    let late = |rng: &mut StdRng| {
        millis(*[100, 2_000, 10_000, 60_000].choose(rng).expect("some") * rng.random_range(1..=10) / 10)
    };
    match kind {
        0 => Act::Crash(who, soon(rng)),
        1 => Act::Pause(who, late(rng)),
        2 => Act::Cut { who, hub: if half { Duration::ZERO } else { soon(rng) }, member: late(rng) },
        3 => Act::Replace(late(rng)),
        4 => Act::Suspect(Target::Member(rng.random_range(0..members)), soon(rng)),
        _ => Act::HubCrash(soon(rng)),
    }
}

impl Act {
    /// Whether it is a fault, and no wish.
    pub fn is_fault(&self) -> bool {
        !matches!(self, Act::Submit { .. } | Act::Cancel(_))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, Role { stands, works, slots }) in ('a'..).zip(&self.members) {
            let stands = if *stands { "can lead" } else { "never leads" };
            let works = if *works { format!("takes {slots} parts at a time") } else { "computes nothing".into() };
            writeln!(f, "member {name}: {stands}, {works}")?;
        }
        let Setting { coordinator, leg, write, computes, fails, modes, loss, limits, broken, .. } = &self.setting;
        writeln!(f, "coordinators: {coordinator:?}")?;
        writeln!(f, "frames take {leg:?}, writing {write:?}, a part {computes:?}, {} open jobs at most", limits.jobs)?;
        writeln!(
            f,
            "{:.0} % of computations fail ({modes:?}), {:.0} % of requests are lost",
            fails * 100.0,
            loss * 100.0
        )?;
        if let Some(rule) = broken {
            writeln!(f, "broken on purpose: {rule}")?;
        }
        Ok(())
    }
}
