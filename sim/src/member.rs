//! What runs on a node: one of our clients, or a classic one. To the world both
//! are a machine that speaks in frames.

use std::convert::Infallible;
use std::sync::Arc;

use ringleader_shared::election::Belief;
use ringleader_shared::election::eligible_array::{self, EligibleArray, Hub, Report, Timer, Timing};
use ringleader_shared::id::{Name, Rank};
use ringleader_shared::machine::{Effect, Input, Machine};
use ringleader_shared::session::{self, Heard, Introduction};

use crate::classic::Classic;

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

    /// What it believes.
    pub fn belief(&self) -> Belief {
        match self {
            Member::Ours { machine, .. } => machine.belief(),
            Member::Classic(classic) => classic.belief(),
        }
    }
}

fn ours(name: &Name, rank: Rank, machine: &mut EligibleArray, input: Input<Member>) -> Effects {
    let (mut effects, input) = match input {
        Input::Timeout(timer) => (vec![], Input::Timeout(timer)),
        Input::Event(Event::Disconnected) => (vec![], Input::Event(eligible_array::Event::Disconnected)),
        Input::Event(Event::Resign) => (vec![], Input::Event(eligible_array::Event::Resign)),
        Input::Message { message, .. } => {
            let introduction = Introduction { rank, name: name.clone() };
            match session::hear(&message, &introduction, machine.belief().term) {
                Ok(Heard::Welcome { greeting, joined, .. }) => (
                    vec![Effect::Send { to: Hub, message: greeting.into() }],
                    Input::Event(eligible_array::Event::Joined(joined)),
                ),
                Ok(Heard::Input(input)) => (vec![], input),
                Ok(Heard::Error(_) | Heard::Nothing) => return vec![],
                Err(error) => panic!("our hub says only what our clients can read: {error}: {message}"),
            }
        }
    };
    effects.extend(machine.handle(input).into_iter().map(in_frames));
    effects
}

fn in_frames(effect: Effect<EligibleArray>) -> Effect<Member> {
    match effect {
        Effect::Send { to, message } => Effect::Send { to, message: session::say(message).into() },
        Effect::SetTimer { timer, after } => Effect::SetTimer { timer, after },
        Effect::CancelTimer(timer) => Effect::CancelTimer(timer),
        Effect::Save(never) => match never {},
        Effect::Report(report) => Effect::Report(report),
    }
}
