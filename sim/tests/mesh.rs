//! The algorithms without a hub: under faults by chance, with rules broken on purpose,
//! and under the model checker, at sizes that take seconds. The seeds and the counts hold
//! as long as casts, faults and machines stay as they are.

use std::num::NonZero;

use ringleader_shared::election::chang_roberts;
use ringleader_shared::paxos;
use sim::mesh::chang_roberts::ChangRoberts;
use sim::mesh::lowest_id::LowestId;
use sim::mesh::model::{Bounded, Bounds, Checked, Found, look};
use sim::mesh::paxos::Paxos;
use sim::mesh::seeds::{Chance, Errand, Outcome};

fn play<A: Chance>(from: u64, count: u64, broken: Option<&str>) -> Outcome {
    let (jobs, broken) = (NonZero::<usize>::MIN, broken.map(str::to_owned));
    Errand { seeds: from..from + count, jobs, broken }.run::<A>(|_| {})
}

fn holds<A: Chance>(count: u64) {
    let outcome = play::<A>(1, count, None);
    assert_eq!((outcome.wrong, outcome.played), (None, count));
    assert!(outcome.faults > count && outcome.messages > count, "something happened");
}

#[test]
fn a_ring_elects_whatever_happens() {
    holds::<ChangRoberts>(2_000);
}

#[test]
fn the_lowest_id_leads_whatever_happens() {
    holds::<LowestId>(300);
}

#[test]
fn paxos_agrees_whatever_happens() {
    holds::<Paxos>(2_000);
}

/// Each broken rule, a seed that shows it, and what is wrong then. Where all of the rules
/// of an algorithm are not in the list, the last column says why.
fn each_is_missed<A: Chance>(seeds: &[(&str, u64, &str)], elsewhere: &[&str]) {
    let mut tried: Vec<&str> = seeds.iter().map(|(rule, ..)| *rule).chain(elsewhere.iter().copied()).collect();
    let mut all: Vec<&str> = A::rules().into_iter().map(|(rule, _)| rule).collect();
    tried.sort_unstable();
    all.sort_unstable();
    assert_eq!(tried, all, "every rule is tried");
    for &(rule, seed, expected) in seeds {
        let (_, wrong, story) = play::<A>(seed, 1, Some(rule)).wrong.unwrap_or_else(|| panic!("{rule} is not missed"));
        assert!(wrong.contains(expected), "{rule}: {wrong}\n{story}");
        assert_eq!(play::<A>(seed, 1, None).wrong, None, "{rule}: with it all is well");
    }
}

#[test]
fn each_rule_of_the_ring_is_missed() {
    each_is_missed::<ChangRoberts>(
        &[
            ("lesser-stops", 1, "PastAGreater"),
            ("own-first", 1, "do not agree"),
            ("older-terms-dropped", 100, "SecondHome"),
            ("repair-raises-term", 100, "do not agree"),
            ("decided-tells-next", 79, "do not agree"),
            ("done-when-home", 211, "2 of them lead"),
        ],
        &[],
    );
}

#[test]
fn each_rule_of_the_lowest_id_is_missed() {
    each_is_missed::<LowestId>(
        &[
            ("all-heard-first", 1, "has not heard all"),
            ("silent-off-the-list", 8, "do not agree"),
            ("majority", 3, "lead at one time"),
            ("one-grant-at-a-time", 121, "lead at one time"),
            ("vote-ends-before-grant", 41, "lead at one time"),
            ("restarted-grants-later", 11_603, "lead at one time"),
        ],
        &[],
    );
}

#[test]
fn each_rule_of_paxos_is_missed() {
    each_is_missed::<Paxos>(
        &[
            ("promise-is-kept", 4, "agreement"),
            ("saved-before-answered", 166, "agreement"),
            ("highest-accepted-wins", 8, "agreement"),
            ("majority", 5, "not chosen by a majority"),
            ("quorum-of-one-ballot", 359, "not chosen by a majority"),
            ("forgotten-only-learns", 42_901, "agreement"),
        ],
        // Takes a leader that comes back in the middle of START, and an acceptor that forgets right
        // after a vote: a story of its own, beside the machine.
        &["newest-run-is-backed"],
    );
}

