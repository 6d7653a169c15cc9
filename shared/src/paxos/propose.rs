//! A node as a proposer: phases 1a and 2a, for its clients.

use std::time::Duration;

use super::message::{Ballot, ClientId, Incarnation, Message, NodeId, Refusal, Value, Vote, Waiting};
use super::proposer::{MAX_CLIENTS, MOST_REFUSALS, Phase};
use super::{Effects, Node, Role, Rule, Timer, answer, half_more, send};
use crate::id::MAX_SAFE_INTEGER;
use crate::machine::Effect;

impl Node {
    /// Why no client is served here, though the run has begun.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        match self.role() {
            Some(Role::Proposer) if self.takes_part() => None,
            Some(Role::Proposer) => Some(Refusal::Forgotten),
            _ => Some(Refusal::NoProposer),
        }
    }

    pub(super) fn on_propose(&mut self, client: ClientId, value: Value) -> Effects {
        if let Some(chosen) = self.learner.chosen().filter(|_| self.role() == Some(Role::Proposer)) {
            return vec![answer(client, Message::Outcome { value: chosen.clone() })];
        }
        let has_started = self.saved.start.is_some();
        if let Some(why) = self.refusal().filter(|_| has_started) {
            return vec![answer(client, Message::Refused { why })];
        }
        let clients = &mut self.proposer.clients;
        if clients.contains_key(&client) {
            return vec![]; // One value a client: the first.
        }
        if clients.len() == MAX_CLIENTS {
            return vec![answer(client, Message::Refused { why: Refusal::Busy })];
        }
        clients.insert(client, value);
        match clients.len() {
            _ if !has_started => vec![answer(client, Message::Waiting { waiting: Waiting::Start })],
            1 if self.proposer.phase == Phase::Idle => self.propose(),
            _ => vec![], // Under way, or standing back.
        }
    }

    /// What was proposed for it may still be chosen.
    pub(super) fn on_client_gone(&mut self, client: ClientId) -> Effects {
        self.proposer.clients.remove(&client);
        vec![]
    }

    /// Begins a ballot, if there is a client to do so for.
    pub(super) fn propose(&mut self) -> Effects {
        match self.run() {
            Some(run) if !self.proposer.clients.is_empty() => self.prepare(run),
            _ => vec![],
        }
    }

    /// Phase 1a, in a ballot above all that it has heard of.
    pub(super) fn prepare(&mut self, run: Incarnation) -> Effects {
        if self.saved.round >= MAX_SAFE_INTEGER {
            return vec![]; // Somebody has lied: nobody counts as far.
        }
        self.saved.round += 1;
        let ballot = Ballot { round: self.saved.round, node: self.me };
        self.proposer.phase = Phase::Preparing { ballot, promised: Default::default(), highest: None };
        let mut effects = vec![self.save()];
        effects.extend(self.to_acceptors(&Message::Prepare { run, ballot }));
        effects.push(self.retry_when_silent());
        effects
    }

    pub(super) fn to_acceptors(&self, message: &Message) -> impl Iterator<Item = Effect<Node>> {
        self.roles.with(Role::Acceptor).map(|acceptor| send(acceptor, message.clone()))
    }

    pub(super) fn retry_when_silent(&self) -> Effect<Node> {
        Effect::SetTimer { timer: Timer::Retry, after: half_more(self.timing.silence) }
    }

    pub(super) fn on_promise(&mut self, from: NodeId, ballot: Ballot, accepted: Option<Vote>) -> Effects {
        let Some(run) = self.run().filter(|_| self.roles.of(from) == Some(Role::Acceptor)) else { return vec![] };
        let (quorum, highest_wins) = (self.quorum(), self.keeps(Rule::HighestAcceptedWins));
        // Nothing to ask for: it is of an older ballot, or not the last that is needed, or nobody waits.
        let Some(vote) = self.proposer.count(from, ballot, accepted, quorum, highest_wins) else { return vec![] };
        let mut effects: Effects = self.to_acceptors(&Message::Accept { run, vote }).collect();
        effects.push(self.retry_when_silent());
        effects
    }

    pub(super) fn quorum(&self) -> usize {
        let majority = self.roles.majority();
        if self.keeps(Rule::Majority) { majority } else { majority - 1 }.max(1)
    }

    pub(super) fn on_nack(&mut self, ballot: Ballot, promised: Ballot) -> Effects {
        if self.proposer.phase.ballot() != Some(ballot) {
            return vec![]; // One refusal of a ballot was enough.
        }
        self.saved.round = self.saved.round.max(promised.round);
        self.proposer.phase = Phase::Idle;
        let longest = self.timing.backoff * (1 << self.proposer.refusals);
        self.proposer.refusals = (self.proposer.refusals + 1).min(MOST_REFUSALS);
        // By chance: two that compete would keep step otherwise, and refuse each other for ever.
        vec![Effect::SetTimer { timer: Timer::Retry, after: Duration::ZERO..longest }]
    }

    pub(super) fn on_retry_due(&mut self) -> Effects {
        let silent: Vec<NodeId> = match &self.proposer.phase {
            Phase::Idle => vec![], // It has stood back for long enough.
            Phase::Preparing { promised, .. } => {
                self.roles.with(Role::Acceptor).filter(|acceptor| !promised.contains(acceptor)).collect()
            }
            Phase::Accepting(vote) => {
                self.roles.with(Role::Acceptor).filter(|acceptor| !self.learner.has(*acceptor, vote)).collect()
            }
        };
        self.proposer.phase = Phase::Idle;
        let waiting = Message::Waiting { waiting: Waiting::Acceptors(silent.clone()) };
        let told = self.proposer.clients.keys().filter(|_| !silent.is_empty());
        let mut effects: Effects = told.map(|client| answer(*client, waiting.clone())).collect();
        effects.extend(self.propose());
        effects
    }
}
