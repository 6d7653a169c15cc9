//! Why who backs a newer run takes no part in an older one.

use std::collections::VecDeque;

use super::*;

/// What is chosen in two runs of which one leader begins both, as it comes back without its
/// memory in the middle of START.
fn two_runs(broken: Option<Rule>) -> [Option<Value>; 2] {
    let boot = |id: u16, number| {
        Node::new(NodeId(id), roles(), Saved::new(incarnation(number)), Timing::default()).breaking(broken)
    };
    let mut nodes: Vec<Node> = (0..6).map(|id| boot(id, 10 + u64::from(id))).collect();
    let passes = |nodes: &mut Vec<Node>, run: u64, id: u16| {
        let members: Vec<u64> = [run].into_iter().chain(10..10 + u64::from(id)).collect();
        nodes[usize::from(id)].handle(from((id + 5) % 6, candidate(5, &members)));
    };
    (0..5).for_each(|id| passes(&mut nodes, 15, id));
    // START of run 15 is on its way to all. The leader comes back, and its candidate gets as far as node 2.
    (0..3).for_each(|id| passes(&mut nodes, 25, id));
    for id in [0, 2, 4] {
        nodes[id].handle(from(5, Message::Start(start())));
    }
    // Node 2 backs run 25. With 4 it would be a majority of run 15.
    choose(&mut nodes, 0, [2, 4], "a");
    // 4 forgets. The candidate goes on, and comes home.
    nodes[4] = boot(4, 34);
    (3..5).for_each(|id| passes(&mut nodes, 25, id));
    let members = [10, 11, 12, 13, 34, 25].map(incarnation).to_vec();
    for id in [1, 3, 4] {
        nodes[id].handle(from(5, Message::Start(Start { roles: roles(), members: members.clone() })));
    }
    choose(&mut nodes, 1, [3, 4], "b");
    [nodes[0].chosen().cloned(), nodes[1].chosen().cloned()]
}

/// A proposer and two acceptors speak until nothing is left to say; nobody else hears.
fn choose(nodes: &mut [Node], proposer: u16, acceptors: [u16; 2], text: &str) {
    let mut under_way = VecDeque::new();
    let mut effects = nodes[usize::from(proposer)].handle(wants(7, text));
    let mut speaker = proposer;
    loop {
        for effect in effects {
            if let Send { to: Peer::Node(NodeId(to)), message } = effect {
                under_way.push_back((speaker, to, message));
            }
        }
        under_way.retain(|(_, to, _)| *to == proposer || acceptors.contains(to));
        let Some((sender, to, message)) = under_way.pop_front() else { return };
        effects = nodes[usize::from(to)].handle(from(sender, message));
        speaker = to;
    }
}

#[test]
fn who_backs_a_newer_run_takes_no_part_in_an_older_one() {
    assert_eq!(two_runs(None), [None, Some(value("b"))], "the first run has no majority any more");
    assert_eq!(two_runs(Some(Rule::NewestRunIsBacked)), [Some(value("a")), Some(value("b"))]);
}
