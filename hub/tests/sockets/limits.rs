//! What nobody may exceed: each limit, and that it costs nobody else anything.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::*;

/// A frame of that size, which means nothing.
fn nonsense(bytes: usize) -> String {
    let empty = frame("fly", json!("")).to_string();
    frame("fly", json!("x".repeat(bytes - empty.len()))).to_string()
}

/// The array of a large ring is longer than anything else that a member may send.
#[tokio::test]
async fn who_is_handed_a_large_election_may_send_it_back_and_no_more() {
    const MOST: usize = 1024;
    let hub = Hub::with(|config| config.limits.frame_bytes = MOST).await;
    let mut ring = vec![];
    for rank in 0..100 {
        ring.push(hub.join(rank).await);
    }
    let mut other = hub.connect("/?join").await;
    ring[0].starts_election(0).await;
    let mut largest = 0;
    for member in &mut ring[1..] {
        // As JSON is written by many: with a space after each colon and comma.
        let handed = member.next_text().await;
        let mut frame: Value = serde_json::from_str(&handed).unwrap();
        frame["data"]["ranks"].as_array_mut().unwrap().push(member.entry());
        let spaced = frame.to_string().replace(':', ": ").replace(',', ", ");
        assert!(spaced.len() > handed.len());
        member.send_text(spaced).await;
        largest = handed.len();
    }
    assert!(largest > 4 * MOST, "the test is about large frames, not {largest} bytes");
    assert_eq!(ring[0].next().await["data"]["ranks"].as_array().unwrap().len(), 100, "it came round");

    // Nothing of that holds for one that was handed little, or nothing.
    for (what, peer) in [("a member that held two entries", &mut ring[1]), ("one that is no member", &mut other)] {
        peer.send_text(nonsense(MOST)).await;
        assert_eq!(peer.error().await["about"], "fly", "{what} may send {MOST} bytes");
        peer.send_text(nonsense(3 * MOST)).await;
        assert_eq!(peer.closed().await, Some(1009), "{what} may not send {} bytes", 3 * MOST);
    }
    // Nor is it without end for the one that held most.
    let last = ring.last_mut().unwrap();
    last.send_text(nonsense(largest + MOST)).await;
    assert_eq!(last.error().await["about"], "fly");
    last.send_text(nonsense(2 * largest)).await;
    assert_eq!(last.closed().await, Some(1009));
}

#[tokio::test]
async fn who_says_it_would_join_has_to() {
    let greeting = Duration::from_millis(600);
    let hub = Hub::with(|config| {
        config.limits.greeting = greeting;
        config.limits.ping_interval = Duration::from_millis(50);
    })
    .await;
    let [mut member] = hub.ring([3]).await;
    let mut spectators = [hub.connect("/").await, hub.connect("/watch").await, hub.connect("/watch?join").await];
    let begin = Instant::now();
    let mut mute = hub.connect("/?join").await;
    let mut chatty = hub.connect("/rings/default?join=1").await;
    chatty.send(frame("fly", Value::Null)).await;
    assert_eq!(mute.closed().await, Some(1008));
    assert_eq!(chatty.closed().await, Some(1008), "an error is no greeting");
    let lasted = begin.elapsed();
    assert!((greeting..greeting * 3).contains(&lasted), "after about {greeting:?}, not {lasted:?}");
    let told = hub.warnings();
    let told: Vec<_> = told.iter().filter(|line| line.contains("did not within 600ms")).collect();
    assert_eq!(told.len(), 2, "{told:#?}");
    member.has_nothing_more("for having joined").await;
    for spectator in &mut spectators {
        spectator.fence().await;
    }
    spectators[0].join(9).await;
}

/// It wakes up with much to say: that is no fault.
#[tokio::test]
async fn who_says_much_is_read_slowly_and_loses_nothing() {
    const A_SECOND: u32 = 40;
    let hub = Hub::with(|config| {
        config.limits.frames_per_second = NonZeroU32::new(A_SECOND).unwrap();
        config.limits.ping_interval = Duration::from_millis(200);
        config.limits.silence = Duration::from_millis(600);
    })
    .await;
    let [mut hasty, mut calm] = hub.ring([3, 9]).await;
    let begin = Instant::now();
    // What may be said at once, and what takes one and a half seconds.
    let frames = 2 * A_SECOND + A_SECOND * 3 / 2;
    for number in 0..frames {
        hasty.send(frame(&format!("method-{number}"), Value::Null)).await;
    }
    calm.fence().await;
    assert!(begin.elapsed() < Duration::from_secs(1), "others are not slowed");
    for number in 0..frames {
        // Both read, so that they answer pings.
        let error = tokio::select! {
            error = hasty.error() => error,
            frame = calm.next() => panic!("nothing was for the calm one: {frame}"),
        };
        assert_eq!(error["about"], format!("method-{number}"), "in order and without gaps");
    }
    let lasted = begin.elapsed();
    // Its greeting counted, and an early tick is not: 1.5 seconds at least, but for rounding.
    assert!(lasted >= Duration::from_millis(1_400), "{frames} frames at {A_SECOND} a second in {lasted:?}");
    assert_eq!(hub.members().await.len(), 2, "nobody was taken for silent or slow");
}

