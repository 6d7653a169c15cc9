//! The jobs' part of the store: what is written down of them, their products and results.
//!
//! Every key begins with the ring's name and the job's id, so that what belongs to one
//! ring, or to one job, lies together.

use std::collections::BTreeMap;

use redb::{Database, ReadableDatabase, TableDefinition, TableHandle, WriteTransaction};
use ringleader_shared::factorial::board::{Change, Entry, Job};
use ringleader_shared::factorial::message::Number;
use ringleader_shared::factorial::{JobId, Part};
use ringleader_shared::id::RingName;
use uuid::Uuid;

use super::{Store, StoreError, begin_write};

/// The 16 bytes of a job's id.
type Id = [u8; 16];

const JOBS: TableDefinition<(&str, &Id), &[u8]> = TableDefinition::new("jobs");
const RESULTS: TableDefinition<(&str, &Id), &str> = TableDefinition::new("results");
const PRODUCTS: TableDefinition<(&str, &Id, u8, u32), &str> = TableDefinition::new("products");

const FIRST: Id = [0; 16];
const LAST: Id = [u8::MAX; 16];

/// A record that does not read.
struct Unreadable(String);

impl Store {
    /// The rings that have jobs.
    pub fn rings_with_jobs(&self) -> Result<Vec<RingName>, StoreError> {
        let names = self.with_database(|database| {
            let table = database.begin_read()?.open_table(JOBS)?;
            let (mut names, mut from) = (vec![], String::new());
            while let Some(next) = table.range((from.as_str(), &FIRST)..)?.next() {
                let name = next?.0.value().0.to_owned();
                // The first text after that name.
                from = format!("{name}\0");
                names.push(name);
            }
            Ok(names)
        })?;
        let read = |name: String| name.parse().map_err(|_| self.damaged(format!("a job's ring is called {name:?}")));
        names.into_iter().map(read).collect()
    }

    /// A ring's jobs with everything that is kept of them, in order of their ids.
    pub fn load_jobs(&self, ring: &RingName) -> Result<BTreeMap<JobId, Job>, StoreError> {
        let loaded = self.with_database(|database| load(database, ring.as_str()))?;
        loaded.map_err(|Unreadable(what)| self.damaged(format!("{what} of ring {ring} does not read")))
    }

    /// Makes these changes, all of them or none. When this returns, they are on the disk.
    pub fn change_jobs(&self, ring: &RingName, changes: &[Change]) -> Result<(), StoreError> {
        self.with_database(|database| {
            let transaction = begin_write(database)?;
            for change in changes {
                make(&transaction, ring.as_str(), change)?;
            }
            Ok(transaction.commit()?)
        })
    }
}

/// A store from before there were jobs has none of these tables.
pub(super) fn create_missing(database: &Database) -> Result<(), redb::Error> {
    let reading = database.begin_read()?;
    let found = reading.list_tables()?.map(|table| table.name().to_owned()).collect::<Vec<_>>();
    if ["jobs", "results", "products"].iter().all(|name| found.iter().any(|found| found == name)) {
        return Ok(());
    }
    let transaction = begin_write(database)?;
    create(&transaction)?;
    Ok(transaction.commit()?)
}

/// Makes the tables.
pub(super) fn create(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(JOBS)?;
    transaction.open_table(RESULTS)?;
    transaction.open_table(PRODUCTS)?;
    Ok(())
}

fn load(database: &Database, ring: &str) -> Result<Result<BTreeMap<JobId, Job>, Unreadable>, redb::Error> {
    let transaction = database.begin_read()?;
    let mut jobs = BTreeMap::new();
    for record in transaction.open_table(JOBS)?.range((ring, &FIRST)..=(ring, &LAST))? {
        let (key, entry) = record?;
        let id = job_id(key.value().1);
        let Ok(entry) = serde_json::from_slice::<Entry>(entry.value()) else {
            return Ok(Err(Unreadable(format!("job {id}"))));
        };
        jobs.insert(id, Job { entry, result: None, products: BTreeMap::new() });
    }
    for record in transaction.open_table(RESULTS)?.range((ring, &FIRST)..=(ring, &LAST))? {
        let (key, result) = record?;
        if let Some(job) = jobs.get_mut(&job_id(key.value().1)) {
            job.result = Some(result.value().into());
        }
    }
    let all = (ring, &FIRST, u8::MIN, u32::MIN)..=(ring, &LAST, u8::MAX, u32::MAX);
    for record in transaction.open_table(PRODUCTS)?.range(all)? {
        let (key, number) = record?;
        let (_, id, level, index) = key.value();
        let (id, part) = (job_id(id), Part { level, index });
        let Some(number) = Number::new(number.value()) else {
            return Ok(Err(Unreadable(format!("product {part} of job {id}"))));
        };
        if let Some(job) = jobs.get_mut(&id) {
            job.products.insert(part, number);
        }
    }
    Ok(Ok(jobs))
}

fn job_id(bytes: &Id) -> JobId {
    JobId::new(Uuid::from_bytes(*bytes))
}

