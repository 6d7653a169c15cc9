//! The rings there are, by name.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ringleader_shared::id::RingName;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Config;
use crate::driver::{self, Happening, Snapshot};
use crate::jobs::{self, Jobs};

/// The way to a ring's task.
#[derive(Clone)]
pub struct Ring {
    happenings: mpsc::Sender<Happening>,
    /// Its jobs.
    pub jobs: Jobs,
    /// Whether the ring could be forgotten without loss.
    pristine: Arc<AtomicBool>,
}

impl Ring {
    /// Tells the ring's task, waiting where it has much to do. Nothing is lost
    /// but at the hub's end.
    pub async fn tell(&self, happening: Happening) {
        let _ = self.happenings.send(happening).await;
    }

    /// The ring as it is now; `None` at the hub's end.
    pub async fn snapshot(&self) -> Option<Snapshot> {
        let (reply, snapshot) = oneshot::channel();
        self.tell(Happening::Asked(reply)).await;
        snapshot.await.ok()
    }
}

/// All rings of a hub.
pub struct Rings {
    rings: Mutex<BTreeMap<RingName, Ring>>,
    config: Config,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

/// There are as many rings as the hub allows.
pub struct TooManyRings(pub usize);

impl Rings {
    /// The default ring.
    pub fn new(config: Config, tasks: TaskTracker, shutdown: CancellationToken) -> Self {
        let rings = Rings { rings: Mutex::default(), config, tasks, shutdown };
        let name = RingName::default();
        let ring = rings.start(&name);
        rings.lock().insert(name, ring);
        rings
    }

    /// The ring of that name, if there is one.
    pub fn find(&self, name: &RingName) -> Option<Ring> {
        self.lock().get(name).cloned()
    }

    /// The ring of that name, new if need be.
    pub fn enter(&self, name: &RingName) -> Result<Ring, TooManyRings> {
        let mut rings = self.lock();
        if let Some(ring) = rings.get(name) {
            return Ok(ring.clone());
        }
        sweep(&mut rings);
        let most = self.config.limits.rings;
        if rings.len() >= most {
            return Err(TooManyRings(most));
        }
        let ring = self.start(name);
        rings.insert(name.clone(), ring.clone());
        Ok(ring)
    }

    /// Begins these, as they were before the hub ended.
    pub fn go_on(&self, names: Vec<RingName>) {
        let mut rings = self.lock();
        for name in names {
            rings.entry(name).or_insert_with_key(|name| self.start(name));
        }
    }

    /// All of them, in order of their names.
    pub fn all(&self) -> Vec<Ring> {
        let mut rings = self.lock();
        sweep(&mut rings);
        rings.values().cloned().collect()
    }

    fn start(&self, name: &RingName) -> Ring {
        let (happenings, inbox) = mpsc::channel(1024);
        let (jobs, desk) = Jobs::new();
        let ring = Ring { happenings, jobs, pristine: Arc::new(AtomicBool::new(true)) };
        #[cfg(feature = "echo")]
        if name.as_str() == crate::echo::RING {
            self.tasks.spawn(crate::echo::run(inbox));
            return ring;
        }
        let (config, shutdown) = (self.config.clone(), self.shutdown.clone());
        let members = ring.happenings.downgrade();
        self.tasks.spawn(jobs::run(name.clone(), config.clone(), desk, members, shutdown.clone()));
        let (jobs, pristine) = (ring.jobs.clone(), ring.pristine.clone());
        self.tasks.spawn(driver::run(name.clone(), config, jobs, inbox, pristine, shutdown));
        ring
    }

    /// The map is whole between any two statements that could panic.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<RingName, Ring>> {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets rings that somebody looked at and nobody used. Whoever is on the way
/// in holds a sender too, got under the same lock.
fn sweep(rings: &mut BTreeMap<RingName, Ring>) {
    rings.retain(|name, ring| {
        let unused =
            ring.happenings.strong_count() == 1 && ring.pristine.load(Ordering::Acquire) && ring.jobs.is_empty();
        !unused || *name == RingName::default()
    });
}
