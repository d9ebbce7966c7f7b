//! A request's body on its way from the lane to the socket.
//!
//! ureq asks a reader for bytes and hands them to its transport, both of which are ours. Where nothing between them
//! looks at the bytes (no TLS), those of a large body are not copied: the reader says how many there are and leaves
//! the pieces here, and the connection writes the pieces instead of what ureq has in its buffer.

use bytes::Bytes;
use posthole_protocol::wire::Chain;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A body up to this size is copied, so that it leaves in one piece with its head.
const SMALL: usize = 16 * 1024;

/// What a lane and its connection share.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    /// What the last read gave, if bodies go uncopied.
    pieces: Option<Arc<Mutex<Vec<Bytes>>>>,
}

impl Outgoing {
    /// `is_plain`: the connection writes what ureq hands it, unchanged.
    pub(super) fn new(is_plain: bool) -> Outgoing {
        Outgoing {
            pieces: is_plain.then(Arc::default),
        }
    }

    /// Reads a body; `progress` is called when bytes have left.
    pub(super) fn reader<'a>(
        &'a self,
        body: &'a Chain,
        progress: &'a mut dyn FnMut(),
    ) -> Reader<'a> {
        let pieces = self.pieces.as_deref();
        // An attempt that broke off may have left some.
        if let Some(pieces) = pieces {
            lock(pieces).clear();
        }
        Reader {
            parts: body.parts(),
            at: 0,
            is_begun: false,
            pieces: pieces.filter(|_| body.len() > SMALL),
            progress,
        }
    }

    /// Moves to `to` what the last read gave. `false`: it is in ureq's buffer.
    pub(super) fn take_into(&self, to: &mut Vec<Bytes>) -> bool {
        let Some(pieces) = &self.pieces else {
            return false;
        };
        let mut pieces = lock(pieces);
        let has_some = !pieces.is_empty();
        to.append(&mut pieces);
        has_some
    }
}

fn lock(pieces: &Mutex<Vec<Bytes>>) -> MutexGuard<'_, Vec<Bytes>> {
    pieces.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A body as a reader that fills whatever it is given: ureq sends what one read gave before it reads again.
pub(super) struct Reader<'a> {
    parts: &'a [Bytes],
    /// Where in the first of them.
    at: usize,
    is_begun: bool,
    pieces: Option<&'a Mutex<Vec<Bytes>>>,
    progress: &'a mut dyn FnMut(),
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Asked again, so what it got before is on its way.
        if std::mem::replace(&mut self.is_begun, true) {
            (self.progress)();
        }
        let mut pieces = self.pieces.map(lock);
        let mut filled = 0;
        while let Some((part, others)) = self.parts.split_first() {
            let room = buffer.get_mut(filled..).unwrap_or_default();
            if room.is_empty() {
                break;
            }
            let amount = (part.len() - self.at).min(room.len());
            let end = self.at + amount;
            if let Some(pieces) = &mut pieces {
                pieces.push(part.slice(self.at..end));
            } else if let (Some(to), Some(from)) = (room.get_mut(..amount), part.get(self.at..end))
            {
                to.copy_from_slice(from);
            }
            filled += amount;
            if end == part.len() {
                self.parts = others;
                self.at = 0;
            } else {
                self.at = end;
            }
        }
        Ok(filled)
    }
}
