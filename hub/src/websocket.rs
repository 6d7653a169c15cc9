//! A WebSocket of the hub: tungstenite's machine over a [`Stream`], used by one task.
//!
//! tokio-tungstenite has this too, but keeps to itself what we need: the size of the
//! frames that are taken changes while a connection lives.

use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::stream::Stream;

/// A buffer of this size is filled with zeros before every read, and kept for as
/// long as the connection lasts: the default of 128 KiB costs time and memory. Most
/// frames are a tenth of it; it grows for the arrays of large elections.
pub const READ_BUFFER_BYTES: usize = 2 * 1024;

/// The server's side, after the handshake.
pub struct WebSocket {
    machine: WebSocketContext,
    stream: Stream,
}

impl WebSocket {
    /// `read` is what came with the handshake's last bytes.
    pub fn new(stream: Stream, read: Vec<u8>, most_bytes: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(READ_BUFFER_BYTES)
            .max_message_size(Some(most_bytes))
            .max_frame_size(Some(most_bytes));
        WebSocket { machine: WebSocketContext::from_partially_read(read, Role::Server, Some(config)), stream }
    }

    /// From now on takes messages of up to `most_bytes`.
    pub fn take_up_to(&mut self, most_bytes: usize) {
        self.machine.set_config(|config| {
            config.max_message_size = Some(most_bytes);
            config.max_frame_size = Some(most_bytes);
        });
    }

    /// The next message; after an error there is none. Pings are answered. Can be
    /// dropped and called again without losing one.
    pub async fn next(&mut self) -> Result<Message, Error> {
        poll_fn(|context| ready(self.machine.read(&mut Polled { stream: &mut self.stream, context }))).await
    }

    /// Sends a message, and all that waits before it.
    pub async fn send(&mut self, message: Message) -> Result<(), Error> {
        let mut message = Some(message);
        poll_fn(|context| {
            let Some(message) = message.take() else { return Poll::Ready(Ok(())) };
            match self.machine.write(&mut Polled { stream: &mut self.stream, context }, message) {
                // It is in the buffer.
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Poll::Ready(Ok(())),
                done => Poll::Ready(done),
            }
        })
        .await?;
        self.flush().await
    }

    /// Sends what waits: of a message, an answer to a ping or to a close.
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|context| ready(self.machine.flush(&mut Polled { stream: &mut self.stream, context }))).await.or_else(
            |error| match error {
                // What waited was the last thing to be said.
                Error::ConnectionClosed => Ok(()),
                error => Err(error),
            },
        )
    }

    /// What is below.
    pub fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }
}

fn ready<T>(done: Result<T, Error>) -> Poll<Result<T, Error>> {
    match done {
        Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        done => Poll::Ready(done),
    }
}

/// A stream for those who do not know tasks: what would have to wait is an error, and
/// the task is woken when it is worth another try.
struct Polled<'a, 'b> {
    stream: &'a mut Stream,
    context: &'a mut Context<'b>,
}

impl Read for Polled<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(buffer);
        or_would_block(Pin::new(&mut *self.stream).poll_read(self.context, &mut buffer))?;
        Ok(buffer.filled().len())
    }
}

impl Write for Polled<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        or_would_block(Pin::new(&mut *self.stream).poll_write(self.context, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        or_would_block(Pin::new(&mut *self.stream).poll_flush(self.context))
    }
}

fn or_would_block<T>(polled: Poll<io::Result<T>>) -> io::Result<T> {
    match polled {
        Poll::Ready(done) => done,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}
