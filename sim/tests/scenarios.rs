//! Every file in `scenarios/` gives the trace that stands in it.
//!
//! `UPDATE=1 cargo test -p sim` rewrites the traces. Commit the differences that
//! you can explain.

use std::fs;
use std::path::{Path, PathBuf};

use sim::scenario::{Error, Scenario};

/// One test a file, so that each has a line in the output.
macro_rules! stories {
    ($($module:ident $folder:literal: $($story:ident)*;)*) => {
        $(mod $module {
            $(#[test] fn $story() { super::play(&super::path($folder, stringify!($story))); })*
        })*

        const LISTED: &[(&str, &str)] = &[$($(($folder, stringify!($story)),)*)*];
    };
}

stories! {
    eligible_array "eligible-array":
        announced_leader_leaves
        classic_follower
        classic_leader
        election
        equal_ranks
        holder_dies
        holder_stalls
        hub_loses_its_store
        hub_restarts
        initiator_leaves
        initiator_stalls
        leader_deposed_asleep
        leader_dies
        leader_cut_off
        leader_dies_early
        leader_resigns
        resigns_during_announcement
        newcomer
        old_lease_runs_out
        only_member
        two_starters
        winner_leaves;
    chang_roberts "chang-roberts":
        best_order
        broken
        election
        late_starter
        leader_dies
        repair
        repair_leader_dies
        worst_order;
    lowest_id "lowest-id":
        election
        leader_dies
        leader_returns
        one_sided_cut_quorum
        partition
        partition_quorum
        starts_without_all
        voter_restarts
        waits_for_all;
    paxos "paxos":
        acceptor_restarts
        forgetful_acceptor
        late_learner
        no_majority
        nobody_before_all
        one_proposer
        two_proposers
        value_survives;
}

fn path(folder: &str, story: &str) -> PathBuf {
    scenarios().join(folder).join(format!("{}.txt", story.replace('_', "-")))
}

fn scenarios() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

fn play(file: &Path) {
    if let Err(error) = update_or_compare(file) {
        panic!("{error}");
    }
}

fn update_or_compare(file: &Path) -> Result<(), Error> {
    let scenario = Scenario::read(file)?;
    let trace = scenario.run()?;
    assert_eq!(scenario.run()?, trace, "the same seed gives the same trace");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(file, scenario.with_trace(&trace))
            .map_err(|error| Error::File { file: file.display().to_string(), error })
    } else {
        assert!(scenario.expects(), "{}: no trace in it yet; UPDATE=1 cargo test -p sim writes one", file.display());
        scenario.compare(&trace)
    }
}

#[test]
fn every_file_is_played() {
    let mut listed: Vec<PathBuf> = LISTED.iter().map(|(folder, story)| path(folder, story)).collect();
    let mut there: Vec<PathBuf> = fs::read_dir(scenarios())
        .unwrap()
        .flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .collect();
    listed.sort();
    there.sort();
    assert_eq!(there, listed, "the files in scenarios/ are the ones listed in this test");
}

#[test]
fn a_trace_with_a_wrong_line_fails() {
    let story = Scenario::parse("wrong.txt", "nodes a=7 b=3 c=9\nsettle\n").unwrap();
    let right = story.with_trace(&story.run().unwrap());
    let wrong = right.replace("hub: c elected, term 1", "hub: b elected, term 1");
    assert_ne!(wrong, right);
    for (text, differs) in [(right, false), (wrong, true)] {
        let scenario = Scenario::parse("wrong.txt", &text).unwrap();
        let difference = scenario.compare(&scenario.run().unwrap()).err().map(|error| error.to_string());
        assert_eq!(difference.is_some(), differs, "{difference:?}");
        for part in ["wrong.txt: the trace differs", "hub: b elected, term 1\n  +", "hub: c elected, term 1\n"] {
            assert!(difference.iter().all(|text| text.contains(part)), "{difference:?}");
        }
    }
}
