//! Groups with peers that somebody else might have written: small ones that do what
//! the exercise says, each in another way.

use std::time::Duration;

use nix::sys::signal::Signal;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::group::{Group, end, names};
use crate::world::PATIENCE;

/// How somebody wrote it.
#[derive(Clone, Copy)]
struct Style {
    /// What it says, for its id.
    says: fn(u32) -> String,
    /// It hangs up after what it has read at once; else it never hangs up.
    hangs_up: bool,
    /// It has the urgent byte left in the stream.
    inline: bool,
    /// It waits for the end of the connection, and for no answer before it.
    listens: bool,
}

const PLAIN: Style = Style { says: |id| id.to_string(), hangs_up: true, inline: false, listens: true };
/// Does not wait for an answer, so that it does not matter that it gets one.
const DEAF: Style = Style { listens: false, ..PLAIN };
const STYLES: [Style; 3] = [
    PLAIN,
    Style { says: |id| format!("{id}\n"), hangs_up: true, inline: true, listens: true },
    Style { says: |id| format!(" {id} \r\n"), hangs_up: false, inline: true, listens: true },
];

/// Speaks until it is dropped.
struct Classic {
    heard: mpsc::UnboundedReceiver<String>,
    _tasks: JoinSet<()>,
}

impl Classic {
    async fn start(group: &Group, id: u32, others: &[u32], style: Style) -> Classic {
        let (tell, heard) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let listener = TcpListener::bind(group.socket(id)).await.unwrap();
        SockRef::from(&listener).set_out_of_band_inline(style.inline).unwrap();
        tasks.spawn(async move {
            let mut kept = vec![];
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut bytes = [0; 1024];
                // Its urgent byte may be on its way still.
                sleep(Duration::from_millis(5)).await;
                let mut text = String::new();
                while let Ok(Ok(count @ 1..)) = timeout(Duration::from_millis(20), stream.read(&mut bytes)).await {
                    text.push_str(&String::from_utf8_lossy(&bytes[..count]));
                }
                let _ = tell.send(text);
                if !style.hangs_up {
                    kept.push(stream);
                }
            }
        });
        for to in others.iter().map(|&other| group.socket(other)) {
            tasks.spawn(async move {
                loop {
                    if let Ok(mut stream) = TcpStream::connect(to).await {
                        let _ = stream.write_all((style.says)(id).as_bytes()).await;
                        let mut answer = String::new();
                        if !style.hangs_up {
                            // Some keep what they have, and wait for nothing.
                            sleep(Duration::from_millis(300)).await;
                        } else if style.listens {
                            stream.shutdown().await.unwrap();
                            let _ = stream.read_to_string(&mut answer).await;
                        }
                        assert_eq!(answer, "", "nobody answers in their world");
                    }
                    sleep(Duration::from_millis(200)).await;
                }
            });
        }
        Classic { heard, _tasks: tasks }
    }

    async fn hears(&mut self, expected: &str) {
        let heard = timeout(PATIENCE, async {
            while let Some(text) = self.heard.recv().await {
                // One that is dropped may not have come to speak.
                assert!(["", "2", "12", "99"].contains(&text.trim()), "not an id of the group: {text:?}");
                if text == expected {
                    return;
                }
            }
        });
        heard.await.unwrap_or_else(|_| panic!("{expected:?} did not come"));
    }
}

#[tokio::test]
async fn theirs_and_ours_in_any_order() {
    for style in STYLES {
        for theirs_first in [true, false] {
            let group = Group::of(&[2, 12, 99]).await;
            let mut ours = (!theirs_first).then(|| group.start(12, &[]));
            let two = Classic::start(&group, 2, &[12, 99], style).await;
            let mut last = Classic::start(&group, 99, &[2, 12], style).await;
            let mut twelve = ours.take().unwrap_or_else(|| group.start(12, &[]));
            assert_eq!(twelve.line().await.unwrap(), "leader is 2");
            last.hears("12").await;
            drop(two);
            assert_eq!(twelve.line().await.unwrap(), "leader is 12");
            // The urgent byte is a newline after the id. Who does not ask for it in the stream has the id.
            last.hears(if style.inline { "12\n" } else { "12" }).await;
            let _two = Classic::start(&group, 2, &[12, 99], style).await;
            assert_eq!(twelve.line().await.unwrap(), "leader is 2");
        }
    }
}

#[tokio::test]
async fn their_urgent_messages_are_understood() {
    let group = Group::of(&[1, 2, 3, 12]).await;
    let mut two = group.start(2, &["--start-without-all"]);
    two.out("leader is 2").await;
    // What goes as usual, and what out of band; the last byte of that is the urgent one.
    for (id, normal, out_of_band) in [(3, "", "3"), (12, "", "12"), (12, "1", "2"), (12, "12", "!"), (3, "3", "3")] {
        let mut stream = TcpStream::connect(group.socket(2)).await.unwrap();
        stream.write_all(normal.as_bytes()).await.unwrap();
        assert!(SockRef::from(&stream).send_out_of_band(out_of_band.as_bytes()).unwrap() > 0);
        drop(stream);
        two.err(&format!("{id} misses its leader (an urgent message)")).await;
    }
}

#[tokio::test]
async fn urged_we_do_not_wait_for_the_rest_of_the_timeout() {
    let group = Group::of(&[1, 2, 3]).await;
    // Late after 3 s of silence, and silent after 60.
    let more = ["--interval", "2s", "--timeout", "60s"];
    let (mut one, mut two) = (group.start(1, &more), group.start(2, &more));
    let mut three = group.start(3, &more);
    two.out("leader is 1").await;
    three.out("leader is 1").await;
    one.signal(Signal::SIGKILL);
    one.end().await;
    let patience = async {
        loop {
            let stream = TcpStream::connect(group.socket(2)).await.unwrap();
            SockRef::from(&stream).send_out_of_band(b"3").unwrap();
            drop(stream);
            sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::select! {
        () = patience => {}
        _ = two.out("leader is 2") => {}
    }
}

#[tokio::test]
async fn with_a_quorum_who_cannot_vote_is_counted_while_it_is_heard() {
    let group = Group::of(&[3, 12, 99]).await;
    let (mut three, mut seen) = (group.start(3, &["--quorum", "--json"]), vec![]);
    let twelve = Classic::start(&group, 12, &[3, 99], DEAF).await;
    let last = Classic::start(&group, 99, &[3, 12], DEAF).await;
    names(&mut three, &mut seen, Some(3)).await;
    three.err("12 does not vote").await;
    drop(twelve);
    drop(last);
    names(&mut three, &mut seen, None).await;
    end(&mut three, &mut seen).await;
}
