//! A frame has one holder, and ends, whatever happens to members on its way.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;

use crate::support::*;

/// Long enough for honest members on a busy machine, short enough to wait for.
async fn impatient_hub() -> Hub {
    Hub::with(|config| config.limits.hop_timeout = Duration::from_millis(600)).await
}

async fn leaderless(hub: &Hub) -> bool {
    hub.get("/rings/default/leader").await.status == 404
}

#[tokio::test]
async fn what_a_leaving_member_holds_goes_on_to_the_next() {
    let hub = Hub::start().await;
    let mut spectator = hub.connect("/").await;
    let [mut a, b, mut c, mut d] = hub.ring([3, 7, 5, 9]).await;
    a.starts_election(0).await;
    let b_id = b.id.clone();
    b.close().await;
    assert_eq!(c.turn().await, from(&a.id, election(&[&a], 1)), "an election, as it was given to the one that left");
    d.turn().await;
    a.turn().await;

    let c_id = c.id.clone();
    assert_eq!(c.next().await, announced(&a, &d, 1));
    c.close().await;
    assert_eq!(d.turn().await, announced(&a, &d, 1), "an announcement");
    a.turn().await;

    let e = hub.join(4).await;
    let mut f = hub.join(6).await;
    let e_id = e.id.clone();
    d.send(check(&a.id, None)).await;
    assert_eq!(d.turn().await, announced(&a, &d, 1), "d leads");
    a.send(check(&d.id, 1)).await;
    d.turn().await;
    e.close().await;
    assert_eq!(f.next().await, from(&d.id, answer(&a.id, 1)), "an answer");

    let seen = spectator.fence().await;
    for (gone, method) in [(&b_id, "election"), (&c_id, "newLeader"), (&e_id, "answerLeader")] {
        let hops: Vec<_> = seen.iter().filter(|frame| is(frame, "relayed")).map(summary).collect();
        let to = hops.iter().position(|hop| hop.2 == gone && hop.3 == method).expect("it was handed the frame");
        assert_eq!(hops[to + 1].1, Some(gone.as_str()), "the next one has the {method} out of its hands");
    }
    assert_eq!(hub.warnings().len(), 3, "each repair is told once: {:#?}", hub.warnings());
}

#[tokio::test]
async fn what_a_stalling_member_holds_goes_on_and_comes_late_to_nobody() {
    let hub = impatient_hub().await;
    let [mut a, mut b, mut c] = hub.ring([3, 5, 9]).await;
    a.starts_election(0).await;
    let stalled = b.next().await;
    assert_eq!(c.turn().await, from(&a.id, election(&[&a], 1)), "handed on as b was given it");
    assert_eq!(a.next().await, from(&a.id, election(&[&a, &c], 1)));
    let mut late = stalled;
    late["data"]["ranks"].as_array_mut().unwrap().push(b.entry());
    b.send(late).await;
    b.has_nothing_more("for a frame that comes late").await;
    a.send(new_leader(&c.id, 1)).await;
    let announced = announced(&a, &c, 1);
    assert_eq!(b.next().await, announced, "it is a member like others after that");
    assert_eq!(c.turn().await, announced, "b keeps the announcement, too");
    assert_eq!(a.turn().await, announced);
    b.send(announced).await;
    for member in [&mut a, &mut b, &mut c] {
        member.has_nothing_more("after a late announcement").await;
    }

    a.send(check(&c.id, 1)).await;
    let kept = b.next().await;
    assert_eq!(c.turn().await, kept, "a check");
    assert_eq!(a.next().await, from(&c.id, answer(&a.id, 1)));
    let warnings = hub.warnings();
    assert_eq!(warnings.len(), 3, "a stall is one line, a late frame none: {warnings:#?}");
}

