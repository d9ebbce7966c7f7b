//! The runtime on threads, which speaks in blocking terms already.

use crate::runtimes::direct::TakesDirect;
use bytes::Bytes;
use posthole_blocking::carrier::ProxyChoice;
use posthole_blocking::{ListenOptions, Options, Stats};
use posthole_protocol::{CloseReason, Config, Learned};
use posthole_tests::conformance::runtime::{Dial, Listener, Runtime, Session, Stream};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::time::Duration;

/// The runtime on threads.
pub(crate) struct Blocking;

impl Runtime for Blocking {
    type Session = Caller;
    type Listener = Door;

    fn connect(url: &str, how: Dial) -> io::Result<Caller> {
        let mut options = Options::new()
            .proxy(how.proxy.map_or(ProxyChoice::None, ProxyChoice::Url))
            .config(how.config)
            .connect_timeout(how.timeout)
            .wait_for_answer(how.waits);
        for (name, value) in how.headers {
            options = options.header(name, value);
        }
        Ok(Caller(posthole_blocking::connect(url, options)?))
    }

    fn bind(addr: SocketAddr, config: Config) -> io::Result<Door> {
        let options = ListenOptions::new().config(config);
        posthole_blocking::Listener::bind(addr, options).map(Door)
    }
}

impl TakesDirect for Blocking {
    fn take_direct(door: &Door, socket: TcpListener) -> io::Result<()> {
        door.0.serve_direct(socket)
    }
}

/// A listener.
pub(crate) struct Door(posthole_blocking::Listener);

impl Listener for Door {
    type Session = Caller;

    fn addr(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    fn accept(&self) -> io::Result<Caller> {
        self.0.accept().map(Caller)
    }

    fn sessions(&self) -> usize {
        self.0.sessions()
    }

    fn close(&self, grace: Duration) {
        self.0.close(grace);
    }
}

/// A session.
#[derive(Clone)]
pub(crate) struct Caller(posthole_blocking::Session);

impl Session for Caller {
    type Stream = Socket;

    fn open(&self) -> io::Result<Socket> {
        self.0.open().map(Socket)
    }

    fn accept(&self) -> io::Result<Socket> {
        self.0.accept().map(Socket)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }

    fn abort(&self) {
        self.0.abort();
    }

    fn closed(&self) -> Option<CloseReason> {
        self.0.closed()
    }

    fn wait_closed(&self) -> CloseReason {
        self.0.wait_closed()
    }

    fn is_connected(&self) -> bool {
        self.0.is_connected()
    }

    fn learned(&self) -> Option<Learned> {
        self.0.learned()
    }

    fn stats(&self) -> Stats {
        self.0.stats()
    }
}

/// A stream with `Clone` for its `try_clone`.
pub(crate) struct Socket(posthole_blocking::Stream);

impl Clone for Socket {
    fn clone(&self) -> Socket {
        Socket(self.0.try_clone().unwrap())
    }
}

/// As sockets have it, a time-out that passes is an error.
fn in_time(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        other => other.map(Some),
    }
}

impl Stream for Socket {
    fn id(&self) -> u64 {
        self.0.id().number()
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.0).read(buffer)
    }

    fn read_bytes(&self, max: usize) -> io::Result<Bytes> {
        self.0.read_bytes(max)
    }

    fn read_within(&self, buffer: &mut [u8], patience: Duration) -> io::Result<Option<usize>> {
        self.0.set_read_timeout(Some(patience))?;
        let result = (&self.0).read(buffer);
        self.0.set_read_timeout(None)?;
        in_time(result)
    }

    fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.peek(buffer)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        (&self.0).write(bytes)
    }

    fn write_bytes(&self, bytes: Bytes) -> io::Result<()> {
        self.0.write_bytes(bytes)
    }

    fn write_within(&self, bytes: &[u8], patience: Duration) -> io::Result<Option<usize>> {
        self.0.set_write_timeout(Some(patience))?;
        let result = (&self.0).write(bytes);
        self.0.set_write_timeout(None)?;
        in_time(result)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0.shutdown(how)
    }

    fn reset(&self, code: u32) {
        self.0.reset(code);
    }
}
