//! The older system, hub and clients, as a model of its own: what ours is to do better.
//!
//! Its rules, from how it behaves on the wire. The hub puts a connection into the ring
//! the moment it connects, and hands `election` to the successor, `newLeader` to
//! everybody, `checkLeader` and `answerLeader` to whom they name. It counts no terms and
//! repairs nothing. A client greets at once; takes an election for its own, and home,
//! where its rank is in it, and announces the first of the best; believes the last
//! announcement; never passes one on; answers every check. Besides an unanswered check
//! nothing makes it start an election but a start out of the blue, of which there are
//! [`Sizes::starts`].

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use stateright::{Checker, HasDiscoveries, Model, Property};

use super::Progress;
use super::story::{Story, letter};

/// What to look through.
#[derive(Debug, Clone)]
pub struct Sizes {
    /// The ranks of the nodes.
    pub ranks: Vec<u8>,
    /// How many programs may end; each may start again.
    pub crashes: u8,
    /// How many elections are started out of the blue.
    pub starts: u8,
    /// What to look for.
    pub wrong: Wrong,
}

/// What must not be, and is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// Nothing more happens, and they do not agree.
    Stuck,
    /// Two lead at once, each in its own eyes.
    TwoLead,
}

impl Sizes {
    /// The smallest of each kind that fails.
    pub fn that_fail() -> [Sizes; 2] {
        [
            Sizes { ranks: vec![1, 2], crashes: 1, starts: 1, wrong: Wrong::Stuck },
            Sizes { ranks: vec![1, 1], crashes: 0, starts: 2, wrong: Wrong::TwoLead },
        ]
    }
}

/// One situation of the whole.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    nodes: Vec<Node>,
    /// In ring order. One whose hub end is closed stands here no more.
    links: Vec<Link>,
    crashes: u8,
    starts: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Node {
    up: bool,
    connected_before: u8,
    /// Who it is, as soon as it was told.
    me: Option<Id>,
    leader: Option<Id>,
    /// Whether a check is out.
    asks: bool,
}

/// Which node, and which of its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Id(u8, u8);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Link {
    id: Id,
    node_open: bool,
    to_hub: VecDeque<Frame>,
    to_node: VecDeque<Frame>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Frame {
    Welcome,
    Greeting,
    Response,
    Election(Vec<(u8, Id)>),
    NewLeader(Id),
    CheckLeader { leader: Id, asker: Id },
    AnswerLeader { asker: Id },
    Closed,
}

/// What can happen next. Numbers are indices of the state's nodes and links.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    /// A node connects.
    Connect(usize),
    /// The hub takes in what is next.
    AtHub(usize),
    /// The node does.
    AtNode(usize),
    /// A node starts an election out of the blue.
    Start(usize),
    /// A node checks its leader.
    Check(usize),
    /// A check stays unanswered.
    Unanswered(usize),
    /// A node's program ends.
    Crash(usize),
    /// It starts again.
    Restart(usize),
}

/// The model.
#[derive(Debug)]
struct Classic {
    sizes: Sizes,
    told: AtomicBool,
}

/// Looks for a shortest story; there is one, if it finds any.
pub fn look(sizes: &Sizes) -> (Progress, Option<Story>) {
    let classic = Classic { sizes: sizes.clone(), told: AtomicBool::new(false) };
    let checker = classic.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let progress = Progress {
        states: checker.unique_state_count(),
        steps: checker.state_count(),
        depth: checker.max_depth().saturating_sub(1),
    };
    let story = checker.discoveries().remove(RIGHT).map(|path| Story {
        wrong: sizes.wrong.to_string(),
        steps: path.into_vec().into_iter().filter_map(|(state, action)| Some(state.tell(&action?))).collect(),
    });
    (progress, story)
}

const RIGHT: &str = "nothing is wrong";

