//! Many who begin to ask and do not go on, at a hub as it is started by default.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::*;

const HALF_OPEN: usize = 2_000;

/// How long it lasts until the hub closes it: from before and from after connecting.
/// `more` is sent every second.
async fn half_open(hub: SocketAddr, first: &str, more: &str) -> (Duration, Duration) {
    let before = Instant::now();
    let mut stream = TcpStream::connect(hub).await.unwrap();
    let after = Instant::now();
    stream.write_all(first.as_bytes()).await.unwrap();
    let mut drip = tokio::time::interval(Duration::from_secs(1));
    let mut rest = [0; 512];
    loop {
        tokio::select! {
            read = stream.read(&mut rest) => match read {
                Ok(0) | Err(_) => return (before.elapsed(), after.elapsed()),
                Ok(_) => {}
            },
            _ = drip.tick() => {
                // An error is seen by reading.
                let _ = stream.write_all(more.as_bytes()).await;
            }
        }
    }
}

/// The longest that this process was kept from running: on a machine that has much
/// else to do, that is no fault of the hub's.
async fn worst_delay() -> Duration {
    let mut worst = Duration::ZERO;
    for _ in 0..400 {
        let begin = Instant::now();
        tokio::time::sleep(Duration::from_millis(10)).await;
        worst = worst.max(begin.elapsed() - Duration::from_millis(10));
    }
    worst
}

#[tokio::test]
async fn thousands_of_half_open_handshakes_are_closed_and_disturb_no_election() {
    let hub = Process::start(&[]).await;
    let mut members = vec![];
    for rank in [3, 9, 5, 1, 7] {
        let mut peer = Peer::connect(hub.address, "/?join", &[]).await.unwrap();
        peer.join(rank).await;
        members.push(Member::of(peer));
    }
    let kinds = [("", ""), ("GET / HTTP/1.1\r\nHost: hub\r\nUpg", ""), ("GET / HTTP/1.1\r\n", "X: y\r\n")];
    let mut open = JoinSet::new();
    let delayed = tokio::spawn(worst_delay());
    for number in 0..HALF_OPEN {
        let (first, more) = kinds[number % kinds.len()];
        open.spawn(half_open(hub.address, first, more));
    }
    // While they are there: 3 elects the highest, and all hear of it.
    let begin = Instant::now();
    let first = &members[0];
    first.say(ranks_frame(serde_json::json!([{ "rank": 3, "clientId": first.id }]), 0));
    let best = members[1].id.clone();
    for member in &mut members {
        assert_eq!(member.leader().await, (best.clone(), 1));
    }
    let elected = begin.elapsed();
    let mut lasted = vec![];
    while let Some(time) = open.join_next().await {
        lasted.push(time.unwrap());
    }
    let shortest = lasted.iter().map(|(from_before, _)| *from_before).min().unwrap();
    let longest = lasted.iter().map(|(_, from_after)| *from_after).max().unwrap();
    let delayed = delayed.await.unwrap();
    println!(
        "an election in {elected:?}; {HALF_OPEN} closed after {shortest:?} to {longest:?}, with delays up to {delayed:?}"
    );
    assert!(longest < Duration::from_millis(3_500) + delayed, "the last one after {longest:?} (delays: {delayed:?})");
    assert!(shortest >= Duration::from_millis(2_900), "they were there: the first one after {shortest:?}");
    assert!(elected < Duration::from_secs(2) + delayed, "the election took {elected:?} (delays: {delayed:?})");
    let log = hub.log();
    for trouble in [" left ring", "silent for", "too slow", "handed on:", "refused"] {
        assert!(!log.contains(trouble), "nobody was disturbed: {log}");
    }
}
