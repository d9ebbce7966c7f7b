//! What is measured: the plain relay, and tunnels with either runtime at either end. Each leads from a port that the
//! near end of the load connects to, to the load's far end, all on loopback.
//!
//! ```text
//!   near end ──▶ relay   ──▶ [delay] ──▶ relay ──▶ far end
//!   near end ──▶ connect ──▶ [delay] ──▶ [lossy] ──▶ serve ──▶ far end
//! ```

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZero;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;

use super::crew::{Crew, Member};
use super::load::Failed;
use crate::runtime::Runtime;

/// What connections are carried by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum System {
    /// Two plain relays: what everything is compared with.
    Relay,
    /// The same under another name; how far its ratios are from 1 is the noise.
    RelayAgain,
    /// `connect` and `serve`.
    Posthole {
        /// What `connect` runs on.
        client: End,
        /// What `serve` runs on.
        server: End,
    },
}

/// What one end runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct End {
    /// Threads or tasks.
    pub runtime: Runtime,
    /// How many threads run smol's tasks; smol's own number if none.
    pub threads: Option<NonZero<u16>>,
}

impl End {
    /// This one's environment.
    fn set(self) -> Vec<(&'static str, String)> {
        let threads = self.threads.map(|n| ("SMOL_THREADS", n.to_string()));
        threads.into_iter().collect()
    }
}

impl From<Runtime> for End {
    fn from(runtime: Runtime) -> End {
        End {
            runtime,
            threads: None,
        }
    }
}

impl FromStr for End {
    type Err = String;

    /// `smol`, or `smol:2` for two threads.
    fn from_str(text: &str) -> Result<End, String> {
        let (name, threads) = match text.split_once(':') {
            Some((name, threads)) => (name, Some(threads)),
            None => (text, None),
        };
        let runtime = <Runtime as ValueEnum>::from_str(name, false).map_err(|_| {
            let names: Vec<_> = Runtime::ALL.iter().map(|r| r.name()).collect();
            let names = names.join(", ");
            format!("there is no runtime `{name}`; there are {names}, and CLIENT/SERVER")
        })?;
        let threads = match threads {
            None => None,
            Some(number) if runtime == Runtime::Smol => Some(
                number
                    .parse()
                    .map_err(|_| format!("`{number}` is no number of threads"))?,
            ),
            Some(_) => return Err(format!("{name} has no number of threads")),
        };
        Ok(End { runtime, threads })
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.runtime.name())?;
        match self.threads {
            Some(threads) => write!(f, ":{threads}"),
            None => Ok(()),
        }
    }
}

impl FromStr for System {
    type Err = String;

    /// `smol`, `smol:2/blocking` (client, then server), or `relay` for the noise.
    fn from_str(text: &str) -> Result<System, String> {
        if text == "relay" {
            return Ok(System::RelayAgain);
        }
        let (client, server) = text.split_once('/').unwrap_or((text, text));
        Ok(System::Posthole {
            client: client.parse()?,
            server: server.parse()?,
        })
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            System::Relay => f.pad("relay"),
            System::RelayAgain => f.pad("relay again"),
            System::Posthole { client, server } if client == server => f.pad(&client.to_string()),
            System::Posthole { client, server } => f.pad(&format!("{client}/{server}")),
        }
    }
}

/// The processes of one system, running. Dropping it ends them.
#[derive(Debug)]
pub(super) struct Tunnel {
    /// Where the near end connects to.
    pub(super) entry: SocketAddr,
    /// The two whose use counts.
    pub(super) client: Member,
    pub(super) server: Member,
    _between: Vec<Member>,
}

impl Tunnel {
    /// The ids of the two processes that count.
    pub(super) fn ids(&self) -> [u32; 2] {
        [self.client.id, self.server.id]
    }
}

/// A server and clients that hold sessions with it.
#[derive(Debug)]
pub(super) struct Holding {
    pub(super) server: Member,
    pub(super) holder: Member,
    _between: Vec<Member>,
}

/// A path between two ends on this machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    pub(super) round_trip: Duration,
    /// Million bits a second; 0: any number.
    pub(super) rate: u32,
    /// How many of a hundred exchanges are lost; none of sessions that rest.
    pub(super) loss: f64,
    /// Whether it is for TCP instead of HTTP.
    pub(super) direct: bool,
}

/// How systems are started.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) crew: Crew,
    /// What is between the two ends.
    pub(super) path: Path,
    /// The most connections or sessions that a test has.
    pub(super) most: usize,
}

impl Site {
    /// The load's far end, and where it listens.
    pub(super) fn far(&self) -> Result<(Member, SocketAddr), Failed> {
        self.listening(&["bench-part", "far"])
    }

