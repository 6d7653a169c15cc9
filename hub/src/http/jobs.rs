//! Routes of jobs: for people who have some, and for members who do them.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, Request as HttpRequest, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use ringleader_shared::factorial::board::Board;
use ringleader_shared::factorial::message::{Answer, Checkpoint, End, Number, Refusal, Request, Value};
use ringleader_shared::factorial::{JobId, Part};
use ringleader_shared::id::{ClientId, RingName, Term};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use uuid::Uuid;

use super::body::Kind;
use super::{Problem, existing_ring, may_join, submission};
use crate::Hub;
use crate::driver::Snapshot;
use crate::jobs::Jobs;
use crate::jobs::view::View;
use crate::rings::Ring;

pub fn routes() -> Router<Arc<Hub>> {
    Router::new()
        .route("/rings/{name}/jobs", get(list).post(submit))
        .route("/rings/{name}/jobs/{id}", get(show).delete(cancel))
        .route("/rings/{name}/coordinator", post(claim))
        .route("/rings/{name}/jobs/{id}/checkpoint", post(checkpoint))
        .route("/rings/{name}/jobs/{id}/parts", get(load))
        .route("/rings/{name}/jobs/{id}/parts/{level}/{index}", get(product).put(keep))
}

type Answered = Result<Response, Problem>;

async fn submit(State(hub): State<Arc<Hub>>, Path(name): Path<String>, request: HttpRequest<Body>) -> Answered {
    may_take_part(&hub, &request)?;
    let name: RingName = name.parse()?;
    let key = submission::key(request.headers()).map_err(|reason| bad(&reason))?;
    let body = hub.bodies.read(Kind::Submission, request).await?;
    let factorial = submission::factorial(&body.bytes, hub.config.limits.factorial).map_err(|reason| bad(&reason))?;
    let ring = hub.rings.enter(&name)?;
    let id = JobId::new(Uuid::now_v7());
    match ask(&hub, &ring.jobs, Request::Submit { id, factorial, key }).await? {
        Answer::Accepted { id, .. } => {
            let mut response = (StatusCode::ACCEPTED, Json(view(&hub, &ring, id).await?)).into_response();
            if let Ok(location) = HeaderValue::try_from(format!("/rings/{name}/jobs/{id}")) {
                response.headers_mut().insert(header::LOCATION, location);
            }
            Ok(response)
        }
        other => Err(unexpected(&other)),
    }
}

#[derive(Serialize)]
struct List {
    jobs: Vec<View>,
}

async fn list(State(hub): State<Arc<Hub>>, Path(name): Path<String>) -> Answered {
    let ring = existing_ring(&hub, &name)?;
    let Snapshot { ring: members, .. } = ring.snapshot().await.ok_or_else(Problem::ending)?;
    let jobs = look(&hub, &ring.jobs, move |board| View::list(board, &members)).await?;
    // There may be many, and frames do not wait until all of them are written out.
    let text = spawn_blocking(move || serde_json::to_string(&List { jobs })).await;
    match text {
        Ok(Ok(text)) => Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response()),
        _ => Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the jobs are no JSON")),
    }
}

async fn show(State(hub): State<Arc<Hub>>, Path((name, id)): Path<(String, String)>) -> Answered {
    let (ring, id) = (existing_ring(&hub, &name)?, job_id(&id)?);
    Ok(Json(view(&hub, &ring, id).await?).into_response())
}

async fn cancel(
    State(hub): State<Arc<Hub>>,
    Path((name, id)): Path<(String, String)>,
    request: HttpRequest<Body>,
) -> Answered {
    may_take_part(&hub, &request)?;
    let (ring, id) = (existing_ring(&hub, &name)?, job_id(&id)?);
    match ask(&hub, &ring.jobs, Request::Cancel(id)).await? {
        Answer::Cancelled(id) => Ok(Json(view(&hub, &ring, id).await?).into_response()),
        other => Err(unexpected(&other)),
    }
}

/// How many characters are kept of why a job cannot be done.
const REASON: usize = 300;

/// Who coordinates, as it says.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Claim {
    client_id: ClientId,
    term: Term,
}

