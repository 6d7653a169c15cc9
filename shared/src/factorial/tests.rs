//! What the machines of this room do together, one input at a time. Numbers are modulo
//! a prime, since nobody here looks into them.

use std::collections::{BTreeMap, VecDeque};

use super::board::{self, Asker, Board, Limits, Phase};
use super::coordinator::{self, Coordinator};
use super::message::{Answer, End, Message, Milled, Number, Peer, Product, Refusal, Request, Said, Task, Value};
use super::worker::{self, Worker};
use super::*;
use crate::id::{ClientId, Name, Term};
use crate::machine::{Effect, Input, Machine};

const PRIME: u64 = 4_294_967_291;

fn id(text: &str) -> ClientId {
    ClientId::new(text).unwrap()
}

fn term(value: u64) -> Term {
    Term::new(value).unwrap()
}

fn job(number: u128) -> JobId {
    JobId::new(Uuid::from_u128(number))
}

fn number(value: u64) -> Number {
    Number::new(&format!("{value:x}")).unwrap()
}

fn value_of(number: &Number) -> u64 {
    u64::from_str_radix(number.as_str(), 16).unwrap()
}

fn factorial_of(n: u32) -> u64 {
    (1..=u64::from(n)).fold(1, |product, factor| product * factor % PRIME)
}

/// A hub, a coordinator and workers. What they say waits until it is let through.
struct Stage {
    board: Board,
    coordinators: BTreeMap<ClientId, Coordinator>,
    workers: BTreeMap<ClientId, Worker>,
    waiting: VecDeque<(Peer, Peer, Term, Message)>,
    coordinator_says: Vec<coordinator::Report>,
    multiplied: u32,
    asked: u64,
}

impl Stage {
    fn new(workers: &[&str]) -> Self {
        let mut stage = Stage {
            board: Board::new(Limits::default(), []),
            coordinators: BTreeMap::new(),
            workers: BTreeMap::new(),
            waiting: VecDeque::new(),
            coordinator_says: vec![],
            multiplied: 0,
            asked: 0,
        };
        for name in workers {
            let options = worker::Options { slots: 2, ..worker::Options::new(Name::new(name).unwrap()) };
            stage.workers.insert(id(name), Worker::new(options));
        }
        stage
    }

    fn ask(&mut self, request: Request) -> Answer {
        self.asked += 1;
        let message = board::Message::Ask(request);
        let effects = self.board.handle(Input::Message { from: Asker(self.asked), message });
        self.board.check();
        self.after_board(effects).expect("an answer")
    }

    fn after_board(&mut self, effects: Vec<Effect<Board>>) -> Option<Answer> {
        let mut answered = None;
        for effect in effects {
            match effect {
                Effect::Send { message: board::Message::Answer(answer), .. } => answered = Some(answer),
                Effect::Report(board::Report::Tell { to, term, said }) => {
                    self.waiting.push_back((Peer::Hub, Peer::Member(to), term, Message::Said(said)));
                }
                _ => {}
            }
        }
        answered
    }

    fn submit(&mut self, number: u128, n: u32) -> JobId {
        let request = Request::Submit { id: job(number), factorial: Factorial(n), key: None };
        assert_eq!(self.ask(request), Answer::Accepted { id: job(number), is_new: true });
        job(number)
    }

    fn elect(&mut self, leader: &str, in_term: u64) {
        let (leader, in_term) = (id(leader), term(in_term));
        let effects = self.board.handle(Input::Event(board::Event::Leads(Some((leader.clone(), in_term)))));
        self.after_board(effects);
        for who in self.workers.keys().cloned().collect::<Vec<_>>() {
            let follows = worker::Event::Follows((who != leader).then(|| (leader.clone(), in_term)));
            let effects = self.workers.get_mut(&who).unwrap().handle(Input::Event(follows));
            self.after_worker(&who, effects);
        }
        let options = coordinator::Options { checkpoint_parts: 4, ..coordinator::Options::default() };
        let memory = self.workers.get(&leader).map(Worker::memory);
        let (coordinator, effects) = Coordinator::begin(leader.clone(), in_term, options, memory);
        self.coordinators.insert(leader.clone(), coordinator);
        self.after_coordinator(&leader, in_term, effects);
    }

