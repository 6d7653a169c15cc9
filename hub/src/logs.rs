//! Log lines as a terminal may show them.
//!
//! Names, methods and reasons in them come from outside. Subscribers escape control
//! characters; there are others that are not seen but change what is: they turn the
//! direction of writing, join or hide. Whatever a line is about, none of them gets out.

use std::io::{self, Write};

/// Writes whole lines, with such characters in the notation of the log's format.
pub struct Escaped<W> {
    pub to: W,
    pub json: bool,
}

impl<W: Write> Write for Escaped<W> {
    /// A line comes in one piece.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if line.is_ascii() {
            self.to.write_all(line)?;
        } else {
            self.to.write_all(escaped(&String::from_utf8_lossy(line), self.json).as_bytes())?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

fn escaped(line: &str, json: bool) -> String {
    let mut out = String::with_capacity(line.len());
    for letter in line.chars() {
        if is_seen(letter) {
            out.push(letter);
        } else if json {
            out.extend(letter.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            out.extend(letter.escape_unicode());
        }
    }
    out
}

/// By the table that Rust's `Debug` goes by. After a letter, accents are seen.
fn is_seen(letter: char) -> bool {
    let mut text = [b'x', 0, 0, 0, 0];
    let end = 1 + letter.encode_utf8(&mut text[1..]).len();
    letter.is_ascii() || str::from_utf8(&text[..end]).is_ok_and(|text| text.escape_debug().count() == 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_is_escaped() {
        let table = [
            ("INFO joined name=\"blue\" 7 → 9\n", None),
            ("zoë, 名前, नमस्ते, e\u{301}, ♥\u{fe0f}, 😶", None),
            ("\u{1b}[32m INFO\u{1b}[0m\tcolours are the subscriber's own\n", None),
            ("gpj\u{202e}exe", Some(("gpj\\u{202e}exe", "gpj\\u202eexe"))),
            ("a\u{200b}b\u{feff}c\u{2066}d", Some(("a\\u{200b}b\\u{feff}c\\u{2066}d", "a\\u200bb\\ufeffc\\u2066d"))),
            ("\u{85}\u{9b}", Some(("\\u{85}\\u{9b}", "\\u0085\\u009b"))),
            ("\u{2028}\u{e0041}", Some(("\\u{2028}\\u{e0041}", "\\u2028\\udb40\\udc41"))),
        ];
        for (line, expected) in table {
            let (text, json) = expected.unwrap_or((line, line));
            assert_eq!((escaped(line, false), escaped(line, true)), (text.into(), json.into()), "{line:?}");
        }
    }
}
