//! What a state of the model is made of, and how its machines are driven.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use ringleader_shared::election::eligible_array::{Hub, Report, Timer};
use ringleader_shared::id::{Candidate, ClientId, Name, Term};
use ringleader_shared::machine::{Effect, Input, Machine};
use ringleader_shared::message::{self, RingMessage};
use ringleader_shared::relay::token::Token;
use ringleader_shared::relay::{self, Relay, Saved};
use ringleader_shared::wire::{self, Body, ErrorCode, Frame};

use super::keep::Kept;
use crate::member::{Event, Member};

/// One situation of the whole.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// The hub.
    pub hub: Kept<HubSide>,
    /// The nodes.
    pub nodes: Vec<Kept<NodeSide>>,
    /// The connections, by node and then by age.
    pub links: Vec<Link>,
    /// What may still go wrong.
    pub left: Faults,
    /// What an onlooker remembers.
    pub seen: Kept<Seen>,
    /// What must not be: nothing follows on it.
    pub wrong: Option<Wrong>,
}

/// How often something may go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Faults {
    /// A node's program ends; it may start again.
    pub crashes: u8,
    /// A node stands still; the hub may close its connection, and it may go on.
    pub pauses: u8,
    /// A timer runs out while there is still something on its way.
    pub early_timeouts: u8,
    /// The hub ends and starts again.
    pub hub_restarts: u8,
}

/// The hub's program.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HubSide {
    /// What decides.
    pub relay: Relay,
    /// The timers that run.
    pub timers: BTreeSet<relay::Timer>,
    /// What is written down.
    pub saved: Saved,
}

/// A node and its program.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeSide {
    /// What people call it.
    pub name: Name,
    /// What runs on it.
    pub member: Member,
    /// The timers that run.
    pub timers: BTreeMap<Timer, Patience>,
    /// Who it is on its connection.
    pub id: Option<ClientId>,
    /// How many connections it has had.
    pub connected_before: u8,
    /// Whether it runs.
    pub life: Life,
}

/// Whether a node's program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Life {
    /// It does.
    Up,
    /// It stands still.
    Paused,
    /// It has ended.
    Down,
}

/// How long a timer runs, against how long frames take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Patience {
    /// It may run out at any moment.
    None,
    /// Longer than any frame takes.
    Some,
}

/// A connection, seen from both ends.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Link {
    /// An index of [`State::nodes`].
    pub node: usize,
    /// Which of the node's connections it is.
    pub count: u8,
    /// Who the node is on it.
    pub id: Kept<ClientId>,
    /// What is on its way to the hub.
    pub to_hub: Kept<Vec<Parcel>>,
    /// What is on its way to the node.
    pub to_node: Kept<Vec<Parcel>>,
    /// Which ends are open still.
    pub hub_open: bool,
    /// See [`Link::hub_open`].
    pub node_open: bool,
}

/// What comes out of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Parcel {
    /// A frame.
    Frame(Kept<String>),
    /// The end: the other side has closed it.
    Closed,
}

/// What an onlooker remembers, to judge what comes next.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Seen {
    /// Who was announced in which term.
    pub announced: BTreeMap<Term, ClientId>,
    /// Who has taken part in the open election.
    pub open: Option<(Term, BTreeSet<ClientId>)>,
    /// How many elections were opened.
    pub elections: u8,
}

/// What must not be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Wrong {
    /// Against S1.
    TwoAnnounced,
    /// Against S2.
    TermFell,
    /// Against S3.
    AnotherLeader,
    /// Against S4.
    LeaderTookNoPart,
    /// Against S7.
    AnotherSender,
    /// Nobody lies in here, and somebody is told that its array is not what it was given,
    /// or that it announced another than the best.
    Blamed,
    /// Nothing happens any more, and they do not agree.
    Stuck,
    /// A machine's own check.
    Check(String),
}

/// Whom the hub tells that it lies.
pub fn blamed(report: &relay::Report) -> Option<&ClientId> {
    let relay::Report::Refused { from, error } = report else { return None };
    let lies = match error.code {
        ErrorCode::BadRanks => true,
        ErrorCode::AnnouncementRefused => error.message.contains("highest rank"),
        _ => false,
    };
    lies.then_some(from)
}

/// What is told to the hub.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HubInput {
    /// Somebody connects.
    Connected(Kept<ClientId>),
    /// A frame comes.
    Frame(Kept<ClientId>, Kept<String>),
    /// A connection is gone.
    Left(Kept<ClientId>, relay::Departure),
    /// A timer runs out.
    Timeout(relay::Timer),
}

/// What is told to a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NodeInput {
    /// A frame comes.
    Frame(Kept<String>),
    /// Its connection is gone.
    Closed,
    /// A timer runs out.
    Timeout(Timer),
}

impl HubSide {
    /// Takes in what happened; what is sent, and what is told.
    pub fn step(&mut self, input: &HubInput) -> (Vec<(ClientId, String)>, Vec<relay::Report>) {
        let input = match input {
            HubInput::Connected(id) => Input::Event(relay::Event::Connected { id: (**id).clone(), may_join: true }),
            HubInput::Frame(from, text) => Input::Message { from: (**from).clone(), message: text.as_str().into() },
            HubInput::Left(id, departure) => {
                Input::Event(relay::Event::Left { id: (**id).clone(), departure: *departure })
            }
            HubInput::Timeout(timer) => {
                self.timers.remove(timer);
                Input::Timeout(timer.clone())
            }
        };
        let effects = self.relay.handle(input);
        self.perform(effects)
    }

