//! Writing to stdout: lines that hold nobody up, colours where they can be seen.

use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// How many lines may wait to be written.
const LINES: usize = 4096;

/// How long what still waits may take at the end.
const PATIENCE: Duration = Duration::from_secs(1);

/// Writes lines to stdout from a thread of its own. Stdout may block for as long as
/// it likes (a pager, a terminal after Ctrl-S), while everything else goes on.
#[derive(Clone)]
pub struct Printer {
    lines: mpsc::Sender<Option<String>>,
    left_out: Arc<AtomicUsize>,
    /// `Some` at the end, with what went wrong.
    done: watch::Receiver<Option<Option<String>>>,
}

impl Printer {
    pub fn start() -> Self {
        let (lines, mut waiting) = mpsc::channel(LINES);
        let (tell, done) = watch::channel(None);
        let left_out = Arc::new(AtomicUsize::new(0));
        let count = left_out.clone();
        thread::spawn(move || {
            let problem = match write_all(&mut waiting, &count) {
                // Whoever closes stdout has seen enough: `| head`.
                Err(error) if error.kind() != ErrorKind::BrokenPipe => Some(error.to_string()),
                _ => None,
            };
            tell.send_replace(Some(problem));
        });
        Printer { lines, left_out, done }
    }

    /// Prints a line, when there is room for it.
    pub async fn print(&self, line: String) {
        // Fails when stdout is closed, which `closed` tells.
        let _ = self.lines.send(Some(line)).await;
    }

    /// Prints a line, or leaves it out when there is no room for it.
    pub fn offer(&self, line: String) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.lines.try_send(Some(line)) {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns when nothing can be printed any more.
    pub async fn closed(&self) {
        self.lines.closed().await;
    }

    /// Waits, but not for ever, until all is written. To be called once, at the end.
    pub async fn finish(mut self) -> anyhow::Result<()> {
        let written = timeout(PATIENCE, async {
            let _ = self.lines.send(None).await;
            self.done.wait_for(Option::is_some).await.ok().and_then(|done| done.clone().flatten())
        });
        match written.await {
            Ok(Some(problem)) => Err(anyhow::anyhow!(problem)).context("cannot write to stdout"),
            // Who has not read it by now is not going to.
            Ok(None) | Err(_) => Ok(()),
        }
    }
}

fn write_all(waiting: &mut mpsc::Receiver<Option<String>>, left_out: &AtomicUsize) -> io::Result<()> {
    let mut stdout = BufWriter::new(stdout().lock());
    while let Some(Some(line)) = waiting.blocking_recv() {
        match left_out.swap(0, Ordering::Relaxed) {
            0 => {}
            count => writeln!(stdout, "({count} lines were left out: stdout is too slow)")?,
        }
        writeln!(stdout, "{line}")?;
        if waiting.is_empty() {
            stdout.flush()?;
        }
    }
    stdout.flush()
}

/// Colours, for those who want them.
#[derive(Debug, Clone, Copy)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// On a terminal that knows colours, unless `NO_COLOR` is set (<https://no-color.org>).
    pub fn for_stdout() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let known = std::env::var_os("TERM").is_none_or(|value| value != "dumb");
        Paint { on: stdout().is_terminal() && wanted && known }
    }

    #[cfg(test)]
    pub fn none() -> Self {
        Paint { on: false }
    }

    /// With the parameters of an SGR sequence, such as `1;32`.
    pub fn with(self, colour: &str, text: &str) -> String {
        if self.on { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.into() }
    }
}

/// Milliseconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// The time of day (UTC) of milliseconds since 1970.
pub fn clock(at: u64) -> String {
    let (ms, s) = (at % 1000, at / 1000);
    format!("{:02}:{:02}:{:02}.{ms:03}", s / 3600 % 24, s / 60 % 60, s % 60)
}

/// What others wrote, without anything that a terminal would obey or that would
/// change the order of what is read.
pub fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\'' | '\\' => printable.push(c),
            c => printable.extend(c.escape_debug()),
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_day_is_that_of_utc() {
        assert_eq!(clock(0), "00:00:00.000");
        assert_eq!(clock(1_790_863_572_123), "14:06:12.123");
    }

    #[test]
    fn terminals_are_not_told_what_to_do() {
        assert_eq!(printable("it's \"blue\" \\ grün"), "it's \"blue\" \\ grün");
        assert_eq!(printable("\x1b[31m\r\n\u{202e}x"), "\\u{1b}[31m\\r\\n\\u{202e}x");
    }
}
