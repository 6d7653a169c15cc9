//! Nodes die, and the others skip them.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::broken::closed_pair;
use super::processes::{Run, free_port};
use super::until_log;
use super::world::{Bench, Ring, all_follow, follows, id, object, soon};

const MEND: [&str; 3] = ["--repair", "--grace", "300ms"];

/// Nodes that stand still hold up the ring, and are killed then.
async fn survivors(dead: &[usize], expected: u128) {
    let ring = Ring::new(5);
    let mut held = vec![];
    for who in dead {
        let mut run = ring.spawn(*who, 100 + *who as u128, &MEND);
        run.err("dials").await;
        run.signal(Signal::SIGSTOP);
        held.push(run);
    }
    let alive: Vec<usize> = (0..5).filter(|who| !dead.contains(who)).collect();
    let mut nodes: Vec<Run> = alive.iter().map(|who| ring.spawn(*who, 10 + *who as u128, &MEND)).collect();
    for who in &alive {
        until_log(&ring, *who, "Sent: ").await;
    }
    for run in &held {
        run.signal(Signal::SIGKILL);
    }
    all_follow(&mut nodes, expected).await;
}

#[tokio::test]
async fn the_survivors_agree_on_the_greatest_of_them() {
    tokio::join!(
        survivors(&[4], 13),
        survivors(&[0], 14),
        survivors(&[1, 3], 14),
        survivors(&[3, 4], 12),
        survivors(&[0, 2, 4], 13),
        survivors(&[0, 1, 2, 3], 14),
    );
}

/// In a ring that stood. Slow, so that the blow falls at every stage of an election.
#[tokio::test]
async fn killed_at_any_time_the_survivors_agree() {
    let play = async |seed: u64| {
        let mut rng = StdRng::seed_from_u64(seed);
        let count = rng.random_range(4..=6);
        let ring = Ring::new(count);
        let slow = [&MEND[..], &["--json", "--pace", "40ms"]].concat();
        let mut nodes: Vec<Run> = (0..count).map(|who| ring.spawn(who, rng.random_range(1..1 << 60), &slow)).collect();
        for node in &mut nodes {
            node.out(r#""event":"connected""#).await;
        }
        for _ in 0..rng.random_range(1..=3) {
            sleep(Duration::from_millis(rng.random_range(0..200))).await;
            // Killed with the value.
            drop(nodes.remove(rng.random_range(0..nodes.len())));
        }
        let mut leaders = BTreeSet::new();
        for node in &mut nodes {
            let leader: Value = serde_json::from_str(&node.out(r#""event":"leader""#).await).unwrap();
            leaders.insert(leader["leaderId"].to_string());
        }
        assert_eq!(leaders.len(), 1, "seed {seed}: {leaders:?}");
    };
    join_all((0..12).map(play)).await;
}

#[tokio::test]
async fn a_dead_successor_is_skipped_with_a_new_term() {
    let next = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut bench = Bench::with_others(&[next.local_addr().unwrap().port()], &MEND).await;
    bench.hears_in_term(5, 0, 1).await;
    bench.tell(&object(3, 0)).await;
    let (empty, _) = closed_pair().await;
    drop(std::mem::replace(&mut bench.successor, BufReader::new(empty)));
    bench.successor = BufReader::new(soon("the dial", next.accept()).await.unwrap().0);
    bench.hears_in_term(5, 0, 2).await;
    // From before.
    bench.tell(&format!(r#"{{"uuid": "{}", "flag": 0, "term": 1}}"#, id(7))).await;
    // Another predecessor.
    bench.predecessor = TcpStream::connect(("127.0.0.1", bench.port)).await.unwrap();
    bench.tell(&format!(r#"{{"uuid": "{}", "flag": 1, "term": 2}}"#, id(6))).await;
    bench.hears_in_term(6, 1, 2).await;
    bench.tell(&format!(r#"{{"uuid": "{}", "flag": 1, "term": 2, "done": true}}"#, id(6))).await;
    assert!(bench.hear().await.contains(r#""done": true"#));
    follows(&mut bench.run, 6).await;
}

/// The leader is killed when everybody has decided, and nobody is done.
#[tokio::test]
async fn what_all_have_decided_stands() {
    let mut bench = Bench::with_others(&[free_port().await], &["--repair", "--linger", "1s"]).await;
    bench.hears_in_term(5, 0, 1).await;
    bench.tell(&object(6, 1)).await;
    bench.hears_in_term(6, 1, 1).await;
    let (empty, _) = closed_pair().await;
    drop(std::mem::replace(&mut bench.successor, BufReader::new(empty)));
    follows(&mut bench.run, 6).await;
}
