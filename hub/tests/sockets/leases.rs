//! Leases, and what survives the hub.

use std::time::Duration;

use ringleader_hub::store::Store;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::*;

fn lease(term: u64) -> Value {
    frame("lease", json!({ "term": term }))
}

fn granted(term: u64) -> Value {
    frame("lease", json!({ "term": term, "leaseMs": 4000 }))
}

/// Asks for the lease of a term, and has it.
async fn holds_lease(leader: &mut Peer, term: u64) {
    leader.send(lease(term)).await;
    assert_eq!(leader.next().await, granted(term));
}

/// The announcement in an election that `starter` starts alone; a lone member leads.
async fn elected_alone(starter: &mut Peer, known: u64) -> Value {
    starter.starts_election(known).await;
    starter.turn().await;
    loop {
        let frame = starter.next().await;
        if is(&frame, "newLeader") {
            return frame;
        }
    }
}

#[tokio::test]
async fn a_lease_is_for_the_leader_in_its_term() {
    let mut scene = Scene::new().await;
    scene.refuses("a lease of one who does not lead", &lease(1).to_string(), "not-leader", "lease").await;
    let [_, leader] = &mut scene.bystanders;
    holds_lease(leader, 1).await;
    leader.send(lease(0)).await;
    leader.has_nothing_more("for a term before").await;
    leader.send(lease(2)).await;
    assert_eq!(leader.error().await["code"], "not-leader");
}

#[tokio::test]
async fn whose_connection_ends_has_its_lease_waited_out_or_not() {
    // how the leader's connection ends, whether the hub is behind a proxy, and whether
    // the next leader has to wait
    for (goodbye, behind_proxy, waits) in
        [(true, false, false), (false, false, false), (true, true, false), (false, true, true)]
    {
        let hub = Hub::with(|config| config.behind_proxy = behind_proxy).await;
        let mut first = hub.join(9).await;
        elect([&mut first], 0).await;
        holds_lease(&mut first, 1).await;
        let mut second = hub.join(3).await;
        match goodbye {
            true => first.close().await,
            false => drop(first),
        }
        assert!(is(&second.next().await, "leaderLeft"));
        let announced = elected_alone(&mut second, 1).await;
        let wait = announced["data"]["actAfterMs"].as_u64();
        assert_eq!(wait.is_some(), waits, "goodbye {goodbye}, behind a proxy {behind_proxy}: {announced}");
        assert!(wait.is_none_or(|wait| (500..=4000).contains(&wait)), "{announced}");
    }
}

#[tokio::test]
async fn whoever_falls_silent_has_its_lease_waited_out() {
    let hub = Hub::with(|config| {
        config.limits.ping_interval = Duration::from_millis(300);
        config.limits.silence = Duration::from_millis(1500);
    })
    .await;
    let mut first = hub.join(9).await;
    elect([&mut first], 0).await;
    holds_lease(&mut first, 1).await;
    // It reads no more, and so answers no ping.
    let mut second = hub.join(3).await;
    assert!(is(&second.next().await, "leaderLeft"));
    let announced = elected_alone(&mut second, 1).await;
    assert!(announced["data"]["actAfterMs"].as_u64().is_some_and(|wait| wait <= 4000), "{announced}");
}

#[tokio::test]
async fn terms_and_leases_outlive_a_hub_with_a_store() {
    let directory = TempDir::new().unwrap();
    let hub_with_store = async || {
        let store = Store::open(directory.path()).unwrap();
        Hub::with(|config| config.store = Some(store)).await
    };
    let mut hub = hub_with_store().await;
    let mut leader = hub.join(9).await;
    elect([&mut leader], 0).await;
    holds_lease(&mut leader, 1).await;
    hub.shutdown.cancel();
    soon("the hub's end", &mut hub.running).await.unwrap();
    drop(hub);

    let hub = hub_with_store().await;
    let mut next = hub.join(3).await;
    assert_eq!(next.welcome["data"]["term"], 1, "a hub that ends in good order goes on where it was");
    let announced = elected_alone(&mut next, 0).await;
    assert_eq!(announced["data"]["term"], 2);
    assert!(announced["data"]["actAfterMs"].as_u64().is_some_and(|wait| wait <= 4000), "{announced}");
}

#[tokio::test]
async fn a_hub_that_was_killed_goes_on_above_its_terms() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().to_str().unwrap();
    let mut newest = 0;
    for _ in 0..3 {
        // Killed when it is dropped.
        let hub = Process::start(&["--data-dir", path]).await;
        let mut leader = Peer::connect(hub.address, "/?join", &[]).await.unwrap();
        leader.join(9).await;
        let term = elected_alone(&mut leader, 0).await["data"]["term"].as_u64().unwrap();
        assert!(term > newest, "{term} after {newest}");
        newest = term;
        assert!(!hub.log().contains("no --data-dir"));
        let second = run_hub(&["--listen", "127.0.0.1:0", "--data-dir", path]).await;
        let told = String::from_utf8(second.stderr).unwrap();
        assert!(!second.status.success() && told.contains("another hub uses") && told.contains(path), "{told}");
        hub.kill().await;
    }
    let hub = Process::start(&[]).await;
    eventually("a word on what is not promised", async || hub.log().contains("no --data-dir")).await;
}

#[tokio::test]
async fn messages_go_to_whom_they_name_under_the_leaders_term() {
    let mut scene = Scene::new().await;
    let said = |to: &str, term: u64| frame("message", json!({ "destinationId": to, "term": term, "body": {"x": [1]} }));
    for (to, term, code) in [("*", 2, "stale-term"), ("*", 0, "stale-term"), ("nobody", 1, "no-such-member")] {
        scene.refuses("such a message", &said(to, term).to_string(), code, "message").await;
    }
    let sender = scene.offender.id.clone();
    scene.offender.send(said("*", 1)).await;
    for bystander in &mut scene.bystanders {
        assert_eq!(bystander.next().await, from(&sender, said("*", 1)));
    }
    let to = scene.bystanders[0].id.clone();
    scene.offender.send(said(&to, 1)).await;
    assert_eq!(scene.bystanders[0].next().await, from(&sender, said(&to, 1)));
    scene.offender.has_nothing_more("for its sender").await;
    scene.bystanders[1].has_nothing_more("that is for another").await;
}
