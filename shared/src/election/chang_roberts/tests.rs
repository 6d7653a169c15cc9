//! What a node does with one input, effect by effect; and whole rings without faults,
//! whose messages are counted.

mod rings;

use super::*;

const ME: u128 = 5;

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn term(n: u64) -> Option<Term> {
    Some(Term::NONE.later(n))
}

/// Connected, its own UUID out.
fn node() -> ChangRoberts {
    started(ChangRoberts::new(id(ME), Timing::default()))
}

/// The same, with repair, in a ring of four.
fn mender() -> ChangRoberts {
    started(ChangRoberts::new(id(ME), Timing::default()).repairing(3))
}

fn started(mut machine: ChangRoberts) -> ChangRoberts {
    machine.handle(Input::Event(Event::Start));
    machine
}

fn message(n: u128, flag: Flag, term: Option<Term>) -> Message {
    Message { uuid: id(n), flag, term, done: false }
}

fn candidate(n: u128) -> Message {
    message(n, Flag::Candidate, None)
}

fn elected(n: u128) -> Message {
    message(n, Flag::Elected, None)
}

fn done(n: u128, term: Option<Term>) -> Message {
    Message { done: true, ..message(n, Flag::Elected, term) }
}

/// What follows on the report that it was received, which is checked.
fn hears(machine: &mut ChangRoberts, message: Message) -> Effects {
    let known = machine.leader();
    let mut effects = machine.handle(Input::Message { from: Neighbour::Predecessor, message: message.clone() });
    machine.check();
    let received = Report::Received { compared: message.uuid.cmp(&id(ME)), message, leader: known };
    assert_eq!(effects.remove(0), Effect::Report(received));
    effects
}

fn happens(machine: &mut ChangRoberts, input: Input<ChangRoberts>) -> Effects {
    let effects = machine.handle(input);
    machine.check();
    effects
}

fn loses(machine: &mut ChangRoberts, whom: Neighbour) -> Effects {
    happens(machine, Input::Event(Event::Lost(whom)))
}

fn sends(places: usize, message: Message) -> Effects {
    let to = Neighbour::Ahead(places);
    vec![Effect::Send { to, message: message.clone() }, Effect::Report(Report::Sent { to, message })]
}

fn report(report: Report) -> Effects {
    vec![Effect::Report(report)]
}

fn says(why: Duplicate, message: Message) -> Effects {
    [report(Report::Duplicate(why)), report(Report::Ignored(message))].concat()
}

fn timer(timer: Timer) -> Effect<ChangRoberts> {
    let after = match timer {
        Timer::Grace => Timing::default().grace,
        Timer::Linger => Timing::default().linger,
    };
    Effect::SetTimer { timer, after: exactly(after) }
}

fn skipped(next: Option<usize>, t: u64) -> Effects {
    let next = next.map(Neighbour::Ahead);
    vec![Effect::CancelTimer(Timer::Grace), Effect::Report(Report::Skipped { next, term: Term::NONE.later(t) })]
}

mod fixed {
    use super::*;

    #[test]
    fn its_own_uuid_goes_out_once_without_comparing() {
        let mut machine = ChangRoberts::new(id(ME), Timing::default());
        assert_eq!(happens(&mut machine, Input::Event(Event::Start)), sends(1, candidate(ME)));
        assert_eq!(happens(&mut machine, Input::Event(Event::Start)), []);
    }

    #[test]
    fn a_greater_one_is_passed_on_and_a_lesser_one_is_not() {
        let mut machine = node();
        assert_eq!(hears(&mut machine, candidate(7)), sends(1, candidate(7)));
        assert_eq!(hears(&mut machine, candidate(3)), report(Report::Ignored(candidate(3))));
    }

    #[test]
    fn uuids_compare_as_numbers_of_128_bits() {
        let mut machine = started(ChangRoberts::new(id(u128::MAX >> 1), Timing::default()));
        let greater = Message { uuid: id(1 << 127), ..candidate(0) };
        let effects = machine.handle(Input::Message { from: Neighbour::Predecessor, message: greater.clone() });
        assert_eq!(effects[1..], sends(1, greater));
    }

