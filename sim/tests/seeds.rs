//! The minute's tier of the simulator: a fixed set of rings, each with its own
//! faults, in which every property holds. A longer run is a command:
//! `cargo run --release -p sim -- --seeds 1000 --hours 1`.

use std::num::NonZero;
use std::ops::Range;
use std::time::Duration;

use sim::plan::{Plan, Weather};
use sim::run::play;
use sim::seeds::{Errand, Outcome};

const HOUR: Duration = Duration::from_secs(3600);

fn run(seeds: Range<u64>) -> Outcome {
    let errand = Errand { seeds, length: HOUR, jobs: NonZero::<usize>::MIN, weather: Weather::Stormy, plant: None };
    let outcome = errand.run(|_| {});
    if let Some((seed, story)) = &outcome.broken {
        panic!("seed {seed}\n{}\nto see it again:\n  {}", story.tell(), errand.command(*seed));
    }
    outcome
}

/// In parts, for as many cores.
macro_rules! clean {
    ($($name:ident: $seeds:expr;)*) => {
        $(#[test] fn $name() { run($seeds); })*
    };
}

clean! {
    seeds_1_to_12_break_nothing: 1..13;
    seeds_13_to_24_break_nothing: 13..25;
    seeds_25_to_36_break_nothing: 25..37;
    seeds_37_to_48_break_nothing: 37..49;
}

/// Else nothing breaking would say little.
#[test]
fn there_are_faults_of_each_kind_and_elections_after_them() {
    let Outcome { tally, .. } = run(49..61);
    let kinds = [
        "crash",
        "power loss",
        "leave",
        "pause",
        "resign",
        "early timeout",
        "cut",
        "half-open, hub forgot",
        "half-open, client forgot",
        "slow reader",
        "lag",
        "hub crash",
        "hub power loss",
        "hub power loss while saving",
        "hub start without store",
    ];
    for kind in kinds {
        let count = tally.deeds.get(kind).copied().unwrap_or(0);
        assert!(count >= 5, "{kind}: {count} times");
    }
    assert!(tally.elections > 500, "{} elections", tally.elections);
    assert!(tally.writes.0 > 1000 && tally.writes.1 > 10, "writes admitted and refused: {:?}", tally.writes);
    let figures = &tally.figures;
    for (what, times) in [
        ("settled", &figures.settling),
        ("closed, early", &figures.closed_early),
        ("closed", &figures.closed),
        ("hang", &figures.hang),
    ] {
        assert!(times.count() > 5, "{what}: {} times", times.count());
    }
}

#[test]
fn a_seed_gives_the_same_trace_again_byte_for_byte() {
    let trace = |seed| {
        let mut trace = String::new();
        let plan = Plan::draw(seed, HOUR / 10, Weather::Stormy, None);
        play(&plan, |happening| trace += &format!("{happening}\n")).expect("it breaks nothing");
        trace
    };
    // What others have left behind in this thread must not matter.
    let first = std::thread::spawn(move || trace(7)).join().expect("it is played");
    assert_ne!(trace(8), first);
    assert_eq!(trace(7), first);
    assert!(first.lines().count() > 1_000);
}
