//! Everything that can happen to a few nodes, within bounds: under stateright.
//!
//! Messages take any time they like. Where none can be lost they come in order on each
//! way; where they can, in any order, and one that is never taken in is one that was
//! lost. What was sent twice and is on its way still is there once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;

use ringleader_shared::machine::{Effect, Input, Machine};
use stateright::{Checker, HasDiscoveries, Path, Property};

use super::{Mesh, Message, Peer, Saved, Timer};
use crate::model::keep::digest;
use crate::model::{Progress, watch};

/// An algorithm that can be gone through.
pub trait Checked: Mesh {
    /// Whether this timer may run out now.
    fn fires(&self, state: &State<Self>, node: usize, timer: &Timer<Self>) -> Fires;

    /// What may be asked of whom, once each, in words.
    fn wishes(&self) -> Vec<(usize, &'static str)> {
        vec![]
    }

    /// Whether such a message, where it changes nothing and nothing comes of it, never will
    /// either. Then it may as well be lost, and need not be looked at in every order.
    fn stays_moot(&self, _message: &Message<Self>) -> bool {
        false
    }

    /// Whether all have come to agree where nothing more can happen.
    fn ends_well(&self) -> bool;
}

/// When a timer runs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fires {
    /// At any time.
    Freely,
    /// At any time, [`Bounds::timeouts`] often in all.
    Counted,
    /// Not now: something comes before it.
    Not,
}

/// How far to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Bounds {
    /// How many programs may end, at any time and in the middle of anything.
    pub crashes: u8,
    /// How many of them may start again.
    pub restarts: u8,
    /// How many counted timers may run out.
    pub timeouts: u8,
}

/// An algorithm, its cast, and how far to go.
#[derive(Debug, Clone)]
pub struct Bounded<A> {
    /// The algorithm and its cast.
    pub algorithm: A,
    /// How far to go.
    pub bounds: Bounds,
    /// What happens before anything is left open, in one order: until nothing is on its way.
    pub prelude: bool,
}

