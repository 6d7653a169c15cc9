//! `ringleader heartbeat`: groups of real processes, killed, stopped, cut off, and mixed
//! with peers that somebody else might have written.

// What these tests unwrap, they check.
#![allow(clippy::unwrap_used)]

#[path = "heartbeat/classic.rs"]
mod classic;
#[path = "heartbeat/group.rs"]
mod group;
#[path = "heartbeat/quorum.rs"]
mod quorum;
#[allow(dead_code, reason = "cli.rs has more uses for it")]
#[path = "cli/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::process::Stdio;

use group::{Group, end, names};
use nix::sys::signal::Signal;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use world::{PATIENCE, Run, free_port};

mod life {
    use super::*;

    #[tokio::test]
    async fn in_any_order_they_agree_on_the_lowest_and_on_the_next_when_it_dies() {
        for order in [[3, 20, 100], [100, 3, 20], [20, 100, 3]] {
            let group = Group::of(&[20, 3, 100]).await;
            let mut peers = order.map(|id| (id, group.start(id, &[])));
            for (_, peer) in &mut peers {
                assert_eq!(peer.line().await.unwrap(), "leader is 3");
            }
            peers.sort_by_key(|(id, _)| *id);
            let [(_, three), (_, twenty), (_, hundred)] = &mut peers;
            three.signal(Signal::SIGKILL);
            assert_eq!(twenty.line().await.unwrap(), "leader is 20", "ids are numbers, not words");
            assert_eq!(hundred.line().await.unwrap(), "leader is 20");
            twenty.signal(Signal::SIGKILL);
            assert_eq!(hundred.line().await.unwrap(), "leader is 100");
            *three = group.start(3, &[]);
            assert_eq!(hundred.line().await.unwrap(), "leader is 3", "who returns is taken back");
            *twenty = group.start(20, &[]);
            assert_eq!(twenty.line().await.unwrap(), "leader is 3");
            assert_eq!(three.line().await.unwrap(), "leader is 3");
            for peer in [three, twenty, hundred] {
                peer.signal(Signal::SIGTERM);
                assert_eq!(peer.end().await.code(), Some(0));
                assert_eq!(peer.rest().await.0, [""; 0], "a line a change, and no more");
            }
        }
    }

    #[tokio::test]
    async fn nobody_is_elected_before_all_have_been_heard() {
        let group = Group::of(&[1, 2, 3]).await;
        let mut two = group.start(2, &[]);
        two.err("waiting for 1, 3").await;
        let mut three = group.start(3, &[]);
        two.err("waiting for 1 to be heard").await;
        // It has been there: that is enough. All of them die and come back meanwhile.
        three.err("waiting for 1 to be heard").await;
        three.signal(Signal::SIGKILL);
        two.err("3 is offline").await;
        two.signal(Signal::SIGKILL);
        let mut two = group.start(2, &[]);
        two.err("waiting for 1, 3").await;
        let mut three = group.start(3, &[]);
        three.err("waiting for 1 to be heard").await;
        let mut one = group.start(1, &[]);
        for peer in [&mut one, &mut two, &mut three] {
            assert_eq!(peer.line().await.unwrap(), "leader is 1");
        }
    }

    #[tokio::test]
    async fn told_not_to_wait_for_all_they_elect_with_those_who_are_there() {
        let group = Group::of(&[1, 2, 3]).await;
        let mut two = group.start(2, &["--start-without-all"]);
        let mut three = group.start(3, &["--start-without-all"]);
        assert_eq!(two.line().await.unwrap(), "leader is 2");
        assert_eq!(three.line().await.unwrap(), "leader is 2");
        two.err("electing without 1").await;
        let _one = group.start(1, &[]);
        assert_eq!(two.line().await.unwrap(), "leader is 1");
        assert_eq!(three.line().await.unwrap(), "leader is 1");
    }

    #[tokio::test]
    async fn a_leader_that_hangs_is_deposed_and_taken_back() {
        let group = Group::of(&[1, 2, 3]).await;
        let [mut one, mut two, mut three] = [1, 2, 3].map(|id| group.start(id, &[]));
        for peer in [&mut one, &mut two, &mut three] {
            peer.out("leader is 1").await;
        }
        one.signal(Signal::SIGSTOP);
        two.out("leader is 2").await;
        three.out("leader is 2").await;
        one.signal(Signal::SIGCONT);
        two.out("leader is 1").await;
        three.out("leader is 1").await;
    }

    #[tokio::test]
    async fn json_lines_are_as_promised_and_alone_on_stdout() {
        let group = Group::of(&[1, 2]).await;
        let mut one = group.start(1, &[]);
        let mut two = group.start(2, &["--json"]);
        let mut seen = vec![];
        names(&mut two, &mut seen, Some(1)).await;
        one.out("leader is 1").await;
        one.signal(Signal::SIGKILL);
        names(&mut two, &mut seen, Some(2)).await;
        end(&mut two, &mut seen).await;
        let mut events = BTreeSet::new();
        for line in &seen {
            assert!(line["at"].as_u64().unwrap() > 1_600_000_000_000 && line["id"] == 2, "{line}");
            events.insert(line["event"].as_str().unwrap().to_owned());
        }
        let expected = ["waiting", "online", "started", "leader", "offline", "leaderSilent"];
        assert_eq!(events, expected.map(str::to_owned).into(), "{seen:?}");
    }

