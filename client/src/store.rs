//! What a machine has to remember, in a file: written before it acts on it, read when
//! its program starts again.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read};
use std::marker::PhantomData;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::durable;

/// The longest file that is read.
const MOST_BYTES: u64 = 1024 * 1024;

/// A file with one value, as JSON. `FILE.lock` beside it is locked while it is in use;
/// `FILE.new` is there while it is written. Every write waits for the disk.
#[derive(Debug)]
pub struct Store<T> {
    path: PathBuf,
    _lock: File,
    _holds: PhantomData<fn(T)>,
}

/// Why a [`Store`] cannot be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The disk, or its permissions.
    #[error("cannot keep anything in {}; name a directory that this user may write to", path.display())]
    Unusable {
        /// The store's file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Two programs would write over each other.
    #[error("another process uses {}: stop that one first", path.display())]
    InUse {
        /// The store's file.
        path: PathBuf,
    },
    /// The file is not what a store writes. It is never taken for an empty one.
    #[error("{} is damaged ({why}): who goes on without it has forgotten; remove it only if you mean that", path.display())]
    Damaged {
        /// The store's file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl<T: Serialize + DeserializeOwned> Store<T> {
    /// The store in this file, in use until dropped, and what was saved there; nothing,
    /// if there is no such file yet. Its directory is made if need be.
    pub fn open(path: impl Into<PathBuf>) -> Result<(Self, Option<T>), StoreError> {
        let path = path.into();
        let unusable = |source| StoreError::Unusable { path: path.clone(), source };
        fs::create_dir_all(durable::directory(&path)).map_err(unusable)?;
        let lock = match durable::lock(&path) {
            Ok(lock) => lock,
            Err(TryLockError::WouldBlock) => return Err(StoreError::InUse { path }),
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        };
        let damaged = |why: String| StoreError::Damaged { path: path.clone(), why };
        let saved = match File::open(&path) {
            Ok(file) => {
                let mut text = vec![];
                file.take(MOST_BYTES).read_to_end(&mut text).map_err(unusable)?;
                Some(serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(unusable(error)),
        };
        Ok((Store { path, _lock: lock, _holds: PhantomData }, saved))
    }

    /// Writes in place of what was saved. On the disk when this returns.
    pub fn save(&mut self, value: &T) -> Result<(), StoreError> {
        let written =
            serde_json::to_vec(value).map_err(io::Error::from).and_then(|text| durable::replace(&self.path, &text));
        written.map_err(|source| StoreError::Unusable { path: self.path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::beside;

    #[test]
    fn what_was_saved_last_is_read_back_and_drafts_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/er/node-2.json");
        let (mut store, saved) = Store::<Vec<u32>>::open(&path).unwrap();
        assert_eq!(saved, None);
        store.save(&vec![1]).unwrap();
        store.save(&vec![1, 2]).unwrap();
        drop(store);
        fs::write(beside(&path, ".new"), "[1,2,3").unwrap();
        assert_eq!(Store::<Vec<u32>>::open(&path).unwrap().1, Some(vec![1, 2]));
    }

    #[test]
    fn one_process_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node-2.json");
        let first = Store::<u32>::open(&path).unwrap();
        assert!(matches!(Store::<u32>::open(&path), Err(StoreError::InUse { .. })));
        drop(first);
        Store::<u32>::open(&path).unwrap();
    }

    #[test]
    fn a_broken_file_is_never_taken_for_an_empty_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node-2.json");
        for garbage in ["", "[1,", "{}", "\0\0\0\0"] {
            fs::write(&path, garbage).unwrap();
            let error = Store::<Vec<u32>>::open(&path).unwrap_err();
            assert!(matches!(error, StoreError::Damaged { .. }), "{garbage:?}: {error}");
            assert!(error.to_string().contains("node-2.json"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), garbage, "was changed");
        }
    }

    #[test]
    fn what_cannot_be_written_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node-2.json");
        let (mut store, _) = Store::<u32>::open(&path).unwrap();
        store.save(&1).unwrap();
        // A directory in the draft's place stands for a full disk.
        fs::create_dir(beside(&path, ".new")).unwrap();
        assert!(matches!(store.save(&2), Err(StoreError::Unusable { .. })));
        drop(store);
        assert_eq!(Store::<u32>::open(&path).unwrap().1, Some(1));
    }
}
