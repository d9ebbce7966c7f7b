//! What is said on standard error while the command runs.

use std::io::{self, Write};

use tracing::level_filters::LevelFilter;

/// How much is said: what the command line asks for, on top of what the command usually says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usual {
    /// Warnings, and the life of sessions.
    Sessions,
    /// Warnings alone: the command has something of its own to show.
    Warnings,
}

/// Begins to log: the usual by default, errors alone when quiet, every connection at `-v`, everything at `-vv`.
pub fn start(usual: Usual, verbose: u8, quiet: bool) {
    let level = match (quiet, verbose, usual) {
        (true, ..) => LevelFilter::ERROR,
        (false, 0, Usual::Sessions) => LevelFilter::INFO,
        (false, 0, Usual::Warnings) => LevelFilter::WARN,
        (false, 1, _) => LevelFilter::DEBUG,
        (false, ..) => LevelFilter::TRACE,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false)
        // It would say so on standard error, where it can't be said either, and panic.
        .log_internal_errors(false)
        .compact()
        .init();
}

/// One line that is said whatever the level: that something is ready, or why the command ends.
pub fn say(line: impl std::fmt::Display) {
    // Standard error may be closed; that is no reason to end.
    let _ = writeln!(io::stderr(), "posthole: {line}");
}
