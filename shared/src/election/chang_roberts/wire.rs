//! What goes over a connection of the ring: one JSON object a message, as Python's
//! `json.dumps` writes it, ours with a newline at its end.
//!
//! `{"uuid": "…", "flag": 0}`, with repair also `"term": 1` and at the end of an
//! election `"done": true`. Others end theirs with a newline or with nothing, and TCP
//! cuts and joins as it likes: so [`Inbox`] looks for whole objects in what has come.

use serde::Deserialize;
use serde::de::IgnoredAny;
use thiserror::Error;
use uuid::Uuid;

use super::{Flag, Message};
use crate::id::Term;

/// The longest message, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 4096;

/// Why what came is no message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadMessage {
    /// It has not ended where it has to.
    #[error("longer than {MAX_MESSAGE_BYTES} bytes")]
    TooLong,
    /// It is something else.
    #[error("expected {{\"uuid\": \"…\", \"flag\": 0 or 1}}: {problem}; got {text}")]
    Other {
        /// What is wrong.
        problem: String,
        /// Its beginning, in Rust's notation, so that it cannot break a log line.
        text: String,
    },
}

#[derive(Deserialize)]
struct Fields {
    uuid: String,
    flag: u8,
    term: Option<Term>,
    #[serde(default)]
    done: bool,
}

