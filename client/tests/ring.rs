//! `ringleader ring` as people and other nodes meet it: processes, files and sockets.

// What these tests unwrap, they check.
#![allow(clippy::unwrap_used)]

#[path = "ring/mended.rs"]
mod mended;
#[allow(dead_code, reason = "cli.rs has more uses for it")]
#[path = "cli/world.rs"]
mod processes;
#[path = "ring/world.rs"]
mod world;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use processes::Run;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use world::{Bench, Habits, Ring, all_follow, follows, id, is_broken, object, soon};

mod whole {
    use super::*;

    #[tokio::test]
    async fn three_agree_and_write_the_lines_that_others_know() {
        let ring = Ring::new(3);
        let mut nodes = [ring.spawn(0, 7, &[]), ring.spawn(1, 3, &[]), ring.spawn(2, 9, &[])];
        all_follow(&mut nodes, 9).await;
        let (seven, three, nine) = (id(7), id(3), id(9));
        // All that a node hears comes from one other in one order: so there is but one log.
        let first = [
            format!("Sent: uuid={seven}, flag=0"),
            format!("Received: uuid={nine}, flag=0, greater, 0"),
            format!("Sent: uuid={nine}, flag=0"),
            format!("Received: uuid={nine}, flag=1, greater, 0"),
            format!("Leader is decided to {nine}."),
            format!("Sent: uuid={nine}, flag=1"),
        ];
        let leaders = [
            format!("Sent: uuid={nine}, flag=0"),
            format!("Received: uuid={three}, flag=0, less, 0"),
            format!("Ignored: uuid={three}, flag=0"),
            format!("Received: uuid={seven}, flag=0, less, 0"),
            format!("Ignored: uuid={seven}, flag=0"),
            format!("Received: uuid={nine}, flag=0, same, 0"),
            format!("Leader is decided to {nine}."),
            format!("Sent: uuid={nine}, flag=1"),
            format!("Received: uuid={nine}, flag=1, same, 1, leader={nine}"),
        ];
        assert_eq!(ring.log(0), first);
        assert_eq!(ring.log(2), leaders);
    }

    #[tokio::test]
    async fn they_wait_for_each_other_in_any_order_and_say_so() {
        let ring = Ring::new(3);
        let mut early = ring.spawn(1, 2, &[]);
        let said = early.err("waiting for the successor").await;
        assert!(said.contains(&format!("127.0.0.1:{}", ring.ports[2])), "{said}");
        let mut second = ring.spawn(0, 1, &[]);
        second.err("dials").await;
        let mut third = ring.spawn(2, 3, &[]);
        for node in [&mut early, &mut second, &mut third] {
            follows(node, 3).await;
        }
    }

    #[tokio::test]
    async fn ten_and_with_repair_as_well() {
        let play = async |more: &[&str]| {
            let ring = Ring::new(10);
            let ids = [4, 8, 1, 10, 2, 6, 9, 3, 7, 5];
            let mut nodes: Vec<Run> = ids.iter().enumerate().map(|(who, n)| ring.spawn(who, *n, more)).collect();
            all_follow(&mut nodes, 10).await;
        };
        tokio::join!(play(&[]), play(&["--repair"]));
    }

    #[tokio::test]
    async fn json_lines_name_each_event_and_are_alone_on_stdout() {
        let ring = Ring::new(2);
        let mut nodes = [ring.spawn(0, 1, &["--json"]), ring.spawn(1, 2, &[])];
        assert_eq!(nodes[0].end().await.code(), Some(0));
        let events: Vec<Value> =
            nodes[0].rest().await.0.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let names: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
        let expected = ["listening", "connected", "sent", "received", "sent", "received", "decided", "sent", "leader"];
        assert_eq!(names, expected);
        assert!(events.iter().all(|event| event["at"].as_u64().is_some()), "{events:?}");
        assert_eq!(events[8]["leaderId"], id(2));
    }
}

mod mixed {
    use super::*;

