//! The commands of scenario files.

use std::str::FromStr;
use std::time::Duration;

use ringleader_shared::election::eligible_array::{self, Timing};
use ringleader_shared::election::{Belief, Role};
use ringleader_shared::id::{ClientId, Name, Rank};
use ringleader_shared::relay;
use ringleader_shared::wire::{self, Frame, RawRanks};

use crate::trace::{Deed, Happening, HubDeed, Way, What};

/// What can stand in a scenario file.
pub const COMMANDS: &str = "\
nodes a=7 b=3 c=9   our clients with their ranks, members from the beginning
nodes a=7@100ms     the same; 100ms to its first election, instead of chance
classic d=5         the same with classic members
early               before the nodes: all elect as soon as the leader's
                    connection is gone
seed 42             before the nodes: another run of chance
join e=8            a newcomer starts and connects
crash c             its program ends, and its connection closes
restart c           its program starts anew
pause c             its program stands still; after 3s the hub closes its
                    connection
wake c              its program goes on
resign c            the leader gives up leading
cut c               nothing passes between it and the hub, nor that it is cut
cut c up            the same, of what it says; what the hub says arrives
cut c down          the other way about
heal c              what waited goes on, where nobody has given up
hub-crash           the hub's program ends, and all connections close
hub-restart         it starts anew, with its store
hub-restart empty   the same, with an empty store
run-for 2s          time passes
run-until c EVENT   time passes until this happens to c:
  elected             the hub accepts its announcement
  leads               it knows that it leads
  acts                it may act as the leader
  stands-down         its lease has run out, or was refused
  holds METHOD        the hub hands it an election, newLeader, checkLeader or
                      answerLeader
  left                it is no member any more
settle              time passes until all who are awake agree on a leader and
                    no frame is under way
# a comment";

/// One command.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    Seed(u64),
    Early,
    Nodes(Vec<Spec>),
    Classic(Vec<Spec>),
    Join(Spec),
    Do(Deed, Name),
    DoToHub(HubDeed),
    RunFor(Duration),
    RunUntil(Name, Event),
    Settle,
}

/// A node, as it is called up.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Spec {
    pub name: Name,
    pub rank: Rank,
    pub start_delay: Option<Duration>,
}

/// What can be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Elected,
    Leads,
    Acts,
    StandsDown,
    Left,
    Holds(&'static str),
}

const METHODS: [&str; 4] = ["election", "newLeader", "checkLeader", "answerLeader"];

impl FromStr for Command {
    /// What was expected.
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["nodes", ..] => specs("nodes", &words[1..]).map(Command::Nodes),
            ["classic", ..] => specs("classic", &words[1..]).map(Command::Classic),
            ["join", spec] => spec_of("join", spec).map(Command::Join),
            ["join", ..] => Err("join NAME=RANK".into()),
            ["early"] => Ok(Command::Early),
            ["early", ..] => Err("early, and nothing after it".into()),
            ["seed", number] if number.parse::<u64>().is_ok() => Ok(Command::Seed(number.parse().unwrap_or_default())),
            ["seed", ..] => Err("seed NUMBER".into()),
            ["cut", node] => Ok(Command::Do(Deed::Cut(Way::Both), name(node)?)),
            ["cut", node, "up"] => Ok(Command::Do(Deed::Cut(Way::Up), name(node)?)),
            ["cut", node, "down"] => Ok(Command::Do(Deed::Cut(Way::Down), name(node)?)),
            ["cut", ..] => Err("cut NODE, cut NODE up or cut NODE down".into()),
            ["hub-crash"] => Ok(Command::DoToHub(HubDeed::Crashes)),
            ["hub-restart"] => Ok(Command::DoToHub(HubDeed::Starts)),
            ["hub-restart", "empty"] => Ok(Command::DoToHub(HubDeed::StartsEmpty)),
            ["hub-crash" | "hub-restart", ..] => Err("hub-crash, hub-restart or hub-restart empty".into()),
            [verb @ ("crash" | "restart" | "pause" | "wake" | "resign" | "heal"), ref nodes @ ..] => {
                let deed = match verb {
                    "crash" => Deed::Crashes,
                    "restart" => Deed::Starts,
                    "pause" => Deed::Pauses,
                    "wake" => Deed::Wakes,
                    "heal" => Deed::Heals,
                    _ => Deed::Resigns,
                };
                match nodes {
                    [node] => Ok(Command::Do(deed, name(node)?)),
                    _ => Err(format!("{verb} NODE")),
                }
            }
            ["run-for", time] => duration(time).map(Command::RunFor).ok_or("a time such as 2s or 100ms".into()),
            ["run-for", ..] => Err("run-for TIME".into()),
            ["run-until", node, ref event @ ..] if !event.is_empty() => {
                Ok(Command::RunUntil(name(node)?, event_of(event)?))
            }
            ["run-until", ..] => Err("run-until NODE EVENT".into()),
            ["settle"] => Ok(Command::Settle),
            ["settle", ..] => Err("settle, and nothing after it".into()),
            _ => Err("one of nodes, classic, early, seed, join, crash, restart, pause, wake, resign, cut, heal, hub-crash, hub-restart, run-for, run-until, settle".into()),
        }
    }
}

