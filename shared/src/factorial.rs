//! Work for the leader: a factorial, shared out.
//!
//! The elected leader is the **coordinator**: it cuts a job into parts of at most four
//! operands, hands them to the other members, the **workers**, and puts the products
//! together in levels. It never multiplies. What is done it writes down at the hub's
//! **board**, which keeps jobs, checkpoints and results, so that the next coordinator
//! goes on where this one was lost. Files of this room:
//!
//! - this one: a job and its parts, which follow from the number alone;
//! - [`message`]: what coordinator, workers, board and mill say to each other;
//! - [`coordinator`], [`worker`]: a member's two sides;
//! - [`board`]: the hub's side;
//! - [`rule`]: what they keep, by name.
//!
//! The machines never look into a number. Multiplying is the **mill**'s, which is
//! whatever the driver has for it.
//!
//! Holds: one result a job is committed; a part counts once, however often it is done;
//! what a deposed coordinator says changes nothing at the board.
//! Costs: about n/3 parts for n!, each once to a worker and once back.
//! Fails: workers are believed. One that multiplies wrongly gives a wrong result.

pub mod board;
pub mod coordinator;
pub mod message;
pub mod rule;
#[cfg(test)]
mod tests;
pub mod worker;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

/// A job's identity, given out by the hub. Ids compare in the order in which the jobs
/// came (UUID version 7, RFC 9562 section 5.7).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(Uuid);

impl JobId {
    /// A job by this UUID.
    pub fn new(uuid: Uuid) -> Self {
        JobId(uuid)
    }

    /// Its 16 bytes, in the order in which ids compare.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The last eight characters: the first ones are the time, and look alike.
impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_string()[28..])
    }
}

impl FromStr for JobId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(JobId)
    }
}

impl Serialize for JobId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for JobId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(|error| de::Error::custom(format!("expected a job's id, a UUID: {error}")))
    }
}

/// How many operands a part has at most.
pub const OPERANDS: u32 = 4;

/// The number whose factorial a job is.
///
/// Level 0 multiplies the numbers n, n-1, …, 1 in fours, level 1 the products of level
/// 0 in fours, and so on until one is left. A last group of one has nothing to
/// multiply: it is no part, and goes up as it is. So 10! is 10·9·8·7, 6·5·4·3, 2·1, and
/// the product of these three; 0! and 1! have no parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Factorial(pub u32);

/// One multiplication of a job.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Part {
    /// How many multiplications lie below it at most.
    pub level: u8,
    /// The how manieth of its level, from 0.
    pub index: u32,
}

/// What a part multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operand {
    /// A number.
    Number(u32),
    /// Another part's product.
    Product(Part),
}

impl Factorial {
    /// How many values a level multiplies: the numbers on level 0, products above.
    fn values(self, level: u8) -> u32 {
        (0..level).fold(self.0, |values, _| values.div_ceil(OPERANDS))
    }

    /// How many levels there are.
    fn levels(self) -> u8 {
        (0..).find(|level| self.values(*level) <= 1).unwrap_or(0)
    }

    /// The values that a place of a level stands for, by their places on that level.
    fn group(self, Part { level, index }: Part) -> std::ops::Range<u32> {
        let first = index.saturating_mul(OPERANDS);
        let end = if level < self.levels() { self.values(level) } else { 0 };
        first.min(end)..first.saturating_add(OPERANDS).min(end)
    }

    /// The value at a place of a level: where it is a group of one, what that one is.
    fn value(self, level: u8, place: u32) -> Operand {
        match level.checked_sub(1) {
            None => Operand::Number(self.0 - place),
            Some(below) => {
                let part = Part { level: below, index: place };
                if self.contains(part) { Operand::Product(part) } else { self.value(below, place * OPERANDS) }
            }
        }
    }

    /// What a part multiplies, two to four; nothing, if the job has no such part.
    pub fn operands(self, part: Part) -> impl Iterator<Item = Operand> {
        let group = if self.contains(part) { self.group(part) } else { 0..0 };
        group.map(move |place| self.value(part.level, place))
    }

    /// The part that multiplies this one's product; `None` for the last part of all.
    pub fn parent(self, part: Part) -> Option<Part> {
        let mut above = Part { level: part.level + 1, index: part.index / OPERANDS };
        while above.level < self.levels() {
            if self.contains(above) {
                return Some(above);
            }
            above = Part { level: above.level + 1, index: above.index / OPERANDS };
        }
        None
    }

    /// The part whose product is the factorial; `None` for 0! and 1!, which are 1.
    pub fn last(self) -> Option<Part> {
        Some(Part { level: self.levels().checked_sub(1)?, index: 0 })
    }

    /// All parts of a level.
    fn level(self, level: u8) -> impl Iterator<Item = Part> {
        (0..self.values(level + 1)).map(move |index| Part { level, index }).filter(move |part| self.contains(*part))
    }

    /// All parts, those without parts below them first.
    pub fn parts(self) -> impl Iterator<Item = Part> {
        (0..self.levels()).flat_map(move |level| self.level(level))
    }

    /// How many parts there are.
    pub fn count(self) -> u32 {
        (0..self.levels()).map(|level| self.values(level + 1) - u32::from(self.values(level) % OPERANDS == 1)).sum()
    }

    /// How many hexadecimal digits a part's product has at most: no more than the numbers
    /// below it have together.
    pub fn most_digits(self, part: Part) -> usize {
        let numbers = OPERANDS.saturating_pow(u32::from(part.level) + 1).min(self.0);
        let each = (u32::BITS - self.0.leading_zeros()).div_ceil(4);
        (numbers as usize).saturating_mul(each as usize)
    }

    /// Whether the job has this part.
    pub fn contains(self, part: Part) -> bool {
        self.group(part).len() >= 2
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As in `2.17`: level 2, index 17.
impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.level, self.index)
    }
}

/// A part of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PartId {
    /// Which job.
    pub job_id: JobId,
    /// Which part of it.
    #[serde(flatten)]
    pub part: Part,
}
