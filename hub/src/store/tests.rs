//! What a store keeps through restarts, kills and damage.

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
            .args(["--exact", "store::tests::a_hub_killed_while_it_saves_loses_nothing_acknowledged", "--nocapture"])
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
