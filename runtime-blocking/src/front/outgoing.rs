//! A reply on its way out: one head and a chain, written together, in as many calls as the socket asks for.

use super::Reply;
use super::reply::{Head, Persist};
use super::sock;
use bytes::Bytes;
use posthole_protocol::wire::Chain;
use std::io::{self, IoSlice, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// What has not been written yet.
///
/// Invariant: `at` is inside the piece that `piece` names, where 0 is the head and `n` the part `n - 1`.
pub(crate) struct Outgoing {
    head: Head,
    body: Chain,
    piece: usize,
    at: usize,
    left: usize,
}

/// Pieces handed to one call; a longer chain takes several.
const PIECES: usize = 64;

impl Outgoing {
    pub(super) fn new(reply: Reply, persist: Persist) -> Outgoing {
        let head = Head::of(&reply, persist);
        let left = head.bytes().len() + reply.body.len();
        Outgoing {
            head,
            body: reply.body,
            piece: 0,
            at: 0,
            left,
        }
    }

    /// The next piece of a streamed reply; with a head before the first.
    pub(super) fn streamed(head: Option<Head>, mut body: Chain, chunks: bool) -> Outgoing {
        let mut head = head.unwrap_or(Head::NONE);
        if chunks && !body.is_empty() {
            head = head.chunk(body.len());
            body.push(Bytes::from_static(b"\r\n"));
        }
        Outgoing {
            left: head.bytes().len() + body.len(),
            head,
            body,
            piece: 0,
            at: 0,
        }
    }

    /// The rest of one, and its end.
    pub(super) fn rest(head: Option<Head>, body: Chain, chunks: bool) -> Outgoing {
        let mut outgoing = Outgoing::streamed(head, body, chunks);
        if chunks {
            let end = Bytes::from_static(b"0\r\n\r\n");
            outgoing.left += end.len();
            outgoing.body.push(end);
        }
        outgoing
    }

    /// Bundles alone, as a direct connection carries them.
    pub(crate) fn bare(body: Chain) -> Outgoing {
        Outgoing {
            head: Head::NONE,
            left: body.len(),
            body,
            piece: 0,
            at: 0,
        }
    }

    /// Bytes not yet written.
    pub(crate) fn left(&self) -> usize {
        self.left
    }

    /// Writes what the socket takes without waiting; true if that is all.
    ///
    /// # Errors
    /// If the connection is broken.
    pub(crate) fn send_now(&mut self, stream: &TcpStream) -> io::Result<bool> {
        while self.left > 0 {
            let (sent, offered) = self.send(|slices| sock::send_now(stream, slices));
            match sent {
                Ok(sent) if sent < offered => return Ok(false),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if sock::is_would_block(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Writes all of it, waiting for the reader; the stream's write time-out says how often to look at the clock.
    ///
    /// # Errors
    /// If the connection is broken, or the reader has not taken all of it after `time`.
    pub(crate) fn send_all(&mut self, mut stream: &TcpStream, time: Duration) -> io::Result<()> {
        let begun = Instant::now();
        while self.left > 0 {
            match self.send(|slices| stream.write_vectored(slices)).0 {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error)
                    if error.kind() == io::ErrorKind::Interrupted
                        || sock::is_would_block(&error) => {}
                Err(error) => return Err(error),
            }
            if begun.elapsed() > time {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }

    /// Offers the next pieces to `call`; how many bytes it took, and how many it was offered.
    fn send(
        &mut self,
        call: impl FnOnce(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> (io::Result<usize>, usize) {
        let mut slices = [IoSlice::new(&[]); PIECES];
        let (mut count, mut offered) = (0, 0);
        for piece in self.piece..=self.body.parts().len() {
            let bytes = &self.piece(piece)[if piece == self.piece { self.at } else { 0 }..];
            if count == PIECES {
                break;
            }
            if !bytes.is_empty() {
                slices[count] = IoSlice::new(bytes);
                count += 1;
                offered += bytes.len();
            }
        }
        let sent = call(&slices[..count]);
        if let Ok(sent) = sent {
            self.advance(sent);
        }
        (sent, offered)
    }

    fn piece(&self, piece: usize) -> &[u8] {
        match piece {
            0 => self.head.bytes(),
            n => &self.body.parts()[n - 1],
        }
    }

    fn advance(&mut self, mut sent: usize) {
        self.left -= sent;
        while sent > 0 {
            let rest = self.piece(self.piece).len() - self.at;
            if sent < rest {
                self.at += sent;
                return;
            }
            sent -= rest;
            self.piece += 1;
            self.at = 0;
        }
    }
}
