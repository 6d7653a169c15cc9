//! The wire as `protocol/` describes it, held against the code that speaks it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use jsonschema::Validator;
use ringleader_shared::factorial::message::Said;
use ringleader_shared::id::{Candidate, MAX_NAME_BYTES, MAX_SAFE_INTEGER, Term};
use ringleader_shared::message::RingMessage;
use ringleader_shared::wire::{self, Body, DecodeError, ErrorCode, Frame, MAX_FRAME_BYTES};
use serde::Deserialize;
use serde_json::{Value, json};
use yaml_rust2::{Yaml, YamlLoader};

/// Makes a list of names, and a match without a wildcard that gives them: where a
/// variant is new the compiler asks for its name, and the tests then ask for what
/// has to be said of it in `protocol/`.
macro_rules! names {
    ($list:ident, $name_of:ident($of:ty): $($pattern:pat => $name:literal,)*) => {
        const $list: &[&str] = &[$($name),*];
        fn $name_of(of: &$of) -> &'static str {
            match of { $($pattern => $name,)* }
        }
    };
}

names! { METHODS, method(Body):
    Body::Welcome(_) => "welcome",
    Body::Greeting(_) => "greeting",
    Body::Response(_) => "response",
    Body::Ring(RingMessage::Election(_)) => "election",
    Body::Ring(RingMessage::NewLeader(_)) => "newLeader",
    Body::Ring(RingMessage::CheckLeader(_)) => "checkLeader",
    Body::Ring(RingMessage::AnswerLeader(_)) => "answerLeader",
    Body::Ring(RingMessage::LeaderLeft(_)) => "leaderLeft",
    Body::Ring(RingMessage::Lease(_)) => "lease",
    Body::Message(_) => "message",
    Body::Relayed(_) => "relayed",
    Body::RingChanged(_) => "ring",
    Body::Error(_) => "error",
}

names! { CODES, code(ErrorCode):
    ErrorCode::BadFrame => "bad-frame",
    ErrorCode::UnknownMethod => "unknown-method",
    ErrorCode::HubOnly => "hub-only",
    ErrorCode::NotAMember => "not-a-member",
    ErrorCode::AlreadyJoined => "already-joined",
    ErrorCode::WatchOnly => "watch-only",
    ErrorCode::RingFull => "ring-full",
    ErrorCode::BadRanks => "bad-ranks",
    ErrorCode::AnnouncementRefused => "announcement-refused",
    ErrorCode::NotLeader => "not-leader",
    ErrorCode::StaleTerm => "stale-term",
    ErrorCode::NoSuchMember => "no-such-member",
    ErrorCode::Other => "other",
}

names! { KINDS, kind(Said):
    Said::Coordinating => "coordinating",
    Said::Ready { .. } => "ready",
    Said::Assign { .. } => "assign",
    Said::Products { .. } => "products",
    Said::Failed { .. } => "failed",
    Said::Jobs => "jobs",
    Said::Joined { .. } => "joined",
    Said::Left { .. } => "left",
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("protocol").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// By file name without `.json`: the method, perhaps a dot and what is special.
fn examples() -> BTreeMap<String, String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("protocol/examples");
    let files = fs::read_dir(directory).expect("there are examples");
    let names = files.map(|file| file.expect("a file").file_name().into_string().expect("a name in UTF-8"));
    let stem = |name: String| name.strip_suffix(".json").map(str::to_owned).expect("a .json file");
    names.map(stem).map(|stem| (stem.clone(), read(&format!("examples/{stem}.json")))).collect()
}

fn decode(text: &str) -> Result<Frame, DecodeError> {
    wire::decode::<Vec<Candidate>>(text)
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn schema() -> Value {
    value(&read("schema.json"))
}

/// Reads any frame, or, with the name of a definition, only what that defines.
fn validator(definition: Option<&str>) -> Validator {
    let mut schema = schema();
    if let Some(definition) = definition {
        schema["oneOf"] = json!([{ "$ref": format!("#/$defs/{definition}") }]);
    }
    jsonschema::validator_for(&schema).expect("a valid schema")
}

/// Every kind of what is said of work, as the body of its example.
fn said() -> BTreeMap<&'static str, (Frame, Value)> {
    let example = |kind: &&'static str| {
        let frame = decode(&read(&format!("examples/message.{kind}.json"))).expect("a frame");
        let Body::Message(message) = &frame.body else { panic!("{kind}: {frame:?}") };
        let body = value(message.body.get());
        (*kind, (frame, body))
    };
    KINDS.iter().map(example).collect()
}