#[tokio::test]
async fn a_late_frame_of_a_former_term_is_absorbed_in_the_next() {
    let hub = Hub::start().await;
    let [mut a, mut b, mut c] = hub.ring([3, 5, 9]).await;
    a.starts_election(0).await;
    let of_term_1 = b.next().await;
    a.close().await;
    c.starts_election(0).await;
    let of_term_2 = b.next().await;
    assert_eq!(of_term_2, from(&c.id, election(&[&c], 2)), "the next start opens the next term");
    b.react(&of_term_1).await;
    b.has_nothing_more("for a frame that comes late").await;
    b.react(&of_term_2).await;
    assert_eq!(c.next().await, from(&c.id, election(&[&c, &b], 2)), "b still holds the other");
}

#[tokio::test]
async fn an_announcement_ends_where_a_newer_one_is_accepted() {
    let hub = Hub::start().await;
    let [mut a, mut b, mut c] = hub.ring([3, 5, 9]).await;
    a.starts_election(0).await;
    for member in [&mut b, &mut c, &mut a] {
        member.turn().await;
    }
    let of_term_1 = b.next().await;
    assert_eq!(elect([&mut c, &mut a, &mut b], 1).await["data"]["term"], 2);
    b.send(of_term_1).await;
    for member in [&mut a, &mut b, &mut c] {
        member.has_nothing_more("of a leader that is replaced").await;
    }
    assert_eq!(hub.warnings(), [""; 0], "to be late is no fault");
}

#[tokio::test]
async fn an_election_ends_with_its_initiator() {
    let hub = Hub::start().await;
    let [mut a, mut b, mut c] = hub.ring([3, 9, 5]).await;
    a.starts_election(0).await;
    b.turn().await;
    let orphan = c.next().await;
    a.close().await;
    eventually("the initiator's end", async || hub.members().await.len() == 2).await;
    c.send(orphan).await;
    for member in [&mut b, &mut c] {
        member.has_nothing_more("of an election without an initiator").await;
    }
    assert!(leaderless(&hub).await, "it gave no leader");
    let announcement = elect([&mut c, &mut b], 0).await;
    assert_eq!(announcement["data"]["term"], 2, "the next start opens a new term");
    let warnings = hub.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert!(warnings[0].contains("its initiator left"), "{warnings:#?}");
}

#[tokio::test]
async fn an_election_ends_if_its_initiator_announces_nobody() {
    let hub = impatient_hub().await;
    let [mut a, mut b] = hub.ring([3, 9]).await;
    a.starts_election(0).await;
    b.turn().await;
    assert_eq!(a.next().await, from(&a.id, election(&[&a, &b], 1)), "home");
    eventually("the hub's patience to end", async || !hub.warnings().is_empty()).await;
    a.send(new_leader(&b.id, 1)).await;
    assert_eq!(a.error().await["code"], "announcement-refused", "too late");
    b.has_nothing_more("of a late announcement").await;
    assert_eq!(elect([&mut b, &mut a], 0).await["data"]["term"], 2, "the next start opens a new term");
}

/// Everybody hears of the leader and then that it left; nobody the other way round.
#[tokio::test]
async fn a_leader_that_leaves_during_its_announcement_is_told_of_after_it() {
    // The announcer, the holder of the announcement, and two that have yet to get it.
    for leader in 0..4 {
        let mut ranks = [1, 2, 3, 4];
        ranks[leader] = 9;
        let hub = Hub::start().await;
        let mut ring = Vec::from(hub.ring(ranks).await);
        ring[0].starts_election(0).await;
        for at in [1, 2, 3, 0] {
            ring[at].turn().await;
        }
        let held = ring[1].next().await;
        assert_eq!(held, announced(&ring[0], &ring[leader], 1));
        let leads = ring[leader].id.clone();
        if leader != 1 {
            ring.remove(leader).close().await;
            eventually("the leader's end", async || hub.members().await.len() == 3).await;
            assert!(leaderless(&hub).await, "HTTP has no leader at once");
            let holder = ring.iter_mut().find(|member| member.rank == 2).unwrap();
            holder.react(&held).await;
        } else {
            ring.remove(leader).close().await;
        }

        let told = join_all(ring.iter_mut().map(until_leader_left)).await;
        for (member, told) in ring.iter_mut().zip(told) {
            let told = if member.rank == 2 { [vec![held.clone()], told].concat() } else { told };
            let expected = [held.clone(), leader_left(&leads, 1, false)];
            assert_eq!(told, expected, "the leader was number {leader}; told to number {}", member.rank);
            member.has_nothing_more("after leaderLeft").await;
        }
    }
}

