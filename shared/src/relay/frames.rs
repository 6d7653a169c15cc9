//! What each kind of frame means to the relay, and how it moves.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;

use super::token::{Passage, Step, Token};
use super::{
    Effects, Leader, OpenElection, Relay, Report, TERMS_AT_ONCE, Timer, Why, absorb, absurd, planted, refuse, text,
};
use crate::id::{Candidate, ClientId, Term};
use crate::machine::{Effect, exactly};
use crate::message::{AnswerLeader, CheckLeader, Election, LeaderLeft, NewLeader, RingMessage, Routing};
use crate::rule::Rule;
use crate::wire::{Application, Body, ErrorCode, RawRanks, shortened};

/// How an election frame begins: everything before its array.
const ELECTION: &str = r#"{"method":"election","data":{"ranks":"#;

/// How many accepted announcements are remembered; see [`Relay::accepted`].
const REMEMBERED: usize = 16;

/// Elections: one at a time.
impl Relay {
    pub(super) fn on_election(&mut self, from: ClientId, election: &Election<RawRanks>, out: &mut Effects) {
        let ranks = election.ranks.get();
        let token = self.election.as_ref().map(|open| Token::Election(open.term));
        if let (Some(open), Some(token)) = (&self.election, token)
            && self.holds(&from, &token)
        {
            // A start was on its way to us when we handed out the frame of the open election.
            if start_of(ranks, &from).is_some() {
                return absorb(from, "election", "an election is open", out);
            }
            let added = added(&open.ranks, ranks);
            return self.on_passed_on(&from, &token, election.term, added, out);
        }
        let problem = match (start_of(ranks, &from), &self.election) {
            (Some(entry), None) => return self.on_start(entry, election.term, out),
            (Some(_), Some(_)) => return absorb(from, "election", "an election is open", out),
            (None, _) => match parse(ranks) {
                Ok(entries) if entries.len() > 1 => {
                    if !self.keeps(Rule::LateFramesAbsorbed) {
                        return self.on_late(entries, out);
                    }
                    return absorb(from, "election", "its frame is elsewhere", out);
                }
                Ok(_) => format!("a start has one entry, with your clientId, {from}"),
                Err(error) => error,
            },
        };
        bad_ranks(&from, problem, out);
    }

    fn on_start(&mut self, entry: Candidate, known: Option<Term>, out: &mut Effects) {
        let from = entry.client_id.clone();
        if self.is_absurd(known) {
            return refuse(&from, ErrorCode::BadFrame, absurd("election"), Some("election".into()), out);
        }
        // It does not know yet whom it wants to replace.
        if let (Some(leader), Some(known)) = (&self.leader, known)
            && known < leader.term
        {
            let frame = announcement(leader);
            return self.deliver(None, from, frame, out);
        }
        self.learn(known, out);
        let Some(term) = self.last_term.next() else {
            let message = "election: the terms have run out".to_owned();
            return refuse(&from, ErrorCode::AnnouncementRefused, message, Some("election".into()), out);
        };
        self.last_term = term;
        if term > self.saved.terms {
            self.saved.terms = term.later(TERMS_AT_ONCE - 1);
            self.save(out);
        }
        let ranks = format!("[{}]", json(&entry));
        let frame = election_frame(&ranks, term, &from);
        self.election = Some(OpenElection { term, initiator: from.clone(), ranks, top: vec![entry], home: false });
        out.push(Effect::Report(Report::Opened { term, initiator: from.clone() }));
        out.push(Effect::Report(Report::Changed));
        self.launch(Token::Election(term), from.clone(), from, frame, out);
    }

    /// As a rule a holder sends back the very text that it was given, with its entry
    /// appended to the array. Then the frame with that entry alone is all there is to
    /// read, however long the array has become.
    pub(super) fn appended(&self, holder: &ClientId, text: &str) -> Option<String> {
        let open = self.election.as_ref().filter(|open| !open.home)?;
        let token = Token::Election(open.term);
        let given = &self.tokens.get(&token).filter(|_| self.holds(holder, &token))?.frame;
        let known = ELECTION.len() + open.ranks.len() - "]".len();
        let rest = text.strip_prefix(&given[..known])?.strip_prefix(',')?;
        // Without what stood before the comma, "[…,]" would be taken for JSON.
        if rest.trim_start().starts_with(']') {
            return None;
        }
        Some(format!("{ELECTION}[{rest}"))
    }

