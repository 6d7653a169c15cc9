//! A ring of real processes and sockets.
//!
//! A test starts members, kills them, and waits for what it expects to see
//! ([`World::until`]); where that does not come, it fails with the whole story.
//! [`Seen`] is what it judges by. All processes end with the [`World`].

mod seen;

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ringleader_client::transport::hub::{HubUrl, Link, Purpose};
use ringleader_client::{Config, Membership, Timing};
use ringleader_hub::Limits;
use ringleader_shared::id::Name;
use ringleader_shared::message::Routing;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use seen::{Kind, Seen, parsed};

/// How long anything may take. Reached only where a test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// What our members wait for: less than usual.
pub fn timing() -> Timing {
    Timing {
        check_interval: Duration::from_millis(300),
        check_timeout: Duration::from_millis(1500),
        election_timeout: Duration::from_millis(1500),
        start_delay: Duration::from_millis(100),
        early: false,
    }
}

/// What our hub waits for: more than usual, so that on a busy machine nobody counts as stalled.
pub fn limits() -> Limits {
    Limits { hop_timeout: Duration::from_secs(2), silence: Duration::from_secs(10), ..Limits::default() }
}

/// A ring, who is in it, and all that was seen of it.
pub struct World {
    /// Where the hub is.
    pub url: String,
    /// How many error frames members that others wrote are to get.
    pub errors: usize,
    seen: Shared,
    processes: BTreeMap<String, Child>,
    memberships: BTreeMap<String, Membership>,
    _hub_ends: Option<DropGuard>,
}

/// Those who take part.
impl World {
    /// A ring whose hub is elsewhere.
    pub fn new(url: String) -> World {
        World {
            url,
            errors: 0,
            seen: Shared::default(),
            processes: BTreeMap::new(),
            memberships: BTreeMap::new(),
            _hub_ends: None,
        }
    }

    /// A ring on our hub, in this process.
    pub async fn on_our_hub(routing: Routing, limits: Limits) -> World {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut world = World::new(format!("ws://{}", listener.local_addr().unwrap()));
        let shutdown = CancellationToken::new();
        let config = ringleader_hub::Config { routing, limits, ..ringleader_hub::Config::default() };
        tokio::spawn(ringleader_hub::run(listener, config, shutdown.clone()));
        world._hub_ends = Some(shutdown.drop_guard());

        let mut spectator = Link::connect(&world.hub(), Purpose::Watch).await.unwrap();
        let seen = world.seen.clone();
        tokio::spawn(async move {
            while let Ok(text) = spectator.receive().await {
                seen.record(|seen| seen.on_watched(&parsed(&text)));
            }
        });
        world.until("a spectator is told of the ring", |seen| seen.is_watched()).await;
        world
    }

    fn hub(&self) -> HubUrl {
        self.url.parse().unwrap()
    }

    /// One of ours joins, in this process.
    pub fn join(&mut self, name: &str, rank: u32) {
        self.seen.record(|seen| seen.enter(name, Kind::Ours));
        let (seen, name) = (self.seen.clone(), Name::new(name).unwrap());
        let config = Config {
            hub: self.hub(),
            rank: rank.into(),
            name: name.clone(),
            timing: timing(),
            work: Default::default(),
        };
        let membership = ringleader_client::join(config);
        let mut changes = membership.changes();
        self.memberships.insert(name.to_string(), membership);
        tokio::spawn(async move {
            while let Ok(status) = changes.recv().await {
                let line = serde_json::to_value(status.line(&name)).unwrap();
                seen.record(|seen| seen.on_status(name.as_str(), &line));
            }
            seen.record(|seen| seen.on_end(name.as_str()));
        });
    }

    /// One of ours joins, as a process that can be killed or paused.
    pub fn spawn_ours(&mut self, name: &str, rank: u32) {
        let timing = timing();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringleader"));
        command.args(["join", "--json", "--until-stdin-closes", "--hub", &self.url]);
        command.args(["--name", name, "--rank", &rank.to_string()]);
        for (flag, time) in [
            ("--check-interval", timing.check_interval),
            ("--check-timeout", timing.check_timeout),
            ("--election-timeout", timing.election_timeout),
        ] {
            command.args([flag, &format!("{}ms", time.as_millis())]);
        }
        // Whoever runs the tests may have set defaults of their own.
        command.env_clear();
        self.spawn(name, Kind::Ours, command, |seen, name, line| seen.on_status(name, &parsed(line)));
    }

    /// Starts a process. `take_in` gets each line that it prints.
    pub fn spawn(&mut self, name: &str, kind: Kind, mut command: Command, take_in: fn(&mut Seen, &str, &str)) {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let program = command.as_std().get_program().display().to_string();
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
        self.seen.record(|seen| seen.enter(name, kind));
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        self.processes.insert(name.to_owned(), child);
        let (seen, who) = (self.seen.clone(), name.to_owned());
        tokio::spawn(each_line(stderr, move |line| seen.record(|seen| seen.tell(&who, line))));
        let (seen, name) = (self.seen.clone(), name.to_owned());
        tokio::spawn(async move {
            each_line(stdout, |line| seen.record(|seen| take_in(seen, &name, line))).await;
            seen.record(|seen| seen.on_end(&name));
        });
    }