    /// Starts a system that leads to `far`.
    pub(super) fn tunnel(&self, system: System, far: SocketAddr) -> Result<Tunnel, Failed> {
        match system {
            System::Relay | System::RelayAgain => {
                let relay =
                    |to: SocketAddr| self.listening(&["bench-part", "relay", &to.to_string()]);
                let (server, addr) = relay(far)?;
                let mut between = Vec::new();
                let addr = self.delayed(addr, &mut between)?;
                let (client, entry) = relay(addr)?;
                Ok(Tunnel {
                    entry,
                    client,
                    server,
                    _between: between,
                })
            }
            System::Posthole { client, server } => {
                let (server, addr) = self.serve(server, far)?;
                let mut between = Vec::new();
                let addr = self.lossy(addr, &mut between)?;
                let addr = self.delayed(addr, &mut between)?;
                let arguments = [
                    "connect",
                    &format!("http://{addr}/"),
                    "-L",
                    &format!("0:{far}"),
                    "--proxy",
                    "none",
                    "--runtime",
                    client.runtime.name(),
                    "--with-parent",
                    "--quiet",
                ];
                let client = self.crew.start(&arguments, client.set())?;
                let entry = address(&client.says("forwarding ")?)?;
                Ok(Tunnel {
                    entry,
                    client,
                    server,
                    _between: between,
                })
            }
        }
    }

    /// Starts a server, and a client that has opened the first of `count` sessions.
    pub(super) fn holding(
        &self,
        (client, server): (End, End),
        count: usize,
    ) -> Result<Holding, Failed> {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        let (server, addr) = self.serve(server, nowhere)?;
        let mut between = Vec::new();
        let addr = self.delayed(addr, &mut between)?;
        let arguments = [
            "bench-part",
            "sessions",
            &format!("http://{addr}/"),
            &count.to_string(),
            client.runtime.name(),
        ];
        let holder = self.crew.start(&arguments, client.set())?;
        holder.says("opened ")?;
        Ok(Holding {
            server,
            holder,
            _between: between,
        })
    }

    fn serve(&self, end: End, allow: SocketAddr) -> Result<(Member, SocketAddr), Failed> {
        // Beside those of the test there are those that try whether it is ready.
        let most = (self.most + 100).to_string();
        let allow = allow.to_string();
        let mut arguments = vec![
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--allow",
            &allow,
            "--max-connections",
            &most,
            "--max-sessions",
            &most,
            "--runtime",
            end.runtime.name(),
            "--with-parent",
            "--quiet",
        ];
        if self.path.direct {
            arguments.extend(["--tcp", "127.0.0.1:0"]);
        }
        let server = self.crew.start(&arguments, end.set())?;
        let url = server.says("listening on http://")?;
        Ok((server, address(url.trim_end_matches('/'))?))
    }

    /// Where to connect to, to reach `to` over a path as long and narrow as is asked for.
    fn delayed(&self, to: SocketAddr, between: &mut Vec<Member>) -> Result<SocketAddr, Failed> {
        let Path {
            round_trip, rate, ..
        } = self.path;
        if round_trip.is_zero() && rate == 0 {
            return Ok(to);
        }
        let time = format!("{}ms", round_trip.as_secs_f64() * 1e3);
        let rate = rate.to_string();
        let part = ["bench-part", "delay", &to.to_string(), &time, &rate];
        let (delay, addr) = self.listening(&part)?;
        between.push(delay);
        Ok(addr)
    }

    /// Where to send requests to, to have as many of them lost as is asked for.
    fn lossy(&self, to: SocketAddr, between: &mut Vec<Member>) -> Result<SocketAddr, Failed> {
        if self.path.loss == 0.0 {
            return Ok(to);
        }
        let loss = self.path.loss.to_string();
        let (lossy, addr) = self.listening(&["bench-part", "lossy", &to.to_string(), &loss])?;
        between.push(lossy);
        Ok(addr)
    }

    fn listening(&self, arguments: &[&str]) -> Result<(Member, SocketAddr), Failed> {
        let member = self.crew.start(arguments, vec![])?;
        let addr = address(&member.says("listening on ")?)?;
        Ok((member, addr))
    }
}

fn address(text: &str) -> Result<SocketAddr, Failed> {
    text.parse()
        .map_err(|_| Failed(format!("`{text}` is no address")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn systems_are_named_by_their_runtimes() {
        for &runtime in Runtime::ALL {
            let name = runtime.name();
            let both: System = name.parse().unwrap();
            assert_eq!(both.to_string(), name);
            assert_eq!(format!("{name}/{name}").parse::<System>().unwrap(), both);
        }
        assert_eq!("relay".parse::<System>().unwrap(), System::RelayAgain);
        assert!(
            "threads"
                .parse::<System>()
                .unwrap_err()
                .contains("blocking")
        );
        let mixed = "smol:2/blocking".parse::<System>().unwrap();
        assert_eq!(mixed.to_string(), "smol:2/blocking");
        assert!("smol:0".parse::<System>().is_err());
        assert!("blocking:2".parse::<System>().is_err());
        assert!("blocking/".parse::<System>().is_err());
    }
}
