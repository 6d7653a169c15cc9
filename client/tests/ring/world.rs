//! Rings of real processes, one node with the test on both sides of it, and stand-ins
//! for the nodes that others have written.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::processes::{PATIENCE, Run, free_port};

pub fn id(n: u128) -> String {
    Uuid::from_u128(n).to_string()
}

/// None of these neighbours begins to read late, if they do not say so.
fn prompt(more: &[&str]) -> &'static [&'static str] {
    if more.contains(&"--settle") { &[] } else { &["--settle", "1ms"] }
}

/// As Python's `json.dumps` has it, without a newline.
pub fn object(n: u128, flag: u8) -> String {
    format!(r#"{{"uuid": "{}", "flag": {flag}}}"#, id(n))
}

pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: it did not come in time"))
}

/// Where the nodes of a ring listen, and their files.
pub struct Ring {
    pub ports: Vec<u16>,
    /// Bound, so that nobody else takes them; not listening, so that their nodes can.
    held: RefCell<Vec<Option<TcpSocket>>>,
    dir: TempDir,
}

impl Ring {
    pub fn new(count: usize) -> Ring {
        let hold = || {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_reuseaddr(true).unwrap();
            socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
            socket
        };
        let held: Vec<TcpSocket> = (0..count).map(|_| hold()).collect();
        let ports = held.iter().map(|socket| socket.local_addr().unwrap().port()).collect();
        let held = RefCell::new(held.into_iter().map(Some).collect());
        Ring { ports, held, dir: TempDir::new().unwrap() }
    }

    /// The ports from that node on.
    fn from(&self, who: usize) -> impl Iterator<Item = u16> {
        self.ports.iter().cycle().skip(who).take(self.ports.len()).copied()
    }

    /// One of ours, killed with the value. With `--repair` it gets the whole ring.
    pub fn spawn(&self, who: usize, uuid: u128, more: &[&str]) -> Run {
        let file = self.write_config(who, if more.contains(&"--repair") { self.ports.len() } else { 2 });
        let (file, log) = (file.to_str().unwrap(), self.log_file(who));
        let uuid = id(uuid);
        let arguments = ["ring", "--config", file, "--log", log.to_str().unwrap(), "--id", &uuid];
        Run::start(&[&arguments[..], prompt(more), more].concat())
    }

    /// With that many lines.
    pub fn write_config(&self, who: usize, count: usize) -> PathBuf {
        let config: String = self.from(who).take(count).map(|port| format!("127.0.0.1,{port}\n")).collect();
        let file = self.dir.path().join(format!("{who}.txt"));
        std::fs::write(&file, config).unwrap();
        file
    }

    pub fn classic(&self, who: usize, uuid: u128, habits: Habits) -> JoinHandle<String> {
        let listener = self.listen(who);
        let successor = self.from(who).nth(1).unwrap();
        tokio::spawn(classic(listener, successor, id(uuid), habits))
    }

    /// In that node's place.
    pub fn listen(&self, who: usize) -> TcpListener {
        self.held.borrow_mut()[who].take().unwrap().listen(16).unwrap()
    }

    pub fn log_file(&self, who: usize) -> PathBuf {
        self.dir.path().join(format!("{who}.log"))
    }

    pub fn log(&self, who: usize) -> Vec<String> {
        lines(&self.log_file(who))
    }
}

fn lines(file: &Path) -> Vec<String> {
    std::fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect()
}

/// It ends with exit code 0 and this leader, and has said nothing else on stdout.
pub async fn follows(run: &mut Run, leader: u128) {
    let code = run.end().await.code();
    let (out, err) = run.rest().await;
    assert_eq!((code, out), (Some(0), vec![format!("leader is {}", id(leader))]), "{err:#?}");
}

/// Whoever fails first is shown.
pub async fn all_follow(runs: &mut [Run], leader: u128) {
    join_all(runs.iter_mut().map(|run| follows(run, leader))).await;
}

