//! What the hub's port answers to HTTP, and how a request becomes a WebSocket.
//! Jobs have files of their own: [`jobs`], [`submission`] and [`body`].

pub mod body;
mod jobs;
mod submission;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Json, Response};
use axum::routing::get;
use hyper_util::rt::TokioIo;
use ringleader_shared::id::{BadRingName, ClientId, RingName};
use ringleader_shared::message::Member;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tracing::debug;
use uuid::Uuid;

use crate::Hub;
use crate::door::Pass;
use crate::driver::Snapshot;
use crate::rings::{Ring, TooManyRings};
use crate::socket::{self, Visitor};
use crate::stream::Stream;
use crate::token::{Rights, SUBPROTOCOL, subprotocols};

/// What a connection wants, by its path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    JoinOrWatch,
    Watch,
}

pub fn router(hub: Arc<Hub>) -> Router {
    Router::new()
        .route("/", get(root))
        .route("/watch", get(watch))
        .route("/rings", get(all_rings))
        .route("/rings/{name}", get(ring))
        .route("/rings/{name}/watch", get(watch_ring))
        .route("/rings/{name}/leader", get(leader))
        .merge(jobs::routes())
        .route("/healthz", get(healthz))
        .fallback(nothing_here)
        .with_state(hub)
}

/// What anybody may ask for: whether the hub is well, and the page that says what it is.
fn is_open<B>(request: &axum::http::Request<B>) -> bool {
    let path = request.uri().path();
    path == "/healthz" || (path == "/" && !wants_websocket(request.headers()))
}

/// Looks at the token that a request shows, and puts what it gives a right to beside
/// it; the answer to one that goes no further.
pub fn refusal<B>(hub: &Hub, request: &mut axum::http::Request<B>) -> Option<Response> {
    if asks(request.uri(), "token") || asks(request.uri(), "access_token") {
        return Some(problem(
            StatusCode::BAD_REQUEST,
            "a token does not belong in a URL, which logs and histories keep: take this one for known to others, \
             and show a new one as Authorization: Bearer TOKEN or as a subprotocol (see ringleader-hub --help)",
        ));
    }
    if is_open(request) {
        return None;
    }
    match hub.config.tokens.rights(request.headers()) {
        Ok(rights) if rights.watch => {
            request.extensions_mut().insert(rights);
            None
        }
        Ok(_) => Some(unauthorized("watching this hub takes a token")),
        Err(_) => Some(unauthorized("the token shown is none of this hub's")),
    }
}

/// What whoever is one too many is told, without HTTP having begun.
pub fn unavailable(reason: &str) -> String {
    let body = json!({ "error": reason }).to_string();
    format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    )
}

async fn root(State(hub): State<Arc<Hub>>, request: Request) -> Response {
    if wants_websocket(request.headers()) {
        return upgrade(&hub, RingName::default().as_str(), Wish::JoinOrWatch, request);
    }
    Html(include_str!("../web/index.html")).into_response()
}

async fn watch(State(hub): State<Arc<Hub>>, request: Request) -> Response {
    upgrade(&hub, RingName::default().as_str(), Wish::Watch, request)
}

async fn watch_ring(State(hub): State<Arc<Hub>>, Path(name): Path<String>, request: Request) -> Response {
    upgrade(&hub, &name, Wish::Watch, request)
}

async fn ring(State(hub): State<Arc<Hub>>, Path(name): Path<String>, request: Request) -> Response {
    if wants_websocket(request.headers()) {
        return upgrade(&hub, &name, Wish::JoinOrWatch, request);
    }
    match snapshot(&hub, &name).await {
        Ok(snapshot) => Json(as_json(&snapshot)).into_response(),
        Err(problem) => problem.into_response(),
    }
}

async fn leader(State(hub): State<Arc<Hub>>, Path(name): Path<String>) -> Response {
    let ring = match snapshot(&hub, &name).await {
        Ok(snapshot) => snapshot.ring,
        Err(problem) => return problem.into_response(),
    };
    let Some(leader_id) = ring.leader_id else {
        let reason =
            if ring.members.is_empty() { "the ring has no members" } else { "nobody is elected at the moment" };
        return problem(StatusCode::NOT_FOUND, reason);
    };
    let name = ring.members.iter().find(|member| member.client_id == leader_id).and_then(|member| member.name.clone());
    Json(json!({ "leaderId": leader_id, "name": name, "term": ring.term })).into_response()
}

