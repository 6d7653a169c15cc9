//! What coordinator, workers, board and mill say to each other.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, de};

use super::{Factorial, JobId, Part, PartId};
use crate::id::{ClientId, Name, Term};

/// A number as it travels: hexadecimal digits, lower case, the highest first, without
/// zeros before it. Nobody in this room looks into it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Number(Arc<str>);

impl Number {
    /// Checks the digits.
    pub fn new(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let fits = !text.is_empty() && text.bytes().all(is_digit) && (text == "0" || !text.starts_with('0'));
        fits.then(|| Number(text.into()))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is too long to travel in a message: it then lies at the board, and its
    /// place travels.
    pub fn is_large(&self) -> bool {
        self.0.len() > LARGE
    }
}

/// How many hexadecimal digits a number in a message has at most: four of them, and
/// what stands around them, fit into the smallest usual frame.
pub const LARGE: usize = 8 * 1024;

/// How many bytes of numbers a message holds at most, besides its first part: it fits
/// into a frame of 64 KiB.
pub const MESSAGE_BYTES: usize = 24 * 1024;

/// About how many bytes a part takes in a message besides its numbers.
pub const PART_BYTES: usize = 96;

impl From<u32> for Number {
    fn from(value: u32) -> Self {
        Number(format!("{value:x}").into())
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.len() > 16 { write!(f, "{} digits", self.0.len()) } else { f.write_str(&self.0) }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Number::new(&text).ok_or_else(|| de::Error::custom("expected hexadecimal digits, lower case, no zeros before"))
    }
}

/// A number, or where it lies.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// Here it is.
    Here(Number),
    /// At the board: the product of this part of the same job.
    Stored(Part),
}

impl Value {
    /// About how many bytes it takes in a message.
    pub fn bytes(&self) -> usize {
        const PLACE: usize = 32;
        match self {
            Value::Here(number) => number.as_str().len(),
            Value::Stored(_) => PLACE,
        }
    }
}

/// A part for a worker.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Assignment {
    /// Which.
    #[serde(flatten)]
    pub id: PartId,
    /// What to multiply.
    pub operands: Vec<Value>,
}

/// A part that a worker has done.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Product {
    /// Which.
    #[serde(flatten)]
    pub id: PartId,
    /// What came of it; where it lies at the board, it is this part's own place.
    pub product: Value,
}

impl Product {
    /// Whether the job has such a part, and its product may look like that: whoever takes
    /// more has no bound for what it keeps and sends on.
    pub fn fits(&self, factorial: Factorial) -> bool {
        let part = self.id.part;
        let may_be = match &self.product {
            Value::Here(number) => !number.is_large() && number.as_str().len() <= factorial.most_digits(part),
            Value::Stored(place) => *place == part,
        };
        factorial.contains(part) && may_be
    }
}

/// How far a job is, as its coordinator says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Which.
    pub job_id: JobId,
    /// Under the coordinator of which term.
    pub term: Term,
    /// How many of its parts are done.
    pub done: u32,
}

/// The body of a `message` frame between members, or from the hub to the coordinator.
/// The frame carries the term.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Said {
    /// Coordinator to all, or to one who has just come: there is work, who takes part?
    Coordinating,
    /// Worker to coordinator: it takes parts, and has none in hand. What it has done
    /// already it tells next.
    Ready {
        /// What people call it.
        name: Name,
        /// How many parts it takes at one time, the one in work among them.
        slots: u16,
        /// How long it lets each part take at least, in milliseconds.
        #[serde(default)]
        delay_ms: u64,
        /// How far jobs were, as far as it has heard.
        heard: Vec<Progress>,
    },
    /// Coordinator to worker.
    Assign {
        /// What to do, one after the other.
        parts: Vec<Assignment>,
        /// What it need not remember any more.
        forget: Vec<PartId>,
        /// How far the jobs of these parts are.
        progress: Vec<Progress>,
    },
    /// Worker to coordinator: done, for this one or for an earlier one.
    Products {
        /// What came of it.
        parts: Vec<Product>,
    },
    /// Worker to coordinator: it cannot do these.
    Failed {
        /// Which.
        parts: Vec<PartId>,
    },
    /// Hub to coordinator: there are other open jobs than before.
    Jobs,
    /// Hub to coordinator: there is a new member.
    Joined {
        /// Who.
        client_id: ClientId,
    },
    /// Hub to coordinator: a member is gone.
    Left {
        /// Who.
        client_id: ClientId,
    },
}

/// What the board is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Request {
    /// Somebody has a job.
    Submit {
        /// The id it gets, newly drawn, if it is new.
        id: JobId,
        /// What to compute.
        factorial: Factorial,
        /// The submitter's own name for it: a second one by that name is the same job.
        key: Option<Arc<str>>,
    },
    /// Somebody wants it no more.
    Cancel(JobId),
    /// A coordinator begins, or looks for more to do.
    Claim {
        /// Who.
        by: ClientId,
        /// Elected in which term.
        term: Term,
    },
    /// A coordinator wants to know what is written down of a job.
    Load {
        /// Which.
        job: JobId,
        /// Elected in which term.
        term: Term,
    },
    /// A coordinator writes down how far it is.
    Checkpoint(Box<Checkpoint>),
    /// A worker leaves a large product.
    Keep {
        /// Of which job.
        job: JobId,
        /// Under the coordinator of which term.
        term: Term,
        /// Of which part.
        part: Part,
        /// The product.
        number: Number,
    },
}