    #[test]
    fn whose_own_comes_home_leads_until_its_announcement_is_home() {
        let mut machine = node();
        assert_eq!(
            hears(&mut machine, candidate(ME)),
            [report(Report::Decided(id(ME))), sends(1, elected(ME))].concat()
        );
        assert_eq!(machine.leader(), Some(id(ME)));
        assert_eq!(hears(&mut machine, elected(ME)), report(Report::Ended(id(ME))));
        assert!(machine.has_ended());
    }

    #[test]
    fn who_hears_of_the_leader_passes_it_on_once_and_ends() {
        let mut machine = node();
        let effects = hears(&mut machine, elected(7));
        assert_eq!(
            effects,
            [report(Report::Decided(id(7))), sends(1, elected(7)), report(Report::Ended(id(7)))].concat()
        );
        let late = Input::Message { from: Neighbour::Predecessor, message: elected(7) };
        assert_eq!(happens(&mut machine, late), []);
    }

    #[test]
    fn what_others_add_is_not_passed_on() {
        let mut machine = node();
        assert_eq!(hears(&mut machine, message(7, Flag::Candidate, term(9))), sends(1, candidate(7)));
        let effects = hears(&mut machine, done(7, term(9)));
        assert_eq!(effects[1..3], sends(1, elected(7)));
    }

    #[test]
    fn nothing_counts_before_the_start_or_from_ahead() {
        let mut machine = ChangRoberts::new(id(ME), Timing::default());
        for from in [Neighbour::Predecessor, Neighbour::Ahead(1)] {
            assert_eq!(happens(&mut machine, Input::Message { from, message: candidate(7) }), []);
        }
        let mut machine = node();
        assert_eq!(happens(&mut machine, Input::Message { from: Neighbour::Ahead(1), message: candidate(7) }), []);
    }

    #[test]
    fn a_lost_predecessor_breaks_it_before_the_announcement_is_through() {
        let broken = report(Report::Broken(Neighbour::Predecessor));
        let mut machine = node();
        assert_eq!(loses(&mut machine, Neighbour::Predecessor), broken);
        assert!(machine.has_ended() && machine.leader().is_none());
        let mut leader = node();
        hears(&mut leader, candidate(ME));
        assert_eq!(loses(&mut leader, Neighbour::Predecessor), broken);
        let mut ended = node();
        hears(&mut ended, elected(7));
        assert_eq!(loses(&mut ended, Neighbour::Predecessor), []);
    }

    #[test]
    fn a_lost_successor_breaks_it_unless_the_announcement_comes_in_time() {
        let lost = [vec![timer(Timer::Grace)], report(Report::SuccessorLost(Neighbour::Ahead(1)))].concat();
        let mut machine = node();
        assert_eq!(loses(&mut machine, Neighbour::Ahead(1)), lost);
        assert_eq!(loses(&mut machine, Neighbour::Ahead(1)), [], "known");
        assert_eq!(hears(&mut machine, candidate(7)), [], "there is nobody to pass it on to");
        let broken = report(Report::Broken(Neighbour::Ahead(1)));
        assert_eq!(happens(&mut machine, Input::Timeout(Timer::Grace)), broken);

        // It was the leader, who had announced itself and left.
        let mut machine = node();
        loses(&mut machine, Neighbour::Ahead(1));
        let effects = hears(&mut machine, elected(7));
        assert_eq!(effects, [report(Report::Decided(id(7))), report(Report::Ended(id(7)))].concat());
        assert_eq!(happens(&mut machine, Input::Timeout(Timer::Grace)), []);
    }

    #[test]
    fn a_leader_that_can_tell_nobody_is_none() {
        let mut machine = node();
        loses(&mut machine, Neighbour::Ahead(1));
        assert_eq!(hears(&mut machine, candidate(ME)), report(Report::Broken(Neighbour::Ahead(1))));
    }

    #[test]
    fn a_leader_needs_its_successor_no_more_once_it_was_told() {
        let mut machine = node();
        hears(&mut machine, candidate(ME));
        assert_eq!(loses(&mut machine, Neighbour::Ahead(1)), []);
        assert_eq!(hears(&mut machine, elected(ME)), report(Report::Ended(id(ME))));
    }
}

