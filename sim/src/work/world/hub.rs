//! What the hub does: it asks its board, says who leads, and hands frames on. And who submits.

use std::time::Duration;

use rand::RngExt;
use rand::seq::IndexedRandom;
use ringleader_shared::factorial::board::{self, Board};
use ringleader_shared::factorial::message::{Answer, Peer, Refusal, Request, Said};
use ringleader_shared::factorial::{Factorial, JobId};
use ringleader_shared::id::{ClientId, Term};
use ringleader_shared::machine::{Effect, Input, Machine};
use uuid::Uuid;

use super::super::hub::Asking;
use super::super::member::{Life, Member, News, ToMember};
use super::{Due, Judged, PATIENCE, World};

impl World {
    pub(super) fn board(&mut self, input: Input<Board>) -> Judged {
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

    pub(super) fn written(&mut self) -> Judged {
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
                        self.send_to(member, &to, ToMember::Frame { link, from: Peer::Hub, term, said });
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

    pub(super) fn is_lost(&mut self) -> bool {
        self.setting.loss > 0.0 && self.rng.random_bool(self.setting.loss)
    }

    pub(super) fn leaves(&mut self, link: &ClientId) -> Judged {
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

    pub(super) fn elects_soon(&mut self) {
        if !self.hub.elects {
            self.hub.elects = true;
            let after = self.draw(Duration::from_millis(50)..Duration::from_millis(2_000));
            self.later(after, Due::Elects(self.hub.run));
        }
    }

    /// Any member that can be reached, and preferably another one than before.
    pub(super) fn elect(&mut self) -> Judged {
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

    pub(super) fn relay(&mut self, from: &ClientId, to: &Peer, term: Term, said: Said) {
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
            self.send_to(member, &link, frame);
        }
    }
}

/// Who submits.
impl World {
    pub(super) fn submits(&mut self, index: usize) {
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

    pub(super) fn submitted(&mut self, index: usize, answer: Answer) -> Judged {
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