    /// An election out of its holder's hands, of which `election` has only what was appended.
    pub(super) fn on_appended(&mut self, from: ClientId, election: &Election<RawRanks>, out: &mut Effects) {
        let Some(open) = &self.election else { return };
        let token = Token::Election(open.term);
        self.on_passed_on(&from, &token, election.term, parse(election.ranks.get()), out);
    }

    /// The holder has passed the election on, as a rule with itself added. What goes
    /// on is the array as it was and the entry as we write it: of what the holder
    /// wrote, nothing but its rank reaches the next member.
    fn on_passed_on(
        &mut self,
        from: &ClientId,
        token: &Token,
        term: Option<Term>,
        added: Result<Vec<Candidate>, String>,
        out: &mut Effects,
    ) {
        let own_entry_only = self.keeps(Rule::OwnEntryOnly);
        let (Some(open), Some(passage)) = (&mut self.election, self.tokens.get_mut(token)) else { return };
        if term.is_some_and(|term| term != open.term) {
            return absorb(from.clone(), "election", "of another term", out);
        }
        let added = match added.as_deref() {
            Ok([]) => None,
            Ok([entry]) if entry.client_id == *from || !own_entry_only => Some(entry.clone()),
            Ok(_) => {
                let expected = "expected the entries that were there, and your own added".to_owned();
                return bad_ranks(from, expected, out);
            }
            Err(expected) => return bad_ranks(from, expected.clone(), out),
        };
        if let Some(added) = added {
            open.ranks.truncate(open.ranks.len() - "]".len());
            open.ranks += &format!(",{}]", json(&added));
            let best = open.top.first().map(|top| top.rank);
            if best < Some(added.rank) {
                open.top.clear();
            }
            if best <= Some(added.rank) {
                open.top.push(added);
            }
            passage.frame = election_frame(&open.ranks, open.term, &open.initiator);
        }
        self.hand_on(token, out);
    }

    pub(super) fn on_not_announced(&mut self, term: Term, out: &mut Effects) {
        if self.election.as_ref().is_some_and(|open| open.term == term && open.home) && self.keeps(Rule::ElectionsClose)
        {
            self.close(Why::Stalled, out);
        }
    }

    /// Ends the open election without a leader. The next start opens a new term.
    pub(super) fn close(&mut self, why: Why, out: &mut Effects) {
        let Some(open) = self.election.take() else { return };
        self.withdraw(&Token::Election(open.term), out);
        if open.home {
            out.push(Effect::CancelTimer(Timer::Announce(open.term)));
        }
        out.push(Effect::Report(Report::Closed { term: open.term, why }));
    }
}

/// Announcements, checks, answers, resignations.
impl Relay {
    pub(super) fn on_new_leader(&mut self, from: ClientId, said: NewLeader, out: &mut Effects) {
        let passed_on = self.held_by(&from).into_iter().find(|token| match token {
            Token::Announcement(term) => said.term.is_none_or(|said| said == *term),
            _ => false,
        });
        if let Some(token) = passed_on {
            return self.hand_on(&token, out);
        }
        if self.accepted.iter().any(|(id, term)| *id == said.leader_id && said.term == Some(*term)) {
            return absorb(from, "newLeader", "it is announced already", out);
        }
        let accepted = match self.accept(&from, &said) {
            Err(_) if !self.keeps(Rule::AnnouncementForOpenElection) => self.accept_anyhow(&from, &said),
            accepted => accepted,
        };
        match accepted {
            Ok(leader) => self.on_accepted(leader, out),
            Err(problem) => {
                let message = format!("newLeader: {problem}");
                refuse(&from, ErrorCode::AnnouncementRefused, message, Some("newLeader".into()), out);
                let its_own = self
                    .election
                    .as_ref()
                    .is_some_and(|open| open.initiator == from && said.term.is_none_or(|term| term == open.term));
                if its_own {
                    self.close(Why::Refused, out);
                }
            }
        }
    }

