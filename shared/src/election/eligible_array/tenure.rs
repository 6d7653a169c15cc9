//! A leader's tenure: when it may act, and when it has to stop.
//!
//! Once elected it waits as long as the announcement says, for an older leader may
//! hold a lease; then it asks the hub for one, and once a quarter of its length
//! again. Each lease counts from when it was *asked for* and ends at four fifths of
//! its length, while the hub counts the whole of it from when it granted: so ours is
//! over first, as long as no clock runs more than a tenth too fast or too slow
//! (Gray and Cheriton, SOSP 1989).
//!
//! Without a clock in here, a lease ends by a timer that is set when it is asked for.
//! Two matter at a time: that of the lease which was granted last, and that of the
//! one which is asked for. Answers come in order, and the next lease is asked for
//! only after an answer, so two names are enough.

use std::time::Duration;

use super::{Effects, EligibleArray, Place, Report, Standing, Timer, send, set};
use crate::machine::{Effect, exactly};
use crate::message::{Lease, RingMessage};
use crate::rule::Rule;

/// Which of the two leases that matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Renewal {
    /// The first, the third, ...
    Odd,
    /// The second, the fourth, ...
    Even,
}

impl Renewal {
    fn next(self) -> Self {
        match self {
            Renewal::Odd => Renewal::Even,
            Renewal::Even => Renewal::Odd,
        }
    }
}

/// What a leader may do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Tenure {
    /// The hub grants no leases: to lead is all there is.
    Unbound,
    /// An older leader's lease may still run; [`Timer::Act`] does.
    Waiting,
    /// The first lease is asked for.
    Asking,
    /// It holds this lease; whether the next one is asked for, else [`Timer::Renew`] runs.
    Leased { granted: Renewal, asked: bool },
}

impl Tenure {
    pub fn may_act(&self) -> bool {
        matches!(self, Tenure::Unbound | Tenure::Leased { .. })
    }

    /// The timers that run for it.
    fn timers(&self) -> Vec<Timer> {
        match self {
            Tenure::Unbound => vec![],
            Tenure::Waiting => vec![Timer::Act],
            Tenure::Asking => vec![Timer::LeaseEnd(Renewal::Odd)],
            Tenure::Leased { granted, asked: false } => vec![Timer::LeaseEnd(*granted), Timer::Renew],
            Tenure::Leased { granted, asked: true } => {
                vec![Timer::LeaseEnd(*granted), Timer::LeaseEnd(granted.next())]
            }
        }
    }
}

impl Place {
    pub(super) fn leads(&self) -> bool {
        matches!(self.standing, Standing::Leader(_))
    }
}

impl EligibleArray {
    /// The timer at whose end the lease runs out that it holds.
    pub fn lease_end(&self) -> Option<Timer> {
        match self.tenure()? {
            Tenure::Leased { granted, .. } => Some(Timer::LeaseEnd(*granted)),
            _ => None,
        }
    }

    pub(super) fn tenure(&self) -> Option<&Tenure> {
        match &self.place.as_ref()?.standing {
            Standing::Leader(tenure) => Some(tenure),
            _ => None,
        }
    }

    pub(super) fn begin_tenure(&mut self, act_after_ms: Option<u64>) -> Effects {
        /// A wait comes from the hub, and no lease is as long.
        const LONGEST_WAIT: Duration = Duration::from_secs(3600);
        let wait = Duration::from_millis(act_after_ms.unwrap_or(0)).min(LONGEST_WAIT);
        let waits = !wait.is_zero() && self.keeps(Rule::WaitBeforeActing);
        let Some(place) = &mut self.place else { return vec![] };
        match place.lease {
            None => {
                place.standing = Standing::Leader(Tenure::Unbound);
                vec![]
            }
            Some(_) if waits => {
                place.standing = Standing::Leader(Tenure::Waiting);
                vec![set(Timer::Act, exactly(wait)), Effect::Report(Report::Waits(wait))]
            }
            Some(_) => {
                place.standing = Standing::Leader(Tenure::Asking);
                self.ask(Renewal::Odd)
            }
        }
    }

    /// The timers that have to stop. What takes the tenure's place is the caller's to say.
    pub(super) fn end_tenure(&mut self) -> Vec<Timer> {
        self.tenure().map(Tenure::timers).unwrap_or_default()
    }

    pub(super) fn on_older_leases_over(&mut self) -> Effects {
        match &mut self.place {
            Some(Place { standing: Standing::Leader(tenure @ Tenure::Waiting), .. }) => {
                *tenure = Tenure::Asking;
                self.ask(Renewal::Odd)
            }
            _ => vec![],
        }
    }

    pub(super) fn on_renewal_due(&mut self) -> Effects {
        match &mut self.place {
            Some(Place { standing: Standing::Leader(Tenure::Leased { granted, asked: asked @ false }), .. }) => {
                *asked = true;
                let next = granted.next();
                self.ask(next)
            }
            _ => vec![],
        }
    }

    fn ask(&self, renewal: Renewal) -> Effects {
        let Some((place, lease)) = self.place.as_ref().and_then(|place| Some((place, place.lease?))) else {
            return vec![];
        };
        let message = RingMessage::Lease(Lease { term: self.term, lease_ms: None });
        vec![send(Some(place.me.clone()), message), set(Timer::LeaseEnd(renewal), exactly(safe(lease)))]
    }

    pub(super) fn on_granted(&mut self, granted: &Lease) -> Effects {
        let from_asking = self.keeps(Rule::LeaseFromAsking);
        // An answer to what was asked in an older term is of no use in this one.
        if granted.term != self.term {
            return vec![];
        }
        let Some(Place { standing: Standing::Leader(tenure), lease: Some(lease), .. }) = &mut self.place else {
            return vec![];
        };
        // The hub may not grant less than it promised: our timer runs for that.
        if granted.lease_ms.is_none_or(|millis| Duration::from_millis(millis) < *lease) {
            return vec![];
        }
        let (held, over) = match tenure {
            Tenure::Asking => (Renewal::Odd, None),
            Tenure::Leased { granted, asked: true } => (granted.next(), Some(Timer::LeaseEnd(*granted))),
            _ => return vec![],
        };
        *tenure = Tenure::Leased { granted: held, asked: false };
        let mut effects: Effects = over.map(Effect::CancelTimer).into_iter().collect();
        if !from_asking {
            effects.push(set(Timer::LeaseEnd(held), exactly(safe(*lease))));
        }
        effects.push(set(Timer::Renew, exactly(*lease / 4)));
        effects
    }

    /// The lease is over: it must not act any more, and says that it does not.
    pub(super) fn on_lease_end(&mut self) -> Effects {
        if self.tenure().is_none() || !self.keeps(Rule::StandDown) {
            return vec![];
        }
        let mut effects = vec![Effect::Report(Report::StoodDown { refused: false })];
        effects.extend(self.on_resign());
        effects
    }

    /// The hub has another leader, or none.
    pub(super) fn on_lease_refused(&mut self) -> Effects {
        if !matches!(self.tenure(), Some(Tenure::Asking | Tenure::Leased { asked: true, .. })) {
            return vec![];
        }
        self.resigned = self.term;
        let mut effects = vec![Effect::Report(Report::StoodDown { refused: true })];
        effects.extend(self.lose_leader());
        effects.push(set(Timer::Campaign, self.election_timeout()));
        effects
    }
}

/// For how long a leader acts on a lease of that length.
fn safe(lease: Duration) -> Duration {
    lease * 4 / 5
}
