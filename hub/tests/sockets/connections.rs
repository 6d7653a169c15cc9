//! Connections that are silent, slow, half open, broken, or in a hurry; and the hub's end.

use std::time::{Duration, Instant};

use ringleader_shared::message::Routing;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::*;

#[tokio::test]
async fn a_member_that_answers_no_ping_is_removed() {
    let silence = Duration::from_millis(900);
    let hub = Hub::with(|config| {
        config.limits.silence = silence;
        config.limits.ping_interval = Duration::from_millis(100);
    })
    .await;
    // One that reads answers pings; the other does not read.
    let mut lively = Member::join(&hub, 3).await;
    let begin = Instant::now();
    let mut hung = hub.join(9).await;
    lively.say(ranks_frame(json!([{ "rank": 3, "clientId": lively.id }]), 0));
    eventually("the silent one's removal", async || hub.members().await.len() == 1).await;
    let lasted = begin.elapsed();
    assert!((silence..silence * 4).contains(&lasted), "after about {silence:?}, not {lasted:?}");
    assert_eq!(hub.members().await, [lively.id.clone()], "whoever answers stays");
    assert_eq!(lively.leader().await.0, lively.id, "and has got what the other held");
    assert_eq!(hung.closed().await, Some(1008), "woken, it reads why");
    let silent: Vec<_> = hub.warnings().into_iter().filter(|line| line.contains("silent for")).collect();
    assert_eq!(silent.len(), 1, "{silent:#?}");
}

#[tokio::test]
async fn one_that_sends_without_answering_pings_is_not_silent() {
    let hub = Hub::with(|config| {
        config.limits.silence = Duration::from_millis(600);
        config.limits.ping_interval = Duration::from_millis(50);
    })
    .await;
    let mut talker = hub.join(3).await;
    let begin = Instant::now();
    let mut pause = tokio::time::interval(Duration::from_millis(50));
    while begin.elapsed() < Duration::from_millis(1_500) {
        pause.tick().await;
        talker.send_text("hello").await;
    }
    assert_eq!(hub.members().await, [talker.id.clone()]);
}

/// As when its machine was suspended. Nobody was asked while it slept.
#[tokio::test]
async fn a_hub_that_slept_does_not_take_it_for_the_silence_of_others() {
    let hub = Hub::with(|config| {
        config.limits.silence = Duration::from_millis(600);
        config.limits.ping_interval = Duration::from_millis(50);
    })
    .await;
    let mut members = vec![];
    for rank in 0..5 {
        members.push(Member::join(&hub, rank).await);
    }
    // The hub is on this thread.
    std::thread::sleep(Duration::from_millis(1_200));
    members[0].say(ranks_frame(json!([{ "rank": 0, "clientId": members[0].id }]), 0));
    for member in &mut members {
        member.leader().await;
    }
    assert_eq!(hub.members().await.len(), 5);
    assert_eq!(hub.warnings(), [""; 0]);
}

/// A WebSocket that has little room for what is not read.
async fn narrow_peer(hub: &Hub, path: &str) -> Peer {
    Peer::over("hub", narrow(hub.address).await, path, &[]).await.unwrap()
}

/// A reader that takes nothing is closed, and costs the others nothing.
#[tokio::test]
async fn a_slow_reader_is_closed_and_others_get_everything() {
    let hub = Hub::with(|config| {
        config.limits.outbox_bytes = 64 * 1024;
        config.limits.write_deadline = Duration::from_millis(500);
    })
    .await;
    let [mut a, mut b] = hub.ring([3, 9]).await;
    elect([&mut a, &mut b], 0).await;
    let mut slow = narrow_peer(&hub, "/").await;
    let mut reader = hub.connect("/").await;
    let is_closed = || hub.warnings().iter().any(|line| line.contains("too slow"));

    let told = announced(&a, &b, 1);
    let mut asked = 0;
    soon("the slow one's end", async {
        while !is_closed() {
            // Each of these is answered by the hub, and shown to spectators.
            for _ in 0..50 {
                a.send(check(&a.id, 1)).await;
            }
            for _ in 0..50 {
                assert_eq!(a.next().await, told);
                asked += 1;
                assert_eq!(summary(&reader.next().await).0, 4 + asked, "in order and without gaps");
            }
        }
    })
    .await;
    let lines = hub.warnings();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains(&slow.id), "the one that is slow: {lines:#?}");
    a.has_nothing_more("after the last answer").await;
    reader.has_nothing_more("after the last answer").await;
    let code = slow.closed().await;
    assert!(matches!(code, None | Some(1008)), "it is closed: {code:?}");
}

