//! Connections that don't leave the machine. The one file here that touches sockets: it sets options, and moves no bytes.

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io;
use std::net::SocketAddr;

/// A socket to connect to `at`, which sends as [`send_near`] has it.
///
/// # Errors
/// The system's: it has no descriptor left, or doesn't know this kind of address.
pub fn socket_to(at: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    send_near(&socket, at);
    Ok(socket)
}

/// Has a socket that is about to connect to `at`, or that listens there, send without pacing if that is on this machine.
/// Whoever is accepted by a socket that listens sends as it does. A system that refuses has its own way.
///
/// Where the system has BBR for all connections, these get Reno. BBR lets what is sent wait for a timer, so as to keep to
/// the rate it has measured, which on a network keeps queues short; within a machine there is none, and it costs a fifth of
/// the rate and a third of the processor's time (ARCHITECTURE.md). A connection that BBR has begun goes on being paced, so
/// it is done before.
pub fn send_near<'a>(socket: impl Into<SockRef<'a>>, at: SocketAddr) {
    let socket = socket.into();
    #[cfg(any(target_os = "linux", target_os = "freebsd"))]
    if at.ip().to_canonical().is_loopback()
        && socket
            .tcp_congestion()
            .is_ok_and(|name| name.starts_with(b"bbr"))
    {
        let _ = socket.set_tcp_congestion(b"reno");
    }
    #[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
    let _ = (socket, at);
}

/// The receive buffer, in bytes, for a connection between `own` and `peer` that receives bulk, if its size should not
/// be left to the system.
///
/// A connection within one machine has no round trip to fill. Left alone, the system lets megabytes wait in it as soon
/// as a reader is late once; those have left the processor's cache when they are read, which keeps the reader slower
/// than the writer. With 256 KiB what arrives is read while it is warm.
pub fn receive_buffer(own: SocketAddr, peer: SocketAddr) -> Option<usize> {
    let (own, peer) = (own.ip().to_canonical(), peer.ip().to_canonical());
    (peer.is_loopback() || own == peer).then_some(256 * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the system has BBR; elsewhere there is nothing to change.
    #[cfg(any(target_os = "linux", target_os = "freebsd"))]
    #[test]
    fn nothing_within_the_machine_is_paced() {
        let at: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&at.into()).unwrap();
        send_near(&listener, at);
        listener.listen(1).unwrap();
        let at = listener.local_addr().unwrap();
        let near = socket_to(at.as_socket().unwrap()).unwrap();
        near.connect(&at).unwrap();
        let (far, _) = listener.accept().unwrap();
        for socket in [near, far] {
            assert!(!socket.tcp_congestion().unwrap().starts_with(b"bbr"));
        }
        // What leaves the machine is the system's.
        let away = socket_to("192.0.2.1:80".parse().unwrap()).unwrap();
        let own = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        assert_eq!(
            away.tcp_congestion().unwrap(),
            own.tcp_congestion().unwrap()
        );
    }

    #[test]
    fn only_what_stays_on_the_machine_is_near() {
        let near = |own: &str, peer: &str| {
            let buffer = receive_buffer(own.parse().unwrap(), peer.parse().unwrap());
            assert!(buffer.is_none_or(|bytes| bytes == 262_144));
            buffer.is_some()
        };
        assert!(near("127.0.0.1:1", "127.0.0.1:2"));
        assert!(near("[::1]:1", "[::1]:2"));
        assert!(near("[::ffff:127.0.0.1]:1", "[::ffff:127.0.0.1]:2"));
        assert!(near("192.0.2.1:1", "192.0.2.1:2"));
        assert!(!near("192.0.2.1:1", "192.0.2.2:2"));
        assert!(!near("[2001:db8::1]:1", "[2001:db8::2]:2"));
    }
}
