//! The `ringleader` command, as people and scripts use it.

// What these tests unwrap, they check.
#![allow(clippy::unwrap_used)]

#[path = "cli/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::time::Instant;

use futures_util::SinkExt;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Duration, timeout};
use tokio_tungstenite::tungstenite::Message;
use world::{Hub, PATIENCE, Run, free_port, is_gone, pids, until_gone};

/// Checks soon unanswered, for those who are killed or stopped.
const SOON: [&str; 4] = ["--check-interval", "300ms", "--check-timeout", "1s"];

/// Checks that a test does not live to see unanswered.
const LATE: [&str; 4] = ["--check-interval", "60s", "--check-timeout", "60s"];

mod join {
    use super::*;

    #[tokio::test]
    async fn json_lines_are_as_promised_and_alone_on_stdout() {
        let hub = Hub::start().await;
        let mut member = Run::member(&hub, "blue", "7", &[]);
        let mut lines = vec![];
        loop {
            let line = member.line().await.unwrap();
            let acts = line.contains(r#""mayAct":true"#);
            lines.push(line);
            if acts {
                break;
            }
        }
        member.signal(Signal::SIGTERM);
        assert_eq!(member.end().await.code(), Some(0));
        let (out, err) = member.rest().await;
        lines.extend(out);

        for line in &lines {
            let value: Value = serde_json::from_str(line).unwrap();
            let keys: BTreeSet<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(
                keys,
                BTreeSet::from(["at", "clientId", "leaderId", "mayAct", "name", "role", "term"]),
                "{line}"
            );
            assert!(value["at"].as_u64().unwrap() > 1_600_000_000_000, "{line}");
            assert!(value["clientId"].is_string() && value["term"].is_u64(), "{line}");
            assert_eq!(value["name"], "blue");
            assert!(value["mayAct"] == false || value["role"] == "leader", "{line}");
            let leader = &value["leaderId"];
            match value["role"].as_str().unwrap() {
                "leader" => assert_eq!((leader, &value["term"]), (&value["clientId"], &1.into())),
                "candidate" | "disconnected" => assert!(leader.is_null(), "{line}"),
                role => panic!("{role}"),
            }
        }
        assert!(lines.last().unwrap().contains("disconnected"), "{lines:?}");
        let err = err.join("\n");
        for expected in ["(name blue, rank 7)", "election started", "term 1: leader is blue (me)", "left the ring"] {
            assert!(err.contains(expected), "{err}");
        }
    }

    #[tokio::test]
    async fn a_leader_told_to_stop_resigns_so_that_others_elect_at_once() {
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            let hub = Hub::start().await;
            let mut blue = Run::member(&hub, "blue", "2", &LATE);
            blue.role("leader").await;
            let mut red = Run::member(&hub, "red", "1", &LATE);
            red.role("follower").await;
            let told = Instant::now();
            blue.signal(signal);
            assert_eq!(red.role("leader").await["term"], 2);
            assert!(told.elapsed() < PATIENCE / 3, "{:?}", told.elapsed());
            assert_eq!(blue.end().await.code(), Some(0));
        }
    }

    #[tokio::test]
    async fn wrong_flags_fail_at_once_and_say_what_was_expected() {
        let table: &[(&[&str], &str)] = &[
            (&["--rank", "seven"], "a finite number, such as 7"),
            (&["join", "--rank", "NaN"], "a finite number"),
            (&["--hub", "nonsense"], "expected ws://HOST:PORT"),
            (&["--hub", "http://localhost:8080"], "the scheme is ws"),
            (&["watch", "--hub", "ws://localhost:99999"], "expected ws://HOST:PORT"),
            (&["--check-interval", "0s"], "a time from 1ms to 1h"),
            (&["--check-timeout", "soon"], "a time from 1ms to 1h"),
            (&["--ring", "a b"], "1 to 64 letters"),
            (&["watch", "--ring", ""], "1 to 64 letters"),
            (&["--name", "two\nlines"], "without control characters"),
            (&["--nmae", "blue"], "--name"),
            (&["jion"], "join"),
            (&["demo", "--clients", "0"], "1..=100"),
            (&["demo", "--clients", "101"], "1..=100"),
            (&["demo", "--kill-leader-after", "0s"], "a time from 1ms to 1h"),
            (&["demo", "--kill-leader-after", "1s", "--clients", "1"], "at least two"),
        ];
        for (arguments, expected) in table {
            let mut run = Run::start(arguments);
            assert_eq!(run.end().await.code(), Some(2), "{arguments:?}");
            let (out, err) = run.rest().await;
            assert!(out.is_empty() && err.concat().contains(expected), "{arguments:?}: {out:?} {err:?}");
        }
    }

