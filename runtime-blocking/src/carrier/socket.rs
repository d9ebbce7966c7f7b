//! The connection under everything: a TCP socket as ureq's transport.
//!
//! - Output is kept until something is waited for, so that a small request is one write: head, body, TLS record and all.
//! - A failed write is not yet a failed exchange: a box that refuses a body answers while it is still being sent, and
//!   closes. From then on output is dropped and the answer is read.
//! - No read or write may take longer than the exchange's patience without a byte moving.

use super::body::Outgoing;
use super::watch::Watch;
use bytes::Bytes;
use posthole_protocol::http::policy::LARGEST_HEAD;
use socket2::Socket;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::Duration;
use ureq::unversioned::transport::{Buffers, NextTimeout, Transport};

/// Bytes of output gathered before they are written. Larger ones gain nothing on loopback, and progress is told in
/// these steps.
const OUTPUT: usize = 128 * 1024;

/// Bytes of input read at once to be deciphered. With 256 KiB an answer of 1 MB takes 5 reads and two thirds of the time
/// of 128 KiB.
const INPUT: usize = 256 * 1024;

/// Where there is nothing to decipher a body is read past ureq (`line`), and what comes with the head is copied: room for
/// any head, and little more.
const PLAIN_INPUT: usize = LARGEST_HEAD + 1024;

/// With less room than this output is written: a line of a head must find room.
const ROOM: usize = 32 * 1024;

/// Pieces written at once: the system takes at most 1024.
const SLICES: usize = 256;

/// How often a write that is stuck looks whether an answer has come meanwhile.
const LOOK: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(super) struct Connection {
    socket: Arc<Socket>,
    watch: Arc<Watch>,
    buffers: InOut,
    body: Outgoing,
    /// What is written after the output that is held.
    pieces: Vec<Bytes>,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    /// Whether input before the request is out means an answer; with TLS it may be anything.
    is_plain: bool,
    /// Nothing can be written any more, or need be.
    is_deaf: bool,
}

impl Connection {
    pub(super) fn new(
        socket: Arc<Socket>,
        watch: Arc<Watch>,
        body: Outgoing,
        is_plain: bool,
    ) -> Connection {
        Connection {
            socket,
            watch,
            buffers: InOut {
                input_size: if is_plain { PLAIN_INPUT } else { INPUT },
                ..InOut::default()
            },
            body,
            pieces: Vec::new(),
            read_timeout: None,
            write_timeout: None,
            is_plain,
            is_deaf: false,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let held = std::mem::take(&mut self.buffers.held);
        let pieces = std::mem::take(&mut self.pieces);
        let head = self.buffers.output.get(..held).unwrap_or_default();
        let mut slices: Vec<IoSlice<'_>> = std::iter::once(head)
            .chain(pieces.iter().map(|piece| &**piece))
            .filter(|slice| !slice.is_empty())
            .map(IoSlice::new)
            .collect();
        let mut rest = slices.as_mut_slice();
        let patience = self.watch.patience();
        let slice = patience.min(LOOK);
        if self.write_timeout != Some(slice) && !rest.is_empty() {
            self.socket.set_write_timeout(Some(slice))?;
            self.write_timeout = Some(slice);
        }
        let mut stuck = Duration::ZERO;
        while !rest.is_empty() && !self.is_deaf {
            let now = rest.get(..rest.len().min(SLICES)).unwrap_or_default();
            match (&*self.socket).write_vectored(now) {
                Ok(0) => self.is_deaf = true,
                Ok(written) => {
                    IoSlice::advance_slices(&mut rest, written);
                    stuck = Duration::ZERO;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) if is_timeout(&e) => {
                    stuck += slice;
                    if stuck >= patience {
                        return Err(ErrorKind::TimedOut.into());
                    }
                }
                Err(e) if is_closed(&e) => self.is_deaf = true,
                Err(e) => return Err(e),
            }
            // A write that took only a part waited for room; one that took all did not.
            self.is_deaf |= self.is_plain && !rest.is_empty() && has_input(&self.socket)?;
        }
        Ok(())
    }

    fn read(&mut self) -> io::Result<usize> {
        let patience = self.watch.patience();
        if self.read_timeout != Some(patience) {
            self.socket.set_read_timeout(Some(patience))?;
            self.read_timeout = Some(patience);
        }
        let room = self.buffers.input_append_buf();
        if room.is_empty() {
            return Err(io::Error::new(ErrorKind::InvalidData, "an endless line"));
        }
        let amount = receive(&self.socket, room)?;
        self.buffers.input_appended(amount);
        Ok(amount)
    }
}

/// Reads what is there, or waits for it as long as the socket's time-out says.
pub(super) fn receive(mut socket: &Socket, room: &mut [u8]) -> io::Result<usize> {
    loop {
        match socket.read(room) {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) if is_timeout(&e) => return Err(ErrorKind::TimedOut.into()),
            other => return other,
        }
    }
}

