//! The rules that everything else rests on, by name.
//!
//! Each stands in the code where it is kept, as `self.keeps(Rule::…)`, so a search
//! for its name leads there. The simulator and the model checker run machines that
//! break one of them on purpose (`cargo run -p sim -- --plant list`), to show that
//! the rule is needed and that its loss is noticed. Nothing else breaks any.
//!
//! Below are the rules of a hub and its clients. The algorithms that need no hub have
//! theirs beside them, written with the same macro.

/// An enum of rules, each with what it says and what it is called.
macro_rules! rules {
    ($($(#[doc = $doc:literal])+ $rule:ident = $name:literal,)*) => {
        /// A rule that a machine keeps.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Rule {
            $($(#[doc = $doc])+ $rule,)*
        }

        impl Rule {
            /// All of them.
            pub const ALL: &[Rule] = &[$(Rule::$rule,)*];

            /// What it is called.
            pub fn name(self) -> &'static str {
                match self {
                    $(Rule::$rule => $name,)*
                }
            }

            /// What it says.
            pub fn statement(self) -> &'static str {
                match self {
                    $(Rule::$rule => concat!($($doc),+).trim_ascii_start(),)*
                }
            }
        }

        impl std::fmt::Display for Rule {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

pub(crate) use rules;

rules! {
    // The hub's: shared/src/relay.
    /// An election frame counts only out of its holder's hands.
    LateFramesAbsorbed = "late-frames-absorbed",
    /// Only an open election's initiator announces, and once.
    AnnouncementForOpenElection = "announcement-for-open-election",
    /// An announced leader is a member still.
    LeaderIsThere = "leader-is-there",
    /// An announced leader had the highest rank of the array that came home.
    BestIsAnnounced = "best-is-announced",
    /// A token whose holder leaves or stalls goes on to the next member.
    TokensHandedOn = "tokens-handed-on",
    /// An election without a leader closes when its initiator leaves or does not announce.
    ElectionsClose = "elections-close",
    /// A frame keeps the sender that it started from while it goes round.
    SenderIsKept = "sender-is-kept",
    /// Who started a frame is known by the connection, not by what the frame says.
    SenderIsStamped = "sender-is-stamped",
    /// Of what a holder writes into an election, nothing but its own entry goes on.
    OwnEntryOnly = "own-entry-only",
    /// A leader that is told of comes with its own term, not with the last one.
    LeaderWithItsTerm = "leader-with-its-term",
    /// Who checks anybody but the leader is told who leads.
    NobodyLeftBehind = "nobody-left-behind",
    /// A hub goes on above the newest term that a member knows of.
    ClaimsAreHeard = "claims-are-heard",
    /// A new leader is told to wait until older leases have run out.
    OldLeasesRunOut = "old-leases-run-out",
    /// A lease is granted to the leader alone, in its own term.
    LeaseForLeaderOnly = "lease-for-leader-only",
    /// Who gives its lease back gives back its own, not an older leader's.
    OwnLeaseGivenBack = "own-lease-given-back",
    // The clients': shared/src/election/eligible_array.rs.
    /// An election is home where its initiator's id is in it; ranks may be equal.
    HomeById = "home-by-id",
    /// An announcement is adopted only if its term is not older.
    AdoptOnlyNewer = "adopt-only-newer",
    /// The announcer too adopts only when its announcement comes back.
    AnnouncerWaits = "announcer-waits",
    /// Who has no leader has an election timer armed.
    CampaignIsArmed = "campaign-is-armed",
    /// The check timeout runs from the oldest unanswered check.
    OldestCheckCounts = "oldest-check-counts",
    /// Only the leader's answer counts.
    LeadersAnswerOnly = "leaders-answer-only",
    /// A leader counts its lease from when it asked, not from when it was granted.
    LeaseFromAsking = "lease-from-asking",
    /// A leader whose lease runs out stands down.
    StandDown = "stand-down",
    /// A new leader waits as long as it was told.
    WaitBeforeActing = "wait-before-acting",
}
