//! When a leader may act, and when it has to stop.

use super::*;
use crate::id::Name;
use crate::message::Lease;
use crate::session::{self, Heard, Introduction};

/// `b`, welcomed by a hub that grants leases of 4 s, to be elected in term 1.
fn bound() -> EligibleArray {
    let mut machine = EligibleArray::new(7.into(), Timing::default());
    let lease = Some(Duration::from_secs(4));
    let event = Joined { me: id("b"), routing: Routing::Ring, counts_terms: true, leader: None, lease };
    machine.handle(Input::Event(Event::Joined(event)));
    machine
}

fn elected(act_after_ms: Option<u64>) -> Input<EligibleArray> {
    let announcement = NewLeader { act_after_ms, ..NewLeader::of(id("b"), Some(term(1))) };
    from("b", RingMessage::NewLeader(announcement))
}

fn granted(t: u64, lease_ms: Option<u64>) -> Input<EligibleArray> {
    let message = RingMessage::Lease(Lease { term: term(t), lease_ms });
    Input::Message { from: Hub, message: Sent { origin: None, message } }
}

const REFUSED: Input<EligibleArray> = Input::Event(Event::LeaseRefused);
const ODD: Timer = Timer::LeaseEnd(Renewal::Odd);
const EVEN: Timer = Timer::LeaseEnd(Renewal::Even);

/// What `b` does when it asks; four fifths of the lease run from then.
fn asks(t: u64, end: Timer) -> [Effect<EligibleArray>; 2] {
    let ask = sent("b", RingMessage::Lease(Lease { term: term(t), lease_ms: None }));
    [ask, set(end, seconds(3.2, 3.2))]
}

const ADOPTS: [Timer; 3] = [Timer::Campaign, Timer::CheckTimeout, Timer::Check];

/// What it can come to after its election, and the timers that run then.
fn tenures() -> [(&'static str, EligibleArray, &'static [Timer]); 5] {
    let grant = || granted(1, Some(4000));
    let after = |act_after_ms, inputs: &[Input<EligibleArray>]| {
        let mut machine = bound();
        machine.handle(elected(act_after_ms));
        inputs.iter().for_each(|input| drop(machine.handle(input.clone())));
        machine
    };
    let renew = Input::Timeout(Timer::Renew);
    [
        ("waits", after(Some(500), &[]), &[Timer::Act]),
        ("asks", after(None, &[]), &[ODD]),
        ("holds the first", after(None, &[grant()]), &[ODD, Timer::Renew]),
        ("asks for the second", after(None, &[grant(), renew.clone()]), &[ODD, EVEN]),
        ("holds the second", after(None, &[grant(), renew, grant()]), &[EVEN, Timer::Renew]),
    ]
}

fn cancels(timers: &[Timer]) -> Vec<Effect<EligibleArray>> {
    timers.iter().copied().map(cancel).collect()
}

/// It is a member without a leader: nothing that it said or asked before counts.
fn assert_stood_down(machine: &mut EligibleArray, name: &str) {
    assert_eq!(machine.handle(from("a", check("b", 1))), [], "{name}: it answers no check for that term");
    for late in [granted(1, Some(4000)), elected(None), REFUSED, Input::Timeout(Timer::Renew)] {
        assert_eq!(machine.handle(late.clone()), [], "{name}: {late:?}");
    }
    assert_eq!(machine.handle(Input::Timeout(Timer::Campaign)), starts(1), "{name}");
}

#[test]
fn a_leader_asks_at_once_and_may_act_when_it_is_granted() {
    let mut machine = bound();
    assert_eq!(
        machine.handle(elected(None)),
        [&cancels(&ADOPTS)[..], &asks(1, ODD), &[leads(1, false)]].concat(),
        "the count begins here"
    );
    assert_eq!(machine.lease_end(), None);
    let renewal = set(Timer::Renew, seconds(1.0, 1.0));
    assert_eq!(machine.handle(granted(1, Some(4000))), [renewal, leads(1, true)], "and not here");
    assert_eq!(machine.lease_end(), Some(ODD));
}

#[test]
fn each_renewal_counts_from_its_asking_and_takes_the_place_of_the_one_before() {
    let mut machine = bound();
    machine.handle(elected(None));
    machine.handle(granted(1, Some(4000)));
    let renewal = set(Timer::Renew, seconds(1.0, 1.0));
    for (older, newer) in [(ODD, EVEN), (EVEN, ODD), (ODD, EVEN)] {
        assert_eq!(machine.handle(Input::Timeout(Timer::Renew)), asks(1, newer));
        assert_eq!(machine.lease_end(), Some(older), "which is not granted yet");
        assert_eq!(machine.handle(granted(1, Some(4000))), [cancel(older), renewal.clone()]);
        assert_eq!(machine.lease_end(), Some(newer));
    }
    assert!(machine.belief().may_act);
}

