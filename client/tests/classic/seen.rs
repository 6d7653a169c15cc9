//! What is seen of a ring: what members believe, what the hub hands on, what
//! processes print. Some things are a fault whenever they are seen: two leaders of
//! one term, a term that falls.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

/// Everything that was seen so far.
#[derive(Default)]
pub struct Seen {
    /// Whoever has been there.
    pub parties: BTreeMap<String, Party>,
    /// What the hub handed on.
    pub frames: Vec<Handed>,
    /// Our hub's newest word on the ring; others have none.
    ring: Option<Ring>,
    /// Who leads in which term.
    leaders: BTreeMap<u64, String>,
    story: Vec<String>,
    faults: Vec<String>,
}

/// What somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A member that counts terms, as ours do.
    Ours,
    /// A member that counts none.
    Classic,
    /// No member.
    Hub,
}

/// One who takes part.
pub struct Party {
    /// What it is.
    pub kind: Kind,
    /// Once it has one.
    pub id: Option<String>,
    /// Whom it holds for the leader.
    pub leader: Option<String>,
    term: u64,
    /// Neither killed nor paused, nor ended by itself.
    present: bool,
    /// Whether its own output has ended.
    pub ended: bool,
    /// What it printed, where somebody kept it.
    pub said: Vec<Value>,
}

/// A frame that the hub handed on.
pub struct Handed {
    /// To whom.
    pub to: String,
    /// Whether in a binary message.
    pub binary: bool,
    /// The frame.
    pub frame: Value,
}

#[derive(Debug)]
struct Ring {
    leader: Option<String>,
    term: u64,
    members: Vec<String>,
}

/// JSON that one of our own programs wrote.
pub fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// What happens.
impl Seen {
    /// Somebody starts.
    pub fn enter(&mut self, name: &str, kind: Kind) {
        self.tell(name, "starts");
        let present = kind != Kind::Hub;
        let newcomer = Party { kind, id: None, leader: None, term: 0, present, ended: false, said: vec![] };
        assert!(self.parties.insert(name.to_owned(), newcomer).is_none(), "there was a {name} before");
    }

    /// Somebody is not to be counted any more, or for a while.
    pub fn go(&mut self, name: &str, how: &str) {
        self.tell(name, how);
        self.party(name).present = false;
    }

    /// Somebody is to be counted again.
    pub fn come_back(&mut self, name: &str) {
        self.tell(name, "is woken");
        self.party(name).present = true;
    }

    /// It will say no more.
    pub fn on_end(&mut self, name: &str) {
        self.go(name, "has ended");
        self.party(name).ended = true;
    }

    /// A member says what it believes.
    pub fn on_status(&mut self, name: &str, status: &Value) {
        let (id, leader, term) =
            (text(&status["clientId"]), text(&status["leaderId"]), status["term"].as_u64().unwrap());
        self.tell(name, &format!("is a {}, leader {}, term {term}", status["role"], status["leaderId"]));
        if let (Some(leader), true) = (&leader, self.is_watched()) {
            self.leads(leader, term);
        }
        let party = self.party(name);
        let before = party.term;
        (party.id, party.leader, party.term) = (id, leader, term);
        if term < before {
            self.faults.push(format!("the term of {name} fell from {before} to {term}"));
        }
    }

    /// Our hub tells a spectator.
    pub fn on_watched(&mut self, frame: &Value) {
        let data = &frame["data"];
        match frame["method"].as_str().unwrap() {
            "relayed" => self.on_handed(&data["to"], false, &data["frame"]),
            "ring" | "welcome" => {
                let (leader, term) = (text(&data["leaderId"]), data["term"].as_u64().unwrap());
                let members = data["members"].as_array().unwrap().iter();
                let members = members.filter_map(|member| text(&member["clientId"])).collect();
                self.tell("hub", &format!("leader {}, term {term}", data["leaderId"]));
                if let Some(leader) = &leader {
                    self.leads(leader, term);
                }
                if term < self.term() {
                    self.faults.push(format!("the term of the ring fell to {term}"));
                }
                self.ring = Some(Ring { leader, term, members });
            }
            _ => {}
        }
    }