    fn after_worker(&mut self, who: &ClientId, effects: Vec<Effect<Worker>>) {
        for effect in effects {
            if let Effect::Send { to: (to, in_term), message } = effect {
                self.waiting.push_back((Peer::Member(who.clone()), to, in_term, message));
            }
        }
    }

    fn after_coordinator(&mut self, who: &ClientId, in_term: Term, effects: Vec<Effect<Coordinator>>) {
        for effect in effects {
            match effect {
                Effect::Send { to, message } => {
                    self.waiting.push_back((Peer::Member(who.clone()), to, in_term, message));
                }
                Effect::Report(report) => self.coordinator_says.push(report),
                _ => {}
            }
        }
    }

    fn fire(&mut self, who: &str, timer: coordinator::Timer) {
        let coordinator = self.coordinators.get_mut(&id(who)).unwrap();
        let (in_term, effects) = (coordinator.term(), coordinator.handle(Input::Timeout(timer)));
        self.after_coordinator(&id(who), in_term, effects);
    }

    /// Lets so many messages through.
    fn run(&mut self, most: usize) {
        for _ in 0..most {
            let Some((from, to, in_term, message)) = self.waiting.pop_front() else { return };
            match (to, message) {
                (Peer::Mill, Message::Task(task)) => {
                    let milled = self.mill(task);
                    self.waiting.push_back((Peer::Mill, from, in_term, Message::Milled(milled)));
                }
                (Peer::Board, Message::Ask(request)) => {
                    let answer = self.ask(request);
                    self.waiting.push_back((Peer::Board, from, in_term, Message::Answer(answer)));
                }
                (Peer::Everybody, message) => {
                    for who in self.workers.keys().cloned().collect::<Vec<_>>() {
                        self.deliver(&who, from.clone(), in_term, message.clone());
                    }
                }
                (Peer::Member(who), message) => self.deliver(&who, from, in_term, message),
                (to, message) => panic!("{message:?} for {to:?}"),
            }
        }
    }

    fn deliver(&mut self, who: &ClientId, from: Peer, in_term: Term, message: Message) {
        if let Some(coordinator) = self.coordinators.get_mut(who).filter(|coordinator| coordinator.term() == in_term) {
            let effects = coordinator.handle(Input::Message { from: from.clone(), message: message.clone() });
            coordinator.check();
            self.after_coordinator(who, in_term, effects);
        }
        if let Some(worker) = self.workers.get_mut(who) {
            let effects = worker.handle(Input::Message { from: (from, in_term), message });
            worker.check();
            self.after_worker(who, effects);
        }
    }

    fn mill(&mut self, task: Task) -> Milled {
        let here = |value: &Value| match value {
            Value::Here(number) => value_of(number),
            Value::Stored(part) => panic!("{part} is not large"),
        };
        match task {
            Task::Multiply { part, .. } => {
                self.multiplied += 1;
                let product = part.operands.iter().fold(1, |product, operand| product * here(operand) % PRIME);
                Milled::Product(Product { id: part.id, product: Value::Here(number(product)) })
            }
            Task::Print { job, product } => Milled::Printed { job, text: here(&product).to_string().into() },
        }
    }

    /// Everything, with the timers that are armed for it in the end.
    fn finish(&mut self, coordinator: &str) {
        for _ in 0..20 {
            self.run(usize::MAX);
            for who in self.workers.keys().cloned().collect::<Vec<_>>() {
                let effects = self.workers.get_mut(&who).unwrap().handle(Input::Timeout(worker::Timer::Answer));
                self.after_worker(&who, effects);
            }
            self.fire(coordinator, coordinator::Timer::Gather);
            self.fire(coordinator, coordinator::Timer::Checkpoint);
        }
    }

    /// With all that is on its way, but for what members' own mills are at.
    fn lose_coordinators(&mut self) {
        self.coordinators.clear();
        self.waiting.retain(|(from, to, ..)| [from, to].contains(&&Peer::Mill));
    }

    fn entry(&self, id: JobId) -> &board::Entry {
        &self.board.job(id).unwrap().entry
    }
}

