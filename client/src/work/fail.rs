//! Failing on purpose, to see that the others go on.

use std::process::exit;
use std::time::Duration;

use rand::RngExt;
use tokio::time::sleep;
use tracing::warn;

use super::{Happening, Tell};

/// What a process that was asked to fail ends with.
pub const EXIT_CODE: i32 = 70;

/// For how long one that stalls hangs: longer than the hub bears with a silent member.
pub const STALL: Duration = Duration::from_secs(10);

/// By how much an answer is late.
pub const LATE: Duration = Duration::from_secs(2);

/// How long before it fails: longer than answers are gathered. A computation of small numbers
/// takes microseconds; who died in the same moment would take everything that it had done
/// before with it, and where all are to fail often nobody would get anything done.
const BEFORE: Duration = Duration::from_millis(20);

/// What goes wrong, and how often. For a worker chance is asked at each computation, for
/// a coordinator whenever it writes down what is done, be it of one job or of several.
#[derive(Debug, Clone, PartialEq)]
pub struct Fail {
    /// From 0, never, to 1, always.
    pub probability: f64,
    /// How.
    pub mode: FailMode,
}

/// How a member fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailMode {
    /// The process ends, with exit code 70.
    Exit,
    /// The member hangs for 10 s, and answers no ping.
    Stall,
    /// What it was about to say comes 2 s late.
    Delay,
}

impl Fail {
    /// Asks chance, and fails if it says so. How late the answer has to be.
    pub(super) async fn befall(&self, at: &str, tell: &Tell) -> Duration {
        if !rand::rng().random_bool(self.probability.clamp(0.0, 1.0)) {
            return Duration::ZERO;
        }
        match self.mode {
            FailMode::Exit => {
                sleep(BEFORE).await;
                warn!("failing on purpose at {at}: ending with exit code {EXIT_CODE}");
                exit(EXIT_CODE)
            }
            FailMode::Stall => {
                sleep(BEFORE).await;
                warn!("failing on purpose at {at}: hanging for {} s", STALL.as_secs());
                let _ = tell.send(Happening::Stall);
                sleep(STALL).await;
                Duration::ZERO
            }
            FailMode::Delay => {
                warn!("failing on purpose at {at}: {} s late", LATE.as_secs());
                LATE
            }
        }
    }
}