fn specs(verb: &str, words: &[&str]) -> Result<Vec<Spec>, String> {
    match words {
        [] => Err(format!("{verb} NAME=RANK …")),
        words => words.iter().map(|word| spec_of(verb, word)).collect(),
    }
}

fn spec_of(verb: &str, word: &str) -> Result<Spec, String> {
    let expected = || format!("{verb} NAME=RANK or NAME=RANK@DELAY, such as a=7 or a=7@100ms");
    let (who, what) = word.split_once('=').ok_or_else(expected)?;
    let (rank, delay) = what.split_once('@').map_or((what, None), |(rank, delay)| (rank, Some(delay)));
    let start_delay = delay.map(|delay| duration(delay).ok_or_else(expected)).transpose()?;
    let longest = Timing::default().start_delay;
    if start_delay > Some(longest) {
        return Err(format!("a start delay of at most {}ms", longest.as_millis()));
    }
    Ok(Spec { name: name(who)?, rank: rank.parse().map_err(|_| expected())?, start_delay })
}

/// Letters only: the hub's ids are a node's name, with a number from the second on.
pub(crate) fn name(word: &str) -> Result<Name, String> {
    const LONGEST: usize = 6;
    let fits = (1..=LONGEST).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_lowercase());
    let name = Name::new(word).ok().filter(|_| fits && word != "hub");
    name.ok_or_else(|| format!("a node's name of at most {LONGEST} small letters, other than hub"))
}

pub(crate) fn duration(word: &str) -> Option<Duration> {
    match (word.strip_suffix("ms"), word.strip_suffix('s')) {
        (Some(millis), _) => millis.parse().ok().map(Duration::from_millis),
        (None, Some(seconds)) => seconds.parse().ok().map(Duration::from_secs),
        _ => None,
    }
}

fn event_of(words: &[&str]) -> Result<Event, String> {
    match words {
        ["elected"] => Ok(Event::Elected),
        ["leads"] => Ok(Event::Leads),
        ["acts"] => Ok(Event::Acts),
        ["stands-down"] => Ok(Event::StandsDown),
        ["left"] => Ok(Event::Left),
        ["holds", method] => {
            let known = METHODS.into_iter().find(|known| known == method);
            known.map(Event::Holds).ok_or_else(|| format!("holds and one of {}", METHODS.join(", ")))
        }
        _ => Err("an event: elected, leads, acts, stands-down, left, or holds METHOD".into()),
    }
}

impl Event {
    /// Whether this is what was waited for.
    pub fn is(self, name: &Name, happening: &Happening) -> bool {
        let is_it = |id: &ClientId| id.as_str().trim_end_matches(|c: char| c.is_ascii_digit()) == name.as_str();
        match (self, &happening.what) {
            (Event::Elected, What::Hub(relay::Report::Elected { leader, .. })) => is_it(leader),
            (Event::Left, What::Hub(relay::Report::Left(member))) => is_it(&member.client_id),
            (Event::Holds(method), What::Hub(relay::Report::Relayed { to, frame, .. })) => {
                let frame: Result<Frame<RawRanks>, _> = wire::decode(frame);
                is_it(to) && frame.is_ok_and(|frame| frame.body.method() == method)
            }
            (Event::Leads, What::Node { node, report, .. }) => {
                node == name && matches!(report, eligible_array::Report::Believes(Belief { role: Role::Leader, .. }))
            }
            (Event::Acts, What::Node { node, report, .. }) => {
                node == name && matches!(report, eligible_array::Report::Believes(Belief { may_act: true, .. }))
            }
            (Event::StandsDown, What::Node { node, report, .. }) => {
                node == name && matches!(report, eligible_array::Report::StoodDown { .. })
            }
            _ => false,
        }
    }
}
