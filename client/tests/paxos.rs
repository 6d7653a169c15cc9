//! `ringleader paxos` as processes on real sockets: started, killed, restarted, asked.

#![allow(clippy::unwrap_used, reason = "what a test does not expect may end it")]

#[allow(dead_code, reason = "cli.rs has more uses for it")]
#[path = "cli/world.rs"]
mod world;

#[path = "paxos/cluster.rs"]
mod cluster;

use cluster::Cluster;
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use world::Run;

mod agree {
    use super::*;

    #[tokio::test]
    async fn roles_go_by_position_and_both_clients_hear_the_same() {
        let mut cluster = Cluster::start(2, 3, 1).await;
        for (node, role) in ["proposer", "proposer", "acceptor", "acceptor", "acceptor", "learner"].iter().enumerate() {
            let line = cluster.node(node).line().await.unwrap();
            assert_eq!(line, format!("started {role}"));
        }
        cluster.node(5).err("our candidate came home").await;
        let (mut one, mut two) = (cluster.set("210", 0), cluster.set("55", 1));
        let (one, two) = (one.line().await.unwrap(), two.line().await.unwrap());
        assert_eq!(one, two);
        assert!(["chosen 210", "chosen 55"].contains(&&*one), "{one}");
        assert_eq!(cluster.node(5).line().await.unwrap(), one);
        // Whoever comes later, with the index of a proposer that is one too many.
        assert_eq!(cluster.outcome("77", 2).await, one);
        for node in 0..6 {
            cluster.node(node).signal(Signal::SIGTERM);
            assert_eq!(cluster.node(node).end().await.code(), Some(0));
        }
    }

    #[tokio::test]
    async fn a_client_may_be_there_before_the_nodes() {
        let mut cluster = Cluster::new(1, 1, 1).await;
        let mut set = cluster.set("early", 0);
        set.err("cannot reach proposer 0").await;
        for node in 0..3 {
            cluster.boot(node, &[]);
        }
        assert_eq!(set.line().await.unwrap(), "chosen early");
        assert_eq!(set.end().await.code(), Some(0));
    }

    #[tokio::test]
    async fn the_demo_in_the_help_runs_as_printed() {
        let line = "paxos demo --proposers 2 --acceptors 3 --learners 1 --set 210 --set 55";
        let mut help = Run::start(&["paxos", "demo", "--help"]);
        help.out(line).await;
        let mut demo = Run::start(&line.split(' ').collect::<Vec<_>>());
        assert_eq!(demo.end().await.code(), Some(0));
        let (out, err) = demo.rest().await;
        assert!(out.len() == 2 && out[0] == out[1] && out[0].starts_with("chosen "), "{out:?}");
        assert!(err.concat().contains("all 2 clients heard the same"));
    }

    #[tokio::test]
    async fn the_demo_as_json_has_a_line_an_event() {
        let mut demo = Run::start(&["paxos", "demo", "--set", "-7", "--json"]);
        assert_eq!(demo.end().await.code(), Some(0));
        let (out, _) = demo.rest().await;
        let events: Vec<Value> = out.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(events.iter().all(|event| event["at"].as_u64().unwrap() > 1_600_000_000_000));
        let count = |event: &str| events.iter().filter(|line| line["event"] == event).count();
        assert_eq!((count("listens"), count("leads"), count("started")), (6, 1, 6));
        let sent = |kind: &str| events.iter().filter(|line| line["message"]["kind"] == kind).count();
        // One client: nobody competes. Who asks before the acceptors have started asks again.
        assert_eq!((sent("start"), sent("accept"), sent("nack")), (5, 3, 0));
        assert!(sent("prepare") >= 3 && sent("promise") >= 2);
        assert_eq!((sent("chosen"), sent("outcome")), (1, 1));
        let heard = events.iter().find(|line| line["event"] == "chosen" && line["client"].is_u64()).unwrap();
        assert_eq!((&heard["client"], &heard["value"]), (&6.into(), &"-7".into()));
    }
}

mod faults {
    use super::*;

