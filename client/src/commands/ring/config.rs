//! `config.txt`: who we are and who comes after us.

use std::path::Path;

use anyhow::{anyhow, bail, ensure};
use ringleader_client::transport::ring::Address;

use crate::commands::list;

/// The longest file that is read, in bytes, and the largest ring.
const MOST_BYTES: u64 = 64 * 1024;
const MOST_NODES: usize = 1000;

/// The nodes that the file names, in the order of the ring, from us on; at least two.
pub fn read(path: &Path, repair: bool) -> anyhow::Result<Vec<Address>> {
    let advice = ", whose first line is to be our own ip,port and the second the successor's \
                  (another file: --config FILE; to see one: ringleader ring demo)";
    let text = list::read(path, MOST_BYTES, advice)?;
    parse(&text, &path.display().to_string(), repair)
}

fn parse(text: &str, name: &str, repair: bool) -> anyhow::Result<Vec<Address>> {
    // Many editors put an empty line behind the last.
    let text = list::without_mark(text).trim_end();
    let mut ring: Vec<Address> = vec![];
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let shown: String = line.chars().take(80).collect();
        let address: Address = line.parse().map_err(|error| anyhow!("{name}:{number}: {error}; got {shown:?}"))?;
        if let Some(same) = ring.iter().position(|other| *other == address) {
            bail!("{name}:{number}: expected another address than in line {}; got {shown:?}", same + 1);
        }
        ensure!(number <= MOST_NODES, "{name}:{number}: expected at most {MOST_NODES} nodes");
        ring.push(address);
    }
    let missing = ["our own ip,port, such as 127.0.0.1,5001", "the successor's ip,port, such as 127.0.0.1,5002"];
    if let Some(missing) = missing.get(ring.len()) {
        bail!("{name}:{}: expected {missing}; got the end of the file", ring.len() + 1);
    }
    if repair && ring.len() < 3 {
        bail!(
            "{name}:3: --repair needs the whole ring in order, from us round to our predecessor: expected the ip,port \
             of the one after our successor; got the end of the file"
        );
    }
    Ok(ring)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_is_read_from_us_on() {
        for text in ["127.0.0.1,5001\n127.0.0.1,5002", "\u{feff}127.0.0.1,5001\r\n127.0.0.1,5002\r\n\r\n \n"] {
            let ring: Vec<String> = parse(text, "x", false).unwrap().iter().map(ToString::to_string).collect();
            assert_eq!(ring, ["127.0.0.1:5001", "127.0.0.1:5002"]);
        }
        assert_eq!(parse("a,1\nb,1\nc,1\n", "x", true).unwrap().len(), 3);
    }

    #[test]
    fn errors_name_the_line_and_what_was_expected() {
        let table = [
            ("", false, "config.txt:1: expected our own ip,port, such as 127.0.0.1,5001; got the end of the file"),
            ("a,1\n", false, "config.txt:2: expected the successor's ip,port, such as 127.0.0.1,5002; got the end"),
            ("a,1\n\nb,2", false, "config.txt:2: expected ip,port, such as 127.0.0.1,5001; got \"\""),
            ("a,1\nb:2", false, "config.txt:2: expected ip,port, such as 127.0.0.1,5001; got \"b:2\""),
            ("a,1\nb,2\na,1", false, "config.txt:3: expected another address than in line 1; got \"a,1\""),
            ("localhost,1\nLOCALHOST, 1", false, "config.txt:2: expected another address than in line 1"),
            ("a,1\nb,2", true, "config.txt:3: --repair needs the whole ring in order"),
        ];
        for (text, repair, expected) in table {
            let error = format!("{:#}", parse(text, "config.txt", repair).unwrap_err());
            assert!(error.starts_with(expected), "{text:?}: {error}");
        }
    }
}
