//! Bytes that whoever brings them passes on, so that no other thread has to be woken for them.
//!
//! A thread that copies a stream to a socket spends most of its time waiting, and waking it costs more than a
//! write. So while it waits, the thread that brings bytes tries to write them itself, without waiting; only what the
//! socket does not take is the copying thread's. Large pieces too, and beside other streams: handed over, they cost eight
//! connections on loopback 0.15 processor seconds per GB more, and a ping-pong beside them was no faster.

use crate::driver::Shared;
use crate::sync::{Condvar, Mutex, MutexGuard};
use bytes::Bytes;
use posthole_protocol::StreamId;
use posthole_runtime::Tried;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, PoisonError};

/// Passes on what it can at once, and says how much that was.
pub(crate) type Pass = Box<dyn FnMut(&[u8]) -> usize + Send>;

/// One thread that waits, and what is done for it meanwhile.
pub(crate) struct Relay {
    id: StreamId,
    most: usize,
    inside: Mutex<Inside>,
    back: Condvar,
}

struct Inside {
    pass: Option<Pass>,
    /// `pass` panicked, on a thread that has nothing to do with it.
    panic: Option<Box<dyn Any + Send>>,
    /// The thread is to go on by itself, with this.
    rest: Option<Bytes>,
}

impl Relay {
    /// For what this stream brings, at most `most` bytes at a time.
    pub(crate) fn new(id: StreamId, most: usize, pass: Pass) -> Arc<Relay> {
        Arc::new(Relay {
            id,
            most,
            inside: Mutex::new(Inside {
                pass: Some(pass),
                panic: None,
                rest: None,
            }),
            back: Condvar::new(),
        })
    }

    /// Waits until there is something that only the waiting thread can do: what was not passed on, or, if that is
    /// nothing, to look for itself. Panics if `pass` has.
    pub(crate) fn wait(&self) -> (Bytes, Option<Pass>) {
        let mut inside = self.lock();
        loop {
            if let Some(panic) = inside.panic.take() {
                drop(inside);
                resume_unwind(panic);
            }
            if let Some(rest) = inside.rest.take() {
                return (rest, inside.pass.take());
            }
            inside = self
                .back
                .wait(inside)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The waiting thread is to look for itself.
    pub(crate) fn call_back(&self) {
        self.hand_over(Bytes::new());
    }

    fn hand_over(&self, rest: Bytes) {
        self.lock().rest = Some(rest);
        self.back.notify_one();
    }

    /// Bytes have come: passes them on. Called with no lock held.
    pub(crate) fn run(self: Arc<Self>, shared: &Arc<Shared>) {
        loop {
            let mut locked = shared.lock();
            if !locked.has(self.id) {
                drop(locked);
                return self.call_back();
            }
            let bytes = match locked.take(self.id, self.most) {
                Ok(Tried::Done(bytes)) if !bytes.is_empty() => bytes,
                Ok(Tried::Blocked) => {
                    let waits_on = locked.readable(self.id).join(&self);
                    locked.settle();
                    if !waits_on {
                        self.call_back();
                    }
                    return;
                }
                // How it has ended is said as often as it is asked.
                Ok(Tried::Done(_)) | Err(_) => {
                    locked.settle();
                    return self.call_back();
                }
            };
            locked.settle();
            let mut inside = self.lock();
            let passed = match &mut inside.pass {
                Some(pass) => match catch_unwind(AssertUnwindSafe(|| pass(&bytes))) {
                    Ok(passed) => passed.min(bytes.len()),
                    Err(panic) => {
                        inside.panic = Some(panic);
                        drop(inside);
                        return self.call_back();
                    }
                },
                None => 0,
            };
            drop(inside);
            if passed < bytes.len() {
                return self.hand_over(bytes.slice(passed..));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
