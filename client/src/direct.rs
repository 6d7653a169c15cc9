//! The loop for machines whose nodes speak to each other without a hub: await what
//! happens next, hand it over, do what is to be done, in order.

use std::ops::ControlFlow;

use ringleader_shared::machine::{Effect, Input, Machine};

use crate::timers::Timers;

/// The world of one machine: its connections, its disk, and who reads what it reports.
pub trait World<M: Machine> {
    /// What the machine comes to in the end.
    type End;
    /// Why it cannot go on.
    type Error;

    /// What happens next: a message, a broken link, a wish of whoever runs it. Can be
    /// dropped and called again without losing anything.
    fn next(&mut self) -> impl Future<Output = Result<Input<M>, Self::Error>>;

    /// Sends, or takes it on to send. Does not wait for a peer that is slow or away:
    /// no machine can tell a message that is lost from one that is late.
    fn send(&mut self, to: M::Peer, message: M::Message) -> impl Future<Output = Result<(), Self::Error>>;

    /// Writes down; done when it would outlive the program, and the machine's next
    /// effects wait for that.
    fn save(&mut self, saved: M::Saved) -> impl Future<Output = Result<(), Self::Error>>;

    /// Tells; says whether the machine is done. What stands after that is not performed.
    fn report(&mut self, report: M::Report) -> impl Future<Output = Result<ControlFlow<Self::End>, Self::Error>>;
}

/// Runs a machine until it is done. `first` is what wakes it.
///
/// # Errors
///
/// What its world cannot go on with.
pub async fn run<M: Machine, W: World<M>>(mut machine: M, world: &mut W, first: Input<M>) -> Result<W::End, W::Error> {
    let mut timers = Timers::new();
    let mut input = first;
    loop {
        for effect in machine.handle(input) {
            match effect {
                Effect::Send { to, message } => world.send(to, message).await?,
                Effect::SetTimer { timer, after } => timers.set(timer, after),
                Effect::CancelTimer(timer) => timers.cancel(&timer),
                Effect::Save(saved) => world.save(saved).await?,
                Effect::Report(report) => {
                    if let ControlFlow::Break(end) = world.report(report).await? {
                        return Ok(end);
                    }
                }
            }
        }
        input = tokio::select! {
            // Who wakes after a long sleep learns what has changed before its timers make it act.
            biased;
            input = world.next() => input?,
            timer = timers.next() => Input::Timeout(timer),
        };
    }
}
