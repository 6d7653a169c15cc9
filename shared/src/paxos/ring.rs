//! Who gives out the roles: Chang and Roberts on the ring of all nodes. As ids rise with
//! the ring, the next node swallows all candidates but the greatest.

use super::message::{Incarnation, Message, NodeId, Start};
use super::{Effects, Node, Report, Timer, fits, half_more, send};
use crate::machine::Effect;

impl Node {
    /// Stands for leader. Also to be told of the run, if it has begun without us.
    pub(super) fn campaign(&mut self) -> Effects {
        let candidate = Message::Candidate { id: self.me, members: vec![self.saved.incarnation] };
        vec![
            send(self.roles.successor(self.me), candidate),
            Effect::SetTimer { timer: Timer::Candidate, after: half_more(self.timing.candidate) },
        ]
    }

    pub(super) fn on_candidate(&mut self, id: NodeId, mut members: Vec<Incarnation>) -> Effects {
        let count = self.roles.count();
        if id.0 >= count {
            return vec![]; // Somebody with another list of hosts.
        }
        if let Some(start) = &self.saved.start {
            // Our own may still be going round.
            return if id == self.me { vec![] } else { vec![send(id, Message::Start(start.clone()))] };
        }
        let Some(&run) = members.first() else { return vec![] };
        if id < self.me {
            // Swallowed; ours is under way.
            return vec![];
        }
        if id == self.me {
            // It is home, unless it is what an earlier incarnation sent.
            let is_home = members.len() == usize::from(count) && run == self.saved.incarnation;
            return if is_home && self.is_greatest() { self.on_home(members) } else { vec![] };
        }
        let distance = usize::from((self.me.0 + count - id.0) % count);
        if members.len() != distance || self.saved.backed > Some(run) {
            // It came another way than round the ring, or we back a later incarnation of its node.
            return vec![];
        }
        members.push(self.saved.incarnation);
        let mut effects = vec![];
        if self.saved.backed != Some(run) {
            self.saved.backed = Some(run);
            effects.push(self.save());
        }
        effects.push(send(self.roles.successor(self.me), Message::Candidate { id, members }));
        effects
    }

    pub(super) fn is_greatest(&self) -> bool {
        self.me.0 + 1 == self.roles.count()
    }

    /// Our candidate has met every node: we give out the roles. `members` begins with us.
    pub(super) fn on_home(&mut self, mut members: Vec<Incarnation>) -> Effects {
        members.rotate_left(1);
        let start = Start { roles: self.roles, members };
        self.saved.backed = Some(self.saved.incarnation);
        self.saved.start = Some(start.clone());
        let mut effects = vec![self.save(), Effect::CancelTimer(Timer::Candidate), Effect::Report(Report::Leads)];
        effects.extend(self.tell_start(&start));
        effects.extend(self.begin());
        effects
    }

    /// Proposers last: what they ask comes in vain to acceptors that have not started.
    pub(super) fn tell_start(&self, start: &Start) -> Effects {
        self.others().rev().map(|node| send(node, Message::Start(start.clone()))).collect()
    }

    pub(super) fn others(&self) -> impl DoubleEndedIterator<Item = NodeId> {
        let me = self.me;
        self.roles.all().filter(move |node| *node != me)
    }

    pub(super) fn on_start(&mut self, from: NodeId, start: Start) -> Effects {
        if self.saved.start.is_some() {
            return vec![]; // A repetition; or another run, in which we are not listed.
        }
        if !fits(&start, self.roles) {
            return vec![Effect::Report(Report::OtherRoles(from))];
        }
        self.saved.start = Some(start);
        let mut effects = vec![self.save(), Effect::CancelTimer(Timer::Candidate)];
        effects.extend(self.begin());
        effects
    }
}