#[test]
fn ten_is_cut_as_everybody_cuts_it() {
    let ten = Factorial(10);
    let numbers = |index| -> Vec<Operand> { ten.operands(Part { level: 0, index }).collect() };
    assert_eq!(numbers(0), [10, 9, 8, 7].map(Operand::Number));
    assert_eq!(numbers(1), [6, 5, 4, 3].map(Operand::Number));
    assert_eq!(numbers(2), [2, 1].map(Operand::Number));
    let last: Vec<Operand> = ten.operands(Part { level: 1, index: 0 }).collect();
    assert_eq!(last, [0, 1, 2].map(|index| Operand::Product(Part { level: 0, index })));
    assert_eq!((ten.count(), ten.last()), (4, Some(Part { level: 1, index: 0 })));
}

#[test]
fn the_parts_of_any_number_make_its_factorial() {
    for n in (0..=300).chain([1000, 1023, 1024, 1025, 4097]) {
        let factorial = Factorial(n);
        let parts: Vec<Part> = factorial.parts().collect();
        assert_eq!(parts.len() as u32, factorial.count(), "{n}");
        let mut products = BTreeMap::new();
        for part in &parts {
            let operands: Vec<Operand> = factorial.operands(*part).collect();
            assert!((2..=4).contains(&operands.len()), "{n}: {part} has {operands:?}");
            let product = operands.iter().fold(1, |product, operand| match operand {
                Operand::Number(number) => product * u64::from(*number) % PRIME,
                Operand::Product(below) => {
                    assert_eq!(factorial.parent(*below), Some(*part), "{n}");
                    product * products.remove(below).unwrap() % PRIME
                }
            });
            products.insert(*part, product);
        }
        let result = factorial.last().map_or(1, |last| products.remove(&last).unwrap());
        assert_eq!(result, factorial_of(n), "{n}!");
        assert!(products.is_empty(), "{n}: every product is used once");
        assert!(parts.last().is_none_or(|last| factorial.parent(*last).is_none()));
    }
    let none = [Part { level: 0, index: 3 }, Part { level: 2, index: 0 }, Part { level: 255, index: u32::MAX }];
    assert!(none.iter().all(|part| !Factorial(10).contains(*part)));
}

#[test]
fn a_job_is_shared_out_and_committed_once() {
    let mut stage = Stage::new(&["a", "b"]);
    let ids: Vec<JobId> = [0, 1, 2, 5, 10, 97].iter().zip(1..).map(|(n, id)| stage.submit(id, *n)).collect();
    stage.elect("c", 1);
    stage.finish("c");
    for (id, n) in ids.iter().zip([0, 1, 2, 5, 10, 97]) {
        let result = stage.board.job(*id).unwrap().result.clone();
        assert_eq!(result.as_deref(), Some(&*factorial_of(n).to_string()), "{n}!");
        let entry = stage.entry(*id);
        assert_eq!((&entry.phase, entry.tally.done, entry.tally.again), (&Phase::Done, Factorial(n).count(), 0));
        let credited: u32 = entry.tally.workers.iter().map(|credit| credit.parts).sum();
        assert_eq!(credited, Factorial(n).count(), "every part of {n}! has its worker");
    }
    assert_eq!(stage.multiplied, [0, 1, 2, 5, 10, 97].map(|n| Factorial(n).count()).iter().sum::<u32>());
    let by_b = stage.entry(ids[5]).tally.workers.iter().find(|credit| credit.client_id == id("b")).map(|it| it.parts);
    assert!(by_b.is_some_and(|parts| parts >= 10), "both work: {by_b:?}");
}

#[test]
fn a_job_that_comes_later_is_told_of() {
    let mut stage = Stage::new(&["a"]);
    stage.elect("c", 1);
    stage.run(usize::MAX);
    let job = stage.submit(1, 10);
    stage.finish("c");
    assert_eq!(stage.entry(job).phase, Phase::Done);
}

