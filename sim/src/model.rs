//! Every story there is, within bounds: the model checker. `docs/model.md` says what is
//! checked and what is not; `cargo run --release -p sim --example model` runs it.
//!
//! - [`ring`]: our hub and our clients, as stateright wants them.
//! - [`choice`]: what can happen next, and whether all is well.
//! - [`state`]: what a state is made of, and how its machines are driven.
//! - [`keep`]: what many states have in common, kept once.
//! - [`graph`]: whether all ends well.
//! - [`story`]: a way through a model, told step by step.
//! - [`classic`]: the older system, which fails.

pub mod choice;
pub mod classic;
pub mod graph;
pub mod keep;
pub mod ring;
pub mod state;
pub mod story;

use std::thread;
use std::time::Duration;

use graph::Ends;
use ring::{Ring, Sizes};
use stateright::{Checker, HasDiscoveries, Model};
use story::Story;

/// How far a search has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Different states.
    pub states: usize,
    /// Steps between them.
    pub steps: usize,
    /// How many steps the farthest of them is away.
    pub depth: usize,
}

/// What a search found.
#[derive(Debug, Clone)]
pub struct Found {
    /// How far it went.
    pub progress: Progress,
    /// How many steps led beyond the bound on terms, and were not gone.
    pub cut: usize,
    /// Whether all of them were seen to agree somewhere.
    pub agreed: bool,
    /// Whether all ends well, where that was asked and nothing was wrong on the way.
    pub ends: Option<Ends>,
    /// A shortest story of what is wrong.
    pub story: Option<Story>,
}

/// Looks through all of it. `ends`: also whether all ends well, which costs memory.
pub fn look(sizes: &Sizes, ends: bool, mut progress: impl FnMut(Progress)) -> Found {
    let ring = Ring::new(sizes.clone());
    let mut found = search(if ends { ring.remembering() } else { ring }, &mut progress);
    if let Some(Ends { doomed, .. }) = found.ends.as_ref().filter(|ends| !ends.doomed.is_empty()) {
        found.story = search(Ring::new(sizes.clone()).without(doomed.clone()), &mut progress).story;
    }
    found
}

/// Waits until a search is over, and tells how far it is meanwhile; how far it went.
pub(crate) fn watch<M: Model>(checker: &impl Checker<M>, mut progress: impl FnMut(Progress)) -> Progress {
    let reached = || Progress {
        states: checker.unique_state_count(),
        steps: checker.state_count(),
        depth: checker.max_depth().saturating_sub(1),
    };
    while !checker.is_done() {
        thread::sleep(Duration::from_millis(20));
        progress(reached());
    }
    reached()
}

fn search(ring: Ring, progress: &mut impl FnMut(Progress)) -> Found {
    let checker = ring.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs();
    let reached = watch(&checker, progress);
    let mut discoveries = checker.discoveries();
    let story = discoveries.remove(ring::NOTHING_WRONG).map(Story::of);
    let edges = checker.model().take_edges().filter(|_| story.is_none());
    Found {
        progress: reached,
        cut: checker.model().cut(),
        agreed: discoveries.contains_key(ring::THEY_AGREE),
        ends: edges.map(graph::Edges::ends),
        story,
    }
}
