//! What the processes of a run are, beside `serve` and `connect`: hidden commands of this program.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Subcommand;

use super::{delay, far, relay, sessions};
use crate::error::Error;
use crate::log::say;
use crate::parent;
use crate::runtime::Runtime;
use crate::units::parse_duration;

/// A part that a process plays.
#[derive(Clone, Debug, Subcommand)]
pub enum Part {
    /// The load's far end
    Far,
    /// A plain relay
    Relay {
        /// Where it leads
        to: SocketAddr,
    },
    /// A relay that takes its time
    Delay {
        /// Where it leads
        to: SocketAddr,
        /// How long there and back takes
        #[arg(value_parser = parse_duration)]
        round_trip: Duration,
    },
    /// A client that holds sessions
    Sessions {
        /// The server
        url: String,
        /// How many
        count: usize,
        /// On what
        runtime: Runtime,
    },
}

/// Plays it until standard input ends.
///
/// # Errors
/// There is no port to listen on, or a session can't be opened.
pub fn run(part: &Part) -> Result<(), Error> {
    let failed = |e: io::Error| Error::failed(format!("can't listen: {e}"));
    let ready = |addr| say(format_args!("listening on {addr}"));
    match part {
        Part::Sessions {
            url,
            count,
            runtime,
        } => return sessions::run(url, *count, *runtime),
        Part::Far | Part::Relay { .. } | Part::Delay { .. } => parent::follow()?,
    }
    match part {
        Part::Far => far::run(ready).map_err(failed),
        Part::Relay { to } => relay::run(*to, ready).map_err(failed),
        Part::Delay { to, round_trip } => delay::run(*to, *round_trip, ready).map_err(failed),
        Part::Sessions { .. } => Ok(()),
    }
}
