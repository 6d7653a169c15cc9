//! The eligible-array ring election, with checks of the leader: what each client
//! of a hub runs. The election is the ring algorithm of Tanenbaum and van Steen
//! (Distributed Systems, section "Election algorithms"), the hub being the ring.
//!
//! An election frame goes round and every member adds its rank. When it is home
//! at its initiator, that one picks the best and announces it round the ring.
//! Whoever follows asks the leader every now and then whether it is there, and
//! starts an election when no answer comes.
//!
//! Holds, with our hub between: one leader a term; a member's term never falls;
//! once faults stop, every member comes to follow one that is there.
//! Costs: n frames an election, n an announcement, n a check with its answer. One
//! check an interval serves the whole ring, while a trip round it is short against
//! the tenth of the interval that chance adds; in slower rings more members check.
//! Fails: on a hub that stamps no terms (see [`Joined::counts_terms`]), two that
//! start together can leave two believers until the next check. A ring in which a
//! trip round takes longer than the check timeout never settles.
//!
//! Two rules are easy to lose and were both lost once in a trial:
//!
//! - Only adopting an announcement cancels timers, and a member without a leader
//!   always has [`Timer::Campaign`] armed: whoever passed an election on cannot
//!   rely on its initiator.
//! - The announcer, too, adopts only when its own frame comes back, for only then
//!   has the hub accepted it.
//!
//! To lead is one thing, to act as the leader another: that takes a lease from the
//! hub (`tenure`). A leader whose lease runs out stands down.

mod tenure;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::ops::Range;
use std::time::Duration;

use super::{Belief, Role};
use crate::id::{Candidate, ClientId, Rank, Term};
use crate::machine::{Effect, Input, Machine, exactly};
use crate::message::{AnswerLeader, CheckLeader, Election, LeaderLeft, NewLeader, RingMessage, Routing};
use crate::rule::Rule;
use tenure::{Renewal, Tenure};

/// How long to wait for what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Timing {
    /// How often to check the leader.
    pub check_interval: Duration,
    /// How long a check may stay unanswered before the leader counts as gone.
    pub check_timeout: Duration,
    /// How long to wait for an announcement before starting again; half as much
    /// is added by chance, so that two who wait do not keep step.
    pub election_timeout: Duration,
    /// At most how long to wait before the first election, by chance.
    pub start_delay: Duration,
    /// Elect as soon as the hub says that the leader's connection is gone,
    /// instead of waiting for the check.
    pub early: bool,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            check_interval: Duration::from_secs(2),
            check_timeout: Duration::from_secs(5),
            election_timeout: Duration::from_secs(5),
            start_delay: Duration::from_millis(500),
            early: false,
        }
    }
}

/// The only one a client talks to. It decides who gets a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hub;

/// A frame of the ring and the member that it started from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sent {
    /// Initiator, announcer, asker or answerer; classic hubs do not always say.
    pub origin: Option<ClientId>,
    /// What it says.
    pub message: RingMessage,
}

/// The timers of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Start an election: armed whenever there is no leader.
    Campaign,
    /// Check the leader.
    Check,
    /// The oldest unanswered check has run out.
    CheckTimeout,
    /// Leases of older leaders have run out: ask for one.
    Act,
    /// Ask for the lease again.
    Renew,
    /// The lease that was asked for then has run out.
    LeaseEnd(Renewal),
}

/// What happens to a client besides frames and timers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    /// The hub welcomed it.
    Joined(Joined),
    /// The hub told, on our joining, who leads.
    Told {
        /// Who leads; nobody, if whom the welcome named has gone since.
        leader: Option<ClientId>,
        /// In which term.
        term: Option<Term>,
    },
    /// The connection to the hub is gone.
    Disconnected,
    /// The program is about to leave: resign first.
    Resign,
    /// The hub refused the lease: we do not lead any more.
    LeaseRefused,
}