    /// `kill -9`.
    pub async fn kill(&mut self, name: &str) {
        let mut process = self.processes.remove(name).unwrap();
        self.seen.record(|seen| seen.go(name, "is killed"));
        process.kill().await.unwrap();
    }

    /// `kill -STOP`.
    pub async fn pause(&mut self, name: &str) {
        self.signal(name, "STOP").await;
        self.seen.record(|seen| seen.go(name, "is paused"));
    }

    /// `kill -CONT`.
    pub async fn wake(&mut self, name: &str) {
        self.seen.record(|seen| seen.come_back(name));
        self.signal(name, "CONT").await;
    }

    async fn signal(&self, name: &str, signal: &str) {
        let id = self.processes[name].id().expect("it is running").to_string();
        let kill = Command::new("sh").args(["-c", r#"kill -s "$0" "$1""#, signal, &id]).status().await.unwrap();
        assert!(kill.success(), "kill -s {signal} {id}: {kill}");
    }

    /// One that joined in this process leaves properly.
    pub async fn leave(&mut self, name: &str) {
        self.seen.record(|seen| seen.go(name, "leaves"));
        self.memberships.remove(name).unwrap().leave().await;
    }

    /// Writes a line to a process.
    pub async fn order(&mut self, name: &str, order: &str) {
        self.seen.record(|seen| seen.tell(name, &format!("is told to {order}")));
        let stdin = self.processes.get_mut(name).unwrap().stdin.as_mut().unwrap();
        stdin.write_all(format!("{order}\n").as_bytes()).await.unwrap();
    }
}

/// What is expected.
impl World {
    /// Waits until it is so.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Seen) -> bool) {
        self.until_some(what, |seen| is_so(seen).then_some(())).await;
    }

    /// Waits until `find` finds what it looks for.
    pub async fn until_some<T>(&self, what: &str, find: impl Fn(&Seen) -> Option<T>) -> T {
        let mut changes = self.seen.changes.subscribe();
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.assert_sound();
            if let Some(found) = self.look(&find) {
                return found;
            }
            if timeout_at(deadline, changes.changed()).await.is_err() {
                self.fail(&format!("not seen within {} s: {what}", PATIENCE.as_secs()));
            }
        }
    }

    /// Looks at what was seen so far.
    pub fn look<T>(&self, look: impl Fn(&Seen) -> T) -> T {
        look(&self.seen.lock())
    }

    /// Waits until it has an id, which it gets on joining.
    pub async fn joined(&self, name: &str) {
        self.until(&format!("{name} joins"), |seen| seen.parties[name].id.is_some()).await;
    }

    /// Waits until all who are there agree on that one, who is there too.
    pub async fn agreed_on(&self, leader: &str) {
        self.until(&format!("all agree on {leader}"), |seen| seen.agreement() == Some(leader)).await;
    }

    /// The same, and sees that it does not take longer than that.
    pub async fn agreed_within(&self, limit: Duration, leader: &str) {
        let started = Instant::now();
        self.agreed_on(leader).await;
        let took = started.elapsed();
        if took > limit {
            self.fail(&format!("all agreed on {leader}, but it took {took:?}, and {limit:?} is the limit"));
        }
    }

    /// The same after the leader was killed: interval, timeout, the election, and a
    /// machine that is busy with something else.
    pub async fn agreed_in_time_on(&self, leader: &str) {
        let timing = timing();
        let limit = timing.check_interval * 11 / 10 + timing.check_timeout + Duration::from_millis(1500);
        self.agreed_within(limit, leader).await;
    }

    /// Waits until all who are there agree on one of them.
    pub async fn agreed(&self) -> String {
        self.until_some("all agree on somebody", |seen| seen.agreement().map(str::to_owned)).await
    }

    /// The same, in a newer term than this.
    pub async fn agreed_after(&self, term: u64) -> String {
        self.until_some(&format!("all agree on somebody in a term after {term}"), |seen| {
            seen.agreement().filter(|_| seen.term() > term).map(str::to_owned)
        })
        .await
    }

    /// Waits for some more answers of the leader's, and sees that it leads still, in the same term.
    pub async fn stays(&self, leader: &str) {
        let (term, answers) = self.look(|seen| (seen.term(), seen.answers_of(leader)));
        self.until(&format!("{leader} goes on answering"), |seen| seen.answers_of(leader) >= answers + 4).await;
        self.agreed_on(leader).await;
        if self.look(Seen::term) != term {
            self.fail("there was another election");
        }
    }

    /// Nothing was seen that must never be.
    pub fn assert_sound(&self) {
        if let Some(fault) = self.look(Seen::fault) {
            self.fail(&fault);
        }
    }

    /// Fails the test, with the story.
    pub fn fail(&self, why: &str) -> ! {
        panic!("{why}\n{}\n{why}", self.look(Seen::story));
    }
}

/// What was seen, for all who see something.
#[derive(Clone)]
struct Shared {
    seen: Arc<Mutex<Seen>>,
    changes: watch::Sender<()>,
}

impl Default for Shared {
    fn default() -> Self {
        Shared { seen: Arc::default(), changes: watch::Sender::new(()) }
    }
}

impl Shared {
    fn record(&self, record: impl FnOnce(&mut Seen)) {
        record(&mut self.lock());
        self.changes.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }
}

async fn each_line(from: impl AsyncRead + Unpin, take_in: impl Fn(&str)) {
    let mut lines = BufReader::new(from).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        take_in(&line);
    }
}
