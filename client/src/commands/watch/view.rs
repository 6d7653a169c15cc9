//! Frames as lines that people read.

use std::collections::BTreeMap;

use ringleader_shared::id::{Candidate, ClientId, Rank, Term};
use ringleader_shared::message::{Member, RingMessage};
use ringleader_shared::wire::{self, Body, DecodeError, Frame, Relayed, Welcome};

use crate::commands::terminal::{Paint, clock, printable};

/// How many ranks of an election, and how many members of a ring, are shown.
const MOST_RANKS: usize = 6;
const MOST_MEMBERS: usize = 12;

/// Columns grow to this, for the longest name there is. A longer one is out of line.
const WIDEST: usize = 32;

/// How many of those who have left are still known by name.
const DEPARTED: usize = 1000;

/// What came before, in so far as it matters for how a frame is shown.
pub struct View {
    paint: Paint,
    labels: BTreeMap<ClientId, String>,
    width: usize,
    last_seq: Option<u64>,
}

impl View {
    pub fn new(paint: Paint) -> Self {
        View { paint, labels: BTreeMap::new(), width: 4, last_seq: None }
    }

    /// The lines for a frame, as a rule one. `now` is for frames that do not tell their own time.
    ///
    /// # Errors
    ///
    /// What was relayed is no frame that we know.
    pub fn show(&mut self, frame: &Frame, now: u64) -> Result<Vec<String>, DecodeError> {
        match &frame.body {
            Body::Welcome(welcome) => {
                self.learn(welcome.members.as_deref().unwrap_or_default());
                Ok(vec![])
            }
            Body::RingChanged(ring) => {
                self.learn(&ring.members);
                let text = format!("ring: {}", self.ring(&ring.members, ring.leader_id.as_ref(), Some(ring.term)));
                Ok(vec![format!("{}  {}", clock(now), self.paint.with("1", &text))])
            }
            Body::Relayed(relayed) => self.relayed(relayed),
            // A hub that has no spectators hands us frames as if we were a member.
            Body::Ring(message) => {
                let from = frame.sender_id.as_ref().map_or("?".into(), |id| self.called(id));
                Ok(vec![self.line(now, &from, "me", frame.sender_id.as_ref(), message)])
            }
            Body::Greeting(_) | Body::Response(_) | Body::Message(_) | Body::Error(_) => Ok(vec![]),
        }
    }

    /// Who is there, as a welcome has it, and who leads.
    pub fn who(&self, welcome: &Welcome) -> String {
        match &welcome.members {
            Some(members) => self.ring(members, welcome.leader_id.as_ref(), welcome.term),
            None => "it does not say who is there".into(),
        }
    }

    fn relayed(&mut self, relayed: &Relayed) -> Result<Vec<String>, DecodeError> {
        let mut lines = vec![];
        // A lower one comes from a hub that has started anew.
        if let Some(last) = self.last_seq.replace(relayed.seq)
            && relayed.seq > last.saturating_add(1)
        {
            let missed = match relayed.seq - last - 1 {
                1 => "1 frame was missed".to_owned(),
                count => format!("{count} frames were missed"),
            };
            lines.push(format!("{}  {}", clock(relayed.at), self.paint.with("31", &missed)));
        }
        let frame: Frame = wire::decode(relayed.frame.get())?;
        let from = relayed.from.as_ref().map_or("hub".into(), |id| self.called(id));
        let to = self.called(&relayed.to);
        lines.push(match &frame.body {
            Body::Ring(message) => self.line(relayed.at, &from, &to, frame.sender_id.as_ref(), message),
            Body::Message(message) => self.columns(relayed.at, &from, &to, "message", Some(message.term), ""),
            body => self.columns(relayed.at, &from, &to, body.method(), None, ""),
        });
        Ok(lines)
    }

    fn line(&self, at: u64, from: &str, to: &str, origin: Option<&ClientId>, message: &RingMessage) -> String {
        let origin = origin.map_or("?".into(), |id| self.called(id));
        let (term, essence) = match message {
            RingMessage::Election(election) => (election.term, self.ranks(&election.ranks)),
            RingMessage::NewLeader(new) => {
                let waits = new.act_after_ms.map(|wait| format!(", to act after {wait} ms")).unwrap_or_default();
                (new.term, format!("leader {}{waits}", self.called(&new.leader_id)))
            }
            RingMessage::CheckLeader(check) => (check.term, format!("{origin} asks {}", self.called(&check.leader_id))),
            RingMessage::AnswerLeader(answer) => {
                (answer.term, format!("{origin} answers {}", self.called(&answer.destination_id)))
            }
            RingMessage::LeaderLeft(left) => {
                let how = if left.resigned { "has resigned" } else { "has left" };
                (Some(left.term), format!("{} {how}", self.called(&left.leader_id)))
            }
            RingMessage::Lease(lease) => (Some(lease.term), String::new()),
        };
        self.columns(at, from, to, message.method(), term, &essence)
    }

