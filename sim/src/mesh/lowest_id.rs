//! The lowest id that is heard leads: all agree once the network is whole, and with a
//! quorum no two lead at one time.

use std::convert::Infallible;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use ringleader_shared::election::lowest_id::{self as machine, Event, Message, Options, PeerId, Report, Rule, Timer};
use ringleader_shared::machine::{Effect, Input};

use super::Mesh;
use super::model::{Checked, Fires, State};
use super::seeds::{Chance, Fault};

/// The list of peers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LowestId {
    ids: Vec<PeerId>,
    options: Options,
    broken: Option<Rule>,
}

impl LowestId {
    /// Peers with these ids.
    pub fn new(ids: &[u32], quorum: bool, start_without_all: bool) -> Self {
        let ids = ids.iter().map(|id| PeerId::new(*id)).collect();
        LowestId { ids, options: Options { quorum, start_without_all, ..Options::default() }, broken: None }
    }

    /// The same, with a rule broken on purpose.
    pub fn with_broken(self, broken: Option<Rule>) -> Self {
        LowestId { broken, ..self }
    }
}

impl Mesh for LowestId {
    type Node = machine::LowestId;
    type Seen = ();

    const LOSSY: bool = true;

    fn size(&self) -> usize {
        self.ids.len()
    }

    fn begin(&self, node: usize, _: u32, _: Option<&Infallible>) -> Self::Node {
        machine::LowestId::new(self.ids[node], self.ids.iter().copied(), self.options.clone()).breaking(self.broken)
    }

    fn first(&self) -> Input<Self::Node> {
        Input::Event(Event::Start)
    }

    fn whom(&self, _: usize, peer: &PeerId) -> Option<usize> {
        self.ids.iter().position(|id| id == peer)
    }

    fn called(&self, _: usize, other: usize) -> PeerId {
        self.ids[other]
    }

    fn exchange(&self) -> Duration {
        self.options.timing.exchange()
    }

    fn is_answer(&self, message: &Message) -> bool {
        matches!(message, Message::Vote(_))
    }

    fn line(&self, message: &Message) -> String {
        match message {
            Message::Beat { urgent: false } => "heartbeat".into(),
            Message::Beat { urgent: true } => "urgent".into(),
            Message::Vote(Some(candidate)) => format!("votes for {candidate}"),
            Message::Vote(None) => "votes for nobody".into(),
        }
    }

    /// The usual heartbeats are so many.
    fn is_news(&self, message: &Message) -> bool {
        !matches!(message, Message::Beat { urgent: false } | Message::Vote(None))
    }

    fn told(&self, _: usize, report: &Report) -> Option<String> {
        let list = |peers: &std::collections::BTreeSet<PeerId>| {
            peers.iter().map(PeerId::to_string).collect::<Vec<_>>().join(", ")
        };
        Some(match report {
            Report::Waiting(peers) => format!("waits for {}", list(peers)),
            Report::Started { without } if without.is_empty() => "has heard all: the first election".into(),
            Report::Started { without } => format!("the first election, without {}", list(without)),
            Report::Online(peer) => format!("{peer} is online"),
            Report::Offline(peer) => format!("{peer} is offline"),
            Report::LeaderSilent(leader) => format!("the leader, {leader}, is silent: tells the others"),
            Report::Urged { by } => format!("{by} misses the leader"),
            Report::CannotVote(peer) => format!("{peer} cannot vote"),
            Report::Leader(Some(leader)) => format!("leader is {leader}"),
            Report::Leader(None) => "no leader".into(),
        })
    }

    fn see(&self, (): &mut (), node: usize, effect: &Effect<Self::Node>) -> Result<(), String> {
        match effect {
            Effect::Report(Report::Started { without }) if !without.is_empty() && !self.options.start_without_all => {
                Err(format!("{} has not heard all, and elects", self.ids[node]))
            }
            _ => Ok(()),
        }
    }

    /// With a quorum: at most one leads.
    fn judge(&self, (): &(), nodes: &[Option<&Self::Node>]) -> Result<(), String> {
        let leaders: Vec<String> =
            nodes.iter().flatten().filter(|node| node.leads()).map(|node| node.me().to_string()).collect();
        if self.options.quorum && leaders.len() > 1 {
            return Err(format!("one leader with a quorum: {} lead at one time", leaders.join(" and ")));
        }
        Ok(())
    }

    /// All name the lowest that is there; with a quorum, if a majority is.
    fn is_settled(&self, (): &(), nodes: &[Option<&Self::Node>]) -> bool {
        let there = nodes.iter().flatten().count();
        let may_lead = !self.options.quorum || 2 * there > self.ids.len();
        let lowest = nodes.iter().flatten().map(|node| node.me()).min().filter(|_| may_lead);
        nodes.iter().flatten().all(|node| node.leader() == lowest)
    }
}

impl Chance for LowestId {
    const STORM: Duration = Duration::from_secs(60);
    const PATIENCE: Duration = Duration::from_secs(40);

    fn draw(rng: &mut StdRng) -> Self {
        let mut ids: Vec<u32> = (1..=rng.random_range(2..=6)).collect();
        ids.shuffle(rng);
        LowestId::new(&ids, rng.random_bool(0.7), rng.random())
    }

    fn breaking(self, rule: &str) -> Self {
        LowestId { broken: Rule::ALL.iter().copied().find(|one| one.name() == rule), ..self }
    }

    fn rules() -> Vec<(&'static str, &'static str)> {
        Rule::ALL.iter().map(|rule| (rule.name(), rule.statement())).collect()
    }

    fn faults(&self) -> &'static [Fault] {
        // Where one is gone for good, who comes back has to be told not to wait for it.
        match self.options.start_without_all {
            true => &[Fault::Crash, Fault::Pause, Fault::Cut, Fault::Partition, Fault::Loss],
            false => &[Fault::CrashAndRestart, Fault::Pause, Fault::Cut, Fault::Partition, Fault::Loss],
        }
    }

    fn agrees(&self) -> bool {
        true
    }
}

impl Checked for LowestId {
    /// Time is only this: a vote ends before its voter is free again.
    fn fires(&self, state: &State<Self>, node: usize, timer: &Timer) -> Fires {
        let counts = |other: usize| {
            state.runs(other, &Timer::Vote(self.ids[node]))
                || state.on_the_way(node, other).any(|message| matches!(message, Message::Vote(Some(_))))
        };
        match timer {
            Timer::Grant if (0..self.ids.len()).any(counts) => Fires::Not,
            Timer::Grant | Timer::Vote(_) | Timer::Silent(_) | Timer::Beat | Timer::StartWithoutAll => Fires::Counted,
        }
    }

    /// They never come to rest.
    fn ends_well(&self) -> bool {
        false
    }
}
