//! Frames: JSON texts `{"method": …, "data": …, "senderId": …}`.
//!
//! [`decode`] and [`encode`] are the only doors. Nothing that comes in can make
//! them panic; a text that is no frame gives a [`DecodeError`] which says what was
//! expected where. Fields that nobody here knows are passed over, so that later
//! versions and other people's nodes may add some.
//!
//! The hub reads `ranks` as raw text ([`RawRanks`]) and clients as candidates, by
//! the same code: see the parameter `R`.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::id::{Candidate, ClientId, Term};
use crate::message::{Greeting, Member, RingMessage, Routing};

/// The largest frame that anybody takes, in bytes: the array of an election
/// among 10,000 members is about this long.
pub const MAX_FRAME_BYTES: usize = 1 << 20;

/// An eligible array that was not looked into.
pub type RawRanks<'a> = &'a RawValue;

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame<R = Vec<Candidate>> {
    /// Who the frame started from; the hub's own frames have none.
    pub sender_id: Option<ClientId>,
    /// The id that the hub gave to the receiver; in `welcome` and `response`.
    pub client_id: Option<ClientId>,
    /// What it says.
    pub body: Body<R>,
}

/// What a frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body<R = Vec<Candidate>> {
    /// `welcome`, hub to connection, first.
    Welcome(Welcome),
    /// `greeting`, connection to hub: what joins the ring.
    Greeting(Greeting),
    /// `response`, hub to member, on joining.
    Response(Response),
    /// One of the frames that members exchange.
    Ring(RingMessage<R>),
    /// `message`, member to members: what their program has to say.
    Message(Application),
    /// `relayed`, hub to spectators: a frame as it was handed on.
    Relayed(Relayed),
    /// `ring`, hub to spectators: the members after a change.
    RingChanged(RingChanged),
    /// `error`, hub to connection.
    Error(ErrorFrame),
}

/// `welcome`: where the connection has come to. Other hubs leave all of it out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Welcome {
    /// The ring's name.
    pub ring: Option<String>,
    /// Its members in ring order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<Vec<Member>>,
    /// Who leads.
    pub leader_id: Option<ClientId>,
    /// The leader's own term; without a leader the last term there was.
    pub term: Option<Term>,
    /// How frames are passed on.
    pub relay: Option<Routing>,
    /// For how long a leader may act on one lease, in milliseconds; a hub that
    /// grants none leaves it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_ms: Option<u64>,
}

/// `response`: the same again at the moment of joining.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Response {
    /// Who leads.
    pub leader_id: Option<ClientId>,
    /// The leader's own term; without a leader the last term there was.
    pub term: Option<Term>,
}

/// `message`: what a member's program says to the others', past the ring. The hub
/// refuses one of another term than the leader's, so that what was decided under a
/// deposed leader reaches nobody.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Application {
    /// Who it is for; `*` for everybody else.
    pub destination_id: ClientId,
    /// Under the leader of which term it is said.
    pub term: Term,
    /// Anything.
    pub body: Box<RawValue>,
}

impl PartialEq for Application {
    fn eq(&self, other: &Self) -> bool {
        (&self.destination_id, self.term, self.body.get()) == (&other.destination_id, other.term, other.body.get())
    }
}

impl Eq for Application {}

/// `relayed`: one frame that was handed on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Relayed {
    /// Counts the frames of this ring; a gap is a frame that this spectator missed.
    pub seq: u64,
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// Out of whose hands; `null` for the hub itself.
    pub from: Option<ClientId>,
    /// Into whose hands.
    pub to: ClientId,
    /// The frame as it was handed on.
    pub frame: Box<RawValue>,
}

impl PartialEq for Relayed {
    fn eq(&self, other: &Self) -> bool {
        (self.seq, self.at, &self.from, &self.to, self.frame.get())
            == (other.seq, other.at, &other.from, &other.to, other.frame.get())
    }
}

impl Eq for Relayed {}

/// `ring`: who is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RingChanged {
    /// The ring's name.
    pub ring: String,
    /// Its members in ring order.
    pub members: Vec<Member>,
    /// Who leads.
    pub leader_id: Option<ClientId>,
    /// The leader's own term; without a leader the last term there was.
    pub term: Term,
}

