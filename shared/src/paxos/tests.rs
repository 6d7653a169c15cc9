//! One input, the exact effects. Nodes 0 and 1 propose, 2 to 4 accept, 5 learns.

mod runs;
mod wire;

use super::*;
use crate::machine::Effect::{CancelTimer, Report as Tell, Save, Send};

const ACCEPTORS: [u16; 3] = [2, 3, 4];

fn roles() -> Roles {
    Roles::new(2, 3, 1).unwrap()
}

fn incarnation(number: u64) -> Incarnation {
    Incarnation::new(number).unwrap()
}

/// The incarnation of node k in the run under test is 10 + k; so the run's is 15.
fn start() -> Start {
    Start { roles: roles(), members: (10..16).map(incarnation).collect() }
}

fn run() -> Incarnation {
    incarnation(15)
}

fn new(id: u16) -> Node {
    let saved = Saved::new(incarnation(10 + u64::from(id)));
    Node::new(NodeId(id), roles(), saved, Timing::default())
}

/// One that takes part.
fn started(id: u16) -> Node {
    let mut node = new(id);
    node.saved.backed = Some(run());
    node.handle(from(5, Message::Start(start())));
    node.check();
    assert!(node.takes_part());
    node
}

fn from(id: u16, message: Message) -> Input<Node> {
    Input::Message { from: Peer::Node(NodeId(id)), message }
}

fn wants(client: u64, text: &str) -> Input<Node> {
    Input::Message { from: Peer::Client(ClientId(client)), message: Message::Propose { value: value(text) } }
}

fn to(id: u16, message: Message) -> Effect<Node> {
    send(NodeId(id), message)
}

fn value(text: &str) -> Value {
    Value::new(text).unwrap()
}

fn ballot(round: u64, node: u16) -> Ballot {
    Ballot { round, node: NodeId(node) }
}

fn vote(round: u64, node: u16, text: &str) -> Vote {
    Vote { ballot: ballot(round, node), value: value(text) }
}

fn candidate(id: u16, members: &[u64]) -> Message {
    Message::Candidate { id: NodeId(id), members: members.iter().copied().map(incarnation).collect() }
}

fn prepare(round: u64, node: u16) -> Message {
    Message::Prepare { run: run(), ballot: ballot(round, node) }
}

fn promise(round: u64, node: u16, accepted: Option<Vote>) -> Message {
    Message::Promise { run: run(), ballot: ballot(round, node), accepted }
}

fn nack(asked: Ballot, promised: Ballot) -> Message {
    Message::Nack { run: run(), ballot: asked, promised }
}

fn accept(vote: Vote) -> Message {
    Message::Accept { run: run(), vote }
}

fn accepted(vote: Vote) -> Message {
    Message::Accepted { run: run(), vote }
}

fn sent(effects: &[Effect<Node>]) -> Vec<Effect<Node>> {
    effects.iter().filter(|effect| matches!(effect, Send { .. })).cloned().collect()
}

fn sends_to(nodes: &[u16], message: &Message) -> Vec<Effect<Node>> {
    nodes.iter().map(|id| to(*id, message.clone())).collect()
}

mod ring {
    use super::*;

    #[test]
    fn a_greater_candidate_is_passed_on_and_backed() {
        let mut node = new(1);
        let effects = node.handle(from(0, candidate(5, &[15, 10])));
        assert_eq!(effects, [Save(node.saved.clone()), to(2, candidate(5, &[15, 10, 11]))]);
        assert_eq!(node.saved.backed, Some(run()));
        // Again, as it is sent until the run begins: nothing is new to save.
        assert_eq!(node.handle(from(0, candidate(5, &[15, 10]))), [to(2, candidate(5, &[15, 10, 11]))]);
    }

    #[test]
    fn a_lower_candidate_and_a_senseless_one_are_swallowed() {
        let mut node = new(1);
        for (id, members) in [(0, &[10][..]), (5, &[]), (5, &[15]), (5, &[15, 10, 11]), (6, &[16, 10]), (9, &[1])] {
            assert_eq!(node.handle(from(0, candidate(id, members))), [], "{id} {members:?}");
        }
    }

