//! S4, S7 and S8: who took part, who is named as the sender, and what goes round.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringleader_shared::id::{Candidate, ClientId, Term};
use ringleader_shared::message::RingMessage;
use ringleader_shared::wire::{self, Body, Frame};

use super::{Property, Violation};
use crate::memo::{Memo, Quickly};

/// So many elections back is looked.
const ELECTIONS: usize = 32;
/// So many checks and answers are remembered.
const TOKENS: usize = 256;

/// What goes round.
#[derive(Debug)]
pub(super) struct Frames {
    /// How long a frame may stay in one member's hands.
    hop_timeout: Duration,
    read: Memo<Arc<str>, Rc<Read>>,
    /// What the hub was told in this step.
    hears: Option<Heard>,
    members: BTreeSet<ClientId>,
    elections: BTreeMap<Term, Election>,
    /// Checks and answers that somebody started, and how far they have come.
    moving: HashMap<Key, Moves, Quickly>,
    /// Those that somebody has said on its own, and when. It may be a moment before
    /// they go on: a member that is handed another's check when it has just sent its
    /// own passes on the one for the other, as far as the hub can see.
    said: HashMap<Key, Duration, Quickly>,
}

#[derive(Debug)]
struct Heard {
    from: ClientId,
    frame: Rc<Read>,
}

#[derive(Debug)]
struct Election {
    initiator: ClientId,
    announcer: Option<ClientId>,
    /// The entries that came over their own connections.
    took_part: Vec<Candidate>,
    election: Moves,
    announcement: Moves,
}

/// Where a frame has been.
#[derive(Debug, Default)]
struct Moves {
    last: Option<Duration>,
    visited: Vec<ClientId>,
}

/// As much of a frame as matters here.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    kind: Kind,
    sender: Option<ClientId>,
    term: Term,
    /// Who is asked, or answered.
    about: Option<ClientId>,
    entries: Vec<Candidate>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Election,
    Announcement,
    Check,
    Answer,
    Other,
}

type Key = (Kind, ClientId, Option<ClientId>, Term);

impl Frames {
    pub fn new(hop_timeout: Duration) -> Self {
        Frames {
            hop_timeout,
            read: Memo::default(),
            hears: None,
            members: BTreeSet::new(),
            elections: BTreeMap::new(),
            moving: HashMap::default(),
            said: HashMap::default(),
        }
    }

    pub fn begin_step(&mut self) {
        self.hears = None;
    }

    pub fn hear(&mut self, now: Duration, from: &ClientId, lies: bool, frame: &Arc<str>) {
        let frame = self.read(frame);
        let own = lies || frame.sender.as_ref().is_none_or(|sender| sender == from);
        if own && matches!(frame.kind, Kind::Check | Kind::Answer) {
            self.said.insert((frame.kind, from.clone(), frame.about.clone(), Term::NONE), now);
        }
        self.hears = Some(Heard { from: from.clone(), frame });
    }

    pub fn joined(&mut self, id: &ClientId) {
        self.members.insert(id.clone());
    }

    pub fn left(&mut self, id: &ClientId) {
        self.members.remove(id);
    }

    /// Nothing that moved before does.
    pub fn hub_starts(&mut self) {
        self.members.clear();
        self.elections.clear();
        self.moving.clear();
        self.said.clear();
    }

    /// S7, of an election: it was started over the connection of whom it names.
    pub fn opened(&mut self, term: Term, initiator: &ClientId) -> Result<(), Violation> {
        let started = self.hears.as_ref().filter(|heard| heard.from == *initiator).and_then(Heard::own_entry);
        let Some(entry) = started else {
            return Violation::of(Property::S7, format!("{initiator} did not start the election of term {term}"));
        };
        self.elections.insert(
            term,
            Election {
                initiator: initiator.clone(),
                announcer: None,
                took_part: vec![entry],
                election: Moves::default(),
                announcement: Moves::default(),
            },
        );
        if self.elections.len() > ELECTIONS {
            self.elections.pop_first();
        }
        Ok(())
    }