/// It ends with exit code 3, and says between which two the ring is broken.
pub async fn is_broken(run: &mut Run) -> String {
    let code = run.end().await.code();
    let (out, err) = run.rest().await;
    assert_eq!((code, out), (Some(3), vec![]), "{err:#?}");
    let said = err.last().cloned().unwrap_or_default();
    assert!(said.starts_with("ringleader: the ring is broken between 127.0.0.1:"), "{err:#?}");
    said
}

/// How a node that somebody else wrote goes about it.
#[derive(Debug, Clone, Copy)]
pub struct Habits {
    pub reads: Reads,
    /// Whether it ends its messages with a newline.
    pub newline: bool,
    pub leaves: Leaves,
    /// How long it listens before it dials.
    pub dials_after: Duration,
}

#[derive(Debug, Clone, Copy)]
pub enum Reads {
    /// `for line in connection.makefile()`.
    Lines,
    /// `json.loads(connection.recv(1024))`: fails where two come at once.
    OneARead,
    /// `JSONDecoder().raw_decode` on all that has come.
    Scan,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Leaves {
    /// As soon as it knows the leader, its own announcement still on its way.
    AtOnce,
    /// When the announcement is home; followers when they have passed it on.
    WhenHome,
    /// Keeps its connections; the test has to end it.
    Never,
}

impl Habits {
    pub const ALL: [Habits; 4] = [
        Habits { reads: Reads::Lines, newline: true, leaves: Leaves::WhenHome, dials_after: Duration::ZERO },
        Habits { reads: Reads::OneARead, newline: false, leaves: Leaves::AtOnce, dials_after: Duration::ZERO },
        Habits { reads: Reads::Scan, newline: false, leaves: Leaves::Never, dials_after: Duration::from_millis(300) },
        Habits { reads: Reads::Scan, newline: true, leaves: Leaves::AtOnce, dials_after: Duration::ZERO },
    ];
}

/// A node as in the assignment: accepts one connection, dials one, and never looks at
/// either's end. Returns the leader that it knows.
async fn classic(listener: TcpListener, successor: u16, uuid: String, habits: Habits) -> String {
    sleep(habits.dials_after).await;
    let dial = async {
        loop {
            // Who dials a free port of its own machine can get itself on the line.
            match TcpStream::connect(("127.0.0.1", successor)).await {
                Ok(stream) if stream.local_addr().unwrap() != stream.peer_addr().unwrap() => return stream,
                _ => sleep(Duration::from_millis(20)).await,
            }
        }
    };
    // It reads while it dials: it cannot tell apart what has come together.
    let inbox = async {
        let stream = listener.accept().await.unwrap().0;
        match habits.reads {
            Reads::OneARead => Inbox::Reads(reads(stream)),
            _ => Inbox::Stream(BufReader::new(stream)),
        }
    };
    let (mut inbox, mut out) = tokio::join!(inbox, dial);
    drop(listener);
    out.set_nodelay(true).unwrap();
    let end = if habits.newline { "\n" } else { "" };
    let text = |uuid: &str, flag: u8| format!(r#"{{"uuid": "{uuid}", "flag": {flag}}}{end}"#);
    out.write_all(text(&uuid, 0).as_bytes()).await.unwrap();
    let (mut leader, mut buffer) = (None, String::new());
    loop {
        let message = receive(&mut inbox, &mut buffer, habits.reads).await;
        let (theirs, flag) = (message["uuid"].as_str().unwrap().to_owned(), message["flag"].as_u64().unwrap());
        let pass_on = if flag == 1 {
            if theirs == uuid {
                break;
            }
            leader = Some(theirs.clone());
            Some(text(&theirs, 1))
        } else if theirs > uuid {
            Some(text(&theirs, 0))
        } else if theirs == uuid {
            leader = Some(theirs.clone());
            Some(text(&theirs, 1))
        } else {
            None
        };
        if let Some(text) = pass_on {
            // So that who reads one object a read is not itself to blame.
            sleep(Duration::from_millis(200)).await;
            // Fails where the leader has left.
            let _ = out.write_all(text.as_bytes()).await;
        }
        if flag == 1 || (leader.is_some() && habits.leaves == Leaves::AtOnce) {
            break;
        }
    }
    if habits.leaves == Leaves::Never {
        tokio::spawn(async move {
            let _open = (inbox, out);
            std::future::pending::<()>().await;
        });
    }
    leader.unwrap()
}

enum Inbox {
    Stream(BufReader<TcpStream>),
    /// What each read gave.
    Reads(mpsc::UnboundedReceiver<Vec<u8>>),
}

fn reads(mut stream: TcpStream) -> mpsc::UnboundedReceiver<Vec<u8>> {
    let (tell, reads) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut bytes = [0; 1024];
        while let Ok(count @ 1..) = stream.read(&mut bytes).await {
            let _ = tell.send(bytes[..count].to_vec());
        }
    });
    reads
}