    #[test]
    fn a_leaders_older_incarnation_is_not_backed_any_more() {
        let told_of_both = |node: u16| {
            let before: Vec<u64> = (10..10 + u64::from(node)).collect();
            let passed = |run| candidate(5, &[&[run], &before[..]].concat());
            let mut machine = new(node);
            machine.handle(from(node - 1, passed(25)));
            assert_eq!(machine.handle(from(node - 1, passed(15))), []);
            machine.handle(from(5, Message::Start(start())));
            machine
        };
        assert!(!told_of_both(2).takes_part(), "it backs run 25, and could be listed there too");
        assert!(told_of_both(1).takes_part(), "a proposer binds nobody");
    }

    #[test]
    fn who_comes_home_is_the_leader_and_tells_all_whom_it_met() {
        let mut node = new(5);
        assert_eq!(node.handle(from(4, candidate(5, &[99, 10, 11, 12, 13, 14]))), [], "of another incarnation");
        assert_eq!(node.handle(from(4, candidate(5, &[15, 10, 11]))), [], "it has not met all");
        let effects = node.handle(from(4, candidate(5, &[15, 10, 11, 12, 13, 14])));
        let mut expected = vec![Save(node.saved.clone()), CancelTimer(Timer::Candidate), Tell(Report::Leads)];
        expected.extend(sends_to(&[4, 3, 2, 1, 0], &Message::Start(start())));
        expected.push(Tell(Report::Started { role: Role::Learner, takes_part: true }));
        expected.push(node.ask_later());
        assert_eq!(effects, expected);
        // What it had sent before is home later, and begins nothing.
        assert_eq!(node.handle(from(4, candidate(5, &[15, 10, 11, 12, 13, 14]))), []);
    }

    #[test]
    fn who_has_started_answers_candidates_with_its_start() {
        let mut node = started(1);
        assert_eq!(node.handle(from(0, candidate(5, &[25, 10]))), [to(5, Message::Start(start()))]);
        assert_eq!(node.handle(from(0, candidate(0, &[20]))), [to(0, Message::Start(start()))]);
    }

    #[test]
    fn a_restarted_leader_with_its_memory_tells_the_same_start_again() {
        let mut node = new(5);
        node.handle(from(4, candidate(5, &[15, 10, 11, 12, 13, 14])));
        let mut again = Node::new(NodeId(5), roles(), node.saved.clone(), Timing::default());
        let effects = again.handle(Input::Event(Event::Start));
        assert_eq!(sent(&effects), sends_to(&[4, 3, 2, 1, 0], &Message::Start(start())));
        assert!(again.takes_part());
    }

    #[test]
    fn who_is_not_listed_only_learns() {
        let saved = Saved::new(incarnation(22));
        let mut node = Node::new(NodeId(2), roles(), saved, Timing::default());
        assert_eq!(sent(&node.handle(Input::Event(Event::Start))), [to(3, candidate(2, &[22]))]);
        node.handle(from(1, candidate(5, &[15, 10, 11])));
        let effects = node.handle(from(3, Message::Start(start())));
        assert!(effects.contains(&Tell(Report::Started { role: Role::Acceptor, takes_part: false })));
        assert!(effects.contains(&node.ask_later()));
        assert_eq!(node.handle(from(0, prepare(1, 0))), []);
        assert_eq!(node.handle(from(0, accept(vote(1, 0, "a")))), []);
        for acceptor in [3, 4] {
            node.handle(from(acceptor, accepted(vote(1, 0, "a"))));
        }
        assert_eq!(node.chosen(), Some(&value("a")));
    }

    #[test]
    fn other_roles_than_ours_are_told_and_not_taken() {
        let mut node = new(1);
        let other = Start { roles: Roles::new(1, 4, 1).unwrap(), ..start() };
        let short = Start { members: vec![run()], ..start() };
        for start in [other, short] {
            let effects = node.handle(from(5, Message::Start(start)));
            assert_eq!(effects, [Tell(Report::OtherRoles(NodeId(5)))]);
        }
    }
}

mod acceptor {
    use super::*;

