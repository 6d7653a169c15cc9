//! The Autobahn test suite, some 300 cases of RFC 6455, against the hub's own way in:
//! its accept loop, handshake, and reading and writing of a WebSocket. Behind them a ring
//! sends everything back (feature `echo`).
//!
//! Left out are 12.* and 13.*, which are about compression: the hub takes up none.

#![cfg(feature = "echo")]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use ringleader_hub::Config;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const WSTEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.ci/wstest");
/// The largest message of the suite, in 9.1.6, has 16 MiB.
const LARGEST: usize = 16 << 20;
/// It takes a minute or two; it must not take for ever.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// As many as version 25.10.1 has.
const FEWEST_CASES: usize = 301;

#[tokio::test(flavor = "multi_thread")]
async fn the_autobahn_suite_finds_no_fault() {
    let scratch = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let hub = tokio::spawn(ringleader_hub::run(listener, config(), shutdown.clone()));

    let spec = scratch.path().join("spec.json");
    let servers = json!([{ "agent": "hub", "url": format!("ws://{address}/rings/echo") }]);
    let cases =
        json!({ "outdir": scratch.path(), "servers": servers, "cases": ["*"], "exclude-cases": ["12.*", "13.*"] });
    std::fs::write(&spec, cases.to_string()).unwrap();
    let mut wstest = Command::new(WSTEST);
    wstest.args(["--mode", "fuzzingclient", "--spec"]).arg(&spec).stdin(Stdio::null()).stdout(Stdio::null());
    let ended = timeout(PATIENCE, wstest.kill_on_drop(true).status()).await.expect("the suite ends").unwrap();
    assert!(ended.success(), "{WSTEST}: {ended}; .ci/wstest --install has it");
    shutdown.cancel();
    hub.await.unwrap();
    judge(scratch.path());
}

/// The limits that the cases would exceed are raised: in size, in number, in time.
fn config() -> Config {
    let mut config = Config::default();
    config.limits.frame_bytes = LARGEST;
    config.limits.outbox_bytes = LARGEST;
    config.limits.frames_per_second = NonZeroU32::MAX;
    config.limits.silence = PATIENCE;
    config.limits.ping_interval = PATIENCE;
    config.limits.write_deadline = PATIENCE;
    config
}

/// Prints how many cases came to what, and fails if one came to a fault.
fn judge(results: &Path) {
    let index = std::fs::read_to_string(results.join("index.json")).unwrap();
    let index: BTreeMap<String, BTreeMap<String, Value>> = serde_json::from_str(&index).unwrap();
    let cases = &index["hub"];
    let mut counts = BTreeMap::<&str, usize>::new();
    let mut closes = counts.clone();
    let mut faults = vec![];
    for (case, result) in cases {
        let (behavior, close) = (result["behavior"].as_str().unwrap(), result["behaviorClose"].as_str().unwrap());
        *counts.entry(behavior).or_default() += 1;
        *closes.entry(close).or_default() += 1;
        let is_fine = |verdict| matches!(verdict, "OK" | "NON-STRICT" | "INFORMATIONAL");
        if behavior == "NON-STRICT" {
            println!("{case}: {behavior}");
        }
        if !is_fine(behavior) || !is_fine(close) {
            let report = results.join(result["reportfile"].as_str().unwrap());
            faults.push(format!("{case}: {behavior}, its close {close}: {}", told(&report)));
        }
    }
    println!("Autobahn: {} cases: {counts:?}; their closes: {closes:?}", cases.len());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(cases.len() >= FEWEST_CASES, "{} cases", cases.len());
}

/// What a report says in words. As a whole it is not always JSON: the suite plays with
/// characters that JSON cannot have.
fn told(report: &Path) -> String {
    let report = String::from_utf8_lossy(&std::fs::read(report).unwrap()).into_owned();
    let words = ["\"description\":", "\"expectation\":", "\"result\":", "\"resultClose\":"];
    let lines = report.lines().map(str::trim).filter(|line| words.iter().any(|word| line.starts_with(word)));
    lines.collect::<Vec<_>>().join(" ")
}
