//! Work for the leader: real members, real processes, a hub in this one.

// What these tests unwrap, they check.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "cli/world.rs"]
mod world;

use std::path::Path;

use futures_util::future::select_all;
use nix::sys::signal::Signal;
use num_bigint::BigUint;
use ringleader_client::jobs::{Job, Jobs, State};
use ringleader_client::transport::hub::HubUrl;
use ringleader_client::{Config, Fail, FailMode, Membership, Work};
use ringleader_hub::store::Store;
use ringleader_hub::token::{Token, Tokens};
use ringleader_shared::factorial::{coordinator, worker};
use ringleader_shared::id::Name;
use ringleader_shared::node;
use tokio::net::TcpListener;
use tokio::time::{Duration, Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use world::{Hub, PATIENCE, Run, free_port};

/// By how much `delay` makes an answer late.
const LATE: Duration = Duration::from_secs(2);

/// n!, one number after the other.
fn factorial(n: u32) -> String {
    (1..=n).fold(BigUint::from(1_u32), |product, number| product * number).to_string()
}

fn line(n: u32) -> String {
    format!("{n}!={}", factorial(n))
}

fn jobs(url: &str) -> Jobs {
    Jobs::of(url.parse().unwrap())
}

/// `ringleader job` with its arguments, at that hub.
fn job(url: &str, arguments: &[&str]) -> Run {
    Run::start(&[&["job"], arguments, &["--hub", url]].concat())
}

fn submit(url: &str, n: &str, more: &[&str]) -> Run {
    job(url, &[&["submit", "--factorial", n], more].concat())
}

/// What a command prints that goes well.
async fn printed(mut run: Run) -> Vec<String> {
    let status = run.end().await;
    let (out, err) = run.rest().await;
    assert_eq!(status.code(), Some(0), "{out:?} {err:?}");
    out
}

/// What one says that does not.
async fn refused(mut run: Run, code: i32) -> String {
    let status = run.end().await;
    let (out, err) = run.rest().await;
    assert!(status.code() == Some(code) && out.is_empty(), "{status}: {out:?} {err:?}");
    err.join("\n")
}

/// Asks until the job is so. The hub tells of no job by itself.
async fn until(jobs: &Jobs, job: &Job, what: impl Fn(&Job) -> bool) -> Job {
    let asked = timeout(PATIENCE, async {
        loop {
            match jobs.show(job.job_id).await {
                Ok(job) if what(&job) => return job,
                _ => sleep(Duration::from_millis(20)).await,
            }
        }
    });
    match asked.await {
        Ok(job) => job,
        Err(_) => panic!("{:?}", jobs.show(job.job_id).await),
    }
}

async fn done(jobs: &Jobs, job: &Job) -> Job {
    let job = until(jobs, job, |job| job.state.is_over()).await;
    assert_eq!(job.state, State::Done, "{job:?}");
    assert_eq!(job.result.as_deref(), Some(&*factorial(job.factorial)), "{}!", job.factorial);
    assert_eq!((job.parts.done, job.waits_for.as_ref()), (job.parts.all, None));
    job
}

/// Members that are soon elected when another is gone: processes, the first one leads.
async fn ring(hub: &Hub, names: &[&str], more: &[&str]) -> Vec<Run> {
    let mut members = vec![];
    for (rank, name) in (1..).zip(names.iter().rev()) {
        let rank = (10 - rank).to_string();
        let rank = if *name == names[0] { "100" } else { &rank };
        members.push(Run::member(hub, name, rank, &[&["--early"], more].concat()));
    }
    members.reverse();
    members
}

/// A member within this process.
fn member(url: &str, name: &str, rank: u32, work: Work) -> Membership {
    let name = Name::new(name).unwrap();
    ringleader_client::join(Config { rank: rank.into(), name, work, ..Config::new(url.parse().unwrap()) })
}

fn works(name: &str, delay: Duration) -> Work {
    let computes = Some(worker::Options::new(Name::new(name).unwrap()));
    let coordinates = Some(coordinator::Options::default());
    Work { node: node::Work { coordinates, computes }, delay, ..Work::default() }
}

mod exact {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_is_told_the_factorial_and_nothing_else() {
        let hub = Hub::start().await;
        let _members = ring(&hub, &["blue", "red", "green"], &[]).await;
        let runs = [0, 1, 2, 10, 20, 1000].map(|n| (n, submit(&hub.url(), &n.to_string(), &["--wait"])));
        for (n, run) in runs {
            assert_eq!(printed(run).await, [line(n)], "{n}!");
        }
    }

    #[tokio::test]
    async fn numbers_too_long_for_a_message_lie_at_the_hub() {
        let hub = Hub::start().await;
        let _members = [1, 2, 3].map(|rank| member(&hub.url(), "member", rank, works("member", Duration::ZERO)));
        // Its last products have more than the 8,192 digits that a message holds.
        let job = jobs(&hub.url()).submit(15_000, "long").await.unwrap();
        let job = done(&jobs(&hub.url()), &job).await;
        assert!(job.workers.len() == 2 && job.parts.again == 0, "{:?}", job.workers);
        assert_eq!(job.workers.iter().map(|worker| worker.parts).sum::<u32>(), job.parts.all);
    }

    #[tokio::test]
    async fn the_coordinator_says_so_in_its_log() {
        let hub = Hub::start().await;
        let mut members = ring(&hub, &["blue", "red"], &[]).await;
        let mut blue = members.remove(0);
        printed(submit(&hub.url(), "10", &["--wait"])).await;
        blue.err("10!=3628800").await;
    }

    #[tokio::test]
    async fn who_does_no_work_coordinates_and_who_works_only_does_not() {
        let hub = Hub::start().await;
        let mut red = Run::member(&hub, "red", "100", &["--workers-only"]);
        red.err("joined").await;
        let _blue = Run::member(&hub, "blue", "1", &["--no-work"]);
        let job = jobs(&hub.url()).submit(10, "k").await.unwrap();
        let job = done(&jobs(&hub.url()), &job).await;
        assert_eq!(job.workers.iter().map(|worker| worker.name.as_str()).collect::<Vec<_>>(), ["red"]);
        assert_eq!(job.term.map(|term| term.get()), Some(1));
    }
}

mod crashes {
    use super::*;

    #[tokio::test]
    async fn a_worker_that_is_killed_costs_only_what_it_had_in_hand() {
        let hub = Hub::start().await;
        let mut members = ring(&hub, &["blue", "red", "green"], &["--delay", "20ms"]).await;
        members[0].acts().await;
        let jobs = jobs(&hub.url());
        let job = jobs.submit(600, "k").await.unwrap();
        until(&jobs, &job, |job| job.workers.len() == 2 && job.parts.done > 30).await;
        members[2].signal(Signal::SIGKILL);
        members[0].err("is gone").await;
        let job = done(&jobs, &job).await;
        assert!(job.reassigned > 0 && job.parts.again == 0, "{job:?}");
    }

    #[tokio::test]
    async fn a_coordinator_that_is_killed_leaves_its_work_to_the_next() {
        let hub = Hub::start().await;
        let mut members = ring(&hub, &["blue", "red", "green", "grey"], &["--delay", "20ms"]).await;
        members[0].acts().await;
        let jobs = jobs(&hub.url());
        let job = jobs.submit(1500, "k").await.unwrap();
        let running = until(&jobs, &job, |job| job.parts.done > 100).await;
        members[0].signal(Signal::SIGKILL);
        let others = members[1..].iter_mut().map(|member| Box::pin(member.err("took over 1500! in term")));
        let (took, ..) = select_all(others).await;
        println!("{took}");
        let job = done(&jobs, &job).await;
        assert!(job.term > running.term, "{job:?}");
        assert!(job.parts.again <= 100, "only what no checkpoint had is done again: {:?}", job.parts);
    }

    #[tokio::test]
    async fn who_waits_bears_with_a_hub_that_is_restarted() {
        let (directory, port) = (tempfile::tempdir().unwrap(), free_port().await);
        let url = format!("ws://127.0.0.1:{port}");
        let (first, stop) = hub_with_store(port, directory.path()).await;
        let mut waiting = submit(&url, "10", &["--wait"]);
        waiting.err("waits for a coordinator").await;
        stop.cancel();
        first.await.unwrap();
        waiting.err("trying on").await;
        let (_second, _stop) = hub_with_store(port, directory.path()).await;
        let _members = [1, 2].map(|rank| member(&url, "member", rank, works("member", Duration::ZERO)));
        assert_eq!(waiting.out("!=").await, line(10));
        assert_eq!(waiting.end().await.code(), Some(0));
    }

    #[tokio::test]
    async fn who_waits_is_told_that_a_hub_without_a_disk_has_lost_the_job() {
        let port = free_port().await;
        let hub = Hub::start_on(port).await;
        let url = hub.url();
        let mut waiting = submit(&url, "10", &["--wait"]);
        waiting.err("waits for a coordinator").await;
        hub.stop().await;
        waiting.err("trying on").await;
        let _hub = Hub::start_on(port).await;
        let said = refused(waiting, 1).await;
        assert!(said.contains("not known to the hub any more") && said.contains("--data-dir"), "{said}");
    }

    #[tokio::test]
    async fn a_hub_that_is_restarted_in_the_middle_loses_nothing() {
        let (directory, port) = (tempfile::tempdir().unwrap(), free_port().await);
        let url = format!("ws://127.0.0.1:{port}");
        let (first, stop) = hub_with_store(port, directory.path()).await;
        let _members = [1, 2, 3].map(|rank| member(&url, "member", rank, works("member", Duration::from_millis(10))));
        let jobs = jobs(&url);
        let job = jobs.submit(1000, "k").await.unwrap();
        let before = until(&jobs, &job, |job| job.parts.done > 100).await;
        stop.cancel();
        first.await.unwrap();
        let (_second, _stop) = hub_with_store(port, directory.path()).await;
        let after = jobs.show(job.job_id).await.unwrap();
        assert!(after.parts.done >= before.parts.done, "{after:?}");
        let job = done(&jobs, &job).await;
        assert!(job.term > before.term, "{job:?}");
    }

    async fn hub_with_store(port: u16, directory: &Path) -> (tokio::task::JoinHandle<()>, CancellationToken) {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let stop = CancellationToken::new();
        let store = Some(Store::open(directory).unwrap());
        let config = ringleader_hub::Config { store, ..ringleader_hub::Config::default() };
        (tokio::spawn(ringleader_hub::run(listener, config, stop.clone())), stop)
    }
}

mod failures {
    use super::*;

    #[tokio::test]
    async fn processes_that_end_by_chance_end_with_code_17_and_others_finish() {
        let hub = Hub::start().await;
        let _blue = Run::member(&hub, "blue", "100", &["--early"]);
        let _red = Run::member(&hub, "red", "2", &["--early"]);
        let mut green = Run::member(&hub, "green", "1", &["--early", "--fail-probability", "1", "--fail-mode", "exit"]);
        let jobs = jobs(&hub.url());
        let job = jobs.submit(200, "k").await.unwrap();
        assert_eq!(green.end().await.code(), Some(70));
        green.err("failing on purpose").await;
        done(&jobs, &job).await;
    }

    #[tokio::test]
    async fn whoever_is_restarted_when_it_fails_gets_there() {
        let hub = Hub::start().await;
        let _blue = Run::member(&hub, "blue", "100", &["--no-work"]);
        let url = hub.url();
        let failing = tokio::spawn(async move {
            let mut ends = 0;
            loop {
                let mut red = Run::start(&[
                    "join",
                    "--hub",
                    &url,
                    "--workers-only",
                    "--name",
                    "red",
                    "--fail-probability",
                    "0.3",
                ]);
                assert_eq!(red.end().await.code(), Some(70));
                ends += 1;
                println!("ended {ends} times");
            }
        });
        let jobs = jobs(&hub.url());
        let job = jobs.submit(40, "k").await.unwrap();
        done(&jobs, &job).await;
        failing.abort();
    }

    #[tokio::test]
    async fn whoever_is_late_is_waited_for_where_nobody_else_computes() {
        let hub = Hub::start().await;
        let late = |name| Work {
            fail: Some(Fail { probability: 1.0, mode: FailMode::Delay }),
            node: node::Work { coordinates: None, ..works(name, Duration::ZERO).node },
            ..works(name, Duration::ZERO)
        };
        let coordinates =
            |name| Work { node: node::Work { computes: None, ..works(name, Duration::ZERO).node }, ..Work::default() };
        let _blue = member(&hub.url(), "blue", 100, coordinates("blue"));
        let _red = member(&hub.url(), "red", 1, late("red"));
        let jobs = jobs(&hub.url());
        let (began, job) = (Instant::now(), jobs.submit(4, "k").await.unwrap());
        let job = done(&jobs, &job).await;
        assert_eq!(job.workers.len(), 1);
        assert!(began.elapsed() >= LATE, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn a_coordinator_that_is_late_with_its_checkpoints_gets_there() {
        let hub = Hub::start().await;
        let fail = Some(Fail { probability: 1.0, mode: FailMode::Delay });
        let _blue = member(&hub.url(), "blue", 100, Work { fail, ..works("blue", Duration::ZERO) });
        let _red = member(&hub.url(), "red", 1, works("red", Duration::ZERO));
        let jobs = jobs(&hub.url());
        let (began, job) = (Instant::now(), jobs.submit(4, "k").await.unwrap());
        done(&jobs, &job).await;
        assert!(began.elapsed() >= LATE, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn who_stalls_hangs_as_a_whole_and_others_finish_without_it() {
        let hub = Hub::start().await;
        let mut blue = Run::member(&hub, "blue", "100", &["--early"]);
        blue.acts().await;
        let _red = Run::member(&hub, "red", "2", &["--early"]);
        let stall = ["--early", "--fail-probability", "1", "--fail-mode", "stall"];
        let mut green = Run::member(&hub, "green", "1", &stall);
        green.role("follower").await;
        let jobs = jobs(&hub.url());
        let job = jobs.submit(200, "k").await.unwrap();
        green.err("hanging for 10 s").await;
        done(&jobs, &job).await;
        // No ping was answered.
        let job = until(&jobs, &job, |job| job.state == State::Done).await;
        assert!(job.workers.iter().all(|worker| worker.name.as_str() == "red"), "{:?}", job.workers);
        green.err("the connection").await;
        green.err("joined").await;
    }

    #[tokio::test]
    async fn a_coordinator_that_stalls_is_deposed_and_knows_it_when_it_wakes() {
        let hub = Hub::start().await;
        let stall = ["--early", "--fail-probability", "1", "--fail-mode", "stall"];
        let mut blue = Run::member(&hub, "blue", "100", &stall);
        blue.acts().await;
        let mut red = Run::member(&hub, "red", "2", &["--early"]);
        let _green = Run::member(&hub, "green", "1", &["--early"]);
        red.role("follower").await;
        let jobs = jobs(&hub.url());
        let job = jobs.submit(300, "k").await.unwrap();
        blue.err("failing on purpose at checkpoints of 1 jobs: hanging").await;
        red.err("300!=").await;
        let job = done(&jobs, &job).await;
        assert_eq!(job.term.map(|term| term.get()), Some(2));
        blue.err("not coordinating any more").await;
    }
}

mod files {
    use super::*;

    #[tokio::test]
    async fn each_line_is_one_job_whoever_coordinates() {
        let hub = Hub::start().await;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("jobs.txt");
        std::fs::write(&file, "10\n# twenty\nfactorial 20\nten\n30!\n").unwrap();
        let path = file.to_str().unwrap();
        let mut members = ring(&hub, &["blue", "red", "green"], &["--jobs-file", path]).await;
        let complaint = members[0].err("jobs.txt:4").await;
        assert!(complaint.contains("expected a job such as 10"), "{complaint}");
        members[0].err("3 jobs submitted").await;
        let jobs = jobs(&hub.url());
        for job in jobs.list().await.unwrap() {
            done(&jobs, &job).await;
        }
        members.remove(0).signal(Signal::SIGKILL);
        std::fs::write(&file, "10\n# twenty\nfactorial 20\nten\n30!\n40\n").unwrap();
        let (blue_is_gone, list) = (Instant::now(), || async { jobs.list().await.unwrap() });
        while list().await.len() < 4 {
            assert!(blue_is_gone.elapsed() < PATIENCE);
            sleep(Duration::from_millis(50)).await;
        }
        for job in list().await {
            done(&jobs, &job).await;
        }
        let numbers: Vec<u32> = list().await.iter().map(|job| job.factorial).collect();
        assert_eq!(numbers, [10, 20, 30, 40]);
    }
}

mod commands {
    use super::*;

    #[tokio::test]
    async fn submitting_takes_the_token_that_joining_takes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let (token, stop) = ("a-token.of_24~characters", CancellationToken::new());
        let tokens = Tokens { join: Token::new(token).ok(), watch: None };
        let config = ringleader_hub::Config { tokens, ..ringleader_hub::Config::default() };
        tokio::spawn(ringleader_hub::run(listener, config, stop.clone()));
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        std::fs::write(&file, token).unwrap();
        let file = file.to_str().unwrap();

        for more in [&[][..], &["--wait"]] {
            let said = refused(submit(&url, "10", more), 1).await;
            assert!(said.contains("--token-file FILE"), "{said}");
        }
        let hub = url.parse::<HubUrl>().unwrap().with_token_file(file);
        let _members = [1, 2].map(|rank| {
            let (name, work) = (Name::new("member").unwrap(), works("member", Duration::ZERO));
            ringleader_client::join(Config { rank: rank.into(), name, work, ..Config::new(hub.clone()) })
        });
        assert_eq!(printed(submit(&url, "10", &["--wait", "--token-file", file])).await, [line(10)]);
        stop.cancel();
    }

    #[tokio::test]
    async fn jobs_are_listed_shown_and_cancelled() {
        let hub = Hub::start().await;
        let url = hub.url();
        let id = printed(submit(&url, "10", &[])).await.remove(0);
        let again = printed(submit(&url, "20", &["--idempotency-key", "monday"])).await.remove(0);
        assert_eq!(printed(submit(&url, "20", &["--idempotency-key", "monday"])).await, std::slice::from_ref(&again));
        let other = refused(submit(&url, "21", &["--idempotency-key", "monday"]), 1).await;
        assert!(other.contains("20!"), "{other}");

        let list = printed(job(&url, &["list"])).await;
        assert_eq!(list.len(), 2);
        assert!(list[0].starts_with(&id) && list[0].contains("waiting   10!, 0 of 4 parts"), "{list:?}");
        let shown = printed(job(&url, &["show", &id])).await.join("\n");
        assert!(shown.contains("waits for a coordinator: the ring has no members"), "{shown}");
        let json: serde_json::Value =
            serde_json::from_str(&printed(job(&url, &["show", &id, "--json"])).await[0]).unwrap();
        assert_eq!((&json["jobId"], &json["state"]), (&id.clone().into(), &"waiting".into()));

        let mut waiting = submit(&url, "20", &["--wait", "--idempotency-key", "monday"]);
        waiting.err("20!: 0 of").await;
        let cancelled = printed(job(&url, &["cancel", &again])).await.join("\n");
        assert!(cancelled.contains("cancelled"), "{cancelled}");
        assert_eq!(waiting.end().await.code(), Some(1));
        waiting.err("is cancelled").await;

        let _members = [1, 2].map(|rank| member(&url, "member", rank, works("member", Duration::ZERO)));
        assert_eq!(printed(submit(&url, "10", &["--wait"])).await, [line(10)]);
        let first = jobs(&url).show(id.parse().unwrap()).await.unwrap();
        done(&jobs(&url), &first).await;
        let shown = printed(job(&url, &["show", &id])).await.join("\n");
        assert!(shown.contains(&line(10)) && shown.contains("4 of 4 parts"), "{shown}");
        let late = refused(job(&url, &["cancel", &id]), 1).await;
        assert!(late.contains("done"), "{late}");
    }

    #[tokio::test]
    async fn ctrl_c_ends_the_waiting_and_not_the_job() {
        let hub = Hub::start().await;
        let mut waiting = submit(&hub.url(), "10", &["--wait"]);
        waiting.err("waits for a coordinator").await;
        waiting.signal(Signal::SIGINT);
        assert_eq!(waiting.end().await.code(), Some(130));
        let id = jobs(&hub.url()).list().await.unwrap()[0].job_id;
        let said = waiting.err("the job goes on").await;
        assert!(said.contains(&format!("ringleader job show {id}")), "{said}");
    }

    #[tokio::test]
    async fn what_cannot_be_done_is_said() {
        let hub = Hub::start().await;
        let url = hub.url();
        for n in ["-3", "10.5", "ten", "1e9"] {
            let said = refused(submit(&url, n, &[]), 2).await;
            assert!(said.contains("expected a whole number, 0 or more"), "{said}");
        }
        for more in [&[][..], &["--wait"]] {
            let said = refused(submit(&url, "1000000000", more), 1).await;
            assert!(said.contains("from 0 to 100000") && said.contains("--max-factorial"), "{said}");
        }
        let none = "00000000-0000-7000-8000-000000000000";
        jobs(&url).submit(3, "k").await.unwrap();
        for command in ["show", "cancel"] {
            let said = refused(job(&url, &[command, none]), 1).await;
            assert!(said.contains("no such job"), "{said}");
            refused(job(&url, &[command, "x"]), 2).await;
        }
        let nobody = format!("ws://127.0.0.1:{}", free_port().await);
        let said = refused(submit(&nobody, "3", &[]), 1).await;
        assert!(said.contains(&nobody) && said.contains("cannot reach it"), "{said}");
    }

    #[tokio::test]
    async fn flags_of_members_say_what_they_expect() {
        let table: &[(&[&str], &str)] = &[
            (&["--delay", "soon"], "a time up to 1h"),
            (&["--fail-probability", "2"], "a number from 0 to 1"),
            (&["--fail-probability", "-1"], "a number from 0 to 1"),
            (&["--fail-mode", "burn"], "exit, stall, delay"),
            (&["--checkpoint-every", "0"], "a number of parts, a time, or both"),
        ];
        for (arguments, expected) in table {
            let said = refused(Run::start(arguments), 2).await;
            assert!(said.contains(expected), "{arguments:?}: {said}");
        }
        let said = refused(Run::start(&["--workers-only", "--no-work"]), 1).await;
        assert!(said.contains("expected one of them"), "{said}");
    }
}