#[test]
fn the_next_coordinator_goes_on_where_the_last_was_lost() {
    let mut stage = Stage::new(&["a", "b", "d"]);
    let job = stage.submit(1, 400);
    stage.elect("c", 1);
    while stage.entry(job).tally.done < 60 {
        stage.run(1);
    }
    let multiplied = stage.multiplied;
    stage.lose_coordinators();
    stage.elect("d", 2);
    stage.finish("d");
    assert_eq!(stage.board.job(job).unwrap().result.as_deref(), Some(&*factorial_of(400).to_string()));
    let more = stage.multiplied - multiplied;
    let all = Factorial(400).count();
    // What was on its way to or from the mill when all was thrown away is done once more.
    assert!(more <= all - multiplied + 2, "{more} of {all} were done, after {multiplied}");
    assert_eq!(stage.entry(job).tally.again, 0, "what nobody had counted was not lost");
    let took_over = stage.coordinator_says.iter().find_map(|report| match report {
        coordinator::Report::TookOver { written, held, .. } => Some((*written, *held)),
        _ => None,
    });
    assert!(took_over.is_some_and(|(written, held)| written >= 60 && held > 0), "{took_over:?}");
}

#[test]
fn what_died_with_its_worker_is_done_again_and_counted() {
    let mut stage = Stage::new(&["a", "b", "d"]);
    let job = stage.submit(1, 400);
    stage.elect("c", 1);
    while stage.entry(job).tally.done < 60 {
        stage.run(1);
    }
    // Nothing reaches the board any more, and workers go on for a while.
    for _ in 0..200 {
        stage.run(1);
        stage.waiting.retain(|(_, to, ..)| *to != Peer::Board);
    }
    let written = stage.entry(job).tally.done;
    stage.workers.remove(&id("a"));
    stage.lose_coordinators();
    stage.elect("d", 2);
    stage.finish("d");
    let again = stage.entry(job).tally.again;
    assert!(again > 0 && again < Factorial(400).count() - written, "{again} again, {written} were written");
    assert_eq!(stage.board.job(job).unwrap().result.as_deref(), Some(&*factorial_of(400).to_string()));
}

#[test]
fn a_deposed_coordinator_is_refused_and_stops() {
    let mut stage = Stage::new(&["a", "b"]);
    let job = stage.submit(1, 100);
    stage.elect("c", 1);
    while stage.entry(job).tally.done < 8 {
        stage.run(1);
    }
    stage.elect("d", 2);
    let sequence = stage.entry(job).sequence;
    let stale = Request::Checkpoint(Box::new(message::Checkpoint {
        job_id: job,
        term: term(1),
        sequence: sequence + 1,
        parts: vec![],
        tally: message::Tally::default(),
        end: Some(End::Done("7".into())),
    }));
    let why = Refusal::StaleTerm { got: term(1), newest: term(2) };
    assert_eq!(stage.ask(stale), Answer::Refused { job: Some(job), why });
    stage.finish("d");
    stage.deliver(&id("c"), Peer::Hub, term(1), Message::Said(Said::Jobs));
    stage.finish("c");
    assert!(stage.coordinator_says.contains(&coordinator::Report::Deposed));
    let done = |report: &&coordinator::Report| matches!(report, coordinator::Report::Done { .. });
    assert_eq!(stage.coordinator_says.iter().filter(done).count(), 1, "one of them commits");
    assert_eq!(stage.board.job(job).unwrap().result.as_deref(), Some(&*factorial_of(100).to_string()));
}

#[test]
fn who_was_deposed_before_the_hub_began_anew_is_refused_by_a_board_that_knows_the_term() {
    let mut stage = Stage::new(&["a"]);
    let job = stage.submit(1, 100);
    stage.elect("c", 1);
    while stage.entry(job).tally.done < 8 {
        stage.run(1);
    }
    // Another is elected, and the hub ends before that one has begun.
    let written: Vec<_> = stage.board.jobs().map(|(id, job)| (*id, job.clone())).collect();
    let load = Request::Load { job, term: term(1) };
    stage.board = Board::new(Limits::default(), written.clone());
    assert!(matches!(stage.ask(load.clone()), Answer::Loaded { .. }), "as far as is written down, 1 is the newest");
    stage.board = Board::new(Limits::default(), written).knowing(term(2));
    let why = Refusal::StaleTerm { got: term(1), newest: term(2) };
    assert_eq!(stage.ask(load), Answer::Refused { job: Some(job), why });
}

