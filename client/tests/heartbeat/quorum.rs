//! Networks that are cut, with a quorum and without.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::group::{Group, end, names};

/// A vote is counted for 870 ms at most, and binds for 1200 ms.
const QUORUM: [&str; 6] = ["--quorum", "--json", "--interval", "300ms", "--timeout", "1200ms"];

/// Long enough for a new leader.
const PHASE: Duration = Duration::from_millis(1800);

#[tokio::test]
async fn without_a_quorum_each_side_has_a_leader_until_the_network_heals() {
    let group = Group::of(&[1, 2, 3, 4]).await;
    let network = group.network().await;
    let mut peers = [1, 2, 3, 4].map(|id| group.start_in(&network, id, &[]));
    peers[0].err("a network that is cut gives a leader to each side").await;
    for peer in &mut peers {
        peer.out("leader is 1").await;
    }
    network.part(&[1, 2], &[3, 4]);
    for peer in &mut peers[2..] {
        peer.out("leader is 3").await;
    }
    network.heal();
    for peer in &mut peers[2..] {
        peer.out("leader is 1").await;
    }
}

#[tokio::test]
async fn with_a_quorum_only_the_side_with_the_majority_has_one() {
    let group = Group::of(&[1, 2, 3]).await;
    let network = group.network().await;
    let mut peers = [1, 2, 3].map(|id| (group.start_in(&network, id, &QUORUM), vec![]));
    for (peer, seen) in &mut peers {
        names(peer, seen, Some(1)).await;
    }
    network.part(&[1], &[2, 3]);
    names(&mut peers[0].0, &mut peers[0].1, None).await;
    for (peer, seen) in &mut peers[1..] {
        names(peer, seen, Some(2)).await;
    }
    network.part(&[2], &[3]);
    for (peer, seen) in &mut peers[1..] {
        names(peer, seen, None).await;
    }
    network.heal();
    for (peer, seen) in &mut peers {
        names(peer, seen, Some(1)).await;
    }
    for (peer, seen) in &mut peers {
        end(peer, seen).await;
    }
    one_at_a_time(&peers.map(|(_, seen)| seen));
}

#[tokio::test]
async fn with_a_quorum_no_two_lead_whatever_is_cut_stopped_or_killed() {
    let group = Group::of(&[1, 2, 3]).await;
    let network = group.network().await;
    let more = [&QUORUM[..], &["--start-without-all"]].concat();
    let mut peers = [1, 2, 3].map(|id| (group.start_in(&network, id, &more), vec![]));
    for (peer, seen) in &mut peers {
        names(peer, seen, Some(1)).await;
    }
    // Whom one speaks to, and who does not hear it.
    let cuts: [&[(u32, u32)]; 4] = [&[(1, 2), (1, 3)], &[(2, 1), (3, 1)], &[(1, 3), (3, 2)], &[(1, 2), (3, 1)]];
    for cut in cuts {
        for &(from, to) in cut {
            network.cut(&[from], &[to]);
        }
        sleep(PHASE).await;
        network.heal();
        sleep(PHASE / 3).await;
    }
    let mut lines = vec![];
    // A leader that is stopped does nothing, and learns that its votes have run out when it wakes.
    peers[0].0.signal(Signal::SIGSTOP);
    lines.push(vec![ends(1)]);
    sleep(PHASE).await;
    peers[0].0.signal(Signal::SIGCONT);
    // Right when its vote is another's.
    network.cut(&[3], &[1]);
    peers[1].0.signal(Signal::SIGKILL);
    let (mut killed, mut seen) = std::mem::replace(&mut peers[1], (group.start_in(&network, 2, &more), vec![]));
    killed.end().await;
    seen.extend(killed.rest().await.0.iter().map(|line| serde_json::from_str::<Value>(line).unwrap()));
    seen.push(ends(2));
    lines.push(seen);
    network.heal();
    for (peer, seen) in &mut peers {
        // By now they may all have named it for some time.
        if last_leader(seen) != Some(1) {
            names(peer, seen, Some(1)).await;
        }
    }
    for (peer, seen) in &mut peers {
        end(peer, seen).await;
    }
    lines.extend(peers.map(|(_, seen)| seen));
    let reigns = one_at_a_time(&lines);
    assert!(reigns >= 3, "it took more than one leader: {lines:?}");
}

/// As if it had said that nobody leads.
fn ends(id: u32) -> Value {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    json!({ "at": at, "id": id, "event": "leader", "leaderId": null })
}

/// The third is torn from the leader that has its vote and joined to another that wants it;
/// once it remembers to whom it has given it, and once it is killed and started again.
#[tokio::test]
async fn with_a_quorum_a_voter_that_changes_sides_takes_its_time() {
    for is_killed in [false, true] {
        let group = Group::of(&[1, 2, 3]).await;
        let network = group.network().await;
        let mut peers = [1, 2, 3].map(|id| (group.start_in(&network, id, &QUORUM), vec![]));
        for (peer, seen) in &mut peers {
            names(peer, seen, Some(1)).await;
        }
        network.part(&[1], &[2, 3]);
        names(&mut peers[0].0, &mut peers[0].1, None).await;
        for (peer, seen) in &mut peers[1..] {
            names(peer, seen, Some(2)).await;
        }
        // By now the first has its own vote back.
        sleep(PHASE).await;
        network.part(&[2], &[3]);
        network.join(1, 3);
        if is_killed {
            peers[2].0.signal(Signal::SIGKILL);
            peers[2].0.end().await;
            peers[2] = (group.start_in(&network, 3, &QUORUM), vec![]);
        }
        for (peer, seen) in &mut peers[..2] {
            let leader = if seen[0]["id"] == 1 { Some(1) } else { None };
            names(peer, seen, leader).await;
        }
        for (peer, seen) in &mut peers {
            end(peer, seen).await;
        }
        let reigns = one_at_a_time(&peers.map(|(_, seen)| seen));
        assert_eq!(reigns, 3, "1, then 2, then 1");
    }
}

fn last_leader(seen: &[Value]) -> Option<u64> {
    seen.iter().rev().find(|line| line["event"] == "leader").and_then(|line| line["leaderId"].as_u64())
}

/// Of all the times for which one named itself no two overlap. Says how many there were.
fn one_at_a_time(lines: &[Vec<Value>]) -> usize {
    let at = |line: &Value| line["at"].as_u64().unwrap();
    let mut reigns = vec![];
    for id in [1, 2, 3] {
        let of_id = |line: &&Value| line["event"] == "leader" && line["id"] == id;
        let mut lines: Vec<&Value> = lines.iter().flatten().filter(of_id).collect();
        // Those of one millisecond stay in the order in which they were said.
        lines.sort_by_key(|line| at(line));
        let ends = lines.iter().skip(1).map(|line| at(line)).chain([u64::MAX]);
        let said = lines.iter().zip(ends).filter(|(line, _)| line["leaderId"] == id);
        reigns.extend(said.map(|(line, end)| (at(line), end, id)));
    }
    reigns.sort();
    for pair in reigns.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "two lead at one time: {pair:?} of {reigns:?}");
    }
    reigns.len()
}
