//! What a peer does with one input, effect by effect, and short stories of one peer.

use std::collections::BTreeSet;

use super::*;
use crate::machine::{Effect, Input};

fn id(id: u32) -> PeerId {
    PeerId::new(id)
}

fn ids(ids: &[u32]) -> BTreeSet<PeerId> {
    ids.iter().copied().map(PeerId::new).collect()
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn report(report: Report) -> Effect<LowestId> {
    Effect::Report(report)
}

fn leader(leader: Option<u32>) -> Effect<LowestId> {
    report(Report::Leader(leader.map(id)))
}

fn vote(to: u32, candidate: Option<u32>) -> Effect<LowestId> {
    Effect::Send { to: id(to), message: Message::Vote(candidate.map(id)) }
}

fn silent(peer: u32, after: f64) -> Effect<LowestId> {
    set(Timer::Silent(id(peer)), seconds(after))
}

fn urgent(peer: u32) -> Effect<LowestId> {
    beat(id(peer), true)
}

/// A machine that is checked after each step.
struct Peer(LowestId);

impl Peer {
    fn input(&mut self, input: Input<LowestId>) -> Vec<Effect<LowestId>> {
        let effects = self.0.handle(input);
        self.0.check();
        effects
    }

    fn hears(&mut self, from: u32) -> Vec<Effect<LowestId>> {
        self.input(Input::Message { from: id(from), message: Message::Beat { urgent: false } })
    }

    fn is_urged(&mut self, from: u32) -> Vec<Effect<LowestId>> {
        self.input(Input::Message { from: id(from), message: Message::Beat { urgent: true } })
    }

    fn is_told(&mut self, from: u32, candidate: Option<u32>) -> Vec<Effect<LowestId>> {
        self.input(Input::Message { from: id(from), message: Message::Vote(candidate.map(id)) })
    }

    fn fires(&mut self, timer: Timer) -> Vec<Effect<LowestId>> {
        self.input(Input::Timeout(timer))
    }

    fn misses(&mut self, peer: u32) -> Vec<Effect<LowestId>> {
        self.fires(Timer::Silent(id(peer)))
    }

    fn leader(&self) -> Option<u32> {
        self.0.leader().map(PeerId::get)
    }
}

fn started(me: u32, list: &[u32], options: Options) -> Peer {
    let mut peer = Peer(LowestId::new(id(me), ids(list), options));
    peer.input(Input::Event(Event::Start));
    peer
}

/// It has heard all the others.
fn complete(me: u32, list: &[u32]) -> Peer {
    let mut peer = started(me, list, Options::default());
    for &other in list.iter().filter(|&&other| other != me) {
        peer.hears(other);
    }
    peer
}

fn voter(me: u32, list: &[u32]) -> Peer {
    let mut peer = started(me, list, Options { quorum: true, ..Options::default() });
    for &other in list.iter().filter(|&&other| other != me) {
        peer.hears(other);
    }
    peer
}

/// Its vote is free: it has run for the timeout.
fn free_voter(me: u32, list: &[u32]) -> Peer {
    let mut peer = voter(me, list);
    peer.fires(Timer::Grant);
    peer
}

#[test]
fn ids_are_digits_and_compare_as_numbers() {
    assert!("9".parse::<PeerId>().unwrap() < "10".parse().unwrap());
    assert_eq!("007".parse::<PeerId>().unwrap(), id(7));
    for wrong in ["", "+1", "-1", " 1", "1.0", "4294967296", "one"] {
        assert_eq!(wrong.parse::<PeerId>(), Err(BadPeerId), "{wrong:?}");
    }
}

#[test]
fn beats_to_all_of_the_list_and_waits_for_them() {
    let mut peer = Peer(LowestId::new(id(2), ids(&[1, 2, 3]), Options::default()));
    let round = [set(Timer::Beat, seconds(2.0)), beat(id(1), false), beat(id(3), false)];
    let waiting = report(Report::Waiting(ids(&[1, 3])));
    let expected = [&round[..], &[waiting]].concat();
    assert_eq!(peer.input(Input::Event(Event::Start)), expected);
    assert_eq!(peer.fires(Timer::Beat), expected);
}

#[test]
fn elects_when_all_have_been_heard() {
    let mut peer = started(2, &[1, 2, 3], Options::default());
    let first = [silent(3, 3.0), report(Report::Online(id(3))), report(Report::Waiting(ids(&[1])))];
    assert_eq!(peer.hears(3), first);
    assert_eq!(peer.hears(3), [silent(3, 3.0)], "again");
    let none = Report::Started { without: ids(&[]) };
    let last = [silent(1, 3.0), report(Report::Online(id(1))), report(none), leader(Some(1))];
    assert_eq!(peer.hears(1), last);
}

#[test]
fn all_need_not_be_heard_at_one_time() {
    let mut peer = started(2, &[1, 2, 3], Options::default());
    peer.hears(1);
    peer.misses(1);
    peer.misses(1);
    assert_eq!(peer.leader(), None);
    peer.hears(3);
    assert_eq!(peer.leader(), Some(2), "1 has been there, and is not any more");
}

#[test]
fn told_not_to_wait_it_elects_with_those_who_were_heard() {
    let options = Options { start_without_all: true, ..Options::default() };
    let mut peer = Peer(LowestId::new(id(2), ids(&[1, 2, 3]), options));
    assert!(peer.input(Input::Event(Event::Start)).contains(&set(Timer::StartWithoutAll, seconds(5.0))));
    peer.hears(3);
    let without = Report::Started { without: ids(&[1]) };
    assert_eq!(peer.fires(Timer::StartWithoutAll), [report(without), leader(Some(2))]);
    assert_eq!(peer.fires(Timer::StartWithoutAll), []);
    assert_eq!(peer.hears(1), [silent(1, 3.0), report(Report::Online(id(1))), leader(Some(1))]);
}

#[test]
fn whoever_is_alone_on_the_list_leads() {
    let mut peer = Peer(LowestId::new(id(4), ids(&[4]), Options::default()));
    let got = peer.input(Input::Event(Event::Start));
    assert_eq!(got.last(), Some(&leader(Some(4))));
    assert_eq!(peer.fires(Timer::Beat), [set(Timer::Beat, seconds(2.0))]);
}

#[test]
fn a_leader_that_is_silent_is_off_the_list_and_all_online_are_told() {
    let mut peer = complete(2, &[1, 2, 3, 4]);
    assert_eq!(peer.misses(1), [silent(1, 2.0)], "late: three seconds, and two more");
    let off = [Effect::CancelTimer(Timer::Silent(id(1))), report(Report::Offline(id(1)))];
    let tells = [report(Report::LeaderSilent(id(1))), urgent(3), urgent(4), leader(Some(2))];
    assert_eq!(peer.misses(1), [&off[..], &tells].concat());
    assert_eq!(peer.fires(Timer::Beat)[1], beat(id(1), false), "it may come back");
    assert_eq!(peer.hears(1), [silent(1, 3.0), report(Report::Online(id(1))), leader(Some(1))]);
}

#[test]
fn a_heartbeat_in_between_counts() {
    let mut peer = complete(2, &[1, 2]);
    peer.misses(1);
    peer.hears(1);
    assert_eq!(peer.misses(1), [silent(1, 2.0)]);
    assert_eq!(peer.leader(), Some(1));
}

#[test]
fn who_is_silent_and_does_not_lead_goes_without_a_word() {
    let mut peer = complete(2, &[1, 2, 3]);
    peer.misses(3);
    let off = [Effect::CancelTimer(Timer::Silent(id(3))), report(Report::Offline(id(3)))];
    assert_eq!(peer.misses(3), off);
}

#[test]
fn urged_it_gives_up_a_leader_that_it_misses_too() {
    let mut peer = complete(2, &[1, 2, 3]);
    let urged = report(Report::Urged { by: id(3) });
    assert_eq!(peer.is_urged(3), [silent(3, 3.0), urged.clone()], "1 has just been heard");
    peer.misses(1);
    let off = [Effect::CancelTimer(Timer::Silent(id(1))), report(Report::Offline(id(1)))];
    assert_eq!(peer.is_urged(3), [&[silent(3, 3.0), urged][..], &off, &[leader(Some(2))]].concat());
}

#[test]
fn a_leader_that_is_urged_shows_that_it_is_there() {
    let mut peer = complete(1, &[1, 2]);
    assert_eq!(peer.is_urged(2), [silent(2, 3.0), report(Report::Urged { by: id(2) }), beat(id(2), false)]);
}

#[test]
fn the_leader_itself_is_not_given_up_because_it_is_urgent() {
    let mut peer = complete(2, &[1, 2]);
    peer.misses(1);
    peer.is_urged(1);
    assert_eq!(peer.leader(), Some(1));
}

#[test]
fn senseless_messages_change_nothing() {
    let mut peer = complete(2, &[1, 2, 3]);
    let before = peer.0.clone();
    assert_eq!(peer.hears(2), [], "our own id");
    assert_eq!(peer.hears(9), [], "not on the list");
    assert_eq!(peer.is_urged(9), []);
    assert_eq!(peer.is_told(1, Some(2)), [], "nobody asked");
    assert_eq!(peer.input(Input::Event(Event::Unanswered(id(1)))), []);
    for timer in [Timer::Silent(id(9)), Timer::Grant, Timer::Vote(id(1)), Timer::StartWithoutAll] {
        assert_eq!(peer.fires(timer), []);
    }
    assert_eq!(peer.0, before);
}

#[test]
fn a_vote_is_withheld_until_an_older_one_has_run_out() {
    let mut peer = Peer(LowestId::new(id(2), ids(&[1, 2]), Options { quorum: true, ..Options::default() }));
    assert_eq!(peer.input(Input::Event(Event::Start))[0], set(Timer::Grant, seconds(5.0)));
    assert!(peer.hears(1).contains(&vote(1, None)));
    assert_eq!(peer.fires(Timer::Grant), []);
    let granted = [silent(1, 3.0), set(Timer::Grant, seconds(5.0)), vote(1, Some(1)), leader(Some(1))];
    assert_eq!(peer.hears(1), granted);
}

#[test]
fn a_majority_makes_a_leader_while_its_votes_last() {
    let mut peer = free_voter(1, &[1, 2, 3]);
    assert_eq!(peer.leader(), None, "its own vote is one of three");
    let counted = set(Timer::Vote(id(3)), seconds(3.0));
    assert_eq!(peer.is_told(3, Some(1)), [counted.clone(), leader(Some(1))]);
    assert_eq!(peer.is_told(3, Some(1)), [counted]);
    assert_eq!(peer.fires(Timer::Vote(id(3))), [leader(None)]);
}

#[test]
fn a_vote_for_another_ends_one_for_us() {
    for other in [Some(2), None] {
        let mut peer = free_voter(1, &[1, 2, 3]);
        peer.is_told(3, Some(1));
        assert_eq!(peer.is_told(3, other), [Effect::CancelTimer(Timer::Vote(id(3))), leader(None)]);
        assert_eq!(peer.is_told(3, other), []);
    }
}

#[test]
fn its_own_vote_too_is_withheld_at_first() {
    let mut peer = voter(1, &[1, 2, 3]);
    peer.is_told(3, Some(1));
    assert_eq!(peer.leader(), None);
    assert_eq!(peer.fires(Timer::Grant), [leader(Some(1))]);
}

#[test]
fn a_granted_vote_goes_to_a_lower_id_only_when_it_has_run_out() {
    let mut peer = started(3, &[1, 2, 3], Options { quorum: true, start_without_all: true, ..Options::default() });
    peer.hears(2);
    peer.fires(Timer::StartWithoutAll);
    peer.fires(Timer::Grant);
    assert!(peer.hears(2).contains(&vote(2, Some(2))));
    let returns = [silent(1, 3.0), report(Report::Online(id(1))), vote(1, None), leader(None)];
    assert_eq!(peer.hears(1), returns);
    assert_eq!(peer.hears(2), [silent(2, 3.0), vote(2, None)], "left to run out");
    assert_eq!(peer.fires(Timer::Grant), []);
    let granted = [silent(1, 3.0), set(Timer::Grant, seconds(5.0)), vote(1, Some(1)), leader(Some(1))];
    assert_eq!(peer.hears(1), granted);
}

#[test]
fn a_leader_that_hears_a_lower_id_stops_at_once() {
    let mut peer = started(2, &[1, 2, 3], Options { quorum: true, start_without_all: true, ..Options::default() });
    peer.fires(Timer::Grant);
    peer.fires(Timer::StartWithoutAll);
    assert_eq!(peer.is_told(3, Some(2)).last(), Some(&leader(Some(2))));
    assert_eq!(peer.hears(1).last(), Some(&leader(Some(1))), "its own vote is nobody else's to count");
}

#[test]
fn a_silent_candidate_sets_the_vote_free_whichever_timer_is_first() {
    for grant_first in [true, false] {
        let mut peer = free_voter(2, &[1, 2, 3]);
        peer.hears(1);
        assert_eq!(peer.leader(), Some(1));
        peer.misses(1);
        let mut effects = vec![];
        if grant_first {
            effects.extend(peer.fires(Timer::Grant));
        } else {
            effects.extend(peer.misses(1));
            effects.extend(peer.fires(Timer::Grant));
        }
        let off = [Effect::CancelTimer(Timer::Silent(id(1))), report(Report::Offline(id(1)))];
        let tells = [report(Report::LeaderSilent(id(1))), urgent(3), leader(None)];
        assert_eq!(effects, [&off[..], &tells].concat());
        assert_eq!(peer.is_told(3, Some(2)).last(), Some(&leader(Some(2))));
    }
}

#[test]
fn with_the_minority_it_names_nobody() {
    let mut peer = free_voter(2, &[1, 2, 3, 4, 5]);
    peer.hears(1);
    assert_eq!(peer.leader(), Some(1));
    for gone in [3, 4, 5] {
        peer.misses(gone);
        peer.misses(gone);
    }
    assert_eq!(peer.leader(), None, "two of five");
    peer.hears(4);
    assert_eq!(peer.leader(), Some(1));
}

#[test]
fn who_cannot_vote_is_counted_while_it_is_heard() {
    let mut peer = free_voter(1, &[1, 2, 3]);
    let unanswered = Input::Event(Event::Unanswered(id(3)));
    let counted = [report(Report::CannotVote(id(3))), leader(Some(1))];
    assert_eq!(peer.input(unanswered.clone()), counted);
    assert_eq!(peer.input(unanswered.clone()), []);
    peer.misses(3);
    assert_eq!(peer.misses(3).last(), Some(&leader(None)));
    assert_eq!(peer.input(unanswered), [], "it is not heard");
}

#[test]
fn who_has_voted_is_counted_by_its_votes_only() {
    let mut peer = free_voter(1, &[1, 2, 3]);
    let unanswered = Input::Event(Event::Unanswered(id(3)));
    assert_eq!(peer.input(unanswered.clone()).last(), Some(&leader(Some(1))));
    assert_eq!(peer.is_told(3, Some(2)), [leader(None)], "it can vote after all");
    assert_eq!(peer.input(unanswered), []);
}

#[test]
fn a_vote_ends_before_its_grant_with_clocks_a_ninth_wrong() {
    for (interval, timeout) in [(2.0, 5.0), (2.0, 4.0), (0.05, 0.2), (1.0, 60.0)] {
        let timing = Timing { interval: seconds(interval), timeout: seconds(timeout) };
        let (slow, fast) = (1.0 - 1.0 / 9.0, 1.0 + 1.0 / 9.0);
        let counted = (timing.exchange() + timing.vote()).as_secs_f64() / slow;
        assert!(counted <= timeout / fast + 1e-9, "{timing:?}");
        assert!(timing.exchange() < timing.interval, "answers are in before the next heartbeat");
        assert!(timing.vote() > timing.interval, "votes last until they are renewed");
    }
}

mod broken {
    use super::*;

    fn broken(me: u32, rule: Rule, quorum: bool) -> Peer {
        let options = Options { quorum, ..Options::default() };
        let mut peer = Peer(LowestId::new(id(me), ids(&[1, 2, 3]), options).breaking(Some(rule)));
        peer.input(Input::Event(Event::Start));
        peer
    }

    #[test]
    fn it_elects_before_all_are_heard() {
        assert_eq!(broken(2, Rule::AllHeardFirst, false).leader(), Some(2));
    }

    #[test]
    fn the_silent_lead_for_ever() {
        let mut peer = broken(2, Rule::SilentOffTheList, false);
        peer.hears(1);
        peer.hears(3);
        assert_eq!((peer.misses(1).len(), peer.misses(1).len(), peer.leader()), (1, 0, Some(1)));
    }

    #[test]
    fn a_minority_leads() {
        let mut peer = broken(1, Rule::Majority, true);
        peer.hears(2);
        peer.hears(3);
        assert_eq!(peer.fires(Timer::Grant), [leader(Some(1))]);
    }

    #[test]
    fn a_bound_vote_goes_to_another() {
        let mut peer = broken(3, Rule::OneGrantAtATime, true);
        peer.fires(Timer::Grant);
        assert!(peer.hears(2).contains(&vote(2, Some(2))));
        assert!(peer.hears(1).contains(&vote(1, Some(1))));
    }

    #[test]
    fn a_vote_is_counted_for_too_long() {
        let mut peer = broken(1, Rule::VoteEndsBeforeGrant, true);
        assert_eq!(peer.is_told(2, Some(1)), [set(Timer::Vote(id(2)), seconds(10.0))]);
    }

    #[test]
    fn a_vote_is_given_right_after_the_start() {
        let mut peer = broken(2, Rule::RestartedGrantsLater, true);
        assert!(peer.hears(1).contains(&vote(1, Some(1))));
    }
}
