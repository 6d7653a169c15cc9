//! What runs on a node: one of our clients, a classic one, or a liar. To the world
//! all are a machine that speaks in frames.

use std::cell::RefCell;
use std::convert::Infallible;
use std::sync::Arc;

use ringleader_shared::election::Belief;
use ringleader_shared::election::eligible_array::{self, EligibleArray, Hub, Report, Sent, Timer, Timing};
use ringleader_shared::id::{Name, Rank};
use ringleader_shared::machine::{Effect, Input, Machine};
use ringleader_shared::rule::Rule;
use ringleader_shared::session::{self, Heard, Introduction};

use crate::classic::Classic;
use crate::liar::Liar;
use crate::memo::Memo;

/// A member of the ring, or who wants to become one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Member {
    /// Our client: the election, speaking through `shared`'s session.
    Ours {
        /// What people call it.
        name: Name,
        /// What it stands with.
        rank: Rank,
        /// What decides.
        machine: EligibleArray,
    },
    /// A classic client.
    Classic(Classic),
    /// It says what it likes.
    Liar(Liar),
}

/// What happens to a member besides frames and timers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    /// Its connection to the hub is gone.
    Disconnected,
    /// Its program is about to leave.
    Resign,
}

type Effects = Vec<Effect<Member>>;

impl Machine for Member {
    type Peer = Hub;
    type Message = Arc<str>;
    type Timer = Timer;
    type Event = Event;
    type Report = Report;
    type Saved = Infallible;

    fn handle(&mut self, input: Input<Self>) -> Effects {
        match self {
            Member::Ours { name, rank, machine } => ours(name, *rank, machine, input),
            Member::Classic(classic) => {
                let before = classic.belief();
                let mut effects = match input {
                    Input::Message { message, .. } => classic.on_frame(&message),
                    Input::Timeout(timer) => classic.on_timeout(timer),
                    Input::Event(Event::Disconnected) => classic.on_disconnected(),
                    Input::Event(Event::Resign) => vec![], // it knows no such thing
                };
                let after = classic.belief();
                if after != before {
                    effects.push(Effect::Report(Report::Believes(after)));
                }
                effects
            }
            Member::Liar(liar) => match input {
                Input::Message { message, .. } => liar.on_frame(&message),
                Input::Timeout(_) => liar.on_timeout(),
                Input::Event(Event::Disconnected) => liar.on_disconnected(),
                Input::Event(Event::Resign) => vec![],
            },
        }
    }

    fn check(&self) {
        if let Member::Ours { machine, .. } = self {
            machine.check();
        }
    }
}

impl Member {
    /// One of our clients, started and not connected.
    pub fn ours(name: Name, rank: Rank, timing: Timing) -> Self {
        Member::Ours { name, rank, machine: EligibleArray::new(rank, timing) }
    }

    /// Breaks a rule on purpose, to see that it is missed.
    pub fn breaking(self, rule: Option<Rule>) -> Self {
        match self {
            Member::Ours { name, rank, machine } => Member::Ours { name, rank, machine: machine.breaking(rule) },
            other => other,
        }
    }

    /// What it believes.
    pub fn belief(&self) -> Belief {
        match self {
            Member::Ours { machine, .. } => machine.belief(),
            Member::Classic(classic) => classic.belief(),
            Member::Liar(liar) => liar.belief(),
        }
    }

    /// The timer at whose end its lease runs out.
    pub fn lease_end(&self) -> Option<Timer> {
        match self {
            Member::Ours { machine, .. } => machine.lease_end(),
            Member::Classic(_) | Member::Liar(_) => None,
        }
    }
}

fn ours(name: &Name, rank: Rank, machine: &mut EligibleArray, input: Input<Member>) -> Effects {
    let (mut effects, input) = match input {
        Input::Timeout(timer) => (vec![], Input::Timeout(timer)),
        Input::Event(Event::Disconnected) => (vec![], Input::Event(eligible_array::Event::Disconnected)),
        Input::Event(Event::Resign) => (vec![], Input::Event(eligible_array::Event::Resign)),
        Input::Message { message, .. } => {
            let known = HEARD.with_borrow(|heard| heard.get(&*message));
            let heard = known.map_or_else(|| hear(&message, name, rank, machine), Heard::Input);
            match heard {
                Heard::Welcome { greeting, joined, .. } => (
                    vec![Effect::Send { to: Hub, message: greeting.into() }],
                    Input::Event(eligible_array::Event::Joined(joined)),
                ),
                Heard::Input(input) => (vec![], input),
                Heard::Message { .. } | Heard::Error(_) | Heard::Nothing => return vec![],
            }
        }
    };
    effects.extend(machine.handle(input).into_iter().map(in_frames));
    effects
}

thread_local! {
    /// What texts mean that mean the same to everybody.
    static HEARD: RefCell<Memo<Arc<str>, Input<EligibleArray>>> = RefCell::default();
    /// Messages as texts.
    static SAID: RefCell<Memo<Sent, Arc<str>>> = RefCell::default();
}

fn hear(text: &Arc<str>, name: &Name, rank: Rank, machine: &EligibleArray) -> Heard {
    let introduction = Introduction { rank, name: name.clone() };
    match session::hear(text, &introduction, machine.belief().term) {
        Ok(heard) => {
            if let Heard::Input(input) = &heard {
                HEARD.with_borrow_mut(|known| known.keep(text.clone(), input.clone()));
            }
            heard
        }
        Err(error) => panic!("our hub says only what our clients can read: {error}: {text}"),
    }
}

fn say(sent: Sent) -> Arc<str> {
    if let Some(text) = SAID.with_borrow(|said| said.get(&sent)) {
        return text;
    }
    let text: Arc<str> = session::say(sent.clone()).into();
    SAID.with_borrow_mut(|said| said.keep(sent, text.clone()));
    text
}

fn in_frames(effect: Effect<EligibleArray>) -> Effect<Member> {
    match effect {
        Effect::Send { to, message } => Effect::Send { to, message: say(message) },
        Effect::SetTimer { timer, after } => Effect::SetTimer { timer, after },
        Effect::CancelTimer(timer) => Effect::CancelTimer(timer),
        Effect::Save(never) => match never {},
        Effect::Report(report) => Effect::Report(report),
    }
}
