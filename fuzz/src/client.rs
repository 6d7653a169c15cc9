//! Bytes as a story of one client, and of a hub that says anything.
//!
//! | step | what happens |
//! |---|---|
//! | `hTEXT` | the hub says TEXT |
//! | `wKLT` | the hub welcomes it as `m`: kind of hub K, leader L, term T |
//! | `sLKT` | the hub hands it a frame of kind K from L, naming the client or L, in term T |
//! | `tN` | the Nth of its timers runs out |
//! | `oN` | what it said N frames ago comes back |
//! | `d`, `r` | its connection is gone; its program is about to leave |

use std::collections::VecDeque;
use std::time::Duration;

use ringleader_shared::rule::Rule;

use crate::node::Node;
use crate::story::{Line, frame, id, one_of, steps};

/// How much longer a frame may be than what was heard before it: `1e9` is written out, and
/// an entry and a term are added.
const MOST_GROWTH: usize = 4;
const MOST_ADDED_BYTES: usize = 1_024;
const REMEMBERED: usize = 8;

struct Client {
    node: Node,
    said: VecDeque<String>,
    longest_heard: usize,
}

/// Plays a story. A broken rule is for tests of this check.
pub fn run(bytes: &[u8], broken: Option<Rule>) {
    let early = bytes.first() == Some(&b'e');
    let mut client = Client { node: Node::new("m", 5, early, broken), said: VecDeque::new(), longest_heard: 0 };
    for line in steps(bytes) {
        client.step(line);
    }
}

impl Client {
    fn step(&mut self, mut line: Line) {
        match line.letter() {
            b'h' => self.hear(&line.text()),
            b'w' => {
                let welcome = self.welcome(&mut line);
                self.hear(&welcome);
            }
            b's' => {
                let from = someone(&mut line);
                let named = if line.which(2) == 0 { id("m") } else { from.clone() };
                let text = frame(&mut line, &from, named, self.node.belief().term);
                self.hear(&text);
            }
            b't' => {
                if let Some(timer) = one_of(&mut line, self.node.timers().keys().copied()) {
                    let said = self.node.fire(timer, Duration::ZERO);
                    self.note(said);
                }
            }
            b'o' => {
                if let Some(text) = one_of(&mut line, self.said.iter().cloned()) {
                    self.hear(&text);
                }
            }
            b'd' => self.node.disconnect(Duration::ZERO),
            b'r' => {
                let said = self.node.resign(Duration::ZERO);
                self.note(said);
            }
            _ => {}
        }
    }

    fn welcome(&self, line: &mut Line) -> String {
        let (kind, leader) = (line.which(4), someone(line));
        let term = (self.node.belief().term.get() + line.which(10) as u64).saturating_sub(5);
        match kind {
            0 => format!(
                r#"{{"method":"welcome","clientId":"m","data":{{"leaderId":null,"term":{term},"relay":"ring","leaseMs":4000}}}}"#
            ),
            1 => format!(
                r#"{{"method":"welcome","clientId":"m","data":{{"leaderId":"{leader}","term":{term},"relay":"ring","leaseMs":4000}}}}"#
            ),
            2 => format!(r#"{{"method":"welcome","clientId":"m","data":{{"term":{term},"relay":"direct"}}}}"#),
            _ => r#"{"method":"welcome","clientId":"m"}"#.into(),
        }
    }

    fn hear(&mut self, text: &str) {
        self.longest_heard = self.longest_heard.max(text.len());
        let said = self.node.hear(text, Duration::ZERO);
        self.note(said);
    }

    fn note(&mut self, said: Vec<String>) {
        for text in said {
            let most = self.longest_heard * MOST_GROWTH + MOST_ADDED_BYTES;
            assert!(text.len() <= most, "{} bytes said after at most {} heard", text.len(), self.longest_heard);
            self.said.push_front(text);
        }
        self.said.truncate(REMEMBERED);
    }
}

fn someone(line: &mut Line) -> ringleader_shared::id::ClientId {
    id(["m", "a", "b", "z"][line.which(4)])
}