const NO_FAULTS: Bounds = Bounds { crashes: 0, restarts: 0, timeouts: 0 };
const CRASH: Bounds = Bounds { crashes: 1, restarts: 1, timeouts: 0 };

fn goes_through<A: Checked>(algorithm: A, bounds: Bounds, prelude: bool) -> (usize, bool) {
    let Found { progress, agreed, story } = look(Bounded { algorithm, bounds, prelude }, |_| ());
    assert_eq!(story, None);
    (progress.states, agreed)
}

#[test]
fn every_ring_of_up_to_four() {
    let ring = |ids: &[u32], repair, crashes: u8| {
        goes_through(ChangRoberts::of(ids, repair, crashes > 0, None), Bounds { crashes, ..NO_FAULTS }, false)
    };
    assert_eq!(ring(&[3, 1, 2], false, 0), (17, true));
    assert_eq!(ring(&[4, 3, 2, 1], false, 0), (50, true));
    assert_eq!(ring(&[3, 1, 2], false, 1), (122, true));
    assert_eq!(ring(&[3, 1, 2], true, 2), (736, true));
    assert_eq!(ring(&[3, 1, 4, 2], true, 2), (13_528, true));
}

#[test]
fn a_rule_of_paxos_that_is_broken_has_a_shortest_story() {
    use paxos::Rule;
    let timeout = Bounds { timeouts: 1, ..NO_FAULTS };
    for (rule, roles, bounds, steps, wrong) in [
        (Rule::PromiseIsKept, [2, 3, 1], NO_FAULTS, 14, "agreement"),
        (Rule::HighestAcceptedWins, [2, 3, 1], NO_FAULTS, 14, "agreement"),
        (Rule::Majority, [2, 2, 1], timeout, 5, "not chosen by a majority"),
        (Rule::QuorumOfOneBallot, [2, 2, 1], timeout, 14, "not chosen by a majority"),
    ] {
        let algorithm = Paxos::of(roles, &[], Some(rule)).unwrap();
        let story = look(Bounded { algorithm, bounds, prelude: true }, |_| ()).story;
        let story = story.unwrap_or_else(|| panic!("nobody misses {rule}"));
        assert!(story.lines().last().is_some_and(|last| last.contains(wrong)), "{rule}:\n{story}");
        let told = story.lines().filter(|line| line[..3].trim().parse::<usize>().is_ok()).count();
        assert_eq!(told, steps, "{rule}:\n{story}");
    }
}

#[test]
fn a_rule_of_the_ring_that_is_broken_has_a_shortest_story() {
    use chang_roberts::Rule;
    for (rule, wrong) in [
        (Rule::LesserStops, "PastAGreater"),
        (Rule::OwnFirst, "nothing more happens"),
        (Rule::RepairRaisesTerm, "nothing more happens"),
        (Rule::DecidedTellsNext, "nothing more happens"),
        (Rule::DoneWhenHome, "2 of them lead"),
    ] {
        let algorithm = ChangRoberts::of(&[3, 1, 4, 2], true, true, Some(rule));
        let bounds = Bounds { crashes: 1, ..NO_FAULTS };
        let story = look(Bounded { algorithm, bounds, prelude: false }, |_| ()).story;
        let story = story.unwrap_or_else(|| panic!("nobody misses {rule}"));
        assert!(story.lines().last().is_some_and(|last| last.contains(wrong)), "{rule}:\n{story}");
    }
}

#[test]
fn two_peers_with_a_quorum() {
    let bounds = Bounds { timeouts: 4, ..CRASH };
    assert_eq!(goes_through(LowestId::new(&[1, 2], true, false), bounds, false), (11_609, true));
}

#[test]
fn paxos_with_small_casts() {
    let paxos = |roles, forgetful: &[usize]| Paxos::of(roles, forgetful, None).unwrap();
    assert_eq!(goes_through(paxos([2, 2, 1], &[]), NO_FAULTS, true), (1_904, true));
    assert_eq!(goes_through(paxos([1, 3, 1], &[]), CRASH, true), (33_023, true));
    // How the roles are given out, too; the proposer and the leader forget.
    assert_eq!(goes_through(paxos([1, 2, 1], &[0, 3]), CRASH, false), (42_270, true));
}
