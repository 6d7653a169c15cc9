//! One job in a coordinator's hands: what is done, what can be done, who is at it.

use std::collections::{BTreeMap, BTreeSet};

use super::super::message::{CREDITS, Credit, End, OpenJob, Progress, Tally, Value};
use super::super::worker::Memory;
use super::super::{Factorial, JobId, Operand, Part};
use crate::id::{ClientId, Name, Term};

/// How far a coordinator is with a job.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The board is asked what is written down of it.
    Loading,
    /// Members tell what they hold; that many parts were done as the board says.
    Gathering { written: u32 },
    /// Parts are handed out.
    Running,
    /// All parts are done, or it was given up: its end is to be written down.
    Printing,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Job {
    pub id: JobId,
    pub factorial: Factorial,
    pub stage: Stage,
    /// The number of the last checkpoint that is written.
    pub sequence: u64,
    /// Products that a part above needs still.
    pub products: BTreeMap<Part, Value>,
    /// Every part that is done; of a part in it, all below are.
    pub done: BTreeSet<Part>,
    /// Parts that can be done and are in nobody's hands. Empty until it runs.
    pub ready: BTreeSet<Part>,
    /// Parts in somebody's hands.
    pub handed: BTreeMap<Part, BTreeSet<ClientId>>,
    /// Done since the last checkpoint was sent, and by whom.
    pub unsaved: Vec<(Part, ClientId)>,
    /// The same of the checkpoint that is on its way.
    pub saving: Vec<(Part, ClientId)>,
    /// Whether one is on its way …
    pub is_saving: bool,
    /// … and is the last.
    pub ending: bool,
    /// Whether there is something to write down even if nothing was done since.
    pub is_news: bool,
    /// Told while it was loaded: by whom, what it is called, what.
    pub told: Vec<(ClientId, Name, Part, Value)>,
    /// How far it was under an earlier coordinator, as far as that has written, or
    /// members have heard.
    pub heard: (Term, u32),
    /// How often a part has failed.
    pub tries: BTreeMap<Part, u32>,
    /// How it ends, once that is known.
    pub end: Option<End>,
    pub again: u32,
    pub reassigned: u32,
    /// Parts that are done, as they were counted. As many as `done` has.
    pub counted: u32,
    /// How many parts a worker did, and what it is called.
    pub workers: BTreeMap<ClientId, (Name, u32)>,
}

impl Job {
    /// A job that is to be loaded.
    pub fn new(open: OpenJob) -> Self {
        let OpenJob { job_id: id, factorial, sequence, tally, .. } = open;
        Job {
            id,
            factorial,
            stage: Stage::Loading,
            sequence,
            products: BTreeMap::new(),
            done: BTreeSet::new(),
            ready: BTreeSet::new(),
            handed: BTreeMap::new(),
            unsaved: vec![],
            saving: vec![],
            is_saving: false,
            ending: false,
            is_news: false,
            told: vec![],
            heard: (tally.term, tally.done),
            tries: BTreeMap::new(),
            end: None,
            again: tally.again,
            reassigned: tally.reassigned,
            counted: 0,
            workers: tally.workers.into_iter().map(|credit| (credit.client_id, (credit.name, credit.parts))).collect(),
        }
    }

    /// Somebody has heard how far it was.
    pub fn hear(&mut self, progress: &Progress) {
        self.heard = self.heard.max((progress.term, progress.done.min(self.factorial.count())));
    }

    /// What the coordinator itself did before it was one, as if another had told it.
    pub fn remember(&mut self, me: &ClientId, memory: Option<&Memory>) {
        let Some(Memory { name, held, heard }) = memory else { return };
        let own =
            held.iter().filter(|product| product.id.job_id == self.id && self.factorial.contains(product.id.part));
        self.told.extend(own.map(|own| (me.clone(), name.clone(), own.id.part, own.product.clone())));
        let id = self.id;
        heard.iter().filter(|progress| progress.job_id == id).for_each(|progress| self.hear(progress));
    }

    /// Whether there is something to write down.
    pub fn has_news(&self) -> bool {
        self.is_news || self.end.is_some() || !self.unsaved.is_empty()
    }

    pub fn is_being_taken_over(&self) -> bool {
        matches!(self.stage, Stage::Loading | Stage::Gathering { .. })
    }

