//! Scenario files: a story in commands, and the trace that it is expected to give.
//!
//! ```text
//! # The leader dies.
//! # (What one should notice.)
//! nodes a=7 b=3 c=9
//! run-until c elected
//! crash c
//! settle
//! ----
//!  0.000  hub: a joined
//! ```
//!
//! Above the line of dashes stand comments and commands ([`COMMANDS`]; without a hub
//! [`mesh::COMMANDS`]), below it the trace. Without that line, nothing is expected yet.

pub(crate) mod command;
mod stage;

use std::fmt::Write;
use std::path::Path;
use std::str::FromStr;
use std::{fs, io};

use thiserror::Error;

pub use command::COMMANDS;
use command::Command;
use stage::Stage;

use crate::mesh::stage as mesh;

const RULE: &str = "----";

/// A scenario file.
#[derive(Debug)]
pub struct Scenario {
    file: String,
    /// The comments and commands, as they stand.
    story: String,
    commands: Commands,
    expected: Option<String>,
}

/// There is a hub, or there is none: the commands differ.
#[derive(Debug)]
enum Commands {
    Hub(Vec<Line<Command>>),
    Mesh(Vec<Line<mesh::Command>>),
}

#[derive(Debug)]
struct Line<C> {
    number: usize,
    text: String,
    command: C,
}

/// What is wrong with a scenario, or what went wrong in it.
#[derive(Debug, Error)]
pub enum Error {
    /// The file cannot be read or written.
    #[error("{file}: {error}")]
    File {
        /// Which file.
        file: String,
        /// Why.
        error: io::Error,
    },
    /// A line is no command.
    #[error("{file}:{line}: expected {expected}, got {got:?}")]
    Syntax {
        /// Which file.
        file: String,
        /// Which line.
        line: usize,
        /// What a command is like.
        expected: String,
        /// What stands there.
        got: String,
    },
    /// A command cannot be carried out, or a property broke while it was.
    #[error("{file}:{line}: {command}: {problem}\n{}", last_lines(trace))]
    Run {
        /// Which file.
        file: String,
        /// Which line.
        line: usize,
        /// What stands there.
        command: String,
        /// What went wrong.
        problem: String,
        /// What happened until then.
        trace: String,
    },
    /// The trace is another than the file says.
    #[error(
        "{file}: the trace differs (-: in the file, +: now; UPDATE=1 cargo test -p sim rewrites the file)\n{difference}"
    )]
    Differs {
        /// Which file.
        file: String,
        /// Where, and how.
        difference: String,
    },
}

impl Scenario {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// There is no such file, or a line in it is no command.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let file = path.display().to_string();
        match fs::read_to_string(path) {
            Ok(text) => Scenario::parse(&file, &text),
            Err(error) => Err(Error::File { file, error }),
        }
    }

    /// Reads a text; `file` is what errors call it.
    ///
    /// # Errors
    ///
    /// A line is no command.
    pub fn parse(file: &str, text: &str) -> Result<Self, Error> {
        let (mut story, mut expected, mut lines) = (String::new(), None::<String>, vec![]);
        for (number, line) in (1..).zip(text.lines()) {
            match &mut expected {
                Some(expected) => expected.extend([line, "\n"]),
                None if line == RULE => expected = Some(String::new()),
                None => {
                    story.extend([line, "\n"]);
                    let text = line.split('#').next().unwrap_or_default().trim();
                    if !text.is_empty() {
                        lines.push((number, text));
                    }
                }
            }
        }
        let commands = if lines.iter().any(|(_, line)| mesh::begins(line)) {
            Commands::Mesh(commands(file, &lines)?)
        } else {
            Commands::Hub(commands(file, &lines)?)
        };
        Ok(Scenario { file: file.into(), story, commands, expected })
    }

    /// Plays it; the trace.
    ///
    /// # Errors
    ///
    /// A command cannot be carried out, or one of the properties in
    /// [`property`](crate::property) does not hold.
    pub fn run(&self) -> Result<String, Error> {
        match &self.commands {
            Commands::Hub(lines) => {
                let mut stage = Stage::default();
                self.perform(lines, |command| {
                    stage.perform(command).map_err(|problem| (problem, stage.trace().into()))
                })?;
                Ok(stage.trace().into())
            }
            Commands::Mesh(lines) => {
                let mut stage = mesh::Stage::default();
                self.perform(lines, |command| {
                    stage.perform(command).map_err(|problem| (problem, stage.trace().into()))
                })?;
                Ok(stage.trace().into())
            }
        }
    }

    /// One after the other, until one cannot be carried out: why, and what happened until then.
    fn perform<C>(
        &self,
        lines: &[Line<C>],
        mut perform: impl FnMut(&C) -> Result<(), (String, String)>,
    ) -> Result<(), Error> {
        for line in lines {
            perform(&line.command).map_err(|(problem, trace)| Error::Run {
                file: self.file.clone(),
                line: line.number,
                command: line.text.clone(),
                problem,
                trace,
            })?;
        }
        Ok(())
    }

    /// Compares a trace with the expected one, if one is.
    ///
    /// # Errors
    ///
    /// They differ.
    pub fn compare(&self, trace: &str) -> Result<(), Error> {
        match &self.expected {
            Some(expected) if expected != trace => {
                Err(Error::Differs { file: self.file.clone(), difference: difference(expected, trace) })
            }
            _ => Ok(()),
        }
    }

    /// Whether the file says what to expect.
    pub fn expects(&self) -> bool {
        self.expected.is_some()
    }

    /// The file, with this trace for the expected one.
    pub fn with_trace(&self, trace: &str) -> String {
        format!("{}{RULE}\n{trace}", self.story)
    }
}

