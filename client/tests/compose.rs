//! `docker compose up --scale client=5`, and what may befall a ring of containers.
//!
//! Judged by what the hub shows to spectators and by what each client says it
//! believes. Times are those of the log lines: containers share this machine's clock.

#[allow(dead_code, reason = "chaos.rs has more uses for it")]
#[path = "chaos/judge.rs"]
mod judge;

#[path = "compose/lab.rs"]
mod lab;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use judge::{What, judge};
use lab::*;
use num_bigint::BigUint;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

/// From the last client's joining to the last client's knowing the leader.
const AGREE: Duration = Duration::from_secs(2);

/// What `--check-timeout` is by default.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// From a leader's death to the last client's knowing another: the longest check interval,
/// the check timeout, and a second for the election and for a slow machine.
const FAILOVER: Duration = Duration::from_millis(2_200 + 5_000 + 1_000);

/// The same after a leader has resigned while another member held the election frame, and
/// then the announcement: twice the hop timeout, and a second. Shorter than the silence
/// after which that member would be removed.
const HELD: Duration = Duration::from_millis(2_000 + 900);

/// How long a container takes that heeds SIGTERM; Docker gives others ten seconds.
const DOWN: Duration = Duration::from_secs(4);

#[tokio::test]
#[ignore = "needs Docker: run by ./test"]
async fn five_clients_agree_on_one_leader_and_keep_it() {
    let lab = Lab::up(COMPOSE, 5).await;
    let agreed = lab.agreement(5, "five clients agree", |_| true).await;
    assert_within(AGREE, agreed.since(lab.last_join(&agreed)), "from the last joining to agreement");
    lab.assert_hub_says_so(&agreed).await;
    lab.assert_named_by_container(&agreed).await;
    for (service, container) in lab.containers_by_service().await {
        assert_small_and_locked_in(&service, &container).await;
    }

    let start = lab.frames();
    let moved = timeout(Duration::from_secs(30), lab.found(|world| world.moved_since(start, agreed.term)));
    if let Ok(what) = moved.await {
        panic!("a ring that was left alone is moved by {what}");
    }
    let checks = lab.world.borrow().frames[start..].iter().filter(|frame| frame.is_check()).count();
    assert!(checks > 30, "in 30 s the checks of 5 members are handed on more than {checks} times");
    lab.assert_hub_says_so(&agreed).await;

    assert_within(DOWN, lab.down().await, "docker compose down");
}

#[tokio::test]
#[ignore = "needs Docker: run by ./test"]
async fn a_leader_that_is_killed_or_paused_is_replaced() {
    let mut lab = Lab::up(COMPOSE, 5).await;
    let first = lab.agreement(5, "five clients agree", |_| true).await;

    let killed = SystemTime::now();
    lab.kill(&first.leader).await;
    let second = lab.agreement(4, "the others agree on another leader", |now| now.term > first.term).await;
    let took = second.since(killed);
    assert_within(FAILOVER, took, "from killing the leader to agreement");
    assert!(took >= CHECK_TIMEOUT, "nothing but an unanswered check deposes a leader, not {took:?}");
    lab.assert_hub_says_so(&second).await;

    let paused = SystemTime::now();
    docker(&["pause", &second.leader]).await;
    let third = lab.agreement(3, "the others agree once more", |now| now.term > second.term).await;
    assert_within(FAILOVER, third.since(paused), "from pausing the leader to agreement");
    lab.assert_hub_says_so(&third).await;

    // The one that slept wakes up, and finds out before it does anything.
    let (start, woken) = (lab.frames(), SystemTime::now());
    docker(&["unpause", &second.leader]).await;
    let fourth = lab.agreement(4, "the deposed leader follows", |now| now.leader == third.leader).await;
    let back = fourth.id_of(&second.leader);
    assert_ne!(back, second.leader_id, "it was removed, so it joined anew");
    let been = lab.until("the ring's checks pass by it", |world| {
        let seen = &world.frames[start..];
        seen.iter().any(|frame| frame.is_check() && frame.to == back).then(|| seen.to_vec())
    });
    let been = been.await;
    let elects = been.iter().find(|frame| frame.elects());
    assert!(elects.is_none(), "nobody elects or announces after it woke: {elects:?}");
    let world = lab.world.borrow();
    let said: Vec<_> = world.said_by(&second.leader).filter(|line| line.at >= woken).collect();
    let beliefs: Vec<_> = said.iter().filter_map(|line| line.believes()).collect();
    assert!(beliefs[0].is_none(), "it stands down, and only then is told whom to follow: {said:?}");
    assert!(said.iter().all(|line| !line.text.contains("(me)")), "it does not lead again: {said:?}");
    assert!(said.iter().all(|line| !line.text.contains("election started")), "it has no need to elect: {said:?}");
    assert_eq!(fourth.term, third.term);
}

