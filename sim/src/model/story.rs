//! A way through a model, told step by step.

use ringleader_shared::election::eligible_array::{Report, Timer};
use ringleader_shared::id::{Candidate, ClientId, Name};
use ringleader_shared::relay::{self, Departure};
use ringleader_shared::wire::{self, Body, Frame};
use stateright::Path;

use super::choice::{Action, When};
use super::state::{HubInput, NodeInput, Parcel, State, Wrong};
use crate::trace::What;

/// One line a step, and what is wrong in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    /// The steps.
    pub steps: Vec<String>,
    /// What is wrong.
    pub wrong: String,
}

impl std::fmt::Display for Story {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, step) in self.steps.iter().enumerate() {
            writeln!(f, "{:>3}  {step}", at + 1)?;
        }
        write!(f, "   → {}", self.wrong)
    }
}

impl Story {
    pub(super) fn of(path: Path<State, Action>) -> Self {
        let wrong = match &path.last_state().wrong {
            None => "from here on they cannot agree any more".into(),
            Some(wrong) => wrong.to_string(),
        };
        let steps = path.into_vec().into_iter();
        Story { steps: steps.filter_map(|(state, action)| Some(step(&state, &action?))).collect(), wrong }
    }
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Wrong::TwoAnnounced => "S1: a second leader was announced in this term",
            Wrong::TermFell => "S2: its term fell",
            Wrong::AnotherLeader => "S3: it believes in another leader than was announced in this term",
            Wrong::LeaderTookNoPart => "S4: the announced leader is no member, or took no part",
            Wrong::AnotherSender => "S7: this is not who started the frame",
            Wrong::Blamed => "nobody lies, and yet it is told that it does",
            Wrong::Stuck => "nothing more happens, and they do not agree",
            Wrong::Check(invariant) => invariant,
        })
    }
}

fn step(state: &State, action: &Action) -> String {
    let name = |node: usize| &state.nodes[node].name;
    match action {
        Action::AtHub(at) => {
            let link = &state.links[*at];
            match &link.to_hub[0] {
                Parcel::Frame(frame) => {
                    let heard = frame_line(Some(&link.id), "hub", frame);
                    at_hub(state, heard, HubInput::Frame(link.id.clone(), frame.clone()))
                }
                Parcel::Closed => {
                    let heard = format!("{} → hub  closed", link.id.short());
                    at_hub(state, heard, HubInput::Left(link.id.clone(), Departure::Closed))
                }
            }
        }
        Action::AtNode(at) => {
            let link = &state.links[*at];
            match &link.to_node[0] {
                Parcel::Frame(frame) => {
                    let heard = frame_line(None, link.id.as_str(), frame);
                    at_node(state, link.node, heard, NodeInput::Frame(frame.clone()))
                }
                Parcel::Closed => {
                    at_node(state, link.node, format!("hub → {}  closed", link.id.short()), NodeInput::Closed)
                }
            }
        }
        Action::HubTimer(timer, when) => {
            let what = match timer {
                relay::Timer::Hop(token) => format!("{token}: time to hand it on{}", early(*when)),
                relay::Timer::Announce(term) => format!("term {term}: time to announce is over{}", early(*when)),
                relay::Timer::Lease(term) => format!("lease of term {term}: an eighth is over{}", early(*when)),
            };
            at_hub(state, what, HubInput::Timeout(timer.clone()))
        }
        Action::NodeTimer(node, timer, when) => {
            let what = match timer {
                Timer::Campaign => "has waited for a leader",
                Timer::Check => "is to check its leader",
                Timer::CheckTimeout => "has waited for an answer",
                Timer::Act | Timer::Renew | Timer::LeaseEnd(_) => "has to see to its lease",
            };
            let what = format!("{} {what}{}", name(*node), early(*when));
            at_node(state, *node, what, NodeInput::Timeout(*timer))
        }
        Action::Connect(node) => format!("{} connects", name(*node)),
        Action::Evict(at) => {
            let id = &state.links[*at].id;
            at_hub(
                state,
                format!("hub: {} is silent for too long", id.short()),
                HubInput::Left(id.clone(), Departure::Lost),
            )
        }
        Action::Crash(node) => format!("{} crashes", name(*node)),
        Action::Restart(node) => format!("{} starts again", name(*node)),
        Action::Pause(node) => format!("{} is paused", name(*node)),
        Action::Wake(node) => format!("{} wakes", name(*node)),
        Action::HubRestart => "the hub crashes and starts again".into(),
    }
}

fn early(when: When) -> &'static str {
    match when {
        When::InTime => "",
        When::Early => " (early)",
    }
}

/// As a trace shows a frame on its way; of what is no frame of the ring, only its method.
fn frame_line(from: Option<&ClientId>, to: &str, frame: &str) -> String {
    let hub = ClientId::new("hub").expect("a short name is an id");
    match wire::decode::<Vec<Candidate>>(frame) {
        Ok(Frame { body: Body::Ring(_), .. }) | Err(_) => {
            let to = ClientId::new(to).unwrap_or_else(|_| hub.clone());
            What::Hub(relay::Report::Relayed { from: from.cloned(), to, frame: frame.into() }).to_string()
        }
        Ok(Frame { body, .. }) => format!("{} → {to}  {}", from.unwrap_or(&hub).short(), body.method()),
    }
}

fn at_hub(state: &State, heard: String, input: HubInput) -> String {
    let (_, reports) = (*state.hub).clone().step(&input);
    // What it sends is told where it arrives.
    let news = reports.into_iter().filter(|report| !matches!(report, relay::Report::Relayed { .. })).map(What::Hub);
    told(heard, news, "hub: ")
}

fn at_node(state: &State, node: usize, heard: String, input: NodeInput) -> String {
    let before = &state.nodes[node];
    let (_, reports) = (**before).clone().step(&input);
    let news = |report: Report| What::Node { node: before.name.clone(), id: before.id.clone(), report };
    let prefix = format!("{}: ", before.id.as_ref().map_or(before.name.as_str(), ClientId::short));
    told(heard, reports.into_iter().map(news), &prefix)
}

fn told(heard: String, news: impl Iterator<Item = What>, prefix: &str) -> String {
    let news: Vec<String> = news
        .filter(What::is_worth_a_line)
        .map(|what| what.to_string())
        .map(|line| line.strip_prefix(prefix).map(str::to_owned).unwrap_or(line))
        .collect();
    if news.is_empty() { heard } else { format!("{heard}: {}", news.join("; ")) }
}

/// Who is who in a story.
pub(super) fn letter(at: usize) -> Name {
    let letter = char::from(b'a' + at as u8);
    Name::new(letter.to_string()).expect("a letter is a name")
}
