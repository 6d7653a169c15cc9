//! The command: what it prints, and how it exits.

use std::process::Command;

/// Exit code, standard output, standard error.
fn sim(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_sim")).args(arguments).output().expect("the command runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it prints text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_seed_gives_the_same_trace_again_and_a_file_that_can_be_played() {
    let arguments = ["--algorithm", "eligible-array", "--nodes", "5", "--seed", "42"];
    let (code, first, errors) = sim(&arguments);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert_eq!(sim(&arguments).1, first);
    assert_ne!(sim(&["--seed", "43"]).1, first);

    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("seed-42.txt");
    std::fs::write(&file, &first).unwrap();
    assert_eq!(sim(&[file.to_str().unwrap()]), (Some(0), first.clone(), String::new()));

    std::fs::write(&file, first.replace("starts an election", "starts a quarrel")).unwrap();
    let (code, trace, errors) = sim(&[file.to_str().unwrap()]);
    assert_eq!((code, trace), (Some(1), first));
    assert!(errors.contains("seed-42.txt: the trace differs"), "{errors}");
    assert!(errors.contains("starts a quarrel\n"), "{errors}");
}

#[test]
fn what_cannot_be_played_is_named() {
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("bad.txt");
    std::fs::write(&file, "nodes a=7\nexplode a\n").unwrap();
    let (code, _, errors) = sim(&[file.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("bad.txt:2: expected one of nodes, ") && errors.contains("got \"explode a\""), "{errors}");

    let (code, _, errors) = sim(&["nowhere.txt"]);
    assert!(code == Some(1) && errors.starts_with("nowhere.txt: "), "{errors}");
}

#[test]
fn seeds_are_summed_up_and_the_same_ones_come_to_the_same() {
    let sum = || {
        let (code, summary, errors) = sim(&["--seeds", "3", "--hours", "0.1", "--jobs", "2"]);
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{summary}");
        summary
    };
    let first = sum();
    for part in ["seeds       3,", "simulated   0.", "  crash\n", "failover    p50 ", "violations  0\n"] {
        assert!(first.contains(part), "{part}: {first}");
    }
    // But for how long it took.
    let timeless = |summary: &str| -> Vec<String> {
        summary.lines().filter(|line| !line.starts_with("simulated")).map(str::to_owned).collect()
    };
    assert_eq!(timeless(&sum()), timeless(&first));
}

#[test]
fn a_violation_is_told_with_the_command_that_shows_it_again() {
    let (code, told, _) = sim(&["--plant", "fence-refuses-older", "--jobs", "1"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("\nviolations  1\n\nS5, what is fenced accepts no older term after a newer one: "), "{told}");
    let command = told.lines().last().unwrap().trim();
    let again = command.strip_prefix("cargo run --release -p sim -- ").expect("a command to see it again");
    let (code, again, _) = sim(&again.split(' ').collect::<Vec<_>>());
    let story = |told: &str| told[told.find("the shortest story found").unwrap()..].to_owned();
    assert_eq!((code, story(&again)), (Some(1), story(&told)), "{command}");
    assert!(story(&told).lines().count() < 80, "short enough to read: {told}");
}

#[test]
fn plants_are_listed_and_an_unknown_one_is_refused() {
    let (code, list, _) = sim(&["--plant", "list"]);
    assert_eq!(code, Some(0));
    let names: Vec<&str> = list.lines().collect();
    assert!(names.len() >= 20, "{list}");
    assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')), "{list}");
    let (code, _, errors) = sim(&["--plant", "no-such-rule"]);
    assert!(code == Some(2) && errors.contains("sim --plant list"), "{errors}");
}

#[test]
fn algorithms_without_a_hub_have_rings_seeds_and_rules_too() {
    for (algorithm, part) in [("chang-roberts", "ends: leader is"), ("lowest-id", "leader is 1"), ("paxos", "outcome ")]
    {
        let (code, trace, errors) = sim(&["--algorithm", algorithm, "--nodes", "3", "--seed", "42"]);
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{trace}");
        assert!(trace.contains(part), "{trace}");

        let (code, summary, _) = sim(&["--algorithm", algorithm, "--seeds", "50"]);
        assert!(
            code == Some(0) && summary.contains("seeds       50,") && summary.contains("violations  0"),
            "{summary}"
        );
        let (code, rules, _) = sim(&["--algorithm", algorithm, "--plant", "list"]);
        assert!(code == Some(0) && rules.lines().count() >= 6, "{rules}");
        let (code, _, errors) = sim(&["--algorithm", algorithm, "--plant", "no-such-rule"]);
        assert!(code == Some(2) && errors.contains("expected list"), "{errors}");
        let (code, _, errors) = sim(&["--algorithm", algorithm, "--seeds", "1", "--calm"]);
        assert!(code == Some(2) && errors.contains("--calm"), "{errors}");
    }
    let (code, story, _) = sim(&["--algorithm", "paxos", "--seeds", "50", "--plant", "promise-is-kept"]);
    assert_eq!(code, Some(1), "{story}");
    for part in ["violations  1", "agreement", "the shortest story found", "--from 4 --plant promise-is-kept\n"] {
        assert!(story.contains(part), "{part}: {story}");
    }
}

#[test]
fn the_work_for_a_leader_has_seeds_and_rules_too() {
    let factorial = |arguments: &[&str]| sim(&[&["--algorithm", "factorial"], arguments].concat());
    let (code, summary, errors) = factorial(&["--seeds", "10", "--jobs", "2"]);
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{summary}");
    for part in ["seeds       10,", "coordinators", "refused\n", "multiplications", "violations  0\n"] {
        assert!(summary.contains(part), "{part}: {summary}");
    }
    let (code, summary, _) = factorial(&["--jobs-total", "50"]);
    assert!(code == Some(0) && summary.contains("jobs        50: 50 done, 0 cancelled;"), "{summary}");
    let (code, rules, _) = factorial(&["--plant", "list"]);
    assert!(code == Some(0) && rules.lines().count() >= 8, "{rules}");
    let (code, _, errors) = factorial(&["--plant", "no-such-rule"]);
    assert!(code == Some(2) && errors.contains("expected list"), "{errors}");
    let (code, story, _) = factorial(&["--plant", "checkpoints-are-loaded"]);
    assert_eq!(code, Some(1), "{story}");
    for part in ["violations  1", "is handed out again", "the shortest story found", "--plant checkpoints-are-loaded\n"]
    {
        assert!(story.contains(part), "{part}: {story}");
    }
    let (code, _, errors) = factorial(&[]);
    assert!(code == Some(2) && errors.contains("--seeds"), "{errors}");
}