async fn receive(inbox: &mut Inbox, buffer: &mut String, how: Reads) -> Value {
    let stream = match inbox {
        Inbox::Reads(reads) => return serde_json::from_slice(&reads.recv().await.unwrap()).unwrap(),
        Inbox::Stream(stream) => stream,
    };
    if matches!(how, Reads::Lines) {
        let mut line = String::new();
        assert!(stream.read_line(&mut line).await.unwrap() > 0, "the connection ended");
        return serde_json::from_str(&line).unwrap();
    }
    let mut bytes = [0; 1024];
    loop {
        let mut objects = serde_json::Deserializer::from_str(buffer).into_iter::<Value>();
        if let Some(Ok(object)) = objects.next() {
            let rest = objects.byte_offset();
            buffer.drain(..rest);
            return object;
        }
        let count = stream.read(&mut bytes).await.unwrap();
        assert!(count > 0, "the connection ended");
        buffer.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
    }
}

/// One node, and the test in place of its predecessor and its successor.
pub struct Bench {
    pub run: Run,
    pub predecessor: TcpStream,
    pub successor: BufReader<TcpStream>,
    /// Where the successor listens.
    pub listener: TcpListener,
    /// Where the node does.
    pub port: u16,
    dir: TempDir,
}

impl Bench {
    /// With UUID 5.
    pub async fn start(more: &[&str]) -> Bench {
        Bench::with_others(&[], more).await
    }

    /// The config goes on with these ports.
    pub async fn with_others(others: &[u16], more: &[&str]) -> Bench {
        let (listener, port) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), free_port().await);
        let dir = TempDir::new().unwrap();
        let (config, log) = (dir.path().join("config.txt"), dir.path().join("log.txt"));
        let ports = [&[port, listener.local_addr().unwrap().port()], others].concat();
        std::fs::write(&config, ports.iter().map(|port| format!("127.0.0.1,{port}\n")).collect::<String>()).unwrap();
        let uuid = id(5);
        let arguments = ["ring", "--config", config.to_str().unwrap(), "--log", log.to_str().unwrap(), "--id", &uuid];
        let run = Run::start(&[&arguments[..], prompt(more), more].concat());
        let successor = BufReader::new(soon("the dial", listener.accept()).await.unwrap().0);
        let predecessor = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        predecessor.set_nodelay(true).unwrap();
        Bench { run, predecessor, successor, listener, port, dir }
    }

    pub async fn tell(&mut self, text: &str) {
        self.predecessor.write_all(text.as_bytes()).await.unwrap();
    }

    /// The next message that it sends, as the bytes are.
    pub async fn hear(&mut self) -> String {
        let mut line = String::new();
        soon("a message", self.successor.read_line(&mut line)).await.unwrap();
        line
    }

    pub async fn hears(&mut self, n: u128, flag: u8) {
        assert_eq!(self.hear().await, format!("{}\n", object(n, flag)));
    }

    /// The same, with repair.
    pub async fn hears_in_term(&mut self, n: u128, flag: u8, term: u64) {
        let message: Value = serde_json::from_str(&self.hear().await).unwrap();
        assert_eq!(message, json!({ "uuid": id(n), "flag": flag, "term": term }));
    }

    pub fn log(&self) -> Vec<String> {
        lines(&self.dir.path().join("log.txt"))
    }
}