async fn claim(State(hub): State<Arc<Hub>>, Path(name): Path<String>, request: HttpRequest<Body>) -> Answered {
    may_take_part(&hub, &request)?;
    let ring = existing_ring(&hub, &name)?;
    let body = hub.bodies.read(Kind::Submission, request).await?;
    let Claim { client_id, term } = from_json(&body.bytes)?;
    match ask(&hub, &ring.jobs, Request::Claim { by: client_id, term }).await? {
        Answer::Open { term, jobs } => Ok(Json(json!({ "term": term, "jobs": jobs })).into_response()),
        other => Err(unexpected(&other)),
    }
}

#[derive(Serialize)]
struct Parts {
    parts: Vec<Done>,
}

/// A part that is done, as a coordinator is told of it.
#[derive(Serialize)]
struct Done {
    #[serde(flatten)]
    part: Part,
    product: Value,
}

async fn load(
    State(hub): State<Arc<Hub>>,
    Path((name, id)): Path<(String, String)>,
    request: HttpRequest<Body>,
) -> Answered {
    let (ring, job, term) = (existing_ring(&hub, &name)?, job_id(&id)?, term(&request)?);
    match ask(&hub, &ring.jobs, Request::Load { job, term }).await? {
        Answer::Loaded { parts, .. } => {
            let parts = parts.into_iter().map(|(part, product)| Done { part, product }).collect();
            Ok(Json(Parts { parts }).into_response())
        }
        other => Err(unexpected(&other)),
    }
}

async fn checkpoint(
    State(hub): State<Arc<Hub>>,
    Path((name, id)): Path<(String, String)>,
    request: HttpRequest<Body>,
) -> Answered {
    may_take_part(&hub, &request)?;
    let (ring, id) = (existing_ring(&hub, &name)?, job_id(&id)?);
    let body = hub.bodies.read(Kind::Checkpoint, request).await?;
    let mut checkpoint: Checkpoint = from_json(&body.bytes)?;
    if checkpoint.job_id != id {
        return Err(bad(&format!("jobId: expected {id}, as in the path, got {}", checkpoint.job_id)));
    }
    match &mut checkpoint.end {
        Some(End::Done(result)) if result.is_empty() || !result.bytes().all(|byte| byte.is_ascii_digit()) => {
            return Err(bad("end.done: expected decimal digits"));
        }
        Some(End::Failed(why)) => *why = submission::shortened(why, REASON).into(),
        Some(End::Done(_)) | None => {}
    }
    match ask(&hub, &ring.jobs, Request::Checkpoint(Box::new(checkpoint))).await? {
        Answer::Saved { sequence, .. } => Ok(Json(json!({ "sequence": sequence })).into_response()),
        other => Err(unexpected(&other)),
    }
}

async fn keep(
    State(hub): State<Arc<Hub>>,
    Path((name, id, level, index)): Path<(String, String, String, String)>,
    request: HttpRequest<Body>,
) -> Answered {
    may_take_part(&hub, &request)?;
    let (ring, job, part) = (existing_ring(&hub, &name)?, job_id(&id)?, part(&level, &index)?);
    let term = term(&request)?;
    let body = hub.bodies.read(Kind::Number, request).await?;
    let number = str::from_utf8(&body.bytes).ok().and_then(Number::new);
    let number = number.ok_or_else(|| bad("expected hexadecimal digits, lower case, no zeros before"))?;
    match ask(&hub, &ring.jobs, Request::Keep { job, term, part, number }).await? {
        Answer::Kept => Ok(StatusCode::NO_CONTENT.into_response()),
        other => Err(unexpected(&other)),
    }
}

async fn product(
    State(hub): State<Arc<Hub>>,
    Path((name, id, level, index)): Path<(String, String, String, String)>,
) -> Answered {
    let (ring, job, part) = (existing_ring(&hub, &name)?, job_id(&id)?, part(&level, &index)?);
    let product = look(&hub, &ring.jobs, move |board| match board.job(job) {
        Some(_) => board.product(job, part).cloned().ok_or(Refusal::NoSuchPart),
        None => Err(Refusal::NoSuchJob),
    });
    product.await?.map(|number| number.as_str().to_owned().into_response()).map_err(|why| refused(&why))
}

