//! What survives the hub: for each ring, which terms may have been given out, and
//! whether a leader may hold a lease. One redb database in a directory of its own.
//!
//! On disk, version 1:
//!
//! | | |
//! |---|---|
//! | `hub.lock` | empty; locked by the hub that uses the directory |
//! | `hub.redb`, table `about` | `version` → 1, as 4 bytes, little endian |
//! | `hub.redb`, table `rings` | a ring's name → 9 bytes: the term, big endian; then 0, or 1 for a lease |
//!
//! Whoever changes any of this raises the version.
//!
//! Holds: what [`Store::save`] acknowledged is there after a crash, or something
//! newer. What cannot be read is an error and stays as it is: a ring that began at
//! term 1 again would give terms to a second leader.
//! Fails: a directory that was deleted, or put back from an older copy, looks like any other.

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
            VERSION => Ok(store),
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

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    fn saved(terms: u64, lease_out: bool) -> Saved {
        Saved { terms: Term::new(terms).unwrap(), lease_out }
    }

    fn ring(name: &str) -> RingName {
        name.parse().unwrap()
    }

    #[test]
    fn what_was_saved_is_there_after_reopening() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("made/on/the/way");
        let (lab, yard) = (ring("lab"), ring("yard"));
        let store = Store::open(&directory).unwrap();
        assert_eq!(store.load(&lab).unwrap(), None);
        store.save(&lab, &saved(100, false)).unwrap();
        store.clone().save(&yard, &saved(7, true)).unwrap();
        store.save(&lab, &saved(200, true)).unwrap();
        assert_eq!(store.load(&lab).unwrap(), Some(saved(200, true)));
        drop(store);

        let store = Store::open(&directory).unwrap();
        assert_eq!(store.load(&lab).unwrap(), Some(saved(200, true)));
        assert_eq!(store.load(&yard).unwrap(), Some(saved(7, true)));
        assert_eq!(store.load(&ring("other")).unwrap(), None);
        let highest = ringleader_shared::id::MAX_SAFE_INTEGER;
        store.save(&yard, &saved(highest, false)).unwrap();
        drop(store);
        assert_eq!(Store::open(&directory).unwrap().load(&yard).unwrap(), Some(saved(highest, false)));
    }

    #[test]
    fn one_hub_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let error = Store::open(directory.path()).unwrap_err();
        assert!(matches!(error, StoreError::InUse { .. }), "{error}");
        assert!(error.to_string().contains(&directory.path().display().to_string()), "{error}");
        let clone = store.clone();
        drop(store);
        assert!(Store::open(directory.path()).is_err(), "a clone still uses it");
        drop(clone);
        Store::open(directory.path()).unwrap();
    }

    #[test]
    fn two_hubs_do_not_begin_the_same_directory() {
        let directory = tempfile::tempdir().unwrap();
        let lock = claim(directory.path()).unwrap();
        assert!(matches!(Store::open(directory.path()), Err(StoreError::InUse { .. })));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "the lock is all there is");
        drop(lock);
        Store::open(directory.path()).unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_is_named() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Store::open(&file.join("data")).unwrap_err();
        assert!(matches!(error, StoreError::Unusable { .. }), "{error}");
        assert!(error.to_string().contains("file/data"), "{error}");
    }

    /// A directory with terms up to 300 saved, and the path of its file.
    fn used() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        for terms in [100, 200, 300] {
            store.save(&RingName::default(), &saved(terms, false)).unwrap();
        }
        let path = directory.path().join("hub.redb");
        (directory, path)
    }

    #[test]
    fn a_damaged_file_is_an_error_and_stays_as_it_is() {
        let (directory, path) = used();
        let whole = fs::read(&path).unwrap();
        let cut = |length: usize| whole[..length].to_vec();
        let garbage = b"not what a hub writes ".repeat(1000);
        let zeros = vec![0; whole.len()];
        for bytes in [vec![], cut(5), cut(320), cut(4096), cut(whole.len() / 2), cut(whole.len() - 1), garbage, zeros] {
            fs::write(&path, &bytes).unwrap();
            let error = Store::open(directory.path()).unwrap_err();
            assert!(matches!(error, StoreError::Damaged { .. }), "{} bytes: {error}", bytes.len());
            assert!(error.to_string().contains("hub.redb"), "{error}");
            assert!(fs::read(&path).unwrap() == bytes, "{} bytes were changed", bytes.len());
        }
        fs::write(&path, &whole).unwrap();
        let store = Store::open(directory.path()).unwrap();
        assert_eq!(store.load(&RingName::default()).unwrap(), Some(saved(300, false)));
    }

    #[test]
    fn a_flipped_bit_is_never_an_older_term() {
        let (_directory, path) = used();
        let mut bytes = fs::read(&path).unwrap();
        let record = encode(&saved(300, false));
        let found: Vec<_> = (0..bytes.len() - RECORD).filter(|at| bytes[*at..][..RECORD] == record).collect();
        assert!(!found.is_empty());
        for at in found {
            bytes[at + 6] ^= 1; // 300 becomes 44
        }
        for _ in 0..2 {
            // As the one before left it.
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("hub.redb");
            fs::write(&path, &bytes).unwrap();
            let opened = Store::open(directory.path()).map(|store| store.load(&RingName::default()));
            assert!(matches!(opened, Err(StoreError::Damaged { .. })), "{opened:?}");
            bytes = fs::read(&path).unwrap();
        }
    }

    #[test]
    fn a_record_that_does_not_read_is_no_default() {
        for record in [[0xff; RECORD], [0, 0, 0, 0, 0, 0, 0, 9, 2]] {
            let (directory, path) = used();
            put(&path, |transaction| {
                transaction.open_table(RINGS).unwrap().insert("default", &record).unwrap();
            });
            let store = Store::open(directory.path()).unwrap();
            let error = store.load(&RingName::default()).unwrap_err();
            assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
            assert!(error.to_string().contains("ring default"), "{error}");
        }
    }

    #[test]
    fn versions_are_told_apart() {
        let (directory, path) = used();
        for (version, says) in [(VERSION + 1, "newer hub"), (0, "no version 0")] {
            put(&path, |transaction| {
                transaction.open_table(ABOUT).unwrap().insert("version", version).unwrap();
            });
            let error = Store::open(directory.path()).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
        put(&path, |transaction| {
            transaction.open_table(ABOUT).unwrap().remove("version").unwrap();
        });
        assert!(matches!(Store::open(directory.path()), Err(StoreError::Damaged { .. })));
        put(&path, |transaction| {
            transaction.delete_table(ABOUT).unwrap();
        });
        assert!(matches!(Store::open(directory.path()), Err(StoreError::Damaged { .. })), "another program's file");
    }

    /// Changes a database behind the store's back.
    fn put(path: &Path, change: impl FnOnce(&WriteTransaction)) {
        let database = Database::open(path).unwrap();
        let transaction = database.begin_write().unwrap();
        change(&transaction);
        transaction.commit().unwrap();
    }

    #[test]
    fn what_an_interrupted_beginning_left_is_in_nobodys_way() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("hub.redb.new"), [0; 4096]).unwrap();
        Store::open(directory.path()).unwrap();
        assert!(!directory.path().join("hub.redb.new").exists());
    }

    const CHILD: &str = "RINGLEADER_TEST_STORE";

    /// Runs itself as a child that saves without end, and kills that.
    #[test]
    fn a_hub_killed_while_it_saves_loses_nothing_acknowledged() {
        if let Some(directory) = std::env::var_os(CHILD) {
            save_without_end(Path::new(&directory));
        }
        let directory = tempfile::tempdir().unwrap();
        let mut newest = 0;
        for saves in [0, 1, 2, 3, 5, 8, 13, 21] {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "store::tests::a_hub_killed_while_it_saves_loses_nothing_acknowledged",
                    "--nocapture",
                ])
                .env(CHILD, directory.path())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
            let mut acknowledged = lines.filter_map(|line| line.strip_prefix("saved ")?.parse::<u64>().ok());
            for _ in 0..=saves {
                newest = acknowledged.next().expect("the child saves until it is killed");
            }
            child.kill().unwrap();
            newest = acknowledged.last().unwrap_or(newest);
            child.wait().unwrap();

            let found = Store::open(directory.path()).unwrap().load(&RingName::default()).unwrap();
            let found = found.unwrap_or(saved(0, false));
            assert!((newest..=newest + 1).contains(&found.terms.get()), "{newest} was acknowledged, found {found:?}");
            assert_eq!(found.lease_out, found.terms.get() % 2 == 1);
        }
    }

    /// Says "saved 0" when it begins, which is no save.
    fn save_without_end(directory: &Path) -> ! {
        let store = Store::open(directory).unwrap();
        let ring = RingName::default();
        let mut terms = store.load(&ring).unwrap().map_or(0, |saved| saved.terms.get());
        loop {
            println!("\nsaved {terms}");
            terms += 1;
            store.save(&ring, &saved(terms, terms % 2 == 1)).unwrap();
        }
    }
}
