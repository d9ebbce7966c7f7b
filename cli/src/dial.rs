//! Connecting to a destination that was allowed: its name resolved, its addresses tried one after the other.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::address::{Host, HostPort};
use crate::refusal::Refusal;

/// Why there is no connection.
#[derive(Debug)]
pub(crate) struct NotDialled {
    /// For the client.
    pub(crate) why: Refusal,
    /// For the log, in the system's words.
    detail: Option<io::Error>,
}

impl fmt::Display for NotDialled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.detail {
            Some(detail) => write!(f, "{} ({detail})", self.why),
            None => self.why.fmt(f),
        }
    }
}

/// Connects within about `patience`: each address gets its share of what is left. How long the name takes is up to the
/// system's resolver.
pub(crate) fn dial(destination: &HostPort, patience: Duration) -> Result<TcpStream, NotDialled> {
    let addrs = match &destination.host {
        Host::Ip(ip) => vec![SocketAddr::new(*ip, destination.port)],
        Host::Name(name) => match (name.as_str(), destination.port).to_socket_addrs() {
            Ok(addrs) => addrs.collect(),
            Err(detail) => {
                return Err(NotDialled {
                    why: Refusal::NameNotFound,
                    detail: Some(detail),
                });
            }
        },
    };
    let until = Instant::now() + patience;
    let mut failed = NotDialled {
        why: Refusal::NameNotFound,
        detail: None,
    };
    for (i, addr) in addrs.iter().enumerate() {
        let left = until.saturating_duration_since(Instant::now());
        let others = u32::try_from(addrs.len() - i).unwrap_or(u32::MAX);
        // Zero is not a time-out; a millisecond at least gives loopback its chance.
        let share = (left / others).max(Duration::from_millis(1));
        match TcpStream::connect_timeout(addr, share) {
            Ok(socket) => return Ok(socket),
            Err(detail) => {
                failed = NotDialled {
                    why: Refusal::of_connect(&detail),
                    detail: Some(detail),
                }
            }
        }
    }
    Err(failed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn every_address_of_a_name_is_tried() {
        // Whatever `localhost` resolves to first, the listener is on 127.0.0.1.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let destination = format!("localhost:{port}").parse().unwrap();
        let socket = dial(&destination, Duration::from_secs(30)).unwrap();
        assert_eq!(socket.peer_addr().unwrap(), listener.local_addr().unwrap());
    }

    #[test]
    fn a_port_that_nobody_listens_on_refuses() {
        let addr = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let failed = dial(&addr.to_string().parse().unwrap(), Duration::from_secs(30)).unwrap_err();
        assert_eq!(failed.why, Refusal::ConnectionRefused);
    }
}
