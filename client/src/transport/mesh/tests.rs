use ringleader_shared::paxos::{Incarnation, Value};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;

/// How long anything that has to come may take.
const SOON: Duration = Duration::from_secs(10);

async fn listeners(count: usize) -> (Vec<TcpListener>, Vec<Address>) {
    let mut listeners = vec![];
    for _ in 0..count {
        listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
    }
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    let addresses = listeners.iter().map(|listener| Address { host: "127.0.0.1".into(), port: port(listener) });
    let addresses = addresses.collect();
    (listeners, addresses)
}

fn query(number: u64) -> Message {
    Message::Query { run: Incarnation::new(number).unwrap(), unfinished: false }
}

async fn next(mesh: &mut Mesh) -> Input<Node> {
    timeout(SOON, mesh.next()).await.unwrap()
}

fn from(node: u16, message: Message) -> Input<Node> {
    Input::Message { from: Peer::Node(NodeId(node)), message }
}

#[tokio::test]
async fn lines_come_in_order_also_to_whoever_comes_later_and_comes_back() {
    let (mut listening, addresses) = listeners(3).await;
    let third = listening.pop().unwrap();
    let mut first = Mesh::new(NodeId(0), &addresses, 1, listening.remove(0));
    drop(third); // Nobody is there yet.
    first.send(Peer::Node(NodeId(2)), &query(1));
    first.send(Peer::Node(NodeId(2)), &query(2));

    for round in 0..3 {
        let listener = Mesh::listen(&addresses[2]).await.unwrap();
        let mut late = Mesh::new(NodeId(2), &addresses, 1, listener);
        let (mut expected, mut sent) = (vec![1, 2], 2);
        if round > 0 {
            expected = vec![3];
        }
        for number in expected.iter().copied() {
            if number > sent {
                sent = number;
                first.send_out(NodeId(2), &query(number)).await;
            }
            assert_eq!(next(&mut late).await, from(0, query(number)));
        }
        drop(late);
        // The link hears of it, and does not write the next line in vain.
        tokio::task::yield_now().await;
        timeout(SOON, async {
            while TcpStream::connect(("127.0.0.1", addresses[2].port)).await.is_ok() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn clients_are_answered_on_their_own_connection() {
    let (mut listening, addresses) = listeners(3).await;
    let mut mesh = Mesh::new(NodeId(0), &addresses, 1, listening.remove(0));
    let mut client = TcpStream::connect(("127.0.0.1", addresses[0].port)).await.unwrap();
    client.write_all(b"{\"hello\":3,\"to\":0}\n{\"kind\":\"propose\",\"value\":\"55\"}\n").await.unwrap();
    let value = Value::new("55").unwrap();
    let Input::Message { from: Peer::Client(id), message: Message::Propose { value: wanted } } = next(&mut mesh).await
    else {
        panic!("something else")
    };
    assert_eq!(wanted, value);
    mesh.send(Peer::Client(id), &Message::Outcome { value });
    let mut line = String::new();
    BufReader::new(&mut client).read_line(&mut line).await.unwrap();
    assert_eq!(line, "{\"kind\":\"outcome\",\"value\":\"55\"}\n");
    drop(client);
    assert_eq!(next(&mut mesh).await, Input::Event(Event::ClientGone(id)));
}

#[tokio::test]
async fn who_says_something_else_is_told_and_turned_away() {
    let (mut listening, addresses) = listeners(3).await;
    let _mesh = Mesh::new(NodeId(0), &addresses, 1, listening.remove(0));
    let long = vec![b'x'; MAX_LINE_BYTES + 1];
    let table: &[(&[u8], &str)] = &[
        (b"hello\n", "expected a line such as"),
        (b"{\"hello\":1,\"to\":2}\n", "this is node 0, not node 2"),
        (b"{\"hello\":0,\"to\":0}\n", "knows of no 0"),
        (b"{\"hello\":4,\"to\":0}\n", "knows of no 4"),
        (b"GET / HTTP/1.1\r\n\r\n", "expected a line such as"),
        (&long, "too long"),
    ];
    for (said, expected) in table {
        let mut stream = TcpStream::connect(("127.0.0.1", addresses[0].port)).await.unwrap();
        stream.write_all(said).await.unwrap();
        let mut heard = vec![];
        // Part of what was said may be unread: then the end is a reset.
        let _ = timeout(SOON, stream.read_to_end(&mut heard)).await.unwrap();
        let heard = String::from_utf8_lossy(&heard);
        assert!(heard.contains(expected), "{heard}");
    }
}

#[tokio::test]
async fn a_line_that_is_no_message_ends_the_connection() {
    let (mut listening, addresses) = listeners(3).await;
    let mut mesh = Mesh::new(NodeId(0), &addresses, 1, listening.remove(0));
    let mut stream = TcpStream::connect(("127.0.0.1", addresses[0].port)).await.unwrap();
    stream
        .write_all(b"{\"hello\":1,\"to\":0}\n{\"kind\":\"query\",\"run\":1,\"unfinished\":false}\nnonsense\n")
        .await
        .unwrap();
    assert_eq!(next(&mut mesh).await, from(1, query(1)));
    let mut heard = vec![];
    let _ = timeout(SOON, stream.read_to_end(&mut heard)).await.unwrap();
}

#[tokio::test]
async fn what_is_left_of_an_older_connection_does_not_count() {
    let (mut listening, addresses) = listeners(3).await;
    let mut mesh = Mesh::new(NodeId(0), &addresses, 1, listening.remove(0));
    let dial = async || {
        let mut stream = TcpStream::connect(("127.0.0.1", addresses[0].port)).await.unwrap();
        stream.write_all(b"{\"hello\":1,\"to\":0}\n").await.unwrap();
        stream
    };
    let mut old = dial().await;
    old.write_all(b"{\"kind\":\"query\",\"run\":1,\"unfinished\":false}\n").await.unwrap();
    assert_eq!(next(&mut mesh).await, from(1, query(1)));
    let mut new = dial().await;
    new.write_all(b"{\"kind\":\"query\",\"run\":2,\"unfinished\":false}\n").await.unwrap();
    assert_eq!(next(&mut mesh).await, from(1, query(2)));
    old.write_all(b"{\"kind\":\"query\",\"run\":3,\"unfinished\":false}\n").await.unwrap();
    assert!(timeout(Duration::from_millis(200), mesh.next()).await.is_err());
    new.write_all(b"{\"kind\":\"query\",\"run\":4,\"unfinished\":false}\n").await.unwrap();
    assert_eq!(next(&mut mesh).await, from(1, query(4)));
}

#[tokio::test]
async fn an_address_of_another_machine_is_called_so() {
    // 192.0.2.0/24 is nobody's (RFC 5737).
    let error = Mesh::listen(&Address { host: "192.0.2.1".into(), port: 4000 }).await.unwrap_err();
    assert!(matches!(error, ListenError::NotHere { .. }), "{error}");
}

#[tokio::test]
async fn a_flood_of_nonsense_does_not_fill_the_log() {
    let grumbles = door::Grumbles::default();
    let said = (0..1000).filter(|_| grumbles.say("nonsense")).count();
    assert_eq!(said, 1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(grumbles.say("nonsense"));
}
