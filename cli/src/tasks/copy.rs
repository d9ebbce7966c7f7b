//! Joining a TCP connection and a stream in one task.

use std::future::Future;
use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use smol::{Async, future};

use crate::copy::{Broken, Carried, PIECE, at_socket, at_stream, check_end, end_well};
use crate::intake::Intake;
use crate::refusal::Refusal;

/// Bytes that one way may move before other tasks have their turn: some 50 µs.
const TURN: usize = 128 * 1024;

/// What the copier needs of the far side.
pub(crate) trait Far: Sync {
    /// The next bytes, at most `max`; empty at the end.
    ///
    /// # Errors
    /// The peer reset the stream, this side did, or the session ended.
    fn read_bytes(&self, max: usize) -> impl Future<Output = io::Result<Bytes>> + Send;
    /// Writes all of them, waiting for room.
    ///
    /// # Errors
    /// As for reading.
    fn write_bytes(&self, bytes: Bytes) -> impl Future<Output = io::Result<()>> + Send;
    /// No more will be written.
    ///
    /// # Errors
    /// The session has ended.
    fn finish(&self) -> io::Result<()>;
    /// Gives up both ways at once.
    fn reset(&self, code: u32);
}

/// Carries bytes both ways until both have ended, then closes the socket. The socket must be
/// [`prepare`](crate::copy::prepare)d. Dropping the future closes it too, which is a reset then; the stream is left to
/// whoever owns it.
///
/// # Errors
/// What ended the connection first, if it was not two ends of file. Both peers have been told by a reset then.
pub(crate) async fn join(socket: Async<TcpStream>, stream: &impl Far) -> Result<Carried, Broken> {
    let joint = Joint {
        socket: &socket,
        stream,
        finishing: AtomicBool::new(false),
    };
    // The first failure of either way ends the other, which is dropped where it waits.
    match future::try_zip(joint.up(), joint.down()).await {
        Ok((up, down)) => {
            end_well(&socket);
            Ok(Carried { up, down })
        }
        Err(broken) => {
            stream.reset(Refusal::Reset.code());
            Err(broken)
        }
    }
}

struct Joint<'a, F> {
    socket: &'a Async<TcpStream>,
    stream: &'a F,
    /// Set before the end is sent to the socket's peer.
    finishing: AtomicBool,
}

impl<F: Far> Joint<'_, F> {
    async fn up(&self) -> Result<u64, Broken> {
        let mut intake = Intake::new();
        let mut turn = Turn::default();
        let mut carried = 0;
        loop {
            let bytes = self.read(&mut intake).await.map_err(at_socket)?;
            if bytes.is_empty() {
                let has_ended = self.finishing.load(Ordering::Relaxed);
                check_end(self.socket, has_ended).map_err(at_socket)?;
                self.stream.finish().map_err(at_stream)?;
                return Ok(carried);
            }
            let length = bytes.len();
            carried += length as u64;
            self.stream.write_bytes(bytes).await.map_err(at_stream)?;
            turn.moved(length).await;
        }
    }

    async fn down(&self) -> Result<u64, Broken> {
        let mut turn = Turn::default();
        let mut carried = 0;
        loop {
            let bytes = self.stream.read_bytes(PIECE).await.map_err(at_stream)?;
            if bytes.is_empty() {
                self.finishing.store(true, Ordering::Relaxed);
                let end = self.socket.get_ref().shutdown(Shutdown::Write);
                end.map_err(at_socket)?;
                return Ok(carried);
            }
            carried += bytes.len() as u64;
            self.write_all(&bytes).await.map_err(at_socket)?;
            turn.moved(bytes.len()).await;
        }
    }

    async fn read(&self, intake: &mut Intake) -> io::Result<Bytes> {
        loop {
            match rustix::io::read(self.socket, spare_capacity(intake.room())) {
                Ok(_) => return Ok(intake.take()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    // Nothing is held while nothing comes.
                    intake.pause();
                    self.socket.readable().await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.socket.write_with(|mut to| to.write(bytes)).await {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => bytes = &bytes[n..],
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// What one way has moved since other tasks had their turn. A way whose socket and stream are always ready would keep its
/// thread for itself.
#[derive(Default)]
struct Turn(usize);

impl Turn {
    async fn moved(&mut self, bytes: usize) {
        self.0 += bytes;
        if self.0 >= TURN {
            self.0 = 0;
            future::yield_now().await;
        }
    }
}