/// Acts honestly; what was received.
async fn until_leader_left(member: &mut Peer) -> Vec<Value> {
    let mut told = vec![];
    while !told.last().is_some_and(|frame| is(frame, "leaderLeft")) {
        told.push(member.turn().await);
    }
    told
}

#[tokio::test]
async fn a_leader_that_leaves_is_told_of_at_once() {
    let hub = Hub::start().await;
    let [mut a, mut b, mut c] = hub.ring([3, 9, 5]).await;
    elect([&mut a, &mut b, &mut c], 0).await;
    let gone = b.id.clone();
    a.send(check(&gone, 1)).await;
    b.close().await;
    for member in [&mut a, &mut c] {
        assert_eq!(member.next().await, leader_left(&gone, 1, false));
        member.has_nothing_more("after leaderLeft, such as a check of who is gone").await;
    }
    assert!(leaderless(&hub).await);
    assert_eq!(hub.view().await["term"], 1, "the term stays until somebody starts");
    a.send(check(&gone, 1)).await;
    a.has_nothing_more("for a check of a leader that is gone").await;
    let announcement = elect([&mut a, &mut c], 1).await;
    assert_eq!(announcement["data"]["term"], 2);
}

#[tokio::test]
async fn checks_and_answers_end_with_whom_they_are_for() {
    let hub = Hub::start().await;
    let [mut a, mut b, mut c, mut d] = hub.ring([3, 4, 9, 5]).await;
    let [asker, leader] = [&a, &c].map(|peer| peer.id.clone());
    elect([&mut a, &mut b, &mut c, &mut d], 0).await;
    a.send(check(&leader, 1)).await;
    let held = b.next().await;
    c.close().await;
    for member in [&mut a, &mut b, &mut d] {
        assert_eq!(member.next().await, leader_left(&leader, 1, false));
    }
    b.send(held).await;
    for member in [&mut a, &mut b, &mut d] {
        member.has_nothing_more("of a check of who is gone").await;
    }

    elect([&mut a, &mut b, &mut d], 1).await;
    b.send(answer(&asker, 2)).await;
    let held = d.next().await;
    a.close().await;
    eventually("the asker's end", async || hub.members().await.len() == 2).await;
    d.send(held).await;
    for member in [&mut b, &mut d] {
        member.has_nothing_more("of an answer to who is gone").await;
    }
}

#[tokio::test]
async fn a_leader_may_resign_and_stays_a_member() {
    let hub = Hub::start().await;
    let [mut a, mut b, mut c] = hub.ring([3, 9, 5]).await;
    elect([&mut a, &mut b, &mut c], 0).await;
    let before = hub.view().await;
    let (follower, leader) = (a.id.clone(), b.id.clone());
    let resignation = leader_left(&leader, 1, true);
    a.send(resignation.clone()).await;
    assert_eq!(a.error().await["code"], "not-leader", "nobody resigns for another");
    for wrong in [leader_left(&leader, 7, true), leader_left(&follower, 1, true)] {
        b.send(wrong.clone()).await;
        assert_eq!(b.error().await["code"], "not-leader", "{wrong}");
    }
    assert_eq!(hub.view().await, before, "only the leader resigns, in its own term, for itself");

    b.send(resignation.clone()).await;
    for member in [&mut a, &mut c] {
        assert_eq!(member.next().await, resignation);
    }
    b.has_nothing_more("of what it said itself").await;
    assert!(leaderless(&hub).await);
    assert_eq!(hub.members().await.len(), 3, "it is a member still");
    assert_eq!(elect([&mut c, &mut a, &mut b], 1).await["data"]["leaderId"], before["leaderId"], "and can be elected");
}