    #[test]
    fn it_saves_then_promises_and_never_lower_or_twice() {
        let mut node = started(2);
        let effects = node.handle(from(1, prepare(3, 1)));
        assert_eq!(effects, [Save(node.saved.clone()), to(1, promise(3, 1, None))]);
        for (round, id) in [(3, 1), (3, 0), (2, 1)] {
            let refused = [to(id, nack(ballot(round, id), ballot(3, 1)))];
            assert_eq!(node.handle(from(id, prepare(round, id))), refused);
        }
    }

    #[test]
    fn it_saves_its_vote_and_tells_the_learners_and_the_proposer() {
        let mut node = started(2);
        node.handle(from(0, prepare(1, 0)));
        let votes = sends_to(&[5, 0], &accepted(vote(1, 0, "a")));
        let effects = node.handle(from(0, accept(vote(1, 0, "a"))));
        assert_eq!(effects, [&[Save(node.saved.clone())], &votes[..]].concat());
        assert_eq!(node.handle(from(0, accept(vote(1, 0, "a")))), votes, "said again: told again, saved already");
        assert_eq!(
            sent(&node.handle(from(1, prepare(1, 1)))),
            [to(1, promise(1, 1, Some(vote(1, 0, "a"))))],
            "a promise tells the vote"
        );
        let refused = [to(0, nack(ballot(1, 0), ballot(1, 1)))];
        assert_eq!(node.handle(from(0, accept(vote(1, 0, "a")))), refused);
        node.check();
    }

    #[test]
    fn it_votes_in_a_higher_ballot_that_it_was_not_asked_to_promise() {
        let mut node = started(2);
        node.handle(from(0, accept(vote(4, 0, "a"))));
        assert_eq!(node.saved.acceptor.promised, Some(ballot(4, 0)));
        assert_eq!(sent(&node.handle(from(1, prepare(3, 1)))), [to(1, nack(ballot(3, 1), ballot(4, 0)))]);
    }

    #[test]
    fn it_goes_on_with_what_it_saved() {
        let mut node = started(2);
        node.handle(from(0, accept(vote(4, 0, "a"))));
        let mut again = Node::new(NodeId(2), roles(), node.saved.clone(), Timing::default());
        let effects = again.handle(Input::Event(Event::Start));
        assert_eq!(
            effects,
            [Save(node.saved.clone()), Tell(Report::Started { role: Role::Acceptor, takes_part: true })]
        );
        assert_eq!(sent(&again.handle(from(1, prepare(3, 1)))), [to(1, nack(ballot(3, 1), ballot(4, 0)))]);
    }

    #[test]
    fn it_tells_a_learner_that_asks() {
        let mut node = started(2);
        assert_eq!(node.handle(from(5, Message::Query { run: run(), unfinished: false })), []);
        node.handle(from(0, accept(vote(1, 0, "a"))));
        assert_eq!(
            node.handle(from(5, Message::Query { run: run(), unfinished: false })),
            [to(5, accepted(vote(1, 0, "a")))]
        );
    }

    #[test]
    fn what_is_of_another_run_counts_for_nothing() {
        let mut node = started(2);
        let before = node.clone();
        let other = incarnation(14);
        for message in [
            Message::Prepare { run: other, ballot: ballot(1, 0) },
            Message::Accept { run: other, vote: vote(1, 0, "a") },
            Message::Chosen { run: other, value: value("a") },
        ] {
            assert_eq!(node.handle(from(0, message)), []);
        }
        assert_eq!(node, before);
        assert_eq!(new(2).handle(from(0, prepare(1, 0))), [], "nor before a run has begun");
    }
}

mod proposer {
    use super::*;

    #[test]
    fn it_saves_its_round_and_asks_the_acceptors() {
        let mut node = started(0);
        let effects = node.handle(wants(7, "a"));
        let mut expected = vec![Save(node.saved.clone())];
        expected.extend(sends_to(&ACCEPTORS, &prepare(1, 0)));
        expected.push(node.retry_when_silent());
        assert_eq!(effects, expected);
        assert_eq!(node.handle(wants(8, "b")), [], "one after the other");
        assert_eq!(node.handle(wants(7, "c")), [], "one value a client");
        node.check();
    }

