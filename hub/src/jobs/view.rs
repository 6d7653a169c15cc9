//! A job as it is shown.

use std::sync::Arc;

use ringleader_shared::factorial::board::{Board, Job, Phase};
use ringleader_shared::factorial::message::Credit;
use ringleader_shared::factorial::{Factorial, JobId};
use ringleader_shared::id::Term;
use ringleader_shared::wire::RingChanged;
use serde::Serialize;

/// What is shown of a job.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    job_id: JobId,
    factorial: Factorial,
    state: &'static str,
    parts: Parts,
    reassigned: u32,
    term: Option<Term>,
    /// Why nothing is done, where the ring shows that.
    waits_for: Option<&'static str>,
    /// Why it failed.
    reason: Option<Arc<str>>,
    #[serde(flatten)]
    details: Option<Details>,
}

#[derive(Serialize)]
struct Parts {
    done: u32,
    all: u32,
    again: u32,
}

/// What is shown of one job, and not in a list.
#[derive(Serialize)]
struct Details {
    workers: Vec<Credit>,
    result: Option<Arc<str>>,
}

impl View {
    /// One job, if there is such a one.
    pub fn of(board: &Board, id: JobId, ring: &RingChanged) -> Option<View> {
        let job = board.job(id)?;
        let workers = job.entry.tally.workers.clone();
        let details = Details { workers, result: job.result.clone() };
        Some(View { details: Some(details), ..View::short(board, id, job, ring) })
    }

    /// All of them, in the order in which they came.
    pub fn list(board: &Board, ring: &RingChanged) -> Vec<View> {
        board.jobs().map(|(id, job)| View::short(board, *id, job, ring)).collect()
    }

    fn short(board: &Board, id: JobId, job: &Job, ring: &RingChanged) -> View {
        let entry = &job.entry;
        let runs = board.is_running(id);
        let (state, reason) = match &entry.phase {
            Phase::Open if runs => ("running", None),
            Phase::Open => ("waiting", None),
            Phase::Done => ("done", None),
            Phase::Cancelled => ("cancelled", None),
            Phase::Failed(why) => ("failed", Some(why.clone())),
        };
        let is_open = entry.phase == Phase::Open;
        View {
            job_id: id,
            factorial: entry.factorial,
            state,
            parts: Parts { done: entry.tally.done, all: entry.factorial.count(), again: entry.tally.again },
            reassigned: entry.tally.reassigned,
            term: entry.term,
            waits_for: waits_for(ring, board.coordinator().is_some(), runs).filter(|_| is_open),
            reason,
            details: None,
        }
    }
}

/// What an open job waits for, as far as it can be seen from here.
fn waits_for(ring: &RingChanged, is_coordinated: bool, runs: bool) -> Option<&'static str> {
    match (ring.members.len(), is_coordinated) {
        (0, _) => Some("a coordinator: the ring has no members"),
        (_, false) if ring.leader_id.is_none() => Some("a coordinator: nobody leads"),
        (_, false) => Some("a coordinator: the leader takes no jobs"),
        (1, true) => Some("a worker: the ring has one member, and it coordinates"),
        (_, true) if !runs => Some("its turn"),
        (_, true) => None,
    }
}
