//! The two ways in which the command can run: what passes is the same.

use clap::ValueEnum;

/// What sessions, connections and their copying run on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, ValueEnum)]
pub enum Runtime {
    /// Threads, two for every connection
    #[default]
    Blocking,
    /// Tasks on smol, no thread for any of them
    Smol,
}

impl Runtime {
    /// Every one of them.
    pub const ALL: &[Runtime] = &[Runtime::Blocking, Runtime::Smol];

    /// As it is written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Runtime::Blocking => "blocking",
            Runtime::Smol => "smol",
        }
    }
}
