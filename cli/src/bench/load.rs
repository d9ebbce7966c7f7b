//! The tests: what each one does, from the near end.

mod bulk;
mod idle;
mod ping;

use std::fmt;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use clap::ValueEnum;

use super::far::{Ask, STALL};
use super::system::{Site, System, Tunnel};
use super::usage;
use crate::intake::is_wait_over;

/// A test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Load {
    /// Bytes up, one connection
    Up,
    /// Bytes up, eight connections
    Up8,
    /// Bytes down, one connection
    Down,
    /// Bytes down, eight connections
    Down8,
    /// 64 bytes there and back
    Ping,
    /// 64 bytes there and back, beside bytes down on another connection
    PingBusy,
    /// Connections opened, used for 64 bytes there and back, and closed
    Churn,
    /// Memory of connections that rest
    IdleStreams,
    /// Memory of sessions that rest
    IdleSessions,
}

/// What one measurement came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    /// In the test's unit; none where the system doesn't tell.
    pub(super) figure: Option<f64>,
    /// Further ones, under these names; the same ones in every sample of a test.
    pub(super) also: Vec<(&'static str, Option<f64>)>,
    /// Processor time of the tunnel's two processes, in the test's unit for it.
    pub(super) processor: Option<f64>,
    /// Of the tunnel's two processes, in bytes.
    pub(super) peak: Option<u64>,
}

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// How long, for the tests that take a time.
    pub(super) time: Duration,
    /// How many rest.
    pub(super) idle: usize,
    /// For how long they rest before they are measured.
    pub(super) rest: Duration,
    /// Which bytes.
    pub(super) seed: u64,
}

impl Load {
    /// What it is called on the command line.
    pub(super) fn name(self) -> String {
        self.to_possible_value()
            .map_or(String::new(), |value| value.get_name().to_owned())
    }

    /// What it is called in the table.
    pub(super) fn title(self) -> &'static str {
        match self {
            Load::Up => "bytes up, one connection",
            Load::Up8 => "bytes up, eight connections",
            Load::Down => "bytes down, one connection",
            Load::Down8 => "bytes down, eight connections",
            Load::Ping => "64 bytes there and back",
            Load::PingBusy => "64 bytes there and back, beside bytes down",
            Load::Churn => "connections opened, used once, closed",
            Load::IdleStreams => "an idle connection, both ends",
            Load::IdleSessions => "an idle session, at the server",
        }
    }

    /// What its figure is counted in.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Load::Up | Load::Up8 | Load::Down | Load::Down8 => "MB/s",
            Load::Ping | Load::PingBusy => "µs",
            Load::Churn => "/s",
            Load::IdleStreams | Load::IdleSessions => "KiB",
        }
    }

    /// What its processor time is counted in.
    pub(super) fn processor_unit(self) -> &'static str {
        match self {
            Load::Up | Load::Up8 | Load::Down | Load::Down8 | Load::PingBusy => "s/GB",
            Load::Ping | Load::Churn => "µs",
            Load::IdleStreams | Load::IdleSessions => "",
        }
    }

    /// In how many rounds it is run: memory hardly differs from one to the next, and resting takes its time.
    pub(super) fn rounds(self, asked: u32) -> u32 {
        match self {
            Load::IdleStreams | Load::IdleSessions => asked.min(2),
            Load::Up
            | Load::Up8
            | Load::Down
            | Load::Down8
            | Load::Ping
            | Load::PingBusy
            | Load::Churn => asked,
        }
    }

    /// Whether there is such a thing in this system.
    pub(super) fn suits(self, system: System) -> bool {
        match system {
            System::Posthole { .. } => true,
            System::Relay | System::RelayAgain => self != Load::IdleSessions,
        }
    }

    /// Runs it once, through processes started for this.
    pub(super) fn run(self, site: &Site, system: System, extent: Extent) -> Result<Sample, Failed> {
        if let (Load::IdleSessions, System::Posthole { client, server }) = (self, system) {
            return idle::sessions(site, (client, server), extent);
        }
        let (_far, far) = site.far()?;
        let tunnel = site.tunnel(system, far)?;
        // The first connection waits until all is ready; what is measured does not.
        ping::once(tunnel.entry, extent.seed)?;
        let mut sample = match self {
            Load::Up => bulk::run(&tunnel, bulk::Way::Up, 1, extent),
            Load::Up8 => bulk::run(&tunnel, bulk::Way::Up, 8, extent),
            Load::Down => bulk::run(&tunnel, bulk::Way::Down, 1, extent),
            Load::Down8 => bulk::run(&tunnel, bulk::Way::Down, 8, extent),
            Load::Ping => ping::alone(&tunnel, extent),
            Load::PingBusy => ping::beside_bulk(&tunnel, extent),
            Load::Churn => ping::churn(&tunnel, extent),
            Load::IdleStreams => idle::streams(&tunnel, extent),
            Load::IdleSessions => Err(Failed("a relay has no sessions".into())),
        }?;
        sample.peak = usage::peak(&tunnel.ids());
        Ok(sample)
    }
}

/// The processor time that the tunnel uses from here on.
struct Meter<'a> {
    tunnel: &'a Tunnel,
    before: Option<Duration>,
}

impl Meter<'_> {
    fn start(tunnel: &Tunnel) -> Meter<'_> {
        Meter {
            tunnel,
            before: usage::processor(&tunnel.ids()),
        }
    }

    /// In seconds, for each of so many.
    fn each(self, count: f64) -> Option<f64> {
        let after = usage::processor(&self.tunnel.ids())?;
        Some(after.saturating_sub(self.before?).as_secs_f64() / count.max(1e-9))
    }
}

/// Connects and asks the far end for something; `then` goes along with it.
fn ask(entry: SocketAddr, ask: Ask, then: &[u8]) -> io::Result<TcpStream> {
    let mut connection = TcpStream::connect(entry)?;
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(STALL))?;
    connection.set_write_timeout(Some(STALL))?;
    connection.write_all(&[&ask.encode(), then].concat())?;
    Ok(connection)
}

/// Why a measurement came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failed(pub(super) String);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for Failed {
    fn from(why: String) -> Failed {
        Failed(why)
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Failed {
        Failed(if is_wait_over(&error) {
            format!("nothing moved for {} s", STALL.as_secs())
        } else {
            error.to_string()
        })
    }
}

/// Does this many things at once, numbered from 0; what each came to, or the first failure.
fn at_once<T: Send>(
    count: u64,
    work: impl Fn(u64) -> Result<T, Failed> + Sync,
) -> Result<Vec<T>, Failed> {
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|number| scope.spawn(move || work(number)))
            .collect();
        threads.into_iter().map(|t| joined(t.join())).collect()
    })
}

/// What is measured by a thread that panics is worth nothing.
fn joined<T>(result: thread::Result<Result<T, Failed>>) -> Result<T, Failed> {
    result.unwrap_or_else(|_| Err(Failed("the load panicked".into())))
}
