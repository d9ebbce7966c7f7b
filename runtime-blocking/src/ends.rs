//! What a session keeps of each stream that has handles, and what handles do to it under the session's lock.
//!
//! The core says once how a stream ended and may forget it then; a handle says it as often as it is asked. Here that is
//! remembered, and so is what was peeked.

use crate::driver::State;
use crate::error::{read_error, write_error};
use bytes::Bytes;
use posthole_protocol::{Read, ReadError, ResetCode, StreamId, WriteError};
use std::io;
use std::sync::{Arc, Condvar};

/// What a session keeps of a stream that has handles.
#[derive(Default)]
pub(crate) struct Ends {
    pub(crate) readable: Arc<Condvar>,
    pub(crate) writable: Arc<Condvar>,
    /// Threads that wait.
    pub(crate) readers: u32,
    pub(crate) writers: u32,
    /// Taken from the core by `peek` and not read yet.
    peeked: Bytes,
    /// How reading ended. The core says it once and may forget the stream; a handle says it as often as it is asked.
    read: Option<Result<(), ReadError>>,
    /// How writing ended.
    written: Option<WriteError>,
}

impl Ends {
    /// Whom to wake when there is something to read.
    pub(crate) fn reader(&self) -> Option<Arc<Condvar>> {
        (self.readers > 0).then(|| self.readable.clone())
    }

    /// Whom to wake when something can be written.
    pub(crate) fn writer(&self) -> Option<Arc<Condvar>> {
        (self.writers > 0).then(|| self.writable.clone())
    }

    pub(crate) fn wake_all(&self) {
        self.readable.notify_all();
        self.writable.notify_all();
    }
}

/// One try at reading or writing.
pub(crate) enum Tried<T> {
    Done(T),
    Blocked,
}

/// What handles do to their stream under the lock.
impl State {
    pub(crate) fn ends<T>(&mut self, id: StreamId, change: impl FnOnce(&mut Ends) -> T) -> T {
        change(
            self.streams
                .get_mut(&id)
                .expect("kept until the stream's last handle is dropped"),
        )
    }

    /// The next bytes; empty at the end.
    pub(crate) fn take(&mut self, id: StreamId, max: usize) -> io::Result<Tried<Bytes>> {
        let peeked = self.ends(id, |ends| {
            let n = max.min(ends.peeked.len());
            ends.peeked.split_to(n)
        });
        if peeked.is_empty() {
            self.fetch(id, max)
        } else {
            Ok(Tried::Done(peeked))
        }
    }

    /// The next bytes, which stay: as many as are here, so that who peeks again sees more.
    pub(crate) fn look(&mut self, id: StreamId, max: usize) -> io::Result<Tried<Bytes>> {
        let seen = self.ends(id, |ends| ends.peeked.clone());
        if seen.len() >= max {
            return Ok(Tried::Done(seen));
        }
        let bytes = match self.fetch(id, max - seen.len()) {
            Ok(Tried::Done(more)) if seen.is_empty() => more,
            Ok(Tried::Done(more)) => [seen, more].concat().into(),
            other if seen.is_empty() => return other,
            Ok(Tried::Blocked) | Err(_) => seen,
        };
        self.ends(id, |ends| ends.peeked = bytes.clone());
        Ok(Tried::Done(bytes))
    }

    fn fetch(&mut self, id: StreamId, max: usize) -> io::Result<Tried<Bytes>> {
        let got = match self.ends(id, |ends| ends.read) {
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
                self.ends(id, |ends| ends.read = Some(Ok(())));
                Ok(Tried::Done(Bytes::new()))
            }
            Err(error) => {
                self.ends(id, |ends| ends.read = Some(Err(error)));
                Err(read_error(error, self.closed.as_ref()))
            }
        }
    }

    /// Takes what fits off the front of `data`.
    pub(crate) fn put(&mut self, id: StreamId, data: &mut Bytes) -> io::Result<()> {
        self.changed = true;
        let put = match self.ends(id, |ends| ends.written) {
            Some(error) => Err(error),
            None => match self.machine().and_then(|machine| machine.stream(id)) {
                Some(mut stream) => stream.write(data).map(drop),
                None => Err(WriteError::Closed),
            },
        };
        put.map_err(|error| {
            self.ends(id, |ends| ends.written = Some(error));
            write_error(error, self.closed.as_ref())
        })
    }

    pub(crate) fn finish(&mut self, id: StreamId) {
        self.changed = true;
        self.ends(id, |ends| *ends.written.get_or_insert(WriteError::Finished));
        if let Some(mut stream) = self.machine().and_then(|machine| machine.stream(id)) {
            stream.finish();
        }
    }

    /// No more is read. To the reader it is the end, as with a socket.
    pub(crate) fn stop(&mut self, id: StreamId, code: ResetCode) {
        self.changed = true;
        self.ends(id, |ends| {
            ends.peeked = Bytes::new();
            ends.read.get_or_insert(Ok(()));
        });
        if let Some(mut stream) = self.machine().and_then(|machine| machine.stream(id)) {
            stream.stop(code);
        }
    }

    pub(crate) fn reset(&mut self, id: StreamId, code: ResetCode) {
        self.ends(id, |ends| *ends.written.get_or_insert(WriteError::Finished));
        if let Some(mut stream) = self.machine().and_then(|machine| machine.stream(id)) {
            stream.reset(code);
        }
        self.stop(id, code);
    }
}
