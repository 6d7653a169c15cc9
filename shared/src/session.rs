//! A client's side of its connection to a hub: what frames mean to the election,
//! and the election's messages as frames. The client's transport and the simulator
//! both speak through it.

use std::collections::BTreeMap;
use std::time::Duration;

use thiserror::Error;

use crate::election::eligible_array::{EligibleArray, Event, Hub, Joined, Sent};
use crate::id::{ClientId, Name, Rank, Term};
use crate::machine::Input;
use crate::message::{Greeting, Routing};
use crate::wire::{self, Application, Body, DecodeError, ErrorCode, ErrorFrame, Frame, Response};

/// What a client says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introduction {
    /// What it stands with.
    pub rank: Rank,
    /// What people call it.
    pub name: Name,
}

/// What a frame from the hub means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// We are welcome: send this greeting, then hand the machine this input.
    Welcome {
        /// The text to send.
        greeting: String,
        /// The input.
        joined: Joined,
        /// What the members are called that the hub told of.
        members: BTreeMap<ClientId, Name>,
    },
    /// Hand the machine this input.
    Input(Input<EligibleArray>),
    /// A program has something to say.
    Message {
        /// A member's; or the hub itself, which has no sender.
        from: Option<ClientId>,
        /// What, and in which term.
        said: Application,
    },
    /// The hub complains; for the log.
    Error(ErrorFrame),
    /// Nothing for an election.
    Nothing,
}

/// Why a text is nothing that a hub says.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotAHub {
    /// No frame at all, or a broken one.
    #[error(transparent)]
    Frame(#[from] DecodeError),
    /// A welcome has to say who we are.
    #[error("welcome: expected a clientId")]
    NoClientId,
}

/// Takes in a frame. `newest` is the newest term that the machine knows.
///
/// # Errors
///
/// The text is no frame. A method that we do not know is an error too; a caller
/// should log and pass over what it cannot read, for hubs may be newer than us.
pub fn hear(text: &str, introduction: &Introduction, newest: Term) -> Result<Heard, NotAHub> {
    let Frame { sender_id, client_id, body } = wire::decode(text)?;
    Ok(match body {
        Body::Welcome(welcome) => {
            let me = client_id.ok_or(NotAHub::NoClientId)?;
            let joined = Joined {
                me,
                // A hub that does not say is a classic one.
                routing: welcome.relay.unwrap_or(Routing::Direct),
                counts_terms: welcome.term.is_some(),
                leader: welcome.leader_id.map(|leader| (leader, welcome.term)),
                lease: welcome.lease_ms.and_then(lease),
            };
            let members = welcome.members.unwrap_or_default();
            let members = members.into_iter().filter_map(|member| Some((member.client_id, member.name?))).collect();
            Heard::Welcome { greeting: greeting(introduction, newest), joined, members }
        }
        // A classic hub says nothing of leaders here.
        Body::Response(Response { term: None, .. }) => Heard::Nothing,
        Body::Response(Response { leader_id, term }) => {
            Heard::Input(Input::Event(Event::Told { leader: leader_id, term }))
        }
        Body::Ring(message) => Heard::Input(Input::Message { from: Hub, message: Sent { origin: sender_id, message } }),
        Body::Error(error) if error.code == ErrorCode::NotLeader && error.about.as_deref() == Some("lease") => {
            Heard::Input(Input::Event(Event::LeaseRefused))
        }
        Body::Error(error) => Heard::Error(error),
        Body::Message(said) => Heard::Message { from: sender_id, said },
        Body::Greeting(_) | Body::Relayed(_) | Body::RingChanged(_) => Heard::Nothing,
    })
}

/// A length that comes from the hub, if it is one that a lease can have.
fn lease(millis: u64) -> Option<Duration> {
    const LONGEST: Duration = Duration::from_secs(3600);
    Some(Duration::from_millis(millis).min(LONGEST)).filter(|lease| !lease.is_zero())
}

/// What joins us.
fn greeting(introduction: &Introduction, newest: Term) -> String {
    let greeting = Greeting {
        rank: Some(introduction.rank),
        name: Some(introduction.name.clone()),
        forwards: true,
        term: Some(newest),
    };
    wire::encode::<()>(&Frame { sender_id: None, client_id: None, body: Body::Greeting(greeting) })
}

/// A message of the machine as a frame.
pub fn say(sent: Sent) -> String {
    wire::encode(&Frame { sender_id: sent.origin, client_id: None, body: Body::Ring(sent.message) })
}

/// What a program has to say to others' as a frame. The hub fills in the sender.
pub fn tell(said: Application) -> String {
    wire::encode::<()>(&Frame { sender_id: None, client_id: None, body: Body::Message(said) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(text: &str) -> Result<Heard, NotAHub> {
        let introduction = Introduction { rank: 7.into(), name: Name::new("blue").unwrap() };
        hear(text, &introduction, Term::new(4).unwrap())
    }

    #[test]
    fn our_hub_and_a_classic_one_welcome_differently() {
        let ours = r#"{"method":"welcome","clientId":"b","data":{"ring":"default","members":[],"leaderId":null,"term":0,"relay":"ring","leaseMs":4000},"senderId":null}"#;
        let classic = r#"{"method":"welcome","clientId":"b"}"#;
        for (text, routing, counts_terms) in [(ours, Routing::Ring, true), (classic, Routing::Direct, false)] {
            let Ok(Heard::Welcome { greeting, joined, .. }) = heard(text) else { panic!("{text}") };
            let me = ClientId::new("b").unwrap();
            let lease = counts_terms.then_some(Duration::from_secs(4));
            assert_eq!(joined, Joined { me, routing, counts_terms, leader: None, lease });
            assert_eq!(
                greeting,
                r#"{"method":"greeting","data":{"rank":7,"name":"blue","forwards":true,"term":4},"senderId":null}"#
            );
        }
        assert_eq!(heard(r#"{"method":"welcome"}"#), Err(NotAHub::NoClientId));
    }

    #[test]
    fn what_programs_say_is_handed_on_as_it_came() {
        let body = serde_json::value::RawValue::from_string(r#"{"kind":"jobs"}"#.into()).unwrap();
        let said = Application { destination_id: ClientId::new("b").unwrap(), term: Term::new(3).unwrap(), body };
        let text = tell(said.clone());
        assert_eq!(
            text,
            r#"{"method":"message","data":{"destinationId":"b","term":3,"body":{"kind":"jobs"}},"senderId":null}"#
        );
        assert_eq!(heard(&text), Ok(Heard::Message { from: None, said }));
    }

    #[test]
    fn what_is_for_spectators_is_nothing() {
        let ring = r#"{"method":"ring","data":{"ring":"default","members":[],"leaderId":null,"term":0}}"#;
        assert_eq!(heard(ring), Ok(Heard::Nothing));
    }
}
