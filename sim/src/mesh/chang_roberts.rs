//! Chang and Roberts: whose UUID is the greatest leads, and everybody comes to know it.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use ringleader_shared::election::chang_roberts::{
    self as machine, Event, Flag, Neighbour, Report, Rule, Timer, Timing,
};
use ringleader_shared::id::Name;
use ringleader_shared::machine::{Effect, Input};
use uuid::Uuid;

use super::model::{Checked, Fires, State};
use super::seeds::{Chance, Fault};
use super::{Mesh, letters};

/// The nodes, in the order of the ring.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ChangRoberts {
    names: Vec<Name>,
    ids: Vec<Uuid>,
    /// Whether they skip who dies.
    repair: bool,
    /// Whether anybody may die; for [`Chance`].
    mortal: bool,
    broken: Option<Rule>,
}

impl ChangRoberts {
    /// A ring of nodes with these ids.
    pub fn new(names: &[Name], ids: &[u32], repair: bool) -> Self {
        let ids = ids.iter().map(|id| Uuid::from_u128((*id).into())).collect();
        ChangRoberts { names: names.to_vec(), ids, repair, mortal: true, broken: None }
    }

    /// A ring with ids in this order, for the model checker; `mortal`: anybody may die.
    pub fn of(ids: &[u32], repair: bool, mortal: bool, broken: Option<Rule>) -> Self {
        ChangRoberts { mortal, broken, ..ChangRoberts::new(&letters(ids.len()), ids, repair) }
    }

    fn ahead(&self, node: usize, places: usize) -> usize {
        (node + places) % self.ids.len()
    }

    fn name(&self, node: usize, neighbour: Neighbour) -> &Name {
        &self.names[match neighbour {
            Neighbour::Predecessor => self.ahead(node, self.ids.len() - 1),
            Neighbour::Ahead(places) => self.ahead(node, places),
        }]
    }
}

impl Mesh for ChangRoberts {
    type Node = machine::ChangRoberts;
    /// The leader that somebody ended with.
    type Seen = Option<Uuid>;

    const LOSSY: bool = false;

    fn size(&self) -> usize {
        self.ids.len()
    }

    fn begin(&self, node: usize, _: u32, _: Option<&std::convert::Infallible>) -> Self::Node {
        let machine = machine::ChangRoberts::new(self.ids[node], Timing::default()).breaking(self.broken);
        if self.repair { machine.repairing(self.ids.len() - 1) } else { machine }
    }

    fn first(&self) -> Input<Self::Node> {
        Input::Event(Event::Start)
    }

    fn waits_for(&self, node: usize) -> Option<usize> {
        Some(self.ahead(node, 1))
    }

    fn whom(&self, node: usize, peer: &Neighbour) -> Option<usize> {
        match peer {
            Neighbour::Predecessor => None,
            Neighbour::Ahead(places) => Some(self.ahead(node, *places)),
        }
    }

    fn called(&self, _: usize, _: usize) -> Neighbour {
        Neighbour::Predecessor
    }

    fn ended(&self, node: usize, other: usize) -> Option<Input<Self::Node>> {
        let dialled_us = self.repair || self.ahead(other, 1) == node;
        dialled_us.then_some(Input::Event(Event::Lost(Neighbour::Predecessor)))
    }

    fn broken(&self, node: usize, other: usize) -> Option<Input<Self::Node>> {
        let size = self.ids.len();
        let places = (other + size - node) % size;
        (self.repair || places == 1).then_some(Input::Event(Event::Lost(Neighbour::Ahead(places))))
    }

    fn line(&self, message: &machine::Message) -> String {
        let flag = u8::from(message.flag == Flag::Elected);
        let term = message.term.map_or_else(String::new, |term| format!(", term={term}"));
        let done = if message.done { ", done" } else { "" };
        format!("uuid={}, flag={flag}{term}{done}", message.uuid.as_u128())
    }

