//! A member's program: its two machines, its timers, and what it asks the board.

use std::collections::{BTreeMap, VecDeque};

use ringleader_shared::factorial::coordinator::{self, Coordinator};
use ringleader_shared::factorial::message::{Answer, Peer, Product, Request, Said, Task};
use ringleader_shared::factorial::worker::{self, Worker};
use ringleader_shared::id::{ClientId, Name, Term};

use super::plan::Role;
use crate::agenda::Slot;

/// A member, be it that its program is down.
#[derive(Debug)]
pub struct Member {
    /// What people call it.
    pub name: Name,
    /// What it does.
    pub role: Role,
    /// Whether its program runs.
    pub life: Life,
    /// How often its program has started.
    pub run: u32,
    /// How often it has joined.
    pub joined: u32,
    /// Its connection, as far as it knows.
    pub link: Option<ClientId>,
    /// The newest term it knows.
    pub known: Term,
    /// It hears of no election until it is told to.
    pub is_deaf: bool,
    /// What it has not heard.
    pub unheard: Option<News>,
    /// Whom it follows.
    pub follows: Option<(ClientId, Term)>,
    /// What multiplies, if it does.
    pub worker: Option<Worker>,
    /// What coordinates, if it does.
    pub coordinator: Option<Coordinator>,
    /// What runs out when.
    pub timers: BTreeMap<Timer, Slot>,
    /// What happened to it while it stood still.
    pub waiting: VecDeque<(Slot, ToMember)>,
    /// What it asks the board.
    pub asks: BTreeMap<u64, Ask>,
    /// How much it has asked.
    pub asked: u64,
}

/// Whether a program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// No.
    Down,
    /// Yes.
    Up,
    /// It stands still.
    Paused,
}

/// Somebody leads in a term, or nobody any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// Who.
    pub leader: Option<ClientId>,
    /// In which term.
    pub term: Term,
}

/// A member's timers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// The coordinator's.
    Coordinator(coordinator::Timer),
    /// The worker's.
    Worker(worker::Timer),
}

/// What a member asks the board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// What.
    pub request: Request,
    /// For whom.
    pub asker: Asker,
}

/// Who asks the board for something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asker {
    /// The coordinator of this term. It asks one thing after the other.
    Coordinator(Term),
    /// The mill, which leaves a product there.
    Mill(Product),
}

/// Something for the mill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The term of the coordinator that gave it; `None` for a worker.
    pub by: Option<Term>,
    /// What.
    pub task: Task,
    /// How often the hub was asked for operands and said nothing.
    pub tries: u8,
}

/// What happens to a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToMember {
    /// A `message` frame.
    Frame {
        /// Over which connection.
        link: ClientId,
        /// From whom.
        from: Peer,
        /// In which term.
        term: Term,
        /// What.
        said: Said,
    },
    /// It hears who leads.
    News(ClientId, News),
    /// It hears what it has not heard so far.
    Hears,
    /// It notices that this connection is lost.
    Lost(ClientId),
    /// The board answers.
    Answer(u64, Answer),
    /// There was no answer.
    AskAgain(u64),
    /// A timer runs out.
    Timer(Timer),
    /// The mill is so far.
    Mills(Order),
    /// It ends by a failed computation.
    Exits,
}

impl Member {
    /// Its program is down.
    pub fn new(name: Name, role: Role) -> Self {
        Member {
            name,
            role,
            life: Life::Down,
            run: 0,
            joined: 0,
            link: None,
            known: Term::NONE,
            is_deaf: false,
            unheard: None,
            follows: None,
            worker: None,
            coordinator: None,
            timers: BTreeMap::new(),
            waiting: VecDeque::new(),
            asks: BTreeMap::new(),
            asked: 0,
        }
    }

    /// Its program ends, and with it everything it had in memory.
    pub fn crash(&mut self) {
        let Member { name, role, run, joined, .. } = self;
        *self = Member { run: *run, joined: *joined, ..Member::new(name.clone(), *role) };
    }

    /// Whether its program runs, be it that it stands still.
    pub fn runs(&self) -> bool {
        self.life != Life::Down
    }

    /// Whether it coordinates in an older term than this.
    pub fn is_behind(&self, term: Term) -> bool {
        self.coordinator.as_ref().is_some_and(|coordinator| coordinator.term() < term)
    }

    /// The next thing that its coordinator asks: it asks one after the other.
    pub fn next_ask(&self) -> Option<u64> {
        let of_coordinator = |ask: &Ask| matches!(ask.asker, Asker::Coordinator(_));
        self.asks.iter().find(|(_, ask)| of_coordinator(ask)).map(|(number, _)| *number)
    }
}