#[test]
fn a_leader_stands_down_when_its_lease_ends() {
    for (name, mut machine, timers) in tenures() {
        let Some(end) = timers.iter().find(|timer| matches!(timer, Timer::LeaseEnd(_))) else { continue };
        let says = [Effect::Report(Report::StoodDown { refused: false }), sent("b", left("b", 1, true))];
        let stops = [&[Timer::Check, Timer::CheckTimeout][..], timers].concat();
        let waits = [set(Timer::Campaign, seconds(5.0, 7.5)), believes(Role::Candidate, None, 1)];
        let expected = [&says[..], &cancels(&stops), &waits].concat();
        assert_eq!(machine.handle(Input::Timeout(*end)), expected, "{name}");
        assert_stood_down(&mut machine, name);
    }
}

#[test]
fn a_leader_that_is_refused_stands_down() {
    for (name, mut machine, timers) in tenures() {
        let got = machine.handle(REFUSED);
        if !name.starts_with("asks") {
            assert_eq!(got, [], "{name}: it has asked for nothing");
            continue;
        }
        let stops = [&[Timer::Check, Timer::CheckTimeout][..], timers].concat();
        let waits = [set(Timer::Campaign, seconds(5.0, 7.5)), believes(Role::Candidate, None, 1)];
        let expected = [&[Effect::Report(Report::StoodDown { refused: true })], &cancels(&stops)[..], &waits].concat();
        assert_eq!(got, expected, "{name}");
        assert_stood_down(&mut machine, name);
    }
}

#[test]
fn a_late_answer_to_what_was_asked_in_an_older_term_is_passed_over() {
    let mut machine = bound();
    machine.handle(elected(None));
    machine.handle(from("b", announcement("b", 2)));
    assert_eq!(machine.handle(granted(1, Some(4000))), []);
    assert!(!machine.belief().may_act);
    machine.handle(granted(2, Some(4000)));
    assert!(machine.belief().may_act);

    machine.handle(Input::Timeout(Timer::Renew));
    machine.handle(from("a", announcement("c", 3)));
    for late in [granted(2, Some(4000)), REFUSED] {
        assert_eq!(machine.handle(late), [], "it follows by now");
    }
}

#[test]
fn a_grant_that_was_not_asked_for_changes_nothing() {
    for (name, mut machine, _) in tenures() {
        let before = machine.clone();
        let got = machine.handle(granted(1, Some(4000)));
        assert_eq!(got.is_empty(), !name.starts_with("asks"), "{name}");
        assert_eq!(machine == before, !name.starts_with("asks"), "{name}");
    }
}

#[test]
fn a_grant_shorter_than_was_promised_does_not_count() {
    for lease_ms in [None, Some(0), Some(3999)] {
        let mut machine = bound();
        machine.handle(elected(None));
        assert_eq!(machine.handle(granted(1, lease_ms)), [], "{lease_ms:?}");
        assert_eq!(machine.handle(Input::Timeout(ODD))[0], Effect::Report(Report::StoodDown { refused: false }));
    }
    let mut machine = bound();
    machine.handle(elected(None));
    let renewal = set(Timer::Renew, seconds(1.0, 1.0));
    assert_eq!(
        machine.handle(granted(1, Some(u64::MAX))),
        [renewal, leads(1, true)],
        "a longer one counts as promised"
    );
}

#[test]
fn a_leader_that_is_told_to_wait_asks_only_then() {
    let mut machine = bound();
    let waits = [
        set(Timer::Act, seconds(2.5, 2.5)),
        Effect::Report(Report::Waits(Duration::from_millis(2500))),
        leads(1, false),
    ];
    assert_eq!(machine.handle(elected(Some(2500))), [&cancels(&ADOPTS)[..], &waits].concat());
    assert_eq!(machine.handle(from("a", check("b", 1))), [sent("b", answer("a", 1))], "it leads already");
    assert_eq!(machine.handle(Input::Timeout(Timer::Act)), asks(1, ODD));
    assert!(!machine.belief().may_act);
    machine.handle(granted(1, Some(4000)));
    assert!(machine.belief().may_act);
    assert_eq!(machine.handle(Input::Timeout(Timer::Act)), [], "a timer that fired as it was cancelled");
}