/// `error`: what the receiver did that does not go.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ErrorFrame {
    /// For programs.
    pub code: ErrorCode,
    /// For people: what was expected.
    pub message: String,
    /// The method of the frame it is about, where it had one.
    pub about: Option<String>,
}

/// What kind of error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    /// Not JSON, no frame, or a field that is missing or of the wrong type.
    BadFrame,
    /// A method that nobody knows.
    UnknownMethod,
    /// A method that only the hub sends.
    HubOnly,
    /// Only members may send this: greet first.
    NotAMember,
    /// This connection has greeted before.
    AlreadyJoined,
    /// This connection may watch and not join.
    WatchOnly,
    /// The ring has as many members as the hub allows.
    RingFull,
    /// An eligible array that is not what its holder was given, with itself added.
    BadRanks,
    /// An announcement that the hub does not accept.
    AnnouncementRefused,
    /// Somebody resigned, or asked for a lease, who does not lead.
    NotLeader,
    /// A message of another term than the leader's, or while nobody leads.
    StaleTerm,
    /// A message for somebody who is no member.
    NoSuchMember,
    /// A code of a newer hub.
    #[serde(other)]
    Other,
}

/// Why a text is no frame.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Not JSON, or not an object with a `method`.
    #[error("expected a JSON object {{\"method\": …, \"data\": …, \"senderId\": …}}: {0}")]
    Envelope(String),
    /// A method that is not in the protocol.
    #[error(
        "unknown method {0:?}; methods are greeting, election, newLeader, checkLeader, answerLeader, leaderLeft, lease, message"
    )]
    UnknownMethod(String),
    /// A field of `data` is missing or of the wrong type.
    #[error("{method}: {field}: {problem}")]
    Field {
        /// The frame's method.
        method: &'static str,
        /// Which field, as a path such as `data.ranks[3].rank`.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl DecodeError {
    /// The code to answer it with, and the method to name.
    pub fn code_and_method(&self) -> (ErrorCode, Option<String>) {
        match self {
            DecodeError::Envelope(_) => (ErrorCode::BadFrame, None),
            DecodeError::UnknownMethod(method) => (ErrorCode::UnknownMethod, Some(method.clone())),
            DecodeError::Field { method, .. } => (ErrorCode::BadFrame, Some((*method).into())),
        }
    }
}

impl<R> Body<R> {
    /// The name on the wire.
    pub fn method(&self) -> &'static str {
        match self {
            Body::Welcome(_) => "welcome",
            Body::Greeting(_) => "greeting",
            Body::Response(_) => "response",
            Body::Ring(message) => message.method(),
            Body::Message(_) => "message",
            Body::Relayed(_) => "relayed",
            Body::RingChanged(_) => "ring",
            Body::Error(_) => "error",
        }
    }
}

