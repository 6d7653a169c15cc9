//! The file `hosts.txt`: roles, then nodes, then clients.

use std::path::Path;

use anyhow::{Context, bail};
use ringleader_client::transport::mesh::Address;
use ringleader_shared::paxos::{MAX_NODES, NodeId, Roles};

use crate::commands::list;

/// At most how many clients a list has.
const MAX_CLIENTS: usize = 1000;

/// A longer file is no list of hosts.
const MOST_BYTES: u64 = 256 * 1024;

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts {
    pub roles: Roles,
    /// The nodes, by id.
    pub nodes: Vec<Address>,
    /// How many clients; their ids follow those of the nodes.
    pub clients: u16,
}

impl Hosts {
    pub fn read(file: &Path) -> anyhow::Result<Hosts> {
        let text = list::read(file, MOST_BYTES, "; name another with --hosts (RINGLEADER_PAXOS_HOSTS)")?;
        Hosts::parse(&file.display().to_string(), &text)
    }

    fn parse(name: &str, text: &str) -> anyhow::Result<Hosts> {
        let mut counts: [Option<u16>; 3] = [None; 3];
        let (mut nodes, mut clients): (Vec<(usize, Address)>, _) = (vec![], 0);
        for (number, line) in (1..).zip(list::without_mark(text).lines()) {
            let at = format!("{name}:{number}");
            let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
            let which = words.first().and_then(|word| COUNTS.iter().position(|count| count == word));
            match (&words[..], which) {
                ([], _) => {}
                ([word, count], Some(which)) => {
                    let count = count.parse().ok().filter(|count| (1..=MAX_NODES).contains(count));
                    let count =
                        count.with_context(|| format!("{at}: expected {word} 1 to {MAX_NODES}, got {line:?}"))?;
                    if counts[which].replace(count).is_some() {
                        bail!("{at}: {word} stands there twice");
                    }
                }
                ([host, port, kind @ ("con" | "cli")], None) => {
                    let port = port.parse().ok().filter(|port| *port > 0 || *kind == "cli");
                    let port = port.with_context(|| format!("{at}: expected a port from 1 to 65535, got {line:?}"))?;
                    match *kind {
                        "cli" => clients += 1,
                        _ if clients > 0 => {
                            bail!("{at}: expected the con lines before the cli lines: ids go by position")
                        }
                        _ => {
                            let address = Address { host: (*host).into(), port };
                            if let Some((first, _)) = nodes.iter().find(|(_, other)| *other == address) {
                                bail!("{at}: expected another address than in line {first}; got {line:?}");
                            }
                            nodes.push((number, address));
                        }
                    }
                }
                _ => {
                    bail!("{at}: expected HOST PORT con, HOST PORT cli, or one of {}; got {line:?}", COUNTS.join(", "))
                }
            }
        }
        let count =
            |which: usize| counts[which].with_context(|| format!("{name}: expected a line {} N", COUNTS[which]));
        let (proposers, acceptors, learners) = (count(0)?, count(1)?, count(2)?);
        let all = usize::from(proposers) + usize::from(acceptors) + usize::from(learners);
        if all != nodes.len() {
            bail!(
                "{name}: {proposers} proposers, {acceptors} acceptors and {learners} learners make {all}, but there are \
                 {} con lines: change one of the counts, or add or remove con lines",
                nodes.len()
            );
        }
        let roles = Roles::new(proposers, acceptors, learners);
        let roles = roles.with_context(|| format!("{name}: expected at most {MAX_NODES} nodes, got {all}"))?;
        if clients > MAX_CLIENTS {
            bail!("{name}: expected at most {MAX_CLIENTS} cli lines, got {clients}");
        }
        let nodes = nodes.into_iter().map(|(_, address)| address).collect();
        Ok(Hosts { roles, nodes, clients: clients as u16 })
    }

    /// The node with this id.
    pub fn node(&self, id: u16, file: &Path) -> anyhow::Result<(NodeId, &Address)> {
        let last = self.nodes.len() - 1;
        let address = self.nodes.get(usize::from(id));
        let address =
            address.with_context(|| format!("{}: the nodes are 0 to {last}; there is no {id}", file.display()))?;
        Ok((NodeId(id), address))
    }

