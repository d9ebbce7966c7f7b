//! What the processes of a run are, beside `serve` and `connect`: hidden commands of this program.

use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use clap::Subcommand;

use super::{delay, far, relay, sessions};
use crate::error::Error;
use crate::hostile::{Fault, Faults, Hostile, Upstream};
use crate::log::say;
use crate::parent;
use crate::runtime::Runtime;
use crate::units::{parse_duration, parse_percent};

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
        /// How many million bits a second it passes on, each way; 0: any number
        rate: u32,
    },
    /// A reverse proxy that loses exchanges
    Lossy {
        /// The server
        to: SocketAddr,
        /// How many of a hundred
        #[arg(value_parser = parse_percent)]
        percent: f64,
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
        Part::Far | Part::Relay { .. } | Part::Delay { .. } | Part::Lossy { .. } => {
            parent::follow()?;
        }
    }
    match part {
        Part::Far => far::run(ready).map_err(failed),
        Part::Relay { to } => relay::run(*to, ready).map_err(failed),
        Part::Delay {
            to,
            round_trip,
            rate,
        } => delay::run(*to, *round_trip, *rate, ready).map_err(failed),
        Part::Lossy { to, percent } => lose(*to, *percent, ready).map_err(failed),
        Part::Sessions { .. } => Ok(()),
    }
}

/// Loses so many of a hundred exchanges with this server, until the process ends.
fn lose(to: SocketAddr, percent: f64, ready: impl FnOnce(SocketAddr)) -> io::Result<()> {
    let faults = Faults {
        kinds: vec![
            Fault::LoseRequest,
            Fault::LoseResponse,
            Fault::ResetBefore,
            Fault::ResetAfter,
        ],
        ..Faults::all(percent)
    };
    let proxy = Hostile::start(1, faults, Upstream::Fixed(to))?;
    ready(proxy.addr());
    loop {
        thread::park();
    }
}
