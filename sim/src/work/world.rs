//! Time, connections, and who leads. Frames between the same two keep their order;
//! requests to the board go beside them, and are made again until they are answered.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use ringleader_shared::factorial::board::{self, Board, Phase};
use ringleader_shared::factorial::coordinator::{self, Coordinator};
use ringleader_shared::factorial::message::{
    Answer, Assignment, Message, Milled, Number, Peer, Product, Refusal, Request, Said, Task, Value,
};
use ringleader_shared::factorial::worker::{self, Worker};
use ringleader_shared::factorial::{Factorial, JobId};
use ringleader_shared::id::{ClientId, Term};
use ringleader_shared::machine::{Effect, Input, Machine};
use uuid::Uuid;

use super::hub::{Asking, Hub};
use super::judge::Judge;
use super::member::{Ask, Asker, Life, Member, News, Order, Timer, ToMember};
use super::mill;
use super::plan::{Act, Failure, Plan, Setting, Target};
use crate::agenda::{Agenda, Slot};
use crate::mesh::letters;

/// How long a client waits for an answer to a request.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a silent connection is kept.
const SILENCE: Duration = Duration::from_secs(3);
/// How often the mill asks a hub that says nothing.
const TRIES: u8 = 5;

/// Everything there is.
#[derive(Debug)]
pub struct World {
    setting: Setting,
    agenda: Agenda<Due>,
    hub: Hub,
    members: Vec<Member>,
    /// What was submitted.
    wishes: Vec<Wish>,
    /// Connections over which nothing comes.
    cut: BTreeSet<ClientId>,
    /// When the newest frame of a connection will be there, to the hub and from it.
    ends: BTreeMap<(ClientId, bool), Duration>,
    /// What the board has taken in.
    steps: u64,
    /// Whether something can still go wrong.
    is_stormy: bool,
    judge: Judge,
    rng: StdRng,
    /// What happened, where somebody reads it.
    trace: Option<String>,
    /// What it came to.
    pub counts: Counts,
}

/// What a run comes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Faults of the plan that befell somebody.
    pub faults: u64,
    /// Computations that failed, by plan.
    pub failures: u64,
    /// Coordinators that began.
    pub coordinators: u64,
    /// Frames of an older term that the hub refused.
    pub stale_frames: u64,
    /// Requests of an older term that the board refused.
    pub stale_requests: u64,
    /// Multiplications.
    pub multiplied: u64,
}

/// A job, as its submitter sees it.
#[derive(Debug)]
struct Wish {
    factorial: u32,
    key: Option<Arc<str>>,
    id: Option<JobId>,
    is_cancelled: bool,
    /// Whether an answer to the last thing asked is still wanted.
    asks: bool,
}

#[derive(Debug)]
enum Due {
    HubStarts(u64),
    /// The hub has written what it was at.
    Written(u64),
    Elects(u64),
    Announces {
        run: u64,
        to: ClientId,
        news: News,
    },
    HubNotices {
        run: u64,
        link: ClientId,
    },
    Frame {
        link: ClientId,
        to: Peer,
        term: Term,
        said: Said,
    },
    Asked {
        who: Asking,
        request: Request,
    },
    Submits(usize),
    Submitted(usize, Answer),
    Starts(usize),
    Wakes(usize),
    Connects(usize, u32),
    Member(usize, u32, ToMember),
}

type Judged = Result<(), String>;

impl World {
    /// All members are about to start.
    pub fn new(plan: &Plan) -> Self {
        let names = letters(plan.members.len());
        let setting = plan.setting.clone();
        let mut world = World {
            hub: Hub::new(setting.limits.clone(), setting.broken),
            agenda: Agenda::default(),
            members: names.into_iter().zip(&plan.members).map(|(name, role)| Member::new(name, *role)).collect(),
            wishes: vec![],
            cut: BTreeSet::new(),
            ends: BTreeMap::new(),
            steps: 0,
            is_stormy: true,
            judge: Judge::default(),
            rng: StdRng::seed_from_u64(plan.seed),
            trace: None,
            counts: Counts::default(),
            setting,
        };
        for member in 0..world.members.len() {
            let after = world.draw(Duration::ZERO..Duration::from_millis(500));
            world.later(after, Due::Starts(member));
        }
        world
    }

    /// From now on what happens is written down.
    pub fn traced(mut self) -> Self {
        self.trace = Some(String::new());
        self
    }

    /// What happened, a line each.
    pub fn trace(&self) -> &str {
        self.trace.as_deref().unwrap_or_default()
    }

    /// The time, from the beginning.
    pub fn now(&self) -> Duration {
        self.agenda.now()
    }

    /// What an onlooker has seen.
    pub fn judge(&self) -> &Judge {
        &self.judge
    }

    /// Lets everything happen until then.
    ///
    /// # Errors
    ///
    /// Something is wrong then.
    pub fn run_until(&mut self, end: Duration) -> Judged {
        while self.agenda.next_due().is_some_and(|due| due <= end) {
            self.step()?;
        }
        if self.now() < end {
            self.agenda.rest_until(end);
        }
        Ok(())
    }

