//! Faults on real processes: a hub, writers that are the example `fenced_writer`, and
//! a resource that compares terms, judged from outside. `docs/chaos.md` says what is
//! done, what has to hold, and what was measured.

#![allow(clippy::unwrap_used, reason = "what a test does not expect may end it")]

#[path = "chaos/faults.rs"]
mod faults;
#[path = "chaos/judge.rs"]
mod judge;
#[path = "chaos/judged.rs"]
mod judged;
#[path = "chaos/process.rs"]
mod process;
#[path = "chaos/proxy.rs"]
mod proxy;
#[path = "chaos/ring.rs"]
mod ring;
#[path = "chaos/tally.rs"]
mod tally;

use std::path::Path;
use std::time::{Duration, Instant};

use faults::{Fault, Kind, draw_storm};
use futures_util::future::join_all;
use judge::{Happening, Violation, What, judge};
use nix::sys::signal::Signal;
use proxy::Cut;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use ring::{Agreement, Ring, Safeguard, Setup, now};
use ringleader_client::Term;
use tally::Tally;
use tokio::time::sleep;

/// L1: how long a ring may take to agree after the last fault is over. 5 s for a check that
/// stays unanswered, 2.2 s until the next check, 3 s until the hub misses one who is
/// silent, 5 s between attempts to reach a hub that was away, 1 s for an election.
const AGREE: Duration = Duration::from_millis(5_000 + 2_200 + 3_000 + 5_000 + 1_000);

/// L3: how long until another leads, with --early, when the leader is killed.
const EARLY: Duration = Duration::from_secs(1);

/// From agreement to the new leader's first write: an older lease may still run for 4 s.
const LEASE: Duration = Duration::from_secs(4);

/// What a machine may add that has something else to do.
const BUSY: Duration = Duration::from_secs(10);

/// How many rings there are at a time.
const RINGS: usize = 4;

/// How many faults, unless RINGLEADER_CHAOS_FAULTS says so: a minute's.
const FAULTS: usize = 40;

const PLAIN: Setup = Setup { nodes: 5, early: false, proxied: false, effort: Duration::from_millis(50), without: None };

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute, and is measured: run by ./test"]
async fn whatever_befalls_real_processes_no_term_is_split_and_no_stale_write_accepted() {
    process::build();
    let faults = given("RINGLEADER_CHAOS_FAULTS").unwrap_or(FAULTS as u64) as usize;
    let seed = given("RINGLEADER_CHAOS_SEED").unwrap_or_else(|| rand::rng().random_range(0..1_000_000));
    println!("{faults} faults on {RINGS} rings; RINGLEADER_CHAOS_SEED={seed} draws the same ones again");
    let directory = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let rings = (0..RINGS).map(|number| {
        // All four kinds, whatever the count.
        let setup = Setup { early: number % 2 == 0, proxied: number % 4 >= 2, ..PLAIN };
        let share = faults / RINGS + usize::from(number < faults % RINGS);
        let directory = directory.path().join(number.to_string());
        std::fs::create_dir(&directory).unwrap();
        tokio::spawn(async move {
            let mut chaos = Chaos::start(setup, &directory).await;
            chaos.go_on(share, StdRng::seed_from_u64(seed * RINGS as u64 + number as u64)).await;
            chaos.end()
        })
    });
    let mut tally = Tally::default();
    for of_ring in join_all(rings).await {
        tally.add(of_ring.unwrap());
    }
    println!("{tally}in {:.0} s, with seed {seed}", started.elapsed().as_secs_f64());
    if !tally.is_clean() {
        panic!("violations, see above; logs and histories are in {}", directory.keep().display());
    }
    assert!(tally.faults() >= faults);
}

fn given(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}: expected a number, got {text:?}")))
}

/// A ring, what befalls it, and what was measured of it.
struct Chaos {
    ring: Ring,
    tally: Tally,
}

impl Chaos {
    async fn start(setup: Setup, directory: &Path) -> Chaos {
        Chaos { ring: Ring::start(setup, directory).await, tally: Tally::default() }
    }

    /// One round after the other, until there were so many faults, or the ring is stuck.
    async fn go_on(&mut self, faults: usize, mut rng: StdRng) {
        let Some(mut agreed) = self.settle().await else { return };
        while self.tally.faults() < faults {
            let after = match rng.random_range(0..5) {
                0 | 1 => {
                    let Some(agreed) = self.rest(&mut rng).await else { return };
                    if rng.random() {
                        self.leader_is_killed(&agreed).await
                    } else {
                        self.leader_is_stopped(&agreed).await
                    }
                }
                _ => {
                    let left = faults - self.tally.faults();
                    let storm = draw_storm(&mut rng, &self.ring, agreed.leader, left);
                    self.storm(&storm).await
                }
            };
            let Some(after) = after else { return };
            agreed = after;
            println!("ring {}: {} of {faults} faults", self.ring.name(), self.tally.faults());
        }
    }

