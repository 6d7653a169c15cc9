//! What a ring's task keeps in the store, if the hub has one. The store waits for
//! the disk; the other rings do not.

use std::time::Duration;

use ringleader_shared::id::RingName;
use ringleader_shared::relay::Saved;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::sleep;
use tracing::error;

use crate::store::{Store, StoreError};

/// Between attempts, where the disk is full or broken. The ring stands still
/// meanwhile: a term that is not written down may be given out twice.
const AGAIN: Duration = Duration::from_secs(1);

pub struct Keeper {
    ring: RingName,
    store: Option<Store>,
    /// What is written.
    written: Saved,
    /// What is being written, and nobody waits for.
    writing: Option<JoinHandle<()>>,
}

impl Keeper {
    pub fn new(ring: RingName, store: Option<Store>) -> Self {
        Keeper { ring, store, written: Saved::default(), writing: None }
    }

    /// What was saved, or the beginning of all things.
    pub async fn load(&mut self) -> Saved {
        let Some(store) = self.store.clone() else { return Saved::default() };
        let ring = self.ring.clone();
        let saved = insist(&ring.clone(), STANDSTILL, move || store.load(&ring)).await;
        self.written = saved.unwrap_or_default();
        self.written
    }

    /// Returns when it is written, where that matters. That a lease was given back is
    /// good to know after a restart and no more: nobody waits for it.
    pub async fn save(&mut self, saved: Saved) {
        let Some(store) = self.store.clone() else { return };
        if let Some(writing) = self.writing.take() {
            // It retries until it is done; that it panicked is in the log.
            let _ = writing.await;
        }
        if saved == self.written {
            return;
        }
        let promises = saved.terms != self.written.terms || saved.lease_out;
        self.written = saved;
        let ring = self.ring.clone();
        let write = async move {
            let name = ring.clone();
            insist(&name, STANDSTILL, move || store.save(&ring, &saved)).await;
        };
        if promises {
            write.await;
        } else {
            self.writing = Some(tokio::spawn(write));
        }
    }
}

/// What it means for a ring that the disk does not answer.
const STANDSTILL: &str = "the ring stands still";

/// Asks the store until it answers. `standstill` says what waits for it.
pub async fn insist<T: Send + 'static>(
    ring: &RingName,
    standstill: &str,
    ask: impl Fn() -> Result<T, StoreError> + Clone + Send + 'static,
) -> T {
    loop {
        let answered = match spawn_blocking(ask.clone()).await {
            Ok(answered) => answered.map_err(|error| error.to_string()),
            Err(broken) => Err(broken.to_string()),
        };
        match answered {
            Ok(answer) => return answer,
            Err(error) => error!(ring = ring.as_str(), "{standstill} until this is mended: {error}"),
        }
        sleep(AGAIN).await;
    }
}
