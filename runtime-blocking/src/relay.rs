//! Bytes that whoever brings them passes on, so that no other thread has to be woken for them.
//!
//! A thread that copies a stream to a socket spends most of its time waiting, and waking it costs more than a
//! write. So while it waits, the thread that brings bytes tries to write them itself, without waiting; only what the
//! socket does not take is the copying thread's. Large pieces too, and beside other streams: handed over, they cost eight
//! connections on loopback 0.15 processor seconds per GB more, and a ping-pong beside them was no faster.
//!
//! The bytes are taken under the lock under which they came. So who has passed them on has nothing left to do, and is back
//! at its socket before the answer is.

use crate::driver::Shared;
use crate::sync::{Condvar, Mutex, MutexGuard};
use crate::wait::Threads;
use bytes::Bytes;
use posthole_protocol::StreamId;
use posthole_runtime::{State, Tried};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::thread;

/// Passes on what it can at once, and says how much that was.
pub(crate) type Pass = Box<dyn FnMut(&[u8]) -> usize + Send>;

/// One thread that waits, and what is done for it meanwhile.
///
/// Its lock is taken under the session's, never the other way round.
pub(crate) struct Relay {
    id: StreamId,
    most: usize,
    inside: Mutex<Inside>,
    back: Condvar,
}

struct Inside {
    pass: Option<Pass>,
    /// Someone passes on, or the waiting thread is called back.
    is_busy: bool,
    /// Whoever passes on is to look for more then: it has come meanwhile.
    again: bool,
    /// The thread is to go on by itself, with this; or `pass` panicked, on a thread that has nothing to do with it.
    rest: Option<thread::Result<Bytes>>,
}

/// What has come for a relay, for one to pass on.
pub(crate) struct Batch {
    pieces: Vec<Bytes>,
    /// There is nothing behind it, and the relay waits for more.
    waits: bool,
}

impl Relay {
    /// For what this stream brings, at most `most` bytes at a time.
    pub(crate) fn new(id: StreamId, most: usize, pass: Pass) -> Arc<Relay> {
        Arc::new(Relay {
            id,
            most,
            inside: Mutex::new(Inside {
                pass: Some(pass),
                is_busy: false,
                again: false,
                rest: None,
            }),
            back: Condvar::new(),
        })
    }

    /// Waits until there is something that only the waiting thread can do: what was not passed on, or, if that is
    /// nothing, to look for itself. The error: `pass` has panicked with this.
    pub(crate) fn wait(&self) -> thread::Result<(Bytes, Option<Pass>)> {
        let mut inside = self.lock();
        loop {
            if let Some(rest) = inside.rest.take() {
                return rest.map(|rest| (rest, inside.pass.take()));
            }
            inside = self
                .back
                .wait(inside)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Someone is to look at the stream: who passes on just now, or the waiting thread.
    pub(crate) fn call_back(&self) {
        let mut inside = self.lock();
        if std::mem::replace(&mut inside.is_busy, true) {
            inside.again = true;
        } else {
            inside.rest = Some(Ok(Bytes::new()));
            self.back.notify_one();
        }
    }

    /// Bytes have come, under the session's lock: what to [`run`](Relay::run) with once that is released. `None`: who passes
    /// on just now will look for them.
    pub(crate) fn begin<R>(self: &Arc<Self>, state: &mut State<R, Threads>) -> Option<Batch> {
        let mut inside = self.lock();
        if std::mem::replace(&mut inside.is_busy, true) {
            inside.again = true;
            return None;
        }
        drop(inside);
        Some(self.gather(state))
    }

    /// Takes what is there.
    fn gather<R>(self: &Arc<Self>, state: &mut State<R, Threads>) -> Batch {
        let (mut pieces, mut left) = (Vec::new(), self.most);
        while left > 0 {
            match state.take(self.id, left) {
                Ok(Tried::Done(bytes)) if !bytes.is_empty() => {
                    left -= bytes.len();
                    pieces.push(bytes);
                }
                Ok(Tried::Blocked) => {
                    let waits = state.readable(self.id).join(self);
                    return Batch { pieces, waits };
                }
                // How it has ended is said as often as it is asked.
                Ok(Tried::Done(_)) | Err(_) => break,
            }
        }
        let waits = false;
        Batch { pieces, waits }
    }

    /// Passes on. Called with no lock held.
    pub(crate) fn run(self: Arc<Self>, shared: &Arc<Shared>, mut batch: Batch) {
        loop {
            if batch.pieces.is_empty() && !batch.waits {
                return self.hand_over(Ok(Bytes::new()));
            }
            let Some(mut pass) = self.lock().pass.take() else {
                return self.hand_over(Ok(join(batch.pieces)));
            };
            let passed = pass_on(&mut pass, batch.pieces);
            let mut inside = self.lock();
            inside.pass = Some(pass);
            if let Err(rest) = passed {
                drop(inside);
                return self.hand_over(rest);
            }
            let again = std::mem::take(&mut inside.again);
            if batch.waits && !again {
                inside.is_busy = false;
                return;
            }
            drop(inside);
            let mut locked = shared.lock();
            if !locked.has(self.id) {
                drop(locked);
                return self.hand_over(Ok(Bytes::new()));
            }
            batch = self.gather(&mut locked);
            locked.settle();
        }
    }

    fn hand_over(&self, rest: thread::Result<Bytes>) {
        self.lock().rest = Some(rest);
        self.back.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives `pass` one piece after another. The error: what it did not take, or that it panicked.
fn pass_on(pass: &mut Pass, pieces: Vec<Bytes>) -> Result<(), thread::Result<Bytes>> {
    let mut pieces = pieces.into_iter();
    while let Some(piece) = pieces.next() {
        let passed = catch_unwind(AssertUnwindSafe(|| pass(&piece))).map_err(Err)?;
        if passed < piece.len() {
            let rest = std::iter::once(piece.slice(passed..)).chain(pieces);
            return Err(Ok(join(rest.collect())));
        }
    }
    Ok(())
}

/// One piece of them; a copy only if there are several.
fn join(mut pieces: Vec<Bytes>) -> Bytes {
    match pieces.len() {
        0 | 1 => pieces.pop().unwrap_or_default(),
        _ => pieces.concat().into(),
    }
}
