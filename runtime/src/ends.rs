//! What a session keeps of each stream that has handles, and what handles do to it under the session's lock.
//!
//! The core says once how a stream ended and may forget it then; a handle says it as often as it is asked. Here that is
//! remembered, and so is what was peeked.

use crate::driver::State;
use crate::error::{SessionEnded, read_error, write_error};
use crate::wait::Waiters;
use bytes::Bytes;
use posthole_protocol::{Read, ReadError, ResetCode, StreamId, WriteError};
use std::io::{self, ErrorKind};
use std::net::Shutdown;

/// What a session keeps of a stream that has handles.
#[derive(Default)]
pub(crate) struct Ends<W> {
    pub(crate) readable: W,
    pub(crate) writable: W,
    /// Taken from the core by `peek` and not read yet.
    peeked: Bytes,
    /// How reading ended. The core says it once and may forget the stream; a handle says it as often as it is asked.
    read: Option<Result<(), ReadError>>,
    /// How writing ended.
    written: Option<WriteError>,
}

/// One try at something that may have to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried<T> {
    /// It was done.
    Done(T),
    /// Not yet: wait for news and try again.
    Blocked,
}

/// What one read gave: the pieces that were there, as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pieces {
    first: Bytes,
    /// Bytes of several bundles are several pieces.
    more: Vec<Bytes>,
}

impl Pieces {
    /// Copies them into the front of `buf`, which is at least as long as what was asked for, and says how much that was.
    /// Nothing: it is the end.
    pub fn copy_to(&self, buf: &mut [u8]) -> usize {
        let whole = buf.len();
        let mut rest = buf;
        for piece in std::iter::once(&self.first).chain(&self.more) {
            let (here, after) = rest.split_at_mut(piece.len());
            here.copy_from_slice(piece);
            rest = after;
        }
        whole - rest.len()
    }
}

/// What handles do to their stream. Each call is for a stream that has a handle, which [`State::open`] or
/// [`State::accept`] gave; it panics for any other.
impl<R, W: Waiters> State<R, W> {
    /// A stream has its first handle.
    pub(crate) fn join(&mut self, id: StreamId) -> StreamId {
        self.streams.insert(id, Ends::default());
        id
    }

    /// The stream's last handle is gone: what was written is still delivered, and no more is read. Who still waits is
    /// woken.
    pub fn release(&mut self, id: StreamId) {
        self.finish(id);
        self.stop(id, ResetCode(0));
        self.streams.remove(&id);
    }

    /// How many streams have handles.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Whether a stream has a handle.
    pub fn has(&self, id: StreamId) -> bool {
        self.streams.contains_key(&id)
    }

    /// Who waits to read from a stream.
    pub fn readable(&mut self, id: StreamId) -> &mut W {
        &mut self.ends(id).readable
    }

    /// Who waits to write to a stream.
    pub fn writable(&mut self, id: StreamId) -> &mut W {
        &mut self.ends(id).writable
    }

    #[inline(never)] // Asked in many places, which are all on the way of a byte.
    fn ends(&mut self, id: StreamId) -> &mut Ends<W> {
        self.streams
            .get_mut(&id)
            .expect("kept until the stream's last handle is dropped")
    }

    /// The next bytes, at most `max`, which is not 0; empty at the end. `Blocked`: wait for [`readable`](State::readable).
    ///
    /// # Errors
    /// How reading ended, each time it is asked.
    pub fn take(&mut self, id: StreamId, max: usize) -> io::Result<Tried<Bytes>> {
        let ends = self.ends(id);
        if ends.peeked.is_empty() {
            return self.fetch(id, max);
        }
        let n = max.min(ends.peeked.len());
        Ok(Tried::Done(ends.peeked.split_to(n)))
    }

    /// As [`take`](State::take), but of all pieces that are here. An end or an error behind them is for the next call.
    ///
    /// # Errors
    /// How reading ended.
    pub fn take_all(&mut self, id: StreamId, max: usize) -> io::Result<Tried<Pieces>> {
        let Tried::Done(first) = self.take(id, max)? else {
            return Ok(Tried::Blocked);
        };
        let mut left = max - first.len();
        let mut more = Vec::new();
        while !first.is_empty() && left > 0 {
            match self.take(id, left) {
                Ok(Tried::Done(piece)) if !piece.is_empty() => {
                    left -= piece.len();
                    more.push(piece);
                }
                Ok(_) | Err(_) => break,
            }
        }
        Ok(Tried::Done(Pieces { first, more }))
    }

