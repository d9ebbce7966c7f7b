//! Connections that don't leave the machine.

use std::net::SocketAddr;

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
    use super::receive_buffer;

    #[test]
    fn only_what_stays_on_the_machine_is_near() {
        let near = |own: &str, peer: &str| {
            receive_buffer(own.parse().unwrap(), peer.parse().unwrap()).is_some()
        };
        assert!(near("127.0.0.1:1", "127.0.0.1:2"));
        assert!(near("[::1]:1", "[::1]:2"));
        assert!(near("[::ffff:127.0.0.1]:1", "[::ffff:127.0.0.1]:2"));
        assert!(near("192.0.2.1:1", "192.0.2.1:2"));
        assert!(!near("192.0.2.1:1", "192.0.2.2:2"));
        assert!(!near("[2001:db8::1]:1", "[2001:db8::2]:2"));
    }
}
