//! Whole rings, in every order of UUIDs: who comes to lead, and how many messages it
//! takes. Nothing is lost, so the order of arrivals changes no count: a link is a queue,
//! and a node does the same with what comes whenever it comes.

use std::collections::{BTreeSet, VecDeque};

use super::*;

/// A ring in which node i dials node i + 1.
struct Ring {
    nodes: Vec<ChangRoberts>,
    /// What is on its way to each node.
    links: Vec<VecDeque<Message>>,
    sent: usize,
    duplicates: usize,
    ended: Vec<Option<Uuid>>,
}

impl Ring {
    fn new(ids: &[u128], make: impl Fn(Uuid) -> ChangRoberts) -> Ring {
        let count = ids.len();
        let nodes = ids.iter().map(|n| make(id(*n))).collect();
        Ring { nodes, links: vec![VecDeque::new(); count], sent: 0, duplicates: 0, ended: vec![None; count] }
    }

    fn step(&mut self, who: usize, input: Input<ChangRoberts>) {
        let count = self.nodes.len();
        for effect in self.nodes[who].handle(input) {
            match effect {
                Effect::Send { to: Neighbour::Ahead(places), message } => {
                    self.sent += 1;
                    self.links[(who + places) % count].push_back(message);
                }
                Effect::Report(Report::Ended(leader)) => self.ended[who] = Some(leader),
                Effect::Report(Report::Duplicate(_)) => self.duplicates += 1,
                _ => {}
            }
        }
        self.nodes[who].check();
    }

    /// Until nothing is on its way; in ever other order.
    fn run(&mut self) {
        const MANY: usize = 10_000;
        let count = self.nodes.len();
        for who in 0..count {
            self.step(who, Input::Event(Event::Start));
        }
        for turn in 0..MANY {
            let ready: Vec<usize> = (0..count).filter(|who| !self.links[*who].is_empty()).collect();
            let Some(who) = ready.get((turn * 7) % ready.len().max(1)).copied() else { return };
            let message = self.links[who].pop_front().unwrap();
            self.step(who, Input::Message { from: Neighbour::Predecessor, message });
        }
        panic!("still going round after {MANY} messages");
    }
}

fn fixed(me: Uuid) -> ChangRoberts {
    ChangRoberts::new(me, Timing::default())
}

/// All orders of 1 to n, by Heap's algorithm.
fn permutations(n: usize) -> Vec<Vec<u128>> {
    fn heap(k: usize, ids: &mut Vec<u128>, found: &mut Vec<Vec<u128>>) {
        if k <= 1 {
            return found.push(ids.clone());
        }
        for i in 0..k {
            heap(k - 1, ids, found);
            ids.swap(if k.is_multiple_of(2) { i } else { 0 }, k - 1);
        }
    }
    let (mut ids, mut found) = ((1..=n as u128).collect(), vec![]);
    heap(n, &mut ids, &mut found);
    found
}

#[test]
fn everybody_comes_to_know_the_greatest() {
    for n in 2..=7 {
        for ids in permutations(n) {
            let mut ring = Ring::new(&ids, fixed);
            ring.run();
            assert_eq!(ring.ended, vec![Some(id(n as u128)); n], "{ids:?}");
            assert_eq!(ring.duplicates, 0, "{ids:?}");
        }
    }
}

/// The worst order takes n(n+1)/2 + n messages; all orders together n!·(n·H(n) + n),
/// where n·n!·H(n) is a whole number: the sum of n·n!/k for k from 1 to n.
#[test]
fn messages_are_as_many_as_the_paper_says() {
    for n in 2..=7_usize {
        let counts: Vec<usize> = permutations(n)
            .iter()
            .map(|ids| {
                let mut ring = Ring::new(ids, fixed);
                ring.run();
                ring.sent
            })
            .collect();
        let orders: usize = (1..=n).product();
        assert_eq!(counts.len(), orders);
        assert_eq!(counts.iter().max(), Some(&(n * (n + 1) / 2 + n)), "the worst of {n}");
        assert_eq!(counts.iter().min(), Some(&(3 * n - 1)), "the best of {n}");
        let mean: usize = (1..=n).map(|k| n * orders / k).sum();
        assert_eq!(counts.iter().sum::<usize>(), mean + n * orders, "the mean of {n}");
    }
}

/// With repair, n more: done.
#[test]
fn repair_costs_a_round_more_where_nobody_dies() {
    for n in 2..=6 {
        for ids in permutations(n) {
            let mut ring = Ring::new(&ids, |me| fixed(me).repairing(n - 1));
            ring.run();
            let mut plain = Ring::new(&ids, fixed);
            plain.run();
            assert_eq!(ring.ended, plain.ended, "{ids:?}");
            assert_eq!(ring.sent, plain.sent + n, "{ids:?}");
        }
    }
}

/// Where lesser ones are passed on, they come home as well: to nodes that a greater one has passed.
#[test]
fn a_ring_in_which_lesser_ones_go_on_is_noticed() {
    let mut ring = Ring::new(&[1, 2, 3], |me| fixed(me).breaking(Some(Rule::LesserStops)));
    ring.run();
    assert_eq!((ring.sent, ring.duplicates), (3 * 3 + 3, 2));
}

/// Two bear one UUID that is not the greatest. Where that does harm, one of them at least
/// says so; and nobody ends with another leader than the others.
#[test]
fn namesakes_that_do_harm_are_said() {
    let mut harm = 0;
    for ids in permutations(5) {
        let ids: Vec<u128> = ids.iter().map(|n| *n.max(&2)).collect();
        let mut ring = Ring::new(&ids, fixed);
        ring.run();
        let fine = ring.ended == vec![Some(id(5)); 5];
        assert!(fine || ring.duplicates > 0, "{ids:?}: {:?}", ring.ended);
        let leaders: BTreeSet<_> = ring.ended.iter().flatten().collect();
        assert!(leaders.len() <= 1, "{ids:?}: {leaders:?}");
        harm += usize::from(!fine);
    }
    assert!(harm > 0);
}

/// Two greatest: each takes the other's for its own. Nothing shows it.
#[test]
fn two_greatest_both_lead_and_nobody_can_tell() {
    let mut ring = Ring::new(&[4, 1, 4, 2], fixed);
    ring.run();
    assert_eq!(ring.ended, vec![Some(id(4)); 4]);
    assert_eq!(ring.duplicates, 0);
}
