//! The rules on which agreement rests.

crate::rule::rules! {
    /// An acceptor accepts nothing below the ballot that it promised.
    PromiseIsKept = "promise-is-kept",
    /// An acceptor's promises and votes are saved before they are sent.
    SavedBeforeAnswered = "saved-before-answered",
    /// A proposer takes the value of the highest ballot that its promises tell of.
    HighestAcceptedWins = "highest-accepted-wins",
    /// A quorum is more than half of the acceptors: any two share one.
    Majority = "majority",
    /// A value is chosen by a quorum of votes in one ballot.
    QuorumOfOneBallot = "quorum-of-one-ballot",
    /// Who has forgotten what it promised takes no part any more: it only learns.
    ForgottenOnlyLearns = "forgotten-only-learns",
    /// Who passed a leader's candidate on takes part in no older run.
    NewestRunIsBacked = "newest-run-is-backed",
}
