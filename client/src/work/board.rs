//! The node's questions to the hub's board, over HTTP: each until it is answered or the
//! coordinator that asked is none any more, and answers in the order of questions. What waits
//! is asked together, about different jobs: a coordinator has one question about a job at a
//! time. Only a claim, which is about all of them, is asked alone.

use backon::BackoffBuilder;
use futures_util::future::join_all;
use hyper::{Method, StatusCode};
use ringleader_shared::factorial::message::{Answer, Message, OpenJob, Peer, Refusal, Request, Value};
use ringleader_shared::factorial::{JobId, Part};
use ringleader_shared::id::Term;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep};
use tracing::{debug, info, warn};

use super::fail::Fail;
use super::{Happening, Tell, heard};
use crate::transport::http::{self, Call};
use crate::transport::hub::{BACKOFF, HubUrl};

/// The most bytes of an answer: open jobs, or what is written down of one.
const MOST: usize = 64 << 20;

/// After so many tries the log says what is wrong. Before, the WebSocket has the word.
const QUIET: usize = 3;

/// How many requests are asked together, where so many wait. The hub writes such down in one go.
const TOGETHER: usize = 32;

/// A request, under the coordinator of which term.
struct Asked(Term, Request);

impl Asked {
    fn is_claim(&self) -> bool {
        matches!(self.1, Request::Claim { .. })
    }
}

pub struct BoardLink {
    /// The node asks little before it is answered.
    requests: mpsc::UnboundedSender<Asked>,
    coordinates: watch::Sender<Option<Term>>,
    /// One task, gone with the value.
    _asking: JoinSet<()>,
}

impl BoardLink {
    pub fn start(hub: HubUrl, fail: Option<Fail>, tell: Tell) -> Self {
        let (requests, waiting) = mpsc::unbounded_channel();
        let (coordinates, current) = watch::channel(None);
        let mut asking = JoinSet::new();
        asking.spawn(Link { hub, fail, tell, rolled: None }.serve(waiting, current));
        BoardLink { requests, coordinates, _asking: asking }
    }

    pub fn ask(&self, term: Term, request: Request) {
        let _ = self.requests.send(Asked(term, request));
    }

    /// In which term the node coordinates. What was asked in another is dropped.
    pub fn coordinates(&self, term: Option<Term>) {
        self.coordinates.send_replace(term);
    }
}

struct Link {
    hub: HubUrl,
    fail: Option<Fail>,
    tell: Tell,
    /// When chance was last asked whether to fail.
    rolled: Option<Instant>,
}

/// Chance is asked no more often whether a coordinator fails: with small jobs it writes
/// so much down that none would live long enough to get anything done.
const LIVES: Duration = Duration::from_secs(1);

impl Link {
    /// For as long as there is somebody to ask.
    async fn serve(mut self, mut waiting: mpsc::UnboundedReceiver<Asked>, mut current: watch::Receiver<Option<Term>>) {
        let mut silent = None;
        let mut asked: Vec<Asked> = vec![];
        while waiting.recv_many(&mut asked, TOGETHER).await > 0 {
            let mut asked = asked.drain(..).peekable();
            while let Some(first) = asked.next() {
                let (term, is_claim) = (first.0, first.is_claim());
                let mut together = vec![first.1];
                while let Some(Asked(_, request)) =
                    asked.next_if(|next| next.0 == term && !is_claim && !next.is_claim())
                {
                    together.push(request);
                }
                if silent == Some(term) {
                    continue;
                }
                tokio::select! {
                    biased;
                    _ = current.wait_for(|now| *now != Some(term)) => {
                        debug!("term {term} is over: {} requests are dropped", together.len());
                    }
                    answered = self.ask_all(term, &together) => if !answered {
                        silent = Some(term);
                    }
                }
            }
        }
    }

    /// Each until there is an answer. These are told in the order in which was asked; false,
    /// if this hub has none to give.
    async fn ask_all(&mut self, term: Term, requests: &[Request]) -> bool {
        let checkpoints = requests.iter().filter(|request| matches!(request, Request::Checkpoint(_))).count();
        let is_due = checkpoints > 0 && self.rolled.is_none_or(|at| at.elapsed() >= LIVES);
        if let Some(fail) = self.fail.as_ref().filter(|_| is_due) {
            self.rolled = Some(Instant::now());
            sleep(fail.befall(&format!("checkpoints of {checkpoints} jobs"), &self.tell).await).await;
        }
        for answer in join_all(requests.iter().map(|request| self.ask(request))).await {
            let Some(answer) = answer else { return false };
            let input = heard(Peer::Board, term, Message::Answer(answer));
            let _ = self.tell.send(Happening::Input(input));
        }
        true
    }

    /// Until there is an answer; `None`, if this hub has none to give.
    async fn ask(&self, request: &Request) -> Option<Answer> {
        let call = call(request)?;
        let mut delays = BACKOFF.build();
        for tried in 0.. {
            let problem = match call.send(&self.hub).await {
                Ok(answer) if answer.status.is_server_error() => answer.problem(),
                Ok(answer) => return understand(request, &answer),
                Err(error) => error.to_string(),
            };
            if tried == QUIET {
                warn!("{}: cannot ask for {}: {problem}; trying on", self.hub, call.path);
            } else {
                debug!("{}: cannot ask for {}: {problem}", self.hub, call.path);
            }
            sleep(delays.next().unwrap_or_default()).await;
        }
        None
    }
}

