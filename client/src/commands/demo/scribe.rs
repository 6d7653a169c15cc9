//! What everybody says, as lines that show who said it.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use ringleader_shared::id::ClientId;

use crate::commands::terminal::{Paint, Printer, clock, now};

/// Somebody whose lines are printed.
#[derive(Debug, Clone)]
pub struct Speaker {
    name: String,
    /// A member is a process, and can be killed.
    pid: Option<u32>,
    colour: &'static str,
}

impl Speaker {
    pub fn member(name: &str, pid: u32, colour: &'static str) -> Self {
        Speaker { name: name.into(), pid: Some(pid), colour }
    }

    pub fn hub() -> Self {
        Speaker { name: "hub".into(), pid: None, colour: "1" }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn pid(&self) -> Option<u32> {
        self.pid
    }
}

impl fmt::Display for Speaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "{} (pid {pid})", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// Prints lines one below the other. Never waits: a slow terminal must not slow the ring.
#[derive(Clone)]
pub struct Scribe {
    printer: Printer,
    paint: Paint,
    width: usize,
    /// What the members' ids stand for.
    names: Arc<Mutex<BTreeMap<ClientId, String>>>,
}

impl Scribe {
    pub fn new<'a>(printer: Printer, names: impl Iterator<Item = &'a str>) -> Self {
        let width = names.map(str::len).max().unwrap_or(0).max("demo".len());
        Scribe { printer, paint: Paint::for_stdout(), width, names: Arc::default() }
    }

    /// Our own word.
    pub fn demo(&self, text: &str) {
        let demo = Speaker { name: "demo".into(), pid: None, colour: "1" };
        self.line(&clock(now()), &demo, &self.paint.with("1", text));
    }

    /// Something that is to stand by itself.
    pub fn plain(&self, text: String) {
        self.printer.offer(text);
    }

    /// From now on the id is shown with the name.
    pub fn learn(&self, id: &ClientId, name: &str) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), name.into());
    }

    /// A line of somebody's log.
    pub fn log(&self, speaker: &Speaker, line: &str) {
        let line = with_names(line, &self.names.lock().unwrap_or_else(PoisonError::into_inner));
        let Logged { time, level, text } = Logged::read(&line);
        let time = time.map_or_else(|| clock(now()), str::to_owned);
        let text = match level {
            Level::Info => text.to_owned(),
            Level::Warn => self.paint.with("33", &format!("WARN {text}")),
            Level::Error => self.paint.with("31", &format!("ERROR {text}")),
            Level::Other => self.paint.with("2", text),
        };
        self.line(&time, speaker, &text);
    }

    /// Whether a line of a log is about something that is as it should be.
    pub fn is_routine(line: &str) -> bool {
        matches!(Logged::read(line), Logged { time: Some(_), level: Level::Info | Level::Other, .. })
    }

    /// Takes what somebody writes within this process.
    pub fn lines_of(&self, speaker: Speaker) -> impl Write + use<> {
        Lines { scribe: self.clone(), speaker }
    }

    fn line(&self, time: &str, speaker: &Speaker, text: &str) {
        let pid = speaker.pid.map(|pid| pid.to_string()).unwrap_or_default();
        let who = format!("{:<width$} {pid:>7}", speaker.name, width = self.width);
        self.printer.offer(format!(
            "{}  {} | {text}",
            self.paint.with("2", time),
            self.paint.with(speaker.colour, &who)
        ));
    }
}

/// Members know the names of those who were there before them, and of the others the
/// ids only; the hub logs ids. All of that is easier to read with names.
fn with_names(line: &str, names: &BTreeMap<ClientId, String>) -> String {
    let mut line = line.to_owned();
    for (id, name) in names {
        let named = format!("{name} ({})", id.short());
        line = line.replace(&format!("={id}"), &format!("={named}"));
        if line.contains(id.short()) && !line.contains(id.as_str()) && !line.contains(&named) {
            line = line.replace(id.short(), &named);
        }
    }
    line
}

struct Lines {
    scribe: Scribe,
    speaker: Speaker,
}

impl Write for Lines {
    /// An event of a log is written as a whole.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for line in String::from_utf8_lossy(bytes).lines() {
            self.scribe.log(&self.speaker, line);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Level {
    Info,
    Warn,
    Error,
    Other,
}

/// `2026-11-21T14:10:39.523240Z  INFO left the ring`, taken apart. A line that is not
/// like this, such as a panic's, is all text.
#[derive(Debug, PartialEq, Eq)]
struct Logged<'a> {
    time: Option<&'a str>,
    level: Level,
    text: &'a str,
}

impl<'a> Logged<'a> {
    fn read(line: &'a str) -> Self {
        let stamp = |line: &'a str| {
            let (date, rest) = line.split_once('T')?;
            let (time, rest) = rest.split_once("Z ")?;
            let is_stamp = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || b"-:.".contains(&byte));
            let time = time.get(.."14:10:39.523".len()).filter(|time| is_stamp(time) && is_stamp(date))?;
            Some((time, rest.trim_start()))
        };
        let Some((time, rest)) = stamp(line) else { return Logged { time: None, level: Level::Info, text: line } };
        let (level, text) = match rest.split_once(' ') {
            Some(("INFO", text)) => (Level::Info, text),
            Some(("WARN", text)) => (Level::Warn, text),
            Some(("ERROR", text)) => (Level::Error, text),
            _ => (Level::Other, rest),
        };
        Logged { time: Some(time), level, text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_taken_apart_and_everything_else_is_text() {
        let table = [
            ("2026-11-21T14:10:39.523240Z  INFO left the ring", Some("14:10:39.523"), Level::Info, "left the ring"),
            ("2026-11-21T14:10:39.523240Z  WARN x", Some("14:10:39.523"), Level::Warn, "x"),
            ("2026-11-21T14:10:39.523240Z DEBUG x y", Some("14:10:39.523"), Level::Other, "DEBUG x y"),
            ("thread 'main' panicked at Tübingen Z ", None, Level::Info, "thread 'main' panicked at Tübingen Z "),
            ("2026-11-21TööööööööööZ x", None, Level::Info, "2026-11-21TööööööööööZ x"),
            ("", None, Level::Info, ""),
        ];
        for (line, time, level, text) in table {
            assert_eq!(Logged::read(line), Logged { time, level, text });
        }
    }

    #[test]
    fn ids_get_their_names() {
        let names = BTreeMap::from([(ClientId::new("01234567-89").unwrap(), "red".to_owned())]);
        let table = [
            ("leader is 01234567", "leader is red (01234567)"),
            ("leader is red (01234567)", "leader is red (01234567)"),
            ("joined as 01234567-89", "joined as 01234567-89"),
            ("silent id=01234567-89", "silent id=red (01234567)"),
            ("leader is 76543210", "leader is 76543210"),
        ];
        for (line, expected) in table {
            assert_eq!(with_names(line, &names), expected);
        }
    }
}
