//! `docker compose up --scale client=5`, and what may befall a ring of containers.
//!
//! Judged by what the hub shows to spectators and by what each client says it
//! believes. Times are those of the log lines: containers share this machine's clock.

#[allow(dead_code, reason = "chaos.rs has more uses for it")]
#[path = "chaos/judge.rs"]
mod judge;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use judge::{Belief, Happening, What, judge};
use ringleader_client::transport::hub::{HubUrl, Link, Purpose};
use ringleader_shared::id::{ClientId, Name, Term};
use ringleader_shared::message::{Member, RingMessage};
use ringleader_shared::wire::{self, Body, Frame, Relayed, RingChanged};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// From the last client's joining to the last client's knowing the leader.
const AGREE: Duration = Duration::from_secs(2);

/// What `--check-timeout` is by default.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// From a leader's death to the last client's knowing another: the longest check interval,
/// the check timeout, and a second for the election and for a slow machine.
const FAILOVER: Duration = Duration::from_millis(2_200 + 5_000 + 1_000);

/// The same after a leader has resigned while another member held the election frame, and
/// then the announcement: twice the hop timeout, and a second. Shorter than the silence
/// after which that member would be removed.
const HELD: Duration = Duration::from_millis(2_000 + 900);

/// How long a container takes that heeds SIGTERM; Docker gives others ten seconds.
const DOWN: Duration = Duration::from_secs(4);

/// How long to wait for what has bounds of its own. Compose takes some of it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A first build, with nothing in a cache.
const BUILD: Duration = Duration::from_secs(150);

#[tokio::test]
#[ignore = "needs Docker: run by ./test"]
async fn five_clients_agree_on_one_leader_and_keep_it() {
    let lab = Lab::up(COMPOSE, 5).await;
    let agreed = lab.agreement(5, "five clients agree", |_| true).await;
    assert_within(AGREE, agreed.since(lab.last_join(&agreed)), "from the last joining to agreement");
    lab.assert_hub_says_so(&agreed).await;
    lab.assert_named_by_container(&agreed).await;
    for (service, container) in lab.containers_by_service().await {
        assert_small_and_locked_in(&service, &container).await;
    }

    let start = lab.frames();
    let moved = timeout(Duration::from_secs(30), lab.found(|world| world.moved_since(start, agreed.term)));
    if let Ok(what) = moved.await {
        panic!("a ring that was left alone is moved by {what}");
    }
    let checks = lab.world.borrow().frames[start..].iter().filter(|frame| frame.is_check()).count();
    assert!(checks > 30, "in 30 s the checks of 5 members are handed on more than {checks} times");
    lab.assert_hub_says_so(&agreed).await;

    assert_within(DOWN, lab.down().await, "docker compose down");
}

