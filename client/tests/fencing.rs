//! `docs/leadership.md`: what it shows is run here, out of the page itself.

// What these tests unwrap, they check.
#![allow(clippy::unwrap_used)]

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::put;
use ringleader_client::{Fence, FenceError, FileFence};
use ringleader_shared::id::Term;
use rusqlite::{Connection, ErrorCode, named_params};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const PAGE: &str = include_str!("../../docs/leadership.md");

/// The page's blocks in that language, from the top.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("\n```{language}\n");
    PAGE.split(fence.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

fn term(value: u64) -> Term {
    Term::new(value).unwrap()
}

#[test]
fn the_rust_on_the_page_stands_in_this_file() {
    let shown = blocks("rust");
    assert_eq!(shown.len(), 2);
    for block in shown {
        assert!(include_str!("fencing.rs").contains(block), "not here, word for word:\n{block}");
    }
}

// Before a file.

struct Report {
    fence: FileFence,
    file: File,
}

impl Report {
    // `&mut self`: nobody else is admitted until this line is written.
    fn append(&mut self, term: Term, line: &str) -> Result<(), Box<dyn Error>> {
        self.fence.admit(term)?;
        Ok(writeln!(self.file, "{line}")?)
    }
}

#[test]
fn a_leader_of_the_past_appends_nothing_to_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("report");
    let open = || Report {
        fence: FileFence::open(directory.path().join("report.fence")).unwrap(),
        file: File::options().append(true).create(true).open(&path).unwrap(),
    };
    let mut report = open();
    report.append(term(17), "seventeen").unwrap();
    report.append(term(18), "eighteen").unwrap();
    drop(report);
    let mut report = open();
    let error = report.append(term(17), "late").unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(FenceError::Stale(_))), "{error}");
    report.append(term(18), "more").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "seventeen\neighteen\nmore\n");
}

const CHILD: &str = "RINGLEADER_TEST_FENCE";

/// Runs itself as a child that admits ever newer terms, and kills that.
#[test]
fn a_fence_killed_while_it_writes_forgets_nobody_it_admitted() {
    if let Some(path) = std::env::var_os(CHILD) {
        admit_without_end(Path::new(&path));
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fence");
    let mut newest = 0;
    for admissions in [1, 2, 3, 5, 8, 13, 21] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_fence_killed_while_it_writes_forgets_nobody_it_admitted", "--nocapture"])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut admitted = lines.filter_map(|line| line.strip_prefix("admitted ")?.parse::<u64>().ok());
        for _ in 0..admissions {
            newest = admitted.next().expect("the child admits until it is killed");
        }
        child.kill().unwrap();
        newest = admitted.last().unwrap_or(newest);
        child.wait().unwrap();

        let mut fence = FileFence::open(&path).unwrap();
        let error = fence.admit(term(newest - 1)).unwrap_err();
        let FenceError::Stale(stale) = error else { panic!("{error}") };
        assert!((newest..=newest + 1).contains(&stale.newest.get()), "{newest} was admitted, found {stale:?}");
        newest = stale.newest.get();
    }
}

/// Ends by the pipe that nobody reads any more, if not before.
fn admit_without_end(path: &Path) -> ! {
    let mut fence = FileFence::open(path).unwrap();
    let mut next = match fence.admit(Term::NONE) {
        Err(FenceError::Stale(stale)) => stale.newest,
        other => panic!("{other:?}"),
    };
    loop {
        next = next.next().unwrap();
        fence.admit(next).unwrap();
        println!("\nadmitted {next}");
    }
}

// Before a SQL table.

/// The statements on the page: the tables, the row's own fence, the ring's fence.
fn statements() -> [&'static str; 3] {
    blocks("sql").try_into().expect("three blocks of SQL")
}

/// Two connections to one database that wait for nobody.
fn two_writers() -> (tempfile::TempDir, Connection, Connection) {
    let directory = tempfile::tempdir().unwrap();
    let open = || {
        let connection = Connection::open(directory.path().join("lamps.sqlite")).unwrap();
        connection.busy_timeout(std::time::Duration::ZERO).unwrap();
        connection
    };
    let (old, new) = (open(), open());
    old.execute_batch(statements()[0]).unwrap();
    old.execute("INSERT INTO lamps (id, colour) VALUES ('hall', 'off')", []).unwrap();
    (directory, old, new)
}

fn paint(writer: &Connection, colour: &str, term: u64) -> usize {
    let values = named_params! { ":colour": colour, ":term": term.cast_signed(), ":id": "hall" };
    writer.execute(statements()[1], values).unwrap()
}

