//! Jobs that people write into a file, one a line: `10`, `10!` or `factorial 10`.
//! Whoever coordinates submits them. The key of each says where it stands, so that the
//! next coordinator's are the same jobs.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::jobs::{Jobs, JobsError};

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The most bytes of such a file.
const MOST_BYTES: u64 = 1 << 20;

/// The most lines of it that are read.
const MOST_LINES: usize = 10_000;

/// A line's number, from 1, and its n.
type Line = (usize, u64);

/// Looks at the file for as long as it is polled.
pub async fn watch(path: PathBuf, jobs: Jobs) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reader = Reader { name: path.display().to_string(), ..Reader::default() };
    loop {
        ticks.tick().await;
        let file = path.clone();
        let read = spawn_blocking(move || read(&file)).await;
        let text = match read {
            Ok(Ok(text)) => text,
            Ok(Err(error)) => {
                reader.grumble(0, &format!("cannot read it: {error}; looking again each second"));
                continue;
            }
            Err(_) => return,
        };
        let lines = reader.lines(text);
        let mut sent = 0;
        for (number, n) in lines {
            match jobs.submit(n, &key(&path, number, n)).await {
                Ok(_) => {
                    reader.done.insert((number, n));
                    sent += 1;
                }
                // As to the number or the key; the others may do.
                Err(JobsError::Refused { status: 400 | 422, reason }) => {
                    reader.done.insert((number, n));
                    reader.grumble(number, &reason);
                }
                Err(JobsError::Away(reason)) => {
                    reader.grumble(0, &format!("cannot submit at the moment: {reason}"));
                    break;
                }
                Err(error) => {
                    warn!("{}: cannot submit its jobs: {error}", reader.name);
                    return;
                }
            }
        }
        if sent > 0 {
            info!("{}: {sent} jobs submitted", reader.name);
        }
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MOST_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MOST_BYTES {
        return Err(io::Error::other(format!("expected at most {MOST_BYTES} bytes")));
    }
    Ok(text)
}

/// File name, line and n, of visible characters only.
fn key(path: &Path, number: usize, n: u64) -> String {
    const MOST: usize = 180;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut key = String::new();
    for byte in name.bytes().take(MOST / 3) {
        if byte.is_ascii_graphic() && byte != b'%' {
            key.push(byte.into());
        } else {
            key.push_str(&format!("%{byte:02x}"));
        }
    }
    format!("{key}:{number}:{n}")
}

#[derive(Default)]
struct Reader {
    name: String,
    /// What the last look has shown.
    before: String,
    done: BTreeSet<Line>,
    /// What was said about which line; 0 is the file. Nothing is said twice in a row.
    said: std::collections::BTreeMap<usize, String>,
}

impl Reader {
    /// The jobs that are still to be submitted. A last line that is still being written is
    /// left out until it has stayed as it is for one look.
    fn lines(&mut self, text: String) -> Vec<Line> {
        let whole = if text.ends_with('\n') || text == self.before {
            &*text
        } else {
            text.rfind('\n').map_or("", |end| &text[..end])
        };
        let mut lines = vec![];
        for (number, line) in (1..).zip(whole.lines()) {
            if number > MOST_LINES {
                self.grumble(0, &format!("expected at most {MOST_LINES} lines; the others are passed over"));
                break;
            }
            match parse(line) {
                Ok(Some(n)) if !self.done.contains(&(number, n)) => lines.push((number, n)),
                Ok(_) => {}
                Err(problem) => self.grumble(number, &problem),
            }
        }
        self.before = text;
        lines
    }

    fn grumble(&mut self, line: usize, problem: &str) {
        if self.said.get(&line).is_some_and(|said| said == problem) {
            return;
        }
        match line {
            0 => warn!("{}: {problem}", self.name),
            line => warn!("{}:{line}: {problem}", self.name),
        }
        self.said.insert(line, problem.into());
    }
}

/// `None` where nothing is wanted.
fn parse(line: &str) -> Result<Option<u64>, String> {
    let line = line.trim_start_matches('\u{feff}').split('#').next().unwrap_or_default().trim();
    if line.is_empty() {
        return Ok(None);
    }
    let number = line.strip_prefix("factorial").filter(|rest| rest.starts_with(char::is_whitespace)).unwrap_or(line);
    let number = number.trim().strip_suffix('!').unwrap_or(number.trim());
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse().ok().filter(|_| digits).map(Some).ok_or_else(|| {
        let line: String = line.chars().take(40).flat_map(char::escape_debug).collect();
        format!("expected a job such as 10, 10! or factorial 10, got {line}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_jobs_or_told_to_be_none() {
        let table = [
            ("10", Ok(Some(10))),
            (" 10! ", Ok(Some(10))),
            ("factorial 10", Ok(Some(10))),
            ("\u{feff}7", Ok(Some(7))),
            ("20000 # a long one", Ok(Some(20000))),
            ("", Ok(None)),
            ("# nothing", Ok(None)),
            ("-3", Err(())),
            ("+3", Err(())),
            ("10.5", Err(())),
            ("factorial10", Err(())),
            ("!", Err(())),
            ("99999999999999999999", Err(())),
            ("fibonacci 3", Err(())),
        ];
        for (line, expected) in table {
            assert_eq!(parse(line).map_err(|_| ()), expected, "{line:?}");
        }
    }

    #[test]
    fn a_line_is_submitted_once_and_not_before_it_is_written() {
        let mut reader = Reader::default();
        assert_eq!(reader.lines("10\n\n20".into()), [(1, 10)]);
        reader.done.insert((1, 10));
        assert_eq!(reader.lines("10\n\n20000".into()), []);
        assert_eq!(reader.lines("10\n\n20000".into()), [(3, 20000)]);
        reader.done.insert((3, 20000));
        assert_eq!(reader.lines("10\n\n20000\n10\n".into()), [(4, 10)]);
    }

    #[test]
    fn keys_are_visible_and_say_where() {
        assert_eq!(key(Path::new("/etc/my jobs%.txt"), 3, 10), "my%20jobs%25.txt:3:10");
        assert!(key(Path::new(&"ü".repeat(500)), 10_000, u64::MAX).len() <= 255);
    }
}
