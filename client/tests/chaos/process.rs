//! Real processes: where their programs are, how they start, what they are sent.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long a program may take that was told to end.
const END: Duration = Duration::from_secs(20);

/// Where cargo puts programs. Cargo builds those of this package for its tests, but
/// neither examples nor the hub: see [`build`].
fn beside_ringleader(name: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_ringleader")).parent().unwrap().join(name)
}

pub fn hub_program() -> PathBuf {
    beside_ringleader("ringleader-hub")
}

pub fn writer_program() -> PathBuf {
    beside_ringleader("examples/fenced_writer")
}

/// Builds what the tests run, so that it is of the same source as they are.
pub fn build() {
    let mut cargo = std::process::Command::new(env!("CARGO"));
    // As `./test` does: dependencies keep the features, and the build, of the whole workspace.
    cargo.args(["build", "--workspace", "--locked", "--bin", "ringleader-hub", "--example", "fenced_writer"]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    // What cargo tells this test about its own package would have others built anew.
    for (variable, _) in std::env::vars() {
        if variable.starts_with("CARGO_PKG_") || variable.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(variable);
        }
    }
    let profile = hub_program().parent().unwrap().to_owned();
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).arg("--target-dir").arg(profile.parent().unwrap());
    let status = cargo.status().unwrap();
    assert!(status.success(), "{cargo:?}: {status}");
}

/// A program at work; killed with the value.
pub struct Running {
    child: Child,
    /// Whoever reads its stdout.
    reader: JoinHandle<()>,
}

impl Running {
    /// Starts it, with nothing of ours in its environment, and stderr in a file.
    pub fn start(program: &Path, arguments: &[String], log: &Path) -> (Child, BufReader<ChildStdout>) {
        let mut command = Command::new(program);
        for (variable, _) in std::env::vars().filter(|(variable, _)| variable.starts_with("RINGLEADER_")) {
            command.env_remove(variable);
        }
        let log = File::options().append(true).create(true).open(log).unwrap();
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let stdout = BufReader::new(child.stdout.take().unwrap());
        (child, stdout)
    }

    pub fn new(child: Child, mut stdout: BufReader<ChildStdout>, on_line: impl Fn(&str) + Send + 'static) -> Running {
        let reader = tokio::spawn(async move {
            let mut line = String::new();
            while stdout.read_line(&mut line).await.is_ok_and(|read| read > 0) {
                // A program that is killed may leave half a line.
                if line.ends_with('\n') {
                    on_line(line.trim_end());
                }
                line.clear();
            }
        });
        Running { child, reader }
    }

    pub fn signal(&self, signal: Signal) {
        let pid = self.child.id().expect("it is waited for only where it is taken away");
        signal::kill(Pid::from_raw(pid as i32), signal).unwrap();
    }

    /// Sends a signal that ends it, and waits until it has ended and all of its lines are read.
    pub async fn end(mut self, signal: Signal) {
        self.signal(signal);
        let ended = timeout(END, self.child.wait()).await;
        ended.unwrap_or_else(|_| panic!("a program did not end by {signal} in {END:?}")).unwrap();
        self.reader.await.unwrap();
    }
}