    #[tokio::test]
    async fn whoever_cannot_reach_the_hub_says_so_and_goes_on_trying() {
        let port = free_port().await;
        let url = format!("ws://127.0.0.1:{port}");
        let mut member = Run::start(&["join", "--json", "--hub", &url, "--rank", "7"]);
        let first = member.err("cannot reach it").await;
        assert!(first.contains(&url) && first.contains("tried for 0.0 s, trying again in 0."), "{first}");
        let second = member.err("cannot reach it").await;
        assert!(!second.contains("tried for 0.0 s"), "{second}");

        let hub = Hub::start_on(port).await;
        assert_eq!(member.role("leader").await["term"], 1);
        hub.stop().await;
        member.role("disconnected").await;
        let _hub = Hub::start_on(port).await;
        let back = member.role("leader").await;
        assert_eq!(back["term"], 2, "terms rise, even if the hub has lost its own");
    }

    #[tokio::test]
    async fn what_is_no_hub_is_called_so() {
        enum Answer {
            Nothing,
            Text(&'static str),
            WebSocket(&'static str),
        }
        let ok = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello";
        let table = [
            (Answer::Text(ok), "what answers there is no hub: HTTP 200 OK"),
            (Answer::Text("220 mail.example ESMTP\r\n"), "what answers there is no hub"),
            (Answer::Nothing, "what answers there is no hub: no WebSocket handshake in 5 s"),
            (Answer::WebSocket("hello"), "does not speak like a hub"),
            (Answer::WebSocket(r#"{"method":"welcome"}"#), "does not speak like a hub: welcome: expected a clientId"),
        ];
        for (answer, expected) in table {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("ws://{}", listener.local_addr().unwrap());
            let server = tokio::spawn(async move {
                let mut open = vec![];
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    match answer {
                        Answer::Nothing => {}
                        Answer::Text(text) => {
                            // Reset by unread bytes, our answer could be lost.
                            let _ = stream.read(&mut [0; 4096]).await;
                            stream.write_all(text.as_bytes()).await.unwrap();
                        }
                        Answer::WebSocket(text) => {
                            let mut socket = tokio_tungstenite::accept_async(&mut stream).await.unwrap();
                            socket.send(Message::text(text)).await.unwrap();
                        }
                    }
                    open.push(stream);
                }
            });
            let mut member = Run::start(&["--hub", &url]);
            member.err(expected).await;
            server.abort();
        }
    }

    #[tokio::test]
    async fn variables_stand_beside_the_flags() {
        let hub = Hub::start().await;
        let variables = [
            ("RINGLEADER_HUB", &*hub.url()),
            ("RINGLEADER_RING", "lab"),
            ("RINGLEADER_RANK", "-2.5"),
            ("RINGLEADER_NAME", "blue"),
            ("RINGLEADER_CHECK_INTERVAL", "100ms"),
            ("RINGLEADER_CHECK_TIMEOUT", "60s"),
            ("RINGLEADER_EARLY", "1"),
            ("RINGLEADER_JSON", "true"),
            ("RINGLEADER_LOG", "debug"),
        ];
        let mut blue = Run::start_with(&[], &variables);
        blue.role("leader").await;
        let ring: Value = serde_json::from_str(&get(&hub, "/rings/lab").await).unwrap();
        assert_eq!(
            (&ring["members"][0]["name"], &ring["members"][0]["rank"]),
            (&"blue".into(), &(-2.5).into()),
            "{ring}"
        );
        // A flag counts for more. Whoever checks often and elects early sees its leader's end at once.
        let mut red = Run::start_with(&["--name", "red", "--rank", "-3"], &variables);
        red.err("← {\"method\":\"answerLeader\"").await;
        blue.signal(Signal::SIGKILL);
        assert_eq!(red.role("leader").await["name"], "red");

        let mut wrong = Run::start_with(&[], &[("RINGLEADER_RANK", "seven")]);
        assert_eq!(wrong.end().await.code(), Some(2));
    }

    #[tokio::test]
    async fn a_leader_that_hangs_is_replaced_and_follows_when_it_wakes_up() {
        let hub = Hub::start().await;
        let mut green = Run::member(&hub, "green", "3", &SOON);
        let before = green.acts().await;
        let mut red = Run::member(&hub, "red", "1", &SOON);
        let mut blue = Run::member(&hub, "blue", "2", &SOON);
        for follower in [&mut red, &mut blue] {
            follower.role("follower").await;
        }
        green.signal(Signal::SIGSTOP);
        let new = blue.role("leader").await;
        assert!(new["term"].as_u64() > before["term"].as_u64(), "{before} {new}");
        let follower = red.role("follower").await;
        assert_eq!(follower["leaderId"], new["clientId"]);

        green.signal(Signal::SIGCONT);
        let mut roles = vec![];
        let after = loop {
            let line: Value = serde_json::from_str(&green.line().await.unwrap()).unwrap();
            if line["role"] == "follower" {
                break line;
            }
            assert_eq!(line["mayAct"], false, "{line}");
            roles.push(line["role"].as_str().unwrap().to_owned());
        };
        assert!(roles.iter().all(|role| ["disconnected", "candidate"].contains(&&**role)), "{roles:?}");
        assert_eq!((&after["leaderId"], &after["term"]), (&new["clientId"], &new["term"]));
    }

    #[tokio::test]
    async fn a_reader_that_goes_away_ends_it() {
        let hub = Hub::start().await;
        let mut member = Run::member(&hub, "blue", "7", &[]);
        member.close_stdout();
        member.err("told to stop (cannot write to stdout").await;
        member.end().await;
    }

    #[tokio::test]
    async fn it_stops_when_told_to_while_stdin_is_open() {
        let hub = Hub::start().await;
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_ringleader"));
        command.args(["join", "--until-stdin-closes", "--hub", &hub.url()]).stdin(std::process::Stdio::piped());
        command.stderr(std::process::Stdio::piped()).kill_on_drop(true);
        for end_by_signal in [true, false] {
            let mut child = command.spawn().unwrap();
            let stdin = child.stdin.take();
            let mut logs = tokio::io::BufReader::new(child.stderr.take().unwrap());
            let mut line = String::new();
            tokio::io::AsyncBufReadExt::read_line(&mut logs, &mut line).await.unwrap();
            if end_by_signal {
                nix::sys::signal::kill(Pid::from_raw(child.id().unwrap() as i32), Signal::SIGTERM).unwrap();
                assert_eq!(timeout(PATIENCE, child.wait()).await.unwrap().unwrap().code(), Some(0), "{line}");
                drop(stdin);
            } else {
                drop(stdin);
                assert_eq!(timeout(PATIENCE, child.wait()).await.unwrap().unwrap().code(), Some(0), "{line}");
            }
        }
    }
}

mod demo {
    use super::*;

    /// A demo and its members' process ids, when they have agreed on a leader.
    async fn start(clients: usize, more: &[&str], variables: &[(&str, &str)]) -> (Run, Vec<i32>) {
        let count = clients.to_string();
        let arguments = ["demo", "--port", "0", "--clients", &count];
        let mut demo = Run::start_with(&[&arguments[..], more].concat(), variables);
        let mut members = vec![];
        while members.len() < clients {
            members.extend(pids(&demo.out("(pid ").await));
        }
        let leader = pids(&demo.out(" leads, term ").await);
        assert!(leader.len() == 1 && members.contains(&leader[0]), "{leader:?} {members:?}");
        (demo, members)
    }

    #[tokio::test]
    async fn the_story_plays_by_itself() {
        let story = ["--kill-leader-after", "300ms"];
        let (mut demo, members) = start(4, &[&story[..], &SOON].concat(), &[]).await;
        let killed = pids(&demo.out("killing").await);
        assert_eq!(pids(&demo.out("has ended: killed by signal 9").await), killed);
        let end = demo.out("all 3 agree").await;
        assert!(end.contains(" leads, term ") && end.contains("s after ") && end.ends_with("was killed"), "{end}");
        assert_ne!(pids(&end), killed);
        assert_eq!(demo.end().await.code(), Some(0));
        let left: Vec<_> = members.into_iter().filter(|pid| !is_gone(*pid)).collect();
        assert!(left.is_empty(), "{left:?}");
        let (out, err) = demo.rest().await;
        assert!(out.last().unwrap().ends_with("all have ended"), "{out:?}");
        assert!(!out.iter().any(|line| line.contains("has ended:")), "nobody else has to be killed: {out:?}");
        assert!(err.is_empty(), "{err:?}");
    }

    #[tokio::test]
    async fn it_says_what_to_try_and_that_works() {
        let (mut demo, members) = start(3, &SOON, &[]).await;
        let kill = demo.out("kill -9 ").await;
        let pid: i32 = kill.split_whitespace().nth(2).unwrap().parse().unwrap();
        assert!(members.contains(&pid), "{kill}");
        let watch = demo.out(" watch --hub ws://localhost:").await;
        let url = watch.split_whitespace().last().unwrap();
        let mut watch = Run::start(&["watch", "--hub", url]);
        watch.err("red").await;
        nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        demo.out(&format!("(pid {pid}) has ended: killed by signal 9")).await;
        demo.out("both agree").await;
        watch.out("newLeader").await;
        demo.signal(Signal::SIGTERM);
        assert_eq!(demo.end().await.code(), Some(0));
        assert!(members.into_iter().all(is_gone));
    }

    #[tokio::test]
    async fn nobody_outlives_it_not_even_who_is_stopped() {
        // As the first process of a container does, we take in orphans. Being of their session,
        // we also keep the kernel from seeing to those who are stopped.
        #[cfg(target_os = "linux")]
        nix::sys::prctl::set_child_subreaper(true).unwrap();
        for signal in [Signal::SIGINT, Signal::SIGKILL] {
            let (mut demo, members) = start(3, &LATE, &[]).await;
            nix::sys::signal::kill(Pid::from_raw(members[1]), Signal::SIGSTOP).unwrap();
            demo.signal(signal);
            let status = demo.end().await;
            if signal == Signal::SIGINT {
                assert_eq!(status.code(), Some(0));
                assert!(members.iter().all(|pid| is_gone(*pid)));
                let (out, _) = demo.rest().await;
                let killed = format!("(pid {}) has ended: killed by signal 9", members[1]);
                assert!(out.iter().any(|line| line.contains(&killed)), "{out:?}");
            }
            for pid in members {
                // Elsewhere, who is stopped sees only when it wakes up that it is alone.
                if !cfg!(target_os = "linux") {
                    let _ = nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGCONT);
                }
                until_gone(pid).await;
            }
        }
    }

    #[tokio::test]
    async fn a_reader_that_goes_away_ends_it() {
        let (mut demo, members) = start(2, &SOON, &[]).await;
        demo.close_stdout();
        // Something is said sooner or later; this makes it sooner.
        nix::sys::signal::kill(Pid::from_raw(members[0]), Signal::SIGKILL).unwrap();
        assert_eq!(demo.end().await.code(), Some(0));
        assert!(members.into_iter().all(is_gone));
    }

    #[tokio::test]
    async fn members_do_not_hear_what_is_meant_for_the_demo() {
        let variables = [
            ("RINGLEADER_NAME", "mallory"),
            ("RINGLEADER_RANK", "1000000"),
            ("RINGLEADER_RING", "elsewhere"),
            ("RINGLEADER_HUB", "ws://elsewhere:1"),
            ("RINGLEADER_ELECTION_TIMEOUT", "1ms"),
            ("RINGLEADER_EARLY", "1"),
        ];
        let (mut demo, members) = start(2, &LATE, &variables).await;
        // Early: long before a check could tell.
        let kill = demo.out("kill -9 ").await;
        assert!(kill.contains("as soon as the hub says so"), "{kill}");
        let leader: i32 = kill.split_whitespace().nth(2).unwrap().parse().unwrap();
        let watch = demo.out(" watch --hub ").await;
        let mut watch = Run::start(&["watch", "--hub", watch.split_whitespace().last().unwrap()]);
        let ring = watch.err("watching ring default").await;
        assert!(ring.contains("red") && ring.contains("blue") && ring.contains("(leader "), "{ring}");
        nix::sys::signal::kill(Pid::from_raw(leader), Signal::SIGKILL).unwrap();
        let end = demo.out(" leads, term ").await;
        assert!(!end.contains("mallory") && members.contains(&pids(&end)[0]), "{end}");
    }

    #[tokio::test]
    async fn a_taken_port_is_said_with_the_way_out() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = taken.local_addr().unwrap().port().to_string();
        let mut demo = Run::start_with(&["demo"], &[("RINGLEADER_PORT", &port)]);
        demo.err("choose another with --port").await;
        assert_eq!(demo.end().await.code(), Some(1));
    }
}

mod watch {
    use super::*;

