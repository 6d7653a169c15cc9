//! Answers that were given before. A ring at rest says the same few texts for ever,
//! and reading one takes longer than everything else that happens to it. What is
//! kept is the answer of a function that depends on nothing but what it is asked, so
//! a run with it goes as a run without.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// So many answers are kept before all are forgotten.
const MOST: usize = 4_096;

/// Answers by their questions.
#[derive(Debug)]
pub(crate) struct Memo<Q, A> {
    answers: HashMap<Q, A, Quickly>,
}

impl<Q, A> Default for Memo<Q, A> {
    fn default() -> Self {
        Memo { answers: HashMap::default() }
    }
}

impl<Q: Hash + Eq, A: Clone> Memo<Q, A> {
    /// The answer, if there was one.
    pub fn get<B: Hash + Eq + ?Sized>(&self, question: &B) -> Option<A>
    where
        Q: Borrow<B>,
    {
        self.answers.get(question).cloned()
    }

    /// Keeps an answer.
    pub fn keep(&mut self, question: Q, answer: A) {
        if self.answers.len() >= MOST {
            self.answers.clear();
        }
        self.answers.insert(question, answer);
    }
}

/// Hashes so.
pub(crate) type Quickly = BuildHasherDefault<Quick>;

/// A hash for short texts that nobody has chosen to collide.
#[derive(Debug, Default)]
pub(crate) struct Quick(u64);

impl Quick {
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for Quick {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.add(u64::from_le_bytes(*word)));
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.add(u64::from_le_bytes(last) ^ (bytes.len() as u64) << 56);
    }

    fn write_u8(&mut self, byte: u8) {
        self.add(byte.into());
    }

    fn write_u64(&mut self, word: u64) {
        self.add(word);
    }

    fn write_usize(&mut self, word: usize) {
        self.add(word as u64);
    }

    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}
