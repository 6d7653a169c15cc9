//! The containers of one test, what they and the hub say, and what may befall them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

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

use super::judge::{Belief, Happening, What};

/// How long to wait for what has bounds of its own. Compose takes some of it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A first build, with nothing in a cache.
pub const BUILD: Duration = Duration::from_secs(150);

/// What people type today.
pub const COMPOSE: &[&str] = &["docker", "compose"];

/// What Debian bookworm has: the Python program, version 1.29.
pub const COMPOSE_1: &[&str] = &["docker-compose"];

/// What may befall a container, until it is mended.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    Kill,
    Pause,
    /// Nothing gets through any more, and nobody is told. Its address may be another afterwards.
    Disconnect,
}

/// The containers of one test; gone when it is dropped.
pub struct Lab {
    pub program: &'static [&'static str],
    pub settings: &'static [(&'static str, &'static str)],
    pub project: String,
    /// Whether the project is ours alone, and so are its images.
    pub ours: bool,
    pub port: u16,
    pub world: watch::Sender<World>,
    /// Who reads which container's log.
    pub readers: BTreeMap<String, JoinHandle<()>>,
}

impl Lab {
    /// Builds what has to be built, and starts a hub and that many clients.
    pub async fn up(program: &'static [&'static str], clients: usize) -> Lab {
        Lab::up_with(program, clients, &[]).await
    }

    /// The same, with these variables for the compose file.
    pub async fn up_with(
        program: &'static [&'static str],
        clients: usize,
        settings: &'static [(&'static str, &'static str)],
    ) -> Lab {
        let given = std::env::var("COMPOSE_PROJECT_NAME").ok().filter(|name| !name.is_empty());
        // Docker is told a port and does not choose one, so that `start` finds it again.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
        let mut lab = Lab {
            program,
            settings,
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

    pub async fn scale(&mut self, clients: usize) {
        self.compose(&["up", "-d", "--scale", &format!("client={clients}")], PATIENCE).await;
        self.follow_all().await;
    }

    /// How long it took.
    pub async fn down(&self) -> Duration {
        let started = Instant::now();
        self.compose(&["down"], PATIENCE).await;
        started.elapsed()
    }

    pub async fn befall(&mut self, fault: Fault, container: &str) {
        match fault {
            Fault::Kill => self.kill(container).await,
            Fault::Pause => _ = docker(&["pause", container]).await,
            Fault::Disconnect => _ = docker(&["network", "disconnect", &self.network(), container]).await,
        }
    }

    pub async fn mend(&mut self, fault: Fault, container: &str) {
        match fault {
            Fault::Kill => {
                docker(&["start", container]).await;
                self.follow_all().await;
            }
            Fault::Pause => _ = docker(&["unpause", container]).await,
            Fault::Disconnect => _ = docker(&["network", "connect", &self.network(), container]).await,
        }
    }

    pub fn network(&self) -> String {
        format!("{}_default", self.project)
    }

    pub async fn kill(&mut self, container: &str) {
        docker(&["kill", container]).await;
        self.read_to_the_end(container).await;
    }

    pub async fn stop(&mut self, container: &str) {
        docker(&["stop", container]).await;
        self.read_to_the_end(container).await;
    }

    pub async fn read_to_the_end(&mut self, container: &str) {
        let reader = self.readers.remove(container).expect("a container whose log is read");
        timeout(PATIENCE, reader).await.expect("a log ends with its container").expect("reading a log does not panic");
    }

    pub async fn compose(&self, args: &[&str], limit: Duration) -> String {
        run(self.command().args(args), limit).await
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(self.program[0]);
        command
            .args(&self.program[1..])
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
            .env("COMPOSE_PROJECT_NAME", &self.project)
            .env("RINGLEADER_PORT", self.port.to_string())
            .envs(self.settings.iter().copied());
        command
    }

    pub fn hub_url(&self) -> HubUrl {
        format!("ws://127.0.0.1:{}", self.port).parse().expect("a hub's address")
    }

    pub async fn hub(&self) -> String {
        let hubs = self.containers_by_service().await.into_iter().find(|(service, _)| service == "hub");
        hubs.expect("a hub").1
    }

    /// Short ids of those that run or sleep. The same for both versions of Compose.
    pub async fn containers_by_service(&self) -> Vec<(String, String)> {
        let project = format!("label=com.docker.compose.project={}", self.project);
        let format = "{{.Label \"com.docker.compose.service\"}} {{.ID}}";
        let list = docker(&["ps", "--filter", &project, "--format", format]).await;
        let pair = |line: &str| line.split_once(' ').map(|(service, id)| (service.to_owned(), id.to_owned()));
        list.lines().filter_map(pair).collect()
    }

    /// Reads the logs of containers that started since the last time.
    pub async fn follow_all(&mut self) {
        self.readers.retain(|_, reader| !reader.is_finished());
        for (_, container) in self.containers_by_service().await {
            let world = self.world.clone();
            let reader = || tokio::spawn(read_log(container.clone(), world));
            self.readers.entry(container.clone()).or_insert_with(reader);
        }
    }

    /// How many frames a spectator has seen.
    pub fn frames(&self) -> usize {
        self.world.borrow().frames.len()
    }

    /// Waits until the ring has so many members, all of one mind, and `fits`.
    pub async fn agreement(&self, members: usize, what: &str, fits: impl Fn(&Agreement) -> bool) -> Agreement {
        self.until(what, |world| world.agreement().filter(|now| now.members.len() == members && fits(now))).await
    }

    pub async fn until<T>(&self, what: &str, look: impl FnMut(&World) -> Option<T>) -> T {
        match timeout(PATIENCE, self.found(look)).await {
            Ok(found) => found,
            Err(_) => panic!("waited {PATIENCE:?} in vain for this: {what}\n{}", *self.world.borrow()),
        }
    }

    pub async fn found<T>(&self, mut look: impl FnMut(&World) -> Option<T>) -> T {
        let mut world = self.world.subscribe();
        loop {
            if let Some(found) = look(&world.borrow_and_update()) {
                return found;
            }
            world.changed().await.expect("the lab holds the sender");
        }
    }

    /// When the last of them joined.
    pub fn last_join(&self, agreed: &Agreement) -> SystemTime {
        let world = self.world.borrow();
        let joins = agreed.names().flat_map(|name| world.said_by(name)).filter(|line| line.text.starts_with("joined "));
        joins.map(|line| line.at).max().expect("everybody says when it joined")
    }

    /// Asks as anybody would ask.
    pub async fn assert_hub_says_so(&self, agreed: &Agreement) {
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

    pub async fn get(&self, path: &str) -> Value {
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
    pub async fn assert_named_by_container(&self, agreed: &Agreement) {
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

pub fn assert_within(limit: Duration, took: Duration, what: &str) {
    eprintln!("{what}: {took:?}");
    assert!(took <= limit, "{what}: {took:?}, expected at most {limit:?}");
}

pub async fn assert_small_and_locked_in(service: &str, container: &str) {
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
pub async fn resign(leader: &str) {
    docker(&["kill", "--signal", "TERM", leader]).await;
}

pub async fn docker(args: &[&str]) -> String {
    run(Command::new("docker").args(args), PATIENCE).await
}

/// Its stdout; panics where it fails.
pub async fn run(command: &mut Command, limit: Duration) -> String {
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
pub struct World {
    /// As spectators are told; `None` while there is no hub.
    pub ring: Option<RingChanged>,
    /// Frames of the ring as they were handed on.
    pub frames: Vec<Handed>,
    /// By container.
    pub logs: BTreeMap<String, Vec<Line>>,
}

#[derive(Debug, Clone)]
pub struct Handed {
    pub to: ClientId,
    pub message: RingMessage,
}

#[derive(Debug, Clone)]
pub struct Line {
    pub at: SystemTime,
    pub text: String,
}

/// Everybody in the ring believes in the leader that the hub names, and knows its name.
#[derive(Debug)]
pub struct Agreement {
    pub term: Term,
    pub leader_id: ClientId,
    /// Its name, which is its container's short id.
    pub leader: String,
    pub members: Vec<Member>,
    /// When the last one came to believe it.
    pub at: SystemTime,
}

impl World {
    pub fn agreement(&self) -> Option<Agreement> {
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

    pub fn said_by(&self, container: &str) -> impl DoubleEndedIterator<Item = &Line> {
        self.logs.get(container).into_iter().flatten()
    }

    pub fn last_belief(&self, container: &str) -> Option<Option<(Term, String)>> {
        self.said_by(container).rev().find_map(Line::believes)
    }

    pub fn moved_since(&self, start: usize, term: Term) -> Option<String> {
        let frame = self.frames[start..].iter().find(|frame| frame.elects()).map(|frame| format!("{frame:?}"));
        let ring = self.ring.as_ref().filter(|ring| ring.term != term || ring.members.len() != 5);
        frame.or_else(|| ring.map(|ring| format!("{ring:?}")))
    }

    /// For the judge. Containers stand for members: a member that comes back has a new id, and its old name.
    pub fn history(&self) -> Vec<Happening> {
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

    pub fn held_by(&self, id: &ClientId, start: usize) -> Option<()> {
        let is_election = |frame: &&Handed| matches!(frame.message, RingMessage::Election(_));
        self.frames[start..].iter().filter(is_election).any(|frame| frame.to == *id).then_some(())
    }

    /// Whether the hub says that it took an election's frame out of these hands.
    pub fn repaired(&self, holder: &ClientId, why: &str) -> Option<()> {
        let says_so = |line: &Line| {
            let about = line.text.starts_with("election of term ") && line.text.contains(holder.as_str());
            about && line.text.contains(&format!("handed on: its holder {why}"))
        };
        self.logs.values().flatten().any(says_so).then_some(())
    }

    pub fn on_text(&mut self, text: &str) {
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
    pub fn since(&self, start: SystemTime) -> Duration {
        self.at.duration_since(start).expect("they agree afterwards")
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().filter_map(|member| member.name.as_ref()).map(Name::as_str)
    }

    pub fn id_of(&self, name_of_it: &str) -> ClientId {
        let member = self.members.iter().find(|member| name(member) == name_of_it);
        member.expect("a member of that name").client_id.clone()
    }

    /// Somebody who does not lead.
    pub fn follower(&self) -> (String, ClientId) {
        let follower = self.members.iter().find(|member| member.client_id != self.leader_id);
        follower.map(|member| (name(member), member.client_id.clone())).expect("two members")
    }
}

impl Handed {
    pub fn is_check(&self) -> bool {
        matches!(self.message, RingMessage::CheckLeader(_) | RingMessage::AnswerLeader(_))
    }

    pub fn elects(&self) -> bool {
        matches!(self.message, RingMessage::Election(_) | RingMessage::NewLeader(_))
    }
}

impl Line {
    pub fn parse(line: &str) -> Option<Line> {
        let (at, rest) = line.split_once(' ')?;
        let (_level, text) = rest.trim_start().split_once(' ')?;
        Some(Line { at: humantime::parse_rfc3339(at).ok()?, text: text.to_owned() })
    }

    /// In whom its writer believes from here on; the outer `None` where this line is about something else.
    pub fn believes(&self) -> Option<Option<(Term, String)>> {
        if self.text.starts_with("no leader known") || self.text.starts_with("not connected") {
            return Some(None);
        }
        let (term, leader) = self.text.strip_prefix("term ")?.split_once(": leader is ")?;
        let term = Term::new(term.parse().ok()?)?;
        Some(Some((term, leader.split(' ').next()?.to_owned())))
    }
}

pub fn name(member: &Member) -> String {
    member.name.as_ref().expect("our members have names").to_string()
}

/// Goes on for as long as the test, hub or no hub.
pub async fn watch_ring(hub: HubUrl, world: watch::Sender<World>) {
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
pub async fn read_log(container: String, world: watch::Sender<World>) {
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
