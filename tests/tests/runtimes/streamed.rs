//! A runtime whose clients ask for streamed answers from the start.

use posthole_protocol::{Carrier, Config};
use posthole_tests::conformance::runtime::{Dial, Runtime};
use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;

/// The runtime with it.
pub(crate) struct Streamed<R>(PhantomData<R>);

impl<R: Runtime> Runtime for Streamed<R> {
    type Session = R::Session;
    type Listener = R::Listener;

    fn connect(url: &str, how: Dial) -> io::Result<R::Session> {
        let config = how.config.by(Carrier::Streamed);
        R::connect(url, Dial { config, ..how })
    }

    fn bind(addr: SocketAddr, config: Config) -> io::Result<R::Listener> {
        R::bind(addr, config)
    }
}
