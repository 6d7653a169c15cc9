//! How far it is: a bar on a terminal, else a line now and then.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How long is between two lines.
const NOW_AND_THEN: Duration = Duration::from_secs(30);

/// Shows it on standard error.
pub enum Progress {
    Bar(ProgressBar),
    Lines { of: u64, last: Mutex<Instant> },
}

impl Progress {
    pub fn new(of: u64) -> Self {
        if !std::io::stderr().is_terminal() {
            return Progress::Lines { of, last: Mutex::new(Instant::now()) };
        }
        let bar = ProgressBar::new(of);
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} seeds, {elapsed} of {duration}") {
            bar.set_style(style);
        }
        Progress::Bar(bar)
    }

    pub fn show(&self, played: u64) {
        match self {
            Progress::Bar(bar) => bar.set_position(played),
            Progress::Lines { of, last } => {
                // Whoever else is at it shows as good a number.
                let Ok(mut last) = last.try_lock() else { return };
                if last.elapsed() >= NOW_AND_THEN {
                    *last = Instant::now();
                    eprintln!("{played} of {of} seeds");
                }
            }
        }
    }

    pub fn end(&self) {
        if let Progress::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