#[tokio::test]
#[ignore = "needs Docker: run by ./test"]
async fn a_leader_that_is_killed_or_paused_is_replaced() {
    let mut lab = Lab::up(COMPOSE, 5).await;
    let first = lab.agreement(5, "five clients agree", |_| true).await;

    let killed = SystemTime::now();
    lab.kill(&first.leader).await;
    let second = lab.agreement(4, "the others agree on another leader", |now| now.term > first.term).await;
    let took = second.since(killed);
    assert_within(FAILOVER, took, "from killing the leader to agreement");
    assert!(took >= CHECK_TIMEOUT, "nothing but an unanswered check deposes a leader, not {took:?}");
    lab.assert_hub_says_so(&second).await;

    let paused = SystemTime::now();
    docker(&["pause", &second.leader]).await;
    let third = lab.agreement(3, "the others agree once more", |now| now.term > second.term).await;
    assert_within(FAILOVER, third.since(paused), "from pausing the leader to agreement");
    lab.assert_hub_says_so(&third).await;

    // The one that slept wakes up, and finds out before it does anything.
    let (start, woken) = (lab.frames(), SystemTime::now());
    docker(&["unpause", &second.leader]).await;
    let fourth = lab.agreement(4, "the deposed leader follows", |now| now.leader == third.leader).await;
    let back = fourth.id_of(&second.leader);
    assert_ne!(back, second.leader_id, "it was removed, so it joined anew");
    let been = lab.until("the ring's checks pass by it", |world| {
        let seen = &world.frames[start..];
        seen.iter().any(|frame| frame.is_check() && frame.to == back).then(|| seen.to_vec())
    });
    let been = been.await;
    let elects = been.iter().find(|frame| frame.elects());
    assert!(elects.is_none(), "nobody elects or announces after it woke: {elects:?}");
    let world = lab.world.borrow();
    let said: Vec<_> = world.said_by(&second.leader).filter(|line| line.at >= woken).collect();
    let beliefs: Vec<_> = said.iter().filter_map(|line| line.believes()).collect();
    assert!(beliefs[0].is_none(), "it stands down, and only then is told whom to follow: {said:?}");
    assert!(said.iter().all(|line| !line.text.contains("(me)")), "it does not lead again: {said:?}");
    assert!(said.iter().all(|line| !line.text.contains("election started")), "it has no need to elect: {said:?}");
    assert_eq!(fourth.term, third.term);
}

#[tokio::test]
#[ignore = "needs Docker: run by ./test"]
async fn an_election_ends_though_its_frame_is_held_by_one_that_is_paused_or_killed() {
    let mut lab = Lab::up(COMPOSE, 6).await;
    let first = lab.agreement(6, "six clients agree", |_| true).await;

    // Who sleeps before the election starts cannot be its initiator, so the frame will come
    // to it. A leader that resigns has the others start at once.
    let (sleeper, id) = first.follower();
    docker(&["pause", &sleeper]).await;
    let (start, resigned) = (lab.frames(), SystemTime::now());
    resign(&first.leader).await;
    lab.until("the sleeper is handed the election", |world| world.held_by(&id, start)).await;
    let second = lab.agreement(4, "those awake agree", |now| now.term > first.term).await;
    assert_within(HELD, second.since(resigned), "from the leader's resigning to agreement");
    lab.until("the hub says that it went on", |world| world.repaired(&id, "kept it too long")).await;

    docker(&["unpause", &sleeper]).await;
    let third = lab.agreement(5, "the sleeper follows", |_| true).await;
    assert_eq!((third.term, &third.leader), (second.term, &second.leader));

    // A frame stands still in a sleeper's hands for a second: time to kill it.
    let (victim, id) = third.follower();
    docker(&["pause", &victim]).await;
    let (start, resigned) = (lab.frames(), SystemTime::now());
    resign(&third.leader).await;
    lab.until("the victim is handed the election", |world| world.held_by(&id, start)).await;
    lab.kill(&victim).await;
    let fourth = lab.agreement(3, "the survivors agree", |now| now.term > third.term).await;
    assert_within(HELD, fourth.since(resigned), "from the leader's resigning to agreement");
    lab.until("the hub says that it went on", |world| world.repaired(&id, "left")).await;
    lab.assert_hub_says_so(&fourth).await;
}

#[tokio::test]
#[ignore = "needs Docker: run by ./test"]
async fn clients_come_back_to_a_hub_that_was_killed_and_terms_go_on_rising() {
    let mut lab = Lab::up(COMPOSE, 5).await;
    let first = lab.agreement(5, "five clients agree", |_| true).await;

    let hub = lab.hub().await;
    lab.kill(&hub).await;
    lab.until("every client says that it has lost the hub", |world| {
        first.names().all(|name| world.last_belief(name) == Some(None)).then_some(())
    })
    .await;
    lab.compose(&["start", "hub"], PATIENCE).await;
    lab.follow_all().await;
    let second = lab.agreement(5, "five clients are back and agree", |_| true).await;
    assert!(second.term > first.term, "term {} after the hub's death, {} before", second.term, first.term);
    assert_eq!(second.names().collect::<BTreeSet<_>>(), first.names().collect(), "the same five");
    lab.assert_hub_says_so(&second).await;
}

