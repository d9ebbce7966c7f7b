//! The one place that knows both the runtime's streams and the copier: a stream as the copier's far side.

use std::io;
use std::net::Shutdown;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use posthole_blocking::{Session, Stream};

use super::copy::Far;

impl Far for Stream {
    fn read_bytes(&self, max: usize) -> io::Result<Bytes> {
        Stream::read_bytes(self, max)
    }

    fn read_through(
        &self,
        max: usize,
        pass: impl FnMut(&[u8]) -> usize + Send + 'static,
    ) -> io::Result<Bytes> {
        Stream::read_through(self, max, pass)
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