    #[tokio::test]
    async fn an_election_can_be_read() {
        let hub = Hub::start().await;
        let mut watch = Run::start(&["watch", "--hub", &hub.url()]);
        let mut json = Run::start(&["watch", "--json", "--hub", &hub.url()]);
        watch.err("watching ring default of").await;
        json.err("nobody is there (no leader)").await;

        let mut blue = Run::member(&hub, "blue", "42.5", &LATE);
        blue.role("leader").await;
        let mut red = Run::member(&hub, "red", "1", &LATE);
        red.role("follower").await;
        red.signal(Signal::SIGTERM);
        red.end().await;
        assert!(watch.out("election").await.ends_with(" → blue  election      term 1    [blue 42.5]"));
        watch.out("ring: blue, red (leader blue, term 1)").await;
        watch.out("ring: blue (leader blue, term 1)").await;
        Run::start(&["watch", "--hub", &hub.url()]).err("default of ws://127.0.0.1").await;

        // As JSON: to the frame that shows the ring without red.
        let (mut frames, mut had_red) = (vec![], false);
        loop {
            let line = json.line().await.unwrap();
            let frame: Value = serde_json::from_str(&line).unwrap();
            let members = frame["data"]["members"].as_array().map_or(0, Vec::len);
            let is_ring = frame["method"] == "ring";
            frames.push(frame);
            if is_ring && members == 1 && had_red {
                break;
            }
            had_red |= members == 2;
        }
        assert_eq!(frames[0]["method"], "welcome");
        for method in ["election", "newLeader"] {
            assert!(frames.iter().any(|frame| frame["data"]["frame"]["method"] == method), "{frames:?}");
        }

        for (run, signal) in [(&mut watch, Signal::SIGTERM), (&mut json, Signal::SIGINT)] {
            run.signal(signal);
            assert_eq!(run.end().await.code(), Some(0));
        }
    }

