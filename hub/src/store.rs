//! What survives the hub: for each ring, which terms may have been given out, whether
//! a leader may hold a lease, and its jobs. One redb database in a directory of its own.
//!
//! On disk, version 1:
//!
//! | | |
//! |---|---|
//! | `hub.lock` | empty; locked by the hub that uses the directory |
//! | `hub.redb`, table `about` | `version` → 1, as 4 bytes, little endian |
//! | `hub.redb`, table `rings` | a ring's name → 9 bytes: the term, big endian; then 0, or 1 for a lease |
//! | `hub.redb`, table `jobs` | a ring's name and a job's id, 16 bytes → an `Entry` as JSON |
//! | `hub.redb`, table `results` | the same → a result, in decimal digits |
//! | `hub.redb`, table `products` | the same, a part's level and index → its product, in hexadecimal digits |
//!
//! Whoever changes any of this raises the version. The last three tables came later and
//! did not: they are made where they are missing, and a hub that knows nothing of them
//! leaves them alone.
//!
//! Holds: what [`Store::save`] acknowledged is there after a crash, or something
//! newer. What cannot be read is an error and stays as it is: a ring that began at
//! term 1 again would give terms to a second leader.
//! Fails: a directory that was deleted, or put back from an older copy, looks like any other.

mod jobs;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use redb::{Database, ReadableDatabase, TableDefinition, WriteTransaction};
use ringleader_shared::id::{RingName, Term};
use ringleader_shared::relay::Saved;
use thiserror::Error;

/// How all of this is laid out.
const VERSION: u32 = 1;
const ABOUT: TableDefinition<&str, u32> = TableDefinition::new("about");
const RINGS: TableDefinition<&str, &[u8; RECORD]> = TableDefinition::new("rings");

/// The length of a ring's record.
const RECORD: usize = 9;

/// A hub's data directory, in use by this hub until the last clone is dropped.
/// Every call waits for the disk: from async code, use `spawn_blocking`. After the
/// disk has failed once, every call fails until the store is opened anew.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// Closed before the lock is given back: fields are dropped in this order. `None`
    /// after an error: redb uses no file again that failed it once, so that it has to
    /// be opened anew when there is room again.
    database: Mutex<Option<Database>>,
    _lock: File,
}

/// Why a store cannot be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The disk or its permissions.
    #[error("cannot use {}: {source}; the hub needs a data directory that it may write to and that has room", path.display())]
    Unusable {
        /// The directory, or a file in it.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Two hubs with one directory would both give out the same terms.
    #[error("another hub uses {}: stop that one, or give this one a data directory of its own", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The file, or a record in it, is not what a hub writes.
    #[error(
        "cannot read {}: {why}. No terms are taken from it. Move the file away to begin anew; \
         terms then rise only from the newest that a member still knows",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A hub from the future was here.
    #[error(
        "{} was written by a newer hub, in version {found}; this one reads up to {VERSION}. \
         Start that hub, or give this one a data directory of its own",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version in it.
        found: u32,
    },
}

impl Store {
    /// Takes the directory into use, and makes it if need be.
    pub fn open(directory: &Path) -> Result<Store, StoreError> {
        let lock = claim(directory)?;
        let path = directory.join("hub.redb");
        // redb asserts some of what it finds in a file, such as its length.
        let opened = panic::catch_unwind(|| {
            if !path.try_exists().map_err(redb::Error::from)? {
                create(directory, &path)?;
            }
            open_checked(&path)
        });
        let database = match opened {
            Ok(Ok(database)) => database,
            Ok(Err(error)) => return Err(explain(&path, error)),
            Err(panic) => return Err(StoreError::Damaged { path, why: panic_text(&*panic) }),
        };
        let store = Store(Arc::new(Inner { path, database: Mutex::new(Some(database)), _lock: lock }));
        match store.version()? {
            VERSION => {
                store.with_database(jobs::create_missing)?;
                Ok(store)
            }
            found @ 0 => Err(store.damaged(format!("there is no version {found}"))),
            found => Err(StoreError::Newer { path: store.0.path.clone(), found }),
        }
    }

    /// What was saved of a ring; `None` if that never happened.
    pub fn load(&self, ring: &RingName) -> Result<Option<Saved>, StoreError> {
        let record = self.with_database(|database| {
            let table = database.begin_read()?.open_table(RINGS)?;
            Ok(table.get(ring.as_str())?.map(|record| *record.value()))
        });
        match record? {
            None => Ok(None),
            Some(record) => {
                let saved = decode(record);
                saved.map(Some).ok_or_else(|| self.damaged(format!("the record of ring {ring} is {record:x?}")))
            }
        }
    }

