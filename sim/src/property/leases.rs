//! S5 and S6: what is fenced, and who may act.

use std::collections::BTreeMap;
use std::time::Duration;

use ringleader_shared::id::{Name, Term};

use super::{Property, Violation};

/// Who may act, and who has.
#[derive(Debug, Default)]
pub(super) struct Leases {
    /// Until when each holder's own clock lets it act (`None`: for ever), and in which history.
    held: BTreeMap<Name, (Option<Duration>, u32)>,
    /// The newest term that the resource has let through, and whose it was.
    newest: Option<((u32, Term), Name)>,
}

impl Leases {
    /// S5. What is fenced accepts no older term after a newer one, nor one term from two.
    ///
    /// The sequencers of Chubby (Burrows 2006, section 2.4), the fencing tokens of
    /// Kleppmann (2016). That there is one writer a term is S1 again, seen from there.
    pub fn fenced(&mut self, (history, term): (u32, Term), node: &Name) -> Result<(), Violation> {
        if let Some(((before, newest), writer)) = &self.newest {
            if term < *newest {
                let problem = format!("{node} wrote in term {term}, after {writer} in term {newest}");
                return Violation::of(Property::S5, problem);
            }
            // A hub without its store may give out a term again.
            if term == *newest && writer != node && (*before, history) == (0, 0) {
                return Violation::of(Property::S5, format!("{writer} and {node} both wrote in term {term}"));
            }
        }
        self.newest = Some(((history, term), node.clone()));
        Ok(())
    }

    /// S6. Of two who may act, each by its own clock, one's time is over when the
    /// other's begins, as long as clocks run at about the same rate.
    ///
    /// Leases are those of Gray and Cheriton (1989, section 3). Here the client
    /// claims it: `shared/src/election/eligible_array/tenure.rs`.
    pub fn no_two_leases(
        &mut self,
        (now, history): (Duration, u32),
        node: &Name,
        until: Option<Duration>,
    ) -> Result<(), Violation> {
        let runs = |until: Option<Duration>| until.is_none_or(|until| until > now);
        self.held.insert(node.clone(), (until, history));
        let same = |(until, of): (Option<Duration>, u32)| of == history && runs(until);
        let other = self.held.iter().find(|(other, held)| *other != node && same(**held));
        match other {
            Some((other, (end, _))) if runs(until) => {
                let end = end.map_or_else(|| "for ever".into(), |end| format!("until {:.3}", end.as_secs_f64()));
                Violation::of(Property::S6, format!("{node} may act, and {other} may {end}"))
            }
            _ => Ok(()),
        }
    }

    pub fn idle(&mut self, node: &Name) {
        self.held.remove(node);
    }
}
