//! One WebSocket to the hub.

use std::net::SocketAddr;
use std::ops::ControlFlow;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::{Answer, answer, frame, is, new_leader, soon, start};

/// A method that no hub knows: the error it gives comes after all that came before.
pub const FENCE: &str = "fence";

/// What a WebSocket goes over.
pub trait Link: AsyncRead + AsyncWrite + Unpin + Send {}

impl<L: AsyncRead + AsyncWrite + Unpin + Send> Link for L {}

pub struct Peer {
    pub id: String,
    pub rank: u32,
    /// What it greeted with.
    pub name: Option<String>,
    pub welcome: Value,
    pub socket: WebSocketStream<Box<dyn Link>>,
}

impl Peer {
    /// Connects and is welcomed, or gets another answer over HTTP.
    pub async fn connect(hub: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Result<Self, Answer> {
        Peer::over(&hub.to_string(), TcpStream::connect(hub).await.unwrap(), path, headers).await
    }

    /// The same to a hub that is already connected to.
    pub async fn over(
        host: &str,
        link: impl Link + 'static,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, Answer> {
        let mut request = format!("ws://{host}{path}").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
        }
        let socket = match soon("the WebSocket handshake", client_async(request, Box::new(link) as Box<dyn Link>)).await
        {
            Ok((socket, _)) => socket,
            Err(Error::Http(response)) => {
                let body = response.body().clone().unwrap_or_default();
                let body = String::from_utf8_lossy(&body).into_owned();
                let head = format!("{:?}", response.headers()).to_lowercase();
                return Err(Answer { status: response.status().as_u16(), head, body });
            }
            Err(error) => panic!("{path}: {error}"),
        };
        let mut peer = Peer { id: String::new(), rank: 0, name: None, welcome: Value::Null, socket };
        peer.welcome = peer.next().await;
        assert_eq!(peer.welcome["method"], "welcome", "a welcome is the first frame");
        peer.id = peer.welcome["clientId"].as_str().unwrap().into();
        Ok(peer)
    }

    /// Becomes a member; the hub's `response`.
    pub async fn join(&mut self, rank: u32) -> Value {
        self.rank = rank;
        self.name = Some(format!("rank-{rank}"));
        self.greet(json!({ "rank": rank, "name": self.name, "forwards": true, "term": 0 })).await
    }

    /// Becomes a member by greeting with `data`; the hub's `response`.
    pub async fn greet(&mut self, data: Value) -> Value {
        self.send(frame("greeting", data)).await;
        let response = self.next().await;
        assert_eq!(response["method"], "response", "who greets is answered: {response}");
        assert_eq!(response["clientId"], self.id.as_str(), "and told its id once more");
        response
    }

    pub async fn send(&mut self, frame: Value) {
        self.send_text(frame.to_string()).await;
    }

    pub async fn send_text(&mut self, text: impl Into<String>) {
        let sent = self.socket.send(Message::text(text.into()));
        soon("room to send", sent).await.expect("the connection is open");
    }

    /// These bytes as they are, whatever WebSockets are like.
    pub async fn send_raw(&mut self, bytes: &[u8]) {
        let sent = self.socket.get_mut().write_all(bytes);
        soon("room to send", sent).await.expect("the connection is open");
    }

    /// The next frame.
    pub async fn next(&mut self) -> Value {
        serde_json::from_str(&self.next_text().await).expect("frames are JSON")
    }

    pub async fn next_text(&mut self) -> String {
        match soon("a frame", self.next_or_close()).await {
            ControlFlow::Continue(text) => text,
            ControlFlow::Break(code) => panic!("{} was closed with {code:?} where a frame was due", self.id),
        }
    }

    /// Reads on to the end; the close code, if the hub gave one.
    pub async fn closed(&mut self) -> Option<u16> {
        loop {
            if let ControlFlow::Break(code) = soon("the end", self.next_or_close()).await {
                return code;
            }
        }
    }