fn commands<C: FromStr<Err = String>>(file: &str, lines: &[(usize, &str)]) -> Result<Vec<Line<C>>, Error> {
    let command = |&(number, text): &(usize, &str)| match text.parse() {
        Ok(command) => Ok(Line { number, text: text.into(), command }),
        Err(expected) => Err(Error::Syntax { file: file.into(), line: number, expected, got: text.into() }),
    };
    lines.iter().map(command).collect()
}

/// Where two texts part, up to where they meet again, as far as one wants to read.
fn difference(expected: &str, got: &str) -> String {
    const MOST: usize = 15;
    let (expected, got): (Vec<_>, Vec<_>) = (expected.lines().collect(), got.lines().collect());
    let same = expected.iter().zip(&got).take_while(|(one, other)| one == other).count();
    let rest = expected[same..].iter().rev().zip(got[same..].iter().rev());
    let same_again = rest.take_while(|(one, other)| one == other).count();
    let mut text = String::new();
    for line in &got[same.saturating_sub(3)..same] {
        let _ = writeln!(text, "    {line}");
    }
    for (sign, lines) in
        [('-', &expected[same..expected.len() - same_again]), ('+', &got[same..got.len() - same_again])]
    {
        for line in lines.iter().take(MOST) {
            let _ = writeln!(text, "  {sign} {line}");
        }
        if lines.len() > MOST {
            let _ = writeln!(text, "  {sign} … {} more", lines.len() - MOST);
        }
    }
    text
}

fn last_lines(trace: &str) -> String {
    const MOST: usize = 15;
    let lines: Vec<_> = trace.lines().collect();
    lines[lines.len().saturating_sub(MOST)..].iter().map(|line| format!("    {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_line_is_named_with_what_was_expected() {
        // a line, and what the error says of it
        let table = [
            ("fly c", "x.txt:3: expected one of"),
            ("nodes", "expected nodes NAME=RANK"),
            ("nodes a=high", "expected nodes NAME=RANK"),
            ("nodes a=7@900ms", "at most 500ms"),
            ("nodes A7=7", "letters"),
            ("nodes hub=7", "letters"),
            ("crash", "expected crash NODE, got \"crash\""),
            ("crash a b", "expected crash NODE"),
            ("settle now", "expected settle"),
            ("run-for 2", "such as 2s or 100ms"),
            ("run-until b", "expected run-until NODE EVENT"),
            ("run-until b holds vote", "election, newLeader"),
            ("seed x", "expected seed NUMBER"),
            ("cut a sideways", "expected cut NODE, cut NODE up"),
            ("hub-restart full", "hub-restart empty"),
        ];
        for (line, expected) in table {
            let error = Scenario::parse("x.txt", &format!("# A story.\n\n{line}\n----\n")).unwrap_err().to_string();
            assert!(error.starts_with("x.txt:3: ") && error.contains(expected), "{line}: {error}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_named_with_what_happened_until_then() {
        let table = [
            ("crash d", "x.txt:3: crash d: there is no such node that runs"),
            ("restart a", "restart a: there is no such node that has crashed"),
            ("wake a", "wake a: there is no such node that is paused"),
            ("heal a", "heal a: there is no such node that is cut off"),
            ("hub-restart", "hub-restart: the hub runs already"),
            ("resign b", "resign b: it does not lead"),
            ("join a=3", "join a=3: there is a node of this name already"),
            ("nodes d=3", "nodes d=3: a ring begins with its nodes; later they join"),
            ("early", "early: this has to stand before the first nodes"),
            ("run-until a left", "x.txt:3: run-until a left: did not happen in 60s"),
            ("crash a\nsettle", "x.txt:4: settle: no agreement in 60s"),
        ];
        for (line, expected) in table {
            let scenario = Scenario::parse("x.txt", &format!("nodes a=7\nrun-until a leads\n{line}\n")).unwrap();
            let error = scenario.run().unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("a: leads, term 1"), "{line}: {error}");
        }
    }

    #[test]
    fn a_trace_that_differs_is_shown_where_it_does() {
        let scenario = Scenario::parse("x.txt", "settle\n----\n1\n2\n3\n4\n5\n").unwrap();
        assert!(scenario.compare("1\n2\n3\n4\n5\n").is_ok());
        let error = scenario.compare("1\n2\n3\nfour\nmore\n5\n").unwrap_err().to_string();
        assert!(error.ends_with("\n    1\n    2\n    3\n  - 4\n  + four\n  + more\n"), "{error}");
        assert_eq!(scenario.with_trace("new\n"), "settle\n----\nnew\n");
    }
}
