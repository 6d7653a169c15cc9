//! Small jobs, while three computations in ten end their process and the coordinator is
//! killed every few seconds: each job is done, exactly, and none is lost.

#![allow(clippy::unwrap_used, reason = "what a test does not expect may end it")]

#[allow(dead_code, reason = "the tests of commands have more uses for it")]
#[path = "cli/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use num_bigint::BigUint;
use ringleader_client::jobs::{Job, Jobs, State};
use ringleader_client::transport::hub::{HubUrl, Link, Purpose};
use ringleader_shared::wire::{self, Body, Frame, Welcome};
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};
use world::Hub;

/// How many jobs, unless RINGLEADER_CHAOS_JOBS says so.
const JOBS: u32 = 300;

const MEMBERS: [&str; 6] = ["blue", "red", "green", "pink", "gold", "grey"];

/// Between two coordinators that are killed.
const KILL: Duration = Duration::from_secs(3);

/// How long a job may take, one by one.
const PATIENCE: Duration = Duration::from_secs(2);

/// Who runs, by name, and how often somebody has failed on purpose.
#[derive(Default)]
struct Tally {
    pids: BTreeMap<&'static str, i32>,
    failed: u32,
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute: run by ./test chaos"]
async fn small_jobs_are_done_though_members_fail_and_coordinators_are_killed() {
    let count = std::env::var("RINGLEADER_CHAOS_JOBS").map_or(JOBS, |text| text.parse().expect("a number of jobs"));
    let hub = Hub::start().await;
    let url: HubUrl = hub.url().parse().unwrap();
    let jobs = Jobs::of(url.clone());
    let tally = Arc::<Mutex<Tally>>::default();
    let mut members = JoinSet::new();
    for name in MEMBERS {
        members.spawn(keep_running(name, hub.url(), tally.clone()));
    }
    let mut submitted: Vec<Job> = vec![];
    for number in 0..count {
        submitted.push(jobs.submit((number % 20).into(), &format!("job-{number}")).await.unwrap());
    }
    let (started, mut kills, mut done) = (Instant::now(), 0, vec![]);
    let all_done = timeout(PATIENCE * count.max(30), async {
        let mut pause = interval(KILL);
        while done.len() < submitted.len() {
            pause.tick().await;
            let now: Vec<_> = finished(&jobs).await;
            assert!(done.iter().all(|job| now.contains(job)), "what is done stays as it is");
            done = now;
            kills += u32::from(kill_coordinator(&url, &tally).await);
            println!("{:.0?}: {} of {count} jobs done", started.elapsed(), done.len());
        }
    });
    all_done.await.expect("all are done in time");
    let took = started.elapsed();
    members.shutdown().await;
    for job in &submitted {
        let job = jobs.show(job.job_id).await.unwrap();
        let n = job.factorial;
        let expected = (1..=n).fold(BigUint::from(1_u32), |product, factor| product * factor).to_string();
        assert_eq!((job.state, job.result.as_deref()), (State::Done, Some(&*expected)), "{n}!");
        assert_eq!(job.parts.done, job.parts.all, "{n}!");
    }
    let failed = tally.lock().unwrap().failed;
    println!("{count} jobs in {took:.0?}: all exact; {failed} computations failed, {kills} coordinators were killed");
    assert!(failed > count / 4 && kills > 0, "too little went wrong to tell");
}

/// Started again whenever it ends, as compose does, but at once.
async fn keep_running(name: &'static str, hub: String, tally: Arc<Mutex<Tally>>) {
    loop {
        let mut member = Command::new(env!("CARGO_BIN_EXE_ringleader"));
        member.args(["join", "--early", "--log", "error", "--fail-probability", "0.3", "--name", name, "--hub", &hub]);
        member.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let mut member = member.spawn().unwrap();
        tally.lock().unwrap().pids.extend(member.id().map(|pid| (name, pid as i32)));
        let status = member.wait().await.unwrap();
        let mut tally = tally.lock().unwrap();
        tally.pids.remove(name);
        tally.failed += u32::from(status.code() == Some(70));
    }
}

async fn finished(jobs: &Jobs) -> Vec<(String, State)> {
    let all = jobs.list().await.unwrap().into_iter();
    all.filter(|job| job.state == State::Done).map(|job| (job.job_id.to_string(), job.state)).collect()
}

/// Says whether there was one.
async fn kill_coordinator(hub: &HubUrl, tally: &Mutex<Tally>) -> bool {
    // Who watches is welcomed with who is there.
    let mut link = Link::connect(hub, Purpose::Watch).await.unwrap();
    let welcome: Frame = wire::decode(&link.receive().await.unwrap()).unwrap();
    let Body::Welcome(Welcome { members: Some(members), leader_id: Some(leader), .. }) = welcome.body else {
        return false;
    };
    let leader = members.into_iter().find(|member| member.client_id == leader).and_then(|member| member.name);
    let pid = leader.and_then(|name| tally.lock().unwrap().pids.get(name.as_str()).copied());
    pid.is_some_and(|pid| kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok())
}
