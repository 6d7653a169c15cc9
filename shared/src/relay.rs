//! What the hub decides, for one ring: who is a member, who gets which frame
//! next, what is stamped, repaired and refused.
//!
//! A connection is a spectator until it greets. Members send frames; the relay
//! hands each one to the sender's ring successor, hop by hop, until it is
//! consumed. Files of this room:
//!
//! - this one: the machine's doors, joining and leaving;
//! - [`token`]: a frame on its way round, and who holds it;
//! - `frames`: what each kind of frame means, and which ones are accepted;
//! - `lease`: for how long a leader may act;
//! - `planted`: what it does where a rule is broken on purpose.
//!
//! Holds, whatever members say: at most one announcement a term is accepted; an
//! announced leader is a member and had the highest rank of the array that came
//! home; a handed-on frame names the member that it started from; every frame
//! that moves ends; terms only rise; no leader may act before older leases have
//! run out.
//! Fails: terms and leases outlive the hub only where its driver performs
//! [`Effect::Save`] and begins with what was saved ([`Relay::restore`]). A hub that
//! lost its terms goes on above the newest that a member tells it of.

mod frames;
mod lease;
mod planted;
pub mod token;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::id::{Candidate, ClientId, Name, RingName, Term};
use crate::machine::{Effect, Input, Machine};
use crate::message::{Greeting, LeaderLeft, Member, RingMessage, Routing};
use crate::roster::Roster;
use crate::rule::Rule;
use crate::wire::{self, Body, ErrorCode, ErrorFrame, Frame, RawRanks, Response, RingChanged, Welcome};
use lease::Leases;
use token::{Token, Tokens};

/// How a ring is run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Config {
    /// The ring's name.
    pub ring: RingName,
    /// How frames are passed on.
    pub routing: Routing,
    /// How long a member may hold a frame before it is handed on without it; also
    /// how long an initiator may take to announce.
    pub hop_timeout: Duration,
    /// The most members a ring may have.
    pub max_members: usize,
    /// For how long a leader may act on one lease; `None`: leases are not granted.
    pub lease: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            ring: RingName::default(),
            routing: Routing::Ring,
            hop_timeout: Duration::from_secs(1),
            max_members: 5_000,
            lease: Some(Duration::from_secs(4)),
        }
    }
}

/// One ring, as the hub keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Relay {
    config: Config,
    connections: BTreeMap<ClientId, Connection>,
    /// The connections that are members, in ring order.
    roster: Roster,
    /// The newest term there was, or that a member knows of.
    last_term: Term,
    /// `leader.term <= last_term`; the leader is in the roster.
    leader: Option<Leader>,
    /// `election.term <= last_term`; the initiator is in the roster.
    election: Option<OpenElection>,
    tokens: Tokens,
    /// A leader that left while its announcement goes round: told when that has ended.
    departed: Option<LeaderLeft>,
    /// Announcements accepted lately: one that comes late out of a former holder's
    /// hands is not taken for a forged one.
    accepted: VecDeque<(ClientId, Term)>,
    leases: Leases,
    /// What is written down, or about to be: `last_term <= saved.terms`, but for terms
    /// that a member claims to know.
    saved: Saved,
    /// A rule that is not kept, on purpose.
    broken: Option<Rule>,
}

/// What has to survive the hub's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Saved {
    /// Every term up to this one may have been used.
    pub terms: Term,
    /// Whether a leader may hold a lease.
    pub lease_out: bool,
}

/// Stands for the terms of a hub before this one, among those of leases that may run:
/// nobody leads in it.
const BEFORE_US: Term = Term::NONE;

