//! Joining a TCP connection and a stream with two threads: the calling one carries what goes up, another what goes down.

use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use bytes::Bytes;

use crate::copy::{
    Broken, Carried, PIECE, Side, at_socket, at_stream, check_end, end_well, send_now,
};
use crate::intake::{Intake, is_wait_over};
use crate::refusal::Refusal;

/// How often a write that gets no further asks whether the other way has failed.
const LOOK: Duration = Duration::from_secs(1);
/// Enough for a session's work in a debug build; only what is touched takes memory.
pub(crate) const STACK: usize = 256 * 1024;

/// What the copier needs of the far side. All methods may be called from several threads at once.
pub(crate) trait Far: Sync {
    /// The next bytes, at most `max`; empty at the end.
    ///
    /// # Errors
    /// The peer reset the stream, this side did, or the session ended.
    fn read_bytes(&self, max: usize) -> io::Result<Bytes>;
    /// The same, but `pass` is given what comes first, by whoever brings it, and only what it does not take comes back;
    /// empty at the end.
    ///
    /// # Errors
    /// As for reading.
    fn read_through(
        &self,
        max: usize,
        mut pass: impl FnMut(&[u8]) -> usize + Send + 'static,
    ) -> io::Result<Bytes> {
        loop {
            let bytes = self.read_bytes(max)?;
            let passed = pass(&bytes);
            if bytes.is_empty() || passed < bytes.len() {
                return Ok(bytes.slice(passed..));
            }
        }
    }
    /// Writes all of them, waiting for room.
    ///
    /// # Errors
    /// As for reading.
    fn write_bytes(&self, bytes: Bytes) -> io::Result<()>;
    /// No more will be written.
    ///
    /// # Errors
    /// The session has ended.
    fn finish(&self) -> io::Result<()>;
    /// Gives up both ways at once and wakes who waits in the methods above, be it with an end or an error.
    fn reset(&self, code: u32);
}

/// Carries bytes both ways until both have ended, then closes the socket. The socket must be [`prepare`]d.
///
/// # Errors
/// What ended the connection first, if it was not two ends of file. Both peers have been told by a reset then.
pub(crate) fn join(socket: TcpStream, stream: &impl Far) -> Result<Carried, Broken> {
    let socket = Arc::new(socket);
    let joint = Joint {
        socket: &socket,
        passed: Arc::default(),
        stream,
        broken: OnceLock::new(),
        finishing: AtomicBool::new(false),
    };
    let mut carried = Carried::default();
    thread::scope(|scope| {
        let down = thread::Builder::new()
            .name("down".into())
            .stack_size(STACK)
            .spawn_scoped(scope, || {
                joint
                    .down()
                    .map_err(|broken| joint.break_off(broken))
                    .unwrap_or(0)
            });
        match down {
            Ok(down) => {
                carried.up = joint
                    .up()
                    .map_err(|broken| joint.break_off(broken))
                    .unwrap_or(0);
                carried.down = down.join().unwrap_or(0);
            }
            Err(error) => joint.break_off(Broken {
                side: Side::Socket,
                error,
            }),
        }
    });
    match joint.broken.into_inner() {
        Some(broken) => Err(broken),
        None => {
            end_well(&socket);
            Ok(carried)
        }
    }
}

struct Joint<'a, F> {
    socket: &'a Arc<TcpStream>,
    /// Bytes of the way down that whoever brought them has written.
    passed: Arc<AtomicU64>,
    stream: &'a F,
    /// The first failure of either way; it ends the other.
    broken: OnceLock<Broken>,
    /// Set before the end is sent to the socket's peer.
    finishing: AtomicBool,
}

impl<F: Far> Joint<'_, F> {
    fn up(&self) -> Result<u64, Broken> {
        let mut intake = Intake::new();
        let mut carried = 0;
        loop {
            let bytes = intake
                .read(&**self.socket, |wait| self.socket.set_read_timeout(wait))
                .map_err(at_socket)?;
            if self.broken.get().is_some() {
                return Ok(carried);
            }
            if bytes.is_empty() {
                let has_ended = self.finishing.load(Ordering::SeqCst);
                check_end(self.socket, has_ended).map_err(at_socket)?;
                self.stream.finish().map_err(at_stream)?;
                return Ok(carried);
            }
            carried += bytes.len() as u64;
            self.stream.write_bytes(bytes).map_err(at_stream)?;
        }
    }

    fn down(&self) -> Result<u64, Broken> {
        self.socket
            .set_write_timeout(Some(LOOK))
            .map_err(at_socket)?;
        let mut carried = 0;
        loop {
            let (socket, passed) = (Arc::clone(self.socket), Arc::clone(&self.passed));
            let bytes = self.stream.read_through(PIECE, move |bytes| {
                // What went wrong meets whoever writes the rest.
                let sent = send_now(&socket, bytes).unwrap_or(0);
                passed.fetch_add(sent as u64, Ordering::Relaxed);
                sent
            });
            let bytes = bytes.map_err(at_stream)?;
            if self.broken.get().is_some() {
                return Ok(carried);
            }
            if bytes.is_empty() {
                self.finishing.store(true, Ordering::SeqCst);
                self.socket.shutdown(Shutdown::Write).map_err(at_socket)?;
                return Ok(carried + self.passed.load(Ordering::Relaxed));
            }
            carried += bytes.len() as u64;
            self.write_all(&bytes).map_err(at_socket)?;
        }
    }

    /// Like `Write::write_all`, but given up when the other way has failed: a peer that doesn't read would hold it
    /// for ever, and shutting the socket down to wake it would show that peer an end of file.
    fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        let mut socket = &**self.socket;
        while !bytes.is_empty() {
            match socket.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => bytes = &bytes[n..],
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if is_wait_over(&e) && self.broken.get().is_none() => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Ends the other way too. Who comes second finds everything done.
    fn break_off(&self, broken: Broken) {
        if self.broken.set(broken).is_ok() {
            self.stream.reset(Refusal::Reset.code());
            // Wakes a blocked read and sends nothing; that the peer sees a reset is `prepare`'s doing, on close.
            let _ = self.socket.shutdown(Shutdown::Read);
        }
    }
}
