//! Members that lie: in what they say of who a frame comes from, of who leads, and of
//! what others said.

use serde_json::{Value, json};

use crate::support::*;

const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

#[tokio::test]
async fn a_frame_names_who_it_started_from_whatever_it_says() {
    let hub = Hub::start().await;
    let [mut a, mut b, mut c] = hub.ring([3, 5, 9]).await;
    // Each of the four starts with c or a, which names another; the next one does so too.
    c.send(from(&b.id, start(&c, 0))).await;
    assert_eq!(a.next().await, from(&c.id, election(&[&c], 1)), "election");
    a.send(from(&a.id, election(&[&c, &a], 1))).await;
    assert_eq!(b.turn().await, from(&c.id, election(&[&c, &a], 1)), "election, handed on");
    c.next().await;

    let mut lie = from(&a.id, new_leader(&c.id, 1));
    lie["data"]["leaderName"] = json!("another name");
    c.send(lie).await;
    let announcement = announced(&c, &c, 1);
    assert_eq!(a.next().await, announcement, "newLeader");
    a.send(from(&b.id, new_leader(&c.id, 1))).await;
    assert_eq!(b.turn().await, announcement, "newLeader, handed on");
    assert_eq!(c.next().await, announcement, "it ends at its announcer, whoever a said it was of");

    a.send(from(&b.id, check(&c.id, 1))).await;
    assert_eq!(b.next().await, from(&a.id, check(&c.id, 1)), "checkLeader");
    b.send(from(&c.id, check(&c.id, 1))).await;
    assert_eq!(c.next().await, from(&a.id, check(&c.id, 1)), "checkLeader, handed on");

    c.send(from(NOBODY, answer(&b.id, 1))).await;
    assert_eq!(a.next().await, from(&c.id, answer(&b.id, 1)), "answerLeader");
    a.send(from(&b.id, answer(&b.id, 1))).await;
    assert_eq!(b.next().await, from(&c.id, answer(&b.id, 1)), "answerLeader, handed on");

    // Nobody answers in the leader's place.
    a.send(from(&c.id, answer(&b.id, 1))).await;
    assert_eq!(b.next().await, from(&a.id, answer(&b.id, 1)), "an answer of one that was not asked");
}

#[tokio::test]
async fn who_started_no_election_announces_nobody() {
    let mut scene = Scene::new().await;
    let me = scene.offender.id.clone();
    for said in [new_leader(&me, 1), new_leader(&me, 2), new_leader(&me, None), new_leader(NOBODY, 2)] {
        scene.refuses("a coup", &said.to_string(), "announcement-refused", "newLeader").await;
    }
}

#[tokio::test]
async fn nobody_starts_an_election_for_another() {
    let mut scene = Scene::new().await;
    let other = start(&scene.bystanders[0], 1);
    let both = json!([other["data"]["ranks"][0], scene.offender.entry()]);
    for said in [other, ranks_frame(json!([]), 1), ranks_frame(json!([{ "rank": 5, "clientId": NOBODY }]), 1)] {
        scene.refuses("a start without its sender", &said.to_string(), "bad-ranks", "election").await;
    }
    // This one could be late; nothing is moved by it, and nobody is told off.
    scene.offender.send(ranks_frame(both, 1)).await;
    scene.offender.has_nothing_more("for a frame that is not in its hands").await;
    scene.is_unmoved("a frame out of nowhere").await;
}

#[tokio::test]
async fn in_an_open_election_only_its_initiator_announces() {
    let hub = Hub::start().await;
    let [mut a, mut b, mut c, mut d] = hub.ring([3, 9, 5, 4]).await;
    a.starts_election(0).await;
    b.turn().await;
    let held = c.next().await;
    let before = hub.view().await;
    for usurper in [&mut b, &mut c, &mut d] {
        // One that has taken part, the holder, one that has yet to.
        for term in [Some(1), None] {
            usurper.send(new_leader(&usurper.id, term)).await;
            assert_eq!(usurper.error().await["code"], "announcement-refused");
        }
    }
    c.react(&held).await;
    assert_eq!(d.turn().await, from(&a.id, election(&[&a, &b, &c], 1)), "the election goes on");
    let home = a.next().await;
    assert_eq!(home, from(&a.id, election(&[&a, &b, &c, &d], 1)));
    let (winner, announcement) = (b.id.clone(), announced(&a, &b, 1));
    for usurper in [&mut b, &mut c, &mut d] {
        usurper.send(new_leader(&winner, 1)).await;
        assert_eq!(usurper.error().await["code"], "announcement-refused", "even of who won");
    }
    assert_eq!(hub.view().await, before, "nobody leads yet");
    assert_eq!(hub.warnings().len(), 9, "a line for each");
    a.react(&home).await;
    assert_eq!(b.turn().await, announcement);
}

