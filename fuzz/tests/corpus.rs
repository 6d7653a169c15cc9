//! The corpus, run by ordinary Rust: nothing of it breaks anything, and it notices rules
//! that are broken on purpose.

// Clippy's own exception for tests does not reach the helpers.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::panic::{RefUnwindSafe, catch_unwind, set_hook, take_hook};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use ringleader_fuzz::{client, decode, handshake, relay};
use ringleader_shared::rule::Rule;

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let read = |path: &Path| (path.display().to_string(), fs::read(path).unwrap());
    let corpus: Vec<_> = files.map(|file| read(&file.unwrap().path())).collect();
    assert!(corpus.len() >= 20, "the corpus of {target} is there");
    corpus
}

/// The files of a corpus that a target fails on.
fn failing(target: &str, run: impl Fn(&[u8]) + RefUnwindSafe) -> Vec<String> {
    corpus(target).into_iter().filter(|(_, bytes)| catch_unwind(|| run(bytes)).is_err()).map(|(name, _)| name).collect()
}

#[test]
fn nothing_in_the_corpus_breaks_anything() {
    assert_eq!(failing("decode", decode::run), [""; 0]);
    assert_eq!(failing("relay", |bytes| relay::run(bytes, None)), [""; 0]);
    assert_eq!(failing("client", |bytes| client::run(bytes, None)), [""; 0]);
}

#[test]
fn nothing_in_the_corpus_breaks_a_hub() {
    // A panic in a task of the hub's own ends that task, and nobody hears of it.
    let panics = Arc::new(AtomicUsize::new(0));
    let (count, hook) = (panics.clone(), take_hook());
    // It runs on this thread, and other tests mean to panic on theirs.
    let here = thread::current().id();
    set_hook(Box::new(move |panic| {
        if thread::current().id() == here {
            count.fetch_add(1, Ordering::Relaxed);
        }
        hook(panic);
    }));
    assert_eq!(failing("handshake", handshake::run), [""; 0]);
    assert_eq!(panics.load(Ordering::Relaxed), 0);
}

/// What is not here is a matter of time, or of a hub that has lost its store, which
/// stories do not tell of. The simulator plants all of them.
const NOTICED: [Rule; 17] = [
    Rule::LateFramesAbsorbed,
    Rule::AnnouncementForOpenElection,
    Rule::LeaderIsThere,
    Rule::BestIsAnnounced,
    Rule::TokensHandedOn,
    Rule::ElectionsClose,
    Rule::SenderIsKept,
    Rule::SenderIsStamped,
    Rule::OwnEntryOnly,
    Rule::LeaderWithItsTerm,
    Rule::OldLeasesRunOut,
    Rule::LeaseForLeaderOnly,
    Rule::OwnLeaseGivenBack,
    Rule::AnnouncerWaits,
    Rule::CampaignIsArmed,
    Rule::AdoptOnlyNewer,
    Rule::StandDown,
];

#[test]
fn a_broken_rule_is_noticed() {
    let missed = NOTICED.into_iter().filter(|rule| {
        let relay = failing("relay", |bytes| relay::run(bytes, Some(*rule)));
        relay.is_empty() && failing("client", |bytes| client::run(bytes, Some(*rule))).is_empty()
    });
    assert_eq!(missed.collect::<Vec<_>>(), []);
}