/// What `welcome` said.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Joined {
    /// Who we are on this connection.
    pub me: ClientId,
    /// Whether the hub hands frames round, for us to pass on.
    pub routing: Routing,
    /// Whether the hub stamps terms. Where it does not, the newest announcement counts.
    pub counts_terms: bool,
    /// Who leads, if anybody does.
    pub leader: Option<(ClientId, Option<Term>)>,
    /// For how long a leader may act on one lease; `None` where the hub grants none,
    /// and to lead is all there is.
    pub lease: Option<Duration>,
}

/// What a client tells.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Report {
    /// It believes something else than before.
    Believes(Belief),
    /// It started an election.
    Started,
    /// An election came home with that many entries, and it announces the best.
    Announced {
        /// The best.
        leader: ClientId,
        /// Out of how many.
        entries: usize,
    },
    /// A check stayed unanswered for the check timeout.
    Unanswered {
        /// Who did not answer.
        leader: ClientId,
    },
    /// The hub says that the leader is gone.
    LeaderLeft(LeaderLeft),
    /// It leads, and may not act before older leases have run out.
    Waits(Duration),
    /// It led, and has no lease any more.
    StoodDown {
        /// Whether the hub said so; else the hub did not answer in time.
        refused: bool,
    },
}

/// One client.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EligibleArray {
    rank: Rank,
    timing: Timing,
    /// Whether it would lead: else it starts no election and adds no entry to one.
    stands: bool,
    /// The term of the newest leader it adopted; never falls.
    term: Term,
    /// The newest term in which it gave up leading of its own will.
    resigned: Term,
    /// `None` while there is no connection.
    place: Option<Place>,
    /// A rule that is not kept, on purpose.
    broken: Option<Rule>,
}

/// A client's place in a ring.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    me: ClientId,
    routing: Routing,
    counts_terms: bool,
    lease: Option<Duration>,
    standing: Standing,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Standing {
    Candidate,
    Follower {
        leader: ClientId,
        /// Whether a check is out, with [`Timer::CheckTimeout`] running.
        asked: bool,
    },
    Leader(Tenure),
}

type Effects = Vec<Effect<EligibleArray>>;

impl Machine for EligibleArray {
    type Peer = Hub;
    type Message = Sent;
    type Timer = Timer;
    type Event = Event;
    type Report = Report;
    type Saved = Infallible;

    fn handle(&mut self, input: Input<Self>) -> Effects {
        let before = self.belief();
        let mut effects = match input {
            Input::Event(Event::Joined(joined)) => self.on_joined(joined),
            Input::Event(Event::Told { leader: Some(leader), term }) => self.adopt(leader, term, None),
            Input::Event(Event::Told { leader: None, .. }) => self.on_told_of_nobody(),
            Input::Event(Event::Disconnected) => self.on_disconnected(),
            Input::Event(Event::Resign) => self.on_resign(),
            Input::Event(Event::LeaseRefused) => self.on_lease_refused(),
            Input::Timeout(Timer::Campaign) => self.campaign(),
            Input::Timeout(Timer::Check) => self.on_check_due(),
            Input::Timeout(Timer::CheckTimeout) => self.on_check_timeout(),
            Input::Timeout(Timer::Act) => self.on_older_leases_over(),
            Input::Timeout(Timer::Renew) => self.on_renewal_due(),
            Input::Timeout(Timer::LeaseEnd(_)) => self.on_lease_end(),
            Input::Message { from: Hub, message: Sent { origin, message } } => match message {
                RingMessage::Election(election) => self.on_election(origin, election),
                RingMessage::NewLeader(announcement) => self.on_new_leader(origin, announcement),
                RingMessage::CheckLeader(check) => self.on_check(origin, check),
                RingMessage::AnswerLeader(answer) => self.on_answer(origin, answer),
                RingMessage::LeaderLeft(left) => self.on_leader_left(left),
                RingMessage::Lease(granted) => self.on_granted(&granted),
            },
        };
        let after = self.belief();
        if after != before {
            effects.push(Effect::Report(Report::Believes(after)));
        }
        effects
    }

    fn check(&self) {
        if let Some(Place { me, standing: Standing::Follower { leader, .. }, .. }) = &self.place {
            assert_ne!(leader, me, "nobody follows itself");
        }
        assert!(self.resigned <= self.term, "who resigned had led");
    }
}