    /// S4. An announced leader is a member, put its own entry into that election, and
    /// nobody who took part had a higher rank.
    ///
    /// Validity, as in any agreement: what is chosen was proposed (Lynch 1996,
    /// section 6.1). Here the hub claims it: `shared/src/relay.rs`, "Holds".
    pub fn leader_took_part(&mut self, term: Term, leader: &ClientId) -> Result<(), Violation> {
        let election = self.elections.get_mut(&term);
        let took_part = election.as_ref().map(|election| &election.took_part[..]).unwrap_or_default();
        let highest = took_part.iter().map(|entry| entry.rank).max();
        let problem = match took_part.iter().find(|entry| entry.client_id == *leader) {
            None => "it did not take part",
            Some(_) if !self.members.contains(leader) => "it is no member",
            Some(entry) if Some(entry.rank) < highest => "another had a higher rank",
            Some(_) => "",
        };
        if !problem.is_empty() {
            return Violation::of(Property::S4, format!("{leader} was announced in term {term}: {problem}"));
        }
        if let Some(election) = election {
            election.announcer = self.hears.as_ref().map(|heard| heard.from.clone());
        }
        Ok(())
    }

    /// S7 and S8 of what the hub hands on.
    pub fn relayed(
        &mut self,
        now: Duration,
        from: Option<&ClientId>,
        to: &ClientId,
        frame: &Arc<str>,
    ) -> Result<(), Violation> {
        let frame = self.read(frame);
        if frame.kind == Kind::Other {
            return Ok(());
        }
        self.names_its_starter(now, from, &frame)?;
        if from.is_some() { self.ends(now, to, &frame) } else { Ok(()) }
    }

    /// S7. A relayed `senderId` is the member that started the frame.
    ///
    /// The protocol claims it: `shared/protocol/README.md`, of `senderId`. Members
    /// go by it: an answer counts if it is the leader's.
    fn names_its_starter(&mut self, now: Duration, from: Option<&ClientId>, frame: &Read) -> Result<(), Violation> {
        let Read { kind, sender, term, .. } = frame;
        let wrong = |who: &str| {
            let sender = sender.as_ref().map_or("nobody", ClientId::as_str);
            Violation::of(Property::S7, format!("{kind:?} of term {term} is sent as {sender}'s, but {who}"))
        };
        match kind {
            Kind::Election => {
                let Some(election) = self.elections.get_mut(term) else { return wrong("there is no such election") };
                if sender.as_ref() != Some(&election.initiator) {
                    return wrong("another started it");
                }
                // Whoever adds its own entry takes part.
                if let Some(heard) = &self.hears
                    && from == Some(&heard.from)
                    && heard.from != election.initiator
                {
                    election.took_part.extend(heard.own_entry());
                }
                Ok(())
            }
            Kind::Announcement => match self.elections.get(term) {
                Some(election) if *sender == election.announcer => Ok(()),
                // From before a hub that starts again; S3 has an eye on whom it names.
                None if from.is_none() => Ok(()),
                _ => wrong("another announced it"),
            },
            Kind::Check | Kind::Answer => {
                let Some(key) = frame.key() else { return wrong("somebody started it") };
                let from_its_hands = from.is_some() && from == self.hears.as_ref().map(|heard| &heard.from);
                if from_its_hands && sender.as_ref() == from {
                    let said = self.said.remove(&(key.0, key.1.clone(), key.2.clone(), Term::NONE));
                    // What it passes on too late the hub takes for its own, too.
                    if said.is_some_and(|said| now - said <= self.hop_timeout) || !self.holds(now, &key) {
                        self.forget_old();
                        self.moving.insert(key, Moves::default());
                        return Ok(());
                    }
                }
                if self.moving.contains_key(&key) { Ok(()) } else { wrong("it did not start it") }
            }
            Kind::Other => Ok(()),
        }
    }

