//! Whether all ends well: from every state, if no more goes wrong.
//!
//! A checker of single stories misses those that go round for ever. So the steps are
//! remembered, and looked at afterwards, as a whole and backwards: which states can still
//! come to agree, and whether frames can move without an end.

use std::collections::BTreeSet;

/// What a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A frame moves, or is handed on.
    Moves,
    /// Something else happens that has to happen.
    Goes,
    /// It need not happen.
    Fault,
}

/// All steps but faults, by the hashes of their states.
#[derive(Debug, Default)]
pub struct Edges {
    moves: Vec<(u64, u64)>,
    goes: Vec<(u64, u64)>,
    agreed: Vec<u64>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ends {
    /// How many states they agree in.
    pub agreed: usize,
    /// The states that agreement cannot be reached from, in order.
    pub doomed: Vec<u64>,
    /// How many states lie on a way round on which frames move without end, or behind one.
    pub endless: usize,
}

impl Edges {
    /// There is a step from this state to that.
    pub fn push(&mut self, from: u64, to: u64, kind: Kind) {
        match kind {
            Kind::Moves => self.moves.push((from, to)),
            Kind::Goes => self.goes.push((from, to)),
            Kind::Fault => {}
        }
    }

    /// In this state they agree.
    pub fn agreed(&mut self, state: u64) {
        self.agreed.push(state);
    }

    /// Looks at it as a whole.
    pub fn ends(self) -> Ends {
        let Edges { moves, goes, agreed } = self;
        let mut names: Vec<u64> = moves.iter().chain(&goes).flat_map(|&(from, to)| [from, to]).collect();
        names.extend(&agreed);
        names.sort_unstable();
        names.dedup();
        let index = |name: u64| names.binary_search(&name).expect("all names are listed") as u32;
        let numbered = |edges: Vec<(u64, u64)>| -> Vec<(u32, u32)> {
            edges.into_iter().map(|(from, to)| (index(from), index(to))).collect()
        };
        let agreed: BTreeSet<u32> = agreed.into_iter().map(index).collect();
        let mut steps = numbered(moves);
        let endless = endless(&steps, names.len());
        steps.extend(numbered(goes));
        let well = backwards(steps, &agreed, names.len());
        let doomed = well.iter().zip(&names).filter(|(well, _)| !**well).map(|(_, name)| *name).collect();
        Ends { agreed: agreed.len(), doomed, endless }
    }
}

/// The states from which one of these can be reached.
fn backwards(mut steps: Vec<(u32, u32)>, ends: &BTreeSet<u32>, states: usize) -> Vec<bool> {
    steps.sort_unstable_by_key(|&(_, to)| to);
    let mut well = vec![false; states];
    let mut open: Vec<u32> = ends.iter().copied().collect();
    for &state in ends {
        well[state as usize] = true;
    }
    while let Some(state) = open.pop() {
        let first = steps.partition_point(|&(_, to)| to < state);
        for &(from, _) in steps[first..].iter().take_while(|&&(_, to)| to == state) {
            if !std::mem::replace(&mut well[from as usize], true) {
                open.push(from);
            }
        }
    }
    well
}

/// How many states are left when all are taken away that no step leads to, again and
/// again: none, unless there is a way round.
fn endless(steps: &[(u32, u32)], states: usize) -> usize {
    let mut steps = steps.to_vec();
    steps.sort_unstable();
    steps.dedup();
    let mut before = vec![0u32; states];
    for &(_, to) in &steps {
        before[to as usize] += 1;
    }
    let mut open: Vec<u32> = (0..states as u32).filter(|&state| before[state as usize] == 0).collect();
    let mut left = states;
    while let Some(state) = open.pop() {
        left -= 1;
        let first = steps.partition_point(|&(from, _)| from < state);
        for &(_, to) in steps[first..].iter().take_while(|&&(from, _)| from == state) {
            before[to as usize] -= 1;
            if before[to as usize] == 0 {
                open.push(to);
            }
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_round_is_seen_and_so_is_a_dead_end() {
        let mut edges = Edges::default();
        for (from, to, kind) in [(1, 2, Kind::Moves), (2, 3, Kind::Goes), (3, 2, Kind::Goes), (3, 9, Kind::Goes)] {
            edges.push(from, to, kind);
        }
        // Two go round for ever; from the first of them it can still end well.
        for (from, to) in [(4, 5), (5, 4), (4, 9), (6, 7), (7, 6)] {
            edges.push(from, to, Kind::Moves);
        }
        edges.push(7, 8, Kind::Goes);
        edges.push(8, 9, Kind::Fault);
        edges.agreed(9);
        assert_eq!(edges.ends(), Ends { agreed: 1, doomed: vec![6, 7, 8], endless: 5 });
    }
}
