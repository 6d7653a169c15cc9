//! What the demo makes of what its members do: who leads, who is gone, what to say
//! about it, and whom to kill when.

use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::anyhow;
use humantime::format_duration;
use ringleader_client::Role;
use ringleader_shared::id::{ClientId, Term};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::DemoArgs;
use super::child::{Belief, Happening};
use super::scribe::{Scribe, Speaker};

/// Whether to go on.
#[must_use]
pub enum Next {
    GoOn,
    End(anyhow::Result<()>),
}

/// What is known of a member.
pub struct Member {
    speaker: Speaker,
    kill: CancellationToken,
    belief: Option<Belief>,
    /// When its process was told to die, or was seen dead.
    gone: Option<Instant>,
}

impl Member {
    pub fn new(speaker: Speaker, kill: CancellationToken) -> Self {
        Member { speaker, kill, belief: None, gone: None }
    }

    fn is(&self, id: &ClientId) -> bool {
        self.belief.as_ref().is_some_and(|belief| belief.client_id.as_ref() == Some(id))
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.speaker.fmt(f)
    }
}

/// What is to happen, and what to say of it.
pub struct Plan {
    kill_leader_after: Option<Duration>,
    early: bool,
    check_interval: Duration,
    check_timeout: Duration,
    port: u16,
}

pub struct Story {
    members: Vec<Member>,
    plan: Plan,
    scribe: Scribe,
    /// The newest leader that was spoken of, and whether everybody agreed.
    announced: Option<(Agreed, bool)>,
    /// When to speak of a leader whom not everybody believes in.
    settled: Option<Instant>,
    advised: bool,
    act: Act,
}

/// How far the story has come that plays by itself.
enum Act {
    /// Nobody plays but the person watching.
    Free,
    /// A leader has to be found.
    Await { until: Instant },
    /// There is one, and this is how long it may stand.
    Standing { leader: Agreed, until: Instant },
    /// It was killed, and the others have to find another.
    Killed { who: usize, until: Instant },
}

/// Who leads, and in which term.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Agreed {
    leader: ClientId,
    term: Term,
}

/// How long the first election, and any other, may take besides what the checks take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long to wait for the rest when some believe in a new leader.
const SETTLE: Duration = Duration::from_millis(700);

impl Story {
    pub fn new(members: Vec<Member>, plan: Plan, scribe: Scribe) -> Self {
        let act = match plan.kill_leader_after {
            Some(_) => Act::Await { until: Instant::now() + PATIENCE },
            None => Act::Free,
        };
        Story { members, plan, scribe, announced: None, settled: None, advised: false, act }
    }

    pub fn on_happening(&mut self, happening: Happening) -> Next {
        match happening {
            Happening::Said(who, line) => self.scribe.log(&self.members[who].speaker, &line),
            Happening::Believes(who, belief) => {
                if let Some(id) = &belief.client_id {
                    self.scribe.learn(id, self.members[who].speaker.name());
                }
                self.members[who].belief = Some(belief);
                return self.consider();
            }
            Happening::Ended(who, how) => return self.on_ended(who, how),
        }
        Next::GoOn
    }

