//! The rules of coordinator, workers and board, by name; see [`crate::rule`].

crate::rule::rules! {
    /// The board takes checkpoints and results of the newest term alone.
    OlderTermsRefused = "older-terms-refused",
    /// The board takes a checkpoint only if it follows the last one.
    CheckpointsInOrder = "checkpoints-in-order",
    /// A job that has ended takes no result.
    OneResult = "one-result",
    /// A part that is done counts once, however often it is done.
    PartsCountOnce = "parts-count-once",
    /// What a worker that is gone or silent had in hand is handed to another.
    PartsHandedOn = "parts-handed-on",
    /// A new coordinator begins with what the board has written down.
    CheckpointsAreLoaded = "checkpoints-are-loaded",
    /// A worker takes parts from the leader it follows alone, in its term.
    OwnCoordinatorOnly = "own-coordinator-only",
    /// A worker that is asked by a new coordinator tells what it holds.
    HeldPartsAreTold = "held-parts-are-told",
}
