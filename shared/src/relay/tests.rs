//! What the relay does with one input, effect by effect. Whole stories are in
//! `sim/scenarios`.

use super::*;
use crate::id::Rank;
use crate::machine::exactly;

fn id(text: &str) -> ClientId {
    ClientId::new(text).unwrap()
}

/// A ring of members named by letters, a capital being a classic one: lower-case
/// id, no rank, no terms, passes on elections only.
struct Ring(Relay);

impl Ring {
    fn of(members: &str) -> Ring {
        Ring::with(members, Config::default())
    }

    fn with(members: &str, config: Config) -> Ring {
        let mut ring = Ring(Relay::new(config));
        for member in members.chars() {
            ring.join(member);
        }
        ring
    }

    fn join(&mut self, member: char) -> Vec<String> {
        let name = member.to_lowercase().to_string();
        self.0.handle(Input::Event(Event::Connected { id: id(&name), may_join: true }));
        let greeting = match member.is_uppercase() {
            true => r#"{"method":"greeting","data":"hello"}"#,
            false => r#"{"method":"greeting","data":{"rank":1,"forwards":true}}"#,
        };
        self.says(&name, greeting)
    }

    /// One line an effect; what spectators see (`Relayed`) is left out, for it
    /// repeats what is sent.
    fn handle(&mut self, input: Input<Relay>) -> Vec<String> {
        let effects = self.0.handle(input);
        self.0.check();
        effects.iter().filter_map(line).collect()
    }

    fn says(&mut self, from: &str, text: &str) -> Vec<String> {
        self.handle(Input::Message { from: id(from), message: text.into() })
    }

    fn leaves(&mut self, member: &str) -> Vec<String> {
        self.handle(Input::Event(Event::Left { id: id(member), departure: Departure::Closed }))
    }

    fn stalls(&mut self, token: Token) -> Vec<String> {
        self.handle(Input::Timeout(Timer::Hop(token)))
    }

    /// `a7 b3` as an election frame.
    fn election(&mut self, from: &str, ranks: &str) -> Vec<String> {
        self.says(from, &election(ranks, None))
    }

