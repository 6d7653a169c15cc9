//! What many states have in common is kept once.
//!
//! A checker meets millions of states, made of a few hundred thousand different hubs,
//! nodes and queues. Kept once, a part of a state is as large as a pointer, equal where
//! the pointers are, and hashed where it was first seen. And as machines are values, what
//! one does with an input is worked out once, too.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

/// A value that is kept once.
#[derive(Debug)]
pub struct Kept<T>(Arc<Content<T>>);

#[derive(Debug)]
struct Content<T> {
    hash: u64,
    value: T,
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Kept(self.0.clone())
    }
}

impl<T> Deref for Kept<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T> PartialEq for Kept<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Eq for Kept<T> {}

impl<T> Hash for Kept<T> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.0.hash);
    }
}

/// Where values of one type are kept.
#[derive(Debug)]
pub struct Keep<T>(Mutex<HashMap<u64, Vec<Kept<T>>>>);

impl<T> Default for Keep<T> {
    fn default() -> Self {
        Keep(Mutex::default())
    }
}

impl<T: Eq + Hash> Keep<T> {
    /// The one that is equal to this.
    pub fn keep(&self, value: T) -> Kept<T> {
        let hash = digest(&value);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let alike = kept.entry(hash).or_default();
        if let Some(found) = alike.iter().find(|kept| ***kept == value) {
            return found.clone();
        }
        let new = Kept(Arc::new(Content { hash, value }));
        alike.push(new.clone());
        new
    }
}

/// What was worked out before.
#[derive(Debug)]
pub struct Memory<K, V>(Mutex<HashMap<K, Arc<V>>>);

impl<K, V> Default for Memory<K, V> {
    fn default() -> Self {
        Memory(Mutex::default())
    }
}

impl<K: Eq + Hash, V> Memory<K, V> {
    /// What comes of this, worked out if it was not before.
    pub fn recall(&self, key: K, work_out: impl FnOnce(&K) -> V) -> Arc<V> {
        if let Some(known) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return known.clone();
        }
        let new = Arc::new(work_out(&key));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, new.clone());
        new
    }
}

/// A hash that is the same in every run.
pub fn digest(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
