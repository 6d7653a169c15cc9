//! Members of the older system, which greet with a text, know no terms and pass on
//! elections only; and the older way of routing.

use ringleader_shared::message::Routing;
use serde_json::json;

use crate::support::*;

async fn classic(hub: &Hub, rank: u32) -> Peer {
    let mut peer = hub.connect("/").await;
    peer.rank = rank;
    peer.greet(json!("Hello, I am a client")).await;
    // It was a spectator before, and is shown nothing from now on.
    peer
}

#[tokio::test]
async fn a_text_is_a_greeting() {
    let hub = Hub::start().await;
    let peer = classic(&hub, 3).await;
    let expected = json!([{ "clientId": peer.id, "name": null, "rank": null, "forwards": false }]);
    assert_eq!(hub.view().await["members"], expected);
}

#[tokio::test]
async fn the_hub_passes_on_what_a_classic_member_does_not() {
    let hub = Hub::start().await;
    let mut a = hub.join(3).await;
    let mut old = classic(&hub, 5).await;
    let [mut c, mut d] = hub.ring([9, 4]).await;

    a.starts_election(0).await;
    assert_eq!(old.turn().await, from(&a.id, election(&[&a], 1)), "elections it passes on itself");
    c.turn().await;
    d.turn().await;
    assert_eq!(a.turn().await, from(&a.id, election(&[&a, &old, &c, &d], 1)), "with its entry added");
    let announcement = announced(&a, &c, 1);
    for member in [&mut c, &mut d, &mut a] {
        assert_eq!(member.turn().await, announcement, "the next ones are told without its help");
    }
    assert_eq!(old.next().await, announcement, "it has its copy");

    a.send(check(&c.id, 1)).await;
    assert_eq!(c.turn().await, from(&a.id, check(&c.id, 1)), "past the classic member");
    d.turn().await;
    a.next().await;
    d.send(check(&c.id, 1)).await;
    a.turn().await;
    c.turn().await;
    d.next().await;
    old.has_nothing_more("of checks and answers of others, which it would answer").await;
    assert_eq!(hub.warnings(), [""; 0], "nothing of this needed a repair");
}

#[tokio::test]
async fn a_classic_member_starts_announces_asks_and_leads_without_terms() {
    let hub = Hub::start().await;
    let mut old = classic(&hub, 9).await;
    let [mut b, mut c] = hub.ring([3, 9]).await;
    old.send(start(&old, None)).await;
    for member in [&mut b, &mut c] {
        assert_eq!(member.turn().await["data"]["term"], 1, "ours get the term all the same");
    }
    old.next().await;
    // Of equal ranks it announces whichever it met first: itself.
    old.send(new_leader(&old.id, None)).await;
    let announcement = announced(&old, &old, 1);
    for member in [&mut b, &mut c, &mut old] {
        assert_eq!(member.turn().await, announcement);
    }

    b.send(check(&old.id, 1)).await;
    c.turn().await;
    assert_eq!(old.next().await, from(&b.id, check(&old.id, 1)), "a check of the classic leader reaches it");
    old.send(answer(&b.id, None)).await;
    assert_eq!(b.next().await, from(&old.id, answer(&b.id, 1)), "and its answer the asker, with the term");

    old.send(start(&old, None)).await;
    assert_eq!(b.next().await, from(&old.id, election(&[&old], 2)), "its start always opens an election");
}

#[tokio::test]
async fn direct_relay_routes_as_the_older_hub_did() {
    let hub = Hub::with(|config| config.routing = Routing::Direct).await;
    let [mut a, mut b, mut c] = hub.ring([3, 5, 9]).await;
    assert_eq!(a.welcome["data"]["relay"], "direct", "members are told not to pass on");

    a.starts_election(0).await;
    assert_eq!(b.turn().await, from(&a.id, election(&[&a], 1)), "elections go to the successor");
    assert_eq!(c.turn().await, from(&a.id, election(&[&a, &b], 1)));
    assert_eq!(a.turn().await, from(&a.id, election(&[&a, &b, &c], 1)));
    let announcement = announced(&a, &c, 1);
    for member in [&mut a, &mut b, &mut c] {
        assert_eq!(member.next().await, announcement, "announcements go to everybody");
    }

    a.send(check(&c.id, 1)).await;
    assert_eq!(c.next().await, from(&a.id, check(&c.id, 1)), "checks go straight to the leader");
    c.send(answer(&a.id, 1)).await;
    assert_eq!(a.next().await, from(&c.id, answer(&a.id, 1)), "and answers to who asked");
    for member in [&mut a, &mut b, &mut c] {
        member.has_nothing_more("besides").await;
    }
}