/// A line, with its end.
pub fn encode(message: &Message) -> String {
    let flag = number(message.flag);
    let term = message.term.map(|term| format!(r#", "term": {term}"#)).unwrap_or_default();
    let done = if message.done { r#", "done": true"# } else { "" };
    format!("{{\"uuid\": \"{}\", \"flag\": {flag}{term}{done}}}\n", message.uuid)
}

/// A flag as it is written.
pub fn number(flag: Flag) -> u8 {
    match flag {
        Flag::Candidate => 0,
        Flag::Elected => 1,
    }
}

/// One whole object.
///
/// # Errors
///
/// What is wrong with it.
pub fn decode(text: &[u8]) -> Result<Message, BadMessage> {
    if text.len() > MAX_MESSAGE_BYTES {
        return Err(BadMessage::TooLong);
    }
    let fields: Fields = serde_json::from_slice(text).map_err(|error| bad(text, error.to_string()))?;
    let uuid = Uuid::try_parse(&fields.uuid).map_err(|_| bad(text, "no UUID".into()))?;
    let flag = match fields.flag {
        0 => Flag::Candidate,
        1 => Flag::Elected,
        flag => return Err(bad(text, format!("flag {flag}"))),
    };
    Ok(Message { uuid, flag, term: fields.term, done: fields.done })
}

/// What has come over one connection and was not read yet.
#[derive(Debug, Clone, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    /// Looking for the beginning of a message, after something that was none.
    lost: bool,
}

impl Inbox {
    /// Takes in what came. [`Inbox::next`] is to be called until it gives nothing more
    /// before the next push, else this grows.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next message. What is none costs itself only: the search goes on behind the
    /// object, or where that has no end, behind the line or at the next `{`. Of what is
    /// passed over in one go only the first is reported.
    #[allow(clippy::should_implement_trait, reason = "an iterator would be done after None")]
    pub fn next(&mut self) -> Option<Result<Message, BadMessage>> {
        loop {
            let space = self.bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            // A line's end ends what was no message.
            self.lost &= !self.bytes[..space].contains(&b'\n');
            self.bytes.drain(..space);
            if self.bytes.is_empty() {
                return None;
            }
            let found = match self.extent() {
                Ok(end) => {
                    let message = decode(&self.bytes[..end]);
                    self.bytes.drain(..end);
                    // It has an end, so what comes behind it is not part of it.
                    self.lost = false;
                    return Some(message);
                }
                Err(None) if self.bytes.len() <= MAX_MESSAGE_BYTES => return None,
                Err(None) => BadMessage::TooLong,
                Err(Some(problem)) => bad(&self.bytes, problem),
            };
            self.resynchronise();
            if !std::mem::replace(&mut self.lost, true) {
                return Some(Err(found));
            }
        }
    }

    /// Where the object at the beginning ends; or what is wrong with it; or nothing, if
    /// it goes on in what has not come yet.
    fn extent(&self) -> Result<usize, Option<String>> {
        if self.bytes[0] != b'{' {
            return Err(Some("no object".into()));
        }
        let mut objects = serde_json::Deserializer::from_slice(&self.bytes).into_iter::<IgnoredAny>();
        match objects.next() {
            Some(Ok(_)) => Ok(objects.byte_offset()),
            Some(Err(error)) if !error.is_eof() => Err(Some(error.to_string())),
            _ => Err(None),
        }
    }

    fn resynchronise(&mut self) {
        let next = self.bytes.iter().skip(1).position(|byte| matches!(byte, b'\n' | b'{'));
        self.bytes.drain(..next.map_or(self.bytes.len(), |position| position + 1));
    }
}

fn bad(text: &[u8], problem: String) -> BadMessage {
    const SHOWN: usize = 120;
    let text = String::from_utf8_lossy(&text[..text.len().min(SHOWN)]).escape_debug().to_string();
    BadMessage::Other { problem, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(n: u128, flag: Flag) -> Message {
        Message { uuid: Uuid::from_u128(n), flag, term: None, done: false }
    }

    fn read(inbox: &mut Inbox) -> Vec<Result<Message, BadMessage>> {
        std::iter::from_fn(|| inbox.next()).collect()
    }

    /// In pieces of that size.
    fn read_pieces(text: &str, size: usize) -> Vec<Result<Message, BadMessage>> {
        let mut inbox = Inbox::default();
        text.as_bytes()
            .chunks(size)
            .flat_map(|piece| {
                inbox.push(piece);
                read(&mut inbox)
            })
            .collect()
    }

    #[test]
    fn the_wire_is_that_of_json_dumps() {
        let mut sent = message(1, Flag::Candidate);
        assert_eq!(encode(&sent), "{\"uuid\": \"00000000-0000-0000-0000-000000000001\", \"flag\": 0}\n");
        sent = Message { term: Term::new(7), done: true, ..message(255, Flag::Elected) };
        let expected = r#"{"uuid": "00000000-0000-0000-0000-0000000000ff", "flag": 1, "term": 7, "done": true}"#;
        assert_eq!(encode(&sent), format!("{expected}\n"));
        assert_eq!(decode(encode(&sent).as_bytes()), Ok(sent));
    }

    #[test]
    fn objects_are_found_however_they_come() {
        let (one, two) = (message(1, Flag::Candidate), message(2, Flag::Elected));
        let (a, b) = (encode(&one), encode(&two));
        let other = r#"{ "flag":1,"uuid":"00000000000000000000000000000002", "who": {"name": "}{\n"}, "list": [1] }"#;
        let spread = other.replace(',', ",\n ");
        for text in [
            format!("{a}{b}"),
            format!("{}{}", a.trim_end(), b.trim_end()),
            format!("\r\n {}\r\n\r\n{b}", a.trim_end()),
            format!("{a}{other}"),
            format!("{a}{spread}{}", ""),
        ] {
            for size in [1, 2, 7, 40, 4096] {
                assert_eq!(read_pieces(&text, size), [Ok(one.clone()), Ok(two.clone())], "{size}: {text}");
            }
        }
    }

    #[test]
    fn uuids_come_in_other_notations_too() {
        for uuid in ["0000000000000000000000000000ABCD", "{00000000-0000-0000-0000-00000000abcd}"] {
            let text = format!(r#"{{"uuid": "{uuid}", "flag": 0}}"#);
            assert_eq!(decode(text.as_bytes()), Ok(message(0xabcd, Flag::Candidate)));
        }
    }

    #[test]
    fn what_is_no_message_costs_itself_only() {
        let good = message(1, Flag::Candidate);
        let line = encode(&good);
        let object = line.trim_end();
        for text in [
            "hello",
            "hello\n",
            "{}",
            "[1, 2]\n",
            r#"{"uuid": 7, "flag": 0}"#,
            r#"{"uuid": "7", "flag": 0}"#,
            r#"{"uuid": "00000000-0000-0000-0000-000000000001", "flag": 2}"#,
            r#"{"uuid": "00000000-0000-0000-0000-000000000001", "flag": -1}"#,
            r#"{"uuid": "00000000-0000-0000-0000-000000000001", "flag": 0, "term": -1}"#,
            r#"{"uuid": "00000000-0000-0000-0000-000000000001", "flag": 0, "term": 9007199254740992}"#,
            r#"{"uuid": "00000000-0000-0000-0000-000000000001", "fl"#,
            r#"{"uuid": "#,
            "\u{0}\u{1}\u{ff}",
            "}}}}",
            "{{{{",
        ] {
            for size in [1, 5, 4096] {
                let got = read_pieces(&format!("{text}{line}{object}"), size);
                let bad = got.iter().filter(|found| found.is_err()).count();
                assert_eq!(bad, 1, "{size}: {text}: {got:?}");
                // Where a message begins within one that has no end, only the next is found.
                assert_eq!(got.last(), Some(&Ok(good.clone())), "{size}: {text}: {got:?}");
            }
        }
    }

    #[test]
    fn what_has_no_end_is_not_kept() {
        let line = encode(&message(1, Flag::Candidate));
        for begin in ["{\"uuid\": \"", "{\"a\":[", "{", "["] {
            let mut inbox = Inbox::default();
            let mut bad = 0;
            inbox.push(begin.as_bytes());
            for _ in 0..100 {
                inbox.push(&[b' '; 1024]);
                bad += read(&mut inbox).into_iter().filter(Result::is_err).count();
                assert!(inbox.bytes.len() <= MAX_MESSAGE_BYTES, "{begin}");
            }
            inbox.push(b"\n");
            inbox.push(line.as_bytes());
            assert_eq!(read(&mut inbox), [Ok(message(1, Flag::Candidate))], "{begin}");
            assert_eq!(bad, 1, "{begin}");
        }
        let long = format!("{{\"a\": \"{}\"}}{line}", "x".repeat(5000));
        assert_eq!(read_pieces(&long, 8192), [Err(BadMessage::TooLong), Ok(message(1, Flag::Candidate))]);
    }

    #[test]
    fn what_others_wrote_cannot_break_a_log_line() {
        let got = read_pieces("{\"\x1b[31m\r\": 1}", 4096);
        assert!(matches!(&got[..], [Err(error)] if !error.to_string().contains(char::is_control)), "{got:?}");
    }
}