    /// What is measured begins with a ring at rest: its leader acts, and the time until
    /// the next check is anybody's guess.
    async fn rest(&mut self, rng: &mut StdRng) -> Option<Agreement> {
        sleep(Duration::from_millis(rng.random_range(0..2_000))).await;
        let agreed = self.agreement().await?;
        let wrote = |seen: &ring::Seen| seen.first_writes.contains_key(&agreed.term).then_some(());
        if self.ring.until(LEASE + BUSY, wrote).await.is_none() {
            return self.stuck(LEASE + BUSY, "the leader's first write");
        }
        Some(agreed)
    }

    /// Several faults at a time; judged by what comes after.
    async fn storm(&mut self, storm: &[Fault]) -> Option<Agreement> {
        for fault in storm {
            self.tally.fault(fault.kind);
        }
        join_all(storm.iter().map(|fault| fault.befall(&self.ring))).await;
        self.settle().await
    }

    async fn leader_is_killed(&mut self, before: &Agreement) -> Option<Agreement> {
        self.tally.fault(Kind::KillNode);
        self.note(format!("{} n{}, and nothing else", Kind::KillNode.name(), before.leader));
        let fault = now();
        self.ring.end_node(before.leader, Signal::SIGKILL).await;
        let after = self.failover("kill -9", fault, before).await?;
        if self.ring.setup.early {
            let took = Duration::from_millis(after.at.saturating_sub(fault));
            // A check would take 5 s to notice, so the slack must not.
            if took > EARLY + BUSY / 4 {
                let how = format!("with --early, another led {took:?} after a kill, expected {EARLY:?} at most");
                self.tally.violation(Violation { at: fault, property: "L3", how });
            }
        }
        self.ring.start_node(before.leader).await;
        self.settle().await
    }

    async fn leader_is_stopped(&mut self, before: &Agreement) -> Option<Agreement> {
        self.tally.fault(Kind::StopNode);
        self.note(format!("{} n{}, and nothing else", Kind::StopNode.name(), before.leader));
        let fault = now();
        self.ring.signal_node(before.leader, Signal::SIGSTOP).await;
        let after = self.failover("SIGSTOP", fault, before).await;
        self.ring.signal_node(before.leader, Signal::SIGCONT).await;
        after?;
        self.settle().await
    }

    /// Measures how the others go on without their leader.
    async fn failover(&mut self, how: &str, fault: u64, before: &Agreement) -> Option<Agreement> {
        let Setup { early, proxied, .. } = self.ring.setup;
        let others: Vec<usize> = self.ring.all().into_iter().filter(|node| *node != before.leader).collect();
        let look = self.ring.until(AGREE + BUSY, |seen| self.ring.agreement(seen, &others, before.term));
        let Some(after) = look.await else {
            return self.stuck(AGREE + BUSY, "the others to agree on another leader");
        };
        let wrote = self.ring.until(LEASE + BUSY, |seen| {
            seen.first_writes.iter().find(|(term, _)| **term > before.term).map(|(_, at)| *at)
        });
        let Some(wrote) = wrote.await else {
            return self.stuck(LEASE + BUSY, "the new leader's first write");
        };
        let flags = match (early, proxied) {
            (true, false) => ", --early",
            (true, true) => ", --early, behind a proxy",
            (false, false) => "",
            (false, true) => ", behind a proxy",
        };
        let mut measured = |what, at: u64| {
            self.tally.time(format!("{how}{flags}: {what}"), Duration::from_millis(at.saturating_sub(fault)))
        };
        measured("another leads", after.at);
        measured("its first write", wrote);
        Some(after)
    }

    /// Faults are over: waits until all agree, and measures that.
    async fn settle(&mut self) -> Option<Agreement> {
        let started = Instant::now();
        let agreed = self.agreement().await;
        self.tally.time(format!("faults are over: all agree (L1, {AGREE:?} at most)"), started.elapsed());
        agreed
    }

    async fn agreement(&mut self) -> Option<Agreement> {
        let all = self.ring.all();
        let agreed = self.ring.until(AGREE + BUSY, |seen| self.ring.agreement(seen, &all, Term::NONE)).await;
        agreed.or_else(|| self.stuck(AGREE + BUSY, "all to agree, faults being over"))
    }

    fn stuck(&mut self, waited: Duration, what: &str) -> Option<Agreement> {
        let how = format!("waited {waited:?} in vain for {what}: {}", self.ring);
        self.tally.violation(Violation { at: now(), property: "L1", how });
        None
    }

    fn note(&self, fault: String) {
        self.ring.note(What::Fault(fault));
    }

    /// Judges what was seen.
    fn end(mut self) -> Tally {
        let seen = self.ring.seen.borrow();
        self.tally.history(&seen.history);
        for violation in judge(&seen.history) {
            let how = format!("{}; {}", violation.how, self.ring);
            self.tally.violation(Violation { how, ..violation });
        }
        write_down(&seen.history, &self.ring.directory.join("history"));
        drop(seen);
        self.tally
    }
}

