//! What goes to stdout: a line an event, for people and scripts, or as JSON.

use std::io::{Write, stdout};

use anyhow::Context;
use ringleader_shared::paxos::{Message, NodeId, Peer, Role, Value, Waiting};
use serde::{Deserialize, Serialize};

use super::super::terminal::{now, printable};

/// What there is to tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Event {
    /// A node takes connections.
    Listens { node: NodeId, address: String },
    /// A node's candidate came home.
    Leads { node: NodeId },
    /// A node's run begins, or goes on.
    Started { node: NodeId, role: Role, takes_part: bool },
    /// A node sends a message; `to` is a node, or null for a client.
    Sent { node: NodeId, to: Option<NodeId>, message: Message },
    /// A node or a client knows what was chosen.
    Chosen {
        #[serde(skip_serializing_if = "Option::is_none")]
        node: Option<NodeId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        client: Option<u16>,
        value: Value,
    },
    /// A client waits.
    Waits { client: u16, waiting: Waiting },
    /// A client does not hear an outcome.
    Failed { client: u16, why: String },
}

impl Event {
    pub fn sent(node: NodeId, to: Peer, message: &Message) -> Event {
        let to = match to {
            Peer::Node(node) => Some(node),
            Peer::Client(_) => None,
        };
        Event::Sent { node, to, message: message.clone() }
    }

    /// As a line without JSON; `None` for what only the logs tell then.
    fn plain(&self) -> Option<String> {
        match self {
            Event::Started { role, takes_part: true, .. } => Some(format!("started {role}")),
            Event::Started { role, takes_part: false, .. } => Some(format!("started {role}, only learns")),
            Event::Chosen { value, .. } => Some(format!("chosen {}", printable(value.as_str()))),
            _ => None,
        }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    at: u64,
    #[serde(flatten)]
    event: &'a Event,
}

/// Prints an event. Flushes, as whoever reads may wait for it.
pub fn tell(json: bool, event: &Event) -> anyhow::Result<()> {
    let line = match json {
        true => Some(serde_json::to_string(&Line { at: now(), event })?),
        false => event.plain(),
    };
    let Some(line) = line else { return Ok(()) };
    let mut stdout = stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).context("cannot write to stdout")
}