/// How far a job is: everything since the checkpoint before.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// Which job.
    pub job_id: JobId,
    /// The coordinator's.
    pub term: Term,
    /// One more than that of the checkpoint before, whoever wrote that.
    pub sequence: u64,
    /// What was done since, and is needed still.
    pub parts: Vec<Product>,
    /// How far it is.
    pub tally: Tally,
    /// Whether the job has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
}

/// What is counted of a job.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// The term of the coordinator that counted.
    pub term: Term,
    /// Parts that are done.
    pub done: u32,
    /// Parts that had been done and were lost with a coordinator: they are done once more.
    pub again: u32,
    /// How often a part was handed to another worker.
    pub reassigned: u32,
    /// Who did how many; at most [`CREDITS`] workers, the first ones.
    pub workers: Vec<Credit>,
}

/// How many workers of a job are named. One that is started again is another, so where
/// all fail all the time a long job has thousands.
pub const CREDITS: usize = 1000;

/// What a worker has done for a job.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Credit {
    /// Who.
    pub client_id: ClientId,
    /// What people call it.
    pub name: Name,
    /// How many parts.
    pub parts: u32,
}

/// How a job ends, where its coordinator says so.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum End {
    /// The factorial, as decimal text.
    Done(Arc<str>),
    /// It cannot be done, and why.
    Failed(Arc<str>),
}

/// An open job, as a coordinator is told of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenJob {
    /// Which.
    pub job_id: JobId,
    /// What to compute.
    pub factorial: Factorial,
    /// The number of its last checkpoint; 0 before the first.
    pub sequence: u64,
    /// Whether a coordinator had begun it before this answer.
    pub begun: bool,
    /// How far it was.
    pub tally: Tally,
}

/// What the board answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Answer {
    /// To a submission.
    Accepted {
        /// The job's id.
        id: JobId,
        /// Whether the job is new.
        is_new: bool,
    },
    /// To a cancellation.
    Cancelled(JobId),
    /// To a claim: the oldest open jobs.
    Open {
        /// The claim's term.
        term: Term,
        /// In the order in which they came.
        jobs: Vec<OpenJob>,
    },
    /// What is written down of a job.
    Loaded {
        /// Which.
        job: JobId,
        /// Parts that are done and needed still.
        parts: Vec<(Part, Value)>,
    },
    /// A checkpoint is written.
    Saved {
        /// Of which job.
        job: JobId,
        /// Which one.
        sequence: u64,
    },
    /// A product is kept.
    Kept,
    /// No, and why.
    Refused {
        /// About which job.
        job: Option<JobId>,
        /// Why.
        why: Refusal,
    },
}

/// Why the board says no.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// Somebody else leads.
    #[error("term {got} is not the leader's; the newest is {newest}")]
    StaleTerm {
        /// Which was said.
        got: Term,
        /// The newest there was.
        newest: Term,
    },
    /// Another checkpoint is written already.
    #[error("expected checkpoint {expected}, got {got}")]
    OutOfOrder {
        /// Which was sent.
        got: u64,
        /// Which would follow.
        expected: u64,
    },
    /// There is none, or not any more.
    #[error("there is no such job")]
    NoSuchJob,
    /// The job has ended.
    #[error("the job is {0}")]
    Ended(&'static str),
    /// The job has no such part, or not with such a product.
    #[error("the job has no such part, or not with such a product")]
    NoSuchPart,
    /// The number is too large for this hub.
    #[error("factorial: expected a whole number from 0 to {most}, got {got} (the hub's limit is --max-factorial)")]
    TooLarge {
        /// The number.
        got: u32,
        /// The largest.
        most: u32,
    },
    /// As many jobs are open as the hub takes.
    #[error("{0} jobs are open, and this hub takes no more until some are done (its limit is --max-jobs)")]
    Full(usize),
    /// The key names another job.
    #[error("Idempotency-Key: it was used for {0}!")]
    KeyUsed(u32),
}

/// What the mill is given to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Task {
    /// Multiply.
    Multiply {
        /// Under the coordinator of which term: a large product is kept in it.
        term: Term,
        /// What.
        part: Assignment,
    },
    /// Write a factorial as decimal text.
    Print {
        /// Of which job.
        job: JobId,
        /// The factorial.
        product: Value,
    },
}

/// What came out of the mill.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Milled {
    /// A product.
    Product(Product),
    /// It could not be done: an operand is missing, or the board does not answer.
    Failed(PartId),
    /// A factorial as decimal text.
    Printed {
        /// Of which job.
        job: JobId,
        /// The text.
        text: Arc<str>,
    },
    /// It could not be written.
    NotPrinted(JobId),
}

/// Who coordinators and workers speak to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    /// A member.
    Member(ClientId),
    /// All other members.
    Everybody,
    /// The hub itself, in a `message` without a sender.
    Hub,
    /// The hub's board.
    Board,
    /// What multiplies, in the same program.
    Mill,
}

/// What they say to them, and hear.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Message {
    /// To and from members.
    Said(Said),
    /// To the board.
    Ask(Request),
    /// From the board.
    Answer(Answer),
    /// To the mill.
    Task(Task),
    /// From the mill.
    Milled(Milled),
}
