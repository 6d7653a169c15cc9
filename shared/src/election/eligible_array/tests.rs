//! What a client does with one input, effect by effect. Whole stories are in
//! `sim/scenarios`.

mod tenure;

use super::*;

fn id(text: &str) -> ClientId {
    ClientId::new(text).unwrap()
}

fn term(value: u64) -> Term {
    Term::new(value).unwrap()
}

fn entry(rank: u32, who: &str) -> Candidate {
    Candidate { rank: rank.into(), client_id: id(who) }
}

/// `b`, rank 7, welcomed by our hub, perhaps told of a leader.
fn joined(leader: Option<(&str, u64)>) -> EligibleArray {
    let mut machine = EligibleArray::new(7.into(), Timing::default());
    let leader = leader.map(|(who, t)| (id(who), Some(term(t))));
    let event = Joined { me: id("b"), routing: Routing::Ring, counts_terms: true, leader, lease: None };
    machine.handle(Input::Event(Event::Joined(event)));
    machine
}

fn from(origin: &str, message: RingMessage) -> Input<EligibleArray> {
    Input::Message { from: Hub, message: Sent { origin: Some(id(origin)), message } }
}

fn sent(origin: &str, message: RingMessage) -> Effect<EligibleArray> {
    send(Some(id(origin)), message)
}

fn election(ranks: Vec<Candidate>, t: u64) -> RingMessage {
    RingMessage::Election(Election { ranks, term: Some(term(t)) })
}

fn announcement(who: &str, t: u64) -> RingMessage {
    RingMessage::NewLeader(NewLeader::of(id(who), Some(term(t))))
}

fn check(who: &str, t: u64) -> RingMessage {
    RingMessage::CheckLeader(CheckLeader { leader_id: id(who), term: Some(term(t)) })
}

fn answer(to: &str, t: u64) -> RingMessage {
    RingMessage::AnswerLeader(AnswerLeader { destination_id: id(to), term: Some(term(t)) })
}

fn believes(role: Role, leader: Option<&str>, t: u64) -> Effect<EligibleArray> {
    Effect::Report(Report::Believes(Belief { role, leader: leader.map(id), term: term(t), may_act: false }))
}

fn leads(t: u64, may_act: bool) -> Effect<EligibleArray> {
    let leader = Some(id("b"));
    Effect::Report(Report::Believes(Belief { role: Role::Leader, leader, term: term(t), may_act }))
}

fn seconds(from: f64, to: f64) -> Range<Duration> {
    Duration::from_secs_f64(from)..Duration::from_secs_f64(to)
}

fn left(who: &str, t: u64, resigned: bool) -> RingMessage {
    RingMessage::LeaderLeft(LeaderLeft { leader_id: id(who), term: term(t), resigned })
}

/// What "no leader, so start" looks like for `b` at a term.
fn starts(t: u64) -> [Effect<EligibleArray>; 3] {
    [
        sent("b", election(vec![entry(7, "b")], t)),
        set(Timer::Campaign, seconds(5.0, 7.5)),
        Effect::Report(Report::Started),
    ]
}

#[test]
fn waits_a_random_moment_and_starts() {
    let mut machine = EligibleArray::new(7.into(), Timing::default());
    let event = Joined { me: id("b"), routing: Routing::Ring, counts_terms: true, leader: None, lease: None };
    let got = machine.handle(Input::Event(Event::Joined(event)));
    assert_eq!(got, [set(Timer::Campaign, seconds(0.0, 0.5)), believes(Role::Candidate, None, 0)]);
    assert_eq!(machine.handle(Input::Timeout(Timer::Campaign)), starts(0));
}

#[test]
fn adds_itself_and_passes_on() {
    let got = joined(None).handle(from("a", election(vec![entry(7, "a")], 1)));
    assert_eq!(got, [sent("a", election(vec![entry(7, "a"), entry(7, "b")], 1))], "equal rank, other id");
}

#[test]
fn announces_the_best_when_the_frame_is_home_and_believes_nothing_yet() {
    let ranks = vec![entry(7, "b"), entry(9, "c"), entry(9, "d"), entry(3, "a")];
    let got = joined(None).handle(from("b", election(ranks, 1)));
    let report = Effect::Report(Report::Announced { leader: id("d"), entries: 4 });
    assert_eq!(got, [sent("b", announcement("d", 1)), report]);
}