    /// When [`Story::on_due`] has something to do.
    pub fn due(&self) -> Instant {
        let act = match self.act {
            Act::Free => None,
            Act::Await { until } | Act::Standing { until, .. } | Act::Killed { until, .. } => Some(until),
        };
        let due = self.settled.into_iter().chain(act).min();
        due.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600))
    }

    pub fn on_due(&mut self) -> Next {
        let now = Instant::now();
        if self.settled.take_if(|settled| *settled <= now).is_some()
            && let Some((agreed, count)) = self.newest()
            && 2 * count > self.present()
        {
            self.announce(agreed, count);
        }
        match &self.act {
            Act::Standing { leader, until } if *until <= now => {
                let leader = leader.clone();
                self.kill(&leader);
                Next::GoOn
            }
            Act::Await { until } | Act::Killed { until, .. } if *until <= now => {
                Next::End(Err(anyhow!("the clients did not agree on a leader in time")))
            }
            _ => Next::GoOn,
        }
    }

    pub fn ending(&self) {
        self.scribe.demo("ending all");
    }

    /// When all are to end, only what goes wrong is worth a line.
    pub fn on_last_happening(&mut self, happening: Happening) {
        match happening {
            Happening::Said(who, line) if !Scribe::is_routine(&line) => {
                self.scribe.log(&self.members[who].speaker, &line);
            }
            Happening::Ended(who, how) if !how.as_ref().is_ok_and(ExitStatus::success) => {
                self.scribe.demo(&format!("{} has ended: {}", self.members[who], ending(how)));
            }
            Happening::Said(..) | Happening::Believes(..) | Happening::Ended(..) => {}
        }
    }

    pub fn ended(&self) {
        self.scribe.demo("all have ended");
    }

    fn on_ended(&mut self, who: usize, how: io::Result<ExitStatus>) -> Next {
        let member = &mut self.members[who];
        member.gone.get_or_insert_with(Instant::now);
        self.scribe.demo(&format!("{member} has ended: {}", ending(how)));
        if self.present() > 0 {
            return self.consider();
        }
        if !matches!(self.act, Act::Free) {
            return Next::End(Err(anyhow!("no client is left")));
        }
        self.scribe.demo("no client is left; the hub goes on until Ctrl-C");
        Next::GoOn
    }

    /// Sees whether there is a new leader.
    fn consider(&mut self) -> Next {
        let Some((agreed, count)) = self.newest() else { return Next::GoOn };
        let known = self.announced.as_ref().is_some_and(|(announced, _)| *announced == agreed);
        if count < self.present() {
            if !known {
                self.settled.get_or_insert_with(|| Instant::now() + SETTLE);
            }
            return Next::GoOn;
        }
        self.settled = None;
        if self.announced != Some((agreed.clone(), true)) {
            self.announce(agreed.clone(), count);
        }
        self.next_act(agreed)
    }

    /// The story goes on when all agree.
    fn next_act(&mut self, agreed: Agreed) -> Next {
        let ours = self.members.iter().any(|member| member.is(&agreed.leader));
        match (&self.act, self.plan.kill_leader_after) {
            (Act::Standing { leader, .. }, _) if *leader == agreed => {}
            (Act::Await { .. } | Act::Standing { .. }, Some(after)) if ours => {
                self.scribe.demo(&format!("it may lead for {}, then it is killed", format_duration(after)));
                self.act = Act::Standing { leader: agreed, until: Instant::now() + after };
            }
            (Act::Killed { .. }, _) => return Next::End(Ok(())),
            _ => {}
        }
        Next::GoOn
    }

    fn kill(&mut self, agreed: &Agreed) {
        let leads = |member: &Member| {
            member.gone.is_none()
                && member.is(&agreed.leader)
                && member
                    .belief
                    .as_ref()
                    .is_some_and(|belief| belief.role == Role::Leader && belief.term == agreed.term)
        };
        let patience = self.plan.check_interval + self.plan.check_timeout + PATIENCE;
        let until = Instant::now() + patience;
        match self.members.iter().position(leads) {
            Some(who) => {
                let member = &mut self.members[who];
                self.scribe.demo(&format!("killing {member}, the leader of term {}", agreed.term));
                member.kill.cancel();
                member.gone = Some(Instant::now());
                self.act = Act::Killed { who, until };
            }
            // Somebody else was faster.
            None => self.act = Act::Await { until },
        }
    }

    /// The leader of the newest term that anybody believes in, and how many do. One
    /// that is known to be dead is none.
    fn newest(&self) -> Option<(Agreed, usize)> {
        let agreed = |member: &Member| {
            let belief = member.belief.as_ref()?;
            let leader = belief.leader_id.clone()?;
            Some(Agreed { leader, term: belief.term })
        };
        let believed = || self.members.iter().filter(|member| member.gone.is_none()).filter_map(agreed);
        let newest = believed().max_by(|a, b| (a.term, &a.leader).cmp(&(b.term, &b.leader)))?;
        let dead = self.members.iter().any(|member| member.gone.is_some() && member.is(&newest.leader));
        let count = believed().filter(|believed| *believed == newest).count();
        (!dead).then_some((newest, count))
    }

    /// How many members are alive.
    fn present(&self) -> usize {
        self.members.iter().filter(|member| member.gone.is_none()).count()
    }

    fn announce(&mut self, agreed: Agreed, count: usize) {
        let Agreed { leader, term } = &agreed;
        let present = self.present();
        let all = count == present;
        let member = self.members.iter().find(|member| member.is(leader));
        let name = member.map_or_else(|| format!("{}, from elsewhere,", leader.short()), Member::to_string);
        let who = match (all, present) {
            (true, 1) => String::new(),
            (true, 2) => ", both agree".into(),
            (true, _) => format!(", all {present} agree"),
            (false, _) => format!(", {count} of {present} agree"),
        };
        let after = self.after_the_last(term);
        self.scribe.demo(&format!("{name} leads, term {term}{who}{after}"));
        if !self.advised && matches!(self.act, Act::Free) {
            self.advised = true;
            self.scribe.plain(self.plan.advice(member.and_then(|member| member.speaker.pid())));
        }
        self.announced = Some((agreed, all));
    }

    /// How long after its predecessor's end this leader was found, if that is what happened.
    fn after_the_last(&self, term: &Term) -> String {
        let Some((last, _)) = &self.announced else { return String::new() };
        let member = self.members.iter().find(|member| member.is(&last.leader));
        match member.and_then(|member| Some((member, member.gone?))) {
            Some((member, gone)) if last.term < *term => {
                let how = match self.act {
                    Act::Killed { who, .. } if self.members[who].is(&last.leader) => "was killed",
                    _ => "ended",
                };
                let time = match gone.elapsed() {
                    time if time < Duration::from_secs(1) => format!("{} ms", time.as_millis()),
                    time => format!("{:.1} s", time.as_secs_f32()),
                };
                format!(", {time} after {} {how}", member.speaker.name())
            }
            _ => String::new(),
        }
    }
}

