//! A frame on its way round the ring, and who holds it.
//!
//! A token starts at a seat and goes from seat to seat in ring order. It ends at
//! its consumer, or where it would pass the seat that it started from: whoever is
//! there has had it. Newcomers sit last, so a token that is still on its first way
//! to the end of the list reaches them, and one that has turned does not have to.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::id::{ClientId, Term};
use crate::roster::{Roster, Seat};

/// What a token is, which is also its name: there is no second one of the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Token {
    /// The eligible array of a term.
    Election(Term),
    /// The announcement of a term.
    Announcement(Term),
    /// A check of the leader.
    Check {
        /// Who asks.
        asker: ClientId,
        /// Who is asked.
        leader: ClientId,
        /// As leader of which term.
        term: Term,
    },
    /// The answer to one.
    Answer {
        /// Who answers.
        answerer: ClientId,
        /// Who had asked.
        asker: ClientId,
        /// In which term.
        term: Term,
    },
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Token::Election(term) => write!(f, "election of term {term}"),
            Token::Announcement(term) => write!(f, "announcement of term {term}"),
            Token::Check { asker, term, .. } => write!(f, "check by {} in term {term}", asker.short()),
            Token::Answer { asker, term, .. } => write!(f, "answer to {} in term {term}", asker.short()),
        }
    }
}

/// Where a token is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Passage {
    /// Who it is for.
    pub consumer: ClientId,
    /// Out of whose hands it comes: the last who had it.
    pub hand: ClientId,
    /// What the holder was given.
    pub frame: Arc<str>,
    start: Seat,
    at: Seat,
    /// Whether it has gone from the end of the list to the front.
    turned: bool,
}

/// Where a token goes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// To its consumer, where it ends.
    Consumer(ClientId),
    /// To one more member.
    Member(ClientId),
    /// Nowhere: everybody there has had it.
    End,
}

impl Passage {
    pub fn new(origin: ClientId, start: Seat, consumer: ClientId, frame: Arc<str>) -> Self {
        Passage { consumer, hand: origin, frame, start, at: start, turned: false }
    }

    fn step(&mut self, roster: &Roster) -> Step {
        let Some((seat, id)) = roster.after(self.at) else { return Step::End };
        let turns = seat <= self.at;
        let passes_start = (self.turned || turns) && seat >= self.start;
        if (turns && self.turned) || (passes_start && *id != self.consumer) {
            return Step::End;
        }
        self.turned |= turns;
        self.at = seat;
        if *id == self.consumer { Step::Consumer(id.clone()) } else { Step::Member(id.clone()) }
    }
}

/// All tokens of a ring.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Tokens {
    passages: BTreeMap<Token, Passage>,
    /// The same by where they are.
    held: BTreeSet<(Seat, Token)>,
}

impl Tokens {
    pub fn contains(&self, token: &Token) -> bool {
        self.passages.contains_key(token)
    }

    pub fn names(&self) -> impl Iterator<Item = &Token> {
        self.passages.keys()
    }

    pub fn get(&self, token: &Token) -> Option<&Passage> {
        self.passages.get(token)
    }

    pub fn get_mut(&mut self, token: &Token) -> Option<&mut Passage> {
        self.passages.get_mut(token)
    }

    pub fn insert(&mut self, token: Token, passage: Passage) {
        self.held.insert((passage.at, token.clone()));
        self.passages.insert(token, passage);
    }

    pub fn remove(&mut self, token: &Token) -> Option<Passage> {
        let passage = self.passages.remove(token)?;
        self.held.remove(&(passage.at, token.clone()));
        Some(passage)
    }

    /// Moves a token to the next seat.
    pub fn step(&mut self, token: &Token, roster: &Roster) -> Option<(Step, &mut Passage)> {
        let passage = self.passages.get_mut(token)?;
        let was = passage.at;
        let step = passage.step(roster);
        if passage.at != was {
            self.held.remove(&(was, token.clone()));
            self.held.insert((passage.at, token.clone()));
        }
        Some((step, passage))
    }

    /// What is held at a seat.
    pub fn held_at(&self, seat: Seat) -> Vec<Token> {
        let first = Token::Election(Term::NONE);
        self.held.range((seat, first)..).take_while(|(at, _)| *at == seat).map(|(_, token)| token.clone()).collect()
    }

    /// Whether this one is held at that seat.
    pub fn is_held_at(&self, seat: Seat, token: &Token) -> bool {
        self.passages.get(token).is_some_and(|passage| passage.at == seat)
    }

    /// What would end at this member.
    pub fn consumed_by(&self, id: &ClientId) -> Vec<Token> {
        self.passages.iter().filter(|(_, passage)| passage.consumer == *id).map(|(token, _)| token.clone()).collect()
    }

    pub fn check(&self) {
        assert_eq!(self.held.len(), self.passages.len(), "each token is in one place");
        let is_held = |(token, passage): (&Token, &Passage)| self.held.contains(&(passage.at, token.clone()));
        assert!(self.passages.iter().all(is_held), "each token is where it is said to be");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: char) -> ClientId {
        ClientId::new(text.to_string()).unwrap()
    }

    /// Goes round `ring` from `start` to `consumer`; before the step with that
    /// number somebody leaves or joins. Upper case: consumed.
    fn path(ring: &str, start: char, consumer: char, changes: &[(usize, &str)]) -> String {
        let mut roster = Roster::default();
        for member in ring.chars() {
            roster.join(id(member));
        }
        let seat = roster.seat(&id(start)).unwrap();
        let mut passage = Passage::new(id(start), seat, id(consumer), "".into());
        let mut path = String::new();
        for step in 0.. {
            for change in changes.iter().filter(|(at, _)| *at == step).map(|(_, change)| change) {
                let who = id(change.chars().nth(1).unwrap());
                if change.starts_with('+') {
                    roster.join(who);
                } else {
                    roster.leave(&who);
                }
            }
            match passage.step(&roster) {
                Step::Member(member) => path.push_str(member.as_str()),
                Step::Consumer(member) => return path + &member.as_str().to_uppercase(),
                Step::End => return path,
            }
        }
        unreachable!()
    }

    #[test]
    fn it_visits_everybody_once_and_ends() {
        assert_eq!(path("abcd", 'b', 'b', &[]), "cdaB", "home");
        assert_eq!(path("abcd", 'b', 'd', &[]), "cD", "at its consumer");
        assert_eq!(path("a", 'a', 'a', &[]), "A", "alone");
        assert_eq!(path("abcd", 'b', 'b', &[(1, "-b")]), "cda", "the origin left");
        assert_eq!(path("abcd", 'd', 'd', &[(1, "-d")]), "abc", "the origin was last, and left");
        assert_eq!(path("abcd", 'b', 'd', &[(1, "-d")]), "ca", "the consumer left");
        assert_eq!(path("abcd", 'b', 'b', &[(1, "-c")]), "cdaB", "the holder left");
        assert_eq!(path("abcd", 'b', 'b', &[(1, "+e")]), "cdeaB", "a newcomer, before it turned");
        assert_eq!(path("abcd", 'b', 'b', &[(3, "+e")]), "cdaB", "a newcomer, after");
        assert_eq!(
            path("abcd", 'b', 'b', &[(1, "-b"), (1, "+b")]),
            "cdB",
            "who returns has a new seat, and a new id besides"
        );
        assert_eq!(path("ab", 'a', 'a', &[(1, "-a"), (1, "-b")]), "b", "nobody is left");
    }
}
