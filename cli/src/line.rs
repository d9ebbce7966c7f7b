//! A line on standard error that shows how far something is: rewritten in place on a terminal, a new one now and then
//! elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Between two lines where they are not rewritten.
const SELDOM: Duration = Duration::from_secs(2);

/// Whether the line is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// It is.
    Progress,
    /// The table at the end is enough.
    Table,
}

/// Where the line goes.
#[derive(Debug)]
pub(crate) struct Line {
    show: Show,
    is_terminal: bool,
    last: Option<Instant>,
}

impl Line {
    pub(crate) fn new(show: Show) -> Line {
        Line {
            show,
            is_terminal: io::stderr().is_terminal(),
            last: None,
        }
    }

    /// Shows how far it is, if it is time to.
    pub(crate) fn show(&mut self, text: impl FnOnce() -> String) {
        let seldom = !self.is_terminal && self.last.is_some_and(|last| last.elapsed() < SELDOM);
        if seldom || self.show == Show::Table {
            return;
        }
        self.last = Some(Instant::now());
        let text = text();
        let mut to = io::stderr().lock();
        let _ = if self.is_terminal {
            write!(to, "\r\x1b[K{text}")
        } else {
            writeln!(to, "{text}")
        };
        let _ = to.flush();
    }

    /// Takes the line away again where it was rewritten.
    pub(crate) fn clear(&self) {
        if self.is_terminal && self.show == Show::Progress {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