/// Where everything is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State<A: Mesh> {
    nodes: Vec<Place<A>>,
    ways: BTreeMap<(usize, usize), Vec<Parcel<A>>>,
    seen: A::Seen,
    left: Bounds,
    /// Which wishes are left, a bit each.
    wishes: u32,
    wrong: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place<A: Mesh> {
    life: Life<A>,
    /// How often its program has started.
    run: u32,
    saved: Option<Saved<A>>,
    timers: BTreeSet<Timer<A>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Life<A: Mesh> {
    Down,
    Up(Arc<A::Node>),
    /// It has ended by itself.
    Ended(Arc<A::Node>),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Parcel<A: Mesh> {
    Message(Message<A>),
    /// The sender's connection has ended, after all that came before.
    End,
    /// The receiver's own connection to this sender broke.
    Broken,
}

/// What can happen next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action<T> {
    /// What is at this place on this way is taken in; where the number is there, the
    /// program ends after so many effects.
    Arrives(usize, usize, usize, Option<usize>),
    /// A timer runs out.
    Timeout(usize, T, Option<usize>),
    /// Somebody asks for something.
    Wish(usize),
    /// A program ends.
    Crash(usize),
    /// It starts again.
    Restart(usize),
}

/// What a search found.
#[derive(Debug)]
pub struct Found {
    /// How far it went.
    pub progress: Progress,
    /// Whether all of them were seen to agree somewhere.
    pub agreed: bool,
    /// A shortest story of what is wrong.
    pub story: Option<String>,
}

/// Looks through all of it.
pub fn look<A: Checked>(model: Bounded<A>, progress: impl FnMut(Progress)) -> Found {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let model = stateright::Model::checker(model).threads(threads);
    let checker = model.finish_when(HasDiscoveries::AnyFailures).spawn_bfs();
    let progress = watch(&checker, progress);
    let mut discoveries = checker.discoveries();
    let story = discoveries.remove(NOTHING_WRONG).map(|path| story(checker.model(), path));
    Found { progress, agreed: discoveries.contains_key(THEY_AGREE), story }
}

const NOTHING_WRONG: &str = "nothing is wrong";
const THEY_AGREE: &str = "they agree";

impl<A: Checked> stateright::Model for Bounded<A> {
    type State = State<A>;
    type Action = Action<Timer<A>>;

    fn init_states(&self) -> Vec<State<A>> {
        let size = self.algorithm.size();
        let wishes = (1 << self.algorithm.wishes().len()) - 1;
        let nodes =
            (0..size).map(|_| Place { life: Life::Down, run: 1, saved: None, timers: BTreeSet::new() }).collect();
        let seen = A::Seen::default();
        let mut state = State { nodes, ways: BTreeMap::new(), seen, left: self.bounds, wishes, wrong: None };
        for (node, place) in state.nodes.iter_mut().enumerate() {
            place.life = Life::Up(Arc::new(self.algorithm.begin(node, 1, None)));
        }
        for node in 0..size {
            self.feed(&mut state, node, self.algorithm.first(), None, &mut |_| {});
        }
        while let Some(&(from, to)) = state.ways.keys().next().filter(|_| self.prelude) {
            self.apply(&mut state, &Action::Arrives(from, to, 0, None), &mut |_| {});
        }
        vec![state]
    }

    fn actions(&self, state: &State<A>, actions: &mut Vec<Self::Action>) {
        if state.wrong.is_some() {
            return;
        }
        for (&(from, to), parcels) in &state.ways {
            let reach = if A::LOSSY { parcels.len() } else { 1 };
            for at in 0..reach {
                let action = |dies| Action::Arrives(from, to, at, dies);
                actions.push(action(None));
                self.deaths(state, to, || self.input(state, from, to, at), &mut |dies| {
                    actions.push(action(Some(dies)))
                });
            }
        }
        for (node, place) in state.nodes.iter().enumerate() {
            if matches!(place.life, Life::Up(_)) {
                for timer in &place.timers {
                    let fires = match self.algorithm.fires(state, node, timer) {
                        Fires::Freely => true,
                        Fires::Counted => state.left.timeouts > 0,
                        Fires::Not => false,
                    };
                    if fires {
                        let action = |dies| Action::Timeout(node, timer.clone(), dies);
                        actions.push(action(None));
                        let input = || Some(Input::Timeout(timer.clone()));
                        self.deaths(state, node, input, &mut |dies| actions.push(action(Some(dies))));
                    }
                }
                if state.left.crashes > 0 {
                    actions.push(Action::Crash(node));
                }
            } else if matches!(place.life, Life::Down) && state.left.restarts > 0 {
                actions.push(Action::Restart(node));
            }
        }
        for (at, (node, _)) in self.algorithm.wishes().iter().enumerate() {
            if state.wishes >> at & 1 == 1 && matches!(state.nodes[*node].life, Life::Up(_)) {
                actions.push(Action::Wish(at));
            }
        }
    }

    fn next_state(&self, state: &State<A>, action: Self::Action) -> Option<State<A>> {
        let mut next = state.clone();
        self.apply(&mut next, &action, &mut |_| {});
        if next.wrong.is_none() && self.algorithm.ends_well() && self.is_over(&next) && !self.is_settled(&next) {
            next.wrong = Some("nothing more happens, and they do not agree".into());
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NOTHING_WRONG, |_, state: &State<A>| state.wrong.is_none()),
            Property::sometimes(THEY_AGREE, |model: &Self, state| model.is_settled(state)),
        ]
    }
}

impl<A: Checked> Bounded<A> {
    fn is_settled(&self, state: &State<A>) -> bool {
        self.algorithm.is_settled(&state.seen, &state.machines())
    }

    /// Whether nothing but faults can happen.
    fn is_over(&self, state: &State<A>) -> bool {
        let mut actions = vec![];
        stateright::Model::actions(self, state, &mut actions);
        actions.iter().all(|action| matches!(action, Action::Crash(_) | Action::Restart(_)))
    }

    fn input(&self, state: &State<A>, from: usize, to: usize, at: usize) -> Option<Input<A::Node>> {
        match &state.ways[&(from, to)][at] {
            Parcel::Message(message) => {
                Some(Input::Message { from: self.algorithm.called(to, from), message: message.clone() })
            }
            Parcel::End => self.algorithm.ended(to, from),
            Parcel::Broken => self.algorithm.broken(to, from),
        }
    }

