//! Makes connections: looks up the first hop, connects, asks a proxy for a tunnel, and speaks TLS where it is due.

use super::body::Outgoing;
use super::line::{Kept, Line, Loan};
use super::socket::Connection;
use super::target::Target;
use super::watch::{Cancelled, Waiting, Watch};
use posthole_protocol::http::policy::connect_limit;
use posthole_protocol::http::{Trouble, Way};
use posthole_runtime::socket_to;
use socket2::{SockAddr, Socket};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

/// Connects a TCP socket, as [`TcpStream::connect_timeout`] does, which sends as `posthole_runtime::send_near` has it.
///
/// # Errors
/// The system's: nobody listens there, it can't be reached, or `limit` has passed.
pub fn connect(address: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let socket = socket_to(address)?;
    socket.connect_timeout(&SockAddr::from(address), limit)?;
    Ok(socket.into())
}

/// ureq's connector for one lane.
#[derive(Debug)]
pub(super) struct Dial {
    target: Arc<Target>,
    watch: Arc<Watch>,
    body: Outgoing,
    kept: Kept,
}

impl Dial {
    pub(super) fn new(target: Arc<Target>, watch: Arc<Watch>, body: Outgoing, kept: Kept) -> Dial {
        Dial {
            target,
            watch,
            body,
            kept,
        }
    }

    fn dial(&self, details: &ConnectionDetails) -> Result<Line, Trouble> {
        let socket = self.open()?;
        self.watch.note_connected();
        let way = self.way();
        let bare = (!way.has_tls()).then(|| socket.clone());
        let mut line: Box<dyn Transport> = Box::new(Connection::new(
            socket,
            self.watch.clone(),
            self.body.clone(),
            !way.has_tls(),
        ));
        if let Some(proxy) = way.proxy().filter(|_| way.has_tls_to_proxy()) {
            line = self.speak_tls(details, &proxy.to_string(), line)?;
        }
        if way.is_tunnelled() {
            line = self.ask_for_tunnel(line)?;
        }
        if way.has_tls_to_server() {
            line = self.speak_tls(details, &way.url().to_string(), line)?;
        }
        Ok(Line::new(
            line,
            bare,
            self.watch.clone(),
            way.absolute_prefix(),
        ))
    }

    /// A TCP connection to the first hop.
    fn open(&self) -> Result<Arc<Socket>, Trouble> {
        let way = self.way();
        let (host, port) = way.first_hop();
        let addresses = self
            .look_up(host, port)
            .map_err(|why| Trouble::no_name(way, &why))?;
        let mut last = Trouble::no_address(way);
        let mut left = addresses.len();
        for address in addresses {
            left -= 1;
            match self.connect(address, connect_limit(left, self.watch.patience())) {
                Ok(socket) => return Ok(socket),
                Err(why) => {
                    last = Trouble::no_connection(way, &address, &why);
                    if self.watch.is_cancelled() {
                        break;
                    }
                }
            }
        }
        Err(last)
    }

    fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        // A lookup can't be interrupted, so it gets a thread, which ends when the resolver gives up.
        let (answer, answers) = mpsc::channel();
        self.watch.wait_for(Waiting::Lookup(answer.clone()))?;
        let name = (host.to_owned(), port);
        std::thread::Builder::new()
            .name("posthole-lookup".to_owned())
            .spawn(move || answer.send(Some(name.to_socket_addrs().map(Iterator::collect))))?;
        let found = answers.recv_timeout(self.watch.patience());
        self.watch.wait_for(Waiting::Nothing)?;
        found
            .map_err(|_| io::ErrorKind::TimedOut)?
            .ok_or(io::ErrorKind::Interrupted)?
    }

    fn connect(&self, address: SocketAddr, limit: Duration) -> io::Result<Arc<Socket>> {
        let socket = Arc::new(socket_to(address)?);
        self.watch
            .wait_for(Waiting::Socket(Arc::downgrade(&socket)))?;
        socket.connect_timeout(&SockAddr::from(address), limit)?;
        // Every write is a whole head, body or piece of one: nothing is gained by waiting for more.
        socket.set_tcp_nodelay(true)?;
        Ok(socket)
    }

    /// CONNECT (RFC 9110 §9.3.6).
    fn ask_for_tunnel(&self, mut line: Box<dyn Transport>) -> Result<Box<dyn Transport>, Trouble> {
        let request = self.way().tunnel_request();
        let failed = |why: &dyn std::fmt::Display| Trouble::no_tunnel(self.way(), why);
        line.buffers()
            .output()
            .get_mut(..request.len())
            .ok_or_else(|| failed(&"the request is too long"))?
            .copy_from_slice(request.as_bytes());
        line.transmit_output(request.len(), NextTimeout::default())
            .map_err(|e| failed(&e))?;
        loop {
            let has_more = line
                .await_input(NextTimeout::default())
                .map_err(|e| failed(&e))?;
            if let Some(length) = self.way().tunnel_answer(line.buffers().input())? {
                line.buffers().input_consume(length);
                return Ok(Box::new(Tunnel(line)));
            }
            if !has_more {
                return Err(failed(&"it hung up"));
            }
        }
    }

    #[cfg(feature = "tls")]
    fn speak_tls(
        &self,
        details: &ConnectionDetails,
        url: &str,
        line: Box<dyn Transport>,
    ) -> Result<Box<dyn Transport>, Trouble> {
        let failed = |why: &dyn std::fmt::Display| Trouble::no_tls(&url, why);
        let uri = url.parse::<Uri>().map_err(|e| failed(&e))?;
        let details = ConnectionDetails {
            uri: &uri,
            addrs: details.resolver.empty(),
            config: details.config,
            request_level: details.request_level,
            resolver: details.resolver,
            now: details.now,
            timeout: details.timeout,
            current_time: details.current_time.clone(),
            run_connector: details.run_connector.clone(),
            register_shutdown: details.register_shutdown.clone(),
        };
        match self.target.tls_connector.connect(&details, Some(line)) {
            Ok(Some(line)) => Ok(Box::new(line)),
            Ok(None) => Err(failed(&"no connection")),
            Err(why) => Err(failed(&why)),
        }
    }

    #[cfg(not(feature = "tls"))]
    fn speak_tls(
        &self,
        _: &ConnectionDetails,
        url: &str,
        _: Box<dyn Transport>,
    ) -> Result<Box<dyn Transport>, Trouble> {
        Err(Trouble::no_tls(&url, &"this build has none"))
    }

    fn way(&self) -> &Way {
        &self.target.way
    }
}

impl Connector for Dial {
    type Out = Loan;

    fn connect(
        &self,
        details: &ConnectionDetails,
        _: Option<()>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        if let Some(line) = self.kept.take_idle() {
            return Ok(Some(self.kept.lend(line)));
        }
        self.watch.note_fresh();
        match self.dial(details) {
            Ok(line) => Ok(Some(self.kept.lend(line))),
            Err(trouble) => Err(ureq::Error::Other(Box::new(trouble))),
        }
    }
}

impl From<Cancelled> for io::Error {
    fn from(_: Cancelled) -> io::Error {
        io::ErrorKind::Interrupted.into()
    }
}

/// The first hop is looked up when a connection to it is made, so ureq has nothing to look up.
#[derive(Debug)]
pub(super) struct NoResolver;

impl Resolver for NoResolver {
    fn resolve(
        &self,
        _: &Uri,
        _: &Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        Ok(self.empty())
    }
}

/// A proxy's connection once it leads elsewhere: whatever TLS there is below is not the server's.
#[derive(Debug)]
struct Tunnel(Box<dyn Transport>);

impl Transport for Tunnel {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.0.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.0.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.0.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.0.is_open()
    }
}
