//! Connecting to a destination that was allowed, without blocking.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use smol::{Async, Timer, future};

use crate::address::{Destination, Host};
use crate::dial::{NotDialled, share};
use crate::unix;

/// Connects within about `patience`: each address gets its share of what is left. How long the name takes is up to the
/// system's resolver, which is asked on a thread, as it knows no other way.
pub(super) async fn dial(
    destination: &Destination,
    patience: Duration,
) -> Result<Async<TcpStream>, NotDialled> {
    let destination = match destination {
        Destination::Tcp(destination) => destination,
        // That waits for nobody.
        Destination::Unix(path) => {
            let socket = unix::connect(path).and_then(Async::new);
            return socket.map_err(NotDialled::of_connect);
        }
    };
    let addrs = match &destination.host {
        Host::Ip(ip) => vec![SocketAddr::new(*ip, destination.port)],
        Host::Name(name) => smol::net::resolve((name.as_str(), destination.port))
            .await
            .map_err(|detail| NotDialled::not_found(Some(detail)))?,
    };
    let until = Instant::now() + patience;
    let mut failed = NotDialled::not_found(None);
    for (i, addr) in addrs.iter().enumerate() {
        let late = async {
            Timer::after(share(until, addrs.len() - i - 1)).await;
            Err(io::ErrorKind::TimedOut.into())
        };
        match future::or(posthole_smol::io::connect(*addr), late).await {
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
        let socket = smol::block_on(dial(&destination, Duration::from_secs(30))).unwrap();
        let peer = socket.get_ref().peer_addr().unwrap();
        assert_eq!(peer, listener.local_addr().unwrap());
    }

    #[test]
    fn a_port_that_nobody_listens_on_refuses() {
        let addr = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let destination = addr.to_string().parse().unwrap();
        let failed = smol::block_on(dial(&destination, Duration::from_secs(30))).unwrap_err();
        assert_eq!(failed.why, Refusal::ConnectionRefused);
    }
}