    /// The leader that this announcement makes, if it counts.
    fn accept(&self, from: &ClientId, said: &NewLeader) -> Result<Leader, String> {
        let Some(open) = &self.election else { return Err("no election is open".into()) };
        if open.initiator != *from {
            return Err(format!("the election of term {} was started by another member", open.term));
        }
        if said.term.is_some_and(|term| term != open.term) {
            return Err(format!("the open election is of term {}", open.term));
        }
        if !open.home {
            return Err(format!("the ranks of term {} are still being gathered", open.term));
        }
        if !open.top.iter().any(|entry| entry.client_id == said.leader_id) && self.keeps(Rule::BestIsAnnounced) {
            return Err("data.leaderId is not an entry with the highest rank".into());
        }
        let (id, member) = (said.leader_id.clone(), self.member(&said.leader_id));
        if member.is_none() && self.keeps(Rule::LeaderIsThere) {
            return Err("data.leaderId has left the ring".into());
        }
        let name = member.and_then(|member| member.name.clone());
        Ok(Leader { id, name, term: open.term, announcer: from.clone(), act_after: self.act_after() })
    }

    fn on_accepted(&mut self, leader: Leader, out: &mut Effects) {
        self.election = None;
        self.departed = None;
        out.push(Effect::CancelTimer(Timer::Announce(leader.term)));
        let older: Vec<Token> =
            self.tokens.names().filter(|token| matches!(token, Token::Announcement(_))).cloned().collect();
        for token in older {
            self.withdraw(&token, out);
        }
        self.accepted.push_back((leader.id.clone(), leader.term));
        if self.accepted.len() > REMEMBERED {
            self.accepted.pop_front();
        }
        out.push(Effect::Report(Report::Elected { leader: leader.id.clone(), term: leader.term }));
        out.push(Effect::Report(Report::Changed));
        let (frame, announcer) = (announcement(&leader), leader.announcer.clone());
        let token = Token::Announcement(leader.term);
        self.leader = Some(leader);
        match self.config.routing {
            Routing::Ring => self.launch(token, announcer.clone(), announcer, frame, out),
            Routing::Direct => {
                let everybody: Vec<ClientId> = self.roster.iter().cloned().collect();
                for member in everybody {
                    self.deliver(Some(announcer.clone()), member, frame.clone(), out);
                }
            }
        }
    }

    pub(super) fn on_check(
        &mut self,
        from: ClientId,
        says_asker: Option<ClientId>,
        check: CheckLeader,
        out: &mut Effects,
    ) {
        let about_same = |token: &Token| match token {
            Token::Check { leader, term, .. } => {
                *leader == check.leader_id && check.term.is_none_or(|said| said == *term)
            }
            _ => false,
        };
        let mut passed_on: Vec<Token> = self.held_by(&from).into_iter().filter(about_same).collect();
        // Of several held at once, the one that it says it is; any other will do.
        passed_on
            .sort_by_key(|token| !matches!(token, Token::Check { asker, .. } if Some(asker) == says_asker.as_ref()));
        if let Some(token) = passed_on.first() {
            return self.hand_on(token, out);
        }
        let term = match &self.leader {
            Some(leader)
                if (leader.id != check.leader_id || check.term.is_some_and(|said| said != leader.term))
                    && self.keeps(Rule::NobodyLeftBehind) =>
            {
                let frame = announcement(leader);
                return self.deliver(None, from, frame, out);
            }
            Some(leader) => leader.term,
            // Whoever resigned may still be here, and must not be heard as a leader.
            None => return absorb(from, "checkLeader", "there is no leader", out),
        };
        let leader = check.leader_id;
        let body = RingMessage::CheckLeader(CheckLeader { leader_id: leader.clone(), term: Some(term) });
        let frame = text(Some(from.clone()), None, Body::Ring(body));
        let token = Token::Check { asker: from.clone(), leader: leader.clone(), term };
        self.route(token, from, leader, frame, out);
    }

    pub(super) fn on_answer(&mut self, from: ClientId, answer: AnswerLeader, out: &mut Effects) {
        let passed_on = self.held_by(&from).into_iter().find(|token| match token {
            Token::Answer { asker, term, .. } => {
                *asker == answer.destination_id && answer.term.is_none_or(|said| said == *term)
            }
            _ => false,
        });
        if let Some(token) = passed_on {
            return self.hand_on(&token, out);
        }
        let asker = answer.destination_id;
        if !self.roster.contains(&asker) {
            return absorb(from, "answerLeader", "who had asked is no member", out);
        }
        let (_, term) = self.leader_and_term();
        let body = RingMessage::AnswerLeader(AnswerLeader { destination_id: asker.clone(), term: Some(term) });
        let frame = text(Some(from.clone()), None, Body::Ring(body));
        let token = Token::Answer { answerer: from.clone(), asker: asker.clone(), term };
        self.route(token, from, asker, frame, out);
    }

