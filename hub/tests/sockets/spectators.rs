//! Watching: everything is seen, and nothing is disturbed.

use serde_json::{Value, json};

use crate::support::*;

/// The `relayed` frames among these, after a check that there is nothing else but `ring`,
/// and that the numbers are without gaps.
fn relayed(seen: &[Value]) -> Vec<&Value> {
    let allowed = |frame: &Value| is(frame, "relayed") || is(frame, "ring");
    assert!(seen.iter().all(allowed), "spectators get frames only inside relayed: {seen:#?}");
    let relayed: Vec<&Value> = seen.iter().filter(|frame| is(frame, "relayed")).collect();
    let numbers: Vec<u64> = relayed.iter().map(|frame| summary(frame).0).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "without gaps: {numbers:?}");
    relayed
}

#[tokio::test]
async fn a_plain_connection_sees_who_is_there_and_what_goes_on() {
    let hub = Hub::start().await;
    let mut spectator = hub.connect("/").await;
    let welcome =
        json!({ "ring": "default", "members": [], "leaderId": null, "term": 0, "relay": "ring", "leaseMs": 4000 });
    assert_eq!(spectator.welcome["data"], welcome);
    let [mut a, mut b] = hub.ring([3, 9]).await;
    let member = |peer: &Peer| json!({ "clientId": peer.id, "name": format!("rank-{}", peer.rank), "rank": peer.rank, "forwards": true });
    let ring = |leader: Option<&Peer>, term: u64, members: &[&Peer]| {
        let members: Vec<Value> = members.iter().map(|peer| member(peer)).collect();
        let leader = leader.map(|leader| leader.id.as_str());
        frame("ring", json!({ "ring": "default", "members": members, "leaderId": leader, "term": term }))
    };
    assert_eq!(spectator.next().await, ring(None, 0, &[&a]), "somebody joined");
    assert_eq!(spectator.next().await, ring(None, 0, &[&a, &b]), "somebody else, and is last");

    elect([&mut a, &mut b], 0).await;
    a.send(check(&b.id, 1)).await;
    b.turn().await;
    a.next().await;
    let seen = spectator.fence().await;
    assert_eq!(seen[0], ring(None, 1, &[&a, &b]), "a term began");
    assert_eq!(seen[3], ring(Some(&b), 1, &[&a, &b]), "before the announcement is handed on");
    let seen: Vec<Value> = relayed(&seen).into_iter().cloned().collect();
    let [of_a, of_b] = [&a, &b].map(|peer| Some(peer.id.as_str()));
    let steps = [
        (1, of_a, &*b.id, "election", of_a),
        (2, of_b, &*a.id, "election", of_a),
        (3, of_a, &*b.id, "newLeader", of_a),
        (4, of_b, &*a.id, "newLeader", of_a),
        (5, of_a, &*b.id, "checkLeader", of_a),
        (6, of_b, &*a.id, "answerLeader", of_b),
    ];
    assert_eq!(seen.iter().map(summary).collect::<Vec<_>>(), steps);
    for frame in &seen {
        assert_eq!(frame["data"]["frame"]["data"]["term"], 1, "with the term: {frame}");
        assert!(frame["data"]["at"].as_u64() > Some(1_700_000_000_000), "and the time: {frame}");
    }
    let announcement = announced(&a, &b, 1);
    assert_eq!(seen[3]["data"]["frame"], announcement, "the frame is shown as it was handed on");

    let gone = b.id.clone();
    b.close().await;
    let told = spectator.next().await;
    assert_eq!((summary(&told).1, &told["data"]["frame"]), (None, &leader_left(&gone, 1, false)), "the hub's own, too");
    assert_eq!(spectator.next().await, ring(None, 1, &[&a]), "somebody left");
}

#[tokio::test]
async fn a_late_spectator_is_told_what_it_missed_the_beginning_of() {
    let hub = Hub::start().await;
    let [mut a, mut b] = hub.ring([3, 9]).await;
    elect([&mut a, &mut b], 0).await;
    let mut spectator = hub.connect("/watch").await;
    let welcome = &spectator.welcome["data"];
    assert_eq!((&welcome["leaderId"], &welcome["term"]), (&json!(b.id), &json!(1)));
    assert_eq!(ids(&welcome["members"]), [a.id.clone(), b.id.clone()]);
    a.send(check(&b.id, 1)).await;
    assert_eq!(summary(&spectator.next().await).0, 5, "numbers count all that was relayed, seen or not");
}