impl Plan {
    pub fn new(args: &DemoArgs, port: u16) -> Self {
        Plan {
            kill_leader_after: args.kill_leader_after,
            early: args.early,
            check_interval: args.check_interval,
            check_timeout: args.check_timeout,
            port,
        }
    }

    /// What to try next.
    fn advice(&self, leader: Option<u32>) -> String {
        let program = std::env::args().next().unwrap_or_else(|| "ringleader".into());
        let port = self.port;
        let pid = leader.map_or_else(|| "PID".into(), |pid| pid.to_string());
        let [interval, timeout] = [self.check_interval, self.check_timeout].map(format_duration);
        let noticed = if self.early {
            "the others elect as soon as the hub says so".to_owned()
        } else {
            format!("the others check every {interval}, wait {timeout} for an answer, and elect")
        };
        format!(
            "
  Try next, from another terminal:
    kill -9 {pid:<11} the leader dies: {noticed}
    kill -STOP {pid:<8} it hangs: they elect just the same
    kill -CONT {pid:<8} it wakes up, and learns that it is deposed
  See every frame as it goes round:
    {program} watch --hub ws://localhost:{port}
  Or open http://localhost:{port} in a browser. Ctrl-C ends all.
"
        )
    }
}

fn ending(how: io::Result<ExitStatus>) -> String {
    match how {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("killed by signal {signal}"),
            (None, None) => status.to_string(),
        },
        Err(error) => format!("cannot tell how: {error}"),
    }
}