impl Model for Classic {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let node = Node { up: true, connected_before: 0, me: None, leader: None, asks: false };
        let Sizes { crashes, starts, ref ranks, .. } = self.sizes;
        vec![State { nodes: vec![node; ranks.len()], links: vec![], crashes, starts }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        state.actions(actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        next.step(&action, &self.sizes.ranks);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always(RIGHT, |classic: &Classic, state: &State| {
            let wrong = match classic.sizes.wrong {
                Wrong::Stuck => state.is_stuck(),
                Wrong::TwoLead => state.nodes.iter().filter(|node| node.leads()).count() > 1,
            };
            // Stateright would replace the first story by a later one.
            !wrong || classic.told.swap(true, Ordering::Relaxed)
        })]
    }
}

impl Node {
    fn leads(&self) -> bool {
        self.up && self.me.is_some() && self.leader == self.me
    }
}

impl State {
    fn actions(&self, actions: &mut Vec<Action>) {
        for (at, link) in self.links.iter().enumerate() {
            if !link.to_hub.is_empty() {
                actions.push(Action::AtHub(at));
            }
            if !link.to_node.is_empty() {
                actions.push(Action::AtNode(at));
            }
        }
        for (at, node) in self.nodes.iter().enumerate() {
            if !node.up {
                actions.push(Action::Restart(at));
                continue;
            }
            if self.link(at).is_none() {
                actions.push(Action::Connect(at));
            }
            if node.me.is_some() && self.starts > 0 {
                actions.push(Action::Start(at));
            }
            // Timers are long: they run out when nothing is on its way any more.
            if self.is_quiet() && node.asks {
                actions.push(Action::Unanswered(at));
            } else if self.is_quiet() && node.leader.is_some() && !node.leads() {
                actions.push(Action::Check(at));
            }
            if self.crashes > 0 {
                actions.push(Action::Crash(at));
            }
        }
    }

    fn is_quiet(&self) -> bool {
        self.links.iter().all(|link| link.to_hub.is_empty() && link.to_node.is_empty())
    }

    fn is_stuck(&self) -> bool {
        let mut live = self.nodes.iter().enumerate().filter(|(_, node)| node.up).peekable();
        let Some(leader) = live.peek().map(|(_, node)| node.leader) else { return false };
        let agree = leader.is_some()
            && live.clone().all(|(_, node)| node.leader == leader)
            && live.clone().any(|(_, node)| node.leads());
        let goes_on = |(at, node): (usize, &Node)| self.link(at).is_none() || (node.leader.is_some() && !node.leads());
        self.is_quiet() && self.starts == 0 && !agree && !live.any(goes_on)
    }

    /// The connection of a node's program that runs.
    fn link(&self, node: usize) -> Option<usize> {
        self.links.iter().position(|link| usize::from(link.id.0) == node && link.node_open)
    }

    fn step(&mut self, action: &Action, ranks: &[u8]) {
        match *action {
            Action::Connect(at) => {
                let node = &mut self.nodes[at];
                node.connected_before += 1;
                let id = Id(at as u8, node.connected_before);
                let (to_hub, to_node) = ([Frame::Greeting].into(), [Frame::Welcome].into());
                self.links.push(Link { id, node_open: true, to_hub, to_node });
            }
            Action::AtHub(at) => {
                if let Some(frame) = self.links[at].to_hub.pop_front() {
                    self.relay(at, frame);
                }
            }
            Action::AtNode(at) => {
                let node = usize::from(self.links[at].id.0);
                if let Some(frame) = self.links[at].to_node.pop_front() {
                    self.receive(node, at, frame, ranks[node]);
                }
            }
            Action::Start(at) => {
                self.starts -= 1;
                self.elect(at, ranks[at]);
            }
            Action::Check(at) => {
                let node = &mut self.nodes[at];
                node.asks = true;
                if let (Some(asker), Some(leader)) = (node.me, node.leader) {
                    self.send(at, Frame::CheckLeader { leader, asker });
                }
            }
            Action::Unanswered(at) => {
                self.nodes[at].asks = false;
                self.elect(at, ranks[at]);
            }
            Action::Crash(at) => {
                self.crashes -= 1;
                if let Some(link) = self.link(at).map(|link| &mut self.links[link]) {
                    link.node_open = false;
                    link.to_node.clear();
                    link.to_hub.push_back(Frame::Closed);
                }
                let connected_before = self.nodes[at].connected_before;
                self.nodes[at] = Node { up: false, connected_before, me: None, leader: None, asks: false };
            }
            Action::Restart(at) => self.nodes[at].up = true,
        }
    }