    /// Each line of the examples, as printed but for the port, which may be in use here.
    #[tokio::test]
    async fn the_example_of_the_help_runs_as_printed() {
        let mut help = Run::start(&["heartbeat", "--help"]);
        help.end().await;
        let (help, _) = help.rest().await;
        let port = free_port().await.to_string();
        let folder = tempfile::tempdir().unwrap();
        let binary = std::path::Path::new(env!("CARGO_BIN_EXE_ringleader")).parent().unwrap().to_owned();
        let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
        let lines: Vec<&String> = help.iter().skip_while(|line| !line.starts_with("Examples")).collect();
        let lines = lines.iter().filter_map(|line| line.strip_prefix("  ")).map(|line| line.replace("5000", &port));
        let mut runs = vec![];
        for line in lines.take(4) {
            let mut command = tokio::process::Command::new("sh");
            let line = line.replacen("ringleader", "exec ringleader", 1);
            command.args(["-c", &line]).env("PATH", &path).current_dir(folder.path()).kill_on_drop(true);
            let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
            if line.contains("ringleader") {
                runs.push(child);
            } else {
                assert!(child.wait().await.unwrap().success(), "{line}");
            }
        }
        assert_eq!(runs.len(), 3, "{help:?}");
        for run in &mut runs {
            let stdout = run.stdout.as_mut().unwrap();
            let mut line = [0; 11];
            tokio::time::timeout(PATIENCE, tokio::io::AsyncReadExt::read_exact(stdout, &mut line))
                .await
                .unwrap()
                .unwrap();
            assert_eq!(&line, b"leader is 1");
        }
    }
}

mod mistakes {
    use super::*;

    #[tokio::test]
    async fn wrong_flags_and_files_fail_at_once_and_say_what_was_expected() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let good = file("good", "1\n1 127.0.0.1\n");
        let bad = file("bad", "2\n1 127.0.0.1\n2 nowhere\n");
        let far = file("far", "1\n1 192.0.2.1\n");
        let table: &[(&[&str], i32, &str)] = &[
            (&["one", "5000"], 2, "expected an id: a number"),
            (&["1", "0"], 2, "1..=65535"),
            (&["1"], 2, "<PORT>"),
            (&["1", "5000", "--interval", "0s"], 2, "a time from 1ms to 1h"),
            (&["1", "5000", "--entry", &good, "--timeout", "3s"], 1, "at least twice the interval"),
            (&["1", "5000", "--entry", "/nowhere/entry"], 1, "cannot read /nowhere/entry, the list of peers"),
            (&["1", "5000", "--entry", &bad], 1, "bad:3: expected ID IP, such as 2 127.0.0.2, got \"2 nowhere\""),
            (&["1", "5000", "--entry", &far], 1, "--listen IP"),
            (&["2", "5000", "--entry", &good, "--quorum"], 1, "2 is not in"),
        ];
        for (arguments, code, expected) in table {
            let mut run = Run::start(&[&["heartbeat"], *arguments].concat());
            assert_eq!(run.end().await.code(), Some(*code), "{arguments:?}");
            let (out, err) = run.rest().await;
            assert!(out.is_empty() && err.concat().contains(expected), "{arguments:?}: {out:?} {err:?}");
        }
    }

    #[tokio::test]
    async fn a_second_of_the_same_id_is_told_so() {
        let group = Group::of(&[1, 2]).await;
        let mut first = group.start(1, &[]);
        first.err("waiting for").await;
        let mut second = group.start(1, &[]);
        assert_eq!(second.end().await.code(), Some(1));
        assert!(second.rest().await.1.concat().contains("another program listens there"));
    }

    #[tokio::test]
    async fn who_is_not_on_the_list_counts_as_one_more() {
        let group = Group::of(&[1, 2]).await;
        let (mut one, _two) = (group.start(1, &[]), group.start(2, &[]));
        one.out("leader is 1").await;
        // They have the usual addresses; it has all others of this machine.
        let mut three = group.start(3, &["--listen", &group.spare().to_string()]);
        three.err("is not in").await;
        one.err("says that it is 3, who is not on the list").await;
    }

    /// Some of it bytes that nobody would send, some of it nothing at all.
    #[tokio::test]
    async fn nonsense_costs_its_connection_and_nothing_else() {
        let group = Group::of(&[1, 2]).await;
        let (mut one, mut two) = (group.start(1, &[]), group.start(2, &["--json"]));
        one.out("leader is 1").await;
        let (mut seen, mut idle) = (vec![], vec![]);
        names(&mut two, &mut seen, Some(1)).await;
        for text in ["", "one", "-1", "99", "2", "\n", "\0\u{ff}", "1 1", "111111111111111111111111111111"] {
            let mut stream = TcpStream::connect(group.socket(2)).await.unwrap();
            let _ = stream.write_all(text.as_bytes()).await;
        }
        two.err("a message from 127.").await;
        for _ in 0..400 {
            idle.push(TcpStream::connect(group.socket(2)).await.unwrap());
        }
        // A whole timeout later, and more.
        tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
        end(&mut two, &mut seen).await;
        let leaders = seen.iter().filter(|line| line["event"] == "leader").count();
        assert_eq!(leaders, 1, "{seen:?}");
    }

    /// Whoever speaks without end has its say, and timers run out all the same.
    #[tokio::test]
    async fn a_flood_of_heartbeats_keeps_nobody_from_missing_the_leader() {
        let group = Group::of(&[1, 2, 3]).await;
        let [mut one, mut two, mut three] = [1, 2, 3].map(|id| group.start(id, &[]));
        for peer in [&mut one, &mut two, &mut three] {
            peer.out("leader is 1").await;
        }
        let mut flood = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let to = group.socket(2);
            flood.spawn(async move {
                loop {
                    if let Ok(mut stream) = TcpStream::connect(to).await {
                        let _ = stream.write_all(b"3\n").await;
                    }
                }
            });
        }
        one.signal(Signal::SIGKILL);
        two.out("leader is 2").await;
        three.out("leader is 2").await;
    }
}