    /// Takes down what is told while the job is loaded. No more than there can be: what is
    /// passed over is done once more.
    pub fn on_told(&mut self, by: &ClientId, name: &Name, part: Part, product: Value) {
        if self.told.len() < 2 * self.factorial.count() as usize {
            self.told.push((by.clone(), name.clone(), part, product));
        }
    }

    /// Hands out parts from now on.
    pub fn run(&mut self) {
        self.stage = Stage::Running;
        let ready: Vec<Part> = self.factorial.parts().filter(|part| self.can_be_done(*part)).collect();
        self.ready.extend(ready);
    }

    fn can_be_done(&self, part: Part) -> bool {
        let is_there = |operand| match operand {
            Operand::Number(_) => true,
            Operand::Product(part) => self.products.contains_key(&part),
        };
        !self.done.contains(&part) && !self.handed.contains_key(&part) && self.factorial.operands(part).all(is_there)
    }

    /// What a part multiplies, with the products that are known.
    pub fn operands(&self, part: Part) -> Vec<Value> {
        let value = |operand| match operand {
            Operand::Number(number) => Value::Here(number.into()),
            Operand::Product(part) => self.products.get(&part).cloned().unwrap_or(Value::Stored(part)),
        };
        self.factorial.operands(part).map(value).collect()
    }

    /// A part is done, and with it all below.
    pub fn settle(&mut self, part: Part, product: Value) {
        if !self.done.contains(&part) && self.factorial.contains(part) {
            self.settle_below(part);
            self.products.insert(part, product);
        }
    }

    fn settle_below(&mut self, part: Part) {
        self.counted += 1;
        self.done.insert(part);
        self.ready.remove(&part);
        let below: Vec<Operand> = self.factorial.operands(part).collect();
        for operand in below {
            if let Operand::Product(part) = operand {
                self.products.remove(&part);
                if !self.done.contains(&part) {
                    self.settle_below(part);
                }
            }
        }
    }

    /// Takes a product in that is new. Returns who has the part in hand in vain.
    pub fn on_product(
        &mut self,
        part: Part,
        product: Value,
        by: &ClientId,
        name: &Name,
        once: bool,
    ) -> BTreeSet<ClientId> {
        if self.done.contains(&part) {
            if !once {
                self.counted += 1;
            }
            return BTreeSet::new();
        }
        self.settle(part, product);
        self.unsaved.push((part, by.clone()));
        if self.workers.len() < CREDITS || self.workers.contains_key(by) {
            let credit = self.workers.entry(by.clone()).or_insert_with(|| (name.clone(), 0));
            // Who counted before may have counted anything.
            credit.1 = credit.1.saturating_add(1);
        }
        if self.stage == Stage::Running
            && let Some(parent) = self.factorial.parent(part)
            && self.can_be_done(parent)
        {
            self.ready.insert(parent);
        }
        self.handed.remove(&part).unwrap_or_default()
    }

    /// Somebody has a part in hand no more. Says whether it has to be handed to another.
    pub fn let_go(&mut self, part: Part, who: &ClientId) -> bool {
        let Some(holders) = self.handed.get_mut(&part) else { return false };
        holders.remove(who);
        if !holders.is_empty() {
            return false;
        }
        self.handed.remove(&part);
        // It was done meanwhile, where one above it was.
        !self.done.contains(&part) && self.ready.insert(part)
    }

    pub fn tally(&self, term: Term) -> Tally {
        let credit = |(client_id, (name, parts)): (&ClientId, &(Name, u32))| Credit {
            client_id: client_id.clone(),
            name: name.clone(),
            parts: *parts,
        };
        Tally {
            term,
            done: self.counted,
            again: self.again,
            reassigned: self.reassigned,
            workers: self.workers.iter().map(credit).collect(),
        }
    }

    pub fn check(&self) {
        let below_done = |part: &Part| {
            let mut below = self.factorial.operands(*part);
            below.all(|operand| !matches!(operand, Operand::Product(part) if !self.done.contains(&part)))
        };
        assert!(self.done.iter().all(below_done), "what lies below a part that is done is done");
        assert!(self.ready.iter().all(|part| !self.done.contains(part)), "what is done is not to be done");
        assert!(self.handed.keys().all(|part| !self.ready.contains(part)), "what is in hand is not to be handed out");
        assert!(self.is_saving || self.saving.is_empty(), "only a checkpoint on its way saves");
    }
}