#[test]
fn a_claim_that_is_made_again_since_its_answer_was_lost_is_answered_as_before() {
    let mut stage = Stage::new(&["a"]);
    stage.submit(1, 10);
    stage.elect("c", 1);
    stage.run(2);
    stage.board.handle(Input::Event(board::Event::Leads(Some((id("d"), term(2))))));
    let claim = Request::Claim { by: id("d"), term: term(2) };
    let Answer::Open { jobs, .. } = stage.ask(claim.clone()) else { panic!("refused") };
    assert!(jobs[0].begun && jobs[0].sequence == 0, "begun, and nothing written");
    assert_eq!(stage.ask(claim), Answer::Open { term: term(2), jobs });
}

#[test]
fn a_silent_worker_loses_its_parts_and_a_late_answer_counts() {
    let mut stage = Stage::new(&["a", "b"]);
    let job = stage.submit(1, 64);
    stage.elect("c", 1);
    // Until a has parts in hand; then its mill stands still.
    while !stage.waiting.iter().any(|(from, to, ..)| *from == Peer::Member(id("a")) && *to == Peer::Mill) {
        stage.run(1);
    }
    let (stuck, rest): (VecDeque<_>, _) =
        stage.waiting.drain(..).partition(|(from, to, ..)| *from == Peer::Member(id("a")) && *to == Peer::Mill);
    stage.waiting = rest;
    stage.run(usize::MAX);
    assert_eq!(stage.entry(job).phase, Phase::Open);
    stage.fire("c", coordinator::Timer::Silent(id("a")));
    let handed_on = |report: &coordinator::Report| matches!(report, coordinator::Report::HandedOn { .. });
    assert!(stage.coordinator_says.iter().any(handed_on), "{:?}", stage.coordinator_says);
    stage.finish("c");
    assert_eq!(stage.entry(job).phase, Phase::Done);
    stage.waiting.extend(stuck);
    stage.finish("c");
    assert_eq!(stage.entry(job).tally.done, Factorial(64).count(), "and changes nothing");
}

#[test]
fn who_takes_long_for_a_part_is_given_that_long() {
    let (mut coordinator, _) = Coordinator::begin(id("c"), term(1), coordinator::Options::default(), None);
    let job = message::OpenJob {
        job_id: job(1),
        factorial: Factorial(10),
        sequence: 0,
        begun: false,
        tally: message::Tally::default(),
    };
    let open = Message::Answer(Answer::Open { term: term(1), jobs: vec![job] });
    coordinator.handle(Input::Message { from: Peer::Board, message: open });
    let name = Name::new("slow").unwrap();
    let ready = Said::Ready { name, slots: 1, delay_ms: 60_000, heard: vec![] };
    let effects = coordinator.handle(Input::Message { from: Peer::Member(id("a")), message: Message::Said(ready) });
    let after = crate::machine::exactly(std::time::Duration::from_secs(65));
    assert!(effects.contains(&Effect::SetTimer { timer: coordinator::Timer::Silent(id("a")), after }), "{effects:?}");
}

#[test]
fn a_part_that_cannot_be_done_ends_its_job_and_no_other() {
    let mut stage = Stage::new(&["a"]);
    let (bad, good) = (stage.submit(1, 10), stage.submit(2, 5));
    stage.elect("c", 1);
    for _ in 0..400 {
        stage.run(1);
        for (_, to, _, message) in &mut stage.waiting {
            if let (Peer::Member(_), Message::Milled(Milled::Product(product))) = (&to, &message)
                && product.id.job_id == bad
            {
                *message = Message::Milled(Milled::Failed(product.id));
            }
        }
    }
    stage.finish("c");
    assert!(matches!(&stage.entry(bad).phase, Phase::Failed(why) if why.contains("failed 8 times")));
    assert_eq!(stage.entry(good).phase, Phase::Done);
}

#[test]
fn a_result_that_cannot_be_written_once_is_written_later_and_not_for_ever() {
    let mut stage = Stage::new(&["a"]);
    let (late, never) = (stage.submit(1, 10), stage.submit(2, 5));
    stage.elect("c", 1);
    let mut left = 7;
    for _ in 0..400 {
        stage.run(1);
        for (.., message) in &mut stage.waiting {
            if let Message::Milled(Milled::Printed { job, .. }) = *message
                && (job == never || left > 0)
            {
                left -= u32::from(job == late);
                *message = Message::Milled(Milled::NotPrinted(job));
            }
        }
    }
    stage.finish("c");
    assert_eq!((&stage.entry(late).phase, left), (&Phase::Done, 0));
    assert!(matches!(&stage.entry(never).phase, Phase::Failed(why) if why.contains("could not be written")));
}