impl Transport for Connection {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), ureq::Error> {
        if self.body.take_into(&mut self.pieces) {
            return Ok(self.flush()?);
        }
        self.buffers.held = self.buffers.held.saturating_add(amount).min(OUTPUT);
        if OUTPUT - self.buffers.held < ROOM {
            self.flush()?;
        }
        Ok(())
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, ureq::Error> {
        self.flush()?;
        Ok(self.read()? > 0)
    }

    fn is_open(&mut self) -> bool {
        !self.is_deaf
            && self.buffers.input().is_empty()
            && matches!(has_input(&self.socket), Ok(false))
    }
}

/// Whether a read would give something at once: bytes, the end, or an error.
fn has_input(socket: &Socket) -> io::Result<bool> {
    let room = &mut [MaybeUninit::uninit(); 1];
    #[cfg(unix)]
    let looked = socket.recv_with_flags(room, libc::MSG_PEEK | libc::MSG_DONTWAIT);
    #[cfg(not(unix))]
    let looked = {
        socket.set_nonblocking(true)?;
        let looked = socket.peek(room);
        socket.set_nonblocking(false)?;
        looked
    };
    Ok(!matches!(looked, Err(e) if e.kind() == ErrorKind::WouldBlock))
}

/// Whether the other side, or something on the way, has ended the connection.
pub(super) fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::BrokenPipe
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::NotConnected
            | ErrorKind::UnexpectedEof
    )
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// ureq's two buffers. `output[..held]` waits to be written; `input[start..end]` waits to be used.
#[derive(Debug, Default)]
struct InOut {
    output: Vec<u8>,
    held: usize,
    input: Vec<u8>,
    input_size: usize,
    start: usize,
    end: usize,
    /// Whether the last look at the input used some of it; if not, more must be read first.
    has_progress: bool,
}

impl InOut {
    fn make_room(&mut self) {
        if self.output.is_empty() {
            // Zeroed by the system, page by page as they are used: an idle lane costs little.
            self.output = vec![0; OUTPUT];
            self.input = vec![0; self.input_size];
        }
        if self.start > 0 {
            self.input.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
    }
}

impl Buffers for InOut {
    fn output(&mut self) -> &mut [u8] {
        self.make_room();
        self.output.get_mut(self.held..).unwrap_or_default()
    }

    fn input(&self) -> &[u8] {
        self.input.get(self.start..self.end).unwrap_or_default()
    }

    fn input_append_buf(&mut self) -> &mut [u8] {
        self.make_room();
        self.input.get_mut(self.end..).unwrap_or_default()
    }

    fn input_appended(&mut self, amount: usize) {
        self.end = (self.end + amount).min(self.input.len());
    }

    fn input_consume(&mut self, amount: usize) {
        self.has_progress = amount > 0;
        self.start = (self.start + amount).min(self.end);
    }

    fn tmp_and_output(&mut self) -> (&mut [u8], &mut [u8]) {
        self.make_room();
        let InOut {
            output,
            held,
            input,
            end,
            ..
        } = self;
        (
            input.get_mut(*end..).unwrap_or_default(),
            output.get_mut(*held..).unwrap_or_default(),
        )
    }

    fn can_use_input(&self) -> bool {
        self.start < self.end && self.has_progress
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use socket2::{Domain, Type};
    use std::net::{Ipv4Addr, SocketAddr};
    use std::thread;

    /// Each byte that leaves begins the wait anew: else a slow way would end every upload that is much longer than the
    /// patience.
    #[test]
    fn a_write_that_moves_in_steps_outlasts_its_patience() {
        const PATIENCE: Duration = Duration::from_millis(600);
        // Two looks in it find nothing written.
        const STEP: Duration = Duration::from_millis(520);
        const ALL: usize = 256 * 1024;
        // Buffers as small as the system has them, so that what is read in a step is what is written in it.
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.set_recv_buffer_size(4096).unwrap();
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        listener.bind(&local.into()).unwrap();
        listener.listen(1).unwrap();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_send_buffer_size(4096).unwrap();
        socket.connect(&listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let reader = thread::spawn(move || {
            let mut read = 0;
            for _ in 0..6 {
                thread::sleep(STEP);
                read += far.read(&mut [0; 8192]).unwrap();
            }
            read + io::copy(&mut far, &mut io::sink()).unwrap() as usize
        });
        let watch = Arc::new(Watch::default());
        watch.begin(0, PATIENCE);
        let mut connection = Connection::new(Arc::new(socket), watch, Outgoing::new(true), true);
        connection.pieces.push(vec![1; ALL].into());
        connection.flush().unwrap();
        drop(connection);
        assert_eq!(reader.join().unwrap(), ALL);
    }
}