/// So many terms are written down at once: an election does not wait for the disk
/// each time. After a restart the rest of them are passed over.
const TERMS_AT_ONCE: u64 = 100;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Connection {
    Spectator { may_join: bool },
    Member(Member),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Leader {
    id: ClientId,
    name: Option<Name>,
    term: Term,
    announcer: ClientId,
    /// What it was told to wait before it acts, in milliseconds.
    act_after: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct OpenElection {
    term: Term,
    initiator: ClientId,
    /// The eligible array as the holder was given it: JSON text.
    ranks: String,
    /// Its entries with the highest rank.
    top: Vec<Candidate>,
    /// Whether the array is back at the initiator.
    home: bool,
}

/// The relay's timers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// The holder of this token has had it for the hop timeout.
    Hop(Token),
    /// The initiator of this term has had its array back for the hop timeout.
    Announce(Term),
    /// An eighth of the lease of this term is over.
    Lease(Term),
}

/// What happens to connections.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    /// Somebody connected, and is a spectator from now on.
    Connected {
        /// The id it gets; never used before.
        id: ClientId,
        /// Whether its greeting may join the ring.
        may_join: bool,
    },
    /// A connection is gone.
    Left {
        /// Whose.
        id: ClientId,
        /// What is known of its end.
        departure: Departure,
    },
}

/// What is known of a connection's end, and so of who was at the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Departure {
    /// The other side closed it: who was there has ended, or knows that it is gone.
    Closed,
    /// It broke, was silent for too long or too slow: who was there may still run,
    /// and believe that it is connected.
    Lost,
}

/// What the relay tells: to the log, and to spectators.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Report {
    /// A spectator has become a member.
    Joined(Member),
    /// A member is gone.
    Left(Member),
    /// The list of members, the leader or the term is another.
    Changed,
    /// A frame was handed on.
    Relayed {
        /// Out of whose hands; `None`: the hub's own.
        from: Option<ClientId>,
        /// Into whose.
        to: ClientId,
        /// The frame.
        frame: Arc<str>,
    },
    /// An election began.
    Opened {
        /// Its term.
        term: Term,
        /// Who started it.
        initiator: ClientId,
    },
    /// An election ended without a leader.
    Closed {
        /// Its term.
        term: Term,
        /// Why.
        why: Why,
    },
    /// An announcement was accepted.
    Elected {
        /// Who leads.
        leader: ClientId,
        /// In which term.
        term: Term,
    },
    /// The leader is gone, or has resigned.
    LeaderLeft(LeaderLeft),
    /// A token was handed on in place of its holder.
    Repaired {
        /// Which.
        token: Token,
        /// Who held it.
        holder: ClientId,
        /// Why.
        why: Why,
    },
    /// A frame that is late or said already: no fault, and of no effect.
    Absorbed {
        /// Whose.
        from: ClientId,
        /// Its method.
        method: &'static str,
        /// Why.
        why: &'static str,
    },
    /// A frame was answered with an error.
    Refused {
        /// Whose.
        from: ClientId,
        /// The answer.
        error: ErrorFrame,
    },
}

/// Why an election ended without a leader, or a token was taken out of somebody's hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    /// The initiator or holder left.
    Left,
    /// It kept the frame for longer than the hop timeout.
    Stalled,
    /// What it announced was refused.
    Refused,
}

type Effects = Vec<Effect<Relay>>;

impl Machine for Relay {
    type Peer = ClientId;
    type Message = Arc<str>;
    type Timer = Timer;
    type Event = Event;
    type Report = Report;
    type Saved = Saved;

    fn handle(&mut self, input: Input<Self>) -> Effects {
        let mut out = vec![];
        match input {
            Input::Event(Event::Connected { id, may_join }) => self.on_connected(id, may_join, &mut out),
            Input::Event(Event::Left { id, departure }) => self.on_left(&id, departure, &mut out),
            Input::Message { from, message } => self.on_frame(from, &message, &mut out),
            Input::Timeout(Timer::Hop(token)) => self.on_stalled(&token, &mut out),
            Input::Timeout(Timer::Announce(term)) => self.on_not_announced(term, &mut out),
            Input::Timeout(Timer::Lease(term)) => self.on_eighth(term, &mut out),
        }
        out
    }

