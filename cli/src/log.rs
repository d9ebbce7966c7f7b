//! What is said on standard error while the command runs.

use std::io::{self, Write};

use tracing::level_filters::LevelFilter;

/// Begins to log: warnings and the life of sessions by default, errors alone when quiet, connections at `-v`,
/// everything at `-vv`.
pub fn start(verbose: u8, quiet: bool) {
    let level = match (quiet, verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => LevelFilter::INFO,
        (false, 1) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false)
        .compact()
        .init();
}

/// One line that is said whatever the level: that something is ready, or why the command ends.
pub fn say(line: impl std::fmt::Display) {
    // Standard error may be closed; that is no reason to end.
    let _ = writeln!(io::stderr(), "posthole: {line}");
}
