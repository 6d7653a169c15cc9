//! The bodies of requests: how large they may be, one and all together.

use std::sync::Arc;

use axum::body::{Body, HttpBody};
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Problem;
use crate::Limits;

/// How many bytes a submission may have.
const SUBMISSION: usize = 16 * 1024;

/// Room for what stands around numbers, and for parts that travel in a checkpoint.
const AROUND: usize = 2 << 20;

/// How many bytes all of them may have that are read at one time, but for submissions:
/// those are short, and do not wait for others that are long.
const ALL: usize = 64 << 20;

/// How many bytes are read in vain after one that is too large, so that its sender,
/// which still sends, gets to read the answer (RFC 9112 section 9.6).
const IN_VAIN: usize = 1 << 20;

/// What bodies may have.
pub struct Bodies {
    /// Of a kilobyte each.
    room: Arc<Semaphore>,
    /// What a large number may have.
    number: usize,
}

/// A kind of body.
#[derive(Clone, Copy)]
pub enum Kind {
    /// Short JSON.
    Submission,
    /// A number in hexadecimal digits.
    Number,
    /// A checkpoint, which may bring a result.
    Checkpoint,
}

/// A body, which counts until this is dropped.
pub struct Read {
    pub bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

impl Bodies {
    pub fn new(limits: &Limits) -> Self {
        // n! has at most eight digits for each of its factors, up to far beyond what
        // anybody can wait for.
        let number = limits.factorial as usize * 8;
        let all = ALL.max(2 * (number + AROUND));
        Bodies { room: Arc::new(Semaphore::new(all.div_ceil(1024))), number }
    }

    fn most(&self, kind: Kind) -> usize {
        match kind {
            Kind::Submission => SUBMISSION,
            Kind::Number => self.number + 1024,
            Kind::Checkpoint => self.number + AROUND,
        }
    }

    /// Reads a body; waits where others fill the room. How long it may take is seen to
    /// by the connection.
    pub async fn read(&self, kind: Kind, request: Request<Body>) -> Result<Read, Problem> {
        let most = self.most(kind);
        let mut body = request.into_body();
        let room = match kind {
            Kind::Submission => None,
            Kind::Number | Kind::Checkpoint => Some(self.room(body.size_hint().upper(), most).await?),
        };
        let mut bytes = vec![];
        let mut read = 0;
        while let Some(frame) = body.frame().await {
            let broken =
                |error| Problem::new(StatusCode::BAD_REQUEST, format!("the request's body does not read: {error}"));
            let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
            read += data.len();
            if read <= most {
                bytes.extend_from_slice(&data);
            } else if read > most + IN_VAIN {
                break;
            }
        }
        if read > most {
            let reason = format!("the request's body: expected at most {most} bytes, got more");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, reason));
        }
        Ok(Read { bytes: bytes.into(), _room: room })
    }

    /// For a body of that size, if it says so, and of `most` if it does not.
    async fn room(&self, size: Option<u64>, most: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let bytes = size.and_then(|size| usize::try_from(size).ok()).map_or(most, |size| size.min(most));
        let kilobytes = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        self.room.clone().acquire_many_owned(kilobytes).await.map_err(|_| Problem::ending())
    }
}