async fn all_rings(State(hub): State<Arc<Hub>>) -> Response {
    let mut all = vec![];
    for ring in hub.rings.all() {
        if let Some(Snapshot { ring, .. }) = ring.snapshot().await {
            all.push(json!({
                "ring": ring.ring,
                "term": ring.term,
                "leaderId": ring.leader_id,
                "members": ring.members.len(),
            }));
        }
    }
    Json(json!({ "rings": all })).into_response()
}

/// Healthy is a hub whose default ring's task answers.
async fn healthz(State(hub): State<Arc<Hub>>) -> Response {
    match tokio::time::timeout(Duration::from_secs(1), snapshot(&hub, RingName::default().as_str())).await {
        Ok(Ok(_)) => Json(json!({ "status": "ok" })).into_response(),
        _ => problem(StatusCode::SERVICE_UNAVAILABLE, "the default ring does not answer"),
    }
}

async fn nothing_here() -> Response {
    problem(
        StatusCode::NOT_FOUND,
        "nothing here; try /, /watch, /rings, /rings/{name}, /rings/{name}/leader, /rings/{name}/jobs, \
         /rings/{name}/watch or /healthz",
    )
}

fn existing_ring(hub: &Hub, name: &str) -> Result<Ring, Problem> {
    let name: RingName = name.parse()?;
    let none =
        || Problem::new(StatusCode::NOT_FOUND, format!("there is no ring {name}; it begins when somebody joins it"));
    hub.rings.find(&name).ok_or_else(none)
}

async fn snapshot(hub: &Hub, name: &str) -> Result<Snapshot, Problem> {
    let ring = existing_ring(hub, name)?;
    ring.snapshot().await.ok_or_else(Problem::ending)
}

/// Why a request goes no further.
pub struct Problem {
    status: StatusCode,
    /// For people: what was expected.
    reason: String,
    /// For programs, where it is the board that says no.
    refusal: Option<Value>,
}

impl Problem {
    fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Problem { status, reason: reason.into(), refusal: None }
    }

    fn ending() -> Self {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the hub is ending")
    }
}

impl From<BadRingName> for Problem {
    fn from(error: BadRingName) -> Self {
        Problem::new(StatusCode::BAD_REQUEST, error.to_string())
    }
}

impl From<TooManyRings> for Problem {
    fn from(TooManyRings(most): TooManyRings) -> Self {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, format!("this hub has {most} rings and takes no more"))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        match self {
            Problem { status: StatusCode::UNAUTHORIZED, reason, .. } => unauthorized(&reason),
            Problem { status, reason, refusal: None } => problem(status, &reason),
            Problem { status, reason, refusal } => {
                (status, Json(json!({ "error": reason, "refusal": refusal }))).into_response()
            }
        }
    }
}

/// A ring with its members in ring order.
fn as_json(snapshot: &Snapshot) -> Value {
    let Snapshot { ring, joined } = snapshot;
    let member = |(member, joined): (&Member, &std::time::Instant)| {
        json!({
            "clientId": member.client_id,
            "name": member.name,
            "rank": member.rank,
            "forwards": member.forwards,
            "ageMs": joined.elapsed().as_millis() as u64,
        })
    };
    let members: Vec<Value> = ring.members.iter().zip(joined).map(member).collect();
    json!({ "ring": ring.ring, "term": ring.term, "leaderId": ring.leader_id, "members": members })
}

fn problem(status: StatusCode, reason: &str) -> Response {
    (status, Json(json!({ "error": reason }))).into_response()
}

