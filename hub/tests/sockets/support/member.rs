//! A member that takes part by itself.

use std::ops::ControlFlow;

use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::{Hub, Peer, is, soon};

/// An honest member in a task of its own; dropped, its connection breaks.
pub struct Member {
    pub id: String,
    say: mpsc::UnboundedSender<Value>,
    leader: watch::Receiver<Option<(String, u64)>>,
    task: JoinHandle<()>,
}

impl Member {
    pub async fn join(hub: &Hub, rank: u32) -> Self {
        Member::of(hub.join(rank).await)
    }

    /// Lets a peer go on by itself.
    pub fn of(mut peer: Peer) -> Self {
        let id = peer.id.clone();
        let (say, mut to_say) = mpsc::unbounded_channel();
        let (believe, leader) = watch::channel(None);
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    said = to_say.recv() => match said {
                        Some(said) => peer.send(said).await,
                        None => return,
                    },
                    frame = peer.next_or_close() => {
                        let ControlFlow::Continue(frame) = frame else { return };
                        let frame: Value = serde_json::from_str(&frame).expect("frames are JSON");
                        peer.react(&frame).await;
                        if is(&frame, "newLeader") {
                            let leader = frame["data"]["leaderId"].as_str().unwrap().to_owned();
                            believe.send_replace(Some((leader, frame["data"]["term"].as_u64().unwrap())));
                        }
                    }
                }
            }
        });
        Member { id, say, leader, task }
    }

    pub fn say(&self, frame: Value) {
        self.say.send(frame).unwrap();
    }

    /// Whom it was told of, once it was.
    pub async fn leader(&mut self) -> (String, u64) {
        let told = soon("an announcement", self.leader.wait_for(Option::is_some)).await;
        told.expect("the member lives").clone().unwrap()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.task.abort();
    }
}