/// What is answered to a connection that is one too many.
async fn turned_away(hub: &Hub) -> Answer {
    hub.get("/healthz").await
}

#[tokio::test]
async fn there_are_only_so_many_connections() {
    // From one address all that a test can make come, so this is also the limit in all.
    for (in_all, from_one, reason) in [(3, 100, "3 connections and"), (100, 3, "3 connections from your address")] {
        let hub = Hub::with(|config| {
            config.limits.connections = in_all;
            config.limits.connections_per_address = from_one;
            config.limits.ping_interval = Duration::from_millis(50);
        })
        .await;
        // Whatever they are, or are not yet.
        let member = hub.join(3).await;
        let mut spectator = hub.connect("/").await;
        let mut half = TcpStream::connect(hub.address).await.unwrap();
        half.write_all(b"GET / HT").await.unwrap();
        for _ in 0..50 {
            let answer = turned_away(&hub).await;
            assert_eq!(answer.status, 503);
            assert!(answer.json()["error"].as_str().unwrap().contains(reason), "{answer:?}");
        }
        assert_eq!(hub.warnings().len(), 1, "fifty refusals are no reason for fifty lines: {:#?}", hub.warnings());
        // Those who are in do not notice, and whoever leaves makes room, however it does.
        spectator.fence().await;
        drop(half);
        eventually("the room of a half request", async || turned_away(&hub).await.status == 200).await;
        let mut third = hub.connect("/?join").await;
        third.join(9).await;
        assert_eq!(turned_away(&hub).await.status, 503);
        member.close().await;
        eventually("the room of a member", async || turned_away(&hub).await.status == 200).await;
        drop(spectator);
        drop(third);
        eventually("the room of all", async || {
            let mut asking = vec![];
            for _ in 0..3 {
                asking.push(TcpStream::connect(hub.address).await.unwrap());
            }
            let mut answers = 0;
            for mut stream in asking {
                let request = b"GET /healthz HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n";
                stream.write_all(request).await.unwrap();
                answers += usize::from(read_all(&mut stream).await.starts_with("HTTP/1.1 200"));
            }
            answers == 3
        })
        .await;
    }
}

/// One request each, and then whoever asked has to take the answer.
#[tokio::test]
async fn an_answer_that_is_not_taken_is_not_kept() {
    let hub = Hub::with(|config| {
        config.limits.handshake = Duration::from_millis(300);
        config.limits.write_deadline = Duration::from_millis(300);
        config.limits.connections = 1;
    })
    .await;
    let mut deaf = narrow(hub.address).await;
    // Answers to all of these are more than there is room for between the hub and it.
    let requests = b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n".repeat(20_000);
    let asking = deaf.write_all(&requests);
    let _ = tokio::time::timeout(Duration::from_millis(100), asking).await;
    assert_eq!(turned_away(&hub).await.status, 503, "it is there");
    eventually("its end", async || turned_away(&hub).await.status == 200).await;
}

/// For a minute, with what it costs printed:
/// RINGLEADER_DEAF_SECONDS=60 cargo test --release -p ringleader-hub --test sockets never_reads -- --nocapture
#[tokio::test]
async fn a_reader_that_never_reads_costs_little_and_others_nothing() {
    let seconds = std::env::var("RINGLEADER_DEAF_SECONDS").map_or(6, |seconds| seconds.parse().unwrap());
    let lasts = Duration::from_secs(seconds);
    let hub = Process::start(&["--max-frames-per-second", "1000000"]).await;
    let mut member = Peer::connect(hub.address, "/?join", &[]).await.unwrap();
    member.join(3).await;
    elect([&mut member], 0).await;
    let mut reader = Peer::connect(hub.address, "/", &[]).await.unwrap();
    let before = hub.memory("VmRSS:");
    let begin = Instant::now();
    let (mut deaf, mut asked) = (vec![], 0);
    while begin.elapsed() < lasts {
        // Eight that do not read, and eight more as soon as those are closed.
        if begin.elapsed().as_secs() as usize >= deaf.len() / 8 {
            for _ in 0..8 {
                deaf.push(Peer::over("hub", narrow(hub.address).await, "/", &[]).await.unwrap());
            }
        }
        // Each of these is answered by the hub, and shown to spectators.
        for _ in 0..50 {
            member.send(check("nobody", 1)).await;
        }
        for _ in 0..50 {
            assert!(is(&member.next().await, "newLeader"));
            asked += 1;
            assert_eq!(summary(&reader.next().await).0, 2 + asked, "in order and without gaps");
        }
    }
    let most = hub.memory("VmHWM:") - before;
    let closed = hub.log().matches("too slow").count() + hub.log().matches("silent").count();
    println!("{asked} frames, {} readers that did not read, {closed} closed: {} KiB at most", deaf.len(), most / 1024);
    assert!(closed > deaf.len() - 40, "{closed} of {} were closed", deaf.len());
    assert!(most < 32 << 20, "{most} bytes more than before");
}