#[tokio::test]
#[ignore = "needs Docker: run by ./test"]
async fn a_hub_that_slept_for_longer_than_it_lets_members_be_silent_throws_nobody_out() {
    let lab = Lab::up(COMPOSE, 3).await;
    let before = lab.agreement(3, "three clients agree", |_| true).await;
    let hub = lab.hub().await;
    docker(&["pause", &hub]).await;
    sleep(Duration::from_secs(4)).await;
    docker(&["unpause", &hub]).await;
    // It slept for longer than a lease lasts, too: the leader stood down, and they elect.
    let after = lab.agreement(3, "three clients agree once more", |now| now.term > before.term).await;
    assert_eq!(after.members, before.members, "nobody was thrown out");
}

#[tokio::test]
#[ignore = "needs Docker: run by ./test"]
async fn clients_may_be_added_and_taken_away() {
    let mut lab = Lab::up(COMPOSE, 5).await;
    let five = lab.agreement(5, "five clients agree", |_| true).await;

    lab.scale(7).await;
    let seven = lab.agreement(7, "seven clients agree", |_| true).await;
    assert_eq!((seven.term, &seven.leader), (five.term, &five.leader), "newcomers do not elect");
    lab.assert_named_by_container(&seven).await;

    // Compose takes away whom it likes: often not the leader, so that goes too.
    lab.scale(3).await;
    let three = lab.agreement(3, "three clients agree", |_| true).await;
    let stays = three.names().any(|name| name == seven.leader);
    assert_eq!(three.term > seven.term, !stays, "they elect if their leader went, and only then");

    let stopped = SystemTime::now();
    lab.stop(&three.leader).await;
    let two = lab.agreement(2, "two clients agree", |now| now.term > three.term).await;
    assert_within(AGREE, two.since(stopped), "from stopping the leader, which so resigns, to agreement");
    lab.assert_hub_says_so(&two).await;
}

#[tokio::test]
#[ignore = "needs Docker: run by ./test"]
async fn the_old_docker_compose_runs_it_too() {
    let version = Command::new(COMPOSE_1[0]).args(["version", "--short"]).output().await;
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    match version {
        Ok(version) if version.starts_with("1.") => {}
        other => {
            let problem = format!("LEFT OUT: docker-compose 1.29 is not here ({other:?}), so nobody tried it");
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{problem}");
            eprintln!("{problem}");
            return;
        }
    }
    let lab = Lab::up(COMPOSE_1, 5).await;
    let agreed = lab.agreement(5, "five clients agree", |_| true).await;
    assert_within(AGREE, agreed.since(lab.last_join(&agreed)), "from the last joining to agreement");
    lab.assert_hub_says_so(&agreed).await;
    assert_within(DOWN, lab.down().await, "docker-compose down");
}

