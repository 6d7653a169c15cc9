//! The hub's program: its flags, what it says on start, and its log.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use tempfile::NamedTempFile;

use crate::support::*;

const TOKEN: &str = "0123456789abcdef/+==";

/// A file with that content, which only its owner may read.
fn file(content: &str) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    file
}

fn path(file: &NamedTempFile) -> &str {
    file.path().to_str().unwrap()
}

#[tokio::test]
async fn each_limit_has_a_flag_under_one_heading() {
    let help = String::from_utf8(run_hub(&["--help"]).await.stdout).unwrap();
    let (_, limits) = help.split_once("\nLimits:\n").unwrap_or_else(|| panic!("no heading: {help}"));
    for (flag, default) in [
        ("--max-connections", "10000"),
        ("--max-connections-per-address", "5000"),
        ("--max-rings", "1000"),
        ("--max-members", "5000"),
        ("--max-frame-bytes", "65536"),
        ("--max-frames-per-second", "1000"),
        ("--max-outbox-bytes", "262144"),
        ("--write-deadline", "2s"),
        ("--handshake-timeout", "3s"),
        ("--greeting-timeout", "5s"),
        ("--silence", "3s"),
        ("--hop-timeout", "1s"),
        ("--max-factorial", "100000"),
        ("--max-jobs", "10000"),
    ] {
        let (_, about) = limits.split_once(&format!("{flag} <")).unwrap_or_else(|| panic!("no {flag}: {limits}"));
        let about = about.split("\n      --").next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        let variable = format!("RINGLEADER_{}", flag[2..].replace('-', "_").to_uppercase());
        assert!(about.contains(&format!("[env: {variable}=]")), "{flag}: {about}");
        assert!(about.contains(&format!("[default: {default}]")), "{flag}: {about}");
    }
}

#[tokio::test]
async fn flags_reach_the_hub() {
    let hub = Process::start(&["--max-frame-bytes", "2000", "--max-connections", "2", "--silence", "300ms"]).await;
    let mut peer = Peer::connect(hub.address, "/?join", &[]).await.unwrap();
    peer.join(3).await;
    // It does not read, so it answers no ping.
    let mut other = Peer::connect(hub.address, "/", &[]).await.unwrap();
    assert_eq!(Peer::connect(hub.address, "/", &[]).await.err().map(|answer| answer.status), Some(503));
    eventually("its eviction", async || hub.log().contains("silent for 300ms")).await;
    other.send_text("x".repeat(2_001)).await;
    let code = other.closed().await;
    assert!(code == Some(1008) || code == Some(1009), "{code:?}");
}

#[tokio::test]
async fn senseless_limits_are_refused_with_what_was_expected() {
    for (arguments, expected) in [
        (["--max-frames-per-second", "0"], "10.."),
        (["--max-frame-bytes", "10"], "1024..=1048576"),
        (["--max-connections", "0"], "1.."),
        (["--silence", "0s"], "expected a time from 1ms to 1h"),
        (["--handshake-timeout", "soon"], "expected a time from 1ms to 1h, such as 2s"),
        (["--watch-token-file", "/x"], "--join-token-file"),
        (["--tls-cert", "/x"], "--tls-key"),
    ] {
        let output = run_hub(&arguments).await;
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && told.contains(expected), "{arguments:?}: {told}");
    }
}

#[tokio::test]
async fn a_token_file_that_does_not_do_says_how_to_make_one() {
    for (content, problem) in [("short", "got 5"), ("", "got 0"), ("two words that are long enough", "others")] {
        let file = file(content);
        let output = run_hub(&["--listen", "127.0.0.1:0", "--join-token-file", path(&file)]).await;
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{content:?}");
        for part in ["--join-token-file", path(&file), problem, "openssl rand -base64 32"] {
            assert!(told.contains(part), "{part} in: {told}");
        }
        assert!(content.is_empty() || !told.contains(content), "no secret is printed: {told}");
    }
    let output = run_hub(&["--listen", "127.0.0.1:0", "--join-token-file", "/nowhere/token"]).await;
    assert!(String::from_utf8(output.stderr).unwrap().contains("/nowhere/token: No such file"));
}

#[tokio::test]
async fn tokens_come_from_files_and_their_newline_is_not_theirs() {
    let join = file(&format!("{TOKEN}\n"));
    let hub = Process::start(&["--join-token-file", path(&join)]).await;
    let header = format!("Bearer {TOKEN}");
    let mut member = Peer::connect(hub.address, "/?join", &[("authorization", &header)]).await.unwrap();
    member.join(3).await;
    assert_eq!(Peer::connect(hub.address, "/?join", &[]).await.err().map(|answer| answer.status), Some(401));
    assert!(!hub.log().contains("chmod"), "the file is its owner's alone: {}", hub.log());
    assert!(!hub.log().contains(TOKEN));

    std::fs::set_permissions(join.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let hub = Process::start(&["--join-token-file", path(&join)]).await;
    let warning = format!("can be read by others (mode 644): chmod 600 {}", path(&join));
    eventually("a warning", async || hub.log().contains(&warning)).await;
}

#[tokio::test]
async fn a_hub_for_all_the_network_without_a_token_says_so_loudly() {
    let token = file(TOKEN);
    let all = ["--listen", "0.0.0.0:0"];
    let with_token = ["--listen", "0.0.0.0:0", "--join-token-file", path(&token)];
    for (arguments, warned) in [
        (&all[..], true),
        (&["--listen", "[::]:0"], true),
        (&with_token, false),
        (&["--listen", "0.0.0.0:0", "--open"], false),
        (&["--listen", "127.0.0.1:0"], false),
    ] {
        let hub = Process::start(arguments).await;
        // Whatever it had to say comes before it answers.
        Peer::connect(hub.address, "/", &[]).await.unwrap().send_text("x").await;
        eventually("a line about that", async || hub.log().contains("refused")).await;
        let log = hub.log();
        let lines = log.lines().filter(|line| line.contains("****") || line.contains("  *  ")).count();
        assert_eq!(lines >= 5, warned, "{arguments:?}: {log}");
        if warned {
            assert!(log.contains("WARN") && log.contains("--listen 127.0.0.1:") && log.contains("--join-token-file"));
        }
    }
}

/// Names come from others, and logs are read in terminals.
#[tokio::test]
async fn what_is_not_seen_is_escaped_in_logs() {
    for (format, expected) in [("text", r"\u{202e}"), ("json", r"\u202e")] {
        let hub = Process::start(&["--log-format", format]).await;
        let mut peer = Peer::connect(hub.address, "/?join", &[]).await.unwrap();
        peer.greet(json!({ "rank": 1, "name": "blüe\u{202e}der\u{200b}", "forwards": true })).await;
        peer.send(frame("checkLeader", json!("\u{202e}gnorw"))).await;
        peer.error().await;
        eventually("both lines", async || hub.log().contains("gnorw")).await;
        let log = hub.log();
        assert!(log.matches(expected).count() >= 2 && log.contains("blüe"), "{log}");
        assert!(!log.contains(['\u{202e}', '\u{200b}']), "{log}");
        if format == "json" {
            let joined = log.lines().find(|line| line.contains("joined")).unwrap();
            let joined: serde_json::Value = serde_json::from_str(joined).unwrap();
            assert_eq!(joined["name"], "blüe\u{202e}der\u{200b}", "a program reads the name as it is");
        }
    }
}
