//! What the hub costs: `cargo bench -p ringleader-hub`.
//!
//! The hub is a process of its own, kept to one core; the members it serves are
//! all in this one, kept to another. Three tables:
//!
//! - relaying: frames a second, and the hub's processor time a frame, with 1, 16
//!   and 256 frames going round a ring of 300 at once. Beside it what a bare echo
//!   on the same WebSocket library costs for the same frames, in the same run;
//! - elections: from the first frame to the moment when the announcement is back,
//!   with 10, 100 and 1,000 members;
//! - memory: bytes of the hub a connection, at 5,000.
//!
//! A word after `--` runs one of them: `cargo bench -p ringleader-hub -- elections`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, accept_async, client_async_with_config};

type Socket = WebSocketStream<TcpStream>;

const MEASURE: Duration = Duration::from_secs(3);
const RING: usize = 300;
const CONNECTIONS: usize = 5_000;
/// All come from one address here, and are as fast as can be.
const LIMITS: [&str; 4] = ["--max-connections-per-address", "10000", "--max-frames-per-second", "4000000000"];
/// Each election size is run that often; the middle one counts.
const ELECTIONS: usize = 5;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    if words.first().is_some_and(|word| word == "echo") {
        return run(echo());
    }
    let wanted = |name: &str| words.is_empty() || words.iter().any(|word| word == name);
    if wanted("relaying") {
        run(relaying());
    }
    if wanted("elections") {
        run(elections());
    }
    if wanted("memory") {
        run(memory());
    }
}

fn run(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work);
}

async fn relaying() {
    println!("Relaying round a ring of {RING}, {MEASURE:?} each");
    println!("{:>10} {:>12} {:>14} {:>14} {:>7}", "in flight", "frames/s", "hub µs/frame", "echo µs/frame", "ratio");
    for in_flight in [1, 16, 256] {
        let (frames, hub) = relay_rate(in_flight).await;
        let echo = echo_cost(in_flight).await;
        println!("{in_flight:>10} {frames:>12.0} {hub:>14.1} {echo:>14.1} {:>7.2}", hub / echo);
    }
}

