//! A runtime whose servers take direct connections, too, so that its clients go by them as soon as they are told.

use posthole_protocol::{Carrier, Config};
use posthole_tests::conformance::runtime::{Dial, Listener, Runtime};
use std::cell::RefCell;
use std::io;
use std::marker::PhantomData;
use std::net::{SocketAddr, TcpListener};

thread_local! {
    /// The ports of this case's listeners.
    static PORTS: RefCell<Vec<u16>> = const { RefCell::new(Vec::new()) };
}

/// A runtime whose listeners can.
pub(crate) trait TakesDirect: Runtime {
    /// Takes them on this socket.
    fn take_direct(listener: &Self::Listener, socket: TcpListener) -> io::Result<()>;
}

/// The runtime with it.
pub(crate) struct Direct<R>(PhantomData<R>);

impl<R: TakesDirect> Runtime for Direct<R> {
    type Session = R::Session;
    type Listener = R::Listener;

    /// Whoever goes by a path that does harm is to meet it.
    fn connect(url: &str, how: Dial) -> io::Result<R::Session> {
        let leads_there = |port: &u16| url.contains(&format!(":{port}/"));
        if PORTS.with_borrow(|ports| ports.iter().any(leads_there)) {
            return R::connect(url, how);
        }
        let config = how.config.by(Carrier::Exchange);
        R::connect(url, Dial { config, ..how })
    }

    fn bind(addr: SocketAddr, config: Config) -> io::Result<R::Listener> {
        let listener = R::bind(addr, config)?;
        R::take_direct(&listener, TcpListener::bind("127.0.0.1:0")?)?;
        PORTS.with_borrow_mut(|ports| ports.push(listener.addr().port()));
        Ok(listener)
    }
}