    fn columns(&self, at: u64, from: &str, to: &str, what: &str, term: Option<Term>, essence: &str) -> String {
        let colour = match what {
            "election" => "33",
            "newLeader" => "1;32",
            "leaderLeft" => "1;31",
            _ => "2",
        };
        let width = self.width;
        let term = term.map_or("-".to_owned(), |term| term.to_string());
        let rest = format!("{what:<12}  term {term:<3}  {essence}");
        format!("{}  {from:>width$} → {to:<width$}  {}", clock(at), self.paint.with(colour, rest.trim_end()))
    }

    fn ranks(&self, ranks: &[Candidate]) -> String {
        let entry = |entry: &Candidate| format!("{} {}", self.called(&entry.client_id), number(entry.rank));
        format!("[{}]", some_of(ranks, MOST_RANKS, entry))
    }

    fn ring(&self, members: &[Member], leader: Option<&ClientId>, term: Option<Term>) -> String {
        let who = match members {
            [] => "nobody is there".into(),
            members => some_of(members, MOST_MEMBERS, |member| self.called(&member.client_id)),
        };
        match (leader, term) {
            (Some(leader), Some(term)) => format!("{who} (leader {}, term {term})", self.called(leader)),
            (Some(leader), None) => format!("{who} (leader {})", self.called(leader)),
            (None, Some(term)) if term > Term::NONE => format!("{who} (no leader, last term {term})"),
            (None, _) => format!("{who} (no leader)"),
        }
    }

    /// By name; where that would not tell who, with a piece of the id; who has none, by id.
    fn called(&self, id: &ClientId) -> String {
        self.labels.get(id).cloned().unwrap_or_else(|| printable(id.short()))
    }

    fn learn(&mut self, members: &[Member]) {
        if self.labels.len() > members.len() + DEPARTED {
            self.labels.clear();
        }
        let mut bearers = BTreeMap::from([("hub", 1), ("me", 1), ("?", 1)]);
        for name in members.iter().filter_map(|member| member.name.as_ref()) {
            *bearers.entry(name.as_str()).or_default() += 1;
        }
        for member in members {
            let short = printable(member.client_id.short());
            let label = match &member.name {
                Some(name) if bearers[name.as_str()] == 1 => printable(name.as_str()),
                Some(name) => format!("{}~{short}", printable(name.as_str())),
                None => short,
            };
            self.labels.insert(member.client_id.clone(), label);
        }
        let widths = members.iter().map(|member| self.called(&member.client_id).chars().count());
        self.width = widths.filter(|width| *width <= WIDEST).max().unwrap_or(0).max(self.width);
    }
}

/// The first ones, and how many there are in all.
fn some_of<T>(all: &[T], most: usize, show: impl Fn(&T) -> String) -> String {
    let mut shown: Vec<String> = all.iter().take(most).map(show).collect();
    if all.len() > most {
        shown.push(format!("… {} in all", all.len()));
    }
    shown.join(", ")
}