    /// The next bytes, which stay: as many as are here, so that who peeks again sees more.
    ///
    /// # Errors
    /// As [`take`](State::take).
    pub fn look(&mut self, id: StreamId, max: usize) -> io::Result<Tried<Bytes>> {
        let seen = self.ends(id).peeked.clone();
        if seen.len() >= max {
            return Ok(Tried::Done(seen));
        }
        let bytes = match self.fetch(id, max - seen.len()) {
            Ok(Tried::Done(more)) if seen.is_empty() => more,
            Ok(Tried::Done(more)) => [seen, more].concat().into(),
            other if seen.is_empty() => return other,
            Ok(Tried::Blocked) | Err(_) => seen,
        };
        self.ends(id).peeked = bytes.clone();
        Ok(Tried::Done(bytes))
    }

    fn fetch(&mut self, id: StreamId, max: usize) -> io::Result<Tried<Bytes>> {
        let got = match self.ends(id).read {
            Some(Ok(())) => Ok(Read::End),
            Some(Err(error)) => Err(error),
            None => match self.machine().and_then(|machine| machine.stream(id)) {
                Some(mut stream) => stream.read(max),
                // The core forgets a stream after both its ends were told, or a whole session.
                None => Err(ReadError::Closed),
            },
        };
        match got {
            Ok(Read::Chunk(bytes)) => Ok(Tried::Done(bytes)),
            Ok(Read::Blocked) => Ok(Tried::Blocked),
            Ok(Read::End) => {
                self.ends(id).read = Some(Ok(()));
                Ok(Tried::Done(Bytes::new()))
            }
            Err(error) => {
                self.ends(id).read = Some(Err(error));
                Err(read_error(error, self.closed()))
            }
        }
    }

    /// How many bytes a [`put`](State::put) would take at this moment, if the stream may be written to.
    pub fn room_in(&mut self, id: StreamId) -> usize {
        let stream = self.machine().and_then(|machine| machine.stream(id));
        stream.map_or(0, |stream| stream.room())
    }

    /// Takes what fits off the front of `data`. If something is left, wait for [`writable`](State::writable).
    ///
    /// # Errors
    /// How writing ended, each time it is asked.
    pub fn put(&mut self, id: StreamId, data: &mut Bytes) -> io::Result<()> {
        self.changed = true;
        let put = match self.ends(id).written {
            Some(error) => Err(error),
            None => match self.machine().and_then(|machine| machine.stream(id)) {
                Some(mut stream) => stream.write(data).map(drop),
                None => Err(WriteError::Closed),
            },
        };
        put.map_err(|error| {
            self.ends(id).written = Some(error);
            write_error(error, self.closed())
        })
    }

    /// Ends one or both directions, as a socket's shutdown does.
    ///
    /// # Errors
    /// `NotConnected`, if the session has ended.
    pub fn shutdown(&mut self, id: StreamId, how: Shutdown) -> io::Result<()> {
        if matches!(how, Shutdown::Write | Shutdown::Both) {
            self.finish(id);
        }
        if matches!(how, Shutdown::Read | Shutdown::Both) {
            self.stop(id, ResetCode(0));
        }
        self.closed.clone().map_or(Ok(()), |reason| {
            let ended = SessionEnded(reason);
            Err(io::Error::new(ErrorKind::NotConnected, ended))
        })
    }

    /// Gives the stream up in both directions.
    pub fn reset(&mut self, id: StreamId, code: ResetCode) {
        self.end_writing(id);
        if let Some(mut stream) = self.machine().and_then(|machine| machine.stream(id)) {
            stream.reset(code);
        }
        self.stop(id, code);
    }

    fn finish(&mut self, id: StreamId) {
        self.changed = true;
        self.end_writing(id);
        if let Some(mut stream) = self.machine().and_then(|machine| machine.stream(id)) {
            stream.finish();
        }
    }

    /// No more is read. To the reader it is the end, as with a socket.
    fn stop(&mut self, id: StreamId, code: ResetCode) {
        self.changed = true;
        let ends = self.ends(id);
        ends.peeked = Bytes::new();
        ends.read.get_or_insert(Ok(()));
        let wake = ends.readable.take();
        self.wakes.extend(wake);
        if let Some(mut stream) = self.machine().and_then(|machine| machine.stream(id)) {
            stream.stop(code);
        }
    }

    fn end_writing(&mut self, id: StreamId) {
        let ends = self.ends(id);
        ends.written.get_or_insert(WriteError::Finished);
        let wake = ends.writable.take();
        self.wakes.extend(wake);
    }
}

#[cfg(test)]
mod tests;