    /// Nothing goes wrong any more: every job comes to its end by then.
    ///
    /// # Errors
    ///
    /// Something is wrong then.
    pub fn calm(&mut self, within: Duration) -> Judged {
        self.is_stormy = false;
        self.setting.loss = 0.0;
        self.setting.fails = 0.0;
        self.note(|_| "all is well from now on".into());
        for member in 0..self.members.len() {
            if self.members[member].life == Life::Paused {
                self.later(Duration::ZERO, Due::Wakes(member));
            }
            self.hears(member)?;
        }
        let end = self.now() + within;
        while !self.is_at_rest() {
            if self.agenda.next_due().is_none_or(|due| due > end) {
                return Err(format!("not every job has ended {within:?} after the last fault: {}", self.open_jobs()));
            }
            self.step()?;
        }
        self.judge.at_rest(&self.hub.store)
    }

    fn is_at_rest(&self) -> bool {
        // Cheap things first: this is asked after every step.
        self.judge.open() == 0
            && self.hub.is_idle()
            && self.hub.board.as_ref().is_some_and(|board| board.jobs().all(|(_, job)| job.entry.phase != Phase::Open))
            && !self.wishes.iter().any(|wish| wish.asks)
            && !self.agenda.iter().any(|due| matches!(due, Due::Submits(_) | Due::Asked { .. }))
    }

    fn open_jobs(&self) -> String {
        let open = self.hub.store.iter().filter(|(_, job)| job.entry.phase == Phase::Open);
        let lines = open.map(|(id, job)| {
            let board::Entry { factorial, term, sequence, tally, .. } = &job.entry;
            format!(
                "\n  {id:?}: {}!, term {term:?}, checkpoint {sequence}, {} of {} parts",
                factorial.0,
                tally.done,
                factorial.count()
            )
        });
        lines.collect()
    }

    /// Something befalls somebody.
    ///
    /// # Errors
    ///
    /// Something is wrong then.
    pub fn act(&mut self, act: &Act) -> Judged {
        match *act {
            Act::Submit { factorial, key } => {
                let key = key.then(|| format!("key {}", self.wishes.len()).into());
                self.wishes.push(Wish { factorial, key, id: None, is_cancelled: false, asks: true });
                self.submits(self.wishes.len() - 1);
            }
            Act::Cancel(index) => {
                if let Some(wish) = self.wishes.get_mut(index).filter(|wish| wish.id.is_some()) {
                    wish.is_cancelled = true;
                    wish.asks = true;
                    self.submits(index);
                }
            }
            Act::Crash(target, down) => {
                if let Some(member) = self.target(target).filter(|member| self.members[*member].runs()) {
                    self.counts.faults += 1;
                    self.crash(member, down)?;
                }
            }
            Act::Pause(target, long) => {
                if let Some(member) = self.target(target).filter(|member| self.members[*member].life == Life::Up) {
                    self.counts.faults += 1;
                    self.note(|world| format!("{} stands still", world.members[member].name));
                    self.members[member].life = Life::Paused;
                    self.later(long, Due::Wakes(member));
                    if let Some(link) = self.members[member].link.clone().filter(|_| long > SILENCE) {
                        self.later(SILENCE, Due::HubNotices { run: self.hub.run, link });
                    }
                }
            }
            Act::Cut { who, hub, member: notices } => {
                let link = self.target(who).and_then(|member| Some((member, self.members[member].link.clone()?)));
                if let Some((member, link)) = link {
                    self.counts.faults += 1;
                    self.note(|_| format!("{link} loses its connection"));
                    self.cut.insert(link.clone());
                    self.later(hub, Due::HubNotices { run: self.hub.run, link: link.clone() });
                    self.later_to(member, notices, ToMember::Lost(link));
                }
            }
            Act::Replace(ignorant) => {
                if let Some(leader) =
                    self.target(Target::Leader).filter(|member| self.members[*member].life == Life::Up)
                {
                    self.counts.faults += 1;
                    self.members[leader].is_deaf = true;
                    self.later_to(leader, ignorant, ToMember::Hears);
                    self.elect()?;
                }
            }
            Act::Suspect(target, long) => {
                if let Some(member) = self.target(target).filter(|member| self.members[*member].life == Life::Up)
                    && let Some((leader, term)) = self.members[member].follows.clone()
                {
                    self.counts.faults += 1;
                    self.note(|world| format!("{} takes {leader} for gone", world.members[member].name));
                    self.follow(member, None)?;
                    let news = News { leader: Some(leader), term };
                    if let Some(link) = self.members[member].link.clone() {
                        self.later_to(member, long, ToMember::News(link, news));
                    }
                }
            }
            Act::HubCrash(down) => {
                if self.hub.board.is_some() {
                    self.counts.faults += 1;
                    self.note(|_| "the hub ends".into());
                    for (link, member) in self.hub.crash() {
                        // Some notice late: they go on, and the hub is back.
                        let late = self.is_stormy && self.rng.random_bool(0.3);
                        let most = if late { Duration::from_secs(10) } else { Duration::from_millis(100) };
                        let after = self.draw(Duration::ZERO..most);
                        self.later_to(member, after, ToMember::Lost(link));
                    }
                    self.later(down, Due::HubStarts(self.hub.run));
                }
            }
        }
        Ok(())
    }

