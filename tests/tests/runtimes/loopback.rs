//! Two runtimes that speak over real sockets on this machine, through a proxy if a case wants harm done.

use posthole::hostile::{Fault, Faults, Hostile, Upstream};
use posthole_tests::bounded::bounded;
use posthole_tests::conformance::runtime::Runtime;
use posthole_tests::conformance::world::{Path, Place, Wait, World};
use socket2::{Domain, Socket, Type};
use std::marker::PhantomData;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

/// A client of one runtime and a server of another.
pub(crate) struct Loopback<C, S>(PhantomData<(C, S)>);

impl<C: Runtime, S: Runtime> World for Loopback<C, S> {
    type Client = C;
    type Server = S;
    type Path = Proxy;

    const REFUSED: &'static str = "refused";

    fn play(case: fn()) {
        bounded(case);
    }

    /// A socket that is bound and does not listen keeps the port from all that ask for any.
    fn place() -> Place {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
        socket.bind(&any.into()).unwrap();
        let addr = socket.local_addr().unwrap().as_socket().unwrap();
        Place::new(addr, socket)
    }

    fn is_free(addr: SocketAddr) -> bool {
        TcpListener::bind(addr).is_ok()
    }

    fn path(to: SocketAddr) -> Proxy {
        let hostile = Hostile::start(4, Faults::none(), Upstream::Fixed(to)).unwrap();
        Proxy { hostile }
    }

    fn start(work: Box<dyn FnOnce() + Send>) -> Wait {
        let name = thread::current().name().unwrap_or_default().to_owned();
        let thread = thread::Builder::new().name(name).spawn(work).unwrap();
        Box::new(move || thread.join().unwrap())
    }

    fn pause(time: Duration) {
        if time.is_zero() {
            thread::yield_now();
        } else {
            thread::sleep(time);
        }
    }
}

/// A reverse proxy that does what it is told.
pub(crate) struct Proxy {
    hostile: Hostile,
}

impl Path for Proxy {
    type Harm = Fault;

    const ALL: &'static [Fault] = &Fault::ALL;

    fn addr(&self) -> SocketAddr {
        self.hostile.addr()
    }

    fn harm(&self, kinds: &[Fault], percent: u8) {
        self.hostile.set_faults(Faults {
            percent: f64::from(percent),
            kinds: kinds.to_vec(),
            delay: Duration::from_millis(200),
        });
    }

    fn harmed(&self) -> u64 {
        self.hostile.counts().harmed()
    }

    fn set_silent(&self, silent: bool) {
        self.hostile.set_silent(silent);
    }

    fn cut(&self) {
        self.hostile.reset_all();
    }
}