/// What it says instead is refused, and its election is over.
#[tokio::test]
async fn an_initiator_announces_only_who_won() {
    for what in ["nobody", "itself", "a lower rank", "one that left", "a newcomer", "the best so far"] {
        let hub = Hub::start().await;
        let mut ring = Vec::from(hub.ring([3, 9, 5]).await);
        let ids: Vec<String> = ring.iter().map(|member| member.id.clone()).collect();
        ring[0].starts_election(0).await;
        ring[1].turn().await;
        let held = ring[2].next().await;
        if what != "the best so far" {
            ring[2].react(&held).await;
            assert_eq!(ids_in(&ring[0].next().await), ids, "it is home");
        }
        ring.push(hub.join(11).await);
        if what == "one that left" {
            ring.remove(1).close().await;
            eventually("its end", async || hub.members().await.len() == 3).await;
        }
        let before = hub.view().await;
        let named = match what {
            "nobody" => NOBODY,
            "itself" => &ids[0],
            "a lower rank" => &ids[2],
            "a newcomer" => &ring.last().unwrap().id.clone(),
            _ => &ids[1],
        };
        ring[0].send(new_leader(named, 1)).await;
        assert_eq!(ring[0].error().await["code"], "announcement-refused", "{what}");
        for member in &mut ring {
            member.has_nothing_more(what).await;
        }
        assert_eq!(hub.view().await, before, "{what} does not lead");
        let warnings = hub.warnings();
        assert!(warnings.len() == 1 && warnings[0].contains("refused: newLeader"), "{warnings:#?}");

        ring[1].starts_election(0).await;
        assert_eq!(ring[2].next().await["data"]["term"], 2, "{what}: anybody may start the next one");
    }
}

#[tokio::test]
async fn an_announcement_is_of_the_open_term() {
    let hub = Hub::start().await;
    let [mut a, mut b, mut c] = hub.ring([3, 9, 5]).await;
    elect([&mut a, &mut b, &mut c], 0).await;
    c.starts_election(1).await;
    a.turn().await;
    b.turn().await;
    assert_eq!(c.next().await["data"]["term"], 2, "home");
    for wrong in [new_leader(&c.id, 1), new_leader(&b.id, 3), new_leader(NOBODY, 1)] {
        c.send(wrong.clone()).await;
        assert_eq!(c.error().await["code"], "announcement-refused", "{wrong}");
    }
    c.send(new_leader(&b.id, 1)).await;
    for member in [&mut a, &mut b, &mut c] {
        member.has_nothing_more("of announcements of other terms").await;
    }
    assert_eq!(hub.warnings().len(), 3, "the announcement that was accepted once is late, and no lie");
    c.send(new_leader(&b.id, 2)).await;
    assert_eq!(a.next().await, announced(&c, &b, 2), "the election is open until now");
}

/// Whoever passes an announcement on has no say in it.
#[tokio::test]
async fn an_announcement_is_handed_on_as_it_was_accepted() {
    let hub = Hub::start().await;
    let [mut a, mut b, mut c] = hub.ring([3, 9, 5]).await;
    a.starts_election(0).await;
    for member in [&mut b, &mut c, &mut a] {
        member.turn().await;
    }
    let accepted = announced(&a, &b, 1);
    assert_eq!(b.next().await, accepted);
    b.send(new_leader(&c.id, 1)).await;
    assert_eq!(c.turn().await, accepted, "not as its holder changed it");
    assert_eq!(a.next().await, accepted);
    assert_eq!(hub.view().await["leaderId"], json!(b.id));
}

