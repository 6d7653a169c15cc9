//! What is no frame, or no WebSocket: an error or a close code for whoever sent it, a
//! line in the log, and nothing for anybody else.

use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::*;

/// The largest frame, unless the hub is told otherwise.
const MOST: usize = 64 * 1024;

/// What is no frame: the text, the error's code, and the method that the error is about.
fn no_frames() -> Vec<(String, &'static str, Option<&'static str>)> {
    let short = [
        ("", "bad-frame", None),
        ("hello", "bad-frame", None),
        ("null", "bad-frame", None),
        ("[1]", "bad-frame", None),
        ("{}", "bad-frame", None),
        (r#"{"method":"election","data":{"ranks":["#, "bad-frame", None),
        (r#"{"method":"fly"}{"method":"fly"}"#, "bad-frame", None),
        (r#"{"data":{"ranks":[]}}"#, "bad-frame", None),
        (r#"{"method":7}"#, "bad-frame", None),
        (r#"{"method":"election","method":"newLeader"}"#, "bad-frame", None),
        (r#"{"method":"election","senderId":7}"#, "bad-frame", None),
        (r#"{"method":"fly","data":1}"#, "unknown-method", Some("fly")),
        (r#"{"method":"Election"}"#, "unknown-method", Some("Election")),
        (r#"{"method":"a\n WARN b"}"#, "unknown-method", Some("a\n WARN b")),
        (r#"{"method":"election"}"#, "bad-frame", Some("election")),
        (r#"{"method":"checkLeader","data":"x"}"#, "bad-frame", Some("checkLeader")),
        (r#"{"method":"election","data":{}}"#, "bad-frame", Some("election")),
        (r#"{"method":"election","data":{"ranks":7}}"#, "bad-ranks", Some("election")),
        (r#"{"method":"election","data":{"ranks":[{"rank":7}]}}"#, "bad-ranks", Some("election")),
        (r#"{"method":"election","data":{"ranks":[{"rank":1e999,"clientId":"a"}]}}"#, "bad-ranks", Some("election")),
        (r#"{"method":"newLeader","data":{"leaderId":7}}"#, "bad-frame", Some("newLeader")),
        (r#"{"method":"newLeader","data":{"leaderId":"a","term":"1"}}"#, "bad-frame", Some("newLeader")),
        (r#"{"method":"checkLeader","data":{"leaderId":""}}"#, "bad-frame", Some("checkLeader")),
        (r#"{"method":"checkLeader","data":{"leaderId":"a\nb"}}"#, "bad-frame", Some("checkLeader")),
        (r#"{"method":"answerLeader","data":{"term":1}}"#, "bad-frame", Some("answerLeader")),
        (r#"{"method":"leaderLeft","data":{}}"#, "bad-frame", Some("leaderLeft")),
        (r#"{"method":"welcome","data":{}}"#, "hub-only", Some("welcome")),
        (r#"{"method":"response","data":"x"}"#, "hub-only", Some("response")),
    ];
    let deep = |before: &str, after: &str| format!("{before}{}{}{after}", "[".repeat(30_000), "]".repeat(30_000));
    let long = [
        (deep("", ""), "bad-frame", None),
        ("[".repeat(60_000), "bad-frame", None),
        (deep(r#"{"method":"newLeader","data":"#, "}"), "bad-frame", Some("newLeader")),
        (deep(r#"{"method":"election","data":{"ranks":"#, "}}"), "bad-ranks", Some("election")),
        (deep(r#"{"method":"checkLeader","data":{"leaderId":"#, "}}"), "bad-frame", Some("checkLeader")),
        (deep(r#"{"method":"fly","more":"#, "}"), "unknown-method", Some("fly")),
        (check(&"x".repeat(65), 1).to_string(), "bad-frame", Some("checkLeader")),
        // As much as anybody may send, and no byte more.
        ("x".repeat(MOST), "bad-frame", None),
    ];
    short.into_iter().map(|(text, code, about)| (text.to_owned(), code, about)).chain(long).collect()
}

fn abridged(text: &str) -> String {
    text.chars().take(80).collect()
}

#[tokio::test]
async fn a_member_that_sends_no_frame_gets_an_error() {
    let mut scene = Scene::new().await;
    for (text, code, about) in no_frames() {
        scene.refuses(&abridged(&text), &text, code, about).await;
    }
}

#[tokio::test]
async fn so_does_a_spectator() {
    let mut scene = Scene::new().await;
    let mut watching = scene.hub.connect("/watch").await;
    for (text, code, _) in no_frames() {
        watching.send_text(&text).await;
        let error = watching.error().await;
        assert!(error["code"] == code || error["code"] == "not-a-member", "{}: {error}", abridged(&text));
        scene.logged(1, &abridged(&text));
    }
    scene.is_unmoved("a spectator's nonsense").await;
}

/// A method is cut where it is longer than anybody would like to read.
#[tokio::test]
async fn what_others_write_fills_neither_the_error_nor_the_log() {
    let mut scene = Scene::new().await;
    let long = "ö".repeat(20_000);
    scene.offender.send(frame(&long, Value::Null)).await;
    let about = scene.offender.error().await["about"].as_str().unwrap().to_owned();
    assert!(about.len() < 400 && long.starts_with(about.trim_end_matches('…')), "{about}");
    scene.offender.send(check(&long, 1)).await;
    scene.offender.error().await;
    scene.offender.send(frame("election", json!({ "ranks": [{ "rank": long, "clientId": "a" }] }))).await;
    scene.offender.error().await;
    let warnings = scene.hub.warnings();
    assert!(warnings.len() == 3 && warnings.iter().all(|line| line.len() < 800), "{warnings:#?}");
}

#[tokio::test]
async fn an_error_is_never_answered() {
    let mut scene = Scene::new().await;
    let error = json!({ "code": "bad-frame", "message": "I do not understand you", "about": "welcome" });
    scene.offender.send(frame("error", error)).await;
    scene.offender.has_nothing_more("for an error").await;
    scene.logged(0, "an error");
    scene.is_unmoved("an error").await;
}

#[tokio::test]
async fn absurd_terms_are_refused() {
    const HIGHEST_CLAIM: u64 = ((1 << 53) - 1) / 2;
    let mut scene = Scene::new().await;
    let c = scene.offender.id.clone();
    let ranks = json!([scene.offender.entry()]);
    let absurd = [json!(HIGHEST_CLAIM + 1), json!((1_u64 << 53) - 1), json!(1_u64 << 53), json!(u64::MAX)];
    for term in absurd.into_iter().chain([json!(-1), json!(1.5), json!(1e300), json!("2")]) {
        let start = frame("election", json!({ "ranks": ranks, "term": term }));
        scene.refuses(&format!("a start that claims term {term}"), &start.to_string(), "bad-frame", "election").await;
    }
    for (method, data) in [("newLeader", json!({ "leaderId": c })), ("leaderLeft", json!({ "leaderId": c }))] {
        let mut data = data;
        data["term"] = json!(1_u64 << 53);
        scene.refuses(method, &frame(method, data).to_string(), "bad-frame", method).await;
    }
}

/// Fields have names: by their places alone nobody else could read them.
#[tokio::test]
async fn a_list_is_no_object() {
    let mut scene = Scene::new().await;
    let leader = scene.bystanders[1].id.clone();
    let frames = [
        json!(["checkLeader", { "leaderId": leader, "term": 1 }, null, null]),
        frame("checkLeader", json!([leader, 1])),
        frame("election", json!([[scene.offender.entry()], 1])),
    ];
    for said in frames {
        scene.offender.send(said.clone()).await;
        let frames = scene.offender.fence().await;
        assert!(frames.len() == 1 && frames[0]["data"]["code"] == "bad-frame", "answer to {said}: {frames:#?}");
        scene.is_unmoved(&said.to_string()).await;
    }
    let mut visitor = scene.hub.connect("/?join").await;
    for data in [json!([]), json!([7, "name", true, 0])] {
        visitor.send(frame("greeting", data.clone())).await;
        assert_eq!(visitor.error().await["code"], "bad-frame", "{data}");
    }
}

async fn send_binary(peer: &mut Peer, bytes: &[u8]) {
    peer.socket.send(Message::binary(bytes.to_vec())).await.unwrap();
}

/// Some stacks send all text so.
#[tokio::test]
async fn binary_messages_are_read_as_text() {
    let mut scene = Scene::new().await;
    let [a, b] = &mut scene.bystanders;
    send_binary(a, check(&b.id, 1).to_string().as_bytes()).await;
    assert_eq!(b.next().await, from(&a.id, check(&b.id, 1)));
}

/// Also where a substitute for what is no text would make it valid JSON.
#[tokio::test]
async fn binary_messages_that_are_no_text_are_refused() {
    let mut scene = Scene::new().await;
    let mut visitor = scene.hub.connect("/?join").await;
    let messages = [
        &b"\xff\xfe\x00"[..],
        b"{\"method\":\"fly\xff\"}",
        b"{\"method\":\"greeting\",\"data\":{\"rank\":1,\"name\":\"\xff\"}}",
    ];
    for bytes in messages {
        send_binary(&mut visitor, bytes).await;
        let error = visitor.error().await;
        assert_eq!(error["code"], "bad-frame", "{}: {error}", bytes.escape_ascii());
        scene.logged(1, "a binary message");
    }
    scene.is_unmoved("binary messages").await;
}

/// A member that breaks the rules of WebSockets is closed with the code that RFC 6455 has
/// for it, and has left.
#[tokio::test]
async fn what_no_websocket_may_send_closes_it() {
    let text = |payload: &[u8]| masked(0x81, payload);
    let half = vec![b'x'; 40 * 1024];
    let table: [(&str, Vec<u8>, u16); 14] = [
        ("twice too much", text(&vec![b'x'; 2 * MOST]), 1009),
        ("a byte too much", text(&vec![b'x'; MOST + 1]), 1009),
        (
            "a byte too much that does not come",
            [&[0x81, 0xff], &(MOST as u64 + 1).to_be_bytes()[..], &[0; 4]].concat(),
            1009,
        ),
        ("an exabyte that does not come", [&[0x82, 0xff], &(1_u64 << 60).to_be_bytes()[..], &[0; 4]].concat(), 1009),
        ("too much in parts", [masked(0x01, &half), masked(0x80, &half)].concat(), 1009),
        ("a text that is no UTF-8", text(b"{\"method\":\"\xff\"}"), 1007),
        ("no mask", [&[0x81, 5][..], b"hello"].concat(), 1002),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n".to_vec(), 1002),
        ("noise", (0..200).map(|n: u8| n.wrapping_mul(151).wrapping_add(0x77)).collect(), 1002),
        ("reserved bits", masked(0xf1, b"{}"), 1002),
        ("an opcode that means nothing", masked(0x83, b"{}"), 1002),
        ("a continuation of nothing", masked(0x80, b"{}"), 1002),
        ("half a ping", masked(0x09, b"ping"), 1002),
        ("half a close code", masked(0x88, b"\x03"), 1002),
    ];
    let mut scene = Scene::new().await;
    for (what, bytes, code) in table {
        let mut offender = scene.hub.join(1).await;
        offender.send_raw(&bytes).await;
        assert_eq!(offender.closed().await, Some(code), "{what}");
        let seen = scene.spectator.fence().await;
        assert!(seen.iter().all(|frame| is(frame, "ring")), "{what}: it came and left, and that is all: {seen:#?}");
        scene.logged(1, what);
        scene.is_unmoved(what).await;
    }
}
