//! What happens to members, and what they do then: as a node does, with news of who leads in
//! place of an election.

use std::ops::Range;
use std::time::Duration;

use ringleader_shared::factorial::board;
use ringleader_shared::factorial::coordinator::{self, Coordinator};
use ringleader_shared::factorial::message::{Message, Peer, Said, Task};
use ringleader_shared::factorial::worker::{self, Worker};
use ringleader_shared::id::{ClientId, Term};
use ringleader_shared::machine::{Effect, Input, Machine};

use super::super::member::{Asker, Life, News, Timer, ToMember};
use super::{Due, Judged, World};
use crate::agenda::Slot;

impl World {
    pub(super) fn starts(&mut self, index: usize) -> Judged {
        let broken = self.setting.broken;
        let member = &mut self.members[index];
        member.run += 1;
        member.life = Life::Up;
        let name = member.name.clone();
        let options = worker::Options { slots: member.role.slots, ..worker::Options::new(name) };
        member.worker = member.role.works.then(|| Worker::new(options).breaking(broken));
        self.connects(index)
    }

    pub(super) fn crash(&mut self, index: usize, down: Duration) -> Judged {
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

    pub(super) fn connects(&mut self, index: usize) -> Judged {
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

    pub(super) fn wakes(&mut self, index: usize) -> Judged {
        self.note(|world| format!("{} goes on", world.members[index].name));
        self.members[index].life = Life::Up;
        while self.members[index].life == Life::Up
            && let Some((slot, what)) = self.members[index].waiting.pop_front()
        {
            self.happens(index, slot, what)?;
        }
        Ok(())
    }

    pub(super) fn happens(&mut self, index: usize, slot: Slot, what: ToMember) -> Judged {
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
    pub(super) fn hears(&mut self, index: usize) -> Judged {
        self.members[index].is_deaf = false;
        match self.members[index].unheard.take() {
            Some(news) => self.hears_news(index, news),
            None => Ok(()),
        }
    }

    /// It believes this about who leads from now on.
    pub(super) fn follow(&mut self, index: usize, leader: Option<(ClientId, Term)>) -> Judged {
        let member = &self.members[index];
        let me = member.link.clone();
        let leads = leader.clone().filter(|(id, _)| me.as_ref() == Some(id));
        if member.coordinator.as_ref().map(Coordinator::term) != leads.as_ref().map(|(_, term)| *term) {
            self.resigns(index)?;
            if let Some((me, term)) = leads.clone() {
                self.note(|_| format!("{me} coordinates in term {term}"));
                self.counts.coordinators += 1;
                let memory = self.members[index].worker.as_ref().map(Worker::memory);
                self.judge.begins(term, memory.as_ref().map_or(&[], |memory| &memory.held));
                let options = self.setting.coordinator.clone();
                let (coordinator, effects) = Coordinator::begin(me, term, options, memory);
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

    pub(super) fn coordinator(&mut self, index: usize, input: Input<Coordinator>) -> Judged {
        let Some(coordinator) = &mut self.members[index].coordinator else { return Ok(()) };
        let term = coordinator.term();
        let effects = coordinator.handle(input);
        self.steps += 1;
        // It looks at every part of its jobs.
        if self.steps.is_multiple_of(8) {
            coordinator.check();
        }
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

    pub(super) fn worker(&mut self, index: usize, input: Input<Worker>) -> Judged {
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

fn line(report: &coordinator::Report) -> String {
    match report {
        coordinator::Report::Done { job, factorial, result } if result.len() > 24 => {
            format!("Done({job:?}, {}!, {} digits)", factorial.0, result.len())
        }
        other => format!("{other:?}"),
    }
}
