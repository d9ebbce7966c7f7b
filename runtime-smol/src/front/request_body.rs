//! The body of a request: one allocation, which grows with what has come, not with what is claimed.

use super::Limits;
use crate::io::Alarm;
use bytes::{Buf, Bytes};
use http_body::Body;
use posthole_protocol::http::Refusal;
use posthole_protocol::http::request::Framing;
use posthole_runtime::{Budget, Lease, block};
use std::error::Error;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Instant;

/// Why a request is not served. Either way the connection ends: where the next one would begin is not known.
#[derive(Debug)]
pub(super) enum Fault {
    /// It is answered.
    Refused(Refusal),
    /// There is nobody to answer.
    Gone,
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Fault {
        Fault::Refused(refusal)
    }
}

/// Reads a body whole. As much as its connection has `proven` to send is allocated on a claim alone.
pub(super) async fn read<B>(
    body: B,
    framing: Framing,
    proven: usize,
    limits: &Limits,
    budget: &Budget,
) -> Result<Bytes, Fault>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let length = match framing {
        Framing::Chunked => None,
        Framing::Length(length) => match usize::try_from(length) {
            Ok(length) if length <= limits.body => Some(length),
            _ => return Err(Refusal::TOO_LARGE.into()),
        },
    };
    let mut body = pin!(body);
    let mut whole = Whole::new(length, limits.body, proven, budget.lease());
    let begun = Instant::now();
    // Made when something is waited for: most bodies are here with their heads.
    let mut alarm = None;
    while let Some(mut data) = poll_fn(|cx| {
        let late = limits.late(begun, whole.bytes.len());
        poll_data(body.as_mut(), late, &mut alarm, cx)
    })
    .await?
    {
        while data.has_remaining() {
            let piece = data.chunk();
            whole.push(piece)?;
            data.advance(piece.len());
        }
    }
    whole.finish()
}

/// The next piece of data; `None` after the last.
fn poll_data<B>(
    mut body: Pin<&mut B>,
    late: Option<Instant>,
    alarm: &mut Option<Alarm>,
    cx: &mut Context<'_>,
) -> Poll<Result<Option<B::Data>, Fault>>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    loop {
        match body.as_mut().poll_frame(cx) {
            Poll::Ready(None) => return Poll::Ready(Ok(None)),
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(fault(&*error.into()))),
            Poll::Ready(Some(Ok(frame))) => {
                // Trailers are skipped.
                if let Ok(data) = frame.into_data() {
                    return Poll::Ready(Ok(Some(data)));
                }
            }
            Poll::Pending => {
                let Some(late) = late else {
                    return Poll::Pending;
                };
                let alarm = alarm.get_or_insert_with(|| Alarm::at(late));
                alarm.move_to(late);
                return Pin::new(alarm)
                    .poll(cx)
                    .map(|()| Err(Refusal::TOO_SLOW.into()));
            }
        }
    }
}

/// hyper says what it can't read as chunks with these kinds of [`io::Error`], and everything else is the connection's.
fn fault(error: &(dyn Error + 'static)) -> Fault {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            use io::ErrorKind::{InvalidData, InvalidInput};
            return if matches!(error.kind(), InvalidInput | InvalidData) {
                Refusal::BAD_CHUNKS.into()
            } else {
                Fault::Gone
            };
        }
        cause = error.source();
    }
    Fault::Gone
}

/// What has come.
struct Whole<'a> {
    bytes: Vec<u8>,
    length: Option<usize>,
    most: usize,
    first: usize,
    lease: Lease<'a>,
}

/// Allocated on a claim alone. Most bodies are smaller, and the largest take two more steps.
const FIRST: usize = 64 * 1024;

impl<'a> Whole<'a> {
    fn new(length: Option<usize>, most: usize, proven: usize, lease: Lease<'a>) -> Whole<'a> {
        Whole {
            bytes: Vec::new(),
            length,
            most: length.unwrap_or(most),
            first: proven.saturating_mul(2).max(FIRST),
            lease,
        }
    }

    fn push(&mut self, data: &[u8]) -> Result<(), Fault> {
        let len = self.bytes.len();
        let needed = len
            .checked_add(data.len())
            .filter(|needed| *needed <= self.most)
            .ok_or(Refusal::TOO_LARGE)?;
        if needed > self.bytes.capacity() {
            let wanted = self.length.unwrap_or(needed.max(len * 2));
            let room = wanted.min((len * 4).max(self.first)).max(needed);
            if !self.lease.raise_to(room) {
                return Err(Refusal::TOO_MANY_BODIES.into());
            }
            if len == 0 {
                self.bytes = block::take(room);
            } else {
                self.bytes.reserve_exact(room - len);
            }
        }
        self.bytes.extend_from_slice(data);
        Ok(())
    }

    fn finish(mut self) -> Result<Bytes, Fault> {
        if self.length.is_some_and(|length| length != self.bytes.len()) {
            return Err(Refusal::CUT.into());
        }
        if self.length.is_none() {
            self.bytes.shrink_to_fit();
        }
        Ok(block::freeze(self.bytes))
    }
}
