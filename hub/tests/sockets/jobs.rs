//! Jobs at the hub: submitted, shown, cancelled, and done by whoever leads.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ringleader_hub::store::Store;
use ringleader_hub::token::{Token, Tokens};
use ringleader_shared::factorial::board::AT_A_TIME;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::support::*;

const JOBS: &str = "/rings/default/jobs";

/// A request with a body, and with more lines in its head.
async fn ask_with(hub: SocketAddr, method: &str, path: &str, head: &str, body: &str) -> Answer {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: hub\r\nConnection: close\r\nContent-Length: {length}\r\n{head}\r\n{body}"
    );
    request_at(hub, &request).await
}

async fn ask(hub: &Hub, method: &str, path: &str, body: impl ToString) -> Answer {
    ask_with(hub.address, method, path, "", &body.to_string()).await
}

/// Submits n! to the default ring; the job's id.
async fn submit(hub: SocketAddr, n: u32) -> String {
    let answer = ask_with(hub, "POST", JOBS, "", &json!({ "factorial": n }).to_string()).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.json()["jobId"].as_str().unwrap().to_owned()
}

async fn job(hub: &Hub, id: &str) -> Value {
    let answer = hub.get(&format!("{JOBS}/{id}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn reason(answer: &Answer) -> String {
    answer.json()["error"].as_str().unwrap_or_else(|| panic!("no reason: {answer:?}")).to_owned()
}

fn refused(answer: &Answer) -> (u16, Value) {
    (answer.status, answer.json()["refusal"]["kind"].clone())
}

/// What the hub tells the coordinator.
fn told(to: &Peer, term: u64, body: Value) -> Value {
    frame("message", json!({ "destinationId": to.id, "term": term, "body": body }))
}

/// Claims the jobs of the default ring.
async fn claim(hub: &Hub, by: &Peer, term: u64) -> Answer {
    ask(hub, "POST", "/rings/default/coordinator", json!({ "clientId": by.id, "term": term })).await
}

/// Writes down that these parts are done, and how far the job is by that.
async fn checkpoint(hub: &Hub, job: &str, term: u64, sequence: u64, change: impl FnOnce(&mut Value)) -> Answer {
    let tally = json!({ "term": term, "done": sequence, "again": 0, "reassigned": 0, "workers": [] });
    let mut checkpoint = json!({ "jobId": job, "term": term, "sequence": sequence, "parts": [], "tally": tally });
    change(&mut checkpoint);
    ask(hub, "POST", &format!("{JOBS}/{job}/checkpoint"), checkpoint).await
}

fn product(job: &str, level: u8, index: u32, product: &str) -> Value {
    json!({ "jobId": job, "level": level, "index": index, "product": product })
}

async fn hub_with_store(directory: &TempDir) -> Hub {
    let store = Store::open(directory.path()).unwrap();
    Hub::with(|config| config.store = Some(store)).await
}

#[tokio::test]
async fn a_job_says_what_it_waits_for() {
    let hub = Hub::start().await;
    let answer = ask(&hub, "POST", "/rings/lab/jobs", r#"{"factorial": 10}"#).await;
    let mut expected = json!({
        "jobId": answer.json()["jobId"], "factorial": 10, "state": "waiting",
        "parts": { "done": 0, "all": 4, "again": 0 }, "reassigned": 0, "term": null, "workers": [], "result": null,
        "waitsFor": "a coordinator: the ring has no members", "reason": null,
    });
    assert_eq!((answer.status, answer.json()), (202, expected.clone()));
    let path = format!("/rings/lab/jobs/{}", expected["jobId"].as_str().unwrap());
    assert!(answer.head.contains(&format!("location: {path}\r\n")), "{}", answer.head);
    assert_eq!(hub.get(&path).await.json(), expected);
    let rings = hub.get("/rings").await.json();
    assert_eq!(rings["rings"][1]["ring"], "lab", "a ring with jobs is not forgotten: {rings}");

    let waits_for = async || hub.get(&path).await.json()["waitsFor"].clone();
    let mut leader = hub.connect("/rings/lab?join").await;
    leader.join(9).await;
    assert_eq!(waits_for().await, "a coordinator: nobody leads");
    elect([&mut leader], 0).await;
    assert_eq!(waits_for().await, "a coordinator: the leader takes no jobs");
    let claim = json!({ "clientId": leader.id, "term": 1 });
    let claimed = ask(&hub, "POST", "/rings/lab/coordinator", claim).await;
    assert_eq!((claimed.status, &claimed.json()["jobs"][0]["jobId"]), (200, &expected["jobId"]));
    assert_eq!(waits_for().await, "a worker: the ring has one member, and it coordinates");
    let mut worker = hub.connect("/rings/lab?join").await;
    worker.join(3).await;
    (expected["state"], expected["waitsFor"], expected["term"]) = (json!("running"), Value::Null, json!(1));
    assert_eq!(hub.get(&path).await.json(), expected);
}

#[tokio::test]
async fn jobs_are_listed_in_the_order_in_which_they_came() {
    let hub = Hub::start().await;
    assert_eq!(hub.get(JOBS).await.json(), json!({ "jobs": [] }));
    let mut ids = vec![];
    for n in [3, 1, 2] {
        ids.push(submit(hub.address, n).await);
    }
    let list = hub.get(JOBS).await;
    assert!(list.head.contains("content-type: application/json"), "{}", list.head);
    let list = list.json();
    let jobs = list["jobs"].as_array().unwrap();
    let listed: Vec<_> = jobs.iter().map(|job| (job["jobId"].as_str().unwrap(), job["factorial"].as_u64())).collect();
    let expected: Vec<_> = ids.iter().map(String::as_str).zip([Some(3), Some(1), Some(2)]).collect();
    assert_eq!(listed, expected);
    let mut shown = job(&hub, &ids[0]).await;
    for detail in ["workers", "result"] {
        assert!(shown.as_object_mut().unwrap().remove(detail).is_some(), "{detail} is shown of one job");
    }
    assert_eq!(jobs[0], shown, "and not in a list");
}

#[tokio::test]
async fn a_coordinator_is_given_the_oldest_jobs_and_the_others_wait_for_their_turn() {
    let hub = Hub::start().await;
    let [mut a, mut b] = hub.ring([9, 3]).await;
    elect([&mut a, &mut b], 0).await;
    let mut ids = vec![];
    for _ in 0..=AT_A_TIME {
        ids.push(submit(hub.address, 10).await);
    }
    let claimed = claim(&hub, &a, 1).await.json();
    let given: Vec<_> = claimed["jobs"].as_array().unwrap().iter().map(|job| job["jobId"].as_str().unwrap()).collect();
    assert_eq!(given, ids[..AT_A_TIME]);
    let next = job(&hub, &ids[AT_A_TIME]).await;
    assert_eq!((&next["state"], &next["waitsFor"]), (&json!("waiting"), &json!("its turn")));
    assert_eq!(job(&hub, &ids[0]).await["waitsFor"], Value::Null);
}

#[tokio::test]
async fn bad_input_is_answered_with_what_was_expected() {
    let hub = Hub::start().await;
    let number = |got: &str| format!("whole number from 0 to 100000, got {got} (the hub's limit is --max-factorial)");
    let table = [
        (r#"{"factorial": -3}"#, number("-3")),
        (r#"{"factorial": 10.5}"#, number("10.5")),
        (r#"{"factorial": "ten"}"#, number(r#""ten""#)),
        (r#"{"factorial": 1000000000}"#, number("1000000000")),
        (r#"{"factorial": 100001}"#, number("100001")),
        (r#"{"fibonacci": 3}"#, r#"unknown kind of job "fibonacci": this hub knows {"factorial": n}"#.into()),
        ("{}", "factorial: missing".into()),
        ("", r#"expected {"factorial": n} as JSON"#.into()),
        ("factorial=10", r#"expected {"factorial": n} as JSON"#.into()),
        ("\0\0\0\0", r#"expected {"factorial": n} as JSON"#.into()),
    ];
    for (body, expected) in table {
        let answer = ask(&hub, "POST", JOBS, body).await;
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        assert!(reason(&answer).contains(&expected), "{body}: {answer:?}");
    }
    for (key, expected) in [("", 400), ("two words", 400), (&"x".repeat(256), 400), (&"x".repeat(255), 202)] {
        let head = format!("Idempotency-Key: {key}\r\n");
        let answer = ask_with(hub.address, "POST", JOBS, &head, r#"{"factorial": 3}"#).await;
        assert_eq!(answer.status, expected, "{key}: {answer:?}");
    }
    for length in [16 * 1024 + 1, 900_000] {
        let long = format!(r#"{{"factorial": 3}}{}"#, " ".repeat(length));
        let answer = ask(&hub, "POST", JOBS, &long).await;
        assert!(answer.status == 413 && reason(&answer).contains("at most 16384 bytes"), "{length}: {answer:?}");
    }
    let chunked =
        "POST /rings/default/jobs HTTP/1.1\r\nHost: hub\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = hub.request(&format!("{chunked}10\r\n{{\"factorial\": 4}}\r\n0\r\n\r\n")).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let answer = hub.request(&format!("{chunked}zz\r\n")).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert_eq!(ask(&hub, "POST", "/rings/two%20words/jobs", r#"{"factorial": 3}"#).await.status, 400);
    assert_eq!(hub.get(JOBS).await.json()["jobs"].as_array().unwrap().len(), 2, "nothing else was taken");
}

#[tokio::test]
async fn what_is_not_there_says_so() {
    let hub = Hub::start().await;
    let gone = "0199e0f8-5f4c-7000-8000-000000000000";
    for (method, path) in [
        ("GET", format!("{JOBS}/{gone}")),
        ("GET", format!("{JOBS}/nonsense")),
        ("DELETE", format!("{JOBS}/{gone}")),
        ("GET", format!("{JOBS}/{gone}/parts/0/0")),
        ("GET", format!("{JOBS}/{gone}/parts?term=0")),
        ("PUT", format!("{JOBS}/{gone}/parts/0/0?term=0")),
    ] {
        let answer = ask(&hub, method, &path, "1").await;
        assert_eq!(refused(&answer), (404, json!("noSuchJob")), "{method} {path}: {answer:?}");
        let answer = ask(&hub, method, &path.replace("default", "nowhere"), "1").await;
        assert!(answer.status == 404 && reason(&answer).contains("no ring nowhere"), "{method} {path}: {answer:?}");
        assert_eq!(answer.json()["refusal"], Value::Null);
    }
    let id = submit(hub.address, 10).await;
    for place in ["0/0", "0/3", "7/7", "300/0", "x/0", "0/-1"] {
        let answer = hub.get(&format!("{JOBS}/{id}/parts/{place}")).await;
        assert_eq!(refused(&answer), (404, json!("noSuchPart")), "{place}: {answer:?}");
    }
    for (method, path) in [("PUT", JOBS), ("POST", &*format!("{JOBS}/{id}")), ("GET", "/rings/default/coordinator")] {
        assert_eq!(ask(&hub, method, path, "").await.status, 405, "{method} {path}");
    }
    assert_eq!(hub.get("/rings").await.json()["rings"].as_array().unwrap().len(), 1, "asking makes no ring");
}

#[tokio::test]
async fn a_job_is_cancelled_once() {
    let hub = Hub::start().await;
    let id = submit(hub.address, 10).await;
    let path = format!("{JOBS}/{id}");
    for _ in 0..2 {
        let answer = ask(&hub, "DELETE", &path, "").await;
        let state = answer.json();
        assert_eq!((answer.status, &state["state"], &state["waitsFor"]), (200, &json!("cancelled"), &Value::Null));
    }
    let [mut leader] = hub.ring([9]).await;
    elect([&mut leader], 0).await;
    assert_eq!(claim(&hub, &leader, 1).await.json(), json!({ "term": 1, "jobs": [] }), "nobody does it any more");
    let late = checkpoint(&hub, &id, 1, 1, |_| {}).await;
    assert_eq!(refused(&late), (409, json!("ended")));
    assert_eq!(late.json()["refusal"]["state"], "cancelled");
}

#[tokio::test]
async fn there_are_only_so_many_jobs() {
    let hub = Hub::with(|config| {
        (config.limits.jobs, config.limits.factorial, config.limits.rings) = (2, 20, 2);
    })
    .await;
    let first = submit(hub.address, 20).await;
    submit(hub.address, 20).await;
    let full = ask(&hub, "POST", JOBS, r#"{"factorial": 3}"#).await;
    assert_eq!(refused(&full), (503, json!("full")));
    assert!(reason(&full).contains("--max-jobs"), "{full:?}");
    assert_eq!(ask(&hub, "DELETE", &format!("{JOBS}/{first}"), "").await.status, 200);
    submit(hub.address, 0).await;
    let large = ask(&hub, "POST", JOBS, r#"{"factorial": 21}"#).await;
    assert!(large.status == 400 && reason(&large).contains("from 0 to 20, got 21"), "{large:?}");
    // A ring with jobs counts among the rings, and is not forgotten for another.
    assert_eq!(ask(&hub, "POST", "/rings/lab/jobs", r#"{"factorial": 3}"#).await.status, 202);
    let many = ask(&hub, "POST", "/rings/yard/jobs", r#"{"factorial": 3}"#).await;
    assert!(many.status == 503 && reason(&many).contains("2 rings"), "{many:?}");
}

#[tokio::test]
async fn a_coordinator_does_a_job_and_commits_it_once() {
    let hub = Hub::start().await;
    let [mut leader, mut worker] = hub.ring([9, 3]).await;
    elect([&mut leader, &mut worker], 0).await;
    let id = submit(hub.address, 10).await;
    for (by, term) in [(&worker, 1), (&leader, 0), (&leader, 2)] {
        let answer = claim(&hub, by, term).await;
        assert_eq!(refused(&answer), (409, json!("staleTerm")), "{} in {term}", by.rank);
        assert_eq!((&answer.json()["refusal"]["got"], &answer.json()["refusal"]["newest"]), (&json!(term), &json!(1)));
    }
    let claimed = claim(&hub, &leader, 1).await;
    let tally = json!({ "term": 0, "done": 0, "again": 0, "reassigned": 0, "workers": [] });
    let open = json!({ "jobId": id, "factorial": 10, "sequence": 0, "begun": false, "tally": tally });
    assert_eq!((claimed.status, claimed.json()), (200, json!({ "term": 1, "jobs": [open] })));
    assert_eq!(job(&hub, &id).await["state"], "running");

    let two = |parts: &mut Value| parts["parts"] = json!([product(&id, 0, 0, "13b0"), product(&id, 0, 1, "168")]);
    for _ in ["as it is", "once more, since the answer may have been lost"] {
        let saved = checkpoint(&hub, &id, 1, 1, two).await;
        assert_eq!((saved.status, saved.json()), (200, json!({ "sequence": 1 })));
    }
    for (sequence, expected) in [(0, 2), (3, 2)] {
        let answer = checkpoint(&hub, &id, 1, sequence, two).await;
        assert_eq!(refused(&answer), (409, json!("outOfOrder")));
        let refusal = &answer.json()["refusal"];
        assert_eq!((&refusal["got"], &refusal["expected"]), (&json!(sequence), &json!(expected)));
    }
    for (what, change) in [
        ("no such part", json!([product(&id, 7, 0, "1")])),
        (
            "a product that is not kept",
            json!([{ "jobId": id, "level": 0, "index": 2, "product": { "level": 0, "index": 2 } }]),
        ),
    ] {
        let answer = checkpoint(&hub, &id, 1, 2, |checkpoint| checkpoint["parts"] = change).await;
        assert_eq!(refused(&answer), (404, json!("noSuchPart")), "{what}: {answer:?}");
    }
    for (field, value) in [
        ("jobId", json!("0199e0f8-5f4c-7000-8000-000000000000")),
        ("parts", json!([product(&id, 0, 2, "0x2")])),
        ("end", json!({ "done": "3628800\n" })),
        ("end", json!({ "done": "" })),
        ("term", json!(-1)),
    ] {
        let answer = checkpoint(&hub, &id, 1, 2, |checkpoint| checkpoint[field] = value).await;
        assert_eq!(answer.status, 400, "{field}: {answer:?}");
    }

    let place = format!("{JOBS}/{id}/parts/0/2");
    for (query, number, expected) in
        [("?term=1", "2", 204), ("?term=1", "02", 400), ("", "2", 400), ("?term=x", "2", 400)]
    {
        let answer = ask(&hub, "PUT", &format!("{place}{query}"), number).await;
        assert_eq!(answer.status, expected, "{query} {number}: {answer:?}");
    }
    let answer = ask(&hub, "PUT", &format!("{place}?term=2"), "2").await;
    assert_eq!(refused(&answer), (409, json!("staleTerm")));
    let kept = hub.get(&place).await;
    assert_eq!((kept.status, &*kept.body), (200, "2"));
    let loaded = hub.get(&format!("{JOBS}/{id}/parts?term=1")).await.json();
    let part = |index: u32, product: &str| json!({ "level": 0, "index": index, "product": product });
    assert_eq!(loaded, json!({ "parts": [part(0, "13b0"), part(1, "168"), part(2, "2")] }));

    let credit = json!([{ "clientId": worker.id, "name": "rank-3", "parts": 4 }]);
    let done = |checkpoint: &mut Value| {
        checkpoint["end"] = json!({ "done": "3628800" });
        checkpoint["tally"]["workers"] = credit.clone();
    };
    for _ in ["as it is", "once more"] {
        assert_eq!(checkpoint(&hub, &id, 1, 2, done).await.json(), json!({ "sequence": 2 }));
    }
    let shown = job(&hub, &id).await;
    let expected = json!({
        "jobId": id, "factorial": 10, "state": "done", "parts": { "done": 4, "all": 4, "again": 0 },
        "reassigned": 0, "term": 1, "workers": credit, "result": "3628800", "waitsFor": null, "reason": null,
    });
    assert_eq!(shown, expected);
    let other = |checkpoint: &mut Value| checkpoint["end"] = json!({ "done": "1" });
    for answer in [checkpoint(&hub, &id, 1, 3, other).await, ask(&hub, "DELETE", &format!("{JOBS}/{id}"), "").await] {
        assert_eq!(refused(&answer), (409, json!("ended")));
        assert_eq!(answer.json()["refusal"]["state"], "done");
    }
    assert_eq!(job(&hub, &id).await, expected, "one result");
    assert_eq!(hub.get(&place).await.status, 404, "products are forgotten then");
    for peer in [&mut leader, &mut worker] {
        peer.has_nothing_more("of what went over HTTP").await;
    }
}

#[tokio::test]
async fn a_job_that_cannot_be_done_says_why() {
    let hub = Hub::start().await;
    let [mut leader] = hub.ring([9]).await;
    elect([&mut leader], 0).await;
    let id = submit(hub.address, 10).await;
    claim(&hub, &leader, 1).await;
    let why = format!("no worker can \u{1b}[31m multiply {}", "x".repeat(10_000));
    let failed = |checkpoint: &mut Value| checkpoint["end"] = json!({ "failed": why });
    assert_eq!(checkpoint(&hub, &id, 1, 1, failed).await.status, 200);
    let shown = job(&hub, &id).await;
    assert_eq!((&shown["state"], &shown["result"]), (&json!("failed"), &Value::Null));
    let reason = shown["reason"].as_str().unwrap();
    assert!(reason.starts_with("no worker can") && reason.chars().count() == 301, "it is shortened: {reason}");
    let warnings = hub.warnings();
    let line = warnings.iter().find(|line| line.contains("10! cannot be done: no worker can"));
    assert!(line.is_some_and(|line| line.len() < 600 && !line.contains('\u{1b}')), "{warnings:?}");
    assert_eq!(refused(&ask(&hub, "DELETE", &format!("{JOBS}/{id}"), "").await), (409, json!("ended")));
}

#[tokio::test]
async fn a_deposed_coordinator_changes_nothing() {
    let hub = Hub::start().await;
    let [mut a, mut b] = hub.ring([9, 3]).await;
    elect([&mut a, &mut b], 0).await;
    let id = submit(hub.address, 10).await;
    claim(&hub, &a, 1).await;
    let first = |checkpoint: &mut Value| checkpoint["parts"] = json!([product(&id, 0, 0, "13b0")]);
    assert_eq!(checkpoint(&hub, &id, 1, 1, first).await.status, 200);
    elect([&mut b, &mut a], 1).await;

    let done = |checkpoint: &mut Value| checkpoint["end"] = json!({ "done": "1" });
    let path = format!("{JOBS}/{id}");
    for answer in [
        checkpoint(&hub, &id, 1, 2, done).await,
        claim(&hub, &a, 1).await,
        hub.get(&format!("{path}/parts?term=1")).await,
        ask(&hub, "PUT", &format!("{path}/parts/0/2?term=1"), "2").await,
    ] {
        assert_eq!(refused(&answer), (409, json!("staleTerm")), "{answer:?}");
        assert_eq!(answer.json()["refusal"], json!({ "kind": "staleTerm", "got": 1, "newest": 2 }));
    }
    assert_eq!(job(&hub, &id).await["state"], "waiting", "nobody has claimed it in term 2");
    let claimed = claim(&hub, &a, 2).await.json();
    assert_eq!((&claimed["jobs"][0]["begun"], &claimed["jobs"][0]["sequence"]), (&json!(true), &json!(1)));
    let loaded = hub.get(&format!("{path}/parts?term=2")).await.json();
    assert_eq!(loaded, json!({ "parts": [{ "level": 0, "index": 0, "product": "13b0" }] }));
    let done = |checkpoint: &mut Value| checkpoint["end"] = json!({ "done": "3628800" });
    assert_eq!(checkpoint(&hub, &id, 2, 2, done).await.status, 200);
    assert_eq!(refused(&checkpoint(&hub, &id, 1, 3, done).await), (409, json!("staleTerm")));
    assert_eq!(job(&hub, &id).await["result"], "3628800");
    assert!(hub.warnings().iter().any(|line| line.contains("a coordinator was refused")), "{:?}", hub.warnings());
}

#[tokio::test]
async fn the_coordinator_is_told_of_jobs_and_of_who_comes_and_goes() {
    let hub = Hub::start().await;
    let [mut leader, mut worker] = hub.ring([9, 3]).await;
    elect([&mut leader, &mut worker], 0).await;
    let first = submit(hub.address, 10).await;
    leader.has_nothing_more("before it has claimed").await;
    claim(&hub, &leader, 1).await;
    let mut spectator = hub.connect("/watch").await;

    submit(hub.address, 10).await;
    assert_eq!(leader.next().await, told(&leader, 1, json!({ "kind": "jobs" })));
    let relayed = spectator.next().await;
    assert_eq!(summary(&relayed).1, None, "it is the hub's own: {relayed}");
    assert_eq!((summary(&relayed).2, summary(&relayed).3), (&*leader.id, "message"));
    assert_eq!(ask(&hub, "DELETE", &format!("{JOBS}/{first}"), "").await.status, 200);
    assert_eq!(leader.next().await, told(&leader, 1, json!({ "kind": "jobs" })));

    let third = hub.join(1).await;
    let id = third.id.clone();
    assert_eq!(leader.next().await, told(&leader, 1, json!({ "kind": "joined", "clientId": id })));
    third.close().await;
    assert_eq!(leader.next().await, told(&leader, 1, json!({ "kind": "left", "clientId": id })));
    hub.connect("/watch").await.close().await;
    worker.has_nothing_more("that is for the coordinator").await;
    leader.has_nothing_more("of who only watches").await;

    // With its connection all of that ends.
    leader.close().await;
    assert!(is(&worker.next().await, "leaderLeft"));
    submit(hub.address, 10).await;
    worker.has_nothing_more("while nobody coordinates").await;
}

#[tokio::test]
async fn a_leader_that_has_just_heard_of_it_is_the_leader_to_its_jobs_too() {
    let hub = Hub::start().await;
    let [mut leader] = hub.ring([9]).await;
    for term in 1..100 {
        elect([&mut leader], term - 1).await;
        let answer = claim(&hub, &leader, term).await;
        assert_eq!(answer.status, 200, "in term {term}: {answer:?}");
    }
}

#[tokio::test]
async fn the_same_key_is_the_same_job_also_after_a_restart() {
    let directory = TempDir::new().unwrap();
    let mut hub = hub_with_store(&directory).await;
    let keyed = async |hub: &Hub, key: &str, n: u32| {
        let head = format!("Idempotency-Key: {key}\r\n");
        ask_with(hub.address, "POST", JOBS, &head, &json!({ "factorial": n }).to_string()).await
    };
    let first = keyed(&hub, "a", 10).await.json();
    assert_eq!(keyed(&hub, "a", 10).await.json(), first);
    assert_ne!(keyed(&hub, "b", 10).await.json()["jobId"], first["jobId"]);
    hub.stop().await;
    drop(hub);

    let hub = hub_with_store(&directory).await;
    let again = keyed(&hub, "a", 10).await;
    assert_eq!((again.status, again.json()), (202, first));
    let other = keyed(&hub, "a", 11).await;
    assert_eq!(refused(&other), (422, json!("keyUsed")));
    assert!(reason(&other).contains("it was used for 10!"), "{other:?}");
    assert_eq!(hub.get(JOBS).await.json()["jobs"].as_array().unwrap().len(), 2);
    let [mut leader] = hub.ring([9]).await;
    elect([&mut leader], 0).await;
    let id = again.json()["jobId"].as_str().unwrap().to_owned();
    claim(&hub, &leader, 1).await;
    checkpoint(&hub, &id, 1, 1, |checkpoint| checkpoint["end"] = json!({ "done": "3628800" })).await;
    assert_eq!(keyed(&hub, "a", 10).await.json()["result"], "3628800", "also when it is done");
}

#[tokio::test]
async fn jobs_go_on_where_they_were_when_the_hub_was_killed() {
    let directory = TempDir::new().unwrap();
    let arguments = ["--data-dir", directory.path().to_str().unwrap()];
    let process = Process::start(&arguments).await;
    let post =
        async |hub: SocketAddr, path: &str, body: Value| ask_with(hub, "POST", path, "", &body.to_string()).await;
    let get = async |hub: SocketAddr, path: &str| ask_with(hub, "GET", path, "", "").await.json();
    let hub = process.address;
    let id =
        post(hub, "/rings/lab/jobs", json!({ "factorial": 10 })).await.json()["jobId"].as_str().unwrap().to_owned();
    let path = format!("/rings/lab/jobs/{id}");
    let mut leader = Peer::connect(hub, "/rings/lab?join", &[]).await.unwrap();
    leader.join(9).await;
    elect([&mut leader], 0).await;
    let claimed = post(hub, "/rings/lab/coordinator", json!({ "clientId": leader.id, "term": 1 })).await;
    assert_eq!(claimed.status, 200, "{claimed:?}");
    let tally = json!({ "term": 1, "done": 1, "again": 0, "reassigned": 2, "workers": [] });
    let parts = json!([product(&id, 0, 0, "13b0")]);
    let first = json!({ "jobId": id, "term": 1, "sequence": 1, "parts": parts, "tally": tally });
    assert_eq!(post(hub, &format!("{path}/checkpoint"), first).await.status, 200);
    let put = ask_with(hub, "PUT", &format!("{path}/parts/0/1?term=1"), "", "168").await;
    assert_eq!(put.status, 204, "{put:?}");
    let before = get(hub, &path).await;
    process.kill().await;

    let process = Process::start(&arguments).await;
    let hub = process.address;
    let mut after = before.clone();
    (after["state"], after["waitsFor"]) = (json!("waiting"), json!("a coordinator: the ring has no members"));
    assert_eq!(get(hub, &path).await, after, "what was acknowledged is there");
    let mut leader = Peer::connect(hub, "/rings/lab?join", &[]).await.unwrap();
    leader.join(9).await;
    let announced = elect([&mut leader], 0).await;
    let term = announced["data"]["term"].as_u64().unwrap();
    let claimed = post(hub, "/rings/lab/coordinator", json!({ "clientId": leader.id, "term": term })).await.json();
    assert_eq!((&claimed["jobs"][0]["begun"], &claimed["jobs"][0]["sequence"]), (&json!(true), &json!(1)));
    let loaded = get(hub, &format!("{path}/parts?term={term}")).await;
    let part = |index: u32, product: &str| json!({ "level": 0, "index": index, "product": product });
    assert_eq!(loaded, json!({ "parts": [part(0, "13b0"), part(1, "168")] }));
}

#[tokio::test]
async fn no_job_that_was_accepted_is_lost_when_the_hub_is_killed() {
    let directory = TempDir::new().unwrap();
    let arguments = ["--data-dir", directory.path().to_str().unwrap()];
    let mut accepted = BTreeSet::new();
    for most in [1, 10, 50] {
        let process = Process::start(&arguments).await;
        let hub = process.address;
        let (tell, mut told) = mpsc::unbounded_channel();
        for _ in 0..4 {
            let tell = tell.clone();
            tokio::spawn(async move {
                // Until there is no hub.
                loop {
                    let answer = ask_with(hub, "POST", JOBS, "", r#"{"factorial": 10}"#).await;
                    if answer.status != 202 {
                        return;
                    }
                    let _ = tell.send(answer.json()["jobId"].as_str().unwrap().to_owned());
                }
            });
        }
        drop(tell);
        for _ in 0..most {
            accepted.insert(soon("a job", told.recv()).await.expect("the hub accepts jobs"));
        }
        process.kill().await;
        while let Some(id) = told.recv().await {
            accepted.insert(id);
        }
        let process = Process::start(&arguments).await;
        let kept = ask_with(process.address, "GET", JOBS, "", "").await.json();
        let kept: BTreeSet<_> =
            kept["jobs"].as_array().unwrap().iter().map(|job| job["jobId"].as_str().unwrap().to_owned()).collect();
        let lost: Vec<_> = accepted.difference(&kept).collect();
        assert!(lost.is_empty(), "{} of {} are lost", lost.len(), accepted.len());
        process.kill().await;
    }
}

#[tokio::test]
async fn changing_anything_takes_the_join_token_and_looking_what_watching_takes() {
    const JOIN: &str = "join/0123456789+abc==";
    const WATCH: &str = "watch-0123456789-abc";
    let token = |text: &str| Some(Token::new(text).unwrap());
    let tokens = [Tokens { join: token(JOIN), watch: None }, Tokens { join: token(JOIN), watch: token(WATCH) }];
    for tokens in tokens {
        let watches = tokens.watch.is_none();
        let hub = Hub::with(|config| config.tokens = tokens).await;
        let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
        let id = ask_with(hub.address, "POST", JOBS, &bearer(JOIN), r#"{"factorial": 3}"#).await.json();
        let path = format!("{JOBS}/{}", id["jobId"].as_str().unwrap());
        let changes = [
            ("POST", JOBS.to_owned(), r#"{"factorial": 4}"#),
            ("POST", "/rings/default/coordinator".into(), r#"{"clientId": "x", "term": 1}"#),
            ("POST", format!("{path}/checkpoint"), "{}"),
            ("PUT", format!("{path}/parts/0/0?term=1"), "2"),
            ("DELETE", path.clone(), ""),
        ];
        for (method, change, body) in changes {
            for head in [String::new(), bearer(WATCH), bearer("of-something-else")] {
                let answer = ask_with(hub.address, method, &change, &head, body).await;
                assert_eq!(answer.status, 401, "{method} {change} with {head:?}: {answer:?}");
                assert!(answer.head.contains("www-authenticate: bearer"), "{answer:?}");
            }
            let allowed = ask_with(hub.address, method, &change, &bearer(JOIN), body).await;
            assert_ne!(allowed.status, 401, "{method} {change}: {allowed:?}");
        }
        for look in [JOBS.to_owned(), path.clone(), format!("{path}/parts/0/0"), format!("{path}/parts?term=0")] {
            let without = ask_with(hub.address, "GET", &look, "", "").await.status;
            assert_eq!(without != 401, watches, "{look}: {without}");
            let with = ask_with(hub.address, "GET", &look, &bearer(JOIN), "").await.status;
            assert_ne!(with, 401, "{look}");
        }
    }
}

#[tokio::test]
async fn a_page_of_another_origin_submits_nothing() {
    let hub = Hub::with(|config| config.allow_origins = vec!["http://lab.example".into()]).await;
    for (origin, expected) in
        [("http://evil.example", 403), ("null", 403), ("http://lab.example", 202), ("http://hub", 202)]
    {
        let head = format!("Origin: {origin}\r\nContent-Type: text/plain\r\n");
        let answer = ask_with(hub.address, "POST", JOBS, &head, r#"{"factorial": 3}"#).await;
        assert_eq!(answer.status, expected, "{origin}: {answer:?}");
        assert!(expected != 403 || reason(&answer).contains("--allow-origin"), "{answer:?}");
    }
    let id = submit(hub.address, 3).await;
    let head = "Origin: http://evil.example\r\n";
    assert_eq!(ask_with(hub.address, "DELETE", &format!("{JOBS}/{id}"), head, "").await.status, 403);
    assert_eq!(job(&hub, &id).await["state"], "waiting");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let hub = Hub::with(|config| {
        config.limits.handshake = Duration::from_millis(200);
        config.limits.write_deadline = Duration::from_millis(200);
    })
    .await;
    let begin = Instant::now();
    let half = "POST /rings/default/jobs HTTP/1.1\r\nHost: hub\r\nContent-Length: 17\r\n\r\n{\"factorial\"";
    assert_eq!(hub.request(half).await.status, 0, "it is closed without an answer");
    assert!(begin.elapsed() < PATIENCE / 2, "{:?}", begin.elapsed());
}

/// What large jobs need: a number of 100000!, of which the longest there is.
#[tokio::test]
async fn large_numbers_come_and_go() {
    let hub = Hub::start().await;
    let [mut leader] = hub.ring([9]).await;
    elect([&mut leader], 0).await;
    let id = submit(hub.address, 100_000).await;
    claim(&hub, &leader, 1).await;
    let place = format!("{JOBS}/{id}/parts/8/0");
    let digits = "f".repeat(500_000);
    assert_eq!(ask(&hub, "PUT", &format!("{place}?term=1"), &digits).await.status, 204);
    assert!(hub.get(&place).await.body == digits, "as it came");
    // The numbers from 100000 down have five digits each at most.
    let no_product = ask(&hub, "PUT", &format!("{place}?term=1"), &format!("{digits}f")).await;
    assert_eq!(refused(&no_product), (404, json!("noSuchPart")));
    let too_long = "f".repeat(1_000_000);
    assert_eq!(ask(&hub, "PUT", &format!("{place}?term=1"), too_long).await.status, 413);
    let loaded = hub.get(&format!("{JOBS}/{id}/parts?term=1")).await.json();
    let where_it_lies = json!({ "level": 8, "index": 0 });
    assert_eq!(loaded["parts"][0]["product"], where_it_lies, "a large number is told of by its place");
    let mut stored = json!([{ "jobId": id, "level": 8, "index": 0 }]);
    stored[0]["product"] = where_it_lies;
    assert_eq!(checkpoint(&hub, &id, 1, 1, |checkpoint| checkpoint["parts"] = stored).await.status, 200);
    let result = "9".repeat(500_000);
    let done = |checkpoint: &mut Value| checkpoint["end"] = json!({ "done": result });
    assert_eq!(checkpoint(&hub, &id, 1, 2, done).await.status, 200);
    assert!(job(&hub, &id).await["result"] == result, "as it came");
}