#[test]
fn examples_are_read_and_written_again() {
    for (name, text) in examples() {
        let frame = decode(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(name.split('.').next(), Some(method(&frame.body)), "{name}");
        assert_eq!(frame.body.method(), method(&frame.body), "{name}");
        let again = wire::encode(&frame);
        if name.ends_with(".classic") {
            // Written our way: the text of a classic greeting or welcome says nothing that is
            // kept, and where a field was missing there may be a null now. It means the same.
            assert_eq!(decode(&again), Ok(frame), "{name}");
        } else {
            assert_eq!(value(&again), value(&text), "{name}");
        }
    }
}

#[test]
fn every_method_has_examples_and_a_definition() {
    let methods: BTreeSet<&str> = METHODS.iter().copied().collect();
    let examples = examples();
    let with_example: BTreeSet<&str> = examples.keys().map(String::as_str).filter(|name| !name.contains('.')).collect();
    assert_eq!(with_example, methods);

    // What a classic peer sends is another text of each of these.
    let classic: BTreeSet<&str> = examples.keys().filter_map(|name| name.strip_suffix(".classic")).collect();
    let known = ["welcome", "greeting", "response", "election", "newLeader", "checkLeader", "answerLeader"];
    assert_eq!(classic, BTreeSet::from(known));

    let schema = schema();
    let frames = schema["oneOf"].as_array().unwrap().iter().map(|frame| frame["$ref"].as_str().unwrap().to_owned());
    assert_eq!(frames.collect::<BTreeSet<_>>(), methods.iter().map(|method| format!("#/$defs/{method}")).collect());
    for method in METHODS {
        assert_eq!(schema["$defs"][method]["properties"]["method"]["const"], *method);
    }
}

#[test]
fn examples_satisfy_the_schema() {
    let any = validator(None);
    for (name, text) in examples() {
        let only = validator(name.split('.').next());
        for validator in [&any, &only] {
            let errors: Vec<_> = validator.iter_errors(&value(&text)).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{name}: {errors:?}");
        }
    }
}

#[test]
fn what_is_said_of_work_is_read_and_written_again() {
    let validator = validator(Some("said"));
    for (name, (frame, body)) in said() {
        let said: Said = serde_json::from_value(body.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(kind(&said), name);
        assert_eq!(serde_json::to_value(&said).unwrap(), body, "{name}");
        let errors: Vec<_> = validator.iter_errors(&body).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
        let is_hubs = matches!(said, Said::Jobs | Said::Joined { .. } | Said::Left { .. });
        assert_eq!(frame.sender_id.is_none(), is_hubs, "{name}: the hub's own have no sender");
    }
    let schema = schema();
    let listed = schema["$defs"]["said"]["oneOf"].as_array().unwrap().iter();
    let listed = listed.map(|kind| {
        let definition = kind["$ref"].as_str().unwrap().strip_prefix("#/$defs/").unwrap();
        schema["$defs"][definition]["properties"]["kind"]["const"].as_str().unwrap()
    });
    assert_eq!(listed.collect::<Vec<_>>(), KINDS);
    let about = read("asyncapi.yaml");
    for kind in KINDS {
        assert!(about.contains(&format!("| `{kind}` |")), "no word on {kind}");
    }
}

#[test]
fn fields_may_be_added_anywhere() {
    fn add(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.values_mut().for_each(add);
                fields.insert("laterVersion".into(), json!({ "says": ["more"] }));
            }
            Value::Array(entries) => entries.iter_mut().for_each(add),
            _ => {}
        }
    }
    let validator = validator(None);
    for (name, text) in examples() {
        let mut more = value(&text);
        add(&mut more);
        assert!(decode(&more.to_string()).is_ok(), "{name}");
        assert!(validator.is_valid(&more), "{name}");
    }
}

