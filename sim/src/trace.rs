//! What happened, and how it prints: one line each, ids short, for people.

use std::fmt;
use std::time::Duration;

use ringleader_shared::election::{Belief, Role, eligible_array};
use ringleader_shared::id::{Candidate, ClientId, Name, Term};
use ringleader_shared::message::{LeaderLeft, RingMessage};
use ringleader_shared::relay::{self, Why};
use ringleader_shared::wire::{self, Body, Frame};

/// Something that happened, to be seen from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    /// When, from the beginning of the world.
    pub at: Duration,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The world did something to a node.
    Deed {
        /// The node.
        node: Name,
        /// What was done.
        deed: Deed,
    },
    /// The hub's driver has not heard of a connection for so long that it closes it.
    Silent(ClientId),
    /// The hub's relay tells something.
    Hub(relay::Report),
    /// A node tells something.
    Node {
        /// Which node.
        node: Name,
        /// Who it is on its connection; `None` without one.
        id: Option<ClientId>,
        /// What it tells.
        report: eligible_array::Report,
    },
}

/// What can be done to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Its program starts, knowing nothing.
    Starts,
    /// Its program ends, and its connection with it.
    Crashes,
    /// Its program stands still.
    Pauses,
    /// Its program goes on.
    Wakes,
    /// Its program asks it to give up leading.
    Resigns,
}

impl What {
    /// Whether a trace shows it. Not shown: what the line beside it says already.
    pub fn is_worth_a_line(&self) -> bool {
        match self {
            // Whoever is new knows no leader.
            What::Node { report: eligible_array::Report::Believes(belief), .. } => {
                belief.role != Role::Candidate || belief.term != Term::NONE
            }
            // The frame that says it has a line.
            What::Node { report: eligible_array::Report::LeaderLeft(_), .. } => false,
            What::Hub(report) => !matches!(report, relay::Report::Changed),
            _ => true,
        }
    }
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>2}.{:03}  {}", self.at.as_secs(), self.at.subsec_millis(), self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Deed { node, deed } => write!(f, "{node} {deed}"),
            What::Silent(id) => write!(f, "hub: {} is silent for too long", id.short()),
            What::Hub(report) => hub(report, f),
            What::Node { node, id, report } => {
                write!(f, "{}: ", id.as_ref().map_or(node.as_str(), ClientId::short))?;
                member(report, f)
            }
        }
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Deed::Starts => "starts",
            Deed::Crashes => "crashes",
            Deed::Pauses => "is paused",
            Deed::Wakes => "wakes",
            Deed::Resigns => "is asked to resign",
        })
    }
}

fn hub(report: &relay::Report, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    use relay::Report;
    match report {
        Report::Joined(member) => write!(f, "hub: {} joined", member.client_id.short()),
        Report::Left(member) => write!(f, "hub: {} left", member.client_id.short()),
        Report::Changed => write!(f, "hub: the ring changed"),
        Report::Relayed { from, to, frame, .. } => {
            let from = from.as_ref().map_or("hub", ClientId::short);
            write!(f, "{from} → {}  {}", to.short(), FrameText(frame))
        }
        Report::Opened { term, initiator } => write!(f, "hub: term {term} opened, started by {}", initiator.short()),
        Report::Closed { term, why } => write!(
            f,
            "hub: term {term} closed, {}",
            match why {
                Why::Left => "its initiator left",
                Why::Stalled => "its initiator did not announce",
                Why::Refused => "its announcement was refused",
            }
        ),
        Report::Elected { leader, term } => write!(f, "hub: {} elected, term {term}", leader.short()),
        Report::LeaderLeft(LeaderLeft { leader_id, term, resigned }) => {
            let how = if *resigned { "resigned" } else { "left" };
            write!(f, "hub: leader {} {how}, term {term}", leader_id.short())
        }
        Report::Repaired { token, holder, why } => write!(
            f,
            "hub: {token} goes on, {} {}",
            holder.short(),
            match why {
                Why::Left => "left with it",
                Why::Stalled => "kept it too long",
                Why::Refused => "was refused",
            }
        ),
        Report::Absorbed { from, method, why } => write!(f, "hub: absorbed {method} of {} ({why})", from.short()),
        Report::Refused { from, error } => write!(f, "hub: refused {} ({})", from.short(), error.message),
    }
}

fn member(report: &eligible_array::Report, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    use eligible_array::Report;
    match report {
        Report::Believes(Belief { role, leader, term, may_act }) => {
            match (role, leader) {
                (Role::Disconnected, _) => return write!(f, "has lost its connection"),
                (Role::Leader, _) if *may_act => write!(f, "may act")?,
                (Role::Leader, _) => write!(f, "leads")?,
                (_, Some(leader)) => write!(f, "follows {}", leader.short())?,
                (_, None) => write!(f, "knows no leader")?,
            }
            in_term(Some(*term).filter(|term| *term != Term::NONE), f)
        }
        Report::Started => write!(f, "starts an election"),
        Report::Announced { leader, entries: 1 } => write!(f, "announces {}, alone", leader.short()),
        Report::Announced { leader, entries } => write!(f, "announces {}, the best of {entries}", leader.short()),
        Report::Unanswered { leader } => write!(f, "has had no answer of {}", leader.short()),
        Report::LeaderLeft(left) => write!(f, "hears that {} left", left.leader_id.short()),
        Report::Waits(wait) => write!(f, "waits {} ms before it acts", wait.as_millis()),
        Report::StoodDown { refused: true } => write!(f, "stands down, refused a lease"),
        Report::StoodDown { refused: false } => write!(f, "stands down, its lease has run out"),
    }
}

fn in_term(term: Option<Term>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    term.map_or(Ok(()), |term| write!(f, ", term {term}"))
}

/// A frame of the ring in a few words.
struct FrameText<'a>(&'a str);

impl fmt::Display for FrameText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(Frame { sender_id, body: Body::Ring(message), .. }) = wire::decode::<Vec<Candidate>>(self.0) else {
            return f.write_str(self.0);
        };
        let origin = sender_id.as_ref().map_or("hub", ClientId::short);
        f.write_str(message.method())?;
        match message {
            RingMessage::Election(election) => {
                for (at, Candidate { rank, client_id }) in election.ranks.iter().enumerate() {
                    write!(f, "{}{}={rank}", if at == 0 { " [" } else { " " }, client_id.short())?;
                }
                write!(f, "]")?;
                in_term(election.term, f)
            }
            RingMessage::NewLeader(announcement) => {
                write!(f, " {}", announcement.leader_id.short())?;
                in_term(announcement.term, f)?;
                announcement.act_after_ms.map_or(Ok(()), |wait| write!(f, ", to act after {wait} ms"))
            }
            RingMessage::CheckLeader(check) => {
                write!(f, " {origin} asks {}", check.leader_id.short())?;
                in_term(check.term, f)
            }
            RingMessage::AnswerLeader(answer) => {
                write!(f, " {origin} to {}", answer.destination_id.short())?;
                in_term(answer.term, f)
            }
            RingMessage::LeaderLeft(left) => {
                write!(f, " {}", left.leader_id.short())?;
                in_term(Some(left.term), f)
            }
            RingMessage::Lease(lease) => in_term(Some(lease.term), f),
        }
    }
}