    fn announces(&mut self, from: &str, leader: &str) -> Vec<String> {
        self.says(from, &format!(r#"{{"method":"newLeader","data":{{"leaderId":"{leader}"}}}}"#))
    }

    fn passes_announcement_on(&mut self, from: &str, leader: &str, term: u64) -> Vec<String> {
        self.says(
            from,
            &format!(r#"{{"method":"newLeader","data":{{"leaderId":"{leader}","term":{term}}},"senderId":"x"}}"#),
        )
    }

    fn checks(&mut self, from: &str, leader: &str, term: u64) -> Vec<String> {
        self.says(from, &format!(r#"{{"method":"checkLeader","data":{{"leaderId":"{leader}","term":{term}}}}}"#))
    }

    fn answers(&mut self, from: &str, asker: &str, term: u64) -> Vec<String> {
        self.says(from, &format!(r#"{{"method":"answerLeader","data":{{"destinationId":"{asker}","term":{term}}}}}"#))
    }

    /// A whole election, started by the first of `ranks`, who announces `leader`.
    fn elect(&mut self, ranks: &str, leader: &str) {
        let entries: Vec<&str> = ranks.split(' ').collect();
        for count in 1..=entries.len() {
            self.election(&entries[count - 1][..1], &entries[..count].join(" "));
        }
        let (first, term) = (&entries[0][..1], self.0.last_term.get());
        self.announces(first, leader);
        for entry in &entries[1..] {
            self.passes_announcement_on(&entry[..1], leader, term);
        }
        assert_eq!(self.0.leader.as_ref().map(|leader| leader.id.as_str()), Some(leader));
        assert_eq!(self.0.tokens.names().count(), 0);
    }
}

fn election(ranks: &str, term: Option<u64>) -> String {
    let entries: Vec<String> =
        ranks.split(' ').map(|entry| format!(r#"{{"rank":{},"clientId":"{}"}}"#, &entry[1..], &entry[..1])).collect();
    let term = term.map(|term| format!(r#","term":{term}"#)).unwrap_or_default();
    format!(r#"{{"method":"election","data":{{"ranks":[{}]{term}}}}}"#, entries.join(","))
}

fn line(effect: &Effect<Relay>) -> Option<String> {
    Some(match effect {
        Effect::Send { to, message } => format!("{to} < {}", said(message)),
        Effect::SetTimer { timer, after } => {
            assert_eq!(*after, exactly(Duration::from_secs(1)));
            match timer {
                Timer::Hop(token) => format!("set hop of {token}"),
                Timer::Announce(term) => format!("set announce {term}"),
                Timer::Lease(term) => format!("set lease {term}"),
            }
        }
        Effect::CancelTimer(Timer::Hop(token)) => format!("cancel hop of {token}"),
        Effect::CancelTimer(Timer::Announce(term)) => format!("cancel announce {term}"),
        Effect::CancelTimer(Timer::Lease(term)) => format!("cancel lease {term}"),
        Effect::Save(saved) => format!("save {} {}", saved.terms, saved.lease_out),
        Effect::Report(report) => match report {
            Report::Relayed { .. } | Report::Changed => return None,
            Report::Joined(member) => format!("joined {}", member.client_id),
            Report::Left(member) => format!("left {}", member.client_id),
            Report::Opened { term, initiator } => format!("opened {term} by {initiator}"),
            Report::Closed { term, why } => format!("closed {term}: {why:?}"),
            Report::Elected { leader, term } => format!("elected {leader} term {term}"),
            Report::LeaderLeft(left) => format!("leader left {}", left.leader_id),
            Report::Repaired { token, holder, why } => format!("repaired {token} of {holder}: {why:?}"),
            Report::Absorbed { from, method, why } => format!("absorbed {method} of {from}: {why}"),
            Report::Refused { from, error } => format!("refused {from}: {:?}", error.code),
        },
    })
}

/// A frame in one line.
fn said(text: &str) -> String {
    let frame: Frame = wire::decode(text).unwrap();
    let by = frame.sender_id.map(|sender| format!(" by {sender}")).unwrap_or_default();
    match frame.body {
        Body::Ring(RingMessage::Election(election)) => {
            let ranks: Vec<String> =
                election.ranks.iter().map(|entry| format!("{}{}", entry.client_id, entry.rank)).collect();
            format!("election [{}] term {}{by}", ranks.join(" "), election.term.unwrap())
        }
        Body::Ring(RingMessage::NewLeader(new)) => {
            format!("newLeader {} term {}{by}", new.leader_id, new.term.unwrap())
        }
        Body::Ring(RingMessage::CheckLeader(check)) => {
            format!("checkLeader {} term {}{by}", check.leader_id, check.term.unwrap())
        }
        Body::Ring(RingMessage::AnswerLeader(answer)) => {
            format!("answerLeader {} term {}{by}", answer.destination_id, answer.term.unwrap())
        }
        Body::Ring(RingMessage::LeaderLeft(left)) => {
            format!("leaderLeft {} term {}{}", left.leader_id, left.term, if left.resigned { ", resigned" } else { "" })
        }
        Body::Error(error) => format!("error {:?}", error.code),
        other => other.method().into(),
    }
}

fn term(value: u64) -> Term {
    Term::new(value).unwrap()
}

#[test]
fn a_start_is_stamped_and_handed_to_the_successor() {
    let mut relay = Ring::of("abc").0;
    let got = relay.handle(Input::Message { from: id("a"), message: election("a7", None).into() });
    let frame: Arc<str> =
        r#"{"method":"election","data":{"ranks":[{"rank":7,"clientId":"a"}],"term":1},"senderId":"a"}"#.into();
    let hop = Timer::Hop(Token::Election(term(1)));
    let expected = [
        Effect::Report(Report::Opened { term: term(1), initiator: id("a") }),
        Effect::Report(Report::Changed),
        Effect::SetTimer { timer: hop, after: exactly(Duration::from_secs(1)) },
        Effect::Send { to: id("b"), message: frame.clone() },
        Effect::Report(Report::Relayed { from: Some(id("a")), to: id("b"), frame }),
    ];
    assert_eq!(got, expected);
}

#[test]
fn an_election_goes_round_and_its_announcement_too() {
    let mut ring = Ring::of("abc");
    ring.election("a", "a7");
    assert_eq!(ring.election("b", "a7 b9"), ["set hop of election of term 1", "c < election [a7 b9] term 1 by a"]);
    let home = ["cancel hop of election of term 1", "a < election [a7 b9 c3] term 1 by a", "set announce 1"];
    assert_eq!(ring.election("c", "a7 b9 c3"), home);
    let accepted =
        ["cancel announce 1", "elected b term 1", "set hop of announcement of term 1", "b < newLeader b term 1 by a"];
    assert_eq!(ring.announces("a", "b"), accepted);
    assert_eq!(
        ring.passes_announcement_on("b", "b", 1),
        ["set hop of announcement of term 1", "c < newLeader b term 1 by a"]
    );
    assert_eq!(
        ring.passes_announcement_on("c", "b", 1),
        ["cancel hop of announcement of term 1", "a < newLeader b term 1 by a"],
        "it ends at its announcer"
    );
}

#[test]
fn alone_the_frame_is_home_at_once() {
    let mut ring = Ring::of("a");
    let got = ring.election("a", "a7");
    assert_eq!(got[0], "opened 1 by a");
    assert_eq!(got[2..], ["a < election [a7] term 1 by a", "set announce 1"]);
    assert_eq!(ring.announces("a", "a").last().unwrap(), "a < newLeader a term 1 by a");
}

#[test]
fn a_start_while_one_is_open_is_absorbed() {
    let mut ring = Ring::of("abc");
    ring.election("a", "a7");
    assert_eq!(ring.election("c", "c9"), ["absorbed election of c: an election is open"]);
    assert_eq!(ring.election("b", "b9"), ["absorbed election of b: an election is open"], "though it holds the frame");
}

#[test]
fn a_start_that_does_not_know_the_leader_is_told() {
    let mut ring = Ring::of("abc");
    ring.elect("a7 b9 c3", "b");
    assert_eq!(ring.says("c", &election("c3", Some(0))), ["c < newLeader b term 1 by a"]);
    assert_eq!(ring.says("c", &election("c3", Some(1)))[0], "opened 2 by c", "it suspects this very leader");
}

#[test]
fn a_classic_start_carries_no_term_and_always_opens() {
    let mut ring = Ring::of("abC");
    ring.elect("a7 b9 c3", "b");
    assert_eq!(ring.election("c", "c3")[0], "opened 2 by c");
}

#[test]
fn a_hub_that_lost_its_terms_goes_on_above_the_newest_that_is_known() {
    let mut ring = Ring::of("ab");
    assert_eq!(ring.says("a", &election("a7", Some(41)))[0], "opened 42 by a");
    let mut ring = Ring::of("a");
    ring.0.handle(Input::Event(Event::Connected { id: id("b"), may_join: true }));
    ring.says("b", r#"{"method":"greeting","data":{"forwards":true,"term":41}}"#);
    assert_eq!(ring.election("a", "a7")[0], "opened 42 by a");
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

    let mut ring = Ring::of("ab");
    ring.says("a", &election("a7", Some(claim - 1)));
    ring.leaves("a");
    assert_eq!(
        ring.says("b", &election("b7", Some(claim)))[0],
        format!("opened {} by b", claim + 1),
        "the ring has come there"
    );
}

#[test]
fn nothing_of_what_a_holder_wrote_reaches_the_next_but_its_rank() {
    let mut ring = Ring::of("abc");
    ring.election("a", "a7");
    let text = r#"{"method":"election","data":{"ranks":[{"rank":7,"clientId":"a"},  {"clientId":"b","rank":9.0,"x":[[[[]]]]}]}}"#;
    let effects = ring.0.handle(Input::Message { from: id("b"), message: text.into() });
    let sent = effects.iter().find_map(|effect| match effect {
        Effect::Send { message, .. } => Some(&**message),
        _ => None,
    });
    let expected = r#"{"method":"election","data":{"ranks":[{"rank":7,"clientId":"a"},{"rank":9,"clientId":"b"}],"term":1},"senderId":"a"}"#;
    assert_eq!(sent, Some(expected));
}

#[test]
fn who_resigned_is_not_asked_any_more() {
    let mut ring = Ring::of("abc");
    ring.elect("a7 b9 c3", "b");
    ring.says("b", r#"{"method":"leaderLeft","data":{"leaderId":"b","term":1}}"#);
    assert_eq!(ring.checks("c", "b", 1), ["absorbed checkLeader of c: there is no leader"]);
}

#[test]
fn a_holder_that_leaves_is_passed_over() {
    let mut ring = Ring::of("abc");
    ring.election("a", "a7");
    let repaired = [
        "left b",
        "repaired election of term 1 of b: Left",
        "set hop of election of term 1",
        "c < election [a7] term 1 by a",
    ];
    assert_eq!(ring.leaves("b"), repaired);
}

#[test]
fn a_holder_that_stalls_is_passed_over_and_its_late_frame_absorbed() {
    let mut ring = Ring::of("abc");
    ring.election("a", "a7");
    let got = ring.stalls(Token::Election(term(1)));
    assert_eq!(got[0], "repaired election of term 1 of b: Stalled");
    assert_eq!(got[2], "c < election [a7] term 1 by a");
    assert_eq!(ring.election("b", "a7 b9"), ["absorbed election of b: its frame is elsewhere"]);
    ring.election("c", "a7 c3");
    assert_eq!(ring.announces("a", "b")[0], "a < error AnnouncementRefused", "b has not taken part");
}

#[test]
fn every_kind_of_token_is_handed_on_when_its_holder_leaves() {
    let mut ring = Ring::of("abcd");
    ring.elect("a7 b2 c3 d9", "d");
    ring.checks("a", "d", 1);
    ring.answers("d", "c", 1);
    ring.checks("a", "b", 1);
    // b holds a's check of d, a holds d's answer to c.
    assert_eq!(
        ring.leaves("b")[1..],
        [
            "repaired check by a in term 1 of b: Left",
            "set hop of check by a in term 1",
            "c < checkLeader d term 1 by a"
        ]
    );
    assert_eq!(
        ring.stalls(Token::Answer { answerer: id("d"), asker: id("c"), term: term(1) })[1..],
        ["cancel hop of answer to c in term 1", "c < answerLeader c term 1 by d"]
    );
}

#[test]
fn arrays_that_were_tampered_with_are_refused_and_the_token_stays() {
    for ranks in ["b9", "b9 a7", "a8 b9", "a7 b9 c5", "a7 c5", "a7 b9 b9"] {
        let mut ring = Ring::of("abc");
        ring.election("a", "a7");
        let got = ring.election("b", ranks);
        if ranks == "b9" {
            assert_eq!(got, ["absorbed election of b: an election is open"]);
        } else {
            assert_eq!(got, ["b < error BadRanks", "refused b: BadRanks"], "{ranks}");
        }
        assert_eq!(ring.election("b", "a7 b9").len(), 2, "it can still be passed on properly");
    }
}

#[test]
fn arrays_that_were_written_anew_are_read_in_full() {
    let mut ring = Ring::of("abc");
    ring.election("a", "a7");
    ring.election("b", "a7 b9");
    let text = r#"{"data":{"ranks":[{"clientId":"a","rank":7.0}, {"clientId":"c","rank":3}, {"clientId":"b","rank":9}]},"method":"election"}"#;
    assert_eq!(ring.says("c", text)[1], "a < election [a7 b9 c3] term 1 by a");
    assert_eq!(ring.announces("a", "b")[1], "elected b term 1");
}

#[test]
fn an_array_is_read_the_same_appended_to_or_written_anew() {
    // What follows the given `[{"rank":7,"clientId":"a"}` in the frame of b, its holder.
    let table = [
        (r#",{"rank":9,"clientId":"b"}],"term":1}}"#, "c < election [a7 b9] term 1 by a"),
        (r#", {"clientId":"b","rank":9}]}}"#, "c < election [a7 b9] term 1 by a"),
        (r#"],"term":1}}"#, "c < election [a7] term 1 by a"),
        (r#",{"rank":9,"clientId":"b"}],"term":2}}"#, "absorbed election of b: of another term"),
        (r#",{"rank":9,"clientId":"c"}],"term":1}}"#, "b < error BadRanks"),
        (r#",{"rank":9,"clientId":"b"},{"rank":8,"clientId":"b"}],"term":1}}"#, "b < error BadRanks"),
        (r#",7],"term":1}}"#, "b < error BadRanks"),
        (r#",],"term":1}}"#, "b < error BadFrame"),
        (r#",{"rank":9,"clientId":"b"}],"ranks":[]}}"#, "b < error BadFrame"),
        (r#",{"rank":9,"clientId":"b"}"#, "b < error BadFrame"),
    ];
    for (rest, expected) in table {
        for space in ["", " "] {
            let mut ring = Ring::of("abc");
            ring.election("a", "a7");
            let text = format!(r#"{{"method":"election","data":{{"ranks":[{space}{{"rank":7,"clientId":"a"}}{rest}"#);
            let got = ring.says("b", &text);
            assert!(got.contains(&expected.into()), "{text}: {got:?}");
        }
    }
}

#[test]
fn whoever_adds_nothing_does_not_stand() {
    let mut ring = Ring::of("ab");
    ring.election("a", "a7");
    assert_eq!(ring.election("b", "a7")[1], "a < election [a7] term 1 by a");
    assert_eq!(ring.announces("a", "b")[0], "a < error AnnouncementRefused");
}

#[test]
fn announcements_are_checked() {
    // who, announces whom, accepted
    let table = [("a", "b", true), ("a", "c", true), ("a", "a", false), ("b", "b", false), ("a", "z", false)];
    for (who, leader, accepted) in table {
        let mut ring = Ring::of("abc");
        ring.election("a", "a7");
        ring.election("b", "a7 b9");
        assert_eq!(ring.announces("a", "b")[0], "a < error AnnouncementRefused", "not home yet");
        assert_eq!(ring.0.election, None, "and closed by that");

        let mut ring = Ring::of("abc");
        ring.election("a", "a7");
        ring.election("b", "a7 b9");
        ring.election("c", "a7 b9 c9");
        let got = ring.announces(who, leader);
        assert_eq!(got.contains(&format!("elected {leader} term 1")), accepted, "{who} announces {leader}: {got:?}");
        if !accepted {
            assert_eq!(
                got[..2],
                [format!("{who} < error AnnouncementRefused"), format!("refused {who}: AnnouncementRefused")]
            );
            assert_eq!(ring.0.election.is_none(), who == "a", "only the initiator closes its election");
        }
    }
}

#[test]
fn one_announcement_a_term_gets_through() {
    let mut ring = Ring::of("abc");
    ring.elect("a9 b9 c9", "b");
    assert_eq!(ring.announces("a", "c"), ["a < error AnnouncementRefused", "refused a: AnnouncementRefused"]);
    assert_eq!(ring.passes_announcement_on("c", "b", 1), ["absorbed newLeader of c: it is announced already"]);
}

#[test]
fn a_leader_that_has_left_is_not_announced() {
    let mut ring = Ring::of("abc");
    ring.election("a", "a7");
    ring.election("b", "a7 b9");
    ring.election("c", "a7 b9 c3");
    ring.leaves("b");
    let got = ring.announces("a", "b");
    assert_eq!(
        got,
        ["a < error AnnouncementRefused", "refused a: AnnouncementRefused", "cancel announce 1", "closed 1: Refused"]
    );
}

#[test]
fn elections_close_when_the_initiator_leaves_or_does_not_announce() {
    let mut ring = Ring::of("abc");
    ring.election("a", "a7");
    assert_eq!(ring.leaves("a"), ["left a", "cancel hop of election of term 1", "closed 1: Left"]);
    assert_eq!(ring.election("b", "a7 b9"), ["absorbed election of b: its frame is elsewhere"]);
    ring.election("b", "b9");
    ring.election("c", "b9 c3");
    assert_eq!(ring.handle(Input::Timeout(Timer::Announce(term(1)))), [] as [&str; 0], "an older one");
    assert_eq!(ring.handle(Input::Timeout(Timer::Announce(term(2)))), ["cancel announce 2", "closed 2: Stalled"]);
    assert_eq!(ring.election("c", "c3")[0], "opened 3 by c");
}

#[test]
fn accepting_withdraws_older_announcements() {
    let mut ring = Ring::of("ab");
    ring.election("a", "a9");
    ring.election("b", "a9 b3");
    ring.announces("a", "a");
    // b holds the announcement of term 1 when a starts again and is through first.
    ring.election("a", "a9");
    ring.election("b", "a9 b3");
    assert!(ring.announces("a", "a").contains(&"cancel hop of announcement of term 1".into()));
    assert_eq!(ring.passes_announcement_on("b", "a", 1), ["absorbed newLeader of b: it is announced already"]);
    assert_eq!(ring.passes_announcement_on("b", "a", 2)[1], "a < newLeader a term 2 by a");
}

#[test]
fn a_check_goes_to_the_leader_and_its_answer_to_the_asker() {
    let mut ring = Ring::of("abcd");
    ring.elect("a7 b2 c9 d1", "c");
    assert_eq!(ring.checks("a", "c", 1), ["set hop of check by a in term 1", "b < checkLeader c term 1 by a"]);
    assert_eq!(ring.checks("a", "c", 1), ["absorbed checkLeader of a: the same is on its way"]);
    assert_eq!(ring.checks("b", "c", 1), ["cancel hop of check by a in term 1", "c < checkLeader c term 1 by a"]);
    assert_eq!(ring.answers("c", "a", 1), ["set hop of answer to a in term 1", "d < answerLeader a term 1 by c"]);
    assert_eq!(ring.answers("d", "a", 1), ["cancel hop of answer to a in term 1", "a < answerLeader a term 1 by c"]);
}

#[test]
fn of_several_checks_in_hand_the_one_is_passed_on_that_it_says() {
    let mut ring = Ring::of("abcd");
    ring.elect("a7 b9 c3 d9", "d");
    ring.checks("a", "d", 1);
    ring.checks("b", "d", 1); // passes a's on: c holds it
    ring.checks("b", "d", 1); // b's own: c holds both
    let by =
        |asker: &str| format!(r#"{{"method":"checkLeader","data":{{"leaderId":"d","term":1}},"senderId":"{asker}"}}"#);
    assert_eq!(ring.says("c", &by("b"))[1], "d < checkLeader d term 1 by b");
    assert_eq!(ring.says("c", &by("z"))[1], "d < checkLeader d term 1 by a", "any other will do");
    assert_eq!(ring.says("c", &by("z"))[0], "cancel hop of check by c in term 1", "a new one, and its own");
}

#[test]
fn a_check_of_anyone_else_is_answered_with_the_leader() {
    let mut ring = Ring::of("abc");
    ring.elect("a7 b9 c3", "b");
    let told = ["c < newLeader b term 1 by a"];
    assert_eq!(ring.checks("c", "a", 1), told, "another member");
    assert_eq!(ring.checks("c", "b", 0), told, "an older term");
    assert_eq!(ring.checks("c", "gone", 1), told, "nobody");
    ring.leaves("b");
    assert_eq!(ring.checks("c", "b", 1), ["absorbed checkLeader of c: there is no leader"]);
}

#[test]
fn what_is_for_somebody_who_left_ends() {
    let mut ring = Ring::of("abcd");
    ring.elect("a7 b2 c9 d1", "c");
    ring.checks("a", "c", 1);
    ring.answers("c", "b", 1);
    let got = ring.leaves("c");
    assert_eq!(got[..2], ["left c", "leader left c"]);
    assert!(got.contains(&"cancel hop of check by a in term 1".into()), "{got:?}");
    assert!(ring.leaves("b").contains(&"cancel hop of answer to b in term 1".into()));
    assert_eq!(ring.0.tokens.names().count(), 0);
    assert_eq!(ring.answers("d", "b", 1), ["absorbed answerLeader of d: who had asked is no member"]);
}

#[test]
fn everybody_hears_that_the_leader_left() {
    let mut ring = Ring::of("abc");
    ring.elect("a7 b9 c3", "b");
    let told = ["left b", "leader left b", "a < leaderLeft b term 1", "c < leaderLeft b term 1"];
    assert_eq!(ring.leaves("b"), told);
}

#[test]
fn a_leader_that_leaves_during_its_announcement_is_told_after_it() {
    let mut ring = Ring::of("abc");
    ring.election("a", "a7");
    ring.election("b", "a7 b9");
    ring.election("c", "a7 b9 c3");
    ring.announces("a", "b");
    let got = ring.leaves("b");
    assert_eq!(got[..2], ["left b", "leader left b"]);
    assert_eq!(got.last().unwrap(), "c < newLeader b term 1 by a", "the announcement goes on");
    let got = ring.passes_announcement_on("c", "b", 1);
    assert_eq!(got[1..], ["a < newLeader b term 1 by a", "a < leaderLeft b term 1", "c < leaderLeft b term 1"]);
}

#[test]
fn only_the_leader_can_resign() {
    let mut ring = Ring::of("abc");
    ring.elect("a7 b9 c3", "b");
    let resigns = |leader: &str, term: u64| {
        format!(r#"{{"method":"leaderLeft","data":{{"leaderId":"{leader}","term":{term}}}}}"#)
    };
    assert_eq!(ring.says("a", &resigns("b", 1)), ["a < error NotLeader", "refused a: NotLeader"]);
    assert_eq!(ring.says("b", &resigns("b", 0)), ["b < error NotLeader", "refused b: NotLeader"]);
    let told = ["leader left b", "a < leaderLeft b term 1, resigned", "c < leaderLeft b term 1, resigned"];
    assert_eq!(ring.says("b", &resigns("b", 1)), told);
    assert_eq!(ring.0.snapshot().leader_id, None);
    assert_eq!(ring.0.snapshot().term, term(1), "the last term stands while there is no leader");
}

#[test]
fn a_classic_member_gets_its_copy_and_nothing_of_others() {
    let mut ring = Ring::of("aBc");
    ring.election("a", "a7");
    ring.election("b", "a7 b3");
    ring.election("c", "a7 b3 c9");
    let got = ring.announces("a", "c");
    assert_eq!(
        got[2..],
        ["b < newLeader c term 1 by a", "set hop of announcement of term 1", "c < newLeader c term 1 by a"]
    );
    ring.passes_announcement_on("c", "c", 1);
    assert_eq!(ring.checks("a", "c", 1)[1], "c < checkLeader c term 1 by a", "b is passed over");
    let classic = r#"{"method":"checkLeader","data":{"leaderId":"c"},"senderId":"b"}"#;
    assert_eq!(ring.says("b", classic)[1], "c < checkLeader c term 1 by b", "stamped with the leader's term");
    assert_eq!(ring.answers("c", "b", 1)[1], "a < answerLeader b term 1 by c");
}

#[test]
fn a_classic_newcomer_is_told_of_the_leader_in_its_own_words() {
    let mut ring = Ring::of("abc");
    ring.elect("a7 b9 c3", "b");
    assert_eq!(ring.join('D'), ["d < response", "joined d", "d < newLeader b term 1 by a"]);
    assert_eq!(ring.join('e'), ["e < response", "joined e"], "ours has read the response");
}

#[test]
fn direct_routing_is_the_classic_one() {
    let mut ring = Ring::with("abcd", Config { routing: Routing::Direct, ..Config::default() });
    ring.election("a", "a7");
    ring.election("b", "a7 b9");
    ring.election("c", "a7 b9 c3");
    ring.election("d", "a7 b9 c3 d1");
    let got = ring.announces("a", "b");
    assert_eq!(got[2..], ["a", "b", "c", "d"].map(|to| format!("{to} < newLeader b term 1 by a")));
    assert_eq!(ring.checks("d", "b", 1), ["b < checkLeader b term 1 by d"]);
    assert_eq!(ring.answers("b", "d", 1), ["d < answerLeader d term 1 by b"]);
    assert_eq!(ring.passes_announcement_on("c", "b", 1), ["absorbed newLeader of c: it is announced already"]);
}

#[test]
fn frames_that_do_not_go_cost_an_error_and_nothing_else() {
    let ring_before = {
        let mut ring = Ring::of("abc");
        ring.elect("a7 b9 c3", "b");
        ring
    };
    let table = [
        ("junk", "BadFrame"),
        (r#"{"method":"fly"}"#, "UnknownMethod"),
        (r#"{"method":"election","data":{"ranks":"x"}}"#, "BadRanks"),
        (r#"{"method":"election","data":{"ranks":[7]}}"#, "BadRanks"),
        (r#"{"method":"election","data":{"ranks":[]}}"#, "BadRanks"),
        (r#"{"method":"election","data":{"ranks":[{"rank":7,"clientId":"me"}]}}"#, "BadRanks"),
        (r#"{"method":"newLeader","data":{"leaderId":"a","term":9}}"#, "AnnouncementRefused"),
        (r#"{"method":"newLeader","data":{"leaderId":"a"},"senderId":"b"}"#, "AnnouncementRefused"),
        (r#"{"method":"greeting","data":"again"}"#, "AlreadyJoined"),
        (r#"{"method":"welcome","data":{}}"#, "HubOnly"),
        (r#"{"method":"ring","data":{"ring":"default","members":[],"leaderId":null,"term":0}}"#, "HubOnly"),
    ];
    for (text, code) in table {
        let mut ring = Ring(ring_before.0.clone());
        assert_eq!(ring.says("a", text), [format!("a < error {code}"), format!("refused a: {code}")], "{text}");
        assert_eq!(ring.0, ring_before.0, "{text} changes nothing");
    }
    let mut ring = Ring(ring_before.0.clone());
    let error = r#"{"method":"error","data":{"code":"no-such-code","message":"no","about":null}}"#;
    assert_eq!(ring.says("a", error), ["absorbed error of a: errors end where they arrive"]);
    assert_eq!(ring.says("nobody", "junk"), [] as [&str; 0], "a connection that is gone");
}

#[test]
fn whoever_has_not_greeted_only_watches() {
    let mut ring = Ring::of("ab");
    ring.0.handle(Input::Event(Event::Connected { id: id("s"), may_join: false }));
    for text in [election("s9", None), r#"{"method":"newLeader","data":{"leaderId":"s"}}"#.into()] {
        assert_eq!(ring.says("s", &text), ["s < error NotAMember", "refused s: NotAMember"]);
    }
    assert_eq!(ring.says("s", r#"{"method":"greeting","data":"hi"}"#), ["s < error WatchOnly", "refused s: WatchOnly"]);
    assert_eq!(ring.leaves("s"), [] as [&str; 0]);
    assert_eq!(ring.0.snapshot().members.len(), 2);
}

#[test]
fn a_full_ring_takes_no_more() {
    let mut ring = Ring::with("ab", Config { max_members: 2, ..Config::default() });
    assert_eq!(ring.join('c'), ["c < error RingFull", "refused c: RingFull"]);
    ring.leaves("a");
    ring.leaves("c");
    assert_eq!(ring.join('d'), ["d < response", "joined d"]);
}

#[test]
fn the_welcome_names_members_leader_and_the_leaders_own_term() {
    let mut ring = Ring::of("abc");
    ring.elect("a7 b9 c3", "b");
    ring.election("a", "a7"); // term 2 is open
    let effects = ring.0.handle(Input::Event(Event::Connected { id: id("d"), may_join: true }));
    let [Effect::Send { to, message }] = &effects[..] else { panic!("{effects:?}") };
    let frame: Frame = wire::decode(message).unwrap();
    assert_eq!((to, frame.client_id), (&id("d"), Some(id("d"))));
    let Body::Welcome(welcome) = frame.body else { panic!("{message}") };
    assert_eq!((welcome.leader_id, welcome.term), (Some(id("b")), Some(term(1))));
    let members: Vec<_> = welcome.members.unwrap().into_iter().map(|member| (member.client_id, member.rank)).collect();
    assert_eq!(members, ["a", "b", "c"].map(|name| (id(name), Some(Rank::from(1)))));
}

#[test]
fn a_newcomer_takes_part_in_an_election_that_has_not_passed_the_end() {
    let mut ring = Ring::of("ab");
    ring.election("a", "a7");
    ring.join('c');
    assert_eq!(ring.election("b", "a7 b9")[1], "c < election [a7 b9] term 1 by a");
}