#[test]
fn the_schema_rejects_these_as_decode_does() {
    let long = format!(r#"{{"method":"newLeader","data":{{"leaderId":"{}"}}}}"#, "x".repeat(MAX_NAME_BYTES + 1));
    let too_new = format!(r#"{{"method":"newLeader","data":{{"leaderId":"a","term":{}}}}}"#, MAX_SAFE_INTEGER + 1);
    let table = [
        "",
        "hello",
        "7",
        "null",
        r#""greeting""#,
        "[1]",
        "{}",
        r#"{"data":{}}"#,
        r#"{"method":7}"#,
        r#"{"method":"fly"}"#,
        r#"{"method":"Election","data":{"ranks":[{"rank":7,"clientId":"a"}]}}"#,
        r#"{"method":"greeting"}"#,
        r#"{"method":"greeting","data":null}"#,
        r#"{"method":"greeting","data":7}"#,
        r#"{"method":"greeting","data":{"rank":"7"}}"#,
        r#"{"method":"greeting","data":{"rank":1e999}}"#,
        r#"{"method":"greeting","data":{"name":""}}"#,
        r#"{"method":"greeting","data":{"forwards":1}}"#,
        r#"{"method":"greeting","data":{"forwards":null}}"#,
        r#"{"method":"greeting","data":"hello","senderId":7}"#,
        r#"{"method":"greeting","data":"hello","clientId":""}"#,
        r#"{"method":"welcome","clientId":"a","data":{"members":[{"name":"blue"}]}}"#,
        r#"{"method":"welcome","clientId":"a","data":{"relay":"mesh"}}"#,
        r#"{"method":"election"}"#,
        r#"{"method":"election","data":"ranks"}"#,
        r#"{"method":"election","data":{}}"#,
        r#"{"method":"election","data":{"ranks":{}}}"#,
        r#"{"method":"election","data":{"ranks":[7]}}"#,
        r#"{"method":"election","data":{"ranks":[{"rank":7}]}}"#,
        r#"{"method":"election","data":{"ranks":[{"clientId":"a"}]}}"#,
        r#"{"method":"election","data":{"ranks":[{"rank":"x","clientId":"a"}]}}"#,
        r#"{"method":"election","data":{"ranks":[{"rank":null,"clientId":"a"}]}}"#,
        r#"{"method":"election","data":{"ranks":[{"rank":7,"clientId":"a"}],"term":1.5}}"#,
        r#"{"method":"newLeader","data":{}}"#,
        r#"{"method":"newLeader","data":{"leaderId":null}}"#,
        r#"{"method":"newLeader","data":{"leaderId":7}}"#,
        r#"{"method":"newLeader","data":{"leaderId":""}}"#,
        r#"{"method":"newLeader","data":{"leaderId":"two\nlines"}}"#,
        r#"{"method":"newLeader","data":{"leaderId":"a\u0085b"}}"#,
        r#"{"method":"newLeader","data":{"leaderId":"a","term":"1"}}"#,
        &long,
        &too_new,
        r#"{"method":"checkLeader","data":{"leaderId":"a","term":-1}}"#,
        r#"{"method":"answerLeader","data":{"leaderId":"a"}}"#,
        r#"{"method":"leaderLeft","data":{"leaderId":"a"}}"#,
        r#"{"method":"leaderLeft","data":{"leaderId":"a","term":null}}"#,
        r#"{"method":"lease"}"#,
        r#"{"method":"lease","data":{}}"#,
        r#"{"method":"lease","data":{"term":null}}"#,
        r#"{"method":"lease","data":{"term":1,"leaseMs":-1}}"#,
        r#"{"method":"lease","data":{"term":1,"leaseMs":0.5}}"#,
        r#"{"method":"lease","data":{"term":1,"leaseMs":"4000"}}"#,
        r#"{"method":"welcome","clientId":"a","data":{"leaseMs":"4000"}}"#,
        r#"{"method":"newLeader","data":{"leaderId":"a","term":1,"actAfterMs":-1}}"#,
        r#"{"method":"message","data":{"term":1,"body":1}}"#,
        r#"{"method":"message","data":{"destinationId":"","term":1,"body":1}}"#,
        r#"{"method":"message","data":{"destinationId":"*","body":1}}"#,
        r#"{"method":"message","data":{"destinationId":"*","term":null,"body":1}}"#,
        r#"{"method":"message","data":{"destinationId":"*","term":1}}"#,
        r#"{"method":"relayed","data":{"seq":1,"at":1,"from":null,"to":"a"}}"#,
        r#"{"method":"ring","data":{"ring":"default","members":null,"term":0}}"#,
        r#"{"method":"error","data":{"code":7,"message":"no"}}"#,
        r#"{"method":"error","data":{"code":"bad-frame"}}"#,
    ];
    let validator = validator(None);
    for text in table {
        assert!(decode(text).is_err(), "decode takes {text}");
        // What is no JSON does not get as far as a schema.
        assert!(
            serde_json::from_str(text).map_or(true, |value| !validator.is_valid(&value)),
            "the schema takes {text}"
        );
    }
}

/// Each field of each example is taken away or replaced, one at a time. The schema
/// may be stricter than the code, which puts up with things that nobody should send.
/// How many of those the code refused.
fn never_laxer(
    validator: &Validator,
    examples: impl IntoIterator<Item = (String, Value)>,
    read: impl Fn(&Value) -> Result<(), String>,
) -> usize {
    fn places(value: &Value, at: String, all: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                fields.iter().for_each(|(name, field)| places(field, format!("{at}/{name}"), all));
            }
            Value::Array(entries) => {
                entries.iter().enumerate().for_each(|(index, entry)| places(entry, format!("{at}/{index}"), all));
            }
            _ => {}
        }
        all.push(at);
    }
    fn without(value: &Value, place: &str) -> Value {
        let mut value = value.clone();
        if let Some((parent, name)) = place.rsplit_once('/')
            && let Some(Value::Object(fields)) = value.pointer_mut(parent)
        {
            fields.remove(name);
        }
        value
    }
    fn with(value: &Value, place: &str, other: &Value) -> Value {
        let mut value = value.clone();
        *value.pointer_mut(place).expect("it is there") = other.clone();
        value
    }
    let others = [
        json!(null),
        json!(true),
        json!(7),
        json!(-1),
        json!(0.5),
        json!(MAX_SAFE_INTEGER + 1),
        json!(""),
        json!("text"),
        json!("two\nlines"),
        json!("x".repeat(MAX_NAME_BYTES + 1)),
        json!([]),
        json!([{}]),
        json!({}),
    ];
    let mut rejected = 0;
    let mut laxer = vec![];
    for (name, example) in examples {
        let mut all = vec![];
        places(&example, String::new(), &mut all);
        for place in all {
            let changed = others.iter().map(|other| with(&example, &place, other)).chain([without(&example, &place)]);
            for changed in changed {
                if let Err(error) = read(&changed) {
                    rejected += 1;
                    if validator.is_valid(&changed) {
                        laxer.push(format!("{name} at {place}: {error}: {changed}"));
                    }
                }
            }
        }
    }
    assert!(laxer.is_empty(), "the schema takes these, the code does not:\n{}", laxer.join("\n"));
    rejected
}