async fn view(hub: &Hub, ring: &Ring, id: JobId) -> Result<View, Problem> {
    let Snapshot { ring: members, .. } = ring.snapshot().await.ok_or_else(Problem::ending)?;
    let view = look(hub, &ring.jobs, move |board| View::of(board, id, &members)).await?;
    view.ok_or_else(|| refused(&Refusal::NoSuchJob))
}

/// What the board says, unless it says no.
async fn ask(hub: &Hub, jobs: &Jobs, request: Request) -> Result<Answer, Problem> {
    match in_time(hub, jobs.ask(request)).await? {
        Answer::Refused { why, .. } => Err(refused(&why)),
        answer => Ok(answer),
    }
}

async fn look<T: Send + 'static>(
    hub: &Hub,
    jobs: &Jobs,
    look: impl FnOnce(&Board) -> T + Send + 'static,
) -> Result<T, Problem> {
    in_time(hub, jobs.look(look)).await
}

/// The disk may be full, and stay so.
async fn in_time<T>(hub: &Hub, answer: impl Future<Output = Option<T>>) -> Result<T, Problem> {
    match timeout(hub.config.limits.write_deadline, answer).await {
        Ok(answer) => answer.ok_or_else(Problem::ending),
        Err(_) => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the hub's disk does not answer; what was asked may be done later: ask once more, with the same Idempotency-Key",
        )),
    }
}

fn bad(reason: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, reason)
}

fn unexpected(answer: &Answer) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the board answered something else: {answer:?}"))
}

/// For programs: the client makes a [`Refusal`] of it again.
fn refused(why: &Refusal) -> Problem {
    use Refusal::*;
    let (status, refusal) = match why {
        StaleTerm { got, newest } => (409, json!({ "kind": "staleTerm", "got": got, "newest": newest })),
        OutOfOrder { got, expected } => (409, json!({ "kind": "outOfOrder", "got": got, "expected": expected })),
        Ended(state) => (409, json!({ "kind": "ended", "state": state })),
        NoSuchJob => (404, json!({ "kind": "noSuchJob" })),
        NoSuchPart => (404, json!({ "kind": "noSuchPart" })),
        TooLarge { got, most } => (400, json!({ "kind": "tooLarge", "got": got, "most": most })),
        Full(open) => (503, json!({ "kind": "full", "open": open })),
        KeyUsed(n) => (422, json!({ "kind": "keyUsed", "factorial": n })),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Problem { refusal: Some(refusal), ..Problem::new(status, why.to_string()) }
}

/// Whoever has jobs done or does them takes what joining takes.
fn may_take_part(hub: &Hub, request: &HttpRequest<Body>) -> Result<(), Problem> {
    if may_join(hub, request) {
        return Ok(());
    }
    Err(match hub.config.tokens.join {
        Some(_) => Problem::new(StatusCode::UNAUTHORIZED, "changing anything at this hub takes the join token"),
        None => Problem::new(
            StatusCode::FORBIDDEN,
            "this is a page of an origin that the hub does not allow (its option is --allow-origin)",
        ),
    })
}

/// What is no id is the id of no job.
fn job_id(text: &str) -> Result<JobId, Problem> {
    text.parse().map_err(|_| refused(&Refusal::NoSuchJob))
}

fn part(level: &str, index: &str) -> Result<Part, Problem> {
    let part = level.parse().ok().zip(index.parse().ok()).map(|(level, index)| Part { level, index });
    part.ok_or_else(|| refused(&Refusal::NoSuchPart))
}

fn term(request: &HttpRequest<Body>) -> Result<Term, Problem> {
    let query = request.uri().query().unwrap_or_default();
    let text = query.split('&').find_map(|part| part.strip_prefix("term="));
    let term = text.and_then(|text| text.parse().ok()).and_then(Term::new);
    term.ok_or_else(|| bad("expected ?term=, the term in which the coordinator was elected"))
}

fn from_json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| bad(&format!("the request's body: {error}")))
}
