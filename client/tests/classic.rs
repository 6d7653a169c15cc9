//! Beside the older system, both ways: its clients in a ring of ours, ours on its
//! hub. The stand-ins for it are in `classic/`, in JavaScript as it was.

#![allow(clippy::unwrap_used, reason = "what a test does not expect may end it")]

#[path = "classic/world.rs"]
mod world;

use std::time::Duration;

use ringleader_hub::Limits;
use ringleader_shared::message::Routing;
use tokio::process::Command;
use world::{Kind, Seen, World, limits, parsed};

const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/classic/client.js");
const HUB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/classic/hub.js");

/// Plays a scenario on our hub, once for each way of relaying, both at once.
async fn on_our_hub(scenario: impl AsyncFn(&mut World)) {
    on_our_hub_with(limits(), scenario).await;
}

async fn on_our_hub_with(limits: Limits, scenario: impl AsyncFn(&mut World)) {
    let play = async |routing| {
        assert_node();
        let mut world = World::on_our_hub(routing, limits.clone()).await;
        scenario(&mut world).await;
        world.assert_sound();
        let errors = world.look(Seen::errors);
        if errors != world.errors {
            world.fail(&format!("classic members were sent {errors} error frames"));
        }
    };
    tokio::join!(play(Routing::Ring), play(Routing::Direct));
}

/// Plays a scenario on the stand-in for the classic hub.
async fn on_classic_hub(scenario: impl AsyncFn(&mut World)) {
    assert_node();
    let mut world = World::on_classic_hub().await;
    scenario(&mut world).await;
    world.assert_sound();
    world.look(|seen| {
        for handed in &seen.frames {
            assert!(handed.frame["data"].get("term").is_none(), "a term where nobody counts any: {}", handed.frame);
        }
    });
}

fn node(script: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(script);
    command
}

/// A machine without Node.js has not passed these tests.
fn assert_node() {
    let found = std::process::Command::new("node").args(["-e", "require('ws')"]).output();
    assert!(
        found.is_ok_and(|output| output.status.success()),
        "Node.js or its ws module is missing; on Debian: apt-get install node-ws. ./test sets NODE_PATH to it"
    );
}

impl World {
    async fn on_classic_hub() -> World {
        let mut world = World::new(String::new());
        world.spawn("hub", Kind::Hub, node(HUB), Seen::on_classic_hub);
        world.url = world.until_some("the hub listens", |seen| seen.parties["hub"].id.clone()).await;
        world
    }

    /// A classic client joins, and has its id when this returns.
    async fn classic(&mut self, name: &str, rank: u32, flags: &[&str]) {
        let mut command = node(CLIENT);
        command.args(["--url", &self.url, "--rank", &rank.to_string()]);
        command.args(["--check-interval", "400", "--check-timeout", "2000"]).args(flags);
        self.spawn(name, Kind::Classic, command, Seen::on_classic_client);
        self.joined(name).await;
    }

    /// A ring whose leader, bob, was killed; ann would be next, and old, a classic
    /// client in the middle, has been handed the election.
    async fn holding_an_election(&mut self) {
        self.spawn_ours("bob", 9);
        self.agreed_on("bob").await;
        self.join("ann", 5);
        self.joined("ann").await;
        // It is not the one to miss bob.
        self.classic("old", 7, &["--hold", "election", "--check-timeout", "60000"]).await;
        self.join("cid", 3);
        self.joined("cid").await;
        self.kill("bob").await;
        self.until_said("old", "holding").await;
    }

    /// Waits for a classic client to print this.
    async fn until_said(&self, name: &str, event: &str) {
        self.until(&format!("{name} says: {event}"), |seen| seen.said(name, event)).await;
    }
}

impl Seen {
    /// A line that the stand-in for a hub printed.
    fn on_classic_hub(&mut self, name: &str, line: &str) {
        let line = parsed(line);
        match line["event"].as_str().unwrap() {
            "listening" => self.party(name).id = Some(format!("ws://127.0.0.1:{}", line["port"])),
            "relayed" => self.on_handed(&line["to"], line["binary"] == true, &line["frame"]),
            _ => self.tell(name, &line.to_string()),
        }
    }

    /// A line that the stand-in for a client printed.
    fn on_classic_client(&mut self, name: &str, line: &str) {
        let line = parsed(line);
        let frame = &line["frame"];
        self.tell(name, &line.to_string());
        match line["event"].as_str().unwrap() {
            "identified" => self.party(name).id = line["clientId"].as_str().map(str::to_owned),
            "believes" => self.party(name).leader = line["leaderId"].as_str().map(str::to_owned),
            "received" => {
                let me = self.party(name).id.clone();
                let about = match frame["method"].as_str().unwrap() {
                    // It would answer it, whoever is asked.
                    "checkLeader" => frame["data"]["leaderId"].as_str(),
                    "answerLeader" => frame["data"]["destinationId"].as_str(),
                    _ => me.as_deref(),
                };
                if about != me.as_deref() {
                    self.on_fault(format!("{name} was handed what is not for it: {frame}"));
                }
            }
            _ => {}
        }
        self.party(name).said.push(line);
    }