/// RFC 6750 section 3.
fn unauthorized(reason: &str) -> Response {
    let reason = format!("{reason}: Authorization: Bearer TOKEN, or the subprotocols ringleader and bearer.TOKEN");
    let mut response = problem(StatusCode::UNAUTHORIZED, &reason);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// Whether the query has that word, whatever it is set to.
fn asks(uri: &Uri, word: &str) -> bool {
    uri.query().is_some_and(|query| query.split('&').any(|part| part.split('=').next() == Some(word)))
}

fn wants_websocket(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Answers 101 and goes on as a WebSocket in a task of its own, so that nothing
/// of HTTP stays in memory.
fn upgrade(hub: &Arc<Hub>, ring: &str, wish: Wish, mut request: Request) -> Response {
    if !wants_websocket(request.headers()) {
        let mut response = problem(
            StatusCode::UPGRADE_REQUIRED,
            "this path is for WebSockets: in a browser's console, new WebSocket(\"ws://HOST:PORT/watch\")",
        );
        response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        return response;
    }
    let mut response = match create_response_with_body(&request, Body::empty) {
        Ok(response) => response,
        Err(error) => return problem(StatusCode::BAD_REQUEST, &format!("no WebSocket handshake: {error}")),
    };
    let name: RingName = match ring.parse() {
        Ok(name) => name,
        Err(error) => return Problem::from(error).into_response(),
    };
    let announced = wish == Wish::JoinOrWatch && asks(request.uri(), "join");
    let may_join = may_join(hub, &request);
    if announced && !may_join && hub.config.tokens.join.is_some() {
        return unauthorized("joining this hub takes a token");
    }
    let ring = match hub.rings.enter(&name) {
        Ok(ring) => ring,
        Err(full) => return Problem::from(full).into_response(),
    };
    // Classic ids are texts; ours are version 4, so that no newcomer outranks everybody by age.
    let Ok(id) = ClientId::new(Uuid::new_v4().to_string()) else {
        return problem(StatusCode::INTERNAL_SERVER_ERROR, "an id of 36 characters is too long");
    };
    if subprotocols(request.headers()).any(|name| name == SUBPROTOCOL) {
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    let visitor = Visitor { id, ring, may_join: wish == Wish::JoinOrWatch && may_join, announced };
    let pass = request.extensions().get::<Arc<Pass>>().cloned();
    let upgraded = hyper::upgrade::on(&mut request);
    let serving = hub.clone();
    hub.tasks.spawn(async move {
        let parts = match upgraded.await.map(|upgraded| upgraded.downcast::<TokioIo<Stream>>()) {
            Ok(Ok(parts)) => parts,
            Ok(Err(_)) => return debug!("a WebSocket over something that is no connection of ours"),
            Err(error) => return debug!("the handshake was not finished: {error}"),
        };
        debug!(id = %visitor.id, remote = ?pass.as_ref().map(|pass| pass.remote), "connected");
        // A copy, so that HTTP's buffer is freed.
        let read = parts.read_buf.to_vec();
        drop(parts.read_buf);
        let stream = parts.io.into_inner();
        serving.tasks.spawn(socket::run(stream, read, visitor, pass, serving.clone()));
    });
    response
}

/// Whether whoever asks may join, and change anything.
fn may_join<B>(hub: &Hub, request: &axum::http::Request<B>) -> bool {
    match &hub.config.tokens.join {
        None => origin_may_join(request.headers(), &hub.config.allow_origins),
        // A page that knows it was given it; see `token`.
        Some(_) => request.extensions().get::<Rights>().is_some_and(|rights| rights.join),
    }
}

/// Pages of other origins may watch, like anybody, but not take part through the
/// browser of somebody who happens to look at them. What is no browser sends no Origin.
fn origin_may_join(headers: &HeaderMap, allowed: &[String]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    let own = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    let is_own = authority.zip(own).is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host));
    is_own || allowed.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_other_origins_may_not_join() {
        // origin, host, allowed, may join
        let table: [(Option<&str>, &str, &[&str], bool); 7] = [
            (None, "hub:8080", &[], true),
            (Some("http://hub:8080"), "hub:8080", &[], true),
            (Some("http://HUB:8080"), "hub:8080", &[], true),
            (Some("http://evil.example"), "hub:8080", &[], false),
            (Some("null"), "hub:8080", &[], false),
            (Some("http://lab.example"), "hub:8080", &["http://lab.example"], true),
            (Some("null"), "hub:8080", &["*"], true),
        ];
        for (origin, host, allowed, expected) in table {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            let allowed: Vec<String> = allowed.iter().map(|origin| origin.to_string()).collect();
            assert_eq!(origin_may_join(&headers, &allowed), expected, "{origin:?} at {host}, allowed {allowed:?}");
        }
    }
}
