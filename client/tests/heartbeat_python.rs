//! `ringleader heartbeat` beside peers in Python, which do with out-of-band data what
//! Rust cannot do without `unsafe`: read it out of band.

#![allow(clippy::unwrap_used, reason = "what a test does not expect may end it")]

#[allow(dead_code, reason = "heartbeat.rs has more uses for it")]
#[path = "heartbeat/group.rs"]
mod group;
#[allow(dead_code, reason = "cli.rs has more uses for it")]
#[path = "cli/world.rs"]
mod world;

use std::process::Stdio;

use group::Group;
use nix::sys::signal::Signal;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;
use world::{PATIENCE, Run};

const CLASSIC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/heartbeat/classic.py");

struct Python {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Python {
    fn start(group: &Group, id: u32) -> Python {
        let mut command = Command::new("python3");
        command.args([CLASSIC, &id.to_string(), &group.port.to_string()]).arg(group.entry()).args(["0.2", "0.8"]);
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Python { child, lines }
    }

    async fn says(&mut self, expected: &str) {
        let said = timeout(PATIENCE, async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                if line == expected {
                    return;
                }
            }
            panic!("it ended before it said {expected:?}");
        });
        said.await.unwrap_or_else(|_| panic!("it did not say {expected:?}"));
    }

    async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }
}

async fn kill(run: &mut Run) {
    run.signal(Signal::SIGKILL);
    run.end().await;
}

/// By turns the leader is theirs, ours, theirs, and all who are left agree each time.
#[tokio::test]
#[ignore = "needs python3"]
async fn theirs_and_ours_lead_by_turns_and_miss_each_other() {
    let group = Group::of(&[1, 2, 3, 4, 5]).await;
    let (mut one, mut two) = (Python::start(&group, 1), group.start(2, &[]));
    let (mut three, mut four) = (Python::start(&group, 3), group.start(4, &[]));
    let mut five = Python::start(&group, 5);
    for ours in [&mut two, &mut four] {
        ours.out("leader is 1").await;
    }
    for theirs in [&mut three, &mut five] {
        theirs.says("leader is 1").await;
    }
    one.kill().await;
    two.out("leader is 2").await;
    four.out("leader is 2").await;
    three.says("leader is 2").await;
    five.says("leader is 2").await;
    kill(&mut two).await;
    four.out("leader is 3").await;
    three.says("leader is 3").await;
    five.says("leader is 3").await;
    let mut one = Python::start(&group, 1);
    four.out("leader is 1").await;
    three.says("leader is 1").await;
    let mut two = group.start(2, &[]);
    two.out("leader is 1").await;
    one.says("leader is 1").await;
}

/// Theirs wait far longer than ours for a leader that is silent: so we are first to tell.
#[tokio::test]
#[ignore = "needs python3"]
async fn urgent_messages_are_understood_both_ways() {
    let group = Group::of(&[1, 2, 3]).await;
    let (mut one, mut two) = (group.start(1, &[]), group.start(2, &["--interval", "200ms", "--timeout", "500ms"]));
    let mut three = Python::start(&group, 3);
    two.out("leader is 1").await;
    three.says("leader is 1").await;
    kill(&mut one).await;
    three.says("urgent from 2").await;
    three.says("leader is 2").await;
    kill(&mut two).await;
    let mut one = group.start(1, &[]);
    let mut slow = group.start(2, &["--interval", "200ms", "--timeout", "60s"]);
    slow.out("leader is 1").await;
    three.says("leader is 1").await;
    kill(&mut one).await;
    slow.err("3 misses its leader (an urgent message)").await;
    slow.out("leader is 2").await;
}
