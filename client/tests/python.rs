//! A node that somebody wrote in another language, from the protocol alone: the
//! one in `shared/protocol/node.py`, beside ours.

#![allow(clippy::unwrap_used, reason = "what a test does not expect may end it")]

#[allow(dead_code, reason = "classic.rs has more uses for it")]
#[path = "classic/world.rs"]
mod world;

use ringleader_shared::message::Routing;
use serde_json::json;
use tokio::process::Command;
use world::{Kind, Seen, World, limits};

const NODE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/protocol/node.py");

#[tokio::test]
#[ignore = "needs Python with websockets: run by ./test"]
async fn a_node_in_python_follows_leads_and_is_killed() {
    let play = async |routing| {
        let mut world = World::on_our_hub(routing, limits()).await;
        world.spawn_ours("bob", 9);
        world.agreed_on("bob").await;
        world.join("ann", 5);
        world.spawn_python("py", 7);
        world.agreed_on("bob").await;
        world.kill("bob").await;
        world.agreed_in_time_on("py").await;
        world.stays("py").await;
        world.kill("py").await;
        world.agreed_in_time_on("ann").await;
        world.assert_sound();
    };
    tokio::join!(play(Routing::Ring), play(Routing::Direct));
}

/// Nobody but the node is there to miss the leader, and to elect.
#[tokio::test]
#[ignore = "needs Python with websockets: run by ./test"]
async fn a_node_in_python_misses_a_leader_that_is_killed() {
    let play = async |routing| {
        let mut world = World::on_our_hub(routing, limits()).await;
        world.spawn_ours("bob", 9);
        world.agreed_on("bob").await;
        world.spawn_python("py", 7);
        world.agreed_on("bob").await;
        world.until("it has an answer", |seen| seen.answers("bob", "py") > 0).await;
        world.kill("bob").await;
        world.agreed_on("py").await;
        world.assert_sound();
    };
    tokio::join!(play(Routing::Ring), play(Routing::Direct));
}

impl World {
    fn spawn_python(&mut self, name: &str, rank: u32) {
        let mut command = Command::new(python());
        command.args([NODE, &self.url, "--rank", &rank.to_string(), "--name", name]);
        self.spawn(name, Kind::Ours, command, Seen::on_python);
    }
}

impl Seen {
    /// A line such as `py 0b6c…: follower, leader 41d2…, term 3`; `-` is nobody.
    fn on_python(&mut self, name: &str, line: &str) {
        let fields = line.split_once(' ').and_then(|(_, rest)| {
            let (id, rest) = rest.split_once(": ")?;
            let (role, rest) = rest.split_once(", leader ")?;
            let (leader, term) = rest.split_once(", term ")?;
            Some((id, role, leader, term.parse::<u64>().ok()?))
        });
        let (id, role, leader, term) = fields.unwrap_or_else(|| panic!("another line than expected: {line}"));
        let known = |id: &str| (id != "-").then(|| id.to_owned());
        let status = json!({ "clientId": known(id), "role": role, "leaderId": known(leader), "term": term });
        self.on_status(name, &status);
    }
}

/// One that has the module. A machine without any has not passed these tests.
fn python() -> &'static str {
    let has_it = |python: &&str| {
        let found = std::process::Command::new(python).args(["-c", "import websockets"]).output();
        found.is_ok_and(|output| output.status.success())
    };
    let found = ["python3", "/usr/bin/python3"].into_iter().find(has_it);
    found.expect("Python's websockets module is missing; on Debian: apt-get install python3-websockets")
}