    fn target(&self, target: Target) -> Option<usize> {
        match target {
            Target::Member(member) => Some(member),
            Target::Leader => self.hub.leader.as_ref().and_then(|(id, _)| self.hub.links.get(id)).copied(),
        }
    }

    fn step(&mut self) -> Judged {
        let Some((slot, due)) = self.agenda.pop() else { return Ok(()) };
        let run = self.hub.run;
        match due {
            Due::HubStarts(of) if of == run && self.hub.board.is_none() => {
                self.hub.start(self.setting.limits.clone(), self.setting.broken);
                self.judge.hub_starts(&self.hub.store);
                self.note(|world| format!("the hub starts, {} jobs are written down", world.hub.store.len()));
                Ok(())
            }
            Due::Written(of) if of == run => self.written(),
            Due::Elects(of) if of == run => {
                self.hub.elects = false;
                if self.hub.leader.is_none() { self.elect() } else { Ok(()) }
            }
            Due::Announces { run: of, to, news } if of == run => {
                if let Some(member) = self.hub.links.get(&to).copied() {
                    self.to_member(member, &to.clone(), ToMember::News(to, news));
                }
                Ok(())
            }
            Due::HubNotices { run: of, link } if of == run => {
                let member = self.hub.links.get(&link).copied().filter(|_| !self.cut.contains(&link));
                if let Some(member) = member {
                    self.to_member(member, &link, ToMember::Lost(link.clone()));
                }
                self.leaves(&link)
            }
            Due::Frame { link, to, term, said } if self.hub.links.contains_key(&link) && !self.cut.contains(&link) => {
                self.relay(&link, &to, term, said);
                Ok(())
            }
            Due::Asked { who, request } if self.hub.board.is_some() => {
                let from = self.hub.asker(who);
                self.board(Input::Message { from, message: board::Message::Ask(request) })
            }
            Due::Submits(index) => {
                self.submits(index);
                Ok(())
            }
            Due::Submitted(index, answer) => self.submitted(index, answer),
            Due::Starts(member) if self.members[member].life == Life::Down => self.starts(member),
            Due::Wakes(member) if self.members[member].life == Life::Paused => self.wakes(member),
            Due::Connects(member, of) if self.members[member].run == of && self.members[member].runs() => {
                self.connects(member)
            }
            Due::Member(member, of, what) if self.members[member].run == of => self.happens(member, slot, what),
            // It was meant for an earlier run, or a connection that is no more.
            _ => Ok(()),
        }
    }

    fn draw(&mut self, range: Range<Duration>) -> Duration {
        if range.is_empty() { range.start } else { self.rng.random_range(range) }
    }

    fn later(&mut self, after: Duration, due: Due) -> Slot {
        self.agenda.plan(self.agenda.now() + after, due)
    }

    fn later_to(&mut self, member: usize, after: Duration, what: ToMember) -> Slot {
        self.later(after, Due::Member(member, self.members[member].run, what))
    }

    /// Behind everything that went the same way before.
    fn in_order(&mut self, link: &ClientId, to_hub: bool, due: Due) {
        let leg = self.draw(self.setting.leg.clone());
        let end = self.ends.entry((link.clone(), to_hub)).or_default();
        let at = (self.agenda.now() + leg).max(*end);
        *end = at;
        self.agenda.plan(at, due);
    }

    fn to_member(&mut self, member: usize, link: &ClientId, what: ToMember) {
        let due = Due::Member(member, self.members[member].run, what);
        self.in_order(link, false, due);
    }

    fn note(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.trace.is_some() {
            let (line, now) = (line(self), self.agenda.now());
            let trace = self.trace.get_or_insert_default();
            let _ = writeln!(trace, "{:>2}.{:03}  {line}", now.as_secs(), now.subsec_millis());
        }
    }
}

/// The hub.
impl World {
    fn board(&mut self, input: Input<Board>) -> Judged {
        let Some(board) = &mut self.hub.board else { return Ok(()) };
        let effects = board.handle(input.clone());
        self.steps += 1;
        // It looks at all jobs: where there are thousands, now and then.
        if self.steps.is_multiple_of(1 + self.hub.store.len() as u64 / 8) {
            board.check();
        }
        self.judge.board(&input, &effects)?;
        let (now, writes) = self.hub.perform(effects);
        if writes {
            self.writes();
        }
        self.perform(now)
    }

