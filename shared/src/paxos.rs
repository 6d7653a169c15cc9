//! Basic Paxos: nodes agree on one value, and never on two. Lamport, "The Part-Time
//! Parliament", ACM TOCS 16(2), 1998; told simply in "Paxos Made Simple", 2001.
//!
//! First the nodes elect, by Chang and Roberts (CACM 22(5), 1979), who gives out the
//! roles: on a ring of all of them, in the order of their ids, candidates go round, a
//! node passes on only one that is greater than itself, and the greatest comes home. It
//! tells all nodes to [`Start`]. Then proposers ask the acceptors for promises (phase 1)
//! and for votes (phase 2), and learners count the votes.
//!
//! Holds: all that anybody says was chosen is one value, and a client wanted it,
//! whatever is lost, late or in another order, and whoever ends or starts again, as long
//! as a majority of the acceptors does not lose its memory. As long as a majority of the
//! acceptors and the client's proposer are there, the client hears an outcome.
//! Fails: to choose, without a majority of the acceptors or before every node has been
//! there once, or if the leader ends in the middle of START, forgets it, and stands again
//! before those who have heard it: whoever backs it then can only learn in the old run.
//! Learners that come late, when nobody is left who knows and the newest votes are of
//! different ballots, hear of it with the next proposal. Against nodes that lie.
//! Costs: n messages of the greatest candidate and at most n − 1 others to elect, n − 1
//! to start; with a acceptors, p proposers and l learners, a value costs a prepares, a
//! promises, a accepts, a·(l + 1) votes and p − 1 tidings, if nobody competes.
//! Departs from the paper: votes go to the ballot's proposer too, so that its client hears
//! the outcome without a learner; roles are apart; who is refused says so (nack); and
//! there are runs:
//!
//! # Runs, and who has forgotten
//!
//! An acceptor that forgets can undo what was chosen. So it is not a node that takes part
//! but a memory of it, an [`Incarnation`]: with a disk the same over restarts, without one
//! another each time. Three rules:
//!
//! - A candidate collects the incarnations that it passes, and START lists them. **Only
//!   who is listed takes part**; others only learn. So START can be repeated by anybody, at
//!   any time, to anybody: it never lets in who has forgotten.
//! - Who passed a candidate on **backs** it, and takes part in no older run any more. Who
//!   has started passes none on, but answers with its START.
//! - Messages carry their **run**, the incarnation of its leader; those of others count
//!   for nothing.
//!
//! The leader may end in the middle of START and, without a disk, come back as another
//! incarnation. Either its candidate meets somebody who has started: then it is told of the
//! old run, in which it is not listed, and only learns. Or it comes home: then every node
//! was passed before it had started, and backs the new run. An acceptor that took part
//! in the old one must therefore have lost its memory since. If no majority has, then no
//! majority was ever in the old run, nothing was accepted there, and nothing will be. So
//! votes are cast in one run only; and within a run there is one memory of each node,
//! which is what the paper's proof asks for.
//!
//! If all programs end and start again without disks, that is a new run of a new system,
//! which knows nothing of the old one. If they do so one after the other, each is told of
//! the old run, and in the end all of them only learn: stop all, then start.

mod acceptor;
mod learner;
mod message;
mod propose;
mod proposer;
mod ring;
mod roles;
mod rule;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::machine::{Effect, Input, Machine};
pub use acceptor::{Acceptor, Promised};
use learner::Learner;
pub use message::{
    BadValue, Ballot, ClientId, Incarnation, MAX_VALUE_BYTES, Message, NodeId, Peer, Refusal, Start, Value, Vote,
    Waiting,
};
pub use proposer::MAX_CLIENTS;
use proposer::{Phase, Proposer};
pub use roles::{MAX_NODES, Role, Roles};
pub use rule::Rule;

/// How long to wait for what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Timing {
    /// Until a node that has not started sends its candidate again; half as much is
    /// added by chance.
    pub candidate: Duration,
    /// How long acceptors may be silent before a proposer tries a new ballot; half as
    /// much is added by chance.
    pub silence: Duration,
    /// A proposer that is refused stands back for less than this, by chance; for less
    /// than twice as much the next time, and so on six times.
    pub backoff: Duration,
    /// Until a learner that does not know asks; half as much is added by chance.
    pub query: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            candidate: Duration::from_secs(1),
            silence: Duration::from_secs(1),
            backoff: Duration::from_millis(50),
            query: Duration::from_secs(1),
        }
    }
}