    /// How many error frames classic members were sent.
    fn errors(&self) -> usize {
        let classic = self.parties.iter().filter(|(_, party)| party.kind == Kind::Classic);
        classic.map(|(name, _)| self.frames_of(name, "received", "error")).sum()
    }

    fn said(&self, name: &str, event: &str) -> bool {
        self.parties[name].said.iter().any(|line| line["event"] == event)
    }

    /// How many frames of this method a classic client says that it sent or received.
    fn frames_of(&self, name: &str, event: &str, method: &str) -> usize {
        let said = self.parties[name].said.iter();
        said.filter(|line| line["event"] == event && line["frame"]["method"] == method).count()
    }
}

/// Classic clients in a ring of ours.
mod clients {
    use super::*;

    #[tokio::test]
    #[ignore = "needs Node.js with ws: run by ./test"]
    async fn one_follows_and_its_checks_of_our_leader_are_answered() {
        on_our_hub(async |world| {
            world.join("ann", 5);
            world.agreed_on("ann").await;
            world.join("bob", 3);
            world.classic("old", 2, &["--elect"]).await;
            world.agreed_on("ann").await;
            world.until("it has three answers", |seen| seen.answers("ann", "old") >= 3).await;
            world.stays("ann").await;
        })
        .await;
    }

    #[tokio::test]
    #[ignore = "needs Node.js with ws: run by ./test"]
    async fn one_follows_until_our_leader_is_killed() {
        on_our_hub(async |world| {
            world.spawn_ours("bob", 9);
            world.agreed_on("bob").await;
            world.join("ann", 5);
            world.classic("old", 7, &[]).await;
            world.agreed_on("bob").await;
            world.kill("bob").await;
            world.agreed_in_time_on("old").await;
            world.stays("old").await;
        })
        .await;
    }

    #[tokio::test]
    #[ignore = "needs Node.js with ws: run by ./test"]
    async fn one_leads_until_it_is_killed() {
        on_our_hub(async |world| {
            world.join("ann", 5);
            world.join("bob", 3);
            world.classic("old", 9, &["--elect"]).await;
            world.agreed_on("old").await;
            world.stays("old").await;
            world.kill("old").await;
            world.agreed_in_time_on("ann").await;
        })
        .await;
    }

    #[tokio::test]
    #[ignore = "needs Node.js with ws: run by ./test"]
    async fn two_among_three_of_ours() {
        on_our_hub(async |world| {
            world.join("ann", 5);
            world.agreed_on("ann").await;
            world.classic("old", 7, &[]).await;
            world.spawn_ours("bob", 9);
            world.joined("bob").await;
            world.classic("elder", 8, &[]).await;
            world.join("cid", 3);
            world.joined("cid").await;
            world.order("elder", "elect").await;
            world.agreed_within(limits().hop_timeout, "bob").await;
            world.stays("bob").await;
            world.kill("bob").await;
            world.agreed_on("elder").await;
            world.kill("elder").await;
            world.agreed_on("old").await;
            world.stays("old").await;
            world.kill("old").await;
            world.agreed_on("ann").await;
        })
        .await;
    }

    #[tokio::test]
    #[ignore = "needs Node.js with ws: run by ./test"]
    async fn nobody_but_them() {
        on_our_hub(async |world| {
            world.classic("old", 7, &[]).await;
            world.classic("oldest", 9, &[]).await;
            world.classic("elder", 8, &[]).await;
            world.order("old", "elect").await;
            world.agreed_on("oldest").await;
            world.stays("oldest").await;
            world.kill("oldest").await;
            world.agreed_on("elder").await;
            world.kill("elder").await;
            world.agreed_on("old").await;
        })
        .await;
    }

    #[tokio::test]
    #[ignore = "needs Node.js with ws: run by ./test"]
    async fn all_start_at_once() {
        on_our_hub(async |world| {
            world.classic("old", 7, &[]).await;
            world.classic("elder", 8, &[]).await;
            for (name, rank) in [("ann", 9), ("bob", 5), ("cid", 3)] {
                world.join(name, rank);
            }
            for name in ["ann", "bob", "cid"] {
                world.joined(name).await;
            }
            world.order("old", "elect").await;
            world.order("elder", "elect").await;
            world.agreed_on("ann").await;
            world.stays("ann").await;
        })
        .await;
    }

