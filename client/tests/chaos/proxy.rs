//! A stretch of network between one node and the hub, that can be cut, or stand
//! still while both ends believe in their connection.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

/// How it is to travel one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Clear,
    /// Every chunk takes so long.
    Delayed(Duration),
    /// A few bytes at a time: who sends finds a slow reader.
    Slow,
    /// Nothing is read and nothing arrives; nobody is told.
    Held,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ways {
    pub to_hub: Way,
    pub to_node: Way,
}

pub const CLEAR: Ways = Ways { to_hub: Way::Clear, to_node: Way::Clear };

/// Whose side sees a connection end. The other side's stays, silent, until all is clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    Both,
    HubSide,
    NodeSide,
}

/// One node's way to the hub; gone with the value.
pub struct Proxy {
    pub address: SocketAddr,
    ways: watch::Sender<Ways>,
    cuts: broadcast::Sender<Cut>,
    task: AbortHandle,
}

impl Proxy {
    pub async fn start(hub: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ways, cuts) = (watch::Sender::new(CLEAR), broadcast::Sender::new(16));
        let task = tokio::spawn(listen(listener, hub, ways.subscribe(), cuts.clone())).abort_handle();
        Proxy { address, ways, cuts, task }
    }

    pub fn set(&self, ways: Ways) {
        self.ways.send_replace(ways);
    }

    /// Ends the connections that are there now.
    pub fn cut(&self, cut: Cut) {
        // Nobody hears it where nobody is connected.
        let _ = self.cuts.send(cut);
    }

    /// All is well again; what a cut left lying is cleared away.
    pub fn heal(&self) {
        self.ways.send_replace(CLEAR);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(listener: TcpListener, hub: SocketAddr, ways: watch::Receiver<Ways>, cuts: broadcast::Sender<Cut>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((node, _)) => _ = connections.spawn(carry(node, hub, ways.clone(), cuts.subscribe())),
                // The node has given up meanwhile.
                Err(_) => sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One connection, to its end.
async fn carry(node: TcpStream, hub: SocketAddr, mut ways: watch::Receiver<Ways>, mut cuts: broadcast::Receiver<Cut>) {
    let to_hub = |ways: &Ways| ways.to_hub;
    let to_node = |ways: &Ways| ways.to_node;
    let connecting = async {
        open(&mut ways, to_hub).await;
        TcpStream::connect(hub).await
    };
    let hub = tokio::select! {
        hub = connecting => hub,
        _ = cuts.recv() => return,
    };
    let Ok(hub) = hub else { return };
    let _ = (node.set_nodelay(true), hub.set_nodelay(true));
    let ((mut from_node, mut node), (mut from_hub, mut hub)) = (node.into_split(), hub.into_split());
    let cut = tokio::select! {
        () = pump(&mut from_node, &mut hub, ways.clone(), to_hub) => return,
        () = pump(&mut from_hub, &mut node, ways.clone(), to_node) => return,
        cut = cuts.recv() => cut.unwrap_or(Cut::Both),
    };
    ways.mark_unchanged();
    match cut {
        Cut::Both => {}
        Cut::HubSide => {
            drop((from_hub, hub));
            let _ = ways.changed().await;
        }
        Cut::NodeSide => {
            drop((from_node, node));
            let _ = ways.changed().await;
        }
    }
}

/// Carries bytes one way, until either end is gone.
async fn pump(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    mut ways: watch::Receiver<Ways>,
    side: impl Fn(&Ways) -> Way,
) {
    let mut buffer = [0; 16 * 1024];
    loop {
        let Some(way) = open(&mut ways, &side).await else { return };
        let most = if way == Way::Slow { 32 } else { buffer.len() };
        let read = tokio::select! {
            read = from.read(&mut buffer[..most]) => read,
            _ = ways.changed() => continue,
        };
        let Ok(read @ 1..) = read else { return };
        match open(&mut ways, &side).await {
            Some(Way::Delayed(time)) => sleep(time).await,
            Some(Way::Slow) => sleep(Duration::from_millis(100)).await,
            _ => {}
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// Waits until something gets through; `None` when the proxy is gone.
async fn open(ways: &mut watch::Receiver<Ways>, side: impl Fn(&Ways) -> Way) -> Option<Way> {
    let ways = ways.wait_for(|ways| side(ways) != Way::Held).await.ok()?;
    Some(side(&ways))
}
