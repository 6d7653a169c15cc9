//! The ring election of Chang and Roberts ("An improved algorithm for decentralized
//! extrema-finding in circular configurations of processes", CACM 22(5), 1979), on
//! direct connections: each node dials its successor, and messages go one way.
//!
//! Every node sends its own UUID. A greater one is passed on, a lesser one goes no
//! further, and whose own comes home leads. It says so once round the ring.
//!
//! Holds, in a static ring of distinct UUIDs: everybody comes to know the greatest, and
//! nobody another. With repair also: after a crash the survivors agree on one that all
//! of them compared with, provided that a crash closes its connections and that whoever
//! stands before it notices within [`Timing::linger`].
//! Fails: a static ring is broken by the loss of anybody, and says so. Where two bear
//! one UUID, most of what cannot be otherwise is noticed ([`Duplicate`]); where that is
//! the greatest, nothing is, and both lead. Repair takes who is cut off for dead: in a
//! net that parts, two rings may close and each elects. It sees no terms through nodes
//! that know none.
//! Costs: n(n+1)/2 + n messages at the worst order of UUIDs round the ring, n·H(n) + n
//! in the mean over all orders (the announcement's n included); with repair n more a
//! term, which say that it is done.
//! Departs from the paper: who has lost its successor waits for [`Timing::grace`], since
//! some leaders announce themselves and leave. Terms, so that nothing from before a
//! crash elects anybody after it; `done`, so that nobody leaves before all have decided.

mod report;
#[cfg(test)]
mod tests;
pub mod wire;

use std::cmp::Ordering;
use std::convert::Infallible;
use std::time::Duration;

use uuid::Uuid;

use crate::id::Term;
use crate::machine::{Effect, Input, Machine, exactly};
use crate::rule::rules;
pub use report::{Duplicate, Report};

rules! {
    /// A UUID that is less than a node's own goes no further.
    LesserStops = "lesser-stops",
    /// A node's own UUID goes out in each term, before anything it passes on.
    OwnFirst = "own-first",
    /// What comes from an older term counts for nothing.
    OlderTermsDropped = "older-terms-dropped",
    /// Who skips a dead successor without knowing a leader begins a new term.
    RepairRaisesTerm = "repair-raises-term",
    /// Who knows the leader and loses its successor tells the next one.
    DecidedTellsNext = "decided-tells-next",
    /// The leader says that it is done only when its announcement is home.
    DoneWhenHome = "done-when-home",
}

/// How long to wait for what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Timing {
    /// How long a lost successor may have been a leader that announced itself and left,
    /// with the announcement still on its way to us.
    pub grace: Duration,
    /// With repair: how long who has decided waits for `done`.
    pub linger: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing { grace: Duration::from_secs(1), linger: Duration::from_secs(5) }
    }
}

/// Whom a node has to do with, by place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Neighbour {
    /// Whoever dialled us. It sends, and we never answer.
    Predecessor,
    /// That many places after us in the ring, from 1; without repair always 1. Sending
    /// to it for the first time means dialling it, and letting go of the one before.
    Ahead(usize),
}

/// What a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flag {
    /// Flag 0: this UUID stands.
    Candidate,
    /// Flag 1: this UUID leads.
    Elected,
}

/// What goes round.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Message {
    /// Whose it is. Compared as a number of 128 bits.
    pub uuid: Uuid,
    /// What about it.
    pub flag: Flag,
    /// In which election; only with repair. None is the one that the reader is in.
    pub term: Option<Term>,
    /// The announcement was home before: everybody knows, and may leave.
    pub done: bool,
}

/// The timers of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// The successor is lost and no leader known: see [`Timing::grace`].
    Grace,
    /// The leader is known, and `done` has not come: see [`Timing::linger`].
    Linger,
}