    #[test]
    fn with_a_majority_of_promises_it_asks_for_votes_for_its_clients_value() {
        let mut node = started(0);
        node.handle(wants(7, "a"));
        assert_eq!(node.handle(from(2, promise(1, 0, None))), []);
        assert_eq!(node.handle(from(2, promise(1, 0, None))), [], "one acceptor is one");
        assert_eq!(node.handle(from(5, promise(1, 0, None))), [], "a learner is none");
        let effects = node.handle(from(4, promise(1, 0, None)));
        assert_eq!(sent(&effects), sends_to(&ACCEPTORS, &accept(vote(1, 0, "a"))));
        assert_eq!(node.handle(from(3, promise(1, 0, Some(vote(0, 1, "b"))))), [], "too late to matter");
    }

    #[test]
    fn it_takes_the_value_of_the_highest_ballot_that_it_is_told_of() {
        let mut node = started(0);
        node.saved.round = 4;
        node.handle(wants(7, "a"));
        node.handle(from(2, promise(5, 0, Some(vote(3, 1, "high")))));
        let effects = node.handle(from(3, promise(5, 0, Some(vote(2, 1, "low")))));
        assert_eq!(sent(&effects), sends_to(&ACCEPTORS, &accept(vote(5, 0, "high"))));
    }

    #[test]
    fn who_is_refused_stands_back_by_chance_and_ever_longer_then_goes_above() {
        let mut node = started(0);
        node.handle(wants(7, "a"));
        let mut longest = vec![];
        for _ in 0..9 {
            let current = node.proposer.phase.ballot().unwrap();
            let higher = ballot(current.round + 10, 1);
            let effects = node.handle(from(2, nack(current, higher)));
            let [Effect::SetTimer { timer: Timer::Retry, after }] = &effects[..] else { panic!("{effects:?}") };
            assert_eq!(after.start, Duration::ZERO);
            longest.push(after.end.as_millis());
            assert_eq!(node.handle(from(3, nack(current, higher))), [], "one refusal is enough");
            let asked = prepare(higher.round + 1, 0);
            assert_eq!(sent(&node.handle(Input::Timeout(Timer::Retry))), sends_to(&ACCEPTORS, &asked));
            node.check();
        }
        assert_eq!(longest, [50, 100, 200, 400, 800, 1600, 3200, 3200, 3200]);
    }

    #[test]
    fn who_hears_nothing_says_from_whom_and_tries_again() {
        let mut node = started(0);
        node.handle(wants(7, "a"));
        node.handle(from(3, promise(1, 0, None)));
        let effects = sent(&node.handle(Input::Timeout(Timer::Retry)));
        let waiting = Waiting::Acceptors(vec![NodeId(2), NodeId(4)]);
        assert_eq!(effects[0], answer(ClientId(7), Message::Waiting { waiting }));
        assert_eq!(effects[1..], sends_to(&ACCEPTORS, &prepare(2, 0)));
        assert_eq!(node.handle(from(2, promise(1, 0, None))), [], "an answer to the first attempt");
    }

    #[test]
    fn all_its_clients_hear_what_was_chosen_and_the_other_proposers_too() {
        let mut node = started(0);
        node.handle(wants(7, "a"));
        node.handle(wants(8, "b"));
        for acceptor in [2, 3] {
            node.handle(from(acceptor, promise(1, 0, None)));
        }
        assert_eq!(node.handle(from(3, accepted(vote(1, 0, "a")))), []);
        let effects = node.handle(from(4, accepted(vote(1, 0, "a"))));
        let outcome = Message::Outcome { value: value("a") };
        let expected = [
            Tell(Report::Chosen(value("a"))),
            CancelTimer(Timer::Retry),
            CancelTimer(Timer::Query),
            answer(ClientId(7), outcome.clone()),
            answer(ClientId(8), outcome.clone()),
            to(1, Message::Chosen { run: run(), value: value("a") }),
        ];
        assert_eq!(effects, expected);
        node.check();
        assert_eq!(node.handle(wants(9, "c")), [answer(ClientId(9), outcome)], "it is chosen already");
    }

