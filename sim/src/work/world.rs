//! Time, connections, and who leads. Frames between the same two keep their order;
//! requests to the board go beside them, and are made again until they are answered.

mod asks;
mod hub;
mod members;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use ringleader_shared::factorial::JobId;
use ringleader_shared::factorial::board::{self, Phase};
use ringleader_shared::factorial::message::{Answer, Peer, Request, Said};
use ringleader_shared::id::{ClientId, Term};
use ringleader_shared::machine::Input;

use super::hub::{Asking, Hub};
use super::judge::Judge;
use super::member::{Life, Member, News, ToMember};
use super::plan::{Act, Plan, Setting, Target};
use crate::agenda::{Agenda, Slot};
use crate::mesh::letters;

/// How long a client waits for an answer to a request.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a silent connection is kept.
const SILENCE: Duration = Duration::from_secs(3);
/// How often the mill asks a hub that says nothing.
const TRIES: u8 = 3;
/// How much longer it takes what is to take longer.
const DELAYS: Range<Duration> = Duration::from_millis(500)..Duration::from_secs(3);

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
    /// How much boards and coordinators have taken in.
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
                    self.send_to(member, &to.clone(), ToMember::News(to, news));
                }
                Ok(())
            }
            Due::HubNotices { run: of, link } if of == run => {
                let member = self.hub.links.get(&link).copied().filter(|_| !self.cut.contains(&link));
                if let Some(member) = member {
                    self.send_to(member, &link, ToMember::Lost(link.clone()));
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

    fn send_to(&mut self, member: usize, link: &ClientId, what: ToMember) {
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