    pub(super) fn on_resign(&mut self, from: &ClientId, left: LeaderLeft, out: &mut Effects) {
        match self.leader.take_if(|leader| leader.id == *from && left.leader_id == *from && left.term == leader.term) {
            Some(leader) => {
                self.give_back(leader.term, out);
                self.depose(LeaderLeft { leader_id: leader.id, term: leader.term, resigned: true }, out);
                out.push(Effect::Report(Report::Changed));
            }
            None => {
                // It was deposed before it resigned: its lease may run still.
                if from == &left.leader_id && self.accepted.iter().any(|(id, term)| id == from && *term == left.term) {
                    self.give_back(left.term, out);
                }
                let message = "leaderLeft: only the leader can resign, in its own term".to_owned();
                refuse(from, ErrorCode::NotLeader, message, Some("leaderLeft".into()), out);
            }
        }
    }

    pub(super) fn on_message(&mut self, from: ClientId, message: Application, out: &mut Effects) {
        let about = Some("message".to_owned());
        match &self.leader {
            Some(leader) if leader.term == message.term => {}
            Some(leader) => {
                let problem = format!("message: expected term {}, the leader's, got {}", leader.term, message.term);
                return refuse(&from, ErrorCode::StaleTerm, problem, about, out);
            }
            None => {
                return refuse(&from, ErrorCode::StaleTerm, "message: nobody leads".into(), about, out);
            }
        }
        let destination = message.destination_id.clone();
        let everybody = destination.as_str() == "*";
        let frame = text(Some(from.clone()), None, Body::Message(message));
        let to: Vec<ClientId> = if everybody {
            self.roster.iter().filter(|id| **id != from).cloned().collect()
        } else if self.roster.contains(&destination) {
            vec![destination]
        } else {
            let problem = format!("message: data.destinationId: {destination} is no member; * is all the others");
            return refuse(&from, ErrorCode::NoSuchMember, problem, about, out);
        };
        for id in to {
            self.deliver(Some(from.clone()), id, frame.clone(), out);
        }
    }
}

/// Movement.
impl Relay {
    fn holds(&self, id: &ClientId, token: &Token) -> bool {
        self.roster.seat(id).is_some_and(|seat| self.tokens.is_held_at(seat, token))
    }

    fn held_by(&self, id: &ClientId) -> Vec<Token> {
        self.roster.seat(id).map(|seat| self.tokens.held_at(seat)).unwrap_or_default()
    }

    /// A check or an answer: hop by hop, or straight to whom it names.
    fn route(&mut self, token: Token, origin: ClientId, consumer: ClientId, frame: Arc<str>, out: &mut Effects) {
        match self.config.routing {
            Routing::Direct => self.deliver(Some(origin), consumer, frame, out),
            Routing::Ring if self.tokens.contains(&token) => {
                let method = if matches!(token, Token::Check { .. }) { "checkLeader" } else { "answerLeader" };
                absorb(origin, method, "the same is on its way", out);
            }
            Routing::Ring => self.launch(token, origin, consumer, frame, out),
        }
    }

    fn launch(&mut self, token: Token, origin: ClientId, consumer: ClientId, frame: Arc<str>, out: &mut Effects) {
        let Some(start) = self.roster.seat(&origin) else { return };
        self.tokens.insert(token.clone(), Passage::new(origin, start, consumer, frame));
        self.hand_on(&token, out);
    }

    /// Hands a token to the next who can pass it on, or to its consumer.
    pub(super) fn hand_on(&mut self, token: &Token, out: &mut Effects) {
        let sender_is_kept = self.keeps(Rule::SenderIsKept);
        while let Some((step, passage)) = self.tokens.step(token, &self.roster) {
            let (frame, hand) = (passage.frame.clone(), passage.hand.clone());
            let frame = if sender_is_kept { frame } else { planted::restamped(&frame, &hand) };
            match step {
                Step::Member(id) => {
                    let passes_on = self.connections.get(&id).is_some_and(
                        |connection| matches!(connection, super::Connection::Member(member) if member.forwards),
                    );
                    match token {
                        Token::Election(_) => {}
                        _ if passes_on => {}
                        // A classic member is told and does not tell the next one.
                        Token::Announcement(_) => {
                            self.deliver(Some(hand), id, frame, out);
                            continue;
                        }
                        // Nor does it pass on these; it would answer a check that is not its own.
                        Token::Check { .. } | Token::Answer { .. } => continue,
                    }
                    passage.hand = id.clone();
                    out.push(Effect::SetTimer {
                        timer: Timer::Hop(token.clone()),
                        after: exactly(self.config.hop_timeout),
                    });
                    return self.deliver(Some(hand), id, frame, out);
                }
                Step::Consumer(id) => {
                    self.withdraw(token, out);
                    self.deliver(Some(hand), id, frame, out);
                    return self.on_consumed(token, out);
                }
                Step::End => {
                    self.withdraw(token, out);
                    return self.on_ended(token, out);
                }
            }
        }
    }