#[tokio::test]
#[ignore = "needs Docker: run by ./test"]
async fn whatever_befalls_containers_no_term_is_split() {
    let mut lab = Lab::up(COMPOSE, 5).await;
    let mut now = lab.agreement(5, "five clients agree", |_| true).await;
    // Each befalls the leader, whom the others miss, and then one whom nobody misses.
    for fault in [Fault::Kill, Fault::Pause, Fault::Disconnect] {
        lab.befall(fault, &now.leader).await;
        let others = lab.agreement(4, "the others agree on another leader", |new| new.term > now.term).await;
        lab.mend(fault, &now.leader).await;
        now = lab.agreement(5, "the old leader follows", |_| true).await;
        assert_eq!((now.term, &now.leader), (others.term, &others.leader), "{fault:?}: who comes back deposes nobody");

        let (follower, _) = now.follower();
        lab.befall(fault, &follower).await;
        lab.agreement(4, "nobody misses a follower", |new| new.term == now.term).await;
        lab.mend(fault, &follower).await;
        now = lab.agreement(5, "it is back", |new| new.term == now.term).await;
    }
    // All at once, and the hub with them.
    let leader = now.leader.clone();
    let mut rest = now.names().filter(|name| *name != leader).map(str::to_owned);
    let (sleeper, victim) = (rest.next().expect("a member"), rest.next().expect("another"));
    lab.befall(Fault::Disconnect, &leader).await;
    lab.befall(Fault::Pause, &sleeper).await;
    lab.befall(Fault::Kill, &victim).await;
    let hub = lab.hub().await;
    lab.befall(Fault::Kill, &hub).await;
    lab.mend(Fault::Kill, &hub).await;
    lab.mend(Fault::Kill, &victim).await;
    lab.mend(Fault::Pause, &sleeper).await;
    lab.mend(Fault::Disconnect, &leader).await;
    let last = lab.agreement(5, "all agree when it is over", |new| new.term > now.term).await;
    lab.assert_hub_says_so(&last).await;

    let history = lab.world.borrow().history();
    let announced = history.iter().filter(|happening| matches!(happening.what, What::Announced { .. })).count();
    assert!(announced > 4 && history.len() > 30, "too little to judge by: {history:?}");
    assert_eq!(judge(&history), []);
}

/// What people type today.
const COMPOSE: &[&str] = &["docker", "compose"];

/// What Debian bookworm has: the Python program, version 1.29.
const COMPOSE_1: &[&str] = &["docker-compose"];

/// What may befall a container, until it is mended.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Kill,
    Pause,
    /// Nothing gets through any more, and nobody is told. Its address may be another afterwards.
    Disconnect,
}

/// The containers of one test; gone when it is dropped.
struct Lab {
    program: &'static [&'static str],
    project: String,
    /// Whether the project is ours alone, and so are its images.
    ours: bool,
    port: u16,
    world: watch::Sender<World>,
    /// Who reads which container's log.
    readers: BTreeMap<String, JoinHandle<()>>,
}