#[test]
fn the_schema_is_never_laxer_than_decode() {
    let examples = examples().into_iter().map(|(name, text)| (name, value(&text)));
    let read = |frame: &Value| decode(&frame.to_string()).map(|_| ()).map_err(|error| error.to_string());
    let rejected = never_laxer(&validator(None), examples, read);
    assert!(rejected > 1_000, "only {rejected} were tried");
    let said = said().into_iter().map(|(name, (_, body))| (name.to_owned(), body));
    let read = |body: &Value| Said::deserialize(body).map(|_| ()).map_err(|error| error.to_string());
    let rejected = never_laxer(&validator(Some("said")), said, read);
    assert!(rejected > 300, "only {rejected} were tried");
}

#[test]
fn error_codes_are_those_of_the_code() {
    for name in CODES {
        let parsed: ErrorCode = serde_json::from_value(json!(name)).unwrap();
        assert_eq!(code(&parsed), *name);
        assert_eq!(serde_json::to_value(parsed).unwrap(), json!(name));
    }
    let schema = schema();
    let listed = schema["$defs"]["errorCode"]["oneOf"].as_array().unwrap().iter();
    let listed: Vec<&str> = listed.map(|code| code["const"].as_str().unwrap()).collect();
    assert_eq!(listed, CODES);
    let newer = r#"{"method":"error","data":{"code":"a-newer-one","message":"no"}}"#;
    assert!(decode(newer).is_ok() && validator(None).is_valid(&value(newer)), "a newer hub may have more");
}

