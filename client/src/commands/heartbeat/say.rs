//! What a peer reports, for people and for programs.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ringleader_shared::election::lowest_id::{PeerId, Report};
use serde::Serialize;
use tracing::{info, warn};

/// How often to say again for whom we wait.
const REMIND: Duration = Duration::from_secs(10);

/// A report as a line of JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// Who says so.
    pub id: u32,
    #[serde(flatten)]
    pub event: Event,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Event {
    Waiting { r#for: Vec<u32> },
    Started { without: Vec<u32> },
    Online { peer_id: u32 },
    Offline { peer_id: u32 },
    LeaderSilent { peer_id: u32 },
    Urged { peer_id: u32 },
    CannotVote { peer_id: u32 },
    Leader { leader_id: Option<u32> },
}

impl From<&Report> for Event {
    fn from(report: &Report) -> Self {
        let ids = |ids: &BTreeSet<PeerId>| ids.iter().map(|peer| peer.get()).collect();
        match report {
            Report::Waiting(awaited) => Event::Waiting { r#for: ids(awaited) },
            Report::Started { without } => Event::Started { without: ids(without) },
            Report::Online(peer) => Event::Online { peer_id: peer.get() },
            Report::Offline(peer) => Event::Offline { peer_id: peer.get() },
            Report::LeaderSilent(peer) => Event::LeaderSilent { peer_id: peer.get() },
            Report::Urged { by } => Event::Urged { peer_id: by.get() },
            Report::CannotVote(peer) => Event::CannotVote { peer_id: peer.get() },
            Report::Leader(leader) => Event::Leader { leader_id: leader.map(PeerId::get) },
        }
    }
}

/// Into the log.
pub fn log(report: &Report, me: PeerId) {
    match report {
        Report::Waiting(awaited) => {
            info!("waiting for {} to be heard (--start-without-all would not)", listed(awaited))
        }
        Report::Started { without } if without.is_empty() => info!("all of the list have been heard"),
        Report::Started { without } => info!("electing without {}, which was not heard", listed(without)),
        Report::Online(peer) => info!("{peer} is online"),
        Report::Offline(peer) => info!("{peer} is offline"),
        Report::LeaderSilent(peer) => warn!("the leader {peer} is silent: telling all who are online, urgently"),
        Report::Urged { by } => info!("{by} misses its leader (an urgent message)"),
        Report::CannotVote(peer) => warn!(
            "{peer} does not vote: another program, or ours without --quorum. It is counted while it is heard, \
             so a network that is cut in one direction can give two leaders"
        ),
        Report::Leader(Some(leader)) if *leader == me => info!("leader: {leader} (me)"),
        Report::Leader(Some(leader)) => info!("leader: {leader}"),
        Report::Leader(None) => warn!("no leader at present: nobody is known to have a majority"),
    }
}

/// `1, 2, 3`.
pub fn listed(peers: &BTreeSet<PeerId>) -> String {
    peers.iter().map(PeerId::to_string).collect::<Vec<_>>().join(", ")
}

/// Lets a report of waiting through when it is news, or has not been said for long.
#[derive(Debug, Default)]
pub struct Reminder(Option<(BTreeSet<PeerId>, Instant)>);

impl Reminder {
    pub fn is_due(&mut self, report: &Report, now: Instant) -> bool {
        let Report::Waiting(awaited) = report else { return true };
        let is_due = self.0.as_ref().is_none_or(|(last, then)| last != awaited || now >= *then + REMIND);
        if is_due {
            self.0 = Some((awaited.clone(), now));
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_for_programs() {
        let peer = PeerId::new(3);
        let table = [
            (Report::Waiting([1, 3].map(PeerId::new).into()), r#""event":"waiting","for":[1,3]"#),
            (Report::Started { without: [peer].into() }, r#""event":"started","without":[3]"#),
            (Report::Online(peer), r#""event":"online","peerId":3"#),
            (Report::Offline(peer), r#""event":"offline","peerId":3"#),
            (Report::LeaderSilent(peer), r#""event":"leaderSilent","peerId":3"#),
            (Report::Urged { by: peer }, r#""event":"urged","peerId":3"#),
            (Report::CannotVote(peer), r#""event":"cannotVote","peerId":3"#),
            (Report::Leader(Some(peer)), r#""event":"leader","leaderId":3"#),
            (Report::Leader(None), r#""event":"leader","leaderId":null"#),
        ];
        for (report, expected) in table {
            let line = Line { at: 5, id: 2, event: Event::from(&report) };
            assert_eq!(serde_json::to_string(&line).unwrap(), format!(r#"{{"at":5,"id":2,{expected}}}"#));
        }
    }

    #[test]
    fn waiting_is_said_when_it_is_news() {
        let waiting = |ids: &[u32]| Report::Waiting(ids.iter().copied().map(PeerId::new).collect());
        let (mut reminder, start) = (Reminder::default(), Instant::now());
        assert!(reminder.is_due(&waiting(&[1, 2]), start));
        assert!(!reminder.is_due(&waiting(&[1, 2]), start));
        assert!(reminder.is_due(&waiting(&[1]), start));
        assert!(!reminder.is_due(&waiting(&[1]), start + REMIND / 2));
        assert!(reminder.is_due(&waiting(&[1]), start + REMIND));
    }
}