/// As it travels: 1e+300 rather than 301 digits.
fn number(rank: Rank) -> String {
    serde_json::to_string(&rank).unwrap_or_else(|_| rank.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> View {
        let mut view = View::new(Paint::none());
        show(
            &mut view,
            r#"{"method":"welcome","clientId":"me","data":{"ring":"default","members":[
                {"clientId":"a","name":"red","rank":42},{"clientId":"b","name":"turquoise"},{"clientId":"0123456789"}]}}"#,
        );
        view
    }

    fn show(view: &mut View, text: &str) -> Vec<String> {
        view.show(&wire::decode(text).unwrap(), 0).unwrap()
    }

    fn relayed(view: &mut View, seq: u64, from: &str, to: &str, frame: &str) -> Vec<String> {
        show(
            view,
            &format!(
                r#"{{"method":"relayed","data":{{"seq":{seq},"at":1790863572123,"from":{from},"to":"{to}","frame":{frame}}}}}"#
            ),
        )
    }

    #[test]
    fn frames_are_lines_with_aligned_columns() {
        let view = &mut view();
        let table = [
            (
                r#""a""#,
                "b",
                r#"{"method":"election","data":{"ranks":[{"rank":42,"clientId":"a"},{"rank":1e300,"clientId":"0123456789"}],"term":3},"senderId":"a"}"#,
                "14:06:12.123        red → turquoise  election      term 3    [red 42, 01234567 1e+300]",
            ),
            (
                r#""b""#,
                "a",
                r#"{"method":"newLeader","data":{"leaderId":"b"}}"#,
                "14:06:12.123  turquoise → red        newLeader     term -    leader turquoise",
            ),
            (
                r#""a""#,
                "b",
                r#"{"method":"checkLeader","data":{"leaderId":"b","term":3},"senderId":"a"}"#,
                "14:06:12.123        red → turquoise  checkLeader   term 3    red asks turquoise",
            ),
            (
                r#""b""#,
                "0123456789",
                r#"{"method":"answerLeader","data":{"destinationId":"a","term":3},"senderId":"b"}"#,
                "14:06:12.123  turquoise → 01234567   answerLeader  term 3    turquoise answers red",
            ),
            (
                "null",
                "a",
                r#"{"method":"leaderLeft","data":{"leaderId":"gone","term":3},"senderId":null}"#,
                "14:06:12.123        hub → red        leaderLeft    term 3    gone has left",
            ),
        ];
        for (seq, (from, to, frame, expected)) in table.into_iter().enumerate() {
            assert_eq!(relayed(view, seq as u64, from, to, frame), [expected]);
        }
    }

    #[test]
    fn a_ring_is_a_line() {
        let view = &mut view();
        let ring = r#"{"method":"ring","data":{"ring":"default","members":[{"clientId":"a","name":"red"},{"clientId":"c","name":"blue"}],"leaderId":"c","term":3}}"#;
        assert_eq!(show(view, ring), ["00:00:00.000  ring: red, blue (leader blue, term 3)"]);
        let nobody = r#"{"method":"ring","data":{"ring":"default","members":[],"leaderId":null,"term":3}}"#;
        assert_eq!(show(view, nobody), ["00:00:00.000  ring: nobody is there (no leader, last term 3)"]);
    }

    #[test]
    fn long_arrays_are_cut() {
        let view = &mut view();
        let ranks = |count: usize| {
            let entries: Vec<String> = (0..count).map(|n| format!(r#"{{"rank":{n},"clientId":"n{n}"}}"#)).collect();
            format!(r#"{{"method":"election","data":{{"ranks":[{}],"term":3}}}}"#, entries.join(","))
        };
        assert!(relayed(view, 1, "null", "a", &ranks(6))[0].ends_with("[n0 0, n1 1, n2 2, n3 3, n4 4, n5 5]"));
        assert!(relayed(view, 2, "null", "a", &ranks(12))[0].ends_with("n5 5, … 12 in all]"));
    }

    #[test]
    fn gaps_are_said_and_a_new_hub_is_none() {
        let view = &mut view();
        let frame = r#"{"method":"newLeader","data":{"leaderId":"a","term":1}}"#;
        assert_eq!(relayed(view, 7, "null", "a", frame).len(), 1);
        assert_eq!(relayed(view, 8, "null", "a", frame).len(), 1);
        assert_eq!(relayed(view, 10, "null", "a", frame)[0], "14:06:12.123  1 frame was missed");
        assert_eq!(relayed(view, u64::MAX, "null", "a", frame).len(), 2);
        assert_eq!(relayed(view, 1, "null", "a", frame).len(), 1);
    }

    #[test]
    fn equal_names_and_the_hubs_own_are_told_apart() {
        let view = &mut view();
        let ring = r#"{"method":"ring","data":{"ring":"default","members":[{"clientId":"a","name":"red"},{"clientId":"b","name":"red"},{"clientId":"c","name":"hub"},{"clientId":"d","name":"\u202ex"}],"leaderId":null,"term":0}}"#;
        assert_eq!(show(view, ring), ["00:00:00.000  ring: red~a, red~b, hub~c, \\u{202e}x (no leader)"]);
    }

    #[test]
    fn what_is_no_frame_is_an_error() {
        let text =
            r#"{"method":"relayed","data":{"seq":1,"at":1,"from":null,"to":"a","frame":{"method":"\u001b[31m"}}}"#;
        assert!(view().show(&wire::decode(text).unwrap(), 0).is_err());
    }
}
