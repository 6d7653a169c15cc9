//! What multiplies: big integers, on threads of their own, so that nothing else waits.

use std::num::NonZero;
use std::thread::available_parallelism;
use std::time::Duration;

use backon::BackoffBuilder;
use futures_util::future::try_join_all;
use hyper::Method;
use num_bigint::BigUint;
use ringleader_shared::factorial::message::{Assignment, Milled, Number, Product, Task, Value};
use ringleader_shared::factorial::{JobId, OPERANDS, Part, PartId};
use ringleader_shared::id::Term;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tracing::warn;

use super::Tell;
use super::fail::Fail;
use crate::transport::http::{Answer, Call};
use crate::transport::hub::{BACKOFF, HubUrl};

/// The most hexadecimal digits of a product that we let ourselves in for: those of about
/// 1,500,000!.
const MOST_DIGITS: usize = 8 << 20;

/// How often the hub is asked for an operand, or to keep a product: for a few seconds, in
/// which a hub that was restarted is back.
const TRIES: usize = 6;

pub struct Mill {
    hub: HubUrl,
    delay: Duration,
    fail: Option<Fail>,
    tell: Tell,
    /// As many computations at a time as there are processors.
    room: Semaphore,
}

impl Mill {
    pub fn new(hub: HubUrl, delay: Duration, fail: Option<Fail>, tell: Tell) -> Self {
        let room = Semaphore::new(available_parallelism().map_or(1, NonZero::get));
        Mill { hub, delay, fail, tell, room }
    }

    pub async fn mill(&self, task: Task) -> Milled {
        match task {
            Task::Multiply { term, part } => {
                let id = part.id;
                match self.multiply(term, part).await {
                    Ok(product) => Milled::Product(Product { id, product }),
                    Err(problem) => {
                        warn!("job {}, part {}: {problem}", id.job_id, id.part);
                        Milled::Failed(id)
                    }
                }
            }
            Task::Print { job, product } => match self.print(job, product).await {
                Ok(text) => Milled::Printed { job, text: text.into() },
                Err(problem) => {
                    warn!("job {job}: cannot write its result: {problem}");
                    Milled::NotPrinted(job)
                }
            },
        }
    }

    async fn multiply(&self, term: Term, Assignment { id, operands }: Assignment) -> Result<Value, String> {
        let late = match &self.fail {
            Some(fail) => fail.befall(&format!("part {}", id.part), &self.tell).await,
            None => Duration::ZERO,
        };
        if operands.is_empty() || operands.len() > OPERANDS as usize {
            return Err(format!("expected at most {OPERANDS} operands, got {}", operands.len()));
        }
        let numbers = try_join_all(operands.into_iter().map(|operand| self.number(id.job_id, operand))).await?;
        let digits: usize = numbers.iter().map(|number| number.as_str().len()).sum();
        if digits > MOST_DIGITS {
            return Err(format!("expected operands of at most {MOST_DIGITS} digits, got {digits}"));
        }
        let product = self.compute(move || product(&numbers)).await?;
        let value = if product.is_large() {
            self.keep(id, term, &product).await?;
            Value::Stored(id.part)
        } else {
            Value::Here(product)
        };
        let wait = self.delay + late;
        // Even no time takes a millisecond, as long as a thousand small parts.
        if !wait.is_zero() {
            sleep(wait).await;
        }
        Ok(value)
    }

