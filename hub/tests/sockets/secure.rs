//! Tokens, and TLS.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringleader_hub::tls;
use ringleader_hub::token::{Token, Tokens};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::support::*;

const JOIN: &str = "join/0123456789+abc==";
const WATCH: &str = "watch-0123456789-abc";

async fn hub(join: Option<&str>, watch: Option<&str>) -> Hub {
    let token = |text: Option<&str>| text.map(|text| Token::new(text).unwrap());
    let tokens = Tokens { join: token(join), watch: token(watch) };
    Hub::with(|config| config.tokens = tokens).await
}

async fn status(hub: &Hub, path: &str, headers: &[(&str, &str)]) -> u16 {
    match Peer::connect(hub.address, path, headers).await {
        Ok(_) => 101,
        Err(answer) => {
            assert!(answer.body.contains("error"), "{path} says why: {answer:?}");
            assert!(answer.status != 401 || answer.head.contains(r#""www-authenticate": "bearer""#), "{answer:?}");
            answer.status
        }
    }
}

fn bearer(token: &str) -> (&'static str, String) {
    ("authorization", format!("Bearer {token}"))
}

#[tokio::test]
async fn joining_takes_the_token_and_watching_does_not() {
    let hub = hub(Some(JOIN), None).await;
    let (name, right) = bearer(JOIN);
    let right = [(name, right.as_str())];
    for path in ["/?join", "/rings/blue?join"] {
        assert_eq!(status(&hub, path, &[]).await, 401, "{path}");
        assert_eq!(status(&hub, path, &right).await, 101, "{path}");
        let (name, wrong) = bearer("join/0123456789+abc=!");
        assert_eq!(status(&hub, path, &[(name, &wrong)]).await, 401, "{path}");
    }
    let mut member = Peer::connect(hub.address, "/?join", &right).await.unwrap();
    member.join(3).await;
    // Who says nothing of joining watches, and may not join later.
    let mut watching = hub.connect("/").await;
    watching.send(frame("greeting", json!({ "rank": 9, "forwards": true }))).await;
    assert_eq!(watching.error().await["code"], "watch-only");
    assert_eq!(hub.members().await, [member.id.clone()]);
    // With the token it may.
    let mut later = Peer::connect(hub.address, "/", &right).await.unwrap();
    later.join(7).await;
    // A wrong one is a mistake that whoever made it has to hear of, also where none is needed.
    assert_eq!(status(&hub, "/", &[("authorization", "Bearer of-something-else")]).await, 401);
    assert_eq!(status(&hub, "/watch", &[]).await, 101);
}

#[tokio::test]
async fn with_a_watch_token_nothing_is_seen_without_one() {
    let hub = hub(Some(JOIN), Some(WATCH)).await;
    for path in ["/", "/watch", "/rings/default", "/rings/default/watch", "/?join"] {
        assert_eq!(status(&hub, path, &[]).await, 401, "{path}");
    }
    let get = async |path: &str, token: &str| {
        let head = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
        hub.request(&format!("GET {path} HTTP/1.1\r\nHost: hub\r\n{head}Connection: close\r\n\r\n")).await.status
    };
    for path in ["/rings", "/rings/default", "/rings/nowhere", "/rings/default/leader", "/watch", "/nothing"] {
        assert_eq!(get(path, "").await, 401, "{path}");
        assert_eq!(get(path, "of-something-else").await, 401, "{path}");
        assert_eq!((get(path, WATCH).await, get(path, JOIN).await), (get(path, WATCH).await, get(path, WATCH).await));
        assert_ne!(get(path, WATCH).await, 401, "{path}");
    }
    assert_eq!((get("/", "").await, get("/healthz", "").await), (200, 200), "these are for anybody");
    let (name, watch) = bearer(WATCH);
    let watch = [(name, watch.as_str())];
    assert_eq!(status(&hub, "/watch", &watch).await, 101);
    assert_eq!(status(&hub, "/?join", &watch).await, 401, "who may watch may not join");
    let mut watching = Peer::connect(hub.address, "/", &watch).await.unwrap();
    watching.send(frame("greeting", json!({ "rank": 9, "forwards": true }))).await;
    assert_eq!(watching.error().await["code"], "watch-only");
    let (name, join) = bearer(JOIN);
    Peer::connect(hub.address, "/?join", &[(name, &join)]).await.unwrap().join(3).await;
}

/// The subprotocol that the hub chooses, where a page offers these.
async fn chosen(hub: &Hub, path: &str, origin: &str, offered: &str) -> Option<String> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: hub\r\nOrigin: {origin}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: {offered}\r\n\r\n"
    );
    // A goodbye right behind it, so that the answer comes to an end.
    let mut stream = TcpStream::connect(hub.address).await.unwrap();
    stream.write_all(&[request.as_bytes(), &masked(0x88, b"")].concat()).await.unwrap();
    let answer = read_all(&mut stream).await;
    assert!(!answer.to_lowercase().contains("bearer."), "a token is never said again: {answer}");
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    let head = answer.to_lowercase();
    head.lines().find_map(|line| line.strip_prefix("sec-websocket-protocol: ")).map(String::from)
}

