//! Basic Paxos: at most one value is chosen, somebody wanted it, and whoever waits hears.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use ringleader_shared::id::Name;
use ringleader_shared::machine::{Effect, Input};
use ringleader_shared::paxos::{
    Ballot, ClientId, Event, Incarnation, Message, Node, NodeId, Peer, Refusal, Report, Role, Roles, Rule, Saved,
    Timer, Timing, Value, Vote, Waiting,
};

use super::model::{Checked, Fires, State};
use super::seeds::{Chance, Fault};
use super::{Mesh, letters};

/// The nodes: proposers first, then acceptors, then learners.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Paxos {
    names: Vec<Name>,
    roles: Roles,
    /// Which nodes write nothing down.
    forgetful: BTreeSet<usize>,
    broken: Option<Rule>,
}

/// What an onlooker keeps in mind: what clients want, who voted for what, and what was
/// chosen by it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Seen {
    wanted: BTreeSet<Value>,
    votes: BTreeMap<Ballot, (Value, BTreeSet<usize>)>,
    chosen: Option<Value>,
}

impl Paxos {
    /// Nodes with these names; `None` where there is not one of each role.
    pub fn new(names: &[Name], roles: [usize; 3], forgetful: bool) -> Option<Self> {
        let [proposers, acceptors, learners] = roles.map(|count| u16::try_from(count).unwrap_or(u16::MAX));
        let roles = Roles::new(proposers, acceptors, learners)?;
        let forgetful = (0..names.len()).filter(|_| forgetful).collect();
        Some(Paxos { names: names.to_vec(), roles, forgetful, broken: None })
    }

    /// For the model checker: so many of each, these of them forgetful.
    pub fn of(roles: [usize; 3], forgetful: &[usize], broken: Option<Rule>) -> Option<Self> {
        let paxos = Paxos::new(&letters(roles.iter().sum()), roles, false)?;
        Some(Paxos { forgetful: forgetful.iter().copied().collect(), broken, ..paxos })
    }

    fn value(words: &str) -> Result<Value, String> {
        words.parse().map_err(|_| "a value to be chosen, such as 210".to_owned())
    }

    /// One acceptor's vote.
    fn vote(&self, seen: &mut Seen, node: usize, Vote { ballot, value }: &Vote) -> Result<(), String> {
        if !seen.wanted.contains(value) {
            return Err(format!("validity: nobody wants {value}"));
        }
        let (voted, voters) = seen.votes.entry(*ballot).or_insert_with(|| (value.clone(), BTreeSet::new()));
        if voted != value {
            return Err(format!("one value a ballot: {ballot} has both {voted} and {value}"));
        }
        voters.insert(node);
        let before = &mut seen.chosen;
        if voters.len() >= self.roles.majority() && before.get_or_insert_with(|| value.clone()) != value {
            return Err(format!("agreement: {value} was chosen, too"));
        }
        Ok(())
    }

    /// Somebody says that this was chosen.
    fn said(&self, seen: &Seen, value: &Value) -> Result<(), String> {
        if seen.chosen.as_ref() == Some(value) { Ok(()) } else { Err(format!("{value} was not chosen by a majority")) }
    }
}

impl Mesh for Paxos {
    type Node = Node;
    type Seen = Seen;

    const LOSSY: bool = true;

    fn size(&self) -> usize {
        self.roles.count().into()
    }

    fn begin(&self, node: usize, run: u32, saved: Option<&Saved>) -> Node {
        let incarnation = Incarnation::new(u64::from(run) * 100 + node as u64).expect("a small number");
        let saved = saved.filter(|_| !self.forgetful.contains(&node)).cloned().unwrap_or(Saved::new(incarnation));
        Node::new(NodeId(node as u16), self.roles, saved, Timing::default()).breaking(self.broken)
    }

    fn first(&self) -> Input<Node> {
        Input::Event(Event::Start)
    }

    fn whom(&self, _: usize, peer: &Peer) -> Option<usize> {
        match peer {
            Peer::Node(node) => Some(node.0.into()),
            Peer::Client(_) => None,
        }
    }

    fn called(&self, _: usize, other: usize) -> Peer {
        Peer::Node(NodeId(other as u16))
    }

    fn line(&self, message: &Message) -> String {
        let name = |node: &NodeId| self.names[usize::from(node.0)].to_string();
        let ballot = |ballot: &Ballot| format!("{}.{}", ballot.round, name(&ballot.node));
        let vote = |vote: &Vote| format!("{} in {}", vote.value, ballot(&vote.ballot));
        match message {
            Message::Candidate { id, .. } => format!("candidate {}", name(id)),
            Message::Start(_) => "start".into(),
            Message::Prepare { ballot: asked, .. } => format!("prepare {}", ballot(asked)),
            Message::Promise { ballot: asked, accepted: None, .. } => format!("promise {}", ballot(asked)),
            Message::Promise { ballot: asked, accepted: Some(accepted), .. } => {
                format!("promise {}; has accepted {}", ballot(asked), vote(accepted))
            }
            Message::Nack { ballot: asked, promised, .. } => {
                format!("nack {}: has promised {}", ballot(asked), ballot(promised))
            }
            Message::Accept { vote: asked, .. } => format!("accept {}", vote(asked)),
            Message::Accepted { vote: accepted, .. } => format!("accepted {}", vote(accepted)),
            Message::Chosen { value, .. } => format!("chosen {value}"),
            Message::Query { .. } => "query".into(),
            Message::Propose { value } => format!("propose {value}"),
            Message::Outcome { value } => format!("outcome {value}"),
            Message::Waiting { waiting: Waiting::Start } => "wait: not all nodes have been there".into(),
            Message::Waiting { waiting: Waiting::Acceptors(silent) } => {
                format!("wait for {}", silent.iter().map(name).collect::<Vec<_>>().join(", "))
            }
            Message::Refused { why: Refusal::Forgotten } => "refused: has forgotten".into(),
            Message::Refused { why: Refusal::NoProposer } => "refused: no proposer".into(),
            Message::Refused { why: Refusal::Busy } => "refused: busy".into(),
        }
    }

