//! The line that shows how far the demo is: rewritten in place on a terminal, a new one now and then elsewhere.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::file::Progress;
use crate::hostile::Counts;
use crate::units::{Rate, Size};

/// Between two lines where they are not rewritten.
const SELDOM: Duration = Duration::from_secs(2);
/// Characters of the bar.
const BAR: u64 = 24;

/// Where the line goes.
#[derive(Debug)]
pub(super) struct Line {
    is_wanted: bool,
    is_terminal: bool,
    began: Instant,
    last: Option<Instant>,
}

impl Line {
    pub(super) fn new(is_wanted: bool) -> Line {
        Line {
            is_wanted,
            is_terminal: io::stderr().is_terminal(),
            began: Instant::now(),
            last: None,
        }
    }

    /// Shows how far it is.
    pub(super) fn show(&mut self, size: u64, progress: &Progress, counts: Option<Counts>) {
        let seldom = !self.is_terminal && self.last.is_some_and(|last| last.elapsed() < SELDOM);
        if seldom || !self.is_wanted {
            return;
        }
        self.last = Some(Instant::now());
        let up = progress.up.load(Ordering::Relaxed);
        let down = progress.down.load(Ordering::Relaxed);
        let text = text(size, up, down, counts, self.began.elapsed());
        let mut to = io::stderr().lock();
        let _ = if self.is_terminal {
            write!(to, "\r\x1b[K{text}")
        } else {
            writeln!(to, "{text}")
        };
        let _ = to.flush();
    }

    /// Takes the line away again where it was rewritten.
    pub(super) fn clear(&self) {
        if self.is_terminal && self.is_wanted {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn text(size: u64, up: u64, down: u64, counts: Option<Counts>, time: Duration) -> String {
    let (arrow, done) = if up < size || down == 0 {
        ("up  ", up)
    } else {
        ("down", down)
    };
    let full = (done * BAR).checked_div(size).unwrap_or(BAR);
    let bar: String = (0..BAR).map(|i| if i < full { '#' } else { '.' }).collect();
    let way = match counts {
        Some(counts) => format!("{} exchanges, {} harmed", counts.exchanges, counts.harmed()),
        None => "plain TCP".to_owned(),
    };
    format!(
        "{arrow} [{bar}] {:>9} of {}  {:>10}  {way}",
        Size(done).to_string(),
        Size(size),
        Rate(up + down, time).to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_which_way_and_how_far() {
        let mib = 1 << 20;
        let counts = Counts {
            exchanges: 7,
            ..Counts::default()
        };
        let line = text(4 * mib, mib, 0, Some(counts), Duration::from_secs(1));
        assert_eq!(
            line,
            "up   [######..................]     1 MiB of 4 MiB   1.05 MB/s  7 exchanges, 0 harmed"
        );
        let line = text(4 * mib, 4 * mib, 4 * mib, None, Duration::from_secs(1));
        assert!(
            line.starts_with("down [########################]     4 MiB of 4 MiB"),
            "{line}"
        );
        assert!(line.ends_with("plain TCP"), "{line}");
        assert!(text(0, 0, 0, None, Duration::ZERO).contains("0 B of 0 B"));
    }
}
