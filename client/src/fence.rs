//! A fence: what stands before a thing that only the leader may touch, and turns
//! away leaders of the past by their term. `docs/leadership.md` says why every
//! leader needs one, and how a table or a service is its own fence.
//!
//! Holds: a term that was admitted is never followed by an older one; for a
//! [`FileFence`] neither after a crash of the process or the machine.
//! Fails: it cannot turn away an older leader before a newer one has come by, and
//! it believes whatever term it is shown.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind, Read};
use std::path::PathBuf;

use ringleader_shared::id::Term;
use thiserror::Error;

use crate::durable;

/// A fence that is as old as the program. For what ends with the program, too.
///
/// [`Fence::admit`] takes `&mut self` on purpose. Between asking and acting nobody
/// else may be admitted, so threads share the fence and what it protects in one
/// mutex, and hold it until they have acted:
///
/// ```
/// # use std::sync::Mutex;
/// # use ringleader_client::{Fence, Stale};
/// # use ringleader_shared::id::Term;
/// struct Lamp {
///     fence: Fence,
///     lit: bool,
/// }
///
/// fn switch(lamp: &Mutex<Lamp>, term: Term, lit: bool) -> Result<(), Stale> {
///     let mut lamp = lamp.lock().expect("no holder panics");
///     lamp.fence.admit(term)?;
///     lamp.lit = lit;
///     Ok(())
/// }
/// # let lamp = Mutex::new(Lamp { fence: Fence::new(), lit: false });
/// # switch(&lamp, Term::new(2).unwrap(), true).unwrap();
/// # switch(&lamp, Term::new(1).unwrap(), false).unwrap_err();
/// # assert!(lamp.lock().unwrap().lit);
/// ```
#[derive(Debug, Default)]
pub struct Fence {
    /// Only rises.
    newest: Term,
}

/// The term that was shown is not that of a leader any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{}", self.text())]
pub struct Stale {
    /// The newest term that was admitted.
    pub newest: Term,
    /// The term that was turned away.
    pub shown: Term,
}

impl Stale {
    fn text(&self) -> String {
        match self.shown {
            Term::NONE => "term 0 is nobody's: in it no leader was elected".into(),
            shown => format!("term {shown} is over: term {} was here already. Stop acting as the leader", self.newest),
        }
    }
}

impl Fence {
    /// A fence that has admitted nobody yet.
    pub fn new() -> Self {
        Fence::default()
    }

    /// Lets the leader of this term act, and from now on nobody of an older term.
    /// The same term may come again.
    pub fn admit(&mut self, term: Term) -> Result<(), Stale> {
        if term < self.newest || term == Term::NONE {
            return Err(Stale { newest: self.newest, shown: term });
        }
        self.newest = term;
        Ok(())
    }
}

/// A [`Fence`] that outlives the program: the newest admitted term is in a file.
///
/// The file holds one line, such as `ringleader-fence 1 17`: the format's version,
/// then the term. `FILE.lock` beside it is locked while the fence is in use;
/// `FILE.new` is there while a term is written. Every newer term waits for the
/// disk: from async code, use `spawn_blocking`.
#[derive(Debug)]
pub struct FileFence {
    fence: Fence,
    path: PathBuf,
    _lock: File,
}

/// Why a [`FileFence`] turned somebody away, or cannot be used.
#[derive(Debug, Error)]
pub enum FenceError {
    /// The term is too old.
    #[error(transparent)]
    Stale(#[from] Stale),
    /// The disk, or its permissions.
    #[error("cannot keep a fence in {}: {source}; name a file in a directory that this user may write to", path.display())]
    Unusable {
        /// The fence's file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Two processes behind one fence would not see each other's terms.
    #[error("another process uses the fence in {}: stop that one first", path.display())]
    InUse {
        /// The fence's file.
        path: PathBuf,
    },
    /// The file is not what a fence writes. It is never taken for an empty one.
    #[error(
        "{} is no fence: expected one line such as \"ringleader-fence 1 17\". If you know the newest term \
         that acted, write that; else stop everyone who may believe to lead, and remove the file",
        path.display()
    )]
    Damaged {
        /// The fence's file.
        path: PathBuf,
    },
}

/// What the line in the file begins with. The number is the format's version.
const FORMAT: &str = "ringleader-fence 1 ";

impl FileFence {
    /// The fence in this file; where there is no file, one that has admitted
    /// nobody yet. It is in use until dropped.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, FenceError> {
        let path = path.into();
        let unusable = |source| FenceError::Unusable { path: path.clone(), source };
        let lock = match durable::lock(&path) {
            Ok(lock) => lock,
            Err(TryLockError::WouldBlock) => return Err(FenceError::InUse { path }),
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        };
        let newest = match File::open(&path) {
            Ok(file) => read(file).map_err(unusable)?.ok_or_else(|| FenceError::Damaged { path: path.clone() })?,
            Err(error) if error.kind() == ErrorKind::NotFound => Term::NONE,
            Err(error) => return Err(unusable(error)),
        };
        Ok(FileFence { fence: Fence { newest }, path, _lock: lock })
    }

    /// As [`Fence::admit`]. A newer term is on the disk when this returns; if it
    /// cannot be written, nobody is admitted.
    pub fn admit(&mut self, term: Term) -> Result<(), FenceError> {
        if term > self.fence.newest {
            let written = durable::replace(&self.path, line(term).as_bytes());
            written.map_err(|source| FenceError::Unusable { path: self.path.clone(), source })?;
        }
        Ok(self.fence.admit(term)?)
    }
}

fn line(term: Term) -> String {
    format!("{FORMAT}{term}\n")
}