    /// After how many effects a program may die, where it matters: where it writes something down.
    fn deaths(
        &self,
        state: &State<A>,
        node: usize,
        input: impl FnOnce() -> Option<Input<A::Node>>,
        each: &mut dyn FnMut(usize),
    ) {
        if state.left.crashes == 0 {
            return;
        }
        if let (Life::Up(machine), Some(input)) = (&state.nodes[node].life, input()) {
            let effects = A::Node::clone(machine).handle(input);
            if effects.iter().any(|effect| matches!(effect, Effect::Save(_))) {
                (1..effects.len()).for_each(each);
            }
        }
    }

    fn begin(&self, state: &mut State<A>, node: usize, tell: &mut dyn FnMut(String)) {
        let place = &mut state.nodes[node];
        place.run += 1;
        let machine = self.algorithm.begin(node, place.run, place.saved.as_ref());
        state.nodes[node].life = Life::Up(Arc::new(machine));
        self.feed(state, node, self.algorithm.first(), None, tell);
    }

    fn apply(&self, state: &mut State<A>, action: &Action<Timer<A>>, tell: &mut dyn FnMut(String)) {
        match action {
            Action::Arrives(from, to, at, dies) => {
                let input = self.input(state, *from, *to, *at);
                if let Some(way) = state.ways.get_mut(&(*from, *to)) {
                    if let Parcel::Message(message) = &way[*at] {
                        tell(format!("{from} → {to}  {}", self.algorithm.line(message)));
                    }
                    way.remove(*at);
                    if way.is_empty() {
                        state.ways.remove(&(*from, *to));
                    }
                }
                if let Some(input) = input {
                    self.feed(state, *to, input, *dies, tell);
                }
            }
            Action::Timeout(node, timer, dies) => {
                if self.algorithm.fires(state, *node, timer) == Fires::Counted {
                    state.left.timeouts -= 1;
                }
                tell(format!("{node}: time is up: {timer:?}"));
                state.nodes[*node].timers.remove(timer);
                self.feed(state, *node, Input::Timeout(timer.clone()), *dies, tell);
            }
            Action::Wish(at) => {
                state.wishes &= !(1 << at);
                let (node, words) = self.algorithm.wishes()[*at];
                tell(format!("{node} is asked: {words}"));
                match self.algorithm.wish(node, words) {
                    Ok(input) => {
                        self.algorithm.see_wish(&mut state.seen, &input);
                        self.feed(state, node, input, None, tell);
                    }
                    Err(error) => state.wrong = Some(error),
                }
            }
            Action::Crash(node) => self.crash(state, *node, tell),
            Action::Restart(node) => {
                state.left.restarts -= 1;
                tell(format!("{node} starts again"));
                self.begin(state, *node, tell);
            }
        }
    }

    fn crash(&self, state: &mut State<A>, node: usize, tell: &mut dyn FnMut(String)) {
        state.left.crashes -= 1;
        tell(format!("{node} crashes"));
        state.nodes[node].life = Life::Down;
        self.hang_up(state, node);
    }

    fn feed(
        &self,
        state: &mut State<A>,
        node: usize,
        input: Input<A::Node>,
        dies: Option<usize>,
        tell: &mut dyn FnMut(String),
    ) {
        let Life::Up(machine) = &mut state.nodes[node].life else { return };
        let machine = Arc::make_mut(machine);
        let effects = machine.handle(input);
        machine.check();
        for (done, effect) in effects.into_iter().enumerate() {
            if dies == Some(done) {
                return self.crash(state, node, tell);
            }
            if let Err(wrong) = self.algorithm.see(&mut state.seen, node, &effect) {
                state.wrong = Some(wrong);
                return;
            }
            match effect {
                Effect::Send { to, message } => self.send(state, node, &to, message, tell),
                Effect::SetTimer { timer, .. } => _ = state.nodes[node].timers.insert(timer),
                Effect::CancelTimer(timer) => _ = state.nodes[node].timers.remove(&timer),
                Effect::Save(saved) => state.nodes[node].saved = Some(saved),
                Effect::Report(report) => {
                    if let Some(line) = self.algorithm.told(node, &report) {
                        tell(format!("{node}: {line}"));
                    }
                    if self.algorithm.ends_with(&report) {
                        if let Life::Up(machine) = &state.nodes[node].life {
                            state.nodes[node].life = Life::Ended(machine.clone());
                        }
                        self.hang_up(state, node);
                        break;
                    }
                }
            }
        }
        if let Err(wrong) = self.algorithm.judge(&state.seen, &state.machines()) {
            state.wrong = Some(wrong);
        }
        self.drop_moot(state, node);
    }

