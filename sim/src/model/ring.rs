//! The hub, its clients and what may befall them, as a model for stateright.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use ringleader_shared::election::eligible_array::{EligibleArray, Timing};
use ringleader_shared::id::{ClientId, Rank, Term};
use ringleader_shared::relay::{self, Departure, Relay, Saved};
use ringleader_shared::rule::Rule;
use stateright::{Model, Property};

use super::choice::{Action, When};
use super::graph::{Edges, Kind};
use super::keep::{Keep, Kept, Memory, digest};
use super::state::{
    Faults, HubInput, HubSide, Life, Link, NodeInput, NodeSide, Parcel, Seen, State, Wrong, blamed, enters,
    senders_are_right,
};
use super::story::letter;
use crate::classic::Classic;
use crate::member::Member;

/// What to look through.
#[derive(Debug, Clone)]
pub struct Sizes {
    /// How many nodes there are, at most [`Ring::MOST`].
    pub nodes: usize,
    /// Whether all of them are members from the start, in order.
    pub met: bool,
    /// Whether the last of them is a classic one.
    pub classic: bool,
    /// How often something may go wrong.
    pub faults: Faults,
    /// How many elections there may be; beyond that nothing is looked at.
    pub terms: u8,
    /// Whether a hub that starts again has what it had written down.
    pub store: bool,
    /// A rule that is not kept, on purpose.
    pub broken: Option<Rule>,
    /// Of what can be wrong with a step, look at this alone.
    pub only: Option<Wrong>,
}

impl Default for Sizes {
    fn default() -> Self {
        Sizes {
            nodes: 2,
            met: false,
            classic: false,
            faults: Faults::default(),
            terms: 12,
            store: true,
            broken: None,
            only: None,
        }
    }
}

/// The model.
#[derive(Debug)]
pub struct Ring {
    sizes: Sizes,
    fresh: Vec<Kept<NodeSide>>,
    hubs: Keep<HubSide>,
    nodes: Keep<NodeSide>,
    pipes: Keep<Vec<Parcel>>,
    frames: Keep<String>,
    ids: Keep<ClientId>,
    seen: Keep<Seen>,
    hub_steps: Memory<(Kept<HubSide>, HubInput), HubStep>,
    node_steps: Memory<(Kept<NodeSide>, NodeInput), NodeStep>,
    /// Who remembers the way from state to state, if anybody does.
    edges: Option<Mutex<Edges>>,
    /// States that agreement cannot be reached from: none may be met.
    doomed: Vec<u64>,
    /// Stateright would replace the first story by a later one.
    told: AtomicBool,
    cut: AtomicUsize,
}

#[derive(Debug)]
struct HubStep {
    side: Kept<HubSide>,
    sends: Vec<(ClientId, Kept<String>)>,
    news: Vec<relay::Report>,
    wrong: Option<Wrong>,
}

#[derive(Debug)]
struct NodeStep {
    side: Kept<NodeSide>,
    sends: Vec<Kept<String>>,
    enters: Option<Option<Term>>,
    wrong: Option<Wrong>,
}

/// What is checked at every state; see [`Wrong`].
pub const NOTHING_WRONG: &str = "nothing is wrong";
/// What has to be possible.
pub const THEY_AGREE: &str = "they agree";

/// Equal ones are among them, and the lowest are last.
const RANKS: [u32; 4] = [2, 2, 1, 1];

impl Ring {
    /// Nobody looks through a larger ring.
    pub const MOST: usize = RANKS.len();

    /// A ring of this size.
    pub fn new(sizes: Sizes) -> Self {
        let nodes = Keep::default();
        let timing = Timing::default();
        let fresh = RANKS.into_iter().enumerate().take(sizes.nodes).map(|(at, rank)| {
            let (name, rank) = (letter(at), Rank::from(rank));
            let member = if sizes.classic && at + 1 == sizes.nodes {
                Member::Classic(Classic::new(rank))
            } else {
                let machine = EligibleArray::new(rank, timing.clone()).breaking(sizes.broken);
                Member::Ours { name: name.clone(), rank, machine }
            };
            let timers = BTreeMap::new();
            nodes.keep(NodeSide { name, member, timers, id: None, connected_before: 0, life: Life::Up })
        });
        let fresh = fresh.collect();
        Ring {
            sizes,
            fresh,
            nodes,
            hubs: Keep::default(),
            pipes: Keep::default(),
            frames: Keep::default(),
            ids: Keep::default(),
            seen: Keep::default(),
            hub_steps: Memory::default(),
            node_steps: Memory::default(),
            edges: None,
            doomed: vec![],
            told: AtomicBool::new(false),
            cut: AtomicUsize::new(0),
        }
    }