    async fn print(&self, job: JobId, product: Value) -> Result<String, String> {
        let number = self.number(job, product).await?;
        self.compute(move || Ok(big(&number)?.to_string())).await
    }

    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let _room = self.room.acquire().await.map_err(|error| error.to_string())?;
        spawn_blocking(work).await.map_err(|error| error.to_string())?
    }

    async fn number(&self, job: JobId, value: Value) -> Result<Number, String> {
        let part = match value {
            Value::Here(number) => return Ok(number),
            Value::Stored(part) => part,
        };
        let answer = self.ask(Call::get(path(job, part), MOST_DIGITS)).await?;
        Number::new(answer.text.trim()).ok_or_else(|| format!("part {part}: the hub has no number for it"))
    }

    async fn keep(&self, id: PartId, term: Term, product: &Number) -> Result<(), String> {
        let path = format!("{}?term={term}", path(id.job_id, id.part));
        self.ask(Call::with(Method::PUT, path, product.as_str().to_owned(), MOST_DIGITS)).await.map(|_| ())
    }

    /// More than once, if need be; a no is final.
    async fn ask(&self, call: Call) -> Result<Answer, String> {
        let mut delays = BACKOFF.build().take(TRIES);
        loop {
            let problem = match call.send(&self.hub).await {
                Ok(answer) if answer.status.is_success() => return Ok(answer),
                Ok(answer) if !answer.status.is_server_error() => return Err(answer.problem()),
                Ok(answer) => answer.problem(),
                Err(error) => error.to_string(),
            };
            let Some(delay) = delays.next() else { return Err(problem) };
            sleep(delay).await;
        }
    }
}

fn path(job: JobId, Part { level, index }: Part) -> String {
    format!("/jobs/{job}/parts/{level}/{index}")
}

fn product(numbers: &[Number]) -> Result<Number, String> {
    let mut product = BigUint::from(1_u32);
    for number in numbers {
        product *= big(number)?;
    }
    Number::new(&product.to_str_radix(16)).ok_or_else(|| "a product has digits".into())
}

fn big(number: &Number) -> Result<BigUint, String> {
    BigUint::parse_bytes(number.as_str().as_bytes(), 16).ok_or_else(|| "expected hexadecimal digits".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;
    use uuid::Uuid;

    fn mill() -> Mill {
        // Nobody listens there, and nobody has to.
        Mill::new("ws://127.0.0.1:1".parse().unwrap(), Duration::ZERO, None, mpsc::unbounded_channel().0)
    }

    fn task(operands: Vec<Value>) -> Task {
        let id = PartId { job_id: JobId::new(Uuid::nil()), part: Part { level: 0, index: 0 } };
        Task::Multiply { term: Term::NONE, part: Assignment { id, operands } }
    }

    fn here(number: u32) -> Value {
        Value::Here(number.into())
    }

    #[tokio::test]
    async fn products_are_those_of_whole_numbers() {
        let table: [(&[u32], &str); 4] = [
            (&[10, 9, 8, 7], "13b0"),
            (&[2, 1], "2"),
            (&[0, 7], "0"),
            (&[u32::MAX; 4], "fffffffc00000005fffffffc00000001"),
        ];
        for (operands, expected) in table {
            let milled = mill().mill(task(operands.iter().copied().map(here).collect())).await;
            let Milled::Product(Product { product: Value::Here(number), .. }) = milled else { panic!("{milled:?}") };
            let expected = if operands == [u32::MAX; 4] {
                BigUint::from(u32::MAX).pow(4).to_str_radix(16)
            } else {
                expected.to_owned()
            };
            assert_eq!(number.as_str(), expected, "{operands:?}");
        }
    }

    #[tokio::test]
    async fn what_is_too_much_or_nothing_is_not_done() {
        let long = Value::Here(Number::new(&"f".repeat(MOST_DIGITS / 4 + 1)).unwrap());
        for operands in [vec![], vec![here(2); 5], vec![long; 4]] {
            let milled = mill().mill(task(operands)).await;
            assert!(matches!(milled, Milled::Failed(_)), "{milled:?}");
        }
    }

    #[tokio::test]
    async fn results_are_decimal() {
        let product = Value::Here(Number::new("375f00").unwrap());
        let milled = mill().mill(Task::Print { job: JobId::new(Uuid::nil()), product }).await;
        let Milled::Printed { text, .. } = milled else { panic!("{milled:?}") };
        assert_eq!(&*text, "3628800");
    }
}