    #[tokio::test]
    async fn an_acceptor_that_fails_at_any_stage_stops_nobody_and_comes_back() {
        for stage in ["promise", "accepted"] {
            let mut cluster = Cluster::new(1, 3, 1).await;
            cluster.boot_all_but(2, &["--data-dir"]);
            cluster.boot(2, &["--data-dir", "--fail-at", stage]);
            assert_eq!(cluster.outcome("55", 0).await, "chosen 55", "{stage}");
            assert_eq!(cluster.node(2).end().await.code(), Some(70), "{stage}");
            cluster.node(4).out("chosen 55").await;
            cluster.boot(2, &["--data-dir"]);
            cluster.node(2).out("started acceptor").await;
            // Now it is needed: another is gone, and nobody is left who knows.
            for node in [0, 3, 4] {
                cluster.kill(node).await;
            }
            cluster.boot(0, &["--data-dir"]);
            assert_eq!(cluster.outcome("99", 0).await, "chosen 55", "{stage}");
        }
    }

    #[tokio::test]
    async fn a_proposer_that_fails_at_any_stage_says_goodbye_and_another_goes_on() {
        for (stage, may_be) in
            [("prepare", &["chosen 55"][..]), ("accept", &["chosen 210", "chosen 55"]), ("learn", &["chosen 210"])]
        {
            let mut cluster = Cluster::new(2, 3, 1).await;
            cluster.boot_all_but(0, &[]);
            cluster.boot(0, &["--fail-at", stage]);
            let mut set = cluster.set("210", 0);
            set.err("may or may not be chosen").await;
            assert_eq!(set.end().await.code(), Some(3), "{stage}");
            assert_eq!(cluster.node(0).end().await.code(), Some(70), "{stage}");
            let chosen = cluster.outcome("55", 1).await;
            assert!(may_be.contains(&&*chosen), "{stage}: {chosen}");
            cluster.node(5).out(&chosen).await;
        }
    }

    /// As with `| head -1`: the others need it all the same.
    #[tokio::test]
    async fn a_node_whose_stdout_is_closed_goes_on() {
        let mut cluster = Cluster::start_with(1, 1, 1, &["--json"]).await;
        for node in 0..3 {
            cluster.node(node).out("started").await;
            cluster.node(node).close_stdout();
        }
        assert_eq!(cluster.outcome("55", 0).await, "chosen 55");
        assert_eq!(cluster.outcome("210", 0).await, "chosen 55");
        cluster.node(0).err("nothing more is printed").await;
        for node in 0..3 {
            cluster.node(node).signal(Signal::SIGTERM);
            assert_eq!(cluster.node(node).end().await.code(), Some(0));
        }
    }

    #[tokio::test]
    async fn a_learner_that_fails_learns_when_it_is_back() {
        let mut cluster = Cluster::new(1, 3, 1).await;
        cluster.boot_all_but(4, &[]);
        cluster.boot(4, &["--fail-at", "learn"]);
        assert_eq!(cluster.outcome("55", 0).await, "chosen 55");
        assert_eq!(cluster.node(4).end().await.code(), Some(70));
        assert_eq!(cluster.node(4).rest().await.0, ["started learner"]);
        cluster.boot(4, &[]);
        cluster.node(4).out("started learner, only learns").await;
        cluster.node(4).out("chosen 55").await;
    }

    #[tokio::test]
    async fn what_was_chosen_survives_the_end_of_every_program() {
        let mut cluster = Cluster::new(2, 3, 1).await;
        for round in ["first", "second", "third"] {
            for node in 0..6 {
                cluster.boot(node, &["--data-dir"]);
            }
            // A proposer that has not heard of it, and has to ask.
            assert_eq!(cluster.outcome(round, 1).await, "chosen first");
            for node in 0..6 {
                cluster.kill(node).await;
            }
        }
    }

