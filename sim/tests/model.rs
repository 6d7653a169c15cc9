//! The model checker, at sizes that take seconds. Larger ones are in `docs/model.md`,
//! with the command beside. The counts are pinned: another count is another model.

use ringleader_shared::rule::Rule;
use sim::model::classic::{self, Sizes as OlderSizes, Wrong as OlderWrong};
use sim::model::look;
use sim::model::ring::Sizes;
use sim::model::state::{Faults, Wrong};

const NONE: Faults = Faults { crashes: 0, pauses: 0, early_timeouts: 0, hub_restarts: 0 };
const CRASH: Faults = Faults { crashes: 1, ..NONE };
const PAUSE: Faults = Faults { pauses: 1, ..NONE };
const EARLY: Faults = Faults { early_timeouts: 1, ..NONE };
const HUB: Faults = Faults { hub_restarts: 1, ..NONE };

fn sizes(nodes: usize, faults: Faults) -> Sizes {
    Sizes { nodes, faults, ..Sizes::default() }
}

/// All of it, and all ends well.
fn holds(sizes: &Sizes, states: usize, agreed: usize) {
    let found = look(sizes, true, |_| ());
    assert_eq!(found.story.map(|story| story.to_string()), None, "{sizes:?}");
    let ends = found.ends.expect("it was asked whether all ends well");
    assert_eq!((ends.doomed.len(), ends.endless), (0, 0), "{sizes:?}");
    assert_eq!(found.cut, 0, "the bound on terms leaves nothing out: {sizes:?}");
    assert!(found.agreed, "{sizes:?}");
    assert_eq!((found.progress.states, ends.agreed), (states, agreed), "{sizes:?}");
}

#[test]
fn one_node() {
    holds(&sizes(1, NONE), 12, 1);
}

#[test]
fn two_nodes() {
    for (faults, states, agreed) in [
        (NONE, 260, 5),
        (CRASH, 19_701, 110),
        (PAUSE, 9_590, 330),
        (Faults { early_timeouts: 2, ..NONE }, 9_110, 51),
        (HUB, 4_867, 60),
        (Faults { pauses: 1, early_timeouts: 1, ..NONE }, 78_869, 1_393),
        (Faults { hub_restarts: 1, early_timeouts: 1, ..NONE }, 41_134, 283),
    ] {
        holds(&sizes(2, faults), states, agreed);
    }
}

#[test]
fn three_nodes() {
    for (faults, states, agreed) in [(NONE, 7_972, 25), (EARLY, 104_679, 109)] {
        holds(&sizes(3, faults), states, agreed);
    }
    for (faults, states, agreed) in [(CRASH, 32_728, 48), (PAUSE, 29_471, 314)] {
        holds(&Sizes { met: true, ..sizes(3, faults) }, states, agreed);
    }
}

#[test]
fn four_nodes() {
    for (faults, states, agreed) in [(NONE, 2_388, 4), (EARLY, 40_161, 18)] {
        holds(&Sizes { met: true, ..sizes(4, faults) }, states, agreed);
    }
}

#[test]
fn a_classic_member_among_ours() {
    for (nodes, faults, states, agreed) in [(2, CRASH, 39_433, 224), (2, PAUSE, 24_241, 669), (3, NONE, 17_638, 41)] {
        holds(&Sizes { classic: true, ..sizes(nodes, faults) }, states, agreed);
    }
}

/// One leader a term is promised only where the hub keeps its terms; that no member's
/// term falls, always.
#[test]
fn a_hub_that_forgets() {
    let forgets = Sizes { store: false, ..sizes(2, HUB) };
    let story = look(&forgets, false, |_| ()).story.expect("it announces two leaders in term 1");
    assert_eq!((story.steps.len(), story.wrong.as_str()), (19, "S1: a second leader was announced in this term"));
    let forgets = Sizes { faults: Faults { early_timeouts: 1, ..HUB }, only: Some(Wrong::TermFell), ..forgets };
    holds(&forgets, 42_964, 316);
}

#[test]
fn each_rule_is_needed() {
    let early = |nodes| sizes(nodes, EARLY);
    let forgets = Sizes { store: false, only: Some(Wrong::TermFell), ..sizes(2, Faults { early_timeouts: 1, ..HUB }) };
    for (rule, sizes, steps, wrong) in [
        (Rule::LateFramesAbsorbed, early(3), 18, "nobody lies"),
        (Rule::AnnouncementForOpenElection, early(2), 9, "S4"),
        (Rule::LeaderIsThere, sizes(2, CRASH), 16, "S4"),
        (Rule::AdoptOnlyNewer, forgets, 28, "S2"),
        (Rule::TokensHandedOn, sizes(2, CRASH), 9, "from here on"),
        (Rule::ElectionsClose, sizes(2, CRASH), 7, "the initiator is a member"),
        (Rule::CampaignIsArmed, early(2), 16, "nothing more happens"),
        (Rule::SenderIsKept, sizes(2, NONE), 12, "S7"),
        (Rule::LeaderWithItsTerm, early(3), 21, "S3"),
        (Rule::AnnouncerWaits, sizes(2, NONE), 7, "S3"),
        (Rule::HomeById, early(2), 15, "S7"),
    ] {
        let story = look(&Sizes { broken: Some(rule), ..sizes }, true, |_| ()).story;
        let story = story.unwrap_or_else(|| panic!("nobody misses {rule}"));
        assert!(story.wrong.starts_with(wrong), "{rule}:\n{story}");
        assert_eq!(story.steps.len(), steps, "{rule}:\n{story}");
    }
}

#[test]
fn the_older_system_fails() {
    let [sticks, two_lead] = OlderSizes::that_fail();
    for (sizes, wrong, steps, states) in
        [(sticks, OlderWrong::Stuck, 10, 2_074), (two_lead, OlderWrong::TwoLead, 18, 1_897)]
    {
        assert_eq!(sizes.wrong, wrong);
        let (progress, story) = classic::look(&sizes);
        assert_eq!(story.map(|story| story.steps.len()), Some(steps));
        assert_eq!(progress.states, states);
    }
}
