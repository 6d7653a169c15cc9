//! A ring's jobs: the task that owns its [`Board`].
//!
//! It is not the ring's own task, so that no frame waits for the disk because of jobs.
//! The ring tells it who leads and who left, and never waits for it either; see [`News`].
//! Many changes are written in one go: whatever is asked while the disk is busy is
//! taken in at once, written together and answered then.

pub mod view;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ringleader_shared::factorial::board::{Asker, Board, Change, Event, Limits, Message, Phase, Report};
use ringleader_shared::factorial::message::{Answer, Refusal, Request, Said};
use ringleader_shared::id::{ClientId, RingName, Term};
use ringleader_shared::machine::{Effect, Input, Machine};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::Config;
use crate::driver::Happening;
use crate::keeper::insist;
use crate::store::Store;

/// How much may wait to be taken in, and how much of it is taken in at once.
const BATCH: usize = 256;

/// The way to a ring's jobs.
#[derive(Clone)]
pub struct Jobs {
    asks: mpsc::Sender<Ask>,
    news: Arc<News>,
    /// Whether there may be any.
    any: Arc<AtomicBool>,
}

enum Ask {
    Request(Request, oneshot::Sender<Answer>),
    /// Somebody wants to see the board.
    Look(Box<dyn FnOnce(&Board) + Send>),
}

impl Jobs {
    /// The jobs of a ring, and what [`run`] needs of them.
    pub fn new() -> (Self, Desk) {
        let (asks, asked) = mpsc::channel(BATCH);
        let (news, any) = (Arc::<News>::default(), Arc::new(AtomicBool::new(true)));
        let desk = Desk { asked, news: news.clone(), any: any.clone() };
        (Jobs { asks, news, any }, desk)
    }

    /// What the board says to this, when all that it changed is written; `None` at the
    /// hub's end.
    pub async fn ask(&self, request: Request) -> Option<Answer> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(Ask::Request(request, reply)).await.ok()?;
        answer.await.ok()
    }

    /// What is to be seen on the board, of which all is written; `None` at the hub's end.
    pub async fn look<T: Send + 'static>(&self, look: impl FnOnce(&Board) -> T + Send + 'static) -> Option<T> {
        let (reply, seen) = oneshot::channel();
        let look = Box::new(move |board: &Board| {
            // Whoever asked may have gone away meanwhile.
            let _ = reply.send(look(board));
        });
        self.asks.send(Ask::Look(look)).await.ok()?;
        seen.await.ok()
    }

    /// Somebody leads, or nobody any more. To be told before the leader can have heard
    /// of it: what that asks then comes after this.
    pub fn leads(&self, leader: Option<(ClientId, Term)>) {
        *self.news.lock() = Untold { leader: Some(leader), members: vec![] };
        self.news.fresh.notify_one();
    }

    /// Somebody has become a member.
    pub fn joined(&self, id: ClientId) {
        self.news.add(Event::Joined(id));
    }

    /// A member is gone.
    pub fn left(&self, id: ClientId) {
        self.news.add(Event::Left(id));
    }

    /// Whether nothing would be lost with them: there are none.
    pub fn is_empty(&self) -> bool {
        !self.any.load(Ordering::Acquire)
    }
}

/// What the ring's task has to tell, and the jobs' task has not yet taken in.
///
/// This is no queue: one that is bounded makes the ring wait or loses the last word, and
/// one that is not grows while the disk stands still. Of leaders only the newest counts,
/// and who came and went matters to that one alone, so this has an end and holds all
/// that there is to tell.
#[derive(Default)]
struct News {
    untold: Mutex<Untold>,
    fresh: Notify,
}

#[derive(Default)]
struct Untold {
    /// Who leads now, if that is another or nobody.
    leader: Option<Option<(ClientId, Term)>>,
    /// Who came and went since.
    members: Vec<Event>,
}

/// So much coming and going happens only while the disk stands still for long. Of the
/// rest a coordinator learns by their silence, and when it is elected anew.
const MOST_UNTOLD: usize = 10_000;