#[tokio::test]
async fn spectators_are_no_members_until_they_greet() {
    let hub = Hub::start().await;
    let [mut a, mut b] = hub.ring([3, 9]).await;
    let before = hub.view().await;
    let mut visitor = hub.connect("/").await;
    let _watching = hub.connect("/watch").await;
    let mut quiet = hub.connect("/?join").await;
    assert_eq!(hub.view().await, before);
    elect([&mut a, &mut b], 0).await;
    assert_eq!(relayed(&visitor.fence().await).len(), 4, "the whole election");
    quiet.has_nothing_more("before a greeting, as it asked for nothing but to join").await;

    visitor.join(5).await;
    quiet.join(4).await;
    visitor.has_nothing_more("after it joined: members are shown nothing").await;
    elect([&mut a, &mut b, &mut visitor, &mut quiet], 1).await;
    visitor.has_nothing_more("besides the ring's own frames").await;
}

#[tokio::test]
async fn a_thousand_spectators_change_no_election() {
    const SPECTATORS: usize = 1_000;
    allow_open_files(4 * SPECTATORS as u64);
    let hub = Hub::start().await;
    let mut members = vec![];
    for rank in 1..=5 {
        members.push(Member::join(&hub, rank).await);
    }
    let mut spectators = vec![];
    for at in 0..SPECTATORS {
        spectators.push(hub.connect(if at % 2 == 0 { "/" } else { "/watch" }).await);
    }
    let before = hub.view().await;
    members[0].say(start_of(&members[0].id));
    let best = members[4].id.clone();
    for member in &mut members {
        assert_eq!(member.leader().await, (best.clone(), 1));
    }
    for spectator in &mut spectators {
        let seen = spectator.fence().await;
        let seen: Vec<_> = relayed(&seen).into_iter().map(summary).collect();
        let methods: Vec<&str> = seen.iter().map(|step| step.3).collect();
        assert_eq!(methods, [["election"; 5], ["newLeader"; 5]].concat(), "as many frames as without spectators");
    }
    let after = hub.view().await;
    assert_eq!((&after["term"], &after["members"]), (&json!(1), &before["members"]), "one term, and nobody has left");
}

/// Everything that a test needs is in one process.
fn allow_open_files(most: u64) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < most) {
        limit.current = Some(most);
        setrlimit(Resource::Nofile, limit).expect("the machine allows some thousand open files");
    }
}

fn start_of(id: &str) -> Value {
    ranks_frame(json!([{ "rank": 1, "clientId": id }]), 0)
}

#[tokio::test]
async fn rings_are_separate() {
    let hub = Hub::start().await;
    let mut here = hub.connect("/watch").await;
    let mut there = hub.connect("/rings/there/watch").await;
    let mut plain = hub.connect("/rings/there").await;
    assert_eq!(there.welcome["data"]["ring"], "there");
    let [mut a, mut b] = hub.ring([3, 9]).await;
    elect([&mut a, &mut b], 0).await;
    elect([&mut b, &mut a], 1).await;
    assert_eq!(relayed(&here.fence().await).len(), 8);
    there.has_nothing_more("of another ring").await;

    let mut c = hub.connect("/rings/there?join").await;
    c.join(1).await;
    c.send(check(&b.id, 1)).await;
    c.send(answer(&a.id, 1)).await;
    c.has_nothing_more("of members of another ring").await;
    elect([&mut c], 0).await;
    for spectator in [&mut there, &mut plain] {
        let seen = spectator.fence().await;
        let numbers: Vec<u64> = relayed(&seen).into_iter().map(|frame| summary(frame).0).collect();
        assert_eq!(numbers, [1, 2], "it has numbers of its own");
    }
    for member in [&mut a, &mut b, &mut here] {
        member.has_nothing_more("of another ring").await;
    }
    let there = hub.get("/rings/there").await.json();
    assert_eq!((&there["term"], &there["leaderId"]), (&json!(1), &json!(c.id)), "and terms of its own");
    assert_eq!(hub.view().await["term"], 2);
}