#[test]
fn limits_are_those_of_the_code() {
    let schema = schema();
    assert_eq!(schema["$defs"]["term"]["maximum"], MAX_SAFE_INTEGER);
    for limited in ["clientId", "name"] {
        assert_eq!(schema["$defs"][limited]["maxLength"], MAX_NAME_BYTES);
    }
    for file in ["schema.json", "asyncapi.yaml"] {
        let text = read(file);
        for limit in [MAX_FRAME_BYTES.to_string(), MAX_NAME_BYTES.to_string(), Term::HIGHEST_CLAIM.to_string()] {
            assert!(text.contains(&limit), "{file} does not say {limit}");
        }
    }
}

#[test]
fn the_asyncapi_document_holds_together() {
    let text = read("asyncapi.yaml");
    let document = YamlLoader::load_from_str(&text).unwrap().remove(0);
    let methods: BTreeSet<&str> = METHODS.iter().copied().collect();
    let messages = &document["components"]["messages"];
    assert_eq!(keys(messages), methods);
    for method in METHODS {
        assert_eq!(messages[*method]["name"].as_str(), Some(*method));
        let payload = format!("./schema.json#/$defs/{method}");
        assert_eq!(messages[*method]["payload"]["$ref"].as_str(), Some(&*payload));
    }
    let channels = &document["channels"];
    assert_eq!(keys(&channels["default"]["messages"]), methods);
    assert_eq!(channels["named"]["messages"], channels["default"]["messages"]);
    assert_eq!(channels["watchNamed"]["messages"], channels["watchDefault"]["messages"]);

    let (schema, mut refs) = (schema(), vec![]);
    find_refs(&document, &mut refs);
    for reference in refs {
        let found = match reference.split_once('#') {
            Some(("", path)) => path[1..].split('/').fold(&document, |at, name| &at[name]) != &Yaml::BadValue,
            Some(("./schema.json", path)) => schema.pointer(path).is_some(),
            _ => false,
        };
        assert!(found, "{reference} leads nowhere");
    }

    // An operation speaks of messages of its own channel, and every message there is spoken of.
    let mut spoken_of = BTreeSet::new();
    for operation in document["operations"].as_hash().unwrap().values() {
        for side in [operation, &operation["reply"]] {
            for message in side["messages"].as_vec().into_iter().flatten() {
                let (channel, message) = (side["channel"]["$ref"].as_str(), message["$ref"].as_str().unwrap());
                assert!(message.starts_with(channel.unwrap()), "{message} in {channel:?}");
                spoken_of.insert(message.to_owned());
            }
        }
    }
    let messages = keys(channels).into_iter().flat_map(|channel| {
        keys(&channels[channel]["messages"])
            .into_iter()
            .map(move |name| format!("#/channels/{channel}/messages/{name}"))
    });
    assert_eq!(messages.collect::<BTreeSet<_>>(), spoken_of);

    let description = document["info"]["description"].as_str().unwrap();
    for code in CODES {
        assert!(description.contains(&format!("| `{code}` |")), "no word on the error {code}");
    }
}

fn keys(yaml: &Yaml) -> BTreeSet<&str> {
    yaml.as_hash().expect("a mapping").keys().map(|key| key.as_str().expect("a text")).collect()
}

fn find_refs<'a>(yaml: &'a Yaml, refs: &mut Vec<&'a str>) {
    match yaml {
        Yaml::Hash(fields) => {
            for (name, value) in fields {
                match (name.as_str(), value.as_str()) {
                    (Some("$ref"), Some(reference)) => refs.push(reference),
                    _ => find_refs(value, refs),
                }
            }
        }
        Yaml::Array(entries) => entries.iter().for_each(|entry| find_refs(entry, refs)),
        _ => {}
    }
}