/// For whoever has to find out why a test failed.
fn write_down(history: &[Happening], file: &Path) {
    let mut history: Vec<_> = history.iter().collect();
    history.sort_by_key(|happening| happening.at);
    let lines: Vec<_> = history.iter().map(|happening| format!("{} {:?}\n", happening.at, happening.what)).collect();
    std::fs::write(file, lines.concat()).unwrap();
}

// What is left out is missed: else the checks above would say nothing.

/// Plays a story on a ring, and says which properties did not hold.
async fn broken_by(setup: Setup, story: impl AsyncFn(&mut Chaos, Agreement)) -> Vec<&'static str> {
    process::build();
    let directory = tempfile::tempdir().unwrap();
    let mut chaos = Chaos::start(setup, directory.path()).await;
    let agreed = chaos.settle().await.expect("a ring that nothing befalls agrees");
    story(&mut chaos, agreed).await;
    let mut broken: Vec<_> = judge(&chaos.ring.seen.borrow().history).iter().map(|found| found.property).collect();
    broken.sort_unstable();
    broken.dedup();
    broken
}

/// The leader is stopped in the middle of an act, and goes on with it when another leads.
async fn stopped_while_it_acts(chaos: &mut Chaos, agreed: Agreement) {
    let wrote = |seen: &ring::Seen| seen.first_writes.contains_key(&agreed.term).then_some(());
    chaos.ring.until(BUSY, wrote).await.expect("the leader writes");
    // The next act takes a second from here, and nobody sees it begin.
    sleep(Duration::from_millis(400)).await;
    chaos.ring.signal_node(agreed.leader, Signal::SIGSTOP).await;
    chaos.failover("SIGSTOP", now(), &agreed).await.expect("another leads");
    chaos.ring.signal_node(agreed.leader, Signal::SIGCONT).await;
    let late = |seen: &ring::Seen| {
        let newer = |what: &What| matches!(what, What::Wrote { term, .. } if *term > agreed.term);
        let first = seen.history.iter().position(|happening| newer(&happening.what))?;
        let older = |what: &What| matches!(what, What::Wrote { term, .. } if *term == agreed.term);
        seen.history[first..].iter().any(|happening| older(&happening.what)).then_some(())
    };
    chaos.ring.until(BUSY, late).await.expect("the old leader finishes its act");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs programs that are built: run by ./test"]
async fn without_a_fence_a_stale_write_is_accepted() {
    // So long that it is stopped in the middle of an act, as good as always.
    let setup = Setup { nodes: 3, early: true, effort: Duration::from_secs(1), ..PLAIN };
    assert_eq!(broken_by(setup, stopped_while_it_acts).await, [""; 0]);
    let setup = Setup { without: Some(Safeguard::Fence), ..setup };
    assert_eq!(broken_by(setup, stopped_while_it_acts).await, ["S5"]);
}

/// The hub sees the leader's connection end, and the leader does not.
async fn cut_from_the_hub(chaos: &mut Chaos, agreed: Agreement) {
    let wrote = |seen: &ring::Seen| seen.first_writes.contains_key(&agreed.term).then_some(());
    chaos.ring.until(BUSY, wrote).await.expect("the leader writes");
    chaos.ring.proxy(agreed.leader).cut(Cut::HubSide);
    chaos.failover("cut", now(), &agreed).await.expect("another leads");
    chaos.ring.proxy(agreed.leader).heal();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs programs that are built: run by ./test"]
async fn a_hub_that_is_not_told_of_its_proxy_lets_leases_overlap() {
    let setup = Setup { nodes: 3, early: true, proxied: true, ..PLAIN };
    assert_eq!(broken_by(setup, cut_from_the_hub).await, [""; 0]);
    let setup = Setup { without: Some(Safeguard::BehindProxy), ..setup };
    let broken = broken_by(setup, cut_from_the_hub).await;
    assert!(broken.contains(&"S6"), "{broken:?}");
}

/// Everybody who remembers a term is killed.
async fn all_are_killed(chaos: &mut Chaos, _: Agreement) {
    for node in chaos.ring.all() {
        chaos.ring.end_node(node, Signal::SIGKILL).await;
    }
    chaos.ring.kill_hub().await;
    chaos.ring.start_hub().await;
    for node in chaos.ring.all() {
        chaos.ring.start_node(node).await;
    }
    chaos.settle().await.expect("they agree again");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs programs that are built: run by ./test"]
async fn a_hub_without_data_gives_a_term_out_twice() {
    let setup = Setup { nodes: 3, ..PLAIN };
    assert_eq!(broken_by(setup, all_are_killed).await, [""; 0]);
    let setup = Setup { without: Some(Safeguard::DataDir), ..setup };
    let broken = broken_by(setup, all_are_killed).await;
    assert!(broken.contains(&"S1"), "{broken:?}");
}
