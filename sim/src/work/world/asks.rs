//! What members ask the board, and what their mills do.

use std::time::Duration;

use rand::RngExt;
use rand::seq::IndexedRandom;
use ringleader_shared::factorial::JobId;
use ringleader_shared::factorial::message::{
    Answer, Assignment, Message, Milled, Number, Peer, Product, Request, Task, Value,
};
use ringleader_shared::id::Term;
use ringleader_shared::machine::Input;

use super::super::hub::Asking;
use super::super::member::{Ask, Asker, Order, ToMember};
use super::super::mill;
use super::super::plan::Failure;
use super::{DELAYS, Due, Judged, PATIENCE, TRIES, World};

impl World {
    pub(super) fn ask(&mut self, index: usize, request: Request, asker: Asker) {
        let member = &mut self.members[index];
        let waits = matches!(asker, Asker::Coordinator(_)) && member.next_ask().is_some();
        member.asked += 1;
        let number = member.asked;
        member.asks.insert(number, Ask { request, asker });
        if !waits {
            self.asks_first(index, number);
        }
    }

    /// Writing a checkpoint fails as computing does.
    fn asks_first(&mut self, index: usize, number: u64) {
        let is_checkpoint = |ask: &Ask| matches!(ask.request, Request::Checkpoint(_));
        let fails = if self.members[index].asks.get(&number).is_some_and(is_checkpoint) { self.fails() } else { None };
        let late = match fails {
            None => return self.asks(index, number),
            Some(Failure::Exit) => {
                self.later_to(index, Duration::ZERO, ToMember::Exits);
                return;
            }
            Some(Failure::Stall) => self.draw(self.setting.stalls.clone()),
            Some(Failure::Delay) => self.draw(DELAYS),
        };
        self.later_to(index, late, ToMember::AskAgain(number));
    }

    pub(super) fn asks(&mut self, index: usize, number: u64) {
        let Some(ask) = self.members[index].asks.get(&number) else { return };
        let request = ask.request.clone();
        let who = Asking::Member { member: index, run: self.members[index].run, ask: number };
        self.request(who, request);
        self.later_to(index, PATIENCE, ToMember::AskAgain(number));
    }

    /// On its way to the board. Some are lost, and some come when they are made again already.
    pub(super) fn request(&mut self, who: Asking, request: Request) {
        let mut leg = self.draw(self.setting.leg.clone());
        if self.is_lost() {
            if self.rng.random_bool(0.5) {
                return;
            }
            leg += self.draw(Duration::ZERO..PATIENCE * 3);
        }
        self.later(leg, Due::Asked { who, request });
    }

    pub(super) fn hears_answer(&mut self, index: usize, number: u64, answer: Answer) -> Judged {
        let Some(Ask { asker, .. }) = self.members[index].asks.remove(&number) else { return Ok(()) };
        match asker {
            Asker::Coordinator(_) => {
                if let Some(next) = self.members[index].next_ask() {
                    self.asks_first(index, next);
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
    pub(super) fn order(&mut self, index: usize, by: Option<Term>, task: Task) {
        let mut after = self.draw(self.setting.computes.clone());
        match self.fails() {
            Some(Failure::Exit) => {
                self.later_to(index, after, ToMember::Exits);
                return;
            }
            Some(Failure::Stall) => after += self.draw(self.setting.stalls.clone()),
            Some(Failure::Delay) => after += self.draw(DELAYS),
            None => {}
        }
        self.later_to(index, after, ToMember::Mills(Order { by, task, tries: 0 }));
    }

    pub(super) fn mills(&mut self, index: usize, order: Order) -> Judged {
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

    /// Whether this computation, or writing down, fails, and how.
    pub(super) fn fails(&mut self) -> Option<Failure> {
        let fails = self.setting.fails;
        if fails == 0.0 || !self.rng.random_bool(fails) {
            return None;
        }
        let mode = self.setting.modes.choose(&mut self.rng).copied();
        self.counts.failures += u64::from(mode.is_some());
        mode
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
