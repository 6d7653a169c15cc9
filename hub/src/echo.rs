//! For tests of the WebSocket itself, with the feature `echo` alone: a ring of the name
//! `echo` that sends every text back to whom it came from, by the way that a ring's
//! frames go. Binary messages, which no ring sends, are sent back in `socket`.

use std::collections::HashMap;

use tokio::sync::mpsc;

use crate::driver::Happening;

/// The ring's name.
pub const RING: &str = "echo";

/// Stands in for [`crate::driver::run`].
pub async fn run(mut inbox: mpsc::Receiver<Happening>) {
    let mut outboxes = HashMap::new();
    while let Some(happening) = inbox.recv().await {
        match happening {
            Happening::Connected { id, outbox, .. } => {
                outboxes.insert(id, outbox);
            }
            Happening::Frame { id, text } => {
                if let Some(outbox) = outboxes.get(&id) {
                    outbox.push(text);
                }
            }
            Happening::Left { id, .. } => {
                outboxes.remove(&id);
            }
            Happening::Tell { .. } | Happening::Asked(_) => {}
        }
    }
}