impl<R> RingMessage<R> {
    /// The name on the wire.
    pub fn method(&self) -> &'static str {
        match self {
            RingMessage::Election(_) => "election",
            RingMessage::NewLeader(_) => "newLeader",
            RingMessage::CheckLeader(_) => "checkLeader",
            RingMessage::AnswerLeader(_) => "answerLeader",
            RingMessage::LeaderLeft(_) => "leaderLeft",
            RingMessage::Lease(_) => "lease",
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a, D> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    data: Option<D>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_id: Option<ClientId>,
    #[serde(default, deserialize_with = "if_valid")]
    sender_id: Option<ClientId>,
}

/// What a frame says of its sender counts for little: the hub overwrites it. So one
/// that is no id is passed over, instead of costing the frame.
fn if_valid<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ClientId>, D::Error> {
    let text: Option<Cow<'de, str>> = Option::deserialize(deserializer)?;
    Ok(text.and_then(|text| ClientId::new(text).ok()))
}

fn none<D>() -> Option<D> {
    None
}

/// Reads a frame.
///
/// # Errors
///
/// Says which part of the text is not as expected.
pub fn decode<'a, R: Deserialize<'a>>(text: &'a str) -> Result<Frame<R>, DecodeError> {
    // Serde takes a list of the fields' values for an object too; nobody else does.
    if !text.trim_start().starts_with('{') {
        return Err(DecodeError::Envelope(match serde_json::from_str::<&RawValue>(text) {
            Ok(_) => "that is no object".into(),
            Err(error) => shortened(&error.to_string()),
        }));
    }
    let envelope: Envelope<'a, &'a RawValue> =
        serde_json::from_str(text).map_err(|error| DecodeError::Envelope(shortened(&error.to_string())))?;
    let data = envelope.data;
    let body = match &*envelope.method {
        "welcome" => Body::Welcome(object_or_default("welcome", data)?),
        "greeting" => Body::Greeting(greeting(data)?),
        "response" => Body::Response(object_or_default("response", data)?),
        "election" => Body::Ring(RingMessage::Election(fields("election", data)?)),
        "newLeader" => Body::Ring(RingMessage::NewLeader(fields("newLeader", data)?)),
        "checkLeader" => Body::Ring(RingMessage::CheckLeader(fields("checkLeader", data)?)),
        "answerLeader" => Body::Ring(RingMessage::AnswerLeader(fields("answerLeader", data)?)),
        "leaderLeft" => Body::Ring(RingMessage::LeaderLeft(fields("leaderLeft", data)?)),
        "lease" => Body::Ring(RingMessage::Lease(fields("lease", data)?)),
        "message" => Body::Message(fields("message", data)?),
        "relayed" => Body::Relayed(fields("relayed", data)?),
        "ring" => Body::RingChanged(fields("ring", data)?),
        "error" => Body::Error(fields("error", data)?),
        unknown => return Err(DecodeError::UnknownMethod(shortened(unknown))),
    };
    Ok(Frame { sender_id: envelope.sender_id, client_id: envelope.client_id, body })
}

/// Reads `data`. Only where that fails is it read once more, to learn which field it was.
fn fields<'a, T: Deserialize<'a>>(method: &'static str, data: Option<&'a RawValue>) -> Result<T, DecodeError> {
    let text = data.map_or("null", RawValue::get);
    if !text.starts_with('{') {
        let problem = format!("expected an object, got {}", shortened(text));
        return Err(DecodeError::Field { method, field: "data".into(), problem });
    }
    serde_json::from_str(text).map_err(|_| {
        let failed = serde_path_to_error::deserialize::<_, T>(&mut serde_json::Deserializer::from_str(text)).err();
        let (path, problem) =
            failed.map_or_else(Default::default, |error| (error.path().to_string(), error.inner().to_string()));
        let field = if path == "." { "data".into() } else { format!("data.{path}") };
        DecodeError::Field { method, field: shortened(&field), problem: shortened(&problem) }
    })
}

/// A greeting is an object, or, from a classic client, any text.
fn greeting(data: Option<&RawValue>) -> Result<Greeting, DecodeError> {
    match data.map(RawValue::get) {
        Some(text) if text.starts_with('"') => Ok(Greeting::default()),
        _ => fields("greeting", data),
    }
}

/// Classic hubs put a text, or nothing, where ours puts an object.
fn object_or_default<'a, T: Deserialize<'a> + Default>(
    method: &'static str,
    data: Option<&'a RawValue>,
) -> Result<T, DecodeError> {
    match data {
        Some(raw) if raw.get().starts_with('{') => fields(method, data),
        _ => Ok(T::default()),
    }
}

/// Keeps what others wrote from filling an error or a log line.
pub(crate) fn shortened(text: &str) -> String {
    const MOST: usize = 120;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into(),
    }
}