    fn writes(&mut self) {
        let write = self.draw(self.setting.write.clone());
        self.later(write, Due::Written(self.hub.run));
    }

    fn written(&mut self) -> Judged {
        let (changes, then, more) = self.hub.written();
        self.judge.written(&changes, &self.hub.store)?;
        if more {
            self.writes();
        }
        self.perform(then)
    }

    fn perform(&mut self, effects: Vec<Effect<Board>>) -> Judged {
        for effect in effects {
            match effect {
                Effect::Send { to, message: board::Message::Answer(answer) } => self.answers(to, answer),
                Effect::Send { .. } => return Err("a board asks nobody".into()),
                Effect::Report(board::Report::Tell { to, term, said }) => {
                    if let Some(member) = self.hub.links.get(&to).copied() {
                        let link = to.clone();
                        self.to_member(member, &to, ToMember::Frame { link, from: Peer::Hub, term, said });
                    }
                }
                Effect::Report(report) => {
                    if let board::Report::Refused(_, Refusal::StaleTerm { .. }) = &report {
                        self.counts.stale_requests += 1;
                    }
                    self.note(|_| format!("board: {report:?}"));
                }
                Effect::Save(_) => return Err("a change is performed before it is written".into()),
                Effect::SetTimer { timer, .. } | Effect::CancelTimer(timer) => match timer {},
            }
        }
        Ok(())
    }

    fn answers(&mut self, to: board::Asker, answer: Answer) {
        let Some(who) = self.hub.answered(to) else { return };
        let leg = self.draw(self.setting.leg.clone());
        if self.is_lost() {
            return;
        }
        match who {
            Asking::Member { member, run, ask } => {
                self.later(leg, Due::Member(member, run, ToMember::Answer(ask, answer)));
            }
            Asking::Submitter(index) => _ = self.later(leg, Due::Submitted(index, answer)),
        }
    }

    fn is_lost(&mut self) -> bool {
        self.setting.loss > 0.0 && self.rng.random_bool(self.setting.loss)
    }

    fn leaves(&mut self, link: &ClientId) -> Judged {
        if self.hub.links.remove(link).is_none() {
            return Ok(());
        }
        self.note(|_| format!("the hub: {link} is gone"));
        if self.hub.leader.as_ref().is_some_and(|(leader, _)| leader == link) {
            let term = self.hub.term;
            self.leads(None)?;
            // As a rule they are told; at times the next announcement is the first they hear.
            if self.rng.random_bool(0.5) {
                self.announce(&News { leader: None, term }, Duration::from_millis(100));
            }
            self.elects_soon();
        }
        self.board(Input::Event(board::Event::Left(link.clone())))
    }

    fn leads(&mut self, leader: Option<(ClientId, Term)>) -> Judged {
        self.hub.leader = leader.clone();
        self.judge.leads(leader.as_ref());
        self.board(Input::Event(board::Event::Leads(leader)))
    }

    fn elects_soon(&mut self) {
        if !self.hub.elects {
            self.hub.elects = true;
            let after = self.draw(Duration::from_millis(50)..Duration::from_millis(2_000));
            self.later(after, Due::Elects(self.hub.run));
        }
    }

    /// Any member that can be reached, and preferably another one than before.
    fn elect(&mut self) -> Judged {
        let reached = |world: &Self, link: &ClientId, member: usize| {
            let Member { role, life, is_deaf, .. } = &world.members[member];
            role.stands && *life == Life::Up && !is_deaf && !world.cut.contains(link)
        };
        let able: Vec<ClientId> = self
            .hub
            .links
            .iter()
            .filter(|(link, member)| reached(self, link, **member))
            .map(|(link, _)| link.clone())
            .collect();
        let Some(leader) = able.choose(&mut self.rng).cloned() else {
            if self.hub.leader.is_none() {
                self.elects_soon();
            }
            return Ok(());
        };
        let term = self.hub.term.next().ok_or("terms have run out")?;
        self.hub.term = term;
        self.note(|_| format!("{leader} is elected in term {term}"));
        self.leads(Some((leader.clone(), term)))?;
        let slow = self.is_stormy && self.rng.random_bool(0.1);
        let most = Duration::from_millis(if slow { 3_000 } else { 200 });
        self.announce(&News { leader: Some(leader), term }, most);
        Ok(())
    }

    fn announce(&mut self, news: &News, within: Duration) {
        let links: Vec<ClientId> = self.hub.links.keys().cloned().collect();
        for to in links {
            let after = self.draw(Duration::ZERO..within);
            self.later(after, Due::Announces { run: self.hub.run, to, news: news.clone() });
        }
    }

