//! Terms: which comes next, and what is written down before it is used.

use super::*;

/// An election that nobody announces.
fn comes_to_nothing(ring: &mut Ring) -> Vec<String> {
    let got = ring.election("a", "a7");
    ring.handle(Input::Timeout(Timer::Announce(ring.0.last_term)));
    got
}

#[test]
fn terms_are_saved_in_blocks_before_the_first_of_them_is_used() {
    let mut ring = Ring::of("a");
    for term in 1..=201 {
        let got = comes_to_nothing(&mut ring);
        let saved = format!("save {}", term + 99);
        let opened = format!("opened {term} by a");
        match term {
            1 | 101 | 201 => assert_eq!(got[..2], [saved, opened]),
            _ => assert_eq!(got[0], opened, "{got:?}"),
        }
        assert!(ring.0.last_term <= ring.0.saved.terms);
    }
}

#[test]
fn a_restored_ring_goes_on_above_what_was_saved() {
    let saved = Saved { terms: term(100), lease_out: false };
    let (relay, first) = Relay::restore(Config::default(), saved);
    assert_eq!(first, []);
    let mut ring = Ring(relay);
    assert_eq!(ring.0.snapshot().term, term(100));
    ring.join('a');
    assert_eq!(ring.election("a", "a7")[..2], ["save 200", "opened 101 by a"]);
    assert_eq!(ring.announces("a", "a").last().unwrap(), "a < newLeader a term 101 by a", "nobody to wait for");
}

#[test]
fn a_lease_that_was_out_when_the_hub_ended_is_waited_for() {
    let (relay, first) = Relay::restore(Config::default(), Saved { terms: term(100), lease_out: true });
    assert_eq!(first.iter().filter_map(line).collect::<Vec<_>>(), ["set lease 0"]);
    let mut ring = Ring(relay);
    ring.join('a');
    ring.eighth(0);
    assert_eq!(ring.election("a", "a7")[..2], ["save 200, a lease is out", "opened 101 by a"]);
    assert_eq!(ring.announces("a", "a").last().unwrap(), "a < newLeader a term 101 by a, act after 3500 ms");
    for _ in 2..8 {
        assert_eq!(ring.eighth(0), ["set lease 0"]);
    }
    assert_eq!(ring.eighth(0), ["save 200"]);
}

#[test]
fn a_hub_that_ends_in_good_order_saves_no_more_than_it_used() {
    let mut ring = Ring::of("ab");
    ring.elect("a7 b3", "a");
    assert_eq!(ring.0.last_will(), Saved { terms: term(1), lease_out: false });
    ring.asks_for_lease("a", 1);
    assert_eq!(ring.0.last_will(), Saved { terms: term(1), lease_out: true });
    let (relay, _) = Relay::restore(Config::default(), Saved { terms: term(1), lease_out: false });
    let mut ring = Ring(relay);
    ring.join('a');
    assert_eq!(ring.election("a", "a7")[..2], ["save 101", "opened 2 by a"]);
}

#[test]
fn the_last_term_of_all_is_used_once() {
    let last = Term::NONE.later(u64::MAX);
    let (relay, _) = Relay::restore(Config::default(), Saved { terms: term(last.get() - 1), lease_out: false });
    let mut ring = Ring(relay);
    ring.join('a');
    assert_eq!(comes_to_nothing(&mut ring)[..2], [format!("save {last}"), format!("opened {last} by a")]);
    let refused = ["a < error AnnouncementRefused", "refused a: AnnouncementRefused"];
    assert_eq!(ring.election("a", "a7"), refused);
}

#[test]
fn a_hub_that_lost_its_terms_goes_on_above_the_newest_that_is_known() {
    let began = ["save 0, a lease is out", "set lease 0"];
    let opened = ["save 141, a lease is out", "opened 42 by a"];
    let waits = "a < newLeader a term 42 by a, act after 4000 ms";

    let mut ring = Ring::of("a");
    assert_eq!(ring.says("a", &election("a7", Some(41)))[..4], [began, opened].concat());
    assert_eq!(ring.announces("a", "a").last().unwrap(), waits, "the hub before may have granted a lease");

    let mut ring = Ring::of("a");
    ring.0.handle(Input::Event(Event::Connected { id: id("b"), may_join: true }));
    let greeting = r#"{"method":"greeting","data":{"forwards":true,"term":41}}"#;
    assert_eq!(ring.says("b", greeting)[..2], began);
    assert_eq!(ring.election("a", "a7")[..2], opened);
    ring.election("b", "a7");
    assert!(ring.announces("a", "a").contains(&waits.replace("a < ", "b < ")));
}

#[test]
fn a_claim_that_is_no_news_begins_no_lease() {
    let mut ring = Ring::of("ab");
    ring.elect("a7 b3", "a");
    assert_eq!(ring.says("b", &election("b3", Some(1)))[0], "opened 2 by b");
    ring.0.handle(Input::Event(Event::Connected { id: id("c"), may_join: true }));
    let greeting = r#"{"method":"greeting","data":{"forwards":true,"term":2}}"#;
    assert_eq!(ring.says("c", greeting), ["c < response", "joined c"]);
    let mut ring = Ring::with("a", Config { lease: None, ..Config::default() });
    assert_eq!(ring.says("a", &election("a7", Some(41)))[0], "save 141", "nor any, where none are granted");
}

#[test]
fn claims_do_not_pile_up() {
    let mut ring = Ring::of("a");
    for claimed in [41, 50, 60] {
        let said = ring.says("a", &election("a7", Some(claimed)));
        assert!(said.contains(&"set lease 0".to_owned()), "one count for all of them: {said:?}");
        ring.announces("a", "nobody");
    }
    for _ in 1..8 {
        assert_eq!(ring.eighth(0), ["set lease 0"]);
    }
    assert!(ring.eighth(0).len() == 1 && ring.eighth(0).is_empty(), "it is over, for all of them");
}

#[test]
fn absurd_claims_of_terms_are_refused() {
    let mut ring = Ring::of("ab");
    let claim = Term::HIGHEST_CLAIM.get() + 1;
    let refused = ["a < error BadFrame", "refused a: BadFrame"];
    assert_eq!(ring.says("a", &election("a7", Some(claim))), refused);
    ring.0.handle(Input::Event(Event::Connected { id: id("c"), may_join: true }));
    let greeting = format!(r#"{{"method":"greeting","data":{{"term":{claim}}}}}"#);
    assert_eq!(ring.says("c", &greeting), ["c < error BadFrame", "refused c: BadFrame"]);
    assert_eq!(ring.0.last_term, Term::NONE);
    assert_eq!(ring.0.saved, Saved::default());

    let mut ring = Ring::of("ab");
    ring.says("a", &election("a7", Some(claim - 1)));
    ring.leaves("a");
    assert_eq!(
        ring.says("b", &election("b7", Some(claim)))[0],
        format!("opened {} by b", claim + 1),
        "the ring has come there"
    );
}