    /// Ours among stand-ins for all kinds of others, everybody in every place.
    #[tokio::test]
    async fn nodes_of_others_stand_anywhere_in_the_ring() {
        let mut plays = vec![];
        for (habit, habits) in Habits::ALL.into_iter().enumerate() {
            for ours in [vec![0], vec![1], vec![2], vec![0, 1], vec![0, 2]] {
                // The greatest is another one each time.
                let ids = [1, 2, 3].map(|n| (n + habit as u128 + ours.len() as u128) % 3 + 1);
                plays.push(play(habits, ours, ids, &["--pace", "200ms"]));
            }
        }
        join_all(plays).await;
    }

    /// They do not know of terms, and nobody waits for what they do not say.
    #[tokio::test]
    async fn they_hold_up_nobody_who_repairs() {
        let plays = Habits::ALL.into_iter().zip([[3, 1, 2], [1, 3, 2], [2, 1, 3], [1, 2, 3]]);
        join_all(
            plays
                .map(|(habits, ids)| play(habits, vec![0, 2], ids, &["--repair", "--linger", "1s", "--pace", "200ms"])),
        )
        .await;
    }

    async fn play(habits: Habits, ours: Vec<usize>, ids: [u128; 3], more: &[&str]) {
        let ring = Ring::new(ids.len());
        let (mut runs, mut others) = (vec![], vec![]);
        for (who, uuid) in ids.into_iter().enumerate() {
            if ours.contains(&who) {
                runs.push(ring.spawn(who, uuid, more));
            } else {
                others.push(ring.classic(who, uuid, habits));
            }
        }
        all_follow(&mut runs, 3).await;
        for other in others {
            assert_eq!(soon("the leader", other).await.unwrap(), id(3), "{habits:?} {ours:?} {ids:?}");
        }
    }
}

mod wire {
    use super::*;