    fn relay(&mut self, from: &ClientId, to: &Peer, term: Term, said: Said) {
        let current = self.hub.leader.as_ref().map(|(_, term)| *term);
        if current != Some(term) {
            self.counts.stale_frames += 1;
            return;
        }
        let to: Vec<(ClientId, usize)> = match to {
            Peer::Member(id) => {
                self.hub.links.get_key_value(id).map(|(id, member)| (id.clone(), *member)).into_iter().collect()
            }
            Peer::Everybody => {
                self.hub.links.iter().filter(|(id, _)| *id != from).map(|(id, member)| (id.clone(), *member)).collect()
            }
            Peer::Hub | Peer::Board | Peer::Mill => vec![],
        };
        for (link, member) in to {
            let from = Peer::Member(from.clone());
            let frame = ToMember::Frame { link: link.clone(), from, term, said: said.clone() };
            self.to_member(member, &link, frame);
        }
    }
}

/// Who submits.
impl World {
    fn submits(&mut self, index: usize) {
        let Some(wish) = self.wishes.get(index).filter(|wish| wish.asks) else { return };
        let request = match wish.id {
            Some(id) => Request::Cancel(id),
            None => {
                let id = JobId::new(Uuid::from_u128(self.judge.next_id()));
                Request::Submit { id, factorial: Factorial(wish.factorial), key: wish.key.clone() }
            }
        };
        let again = wish.key.is_some() || wish.id.is_some();
        if !again {
            // Without a key nobody can ask again: it might be done twice.
            self.wishes[index].asks = false;
        }
        self.request(Asking::Submitter(index), request);
        if again {
            self.later(PATIENCE, Due::Submits(index));
        }
    }

    fn submitted(&mut self, index: usize, answer: Answer) -> Judged {
        let Some(wish) = self.wishes.get_mut(index) else { return Ok(()) };
        match answer {
            Answer::Accepted { id, .. } => {
                if wish.id.is_some_and(|known| known != id && !self.judge.is_forgotten(known)) {
                    return Err(format!("submission {index} was {:?} and is {id:?} now", wish.id));
                }
                // An answer that comes late says nothing new.
                if !wish.is_cancelled {
                    wish.asks = false;
                }
                wish.id = Some(id);
                self.judge.accepted(id)
            }
            Answer::Cancelled(_) => {
                wish.asks = false;
                Ok(())
            }
            Answer::Refused { why: Refusal::Ended(_) | Refusal::NoSuchJob, .. } if wish.is_cancelled => {
                wish.asks = false;
                Ok(())
            }
            // One more later, if it can.
            Answer::Refused { why: Refusal::Full(_), .. } => Ok(()),
            other => Err(format!("submission {index} is answered {other:?}")),
        }
    }
}

/// Members.
impl World {
    fn starts(&mut self, index: usize) -> Judged {
        let broken = self.setting.broken;
        let member = &mut self.members[index];
        member.run += 1;
        member.life = Life::Up;
        let name = member.name.clone();
        let options = worker::Options { slots: member.role.slots, ..worker::Options::new(name) };
        member.worker = member.role.works.then(|| Worker::new(options).breaking(broken));
        self.connects(index)
    }

    fn crash(&mut self, index: usize, down: Duration) -> Judged {
        self.note(|world| format!("{} ends", world.members[index].name));
        let link = self.members[index].link.clone();
        self.judge.forgets(index);
        self.members[index].crash();
        self.later(down, Due::Starts(index));
        match link {
            Some(link) if !self.cut.contains(&link) => self.leaves(&link),
            _ => Ok(()),
        }
    }

    fn connects(&mut self, index: usize) -> Judged {
        let member = &mut self.members[index];
        if member.link.is_some() {
            return Ok(());
        }
        if self.hub.board.is_none() || member.life == Life::Paused {
            let after = self.draw(Duration::from_millis(100)..Duration::from_millis(1_000));
            let run = self.members[index].run;
            self.later(after, Due::Connects(index, run));
            return Ok(());
        }
        member.joined += 1;
        let link = ClientId::new(format!("{}{}", member.name, member.joined)).map_err(|error| error.to_string())?;
        member.link = Some(link.clone());
        self.hub.links.insert(link.clone(), index);
        self.note(|_| format!("{link} joins"));
        self.board(Input::Event(board::Event::Joined(link.clone())))?;
        match self.hub.leader.clone() {
            Some((leader, term)) => {
                let after = self.draw(Duration::ZERO..Duration::from_millis(300));
                self.later(
                    after,
                    Due::Announces { run: self.hub.run, to: link, news: News { leader: Some(leader), term } },
                );
            }
            None => self.elects_soon(),
        }
        Ok(())
    }

    fn wakes(&mut self, index: usize) -> Judged {
        self.note(|world| format!("{} goes on", world.members[index].name));
        self.members[index].life = Life::Up;
        while self.members[index].life == Life::Up
            && let Some((slot, what)) = self.members[index].waiting.pop_front()
        {
            self.happens(index, slot, what)?;
        }
        Ok(())
    }