    fn told(&self, _: usize, report: &Report) -> Option<String> {
        Some(match report {
            Report::Leads => "its candidate is home: gives out the roles".into(),
            Report::Started { role, takes_part: true } => format!("starts as {role}"),
            Report::Started { role, takes_part: false } => format!("has forgotten what it did as {role}: only learns"),
            Report::OtherRoles(from) => format!("{} gives out other roles", self.names[usize::from(from.0)]),
            Report::Chosen(value) => format!("knows that {value} is chosen"),
        })
    }

    fn wish(&self, node: usize, words: &str) -> Result<Input<Node>, String> {
        let from = Peer::Client(ClientId(crate::model::keep::digest(&(node, words))));
        Ok(Input::Message { from, message: Message::Propose { value: Paxos::value(words)? } })
    }

    fn any_wish(&self, rng: &mut StdRng) -> Option<(usize, Input<Node>)> {
        let proposers = self.roles.with(Role::Proposer).count();
        let (client, value) = (ClientId(rng.random()), Value::new(rng.random_range(1..=9).to_string()).ok()?);
        let wish = Input::Message { from: Peer::Client(client), message: Message::Propose { value } };
        Some((rng.random_range(0..proposers), wish))
    }

    fn see_wish(&self, seen: &mut Seen, wish: &Input<Node>) {
        if let Input::Message { message: Message::Propose { value }, .. } = wish {
            seen.wanted.insert(value.clone());
        }
    }

    fn see(&self, seen: &mut Seen, node: usize, effect: &Effect<Node>) -> Result<(), String> {
        match effect {
            Effect::Send { message: Message::Accepted { vote, .. }, .. } => self.vote(seen, node, vote),
            Effect::Send { message: Message::Refused { why: Refusal::Forgotten }, .. }
                if !self.forgetful.contains(&node) =>
            {
                Err(format!("{} wrote all down, and says that it has forgotten", self.names[node]))
            }
            Effect::Send { message: Message::Outcome { value } | Message::Chosen { value, .. }, .. }
            | Effect::Report(Report::Chosen(value)) => self.said(seen, value),
            _ => Ok(()),
        }
    }

    /// All have started, no client waits, and who is to learn has learned.
    fn is_settled(&self, seen: &Seen, nodes: &[Option<&Node>]) -> bool {
        // Without a proposer what was begun may stay so.
        let proposes = |node: &&Node| node.role() == Some(Role::Proposer) && node.takes_part();
        let ends = nodes.iter().flatten().copied().any(|node| proposes(&node));
        nodes.iter().flatten().all(|node| {
            let learns = ends && node.role() == Some(Role::Learner);
            node.role().is_some() && node.waiting() == 0 && (!learns || node.chosen() == seen.chosen.as_ref())
        })
    }
}

impl Chance for Paxos {
    const STORM: Duration = Duration::from_secs(6);
    const PATIENCE: Duration = Duration::from_secs(120);

    fn draw(rng: &mut StdRng) -> Self {
        let roles = [rng.random_range(1..=3), rng.random_range(1..=5), rng.random_range(1..=2)];
        let [proposers, acceptors, _] = roles;
        let size = roles.iter().sum();
        let mut paxos = Paxos::new(&letters(size), roles, false).expect("one of each role");
        if rng.random() {
            // All but a majority of the acceptors may forget.
            let forgets = |node: &usize| !(proposers..proposers + acceptors / 2 + 1).contains(node);
            paxos.forgetful = (0..size).filter(forgets).filter(|_| rng.random()).collect();
        }
        paxos
    }

    fn breaking(self, rule: &str) -> Self {
        Paxos { broken: Rule::ALL.iter().copied().find(|one| one.name() == rule), ..self }
    }

    fn rules() -> Vec<(&'static str, &'static str)> {
        Rule::ALL.iter().map(|rule| (rule.name(), rule.statement())).collect()
    }

    fn faults(&self) -> &'static [Fault] {
        use Fault::{CrashAndRestart, Cut, Loss, Partition, Pause, Wish};
        &[Wish, Wish, CrashAndRestart, CrashAndRestart, Pause, Cut, Partition, Loss]
    }

    /// A leader that forgets can end in the middle of START, and come back: then too few may
    /// be left who take part (the module's documentation has the story).
    fn agrees(&self) -> bool {
        !self.forgetful.contains(&(self.size() - 1))
    }
}

impl Checked for Paxos {
    /// At any time, but not for ever.
    fn fires(&self, _: &State<Self>, _: usize, _: &Timer) -> Fires {
        Fires::Counted
    }

    /// Ballots only rise. But who cannot answer a question now may have an answer later.
    fn stays_moot(&self, message: &Message) -> bool {
        message.run().is_some() && !matches!(message, Message::Query { .. })
    }

    fn wishes(&self) -> Vec<(usize, &'static str)> {
        let values = ["210", "55", "7"];
        self.roles.with(Role::Proposer).map(|node| usize::from(node.0)).zip(values).collect()
    }

    /// A ballot may be lost, and nobody has to try again within the bounds.
    fn ends_well(&self) -> bool {
        false
    }
}
