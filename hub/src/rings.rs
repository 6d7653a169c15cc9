//! The rings there are, by name.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Config;
use crate::driver::{self, Happening, Snapshot};

/// The name of the ring that is always there.
pub const DEFAULT: &str = "default";

/// A ring's name: 1 to 64 letters, digits, dots, dashes and underscores, so that
/// it can stand in a URL and a log line as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RingName(Arc<str>);

/// Why a text is no ring's name.
#[derive(Debug)]
pub struct BadRingName;

impl fmt::Display for BadRingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a ring's name is 1 to 64 letters, digits, '.', '-' and '_'")
    }
}

impl FromStr for RingName {
    type Err = BadRingName;

    fn from_str(text: &str) -> Result<Self, BadRingName> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if (1..=64).contains(&text.len()) && text.bytes().all(fits) {
            Ok(RingName(text.into()))
        } else {
            Err(BadRingName)
        }
    }
}

impl fmt::Display for RingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The way to a ring's task.
#[derive(Clone)]
pub struct Ring {
    happenings: mpsc::Sender<Happening>,
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
        let name = RingName(DEFAULT.into());
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

    /// All of them, in order of their names.
    pub fn all(&self) -> Vec<Ring> {
        let mut rings = self.lock();
        sweep(&mut rings);
        rings.values().cloned().collect()
    }

    fn start(&self, name: &RingName) -> Ring {
        let (happenings, inbox) = mpsc::channel(1024);
        let pristine = Arc::new(AtomicBool::new(true));
        let task = driver::run(name.to_string(), self.config.clone(), inbox, pristine.clone());
        let shutdown = self.shutdown.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = task => {}
                () = shutdown.cancelled() => {}
            }
        });
        Ring { happenings, pristine }
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
        let unused = ring.happenings.strong_count() == 1 && ring.pristine.load(Ordering::Acquire);
        !unused || &*name.0 == DEFAULT
    });
}