    /// The hub.
    fn relay(&mut self, from: usize, frame: Frame) {
        let find = |id: Id| self.links.iter().position(|link| link.id == id);
        let to: Vec<usize> = match &frame {
            Frame::Closed => return drop(self.links.remove(from)),
            Frame::Greeting => return self.hand(from, Frame::Response),
            Frame::Election(_) => vec![(from + 1) % self.links.len()],
            Frame::NewLeader(_) => (0..self.links.len()).collect(),
            Frame::CheckLeader { leader, .. } => find(*leader).into_iter().collect(),
            Frame::AnswerLeader { asker } => find(*asker).into_iter().collect(),
            Frame::Welcome | Frame::Response => vec![],
        };
        for to in to {
            self.hand(to, frame.clone());
        }
    }

    fn hand(&mut self, to: usize, frame: Frame) {
        let link = &mut self.links[to];
        if link.node_open {
            link.to_node.push_back(frame);
        }
    }

    /// A client.
    fn receive(&mut self, at: usize, link: usize, frame: Frame, rank: u8) {
        let id = self.links[link].id;
        let node = &mut self.nodes[at];
        match frame {
            Frame::Welcome | Frame::Response => node.me = Some(id),
            Frame::Election(mut ranks) => {
                if ranks.iter().all(|(other, _)| *other != rank) {
                    ranks.push((rank, id));
                    return self.send(at, Frame::Election(ranks));
                }
                let first_best = ranks.into_iter().reduce(|best, other| if other.0 > best.0 { other } else { best });
                if let Some((_, leader)) = first_best {
                    self.send(at, Frame::NewLeader(leader));
                }
            }
            Frame::NewLeader(leader) => (node.leader, node.asks) = (Some(leader), false),
            Frame::CheckLeader { asker, .. } => self.send(at, Frame::AnswerLeader { asker }),
            Frame::AnswerLeader { .. } => node.asks = false,
            Frame::Greeting | Frame::Closed => {}
        }
    }

    fn elect(&mut self, at: usize, rank: u8) {
        if let Some(me) = self.nodes[at].me {
            self.send(at, Frame::Election(vec![(rank, me)]));
        }
    }

    fn send(&mut self, node: usize, frame: Frame) {
        if let Some(link) = self.link(node) {
            self.links[link].to_hub.push_back(frame);
        }
    }

    fn tell(&self, action: &Action) -> String {
        match *action {
            Action::Connect(at) => format!("{} connects, and is in the ring", letter(at)),
            Action::AtHub(at) => format!("{} → hub  {}", self.links[at].id, self.links[at].to_hub[0]),
            Action::AtNode(at) => format!("hub → {}  {}", self.links[at].id, self.links[at].to_node[0]),
            Action::Start(at) => format!("{} starts an election", letter(at)),
            Action::Check(at) => format!("{} checks its leader", letter(at)),
            Action::Unanswered(at) => format!("{} has had no answer: it starts an election", letter(at)),
            Action::Crash(at) => format!("{} crashes", letter(at)),
            Action::Restart(at) => format!("{} starts again", letter(at)),
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = letter(self.0.into());
        if self.1 == 1 { write!(f, "{name}") } else { write!(f, "{name}{}", self.1) }
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Frame::Welcome => f.write_str("welcome"),
            Frame::Greeting => f.write_str("greeting"),
            Frame::Response => f.write_str("response"),
            Frame::Election(ranks) => {
                let ranks: Vec<String> = ranks.iter().map(|(rank, id)| format!("{id}={rank}")).collect();
                write!(f, "election [{}]", ranks.join(" "))
            }
            Frame::NewLeader(leader) => write!(f, "newLeader {leader}"),
            Frame::CheckLeader { leader, asker } => write!(f, "checkLeader {leader}, of {asker}"),
            Frame::AnswerLeader { asker } => write!(f, "answerLeader to {asker}"),
            Frame::Closed => f.write_str("closed"),
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Wrong::Stuck => "nothing more happens, and they do not agree",
            Wrong::TwoLead => "two lead at once, each in its own eyes",
        })
    }
}