impl EligibleArray {
    /// A client that is in no ring yet.
    pub fn new(rank: Rank, timing: Timing) -> Self {
        EligibleArray { rank, timing, stands: true, term: Term::NONE, resigned: Term::NONE, place: None, broken: None }
    }

    /// One that follows and never leads. A ring of such members alone has no leader.
    pub fn without_standing(self) -> Self {
        EligibleArray { stands: false, ..self }
    }

    /// Breaks a rule on purpose, to see that it is missed.
    pub fn breaking(self, rule: Option<Rule>) -> Self {
        EligibleArray { broken: rule, ..self }
    }

    fn keeps(&self, rule: Rule) -> bool {
        self.broken != Some(rule)
    }

    /// What it believes.
    pub fn belief(&self) -> Belief {
        let (role, leader) = match &self.place {
            None => (Role::Disconnected, None),
            Some(place) => match &place.standing {
                Standing::Candidate => (Role::Candidate, None),
                Standing::Follower { leader, .. } => (Role::Follower, Some(leader.clone())),
                Standing::Leader(_) => (Role::Leader, Some(place.me.clone())),
            },
        };
        Belief { role, leader, term: self.term, may_act: self.tenure().is_some_and(Tenure::may_act) }
    }

    fn on_joined(&mut self, joined: Joined) -> Effects {
        let Joined { me, routing, counts_terms, leader, lease } = joined;
        self.place = Some(Place { me, routing, counts_terms, lease, standing: Standing::Candidate });
        let mut effects = vec![set(Timer::Campaign, Duration::ZERO..self.timing.start_delay)];
        if let Some((leader, term)) = leader {
            effects.extend(self.adopt(leader, term, None));
        }
        effects
    }

    fn on_told_of_nobody(&mut self) -> Effects {
        if !matches!(&self.place, Some(Place { standing: Standing::Follower { .. }, .. })) {
            return vec![];
        }
        let mut effects = self.lose_leader();
        effects.push(set(Timer::Campaign, Duration::ZERO..self.timing.start_delay));
        effects
    }

    fn on_disconnected(&mut self) -> Effects {
        let tenure = self.end_tenure();
        self.place = None;
        let timers = [Timer::Campaign, Timer::Check, Timer::CheckTimeout];
        timers.into_iter().chain(tenure).map(cancel).collect()
    }

    /// From here on it is a member without a leader, should the program stay after all.
    fn on_resign(&mut self) -> Effects {
        let Some(place) = self.place.as_ref().filter(|place| place.leads()) else { return vec![] };
        self.resigned = self.term;
        let left = LeaderLeft { leader_id: place.me.clone(), term: self.term, resigned: true };
        let mut effects = vec![send(Some(place.me.clone()), RingMessage::LeaderLeft(left))];
        effects.extend(self.lose_leader());
        effects.push(set(Timer::Campaign, self.election_timeout()));
        effects
    }

    /// Starts an election.
    fn campaign(&mut self) -> Effects {
        let Some(place) = &self.place else { return vec![] };
        if !self.stands {
            return vec![set(Timer::Campaign, self.election_timeout())];
        }
        let start = Election { ranks: vec![self.entry(&place.me)], term: self.stamp(place) };
        let mut effects = vec![send(Some(place.me.clone()), RingMessage::Election(start))];
        if self.keeps(Rule::CampaignIsArmed) {
            effects.push(set(Timer::Campaign, self.election_timeout()));
        }
        effects.push(Effect::Report(Report::Started));
        effects
    }

    fn on_election(&mut self, origin: Option<ClientId>, mut election: Election<Vec<Candidate>>) -> Effects {
        let Some(place) = &self.place else { return vec![] };
        // By id: another member may well have our rank.
        let is_ours =
            |entry: &Candidate| entry.client_id == place.me || (entry.rank == self.rank && !self.keeps(Rule::HomeById));
        if election.ranks.iter().any(is_ours) {
            return self.announce(&election);
        }
        if self.stands {
            election.ranks.push(self.entry(&place.me));
        }
        // A classic hub may take the successor of whom the frame names for its sender.
        let origin = if place.counts_terms { origin } else { Some(place.me.clone()) };
        vec![send(origin, RingMessage::Election(election))]
    }

