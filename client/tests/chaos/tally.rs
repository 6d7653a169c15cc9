//! What came of it, in numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use crate::faults::Kind;
use crate::judge::{Happening, Violation, What};

#[derive(Default)]
pub struct Tally {
    faults: BTreeMap<Kind, usize>,
    elections: usize,
    accepted: usize,
    refused: usize,
    /// What was measured how often, by what it is.
    times: BTreeMap<String, Vec<Duration>>,
    violations: Vec<Violation>,
}

impl Tally {
    pub fn fault(&mut self, kind: Kind) {
        *self.faults.entry(kind).or_default() += 1;
    }

    pub fn faults(&self) -> usize {
        self.faults.values().sum()
    }

    pub fn time(&mut self, what: impl Into<String>, took: Duration) {
        self.times.entry(what.into()).or_default().push(took);
    }

    pub fn violation(&mut self, violation: Violation) {
        self.violations.push(violation);
    }

    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    /// Counts what is in a ring's history, which is to be judged as well.
    pub fn history(&mut self, history: &[Happening]) {
        let mut terms = BTreeSet::new();
        for Happening { what, .. } in history {
            match what {
                What::Announced { term, .. } => _ = terms.insert(term),
                What::Wrote { accepted: true, .. } => self.accepted += 1,
                What::Wrote { accepted: false, .. } => self.refused += 1,
                _ => {}
            }
        }
        self.elections += terms.len();
    }

    pub fn add(&mut self, other: Tally) {
        for (kind, count) in other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        for (what, times) in other.times {
            self.times.entry(what).or_default().extend(times);
        }
        self.elections += other.elections;
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.violations.extend(other.violations);
    }

    fn violations_of(&self, properties: &[&str]) -> usize {
        self.violations.iter().filter(|violation| properties.contains(&violation.property)).count()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} faults", self.faults())?;
        for (kind, count) in &self.faults {
            writeln!(f, "{count:6}  {}", kind.name())?;
        }
        writeln!(f, "{} elections", self.elections)?;
        writeln!(f, "{} writes accepted, {} refused as stale", self.accepted, self.refused)?;
        writeln!(f, "{} split terms (S1, S3)", self.violations_of(&["S1", "S3"]))?;
        writeln!(f, "{} terms fell (S2)", self.violations_of(&["S2"]))?;
        writeln!(f, "{} stale writes accepted (S5)", self.violations_of(&["S5"]))?;
        writeln!(f, "{} leases overlapped (S6)", self.violations_of(&["S6"]))?;
        writeln!(f, "{} rings did not agree in time (L1, L3)", self.violations_of(&["L1", "L3"]))?;
        writeln!(f, "{:<62}{:>6}{:>9}{:>9}{:>9}", "", "times", "p50", "p99", "longest")?;
        for (what, times) in &self.times {
            let mut times = times.clone();
            times.sort();
            let [p50, p99, longest] = [50, 99, 100].map(|percent| seconds(percentile(&times, percent)));
            writeln!(f, "{what:<62}{:>6}{p50:>9}{p99:>9}{longest:>9}", times.len())?;
        }
        for violation in &self.violations {
            writeln!(f, "VIOLATED  {violation}")?;
        }
        Ok(())
    }
}

/// The least time that so many in a hundred do not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent).div_ceil(100) - 1]
}

fn seconds(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}