/// The timers of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Send the candidate again: armed until the run begins.
    Candidate,
    /// Begin a new ballot: armed while clients wait at a proposer.
    Retry,
    /// Ask what was chosen: armed while a learner does not know.
    Query,
}

/// What else happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// The program starts: the first input.
    Start,
    /// A client's connection is gone.
    ClientGone(ClientId),
}

/// What a node tells.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Report {
    /// Its candidate came home: it gives out the roles.
    Leads,
    /// The run begins, or goes on after a restart.
    Started {
        /// What it is.
        role: Role,
        /// Whether it remembers all that it has to; else it only learns.
        takes_part: bool,
    },
    /// Somebody gives out other roles than we know of: the lists of hosts differ.
    OtherRoles(NodeId),
    /// This was chosen. Once.
    Chosen(Value),
}

/// What has to survive the end of the program, if this memory is to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Saved {
    /// Whose memory it is.
    incarnation: Incarnation,
    /// The newest run whose candidate it has passed on, or, of a leader, its own; never falls.
    backed: Option<Incarnation>,
    /// The run, once it has begun; stays as it is.
    start: Option<Start>,
    /// The last round that it used as a proposer, or a later one that it heard of.
    round: u64,
    /// What it is bound to as an acceptor.
    acceptor: Acceptor,
}

impl Saved {
    /// A memory with nothing in it. No two of a node may be equal.
    pub fn new(incarnation: Incarnation) -> Saved {
        Saved { incarnation, backed: None, start: None, round: 0, acceptor: Acceptor::default() }
    }

    /// Whether it fits a node with these roles, so that [`Node::new`] can go on with it.
    pub fn fits(&self, roles: Roles) -> bool {
        self.start.as_ref().is_none_or(|start| fits(start, roles))
    }
}

fn fits(start: &Start, roles: Roles) -> bool {
    start.roles == roles && start.members.len() == usize::from(roles.count())
}

/// One node, whatever its role.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Node {
    me: NodeId,
    roles: Roles,
    timing: Timing,
    /// All that must survive, in one place: whoever changes it has to save it.
    saved: Saved,
    proposer: Proposer,
    learner: Learner,
    /// A rule that is not kept, on purpose.
    broken: Option<Rule>,
}

type Effects = Vec<Effect<Node>>;

impl Machine for Node {
    type Peer = Peer;
    type Message = Message;
    type Timer = Timer;
    type Event = Event;
    type Report = Report;
    type Saved = Saved;

    fn handle(&mut self, input: Input<Self>) -> Effects {
        match input {
            Input::Event(Event::Start) => self.on_program_start(),
            Input::Event(Event::ClientGone(client)) => self.on_client_gone(client),
            Input::Timeout(Timer::Candidate) => self.campaign(),
            Input::Timeout(Timer::Retry) => self.on_retry_due(),
            Input::Timeout(Timer::Query) => self.query(),
            // Of another run, or of ours before it began for us: whoever needs an answer asks again.
            Input::Message { message, .. } if message.run().is_some_and(|run| Some(run) != self.run()) => vec![],
            Input::Message { from: Peer::Client(client), message: Message::Propose { value } } => {
                self.on_propose(client, value)
            }
            Input::Message { from: Peer::Client(_), .. } => vec![], // Clients have nothing else to say.
            Input::Message { from: Peer::Node(from), message } => match message {
                Message::Candidate { id, members } => self.on_candidate(id, members),
                Message::Start(start) => self.on_start(from, start),
                Message::Prepare { ballot, .. } => self.on_prepare(from, ballot),
                Message::Promise { ballot, accepted, .. } => self.on_promise(from, ballot, accepted),
                Message::Nack { ballot, promised, .. } => self.on_nack(ballot, promised),
                Message::Accept { vote, .. } => self.on_accept(from, vote),
                Message::Accepted { vote, .. } => self.on_accepted(from, vote),
                Message::Chosen { value, .. } => self.learn(value),
                Message::Query { unfinished, .. } => self.on_query(from, unfinished),
                // What clients say and hear, nodes do not.
                Message::Propose { .. }
                | Message::Outcome { .. }
                | Message::Waiting { .. }
                | Message::Refused { .. } => vec![],
            },
        }
    }