    /// Whether that is a client's id.
    pub fn client(&self, id: u16, file: &Path) -> anyhow::Result<()> {
        let (name, first) = (file.display(), self.nodes.len());
        let last = first + usize::from(self.clients);
        if self.clients == 0 {
            bail!("{name}: expected a cli line for each client, after the con lines, such as: localhost 0 cli");
        }
        if !(first..last).contains(&usize::from(id)) {
            bail!("{name}: the clients are {first} to {}; {id} is none", last - 1);
        }
        Ok(())
    }

    /// What and where that node is, for people.
    pub fn describe(&self, node: NodeId) -> String {
        let role = self.roles.of(node).map(|role| format!("{role} ")).unwrap_or_default();
        let address = self.nodes.get(usize::from(node.0)).map(|address| format!(" ({address})")).unwrap_or_default();
        format!("{role}{node}{address}")
    }
}

const COUNTS: [&str; 3] = ["PROPOSERS", "ACCEPTORS", "LEARNERS"];

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# two and three and one\nPROPOSERS 1\nACCEPTORS 1\nLEARNERS 1\n\n127.0.0.1 8100 con\n\
                        ::1 8101 con # here too\nlab 8102 con\nlab 0 cli\n";

    #[test]
    fn ids_go_by_position() {
        let hosts = Hosts::parse("hosts.txt", GOOD).unwrap();
        assert_eq!(hosts.roles, Roles::new(1, 1, 1).unwrap());
        assert_eq!(hosts.describe(NodeId(1)), "acceptor 1 ([::1]:8101)");
        assert_eq!(hosts.clients, 1);
        let file = Path::new("hosts.txt");
        assert_eq!(hosts.node(2, file).unwrap().1.to_string(), "lab:8102");
        assert!(hosts.client(3, file).is_ok());
        for (error, expected) in [
            (hosts.node(3, file).unwrap_err(), "hosts.txt: the nodes are 0 to 2; there is no 3"),
            (hosts.client(2, file).unwrap_err(), "hosts.txt: the clients are 3 to 3; 2 is none"),
        ] {
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn a_file_may_come_from_windows() {
        let text = format!("\u{feff}{}\r\n", GOOD.replace('\n', " \r\n"));
        assert_eq!(Hosts::parse("hosts.txt", &text).unwrap(), Hosts::parse("hosts.txt", GOOD).unwrap());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let table = [
            (("PROPOSERS 1", "PROPOSERS none"), "hosts.txt:2: expected PROPOSERS 1 to 100, got \"PROPOSERS none\""),
            (("PROPOSERS 1", "PROPOSERS 0"), "hosts.txt:2: expected PROPOSERS 1 to 100"),
            (("ACCEPTORS 1", "PROPOSERS 1"), "hosts.txt:3: PROPOSERS stands there twice"),
            (("ACCEPTORS 1", ""), "hosts.txt: expected a line ACCEPTORS N"),
            (("ACCEPTORS 1", "ACCEPTORS 3"), "make 5, but there are 3 con lines"),
            (("lab 8102 con", "lab 8102"), "hosts.txt:8: expected HOST PORT con"),
            (("lab 8102 con", "lab 99999 con"), "hosts.txt:8: expected a port from 1 to 65535"),
            (("lab 8102 con", "lab 0 con"), "hosts.txt:8: expected a port"),
            (("lab 8102 con", "127.0.0.1 8100 con"), "hosts.txt:8: expected another address than in line 6"),
            (("lab 8102 con", "lab 8102 node"), "hosts.txt:8: expected HOST PORT con"),
            (("127.0.0.1 8100 con", "a 1 cli"), "hosts.txt:7: expected the con lines before the cli lines"),
        ];
        for ((old, new), expected) in table {
            let text = GOOD.replacen(old, new, 1);
            let error = Hosts::parse("hosts.txt", &text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