    /// The same, remembering the way from state to state.
    pub fn remembering(self) -> Self {
        Ring { edges: Some(Mutex::default()), ..self }
    }

    /// The same, where none of these states may be met.
    pub fn without(self, doomed: Vec<u64>) -> Self {
        Ring { doomed, ..self }
    }

    /// What is to be looked through.
    pub fn sizes(&self) -> &Sizes {
        &self.sizes
    }

    /// The way from state to state, as far as it was looked through.
    pub fn take_edges(&self) -> Option<Edges> {
        Some(std::mem::take(&mut *self.edges.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// How many steps led beyond the bound on terms.
    pub fn cut(&self) -> usize {
        self.cut.load(Ordering::Relaxed)
    }

    fn fresh_relay(&self) -> Relay {
        Relay::new(config()).breaking(self.sizes.broken)
    }
}

/// A lease is a matter of time, of which there is none in here: see the simulator.
fn config() -> relay::Config {
    relay::Config { lease: None, ..relay::Config::default() }
}

impl Model for Ring {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let (relay, timers, saved) = (self.fresh_relay(), Default::default(), Saved::default());
        let nobody = State {
            hub: self.hubs.keep(HubSide { relay, timers, saved }),
            nodes: self.fresh.clone(),
            links: vec![],
            left: self.sizes.faults,
            seen: self.seen.keep(Seen::default()),
            wrong: None,
        };
        let met = |state, node| {
            let greets = [Action::Connect(node), Action::AtNode(node), Action::AtHub(node), Action::AtNode(node)];
            greets.into_iter().fold(state, |state, action| self.after(&state, action))
        };
        vec![if self.sizes.met { (0..self.sizes.nodes).fold(nobody, met) } else { nobody }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if self.edges.is_some() && state.agrees() {
            self.note(|edges| edges.agreed(digest(state)));
        }
        if state.wrong.is_none() {
            state.actions(actions);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let kind = action.kind();
        let next = self.after(state, action);
        if self.edges.is_some() && kind != Kind::Fault {
            let (from, to) = (digest(state), digest(&next));
            self.note(|edges| edges.push(from, to, kind));
            if next.seen.elections > self.sizes.terms {
                // Nobody looks any further from there, so nothing is held against it.
                self.note(|edges| edges.agreed(to));
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NOTHING_WRONG, |ring: &Ring, state: &State| {
                let doomed = !ring.doomed.is_empty() && ring.doomed.binary_search(&digest(state)).is_ok();
                (state.wrong.is_none() && !doomed) || ring.told.swap(true, Ordering::Relaxed)
            }),
            Property::sometimes(THEY_AGREE, |ring: &Ring, state: &State| {
                state.agrees() && state.live().count() == ring.sizes.nodes
            }),
        ]
    }

    fn within_boundary(&self, state: &State) -> bool {
        let within = state.seen.elections <= self.sizes.terms;
        if !within {
            self.cut.fetch_add(1, Ordering::Relaxed);
        }
        within
    }
}

/// What comes of it.
impl Ring {
    fn after(&self, state: &State, action: Action) -> State {
        let mut next = state.clone();
        match action {
            Action::AtHub(at) => {
                let link = &mut next.links[at];
                let parcel = self.take(&mut link.to_hub);
                let id = link.id.clone();
                match parcel {
                    Parcel::Frame(frame) => self.tell_hub(&mut next, HubInput::Frame(id, frame)),
                    Parcel::Closed => {
                        next.links.remove(at);
                        self.tell_hub(&mut next, HubInput::Left(id, Departure::Closed));
                    }
                }
            }
            Action::AtNode(at) => {
                let link = &mut next.links[at];
                let node = link.node;
                match self.take(&mut link.to_node) {
                    Parcel::Frame(frame) => self.tell_node(&mut next, node, NodeInput::Frame(frame)),
                    Parcel::Closed => {
                        next.links.remove(at);
                        self.tell_node(&mut next, node, NodeInput::Closed);
                    }
                }
            }
            Action::HubTimer(timer, when) => {
                next.left.early_timeouts -= u8::from(when == When::Early);
                self.tell_hub(&mut next, HubInput::Timeout(timer));
            }
            Action::NodeTimer(node, timer, when) => {
                next.left.early_timeouts -= u8::from(when == When::Early);
                self.tell_node(&mut next, node, NodeInput::Timeout(timer));
            }
            Action::Connect(node) => self.connect(&mut next, node),
            Action::Evict(at) => {
                let id = self.close_at_hub(&mut next.links[at]);
                self.tell_hub(&mut next, HubInput::Left(id, Departure::Lost));
            }
            Action::Crash(node) => {
                next.left.crashes -= 1;
                let connected_before = next.nodes[node].connected_before;
                let fresh = NodeSide { connected_before, life: Life::Down, ..(*self.fresh[node]).clone() };
                next.nodes[node] = self.nodes.keep(fresh);
                next.links.retain(|link| link.node != node || link.hub_open);
                for link in next.links.iter_mut().filter(|link| link.node == node && link.node_open) {
                    link.node_open = false;
                    link.to_node = self.pipes.keep(vec![]);
                    self.put(&mut link.to_hub, Parcel::Closed);
                }
            }
            Action::Restart(node) => self.live_as(&mut next, node, Life::Up),
            Action::Pause(node) => {
                next.left.pauses -= 1;
                self.live_as(&mut next, node, Life::Paused);
            }
            Action::Wake(node) => self.live_as(&mut next, node, Life::Up),
            Action::HubRestart => self.restart_hub(&mut next),
        }
        if self.sizes.only.is_some() && next.wrong != self.sizes.only {
            next.wrong = None;
        }
        if next.wrong.is_none() && next.is_stuck() && !next.agrees() {
            next.wrong = Some(Wrong::Stuck);
        }
        next
    }

    fn live_as(&self, state: &mut State, node: usize, life: Life) {
        state.nodes[node] = self.nodes.keep(NodeSide { life, ..(*state.nodes[node]).clone() });
    }

    /// As the simulator names connections: after the node, with a number where it was
    /// here before.
    fn connect(&self, state: &mut State, node: usize) {
        let mut side = (*state.nodes[node]).clone();
        side.connected_before += 1;
        let id = match side.connected_before {
            1 => ClientId::new(side.name.as_str()),
            count => ClientId::new(format!("{}{count}", side.name)),
        };
        let id = self.ids.keep(id.expect("a node's name is short enough for an id"));
        side.id = Some((*id).clone());
        let count = side.connected_before;
        state.nodes[node] = self.nodes.keep(side);
        let (to_hub, to_node) = (self.pipes.keep(vec![]), self.pipes.keep(vec![]));
        let link = Link { node, count, id: id.clone(), to_hub, to_node, hub_open: true, node_open: true };
        let at = state.links.partition_point(|other| (other.node, other.count) < (node, count));
        state.links.insert(at, link);
        self.tell_hub(state, HubInput::Connected(id));
    }

    /// The hub ends, with what it had not written down. What it had sent arrives.
    fn restart_hub(&self, state: &mut State) {
        state.left.hub_restarts -= 1;
        let saved = state.hub.saved;
        let (relay, effects) = if self.sizes.store {
            let (relay, effects) = Relay::restore(config(), saved);
            (relay.breaking(self.sizes.broken), effects)
        } else {
            (self.fresh_relay(), vec![])
        };
        let mut side = HubSide { relay, timers: Default::default(), saved };
        side.perform(effects);
        state.hub = self.hubs.keep(side);
        state.links.retain(|link| link.node_open);
        for link in state.links.iter_mut().filter(|link| link.hub_open) {
            self.close_at_hub(link);
        }
        let seen = Seen { open: None, ..(*state.seen).clone() };
        state.seen = self.seen.keep(seen);
    }

    fn close_at_hub(&self, link: &mut Link) -> Kept<ClientId> {
        link.hub_open = false;
        link.to_hub = self.pipes.keep(vec![]);
        self.put(&mut link.to_node, Parcel::Closed);
        link.id.clone()
    }

    fn tell_hub(&self, state: &mut State, input: HubInput) {
        let step = self.hub_steps.recall((state.hub.clone(), input), |(hub, input)| {
            let mut side = (**hub).clone();
            let (sends, mut reports) = side.step(input);
            let mut wrong = (!senders_are_right(hub, input, &side, &reports)).then_some(Wrong::AnotherSender);
            // A classic member announces without a term, perhaps in one that is over.
            let ours = |id: &ClientId| hub.relay.members().any(|member| member.forwards && member.client_id == *id);
            if reports.iter().filter_map(blamed).any(ours) {
                wrong = wrong.or(Some(Wrong::Blamed));
            }
            reports.retain(is_news);
            if let Some(relay::Report::Elected { leader, .. }) =
                reports.iter().find(|report| matches!(report, relay::Report::Elected { .. }))
                && !hub.relay.members().any(|member| member.client_id == *leader)
            {
                wrong = Some(Wrong::LeaderTookNoPart);
            }
            let wrong = wrong.or_else(|| side.check());
            let sends = sends.into_iter().map(|(to, frame)| (to, self.frames.keep(frame))).collect();
            HubStep { side: self.hubs.keep(side), sends, news: reports, wrong }
        });
        state.hub = step.side.clone();
        for (to, frame) in &step.sends {
            if let Some(link) = state.links.iter_mut().find(|link| *link.id == *to && link.hub_open && link.node_open) {
                self.put(&mut link.to_node, Parcel::Frame(frame.clone()));
            }
        }
        let news = self.see(state, &step.news);
        let wrong = news.or_else(|| step.wrong.clone());
        state.wrong = state.wrong.take().or(wrong);
    }

    /// What an onlooker finds wrong with what the hub tells.
    fn see(&self, state: &mut State, news: &[relay::Report]) -> Option<Wrong> {
        if news.is_empty() {
            return None;
        }
        let (mut seen, mut wrong) = ((*state.seen).clone(), None);
        for report in news {
            match report {
                relay::Report::Opened { term, initiator } => {
                    seen.elections += 1;
                    seen.open = Some((*term, [initiator.clone()].into()));
                }
                relay::Report::Closed { .. } => seen.open = None,
                relay::Report::Elected { leader, term } => {
                    let took_part = seen.open.take().is_some_and(|(open, who)| open == *term && who.contains(leader));
                    if !took_part {
                        wrong = Some(Wrong::LeaderTookNoPart);
                    }
                    if seen.announced.insert(*term, leader.clone()).is_some() {
                        wrong = Some(Wrong::TwoAnnounced);
                    }
                }
                _ => {}
            }
        }
        state.seen = self.seen.keep(seen);
        wrong
    }

    fn tell_node(&self, state: &mut State, node: usize, input: NodeInput) {
        let step = self.node_steps.recall((state.nodes[node].clone(), input), |(node, input)| {
            let mut side = (**node).clone();
            let (sends, _) = side.step(input);
            let (before, after) = (node.member.belief(), side.member.belief());
            let fell = (after.term < before.term).then_some(Wrong::TermFell);
            let wrong = fell.or_else(|| side.check());
            let enters = node.id.as_ref().and_then(|me| sends.iter().find_map(|frame| enters(frame, me)));
            let sends = sends.into_iter().map(|frame| self.frames.keep(frame)).collect();
            NodeStep { side: self.nodes.keep(side), sends, enters, wrong }
        });
        state.nodes[node] = step.side.clone();
        state.wrong = step.wrong.clone();
        if let Some(link) = state.links.iter_mut().find(|link| link.node == node && link.node_open && link.hub_open) {
            for frame in &step.sends {
                self.put(&mut link.to_hub, Parcel::Frame(frame.clone()));
            }
        }
        if let (Some(entered), Some(me), Some((open, _))) = (step.enters, &step.side.id, &state.seen.open)
            && entered.is_none_or(|entered| entered == *open)
        {
            let mut seen = (*state.seen).clone();
            if let Some((_, who)) = &mut seen.open
                && who.insert(me.clone())
            {
                state.seen = self.seen.keep(seen);
            }
        }
        let belief = step.side.member.belief();
        if belief.leader.is_some()
            && belief.term != Term::NONE
            && state.seen.announced.get(&belief.term) != belief.leader.as_ref()
        {
            state.wrong = state.wrong.take().or(Some(Wrong::AnotherLeader));
        }
    }

    fn take(&self, pipe: &mut Kept<Vec<Parcel>>) -> Parcel {
        let mut parcels = (**pipe).clone();
        let first = parcels.remove(0);
        *pipe = self.pipes.keep(parcels);
        first
    }

    fn put(&self, pipe: &mut Kept<Vec<Parcel>>, parcel: Parcel) {
        let mut parcels = (**pipe).clone();
        parcels.push(parcel);
        *pipe = self.pipes.keep(parcels);
    }

    fn note(&self, note: impl FnOnce(&mut Edges)) {
        if let Some(edges) = &self.edges {
            note(&mut edges.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

fn is_news(report: &relay::Report) -> bool {
    matches!(report, relay::Report::Opened { .. } | relay::Report::Closed { .. } | relay::Report::Elected { .. })
}