#[tokio::test]
async fn pages_show_a_token_as_a_subprotocol() {
    let hub = hub(Some(JOIN), Some(WATCH)).await;
    // As encodeURIComponent writes it.
    let encoded = "ringleader, bearer.join%2F0123456789%2Babc%3D%3D";
    let foreign = "http://elsewhere.example";
    assert_eq!(chosen(&hub, "/?join", foreign, encoded).await.as_deref(), Some("ringleader"));
    let watching = format!("bearer.{WATCH},ringleader");
    assert_eq!(chosen(&hub, "/watch", foreign, &watching).await.as_deref(), Some("ringleader"));
    for wrong in ["ringleader", "ringleader, bearer.of-something-else", "ringleader, bearer."] {
        assert_eq!(status(&hub, "/watch", &[("sec-websocket-protocol", wrong)]).await, 401, "{wrong}");
    }
    // A page that knows the token was given it, wherever it is from.
    let headers = [("origin", foreign), ("sec-websocket-protocol", encoded)];
    let mut page = Peer::connect(hub.address, "/", &headers).await.unwrap();
    page.join(3).await;
}

#[tokio::test]
async fn without_tokens_what_is_shown_opens_and_closes_nothing() {
    let hub = hub(None, None).await;
    assert_eq!(status(&hub, "/?join", &[("authorization", "Bearer whatever-it-is")]).await, 101);
    let offered = "ringleader, bearer.whatever-it-is";
    assert_eq!(chosen(&hub, "/", "http://hub", offered).await.as_deref(), Some("ringleader"));
    assert_eq!(chosen(&hub, "/", "http://hub", "chat, superchat").await, None);
    // The rule about origins stands.
    let headers = [("origin", "http://elsewhere.example"), ("sec-websocket-protocol", offered)];
    let mut page = Peer::connect(hub.address, "/", &headers).await.unwrap();
    page.send(frame("greeting", json!({ "rank": 9, "forwards": true }))).await;
    assert_eq!(page.error().await["code"], "watch-only");
}

#[tokio::test]
async fn a_token_in_a_url_is_refused() {
    for hub in [hub(Some(JOIN), None).await, hub(None, None).await] {
        for path in [format!("/?join&token={WATCH}"), "/watch?access_token=x".into(), "/healthz?token".into()] {
            assert_eq!(status(&hub, &path, &[]).await, 400, "{path}");
            let answer = hub.get(&path).await;
            assert!(answer.status == 400 && answer.body.contains("does not belong in a URL"), "{answer:?}");
        }
        assert_eq!(status(&hub, "/?tokens=7", &[]).await, 101);
    }
}

/// A certificate for a name of the test's own, and its key.
struct Papers {
    _directory: TempDir,
    cert: PathBuf,
    key: PathBuf,
}

impl Papers {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["hub.example".to_owned()]).unwrap();
        let directory = TempDir::new().unwrap();
        let (cert, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        Papers { _directory: directory, cert, key }
    }

    async fn hub(&self, change: impl FnOnce(&mut ringleader_hub::Config)) -> Hub {
        let server = tls::server(&self.cert, &self.key).unwrap();
        Hub::with(|config| {
            config.tls = Some(server);
            change(config);
        })
        .await
    }

    fn client(&self) -> Arc<ClientConfig> {
        tls::client_of(&self.cert).unwrap()
    }
}

async fn over_tls(hub: &Hub, client: Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(hub.address).await.unwrap();
    let name = ServerName::try_from("hub.example").unwrap();
    soon("the TLS handshake", TlsConnector::from(client).connect(name, stream)).await
}

async fn join_over_tls(hub: &Hub, papers: &Papers, rank: u32) -> Peer {
    let stream = over_tls(hub, papers.client()).await.unwrap();
    let mut peer = Peer::over("hub", stream, "/?join", &[]).await.unwrap();
    peer.join(rank).await;
    peer
}