/// Writes a frame.
pub fn encode<R: Serialize>(frame: &Frame<R>) -> String {
    fn text<R, D: Serialize>(frame: &Frame<R>, data: &D) -> String {
        let envelope = Envelope {
            method: frame.body.method().into(),
            data: Some(data),
            client_id: frame.client_id.clone(),
            sender_id: frame.sender_id.clone(),
        };
        // Texts, numbers and lists of these: there is nothing in a frame that JSON has no form for.
        serde_json::to_string(&envelope).expect("a frame is JSON")
    }
    match &frame.body {
        Body::Welcome(data) => text(frame, data),
        Body::Greeting(data) => text(frame, data),
        Body::Response(data) => text(frame, data),
        Body::Ring(RingMessage::Election(data)) => text(frame, data),
        Body::Ring(RingMessage::NewLeader(data)) => text(frame, data),
        Body::Ring(RingMessage::CheckLeader(data)) => text(frame, data),
        Body::Ring(RingMessage::AnswerLeader(data)) => text(frame, data),
        Body::Ring(RingMessage::LeaderLeft(data)) => text(frame, data),
        Body::Ring(RingMessage::Lease(data)) => text(frame, data),
        Body::Message(data) => text(frame, data),
        Body::Relayed(data) => text(frame, data),
        Body::RingChanged(data) => text(frame, data),
        Body::Error(data) => text(frame, data),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Rank;
    use crate::message::NewLeader;

    fn clients(text: &str) -> Result<Frame, DecodeError> {
        decode(text)
    }

    #[test]
    fn an_election_is_read_parsed_or_raw() {
        let text = r#"{"method":"election","data":{"ranks":[{"rank":7,"clientId":"a"}, {"clientId":"b","rank":9}],"term":3},"senderId":"a"}"#;
        let frame = clients(text).unwrap();
        let Body::Ring(RingMessage::Election(election)) = &frame.body else { panic!("{frame:?}") };
        assert_eq!(election.ranks.iter().max().unwrap().rank, Rank::from(9));
        assert_eq!(election.term, Term::new(3));

        let raw: Frame<RawRanks> = decode(text).unwrap();
        let Body::Ring(RingMessage::Election(election)) = &raw.body else { panic!("{raw:?}") };
        assert_eq!(election.ranks.get(), r#"[{"rank":7,"clientId":"a"}, {"clientId":"b","rank":9}]"#);
        assert_eq!(encode(&raw), text, "what is raw stays as it came");
    }

    #[test]
    fn classic_frames_are_read() {
        let greeting = clients(r#"{"method":"greeting","data":"hello","senderId":null}"#).unwrap();
        assert_eq!(greeting.body, Body::Greeting(Greeting::default()));
        let welcome = clients(r#"{"method":"welcome","clientId":"k3j9x0q2z","data":"hi"}"#).unwrap();
        assert_eq!(welcome.client_id, Some(ClientId::new("k3j9x0q2z").unwrap()));
        assert_eq!(welcome.body, Body::Welcome(Welcome::default()));
        let announcement = clients(r#"{"senderId":"b","data":{"leaderId":"a"},"method":"newLeader"}"#).unwrap();
        let leader_id = ClientId::new("a").unwrap();
        assert_eq!(announcement.body, Body::Ring(RingMessage::NewLeader(NewLeader::of(leader_id, None))));
    }

    #[test]
    fn errors_name_the_frame_and_the_field() {
        let table = [
            ("", "expected a JSON object"),
            ("hello", "expected a JSON object"),
            ("[1]", "that is no object"),
            (r#"["greeting",{}]"#, "that is no object"),
            (r#"{"method":"greeting","data":[7,"n",true,3]}"#, "greeting: data: expected an object"),
            ("{}", "missing field `method`"),
            (r#"{"method":7}"#, "expected a string"),
            (r#"{"method":"fly"}"#, "unknown method \"fly\""),
            (r#"{"method":"election"}"#, "election: data"),
            (r#"{"method":"election","data":{"ranks":[{"rank":"x","clientId":"a"}]}}"#, "data.ranks[0].rank"),
            (r#"{"method":"newLeader","data":{"leaderId":7}}"#, "data.leaderId"),
            (r#"{"method":"newLeader","data":{"leaderId":""}}"#, "1 to 64 bytes"),
            (r#"{"method":"checkLeader","data":{"leaderId":"a","term":-1}}"#, "data.term"),
            (r#"{"method":"greeting","data":7}"#, "greeting: data"),
            (r#"{"method":"greeting","data":{"rank":1e999}}"#, "data.rank"),
            (r#"{"method":"greeting","data":{},"senderId":7}"#, "expected a string"),
        ];
        for (text, expected) in table {
            let error = clients(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn depth_does_not_exhaust_the_stack() {
        for text in [
            "[".repeat(60_000),
            format!(r#"{{"method":"election","data":{}"#, "[".repeat(60_000)),
            format!(r#"{{"method":"election","data":{}{}}}"#, "[".repeat(60_000), "]".repeat(60_000)),
            format!(r#"{{"method":"election","data":{{"ranks":{}{}}}}}"#, "[".repeat(60_000), "]".repeat(60_000)),
            format!(r#"{{"method":"x","more":{}{}}}"#, "[".repeat(60_000), "]".repeat(60_000)),
        ] {
            assert!(clients(&text).is_err());
        }
    }
}