    fn check(&self) {
        self.saved.acceptor.check();
        assert!(self.saved.start.as_ref().is_none_or(|start| fits(start, self.roles)), "a run is one of these roles");
        if let Some(ballot) = self.proposer.phase.ballot() {
            assert!(self.acts_as(Role::Proposer), "only a proposer that takes part has a ballot");
            assert_eq!(ballot.node, self.me, "a ballot is its proposer's own");
            assert!(ballot.round <= self.saved.round, "a round is written down before it is used");
        }
        if self.learner.chosen().is_some() {
            assert!(self.proposer == Proposer::default(), "nobody waits for what is known");
        }
    }
}

/// The beginning.
impl Node {
    /// A node that goes on with what it saved. Its first input is [`Event::Start`].
    pub fn new(me: NodeId, roles: Roles, saved: Saved, timing: Timing) -> Self {
        assert!(roles.of(me).is_some() && saved.fits(roles), "the caller has compared id, roles and what was saved");
        Node { me, roles, timing, saved, proposer: Proposer::default(), learner: Learner::default(), broken: None }
    }

    /// Breaks a rule on purpose, to see that it is missed.
    pub fn breaking(self, rule: Option<Rule>) -> Self {
        Node { broken: rule, ..self }
    }

    fn keeps(&self, rule: Rule) -> bool {
        self.broken != Some(rule)
    }

    /// What it knows was chosen.
    pub fn chosen(&self) -> Option<&Value> {
        self.learner.chosen()
    }

    /// How many clients wait here for an outcome.
    pub fn waiting(&self) -> usize {
        self.proposer.clients.len()
    }

    /// What it is, once the run has begun.
    pub fn role(&self) -> Option<Role> {
        self.saved.start.as_ref().and_then(|start| start.roles.of(self.me))
    }

    /// Whether the run has begun and this memory is one of its members. So it stays.
    pub fn takes_part(&self) -> bool {
        self.saved.start.as_ref().is_some_and(|start| {
            let is_listed = start.members.get(usize::from(self.me.0)) == Some(&self.saved.incarnation);
            // A proposer binds nobody: it may be of a run whose acceptors back another one.
            let is_backed = self.saved.backed == start.run()
                || self.role() == Some(Role::Proposer)
                || !self.keeps(Rule::NewestRunIsBacked);
            is_listed && is_backed || !self.keeps(Rule::ForgottenOnlyLearns)
        })
    }

    fn acts_as(&self, role: Role) -> bool {
        self.role() == Some(role) && self.takes_part()
    }

    fn run(&self) -> Option<Incarnation> {
        self.saved.start.as_ref().and_then(Start::run)
    }

    fn on_program_start(&mut self) -> Effects {
        let mut effects = vec![self.save()];
        match self.saved.start.clone() {
            // A leader may have ended before all had heard of it.
            Some(start) if self.is_greatest() => {
                effects.extend(self.tell_start(&start));
                effects.extend(self.begin());
            }
            Some(_) => effects.extend(self.begin()),
            None => effects.extend(self.campaign()),
        }
        effects
    }

    fn begin(&mut self) -> Effects {
        let Some(role) = self.role() else { return vec![] };
        let takes_part = self.takes_part();
        let mut effects = vec![Effect::Report(Report::Started { role, takes_part })];
        if role == Role::Learner || !takes_part {
            effects.push(self.ask_later());
        }
        match self.refusal() {
            // Soon, but not at once: acceptors may hear of the start later than we, and what comes
            // before that they pass over.
            None if !self.proposer.clients.is_empty() => {
                let soon = self.timing.backoff..self.timing.backoff * 2;
                effects.push(Effect::SetTimer { timer: Timer::Retry, after: soon });
            }
            None => {}
            Some(why) => {
                let clients = std::mem::take(&mut self.proposer.clients);
                effects.extend(clients.into_keys().map(|client| answer(client, Message::Refused { why })));
            }
        }
        effects
    }

    fn save(&self) -> Effect<Node> {
        Effect::Save(self.saved.clone())
    }
}

