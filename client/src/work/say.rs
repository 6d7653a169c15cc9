//! What coordinator and worker tell, as people read it in the logs.

use ringleader_shared::factorial::{coordinator, worker};
use ringleader_shared::id::{ClientId, Term};
use tracing::{debug, info, warn};

/// Results of so many digits are told whole; of longer ones so many.
const WHOLE: usize = 4096;
const SHOWN: usize = 40;

/// What a coordinator tells.
pub(crate) fn of_coordinator(report: coordinator::Report, term: Option<Term>, called: impl Fn(&ClientId) -> String) {
    use coordinator::Report;
    let term = term.unwrap_or(Term::NONE);
    match report {
        Report::TookOver { factorial, written, held, lost, .. } => info!(
            "took over {}! in term {term}: {written} parts from the checkpoint, {held} held by workers, \
             {lost} to be done again",
            factorial.0
        ),
        Report::Began(job, factorial) => info!("began {}! in term {term} (job {job})", factorial.0),
        Report::Worker(worker) => info!("{} takes parts", called(&worker)),
        Report::HandedOn { worker, parts, gone } => {
            let how = if gone { "is gone" } else { "is silent" };
            let parts = if parts == 1 { "a part is".into() } else { format!("{parts} parts are") };
            info!("{} {how}: {parts} handed on", called(&worker));
        }
        // So, and not otherwise: people look for it.
        Report::Done { factorial, result, .. } if result.len() <= WHOLE => info!("{}!={result}", factorial.0),
        Report::Done { job, factorial, result } => {
            let (begin, digits) = (result.get(..SHOWN).unwrap_or_default(), result.len());
            info!("{}!={begin}… ({digits} digits: ringleader job show {job} has them all)", factorial.0);
        }
        Report::GaveUp(job, why) => warn!("job {job} cannot be done: {why}"),
        Report::Deposed => warn!("term {term}: the hub knows a newer leader, coordinating no more"),
    }
}

/// What a worker tells.
pub(crate) fn of_worker(report: worker::Report, called: impl Fn(&ClientId) -> String) {
    use worker::Report;
    match report {
        Report::Ready { coordinator, term, held } => {
            let holding = if held > 0 { format!("; {held} parts were done already") } else { String::new() };
            info!("term {term}: taking parts from {}{holding}", called(&coordinator));
        }
        Report::Failed(part) => debug!("job {}, part {} could not be done", part.job_id, part.part),
    }
}