mod namesakes {
    use super::*;

    #[test]
    fn ours_cannot_come_past_a_greater_one() {
        let mut machine = node();
        hears(&mut machine, candidate(7));
        assert_eq!(hears(&mut machine, candidate(ME)), says(Duplicate::PastAGreater, candidate(ME)));
    }

    #[test]
    fn ours_comes_home_once_and_no_greater_one_after_it() {
        let mut machine = node();
        hears(&mut machine, candidate(ME));
        assert_eq!(hears(&mut machine, candidate(ME)), says(Duplicate::SecondHome, candidate(ME)));
        assert_eq!(hears(&mut machine, candidate(7)), says(Duplicate::GreaterAfterHome, candidate(7)));
        assert_eq!(hears(&mut machine, candidate(3)), report(Report::Ignored(candidate(3))));
    }

    #[test]
    fn nobody_else_announces_us_or_itself_beside_us() {
        let mut machine = node();
        assert_eq!(hears(&mut machine, elected(ME)), says(Duplicate::NotOurAnnouncement, elected(ME)));
        hears(&mut machine, candidate(ME));
        assert_eq!(hears(&mut machine, elected(7)), says(Duplicate::AnotherLeader, elected(7)));
    }
}

mod mending {
    use super::*;

    #[test]
    fn messages_carry_the_term_and_none_is_the_current_one() {
        let mut machine = ChangRoberts::new(id(ME), Timing::default()).repairing(3);
        let first = happens(&mut machine, Input::Event(Event::Start));
        assert_eq!(first, sends(1, message(ME, Flag::Candidate, term(1))));
        for t in [None, term(1)] {
            let effects = hears(&mut machine, message(7, Flag::Candidate, t));
            assert_eq!(effects, sends(1, message(7, Flag::Candidate, term(1))));
        }
    }

    #[test]
    fn a_dead_successor_is_skipped_and_a_new_term_begins() {
        let mut machine = mender();
        hears(&mut machine, message(7, Flag::Candidate, term(1)));
        loses(&mut machine, Neighbour::Ahead(1));
        let effects = happens(&mut machine, Input::Timeout(Timer::Grace));
        assert_eq!(effects, [skipped(Some(2), 2), sends(2, message(ME, Flag::Candidate, term(2)))].concat());
        assert_eq!(loses(&mut machine, Neighbour::Ahead(1)), [], "the one that was skipped");
        let old = message(7, Flag::Candidate, term(1));
        assert_eq!(hears(&mut machine, old.clone()), report(Report::Ignored(old)));
        // That a greater one had come by was in the term before.
        let effects = hears(&mut machine, message(ME, Flag::Candidate, term(2)));
        let announcement = sends(2, message(ME, Flag::Elected, term(2)));
        assert_eq!(effects, [report(Report::Decided(id(ME))), announcement].concat());
    }

    #[test]
    fn who_learns_of_a_newer_term_stands_in_it_before_passing_on() {
        let mut machine = mender();
        hears(&mut machine, message(7, Flag::Elected, term(1)));
        assert_eq!(machine.leader(), Some(id(7)));
        let effects = hears(&mut machine, message(9, Flag::Candidate, term(4)));
        let stands = sends(1, message(ME, Flag::Candidate, term(4)));
        let passes_on = sends(1, message(9, Flag::Candidate, term(4)));
        assert_eq!(effects, [vec![Effect::CancelTimer(Timer::Linger)], stands, passes_on].concat());
        assert_eq!(machine.leader(), None);
        assert_eq!(happens(&mut machine, Input::Timeout(Timer::Linger)), []);
    }

    #[test]
    fn who_is_cut_off_joins_a_newer_term_with_one_that_is_newer_still() {
        let mut machine = mender();
        loses(&mut machine, Neighbour::Ahead(1));
        let news = message(9, Flag::Candidate, term(4));
        let effects = hears(&mut machine, news.clone());
        let stands = sends(2, message(ME, Flag::Candidate, term(5)));
        let rest = [skipped(Some(2), 5), stands, report(Report::Ignored(news))].concat();
        assert_eq!(effects, [vec![Effect::CancelTimer(Timer::Linger)], rest].concat());
    }