    /// A classic initiator announces the one that it met first, which is itself; ours goes by id.
    #[tokio::test]
    #[ignore = "needs Node.js with ws: run by ./test"]
    async fn equal_ranks() {
        on_our_hub(async |world| {
            world.spawn_ours("ann", 7);
            world.spawn_ours("bob", 7);
            world.classic("old", 7, &[]).await;
            world.joined("ann").await;
            world.joined("bob").await;
            world.order("old", "elect").await;
            world.agreed_on("old").await;
            world.stays("old").await;

            let term = world.look(Seen::term);
            world.kill("old").await;
            let leader = world.agreed_after(term).await;

            world.classic("elder", 7, &[]).await;
            let term = world.look(Seen::term);
            world.kill(&leader).await;
            world.agreed_after(term).await;
        })
        .await;
    }

    #[tokio::test]
    #[ignore = "needs Node.js with ws: run by ./test"]
    async fn one_is_killed_while_it_holds_an_election() {
        on_our_hub_with(Limits { hop_timeout: Duration::from_secs(10), ..limits() }, async |world| {
            world.holding_an_election().await;
            world.kill("old").await;
            world.agreed_within(Duration::from_secs(5), "ann").await;
        })
        .await;
    }

    #[tokio::test]
    #[ignore = "needs Node.js with ws: run by ./test"]
    async fn one_is_paused_while_it_holds_an_election_and_passes_it_on_late() {
        on_our_hub_with(Limits { hop_timeout: Duration::from_secs(1), ..limits() }, async |world| {
            world.holding_an_election().await;
            world.pause("old").await;
            world.agreed_on("ann").await;
            world.wake("old").await;
            world.agreed_on("ann").await;
            let term = world.look(Seen::term);
            world.order("old", "release").await;
            world.until("it passes on", |seen| seen.frames_of("old", "sent", "election") > 0).await;
            // What it asks after that is answered after that.
            let answers = world.look(|seen| seen.answers("ann", "old"));
            world.until("two more answers", |seen| seen.answers("ann", "old") >= answers + 2).await;
            world.stays("ann").await;
            assert_eq!(world.look(Seen::term), term, "a late frame is of no effect");
            assert!(world.look(|seen| seen.is_member("old")));
        })
        .await;
    }

    #[tokio::test]
    #[ignore = "needs Node.js with ws: run by ./test"]
    async fn one_starts_an_election_and_announces_too_late() {
        on_our_hub_with(Limits { hop_timeout: Duration::from_secs(1), ..limits() }, async |world| {
            world.classic("old", 9, &["--elect", "--hold", "home"]).await;
            world.until_said("old", "holding").await;
            world.join("ann", 5);
            world.joined("ann").await;
            world.join("bob", 3);
            world.agreed_on("old").await;
            let term = world.look(Seen::term);
            assert!(term > 1, "the first election ended without a leader");
            world.errors = 1;
            world.order("old", "release").await;
            world.until("it is refused", |seen| seen.frames_of("old", "received", "error") > 0).await;
            world.stays("old").await;
        })
        .await;
    }

    #[tokio::test]
    #[ignore = "needs Node.js with ws: run by ./test"]
    async fn a_leader_that_was_asleep_learns_that_it_is_deposed() {
        on_our_hub_with(Limits { hop_timeout: Duration::from_secs(1), ..limits() }, async |world| {
            world.join("ann", 5);
            world.join("bob", 3);
            world.classic("old", 9, &["--elect"]).await;
            world.agreed_on("old").await;
            world.pause("old").await;
            world.agreed_on("ann").await;
            world.wake("old").await;
            world.agreed_on("ann").await;
            world.stays("ann").await;
            assert!(world.look(|seen| seen.is_member("old")));
        })
        .await;
    }

    #[tokio::test]
    #[ignore = "needs Node.js with ws: run by ./test"]
    async fn a_leader_that_was_asleep_for_too_long_is_shut_out() {
        on_our_hub_with(Limits::default(), async |world| {
            world.join("ann", 5);
            world.join("bob", 3);
            world.classic("old", 9, &["--elect"]).await;
            world.agreed_on("old").await;
            world.pause("old").await;
            world.until("the hub gives it up", |seen| !seen.is_member("old")).await;
            world.agreed_on("ann").await;
            world.wake("old").await;
            world.until("it knows", |seen| seen.said("old", "closed") && seen.parties["old"].ended).await;
            world.stays("ann").await;
            world.classic("older", 8, &["--elect"]).await;
            world.agreed_on("older").await;
        })
        .await;
    }