    #[tokio::test]
    async fn what_goes_out_is_bit_for_bit_what_others_send() {
        let mut bench = Bench::start(&[]).await;
        bench.hears(5, 0).await;
        // What others add goes no further.
        bench.tell(&format!(r#"{{"flag":0,"term":7,"uuid":"{}"}}"#, id(6).to_uppercase())).await;
        bench.hears(6, 0).await;
        bench.tell(&object(6, 1)).await;
        bench.hears(6, 1).await;
        follows(&mut bench.run, 6).await;
        let mut rest = String::new();
        bench.successor.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "");
    }

    /// Who sleeps before it dials, and then reads what has come as one object.
    #[tokio::test]
    async fn the_second_message_waits_for_who_begins_to_read_late() {
        let started = Instant::now();
        let mut bench = Bench::start(&["--settle", "1s"]).await;
        bench.tell(&[object(6, 0), object(7, 0)].concat()).await;
        bench.hears(5, 0).await;
        bench.hears(6, 0).await;
        assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
        bench.hears(7, 0).await;
        // Who knows the leader does not leave with it unsaid.
        let mut bench = Bench::start(&["--settle", "1s"]).await;
        bench.tell(&object(6, 1)).await;
        bench.hears(5, 0).await;
        follows(&mut bench.run, 6).await;
        bench.hears(6, 1).await;
    }

    #[tokio::test]
    async fn its_own_uuid_goes_out_before_what_came_early() {
        let ring = Ring::new(2);
        let mut node = ring.spawn(0, 5, &[]);
        node.err("dials").await;
        let mut predecessor = TcpStream::connect(("127.0.0.1", ring.ports[0])).await.unwrap();
        predecessor.write_all([object(6, 0), object(6, 1)].concat().as_bytes()).await.unwrap();
        node.err("waiting for the successor").await;
        let listener = ring.listen(1);
        let mut successor = soon("the dial", listener.accept()).await.unwrap().0;
        let mut all = String::new();
        soon("its end", successor.read_to_string(&mut all)).await.unwrap();
        let expected = [object(5, 0), object(6, 0), object(6, 1)];
        assert_eq!(all.lines().collect::<Vec<_>>(), expected);
        follows(&mut node, 6).await;
    }

    #[tokio::test]
    async fn objects_come_in_pieces_and_together() {
        let mut bench = Bench::start(&[]).await;
        bench.hears(5, 0).await;
        bench.tell(&format!("{}{}\n\n{}", object(6, 0), object(7, 0), &object(8, 0)[..20])).await;
        bench.hears(6, 0).await;
        bench.hears(7, 0).await;
        for byte in object(8, 0)[20..].chars() {
            bench.tell(&byte.to_string()).await;
        }
        bench.hears(8, 0).await;
    }

    /// They are written one by one, so that who reads one object a read gets one a read.
    #[tokio::test]
    async fn messages_that_come_together_do_not_go_together() {
        const MANY: u128 = 20;
        let mut bench = Bench::start(&[]).await;
        bench.hears(5, 0).await;
        let all: String = (0..MANY).map(|n| object(10 + n, 0)).collect();
        let told = Instant::now();
        bench.tell(&all).await;
        let (mut reads, mut got, mut bytes) = (0, 0, [0; 4096]);
        while got < MANY as usize {
            let count = soon("the rest", bench.successor.get_mut().read(&mut bytes)).await.unwrap();
            got += bytes[..count].iter().filter(|byte| **byte == b'\n').count();
            reads += 1;
        }
        // On a busy machine the test itself may come late, but nothing comes early.
        assert!(told.elapsed() >= Duration::from_millis(5) * (MANY as u32 - 1), "{:?}", told.elapsed());
        assert!(reads > MANY as usize / 4, "{got} messages in {reads} reads");
    }

    #[tokio::test]
    async fn what_is_no_message_is_said_and_passed_over() {
        let mut bench = Bench::start(&["--json"]).await;
        bench.hears(5, 0).await;
        let long = format!("{{\"x\": \"{}\"}}", "x".repeat(10_000));
        for bad in ["hello\n", "{\"uuid\": 7, \"flag\": 0}", "{\"uuid\": \"x\n", "\u{0}\x1b[31m\n", &long, "[]\n"] {
            bench.tell(bad).await;
            bench.tell(&format!("{}\n", object(6, 0))).await;
            bench.run.err("passed over what is no message").await;
            bench.hears(6, 0).await;
        }
        bench.tell(&object(6, 1)).await;
        assert_eq!(bench.run.end().await.code(), Some(0));
        let (out, err) = bench.run.rest().await;
        assert_eq!(out.iter().filter(|line| line.contains(r#""event":"bad""#)).count(), 6, "{out:#?}");
        assert!(!err.join("").contains('\x1b'), "{err:?}");
    }

    #[tokio::test]
    async fn somebody_with_our_uuid_is_said() {
        let mut bench = Bench::start(&[]).await;
        bench.hears(5, 0).await;
        bench.tell(&[object(6, 0), object(5, 0), object(5, 1)].concat()).await;
        bench.run.err("somebody else in the ring has our UUID: it came to us after a greater one").await;
        bench.run.err("somebody else in the ring has our UUID: it was announced, and not by us").await;
        bench.hears(6, 0).await;
        bench.tell(&object(6, 1)).await;
        follows(&mut bench.run, 6).await;
        assert!(bench.log().contains(&format!("Ignored: uuid={}, flag=1", id(5))), "{:?}", bench.log());
    }

    #[tokio::test]
    async fn strangers_neither_break_the_ring_nor_keep_the_predecessor_out() {
        let ring = Ring::new(2);
        let mut node = ring.spawn(0, 5, &[]);
        node.err("dials").await;
        let dial = || async { TcpStream::connect(("127.0.0.1", ring.ports[0])).await.unwrap() };
        // A browser, say; and many that say nothing, before the node reads and after.
        let mut browser = dial().await;
        browser.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut silent = vec![];
        for _ in 0..60 {
            silent.push(dial().await);
        }
        let listener = ring.listen(1);
        let mut successor = BufReader::new(soon("the dial", listener.accept()).await.unwrap().0);
        let mut other = dial().await;
        other.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        node.err("passed over what is no message").await;
        drop((browser, other));
        let mut predecessor = dial().await;
        predecessor.write_all([object(6, 0), object(6, 1)].concat().as_bytes()).await.unwrap();
        follows(&mut node, 6).await;
        let mut all = String::new();
        soon("its end", successor.read_to_string(&mut all)).await.unwrap();
        assert_eq!(all.lines().collect::<Vec<_>>(), [object(5, 0), object(6, 0), object(6, 1)]);
    }

    #[tokio::test]
    async fn only_who_speaks_first_is_the_predecessor() {
        let mut bench = Bench::start(&[]).await;
        bench.hears(5, 0).await;
        // Somebody looks whether the port is open.
        drop(TcpStream::connect(("127.0.0.1", bench.port)).await.unwrap());
        let _silent = TcpStream::connect(("127.0.0.1", bench.port)).await.unwrap();
        bench.tell(&object(6, 0)).await;
        bench.hears(6, 0).await;
        let mut other = TcpStream::connect(("127.0.0.1", bench.port)).await.unwrap();
        other.write_all(object(9, 1).as_bytes()).await.unwrap();
        bench.run.err("is not heard: the ring has its predecessor").await;
        bench.tell(&object(6, 1)).await;
        bench.hears(6, 1).await;
        follows(&mut bench.run, 6).await;
    }
}

/// One node loses a neighbour, at each stage.
mod broken {
    use super::*;

    const SOON: [&str; 2] = ["--grace", "300ms"];

    #[tokio::test]
    async fn a_successor_that_is_lost_is_named() {
        let mut bench = Bench::start(&SOON).await;
        bench.hears(5, 0).await;
        let address = bench.listener.local_addr().unwrap();
        let Bench { run, successor, predecessor: _open, .. } = &mut bench;
        let (empty, _) = closed_pair().await;
        drop(std::mem::replace(successor, BufReader::new(empty)));
        let said = is_broken(run).await;
        assert!(said.contains(&format!(" and {address}")), "{said}");
    }

    #[tokio::test]
    async fn a_predecessor_that_is_lost_is_named() {
        for stage in 0..3 {
            let mut bench = Bench::start(&SOON).await;
            bench.hears(5, 0).await;
            // Something has to come, else it may have been anybody.
            bench.tell(&object(3, 0)).await;
            if stage > 0 {
                bench.tell(&object(5, 0)).await;
                bench.hears(5, 1).await;
            }
            if stage > 1 {
                // Within a message.
                bench.tell(&object(5, 1)[..9]).await;
            }
            bench.predecessor.shutdown().await.unwrap();
            let said = is_broken(&mut bench.run).await;
            assert!(said.contains("and our predecessor (connected from 127.0.0.1:"), "{stage}: {said}");
        }
    }

    #[tokio::test]
    async fn who_knows_the_leader_needs_nobody() {
        // A leader that has announced itself and left is missed by nobody, whatever is seen first.
        let mut bench = Bench::start(&[]).await;
        bench.hears(5, 0).await;
        let (empty, _) = closed_pair().await;
        drop(std::mem::replace(&mut bench.successor, BufReader::new(empty)));
        bench.run.err("is lost, and no leader known yet").await;
        bench.tell(&object(6, 1)).await;
        bench.predecessor.shutdown().await.unwrap();
        follows(&mut bench.run, 6).await;

        // A leader whose successor has passed the announcement on and left.
        let mut bench = Bench::start(&[]).await;
        bench.hears(5, 0).await;
        bench.tell(&object(5, 0)).await;
        bench.hears(5, 1).await;
        let (empty, _) = closed_pair().await;
        drop(std::mem::replace(&mut bench.successor, BufReader::new(empty)));
        bench.tell(&object(5, 1)).await;
        follows(&mut bench.run, 5).await;
    }

    /// The end goes round forwards, from each to its successor, and waits for no grace.
    #[tokio::test]
    async fn when_one_dies_all_others_know_at_once() {
        let ring = Ring::new(5);
        let listener = ring.listen(0);
        let mut nodes: Vec<Run> = (1..5).map(|who| ring.spawn(who, 10 + who as u128, &["--grace", "1h"])).collect();
        nodes[0].err("dials").await;
        let predecessor = soon("the dial", listener.accept()).await.unwrap().0;
        let mut successor = TcpStream::connect(("127.0.0.1", ring.ports[1])).await.unwrap();
        successor.write_all(object(1, 0).as_bytes()).await.unwrap();
        until_log(&ring, 4, &format!("Ignored: uuid={}", id(13))).await;
        drop((predecessor, successor));
        for node in &mut nodes {
            is_broken(node).await;
        }
    }

    /// Of five nodes one stands still, and is killed then: all others say where it broke.
    #[tokio::test]
    async fn when_one_is_killed_all_others_say_so() {
        let ring = Ring::new(5);
        let mut held = ring.spawn(2, 3, &[]);
        held.err("dials").await;
        held.signal(Signal::SIGSTOP);
        let mut nodes: Vec<Run> = [0, 1, 3, 4].map(|who| ring.spawn(who, 10 + who as u128, &[])).into();
        // It holds all that is to pass it: those before it have sent, those after it have not heard all.
        for who in [0, 1, 3, 4] {
            until_log(&ring, who, "Sent: ").await;
        }
        held.signal(Signal::SIGKILL);
        for node in &mut nodes {
            is_broken(node).await;
        }
    }

    /// Two ends of a connection that is of no use.
    pub async fn closed_pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let one = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (one, listener.accept().await.unwrap().0)
    }
}

/// There is nothing to await when a file grows: so look until it has.
async fn until_log(ring: &Ring, who: usize, part: &str) {
    soon(part, async {
        while !std::fs::read_to_string(ring.log_file(who)).unwrap_or_default().contains(part) {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

mod refused {
    use super::*;

    async fn refused(config: &str, more: &[&str]) -> String {
        let dir = TempDir::new().unwrap();
        let (file, log) = (dir.path().join("config.txt"), dir.path().join("log.txt"));
        std::fs::write(&file, config).unwrap();
        let arguments = ["ring", "--config", file.to_str().unwrap(), "--log", log.to_str().unwrap()];
        let mut run = Run::start(&[&arguments[..], more].concat());
        assert_eq!(run.end().await.code(), Some(1));
        let (out, err) = run.rest().await;
        assert_eq!(out, Vec::<String>::new());
        err.last().unwrap().replace(&format!("{}/", dir.path().display()), "")
    }

    #[tokio::test]
    async fn a_bad_config_is_told_with_its_line() {
        let table = [
            ("127.0.0.1,5001\n", &[][..], "config.txt:2: expected the successor's ip,port"),
            (
                "127.0.0.1,5001\n127.0.0.1\n",
                &[],
                "config.txt:2: expected ip,port, such as 127.0.0.1,5001; got \"127.0.0.1\"",
            ),
            ("127.0.0.1,5001\n127.0.0.1,5001\n", &[], "config.txt:2: expected another address than in line 1"),
            ("127.0.0.1,5001\n127.0.0.1,5002\n", &["--repair"], "config.txt:3: --repair needs the whole ring"),
            ("192.0.2.7,5001\n127.0.0.1,5002\n", &[], "config.txt:1: cannot listen on 192.0.2.7:5001"),
        ];
        for (config, more, expected) in table {
            let said = refused(config, more).await;
            assert!(said.starts_with(&format!("ringleader: {expected}")), "{said}");
        }
    }

    /// `--log` is the file here, and what goes to stderr has another flag.
    #[tokio::test]
    async fn the_two_logs_are_not_taken_for_each_other() {
        let ring = Ring::new(2);
        let mut nodes = [ring.spawn(0, 1, &["--log-filter", "debug"]), ring.spawn(1, 2, &["--log-filter", "error"])];
        nodes[0].err("sent Message").await;
        all_follow(&mut nodes, 2).await;
        assert_eq!(ring.log(1)[0], format!("Sent: uuid={}, flag=0", id(2)));
        let dir = TempDir::new().unwrap();
        let (config, log) = (ring.write_config(0, 2), dir.path().join("log.txt"));
        let arguments = ["ring", "--config", config.to_str().unwrap(), "--log", log.to_str().unwrap()];
        let said = |more: &[&str]| Run::start(&[&arguments[..], more].concat());
        let mut run = said(&["--log-filter", "=x="]);
        assert_eq!(run.end().await.code(), Some(1));
        assert!(run.rest().await.1[0].contains("expected a level such as info"));
        let place = dir.path().join("ring");
        let mut run = Run::start(&["ring", "demo", "--log-filter", "error", "--dir", place.to_str().unwrap()]);
        assert_eq!(run.end().await.code(), Some(0));
        assert_eq!(std::fs::read_to_string(place.join("node-1/stderr.txt")).unwrap(), "");
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_told() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = taken.local_addr().unwrap().port();
        let said = refused(&format!("127.0.0.1,{port}\n127.0.0.1,1\n"), &[]).await;
        assert!(said.starts_with(&format!("ringleader: config.txt:1: cannot listen on 127.0.0.1:{port}")), "{said}");
    }

    #[tokio::test]
    async fn who_is_stopped_first_has_a_code_for_that() {
        for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
            let ring = Ring::new(2);
            let mut node = ring.spawn(0, 1, &[]);
            node.err("waiting for the successor").await;
            node.signal(signal);
            assert_eq!(node.end().await.code(), Some(code));
            assert_eq!(node.rest().await.0, Vec::<String>::new());
        }
    }
}

mod demo {
    use super::*;

    async fn demo(nodes: usize, more: &[&str]) -> (Option<i32>, Vec<String>, TempDir) {
        let dir = TempDir::new().unwrap();
        let (count, place) = (nodes.to_string(), dir.path().join("ring"));
        let arguments = ["ring", "demo", "--nodes", &count, "--dir", place.to_str().unwrap()];
        let mut run = Run::start(&[&arguments[..], more].concat());
        let code = run.end().await.code();
        let (out, err) = run.rest().await;
        assert_eq!(err, Vec::<String>::new());
        (code, out, dir)
    }

    async fn counts(nodes: usize, more: &[&str], best: usize, worst: usize) {
        let (code, out, dir) = demo(nodes, more).await;
        assert_eq!(code, Some(0), "{out:#?}");
        let [.., leads, counted] = &out[..] else { panic!("{out:#?}") };
        assert!(leads.contains(&format!("leads: all {nodes} agree")), "{out:#?}");
        let sent: usize = counted.split_once(" messages: at best").unwrap().0.parse().unwrap();
        assert!((best..=worst).contains(&sent), "{counted}");
        assert!(counted.ends_with(&format!(" = {worst}")), "{counted}");
        // They are the messages that stand in the logs.
        let logged: usize = (1..=nodes)
            .map(|n| std::fs::read_to_string(dir.path().join(format!("ring/node-{n}/log.txt"))).unwrap())
            .map(|log| log.lines().filter(|line| line.starts_with("Sent: ")).count())
            .sum();
        assert_eq!(logged, sent);
    }

    #[tokio::test]
    async fn three_ten_and_a_hundred_nodes_agree() {
        counts(3, &[], 8, 9).await;
        counts(3, &["--repair"], 11, 12).await;
        counts(10, &[], 29, 65).await;
        counts(100, &[], 299, 5150).await;
    }

    #[tokio::test]
    async fn nobodys_files_are_written_over() {
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("mine"), "").unwrap();
        let mut run = Run::start(&["ring", "demo", "--dir", dir.path().to_str().unwrap()]);
        assert_eq!(run.end().await.code(), Some(1));
        assert!(run.rest().await.1[0].contains("expected a new or an empty directory"));
    }
}