/// What a request is over HTTP. The board takes some that no node has.
fn call(request: &Request) -> Option<Call> {
    Some(match request {
        Request::Claim { by, term } => {
            let body = json!({ "clientId": by, "term": term }).to_string();
            Call::with(Method::POST, "/coordinator".into(), body, MOST)
        }
        Request::Load { job, term } => Call::get(format!("/jobs/{job}/parts?term={term}"), MOST),
        Request::Checkpoint(checkpoint) => {
            let path = format!("/jobs/{}/checkpoint", checkpoint.job_id);
            Call::with(Method::POST, path, serde_json::to_string(checkpoint).ok()?, MOST)
        }
        Request::Keep { job, term, part: Part { level, index }, number } => {
            let path = format!("/jobs/{job}/parts/{level}/{index}?term={term}");
            Call::with(Method::PUT, path, number.as_str().to_owned(), MOST)
        }
        Request::Submit { .. } | Request::Cancel(_) => {
            debug!("not a coordinator's to ask: {request:?}");
            return None;
        }
    })
}

#[derive(Deserialize)]
struct Open {
    term: Term,
    jobs: Vec<OpenJob>,
}

#[derive(Deserialize)]
struct Loaded {
    parts: Vec<LoadedPart>,
}

#[derive(Deserialize)]
struct LoadedPart {
    #[serde(flatten)]
    part: Part,
    product: Value,
}

#[derive(Deserialize)]
struct Saved {
    sequence: u64,
}

/// What the hub's answer means. The board takes the same checkpoint twice, so asking again
/// does no harm where an answer was lost.
fn understand(request: &Request, answer: &http::Answer) -> Option<Answer> {
    if !answer.status.is_success() {
        return match refusal(&answer.text) {
            Some(why) => Some(Answer::Refused { job: job(request), why }),
            None if answer.status == StatusCode::NOT_FOUND => {
                info!("this hub keeps no jobs, so there is nothing to coordinate");
                None
            }
            None => {
                warn!("the hub refuses what a coordinator asks: {}", answer.problem());
                None
            }
        };
    }
    let understood = match request {
        Request::Claim { .. } => {
            serde_json::from_str(&answer.text).map(|Open { term, jobs }| Answer::Open { term, jobs })
        }
        Request::Load { job, .. } => serde_json::from_str(&answer.text).map(|Loaded { parts }| {
            let parts = parts.into_iter().map(|LoadedPart { part, product }| (part, product)).collect();
            Answer::Loaded { job: *job, parts }
        }),
        Request::Checkpoint(checkpoint) => serde_json::from_str(&answer.text)
            .map(|Saved { sequence }| Answer::Saved { job: checkpoint.job_id, sequence }),
        Request::Keep { .. } | Request::Submit { .. } | Request::Cancel(_) => Ok(Answer::Kept),
    };
    understood.map_err(|error| warn!("the hub's answer is not as expected: {error}")).ok()
}

fn job(request: &Request) -> Option<JobId> {
    match request {
        Request::Load { job, .. } | Request::Keep { job, .. } | Request::Cancel(job) => Some(*job),
        Request::Checkpoint(checkpoint) => Some(checkpoint.job_id),
        Request::Submit { .. } | Request::Claim { .. } => None,
    }
}

/// Why the board says no, as it says so over HTTP, beside a text for people.
fn refusal(text: &str) -> Option<Refusal> {
    #[derive(Deserialize)]
    struct Problem {
        refusal: Kind,
    }
    #[derive(Deserialize)]
    #[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
    enum Kind {
        StaleTerm { got: Term, newest: Term },
        OutOfOrder { got: u64, expected: u64 },
        NoSuchJob,
        Ended,
        NoSuchPart,
    }
    Some(match serde_json::from_str::<Problem>(text).ok()?.refusal {
        Kind::StaleTerm { got, newest } => Refusal::StaleTerm { got, newest },
        Kind::OutOfOrder { got, expected } => Refusal::OutOfOrder { got, expected },
        Kind::NoSuchJob => Refusal::NoSuchJob,
        Kind::Ended => Refusal::Ended("over"),
        Kind::NoSuchPart => Refusal::NoSuchPart,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringleader_shared::factorial::message::{Checkpoint, Tally};
    use uuid::Uuid;

    fn checkpoint() -> Request {
        Request::Checkpoint(Box::new(Checkpoint {
            job_id: JobId::new(Uuid::nil()),
            term: Term::new(3).unwrap(),
            sequence: 7,
            parts: vec![],
            tally: Tally::default(),
            end: None,
        }))
    }

    fn said(status: u16, text: &str) -> http::Answer {
        http::Answer { status: StatusCode::from_u16(status).unwrap(), text: text.into() }
    }

    #[test]
    fn refusals_are_told_apart() {
        let table = [
            (
                r#"{"error":"x","refusal":{"kind":"staleTerm","got":3,"newest":4}}"#,
                Refusal::StaleTerm { got: Term::new(3).unwrap(), newest: Term::new(4).unwrap() },
            ),
            (
                r#"{"error":"x","refusal":{"kind":"outOfOrder","got":7,"expected":9}}"#,
                Refusal::OutOfOrder { got: 7, expected: 9 },
            ),
            (r#"{"error":"x","refusal":{"kind":"noSuchJob"}}"#, Refusal::NoSuchJob),
            (r#"{"error":"x","refusal":{"kind":"ended","state":"done"}}"#, Refusal::Ended("over")),
        ];
        for (text, why) in table {
            let job = Some(JobId::new(Uuid::nil()));
            assert_eq!(understand(&checkpoint(), &said(409, text)), Some(Answer::Refused { job, why }), "{text}");
        }
        for other in [r#"{"error":"nothing here"}"#, "", "<html>"] {
            assert_eq!(understand(&checkpoint(), &said(404, other)), None);
        }
    }
}