#[tokio::test]
async fn a_ring_elects_over_tls() {
    let papers = Papers::new();
    let mut hub = papers.hub(|_| {}).await;
    let mut ring = vec![];
    for rank in [3, 9, 5] {
        ring.push(join_over_tls(&hub, &papers, rank).await);
    }
    let [mut a, mut b, mut c] = <[Peer; 3]>::try_from(ring).unwrap_or_else(|_| unreachable!());
    assert_eq!(elect([&mut a, &mut b, &mut c], 0).await["data"]["leaderId"], json!(b.id));
    // Many frames at once, and more than a TLS record holds.
    let stream = over_tls(&hub, papers.client()).await.unwrap();
    let mut spectator = Peer::over("hub", stream, "/", &[]).await.unwrap();
    for _ in 0..1_000 {
        a.send(check(&a.id, 1)).await;
    }
    for _ in 0..1_000 {
        assert!(is(&a.next().await, "newLeader"));
        assert!(is(&spectator.next().await, "relayed"));
    }
    c.close().await;
    let lasted = hub.stop().await;
    assert!(lasted < Duration::from_secs(1), "{lasted:?}");
    assert_eq!(spectator.closed().await, Some(1001));
}

#[tokio::test]
async fn then_nothing_else_is_spoken() {
    let papers = Papers::new();
    let hub = papers.hub(|_| {}).await;
    assert_eq!(hub.get("/healthz").await.status, 0, "no HTTP");
    let stranger = Papers::new();
    assert!(over_tls(&hub, stranger.client()).await.is_err(), "another certificate is not trusted");
}

/// One time for both: who takes it for the TLS handshake has none left to ask.
#[tokio::test]
async fn a_tls_handshake_and_a_head_have_the_handshakes_time_together() {
    let limit = Duration::from_millis(800);
    let papers = Papers::new();
    let hub = papers.hub(|config| config.limits.handshake = limit).await;
    for first in [&b""[..], b"\x16\x03\x01\x02\x00\x01", b"\x16"] {
        let begin = Instant::now();
        let mut stream = TcpStream::connect(hub.address).await.unwrap();
        stream.write_all(first).await.unwrap();
        read_all(&mut stream).await;
        let lasted = begin.elapsed();
        assert!((limit..limit * 4).contains(&lasted), "{}: after {lasted:?}", first.escape_ascii());
    }
    let begin = Instant::now();
    let stream = TcpStream::connect(hub.address).await.unwrap();
    tokio::time::sleep(limit / 2).await;
    let name = ServerName::try_from("hub.example").unwrap();
    let mut stream = TlsConnector::from(papers.client()).connect(name, stream).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
    read_all(&mut stream).await;
    let lasted = begin.elapsed();
    assert!((limit..limit * 5 / 4).contains(&lasted), "the head is timed from connecting: {lasted:?}");
}

#[tokio::test]
async fn files_that_do_not_do_are_named() {
    let (papers, others) = (Papers::new(), Papers::new());
    let nowhere = PathBuf::from("/nowhere/cert.pem");
    let empty = papers.cert.with_file_name("empty.pem");
    std::fs::write(&empty, "").unwrap();
    for (cert, key, named, expected) in [
        (&nowhere, &papers.key, &nowhere, "expected certificates in PEM"),
        (&papers.key, &papers.key, &papers.key, "expected certificates in PEM"),
        (&empty, &papers.key, &empty, "there is none in it"),
        (&papers.cert, &papers.cert, &papers.cert, "expected a private key in PEM"),
        (&papers.cert, &nowhere, &nowhere, "No such file"),
        (&papers.cert, &others.key, &others.key, "expected a certificate and its own key"),
    ] {
        let error = tls::server(cert, key).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains(named.to_str().unwrap()), "{error}");
    }
}

#[tokio::test]
async fn the_health_check_knows_its_own_hub() {
    let (papers, others) = (Papers::new(), Papers::new());
    let text = |path: &PathBuf| path.to_str().unwrap().to_owned();
    let hub = Process::start(&["--tls-cert", &text(&papers.cert), "--tls-key", &text(&papers.key)]).await;
    assert!(hub.first_line.starts_with("listening on wss://127.0.0.1:"), "{}", hub.first_line);
    let address = hub.address.to_string();
    let check = async |arguments: &[&str]| {
        let output = run_hub(&[&["healthcheck", "--listen", &address], arguments].concat()).await;
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let (well, told) = check(&["--tls-cert", &text(&papers.cert)]).await;
    assert!(well, "{told}");
    for arguments in [&["--tls-cert", &text(&others.cert)][..], &[], &["--tls-cert", "/nowhere"]] {
        let (well, told) = check(arguments).await;
        assert!(!well && !told.is_empty(), "{arguments:?}: {told}");
    }
}
