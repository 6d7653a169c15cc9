//! Frames go hop by hop round the ring until they are consumed.

use serde_json::json;

use crate::support::*;

#[tokio::test]
async fn an_election_goes_round_and_so_does_its_announcement() {
    let hub = Hub::start().await;
    let mut spectator = hub.connect("/").await;
    let [mut a, mut b, mut c] = hub.ring([3, 9, 5]).await;

    a.send(start(&a, 0)).await;
    assert_eq!(b.turn().await, from(&a.id, election(&[&a], 1)), "the successor gets the start, stamped");
    assert_eq!(c.turn().await, from(&a.id, election(&[&a, &b], 1)), "the next one gets it with the first added");
    assert_eq!(a.next().await, from(&a.id, election(&[&a, &b, &c], 1)), "the initiator gets it home");

    a.send(new_leader(&b.id, 1)).await;
    let announcement = announced(&a, &b, 1);
    for member in [&mut b, &mut c, &mut a] {
        assert_eq!(member.turn().await, announcement, "everybody is told, its announcer last");
    }
    for member in [&mut a, &mut b, &mut c] {
        member.has_nothing_more("after that").await;
    }

    let [a, b, c] = [&a, &b, &c].map(|peer| peer.id.as_str());
    let relayed: Vec<_> = spectator.fence().await.into_iter().filter(|frame| is(frame, "relayed")).collect();
    let seen: Vec<_> = relayed.iter().map(summary).collect();
    let expected = [
        (1, Some(a), b, "election", Some(a)),
        (2, Some(b), c, "election", Some(a)),
        (3, Some(c), a, "election", Some(a)),
        (4, Some(a), b, "newLeader", Some(a)),
        (5, Some(b), c, "newLeader", Some(a)),
        (6, Some(c), a, "newLeader", Some(a)),
    ];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_check_goes_to_the_leader_only_and_its_answer_to_the_asker_only() {
    let hub = Hub::start().await;
    let [mut a, mut b, mut c, mut d] = hub.ring([3, 5, 9, 4]).await;
    elect([&mut a, &mut b, &mut c, &mut d], 0).await;

    a.send(check(&c.id, None)).await;
    let asked = from(&a.id, check(&c.id, 1));
    assert_eq!(b.turn().await, asked, "on the way, with the term stamped");
    assert_eq!(c.turn().await, asked, "the leader");
    let answered = from(&c.id, answer(&a.id, 1));
    assert_eq!(d.turn().await, answered, "the answer goes on in ring order, and a check ends at the leader");
    assert_eq!(a.next().await, answered, "the asker");
    for member in [&mut a, &mut b, &mut c, &mut d] {
        member.has_nothing_more("after the answer").await;
    }
}

#[tokio::test]
async fn the_same_check_twice_is_one() {
    let hub = Hub::start().await;
    let [mut a, mut b, mut c] = hub.ring([3, 5, 9]).await;
    elect([&mut a, &mut b, &mut c], 0).await;
    a.send(check(&c.id, 1)).await;
    a.send(check(&c.id, 1)).await;
    a.has_nothing_more("before the leader was asked").await;
    assert_eq!(b.fence().await, [from(&a.id, check(&c.id, 1))], "the second is absorbed while the first is on its way");
    b.send(check(&c.id, 1)).await;
    assert_eq!(c.turn().await, from(&a.id, check(&c.id, 1)));
    assert_eq!(a.next().await, from(&c.id, answer(&a.id, 1)));
    a.send(check(&c.id, 1)).await;
    assert_eq!(b.next().await, from(&a.id, check(&c.id, 1)), "later it is a new one");
    assert_eq!(hub.warnings(), [""; 0], "none of this is a fault");
}

/// Checks of several members go round at once; each is known by who asked.
#[tokio::test]
async fn checks_of_several_members_do_not_mix() {
    let hub = Hub::start().await;
    let [mut a, mut b, mut c, mut d] = hub.ring([3, 4, 5, 9]).await;
    elect([&mut a, &mut b, &mut c, &mut d], 0).await;
    a.send(check(&d.id, 1)).await;
    b.turn().await;
    b.send(check(&d.id, 1)).await;
    let [of_a, of_b] = [&a, &b].map(|asker| from(&asker.id, check(&d.id, 1)));
    assert_eq!([c.next().await, c.next().await], [of_a.clone(), of_b.clone()], "c holds both");
    c.send(of_b.clone()).await;
    assert_eq!(d.turn().await, of_b, "of two it holds, the one that it says it passes on");
    assert_eq!(a.turn().await, from(&d.id, answer(&b.id, 1)));
    assert_eq!(b.next().await, from(&d.id, answer(&b.id, 1)), "b has its answer before a");
    c.send(of_a.clone()).await;
    assert_eq!(d.turn().await, of_a);
    assert_eq!(a.next().await, from(&d.id, answer(&a.id, 1)));
}

#[tokio::test]
async fn who_asks_the_wrong_one_is_told_who_leads() {
    let hub = Hub::start().await;
    let [mut a, mut b, mut c] = hub.ring([3, 9, 5]).await;
    elect([&mut a, &mut b, &mut c], 0).await;
    elect([&mut c, &mut a, &mut b], 1).await;
    let current = announced(&c, &b, 2);
    let nobody = "00000000-0000-4000-8000-000000000000";
    for wrong in [check(&c.id, 2), check(&a.id, None), check(nobody, 2), check(&b.id, 1), check(&b.id, 3)] {
        a.send(wrong.clone()).await;
        assert_eq!(a.next().await, current, "told for {wrong}");
    }
    b.has_nothing_more("of these checks").await;
    c.has_nothing_more("of these checks").await;
}

#[tokio::test]
async fn a_late_start_is_told_and_opens_nothing() {
    let hub = Hub::start().await;
    let [mut a, mut b, mut c] = hub.ring([3, 9, 5]).await;
    elect([&mut a, &mut b, &mut c], 0).await;
    let before = hub.view().await;

    c.send(start(&c, 0)).await;
    assert_eq!(c.next().await, announced(&a, &b, 1), "it is sent the announcement that it missed");
    for member in [&mut a, &mut b, &mut c] {
        member.has_nothing_more("of a late start").await;
    }
    assert_eq!(hub.view().await, before, "no election was opened");

    c.send(start(&c, 1)).await;
    assert_eq!(a.next().await, from(&c.id, election(&[&c], 2)), "who knows the leader it replaces opens a term");
}

#[tokio::test]
async fn a_start_while_an_election_is_open_is_absorbed() {
    let hub = Hub::start().await;
    let [mut a, mut b, mut c] = hub.ring([3, 9, 5]).await;
    a.send(start(&a, 0)).await;
    assert_eq!(b.next().await, from(&a.id, election(&[&a], 1)));
    for starter in [&mut a, &mut b, &mut c] {
        // The initiator once more, the holder, one that has yet to get it.
        starter.send(start(starter, 0)).await;
        starter.has_nothing_more("for a start while another is open").await;
    }
    b.send(election(&[&a, &b], 1)).await;
    assert_eq!(c.turn().await, from(&a.id, election(&[&a, &b], 1)), "the open one goes on as if nothing was said");
    assert_eq!(a.turn().await, from(&a.id, election(&[&a, &b, &c], 1)));
    b.send(start(&b, 0)).await;
    assert_eq!(b.turn().await, announced(&a, &b, 1));
    assert_eq!(hub.view().await["term"], 1, "one election");
    assert_eq!(hub.warnings(), [""; 0], "starting at the same time is no fault");
}

#[tokio::test]
async fn a_newcomer_takes_part_if_the_frame_has_yet_to_pass_the_end_of_the_list() {
    let hub = Hub::start().await;
    let [mut a, mut b, mut c] = hub.ring([3, 9, 5]).await;
    b.send(start(&b, 0)).await;
    assert_eq!(c.next().await, from(&b.id, election(&[&b], 1)));
    let mut d = hub.join(7).await;
    c.send(election(&[&b, &c], 1)).await;
    assert_eq!(d.turn().await, from(&b.id, election(&[&b, &c], 1)), "d sits last, and c had it");
    assert_eq!(a.next().await, from(&b.id, election(&[&b, &c, &d], 1)));
    let mut e = hub.join(8).await;
    a.send(election(&[&b, &c, &d, &a], 1)).await;
    assert_eq!(b.turn().await, from(&b.id, election(&[&b, &c, &d, &a], 1)), "e came after the frame had turned");
    let announcement = announced(&b, &b, 1);
    for member in [&mut c, &mut d, &mut e, &mut a, &mut b] {
        assert_eq!(member.turn().await, announcement, "the announcement reaches e as well");
    }
}

#[tokio::test]
async fn a_member_alone_elects_itself() {
    let hub = Hub::start().await;
    let mut a = hub.join(3).await;
    a.starts_election(0).await;
    assert_eq!(a.turn().await, from(&a.id, election(&[&a], 1)), "its start is home at once");
    assert_eq!(a.turn().await, announced(&a, &a, 1), "as is its announcement");
    a.has_nothing_more("after that").await;
    assert_eq!(hub.view().await["leaderId"], json!(a.id));
}

/// Equal ranks are ours to break by id: the announcement of either is accepted, once.
#[tokio::test]
async fn of_equal_ranks_either_may_be_announced_and_the_second_may_not() {
    let hub = Hub::start().await;
    let [mut a, mut b, mut c] = hub.ring([7, 7, 5]).await;
    let announced = elect([&mut a, &mut b, &mut c], 0).await;
    assert_eq!(announced["data"]["leaderId"], json!(a.id.clone().max(b.id.clone())), "ours: the higher id");
    let other = a.id.clone().min(b.id.clone());
    a.send(new_leader(&other, 1)).await;
    assert_eq!(a.error().await["code"], "announcement-refused", "one announcement a term");
    assert_eq!(hub.view().await["leaderId"], announced["data"]["leaderId"]);
}

#[tokio::test]
async fn two_hundred_that_start_together_have_one_election() {
    const MEMBERS: usize = 200;
    let hub = Hub::start().await;
    let mut peers = vec![];
    for rank in 0..MEMBERS as u32 {
        peers.push(hub.join(rank).await);
    }
    let mut spectator = hub.connect("/").await;
    let best = peers[MEMBERS - 1].id.clone();
    // All of them said it before anybody reads a word.
    for peer in &mut peers {
        peer.starts_election(0).await;
    }
    let mut members: Vec<Member> = peers.into_iter().map(Member::of).collect();
    for member in &mut members {
        assert_eq!(member.leader().await, (best.clone(), 1), "everybody is told the same leader");
    }
    let seen = spectator.fence().await;
    let count = |method: &str| seen.iter().filter(|frame| frame["data"]["frame"]["method"] == method).count();
    assert_eq!(count("election"), MEMBERS, "one election, and not one for each of them");
    // A late start is told with an announcement more; none is late here.
    assert_eq!(count("newLeader"), MEMBERS, "one announcement");
    assert_eq!(hub.view().await["term"], 1);
    assert_eq!(hub.warnings(), [""; 0]);
}