    /// Saves what is to survive of a ring. When this returns, it is on the disk.
    pub fn save(&self, ring: &RingName, saved: &Saved) -> Result<(), StoreError> {
        self.with_database(|database| {
            let transaction = begin_write(database)?;
            transaction.open_table(RINGS)?.insert(ring.as_str(), &encode(saved))?;
            Ok(transaction.commit()?)
        })
    }

    fn version(&self) -> Result<u32, StoreError> {
        let version = self.with_database(|database| {
            let table = database.begin_read()?.open_table(ABOUT)?;
            Ok(table.get("version")?.map(|version| version.value()))
        });
        version?.ok_or_else(|| self.damaged("it does not say which version it is".into()))
    }

    fn with_database<T>(&self, ask: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        let path = &self.0.path;
        let mut held = self.0.database.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken out, so that after an error or a panic nothing is there.
        let database = match held.take() {
            Some(database) => database,
            None => open_checked(path).map_err(|error| explain(path, error))?,
        };
        let answer = ask(&database).map_err(|error| explain(path, error))?;
        *held = Some(database);
        Ok(answer)
    }

    /// Lets nobody read or write until what this returns is dropped: a disk that does
    /// not answer.
    #[cfg(test)]
    pub fn hold(&self) -> impl Sized {
        self.0.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn damaged(&self, why: String) -> StoreError {
        StoreError::Damaged { path: self.0.path.clone(), why }
    }
}

fn encode(saved: &Saved) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[..8].copy_from_slice(&saved.terms.get().to_be_bytes());
    record[8] = u8::from(saved.lease_out);
    record
}

fn decode(record: [u8; RECORD]) -> Option<Saved> {
    let [terms @ .., lease] = record;
    let lease_out = match lease {
        0 => false,
        1 => true,
        _ => return None,
    };
    Some(Saved { terms: Term::new(u64::from_be_bytes(terms))?, lease_out })
}

/// Makes the directory, and locks it for as long as the file is open.
fn claim(directory: &Path) -> Result<File, StoreError> {
    let unusable = |source| StoreError::Unusable { path: directory.into(), source };
    fs::create_dir_all(directory).map_err(unusable)?;
    let lock = directory.join("hub.lock");
    let lock = File::options().write(true).create(true).truncate(false).open(lock).map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: directory.into() }),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}

/// A new database under its name at once and whole: a hub that is killed here
/// leaves nothing that the next one would take for damage.
fn create(directory: &Path, path: &Path) -> Result<(), redb::Error> {
    let draft = directory.join("hub.redb.new");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let database = Database::create(&draft)?;
    let transaction = begin_write(&database)?;
    transaction.open_table(ABOUT)?.insert("version", VERSION)?;
    transaction.open_table(RINGS)?;
    jobs::create(&transaction)?;
    transaction.commit()?;
    drop(database);
    fs::rename(&draft, path)?;
    // The names, too, have to survive: the file's and the directory's own.
    let directory = directory.canonicalize()?;
    File::open(&directory)?.sync_all()?;
    match directory.parent() {
        Some(parent) => Ok(File::open(parent)?.sync_all()?),
        None => Ok(()),
    }
}

/// Opens a database and reads all of it once, against its checksums.
fn open_checked(path: &Path) -> Result<Database, redb::Error> {
    let mut database = Database::open(path)?;
    database.check_integrity()?;
    Ok(database)
}

/// In two phases, which costs a second fsync: redb then never falls back to the
/// state before the last one because the last one's checksum is wrong.
fn begin_write(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_two_phase_commit(true);
    Ok(transaction)
}

fn explain(path: &Path, error: redb::Error) -> StoreError {
    let path = path.to_path_buf();
    match error {
        redb::Error::DatabaseAlreadyOpen => StoreError::InUse { path },
        redb::Error::Io(error) if matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) => {
            StoreError::Damaged { path, why: "it is no database, or a part of one".into() }
        }
        redb::Error::Io(source) => StoreError::Unusable { path, source },
        error @ (redb::Error::Corrupted(_)
        | redb::Error::UpgradeRequired(_)
        | redb::Error::TableDoesNotExist(_)
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TypeDefinitionChanged { .. }) => StoreError::Damaged { path, why: error.to_string() },
        // Such as "previous I/O error", which redb says of everything after the first one.
        error => StoreError::Unusable { path, source: io::Error::other(error) },
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("reading it failed").replace('\n', " ")
}