    /// Killed at moments that nobody chose, while clients ask.
    #[tokio::test]
    async fn acceptors_are_killed_one_after_the_other_while_clients_ask() {
        let mut cluster = Cluster::new(2, 3, 1).await;
        for node in 0..6 {
            cluster.boot(node, &["--data-dir"]);
        }
        let mut sets = vec![];
        for round in 0..9 {
            sets.push(cluster.set(&format!("v{round}"), round % 2));
            let node = 2 + usize::from(round) % 3;
            cluster.kill(node).await;
            cluster.boot(node, &["--data-dir"]);
            cluster.node(node).err("listens on").await;
        }
        let mut chosen = vec![];
        for mut set in sets {
            chosen.push(set.line().await.unwrap());
            assert_eq!(set.end().await.code(), Some(0));
        }
        assert!(chosen[0].starts_with("chosen v") && chosen.iter().all(|line| *line == chosen[0]), "{chosen:?}");
        cluster.node(5).out(&chosen[0]).await;
    }

    #[tokio::test]
    async fn who_has_forgotten_takes_no_part_and_says_so() {
        let mut cluster = Cluster::start(2, 3, 1).await;
        for node in 0..6 {
            cluster.node(node).out("started").await;
        }
        cluster.kill(2).await;
        cluster.boot(2, &[]);
        cluster.node(2).out("started acceptor, only learns").await;
        assert_eq!(cluster.outcome("55", 0).await, "chosen 55", "the two others are a majority");
        cluster.node(2).out("chosen 55").await;

        cluster.kill(1).await;
        cluster.boot(1, &[]);
        cluster.node(1).out("started proposer, only learns").await;
        let mut late = Cluster::start(1, 3, 1).await;
        for node in 0..5 {
            late.node(node).out("started").await;
        }
        for node in [0, 1, 2] {
            late.kill(node).await;
            late.boot(node, &[]);
            late.node(node).out("only learns").await;
        }
        let mut set = late.set("55", 0);
        set.err("takes no part any more: ask another proposer").await;
        assert_eq!(set.end().await.code(), Some(1));
    }
}

mod clear_errors {
    use super::*;