impl Lab {
    /// Builds what has to be built, and starts a hub and that many clients.
    async fn up(program: &'static [&'static str], clients: usize) -> Lab {
        let given = std::env::var("COMPOSE_PROJECT_NAME").ok().filter(|name| !name.is_empty());
        // Docker is told a port and does not choose one, so that `start` finds it again.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
        let mut lab = Lab {
            program,
            // Version 1 names images in its own way, which nobody else would clean up.
            ours: given.is_none() || program == COMPOSE_1,
            project: given.unwrap_or_else(|| format!("ringleader-compose-{}", std::process::id())),
            port,
            world: watch::Sender::new(World::default()),
            readers: BTreeMap::new(),
        };
        tokio::spawn(watch_ring(lab.hub_url(), lab.world.clone()));
        lab.compose(&["up", "-d", "--build", "--scale", &format!("client={clients}")], BUILD).await;
        lab.follow_all().await;
        lab
    }

    async fn scale(&mut self, clients: usize) {
        self.compose(&["up", "-d", "--scale", &format!("client={clients}")], PATIENCE).await;
        self.follow_all().await;
    }

    /// How long it took.
    async fn down(&self) -> Duration {
        let started = Instant::now();
        self.compose(&["down"], PATIENCE).await;
        started.elapsed()
    }

    async fn befall(&mut self, fault: Fault, container: &str) {
        match fault {
            Fault::Kill => self.kill(container).await,
            Fault::Pause => _ = docker(&["pause", container]).await,
            Fault::Disconnect => _ = docker(&["network", "disconnect", &self.network(), container]).await,
        }
    }

    async fn mend(&mut self, fault: Fault, container: &str) {
        match fault {
            Fault::Kill => {
                docker(&["start", container]).await;
                self.follow_all().await;
            }
            Fault::Pause => _ = docker(&["unpause", container]).await,
            Fault::Disconnect => _ = docker(&["network", "connect", &self.network(), container]).await,
        }
    }

    fn network(&self) -> String {
        format!("{}_default", self.project)
    }

    async fn kill(&mut self, container: &str) {
        docker(&["kill", container]).await;
        self.read_to_the_end(container).await;
    }

    async fn stop(&mut self, container: &str) {
        docker(&["stop", container]).await;
        self.read_to_the_end(container).await;
    }

    async fn read_to_the_end(&mut self, container: &str) {
        let reader = self.readers.remove(container).expect("a container whose log is read");
        timeout(PATIENCE, reader).await.expect("a log ends with its container").expect("reading a log does not panic");
    }

    async fn compose(&self, args: &[&str], limit: Duration) -> String {
        run(self.command().args(args), limit).await
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.program[0]);
        command
            .args(&self.program[1..])
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
            .env("COMPOSE_PROJECT_NAME", &self.project)
            .env("RINGLEADER_PORT", self.port.to_string());
        command
    }

    fn hub_url(&self) -> HubUrl {
        format!("ws://127.0.0.1:{}", self.port).parse().expect("a hub's address")
    }

    async fn hub(&self) -> String {
        let hubs = self.containers_by_service().await.into_iter().find(|(service, _)| service == "hub");
        hubs.expect("a hub").1
    }

    /// Short ids of those that run or sleep. The same for both versions of Compose.
    async fn containers_by_service(&self) -> Vec<(String, String)> {
        let project = format!("label=com.docker.compose.project={}", self.project);
        let format = "{{.Label \"com.docker.compose.service\"}} {{.ID}}";
        let list = docker(&["ps", "--filter", &project, "--format", format]).await;
        let pair = |line: &str| line.split_once(' ').map(|(service, id)| (service.to_owned(), id.to_owned()));
        list.lines().filter_map(pair).collect()
    }

    /// Reads the logs of containers that started since the last time.
    async fn follow_all(&mut self) {
        self.readers.retain(|_, reader| !reader.is_finished());
        for (_, container) in self.containers_by_service().await {
            let world = self.world.clone();
            let reader = || tokio::spawn(read_log(container.clone(), world));
            self.readers.entry(container.clone()).or_insert_with(reader);
        }
    }

    /// How many frames a spectator has seen.
    fn frames(&self) -> usize {
        self.world.borrow().frames.len()
    }

    /// Waits until the ring has so many members, all of one mind, and `fits`.
    async fn agreement(&self, members: usize, what: &str, fits: impl Fn(&Agreement) -> bool) -> Agreement {
        self.until(what, |world| world.agreement().filter(|now| now.members.len() == members && fits(now))).await
    }

    async fn until<T>(&self, what: &str, look: impl FnMut(&World) -> Option<T>) -> T {
        match timeout(PATIENCE, self.found(look)).await {
            Ok(found) => found,
            Err(_) => panic!("waited {PATIENCE:?} in vain for this: {what}\n{}", *self.world.borrow()),
        }
    }

    async fn found<T>(&self, mut look: impl FnMut(&World) -> Option<T>) -> T {
        let mut world = self.world.subscribe();
        loop {
            if let Some(found) = look(&world.borrow_and_update()) {
                return found;
            }
            world.changed().await.expect("the lab holds the sender");
        }
    }

    /// When the last of them joined.
    fn last_join(&self, agreed: &Agreement) -> SystemTime {
        let world = self.world.borrow();
        let joins = agreed.names().flat_map(|name| world.said_by(name)).filter(|line| line.text.starts_with("joined "));
        joins.map(|line| line.at).max().expect("everybody says when it joined")
    }

    /// Asks as anybody would ask.
    async fn assert_hub_says_so(&self, agreed: &Agreement) {
        let ring = self.get("/rings/default").await;
        let ids: Vec<&str> = agreed.members.iter().map(|member| member.client_id.as_str()).collect();
        let said = ring["members"].as_array().expect("a list of members");
        let said: Vec<&str> = said.iter().filter_map(|member| member["clientId"].as_str()).collect();
        assert_eq!(said, ids);
        assert_eq!(ring["leaderId"], agreed.leader_id.as_str());
        assert_eq!(Some(ring["term"].clone()), serde_json::to_value(agreed.term).ok());
        let leader = self.get("/rings/default/leader").await;
        assert_eq!(leader["leaderId"], ring["leaderId"]);
        assert_eq!(leader["term"], ring["term"]);
        assert_eq!(leader["name"], *agreed.leader);
    }

    async fn get(&self, path: &str) -> Value {
        let ask = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
            let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            std::io::Result::Ok(answer)
        };
        let answer = timeout(PATIENCE, ask).await.expect("the hub answers in time").expect("the hub answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
        serde_json::from_str(body).expect("an answer in JSON")
    }

    /// So that `docker kill NAME` takes the name that the ring shows.
    async fn assert_named_by_container(&self, agreed: &Agreement) {
        let containers = self.containers_by_service().await.into_iter();
        let clients: BTreeSet<_> = containers.filter(|(service, _)| service == "client").map(|(_, id)| id).collect();
        assert_eq!(agreed.names().map(str::to_owned).collect::<BTreeSet<_>>(), clients);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let mut down = self.command();
        down.args(["down", "--volumes", "--remove-orphans", "--timeout", "1"]);
        if self.ours {
            down.args(["--rmi", "local"]);
        }
        match down.as_std_mut().output() {
            Ok(output) if output.status.success() => {}
            failed => eprintln!("containers of {} may be left behind: {failed:?}", self.project),
        }
    }
}