    /// Whether the sender of this one has another's of the same in its hands.
    fn holds(&self, now: Duration, (kind, id, about, _): &Key) -> bool {
        let may_hold = |moves: &Moves| {
            moves.visited.last() == Some(id) && moves.last.is_some_and(|last| now - last <= self.hop_timeout)
        };
        let said = self.hears.as_ref().map_or(Term::NONE, |heard| heard.frame.term);
        let same = |key: &Key| {
            (key.0, &key.2) == (*kind, about) && about.as_ref() != Some(id) && (said == Term::NONE || said == key.3)
        };
        self.moving.iter().any(|(key, moves)| same(key) && may_hold(moves))
    }

    fn forget_old(&mut self) {
        if self.moving.len() + self.said.len() > TOKENS {
            let latest = self.moving.values().filter_map(|moves| moves.last).max();
            let old = latest.unwrap_or_default().saturating_sub(Duration::from_secs(60));
            self.moving.retain(|_, moves| moves.last > Some(old));
            self.said.retain(|_, said| *said > old);
        }
    }

    /// S8. Every frame that moves ends: it comes to each member once at most, and
    /// nobody keeps it for longer than the hop timeout.
    ///
    /// A ring's token has to be bounded (Chang and Roberts 1979: each message passes
    /// each process at most once). Here the hub claims it: `shared/src/relay.rs`, "Holds".
    fn ends(&mut self, now: Duration, to: &ClientId, frame: &Read) -> Result<(), Violation> {
        let moves = match frame.kind {
            Kind::Election => self.elections.get_mut(&frame.term).map(|election| &mut election.election),
            Kind::Announcement => self.elections.get_mut(&frame.term).map(|election| &mut election.announcement),
            _ => frame.key().and_then(|key| self.moving.get_mut(&key)),
        };
        let Some(moves) = moves else { return Ok(()) };
        let kind = frame.kind;
        if moves.visited.contains(to) {
            return Violation::of(Property::S8, format!("{kind:?} of term {} comes to {to} again", frame.term));
        }
        moves.visited.push(to.clone());
        let kept = now - moves.last.replace(now).unwrap_or(now);
        if kept > self.hop_timeout + Duration::from_millis(1) {
            let problem = format!("{kind:?} of term {} was kept for {kept:?} and went on to {to}", frame.term);
            return Violation::of(Property::S8, problem);
        }
        Ok(())
    }

    fn read(&mut self, text: &Arc<str>) -> Rc<Read> {
        if let Some(read) = self.read.get(&**text) {
            return read;
        }
        let read = Rc::new(read(text));
        self.read.keep(text.clone(), read.clone());
        read
    }
}

impl Heard {
    /// What it has put into an election of itself.
    fn own_entry(&self) -> Option<Candidate> {
        self.frame.entries.iter().find(|entry| entry.client_id == self.from).cloned()
    }
}

impl Read {
    fn key(&self) -> Option<Key> {
        Some((self.kind, self.sender.clone()?, self.about.clone(), self.term))
    }
}

fn read(text: &str) -> Read {
    let nothing = Read { kind: Kind::Other, sender: None, term: Term::NONE, about: None, entries: vec![] };
    let Ok(Frame { sender_id: sender, body: Body::Ring(message), .. }) = wire::decode::<Vec<Candidate>>(text) else {
        return nothing;
    };
    let (kind, term, about, ranks) = match message {
        RingMessage::Election(election) => (Kind::Election, election.term, None, election.ranks),
        RingMessage::NewLeader(new) => (Kind::Announcement, new.term, None, vec![]),
        RingMessage::CheckLeader(check) => (Kind::Check, check.term, Some(check.leader_id), vec![]),
        RingMessage::AnswerLeader(answer) => (Kind::Answer, answer.term, Some(answer.destination_id), vec![]),
        RingMessage::LeaderLeft(_) | RingMessage::Lease(_) => return nothing,
    };
    Read { kind, sender, term: term.unwrap_or_default(), about, entries: ranks }
}