    #[test]
    fn it_stops_when_nobody_waits() {
        let mut node = started(0);
        node.handle(wants(7, "a"));
        assert_eq!(node.handle(Input::Event(Event::ClientGone(ClientId(7)))), []);
        assert_eq!(node.handle(Input::Timeout(Timer::Retry)), []);
        assert_eq!(node.proposer, Proposer::default());
    }

    #[test]
    fn clients_before_the_start_wait_and_those_at_others_are_refused() {
        let mut early = new(0);
        let waiting = Message::Waiting { waiting: Waiting::Start };
        assert_eq!(early.handle(wants(7, "a")), [answer(ClientId(7), waiting)]);
        early.saved.backed = Some(run());
        let effects = early.handle(from(5, Message::Start(start())));
        let soon =
            Effect::SetTimer { timer: Timer::Retry, after: Duration::from_millis(50)..Duration::from_millis(100) };
        assert_eq!(effects.last(), Some(&soon), "when the acceptors, too, have heard of it");
        assert_eq!(early.handle(wants(8, "b")), []);
        let effects = sent(&early.handle(Input::Timeout(Timer::Retry)));
        assert_eq!(effects, sends_to(&ACCEPTORS, &prepare(1, 0)));

        let refused = |why| [answer(ClientId(7), Message::Refused { why })];
        assert_eq!(started(3).handle(wants(7, "a")), refused(Refusal::NoProposer));
        let mut forgotten = Node { saved: Saved::new(incarnation(99)), ..new(0) }; // No candidate has met this one.
        forgotten.handle(wants(7, "a"));
        let effects = forgotten.handle(from(5, Message::Start(start())));
        assert_eq!(sent(&effects), refused(Refusal::Forgotten));
    }

    #[test]
    fn no_more_clients_wait_than_there_is_room_for() {
        let mut node = started(0);
        for client in 0..MAX_CLIENTS as u64 {
            node.handle(wants(client, "a"));
        }
        let refused = Message::Refused { why: Refusal::Busy };
        assert_eq!(node.handle(wants(99, "a")), [answer(ClientId(99), refused)]);
    }

    #[test]
    fn rounds_that_have_run_out_end_in_silence() {
        let mut node = started(0);
        node.handle(wants(7, "a"));
        node.handle(from(2, nack(ballot(1, 0), ballot(crate::id::MAX_SAFE_INTEGER, 1))));
        assert_eq!(node.handle(Input::Timeout(Timer::Retry)), []);
        node.check();
    }
}

mod learner {
    use super::*;

    #[test]
    fn it_counts_a_quorum_of_one_ballot() {
        let mut node = started(5);
        node.handle(from(2, accepted(vote(1, 0, "a"))));
        assert_eq!(node.handle(from(2, accepted(vote(1, 0, "a")))), [], "one acceptor is one");
        assert_eq!(node.handle(from(3, accepted(vote(2, 1, "b")))), [], "another ballot");
        assert_eq!(node.handle(from(0, accepted(vote(2, 1, "b")))), [], "a proposer is no acceptor");
        assert_eq!(node.handle(from(3, accepted(vote(1, 0, "a")))), [], "overtaken by its newer vote");
        let effects = node.handle(from(4, accepted(vote(2, 1, "b"))));
        assert!(effects.contains(&Tell(Report::Chosen(value("b")))), "{effects:?}");
        node.check();
        assert_eq!(node.handle(from(2, accepted(vote(2, 1, "b")))), [], "told once");
    }

    #[test]
    fn it_asks_until_it_knows_and_then_tells_who_asks() {
        let mut node = started(5);
        let query = Message::Query { run: run(), unfinished: false };
        let effects = node.handle(Input::Timeout(Timer::Query));
        assert_eq!(effects, [sends_to(&[0, 1, 2, 3, 4], &query), vec![node.ask_later()]].concat());
        let chosen = Message::Chosen { run: run(), value: value("a") };
        node.handle(from(0, chosen.clone()));
        assert_eq!(node.handle(Input::Timeout(Timer::Query)), []);
        assert_eq!(node.handle(from(2, query)), [to(2, chosen)]);
    }
}