fn enter(writer: &Connection, term: u64) -> rusqlite::Result<usize> {
    writer.execute(statements()[2], named_params! { ":term": term.cast_signed(), ":ring": "default" })
}

fn colours(reader: &Connection) -> Vec<String> {
    let mut all = reader.prepare("SELECT colour FROM lamps ORDER BY id").unwrap();
    all.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn a_leader_of_the_past_changes_no_row() {
    let (_directory, old, new) = two_writers();
    assert_eq!(paint(&old, "nobody's", 0), 0, "term 0 is no leader's");
    assert_eq!(paint(&old, "white", 1), 1);
    assert_eq!(paint(&old, "red", 17), 1);
    assert_eq!(paint(&new, "green", 18), 1);
    assert_eq!(paint(&old, "red again", 17), 0);
    assert_eq!(colours(&old), ["green"]);
    assert_eq!(paint(&new, "blue", 18), 1, "the same leader acts again");
    assert_eq!(colours(&old), ["blue"]);
}

#[test]
fn a_leader_of_the_past_inserts_no_row() {
    let (_directory, mut old, mut new) = two_writers();
    let insert = "INSERT INTO lamps (id, colour) VALUES (?1, ?2)";

    // While the old leader is in its transaction, the new one waits.
    let transaction = old.transaction().unwrap();
    assert_eq!(enter(&transaction, 17).unwrap(), 1);
    transaction.execute(insert, ["cellar", "red"]).unwrap();
    assert_eq!(enter(&new, 18).unwrap_err().sqlite_error_code(), Some(ErrorCode::DatabaseBusy));
    transaction.commit().unwrap();

    let transaction = new.transaction().unwrap();
    assert_eq!(enter(&transaction, 18).unwrap(), 1);
    transaction.execute(insert, ["attic", "green"]).unwrap();
    transaction.commit().unwrap();

    assert_eq!(enter(&old.transaction().unwrap(), 17).unwrap(), 0, "too late: rolled back");
    assert_eq!(enter(&new, 0).unwrap(), 0);
    assert_eq!(colours(&old), ["green", "red", "off"]);
}

// Before an HTTP service.

struct Lamp {
    fence: Fence,
    colour: String,
}

async fn set_lamp(State(lamp): State<Arc<Mutex<Lamp>>>, headers: HeaderMap, colour: String) -> (StatusCode, String) {
    let shown = headers.get("ringleader-term").and_then(|value| value.to_str().ok()?.parse().ok());
    let Some(term) = shown.and_then(Term::new) else {
        return (StatusCode::BAD_REQUEST, "expected a header such as Ringleader-Term: 17".into());
    };
    let mut lamp = lamp.lock().expect("no holder panics");
    match lamp.fence.admit(term) {
        Ok(()) => {
            lamp.colour = colour; // still under the lock
            (StatusCode::OK, String::new())
        }
        Err(stale) => (StatusCode::PRECONDITION_FAILED, stale.to_string()),
    }
}

#[tokio::test]
async fn a_leader_of_the_past_is_answered_412() {
    let lamp = Arc::new(Mutex::new(Lamp { fence: Fence::new(), colour: "off".into() }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = Router::new().route("/lamp", put(set_lamp)).with_state(lamp.clone());
    tokio::spawn(axum::serve(listener, service).into_future());

    let [request, refusal] = blocks("http").try_into().expect("a request and a refusal");
    let of_term = |header: &str| request.replace("Ringleader-Term: 17\n", header);
    let colour = || lamp.lock().unwrap().colour.clone();
    let ask = async |request: &str| {
        let request = request.trim_end().replace('\n', "\r\n").replacen("\r\n", "\r\nConnection: close\r\n", 1);
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        format!("{}\n\n{body}\n", head.lines().next().unwrap())
    };

    assert_eq!(ask(request).await, "HTTP/1.1 200 OK\n\n\n");
    assert_eq!(colour(), "green");
    let newer = of_term("Ringleader-Term: 18\n").replace("green", "white");
    assert_eq!(ask(&newer).await, "HTTP/1.1 200 OK\n\n\n");
    assert_eq!(ask(request).await, refusal);
    for no_term in ["", "Ringleader-Term: seventeen\n", "Ringleader-Term: -1\n", "Ringleader-Term: 9007199254740992\n"]
    {
        let answer = ask(&of_term(no_term)).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{no_term}: {answer}");
    }
    assert_eq!(colour(), "white");
}