#[test]
fn a_submission_by_the_same_name_is_the_same_job() {
    let mut stage = Stage::new(&[]);
    let submit = |number, n| Request::Submit { id: job(number), factorial: Factorial(n), key: Some("mine".into()) };
    assert_eq!(stage.ask(submit(1, 10)), Answer::Accepted { id: job(1), is_new: true });
    assert_eq!(stage.ask(submit(2, 10)), Answer::Accepted { id: job(1), is_new: false });
    assert_eq!(stage.ask(submit(3, 11)), Answer::Refused { job: Some(job(1)), why: Refusal::KeyUsed(10) });
    assert_eq!(stage.board.jobs().count(), 1);
}

#[test]
fn a_cancelled_job_is_dropped_by_its_coordinator() {
    let mut stage = Stage::new(&["a"]);
    let job = stage.submit(1, 1000);
    stage.elect("c", 1);
    while stage.entry(job).tally.done < 8 {
        stage.run(1);
    }
    assert_eq!(stage.ask(Request::Cancel(job)), Answer::Cancelled(job));
    let before = stage.multiplied;
    stage.finish("c");
    assert_eq!(stage.entry(job).phase, Phase::Cancelled);
    assert!(stage.multiplied <= before + 4, "what was in hand is done, and no more");
    assert_eq!(stage.ask(Request::Cancel(job)), Answer::Cancelled(job), "once more changes nothing");
}

#[test]
fn old_jobs_that_have_ended_make_room() {
    let mut stage = Stage::new(&["a"]);
    stage.board = Board::new(Limits { jobs: 3, ..Limits::default() }, []);
    stage.elect("c", 1);
    for number in 1..=3 {
        stage.submit(number, 2);
    }
    let more = Request::Submit { id: job(4), factorial: Factorial(2), key: None };
    assert_eq!(stage.ask(more), Answer::Refused { job: None, why: Refusal::Full(3) });
    stage.finish("c");
    for number in 4..=6 {
        stage.submit(number, 2);
    }
    stage.finish("c");
    let kept: Vec<JobId> = stage.board.jobs().map(|(id, _)| *id).collect();
    assert_eq!(kept, [job(4), job(5), job(6)]);
}

#[test]
fn what_is_said_reads_as_the_protocol_has_it() {
    let id = PartId { job_id: job(7), part: Part { level: 1, index: 2 } };
    let parts = vec![message::Assignment { id, operands: vec![Value::Here(10.into()), Value::Stored(id.part)] }];
    let said = Said::Assign { parts, forget: vec![id], progress: vec![] };
    let text = serde_json::to_string(&said).unwrap();
    let at = r#""jobId":"00000000-0000-0000-0000-000000000007","level":1,"index":2"#;
    let expected = format!(
        r#"{{"kind":"assign","parts":[{{{at},"operands":["a",{{"level":1,"index":2}}]}}],"forget":[{{{at}}}],"progress":[]}}"#
    );
    assert_eq!(text, expected);
    assert_eq!(serde_json::from_str::<Said>(&text).unwrap(), said);
    for bad in ["\"0a\"", "\"A\"", "\"\"", "\"-1\"", "7"] {
        assert!(serde_json::from_str::<Number>(bad).is_err(), "{bad}");
    }
}

#[test]
fn what_no_product_can_look_like_is_a_part_that_failed() {
    let mut stage = Stage::new(&["a", "b"]);
    let job = stage.submit(1, 64);
    stage.elect("c", 1);
    let part = |index| PartId { job_id: job, part: Part { level: 0, index } };
    let large = Value::Here(Number::new(&"f".repeat(message::LARGE + 1)).unwrap());
    let long = Value::Here(Number::new(&"f".repeat(9)).unwrap());
    let lies = [large, long, Value::Stored(part(1).part), Value::Stored(Part { level: 9, index: 0 })];
    let mut told = 0;
    while told < lies.len() {
        stage.run(1);
        for (from, _, _, message) in &mut stage.waiting {
            if let (Peer::Member(who), Message::Said(Said::Products { parts })) = (&from, &mut *message)
                && *who == id("a")
                && let Some(product) = parts.iter_mut().find(|it| it.id.part.level == 0 && told < lies.len())
                && !lies.contains(&product.product)
            {
                product.product = lies[told].clone();
                told += 1;
            }
        }
    }
    stage.finish("c");
    assert_eq!(stage.board.job(job).unwrap().result.as_deref(), Some(&*factorial_of(64).to_string()));
}