fn assert_within(limit: Duration, took: Duration, what: &str) {
    eprintln!("{what}: {took:?}");
    assert!(took <= limit, "{what}: {took:?}, expected at most {limit:?}");
}

async fn assert_small_and_locked_in(service: &str, container: &str) {
    let facts: Value = serde_json::from_str(&docker(&["inspect", container]).await).expect("facts in JSON");
    let facts = &facts[0];
    let user = facts["Config"]["User"].as_str().unwrap_or_default();
    let uid = user.split(':').next().unwrap_or_default().parse::<u32>();
    assert!(uid.is_ok_and(|uid| uid != 0), "{service} runs as user {user:?}");
    assert_eq!(facts["HostConfig"]["ReadonlyRootfs"], true, "{service}");
    assert_eq!(facts["HostConfig"]["CapDrop"], serde_json::json!(["ALL"]), "{service}");
    assert_eq!(facts["HostConfig"]["SecurityOpt"], serde_json::json!(["no-new-privileges:true"]), "{service}");
    if service == "hub" {
        assert_eq!(facts["State"]["Health"]["Status"], "healthy");
        let published = &facts["NetworkSettings"]["Ports"]["8080/tcp"];
        assert_eq!(published.as_array().map(Vec::len), Some(1), "{published}");
        assert_eq!(published[0]["HostIp"], "127.0.0.1", "whoever reaches the port can join");
    }
    let image = facts["Image"].as_str().expect("an image");
    let size = docker(&["image", "inspect", "--format", "{{.Size}}", image]).await;
    let size: u64 = size.trim().parse().expect("a size in bytes");
    assert!(size < 20_000_000, "{service}'s image has {size} bytes");
}

/// Does not wait for its end, unlike `docker stop`.
async fn resign(leader: &str) {
    docker(&["kill", "--signal", "TERM", leader]).await;
}

async fn docker(args: &[&str]) -> String {
    run(Command::new("docker").args(args), PATIENCE).await
}