    fn happens(&mut self, index: usize, slot: Slot, what: ToMember) -> Judged {
        match self.members[index].life {
            Life::Down => return Ok(()),
            Life::Paused => {
                self.members[index].waiting.push_back((slot, what));
                return Ok(());
            }
            Life::Up => {}
        }
        match what {
            ToMember::Frame { link, from, term, said } if self.is_linked(index, &link) => {
                self.hears_frame(index, from, term, said)
            }
            ToMember::News(link, news) if self.is_linked(index, &link) => self.hears_news(index, news),
            ToMember::Frame { .. } | ToMember::News(..) => Ok(()),
            ToMember::Hears => self.hears(index),
            ToMember::Lost(link) => self.loses(index, &link),
            ToMember::Answer(ask, answer) => self.hears_answer(index, ask, answer),
            ToMember::AskAgain(ask) => {
                self.asks(index, ask);
                Ok(())
            }
            ToMember::Timer(timer) if self.members[index].timers.get(&timer) == Some(&slot) => {
                self.members[index].timers.remove(&timer);
                match timer {
                    Timer::Coordinator(timer) => self.coordinator(index, Input::Timeout(timer)),
                    Timer::Worker(timer) => self.worker(index, Input::Timeout(timer)),
                }
            }
            // It was cancelled, or set anew.
            ToMember::Timer(_) => Ok(()),
            ToMember::Mills(order) => self.mills(index, order),
            ToMember::Exits => {
                let down = self.draw(Duration::from_millis(100)..Duration::from_millis(1_500));
                self.crash(index, down)
            }
        }
    }

    fn is_linked(&self, index: usize, link: &ClientId) -> bool {
        self.members[index].link.as_ref() == Some(link) && !self.cut.contains(link)
    }

    fn hears_frame(&mut self, index: usize, from: Peer, term: Term, said: Said) -> Judged {
        if self.members[index].coordinator.as_ref().is_some_and(|coordinator| coordinator.term() == term) {
            if let Said::Products { parts } = &said {
                self.judge.received(term, parts);
            }
            let message = Message::Said(said.clone());
            self.coordinator(index, Input::Message { from: from.clone(), message })?;
        }
        if let (Said::Assign { parts, forget, .. }, Peer::Member(from)) = (&said, &from) {
            self.judge.given(index, from, term, parts, forget);
        }
        self.worker(index, Input::Message { from: (from, term), message: Message::Said(said) })
    }

    fn hears_news(&mut self, index: usize, news: News) -> Judged {
        let member = &mut self.members[index];
        if member.is_deaf {
            if member.unheard.as_ref().is_none_or(|unheard| unheard.term <= news.term) {
                member.unheard = Some(news);
            }
            return Ok(());
        }
        let News { leader, term } = news;
        if term < member.known {
            return Ok(());
        }
        match leader {
            None if member.follows.as_ref().is_some_and(|(_, of)| *of == term) => self.follow(index, None),
            None => Ok(()),
            Some(leader) => {
                member.known = term;
                self.follow(index, Some((leader, term)))
            }
        }
    }

    /// It hears what it has missed.
    fn hears(&mut self, index: usize) -> Judged {
        self.members[index].is_deaf = false;
        match self.members[index].unheard.take() {
            Some(news) => self.hears_news(index, news),
            None => Ok(()),
        }
    }

    /// It believes this about who leads from now on.
    fn follow(&mut self, index: usize, leader: Option<(ClientId, Term)>) -> Judged {
        let member = &self.members[index];
        let me = member.link.clone();
        let leads = leader.clone().filter(|(id, _)| me.as_ref() == Some(id));
        if member.coordinator.as_ref().map(Coordinator::term) != leads.as_ref().map(|(_, term)| *term) {
            self.resigns(index)?;
            if let Some((me, term)) = leads.clone() {
                self.note(|_| format!("{me} coordinates in term {term}"));
                self.counts.coordinators += 1;
                let (coordinator, effects) = Coordinator::begin(me, term, self.setting.coordinator.clone());
                self.members[index].coordinator = Some(coordinator.breaking(self.setting.broken));
                self.do_coordinate(index, term, effects)?;
            }
        }
        let follows = if leads.is_some() { None } else { leader };
        self.members[index].follows = follows.clone();
        self.worker(index, Input::Event(worker::Event::Follows(follows)))
    }

    fn resigns(&mut self, index: usize) -> Judged {
        let Some(coordinator) = self.members[index].coordinator.take() else { return Ok(()) };
        let term = coordinator.term();
        self.note(|world| format!("{} coordinates no more", world.members[index].name));
        self.members[index].asks.retain(|_, ask| !matches!(ask.asker, Asker::Coordinator(_)));
        self.do_coordinate(index, term, coordinator.end())?;
        match self.members[index].timers.keys().find(|timer| matches!(timer, Timer::Coordinator(_))) {
            Some(timer) => Err(format!("{timer:?} runs on after its coordinator")),
            None => Ok(()),
        }
    }