#[test]
fn a_wait_of_nothing_is_none_and_an_absurd_one_is_an_hour() {
    assert_eq!(bound().handle(elected(Some(0))), bound().handle(elected(None)));
    let got = bound().handle(elected(Some(u64::MAX)));
    assert_eq!(got[3], set(Timer::Act, seconds(3600.0, 3600.0)));
}

#[test]
fn where_the_hub_grants_no_leases_to_lead_is_to_act() {
    let mut machine = joined(None);
    assert_eq!(machine.handle(elected(Some(2500))), [&cancels(&ADOPTS)[..], &[leads(1, true)]].concat());
    assert_eq!(machine.lease_end(), None);
    for late in [granted(1, Some(4000)), REFUSED, Input::Timeout(Timer::Act), Input::Timeout(Timer::Renew)] {
        assert_eq!(machine.handle(late), []);
    }
    assert!(machine.belief().may_act);
}

#[test]
fn whatever_ends_a_tenure_cancels_the_timers_that_run_and_no_other() {
    for (name, machine, timers) in tenures() {
        let resigns = [
            &[sent("b", left("b", 1, true))],
            &cancels(&[&[Timer::Check, Timer::CheckTimeout], timers].concat())[..],
            &[set(Timer::Campaign, seconds(5.0, 7.5)), believes(Role::Candidate, None, 1)],
        ];
        assert_eq!(machine.clone().handle(Input::Event(Event::Resign)), resigns.concat(), "{name}");

        let all = [&[Timer::Campaign, Timer::Check, Timer::CheckTimeout], timers].concat();
        let gone = [&cancels(&all)[..], &[believes(Role::Disconnected, None, 1)]];
        assert_eq!(machine.clone().handle(Input::Event(Event::Disconnected)), gone.concat(), "{name}");

        let deposed = [
            &[sent("a", announcement("c", 2))],
            &cancels(&[&[Timer::Campaign, Timer::CheckTimeout], timers].concat())[..],
            &[set(Timer::Check, seconds(2.0, 2.2)), believes(Role::Follower, Some("c"), 2)],
        ];
        assert_eq!(machine.clone().handle(from("a", announcement("c", 2))), deposed.concat(), "{name}");

        let again = [
            &cancels(&[&[Timer::Campaign, Timer::CheckTimeout], timers, &[Timer::Check]].concat())[..],
            &asks(2, ODD),
            &[leads(2, false)],
        ];
        assert_eq!(machine.clone().handle(from("b", announcement("b", 2))), again.concat(), "{name}");
    }
}

fn hear(text: &str) -> Heard {
    let introduction = Introduction { rank: 7.into(), name: Name::new("blue").unwrap() };
    session::hear(text, &introduction, Term::NONE).unwrap()
}

#[test]
fn a_welcome_promises_leases_of_at_most_an_hour() {
    // leaseMs, seconds
    let table = [
        (r#","leaseMs":4000"#, Some(4)),
        (r#","leaseMs":3600001"#, Some(3600)),
        (r#","leaseMs":18446744073709551615"#, Some(3600)),
        (r#","leaseMs":0"#, None),
        (r#","leaseMs":null"#, None),
        ("", None),
    ];
    for (lease_ms, expected) in table {
        let text = format!(r#"{{"method":"welcome","clientId":"b","data":{{"term":0,"relay":"ring"{lease_ms}}}}}"#);
        let Heard::Welcome { joined, .. } = hear(&text) else { panic!("{text}") };
        assert_eq!(joined.lease, expected.map(Duration::from_secs), "{lease_ms}");
    }
}

#[test]
fn a_refused_lease_is_told_from_another_refusal() {
    let error = |about: &str| {
        format!(
            r#"{{"method":"error","data":{{"code":"not-leader","message":"no","about":"{about}"}},"senderId":null}}"#
        )
    };
    assert_eq!(hear(&error("lease")), Heard::Input(REFUSED));
    assert!(matches!(hear(&error("leaderLeft")), Heard::Error(_)));
    let stale = error("lease").replace("not-leader", "stale-term");
    assert!(matches!(hear(&stale), Heard::Error(_)));
}

#[test]
fn asking_and_granting_read_so_on_the_wire() {
    let [Effect::Send { message, .. }, _] = &asks(1, ODD) else { panic!() };
    let ask = r#"{"method":"lease","data":{"term":1},"senderId":"b"}"#;
    assert_eq!(session::say(message.clone()), ask);
    let grant = r#"{"method":"lease","data":{"term":1,"leaseMs":4000},"senderId":null}"#;
    assert_eq!(hear(grant), Heard::Input(granted(1, Some(4000))));
}
