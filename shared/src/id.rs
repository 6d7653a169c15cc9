//! Who and which: newtypes for what is compared, so that a rank is never taken
//! for a term.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// The longest client id or name, in bytes.
pub const MAX_NAME_BYTES: usize = 64;

/// The largest whole number that every JSON reader keeps exactly (2^53 - 1, RFC 8259 section 6).
pub const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// A connection's identity, given out by the hub and never used again.
///
/// Our hub draws UUIDs (version 4, lower case); other hubs have other habits, so
/// it is an opaque text of 1 to 64 bytes without control characters. Ids compare
/// as text, which for UUIDs is the order of the 128-bit numbers.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ClientId(Name);

/// A text that people read and programs print: a member's name, a ring's member id.
/// 1 to 64 bytes, no control characters, so that it cannot break a log line.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// Why a text is no [`Name`] or [`ClientId`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected 1 to {MAX_NAME_BYTES} bytes without control characters, got {got} bytes{}", if *.control { " with a control character" } else { "" })]
pub struct BadName {
    got: usize,
    control: bool,
}

impl Name {
    /// Checks the length and the characters.
    pub fn new(text: impl AsRef<str>) -> Result<Self, BadName> {
        let text = text.as_ref();
        let control = text.chars().any(char::is_control);
        if text.is_empty() || text.len() > MAX_NAME_BYTES || control {
            return Err(BadName { got: text.len(), control });
        }
        Ok(Name(text.into()))
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ClientId {
    /// Checks the length and the characters.
    pub fn new(text: impl AsRef<str>) -> Result<Self, BadName> {
        Name::new(text).map(ClientId)
    }

    /// The whole id.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The first eight characters, for logs and traces that people read.
    pub fn short(&self) -> &str {
        let text = self.as_str();
        text.char_indices().nth(8).map_or(text, |(end, _)| &text[..end])
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

impl FromStr for Name {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        Name::new(text)
    }
}

impl FromStr for ClientId {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        ClientId::new(text)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Name::new(borrowed_text(deserializer)?).map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for ClientId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Name::deserialize(deserializer).map(ClientId)
    }
}

/// A ring's name: 1 to 64 letters, digits, dots, dashes and underscores, so that
/// it can stand in a URL and a log line as it is. Every hub has the ring `default`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RingName(Arc<str>);

/// Why a text is no [`RingName`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a ring's name is 1 to {MAX_NAME_BYTES} letters, digits, '.', '-' and '_'")]
pub struct BadRingName;

impl RingName {
    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for RingName {
    fn default() -> Self {
        RingName("default".into())
    }
}

impl fmt::Display for RingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for RingName {
    type Err = BadRingName;
    fn from_str(text: &str) -> Result<Self, BadRingName> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let is_name = (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(fits);
        if is_name { Ok(RingName(text.into())) } else { Err(BadRingName) }
    }
}

/// A text without a copy where the JSON has no escapes in it.
fn borrowed_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cow<'de, str>, D::Error> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    Text::deserialize(deserializer).map(|text| text.0)
}

/// What candidates compare; the higher leads, and the id breaks ties.
///
/// Any finite JSON number: nodes in other languages draw theirs as they like
/// (`Math.random()` among them), and every JSON reader has at least doubles.
#[derive(Clone, Copy)]
pub struct Rank(f64);

/// Why a number is no [`Rank`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected a finite number, such as 7 or 0.25, got {0:?}")]
pub struct BadRank(String);

impl Rank {
    /// A rank from a finite number.
    pub fn new(value: f64) -> Result<Self, BadRank> {
        // Adding zero turns -0.0 into 0.0, so that equal ranks are equal in every way.
        if value.is_finite() { Ok(Rank(value + 0.0)) } else { Err(BadRank(value.to_string())) }
    }
}

impl From<u32> for Rank {
    fn from(value: u32) -> Self {
        Rank(f64::from(value))
    }
}

impl FromStr for Rank {
    type Err = BadRank;
    fn from_str(text: &str) -> Result<Self, BadRank> {
        text.trim().parse().ok().and_then(|value| Rank::new(value).ok()).ok_or_else(|| BadRank(text.into()))
    }
}

impl PartialEq for Rank {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Rank {}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Hash for Rank {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Serialize for Rank {
    /// Whole numbers without a fraction, as every other JSON writer has them.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let whole = self.0 as i64;
        if whole as f64 == self.0 && whole.unsigned_abs() <= MAX_SAFE_INTEGER {
            serializer.serialize_i64(whole)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Rank {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Rank::new(f64::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// One election, and the fencing token of the leader it gave: a number that only
/// rises, stamped by the hub. 0 is "no election yet".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(transparent)]
pub struct Term(u64);

impl Term {
    /// Before the first election.
    pub const NONE: Term = Term(0);

    /// The highest term that the hub believes a member who claims to know it: half
    /// of all, so that a lie leaves the other half for elections.
    pub const HIGHEST_CLAIM: Term = Term(MAX_SAFE_INTEGER / 2);

    /// A term, if it is within what JSON readers keep exactly.
    pub fn new(value: u64) -> Option<Term> {
        (value <= MAX_SAFE_INTEGER).then_some(Term(value))
    }

    /// The term of the next election; `None` when the numbers have run out.
    pub fn next(self) -> Option<Term> {
        Term::new(self.0 + 1)
    }

    /// The term that many elections later, or the last one there is.
    pub fn later(self, elections: u64) -> Term {
        Term(self.0.saturating_add(elections).min(MAX_SAFE_INTEGER))
    }

    /// The number itself.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for Term {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = u64::deserialize(deserializer)?;
        Term::new(value).ok_or_else(|| de::Error::custom(format!("a term is at most {MAX_SAFE_INTEGER}, got {value}")))
    }
}

/// Somebody who can be elected: one entry of the eligible array. Candidates
/// compare by rank, and by id where ranks are equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// What is compared first.
    pub rank: Rank,
    /// Who it is.
    pub client_id: ClientId,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(rank: u32, id: &str) -> Candidate {
        Candidate { rank: rank.into(), client_id: ClientId::new(id).unwrap() }
    }

    #[test]
    fn candidates_compare_by_rank_and_ties_by_id() {
        assert!(candidate(9, "a") > candidate(3, "z"));
        assert!(candidate(7, "b") > candidate(7, "a"));
        assert!(candidate(10, "a") > candidate(9, "a"), "as numbers, not as text");
    }

    #[test]
    fn ranks_travel_as_the_numbers_they_are() {
        for (text, back) in
            [("7", "7"), ("0.25", "0.25"), ("-3", "-3"), ("7.0", "7"), ("-0.0", "0"), ("1e300", "1e+300")]
        {
            let rank: Rank = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&rank).unwrap(), back);
        }
        for bad in ["", "seven", "inf", "NaN", "1e999"] {
            assert!(bad.parse::<Rank>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_are_bounded_and_cannot_break_a_line() {
        assert!(ClientId::new("x".repeat(64)).is_ok());
        for bad in ["", "two\nlines", "\u{1b}[31m", &"x".repeat(65)] {
            assert!(ClientId::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(ClientId::new("0c9b7c1e-aaaa").unwrap().short(), "0c9b7c1e");
        assert_eq!(ClientId::new("äöü").unwrap().short(), "äöü");
    }

    #[test]
    fn the_names_of_rings_can_stand_in_a_url() {
        for good in ["default", "a", "Lab-7.blue_green", &"x".repeat(64)] {
            assert_eq!(good.parse::<RingName>().unwrap().as_str(), good);
        }
        for bad in ["", "two words", "a/b", "a?b", "ä", "a\n", &"x".repeat(65)] {
            assert!(bad.parse::<RingName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn terms_end_where_json_numbers_stop_being_exact() {
        assert_eq!(Term::new(MAX_SAFE_INTEGER).and_then(Term::next), None);
        assert!(serde_json::from_str::<Term>("9007199254740992").is_err());
        assert!(serde_json::from_str::<Term>("-1").is_err());
    }
}