/// However fast it reads: what waits for one connection has a bound.
#[tokio::test]
async fn more_at_once_than_may_wait_closes_a_connection() {
    let hub = Hub::with(|config| {
        config.routing = Routing::Direct;
        config.limits.outbox_bytes = 2 * 1024;
    })
    .await;
    let mut ring = hub.ring([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]).await;
    let mut spectator = hub.connect("/").await;
    // An announcement is a frame for each member, and a spectator gets all of these.
    elect(ring.each_mut(), 0).await;
    assert_eq!(spectator.closed().await, Some(1008));
    assert_eq!(hub.members().await.len(), ring.len(), "members got a frame each");
}

/// Most clients read only when they have said what they had to say.
#[tokio::test]
async fn who_is_refused_may_go_on_for_a_moment_and_reads_why() {
    let hub = Hub::start().await;
    let mut peer = hub.join(3).await;
    let message = masked(0x81, &vec![b'x'; 8 << 20]);
    let (head, rest) = message.split_at(1_000);
    peer.send_raw(head).await;
    eventually("the refusal", async || !hub.warnings().is_empty()).await;
    peer.send_raw(rest).await;
    assert_eq!(peer.closed().await, Some(1009));
}

#[tokio::test]
async fn a_request_that_does_not_come_to_an_end_is_closed() {
    let limit = Duration::from_millis(500);
    let hub = Hub::with(|config| config.limits.handshake = limit).await;
    // Nothing; half a head; a head that comes a byte at a time; an answered request and no other.
    for (first, more) in
        [("", ""), ("GET / HTTP/1.1\r\nHo", ""), ("GET", "x"), ("GET /healthz HTTP/1.1\r\nHost: hub\r\n\r\n", "")]
    {
        let begin = Instant::now();
        let mut stream = TcpStream::connect(hub.address).await.unwrap();
        stream.write_all(first.as_bytes()).await.unwrap();
        let (mut read, mut write) = stream.split();
        let dripping = async {
            loop {
                tokio::time::sleep(Duration::from_millis(20)).await;
                if write.write_all(more.as_bytes()).await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let mut answer = vec![];
        tokio::select! {
            // It may be told why, or its late bytes may be answered with a reset.
            _ = soon("the end of the connection", read.read_to_end(&mut answer)) => {}
            () = dripping => {}
        }
        let lasted = begin.elapsed();
        assert!((limit..limit * 6).contains(&lasted), "after {first:?}: closed in about {limit:?}, not {lasted:?}");
    }
}

/// Those bytes, as from a client that does not wait for the answer to its handshake.
fn handshake_and(frames: &[u8]) -> Vec<u8> {
    let head = "GET /?join HTTP/1.1\r\nHost: hub\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    [head.as_bytes(), frames].concat()
}

#[tokio::test]
async fn frames_that_come_with_the_handshake_are_not_lost() {
    let hub = Hub::start().await;
    // More than the hub reads at once, as one frame and as many.
    let greeting = |padding: usize| {
        frame("greeting", json!({ "rank": 7, "forwards": true, "more": "x".repeat(padding) })).to_string()
    };
    let nonsense = masked(0x81, b"{\"method\":\"fence\"}").repeat(300);
    for padding in [0, 10_000, 60_000] {
        let mut stream = TcpStream::connect(hub.address).await.unwrap();
        let frames = [masked(0x81, greeting(padding).as_bytes()), nonsense.clone()].concat();
        stream.write_all(&handshake_and(&frames)).await.unwrap();
        let mut got = String::new();
        soon("every answer", async {
            while got.matches("unknown-method").count() < 300 {
                let mut some = vec![0; 64 * 1024];
                let count = stream.read(&mut some).await.unwrap();
                assert!(count > 0, "closed after {got}");
                got.push_str(&String::from_utf8_lossy(&some[..count]));
            }
        })
        .await;
        let place = |what: &str| got.find(what).unwrap_or_else(|| panic!("no {what} with padding {padding}"));
        assert!(got.starts_with("HTTP/1.1 101") && place("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") < place("welcome"));
        assert!(place("\"welcome\"") < place("\"response\"") && place("\"response\"") < place("unknown-method"));
        eventually("its end", async || stream.shutdown().await.is_err() || hub.members().await.is_empty()).await;
    }
}

#[tokio::test]
async fn a_connection_that_breaks_has_left() {
    let hub = Hub::start().await;
    let mut a = hub.join(3).await;
    let stream = TcpStream::connect(hub.address).await.unwrap();
    stream.set_zero_linger().unwrap();
    let mut b = Peer::over("hub", stream, "/?join", &[]).await.unwrap();
    b.join(9).await;
    let c = hub.join(5).await;
    // Reset, as when its machine forgets it; ended without a goodbye, as when it is killed.
    drop(b);
    eventually("a reset connection's removal", async || hub.members().await == [a.id.clone(), c.id.clone()]).await;
    drop(c);
    eventually("a dropped connection's removal", async || hub.members().await == [a.id.clone()]).await;
    assert_eq!(hub.warnings().len(), 2, "{:#?}", hub.warnings());
    assert_eq!(elect([&mut a], 0).await["data"]["term"], 1);
}

#[tokio::test]
async fn a_text_may_come_in_parts() {
    let hub = Hub::start().await;
    let mut peer = hub.connect("/?join").await;
    let greeting = frame("greeting", json!({ "rank": 7, "name": "ö", "forwards": true })).to_string();
    // A letter cut in two, and a ping between its halves.
    let (first, rest) = greeting.as_bytes().split_at(greeting.find('ö').unwrap() + 1);
    for part in [masked(0x01, first), masked(0x89, b""), masked(0x00, b""), masked(0x80, rest)] {
        peer.send_raw(&part).await;
    }
    assert_eq!(peer.next().await["method"], "response");
    assert_eq!(hub.view().await["members"][0]["name"], "ö");
}

#[tokio::test]
async fn pings_are_answered() {
    let hub = Hub::start().await;
    let mut a = hub.join(3).await;
    a.send_raw(&masked(0x89, b"are you there")).await;
    let mut pong = [0; 2 + 13];
    let answered = async {
        // Past the hub's own pings.
        loop {
            a.socket.get_mut().read_exact(&mut pong[..2]).await.unwrap();
            if pong[0] == 0x8a {
                return a.socket.get_mut().read_exact(&mut pong[2..]).await.unwrap();
            }
        }
    };
    soon("a pong", answered).await;
    assert_eq!(&pong[2..], b"are you there");
}

/// So that a browser sees a clean end, with the code that it gave.
#[tokio::test]
async fn a_close_is_returned() {
    let hub = Hub::start().await;
    let mut a = hub.join(3).await;
    a.send_raw(&masked(0x88, &[&4321_u16.to_be_bytes()[..], b"enough"].concat())).await;
    assert_eq!(a.closed().await, Some(4321));
    assert!(hub.members().await.is_empty());
    assert_eq!(hub.warnings(), [""; 0], "leaving is no fault");
}

#[tokio::test]
async fn at_its_end_the_hub_closes_every_connection_with_1001() {
    let mut hub = Hub::start().await;
    let mut peers = Vec::from(hub.ring([3, 9, 5]).await);
    for path in ["/", "/watch", "/?join", "/rings/other/watch"] {
        peers.push(hub.connect(path).await);
    }
    peers[0].starts_election(0).await;
    peers[1].next().await;
    let lasted = hub.stop().await;
    assert!(lasted < Duration::from_secs(1), "within a second, not {lasted:?}");
    for peer in &mut peers {
        assert_eq!(peer.closed().await, Some(1001));
    }
    assert!(TcpStream::connect(hub.address).await.is_err(), "nobody listens any more");
    assert_eq!(hub.warnings(), [""; 0]);
}

/// Whoever neither reads nor answers, or has not finished asking, does not delay it.
#[tokio::test]
async fn the_hub_ends_within_a_second_whatever_its_connections_do() {
    let mut hub = Hub::with(|config| config.limits.outbox_bytes = usize::MAX).await;
    let mut half = TcpStream::connect(hub.address).await.unwrap();
    half.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
    let mut deaf = narrow_peer(&hub, "/?join").await;
    // The errors, which are longer than this, fill all room between the hub and it.
    let nonsense = frame(&"😶".repeat(120), json!(null)).to_string();
    deaf.send_raw(&masked(0x81, nonsense.as_bytes()).repeat(5_000)).await;
    // As long as it cannot write, it does not read either.
    let mut refused = 0;
    eventually("the hub to take no more from it", async || {
        tokio::time::sleep(Duration::from_millis(100)).await;
        std::mem::replace(&mut refused, hub.warnings().len()) == hub.warnings().len()
    })
    .await;
    assert!(refused < 5_000, "there was more room than the test takes it for");
    let lasted = hub.stop().await;
    assert!(lasted < Duration::from_secs(1), "within a second, not {lasted:?}");
}
