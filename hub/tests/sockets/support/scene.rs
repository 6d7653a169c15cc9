//! A ring at rest, in which somebody does what does not go.

use serde_json::Value;

use super::{Hub, Peer, elect};

/// Three members, of whom the second leads term 1, and somebody who watches.
pub struct Scene {
    pub hub: Hub,
    pub offender: Peer,
    pub bystanders: [Peer; 2],
    pub spectator: Peer,
    /// The ring as it was, and has to stay.
    before: Value,
    /// How many lines were logged that tell of faults.
    lines: usize,
}

impl Scene {
    pub async fn new() -> Self {
        let hub = Hub::start().await;
        let [mut a, mut b, mut c] = hub.ring([3, 9, 5]).await;
        elect([&mut a, &mut b, &mut c], 0).await;
        let spectator = hub.connect("/").await;
        let before = hub.view().await;
        assert_eq!(before["term"], 1);
        Scene { hub, offender: c, bystanders: [a, b], spectator, before, lines: 0 }
    }

    /// Whatever was done: nothing has changed and nobody was told anything.
    pub async fn is_unmoved(&mut self, by: &str) {
        assert_eq!(self.hub.view().await, self.before, "the ring is as it was before {by}");
        for bystander in &mut self.bystanders {
            bystander.has_nothing_more(&format!("because of {by}")).await;
        }
        self.spectator.has_nothing_more(&format!("because of {by}")).await;
    }

    /// The log has this many lines more than when last asked.
    pub fn logged(&mut self, lines: usize, about: &str) {
        let warnings = self.hub.warnings();
        let new = &warnings[self.lines..];
        assert_eq!(new.len(), lines, "lines in the log about {about}: {new:#?}");
        self.lines = warnings.len();
    }

    /// Says this as a member: answered with that error, told in one line, and all is as before.
    pub async fn refuses(&mut self, what: &str, text: &str, code: &str, about: impl Into<Value>) {
        self.offender.send_text(text).await;
        let error = self.offender.error().await;
        assert_eq!((&error["code"], &error["about"]), (&code.into(), &about.into()), "{what}: {error}");
        self.offender.has_nothing_more(&format!("after the error about {what}")).await;
        self.logged(1, what);
        self.is_unmoved(what).await;
    }
}
