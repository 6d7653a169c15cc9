//! Files that people write: who stands in a ring, who the peers are, which hosts there are.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, ensure};

/// The text of such a file. `advice` says what it is to be, where it cannot be read.
pub fn read(path: &Path, most_bytes: u64, advice: &str) -> anyhow::Result<String> {
    let name = path.display();
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(most_bytes + 1).read_to_string(&mut text))
        .with_context(|| format!("cannot read {name}{advice}"))?;
    ensure!(text.len() as u64 <= most_bytes, "{name}: expected at most {most_bytes} bytes");
    Ok(text)
}

/// Without the mark that some editors put before the first line.
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}
