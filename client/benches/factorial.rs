//! What sharing a factorial out costs, and when it pays: `cargo bench -p ringleader-client`.
//!
//! A hub in this process with its store on the disk, and members that are processes of
//! their own. Beside each job: this process alone, doing the same multiplications.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use num_bigint::BigUint;
use ringleader_hub::Config;
use ringleader_hub::store::Store;
use ringleader_shared::factorial::{Factorial, Operand, Part};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Of so many runs the one in the middle is told.
const RUNS: usize = 3;

fn main() {
    let bench = Bench::start();
    println!(
        "| job | workers | s | parts a second | alone, s | ratio | µs a part: wall | hub | coordinator | workers |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for (n, workers) in [(20_000, 1), (20_000, 2), (20_000, 4), (100_000, 1), (100_000, 2), (100_000, 4)] {
        let members = bench.ring(workers, Duration::ZERO);
        let shared = middle(|| bench.job(&members, n), |cost| cost.took);
        let alone = middle(|| alone(n, Duration::ZERO), |took| *took).as_secs_f64();
        let parts = f64::from(Factorial(n).count());
        let took = shared.took.as_secs_f64();
        let [wall, hub, coordinator, workers_cost] =
            [took, shared.hub, shared.coordinator, shared.workers].map(|seconds| seconds / parts * 1e6);
        println!(
            "| {n}! | {workers} | {took:.2} | {:.0} | {alone:.3} | {:.3} | {wall:.0} | {hub:.0} | {coordinator:.0} | {workers_cost:.0} |",
            parts / took,
            alone / took,
        );
    }
    println!("\nWhere a part is work (`--delay`), 2,000! ({} parts), 4 workers:\n", Factorial(2_000).count());
    println!("| a part takes, ms | alone, s | shared, s | ratio |");
    println!("|---:|---:|---:|---:|");
    for millis in [0, 1, 2, 5, 20] {
        let delay = Duration::from_millis(millis);
        let members = bench.ring(4, delay);
        let shared = middle(|| bench.job(&members, 2_000), |cost| cost.took).took.as_secs_f64();
        let alone = middle(|| alone(2_000, delay), |took| *took).as_secs_f64();
        println!("| {millis} | {alone:.2} | {shared:.2} | {:.2} |", alone / shared);
    }
}

fn middle<T>(mut run: impl FnMut() -> T, took: impl Fn(&T) -> Duration) -> T {
    let mut runs: Vec<T> = (0..RUNS).map(|_| run()).collect();
    runs.sort_by_key(took);
    runs.swap_remove(RUNS / 2)
}

/// The same multiplications, one after the other.
fn alone(n: u32, delay: Duration) -> Duration {
    let began = Instant::now();
    let factorial = Factorial(n);
    let mut products = std::collections::BTreeMap::<Part, BigUint>::new();
    for part in factorial.parts() {
        let mut product = BigUint::from(1_u32);
        for operand in factorial.operands(part) {
            product *= match operand {
                Operand::Number(number) => BigUint::from(number),
                Operand::Product(below) => products.remove(&below).expect("what lies below comes first"),
            };
        }
        products.insert(part, product);
        if !delay.is_zero() {
            thread::sleep(delay);
        }
    }
    let text = products.values().next().expect("the last product").to_string();
    assert!(text.len() > 1);
    began.elapsed()
}

struct Bench {
    address: SocketAddr,
    _store: tempfile::TempDir,
}

/// A job's time, and the processor's time of those who took part, in seconds.
struct Cost {
    took: Duration,
    hub: f64,
    coordinator: f64,
    workers: f64,
}

/// Killed when dropped.
struct Members(Vec<Child>);

impl Drop for Members {
    fn drop(&mut self) {
        for member in &mut self.0 {
            let _ = member.kill();
            let _ = member.wait();
        }
    }
}

impl Bench {
    fn start() -> Self {
        let store = tempfile::tempdir().expect("a directory");
        let config = Config { store: Some(Store::open(store.path()).expect("a store")), ..Config::default() };
        let (tell, address) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                tell.send(listener.local_addr().expect("an address")).expect("somebody waits");
                ringleader_hub::run(listener, config, CancellationToken::new()).await;
            });
        });
        Bench { address: address.recv().expect("an address"), _store: store }
    }

    /// A coordinator that computes nothing, and workers that never lead.
    fn ring(&self, workers: usize, delay: Duration) -> Members {
        let member = |flag: &str| {
            Command::new(env!("CARGO_BIN_EXE_ringleader"))
                .args(["join", "--log", "error", "--hub", &format!("ws://{}", self.address), flag])
                .args(["--delay", &format!("{}ms", delay.as_millis())])
                .stderr(Stdio::null())
                .spawn()
                .expect("a member")
        };
        let mut members = Members(vec![member("--no-work")]);
        while !self.ask("GET", "/rings/default/leader", "").starts_with("HTTP/1.1 200") {
            thread::sleep(Duration::from_millis(20));
        }
        members.0.extend((0..workers).map(|_| member("--workers-only")));
        while self.ask("GET", "/rings/default", "").matches("clientId").count() <= workers {
            thread::sleep(Duration::from_millis(20));
        }
        // So that the lease is there, and everybody has been told who leads.
        self.job(&members, 10);
        members
    }

    fn job(&self, members: &Members, n: u32) -> Cost {
        let before = Cost { took: Duration::ZERO, ..members.cost() };
        let began = Instant::now();
        let accepted = self.ask("POST", "/rings/default/jobs", &format!(r#"{{"factorial":{n}}}"#));
        let place = accepted.lines().find_map(|line| line.strip_prefix("location: ")).expect(&accepted).to_owned();
        while !self.ask("GET", &place, "").contains(r#""state":"done""#) {
            thread::sleep(Duration::from_millis(20));
        }
        let (took, after) = (began.elapsed(), members.cost());
        Cost {
            took,
            hub: after.hub - before.hub,
            coordinator: after.coordinator - before.coordinator,
            workers: after.workers - before.workers,
        }
    }

    /// One request on a connection of its own; the whole answer.
    fn ask(&self, method: &str, path: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(self.address).expect("the hub");
        let length = body.len();
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: hub\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(format!("{head}{body}").as_bytes()).expect("the hub reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the hub answers");
        answer
    }
}

impl Members {
    /// The processor's time so far; the hub is in this process, with the little that asking takes.
    fn cost(&self) -> Cost {
        let of = |members: &[Child]| members.iter().map(|member| processor_time(&member.id().to_string())).sum();
        Cost {
            took: Duration::ZERO,
            hub: processor_time("self"),
            coordinator: of(&self.0[..1]),
            workers: of(&self.0[1..]),
        }
    }
}

/// In seconds, user and system: fields 14 and 15 of proc_pid_stat(5), in hundredths.
fn processor_time(process: &str) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("a process");
    let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
    fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<f64>().expect("a number")).sum::<f64>() / 100.0
}