    fn loses(&mut self, index: usize, link: &ClientId) -> Judged {
        if self.members[index].link.as_ref() != Some(link) {
            return Ok(());
        }
        self.members[index].link = None;
        self.cut.remove(link);
        self.ends.remove(&(link.clone(), true));
        self.ends.remove(&(link.clone(), false));
        self.members[index].is_deaf = false;
        self.members[index].unheard = None;
        self.follow(index, None)?;
        // Whoever comes back is known to be gone from the old connection.
        self.leaves(link)?;
        let after = self.draw(Duration::from_millis(50)..Duration::from_millis(500));
        let run = self.members[index].run;
        self.later(after, Due::Connects(index, run));
        Ok(())
    }

    fn coordinator(&mut self, index: usize, input: Input<Coordinator>) -> Judged {
        let Some(coordinator) = &mut self.members[index].coordinator else { return Ok(()) };
        let term = coordinator.term();
        let effects = coordinator.handle(input);
        coordinator.check();
        self.do_coordinate(index, term, effects)
    }

    fn do_coordinate(&mut self, index: usize, term: Term, effects: Vec<Effect<Coordinator>>) -> Judged {
        for effect in effects {
            match effect {
                Effect::Send { to: Peer::Board, message: Message::Ask(request) } => {
                    self.ask(index, request, Asker::Coordinator(term));
                }
                Effect::Send { to: Peer::Mill, message: Message::Task(task) } => {
                    if !matches!(task, Task::Print { .. }) {
                        return Err(format!("a coordinator multiplies: {task:?}"));
                    }
                    self.order(index, Some(term), task);
                }
                Effect::Send { to, message: Message::Said(said) } => {
                    if let Said::Assign { parts, .. } = &said {
                        self.judge.assigned(term, parts)?;
                    }
                    self.say(index, to, term, said);
                }
                Effect::Send { to, message } => return Err(format!("a coordinator says {message:?} to {to:?}")),
                Effect::SetTimer { timer, after } => self.set(index, Timer::Coordinator(timer), after),
                Effect::CancelTimer(timer) => _ = self.members[index].timers.remove(&Timer::Coordinator(timer)),
                Effect::Report(report) => {
                    self.judge.told(&report)?;
                    self.note(|world| format!("{} (term {term}): {}", world.members[index].name, line(&report)));
                }
                Effect::Save(never) => match never {},
            }
        }
        Ok(())
    }

    fn worker(&mut self, index: usize, input: Input<Worker>) -> Judged {
        let Some(worker) = &mut self.members[index].worker else { return Ok(()) };
        let effects = worker.handle(input);
        worker.check();
        self.judge.worker(index, &effects)?;
        for effect in effects {
            match effect {
                Effect::Send { to: (Peer::Mill, _), message: Message::Task(task) } => {
                    let Task::Multiply { term, part } = &task else { return Err("a worker writes a result".into()) };
                    self.judge.multiplies(index, self.members[index].follows.as_ref(), *term, part)?;
                    self.order(index, None, task);
                }
                Effect::Send { to: (to, term), message: Message::Said(said) } => self.say(index, to, term, said),
                Effect::Send { to, message } => return Err(format!("a worker says {message:?} to {to:?}")),
                Effect::SetTimer { timer, after } => self.set(index, Timer::Worker(timer), after),
                Effect::CancelTimer(timer) => _ = self.members[index].timers.remove(&Timer::Worker(timer)),
                Effect::Report(report) => self.note(|world| format!("{}: {report:?}", world.members[index].name)),
                Effect::Save(never) => match never {},
            }
        }
        Ok(())
    }

    fn set(&mut self, index: usize, timer: Timer, after: Range<Duration>) {
        let after = self.draw(after);
        let slot = self.later_to(index, after, ToMember::Timer(timer.clone()));
        self.members[index].timers.insert(timer, slot);
    }

    fn say(&mut self, index: usize, to: Peer, term: Term, said: Said) {
        if let Some(link) = self.members[index].link.clone() {
            let due = Due::Frame { link: link.clone(), to, term, said };
            self.in_order(&link, true, due);
        }
    }
}

/// What members ask the board.
impl World {
    fn ask(&mut self, index: usize, request: Request, asker: Asker) {
        let member = &mut self.members[index];
        let waits = matches!(asker, Asker::Coordinator(_)) && member.next_ask().is_some();
        member.asked += 1;
        let number = member.asked;
        member.asks.insert(number, Ask { request, asker });
        if !waits {
            self.asks(index, number);
        }
    }

    fn asks(&mut self, index: usize, number: u64) {
        let Some(ask) = self.members[index].asks.get(&number) else { return };
        let request = ask.request.clone();
        let who = Asking::Member { member: index, run: self.members[index].run, ask: number };
        self.request(who, request);
        self.later_to(index, PATIENCE, ToMember::AskAgain(number));
    }

    /// On its way to the board. Some are lost, and some come when they are made again already.
    fn request(&mut self, who: Asking, request: Request) {
        let mut leg = self.draw(self.setting.leg.clone());
        if self.is_lost() {
            if self.rng.random_bool(0.5) {
                return;
            }
            leg += self.draw(Duration::ZERO..PATIENCE * 3);
        }
        self.later(leg, Due::Asked { who, request });
    }