#[tokio::test]
async fn an_array_is_handed_on_with_its_holder_added_and_nothing_else_changed() {
    let hub = Hub::start().await;
    let [mut a, mut b, mut c, mut d] = hub.ring([3, 9, 5, 4]).await;
    a.starts_election(0).await;
    b.turn().await;
    c.next().await;
    let [of_a, of_b, mine, of_d] = [&a, &b, &c, &d].map(Peer::entry);
    let deep = (0..100).fold(json!(0), |inner, _| json!([inner]));
    let table = [
        ("an entry removed", json!([of_a, mine])),
        ("the initiator removed", json!([of_b, mine])),
        ("all removed", json!([])),
        ("only its own, though it started nothing", json!([of_b])),
        ("a rank raised", json!([of_a, { "rank": 10, "clientId": b.id }, mine])),
        ("a rank lowered", json!([of_a, { "rank": 1, "clientId": b.id }, mine])),
        ("an id changed", json!([of_a, { "rank": 9, "clientId": c.id }, mine])),
        ("another's added", json!([of_a, of_b, of_d])),
        ("a stranger added", json!([of_a, of_b, { "rank": 99, "clientId": NOBODY }])),
        ("another's and its own added", json!([of_a, of_b, mine, of_d])),
        ("its own added twice", json!([of_a, of_b, mine, mine])),
        ("another's instead of its own, twice", json!([of_a, of_b, of_b])),
        ("the initiator not first", json!([of_b, of_a, mine])),
        ("its own first", json!([mine, of_a, of_b])),
        ("an entry that is none", json!([of_a, of_b, 7])),
        ("an entry without a rank", json!([of_a, of_b, { "clientId": c.id }])),
        ("no array", json!({ "ranks": 7 })),
        ("nothing", Value::Null),
        ("depth", deep),
    ];
    for (logged, (what, ranks)) in table.into_iter().enumerate() {
        c.send(ranks_frame(ranks, 1)).await;
        let error = c.error().await;
        assert_eq!((&error["code"], &error["about"]), (&json!("bad-ranks"), &json!("election")), "{what}: {error}");
        for member in [&mut a, &mut b, &mut c, &mut d] {
            member.has_nothing_more(what).await;
        }
        assert_eq!(hub.warnings().len(), logged + 1, "a line for {what}");
    }
    c.send(election(&[&a, &b, &c], 1)).await;
    assert_eq!(
        d.next().await,
        from(&a.id, election(&[&a, &b, &c], 1)),
        "it still holds the frame, and may do it right"
    );
}

/// Or one member could fill the frame until the next one's own entry makes it too large,
/// and so have everybody but itself closed.
#[tokio::test]
async fn an_entry_is_no_load_for_others() {
    let long = format!("\"{}\"", "x".repeat((1 << 16) - 500));
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    for load in [long, deep] {
        let hub = Hub::start().await;
        let [mut a, mut b, mut c] = hub.ring([3, 9, 5]).await;
        a.starts_election(0).await;
        let held = b.next().await;
        let loaded = format!(r#"{{"rank":9,"clientId":"{}","more":{load}}}"#, b.id);
        b.send_text(format!(r#"{{"method":"election","data":{{"ranks":[{},{loaded}]}}}}"#, a.entry())).await;
        // Whether that was refused or cut back, b says right after it what it should have said.
        b.react(&held).await;
        let handed = c.next_text().await.len();
        assert!(handed < 4 * 1024, "{handed} bytes are handed on for two entries");
        c.send(election(&[&a, &b, &c], 1)).await;
        a.next().await;
        assert_eq!(hub.members().await.len(), 3, "nobody is closed for what another added");
    }
}

#[tokio::test]
async fn what_is_not_in_ones_hands_moves_nothing() {
    let hub = Hub::start().await;
    let [mut a, mut b, mut c] = hub.ring([3, 9, 5]).await;
    a.starts_election(0).await;
    b.next().await;
    for said in [election(&[&a, &c], 1), election(&[&a, &b], 1), election(&[&a, &b, &c], 1)] {
        for liar in [&mut a, &mut c] {
            liar.send(said.clone()).await;
            liar.has_nothing_more("for a frame that it does not hold").await;
        }
    }
    b.has_nothing_more("but the frame that it holds").await;
    b.send(election(&[&a, &b], 1)).await;
    assert_eq!(c.next().await, from(&a.id, election(&[&a, &b], 1)));
}

fn ids_in(election: &Value) -> Vec<String> {
    ids(&election["data"]["ranks"])
}
