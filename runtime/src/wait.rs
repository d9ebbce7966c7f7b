//! Who waits for something of a session, as far as the loop needs to know.

use crate::driver::State;
use posthole_protocol::StreamId;

/// Those who wait for one thing: for bytes to read, for room to write, for a stream to accept.
///
/// They join under the session's lock, after the session has said that they have to wait; so nobody misses news
/// that come in between. They are woken all at once, after the lock was released, and try again.
pub trait Waiters: Default {
    /// What wakes them.
    type Wake;

    /// What wakes those who wait at this moment; `None`: nobody does.
    fn take(&mut self) -> Option<Self::Wake>;

    /// A stream has something to read for those whom `wake` wakes: the moment to give it what has come, for who would not
    /// have to lock for it again. Under the lock; they may join again.
    fn bring<R>(_wake: &mut Self::Wake, _state: &mut State<R, Self>, _id: StreamId) {}
}