    fn told(&self, node: usize, report: &Report) -> Option<String> {
        Some(match report {
            // The trace has each message where it arrives.
            Report::Received { .. } | Report::Sent { .. } => return None,
            Report::Ignored(message) => format!("ignores {}", message.uuid.as_u128()),
            Report::Decided(leader) if *leader == self.ids[node] => "leads: its own is home".into(),
            Report::Decided(leader) => format!("knows that {} leads", leader.as_u128()),
            Report::Duplicate(why) => format!("somebody else has its uuid ({why:?})"),
            Report::SuccessorLost(lost) => format!("has lost its successor, {}", self.name(node, *lost)),
            Report::Skipped { next: Some(next), term } => format!("goes on to {}, term {term}", self.name(node, *next)),
            Report::Skipped { next: None, term } => format!("has nobody to go on to, term {term}"),
            Report::Broken(lost) => format!("ends: the ring is broken at {}", self.name(node, *lost)),
            Report::Ended(leader) => format!("ends: leader is {}", leader.as_u128()),
        })
    }

    fn ends_with(&self, report: &Report) -> bool {
        matches!(report, Report::Ended(_) | Report::Broken(_))
    }

    fn see(&self, seen: &mut Option<Uuid>, node: usize, effect: &Effect<Self::Node>) -> Result<(), String> {
        match effect {
            Effect::Report(Report::Ended(leader)) => {
                let before = *seen.get_or_insert(*leader);
                if before != *leader {
                    return Err("agreement: two ended with different leaders".into());
                }
                // Whoever died early may have had a greater one.
                if !self.repair && Some(leader) != self.ids.iter().max() {
                    return Err("extrema-finding: the leader is not the greatest".into());
                }
                Ok(())
            }
            Effect::Report(Report::Duplicate(why)) => {
                Err(format!("{}: all uuids differ, and yet one seems to be there twice ({why:?})", self.names[node]))
            }
            _ => Ok(()),
        }
    }

    /// Safety: at most one leads.
    fn judge(&self, _: &Option<Uuid>, nodes: &[Option<&Self::Node>]) -> Result<(), String> {
        let leads = |(node, id): &(&Option<&Self::Node>, &Uuid)| node.is_some_and(|node| node.leader() == Some(**id));
        match nodes.iter().zip(&self.ids).filter(leads).count() {
            0 | 1 => Ok(()),
            count => Err(format!("safety: {count} of them lead")),
        }
    }

    /// All have ended, and know the same leader.
    fn is_settled(&self, _: &Option<Uuid>, nodes: &[Option<&Self::Node>]) -> bool {
        let mut there = nodes.iter().flatten();
        let leader = there.clone().next().and_then(|node| node.leader());
        there.all(|node| node.has_ended() && node.leader() == leader && leader.is_some())
    }
}

impl Chance for ChangRoberts {
    const STORM: Duration = Duration::from_secs(1);
    const PATIENCE: Duration = Duration::from_secs(60);

    fn draw(rng: &mut StdRng) -> Self {
        let size = rng.random_range(2..=9);
        let mut ids: Vec<u32> = (1..=size as u32).collect();
        ids.shuffle(rng);
        let (repair, mortal) = (rng.random(), rng.random());
        ChangRoberts { repair, mortal, ..ChangRoberts::new(&letters(size), &ids, false) }
    }

    fn breaking(self, rule: &str) -> Self {
        ChangRoberts { broken: Rule::ALL.iter().copied().find(|one| one.name() == rule), ..self }
    }

    fn rules() -> Vec<(&'static str, &'static str)> {
        Rule::ALL.iter().map(|rule| (rule.name(), rule.statement())).collect()
    }

    fn faults(&self) -> &'static [Fault] {
        match (self.mortal, self.repair) {
            (false, false) => &[Fault::Pause],
            // Repair rests on neighbours that notice in time.
            (false, true) => &[],
            (true, _) => &[Fault::Crash],
        }
    }

    fn agrees(&self) -> bool {
        self.repair || !self.mortal
    }
}

impl Checked for ChangRoberts {
    /// Both are longer than anything takes, and the grace is the shorter one.
    fn fires(&self, state: &State<Self>, _: usize, timer: &Timer) -> Fires {
        let grace_runs = (0..self.ids.len()).any(|node| state.runs(node, &Timer::Grace));
        let waits = !state.is_quiet() || (*timer == Timer::Linger && grace_runs);
        if waits { Fires::Not } else { Fires::Freely }
    }

    fn ends_well(&self) -> bool {
        self.repair || !self.mortal
    }
}
