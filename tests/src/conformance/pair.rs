//! A session by its two ends, for cases.

use crate::conformance::runtime::{Dial, Listener, Runtime, Session, Stream};
use crate::conformance::world::World;
use posthole_protocol::Config;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

/// A client's stream.
pub type Near<W> = <<<W as World>::Client as Runtime>::Session as Session>::Stream;
/// A server's stream.
pub type Far<W> = <<<W as World>::Server as Runtime>::Session as Session>::Stream;

/// A session, by its two ends.
pub struct Pair<W: World> {
    /// The client's end.
    pub client: <W::Client as Runtime>::Session,
    /// The server's end.
    pub server: <W::Server as Runtime>::Session,
    /// Where it was accepted.
    pub listener: <W::Server as Runtime>::Listener,
}

/// Some port of this machine.
pub fn anywhere() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// A server with the defaults.
pub fn listener<W: World>() -> <W::Server as Runtime>::Listener {
    W::Server::bind(anywhere(), Config::default()).expect("a port is free")
}

/// A client of what listens there, with these options.
///
/// # Errors
/// As the runtime has them.
pub fn connect<W: World>(
    addr: SocketAddr,
    how: Dial,
) -> io::Result<<W::Client as Runtime>::Session> {
    W::Client::connect(&format!("http://{addr}/"), how)
}

impl<W: World> Pair<W> {
    /// A session with the defaults.
    pub fn new() -> Pair<W> {
        Pair::with(Config::default(), Config::default())
    }

    /// A session whose client and server behave like this.
    pub fn with(client: Config, server: Config) -> Pair<W> {
        let listener = W::Server::bind(anywhere(), server).expect("a port is free");
        let addr = listener.addr();
        Pair::at(listener, addr, Dial::with(client))
    }

    /// A session with a listener, by this address.
    pub fn at(listener: <W::Server as Runtime>::Listener, by: SocketAddr, how: Dial) -> Pair<W> {
        let client = connect::<W>(by, how).expect("the server is there");
        let server = listener.accept().expect("the client has its answer");
        Pair {
            client,
            server,
            listener,
        }
    }

    /// A stream by its two ends, which the client opened with one byte.
    pub fn stream(&self) -> (Near<W>, Far<W>) {
        opened(&self.client, &self.server)
    }

    /// A stream by its two ends, which the server opened with one byte.
    pub fn stream_back(&self) -> (Near<W>, Far<W>) {
        let (far, near) = opened(&self.server, &self.client);
        (near, far)
    }

    /// Ends the session in order, which says that all was delivered.
    pub fn close(self) {
        self.client.close().expect("nothing is in the way");
        let reason = self.server.wait_closed();
        assert!(reason.is_clean(), "{reason}");
    }
}

impl<W: World> Default for Pair<W> {
    fn default() -> Pair<W> {
        Pair::new()
    }
}

fn opened<A: Session, B: Session>(opens: &A, accepts: &B) -> (A::Stream, B::Stream) {
    let near = opens.open().expect("the session is there");
    near.write_all(b"!").expect("there is room");
    let far = accepts.accept().expect("the session is there");
    let mut first = [0];
    far.read_exact(&mut first).expect("a byte was written");
    assert_eq!((first, near.id()), (*b"!", far.id()));
    (near, far)
}
