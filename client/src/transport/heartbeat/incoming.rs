//! Messages that come: reading them, and answering.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use ringleader_shared::election::lowest_id::PeerId;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout_at};

use super::{Config, Heard, MOST_BYTES, answer_line};

/// How many may speak at one time. One more, and the oldest has had its time.
const MOST_SPEAKING: usize = 256;

/// How long to wait when no connection can be had.
const PAUSE: Duration = Duration::from_millis(100);

/// Takes connections in until it is dropped.
pub(super) async fn accept(listener: TcpListener, config: Arc<Config>, tell: mpsc::Sender<Heard>) {
    let others = Arc::new(config.others());
    let mut speaking = JoinSet::new();
    let mut oldest: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                let _ = tell.try_send(Heard::Nonsense(format!("cannot take a connection: {error}")));
                sleep(PAUSE).await;
                continue;
            }
        };
        while speaking.try_join_next().is_some() {}
        oldest.retain(|task| !task.is_finished());
        if oldest.len() >= MOST_SPEAKING
            && let Some(task) = oldest.pop_front()
        {
            task.abort();
        }
        let (config, others, tell) = (config.clone(), others.clone(), tell.clone());
        oldest.push_back(speaking.spawn(async move {
            let until = Instant::now() + config.exchange;
            if let Err(what) = serve(stream, &config, &others, &tell, until).await {
                let _ = tell.try_send(Heard::Nonsense(format!("a message from {} {what}", address.ip())));
            }
        }));
    }
}

async fn serve(
    mut stream: TcpStream,
    config: &Config,
    others: &BTreeSet<PeerId>,
    tell: &mpsc::Sender<Heard>,
    until: Instant,
) -> Result<(), String> {
    let (bytes, urgent) = read(&stream, until).await.map_err(|error| format!("broke off: {error}"))?;
    let from = understand(&bytes, urgent, config.me, others)?;
    let (answer, answered) = oneshot::channel();
    // Full: a heartbeat that is lost is followed by another.
    let _ = tell.try_send(Heard::Beat { from, urgent, answer });
    // Without a quorum, and when there is no time for it, nobody answers.
    if let Ok(Ok(vote)) = timeout_at(until, answered).await {
        let line = answer_line(vote);
        // Who does not take a few bytes has gone.
        let _ = timeout_at(until, stream.write_all(line.as_bytes())).await;
    }
    Ok(())
}

/// All up to the end, a newline or the end of patience, and whether some of it was urgent.
async fn read(stream: &TcpStream, until: Instant) -> io::Result<(Vec<u8>, bool)> {
    let (mut bytes, mut urgent) = (vec![], false);
    while bytes.len() <= MOST_BYTES && !bytes.ends_with(b"\n") {
        // Some keep the connection: what has come is all that comes.
        let Ok(ready) = timeout_at(until, stream.readable()).await else { break };
        ready?;
        // A read ends before the urgent byte, if it does not begin with it. Read, it is a byte as any.
        urgent |= has_urgent(stream);
        let mut some = [0; MOST_BYTES + 1];
        match stream.try_read(&mut some) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&some[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok((bytes, urgent))
}

#[cfg(target_os = "linux")]
fn has_urgent(stream: &TcpStream) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut polled = [PollFd::new(stream, PollFlags::PRI)];
    poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
        && polled[0].revents().contains(PollFlags::PRI)
}

/// Urgent messages are heard there as ordinary ones.
#[cfg(not(target_os = "linux"))]
fn has_urgent(_: &TcpStream) -> bool {
    false
}

/// Whose message that is.
fn understand(bytes: &[u8], urgent: bool, me: PeerId, others: &BTreeSet<PeerId>) -> Result<PeerId, String> {
    let id = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.trim().parse::<PeerId>().ok();
    let is_on_list = |peer: &PeerId| others.contains(peer);
    let whole = id(bytes);
    // The urgent byte may say nothing but that it is urgent.
    let shorter = bytes.split_last().filter(|_| urgent).and_then(|(_, rest)| id(rest));
    if let Some(peer) = whole.filter(is_on_list).or(shorter.filter(is_on_list)) {
        return Ok(peer);
    }
    match whole {
        Some(peer) if peer == me => Err(format!("says that it is {me}, and so are we: two have the same id")),
        Some(peer) => Err(format!("says that it is {peer}, who is not on the list")),
        None if bytes.is_empty() => Err("is empty".into()),
        None => Err(format!("is no id: {:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(MOST_BYTES)]))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_id_of_the_list_is_meant() {
        let others = [3, 12, 33].map(PeerId::new).into();
        let table: [(&str, bool, Result<u32, &str>); 13] = [
            ("3", false, Ok(3)),
            (" 12\r\n", false, Ok(12)),
            ("3", true, Ok(3)),
            ("12\n", true, Ok(12)),
            ("12!", true, Ok(12)),
            ("122", true, Ok(12)),
            ("33", true, Ok(33)),
            ("122", false, Err("not on the list")),
            ("12!", false, Err("no id")),
            ("1", true, Err("so are we")),
            ("", false, Err("empty")),
            ("+3", false, Err("no id")),
            ("99999999999999999", false, Err("no id")),
        ];
        for (text, urgent, expected) in table {
            let got = understand(text.as_bytes(), urgent, PeerId::new(1), &others);
            match expected {
                Ok(id) => assert_eq!(got, Ok(PeerId::new(id)), "{text:?}"),
                Err(part) => assert!(got.clone().is_err_and(|what| what.contains(part)), "{text:?}: {got:?}"),
            }
        }
    }
}
