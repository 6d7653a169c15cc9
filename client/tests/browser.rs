//! What a web page sees of a ring, and what it may do to it: a real Chromium beside a
//! hub and members in this process.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use fantoccini::ClientBuilder;
use hyper_util::client::legacy::connect::HttpConnector;
use ringleader_client::{Config, Membership};
use ringleader_shared::id::{ClientId, Term};
use ringleader_shared::message::RingMessage;
use ringleader_shared::wire::{self, Body, ErrorCode, Frame, Relayed};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

/// For whatever a test waits for.
const PATIENCE: Duration = Duration::from_secs(20);

/// From version 147 on, Chromium lets no page connect to this machine that is not of this
/// machine itself: neither about:blank nor data: are. Pages in files are.
const OPEN_TO_BLANK_PAGES: &str = "--disable-features=LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium and chromedriver: run by ./test"]
async fn a_socket_typed_into_a_blank_page_sees_an_election_and_disturbs_nothing() {
    let hub = Hub::start().await;
    let mut members = join(&hub, 5);
    let browser = Browser::start(&[OPEN_TO_BLANK_PAGES]).await;
    for page in ["about:blank", "data:text/html,<title>blank</title>"] {
        let (leader, term) = agreement(&members, Term::NONE).await;
        let before = hub.ring(members.len());
        browser.open(page).await;
        assert_eq!(browser.run("return self.origin", vec![]).await, "null");
        browser.connect(&hub).await;
        let seen = browser.until("frame => frame.method === 'welcome'").await;
        let spectator = seen[0].client_id.clone().expect("everybody gets an id");
        assert_eq!(hub.ring(members.len()), before, "a spectator is no member");

        let leads = |member: &Membership| member.status().borrow().client_id.as_ref() == Some(&leader);
        let leaving = members.iter().position(leads).expect("a member leads");
        members.remove(leaving).leave().await;
        let (next, next_term) = agreement(&members, term).await;
        assert_eq!(Some(next_term), term.next(), "one election and no more");
        let seen = browser.until(&an_answer_in(next_term)).await;
        let after = hub.ring(members.len());
        let stayed: Vec<_> = before.members.iter().filter(|id| **id != leader).cloned().collect();
        assert_eq!(after, Ring { members: stayed, leader: Some(next.clone()), term: next_term });

        let relayed = relayed(&seen);
        let seqs: Vec<u64> = relayed.iter().map(|(hop, _)| hop.seq).collect();
        assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "it sees every frame: {seqs:?}");
        assert!(relayed.iter().all(|(hop, _)| hop.to != spectator), "it is handed none");
        let hops = hops_in(next_term, &relayed);
        for method in ["election", "newLeader"] {
            let to: BTreeSet<_> = hops.iter().filter(|hop| hop.method == method).map(|hop| &hop.to).collect();
            assert!(after.members.iter().all(|id| to.contains(id)), "{method} goes all the way round: {hops:?}");
        }
        for method in ["checkLeader", "answerLeader"] {
            assert!(hops.iter().any(|hop| hop.method == method), "{method} is shown: {hops:?}");
        }
        let answers = hops.iter().filter(|hop| hop.method == "answerLeader");
        assert!(answers.clone().all(|hop| hop.sender == next), "answers are the leader's");
        // Who has resigned is handed a frame, too, if it has not left yet, but starts none.
        let known = |hop: &&Hop| before.members.contains(&hop.from) && after.members.contains(&hop.sender);
        assert!(hops.iter().all(|hop| known(&hop)), "from members: {hops:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium and chromedriver: run by ./test"]
async fn a_page_of_another_origin_watches_and_cannot_join() {
    let hub = Hub::start().await;
    let members = join(&hub, 3);
    agreement(&members, Term::NONE).await;
    let before = hub.ring(3);
    // Any server will do for the page, so another hub does.
    let elsewhere = Hub::start().await;
    let browser = Browser::start(&[]).await;
    let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/blank.html");
    fs::write(file, "<title>blank</title>").expect("a file of our own");
    for page in [format!("http://lab.example:{}/", elsewhere.port), format!("file://{file}")] {
        browser.open(&page).await;
        browser.connect(&hub).await;
        browser.until("frame => frame.method === 'welcome'").await;
        let greeting =
            r#"{"method":"greeting","data":{"rank":99999,"name":"intruder","forwards":true},"senderId":null}"#;
        browser.run("socket.send(arguments[0])", vec![greeting.into()]).await;
        let seen = browser.until("frame => frame.method === 'error'").await;
        let errors: Vec<_> = seen.iter().filter_map(|frame| as_error(&frame.body)).collect();
        assert_eq!(errors, [(ErrorCode::WatchOnly, Some("greeting"))], "{page}");
        browser.until("frame => frame.method === 'relayed'").await;
        assert_eq!(hub.ring(3), before, "{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium and chromedriver: run by ./test"]
async fn the_hubs_own_page_is_in_order_and_its_scripts_may_join() {
    let hub = Hub::start().await;
    let members = join(&hub, 3);
    agreement(&members, Term::NONE).await;
    let before = hub.ring(3);
    let browser = Browser::start(&[]).await;
    browser.open(&format!("http://localhost:{}/", hub.port)).await;
    let title = browser.client.title().await.expect("a title");
    assert!(title.contains("Ringleader"), "{title:?}");

    browser.connect(&hub).await;
    browser.until("frame => frame.method === 'welcome'").await;
    let greeting = r#"{"method":"greeting","data":{"rank":99999,"name":"page","forwards":false},"senderId":null}"#;
    browser.run("socket.send(arguments[0])", vec![greeting.into()]).await;
    browser.until("frame => frame.method === 'response'").await;
    let with_page = hub.ring(4);
    assert_eq!(with_page.members[..3], before.members, "it sits last");
    assert_eq!((&with_page.leader, with_page.term), (&before.leader, before.term), "a newcomer does not elect");

    // What the page tells people to type does what it says.
    browser.run("console.log = text => { seen.push(text); look(); }", vec![]).await;
    let advice = browser.run("return document.querySelector('pre').textContent", vec![]).await;
    browser.run(advice.as_str().expect("a text"), vec![]).await;
    browser.until("frame => frame.method === 'relayed'").await;
    browser.run("socket.close()", vec![]).await;
    browser.until("frame => frame.method === 'ring' && frame.data.members.length === 3").await;
    assert_eq!(hub.ring(3), before);
    assert_eq!(browser.complaints(), [] as [Value; 0]);
}

/// A hub in this process; gone when it is dropped.
struct Hub {
    port: u16,
    _stop: DropGuard,
}

/// What `GET /rings/default` says.
#[derive(Debug, PartialEq)]
struct Ring {
    members: Vec<ClientId>,
    leader: Option<ClientId>,
    term: Term,
}

impl Hub {
    async fn start() -> Hub {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let stop = CancellationToken::new();
        tokio::spawn(ringleader_hub::run(listener, ringleader_hub::Config::default(), stop.clone()));
        Hub { port, _stop: stop.drop_guard() }
    }

    /// The ring, which is expected to have so many members.
    fn ring(&self, members: usize) -> Ring {
        let answer = http(self.port, "GET", "/rings/default", "").expect("the hub answers");
        let ring: wire::RingChanged = serde_json::from_str(&answer).expect("a ring in JSON");
        assert_eq!(ring.members.len(), members, "{answer}");
        let ids = ring.members.into_iter().map(|member| member.client_id).collect();
        Ring { members: ids, leader: ring.leader_id, term: ring.term }
    }
}

fn join(hub: &Hub, count: u32) -> Vec<Membership> {
    let url = format!("ws://127.0.0.1:{}", hub.port).parse().expect("a hub's address");
    let config = Config::new(url);
    (1..=count).map(|rank| ringleader_client::join(Config { rank: rank.into(), ..config.clone() })).collect()
}

/// Waits until all of them believe in the same leader of a newer term.
async fn agreement(members: &[Membership], older: Term) -> (ClientId, Term) {
    let agree = async {
        let mut first = members[0].status();
        let first = first.wait_for(|status| status.leader.is_some() && status.term > older).await.expect("a member");
        let (leader, term) = (first.leader.clone(), first.term);
        drop(first);
        for member in members {
            let mut status = member.status();
            status.wait_for(|status| (&status.leader, status.term) == (&leader, term)).await.expect("a member");
        }
        (leader.expect("a leader"), term)
    };
    timeout(PATIENCE, agree).await.expect("the members agree in time")
}

/// A Chromium without a window; gone when it is dropped.
struct Browser {
    client: fantoccini::Client,
    session: String,
    port: u16,
    driver: Child,
    /// Chromium leaves things behind.
    scratch: PathBuf,
    /// Held, so that what the driver may say has somewhere to go.
    _says: Lines<BufReader<ChildStdout>>,
}

impl Browser {
    async fn start(flags: &[&str]) -> Browser {
        let scratch = std::env::temp_dir().join(format!("ringleader-browser-{}", std::process::id()));
        fs::create_dir_all(&scratch).expect("a directory of our own");
        let mut driver = Command::new("chromedriver");
        driver.arg("--port=0").env("TMPDIR", &scratch);
        driver.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut driver = driver.kill_on_drop(true).spawn().expect("chromedriver is here");
        let mut says = BufReader::new(driver.stdout.take().expect("a pipe")).lines();
        let port = timeout(PATIENCE, port_of(&mut says)).await.expect("chromedriver starts in time");

        // Traffic to nowhere but this machine; every name in .example is this machine.
        let mut args = vec![
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--host-resolver-rules=MAP *.example 127.0.0.1",
        ];
        args.extend(flags);
        let wanted = json!({
            "goog:chromeOptions": { "args": args },
            "goog:loggingPrefs": { "browser": "ALL" },
            "timeouts": { "script": PATIENCE.as_millis(), "pageLoad": PATIENCE.as_millis() },
        });
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(serde_json::from_value(wanted).expect("an object"));
        let webdriver = format!("http://127.0.0.1:{port}");
        let client = timeout(PATIENCE, builder.connect(&webdriver)).await.expect("Chromium starts in time");
        let client = client.expect("Chromium starts");
        let session = client.session_id().await.ok().flatten().expect("a session has an id");
        Browser { client, session, port, driver, scratch, _says: says }
    }

    async fn open(&self, url: &str) {
        self.client.goto(url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    async fn run(&self, script: &str, arguments: Vec<Value>) -> Value {
        self.client.execute(script, arguments).await.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// As one would type it into the developer tools, and keeps what it is sent in `seen`.
    async fn connect(&self, hub: &Hub) {
        let script = "
            window.seen = [];
            window.look = () => {};
            window.socket = new WebSocket(arguments[0]);
            socket.onmessage = message => { seen.push(message.data); look(); };";
        self.run(script, vec![format!("ws://localhost:{}", hub.port).into()]).await;
    }

    /// Waits for a frame that passes this test in JavaScript. All that were seen so far.
    async fn until(&self, test: &str) -> Vec<Frame> {
        let script = format!(
            "const [done] = arguments;
            window.look = () => {{
                if (seen.some(text => ({test})(JSON.parse(text)))) {{
                    window.look = () => {{}};
                    done(seen);
                }}
            }};
            look();"
        );
        let seen = match self.client.execute_async(&script, vec![]).await {
            Ok(seen) => seen,
            Err(error) => panic!("{test}: {error}; seen: {}", self.run("return seen", vec![]).await),
        };
        let seen: Vec<String> = serde_json::from_value(seen).expect("texts");
        let decode = |text: &String| wire::decode(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        seen.iter().map(decode).collect()
    }

    /// Warnings and errors in the console, of pages' loading too.
    fn complaints(&self) -> Vec<Value> {
        let path = format!("/session/{}/se/log", self.session);
        let answer = http(self.port, "POST", &path, r#"{"type":"browser"}"#).expect("chromedriver answers");
        let mut answer: Value = serde_json::from_str(&answer).expect("an answer in JSON");
        let entries: Vec<Value> = serde_json::from_value(answer["value"].take()).expect("a list");
        let is_complaint = |entry: &Value| entry["level"] == "SEVERE" || entry["level"] == "WARNING";
        entries.into_iter().filter(is_complaint).collect()
    }
}

impl Drop for Browser {
    /// Chromium outlives its driver, unless its session is ended.
    fn drop(&mut self) {
        if let Err(error) = http(self.port, "DELETE", &format!("/session/{}", self.session), "") {
            eprintln!("a Chromium may be left behind: {error}");
        }
        let _ = self.driver.start_kill();
        let _ = fs::remove_dir_all(&self.scratch);
    }
}

async fn port_of(says: &mut Lines<BufReader<ChildStdout>>) -> u16 {
    while let Ok(Some(line)) = says.next_line().await {
        if let Some((_, port)) = line.split_once("was started successfully on port ") {
            return port.trim_end_matches('.').parse().expect("a port");
        }
    }
    panic!("chromedriver ends without a word about its port");
}

/// One request, and the answer's body. Blocks, which other threads do not mind.
fn http(port: u16, method: &str, path: &str, body: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let head = "host: localhost\r\nconnection: close\r\ncontent-type: application/json";
    write!(stream, "{method} {path} HTTP/1.1\r\n{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())?;
    // By its length: chromedriver does not close.
    let mut answer = io::BufReader::new(stream);
    let (mut line, mut status, mut length) = (String::new(), String::new(), 0);
    while answer.read_line(&mut line)? > 0 && !line.trim().is_empty() {
        match line.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
            Some(_) => {}
            None => status.push_str(line.trim()),
        }
        line.clear();
    }
    let mut body = vec![0; length];
    answer.read_exact(&mut body)?;
    let body = String::from_utf8_lossy(&body).into_owned();
    if status == "HTTP/1.1 200 OK" { Ok(body) } else { Err(io::Error::other(format!("{status}: {body}"))) }
}

/// A test in JavaScript: an answer has come to whoever had asked.
fn an_answer_in(term: Term) -> String {
    format!(
        "frame => frame.method === 'relayed' && frame.data.frame.method === 'answerLeader' \
         && frame.data.frame.data.term === {term} && frame.data.to === frame.data.frame.data.destinationId"
    )
}

/// A frame of the ring on its way from hand to hand.
#[derive(Debug)]
struct Hop {
    from: ClientId,
    to: ClientId,
    sender: ClientId,
    method: &'static str,
}

fn relayed(seen: &[Frame]) -> Vec<(&Relayed, Frame)> {
    let relayed = seen.iter().filter_map(|frame| match &frame.body {
        Body::Relayed(hop) => Some((hop, wire::decode(hop.frame.get()).expect("a frame was relayed"))),
        _ => None,
    });
    relayed.collect()
}

/// Those of a term: with sender, receiver, method and term, as is promised of each.
fn hops_in(term: Term, relayed: &[(&Relayed, Frame)]) -> Vec<Hop> {
    let mut hops = vec![];
    for (hop, frame) in relayed {
        let Body::Ring(message) = &frame.body else { panic!("{frame:?} is no frame of the ring") };
        let stamp = match message {
            RingMessage::Election(election) => election.term,
            RingMessage::NewLeader(announcement) => announcement.term,
            RingMessage::CheckLeader(check) => check.term,
            RingMessage::AnswerLeader(answer) => answer.term,
            RingMessage::Lease(_) => panic!("no lease is shown to spectators"),
            RingMessage::LeaderLeft(_) => continue, // out of nobody's hands: the hub's own
        };
        if stamp.expect("the hub stamps each frame") == term {
            let from = hop.from.clone().expect("it was in somebody's hands");
            let sender = frame.sender_id.clone().expect("it started from somebody");
            hops.push(Hop { from, to: hop.to.clone(), sender, method: message.method() });
        }
    }
    hops
}

fn as_error<R>(body: &Body<R>) -> Option<(ErrorCode, Option<&str>)> {
    match body {
        Body::Error(error) => Some((error.code, error.about.as_deref())),
        _ => None,
    }
}
