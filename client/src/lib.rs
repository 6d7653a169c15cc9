//! A member of a ring: join it, watch who leads, leave it.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use ringleader_client::Config;
//!
//! let membership = ringleader_client::join(Config::new("ws://localhost:8080".parse()?));
//! let mut status = membership.status();
//! while status.changed().await.is_ok() {
//!     let status = status.borrow_and_update().clone();
//!     println!("{:?} in term {}", status.role, status.term);
//!     if let Some(term) = membership.may_act() {
//!         println!("one step of the leader's work, with fencing token {term}");
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! **What this does not promise.** A leader acts on a lease, and no two leases run at
//! one time. But a program can be stopped between asking whether it may act and
//! acting, for longer than any lease. Whatever it acts on should compare the term: it
//! is the fencing token, and only rises.
//!
//! - [`join`], [`Membership`], [`Status`]: this file, all that a program needs.
//! - [`transport`]: how frames travel.
//! - `driver`: the loop that runs the machine. What it decides is decided by
//!   [`ringleader_shared::election::eligible_array`].
//! - [`Work`]: what a member does for its ring besides; [`jobs`]: who has some for it.
//! - [`timers`]: a machine's timers on tokio's clock.
//! - [`direct`]: the loop for the machines whose nodes speak to each other without a hub.
//! - [`store`]: what such a machine has to remember, in a file.

pub mod direct;
mod driver;
mod durable;
mod fence;
pub mod jobs;
pub mod store;
pub mod timers;
pub mod transport;
mod work;

use std::time::{Duration, Instant, SystemTime};

use rand::RngExt;
use ringleader_shared::id::{ClientId, MAX_NAME_BYTES, Name, Rank};
use ringleader_shared::session::Introduction;
use serde::Serialize;
use tokio::sync::{broadcast, oneshot, watch};
use tokio::task::JoinHandle;

pub use fence::{Fence, FenceError, FileFence, Stale};
pub use ringleader_shared::election::Role;
pub use ringleader_shared::election::eligible_array::Timing;
pub use ringleader_shared::id::Term;
use transport::hub::HubUrl;
pub use work::Work;
pub use work::fail::{Fail, FailMode};

/// How to join.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the hub is.
    pub hub: HubUrl,
    /// What to stand with: the highest leads. Drawn by [`Config::new`].
    pub rank: Rank,
    /// What people call this member.
    pub name: Name,
    /// How long to wait for what.
    pub timing: Timing,
    /// What to do besides electing; nothing, unless told.
    pub work: Work,
}

impl Config {
    /// A rank drawn from 1 to 9999, the host's name and process id for a name, and
    /// the usual times; no work.
    pub fn new(hub: HubUrl) -> Self {
        Config { hub, rank: draw_rank(), name: own_name(), timing: Timing::default(), work: Work::default() }
    }
}

/// A rank from 1 to 9999: short enough to read. Ties are broken by id.
pub fn draw_rank() -> Rank {
    rand::rng().random_range(1..=9999_u32).into()
}

/// The host's name, which in a container is its id; elsewhere with the process id
/// appended, so that `kill` is easy to aim.
pub fn own_name() -> Name {
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    let suffix = match std::process::id() {
        1 => String::new(), // the first process of a container
        id => format!("-{id}"),
    };
    let mut host: String = host.chars().filter(|c| !c.is_control()).collect();
    while host.len() + suffix.len() > MAX_NAME_BYTES {
        host.pop();
    }
    // Nothing is left to go wrong but an empty host name in a container.
    Name::new(host + &suffix).or_else(|_| Name::new("member")).expect("a short text")
}

/// What a member believes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// What it is itself.
    pub role: Role,
    /// Whom it holds for the leader.
    pub leader: Option<ClientId>,
    /// In which term; without a leader, the newest term that it knew a leader of.
    pub term: Term,
    /// Whether it may act as the leader: it leads, and the hub has granted it a lease
    /// (a hub of the older system grants none; there to lead is all there is). Ask
    /// [`Membership::may_act`] before each act, which also looks at the clock.
    pub may_act: bool,
    /// When its lease runs out, unless it is renewed, which happens once a second and
    /// is no change of status. `None` without a lease.
    pub act_until: Option<Instant>,
    /// Its id on this connection or the last one; `None` before the first.
    pub client_id: Option<ClientId>,
    /// Since when.
    pub since: SystemTime,
}

/// A change of what a member believes, as a line of JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusLine<'a> {
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// Its id.
    pub client_id: Option<&'a ClientId>,
    /// Its name.
    pub name: &'a Name,
    /// `leader`, `follower`, `candidate` or `disconnected`.
    pub role: Role,
    /// The term.
    pub term: Term,
    /// Whom it holds for the leader.
    pub leader_id: Option<&'a ClientId>,
    /// Whether it may act as the leader.
    pub may_act: bool,
}

impl Status {
    /// As a line for programs.
    pub fn line<'a>(&'a self, name: &'a Name) -> StatusLine<'a> {
        let since = self.since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        StatusLine {
            at: since.as_millis() as u64,
            client_id: self.client_id.as_ref(),
            name,
            role: self.role,
            term: self.term,
            leader_id: self.leader.as_ref(),
            may_act: self.may_act,
        }
    }
}

/// A member at work. Dropping it leaves the ring, without waiting for it to be done.
#[derive(Debug)]
pub struct Membership {
    status: watch::Receiver<Status>,
    changes: broadcast::Receiver<Status>,
    leave: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// How many changes may wait for a reader of [`Membership::changes`].
const CHANGES: usize = 1024;

/// How long leaving may take.
const LEAVE: Duration = Duration::from_secs(2);

/// Connects to the hub, joins its ring, takes part in elections, and connects
/// again whenever the connection is lost, until told to leave. Needs a tokio runtime.
pub fn join(config: Config) -> Membership {
    let nowhere = Status {
        role: Role::Disconnected,
        leader: None,
        term: Term::NONE,
        may_act: false,
        act_until: None,
        client_id: None,
        since: SystemTime::now(),
    };
    let (status_sender, status) = watch::channel(nowhere);
    let (changes_sender, changes) = broadcast::channel(CHANGES);
    let (leave, told_to_leave) = oneshot::channel();
    let introduction = Introduction { rank: config.rank, name: config.name };
    let errands = work::Errands::new(config.hub.clone(), &config.work);
    let driver = driver::Driver::new(introduction, config.timing, &config.work, errands, status_sender, changes_sender);
    let task = tokio::spawn(driver.run(config.hub, told_to_leave));
    Membership { status, changes, leave, task }
}

impl Membership {
    /// What the member believes, the newest only.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// The term to act in, if the member may act as the leader at this very moment.
    /// Ask before each act, and show the term, which is the fencing token, to
    /// whatever is acted on: between the answer and the act anything may happen.
    pub fn may_act(&self) -> Option<Term> {
        let status = self.status.borrow();
        let is_over = status.act_until.is_some_and(|until| until <= Instant::now());
        (status.may_act && !is_over).then_some(status.term)
    }

    /// Every change of what it believes, from now on. A reader that is more than
    /// 1024 behind is told how many it missed.
    pub fn changes(&self) -> broadcast::Receiver<Status> {
        self.changes.resubscribe()
    }

    /// Leaves the ring: a leader resigns first, so that the others elect at once.
    pub async fn leave(self) {
        // An error means that the task has ended, which is what is asked for.
        let _ = self.leave.send(());
        let _ = tokio::time::timeout(LEAVE, self.task).await;
    }
}
