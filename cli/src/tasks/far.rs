//! The one place that knows both the runtime's streams and the copier: a stream as the copier's far side.

use std::io;
use std::net::Shutdown;
use std::time::Duration;

use bytes::Bytes;
use posthole_smol::{Session, Stream};
use smol::{Timer, future};

use super::copy::Far;

impl Far for Stream {
    async fn read_bytes(&self, max: usize) -> io::Result<Bytes> {
        Stream::read_bytes(self, max).await
    }

    async fn write_bytes(&self, bytes: Bytes) -> io::Result<()> {
        Stream::write_bytes(self, bytes).await
    }

    fn finish(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn reset(&self, code: u32) {
        Stream::reset(self, code);
    }
}

/// Ends a session in order, but within this time; then it is aborted.
pub(super) async fn close_within(session: &Session, grace: Duration) {
    let close = async {
        // How it ended otherwise is for the log of whoever watches the session.
        let _ = session.close().await;
    };
    let late = async {
        Timer::after(grace).await;
        session.abort();
    };
    future::or(close, late).await;
}
