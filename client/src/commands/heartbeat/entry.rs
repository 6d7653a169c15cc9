//! The `entry` file: how many peers there are, then `ID IP` a line.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use ringleader_shared::election::lowest_id::PeerId;

use crate::commands::list;

/// More peers would take too many connections at one time.
const MOST_PEERS: usize = 256;

/// A longer file is no list of peers.
const MOST_BYTES: u64 = 64 * 1024;

/// What the file says.
pub fn read(path: &Path) -> anyhow::Result<BTreeMap<PeerId, IpAddr>> {
    let advice = ", the list of peers (--entry FILE); it is how many there are, then ID IP a line";
    let text = list::read(path, MOST_BYTES, advice)?;
    parse(&text).map_err(|(line, what)| anyhow::anyhow!("{}:{line}: {what}", path.display()))
}

/// An error comes with the number of its line.
fn parse(text: &str) -> Result<BTreeMap<PeerId, IpAddr>, (usize, String)> {
    let text = list::without_mark(text);
    let end = text.lines().count().max(1);
    let mut lines =
        text.lines().enumerate().map(|(at, line)| (at + 1, line.trim())).filter(|(_, line)| !line.is_empty());
    let expected = format!("how many peers there are, from 1 to {MOST_PEERS}");
    let (at, count) = lines.next().ok_or_else(|| (end, format!("expected {expected}, got the end of the file")))?;
    let count: usize = count
        .parse()
        .ok()
        .filter(|count| (1..=MOST_PEERS).contains(count))
        .ok_or_else(|| (at, format!("expected {expected}, got {}", quoted(count))))?;
    let mut list = BTreeMap::new();
    for (at, line) in lines {
        if list.len() == count {
            return Err((at, format!("expected the end of the file after {count} peers, got {}", quoted(line))));
        }
        let wrong = || (at, format!("expected ID IP, such as 2 127.0.0.2, got {}", quoted(line)));
        let mut fields = line.split_whitespace();
        let (Some(id), Some(address), None) = (fields.next(), fields.next(), fields.next()) else {
            return Err(wrong());
        };
        let id: PeerId = id.parse().map_err(|_| wrong())?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        if let Some((other, _)) = list.iter().find(|&(_, other)| *other == address) {
            return Err((at, format!("expected an address of its own, got that of {other}: all use the same port")));
        }
        if list.insert(id, address).is_some() {
            return Err((at, format!("expected an id of its own, got {id} again")));
        }
    }
    if list.len() < count {
        return Err((end, format!("expected {count} peers, got the end of the file after {}", list.len())));
    }
    Ok(list)
}

/// Of a line that somebody else may have written, enough to find it.
fn quoted(line: &str) -> String {
    format!("{:?}", line.chars().take(60).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_and_then_the_peers() {
        for text in [
            "2\n10 127.0.0.1\n9 ::1\n",
            "\u{feff}2\r\n10 127.0.0.1\r\n9 ::1\r\n\r\n",
            "\n 2 \n\n10\t127.0.0.1\n 9  ::1 \n\n",
        ] {
            let list = parse(text).unwrap();
            let list: Vec<_> = list.iter().map(|(id, address)| (id.get(), address.to_string())).collect();
            assert_eq!(list, [(9, "::1".to_owned()), (10, "127.0.0.1".to_owned())], "{text:?}");
        }
    }

    #[test]
    fn errors_name_the_line() {
        let table = [
            ("", 1, "expected how many peers there are, from 1 to 256, got the end of the file"),
            ("1 127.0.0.1\n", 1, "got \"1 127.0.0.1\""),
            ("0\n", 1, "got \"0\""),
            ("257\n", 1, "got \"257\""),
            ("2\n1 127.0.0.1\n", 2, "expected 2 peers, got the end of the file after 1"),
            ("1\n1 127.0.0.1\n2 127.0.0.2\n", 3, "expected the end of the file after 1 peers, got \"2 127.0.0.2\""),
            ("1\n1\n", 2, "expected ID IP, such as 2 127.0.0.2, got \"1\""),
            ("1\n1 localhost\n", 2, "got \"1 localhost\""),
            ("1\none 127.0.0.1\n", 2, "got \"one 127.0.0.1\""),
            ("1\n1 127.0.0.1 5000\n", 2, "got \"1 127.0.0.1 5000\""),
            ("2\n1 127.0.0.1\n\n1 127.0.0.2\n", 4, "expected an id of its own, got 1 again"),
            ("2\n1 127.0.0.1\n2 127.0.0.1\n", 3, "expected an address of its own, got that of 1"),
        ];
        for (text, line, expected) in table {
            let (at, what) = parse(text).unwrap_err();
            assert!(at == line && what.contains(expected), "{text:?}: {at}: {what}");
        }
    }
}