    fn on_consumed(&mut self, token: &Token, out: &mut Effects) {
        if let (Token::Election(term), Some(open)) = (token, &mut self.election) {
            open.home = true;
            let after = exactly(self.config.hop_timeout);
            out.push(Effect::SetTimer { timer: Timer::Announce(*term), after });
        }
        self.on_ended(token, out);
    }

    /// Its announcement has gone round: now everybody can be told that the leader has left.
    fn on_ended(&mut self, token: &Token, out: &mut Effects) {
        if matches!((token, &self.departed), (Token::Announcement(term), Some(left)) if left.term == *term) {
            self.tell_departed(out);
        }
    }

    pub(super) fn on_stalled(&mut self, token: &Token, out: &mut Effects) {
        if !self.keeps(Rule::TokensHandedOn) {
            return;
        }
        let Some(passage) = self.tokens.get_mut(token) else { return };
        let repaired = Report::Repaired { token: token.clone(), holder: passage.hand.clone(), why: Why::Stalled };
        out.push(Effect::Report(repaired));
        self.hand_on(token, out);
    }

    pub(super) fn withdraw(&mut self, token: &Token, out: &mut Effects) {
        if self.tokens.remove(token).is_some() {
            out.push(Effect::CancelTimer(Timer::Hop(token.clone())));
        }
    }
}

pub(super) fn announcement(leader: &Leader) -> Arc<str> {
    let Leader { id, name, term, act_after, .. } = leader.clone();
    let body = RingMessage::NewLeader(NewLeader {
        leader_id: id,
        term: Some(term),
        leader_name: name,
        act_after_ms: act_after,
    });
    text(Some(leader.announcer.clone()), None, Body::Ring(body))
}

/// `ranks` is an array that [`json`] wrote. It can be long, so it is copied once and
/// not read again, as an encoder of frames would.
fn election_frame(ranks: &str, term: Term, initiator: &ClientId) -> Arc<str> {
    let initiator = json(initiator);
    format!(r#"{ELECTION}{ranks},"term":{term}}},"senderId":{initiator}}}"#).into()
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("ranks and ids are JSON")
}

/// A start has its sender for the only entry.
fn start_of(ranks: &str, from: &ClientId) -> Option<Candidate> {
    // A long array is no start; this spares parsing it.
    const LONGEST_ENTRY: usize = 1024;
    if ranks.len() > LONGEST_ENTRY {
        return None;
    }
    serde_json::from_str::<[Candidate; 1]>(ranks).ok().map(|[entry]| entry).filter(|entry| entry.client_id == *from)
}

fn parse(ranks: &str) -> Result<Vec<Candidate>, String> {
    serde_json::from_str(ranks)
        .map_err(|error| format!("expected [{{\"rank\": …, \"clientId\": …}}, …]: {}", shortened(&error.to_string())))
}

fn bad_ranks(from: &ClientId, problem: String, out: &mut Effects) {
    refuse(from, ErrorCode::BadRanks, format!("election: data.ranks: {problem}"), Some("election".into()), out);
}

/// What the holder added to the array that it was given; an error, if it took
/// something away. Only the initiator's entry has to stay where it was.
fn added(given: &str, ranks: &str) -> Result<Vec<Candidate>, String> {
    let given = parse(given)?;
    let mut new = parse(ranks)?;
    if new.first() != given.first() {
        return Err("expected the initiator's entry first".into());
    }
    if new.starts_with(&given) {
        return Ok(new.split_off(given.len()));
    }
    let count = new.len();
    let mut new: BTreeSet<Candidate> = new.into_iter().collect();
    if new.len() < count || !given.iter().all(|entry| new.remove(entry)) {
        return Err("expected every entry that was there, once and unchanged".into());
    }
    Ok(new.into_iter().collect())
}