#[test]
fn adopts_and_passes_on_an_announcement() {
    let got = joined(None).handle(from("a", announcement("c", 1)));
    let expected = [
        sent("a", announcement("c", 1)),
        cancel(Timer::Campaign),
        cancel(Timer::CheckTimeout),
        set(Timer::Check, seconds(2.0, 2.2)),
        believes(Role::Follower, Some("c"), 1),
    ];
    assert_eq!(got, expected);
}

#[test]
fn its_own_announcement_ends_with_it() {
    let got = joined(None).handle(from("b", announcement("b", 1)));
    let cancels = [cancel(Timer::Campaign), cancel(Timer::CheckTimeout), cancel(Timer::Check)];
    assert_eq!(got, [&cancels[..], &[leads(1, true)]].concat(), "this hub grants no leases: it may act");
}

#[test]
fn an_older_announcement_is_passed_on_and_not_adopted() {
    let mut machine = joined(Some(("c", 5)));
    let got = machine.handle(from("a", announcement("d", 4)));
    assert_eq!(got, [sent("a", announcement("d", 4))]);
    assert_eq!(machine.belief(), Belief { role: Role::Follower, leader: Some(id("c")), term: term(5), may_act: false });
}

#[test]
fn a_second_check_does_not_put_the_timeout_off() {
    let mut machine = joined(Some(("c", 5)));
    let ask = sent("b", check("c", 5));
    let next = set(Timer::Check, seconds(2.0, 2.2));
    let timeout = set(Timer::CheckTimeout, seconds(5.0, 5.0));
    assert_eq!(machine.handle(Input::Timeout(Timer::Check)), [ask.clone(), next.clone(), timeout]);
    assert_eq!(machine.handle(Input::Timeout(Timer::Check)), [ask, next]);
}

#[test]
fn only_the_leader_of_this_term_answers_a_check() {
    for (who, t, counts) in [("c", 5, true), ("c", 4, false), ("d", 5, false)] {
        let mut machine = joined(Some(("c", 5)));
        machine.handle(Input::Timeout(Timer::Check));
        let got = machine.handle(from(who, answer("b", t)));
        assert_eq!(got == [cancel(Timer::CheckTimeout)], counts, "answer of {who} at {t}: {got:?}");
    }
}

#[test]
fn an_unanswered_check_starts_an_election() {
    let mut machine = joined(Some(("c", 5)));
    machine.handle(Input::Timeout(Timer::Check));
    let got = machine.handle(Input::Timeout(Timer::CheckTimeout));
    let loses =
        [Effect::Report(Report::Unanswered { leader: id("c") }), cancel(Timer::Check), cancel(Timer::CheckTimeout)];
    assert_eq!(got, [&loses[..], &starts(5), &[believes(Role::Candidate, None, 5)]].concat());
}

#[test]
fn anothers_check_of_our_leader_puts_only_the_next_one_off() {
    let mut machine = joined(Some(("c", 5)));
    machine.handle(Input::Timeout(Timer::Check));
    let off = set(Timer::Check, seconds(2.0, 2.2));
    assert_eq!(machine.handle(from("a", check("c", 5))), [sent("a", check("c", 5)), off.clone()]);
    assert_eq!(machine.handle(from("c", answer("a", 5))), [sent("c", answer("a", 5)), off]);
    assert_eq!(machine.handle(from("a", check("c", 4))), [sent("a", check("c", 4))], "an older leadership");
    assert_eq!(machine.handle(from("d", answer("a", 5))), [sent("d", answer("a", 5))], "another's answer");
}

#[test]
fn a_leader_answers_for_its_term_and_for_one_it_is_about_to_learn() {
    for (t, answers) in [(4, false), (5, true), (6, true)] {
        let got = joined(Some(("b", 5))).handle(from("a", check("b", t)));
        assert_eq!(got == [sent("b", answer("a", t))], answers, "asked at {t}: {got:?}");
    }
}