    /// What is on its way to this node, and will never make a difference.
    fn drop_moot(&self, state: &mut State<A>, node: usize) {
        let Life::Up(machine) = &state.nodes[node].life else { return };
        for (&(from, _), way) in state.ways.iter_mut().filter(|((_, to), _)| *to == node) {
            way.retain(|parcel| match parcel {
                Parcel::Message(message) if self.algorithm.stays_moot(message) => {
                    let from = self.algorithm.called(node, from);
                    let mut after = A::Node::clone(machine);
                    let effects = after.handle(Input::Message { from, message: message.clone() });
                    !effects.is_empty() || after != **machine
                }
                _ => true,
            });
        }
        state.ways.retain(|_, way| !way.is_empty());
    }

    fn send(&self, state: &mut State<A>, from: usize, to: &Peer<A>, message: Message<A>, tell: &mut dyn FnMut(String)) {
        match self.algorithm.whom(from, to) {
            None => tell(format!("{from} → client  {}", self.algorithm.line(&message))),
            Some(to) if matches!(state.nodes[to].life, Life::Up(_)) => {
                state.put(from, to, Parcel::Message(message));
                self.drop_moot(state, to);
            }
            Some(to) if self.algorithm.broken(from, to).is_some() => state.put(to, from, Parcel::Broken),
            Some(_) => {}
        }
    }

    /// What is on its way to a program that ends is lost, and others see its connections end.
    fn hang_up(&self, state: &mut State<A>, node: usize) {
        state.nodes[node].timers.clear();
        state.ways.retain(|(_, to), _| *to != node);
        for other in 0..state.nodes.len() {
            if other != node && matches!(state.nodes[other].life, Life::Up(_)) {
                if self.algorithm.ended(other, node).is_some() {
                    state.put(node, other, Parcel::End);
                }
                if self.algorithm.broken(other, node).is_some() {
                    state.put(node, other, Parcel::Broken);
                }
            }
        }
    }
}

impl<A: Mesh> State<A> {
    /// The machines of those that run, and of those that have ended by themselves.
    pub fn machines(&self) -> Vec<Option<&A::Node>> {
        self.nodes.iter().map(|place| place.life.machine()).collect()
    }

    /// Whether this timer of a node runs.
    pub fn runs(&self, node: usize, timer: &Timer<A>) -> bool {
        self.nodes[node].timers.contains(timer)
    }

    /// Whether nothing is on its way.
    pub fn is_quiet(&self) -> bool {
        self.ways.is_empty()
    }

    /// What is on its way from one to another.
    pub fn on_the_way(&self, from: usize, to: usize) -> impl Iterator<Item = &Message<A>> {
        self.ways.get(&(from, to)).into_iter().flatten().filter_map(|parcel| match parcel {
            Parcel::Message(message) => Some(message),
            Parcel::End | Parcel::Broken => None,
        })
    }

    fn put(&mut self, from: usize, to: usize, parcel: Parcel<A>) {
        let way = self.ways.entry((from, to)).or_default();
        if !A::LOSSY {
            way.push(parcel);
        } else if !way.contains(&parcel) {
            // In any order they come, so any order will do that is always the same.
            let place = way.partition_point(|other| digest(other) < digest(&parcel));
            way.insert(place, parcel);
        }
    }
}

/// A way through the model, told step by step.
fn story<A: Checked>(model: &Bounded<A>, path: Path<State<A>, Action<Timer<A>>>) -> String {
    let wrong = path.last_state().wrong.clone().unwrap_or_default();
    let mut text = String::new();
    for (number, (state, action)) in (1..).zip(path.into_vec()) {
        let Some(action) = action else { continue };
        let mut first = true;
        model.apply(&mut state.clone(), &action, &mut |line| {
            text += &if first { format!("{number:>3}  {line}\n") } else { format!("       {line}\n") };
            first = false;
        });
    }
    text + &format!("   → {wrong}")
}

impl<A: Mesh> Life<A> {
    fn machine(&self) -> Option<&A::Node> {
        match self {
            Life::Down => None,
            Life::Up(machine) | Life::Ended(machine) => Some(machine),
        }
    }
}
