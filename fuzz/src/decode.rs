//! Any bytes as a frame: read as a hub reads it and as a client does. What can be read
//! is written and read again as the same; what cannot is answered in few words.

use ringleader_shared::id::Candidate;
use ringleader_shared::wire::{self, Body, DecodeError, ErrorFrame, Frame, RawRanks};

/// More than any answer to a frame that cannot be read.
const MOST_ERROR_BYTES: usize = 2_000;

/// Takes in a text.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let raw = wire::decode::<RawRanks>(text);
    let parsed = wire::decode::<Vec<Candidate>>(text);
    assert!(raw.is_ok() || parsed.is_err(), "a client reads what the hub does not");
    match raw {
        Ok(frame) => {
            let written = wire::encode(&frame);
            let again = wire::decode::<RawRanks>(&written).expect("what the hub writes can be read");
            assert_eq!(wire::encode(&again), written, "the hub writes it the same again");
        }
        Err(error) => answer(&error),
    }
    match parsed {
        Ok(frame) => {
            let written = wire::encode(&frame);
            assert_eq!(wire::decode(&written).as_ref(), Ok(&frame), "read again it is the same: {written}");
        }
        Err(error) => answer(&error),
    }
}

fn answer(error: &DecodeError) {
    let (code, about) = error.code_and_method();
    let error = Body::Error(ErrorFrame { code, message: error.to_string(), about });
    let frame: Frame = Frame { sender_id: None, client_id: None, body: error };
    let written = wire::encode(&frame);
    assert!(written.len() <= MOST_ERROR_BYTES, "an answer of {} bytes", written.len());
    assert_eq!(wire::decode(&written), Ok(frame), "the answer can be read");
}