    /// The next frame, or the close code. Can be dropped and called again.
    pub async fn next_or_close(&mut self) -> ControlFlow<Option<u16>, String> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return ControlFlow::Continue(text.to_string()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(close))) => return ControlFlow::Break(close.map(|close| close.code.into())),
                Some(Ok(other)) => panic!("the hub sends texts, not {other:?}"),
                Some(Err(_)) | None => return ControlFlow::Break(None),
            }
        }
    }

    /// The next frame, which is an error; its `data`.
    pub async fn error(&mut self) -> Value {
        let mut error = self.next().await;
        assert!(is(&error, "error"), "an error was due, not {error}");
        assert_eq!(error["senderId"], Value::Null, "errors are the hub's own");
        let message = error["data"]["message"].as_str().unwrap();
        assert!((10..600).contains(&message.len()), "the message says what was expected, in short: {message:?}");
        error["data"].take()
    }

    /// All that came before the answer to a fence sent now.
    pub async fn fence(&mut self) -> Vec<Value> {
        self.send(frame(FENCE, Value::Null)).await;
        let mut before = vec![];
        loop {
            let frame = self.next().await;
            if is(&frame, "error") && frame["data"]["about"] == FENCE {
                return before;
            }
            before.push(frame);
        }
    }

    /// Nothing has come that the test did not read.
    pub async fn has_nothing_more(&mut self, when: &str) {
        let frames = self.fence().await;
        assert!(frames.is_empty(), "nothing was to come to rank {} ({}) {when}, but: {frames:#?}", self.rank, self.id);
    }

    pub async fn close(mut self) {
        soon("the close handshake", self.socket.close(None)).await.unwrap();
        self.closed().await;
    }

    /// Its entry in an eligible array.
    pub fn entry(&self) -> Value {
        json!({ "rank": self.rank, "clientId": self.id })
    }

    /// Does with the next frame what an honest member does; the frame as it came.
    pub async fn turn(&mut self) -> Value {
        let frame = self.next().await;
        self.react(&frame).await;
        frame
    }

    pub async fn react(&mut self, frame: &Value) {
        if let Some(said) = self.honestly(frame) {
            self.send(said).await;
        }
    }

    /// What an honest member says to this frame.
    fn honestly(&self, frame: &Value) -> Option<Value> {
        let data = &frame["data"];
        let term = data["term"].as_u64();
        let mine = frame["senderId"] == self.id.as_str();
        match frame["method"].as_str().unwrap() {
            "election" => {
                let ranks = data["ranks"].as_array().unwrap();
                if ranks.iter().any(|entry| entry["clientId"] == self.id.as_str()) {
                    let best = ranks.iter().max_by_key(|entry| (entry["rank"].as_u64(), entry["clientId"].as_str()));
                    return Some(new_leader(best?["clientId"].as_str()?, term));
                }
                let mut passed_on = frame.clone();
                passed_on["data"]["ranks"].as_array_mut()?.push(self.entry());
                Some(passed_on)
            }
            "checkLeader" if data["leaderId"] == self.id.as_str() => Some(answer(frame["senderId"].as_str()?, term)),
            "newLeader" | "checkLeader" if !mine => Some(frame.clone()),
            "answerLeader" if data["destinationId"] != self.id.as_str() => Some(frame.clone()),
            _ => None,
        }
    }

    pub async fn starts_election(&mut self, known: u64) {
        self.send(start(self, known)).await;
    }
}

/// A whole election among honest members that nothing disturbs; the first one starts
/// it, the others are in ring order. The announcement as everybody got it.
pub async fn elect<const N: usize>(ring: [&mut Peer; N], known: u64) -> Value {
    ring[0].starts_election(known).await;
    let mut seen = Value::Null;
    for _ in ["the election", "the announcement"] {
        for at in (1..N).chain([0]) {
            seen = ring[at].turn().await;
        }
    }
    assert!(is(&seen, "newLeader"), "who announced gets the announcement last, not {seen}");
    seen
}
