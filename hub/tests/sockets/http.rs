//! What the hub's port answers to HTTP.

use serde_json::{Value, json};

use crate::support::*;

/// What it is answered with that wants a WebSocket and gets none.
async fn turned_away(hub: &Hub, path: &str) -> Answer {
    match Peer::connect(hub.address, path, &[]).await {
        Ok(_) => panic!("{path} became a WebSocket"),
        Err(answer) => answer,
    }
}

fn reason(answer: &Answer) -> String {
    answer.json()["error"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_browser_gets_a_page_that_says_how_to_watch() {
    let hub = Hub::start().await;
    let page = hub.get("/").await;
    assert_eq!(page.status, 200);
    assert!(page.head.contains("content-type: text/html"), "{}", page.head);
    assert!(page.body.contains("new WebSocket(") && page.body.contains("/rings/default"), "{}", page.body);
}

#[tokio::test]
async fn a_ring_is_shown_in_ring_order() {
    let hub = Hub::start().await;
    assert_eq!(hub.view().await, json!({ "ring": "default", "term": 0, "leaderId": null, "members": [] }));
    let [mut a, mut b] = hub.ring([3, 9]).await;
    let mut old = hub.connect("/").await;
    old.rank = 1;
    old.greet(json!("Hello")).await;
    elect([&mut a, &mut b, &mut old], 0).await;
    let ring = hub.get("/rings/default").await;
    assert_eq!(ring.status, 200);
    assert!(ring.head.contains("content-type: application/json"), "{}", ring.head);
    let ring = ring.json();
    assert_eq!((&ring["ring"], &ring["term"], &ring["leaderId"]), (&json!("default"), &json!(1), &json!(b.id)));
    let members: Vec<_> =
        ring["members"].as_array().unwrap().iter().map(|m| (&m["clientId"], &m["name"], &m["rank"])).collect();
    let (a_is, b_is, old_is) = (json!(a.id), json!(b.id), json!(old.id));
    let null = Value::Null;
    let expected =
        [(&a_is, &json!("rank-3"), &json!(3)), (&b_is, &json!("rank-9"), &json!(9)), (&old_is, &null, &null)];
    assert_eq!(members, expected);
    let ages: Vec<u64> = ring["members"].as_array().unwrap().iter().map(|m| m["ageMs"].as_u64().unwrap()).collect();
    assert!(ages.is_sorted_by(|older, newer| older >= newer) && ages[0] < 60_000, "{ages:?}");
    let later = hub.get("/rings/default").await.json();
    assert!(later["members"][0]["ageMs"].as_u64() >= Some(ages[0]), "it gets older");
}

#[tokio::test]
async fn who_leads_or_why_nobody_does() {
    let hub = Hub::start().await;
    let nobody = hub.get("/rings/default/leader").await;
    assert_eq!((nobody.status, &*reason(&nobody)), (404, "the ring has no members"));
    let [mut a, mut b] = hub.ring([3, 9]).await;
    let nobody = hub.get("/rings/default/leader").await;
    assert_eq!((nobody.status, &*reason(&nobody)), (404, "nobody is elected at the moment"));
    elect([&mut a, &mut b], 0).await;
    let leader = hub.get("/rings/default/leader").await;
    assert_eq!(leader.status, 200);
    assert_eq!(leader.json(), json!({ "leaderId": b.id, "name": "rank-9", "term": 1 }));
    // While another election is open the leader is who it was, with its own term.
    a.starts_election(1).await;
    b.next().await;
    assert_eq!(hub.get("/rings/default/leader").await.json(), json!({ "leaderId": b.id, "name": "rank-9", "term": 1 }));
    b.close().await;
    let nobody = hub.get("/rings/default/leader").await;
    assert_eq!((nobody.status, &*reason(&nobody)), (404, "nobody is elected at the moment"));
}

#[tokio::test]
async fn all_rings_are_listed() {
    let hub = Hub::start().await;
    let mut a = hub.connect("/rings/blue?join").await;
    a.join(3).await;
    elect([&mut a], 0).await;
    let expected = json!({ "rings": [
        { "ring": "blue", "term": 1, "leaderId": a.id, "members": 1 },
        { "ring": "default", "term": 0, "leaderId": null, "members": 0 },
    ] });
    assert_eq!(hub.get("/rings").await.json(), expected);
    assert_eq!(hub.get("/rings/blue/leader").await.json()["leaderId"], json!(a.id));
}

#[tokio::test]
async fn what_is_not_there_says_so() {
    let hub = Hub::start().await;
    for path in ["/rings/nowhere", "/rings/nowhere/leader"] {
        let answer = hub.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(reason(&answer).contains("there is no ring nowhere"), "{path}: {answer:?}");
    }
    let long = "x".repeat(65);
    for name in ["two%20words", "%2e%2e%2fetc", "caf%C3%A9", "a%0Ab", &long] {
        for path in [format!("/rings/{name}"), format!("/rings/{name}/leader")] {
            let answer = hub.get(&path).await;
            assert_eq!(answer.status, 400, "{path}");
            assert!(reason(&answer).contains("a ring's name is"), "{path}: {answer:?}");
        }
        assert_eq!(turned_away(&hub, &format!("/rings/{name}")).await.status, 400, "{name}");
    }
    let lost = hub.get("/nothing").await;
    assert_eq!(lost.status, 404);
    assert!(reason(&lost).contains("/rings/{name}"), "it says what there is: {lost:?}");
    assert_eq!(hub.get("/rings").await.json()["rings"].as_array().unwrap().len(), 1, "asking makes no ring");
}

#[tokio::test]
async fn health() {
    let hub = Hub::start().await;
    let answer = hub.get("/healthz").await;
    assert_eq!((answer.status, answer.json()), (200, json!({ "status": "ok" })));
}

#[tokio::test]
async fn paths_for_websockets_say_so_and_others_take_no_posts() {
    let hub = Hub::start().await;
    for path in ["/watch", "/rings/default/watch"] {
        let answer = hub.get(path).await;
        assert_eq!(answer.status, 426, "{path}");
        assert!(answer.head.contains("upgrade: websocket"), "{}", answer.head);
        assert!(reason(&answer).contains("new WebSocket"), "{answer:?}");
    }
    for path in ["/", "/watch", "/rings", "/rings/default", "/rings/default/leader", "/healthz"] {
        let post = format!("POST {path} HTTP/1.1\r\nHost: hub\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{{}}");
        assert_eq!(hub.request(&post).await.status, 405, "{path}");
    }
    let half = "GET / HTTP/1.1\r\nHost: hub\r\nConnection: close\r\nUpgrade: websocket\r\n\r\n";
    let answer = hub.request(half).await;
    assert_eq!(answer.status, 400, "a handshake with much missing");
    assert!(reason(&answer).contains("no WebSocket handshake"), "{answer:?}");
    assert_eq!(hub.request("nonsense\r\n\r\n").await.status, 400);
    let head = format!("GET / HTTP/1.1\r\nHost: hub\r\nMore: {}\r\n\r\n", "x".repeat(100_000));
    assert_eq!(hub.request(&head).await.status, 431, "a head without measure");
}

#[tokio::test]
async fn there_are_only_so_many_rings_and_unused_ones_are_forgotten() {
    let hub = Hub::with(|config| config.limits.rings = 3).await;
    let watched = hub.connect("/rings/watched").await;
    let mut used = hub.connect("/rings/used?join").await;
    used.join(3).await;
    let answer = turned_away(&hub, "/rings/more").await;
    assert_eq!(answer.status, 503);
    assert!(reason(&answer).contains("3 rings"), "{answer:?}");
    hub.connect("/rings/watched").await.close().await;
    hub.connect("/").await.close().await;

    elect([&mut used], 0).await;
    used.close().await;
    watched.close().await;
    let names = async || {
        let rings = hub.get("/rings").await.json();
        rings["rings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|ring| ring["ring"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    eventually("a ring that nobody used to be forgotten", async || names().await == ["default", "used"]).await;
    assert_eq!(hub.get("/rings/used").await.json()["term"], 1, "one with a term is kept: terms only rise");
    hub.connect("/rings/more").await;
}