    #[tokio::test]
    async fn lines_have_columns() {
        let hub = Hub::start().await;
        let mut watch = Run::start(&["watch", "--hub", &hub.url()]);
        watch.err("watching").await;
        let mut red = Run::member(&hub, "red", "1", &SOON);
        red.role("leader").await;
        let mut blue = Run::member(&hub, "blue", "42.5", &SOON);
        blue.role("follower").await;
        let check = watch.out("blue asks red").await;
        let (time, rest) = check.split_at("00:00:00.000".len());
        assert!(time.chars().all(|c| c.is_ascii_digit() || ":.".contains(c)), "{check}");
        assert_eq!(rest, "  blue → red   checkLeader   term 1    blue asks red");
        let answer = watch.out("red answers blue").await;
        assert!(answer.ends_with("   red → blue  answerLeader  term 1    red answers blue"), "{answer}");
        red.signal(Signal::SIGTERM);
        let left = watch.out("leaderLeft").await;
        assert!(left.ends_with("   hub → blue  leaderLeft    term 1    red has resigned"), "{left}");
        watch.out("ring: ").await;
        let election = watch.out("election").await;
        assert!(election.contains(" term 2    [blue 42.5") && !election.contains('\x1b'), "{election}");
        watch.out("term 2    leader blue").await;
    }