    /// The frame is home: the best entry leads.
    fn announce(&mut self, election: &Election<Vec<Candidate>>) -> Effects {
        let Some((place, best)) = self.place.as_ref().zip(election.ranks.iter().max()) else { return vec![] };
        let leader_id = best.client_id.clone();
        let announced = Report::Announced { leader: leader_id.clone(), entries: election.ranks.len() };
        let message = RingMessage::NewLeader(NewLeader::of(leader_id.clone(), election.term));
        let mut effects = vec![send(Some(place.me.clone()), message), Effect::Report(announced)];
        if !self.keeps(Rule::AnnouncerWaits) {
            effects.extend(self.adopt(leader_id, election.term, None));
        }
        effects
    }

    fn on_new_leader(&mut self, origin: Option<ClientId>, announcement: NewLeader) -> Effects {
        let mut effects = self.adopt(announcement.leader_id.clone(), announcement.term, announcement.act_after_ms);
        if let Some(place) = &self.place
            && place.routing == Routing::Ring
            && origin.as_ref() != Some(&place.me)
        {
            effects.insert(0, send(origin, RingMessage::NewLeader(announcement)));
        }
        effects
    }

    /// Takes a leader for the leader, unless what is known is newer.
    fn adopt(&mut self, leader: ClientId, term: Option<Term>, act_after_ms: Option<u64>) -> Effects {
        let (known, only_newer) = (self.belief().leader, self.keeps(Rule::AdoptOnlyNewer));
        let Some(place) = &mut self.place else { return vec![] };
        let term = match (place.counts_terms, term) {
            (true, Some(term)) if term < self.term && only_newer => return vec![],
            (true, Some(term)) => term,
            // A hub that counts terms stamps every announcement.
            (true, None) => return vec![],
            (false, _) => self.term,
        };
        if known.as_ref() == Some(&leader) && term == self.term {
            return vec![];
        }
        // Its announcement may still be going round when it has resigned.
        if place.counts_terms && leader == place.me && term <= self.resigned {
            return vec![];
        }
        self.term = term;
        let is_me = leader == place.me;
        let mut effects = vec![cancel(Timer::Campaign), cancel(Timer::CheckTimeout)];
        effects.extend(self.end_tenure().into_iter().map(cancel));
        let interval = self.check_interval();
        if is_me {
            effects.push(cancel(Timer::Check));
            effects.extend(self.begin_tenure(act_after_ms));
        } else if let Some(place) = &mut self.place {
            place.standing = Standing::Follower { leader, asked: false };
            effects.push(set(Timer::Check, interval));
        }
        effects
    }

    fn on_check_due(&mut self) -> Effects {
        let (timeout, interval, term) = (self.timing.check_timeout, self.check_interval(), self.term);
        let oldest_counts = self.keeps(Rule::OldestCheckCounts);
        let Some(Place { me, counts_terms, standing: Standing::Follower { leader, asked }, .. }) = &mut self.place
        else {
            return vec![];
        };
        let check = CheckLeader { leader_id: leader.clone(), term: counts_terms.then_some(term) };
        let mut effects = vec![send(Some(me.clone()), RingMessage::CheckLeader(check)), set(Timer::Check, interval)];
        // The timeout runs from the oldest unanswered check: a later one does not put it off.
        if !std::mem::replace(asked, true) || !oldest_counts {
            effects.push(set(Timer::CheckTimeout, exactly(timeout)));
        }
        effects
    }

    fn on_check(&mut self, asker: Option<ClientId>, check: CheckLeader) -> Effects {
        let Some(place) = &self.place else { return vec![] };
        if check.leader_id != place.me {
            let about = (Some(check.leader_id.clone()), check.term);
            return self.pass_on_sign_of(about, asker, RingMessage::CheckLeader(check));
        }
        let leads = place.leads();
        // Asked as leader of a term we do not know yet: our announcement is on its way.
        let answers = match check.term {
            Some(asked) => asked > self.term || (asked == self.term && leads),
            None => leads,
        };
        match asker {
            Some(destination_id) if answers => {
                let answer = AnswerLeader { destination_id, term: check.term };
                vec![send(Some(place.me.clone()), RingMessage::AnswerLeader(answer))]
            }
            _ => vec![],
        }
    }

