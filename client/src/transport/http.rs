//! Requests to a hub over HTTP/1.1, each on a connection of its own. Where the hub is,
//! TLS and the token are those of its WebSocket.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use thiserror::Error;
use tokio::time::timeout;

use super::hub::{ConnectError, readable, unauthorized};
use super::stream::{self, Stream};
use super::url::HubUrl;

/// How long one exchange may take, once there is a connection: the hub writes to its disk
/// before it answers.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is asked of a ring.
#[derive(Debug, Clone)]
pub struct Call {
    /// How.
    pub method: Method,
    /// About what: a path below the ring's, such as `/jobs`.
    pub path: String,
    /// The submitter's name for what it asks, for the header `Idempotency-Key`.
    pub key: Option<String>,
    /// What is sent along; empty for nothing.
    pub body: Bytes,
    /// The most bytes that the answer may have.
    pub most: usize,
}

/// An answer, whole.
#[derive(Debug)]
pub struct Answer {
    /// How it went.
    pub status: StatusCode,
    /// What it says.
    pub text: String,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum HttpError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// There was one.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// It took too long.
    #[error("no answer in {}", humantime::format_duration(PATIENCE))]
    Late,
    /// It is longer than anything that is expected.
    #[error("the answer has more than {0} bytes")]
    TooLong(usize),
}

impl Call {
    /// Asks for something.
    pub fn get(path: String, most: usize) -> Self {
        Call { method: Method::GET, path, key: None, body: Bytes::new(), most }
    }

    /// Sends something.
    pub fn with(method: Method, path: String, body: impl Into<Bytes>, most: usize) -> Self {
        Call { method, path, key: None, body: body.into(), most }
    }

    /// Asks once.
    ///
    /// # Errors
    ///
    /// There is no answer. One that says no is an answer; only a token that will not do is an
    /// error, as it is to those who connect for other reasons.
    pub async fn send(&self, hub: &HubUrl) -> Result<Answer, HttpError> {
        let (stream, token) = stream::open(hub).await?;
        let mut request = Request::builder()
            .method(&self.method)
            .uri(format!("{}{}", hub.ring_path(), self.path))
            .header(HOST, hub.authority());
        if let Some(token) = &token {
            request = request.header(AUTHORIZATION, token.header());
        }
        if let Some(key) = &self.key {
            request = request.header("idempotency-key", key);
        }
        if !self.body.is_empty() {
            let json = matches!(self.body.first(), Some(b'{'));
            request = request.header(CONTENT_TYPE, if json { "application/json" } else { "text/plain" });
        }
        let request =
            request.body(Full::new(self.body.clone())).map_err(|error| HttpError::Broken(error.to_string()))?;
        let exchange = exchange(stream, request, self.most);
        let Answer { status, text } = timeout(PATIENCE, exchange).await.map_err(|_| HttpError::Late)??;
        // Some answer with what they were sent.
        let text = match token {
            Some(token) if !status.is_success() => token.out_of(&text),
            _ => text,
        };
        let answer = Answer { status, text };
        if status == StatusCode::UNAUTHORIZED {
            return Err(unauthorized(&answer.problem(), hub).into());
        }
        Ok(answer)
    }
}

async fn exchange(stream: Stream, request: Request<Full<Bytes>>, most: usize) -> Result<Answer, HttpError> {
    let broken = |error: hyper::Error| HttpError::Broken(error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let answer = pin!(async move {
        let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
        let body =
            Limited::new(body, most).collect().await.map_err(|error| match error.downcast::<LengthLimitError>() {
                Ok(_) => HttpError::TooLong(most),
                Err(error) => HttpError::Broken(error.to_string()),
            })?;
        let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        Ok(Answer { status: head.status, text })
    });
    match select(answer, pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        // What it has read by then is still to be taken.
        Either::Right((_, answer)) => answer.await,
    }
}

impl Answer {
    /// What a hub says where it says no, as people should read it.
    pub fn problem(&self) -> String {
        let said = serde_json::from_str::<Value>(&self.text).ok();
        let error = said.as_ref().and_then(|said| said["error"].as_str());
        match error {
            Some(error) => readable(error),
            None if self.text.is_empty() => format!("HTTP {}", self.status),
            None => format!("HTTP {}: {}", self.status, readable(&self.text)),
        }
    }
}
