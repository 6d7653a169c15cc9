//! Real processes, and hubs within the test.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How long anything that has to come may take, on a machine that is busy.
pub const PATIENCE: Duration = Duration::from_secs(45);

/// A hub in this process, gone with the value.
pub struct Hub {
    pub address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Hub {
    pub async fn start() -> Hub {
        Hub::start_on(0).await
    }

    pub async fn start_on(port: u16) -> Hub {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let (address, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
        let task = tokio::spawn(ringleader_hub::run(listener, ringleader_hub::Config::default(), shutdown.clone()));
        Hub { address, shutdown, task }
    }

    pub fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    pub async fn stop(mut self) {
        self.shutdown.cancel();
        (&mut self.task).await.unwrap();
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.task.abort();
    }
}

/// A port where nobody listens.
pub async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

/// `ringleader` with its arguments, killed with the value.
pub struct Run {
    child: Child,
    out: mpsc::UnboundedReceiver<String>,
    err: mpsc::UnboundedReceiver<String>,
    seen: Arc<Mutex<VecDeque<String>>>,
    command: String,
}

impl Run {
    pub fn start(arguments: &[&str]) -> Run {
        Run::start_with(arguments, &[])
    }

    pub fn start_with(arguments: &[&str], variables: &[(&str, &str)]) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringleader"));
        for (variable, _) in std::env::vars() {
            if variable.starts_with("RINGLEADER_") {
                command.env_remove(variable);
            }
        }
        command.args(arguments).envs(variables.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let seen = Arc::default();
        let out = collect("out", child.stdout.take().unwrap(), &seen);
        let err = collect("err", child.stderr.take().unwrap(), &seen);
        Run { child, out, err, seen, command: format!("{variables:?} {arguments:?}") }
    }

    /// A member of that hub's ring that prints what it believes.
    pub fn member(hub: &Hub, name: &str, rank: &str, more: &[&str]) -> Run {
        let url = hub.url();
        let arguments = ["join", "--json", "--hub", &url, "--name", name, "--rank", rank];
        Run::start(&[&arguments[..], more].concat())
    }

    pub fn pid(&self) -> i32 {
        self.child.id().expect("it has not ended") as i32
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// The next line on stdout that has this in it.
    pub async fn out(&mut self, part: &str) -> String {
        next(&mut self.out, |line| line.contains(part).then(|| line.to_owned()))
            .await
            .unwrap_or_else(|why| self.fail(&format!("{part:?} on stdout: {why}")))
    }

    /// The next line on stderr that has this in it.
    pub async fn err(&mut self, part: &str) -> String {
        next(&mut self.err, |line| line.contains(part).then(|| line.to_owned()))
            .await
            .unwrap_or_else(|why| self.fail(&format!("{part:?} on stderr: {why}")))
    }

    /// The next line on stdout, as JSON, with that role.
    pub async fn role(&mut self, role: &str) -> Value {
        self.line_with("role", role.into()).await
    }

    /// The next line on stdout, as JSON, that says that it may act as the leader.
    pub async fn acts(&mut self) -> Value {
        self.line_with("mayAct", true.into()).await
    }

    async fn line_with(&mut self, key: &str, value: Value) -> Value {
        let has = |line: &str| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line[key] == value).then_some(line)
        };
        next(&mut self.out, has).await.unwrap_or_else(|why| self.fail(&format!("{key} {value}: {why}")))
    }

    /// The next line on stdout, whatever it is; `None` after the last.
    pub async fn line(&mut self) -> Option<String> {
        match timeout(PATIENCE, self.out.recv()).await {
            Ok(line) => line,
            Err(_) => self.fail("any line on stdout"),
        }
    }

    /// What is left of stdout and stderr.
    pub async fn rest(&mut self) -> (Vec<String>, Vec<String>) {
        let rest = async {
            let (mut out, mut err) = (vec![], vec![]);
            while let Some(line) = self.out.recv().await {
                out.push(line);
            }
            while let Some(line) = self.err.recv().await {
                err.push(line);
            }
            (out, err)
        };
        match timeout(PATIENCE, rest).await {
            Ok(rest) => rest,
            Err(_) => self.fail("the end of stdout and stderr"),
        }
    }

    /// Nobody reads its stdout any more.
    pub fn close_stdout(&mut self) {
        self.out.close();
    }

    pub async fn end(&mut self) -> ExitStatus {
        match timeout(PATIENCE, self.child.wait()).await {
            Ok(status) => status.unwrap(),
            Err(_) => self.fail("its end"),
        }
    }

    fn fail(&self, expected: &str) -> ! {
        let seen = self.seen.lock().unwrap();
        let seen: Vec<&str> = seen.iter().map(String::as_str).collect();
        panic!("ringleader {}\nwas expected to give {expected}\nbut gave\n{}", self.command, seen.join("\n"));
    }
}

async fn next<T>(
    lines: &mut mpsc::UnboundedReceiver<String>,
    matches: impl Fn(&str) -> Option<T>,
) -> Result<T, &'static str> {
    let found = timeout(PATIENCE, async {
        loop {
            match lines.recv().await {
                Some(line) => match matches(&line) {
                    Some(found) => return Ok(found),
                    None => continue,
                },
                None => return Err("it ended"),
            }
        }
    });
    found.await.unwrap_or(Err("it did not come in time"))
}

fn collect(
    from: &'static str,
    pipe: impl AsyncRead + Unpin + Send + 'static,
    seen: &Arc<Mutex<VecDeque<String>>>,
) -> mpsc::UnboundedReceiver<String> {
    /// How many of the last lines are shown where a test fails.
    const SHOWN: usize = 200;
    let (tell, lines) = mpsc::unbounded_channel();
    let seen = seen.clone();
    tokio::spawn(async move {
        let mut pipe = BufReader::new(pipe).lines();
        loop {
            let line = tokio::select! {
                line = pipe.next_line() => line,
                () = tell.closed() => return,
            };
            let Ok(Some(line)) = line else { return };
            let mut seen = seen.lock().unwrap();
            seen.push_back(format!("{from}: {line}"));
            if seen.len() > SHOWN {
                seen.pop_front();
            }
            let _ = tell.send(line);
        }
    });
    lines
}

/// The process ids that a demo has printed in this line.
pub fn pids(line: &str) -> Vec<i32> {
    line.split("(pid ").skip(1).filter_map(|rest| rest.split(')').next()?.parse().ok()).collect()
}

/// Whether there is no such process, or only what is left of one until its parent asks.
pub fn is_gone(pid: i32) -> bool {
    let zombie = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
    };
    kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH) || zombie()
}

/// There is nothing to await when somebody else's child ends: so ask until it has.
pub async fn until_gone(pid: i32) {
    let gone = timeout(PATIENCE, async {
        while !is_gone(pid) {
            sleep(Duration::from_millis(20)).await;
        }
    });
    gone.await.unwrap_or_else(|_| panic!("process {pid} is still there"));
}
