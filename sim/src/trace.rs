//! What happened, and how it prints: one line each, ids short, for people.

use std::fmt;
use std::sync::Arc;
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
    /// The world did something to the hub.
    HubDeed(HubDeed),
    /// The hub's driver has not heard of a connection for so long that it closes it.
    Silent(ClientId),
    /// It does not take what the hub has for it, and the hub closes it.
    TooSlow(ClientId),
    /// The hub has lost power in the middle of something.
    PowerLost,
    /// The hub's relay is handed a frame.
    Hears {
        /// Over whose connection.
        from: ClientId,
        /// Whether it came from a liar.
        lies: bool,
        /// The frame.
        frame: Arc<str>,
    },
    /// A node has a connection to the hub that runs now.
    Connects {
        /// The node.
        node: Name,
    },
    /// A node may act as the leader.
    Leased {
        /// The node.
        node: Name,
        /// In which term.
        term: Term,
        /// Until when, should its own clock show it: `None`, for as long as it leads.
        until: Option<Duration>,
        /// Whether the hub grants leases.
        by_lease: bool,
    },
    /// A node may act no more.
    Idle {
        /// The node.
        node: Name,
    },
    /// Somebody wrote to the resource behind the fence.
    Wrote {
        /// The node.
        node: Name,
        /// The term that it showed.
        term: Term,
        /// Whether the fence let it through.
        admitted: bool,
    },
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
    /// Its machine loses power: nobody is told.
    Vanishes,
    /// Its program is asked to end: it resigns and says goodbye.
    Leaves,
    /// Its program stands still.
    Pauses,
    /// Its program goes on.
    Wakes,
    /// Its program asks it to give up leading.
    Resigns,
    /// It takes the leader for gone, without a reason: its timers run out early.
    Suspects,
    /// Nothing that is said that way arrives any more.
    Cut(Way),
    /// What waited before the cut goes on, and so does the rest.
    Heals,
    /// The hub loses its connection, and the node does not notice.
    IsForgotten,
    /// It loses its connection, and the hub does not notice.
    Forgets,
    /// It takes nothing of what the hub has for it.
    StopsReading,
    /// Each of its frames takes up to so many milliseconds, each way.
    Lags(u16),
    /// Its frames take as long as others'.
    CatchesUp,
}

/// Which way between a node and the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the hub.
    Up,
    /// To the node.
    Down,
    /// Both.
    Both,
}

/// What can be done to the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HubDeed {
    /// Its program ends, and its connections with it.
    Crashes,
    /// Its machine loses power: nobody is told.
    Vanishes,
    /// The same while it writes something down the next time.
    VanishesSaving {
        /// Of what it does then, so much is done.
        after: u8,
    },
    /// Its program starts, with what it wrote down.
    Starts,
    /// The same with an empty store.
    StartsEmpty,
    /// All faults end: every node runs, everything is connected.
    Calm,
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
            What::Hears { .. } | What::Connects { .. } | What::Leased { .. } | What::Idle { .. } => false,
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
            What::HubDeed(deed) => write!(f, "{deed}"),
            What::Silent(id) => write!(f, "hub: {} is silent for too long", id.short()),
            What::TooSlow(id) => write!(f, "hub: {} is too slow", id.short()),
            What::PowerLost => f.write_str("the hub loses power"),
            What::Hears { from, frame, .. } => write!(f, "{} → hub  {}", from.short(), FrameText(frame)),
            What::Connects { node } => write!(f, "{node} connects"),
            What::Leased { node, term, until: Some(until), .. } => {
                write!(f, "{node} may act in term {term} until {:.3}", until.as_secs_f64())
            }
            What::Leased { node, term, .. } => write!(f, "{node} may act in term {term}"),
            What::Idle { node } => write!(f, "{node} may not act"),
            What::Wrote { node, term, admitted: true } => write!(f, "{node} writes, term {term}"),
            What::Wrote { node, term, .. } => write!(f, "{node} writes, term {term}: refused, stale"),
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
            Deed::Vanishes => "loses power",
            Deed::Leaves => "is asked to leave",
            Deed::Pauses => "is paused",
            Deed::Wakes => "wakes",
            Deed::Resigns => "is asked to resign",
            Deed::Suspects => "suspects the leader",
            Deed::Cut(Way::Both) => "is cut off",
            Deed::Cut(Way::Up) => "is cut off, towards the hub",
            Deed::Cut(Way::Down) => "is cut off, from the hub",
            Deed::Heals => "is connected again",
            Deed::IsForgotten => "is forgotten by the hub",
            Deed::Forgets => "forgets its connection",
            Deed::StopsReading => "stops reading",
            Deed::Lags(millis) => return write!(f, "lags by up to {millis} ms"),
            Deed::CatchesUp => "lags no more",
        })
    }
}

impl fmt::Display for HubDeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HubDeed::Crashes => f.write_str("the hub crashes"),
            HubDeed::VanishesSaving { after } => {
                write!(f, "the hub is to lose power when it saves, after {after} effects")
            }
            HubDeed::Vanishes => f.write_str("the hub loses power"),
            HubDeed::Starts => f.write_str("the hub starts, with its store"),
            HubDeed::StartsEmpty => f.write_str("the hub starts, with an empty store"),
            HubDeed::Calm => f.write_str("all faults end"),
        }
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