/// Its stdout; panics where it fails.
async fn run(command: &mut Command, limit: Duration) -> String {
    let output = timeout(limit, command.stdin(Stdio::null()).kill_on_drop(true).output()).await;
    let output = output.unwrap_or_else(|_| panic!("{command:?} took longer than {limit:?}"));
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (said(&output.stdout), said(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{stdout}{stderr}", output.status);
    stdout
}

/// What was seen and heard so far.
#[derive(Default)]
struct World {
    /// As spectators are told; `None` while there is no hub.
    ring: Option<RingChanged>,
    /// Frames of the ring as they were handed on.
    frames: Vec<Handed>,
    /// By container.
    logs: BTreeMap<String, Vec<Line>>,
}

#[derive(Debug, Clone)]
struct Handed {
    to: ClientId,
    message: RingMessage,
}

#[derive(Debug, Clone)]
struct Line {
    at: SystemTime,
    text: String,
}

/// Everybody in the ring believes in the leader that the hub names, and knows its name.
#[derive(Debug)]
struct Agreement {
    term: Term,
    leader_id: ClientId,
    /// Its name, which is its container's short id.
    leader: String,
    members: Vec<Member>,
    /// When the last one came to believe it.
    at: SystemTime,
}

impl World {
    fn agreement(&self) -> Option<Agreement> {
        let RingChanged { members, leader_id, term, .. } = self.ring.as_ref()?;
        let leader_id = leader_id.clone()?;
        let leader = name(members.iter().find(|member| member.client_id == leader_id)?);
        let mut at = SystemTime::UNIX_EPOCH;
        for member in members {
            let line = self.said_by(&name(member)).rfind(|line| line.believes().is_some())?;
            match line.believes()? {
                Some((believed, name)) if believed == *term && name == leader => at = at.max(line.at),
                _ => return None,
            }
        }
        Some(Agreement { term: *term, leader_id, leader, members: members.clone(), at })
    }

    fn said_by(&self, container: &str) -> impl DoubleEndedIterator<Item = &Line> {
        self.logs.get(container).into_iter().flatten()
    }

    fn last_belief(&self, container: &str) -> Option<Option<(Term, String)>> {
        self.said_by(container).rev().find_map(Line::believes)
    }

    fn moved_since(&self, start: usize, term: Term) -> Option<String> {
        let frame = self.frames[start..].iter().find(|frame| frame.elects()).map(|frame| format!("{frame:?}"));
        let ring = self.ring.as_ref().filter(|ring| ring.term != term || ring.members.len() != 5);
        frame.or_else(|| ring.map(|ring| format!("{ring:?}")))
    }

    /// For the judge. Containers stand for members: a member that comes back has a new id, and its old name.
    fn history(&self) -> Vec<Happening> {
        let id = |name: &str| ClientId::new(name).expect("a container's id");
        let announced = self.frames.iter().filter_map(|frame| match &frame.message {
            RingMessage::NewLeader(new) => {
                let (leader, term) = (id(new.leader_name.as_ref()?.as_str()), new.term?);
                Some(Happening { at: 0, what: What::Announced { leader, term } })
            }
            _ => None,
        });
        let said = self.logs.iter().flat_map(|(node, lines)| {
            lines.iter().filter_map(move |line| {
                let (term, leader) = line.believes()??;
                let at = line.at.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_millis() as u64;
                let (node, leader) = (node.clone(), Some(id(&leader)));
                let belief = Belief { node, id: None, term, leader, may_act: false, act_until: None };
                Some(Happening { at, what: What::Believes(belief) })
            })
        });
        announced.chain(said).collect()
    }

    fn held_by(&self, id: &ClientId, start: usize) -> Option<()> {
        let is_election = |frame: &&Handed| matches!(frame.message, RingMessage::Election(_));
        self.frames[start..].iter().filter(is_election).any(|frame| frame.to == *id).then_some(())
    }

    /// Whether the hub says that it took an election's frame out of these hands.
    fn repaired(&self, holder: &ClientId, why: &str) -> Option<()> {
        let says_so = |line: &Line| {
            let about = line.text.starts_with("election of term ") && line.text.contains(holder.as_str());
            about && line.text.contains(&format!("handed on: its holder {why}"))
        };
        self.logs.values().flatten().any(says_so).then_some(())
    }

    fn on_text(&mut self, text: &str) {
        let frame: Frame = wire::decode(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        match frame.body {
            Body::Welcome(welcome) => {
                self.ring = Some(RingChanged {
                    ring: welcome.ring.expect("a ring"),
                    members: welcome.members.expect("members"),
                    leader_id: welcome.leader_id,
                    term: welcome.term.expect("a term"),
                });
            }
            Body::RingChanged(ring) => self.ring = Some(ring),
            Body::Relayed(Relayed { to, frame, .. }) => {
                let frame: Frame = wire::decode(frame.get()).unwrap_or_else(|error| panic!("{error}: {frame}"));
                if let Body::Ring(message) = frame.body {
                    self.frames.push(Handed { to, message });
                }
            }
            _ => panic!("a spectator is told: {text}"),
        }
    }
}

/// For whoever has to find out why a test failed.
impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the ring: {:?}", self.ring)?;
        for (container, lines) in &self.logs {
            writeln!(f, "{container} says:")?;
            for line in lines {
                writeln!(f, "  {} {}", humantime::format_rfc3339_millis(line.at), line.text)?;
            }
        }
        Ok(())
    }
}

impl Agreement {
    fn since(&self, start: SystemTime) -> Duration {
        self.at.duration_since(start).expect("they agree afterwards")
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().filter_map(|member| member.name.as_ref()).map(Name::as_str)
    }

    fn id_of(&self, name_of_it: &str) -> ClientId {
        let member = self.members.iter().find(|member| name(member) == name_of_it);
        member.expect("a member of that name").client_id.clone()
    }

    /// Somebody who does not lead.
    fn follower(&self) -> (String, ClientId) {
        let follower = self.members.iter().find(|member| member.client_id != self.leader_id);
        follower.map(|member| (name(member), member.client_id.clone())).expect("two members")
    }
}

impl Handed {
    fn is_check(&self) -> bool {
        matches!(self.message, RingMessage::CheckLeader(_) | RingMessage::AnswerLeader(_))
    }

    fn elects(&self) -> bool {
        matches!(self.message, RingMessage::Election(_) | RingMessage::NewLeader(_))
    }
}

impl Line {
    fn parse(line: &str) -> Option<Line> {
        let (at, rest) = line.split_once(' ')?;
        let (_level, text) = rest.trim_start().split_once(' ')?;
        Some(Line { at: humantime::parse_rfc3339(at).ok()?, text: text.to_owned() })
    }

    /// In whom its writer believes from here on; the outer `None` where this line is about something else.
    fn believes(&self) -> Option<Option<(Term, String)>> {
        if self.text.starts_with("no leader known") || self.text.starts_with("not connected") {
            return Some(None);
        }
        let (term, leader) = self.text.strip_prefix("term ")?.split_once(": leader is ")?;
        let term = Term::new(term.parse().ok()?)?;
        Some(Some((term, leader.split(' ').next()?.to_owned())))
    }
}

fn name(member: &Member) -> String {
    member.name.as_ref().expect("our members have names").to_string()
}

/// Goes on for as long as the test, hub or no hub.
async fn watch_ring(hub: HubUrl, world: watch::Sender<World>) {
    loop {
        if let Ok(mut link) = Link::connect(&hub, Purpose::Watch).await {
            while let Ok(text) = link.receive().await {
                world.send_modify(|world| world.on_text(&text));
            }
            world.send_modify(|world| world.ring = None);
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// All that a container says on stderr, until it ends.
async fn read_log(container: String, world: watch::Sender<World>) {
    world.send_modify(|world| _ = world.logs.insert(container.clone(), vec![]));
    let mut docker = Command::new("docker");
    docker.args(["logs", "--follow", &container]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut docker = docker.kill_on_drop(true).spawn().expect("docker runs");
    let mut lines = BufReader::new(docker.stderr.take().expect("a pipe")).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(line) = Line::parse(&line) {
            world.send_modify(|world| world.logs.entry(container.clone()).or_default().push(line));
        }
    }
}