impl News {
    fn add(&self, event: Event) {
        let mut news = self.lock();
        if news.members.len() < MOST_UNTOLD {
            news.members.push(event);
        }
        drop(news);
        self.fresh.notify_one();
    }

    /// It is whole between any two statements that could panic.
    fn lock(&self) -> MutexGuard<'_, Untold> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> impl Iterator<Item = Event> + use<> {
        let Untold { leader, members } = std::mem::take(&mut *self.lock());
        leader.map(Event::Leads).into_iter().chain(members)
    }
}

/// The other end of [`Jobs`].
pub struct Desk {
    asked: mpsc::Receiver<Ask>,
    news: Arc<News>,
    any: Arc<AtomicBool>,
}

struct Keeping {
    ring: RingName,
    board: Board,
    store: Option<Store>,
    /// To the ring's task: what its leader has to hear. Weak, so that the jobs alone
    /// do not keep the ring.
    members: mpsc::WeakSender<Happening>,
    any: Arc<AtomicBool>,
    askers: HashMap<Asker, oneshot::Sender<Answer>>,
    /// How many there were.
    asked: u64,
}

/// Keeps a ring's jobs until nobody can reach it any more, or the hub ends.
pub async fn run(
    ring: RingName,
    config: Config,
    desk: Desk,
    members: mpsc::WeakSender<Happening>,
    shutdown: CancellationToken,
) {
    let Desk { mut asked, news, any } = desk;
    let keep = async {
        let mut keeping = Keeping::begin(ring, &config, members, any).await;
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                () = news.fresh.notified() => {}
                count = asked.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return;
                    }
                }
            }
            keeping.take_in(news.take(), batch.drain(..)).await;
        }
    };
    // A disk that does not answer must not keep the hub from ending.
    let _ = shutdown.run_until_cancelled(keep).await;
}

impl Keeping {
    /// The jobs as they were written down, if they were.
    async fn begin(
        ring: RingName,
        config: &Config,
        members: mpsc::WeakSender<Happening>,
        any: Arc<AtomicBool>,
    ) -> Self {
        let store = config.store.clone();
        let (jobs, terms) = match store.clone() {
            None => Default::default(),
            Some(store) => {
                let name = ring.clone();
                // In some of these terms nobody led; the next leader's is above all of them.
                let load = move || Ok((store.load_jobs(&name)?, store.load(&name)?.unwrap_or_default().terms));
                insist(&ring, STANDSTILL, load).await
            }
        };
        let limits = Limits { factorial: config.limits.factorial, jobs: config.limits.jobs, ..Limits::default() };
        let board = Board::new(limits, jobs).knowing(terms);
        let keeping = Keeping { ring, board, store, members, any, askers: HashMap::new(), asked: 0 };
        keeping.tell_whether_any();
        keeping
    }

    async fn take_in(&mut self, news: impl Iterator<Item = Event>, asked: impl Iterator<Item = Ask>) {
        // First, since what is asked may come from the one who leads by it.
        let mut effects: Vec<_> = news.flat_map(|event| self.board.handle(Input::Event(event))).collect();
        let mut looks = vec![];
        for ask in asked {
            match ask {
                Ask::Request(request, reply) => {
                    let asker = Asker(self.asked);
                    self.asked += 1;
                    self.askers.insert(asker, reply);
                    effects.extend(self.board.handle(Input::Message { from: asker, message: Message::Ask(request) }));
                }
                Ask::Look(look) => looks.push(look),
            }
        }
        self.perform(effects).await;
        for look in looks {
            look(&self.board);
        }
    }

