//! What the hub's port answers to HTTP, and how a request becomes a WebSocket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Json, Response};
use axum::routing::get;
use hyper_util::rt::TokioIo;
use ringleader_shared::id::{BadRingName, ClientId, RingName};
use ringleader_shared::message::Member;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tracing::debug;
use uuid::Uuid;

use crate::driver::Snapshot;
use crate::socket::{self, Visitor};
use crate::{Hub, rings};

/// Where a request came from.
#[derive(Debug, Clone, Copy)]
pub struct Remote(pub SocketAddr);

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
        .route("/healthz", get(healthz))
        .fallback(nothing_here)
        .with_state(hub)
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
        Err(response) => response,
    }
}

async fn leader(State(hub): State<Arc<Hub>>, Path(name): Path<String>) -> Response {
    let ring = match snapshot(&hub, &name).await {
        Ok(snapshot) => snapshot.ring,
        Err(response) => return response,
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
        "nothing here; try /, /watch, /rings, /rings/{name}, /rings/{name}/leader, /rings/{name}/watch or /healthz",
    )
}

fn bad_ring_name(error: BadRingName) -> Response {
    problem(StatusCode::BAD_REQUEST, &error.to_string())
}

async fn snapshot(hub: &Hub, name: &str) -> Result<Snapshot, Response> {
    let name: RingName = name.parse().map_err(bad_ring_name)?;
    let none = || problem(StatusCode::NOT_FOUND, &format!("there is no ring {name}; it begins when somebody joins it"));
    let ring = hub.rings.find(&name).ok_or_else(none)?;
    ring.snapshot().await.ok_or_else(|| problem(StatusCode::SERVICE_UNAVAILABLE, "the hub is ending"))
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
        response.headers_mut().insert(header::UPGRADE, header::HeaderValue::from_static("websocket"));
        return response;
    }
    let response = match create_response_with_body(&request, Body::empty) {
        Ok(response) => response,
        Err(error) => return problem(StatusCode::BAD_REQUEST, &format!("no WebSocket handshake: {error}")),
    };
    let name: RingName = match ring.parse() {
        Ok(name) => name,
        Err(error) => return bad_ring_name(error),
    };
    let ring = match hub.rings.enter(&name) {
        Ok(ring) => ring,
        Err(rings::TooManyRings(most)) => {
            return problem(StatusCode::SERVICE_UNAVAILABLE, &format!("this hub has {most} rings and takes no more"));
        }
    };
    // Classic ids are texts; ours are version 4, so that no newcomer outranks everybody by age.
    let Ok(id) = ClientId::new(Uuid::new_v4().to_string()) else {
        return problem(StatusCode::INTERNAL_SERVER_ERROR, "an id of 36 characters is too long");
    };
    let origin_may_join = may_join(request.headers(), &hub.config.allow_origins);
    let says_join =
        request.uri().query().is_some_and(|query| query.split('&').any(|part| part.split('=').next() == Some("join")));
    let visitor = Visitor {
        id,
        ring,
        may_join: wish == Wish::JoinOrWatch && origin_may_join,
        watches: wish == Wish::Watch || !says_join,
    };
    let remote = request.extensions().get::<Remote>().map(|remote| remote.0);
    let upgraded = hyper::upgrade::on(&mut request);
    let serving = hub.clone();
    hub.tasks.spawn(async move {
        let parts = match upgraded.await.map(|upgraded| upgraded.downcast::<TokioIo<TcpStream>>()) {
            Ok(Ok(parts)) => parts,
            Ok(Err(_)) => return debug!("a WebSocket over something that is no TCP connection"),
            Err(error) => return debug!("the handshake was not finished: {error}"),
        };
        debug!(id = %visitor.id, ?remote, "connected");
        // A copy, so that HTTP's buffer is freed.
        let read = parts.read_buf.to_vec();
        drop(parts.read_buf);
        let stream = parts.io.into_inner();
        serving.tasks.spawn(socket::run(stream, read, visitor, serving.clone()));
    });
    response
}

/// Pages of other origins may watch, like anybody, but not take part through the
/// browser of somebody who happens to look at them. What is no browser sends no Origin.
fn may_join(headers: &HeaderMap, allowed: &[String]) -> bool {
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
            assert_eq!(may_join(&headers, &allowed), expected, "{origin:?} at {host}, allowed {allowed:?}");
        }
    }
}
