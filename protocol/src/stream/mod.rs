//! One stream's end.
use crate::*;
use bytes::Bytes;
/// The one handle for a stream's bytes; the same on both sides.
#[derive(Debug)]
pub struct Stream<'a> { _s: &'a mut () }
#[allow(unused_variables)]
impl Stream<'_> {
    /// Takes what fits off the front of `data`, without copying, and leaves the rest: wait for [`Event::Writable`].
    /// # Errors
    /// See [`WriteError`].
    pub fn write(&mut self, data: &mut Bytes) -> Result<usize, WriteError> { todo!() }
    /// The next bytes, at most `max`.
    /// # Errors
    /// See [`ReadError`].
    pub fn read(&mut self, max: usize) -> Result<Read, ReadError> { todo!() }
    /// No more will be written; what was is delivered. Harmless when repeated.
    pub fn finish(&mut self) { todo!() }
    /// Gives up this side: what was not delivered is dropped, and the peer is told.
    pub fn reset(&mut self, code: ResetCode) { todo!() }
    /// No more will be read: what comes is dropped, and the peer is asked to send no more.
    pub fn stop(&mut self, code: ResetCode) { todo!() }
    /// Whether everything written so far was acknowledged.
    pub fn is_flushed(&self) -> bool { todo!() }
}