    #[tokio::test]
    async fn it_comes_back_when_the_hub_does() {
        let hub = Hub::start().await;
        let port = hub.address.port();
        let mut watch = Run::start(&["watch", "--hub", &hub.url(), "--ring", "lab"]);
        watch.err("watching ring lab").await;
        hub.stop().await;
        watch.err("the hub closed the connection: 1001").await;
        watch.err("cannot reach it").await;
        let _hub = Hub::start_on(port).await;
        watch.err("watching ring lab").await;
    }

    #[tokio::test]
    async fn what_it_cannot_read_is_passed_over() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
            for text in [
                r#"{"method":"welcome","clientId":"me","data":{"ring":"\u001b[31m","members":[{"clientId":"a","name":"red"}],"term":0}}"#,
                r#"{"method":"relayed","data":{"seq":7,"at":0,"from":null,"to":"a","frame":{"method":"leaderLeft","data":{"leaderId":"a","term":1}}}}"#,
                "\x1b[31mgarbage",
                r#"{"method":"\u001b[31m"}"#,
                r#"{"method":"ring","data":{"ring":"x","members":[{"clientId":"a","name":"\u001b[31m"}],"term":0}}"#,
                r#"{"method":"relayed","data":{"seq":9,"at":0,"from":null,"to":"a","frame":{"method":"\u001b[31m"}}}"#,
                r#"{"method":"error","data":{"code":"x","message":"\u001b[31m","about":null}}"#,
                r#"{"method":"relayed","data":{"seq":12,"at":0,"from":null,"to":"a","frame":{"method":"newLeader","data":{"leaderId":"a"}}}}"#,
            ] {
                socket.send(Message::text(text)).await.unwrap();
            }
            socket
        });
        let mut watch = Run::start(&["watch", "--hub", &url]);
        assert_eq!(watch.out("leaderLeft").await, "00:00:00.000   hub → red   leaderLeft    term 1    red has left");
        watch.out("2 frames were missed").await;
        assert_eq!(watch.out("newLeader").await, "00:00:00.000   hub → red   newLeader     term -    leader red");
        watch.signal(Signal::SIGTERM);
        assert_eq!(watch.end().await.code(), Some(0));
        let (_, err) = watch.rest().await;
        let err = err.join("\n");
        assert_eq!(err.matches("passed over a frame").count(), 4, "{err}");
        assert!(err.contains("the hub says") && !err.contains('\x1b'), "{err}");
        drop(server.await);
    }

    #[tokio::test]
    async fn a_reader_that_goes_away_ends_it() {
        let hub = Hub::start().await;
        let mut watch = Run::start(&["watch", "--hub", &hub.url()]);
        watch.err("watching").await;
        watch.close_stdout();
        let _member = Run::member(&hub, "red", "1", &[]);
        assert_eq!(watch.end().await.code(), Some(0));
        let (_, err) = watch.rest().await;
        assert!(err.is_empty(), "{err:?}");
    }
}

async fn get(hub: &Hub, path: &str) -> String {
    let mut stream = TcpStream::connect(hub.address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", hub.address);
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(Duration::from_secs(10), stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}