/// Frames a second, and microseconds of the hub's processor time a frame.
async fn relay_rate(in_flight: usize) -> (f64, f64) {
    let server = Server::hub();
    let members = server.ring(RING).await;
    let ids: Arc<Vec<String>> = Arc::new(members.iter().map(|member| member.id.clone()).collect());
    let (received, running) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(true)));
    let mut tasks = vec![];
    for (seat, member) in members.into_iter().enumerate() {
        let (ids, received, running) = (ids.clone(), received.clone(), running.clone());
        tasks.push(tokio::spawn(async move {
            let mut socket = member.socket;
            // Answers that go nearly all the way round, each to another destination, so that no two are the same.
            let answer = |distance: usize| {
                let to = &ids[(seat + RING - distance) % RING];
                format!(
                    r#"{{"method":"answerLeader","data":{{"destinationId":"{to}","term":0}},"senderId":"{}"}}"#,
                    member.id
                )
            };
            if seat == 0 {
                for distance in 1..=in_flight {
                    socket.feed(Message::text(answer(distance))).await?;
                }
                socket.flush().await?;
            }
            while let Some(Ok(message)) = socket.next().await {
                let Message::Text(text) = message else { continue };
                received.fetch_add(1, Ordering::Relaxed);
                if !running.load(Ordering::Relaxed) {
                    continue;
                }
                match between(&text, r#""destinationId":""#, r#"""#) {
                    // It has arrived: the destination sends one as far as this one went.
                    Some(to) if to == member.id => {
                        let from = between(&text, r#""senderId":""#, r#"""#)
                            .and_then(|from| ids.iter().position(|id| id == from));
                        let from = from.expect("a sender of this ring");
                        socket.send(Message::text(answer((from + RING - seat) % RING))).await?;
                    }
                    _ => socket.send(Message::Text(text)).await?,
                }
            }
            Ok::<_, tokio_tungstenite::tungstenite::Error>(())
        }));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let rate = server.measure(&received).await;
    running.store(false, Ordering::Relaxed);
    tasks.iter().for_each(|task| task.abort());
    rate
}

/// Microseconds of processor time a frame of a server that only sends back what it reads.
async fn echo_cost(in_flight: usize) -> f64 {
    let server = Server::echo();
    let received = Arc::new(AtomicU64::new(0));
    let text: Utf8Bytes = r#"{"method":"answerLeader","data":{"destinationId":"00000000-0000-4000-8000-000000000000","term":0},"senderId":"00000000-0000-4000-8000-000000000000"}"#.into();
    for _ in 0..in_flight {
        let (mut socket, received, text) = (server.connect("/").await, received.clone(), text.clone());
        tokio::spawn(async move {
            while socket.send(Message::Text(text.clone())).await.is_ok() && socket.next().await.is_some() {
                received.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.measure(&received).await.1
}

async fn elections() {
    println!("Elections, the middle of {ELECTIONS}, from the first frame until the announcement is back");
    println!("{:>10} {:>12} {:>14}", "members", "ms", "hub ms");
    for members in [10, 100, 1_000] {
        let server = Server::hub();
        let ring = server.ring(members).await;
        let (done, mut finished) = tokio::sync::mpsc::channel(1);
        let mut starters = vec![];
        for member in ring {
            let (start, started) = tokio::sync::mpsc::channel(1);
            starters.push(start);
            tokio::spawn(take_part(member, started, done.clone()));
        }
        let mut times = vec![];
        for _ in 0..ELECTIONS {
            let (before, cpu) = (Instant::now(), server.cpu());
            starters[0].send(()).await.expect("the first member runs");
            finished.recv().await.expect("an election ends");
            times.push((before.elapsed(), server.cpu() - cpu));
        }
        times.sort();
        let (wall, cpu) = times[ELECTIONS / 2];
        println!("{members:>10} {:>12.1} {:>14.1}", wall.as_secs_f64() * 1e3, cpu.as_secs_f64() * 1e3);
    }
}

/// A member that adds its entry by splicing text, so that what is measured is the hub.
async fn take_part(member: Member, mut started: tokio::sync::mpsc::Receiver<()>, done: tokio::sync::mpsc::Sender<()>) {
    let Member { mut socket, id } = member;
    let entry = format!(r#"{{"rank":7,"clientId":"{id}"}}"#);
    loop {
        let text = tokio::select! {
            Some(()) = started.recv() => {
                let start = format!(r#"{{"method":"election","data":{{"ranks":[{entry}]}},"senderId":"{id}"}}"#);
                let _ = socket.send(Message::text(start)).await;
                continue;
            }
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(_)) => continue,
                _ => return,
            },
        };
        let mine = text.ends_with(&format!(r#""senderId":"{id}"}}"#));
        let reply = if text.starts_with(r#"{"method":"election""#) {
            let term = between(&text, r#"],"term":"#, "}").expect("a term");
            if mine {
                // All ranks are equal: the initiator is as good as anybody.
                format!(r#"{{"method":"newLeader","data":{{"leaderId":"{id}","term":{term}}},"senderId":"{id}"}}"#)
            } else {
                let end = text.rfind(r#"],"term""#).expect("an array");
                format!("{},{entry}{}", &text[..end], &text[end..])
            }
        } else if mine {
            let _ = done.send(()).await;
            continue;
        } else {
            text.to_string()
        };
        let _ = socket.send(Message::text(reply)).await;
    }
}

async fn memory() {
    println!("Memory of the hub a connection, at {CONNECTIONS}");
    println!("{:>12} {:>16}", "connections", "bytes each");
    for (path, what) in [("/watch", "spectators"), ("/?join", "members")] {
        let server = Server::hub();
        // One of them first, so that what is there only once is not counted.
        let mut first = server.connect(path).await;
        if path != "/watch" {
            greet(&mut first).await;
        }
        let before = server.resident_bytes();
        let mut open = tokio::task::JoinSet::new();
        open.spawn(keep_reading(first));
        for _ in 1..CONNECTIONS {
            let mut socket = server.connect(path).await;
            if path != "/watch" {
                greet(&mut socket).await;
            }
            open.spawn(keep_reading(socket));
        }
        // Every connection has been pinged and read from by then.
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(open.try_join_next().is_none(), "the hub closed a connection");
        let each = server.resident_bytes().saturating_sub(before) / (CONNECTIONS - 1) as u64;
        println!("{what:>12} {each:>16}");
    }
}

/// Answers pings, and ends only with the connection.
async fn keep_reading(mut socket: Socket) {
    while let Some(Ok(_)) = socket.next().await {}
}

struct Member {
    id: String,
    socket: Socket,
}

/// A process to be measured, kept to the first core; ends with this value.
struct Server {
    process: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    fn hub() -> Self {
        let mut command = on_first_core(env!("CARGO_BIN_EXE_ringleader-hub"));
        Server::start(command.args(["--listen", "127.0.0.1:0", "--log", "error"]).args(LIMITS))
    }

    fn echo() -> Self {
        let own = std::env::current_exe().expect("this program");
        Server::start(on_first_core(own.to_str().expect("a path in UTF-8")).arg("echo"))
    }

    /// It says on stdout where it listens.
    fn start(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().expect("taskset (util-linux) and the program");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let port = line.trim().rsplit(':').next().and_then(|port| port.parse().ok()).expect("an address");
        Server { process, port }
    }

    async fn connect(&self, path: &str) -> Socket {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.expect("the server listens");
        stream.set_nodelay(true).expect("a socket");
        // The default buffer is 128 KiB, filled with zeros before every read.
        let config = WebSocketConfig::default().read_buffer_size(16 * 1024);
        let url = format!("ws://127.0.0.1:{}{path}", self.port);
        client_async_with_config(url, stream, Some(config)).await.expect("a WebSocket").0
    }

    async fn ring(&self, members: usize) -> Vec<Member> {
        let mut ring = vec![];
        for _ in 0..members {
            let mut socket = self.connect("/?join").await;
            let id = greet(&mut socket).await;
            ring.push(Member { id, socket });
        }
        ring
    }

    /// Frames a second and microseconds of processor time a frame, over [`MEASURE`].
    async fn measure(&self, received: &AtomicU64) -> (f64, f64) {
        let (before, cpu, count) = (Instant::now(), self.cpu(), received.load(Ordering::Relaxed));
        tokio::time::sleep(MEASURE).await;
        let frames = (received.load(Ordering::Relaxed) - count) as f64;
        let cpu = self.cpu() - cpu;
        (frames / before.elapsed().as_secs_f64(), cpu.as_secs_f64() * 1e6 / frames)
    }

    /// Processor time that it has used so far: of all its threads, in nanoseconds of
    /// the scheduler, which is finer than the clock ticks of `stat`.
    fn cpu(&self) -> Duration {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.process.id())).expect("the process runs");
        let nanoseconds = threads.flatten().filter_map(|thread| {
            let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanoseconds.sum())
    }

    fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("the process runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a size");
        let kib: u64 = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number");
        kib * 1024
    }
}

/// This process goes to the second core, where there is one.
fn on_first_core(program: &str) -> Command {
    let pid = std::process::id().to_string();
    let moved = Command::new("taskset").args(["-a", "-p", "-c", "1", &pid]).stdout(Stdio::null()).status();
    if !moved.is_ok_and(|status| status.success()) {
        eprintln!("this process stays where it is: taskset cannot move it to a second core");
    }
    let mut command = Command::new("taskset");
    command.args(["-c", "0", program]);
    command
}

/// Joins; the id.
async fn greet(socket: &mut Socket) -> String {
    let greeting = r#"{"method":"greeting","data":{"rank":7,"forwards":true}}"#;
    socket.send(Message::text(greeting)).await.expect("open");
    loop {
        let message = socket.next().await.expect("the hub keeps the connection").expect("no error");
        let Message::Text(text) = message else { continue };
        let frame: Value = serde_json::from_str(&text).expect("a frame");
        if frame["method"] == "response" {
            return frame["clientId"].as_str().expect("an id").to_owned();
        }
    }
}

/// A server that sends back what it reads.
async fn echo() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("listening on ws://{}", listener.local_addr().expect("an address"));
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            stream.set_nodelay(true)?;
            let mut socket = accept_async(stream).await.map_err(std::io::Error::other)?;
            while let Some(Ok(message)) = socket.next().await {
                socket.send(message).await.map_err(std::io::Error::other)?;
            }
            Ok::<_, std::io::Error>(())
        });
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let start = text.find(before)? + before.len();
    let length = text[start..].find(after)?;
    Some(&text[start..start + length])
}