fn make(transaction: &WriteTransaction, ring: &str, change: &Change) -> Result<(), redb::Error> {
    match change {
        Change::Entry(id, entry) => {
            let entry = serde_json::to_vec(entry).map_err(std::io::Error::other)?;
            transaction.open_table(JOBS)?.insert((ring, id.as_bytes()), &*entry)?;
        }
        Change::Result(id, text) => {
            transaction.open_table(RESULTS)?.insert((ring, id.as_bytes()), &**text)?;
        }
        Change::Product(id, part, number) => {
            let key = (ring, id.as_bytes(), part.level, part.index);
            transaction.open_table(PRODUCTS)?.insert(key, number.as_str())?;
        }
        Change::Forget(id, parts) => {
            let mut products = transaction.open_table(PRODUCTS)?;
            for part in parts {
                products.remove((ring, id.as_bytes(), part.level, part.index))?;
            }
        }
        Change::ForgetJob(id) => {
            let id = id.as_bytes();
            transaction.open_table(JOBS)?.remove((ring, id))?;
            transaction.open_table(RESULTS)?.remove((ring, id))?;
            let all = (ring, id, u8::MIN, u32::MIN)..=(ring, id, u8::MAX, u32::MAX);
            transaction.open_table(PRODUCTS)?.retain_in(all, |_, _| false)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ringleader_shared::factorial::Factorial;
    use ringleader_shared::factorial::board::Phase;
    use ringleader_shared::id::Term;
    use ringleader_shared::relay::Saved;

    use super::super::{ABOUT, RINGS};
    use super::*;

    fn id(number: u128) -> JobId {
        JobId::new(Uuid::from_u128(number))
    }

    fn ring(name: &str) -> RingName {
        name.parse().unwrap()
    }

    fn entry(n: u32, phase: Phase) -> Entry {
        let key = Some("a key".into());
        Entry { factorial: Factorial(n), key, phase, term: Term::new(7), sequence: 3, tally: Default::default() }
    }

    fn put(n: u128, phase: Phase) -> Change {
        Change::Entry(id(n), Box::new(entry(n as u32, phase)))
    }

    fn product(job: u128, level: u8, index: u32) -> Change {
        Change::Product(id(job), Part { level, index }, Number::from(index + 1))
    }

    #[test]
    fn jobs_are_there_after_reopening_and_each_ring_has_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        assert_eq!(store.rings_with_jobs().unwrap(), []);
        let (lab, laboratory) = (ring("lab"), ring("laboratory"));
        let changes = [
            put(1, Phase::Open),
            put(2, Phase::Done),
            put(3, Phase::Failed("why".into())),
            product(1, 0, 0),
            product(1, 0, 1),
            product(1, 2, 17),
            product(3, 0, 0),
            Change::Result(id(2), "2".into()),
            Change::Result(id(3), "6".into()),
            Change::Forget(id(1), vec![Part { level: 0, index: 1 }]),
            Change::ForgetJob(id(3)),
        ];
        store.change_jobs(&lab, &changes).unwrap();
        store.change_jobs(&laboratory, &[put(u128::MAX, Phase::Cancelled)]).unwrap();
        drop(store);

        let store = Store::open(directory.path()).unwrap();
        assert_eq!(store.rings_with_jobs().unwrap(), [lab.clone(), laboratory.clone()]);
        let products = [(0, 0), (2, 17)].map(|(level, index)| (Part { level, index }, Number::from(index + 1)));
        let first = Job { entry: entry(1, Phase::Open), result: None, products: products.into() };
        let second = Job { entry: entry(2, Phase::Done), result: Some("2".into()), products: BTreeMap::new() };
        assert_eq!(store.load_jobs(&lab).unwrap(), [(id(1), first), (id(2), second)].into());
        assert_eq!(store.load_jobs(&laboratory).unwrap().len(), 1);
        assert_eq!(store.load_jobs(&ring("la")).unwrap(), BTreeMap::new());
        store.change_jobs(&lab, &[Change::ForgetJob(id(1)), Change::ForgetJob(id(2))]).unwrap();
        assert_eq!(store.rings_with_jobs().unwrap(), [laboratory]);
    }

    #[test]
    fn a_store_from_before_there_were_jobs_opens_and_takes_them() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::create(directory.path().join("hub.redb")).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(ABOUT).unwrap().insert("version", 1).unwrap();
        transaction.open_table(RINGS).unwrap().insert("default", &[0, 0, 0, 0, 0, 0, 1, 44, 0]).unwrap();
        transaction.commit().unwrap();
        drop(database);
        let store = Store::open(directory.path()).unwrap();
        let saved = Saved { terms: Term::new(300).unwrap(), lease_out: false };
        assert_eq!(store.load(&ring("default")).unwrap(), Some(saved));
        assert_eq!(store.load_jobs(&ring("default")).unwrap(), BTreeMap::new());
        store.change_jobs(&ring("default"), &[put(1, Phase::Open)]).unwrap();
        assert_eq!(store.rings_with_jobs().unwrap(), [ring("default")]);
    }

    #[test]
    fn what_does_not_read_is_named_and_not_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let lab = ring("lab");
        store.change_jobs(&lab, &[put(1, Phase::Open), product(1, 0, 5)]).unwrap();
        let put = |change: &dyn Fn(&WriteTransaction)| {
            store
                .with_database(|database| {
                    let transaction = database.begin_write()?;
                    change(&transaction);
                    Ok(transaction.commit()?)
                })
                .unwrap();
            store.load_jobs(&lab).unwrap_err().to_string()
        };
        let key = *id(1).as_bytes();
        let error = put(&|transaction| {
            transaction.open_table(PRODUCTS).unwrap().insert(("lab", &key, 0, 5), "0F").unwrap();
        });
        assert!(error.contains("product 0.5 of job 00000000-0000-0000-0000-000000000001 of ring lab"), "{error}");
        let error = put(&|transaction| {
            transaction.open_table(JOBS).unwrap().insert(("lab", &key), &b"{}"[..]).unwrap();
        });
        assert!(error.contains("job 00000000-0000-0000-0000-000000000001 of ring lab does not read"), "{error}");
    }
}
