//! The one place that knows both the runtime's sessions and what the command makes of them: how they begin and end, and
//! a stream as the copier's far side.

use std::io;
use std::net::Shutdown;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use posthole_blocking::carrier::TlsChoice;
use posthole_blocking::{ConnectError, Options, Session, Stream};

use super::copy::Far;
use crate::connect::ConnectOptions;
use crate::link::Failure;

impl Far for Stream {
    fn read_bytes(&self, max: usize) -> io::Result<Bytes> {
        Stream::read_bytes(self, max)
    }

    fn write_bytes(&self, bytes: Bytes) -> io::Result<()> {
        Stream::write_bytes(self, bytes)
    }

    fn finish(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn reset(&self, code: u32) {
        Stream::reset(self, code);
    }
}

/// Opens a session.
pub(super) fn connect(options: &ConnectOptions) -> Result<Session, Failure> {
    let ConnectOptions {
        url,
        proxy,
        plain,
        ca,
        connect_timeout,
    } = options.clone();
    let options = Options::new()
        .proxy(proxy)
        .plain(plain)
        .tls(ca.map_or_else(TlsChoice::default, TlsChoice::CaFile))
        .connect_timeout(connect_timeout);
    posthole_blocking::connect(&url, options).map_err(|e| match e {
        ConnectError::Target(what) => Failure::lasting(&what),
        other => Failure::passing(&url, &other),
    })
}

/// Ends a session in order, but within this time; then it is aborted.
pub(super) fn close_within(session: &Session, grace: Duration) {
    let (done, wait) = mpsc::channel();
    let closing = session.clone();
    let thread = thread::Builder::new().name("close".into()).spawn(move || {
        // How it ended otherwise is for the log of whoever watches the session.
        let _ = closing.close();
        let _ = done.send(());
    });
    if thread.is_err() || wait.recv_timeout(grace).is_err() {
        session.abort();
    }
}