#[tokio::test]
#[ignore = "needs Docker: run by ./test"]
async fn an_election_ends_though_its_frame_is_held_by_one_that_is_paused_or_killed() {
    let mut lab = Lab::up(COMPOSE, 6).await;
    let first = lab.agreement(6, "six clients agree", |_| true).await;

    // Who sleeps before the election starts cannot be its initiator, so the frame will come
    // to it. A leader that resigns has the others start at once.
    let (sleeper, id) = first.follower();
    docker(&["pause", &sleeper]).await;
    let (start, resigned) = (lab.frames(), SystemTime::now());
    resign(&first.leader).await;
    lab.until("the sleeper is handed the election", |world| world.held_by(&id, start)).await;
    let second = lab.agreement(4, "those awake agree", |now| now.term > first.term).await;
    assert_within(HELD, second.since(resigned), "from the leader's resigning to agreement");
    lab.until("the hub says that it went on", |world| world.repaired(&id, "kept it too long")).await;

    docker(&["unpause", &sleeper]).await;
    let third = lab.agreement(5, "the sleeper follows", |_| true).await;
    assert_eq!((third.term, &third.leader), (second.term, &second.leader));

    // A frame stands still in a sleeper's hands for a second: time to kill it.
    let (victim, id) = third.follower();
    docker(&["pause", &victim]).await;
    let (start, resigned) = (lab.frames(), SystemTime::now());
    resign(&third.leader).await;
    lab.until("the victim is handed the election", |world| world.held_by(&id, start)).await;
    lab.kill(&victim).await;
    let fourth = lab.agreement(3, "the survivors agree", |now| now.term > third.term).await;
    assert_within(HELD, fourth.since(resigned), "from the leader's resigning to agreement");
    lab.until("the hub says that it went on", |world| world.repaired(&id, "left")).await;
    lab.assert_hub_says_so(&fourth).await;
}

#[tokio::test]
#[ignore = "needs Docker: run by ./test"]
async fn clients_come_back_to_a_hub_that_was_killed_and_terms_go_on_rising() {
    let mut lab = Lab::up(COMPOSE, 5).await;
    let first = lab.agreement(5, "five clients agree", |_| true).await;

    let hub = lab.hub().await;
    lab.kill(&hub).await;
    lab.until("every client says that it has lost the hub", |world| {
        first.names().all(|name| world.last_belief(name) == Some(None)).then_some(())
    })
    .await;
    lab.compose(&["start", "hub"], PATIENCE).await;
    lab.follow_all().await;
    let second = lab.agreement(5, "five clients are back and agree", |_| true).await;
    assert!(second.term > first.term, "term {} after the hub's death, {} before", second.term, first.term);
    assert_eq!(second.names().collect::<BTreeSet<_>>(), first.names().collect(), "the same five");
    lab.assert_hub_says_so(&second).await;
}

#[tokio::test]
#[ignore = "needs Docker: run by ./test"]
async fn a_hub_that_slept_for_longer_than_it_lets_members_be_silent_throws_nobody_out() {
    let lab = Lab::up(COMPOSE, 3).await;
    let before = lab.agreement(3, "three clients agree", |_| true).await;
    let hub = lab.hub().await;
    docker(&["pause", &hub]).await;
    sleep(Duration::from_secs(4)).await;
    docker(&["unpause", &hub]).await;
    // It slept for longer than a lease lasts, too: the leader stood down, and they elect.
    let after = lab.agreement(3, "three clients agree once more", |now| now.term > before.term).await;
    assert_eq!(after.members, before.members, "nobody was thrown out");
}

#[tokio::test]
#[ignore = "needs Docker: run by ./test"]
async fn clients_may_be_added_and_taken_away() {
    let mut lab = Lab::up(COMPOSE, 5).await;
    let five = lab.agreement(5, "five clients agree", |_| true).await;

    lab.scale(7).await;
    let seven = lab.agreement(7, "seven clients agree", |_| true).await;
    assert_eq!((seven.term, &seven.leader), (five.term, &five.leader), "newcomers do not elect");
    lab.assert_named_by_container(&seven).await;

    // Compose takes away whom it likes: often not the leader, so that goes too.
    lab.scale(3).await;
    let three = lab.agreement(3, "three clients agree", |_| true).await;
    let stays = three.names().any(|name| name == seven.leader);
    assert_eq!(three.term > seven.term, !stays, "they elect if their leader went, and only then");

    let stopped = SystemTime::now();
    lab.stop(&three.leader).await;
    let two = lab.agreement(2, "two clients agree", |now| now.term > three.term).await;
    assert_within(AGREE, two.since(stopped), "from stopping the leader, which so resigns, to agreement");
    lab.assert_hub_says_so(&two).await;
}

