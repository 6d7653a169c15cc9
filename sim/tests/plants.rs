//! Each rule that can be broken is missed: with it broken, a ring breaks a property;
//! with it kept, the same ring does not.
//!
//! Where a seed stands below that is one in which it shows, so that this takes
//! seconds. Another plan of faults makes it another seed: the test says so, and
//! `cargo run --release -p sim -- --plant NAME` finds one.

use std::time::Duration;

use sim::plan::{Plan, Weather};
use sim::plant::Plant;
use sim::property::Property::{self, *};
use sim::run::play;

/// As `sim --plant` plays them.
const LENGTH: Duration = Duration::from_secs(720);

macro_rules! plants {
    ($($test:ident: $name:literal, $property:ident, seed $seed:literal;)*) => {
        $(#[test] fn $test() { is_missed($name, $property, $seed); })*

        const LISTED: &[&str] = &[$($name),*];
    };
}

plants! {
    late_frames_absorbed: "late-frames-absorbed", S4, seed 389;
    announcement_for_open_election: "announcement-for-open-election", S1, seed 10;
    leader_is_there: "leader-is-there", Invariant, seed 70;
    best_is_announced: "best-is-announced", S4, seed 11;
    tokens_handed_on: "tokens-handed-on", S8, seed 5;
    elections_close: "elections-close", Invariant, seed 2;
    sender_is_kept: "sender-is-kept", S7, seed 2;
    sender_is_stamped: "sender-is-stamped", S7, seed 4;
    own_entry_only: "own-entry-only", S4, seed 84;
    leader_with_its_term: "leader-with-its-term", S3, seed 6;
    nobody_left_behind: "nobody-left-behind", S7, seed 75;
    claims_are_heard: "claims-are-heard", L1, seed 53;
    old_leases_run_out: "old-leases-run-out", S6, seed 5;
    lease_for_leader_only: "lease-for-leader-only", S6, seed 695;
    own_lease_given_back: "own-lease-given-back", S6, seed 1145;
    home_by_id: "home-by-id", L3, seed 28;
    adopt_only_newer: "adopt-only-newer", S2, seed 55;
    announcer_waits: "announcer-waits", S3, seed 1;
    campaign_is_armed: "campaign-is-armed", L1, seed 15;
    oldest_check_counts: "oldest-check-counts", L1, seed 31;
    leaders_answer_only: "leaders-answer-only", L1, seed 305;
    lease_from_asking: "lease-from-asking", S6, seed 165;
    stand_down: "stand-down", S6, seed 7;
    wait_before_acting: "wait-before-acting", S6, seed 5;
    terms_are_durable: "terms-are-durable", S1, seed 1;
    saved_before_said: "saved-before-said", S6, seed 37;
    lease_outlives_hub: "lease-outlives-hub", S6, seed 11;
    lost_is_not_closed: "lost-is-not-closed", S6, seed 7;
    cancelled_timers_are_silent: "cancelled-timers-are-silent", L2, seed 2;
    fence_refuses_older: "fence-refuses-older", S5, seed 4;
    clock_rates_are_bounded: "clock-rates-are-bounded", S6, seed 9;
}

fn is_missed(name: &str, property: Property, seed: u64) {
    let plant: Plant = name.parse().expect("there is such a plant");
    let broken = play(&Plan::draw(seed, LENGTH, Weather::Stormy, Some(plant)), |_| {});
    let broken = broken.err().map(|failure| failure.violation.property);
    assert_eq!(
        broken,
        Some(property),
        "seed {seed} shows nothing of it any more: find another by cargo run --release -p sim -- --plant {name}"
    );
    let kept = play(&Plan::draw(seed, LENGTH, Weather::Stormy, None), |_| {});
    assert!(kept.is_ok(), "without it the same ring breaks a property, too: {:?}", kept.err());
}

#[test]
fn every_plant_is_listed() {
    let all: Vec<String> = Plant::all().map(|plant| plant.to_string()).collect();
    assert_eq!(all, LISTED, "one test for each of sim --plant list");
}