/// What happens besides messages and timers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    /// The connection to the successor stands. Nothing is read from the predecessor before.
    Start,
    /// A connection has broken, or could not be made.
    Lost(Neighbour),
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ChangRoberts {
    me: Uuid,
    timing: Timing,
    /// How many others there are to go on to; `None` in a static ring.
    others: Option<usize>,
    /// How many places ahead the successor is; only rises, so nobody skipped comes back.
    successor: usize,
    /// The successor is lost, and no other in its place yet.
    cut: bool,
    /// Which election; only rises. [`Term::NONE`] in a static ring, which has but one.
    term: Term,
    standing: Standing,
    /// A rule that is not kept, on purpose.
    broken: Option<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Standing {
    /// There is no connection to the successor yet.
    Waiting,
    /// Our UUID is out.
    Candidate {
        /// Whether one greater than ours has come by in this term.
        outdone: bool,
    },
    /// Our UUID came home.
    Leader {
        /// Whether our announcement is, too; only with repair is anything left to do then.
        home: bool,
    },
    /// The leader is known and told to the successor. Only with repair: else we have ended.
    Follower { leader: Uuid },
    /// With a leader, or broken.
    Ended { leader: Option<Uuid> },
}

type Effects = Vec<Effect<ChangRoberts>>;

impl Machine for ChangRoberts {
    type Peer = Neighbour;
    type Message = Message;
    type Timer = Timer;
    type Event = Event;
    type Report = Report;
    type Saved = Infallible;

    fn handle(&mut self, input: Input<Self>) -> Effects {
        match input {
            Input::Event(Event::Start) => self.on_start(),
            Input::Event(Event::Lost(Neighbour::Predecessor)) => self.on_predecessor_lost(),
            Input::Event(Event::Lost(Neighbour::Ahead(places))) => self.on_successor_lost(places),
            Input::Timeout(Timer::Grace) => self.on_grace_over(),
            Input::Timeout(Timer::Linger) => self.on_linger_over(),
            Input::Message { from: Neighbour::Predecessor, message } => self.on_message(message),
            // Messages go one way.
            Input::Message { from: Neighbour::Ahead(_), .. } => vec![],
        }
    }

    fn check(&self) {
        match (self.others, &self.standing) {
            (None, standing) => {
                assert_eq!((self.successor, self.term), (1, Term::NONE), "a static ring stays as it is");
                let waits = matches!(standing, Standing::Follower { .. } | Standing::Leader { home: true });
                assert!(!waits, "in a static ring nobody waits for done");
            }
            (Some(_), Standing::Ended { .. }) => {}
            (Some(others), standing) => {
                assert!((1..=others).contains(&self.successor), "the successor is one of the others");
                assert!(self.term > Term::NONE, "each election has a term");
                let decided = matches!(standing, Standing::Follower { .. } | Standing::Leader { home: false });
                assert!(!self.cut || !decided || self.broken.is_some(), "who has decided told somebody");
            }
        }
        if let Standing::Follower { leader } = self.standing {
            assert_ne!(leader, self.me, "nobody follows itself");
        }
    }
}

impl ChangRoberts {
    /// A node of a static ring, not connected yet.
    pub fn new(me: Uuid, timing: Timing) -> Self {
        let (successor, cut, standing) = (1, false, Standing::Waiting);
        ChangRoberts { me, timing, others: None, successor, cut, term: Term::NONE, standing, broken: None }
    }

    /// Skips dead successors, in a ring with that many others (at least one). All are to do so.
    pub fn repairing(self, others: usize) -> Self {
        ChangRoberts { others: Some(others.max(1)), term: Term::NONE.later(1), ..self }
    }

    /// Breaks a rule on purpose, to see that it is missed.
    pub fn breaking(self, rule: Option<Rule>) -> Self {
        ChangRoberts { broken: rule, ..self }
    }

    /// The leader that it knows, before or after its end.
    pub fn leader(&self) -> Option<Uuid> {
        match self.standing {
            Standing::Waiting | Standing::Candidate { .. } => None,
            Standing::Leader { .. } => Some(self.me),
            Standing::Follower { leader } => Some(leader),
            Standing::Ended { leader } => leader,
        }
    }

    /// Whether nothing is left to do.
    pub fn has_ended(&self) -> bool {
        matches!(self.standing, Standing::Ended { .. })
    }

    fn keeps(&self, rule: Rule) -> bool {
        self.broken != Some(rule)
    }

    fn on_start(&mut self) -> Effects {
        match self.standing {
            Standing::Waiting => self.stand(),
            // There is but one start.
            _ => vec![],
        }
    }

    fn on_message(&mut self, message: Message) -> Effects {
        if matches!(self.standing, Standing::Waiting | Standing::Ended { .. }) {
            // Nothing is read before the start; what comes after the end comes too late.
            return vec![];
        }
        let (compared, leader) = (message.uuid.cmp(&self.me), self.leader());
        let mut effects = vec![Effect::Report(Report::Received { message: message.clone(), compared, leader })];
        // To a static ring terms say nothing. A term near the end of all numbers is a
        // mistake, or a wish to leave none for the elections to come.
        let term = message.term.filter(|_| self.others.is_some()).unwrap_or(self.term);
        if term > Term::HIGHEST_CLAIM {
            effects.push(ignored(message));
            return effects;
        }
        if term > self.term {
            effects.extend(self.join(term));
        }
        let older = term < self.term && self.keeps(Rule::OlderTermsDropped);
        effects.extend(match message.flag {
            _ if older || self.has_ended() => vec![ignored(message)],
            Flag::Candidate => self.on_candidate(message),
            Flag::Elected => self.on_announcement(message),
        });
        effects
    }

    fn on_candidate(&mut self, message: Message) -> Effects {
        let (uuid, lesser_stops) = (message.uuid, self.keeps(Rule::LesserStops));
        match (&mut self.standing, uuid.cmp(&self.me)) {
            (Standing::Candidate { outdone }, Ordering::Greater) => {
                *outdone = true;
                self.send(Flag::Candidate, uuid, false)
            }
            (Standing::Candidate { .. }, Ordering::Less) if !lesser_stops => self.send(Flag::Candidate, uuid, false),
            (Standing::Candidate { outdone: false }, Ordering::Equal) => self.lead(),
            (Standing::Candidate { outdone: true }, Ordering::Equal) => duplicate(Duplicate::PastAGreater, message),
            (Standing::Leader { .. }, Ordering::Equal) => duplicate(Duplicate::SecondHome, message),
            (Standing::Leader { .. }, Ordering::Greater) => duplicate(Duplicate::GreaterAfterHome, message),
            // A lesser one; or one that comes when all is decided.
            _ => vec![ignored(message)],
        }
    }

    fn on_announcement(&mut self, message: Message) -> Effects {
        let (uuid, ours) = (message.uuid, message.uuid == self.me);
        match self.standing {
            Standing::Candidate { .. } if ours => duplicate(Duplicate::NotOurAnnouncement, message),
            Standing::Candidate { .. } => self.follow(uuid, message.done),
            Standing::Leader { home: false } if ours => self.on_home(),
            Standing::Leader { home: true } if ours && message.done => self.end(uuid),
            Standing::Leader { .. } if !ours => duplicate(Duplicate::AnotherLeader, message),
            Standing::Follower { leader } if leader == uuid && message.done => self.pass_done_on(leader),
            // After a repair the announcement may come twice.
            _ => vec![ignored(message)],
        }
    }

    /// Ours is home.
    fn lead(&mut self) -> Effects {
        if self.cut && self.others.is_none() {
            // There is nobody to tell.
            return self.end_broken(Neighbour::Ahead(self.successor));
        }
        self.standing = Standing::Leader { home: false };
        let mut effects = vec![Effect::Report(Report::Decided(self.me))];
        effects.extend(if self.cut { self.tell_next(self.me) } else { self.send(Flag::Elected, self.me, false) });
        if self.others.is_some() && !self.has_ended() && !self.keeps(Rule::DoneWhenHome) {
            effects.extend(self.on_home());
        }
        effects
    }

    /// Our announcement is home: everybody knows.
    fn on_home(&mut self) -> Effects {
        if self.others.is_none() {
            return self.end(self.me);
        }
        // It ends when this is home, too: ended before, it would seem dead to its
        // predecessor, to whom this comes last.
        self.standing = Standing::Leader { home: true };
        let mut effects = self.send(Flag::Elected, self.me, true);
        effects.push(self.linger());
        effects
    }

    fn follow(&mut self, leader: Uuid, done: bool) -> Effects {
        let mut effects = vec![Effect::Report(Report::Decided(leader))];
        self.standing = Standing::Follower { leader };
        if self.others.is_none() {
            // A successor that is lost by now has what it needs, or was the leader itself.
            effects.extend(self.send(Flag::Elected, leader, false));
            effects.extend(self.end(leader));
        } else if done {
            effects.extend(self.pass_done_on(leader));
        } else if self.cut {
            effects.push(self.linger());
            effects.extend(self.tell_next(leader));
        } else {
            effects.extend(self.send(Flag::Elected, leader, false));
            effects.push(self.linger());
        }
        effects
    }

    fn pass_done_on(&mut self, leader: Uuid) -> Effects {
        let mut effects = self.send(Flag::Elected, leader, true);
        effects.extend(self.end(leader));
        effects
    }

    fn on_predecessor_lost(&mut self) -> Effects {
        match self.standing {
            Standing::Candidate { .. } | Standing::Leader { home: false } if self.others.is_none() => {
                self.end_broken(Neighbour::Predecessor)
            }
            // With repair another one dials us. Else all it had to say has been said.
            _ => vec![],
        }
    }

    fn on_successor_lost(&mut self, places: usize) -> Effects {
        if places != self.successor || self.cut {
            // Skipped already, or known to be lost.
            return vec![];
        }
        match self.standing {
            Standing::Waiting | Standing::Ended { .. } => vec![],
            Standing::Candidate { .. } => {
                self.cut = true;
                let lost = Report::SuccessorLost(Neighbour::Ahead(places));
                vec![Effect::SetTimer { timer: Timer::Grace, after: exactly(self.timing.grace) }, Effect::Report(lost)]
            }
            Standing::Follower { leader } => self.tell_next(leader),
            Standing::Leader { home: false } if self.others.is_some() => self.tell_next(self.me),
            // What it had to be told it was told; whether it passed that on, our predecessor shows.
            Standing::Leader { .. } => {
                self.cut = true;
                vec![]
            }
        }
    }

    fn on_grace_over(&mut self) -> Effects {
        match (&self.standing, self.others) {
            (Standing::Candidate { .. }, Some(_)) if self.cut => self.start_over(),
            (Standing::Candidate { .. }, None) if self.cut => self.end_broken(Neighbour::Ahead(self.successor)),
            // The announcement came in time.
            _ => vec![],
        }
    }

    /// `done` was lost, or there are nodes in the ring that do not say it.
    fn on_linger_over(&mut self) -> Effects {
        match self.standing {
            Standing::Follower { leader } => self.end(leader),
            Standing::Leader { home: true } => self.end(self.me),
            // A newer term came first.
            _ => vec![],
        }
    }

    /// Stands in the term that it is in.
    fn stand(&mut self) -> Effects {
        self.standing = Standing::Candidate { outdone: false };
        if self.keeps(Rule::OwnFirst) { self.send(Flag::Candidate, self.me, false) } else { vec![] }
    }

    /// Takes part in a term that others began.
    fn join(&mut self, term: Term) -> Effects {
        self.term = term;
        let mut effects = vec![Effect::CancelTimer(Timer::Linger)];
        effects.extend(if self.cut { self.start_over() } else { self.stand() });
        effects
    }

    /// Goes on to the next one and, as nobody can tell what the dead one has done with
    /// what it was sent, elects anew.
    fn start_over(&mut self) -> Effects {
        if self.keeps(Rule::RepairRaisesTerm) {
            self.term = self.term.later(1);
        }
        let mut effects = self.skip();
        if self.has_successor() {
            effects.extend(self.stand());
        } else {
            // Alone.
            effects.push(Effect::Report(Report::Decided(self.me)));
            effects.extend(self.end(self.me));
        }
        effects
    }

    /// What was decided goes to the next one: who follows the dead one may not know it.
    fn tell_next(&mut self, leader: Uuid) -> Effects {
        if !self.keeps(Rule::DecidedTellsNext) {
            self.cut = true;
            return vec![];
        }
        let mut effects = self.skip();
        effects.extend(if self.has_successor() { self.send(Flag::Elected, leader, false) } else { self.end(leader) });
        effects
    }

    fn skip(&mut self) -> Effects {
        self.cut = false;
        self.successor += 1;
        let next = self.has_successor().then_some(Neighbour::Ahead(self.successor));
        vec![Effect::CancelTimer(Timer::Grace), Effect::Report(Report::Skipped { next, term: self.term })]
    }

    fn has_successor(&self) -> bool {
        self.others.is_none_or(|others| self.successor <= others)
    }

    fn end(&mut self, leader: Uuid) -> Effects {
        self.standing = Standing::Ended { leader: Some(leader) };
        vec![Effect::Report(Report::Ended(leader))]
    }

    fn end_broken(&mut self, at: Neighbour) -> Effects {
        self.standing = Standing::Ended { leader: None };
        vec![Effect::Report(Report::Broken(at))]
    }

    fn send(&self, flag: Flag, uuid: Uuid, done: bool) -> Effects {
        if self.cut {
            return vec![];
        }
        let to = Neighbour::Ahead(self.successor);
        let message = Message { uuid, flag, term: self.others.map(|_| self.term), done };
        vec![Effect::Send { to, message: message.clone() }, Effect::Report(Report::Sent { to, message })]
    }

    fn linger(&self) -> Effect<ChangRoberts> {
        Effect::SetTimer { timer: Timer::Linger, after: exactly(self.timing.linger) }
    }
}

fn ignored(message: Message) -> Effect<ChangRoberts> {
    Effect::Report(Report::Ignored(message))
}

fn duplicate(why: Duplicate, message: Message) -> Effects {
    vec![Effect::Report(Report::Duplicate(why)), ignored(message)]
}