#[test]
fn a_leader_that_resigned_answers_no_check_for_that_term() {
    let mut machine = joined(Some(("b", 5)));
    let expected = [
        sent("b", left("b", 5, true)),
        cancel(Timer::Check),
        cancel(Timer::CheckTimeout),
        set(Timer::Campaign, seconds(5.0, 7.5)),
        believes(Role::Candidate, None, 5),
    ];
    assert_eq!(machine.handle(Input::Event(Event::Resign)), expected);
    assert_eq!(machine.handle(from("a", check("b", 5))), []);
    assert_eq!(machine.handle(from("a", announcement("b", 5))), [sent("a", announcement("b", 5))], "a late copy");
    machine.handle(from("b", announcement("b", 6)));
    assert_eq!(machine.belief().role, Role::Leader, "elected anew");
}

#[test]
fn a_leader_that_left_between_welcome_and_response_is_not_followed() {
    let mut machine = joined(Some(("c", 5)));
    let got = machine.handle(Input::Event(Event::Told { leader: None, term: Some(term(5)) }));
    let expected = [
        cancel(Timer::Check),
        cancel(Timer::CheckTimeout),
        set(Timer::Campaign, seconds(0.0, 0.5)),
        believes(Role::Candidate, None, 5),
    ];
    assert_eq!(got, expected);
}

#[test]
fn a_leader_that_left_is_waited_for_unless_it_resigned_or_early_is_on() {
    // resigned, early, of which leader: elects at once
    for (resigned, early, who, at_once) in
        [(false, false, "c", false), (true, false, "c", true), (false, true, "c", true), (true, true, "d", false)]
    {
        let mut machine = joined(Some(("c", 5)));
        machine.timing.early = early;
        let got = machine.handle(from("a", left(who, 5, resigned)));
        assert_eq!(got.len() > 1, at_once, "resigned {resigned}, early {early}, {who}");
        assert_eq!(machine.belief().leader.is_none(), at_once);
    }
}

#[test]
fn a_hub_without_terms_goes_by_the_newest_announcement() {
    let mut machine = EligibleArray::new(7.into(), Timing::default());
    let event = Joined { me: id("b"), routing: Routing::Direct, counts_terms: false, leader: None, lease: None };
    machine.handle(Input::Event(Event::Joined(event)));
    let passed_on = RingMessage::Election(Election { ranks: vec![entry(9, "a"), entry(7, "b")], term: None });
    let came = RingMessage::Election(Election { ranks: vec![entry(9, "a")], term: None });
    assert_eq!(machine.handle(from("a", came)), [sent("b", passed_on)], "as its own: that hub may go by it");
    let told = |who| RingMessage::NewLeader(NewLeader::of(id(who), None));
    let got = machine.handle(from("a", told("c")));
    assert_eq!(got[0], cancel(Timer::Campaign), "adopted, and not passed on");
    machine.handle(from("a", told("b")));
    assert_eq!(machine.belief().role, Role::Leader);
    let asked = RingMessage::CheckLeader(CheckLeader { leader_id: id("b"), term: None });
    let answer = RingMessage::AnswerLeader(AnswerLeader { destination_id: id("c"), term: None });
    assert_eq!(machine.handle(from("c", asked)), [sent("b", answer)]);
}

#[test]
fn without_a_connection_nothing_happens_and_the_term_stays() {
    let mut machine = joined(Some(("c", 5)));
    machine.handle(Input::Event(Event::Disconnected));
    assert_eq!(machine.handle(from("a", announcement("a", 9))), []);
    for timer in [Timer::Campaign, Timer::Check, Timer::CheckTimeout] {
        assert_eq!(machine.handle(Input::Timeout(timer)), []);
    }
    assert_eq!(machine.belief(), Belief { role: Role::Disconnected, leader: None, term: term(5), may_act: false });
}

#[test]
fn who_does_not_stand_passes_elections_on_and_starts_none() {
    let mut machine = joined(None).without_standing();
    assert_eq!(machine.handle(Input::Timeout(Timer::Campaign)), [set(Timer::Campaign, seconds(5.0, 7.5))]);
    let on_its_way = election(vec![entry(3, "a")], 1);
    assert_eq!(machine.handle(from("a", on_its_way.clone())), [sent("a", on_its_way)], "without an entry of its own");
    let effects = machine.handle(from("a", announcement("a", 1)));
    assert!(effects.contains(&believes(Role::Follower, Some("a"), 1)), "it follows: {effects:?}");
}
