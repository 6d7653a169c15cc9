//! Who may join, when, and with what.

use serde_json::{Value, json};

use crate::support::*;

const HIGHEST_CLAIM: u64 = ((1 << 53) - 1) / 2;

/// Whatever it greets with, the hub answers with this error, and it is no member.
async fn is_refused(peer: &mut Peer, greeting: Value, code: &str) {
    peer.send(frame("greeting", greeting.clone())).await;
    let error = peer.error().await;
    assert_eq!((&error["code"], &error["about"]), (&json!(code), &json!("greeting")), "{greeting}: {error}");
}

#[tokio::test]
async fn ring_frames_are_for_members() {
    let mut scene = Scene::new().await;
    let leader = scene.bystanders[1].id.clone();
    for path in ["/", "/?join", "/watch"] {
        let mut visitor = scene.hub.connect(path).await;
        let frames = [
            start(&visitor, 0),
            new_leader(&visitor.id, 2),
            check(&leader, 1),
            answer(&leader, 1),
            leader_left(&leader, 1, true),
        ];
        for said in frames {
            visitor.send(said.clone()).await;
            let error = visitor.error().await;
            assert_eq!((&error["code"], &error["about"]), (&json!("not-a-member"), &said["method"]), "{path}");
            scene.logged(1, path);
        }
        scene.is_unmoved("frames before a greeting").await;
        visitor.close().await;
    }
}

#[tokio::test]
async fn nobody_greets_twice() {
    let mut scene = Scene::new().await;
    let again = json!({ "rank": 99, "name": "again", "forwards": false, "term": 40 });
    for data in [again, json!("Hello")] {
        let greeting = frame("greeting", data).to_string();
        scene.refuses("a second greeting", &greeting, "already-joined", "greeting").await;
    }
    scene.offender.send(start(&scene.offender, 1)).await;
    assert_eq!(scene.bystanders[0].next().await["data"]["term"], 2, "the term that it claimed is not believed");
}

#[tokio::test]
async fn a_connection_that_asked_to_watch_does_not_join() {
    let mut scene = Scene::new().await;
    for path in ["/watch", "/rings/default/watch", "/watch?join"] {
        let mut watching = scene.hub.connect(path).await;
        is_refused(&mut watching, json!({ "rank": 1, "forwards": true }), "watch-only").await;
        is_refused(&mut watching, json!("Hello"), "watch-only").await;
        scene.logged(2, path);
        scene.is_unmoved(path).await;
        watching.close().await;
    }
}

#[tokio::test]
async fn pages_of_other_origins_watch_and_do_not_join() {
    let mut scene = Scene::new().await;
    let foreign = [("origin", "http://evil.example")];
    let mut page = Peer::connect(scene.hub.address, "/", &foreign).await.expect("anybody may watch");
    is_refused(&mut page, json!({ "rank": 99, "forwards": true }), "watch-only").await;
    scene.logged(1, "a page of another origin");
    scene.is_unmoved("a page of another origin").await;
    scene.offender.send(check(&scene.bystanders[1].id, 1)).await;
    assert!(is(&page.next().await, "relayed"), "it sees what goes on");

    let own = format!("http://{}", scene.hub.address);
    let mut page = Peer::connect(scene.hub.address, "/", &[("origin", &own)]).await.unwrap();
    page.join(1).await;

    let hub = Hub::with(|config| config.allow_origins = vec!["http://lab.example".into()]).await;
    let mut page = Peer::connect(hub.address, "/", &[("origin", "http://lab.example")]).await.unwrap();
    page.join(1).await;
    let mut page = Peer::connect(hub.address, "/", &foreign).await.unwrap();
    is_refused(&mut page, json!({ "rank": 99, "forwards": true }), "watch-only").await;
}

#[tokio::test]
async fn greetings_that_are_none_are_refused_and_a_better_one_is_not() {
    let mut scene = Scene::new().await;
    let mut visitor = scene.hub.connect("/?join").await;
    let bad = [
        Value::Null,
        json!(7),
        json!({ "rank": "7" }),
        json!({ "rank": [7] }),
        json!({ "name": "" }),
        json!({ "name": "x".repeat(65) }),
        json!({ "name": "two\nlines" }),
        json!({ "name": "\u{1b}[31mred" }),
        json!({ "forwards": "yes" }),
        json!({ "term": "1" }),
        json!({ "term": -1 }),
        json!({ "term": 1.5 }),
        json!({ "term": HIGHEST_CLAIM + 1 }),
        json!({ "term": u64::MAX }),
    ];
    for greeting in bad {
        is_refused(&mut visitor, greeting.clone(), "bad-frame").await;
        scene.logged(1, &greeting.to_string());
    }
    visitor.send_text(r#"{"method":"greeting","data":{"rank":1e999}}"#).await;
    assert_eq!(visitor.error().await["code"], "bad-frame", "an infinite rank");
    scene.logged(1, "an infinite rank");
    scene.is_unmoved("greetings that are none").await;

    let response = visitor.join(7).await;
    assert_eq!(response["data"], json!({ "leaderId": scene.bystanders[1].id, "term": 1 }), "it learns who leads");
    assert_eq!(scene.hub.members().await[3], visitor.id, "newcomers are last");
}

/// A member may know of terms from before the hub was started.
#[tokio::test]
async fn terms_go_on_above_what_a_member_knows() {
    let hub = Hub::start().await;
    let mut a = hub.connect("/?join").await;
    let response = a.greet(json!({ "rank": 3, "forwards": true, "term": 41 })).await;
    assert_eq!(response["data"], json!({ "leaderId": null, "term": 41 }));
    let mut b = hub.join(9).await;
    assert_eq!(elect([&mut a, &mut b], 0).await["data"]["term"], 42);
    assert_eq!(elect([&mut b, &mut a], 99).await["data"]["term"], 100, "a start tells what its sender knows, too");
    let mut liar = hub.connect("/?join").await;
    liar.greet(json!({ "rank": 1, "forwards": true, "term": HIGHEST_CLAIM })).await;
    let announcement = elect([&mut a, &mut b, &mut liar], 100).await;
    assert_eq!(announcement["data"]["term"], HIGHEST_CLAIM + 1, "the highest that is believed leaves room");
}

#[tokio::test]
async fn a_full_ring_takes_nobody_until_somebody_leaves() {
    let hub = Hub::with(|config| config.limits.members = 2).await;
    let [a, _b] = hub.ring([3, 9]).await;
    let mut c = hub.connect("/?join").await;
    is_refused(&mut c, json!({ "rank": 5, "forwards": true }), "ring-full").await;
    assert_eq!(hub.warnings().len(), 1);
    a.close().await;
    eventually("a place", async || hub.members().await.len() == 1).await;
    c.join(5).await;
}
