//! Frames as tests write and expect them.

use serde_json::{Value, json};

use super::Peer;

/// A frame that started from nobody: as members send it, or the hub itself.
pub fn frame(method: &str, data: Value) -> Value {
    json!({ "method": method, "data": data, "senderId": null })
}

/// The same frame as it is handed on: it started from `starter`.
pub fn from(starter: &str, mut frame: Value) -> Value {
    frame["senderId"] = json!(starter);
    frame
}

/// The frame that starts an election: its only entry is its sender's.
pub fn start(starter: &Peer, known: impl Into<Option<u64>>) -> Value {
    election(&[starter], known)
}

pub fn election(ranks: &[&Peer], term: impl Into<Option<u64>>) -> Value {
    let ranks: Vec<Value> = ranks.iter().map(|peer| peer.entry()).collect();
    ranks_frame(json!(ranks), term)
}

pub fn ranks_frame(ranks: Value, term: impl Into<Option<u64>>) -> Value {
    frame("election", with_term(json!({ "ranks": ranks }), term))
}

pub fn new_leader(leader: &str, term: impl Into<Option<u64>>) -> Value {
    frame("newLeader", with_term(json!({ "leaderId": leader }), term))
}

/// The announcement as it is handed on: the hub adds the leader's name.
pub fn announced(announcer: &Peer, leader: &Peer, term: u64) -> Value {
    let mut announcement = from(&announcer.id, new_leader(&leader.id, term));
    if let Some(name) = &leader.name {
        announcement["data"]["leaderName"] = json!(name);
    }
    announcement
}

pub fn check(leader: &str, term: impl Into<Option<u64>>) -> Value {
    frame("checkLeader", with_term(json!({ "leaderId": leader }), term))
}

pub fn answer(asker: &str, term: impl Into<Option<u64>>) -> Value {
    frame("answerLeader", with_term(json!({ "destinationId": asker }), term))
}

pub fn leader_left(leader: &str, term: u64, resigned: bool) -> Value {
    frame("leaderLeft", json!({ "leaderId": leader, "term": term, "resigned": resigned }))
}

/// Classic frames have no term.
fn with_term(mut data: Value, term: impl Into<Option<u64>>) -> Value {
    if let Some(term) = term.into() {
        data["term"] = json!(term);
    }
    data
}

/// The ids of members or entries.
pub fn ids(members: &Value) -> Vec<String> {
    let id = |member: &Value| member["clientId"].as_str().unwrap().to_owned();
    members.as_array().unwrap().iter().map(id).collect()
}

/// What a `relayed` frame tells: sequence number, from, to, method, and who it started from.
pub fn summary(relayed: &Value) -> (u64, Option<&str>, &str, &str, Option<&str>) {
    let data = &relayed["data"];
    (
        data["seq"].as_u64().unwrap(),
        data["from"].as_str(),
        data["to"].as_str().unwrap(),
        data["frame"]["method"].as_str().unwrap(),
        data["frame"]["senderId"].as_str(),
    )
}

pub fn is(frame: &Value, method: &str) -> bool {
    frame["method"] == method
}

/// A WebSocket frame as a client sends it: `first` is the byte with FIN, the reserved
/// bits and the opcode; the mask is zero, so that the payload stays readable.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASKED: u8 = 0x80;
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..126 => bytes.push(MASKED | len as u8),
        len @ 126..0x1_0000 => {
            bytes.push(MASKED | 126);
            bytes.extend((len as u16).to_be_bytes());
        }
        len => {
            bytes.push(MASKED | 127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}
