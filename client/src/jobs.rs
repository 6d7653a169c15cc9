//! Jobs of a ring, as whoever has some sees them: submit, look, cancel.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use ringleader_client::jobs::Jobs;
//!
//! let jobs = Jobs::of("ws://localhost:8080".parse()?);
//! let job = jobs.submit(10, "mine-1").await?;
//! println!("{} is {}", job.job_id, jobs.show(job.job_id).await?.state);
//! # Ok(()) }
//! ```

use std::fmt;
use std::sync::Arc;

use hyper::Method;
use ringleader_shared::factorial::JobId;
use ringleader_shared::id::{ClientId, Name, Term};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::transport::http::{Answer, Call, HttpError};
use crate::transport::hub::HubUrl;

/// The most bytes of an answer: a result, or a list of as many jobs as a hub keeps.
const MOST: usize = 32 << 20;

/// The jobs of a ring.
#[derive(Debug, Clone)]
pub struct Jobs {
    hub: HubUrl,
}

/// A job, as the hub tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Which.
    pub job_id: JobId,
    /// The n of n!.
    pub factorial: u32,
    /// Where it stands.
    pub state: State,
    /// How far it is.
    pub parts: Parts,
    /// The term of the coordinator that was last at it.
    #[serde(default)]
    pub term: Option<Term>,
    /// n!, as decimal text, once it is done. Lists leave it out.
    #[serde(default)]
    pub result: Option<Arc<str>>,
    /// How often a part was handed to another worker.
    #[serde(default)]
    pub reassigned: u32,
    /// Who did how many parts. Lists leave it out.
    #[serde(default)]
    pub workers: Vec<Share>,
    /// What it waits for, where it waits.
    #[serde(default)]
    pub waits_for: Option<String>,
    /// Why it failed.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// Nobody is at it.
    Waiting,
    /// A coordinator is.
    Running,
    /// It is done.
    Done,
    /// Somebody wanted it no more.
    Cancelled,
    /// It cannot be done.
    Failed,
    /// What a newer hub says.
    #[serde(other)]
    Other,
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    /// How many are done.
    pub done: u32,
    /// How many there are.
    pub all: u32,
    /// How many were lost with a coordinator, and are done once more.
    pub again: u32,
}

/// What a worker has done for a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// Who.
    pub client_id: ClientId,
    /// What people call it.
    pub name: Name,
    /// How many parts.
    pub parts: u32,
}

/// Why nothing came of it.
#[derive(Debug, Error)]
pub enum JobsError {
    /// The hub does not answer, or cannot at the moment: the same may go well later.
    #[error("{0}")]
    Away(String),
    /// It says no.
    #[error("{reason}")]
    Refused {
        /// The status over HTTP.
        status: u16,
        /// Why.
        reason: String,
    },
    /// It speaks otherwise than expected.
    #[error("that is not what a hub with jobs answers: {0}")]
    NotAHub(String),
}

#[derive(Deserialize)]
struct List {
    jobs: Vec<Job>,
}

impl Jobs {
    /// Of the ring at this place.
    pub fn of(hub: HubUrl) -> Self {
        Jobs { hub }
    }

    /// Asks for n!. A second time with the same key, it is the same job.
    ///
    /// # Errors
    ///
    /// The hub does not answer, or says no: the number is too large, the key stands for
    /// another number.
    pub async fn submit(&self, n: u64, key: &str) -> Result<Job, JobsError> {
        let body = format!(r#"{{"factorial":{n}}}"#);
        let call = Call { key: Some(key.into()), ..Call::with(Method::POST, "/jobs".into(), body, MOST) };
        read(&self.ask(call).await?)
    }

    /// All jobs that the hub keeps, in the order in which they came.
    ///
    /// # Errors
    ///
    /// The hub does not answer, or says no.
    pub async fn list(&self) -> Result<Vec<Job>, JobsError> {
        read::<List>(&self.ask(Call::get("/jobs".into(), MOST)).await?).map(|list| list.jobs)
    }

    /// One job.
    ///
    /// # Errors
    ///
    /// The hub does not answer, or knows no such job.
    pub async fn show(&self, job: JobId) -> Result<Job, JobsError> {
        read(&self.ask(Call::get(format!("/jobs/{job}"), MOST)).await?)
    }

    /// Wants a job no more.
    ///
    /// # Errors
    ///
    /// The hub does not answer, knows no such job, or the job is done.
    pub async fn cancel(&self, job: JobId) -> Result<Job, JobsError> {
        read(&self.ask(Call::with(Method::DELETE, format!("/jobs/{job}"), "", MOST)).await?)
    }

    async fn ask(&self, call: Call) -> Result<String, JobsError> {
        use crate::transport::hub::ConnectError::{Unauthorized, Unready, Untrusted};
        match call.send(&self.hub).await {
            Ok(answer) if answer.status.is_success() => Ok(answer.text),
            Ok(answer) if answer.status.is_server_error() => Err(JobsError::Away(answer.problem())),
            Ok(answer) => Err(JobsError::Refused { status: answer.status.as_u16(), reason: answer.problem() }),
            // Trying again mends none of these.
            Err(HttpError::Connect(problem @ (Unauthorized(_) | Unready(_) | Untrusted(_)))) => {
                Err(JobsError::Refused { status: 401, reason: problem.to_string() })
            }
            Err(error) => Err(JobsError::Away(error.to_string())),
        }
    }
}

fn read<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, JobsError> {
    serde_json::from_str(text).map_err(|error| {
        let answer = Answer { status: hyper::StatusCode::OK, text: text.chars().take(200).collect() };
        JobsError::NotAHub(format!("{error} ({})", answer.problem()))
    })
}

impl State {
    /// Whether nothing more comes of it.
    pub fn is_over(self) -> bool {
        matches!(self, State::Done | State::Cancelled | State::Failed)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            State::Waiting => "waiting",
            State::Running => "running",
            State::Done => "done",
            State::Cancelled => "cancelled",
            State::Failed => "failed",
            State::Other => "in a state that only a newer ringleader knows",
        })
    }
}