    fn on_answer(&mut self, answerer: Option<ClientId>, answer: AnswerLeader) -> Effects {
        let (term, leaders_only) = (self.term, self.keeps(Rule::LeadersAnswerOnly));
        let Some(place) = &mut self.place else { return vec![] };
        if answer.destination_id != place.me {
            let about = (answerer.clone(), answer.term);
            return self.pass_on_sign_of(about, answerer, RingMessage::AnswerLeader(answer));
        }
        match &mut place.standing {
            Standing::Follower { leader, asked }
                if (answerer.as_ref() == Some(leader) && (!place.counts_terms || answer.term == Some(term)))
                    || !leaders_only =>
            {
                *asked = false;
                vec![cancel(Timer::CheckTimeout)]
            }
            // Of a leader that was: late, and no news of the one that is.
            _ => vec![],
        }
    }

    /// Passes on a check or an answer between others. Where it is about our own
    /// leader it puts our next check off, so that one check serves the whole ring.
    /// A check of ours that is out already still has to be answered.
    fn pass_on_sign_of(
        &self,
        (leader, term): (Option<ClientId>, Option<Term>),
        origin: Option<ClientId>,
        message: RingMessage,
    ) -> Effects {
        let Some(place) = &self.place else { return vec![] };
        if place.routing != Routing::Ring {
            return vec![];
        }
        let mut effects = vec![send(origin, message)];
        let ours = matches!(&place.standing, Standing::Follower { leader: ours, .. } if Some(ours) == leader.as_ref());
        if ours && term == Some(self.term) {
            effects.push(set(Timer::Check, self.check_interval()));
        }
        effects
    }

    fn on_check_timeout(&mut self) -> Effects {
        let Some(Place { standing: Standing::Follower { leader, .. }, .. }) = &self.place else { return vec![] };
        let mut effects = vec![Effect::Report(Report::Unanswered { leader: leader.clone() })];
        effects.extend(self.elect_anew());
        effects
    }

    fn on_leader_left(&mut self, left: LeaderLeft) -> Effects {
        let Some(place) = &self.place else { return vec![] };
        let ours = matches!(&place.standing, Standing::Follower { leader, .. } if *leader == left.leader_id)
            && left.term == self.term;
        let at_once = ours && (self.timing.early || left.resigned);
        let mut effects = vec![Effect::Report(Report::LeaderLeft(left))];
        if at_once {
            effects.extend(self.elect_anew());
        }
        effects
    }

    fn elect_anew(&mut self) -> Effects {
        let mut effects = self.lose_leader();
        effects.extend(self.campaign());
        effects
    }

    /// Leaves the election timer to the caller, who has to arm it.
    fn lose_leader(&mut self) -> Effects {
        let tenure = self.end_tenure();
        if let Some(place) = &mut self.place {
            place.standing = Standing::Candidate;
        }
        [Timer::Check, Timer::CheckTimeout].into_iter().chain(tenure).map(cancel).collect()
    }

    fn entry(&self, me: &ClientId) -> Candidate {
        Candidate { rank: self.rank, client_id: me.clone() }
    }

    fn stamp(&self, place: &Place) -> Option<Term> {
        place.counts_terms.then_some(self.term)
    }

    fn election_timeout(&self) -> Range<Duration> {
        self.timing.election_timeout..self.timing.election_timeout * 3 / 2
    }

    /// A tenth is added by chance: who is first spares the others their check.
    fn check_interval(&self) -> Range<Duration> {
        self.timing.check_interval..self.timing.check_interval * 11 / 10
    }
}

fn send(origin: Option<ClientId>, message: RingMessage) -> Effect<EligibleArray> {
    Effect::Send { to: Hub, message: Sent { origin, message } }
}

fn set(timer: Timer, after: Range<Duration>) -> Effect<EligibleArray> {
    Effect::SetTimer { timer, after }
}

fn cancel(timer: Timer) -> Effect<EligibleArray> {
    Effect::CancelTimer(timer)
}