#[test]
fn a_board_keeps_no_more_than_a_job_can_have() {
    let mut stage = Stage::new(&[]);
    let job = stage.submit(1, 10);
    stage.elect("c", 1);
    let part = Part { level: 0, index: 0 };
    let number = |digits: usize| Number::new(&"f".repeat(digits)).unwrap();
    let keep = |number| Request::Keep { job, term: term(1), part, number };
    // 10·9·8·7 has four numbers of one digit.
    assert_eq!(stage.ask(keep(number(4))), Answer::Kept);
    assert_eq!(stage.ask(keep(number(5))), Answer::Refused { job: Some(job), why: Refusal::NoSuchPart });
    let credit =
        |n: usize| message::Credit { client_id: id(&format!("w{n}")), name: Name::new("w").unwrap(), parts: u32::MAX };
    let checkpoint = |digits, workers| {
        let product = Product { id: PartId { job_id: job, part }, product: Value::Here(number(digits)) };
        let workers = (0..workers).map(credit).collect();
        let tally = message::Tally { done: u32::MAX, again: u32::MAX, reassigned: u32::MAX, workers, term: term(1) };
        let checkpoint =
            message::Checkpoint { job_id: job, term: term(1), sequence: 1, parts: vec![product], tally, end: None };
        Request::Checkpoint(Box::new(checkpoint))
    };
    let refused = Answer::Refused { job: Some(job), why: Refusal::NoSuchPart };
    assert_eq!(stage.ask(checkpoint(5, 0)), refused);
    assert_eq!(stage.ask(checkpoint(4, message::CREDITS + 1)), Answer::Saved { job, sequence: 1 });
    let tally = &stage.entry(job).tally;
    assert_eq!((tally.done, tally.workers.len()), (4, message::CREDITS));
}

#[test]
fn whoever_counted_before_may_have_counted_anything() {
    let mut stage = Stage::new(&["a", "b"]);
    let job = stage.submit(1, 64);
    stage.elect("c", 1);
    while stage.entry(job).tally.done < 8 {
        stage.run(1);
    }
    let sequence = stage.entry(job).sequence + 1;
    let parts = u32::MAX;
    let workers = vec![message::Credit { client_id: id("b"), name: Name::new("b").unwrap(), parts }];
    let tally = message::Tally { done: parts, again: parts, reassigned: parts, workers, term: term(1) };
    let checkpoint = message::Checkpoint { job_id: job, term: term(1), sequence, parts: vec![], tally, end: None };
    stage.ask(Request::Checkpoint(Box::new(checkpoint)));
    stage.lose_coordinators();
    stage.elect("d", 2);
    stage.finish("d");
    assert_eq!(stage.board.job(job).unwrap().result.as_deref(), Some(&*factorial_of(64).to_string()));
}

#[test]
fn who_is_idle_takes_half_of_what_a_slow_one_has_in_hand() {
    let mut stage = Stage::new(&["a", "b"]);
    stage.submit(1, 16);
    stage.elect("c", 1);
    // b's mill stands still, with two parts in hand.
    let is_stuck = |(from, to, ..): &(Peer, Peer, Term, Message)| *from == Peer::Member(id("b")) && *to == Peer::Mill;
    while !stage.waiting.iter().any(is_stuck) {
        stage.run(1);
    }
    stage.waiting.retain(|waiting| !is_stuck(waiting));
    stage.run(usize::MAX);
    let multiplied = stage.multiplied;
    stage.fire("c", coordinator::Timer::Speculate);
    stage.run(usize::MAX);
    assert_eq!(stage.multiplied, multiplied + 1, "half of two");
    stage.fire("c", coordinator::Timer::Speculate);
    stage.finish("c");
    assert_eq!(stage.entry(job(1)).phase, Phase::Done);
}