/// `None` unless it is, to the byte, what [`FileFence::admit`] writes.
fn read(file: File) -> io::Result<Option<Term>> {
    let mut text = vec![];
    file.take(64).read_to_end(&mut text)?;
    let text = String::from_utf8(text).unwrap_or_default();
    let term = text.strip_prefix(FORMAT).and_then(|rest| Term::new(rest.trim_end().parse().ok()?));
    Ok(term.filter(|term| *term != Term::NONE && line(*term) == text))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Mutex;
    use std::thread;

    use ringleader_shared::id::MAX_SAFE_INTEGER;

    use super::*;
    use crate::durable::beside;

    fn term(value: u64) -> Term {
        Term::new(value).unwrap()
    }

    #[test]
    fn terms_never_fall() {
        // What is shown, one after another, and whether it is admitted.
        let table: &[&[(u64, bool)]] = &[
            &[(1, true), (1, true), (2, true), (1, false), (2, true)],
            &[(0, false), (1, true), (0, false)],
            &[(7, true), (3, false), (6, false), (7, true), (8, true), (7, false)],
            &[(MAX_SAFE_INTEGER, true), (MAX_SAFE_INTEGER - 1, false), (MAX_SAFE_INTEGER, true)],
        ];
        for shown in table {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("fence");
            let (mut fence, mut file) = (Fence::new(), FileFence::open(&path).unwrap());
            for (value, admitted) in *shown {
                assert_eq!(fence.admit(term(*value)).is_ok(), *admitted, "{value} of {shown:?}");
                assert_eq!(file.admit(term(*value)).is_ok(), *admitted, "{value} of {shown:?}, in a file");
                // And the same if the program ends after every step.
                drop(file);
                file = FileFence::open(&path).unwrap();
            }
        }
    }

    #[test]
    fn who_is_turned_away_is_told_why() {
        let mut fence = Fence::new();
        fence.admit(term(9)).unwrap();
        let stale = fence.admit(term(4)).unwrap_err();
        assert_eq!(stale, Stale { newest: term(9), shown: term(4) });
        assert_eq!(stale.to_string(), "term 4 is over: term 9 was here already. Stop acting as the leader");
        assert!(fence.admit(Term::NONE).unwrap_err().to_string().contains("nobody's"));
    }

    #[test]
    fn threads_that_hold_the_mutex_act_in_the_order_of_their_terms() {
        let acted = Mutex::new((Fence::new(), vec![]));
        thread::scope(|scope| {
            for thread in 0..8_u64 {
                let acted = &acted;
                scope.spawn(move || {
                    for step in 0..1_000_u64 {
                        let shown = term(1 + (step * 31 + thread * 7) % 1_000);
                        let mut guard = acted.lock().unwrap();
                        if guard.0.admit(shown).is_ok() {
                            guard.1.push(shown);
                        }
                    }
                });
            }
        });
        let (_, acted) = acted.into_inner().unwrap();
        assert!(acted.is_sorted(), "{acted:?}");
        assert_eq!(acted.last(), Some(&term(1_000)));
    }

    #[test]
    fn one_process_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fence");
        let mut fence = FileFence::open(&path).unwrap();
        fence.admit(term(1)).unwrap();
        let error = FileFence::open(&path).unwrap_err();
        assert!(matches!(error, FenceError::InUse { .. }), "{error}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        drop(fence);
        FileFence::open(&path).unwrap();
    }

    #[test]
    fn a_crash_before_the_rename_leaves_the_older_term() {
        for draft in ["", "ringleader-fe", "ringleader-fence 1 8\n"] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("fence");
            FileFence::open(&path).unwrap().admit(term(7)).unwrap();
            fs::write(beside(&path, ".new"), draft).unwrap();

            let mut fence = FileFence::open(&path).unwrap();
            fence.admit(term(6)).unwrap_err();
            fence.admit(term(7)).unwrap();
            fence.admit(term(8)).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), "ringleader-fence 1 8\n");
        }
    }

    #[test]
    fn garbage_is_never_taken_for_an_empty_fence() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fence");
        let long = format!("{FORMAT}{}", "9".repeat(1_000));
        for garbage in [
            "",
            "17",
            "ringleader-fence 1 ",
            "ringleader-fence 1 17",
            "ringleader-fence 1 0\n",
            "ringleader-fence 1 017\n",
            "ringleader-fence 1 +17\n",
            "ringleader-fence 1 17\n\n",
            "ringleader-fence 2 17\n",
            "ringleader-fence 1 9007199254740992\n",
            "\0\0\0\0\0\0\0\0",
            &long,
        ] {
            fs::write(&path, garbage).unwrap();
            let error = FileFence::open(&path).unwrap_err();
            assert!(matches!(error, FenceError::Damaged { .. }), "{garbage:?}: {error}");
            assert!(error.to_string().contains(&path.display().to_string()), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), garbage, "was changed");
        }
        fs::write(&path, [0xff; 20]).unwrap();
        assert!(matches!(FileFence::open(&path), Err(FenceError::Damaged { .. })));
    }

    #[test]
    fn what_cannot_be_written_is_not_admitted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fence");
        let mut fence = FileFence::open(&path).unwrap();
        fence.admit(term(5)).unwrap();
        // A directory in the draft's place stands for a full disk.
        fs::create_dir(beside(&path, ".new")).unwrap();
        assert!(matches!(fence.admit(term(6)), Err(FenceError::Unusable { .. })));
        fence.admit(term(5)).unwrap();
        fs::remove_dir(beside(&path, ".new")).unwrap();
        fence.admit(term(6)).unwrap();

        let nowhere = directory.path().join("missing/fence");
        let error = FileFence::open(&nowhere).unwrap_err();
        assert!(error.to_string().contains("missing/fence"), "{error}");
    }
}