    /// First everything is written, then everybody is told.
    async fn perform(&mut self, effects: Vec<Effect<Board>>) {
        let (mut changes, mut tells, mut rest) = (vec![], vec![], vec![]);
        for effect in effects {
            match effect {
                Effect::Save(change) => changes.push(change),
                Effect::Report(Report::Tell { to, term, said }) => {
                    let tell = (to, term, said);
                    // That there are other jobs need be said once of all that came together.
                    if tell.2 != Said::Jobs || !tells.contains(&tell) {
                        tells.push(tell);
                    }
                }
                effect => rest.push(effect),
            }
        }
        self.write(changes).await;
        self.tell_whether_any();
        for effect in rest {
            match effect {
                Effect::Send { to, message: Message::Answer(answer) } => {
                    if let Some(reply) = self.askers.remove(&to) {
                        // Whoever asked may have gone away meanwhile.
                        let _ = reply.send(answer);
                    }
                }
                Effect::Report(report) => self.on_report(report),
                Effect::SetTimer { timer, .. } | Effect::CancelTimer(timer) => match timer {},
                Effect::Send { message: Message::Ask(_), .. } | Effect::Save(_) => {}
            }
        }
        let Some(members) = self.members.upgrade() else { return };
        for (to, term, said) in tells {
            // The ring's task ends with the hub.
            let _ = members.send(Happening::Tell { to, term, said }).await;
        }
    }

    async fn write(&self, changes: Vec<Change>) {
        let Some(store) = self.store.clone().filter(|_| !changes.is_empty()) else { return };
        let (ring, changes) = (self.ring.clone(), Arc::new(changes));
        insist(&self.ring, STANDSTILL, move || store.change_jobs(&ring, &changes)).await;
    }

    /// Before anybody is answered: who was holds the ring no longer.
    fn tell_whether_any(&self) {
        self.any.store(self.board.jobs().next().is_some(), Ordering::Release);
    }

    fn on_report(&self, report: Report) {
        let ring = self.ring.as_str();
        match report {
            // It goes to the ring's task.
            Report::Tell { .. } => {}
            Report::Accepted(job, n) => info!(ring, %job, "accepted: {}!", n.0),
            Report::Claimed { by, term, open } => info!(ring, %by, %term, open, "coordinator of the jobs"),
            Report::Ended(job, n, Phase::Failed(why)) => warn!(ring, %job, "{}! cannot be done: {why}", n.0),
            Report::Ended(job, n, Phase::Cancelled) => info!(ring, %job, "{}! cancelled", n.0),
            Report::Ended(job, n, Phase::Done | Phase::Open) => info!(ring, %job, "{}! done", n.0),
            Report::Refused(job, why @ (Refusal::StaleTerm { .. } | Refusal::OutOfOrder { .. })) => {
                warn!(ring, job = job.map(tracing::field::display), "a coordinator was refused: {why}");
            }
            Report::Refused(job, why) => debug!(ring, job = job.map(tracing::field::display), "refused: {why}"),
        }
    }
}

