//! Connecting to a destination that was allowed, on the calling thread.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::address::{Destination, Host};
use crate::dial::{NotDialled, share};
use crate::unix;
use posthole_blocking::carrier::connect;

/// Connects within about `patience`: each address gets its share of what is left. How long the name takes is up to the
/// system's resolver.
pub(crate) fn dial(destination: &Destination, patience: Duration) -> Result<TcpStream, NotDialled> {
    let destination = match destination {
        Destination::Tcp(destination) => destination,
        Destination::Unix(path) => return unix::connect(path).map_err(NotDialled::of_connect),
    };
    let addrs: Vec<SocketAddr> = match &destination.host {
        Host::Ip(ip) => vec![SocketAddr::new(*ip, destination.port)],
        Host::Name(name) => match (name.as_str(), destination.port).to_socket_addrs() {
            Ok(addrs) => addrs.collect(),
            Err(detail) => return Err(NotDialled::not_found(Some(detail))),
        },
    };
    let until = Instant::now() + patience;
    let mut failed = NotDialled::not_found(None);
    for (i, addr) in addrs.iter().enumerate() {
        match connect(*addr, share(until, addrs.len() - i - 1)) {
            Ok(socket) => return Ok(socket),
            Err(detail) => failed = NotDialled::of_connect(detail),
        }
    }
    Err(failed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::refusal::Refusal;
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