    fn check(&self) {
        self.tokens.check();
        self.leases.check();
        let seated = |id| self.roster.contains(id);
        assert!(self.leader.iter().all(|leader| seated(&leader.id)), "the leader is a member");
        assert!(self.leader.iter().all(|leader| leader.term <= self.last_term), "no leader is ahead of the terms");
        assert!(self.election.iter().all(|open| seated(&open.initiator)), "the initiator is a member");
        assert!(self.election.iter().all(|open| open.term <= self.last_term), "no election is ahead of the terms");
        let moving = self.election.as_ref().filter(|open| !open.home).map(|open| Token::Election(open.term));
        let tokens: Vec<_> = self.tokens.names().filter(|token| matches!(token, Token::Election(_))).collect();
        assert_eq!(tokens, moving.iter().collect::<Vec<_>>(), "one election frame moves while one is open");
    }
}

impl Relay {
    /// A ring without members.
    pub fn new(config: Config) -> Self {
        Relay {
            config,
            connections: BTreeMap::new(),
            roster: Roster::default(),
            last_term: Term::NONE,
            leader: None,
            election: None,
            tokens: Tokens::default(),
            departed: None,
            accepted: VecDeque::new(),
            leases: Leases::default(),
            saved: Saved::default(),
            broken: None,
        }
    }

    /// The same ring after the hub's end, from what was saved; what is to be done first.
    pub fn restore(config: Config, saved: Saved) -> (Self, Vec<Effect<Self>>) {
        let mut relay = Relay::new(config);
        (relay.last_term, relay.saved) = (saved.terms, saved);
        let mut out = vec![];
        if saved.lease_out {
            // Granted a moment before, for all that is known.
            relay.begin_lease(BEFORE_US, &mut out);
        }
        (relay, out)
    }

    /// What to save where the hub ends in good order: of the terms that were saved
    /// ahead of their use, only those that were used.
    pub fn last_will(&self) -> Saved {
        Saved { terms: self.last_term.min(self.saved.terms), ..self.saved }
    }

    /// Breaks a rule on purpose, to see that it is missed.
    pub fn breaking(self, rule: Option<Rule>) -> Self {
        Relay { broken: rule, ..self }
    }

    fn keeps(&self, rule: Rule) -> bool {
        self.broken != Some(rule)
    }

    fn save(&self, out: &mut Effects) {
        out.push(Effect::Save(self.saved));
    }

    /// The ring as spectators are told of it.
    pub fn snapshot(&self) -> RingChanged {
        let (leader_id, term) = self.leader_and_term();
        RingChanged { ring: self.config.ring.to_string(), members: self.members().cloned().collect(), leader_id, term }
    }

    /// Whether nothing would be lost with it: nobody is here, and there never was an election.
    pub fn is_pristine(&self) -> bool {
        self.connections.is_empty() && self.last_term == Term::NONE
    }