    #[test]
    fn a_leader_says_that_it_is_done_and_waits_until_that_is_home() {
        let mut machine = mender();
        hears(&mut machine, message(ME, Flag::Candidate, term(1)));
        let effects = hears(&mut machine, message(ME, Flag::Elected, term(1)));
        assert_eq!(effects, [sends(1, done(ME, term(1))), vec![timer(Timer::Linger)]].concat());
        // Its successor has passed it on and left.
        assert_eq!(loses(&mut machine, Neighbour::Ahead(1)), []);
        assert_eq!(hears(&mut machine, done(ME, term(1))), report(Report::Ended(id(ME))));
    }

    #[test]
    fn who_is_told_that_all_is_done_passes_that_on_and_ends() {
        let mut machine = mender();
        let effects = hears(&mut machine, message(7, Flag::Elected, None));
        let tells = sends(1, message(7, Flag::Elected, term(1)));
        assert_eq!(effects, [report(Report::Decided(id(7))), tells, vec![timer(Timer::Linger)]].concat());
        let twice = message(7, Flag::Elected, term(1));
        assert_eq!(hears(&mut machine, twice.clone()), report(Report::Ignored(twice)));
        let effects = hears(&mut machine, done(7, term(1)));
        assert_eq!(effects, [sends(1, done(7, term(1))), report(Report::Ended(id(7)))].concat());
    }

    #[test]
    fn who_hears_nothing_of_done_ends_all_the_same() {
        let mut follower = mender();
        hears(&mut follower, message(7, Flag::Elected, term(1)));
        assert_eq!(happens(&mut follower, Input::Timeout(Timer::Linger)), report(Report::Ended(id(7))));
        let mut leader = mender();
        hears(&mut leader, message(ME, Flag::Candidate, term(1)));
        assert_eq!(happens(&mut leader, Input::Timeout(Timer::Linger)), [], "its announcement is not home");
        hears(&mut leader, message(ME, Flag::Elected, term(1)));
        assert_eq!(happens(&mut leader, Input::Timeout(Timer::Linger)), report(Report::Ended(id(ME))));
    }

    #[test]
    fn who_has_decided_tells_the_next_one_when_its_successor_dies() {
        let mut follower = mender();
        hears(&mut follower, message(7, Flag::Elected, term(1)));
        let effects = loses(&mut follower, Neighbour::Ahead(1));
        assert_eq!(effects, [skipped(Some(2), 1), sends(2, message(7, Flag::Elected, term(1)))].concat());
        let mut leader = mender();
        hears(&mut leader, message(ME, Flag::Candidate, term(1)));
        let effects = loses(&mut leader, Neighbour::Ahead(1));
        assert_eq!(effects, [skipped(Some(2), 1), sends(2, message(ME, Flag::Elected, term(1)))].concat());
    }

    #[test]
    fn who_is_left_alone_leads_itself() {
        let mut machine = started(ChangRoberts::new(id(ME), Timing::default()).repairing(2));
        loses(&mut machine, Neighbour::Ahead(1));
        happens(&mut machine, Input::Timeout(Timer::Grace));
        loses(&mut machine, Neighbour::Ahead(2));
        let effects = happens(&mut machine, Input::Timeout(Timer::Grace));
        let ends = [report(Report::Decided(id(ME))), report(Report::Ended(id(ME)))].concat();
        assert_eq!(effects, [skipped(None, 3), ends].concat());
    }

    #[test]
    fn a_lost_predecessor_is_replaced() {
        let mut machine = mender();
        assert_eq!(loses(&mut machine, Neighbour::Predecessor), []);
    }

    #[test]
    fn a_term_that_leaves_none_for_others_is_not_believed() {
        let mut machine = mender();
        let lie = message(7, Flag::Elected, Some(Term::HIGHEST_CLAIM.later(1)));
        assert_eq!(hears(&mut machine, lie.clone()), report(Report::Ignored(lie)));
    }
}
