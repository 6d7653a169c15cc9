//! An acceptor: two things to remember, two questions to answer.

use serde::{Deserialize, Serialize};

use super::message::{Ballot, Vote};

/// What an acceptor must not forget.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Acceptor {
    /// The highest ballot that it has promised or accepted; never falls.
    pub promised: Option<Ballot>,
    /// The vote of the highest ballot that it has accepted; its ballot <= promised.
    pub accepted: Option<Vote>,
}

/// It has promised this one, which is not lower than what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promised(pub Ballot);

impl Acceptor {
    /// Phase 1b: promises a ballot that is higher than all before, and tells its vote.
    /// One that is equal is refused: so no ballot is promised twice, and a prepare that
    /// comes late out of an earlier life of its proposer does no harm.
    ///
    /// # Errors
    ///
    /// What it has promised instead.
    pub fn promise(&mut self, ballot: Ballot) -> Result<Option<Vote>, Promised> {
        match self.promised {
            Some(promised) if promised >= ballot => Err(Promised(promised)),
            _ => {
                self.promised = Some(ballot);
                Ok(self.accepted.clone())
            }
        }
    }

    /// Phase 2b: votes, unless it has promised a higher ballot and keeps its promises.
    /// Says whether that is news.
    ///
    /// # Errors
    ///
    /// What it has promised instead.
    pub fn accept(&mut self, vote: &Vote, keeps_promises: bool) -> Result<bool, Promised> {
        match self.promised {
            Some(promised) if promised > vote.ballot && keeps_promises => Err(Promised(promised)),
            _ if self.accepted.as_ref() == Some(vote) => Ok(false),
            _ => {
                self.promised = self.promised.max(Some(vote.ballot));
                self.accepted = Some(vote.clone());
                Ok(true)
            }
        }
    }

    /// Panics if an invariant is broken.
    pub fn check(&self) {
        let accepted = self.accepted.as_ref().map(|vote| vote.ballot);
        assert!(accepted <= self.promised, "who accepts has promised no less");
    }
}
