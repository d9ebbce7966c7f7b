//! The body of a request: one allocation of its exact size, which grows with what has come, not with what is claimed.

mod chunks;

use super::Limits;
use super::reader::{Fault, Inlet};
use super::reply::Refusal;
use bytes::Bytes;
use chunks::Chunks;
use posthole_runtime::{Lease, block};
use std::time::Instant;

/// Reads a body of `length` bytes that begins with `came`.
pub(super) fn sized(
    inlet: &mut Inlet,
    limits: &Limits,
    mut lease: Lease<'_>,
    came: &[u8],
    length: u64,
) -> Result<Bytes, Fault> {
    let length = match usize::try_from(length) {
        Ok(length) if length <= limits.body => length,
        _ => return Err(too_large()),
    };
    if came.len() > length {
        return Err(pipelined());
    }
    if came.len() == length {
        return Ok(Bytes::copy_from_slice(came));
    }
    let pace = Pace::new(limits);
    let mut body = Vec::new();
    grow(&mut body, length, inlet.proven, &mut lease)?;
    body.extend_from_slice(came);
    while body.len() < length {
        if body.len() == body.capacity() {
            grow(&mut body, length, 0, &mut lease)?;
        }
        let until = pace.until(body.len());
        inlet.more(&mut body, until)?;
    }
    inlet.proven = length;
    // The capacity may be larger than was asked for, and then what follows the body has been taken in too.
    if body.len() > length {
        Err(pipelined())
    } else {
        Ok(block::freeze(body))
    }
}

/// Reads a chunked body whose coded form begins with `came`.
pub(super) fn chunked(
    inlet: &mut Inlet,
    limits: &Limits,
    mut lease: Lease<'_>,
    came: &[u8],
) -> Result<Bytes, Fault> {
    let pace = Pace::new(limits);
    let mut chunks = Chunks::new(limits.body);
    let mut body = Vec::new();
    let mut coded = Vec::with_capacity(CODED);
    coded.extend_from_slice(&came[..came.len().min(CODED)]);
    let mut left = &came[coded.len()..];
    loop {
        let mut input = &coded[..];
        while let Some(data) = chunks.next(&mut input)? {
            if body.capacity() - body.len() < data.len() {
                let wanted = (body.len() + data.len())
                    .max(body.capacity() * 2)
                    .min(limits.body);
                grow(&mut body, wanted, 0, &mut lease)?;
            }
            body.extend_from_slice(data);
        }
        if chunks.is_done() {
            let more = !input.is_empty() || !left.is_empty();
            body.shrink_to_fit();
            return if more {
                Err(pipelined())
            } else {
                Ok(Bytes::from(body))
            };
        }
        coded.clear();
        if left.is_empty() {
            inlet.more(&mut coded, pace.until(body.len()))?;
        } else {
            let (piece, rest) = left.split_at(left.len().min(CODED));
            coded.extend_from_slice(piece);
            left = rest;
        }
    }
}

/// Makes room for `wanted` bytes or four times what is there, whichever is less, but at least for [`FIRST`] and for
/// four times what this connection has `proven` to send.
fn grow(
    body: &mut Vec<u8>,
    wanted: usize,
    proven: usize,
    lease: &mut Lease<'_>,
) -> Result<(), Fault> {
    let room = wanted.min((body.len() * 4).max(FIRST).max(proven * 2));
    if !lease.raise_to(room) {
        return Err(Refusal::TOO_MANY_BODIES.into());
    }
    if body.capacity() == 0 {
        *body = block::take(room);
    } else {
        body.reserve_exact(room - body.len());
    }
    Ok(())
}

/// Allocated on a claim alone. Most bodies are smaller, and the largest take two more steps.
const FIRST: usize = 64 * 1024;

/// How much of a chunked body's coded form is looked at in one go.
const CODED: usize = 16 * 1024;

fn too_large() -> Fault {
    Refusal::TOO_LARGE.into()
}

fn pipelined() -> Fault {
    Refusal::PIPELINED.into()
}

/// A body must keep up with [`Limits::min_rate`].
struct Pace<'a> {
    begun: Instant,
    limits: &'a Limits,
}

impl Pace<'_> {
    fn new(limits: &Limits) -> Pace<'_> {
        Pace {
            begun: Instant::now(),
            limits,
        }
    }

    /// When the next byte after so many is late.
    fn until(&self, received: usize) -> Option<Instant> {
        self.limits.late(self.begun, received)
    }
}