/// Accepting: phases 1b and 2b.
impl Node {
    fn on_prepare(&mut self, from: NodeId, ballot: Ballot) -> Effects {
        let Some(run) = self.run().filter(|_| self.acts_as(Role::Acceptor)) else { return vec![] };
        match self.saved.acceptor.promise(ballot) {
            Ok(accepted) => {
                let promise = send(from, Message::Promise { run, ballot, accepted });
                self.save_before().into_iter().chain([promise]).collect()
            }
            Err(Promised(promised)) => vec![send(from, Message::Nack { run, ballot, promised })],
        }
    }

    fn on_accept(&mut self, from: NodeId, vote: Vote) -> Effects {
        let Some(run) = self.run().filter(|_| self.acts_as(Role::Acceptor)) else { return vec![] };
        let keeps_promises = self.keeps(Rule::PromiseIsKept);
        match self.saved.acceptor.accept(&vote, keeps_promises) {
            Ok(is_news) => {
                let told = self.roles.with(Role::Learner).chain([from]);
                let told = told.map(|node| send(node, Message::Accepted { run, vote: vote.clone() }));
                self.save_before().filter(|_| is_news).into_iter().chain(told).collect()
            }
            Err(Promised(promised)) => vec![send(from, Message::Nack { run, ballot: vote.ballot, promised })],
        }
    }

    fn save_before(&self) -> Option<Effect<Node>> {
        self.keeps(Rule::SavedBeforeAnswered).then(|| self.save())
    }
}

/// Learning.
impl Node {
    fn on_accepted(&mut self, from: NodeId, vote: Vote) -> Effects {
        let Some(run) = self.run().filter(|_| self.roles.of(from) == Some(Role::Acceptor)) else { return vec![] };
        let is_ours = self.proposer.phase.ballot() == Some(vote.ballot);
        let one_ballot = self.keeps(Rule::QuorumOfOneBallot);
        let Some(value) = self.learner.count(from, vote, self.quorum(), one_ballot) else { return vec![] };
        let mut effects = self.learn(value.clone());
        if is_ours {
            // Learners hear the votes themselves; the other proposers would have to ask.
            let others = self.roles.with(Role::Proposer).filter(|node| *node != self.me);
            effects.extend(others.map(|node| send(node, Message::Chosen { run, value: value.clone() })));
        }
        effects
    }

    fn learn(&mut self, value: Value) -> Effects {
        if self.learner.chosen().is_some() || self.run().is_none() {
            return vec![];
        }
        self.learner = Learner::Knows(value.clone());
        let clients = std::mem::take(&mut self.proposer).clients;
        let mut effects = vec![Effect::Report(Report::Chosen(value.clone()))];
        effects.extend([Timer::Retry, Timer::Query].map(Effect::CancelTimer));
        effects.extend(clients.into_keys().map(|client| answer(client, Message::Outcome { value: value.clone() })));
        effects
    }

    fn query(&mut self) -> Effects {
        let Some(run) = self.run().filter(|_| self.learner.chosen().is_none()) else { return vec![] };
        let unfinished = self.learner.is_unfinished();
        let mut effects: Effects = self.others().map(|node| send(node, Message::Query { run, unfinished })).collect();
        effects.push(self.ask_later());
        effects
    }

    fn ask_later(&self) -> Effect<Node> {
        Effect::SetTimer { timer: Timer::Query, after: half_more(self.timing.query) }
    }

    fn on_query(&mut self, from: NodeId, unfinished: bool) -> Effects {
        let Some(run) = self.run() else { return vec![] };
        if let Some(value) = self.learner.chosen() {
            return vec![send(from, Message::Chosen { run, value: value.clone() })];
        }
        // A value may have been chosen, and no quorum show it any more: some have voted again
        // since, in a ballot that nobody brought to an end.
        let is_idle = self.proposer.clients.is_empty() && self.proposer.phase == Phase::Idle;
        if unfinished && is_idle && self.acts_as(Role::Proposer) {
            return self.prepare(run);
        }
        let vote = self.saved.acceptor.accepted.clone().filter(|_| self.acts_as(Role::Acceptor));
        vote.into_iter().map(|vote| send(from, Message::Accepted { run, vote })).collect()
    }
}

fn send(to: NodeId, message: Message) -> Effect<Node> {
    Effect::Send { to: Peer::Node(to), message }
}

fn answer(client: ClientId, message: Message) -> Effect<Node> {
    Effect::Send { to: Peer::Client(client), message }
}

fn half_more(delay: Duration) -> Range<Duration> {
    delay..delay * 3 / 2
}