    /// A hub has handed a frame on.
    pub fn on_handed(&mut self, to: &Value, binary: bool, frame: &Value) {
        let to = text(to).unwrap();
        self.tell("hub", &format!("→ {to}{} {frame}", if binary { " (binary)" } else { "" }));
        let data = &frame["data"];
        if let ("newLeader", Some(term)) = (frame["method"].as_str().unwrap(), data["term"].as_u64()) {
            self.leads(data["leaderId"].as_str().unwrap(), term);
        }
        self.frames.push(Handed { to, binary, frame: frame.clone() });
    }

    fn leads(&mut self, leader: &str, term: u64) {
        let known = self.leaders.entry(term).or_insert_with(|| leader.into());
        if known != leader {
            self.faults.push(format!("two leaders in term {term}: {known} and {leader}"));
        }
    }

    /// Something that must never be was seen.
    pub fn on_fault(&mut self, fault: String) {
        self.faults.push(fault);
    }

    /// A line of the story.
    pub fn tell(&mut self, who: &str, what: &str) {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() % 1_000_000;
        self.story.push(format!("{:3}.{:03}  {who}: {what}", at / 1000, at % 1000));
    }

    /// One who has been there.
    pub fn party(&mut self, name: &str) -> &mut Party {
        self.parties.get_mut(name).unwrap_or_else(|| panic!("there is no {name}"))
    }
}

/// What is to be judged.
impl Seen {
    /// Whether our hub tells of the ring.
    pub fn is_watched(&self) -> bool {
        self.ring.is_some()
    }

    /// Our hub's term; 0 where the hub counts none.
    pub fn term(&self) -> u64 {
        self.ring.as_ref().map_or(0, |ring| ring.term)
    }

    /// Whether it is a member, by our hub's word.
    pub fn is_member(&self, name: &str) -> bool {
        let id = &self.parties[name].id;
        self.ring.iter().flat_map(|ring| &ring.members).any(|member| Some(member) == id.as_ref())
    }

    /// Whom all who are there hold for the leader, and who is there; in the same
    /// term, and by our hub's word too.
    pub fn agreement(&self) -> Option<&str> {
        let present = || self.parties.iter().filter(|(_, party)| party.present);
        let (_, first) = present().next()?;
        let leader = first.leader.as_ref()?;
        let (name, _) = present().find(|(_, party)| party.id.as_ref() == Some(leader))?;
        let believes = |party: &Party| {
            party.leader.as_ref() == Some(leader) && (party.kind != Kind::Ours || party.term == self.term())
        };
        let hub_agrees = self.ring.as_ref().is_none_or(|ring| ring.leader.as_ref() == Some(leader));
        (hub_agrees && present().all(|(_, party)| believes(party))).then_some(name)
    }

    /// How many answers of one member reached another that had asked.
    pub fn answers(&self, by: &str, to: &str) -> usize {
        let id = |name| self.parties.get(name).and_then(|party| party.id.as_deref());
        let (Some(by), Some(to)) = (id(by), id(to)) else { return 0 };
        let answers = self.frames.iter().filter(|Handed { to: receiver, frame, .. }| {
            frame["method"] == "answerLeader"
                && frame["senderId"] == by
                && frame["data"]["destinationId"] == to
                && receiver == to
        });
        answers.count()
    }

    /// How many answers of one member reached whoever had asked.
    pub fn answers_of(&self, by: &str) -> usize {
        self.parties.keys().map(|to| self.answers(by, to)).sum()
    }

    /// The first thing that must never be.
    pub fn fault(&self) -> Option<String> {
        self.faults.first().cloned()
    }

    /// Everything in order, with names for ids.
    pub fn story(&self) -> String {
        let mut story = self.story.join("\n");
        for (name, party) in &self.parties {
            if let Some(id) = &party.id {
                story = story.replace(id, name);
            }
        }
        story
    }
}