#[tokio::test]
#[ignore = "needs Docker: run by ./test"]
async fn a_job_goes_on_when_its_coordinator_is_killed() {
    let mut lab = Lab::up_with(COMPOSE, 5, &[("RINGLEADER_DELAY", "20ms")]).await;
    let agreed = lab.agreement(5, "five clients agree", |_| true).await;
    let job = ["ringleader", "job"];
    let submit = ["submit", "--factorial", "2000"];
    let id = lab.compose(&[&["exec", "-T", "client"], &job[..], &submit[..]].concat(), PATIENCE).await;
    let path = format!("/rings/default/jobs/{}", id.trim());
    let mut before = 0;
    while before < 100 {
        // Who watches a job asks for it.
        sleep(Duration::from_millis(100)).await;
        before = lab.get(&path).await["parts"]["done"].as_u64().expect("how many parts are done");
    }
    lab.kill(&agreed.leader).await;
    let next = lab.agreement(4, "the others agree on another", |new| new.term > agreed.term).await;
    let took_over = lab.until("it goes on with the job", |world| {
        let line = world.said_by(&next.leader).find(|line| line.text.starts_with("took over 2000! in term "))?;
        let written = line.text.split(": ").nth(1)?.split(' ').next()?;
        written.parse::<u64>().ok()
    });
    let written = took_over.await;
    assert!(written >= before, "{before} parts were done, and it began with {written}");
    let mut shown = lab.get(&path).await;
    while shown["state"] == "running" || shown["state"] == "waiting" {
        sleep(Duration::from_millis(100)).await;
        shown = lab.get(&path).await;
    }
    let expected = (1..=2000_u32).fold(BigUint::from(1_u32), |product, factor| product * factor).to_string();
    assert_eq!((shown["state"].as_str(), shown["result"].as_str()), (Some("done"), Some(&*expected)));
    // Nobody but the coordinator died, and that one computes nothing.
    assert_eq!(shown["parts"]["again"], 0, "{shown}");
    lab.until("it says what came of it", |world| {
        let said = format!("2000!={}", &expected[..20]);
        world.said_by(&next.leader).any(|line| line.text.starts_with(&said)).then_some(())
    })
    .await;
}

#[tokio::test]
#[ignore = "needs Docker: run by ./test"]
async fn the_old_docker_compose_runs_it_too() {
    let version = Command::new(COMPOSE_1[0]).args(["version", "--short"]).output().await;
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    match version {
        Ok(version) if version.starts_with("1.") => {}
        other => {
            let problem = format!("LEFT OUT: docker-compose 1.29 is not here ({other:?}), so nobody tried it");
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{problem}");
            eprintln!("{problem}");
            return;
        }
    }
    let lab = Lab::up(COMPOSE_1, 5).await;
    let agreed = lab.agreement(5, "five clients agree", |_| true).await;
    assert_within(AGREE, agreed.since(lab.last_join(&agreed)), "from the last joining to agreement");
    lab.assert_hub_says_so(&agreed).await;
    assert_within(DOWN, lab.down().await, "docker-compose down");
}

#[tokio::test]
#[ignore = "needs Docker: run by ./test"]
async fn whatever_befalls_containers_no_term_is_split() {
    let mut lab = Lab::up(COMPOSE, 5).await;
    let mut now = lab.agreement(5, "five clients agree", |_| true).await;
    // Each befalls the leader, whom the others miss, and then one whom nobody misses.
    for fault in [Fault::Kill, Fault::Pause, Fault::Disconnect] {
        lab.befall(fault, &now.leader).await;
        let others = lab.agreement(4, "the others agree on another leader", |new| new.term > now.term).await;
        lab.mend(fault, &now.leader).await;
        now = lab.agreement(5, "the old leader follows", |_| true).await;
        assert_eq!((now.term, &now.leader), (others.term, &others.leader), "{fault:?}: who comes back deposes nobody");

        let (follower, _) = now.follower();
        lab.befall(fault, &follower).await;
        lab.agreement(4, "nobody misses a follower", |new| new.term == now.term).await;
        lab.mend(fault, &follower).await;
        now = lab.agreement(5, "it is back", |new| new.term == now.term).await;
    }
    // All at once, and the hub with them.
    let leader = now.leader.clone();
    let mut rest = now.names().filter(|name| *name != leader).map(str::to_owned);
    let (sleeper, victim) = (rest.next().expect("a member"), rest.next().expect("another"));
    lab.befall(Fault::Disconnect, &leader).await;
    lab.befall(Fault::Pause, &sleeper).await;
    lab.befall(Fault::Kill, &victim).await;
    let hub = lab.hub().await;
    lab.befall(Fault::Kill, &hub).await;
    lab.mend(Fault::Kill, &hub).await;
    lab.mend(Fault::Kill, &victim).await;
    lab.mend(Fault::Pause, &sleeper).await;
    lab.mend(Fault::Disconnect, &leader).await;
    let last = lab.agreement(5, "all agree when it is over", |new| new.term > now.term).await;
    lab.assert_hub_says_so(&last).await;

    let history = lab.world.borrow().history();
    let announced = history.iter().filter(|happening| matches!(happening.what, What::Announced { .. })).count();
    assert!(announced > 4 && history.len() > 30, "too little to judge by: {history:?}");
    assert_eq!(judge(&history), []);
}
