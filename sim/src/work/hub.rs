//! The hub: its board, what it has written down, and who is connected. What is not written
//! yet when it ends is lost, and so is what was to be said after that.

use std::collections::{BTreeMap, VecDeque};

use ringleader_shared::factorial::JobId;
use ringleader_shared::factorial::board::{Asker, Board, Change, Job, Limits};
use ringleader_shared::factorial::rule::Rule;
use ringleader_shared::id::{ClientId, Term};
use ringleader_shared::machine::Effect;

/// A hub, be it that it is down.
#[derive(Debug)]
pub struct Hub {
    /// Its board, while it runs.
    pub board: Option<Board>,
    /// How often it has started.
    pub run: u64,
    /// What survives it.
    pub store: BTreeMap<JobId, Job>,
    /// Who is connected, as far as it knows: which member by which id.
    pub links: BTreeMap<ClientId, usize>,
    /// Who leads.
    pub leader: Option<(ClientId, Term)>,
    /// The newest term there was. It survives the hub, as a relay's does.
    pub term: Term,
    /// Whether an election is under way.
    pub elects: bool,
    /// Who waits for an answer.
    askers: BTreeMap<Asker, Asking>,
    asked: u64,
    writing: VecDeque<Batch>,
}

/// Who asked the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    /// A member's program, in this run of it, by this number of its own.
    Member {
        /// Which.
        member: usize,
        /// Which run of its program.
        run: u32,
        /// Its own number for that.
        ask: u64,
    },
    /// Whoever submitted the how manieth job.
    Submitter(usize),
}

/// What came of one input.
#[derive(Debug)]
struct Batch {
    changes: Vec<Change>,
    then: Vec<Effect<Board>>,
}

impl Hub {
    /// A hub that runs, and has nothing.
    pub fn new(limits: Limits, broken: Option<Rule>) -> Self {
        let mut hub = Hub {
            board: None,
            run: 0,
            store: BTreeMap::new(),
            links: BTreeMap::new(),
            leader: None,
            term: Term::NONE,
            elects: false,
            askers: BTreeMap::new(),
            asked: 0,
            writing: VecDeque::new(),
        };
        hub.start(limits, broken);
        hub
    }

    /// It begins with what was written.
    pub fn start(&mut self, limits: Limits, broken: Option<Rule>) {
        let jobs = self.store.iter().map(|(id, job)| (*id, job.clone()));
        self.board = Some(Board::new(limits, jobs).knowing(self.term).breaking(broken));
        self.run += 1;
        self.elects = false;
    }

    /// It ends, in the middle of what it does. Who was connected is not any more.
    pub fn crash(&mut self) -> BTreeMap<ClientId, usize> {
        self.board = None;
        self.writing.clear();
        self.askers.clear();
        self.leader = None;
        self.elects = false;
        std::mem::take(&mut self.links)
    }

    /// Whether nothing is being written.
    pub fn is_idle(&self) -> bool {
        self.writing.is_empty()
    }

    /// A number for somebody who asks.
    pub fn asker(&mut self, who: Asking) -> Asker {
        self.asked += 1;
        self.askers.insert(Asker(self.asked), who);
        Asker(self.asked)
    }

    /// Who that was, once.
    pub fn answered(&mut self, asker: Asker) -> Option<Asking> {
        self.askers.remove(&asker)
    }

    /// Takes in what a board wants to be done. What stands after something that is to be
    /// written waits. Returns what can be done at once, and whether writing begins.
    pub fn perform(&mut self, effects: Vec<Effect<Board>>) -> (Vec<Effect<Board>>, bool) {
        let (mut changes, mut then) = (vec![], vec![]);
        for effect in effects {
            match effect {
                Effect::Save(change) => changes.push(change),
                other => then.push(other),
            }
        }
        let idle = self.writing.is_empty();
        if idle && changes.is_empty() {
            return (then, false);
        }
        self.writing.push_back(Batch { changes, then });
        (vec![], idle)
    }

    /// The oldest of what is being written is written. Returns it, what can be done now,
    /// and whether more is to be written.
    pub fn written(&mut self) -> (Vec<Change>, Vec<Effect<Board>>, bool) {
        let Some(Batch { changes, mut then }) = self.writing.pop_front() else { return (vec![], vec![], false) };
        changes.iter().for_each(|change| self.apply(change));
        while self.writing.front().is_some_and(|next| next.changes.is_empty())
            && let Some(next) = self.writing.pop_front()
        {
            then.extend(next.then);
        }
        (changes, then, !self.writing.is_empty())
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Entry(id, entry) => {
                let fresh = || Job { entry: (**entry).clone(), result: None, products: BTreeMap::new() };
                self.store.entry(*id).or_insert_with(fresh).entry = (**entry).clone();
            }
            Change::Result(id, result) => {
                if let Some(job) = self.store.get_mut(id) {
                    job.result = Some(result.clone());
                }
            }
            Change::Product(id, part, number) => {
                if let Some(job) = self.store.get_mut(id) {
                    job.products.insert(*part, number.clone());
                }
            }
            Change::Forget(id, parts) => {
                if let Some(job) = self.store.get_mut(id) {
                    parts.iter().for_each(|part| _ = job.products.remove(part));
                }
            }
            Change::ForgetJob(id) => _ = self.store.remove(id),
        }
    }
}
