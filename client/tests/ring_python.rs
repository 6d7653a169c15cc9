//! Rings of ours and of nodes in Python, as students write them: `ring/classic.py`.

#![allow(clippy::unwrap_used, reason = "what a test does not expect may end it")]

#[allow(dead_code, reason = "cli.rs has more uses for it")]
#[path = "cli/world.rs"]
mod processes;
#[allow(dead_code, reason = "ring.rs has more uses for it")]
#[path = "ring/world.rs"]
mod world;

use std::process::Stdio;

use futures_util::future::join_all;
use tokio::process::Command;
use world::{Ring, all_follow, id, soon};

const NODE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ring/classic.py");

/// How the Python nodes read, end their messages, and leave.
const HABITS: [[&str; 3]; 4] = [
    ["lines", "newline", "when-home"],
    ["one", "nothing", "when-home"],
    ["scan", "nothing", "at-once"],
    ["one", "newline", "at-once"],
];

#[tokio::test]
#[ignore = "needs python3"]
async fn nodes_in_python_stand_anywhere_in_the_ring() {
    // Whose are ours, and who is the greatest; some also repair.
    let all: [(&[usize], [u128; 3], &[&str]); 5] = [
        (&[0], [1, 2, 3], &[]),
        (&[1], [1, 3, 2], &[]),
        (&[2], [3, 2, 1], &[]),
        (&[0, 2], [2, 3, 1], &["--settle", "2s"]),
        (&[0, 2], [1, 2, 3], &["--settle", "2s", "--repair", "--linger", "3s"]),
    ];
    let plays = HABITS.iter().flat_map(|habits| {
        // Who takes one at a time, and begins late, gets by with ours beside it, not with its like.
        let first = if habits[0] == "one" { 3 } else { 0 };
        all[first..].iter().map(|(ours, ids, more)| play(*habits, ours, *ids, more))
    });
    join_all(plays).await;
}

async fn play(habits: [&str; 3], ours: &[usize], ids: [u128; 3], more: &[&str]) {
    let ring = Ring::new(ids.len());
    let (mut runs, mut others) = (vec![], vec![]);
    for (who, uuid) in ids.into_iter().enumerate() {
        if ours.contains(&who) {
            runs.push(ring.spawn(who, uuid, more));
        } else {
            let mut python = Command::new("python3");
            python.arg(NODE).arg(ring.write_config(who, 2)).arg(id(uuid)).args(habits);
            others.push(python.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap());
        }
    }
    all_follow(&mut runs, 3).await;
    for other in others {
        let output = soon("its end", other.wait_with_output()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(said, format!("leader is {}\n", id(3)), "{habits:?} {ours:?} {ids:?}");
    }
}
