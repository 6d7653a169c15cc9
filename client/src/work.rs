//! The work of a member, beside its election: what its node asks of the hub's board and
//! of the mill is done here, apart from the loop that answers pings.
//!
//! - [`Work`]: what a member does, and how; nothing, unless told.
//! - `board`: the node's questions to the hub, over HTTP.
//! - `mill`: what multiplies.
//! - `file`: jobs that people write into a file.
//! - [`fail`]: computations that fail on purpose.
//! - `say`: what is told to people.

mod board;
pub mod fail;
mod file;
mod mill;
pub mod say;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ringleader_shared::factorial::message::{Message, Peer, Said};
use ringleader_shared::id::{ClientId, Term};
use ringleader_shared::machine::Input;
use ringleader_shared::node::{self, Node, To};
use ringleader_shared::session;
use ringleader_shared::wire::Application;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::debug;

use crate::jobs::Jobs;
use crate::transport::hub::HubUrl;
use board::BoardLink;
use fail::Fail;
use mill::Mill;

/// What a member does besides electing; nothing, unless told.
#[derive(Debug, Clone, Default)]
pub struct Work {
    /// Whether it coordinates where it leads, and computes where it follows; and how.
    pub node: node::Work,
    /// Whether it never stands for election: it takes part, and whoever else stands leads.
    pub never_stands: bool,
    /// How long a computation waits before it is answered.
    pub delay: Duration,
    /// What goes wrong on purpose.
    pub fail: Option<Fail>,
    /// A file of jobs, one a line, that it submits while it coordinates.
    pub jobs_file: Option<PathBuf>,
}

/// What comes back from an errand.
pub enum Happening {
    /// For the node.
    Input(Input<Node>),
    /// The member is to hang for a while: it was asked to fail so.
    Stall,
}

/// Where errands tell what has come of them. It holds no more than the node has asked for.
type Tell = mpsc::UnboundedSender<Happening>;

/// What goes on beside the driver's loop. Gone with the value.
pub struct Errands {
    hub: HubUrl,
    happenings: mpsc::UnboundedReceiver<Happening>,
    tell: Tell,
    board: BoardLink,
    mill: Arc<Mill>,
    milling: JoinSet<()>,
    jobs_file: Option<PathBuf>,
    /// One task at most: it reads that file.
    reading: JoinSet<()>,
    coordinates: Option<Term>,
}

impl Errands {
    /// For a member of the ring at this place. Needs a tokio runtime.
    pub fn new(hub: HubUrl, work: &Work) -> Self {
        let (tell, happenings) = mpsc::unbounded_channel();
        Errands {
            board: BoardLink::start(hub.clone(), work.fail.clone(), tell.clone()),
            mill: Arc::new(Mill::new(hub.clone(), work.delay, work.fail.clone(), tell.clone())),
            hub,
            happenings,
            tell,
            milling: JoinSet::new(),
            jobs_file: work.jobs_file.clone(),
            reading: JoinSet::new(),
            coordinates: None,
        }
    }

    /// What comes next. Can be dropped and called again without losing anything.
    pub async fn next(&mut self) -> Happening {
        match self.happenings.recv().await {
            Some(happening) => happening,
            // We hold a sender ourselves.
            None => std::future::pending().await,
        }
    }

    /// In which term the node coordinates. What was asked in another is over.
    pub fn coordinates(&mut self, term: Option<Term>) {
        if term == self.coordinates {
            return;
        }
        self.coordinates = term;
        self.board.coordinates(term);
        self.reading = JoinSet::new();
        if let (Some(_), Some(file)) = (term, &self.jobs_file) {
            self.reading.spawn(file::watch(file.clone(), Jobs::of(self.hub.clone())));
        }
    }

    /// Does what the node says; a frame, where that is what it takes.
    pub fn perform(&mut self, to: Peer, term: Term, message: Message) -> Option<String> {
        while self.milling.try_join_next().is_some() {}
        match (to, message) {
            (Peer::Member(to), Message::Said(said)) => frame(to, term, &said),
            (Peer::Everybody, Message::Said(said)) => frame(ClientId::new("*").ok()?, term, &said),
            (Peer::Board, Message::Ask(request)) => {
                self.board.ask(term, request);
                None
            }
            (Peer::Mill, Message::Task(task)) => {
                let (mill, tell) = (self.mill.clone(), self.tell.clone());
                self.milling.spawn(async move {
                    let milled = Message::Milled(mill.mill(task).await);
                    let _ = tell.send(Happening::Input(heard(Peer::Mill, term, milled)));
                });
                None
            }
            (to, message) => {
                debug!("nothing to be said to {to:?}: {message:?}");
                None
            }
        }
    }
}

/// What a member or the hub has said, if it is about the work.
pub fn understand(from: Option<ClientId>, said: &Application) -> Option<(Said, Input<Node>)> {
    match serde_json::from_str::<Said>(said.body.get()) {
        Ok(body) => {
            let from = from.map_or(Peer::Hub, Peer::Member);
            Some((body.clone(), heard(from, said.term, Message::Said(body))))
        }
        Err(error) => {
            debug!("passed over a message that is not about the work: {error}");
            None
        }
    }
}

fn heard(from: Peer, term: Term, message: Message) -> Input<Node> {
    Input::Message { from: To::Work(from, term), message: node::Message::Work(message) }
}

fn frame(destination_id: ClientId, term: Term, said: &Said) -> Option<String> {
    // Texts, numbers and lists of these.
    let body: Box<RawValue> = to_raw_value(said).ok()?;
    Some(session::tell(Application { destination_id, term, body }))
}
