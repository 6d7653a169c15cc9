//! What is submitted: `{"factorial": n}`, and what is said where it is not that.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName};
use ringleader_shared::factorial::Factorial;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The submitter's own name for a job.
pub fn key(headers: &HeaderMap) -> Result<Option<Arc<str>>, String> {
    let mut keys = headers.get_all(KEY).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    let text =
        key.to_str().ok().filter(|key| (1..=255).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()));
    match (text, keys.next()) {
        (Some(text), None) => Ok(Some(text.into())),
        (_, Some(_)) => Err("Idempotency-Key: expected one, got more".into()),
        (None, None) => Err("Idempotency-Key: expected 1 to 255 visible ASCII characters".into()),
    }
}

/// What is to be computed.
pub fn factorial(body: &[u8], most: u32) -> Result<Factorial, String> {
    let fields = fields(body)?;
    let [(kind, value)] = &fields[..] else {
        return Err(match fields.len() {
            0 => format!("factorial: missing; {EXPECTED}"),
            _ => format!("{EXPECTED} and nothing else, got {} fields", fields.len()),
        });
    };
    if kind != "factorial" {
        return Err(format!("unknown kind of job {:?}: this hub knows {{\"factorial\": n}}", shortened(kind, SHOWN)));
    }
    let given = value.get();
    let n = given.parse().ok().filter(|n| *n <= most).ok_or_else(|| {
        let given = shortened(given, SHOWN);
        format!("factorial: expected a whole number from 0 to {most}, got {given} (the hub's limit is --max-factorial)")
    })?;
    Ok(Factorial(n))
}

/// How many characters of what was given are said again.
const SHOWN: usize = 60;

const EXPECTED: &str = r#"expected {"factorial": n}"#;

/// The fields of an object, as they were written.
fn fields(body: &[u8]) -> Result<Vec<(String, &RawValue)>, String> {
    struct Fields;
    impl<'de> Visitor<'de> for Fields {
        type Value = Vec<(String, &'de RawValue)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut fields = vec![];
            while let Some((name, value)) = map.next_entry::<Cow<'de, str>, &'de RawValue>()? {
                fields.push((name.into_owned(), value));
            }
            Ok(fields)
        }
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let fields = json.deserialize_map(Fields).and_then(|fields| json.end().map(|()| fields));
    fields.map_err(|error| format!("{EXPECTED} as JSON: {error}"))
}

/// Keeps what others wrote from filling an answer or a log line.
pub fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_factorial_says_what_was_expected() {
        let number = |got: &str| {
            format!("factorial: expected a whole number from 0 to 100, got {got} (the hub's limit is --max-factorial)")
        };
        let expected = |rest: &str| format!(r#"expected {{"factorial": n}} {rest}"#);
        let long = format!(r#"{{"factorial": "{}"}}"#, "x".repeat(100));
        let table = [
            (r#"{"factorial": -3}"#, number("-3")),
            (r#"{"factorial": 10.5}"#, number("10.5")),
            (r#"{"factorial": 10.0}"#, number("10.0")),
            (r#"{"factorial": 1e9}"#, number("1e9")),
            (r#"{"factorial": 101}"#, number("101")),
            (r#"{"factorial": 1000000000}"#, number("1000000000")),
            (r#"{"factorial": 99999999999999999999999}"#, number("99999999999999999999999")),
            (r#"{"factorial": "ten"}"#, number("\"ten\"")),
            (r#"{"factorial": "10"}"#, number("\"10\"")),
            (r#"{"factorial": null}"#, number("null")),
            (r#"{"factorial": [10]}"#, number("[10]")),
            (&long, number(&format!("\"{}…", "x".repeat(59)))),
            ("{}", r#"factorial: missing; expected {"factorial": n}"#.into()),
            (r#"{"fibonacci": 3}"#, r#"unknown kind of job "fibonacci": this hub knows {"factorial": n}"#.into()),
            (r#"{"factorial": 3, "fibonacci": 3}"#, expected("and nothing else, got 2 fields")),
            (r#"{"factorial": 3, "factorial": 4}"#, expected("and nothing else, got 2 fields")),
            ("", expected("as JSON: EOF")),
            ("10", expected("as JSON: invalid type: integer `10`, expected an object")),
            ("[10]", expected("as JSON: invalid type: sequence, expected an object")),
            (r#"{"factorial": 10"#, expected("as JSON: EOF")),
            (r#"{"factorial": 10} {}"#, expected("as JSON: trailing characters")),
            ("factorial=10", expected("as JSON: expected")),
            ("\u{fffd}", expected("as JSON: expected value")),
        ];
        for (body, expected) in table {
            let error = factorial(body.as_bytes(), 100).unwrap_err();
            assert!(error.starts_with(&expected), "{body}: {error}");
        }
        for depth in ["[".repeat(16_000), format!(r#"{{"factorial": {}"#, "[".repeat(16_000))] {
            assert!(factorial(depth.as_bytes(), 100).is_err());
        }
        assert!(factorial(b"{\"factorial\": \xff}", 100).is_err());
    }

    #[test]
    fn whole_numbers_up_to_the_limit_are_taken() {
        for (body, n) in
            [(r#"{"factorial":0}"#, 0), (" {\n\"factorial\" : 100\n} ", 100), (r#"{"\u0066actorial":7}"#, 7)]
        {
            assert_eq!(factorial(body.as_bytes(), 100), Ok(Factorial(n)), "{body}");
        }
    }

    #[test]
    fn keys_are_visible_ascii() {
        let long = "x".repeat(256);
        for (value, expected) in [
            ("a-key", Ok(Some("a-key"))),
            (&long[1..], Ok(Some(&long[1..]))),
            ("", Err(())),
            ("two words", Err(())),
            (&long, Err(())),
            ("schlüssel", Err(())),
        ] {
            let headers = HeaderMap::from_iter([(KEY, value.parse().unwrap())]);
            assert_eq!(key(&headers).as_ref().map(|key| key.as_deref()).map_err(|_| ()), expected, "{value}");
        }
        assert_eq!(key(&HeaderMap::new()), Ok(None));
        let mut two = HeaderMap::new();
        two.append(KEY, "a".parse().unwrap());
        two.append(KEY, "a".parse().unwrap());
        assert!(key(&two).is_err());
    }
}
