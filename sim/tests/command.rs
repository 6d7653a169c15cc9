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