    fn hears_answer(&mut self, index: usize, number: u64, answer: Answer) -> Judged {
        let Some(Ask { asker, .. }) = self.members[index].asks.remove(&number) else { return Ok(()) };
        match asker {
            Asker::Coordinator(_) => {
                if let Some(next) = self.members[index].next_ask() {
                    self.asks(index, next);
                }
                self.coordinator(index, Input::Message { from: Peer::Board, message: Message::Answer(answer) })
            }
            Asker::Mill(product) => {
                let milled = match answer {
                    Answer::Kept => Milled::Product(product),
                    _ => Milled::Failed(product.id),
                };
                self.milled(index, None, milled)
            }
        }
    }
}

/// The mill.
impl World {
    fn order(&mut self, index: usize, by: Option<Term>, task: Task) {
        let mut after = self.draw(self.setting.computes.clone());
        let fails = self.setting.fails;
        if fails > 0.0 && self.rng.random_bool(fails) {
            let mode = self.setting.modes.choose(&mut self.rng).copied();
            self.counts.failures += 1;
            match mode {
                Some(Failure::Exit) => {
                    self.later_to(index, after, ToMember::Exits);
                    return;
                }
                Some(Failure::Stall) => after += self.draw(self.setting.stalls.clone()),
                Some(Failure::Delay) => after += self.draw(Duration::from_millis(500)..Duration::from_secs(3)),
                None => {}
            }
        }
        self.later_to(index, after, ToMember::Mills(Order { by, task, tries: 0 }));
    }

    fn mills(&mut self, index: usize, order: Order) -> Judged {
        let (job, operands) = match &order.task {
            Task::Multiply { part: Assignment { id, operands }, .. } => (id.job_id, operands.clone()),
            Task::Print { job, product } => (*job, vec![product.clone()]),
        };
        let numbers = self.numbers(job, &operands);
        match (numbers, &order.task) {
            (Numbers::Silence, _) if order.tries < TRIES => {
                let order = Order { tries: order.tries + 1, ..order };
                self.later_to(index, Duration::from_millis(500), ToMember::Mills(order));
                Ok(())
            }
            (Numbers::Here(numbers), Task::Multiply { term, part: Assignment { id, .. } }) => {
                self.counts.multiplied += 1;
                let number = mill::multiply(&numbers);
                if !number.is_large() {
                    return self.milled(
                        index,
                        None,
                        Milled::Product(Product { id: *id, product: Value::Here(number) }),
                    );
                }
                let request = Request::Keep { job: id.job_id, term: *term, part: id.part, number };
                self.ask(index, request, Asker::Mill(Product { id: *id, product: Value::Stored(id.part) }));
                Ok(())
            }
            (Numbers::Here(numbers), Task::Print { job, .. }) => {
                let text = mill::decimal(&mill::multiply(&numbers));
                self.milled(index, order.by, Milled::Printed { job: *job, text })
            }
            (_, Task::Multiply { part, .. }) => self.milled(index, None, Milled::Failed(part.id)),
            (_, Task::Print { job, .. }) => self.milled(index, order.by, Milled::NotPrinted(*job)),
        }
    }

    fn milled(&mut self, index: usize, by: Option<Term>, milled: Milled) -> Judged {
        let Some(term) = by else {
            if let Milled::Product(product) = &milled {
                self.judge.milled(index, product.id);
            }
            let term = self.members[index].known;
            return self.worker(index, Input::Message { from: (Peer::Mill, term), message: Message::Milled(milled) });
        };
        if self.members[index].coordinator.as_ref().is_some_and(|coordinator| coordinator.term() == term) {
            return self.coordinator(index, Input::Message { from: Peer::Mill, message: Message::Milled(milled) });
        }
        Ok(())
    }

    fn numbers(&mut self, job: JobId, values: &[Value]) -> Numbers {
        let mut numbers = vec![];
        for value in values {
            match value {
                Value::Here(number) => numbers.push(number.clone()),
                Value::Stored(_) if self.is_lost() => return Numbers::Silence,
                Value::Stored(part) => match &self.hub.board {
                    None => return Numbers::Silence,
                    Some(board) => match board.product(job, *part) {
                        Some(number) => numbers.push(number.clone()),
                        None => return Numbers::Missing,
                    },
                },
            }
        }
        Numbers::Here(numbers)
    }
}

/// What the board has of some values.
enum Numbers {
    Here(Vec<Number>),
    Missing,
    Silence,
}

fn line(report: &coordinator::Report) -> String {
    match report {
        coordinator::Report::Done { job, factorial, result } if result.len() > 24 => {
            format!("Done({job:?}, {}!, {} digits)", factorial.0, result.len())
        }
        other => format!("{other:?}"),
    }
}
