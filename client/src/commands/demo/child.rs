//! One member as a process of its own: started, listened to, and ended.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use ringleader_client::Role;
use ringleader_shared::id::{ClientId, Term};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long a member that was told to leave may take.
const LEAVE: Duration = Duration::from_secs(2);

/// What comes from the members.
#[derive(Debug)]
pub enum Happening {
    /// It logged a line.
    Said(usize, String),
    /// It believes something else than before.
    Believes(usize, Belief),
    /// Its process is gone, and all it said was told before.
    Ended(usize, std::io::Result<ExitStatus>),
}

/// What a member believes: a line of `join --json`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Belief {
    pub client_id: Option<ClientId>,
    pub role: Role,
    pub term: Term,
    pub leader_id: Option<ClientId>,
}

/// Starts this same program as a member. It ends when `kill` is cancelled; properly,
/// if it can, when `end` is; and by itself when this process is gone.
pub fn start(
    who: usize,
    arguments: &[String],
    kill: CancellationToken,
    end: CancellationToken,
    tell: mpsc::Sender<Happening>,
) -> anyhow::Result<u32> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let mut command = Command::new(&program);
    command.arg("join").args(arguments).args(["--json", "--until-stdin-closes"]);
    // What is meant for us is not meant for the members: a name, say.
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("RINGLEADER_") {
            command.env_remove(variable);
        }
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    // Ctrl-C is for us alone, so that everything ends in order.
    command.process_group(0);
    let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
    let pid = child.id().context("a client ended at once")?;
    tokio::spawn(attend(who, child, kill, end, tell));
    Ok(pid)
}

async fn attend(
    who: usize,
    mut child: Child,
    kill: CancellationToken,
    end: CancellationToken,
    tell: mpsc::Sender<Happening>,
) {
    // Kept open for as long as the member is to stay.
    let stdin = child.stdin.take();
    let said = forward(child.stderr.take(), tell.clone(), move |line| Happening::Said(who, line));
    let believes = forward(child.stdout.take(), tell.clone(), move |line| match serde_json::from_str(&line) {
        Ok(belief) => Happening::Believes(who, belief),
        Err(_) => Happening::Said(who, line),
    });
    let ended = async {
        tokio::select! {
            ended = child.wait() => return ended,
            () = kill.cancelled() => {}
            () = end.cancelled() => {
                drop(stdin);
                tokio::select! {
                    ended = timeout(LEAVE, child.wait()) => if let Ok(ended) = ended {
                        return ended;
                    },
                    () = kill.cancelled() => {}
                }
            }
        }
        child.kill().await?;
        child.wait().await
    };
    // Its pipes close when it is gone, so this does not wait for longer.
    let (ended, (), ()) = tokio::join!(ended, said, believes);
    let _ = tell.send(Happening::Ended(who, ended)).await;
}

async fn forward(
    pipe: Option<impl AsyncRead + Unpin>,
    tell: mpsc::Sender<Happening>,
    what: impl Fn(String) -> Happening,
) {
    let Some(pipe) = pipe else { return };
    let mut lines = BufReader::new(pipe).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        let line = String::from_utf8_lossy(&line).into_owned();
        if tell.send(what(line)).await.is_err() {
            return;
        }
    }
}
