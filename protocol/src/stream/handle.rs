//! The application's end of a stream.

use super::{RecvState, SendState, Streams};
use crate::error::{ReadError, ResetCode, WriteError};
use crate::event::Read;
use crate::id::StreamId;
use crate::outbox::Outbox;
use bytes::Bytes;

/// The one handle for a stream's bytes; the same on both sides. Borrowed from a `Client` or `Server` for each use.
#[derive(Debug)]
pub struct Stream<'a> {
    id: StreamId,
    streams: &'a mut Streams,
    outbox: &'a mut Outbox,
}

impl<'a> Stream<'a> {
    pub(crate) fn new(
        id: StreamId,
        streams: &'a mut Streams,
        outbox: &'a mut Outbox,
    ) -> Option<Stream<'a>> {
        streams.table.get(id).is_some().then_some(Stream {
            id,
            streams,
            outbox,
        })
    }

    /// Which stream this is.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// Takes what fits off the front of `data`, without copying what is large, and says how much; the rest is left:
    /// wait for [`Event::Writable`](crate::Event::Writable).
    ///
    /// # Errors
    /// When this side is finished, the peer wants no more, or the session is over. `data` is as it was.
    pub fn write(&mut self, data: &mut Bytes) -> Result<usize, WriteError> {
        let (closing, room, join) = (
            self.streams.closing,
            self.streams.room(self.id),
            self.streams.join,
        );
        self.streams
            .update(self.id, |e| {
                if let Some(code) = e.send.stopped {
                    e.send.stop_told = true;
                    return Err(WriteError::Stopped(code));
                }
                if e.send.state != SendState::Open {
                    return Err(WriteError::Finished);
                }
                if closing {
                    return Err(WriteError::Closed);
                }
                let n = data.len().min(usize::try_from(room).unwrap_or(usize::MAX));
                e.send.queue.push(data.split_to(n), join);
                e.send.blocked = !data.is_empty();
                Ok(n)
            })
            .unwrap_or(Err(WriteError::Closed))
    }

    /// How many bytes a [`write`](Stream::write) would take at this moment, if the stream may be written to: for those
    /// who copy what they write and want to copy it once.
    pub fn room(&self) -> usize {
        usize::try_from(self.streams.room(self.id)).unwrap_or(usize::MAX)
    }

    /// The next bytes, at most `max`.
    ///
    /// # Errors
    /// When the peer reset the stream, reading was stopped, or the session ended before the stream did.
    pub fn read(&mut self, max: usize) -> Result<Read, ReadError> {
        let closed = self.streams.closed;
        self.streams
            .update(self.id, |e| {
                e.recv.blocked = false;
                match &mut e.recv.state {
                    RecvState::Ended => return Ok(Read::End),
                    RecvState::Stopped { .. } => return Err(ReadError::Stopped),
                    RecvState::Reset { code, told } => {
                        *told = true;
                        return Err(ReadError::Reset(*code));
                    }
                    RecvState::Open => {}
                }
                if e.recv.has_bytes() && max > 0 {
                    return Ok(Read::Chunk(e.recv.take(max)));
                }
                if e.recv.at_end() {
                    e.recv.end(RecvState::Ended);
                    return Ok(Read::End);
                }
                if closed {
                    return Err(ReadError::Closed);
                }
                e.recv.blocked = true;
                Ok(Read::Blocked)
            })
            .unwrap_or(Err(ReadError::Closed))
    }

    /// No more will be written; what was written is delivered. Harmless when repeated.
    pub fn finish(&mut self) {
        self.streams.update(self.id, |e| {
            e.send.stop_told = true;
            if e.send.state == SendState::Open && e.send.stopped.is_none() {
                e.send.state = SendState::Finishing;
            }
        });
    }

    /// Gives up this side: what was not delivered is dropped, and the peer is told `code`.
    pub fn reset(&mut self, code: ResetCode) {
        self.streams.update(self.id, |e| e.send.stop_told = true);
        self.give_up(code);
    }

    /// Gives up this side, by the application's wish or the peer's.
    pub(crate) fn give_up(&mut self, code: ResetCode) {
        if self.streams.update(self.id, |e| e.reset(code)) == Some(true) {
            self.outbox.void(self.id);
        }
    }

    /// No more will be read: what has come and will come is dropped, and the peer is asked with `code` to send no
    /// more.
    pub fn stop(&mut self, code: ResetCode) {
        self.streams.update(self.id, |e| match &mut e.recv.state {
            RecvState::Open => {
                let said = e.recv.at_end();
                e.recv.end(RecvState::Stopped { code, said });
            }
            RecvState::Reset { told, .. } => *told = true,
            RecvState::Ended | RecvState::Stopped { .. } => {}
        });
    }

    /// Whether everything written so far was acknowledged by the peer.
    pub fn is_flushed(&self) -> bool {
        self.streams
            .table
            .get(self.id)
            .is_none_or(|e| e.send.buffered() == 0)
    }
}
