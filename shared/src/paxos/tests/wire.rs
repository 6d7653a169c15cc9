//! Messages as JSON, and what is saved.

use super::*;

#[test]
fn messages_are_flat_json() {
    let table = [
        (candidate(5, &[15, 10]), r#"{"kind":"candidate","id":5,"members":[15,10]}"#),
        (
            Message::Start(start()),
            r#"{"kind":"start","roles":{"proposers":2,"acceptors":3,"learners":1},"members":[10,11,12,13,14,15]}"#,
        ),
        (prepare(1, 0), r#"{"kind":"prepare","run":15,"ballot":{"round":1,"node":0}}"#),
        (
            promise(2, 1, Some(vote(1, 0, "55"))),
            r#"{"kind":"promise","run":15,"ballot":{"round":2,"node":1},"accepted":{"ballot":{"round":1,"node":0},"value":"55"}}"#,
        ),
        (accept(vote(1, 0, "55")), r#"{"kind":"accept","run":15,"vote":{"ballot":{"round":1,"node":0},"value":"55"}}"#),
        (Message::Query { run: run(), unfinished: true }, r#"{"kind":"query","run":15,"unfinished":true}"#),
        (Message::Propose { value: value("55") }, r#"{"kind":"propose","value":"55"}"#),
        (
            Message::Waiting { waiting: Waiting::Acceptors(vec![NodeId(2)]) },
            r#"{"kind":"waiting","waiting":{"acceptors":[2]}}"#,
        ),
        (Message::Waiting { waiting: Waiting::Start }, r#"{"kind":"waiting","waiting":"start"}"#),
        (Message::Refused { why: Refusal::NoProposer }, r#"{"kind":"refused","why":"noProposer"}"#),
    ];
    for (message, text) in table {
        assert_eq!(serde_json::to_string(&message).unwrap(), text);
        assert_eq!(serde_json::from_str::<Message>(text).unwrap(), message);
    }
}

#[test]
fn what_cannot_be_is_not_read() {
    for bad in [
        r#"{"kind":"propose","value":""}"#,
        r#"{"kind":"propose","value":"two\nlines"}"#,
        r#"{"kind":"propose","value":55}"#,
        r#"{"kind":"query","run":9007199254740992}"#,
        r#"{"kind":"prepare","run":15,"ballot":{"round":-1,"node":0}}"#,
        r#"{"kind":"elect"}"#,
        r#"{"kind":"query","run":15,"more":1}"#,
    ] {
        assert!(serde_json::from_str::<Message>(bad).is_err(), "{bad}");
    }
    assert!(Value::new("x".repeat(1024)).is_ok() && Value::new("x".repeat(1025)).is_err());
}

/// Whatever is in it, it fits into the line that a transport takes.
#[test]
fn the_longest_messages_fit_into_a_line_of_64_kib() {
    let most = incarnation(crate::id::MAX_SAFE_INTEGER);
    let roles = Roles::new(49, 50, 1).unwrap();
    let start = Message::Start(Start { roles, members: vec![most; MAX_NODES.into()] });
    let value = Value::new("\"".repeat(MAX_VALUE_BYTES)).unwrap();
    let vote = Vote { ballot: ballot(crate::id::MAX_SAFE_INTEGER, u16::MAX), value };
    let promise = Message::Promise { run: most, ballot: vote.ballot, accepted: Some(vote) };
    for message in [start, promise] {
        assert!(serde_json::to_string(&message).unwrap().len() < 4096);
    }
}

#[test]
fn what_is_saved_is_read_back() {
    let mut node = started(2);
    node.handle(from(0, accept(vote(4, 0, "a"))));
    let text = serde_json::to_string(&node.saved).unwrap();
    assert_eq!(serde_json::from_str::<Saved>(&text).unwrap(), node.saved);
    assert!(node.saved.fits(roles()) && !node.saved.fits(Roles::new(1, 4, 1).unwrap()));
}
