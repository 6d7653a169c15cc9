//! The hub's own program.

use std::net::SocketAddr;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::soon;

/// A running `ringleader-hub`; killed on drop.
pub struct Process {
    pub address: SocketAddr,
    /// What it said on stdout: `listening on …`.
    pub first_line: String,
    child: Child,
    log: Arc<Mutex<String>>,
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringleader-hub"));
    // What is set on this machine is not for the test.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RINGLEADER_")) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

impl Process {
    /// One on a free port, of this machine alone unless the arguments say otherwise.
    pub async fn start(arguments: &[&str]) -> Self {
        let listen: &[&str] = if arguments.contains(&"--listen") { &[] } else { &["--listen", "127.0.0.1:0"] };
        let mut child = command(&[listen, arguments].concat()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let kept = log.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                *kept.lock().unwrap() += &(line + "\n");
            }
        });
        let mut first_line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        soon("the hub's address", stdout.read_line(&mut first_line)).await.unwrap();
        let port = first_line.trim().rsplit(':').next().and_then(|port| port.parse().ok());
        let port: u16 = port.unwrap_or_else(|| panic!("no address in {first_line:?}: {}", log.lock().unwrap()));
        Process { address: ([127, 0, 0, 1], port).into(), first_line, child, log }
    }

    /// Kills it, and waits until it is gone.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// A size of its memory in bytes, by its name in `/proc/…/status`.
    pub fn memory(&self, name: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
    }

    /// What it has logged by now.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }
}

/// Runs it to its end.
pub async fn run_hub(arguments: &[&str]) -> Output {
    soon("the program's end", command(arguments).output()).await.unwrap()
}