/// What it means for jobs that the disk does not answer.
const STANDSTILL: &str = "the ring's jobs stand still";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ringleader_shared::factorial::{Factorial, JobId};
    use tokio::sync::mpsc::Receiver;
    use tokio::time::timeout;
    use uuid::Uuid;

    use super::*;

    /// A ring's jobs, and what its task is told of them.
    fn begin(store: Option<Store>) -> (Jobs, Receiver<Happening>, mpsc::Sender<Happening>) {
        let (jobs, desk) = Jobs::new();
        let (happenings, inbox) = mpsc::channel(16);
        let config = Config { store, ..Config::default() };
        tokio::spawn(run(RingName::default(), config, desk, happenings.downgrade(), CancellationToken::new()));
        (jobs, inbox, happenings)
    }

    fn submission(n: u32) -> Request {
        let id = JobId::new(Uuid::from_u128(n.into()));
        Request::Submit { id, factorial: Factorial(n), key: None }
    }

    fn leader(name: &str, term: u64) -> (ClientId, Term) {
        (ClientId::new(name).unwrap(), Term::new(term).unwrap())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nothing_is_answered_before_it_is_written_and_then_everything_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let (jobs, mut inbox, _happenings) = begin(Some(store.clone()));
        let (a, term) = leader("a", 1);
        jobs.leads(Some((a.clone(), term)));
        let claim = Request::Claim { by: a.clone(), term };
        assert!(matches!(jobs.ask(claim).await, Some(Answer::Open { .. })));

        let disk = store.hold();
        let asked: Vec<_> = (1..=100)
            .map(|n| {
                tokio::spawn({
                    let jobs = jobs.clone();
                    async move { jobs.ask(submission(n)).await }
                })
            })
            .collect();
        let look = timeout(Duration::from_millis(50), jobs.look(|board| board.jobs().count()));
        assert!(look.await.is_err(), "what is not written is not shown");
        assert!(asked.iter().all(|answer| !answer.is_finished()) && inbox.is_empty(), "nor answered, nor told");
        drop(disk);
        for answer in asked {
            assert!(matches!(answer.await.unwrap(), Some(Answer::Accepted { is_new: true, .. })));
        }
        assert!(matches!(inbox.recv().await, Some(Happening::Tell { to, .. }) if to == a));
        assert!(inbox.len() <= 1, "of jobs that came together it is told once");
        assert_eq!(store.load_jobs(&RingName::default()).unwrap().len(), 100);
    }

    #[tokio::test]
    async fn who_leads_is_known_before_what_is_asked_and_only_the_newest_counts() {
        let (jobs, mut inbox, _happenings) = begin(None);
        let (a, b) = (leader("a", 1), leader("b", 2));
        let claim = |(by, term): &(ClientId, Term)| jobs.ask(Request::Claim { by: by.clone(), term: *term });
        let (refused, opened) = tokio::join!(claim(&a), async {
            jobs.leads(Some(a.clone()));
            jobs.left(a.0.clone());
            jobs.leads(Some(b.clone()));
            claim(&b).await
        });
        assert!(matches!(refused, Some(Answer::Refused { .. })));
        assert!(matches!(opened, Some(Answer::Open { .. })));
        jobs.ask(submission(3)).await;
        let mut told = vec![];
        for _ in 0..2 {
            let Some(Happening::Tell { said, .. }) = inbox.recv().await else { panic!("nothing was told") };
            told.push(said);
            if told.len() == 1 {
                jobs.left(a.0.clone());
            }
        }
        assert_eq!(told, [Said::Jobs, Said::Left { client_id: a.0 }], "who left under a leader before is old news");
    }

    #[tokio::test]
    async fn what_a_ring_tells_does_not_pile_up() {
        let (jobs, desk) = Jobs::new();
        let (a, term) = leader("a", 1);
        for _ in 0..3 * MOST_UNTOLD {
            jobs.joined(a.clone());
            jobs.left(a.clone());
        }
        assert_eq!(desk.news.take().count(), MOST_UNTOLD);
        for _ in 0..1000 {
            jobs.left(a.clone());
            jobs.leads(Some((a.clone(), term)));
        }
        assert_eq!(desk.news.take().collect::<Vec<_>>(), [Event::Leads(Some((a, term)))]);
    }

    #[tokio::test]
    async fn a_ring_is_kept_for_its_jobs_and_while_it_is_not_known_whether_it_has_any() {
        let (jobs, desk) = Jobs::new();
        assert!(!jobs.is_empty(), "they have not been read yet");
        drop(desk);
        let (jobs, _inbox, _happenings) = begin(None);
        assert_eq!(jobs.look(|board| board.jobs().count()).await, Some(0));
        assert!(jobs.is_empty());
        jobs.ask(submission(3)).await;
        assert!(!jobs.is_empty());
    }

    #[tokio::test]
    async fn a_hub_that_begins_anew_refuses_who_led_before() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let terms = Term::new(7).unwrap();
        store.save(&RingName::default(), &ringleader_shared::relay::Saved { terms, lease_out: false }).unwrap();
        let (jobs, _inbox, _happenings) = begin(Some(store));
        let job = JobId::new(Uuid::from_u128(3));
        jobs.ask(submission(3)).await;
        let load = |term| jobs.ask(Request::Load { job, term: Term::new(term).unwrap() });
        assert!(matches!(load(6).await, Some(Answer::Refused { why: Refusal::StaleTerm { .. }, .. })));
        assert!(matches!(load(7).await, Some(Answer::Loaded { .. })), "it may lead still, for all that is known");
    }
}