    /// Members in ring order.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.roster.iter().filter_map(|id| self.member(id))
    }

    /// A leader always comes with its own term; the last term stands only while
    /// there is no leader.
    fn leader_and_term(&self) -> (Option<ClientId>, Term) {
        match &self.leader {
            Some(leader) if self.keeps(Rule::LeaderWithItsTerm) => (Some(leader.id.clone()), leader.term),
            Some(leader) => (Some(leader.id.clone()), self.last_term),
            None => (None, self.last_term),
        }
    }

    fn member(&self, id: &ClientId) -> Option<&Member> {
        match self.connections.get(id)? {
            Connection::Member(member) => Some(member),
            Connection::Spectator { .. } => None,
        }
    }

    fn on_connected(&mut self, id: ClientId, may_join: bool, out: &mut Effects) {
        let (leader_id, term) = self.leader_and_term();
        let welcome = Welcome {
            ring: Some(self.config.ring.to_string()),
            members: Some(self.members().cloned().collect()),
            leader_id,
            term: Some(term),
            relay: Some(self.config.routing),
            lease_ms: self.config.lease.map(|lease| lease.as_millis() as u64),
        };
        self.connections.insert(id.clone(), Connection::Spectator { may_join });
        say(&id, Some(id.clone()), Body::Welcome(welcome), out);
    }

    fn on_frame(&mut self, from: ClientId, text: &str, out: &mut Effects) {
        if !self.connections.contains_key(&from) {
            return; // it was read before the connection went, and came after
        }
        let appended = self.appended(&from, text);
        let frame: Frame<RawRanks> = match wire::decode(appended.as_deref().unwrap_or(text)) {
            Ok(frame) => frame,
            Err(error) => {
                let (code, about) = error.code_and_method();
                return refuse(&from, code, error.to_string(), about, out);
            }
        };
        let method = frame.body.method();
        let from = if self.keeps(Rule::SenderIsStamped) { from } else { frame.sender_id.clone().unwrap_or(from) };
        match frame.body {
            Body::Greeting(greeting) => self.on_greeting(from, greeting, out),
            Body::Ring(message) if self.roster.contains(&from) => match message {
                RingMessage::Election(election) if appended.is_some() => self.on_appended(from, &election, out),
                RingMessage::Election(election) => self.on_election(from, &election, out),
                RingMessage::NewLeader(announcement) => self.on_new_leader(from, announcement, out),
                RingMessage::CheckLeader(check) => self.on_check(from, frame.sender_id, check, out),
                RingMessage::AnswerLeader(answer) => self.on_answer(from, answer, out),
                RingMessage::LeaderLeft(left) => self.on_resign(&from, left, out),
                RingMessage::Lease(lease) => self.on_lease(&from, &lease, out),
            },
            Body::Message(message) if self.roster.contains(&from) => self.on_message(from, message, out),
            Body::Ring(_) | Body::Message(_) => {
                let message = format!("{method}: only members of the ring may send this; greet first");
                refuse(&from, ErrorCode::NotAMember, message, Some(method.into()), out);
            }
            // Never answered: two ends that answer errors with errors do not stop.
            Body::Error(_) => absorb(from, method, "errors end where they arrive", out),
            Body::Welcome(_) | Body::Response(_) | Body::Relayed(_) | Body::RingChanged(_) => {
                let message = format!("{method}: only the hub sends this");
                refuse(&from, ErrorCode::HubOnly, message, Some(method.into()), out);
            }
        }
    }

    fn on_greeting(&mut self, id: ClientId, greeting: Greeting, out: &mut Effects) {
        let problem = match self.connections.get(&id) {
            Some(Connection::Member(_)) => {
                Some((ErrorCode::AlreadyJoined, "this connection has greeted before and is a member".into()))
            }
            Some(Connection::Spectator { may_join: false }) => Some((
                ErrorCode::WatchOnly,
                "this connection may watch and not join: it asked for /watch, showed no join token where one is needed, \
                 or is a page of an origin that the hub does not allow"
                    .into(),
            )),
            _ if self.roster.len() >= self.config.max_members => Some((
                ErrorCode::RingFull,
                format!("the ring has {} members and takes no more", self.roster.len()),
            )),
            _ if self.is_absurd(greeting.term) => Some((ErrorCode::BadFrame, absurd("greeting"))),
            _ => None,
        };
        if let Some((code, message)) = problem {
            return refuse(&id, code, message, Some("greeting".into()), out);
        }
        let Greeting { rank, name, forwards, term } = greeting;
        let member = Member { client_id: id.clone(), name, rank, forwards };
        self.learn(term, out);
        self.roster.join(id.clone());
        self.connections.insert(id.clone(), Connection::Member(member.clone()));
        let (leader_id, term) = self.leader_and_term();
        say(&id, Some(id.clone()), Body::Response(Response { leader_id, term: Some(term) }), out);
        out.push(Effect::Report(Report::Joined(member)));
        out.push(Effect::Report(Report::Changed));
        // A classic member learns of a leader by its announcement alone.
        if let Some(leader) = self.leader.as_ref().filter(|_| !forwards) {
            let frame = frames::announcement(leader);
            self.deliver(None, id, frame, out);
        }
    }

    fn on_left(&mut self, id: &ClientId, departure: Departure, out: &mut Effects) {
        let Some(Connection::Member(member)) = self.connections.remove(id) else { return };
        let Some(seat) = self.roster.leave(id) else { return };
        out.push(Effect::Report(Report::Left(member)));
        if self.election.as_ref().is_some_and(|open| open.initiator == *id) && self.keeps(Rule::ElectionsClose) {
            self.close(Why::Left, out);
        }
        if let Some(leader) = self.leader.take_if(|leader| leader.id == *id) {
            if departure == Departure::Closed {
                self.give_back(leader.term, out);
            }
            self.depose(LeaderLeft { leader_id: leader.id, term: leader.term, resigned: false }, out);
        }
        for token in self.tokens.consumed_by(id) {
            // Checks of it and answers to it have nowhere to go. An announcement
            // goes on: everybody has to hear it.
            if matches!(token, Token::Check { .. } | Token::Answer { .. }) {
                self.withdraw(&token, out);
            }
        }
        for token in self.tokens.held_at(seat) {
            if !self.keeps(Rule::TokensHandedOn) {
                break;
            }
            let repaired = Report::Repaired { token: token.clone(), holder: id.clone(), why: Why::Left };
            out.push(Effect::Report(repaired));
            self.hand_on(&token, out);
        }
        out.push(Effect::Report(Report::Changed));
    }

    /// Goes on above a term that a member knows of. Where that is news to us, there
    /// was a hub before whose terms we have not: then it may have granted a lease, too.
    fn learn(&mut self, claimed: Option<Term>, out: &mut Effects) {
        let Some(claimed) = claimed.filter(|term| *term > self.last_term && self.keeps(Rule::ClaimsAreHeard)) else {
            return;
        };
        self.last_term = claimed;
        self.begin_lease(BEFORE_US, out);
    }

    /// Whether a member claims to know a term that no hub can have come to.
    fn is_absurd(&self, claimed: Option<Term>) -> bool {
        claimed > Some(self.last_term.max(Term::HIGHEST_CLAIM))
    }

    /// There is no leader from now on. Members hear of it after its announcement.
    fn depose(&mut self, left: LeaderLeft, out: &mut Effects) {
        out.push(Effect::Report(Report::LeaderLeft(left.clone())));
        let announcing = self.tokens.contains(&Token::Announcement(left.term));
        self.departed = Some(left);
        if !announcing {
            self.tell_departed(out);
        }
    }

    fn tell_departed(&mut self, out: &mut Effects) {
        let Some(left) = self.departed.take() else { return };
        let resigner = left.resigned.then(|| left.leader_id.clone());
        let frame = text(None, None, Body::Ring(RingMessage::LeaderLeft(left)));
        let everybody: Vec<ClientId> =
            self.roster.iter().filter(|id| Some(*id) != resigner.as_ref()).cloned().collect();
        for id in everybody {
            self.deliver(None, id, frame.clone(), out);
        }
    }

    /// Sends a frame to a member and shows it to spectators.
    fn deliver(&mut self, from: Option<ClientId>, to: ClientId, frame: Arc<str>, out: &mut Effects) {
        out.push(Effect::Send { to: to.clone(), message: frame.clone() });
        out.push(Effect::Report(Report::Relayed { from, to, frame }));
    }
}

/// Says something to one connection, outside the ring.
fn say(to: &ClientId, client_id: Option<ClientId>, body: Body<RawRanks>, out: &mut Effects) {
    out.push(Effect::Send { to: to.clone(), message: text(None, client_id, body) });
}

fn text(sender_id: Option<ClientId>, client_id: Option<ClientId>, body: Body<RawRanks>) -> Arc<str> {
    wire::encode(&Frame { sender_id, client_id, body }).into()
}

fn refuse(to: &ClientId, code: ErrorCode, message: String, about: Option<String>, out: &mut Effects) {
    let error = ErrorFrame { code, message, about };
    say(to, None, Body::Error(error.clone()), out);
    out.push(Effect::Report(Report::Refused { from: to.clone(), error }));
}

fn absurd(method: &str) -> String {
    format!("{method}: data.term: expected the newest term that you know, at most {}", Term::HIGHEST_CLAIM)
}

fn absorb(from: ClientId, method: &'static str, why: &'static str, out: &mut Effects) {
    out.push(Effect::Report(Report::Absorbed { from, method, why }));
}