    #[tokio::test]
    #[ignore = "needs Node.js with ws: run by ./test"]
    async fn those_who_join_late_know_the_leader() {
        on_our_hub(async |world| {
            world.spawn_ours("bob", 9);
            world.agreed_on("bob").await;
            world.classic("old", 7, &[]).await;
            world.classic("elder", 8, &[]).await;
            world.agreed_on("bob").await;
            world.kill("bob").await;
            world.agreed_on("elder").await;
        })
        .await;
    }
}

/// Ours on a classic hub.
mod hub {
    use super::*;

    #[tokio::test]
    #[ignore = "needs Node.js with ws: run by ./test"]
    async fn ours_elect_and_miss_a_leader_that_is_killed() {
        on_classic_hub(async |world| {
            world.join("ann", 5);
            world.agreed_on("ann").await;
            world.spawn_ours("bob", 9);
            world.agreed_on("bob").await;
            world.join("cid", 7);
            world.agreed_on("bob").await;
            world.stays("bob").await;
            world.kill("bob").await;
            world.agreed_in_time_on("cid").await;
            world.stays("cid").await;
            world.look(|seen| {
                let binary = seen.frames.iter().filter(|handed| handed.binary).count();
                assert!(binary * 2 >= seen.frames.len() - 1, "every other frame is binary");
                let id = seen.parties["cid"].id.as_deref().unwrap();
                assert!(id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "a classic id: {id}");
            });
        })
        .await;
    }

    #[tokio::test]
    #[ignore = "needs Node.js with ws: run by ./test"]
    async fn a_classic_client_among_ours_follows_leads_and_is_killed() {
        on_classic_hub(async |world| {
            world.join("ann", 5);
            world.spawn_ours("bob", 9);
            world.joined("ann").await;
            world.joined("bob").await;
            world.classic("old", 7, &["--elect"]).await;
            world.agreed_on("bob").await;
            world.until("it has two answers", |seen| seen.answers("bob", "old") >= 2).await;
            world.kill("bob").await;
            world.agreed_in_time_on("old").await;
            world.until("ours has two answers", |seen| seen.answers("old", "ann") >= 2).await;
            world.kill("old").await;
            world.agreed_in_time_on("ann").await;
        })
        .await;
    }

    #[tokio::test]
    #[ignore = "needs Node.js with ws: run by ./test"]
    async fn equal_ranks() {
        on_classic_hub(async |world| {
            world.join("ann", 7);
            world.joined("ann").await;
            world.classic("old", 7, &[]).await;
            world.join("bob", 7);
            world.joined("bob").await;
            world.order("old", "elect").await;
            world.agreed().await;
            world.order("old", "elect").await;
            world.agreed_on("old").await;
            world.kill("old").await;
            let leader = world.agreed().await;
            world.stays(&leader).await;
        })
        .await;
    }

    /// The frame dies with it; whoever waits for an announcement starts again.
    #[tokio::test]
    #[ignore = "needs Node.js with ws: run by ./test"]
    async fn the_holder_of_an_election_is_killed() {
        on_classic_hub(async |world| {
            world.join("ann", 5);
            world.agreed_on("ann").await;
            world.classic("old", 7, &["--hold", "election"]).await;
            world.join("cid", 3);
            world.until_said("old", "holding").await;
            world.kill("old").await;
            world.agreed_on("ann").await;
        })
        .await;
    }

    /// Such a hub knows no resigning; the check finds out.
    #[tokio::test]
    #[ignore = "needs Node.js with ws: run by ./test"]
    async fn a_leader_leaves() {
        on_classic_hub(async |world| {
            world.join("ann", 5);
            world.agreed_on("ann").await;
            world.join("bob", 9);
            world.agreed_on("bob").await;
            world.join("cid", 3);
            world.agreed_on("bob").await;
            world.leave("bob").await;
            world.agreed_in_time_on("ann").await;
        })
        .await;
    }

    /// Such a hub waits for whoever holds an election for as long as it is connected.
    #[tokio::test]
    #[ignore = "needs Node.js with ws: run by ./test"]
    async fn a_leader_is_paused_and_woken() {
        on_classic_hub(async |world| {
            world.join("ann", 5);
            world.join("cid", 3);
            world.joined("ann").await;
            world.joined("cid").await;
            world.spawn_ours("bob", 9);
            world.agreed_on("bob").await;
            world.pause("bob").await;
            world
                .until("it is missed", |seen| ["ann", "cid"].iter().all(|name| seen.parties[*name].leader.is_none()))
                .await;
            world.wake("bob").await;
            world.agreed_on("bob").await;
            world.stays("bob").await;
        })
        .await;
    }
}