    /// Does what the relay wants done.
    pub fn perform(&mut self, effects: Vec<Effect<Relay>>) -> (Vec<(ClientId, String)>, Vec<relay::Report>) {
        let (mut sends, mut reports) = (vec![], vec![]);
        for effect in effects {
            match effect {
                Effect::Send { to, message } => sends.push((to, message.to_string())),
                Effect::SetTimer { timer, .. } => drop(self.timers.insert(timer)),
                Effect::CancelTimer(timer) => drop(self.timers.remove(&timer)),
                Effect::Save(saved) => self.saved = saved,
                Effect::Report(report) => reports.push(report),
            }
        }
        (sends, reports)
    }

    /// The tokens that are in somebody's hands.
    fn tokens(&self) -> impl Iterator<Item = &Token> {
        self.timers.iter().filter_map(|timer| match timer {
            relay::Timer::Hop(token) => Some(token),
            _ => None,
        })
    }

    /// What the relay itself finds wrong.
    pub fn check(&self) -> Option<Wrong> {
        checked(|| self.relay.check())
    }
}

impl NodeSide {
    /// Takes in what happened; what is sent, and what is told.
    pub fn step(&mut self, input: &NodeInput) -> (Vec<String>, Vec<Report>) {
        let input = match input {
            NodeInput::Frame(text) => Input::Message { from: Hub, message: text.as_str().into() },
            NodeInput::Closed => {
                self.id = None;
                Input::Event(Event::Disconnected)
            }
            NodeInput::Timeout(timer) => {
                self.timers.remove(timer);
                Input::Timeout(*timer)
            }
        };
        let (mut sends, mut reports) = (vec![], vec![]);
        for effect in self.member.handle(input) {
            match effect {
                Effect::Send { to: Hub, message } => sends.push(message.to_string()),
                Effect::SetTimer { timer, after } => {
                    let patience = if after.start == Duration::ZERO { Patience::None } else { Patience::Some };
                    self.timers.insert(timer, patience);
                }
                Effect::CancelTimer(timer) => drop(self.timers.remove(&timer)),
                Effect::Save(never) => match never {},
                Effect::Report(report) => reports.push(report),
            }
        }
        (sends, reports)
    }

    /// What the member itself finds wrong.
    pub fn check(&self) -> Option<Wrong> {
        checked(|| self.member.check())
    }

    /// Whether it waits for an answer.
    pub fn asks(&self) -> bool {
        self.timers.contains_key(&Timer::CheckTimeout)
    }
}

/// Machines check themselves by assertions.
fn checked(check: impl FnOnce()) -> Option<Wrong> {
    let panic = catch_unwind(AssertUnwindSafe(check)).err()?;
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    Some(Wrong::Check(text.unwrap_or_default()))
}

/// Whether what the hub handed on, at this step of it, names whom it started from (S7).
///
/// An election started with the first of its entries, a check or an answer as the token's
/// name says. The token of one that goes straight to whom it is for is gone again at once;
/// then it started with whose frame came, and no other token has ended. One that comes
/// late out of a former holder's hands is a new one, as the hub cannot know better. Who
/// passes an announcement on says truly whom it started from, unless it is a classic member.
pub fn senders_are_right(before: &HubSide, input: &HubInput, after: &HubSide, reports: &[relay::Report]) -> bool {
    let came = match input {
        HubInput::Frame(from, frame) => Some((&**from, frame)),
        _ => None,
    };
    let started = |sender: Option<ClientId>, to: &ClientId, moves: &dyn Fn(&ClientId, &Token) -> bool, consumer| {
        let Some(sender) = sender else { return false };
        let ends_nothing = before.tokens().all(|token| after.tokens().any(|other| other == token));
        before.tokens().chain(after.tokens()).any(|token| moves(&sender, token))
            || (came.is_some_and(|(from, _)| *from == sender) && *to == consumer && ends_nothing)
    };
    reports.iter().all(|report| {
        let relay::Report::Relayed { from: Some(_), to, frame } = report else { return true };
        match ring_frame(frame) {
            Some((sender, RingMessage::Election(election))) => {
                election.ranks.first().map(|first| &first.client_id) == sender.as_ref()
            }
            Some((sender, RingMessage::CheckLeader(check))) => {
                let moves = |sender: &ClientId, token: &Token| {
                    matches!(token, Token::Check { asker, leader, .. } if asker == sender && *leader == check.leader_id)
                };
                started(sender, to, &moves, check.leader_id.clone())
            }
            Some((sender, RingMessage::AnswerLeader(answer))) => {
                let moves = |sender: &ClientId, token: &Token| {
                    matches!(token, Token::Answer { answerer, asker, .. }
                        if answerer == sender && *asker == answer.destination_id)
                };
                started(sender, to, &moves, answer.destination_id.clone())
            }
            Some((sender, RingMessage::NewLeader(_))) => match came.and_then(|(from, text)| {
                let (said, message) = ring_frame(text)?;
                let passes_on = |member: &message::Member| member.forwards && member.client_id == *from;
                (before.relay.members().any(passes_on) && message.method() == "newLeader").then_some(said)
            }) {
                Some(said) => said == sender,
                None => true,
            },
            _ => true,
        }
    })
}

/// The term of the election into which this frame enters its sender.
pub fn enters(text: &str, me: &ClientId) -> Option<Option<Term>> {
    match ring_frame(text)?.1 {
        RingMessage::Election(election) if election.ranks.last()?.client_id == *me => Some(election.term),
        _ => None,
    }
}

fn ring_frame(text: &str) -> Option<(Option<ClientId>, RingMessage)> {
    match wire::decode::<Vec<Candidate>>(text) {
        Ok(Frame { sender_id, body: Body::Ring(message), .. }) => Some((sender_id, message)),
        _ => None,
    }
}