    #[tokio::test]
    async fn without_a_majority_the_client_hears_whom_it_waits_for() {
        let mut cluster = Cluster::start(1, 3, 1).await;
        for node in 0..5 {
            cluster.node(node).out("started").await;
        }
        for node in [1, 3] {
            cluster.kill(node).await;
        }
        let mut set = cluster.set_with("55", 0, &["--timeout", "3s", "--json"]);
        let line = set.line().await.unwrap();
        assert!(line.contains(r#""event":"waits""#) && line.contains(r#"{"acceptors":["#), "{line}");
        let last = set.err("no outcome in 3s").await;
        for silent in [1, 3] {
            let name = format!("acceptor {silent} (127.0.0.1:{})", cluster.ports[silent]);
            assert!(last.contains(&name), "{last}");
        }
        assert_eq!(set.end().await.code(), Some(4));
        assert!(set.rest().await.0.concat().contains(r#""event":"failed""#));
    }

    #[tokio::test]
    async fn before_the_start_the_client_hears_who_is_not_there() {
        let mut cluster = Cluster::new(1, 3, 1).await;
        cluster.boot_all_but(3, &[]);
        let mut set = cluster.set_with("55", 0, &["--timeout", "1s"]);
        let last = set.err("no outcome in 1s").await;
        assert!(last.ends_with(&format!("nobody at acceptor 3 (127.0.0.1:{})", cluster.ports[3])), "{last}");
        assert_eq!(set.end().await.code(), Some(4));
        let mut nobody = cluster.set_with("55", 0, &["--timeout", "1s"]);
        cluster.kill(0).await;
        assert!([Some(3), Some(4)].contains(&nobody.end().await.code()));
    }

    #[tokio::test]
    async fn whoever_listens_there_may_be_no_node() {
        let cluster = Cluster::new(1, 1, 1).await;
        let listener = TcpListener::bind(("127.0.0.1", cluster.ports[0])).await.unwrap();
        let serve = async {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            stream.read_line(&mut line).await.unwrap();
            assert_eq!(line, "{\"hello\":3,\"to\":0}\n");
            line.clear();
            stream.read_line(&mut line).await.unwrap();
            assert_eq!(line, "{\"kind\":\"propose\",\"value\":\"55\"}\n");
            stream.write_all(b"HTTP/1.1 400 Bad Request\n").await.unwrap();
        };
        let mut set = cluster.set("55", 0);
        let ((), line) = tokio::join!(serve, set.err("does not speak like a node"));
        assert!(line.contains("proposer 0"), "{line}");
        assert_eq!(set.end().await.code(), Some(1));
    }

    #[tokio::test]
    async fn what_is_no_message_is_turned_away_and_harms_nobody() {
        let mut cluster = Cluster::start(1, 1, 1).await;
        cluster.node(0).out("started").await;
        for bad in ["nonsense\n", "{\"hello\":1,\"to\":0}\n{\"kind\":\"start\"}\n", "{\"hello\":99,\"to\":0}\n"] {
            let mut stream = TcpStream::connect(("127.0.0.1", cluster.ports[0])).await.unwrap();
            stream.write_all(bad.as_bytes()).await.unwrap();
            let mut heard = String::new();
            // To its end: it is closed.
            while BufReader::new(&mut stream).read_line(&mut heard).await.unwrap_or(0) > 0 {}
        }
        assert_eq!(cluster.outcome("55", 0).await, "chosen 55");
    }

    #[tokio::test]
    async fn wrong_ids_files_and_values_are_called_so() {
        let cluster = Cluster::new(1, 1, 1).await;
        let hosts = cluster.hosts();
        let table: &[(&[&str], i32, &str)] = &[
            (&["node", "3"], 1, "the nodes are 0 to 2; there is no 3"),
            (&["set", "2", "55", "0"], 1, "the clients are 3 to 12; 2 is none"),
            (&["set", "3", "", "0"], 2, "1 to 1024 bytes"),
            (&["set", "3", "two\nlines", "0"], 2, "without control characters"),
            (&["set", "3", "55"], 2, "<PROPOSER>"),
            (&["set", "3", "55", "0", "--timeout", "0s"], 2, "a time from 1ms to 1h"),
            (&["node", "0", "--fail-at", "lunch"], 2, "prepare"),
            (&["node", "0", "--listen", "8100"], 2, "expected HOST:PORT"),
            (&["node", "0", "--listen", "192.0.2.1:8100"], 1, "no address of this machine"),
        ];
        for (arguments, code, expected) in table {
            let mut run = Run::start_with(&[&["paxos"], *arguments].concat(), &[("RINGLEADER_PAXOS_HOSTS", &hosts)]);
            assert_eq!(run.end().await.code(), Some(*code), "{arguments:?}");
            let (out, err) = run.rest().await;
            assert!(out.is_empty() && err.concat().contains(expected), "{arguments:?}: {out:?} {err:?}");
        }
        let mut run = Run::start(&["paxos", "node", "0", "--hosts", "/nowhere/hosts.txt"]);
        run.err("cannot read /nowhere/hosts.txt").await;
        assert_eq!(run.end().await.code(), Some(1));
    }

    #[tokio::test]
    async fn data_of_another_node_or_run_is_refused_and_so_is_what_is_damaged() {
        let mut cluster = Cluster::start_with(1, 1, 1, &["--data-dir"]).await;
        for node in 0..3 {
            cluster.node(node).out("started").await;
            cluster.kill(node).await;
        }
        let other = Cluster::new(1, 2, 1).await;
        let data = cluster.data();
        let refused = async |file: &str, expected: &str| {
            let mut run = Run::start(&["paxos", "node", "1", "--hosts", &other.hosts(), "--data-dir", &data]);
            let line = run.err(expected).await;
            assert!(line.contains(file), "{line}");
            assert_eq!(run.end().await.code(), Some(1));
        };
        refused("node-1.json", "a run with other hosts").await;
        std::fs::write(format!("{data}/node-1.json"), "{\"node\":1").unwrap();
        refused("node-1.json", "is damaged").await;
    }
}
