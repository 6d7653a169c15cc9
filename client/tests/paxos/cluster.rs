//! Nodes of one `hosts.txt`, and clients of theirs.

use std::fmt::Write;

use nix::sys::signal::Signal;
use tokio::net::TcpListener;

use super::world::Run;

/// How many cli lines there are.
const CLIENTS: usize = 10;

/// Killed with the value.
pub struct Cluster {
    directory: tempfile::TempDir,
    pub ports: Vec<u16>,
    nodes: Vec<Option<Run>>,
}

impl Cluster {
    /// A list of hosts, and nobody there yet.
    pub async fn new(proposers: usize, acceptors: usize, learners: usize) -> Cluster {
        let mut text = format!("PROPOSERS {proposers}\nACCEPTORS {acceptors}\nLEARNERS {learners}\n");
        // Held until all are known, so that none is given out twice.
        let mut held = vec![];
        for _ in 0..proposers + acceptors + learners {
            held.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
        }
        let ports: Vec<u16> = held.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        for port in &ports {
            writeln!(text, "127.0.0.1 {port} con").unwrap();
        }
        text.push_str(&"127.0.0.1 0 cli\n".repeat(CLIENTS));
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("hosts.txt"), text).unwrap();
        let nodes = ports.iter().map(|_| None).collect();
        Cluster { directory, ports, nodes }
    }

    pub async fn start(proposers: usize, acceptors: usize, learners: usize) -> Cluster {
        Cluster::start_with(proposers, acceptors, learners, &[]).await
    }

    pub async fn start_with(proposers: usize, acceptors: usize, learners: usize, more: &[&str]) -> Cluster {
        let mut cluster = Cluster::new(proposers, acceptors, learners).await;
        cluster.boot_all_but(usize::MAX, more);
        cluster
    }

    pub fn boot_all_but(&mut self, absent: usize, more: &[&str]) {
        for node in (0..self.ports.len()).filter(|node| *node != absent) {
            self.boot(node, more);
        }
    }

    /// Starts a node. `--data-dir` needs no value here.
    pub fn boot(&mut self, node: usize, more: &[&str]) {
        let (id, hosts, data) = (node.to_string(), self.hosts(), self.data());
        let mut arguments = vec!["paxos", "node", &id, "--hosts", &hosts];
        for word in more {
            arguments.push(word);
            if *word == "--data-dir" {
                arguments.push(&data);
            }
        }
        self.nodes[node] = Some(Run::start(&arguments));
    }

    pub fn node(&mut self, node: usize) -> &mut Run {
        self.nodes[node].as_mut().expect("it was started")
    }

    pub async fn kill(&mut self, node: usize) {
        self.node(node).signal(Signal::SIGKILL);
        self.node(node).end().await;
    }

    pub fn hosts(&self) -> String {
        self.directory.path().join("hosts.txt").display().to_string()
    }

    pub fn data(&self) -> String {
        self.directory.path().join("data").display().to_string()
    }

    /// The first client, who wants that value and asks that proposer.
    pub fn set(&self, value: &str, proposer: u16) -> Run {
        self.set_with(value, proposer, &[])
    }

    pub fn set_with(&self, value: &str, proposer: u16, more: &[&str]) -> Run {
        let (id, proposer, hosts) = (self.ports.len().to_string(), proposer.to_string(), self.hosts());
        Run::start(&[&["paxos", "set", &id, value, &proposer, "--hosts", &hosts], more].concat())
    }

    /// The line that a client prints who has heard.
    pub async fn outcome(&self, value: &str, proposer: u16) -> String {
        let mut set = self.set(value, proposer);
        let line = set.out("chosen").await;
        assert_eq!(set.end().await.code(), Some(0));
        line
    }
}
