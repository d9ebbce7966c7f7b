//! Reading the messages of a bundle, without allocating.

use super::header::{Header, Says, Walk};
use super::message::{Content, Control, Message};
use bytes::Bytes;
use core::ops::Range;

/// The messages of a bundle that was validated: an iterator that slices their payloads.
///
/// Runs of data messages with following numbers where each continues the one before come out as one item: their
/// payload is one slice of the body. An item is `(count, Message)`; `count` is how many numbers it covers, the first
/// of them the message's. A fin ends a run.
///
/// A payload that is kept keeps the whole body in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Messages {
    /// The bundle.
    bundle: Bytes,
    /// Where in it the next header begins, and where the headers end.
    next: usize,
    headers_end: usize,
    /// Where the next payload begins.
    payload: usize,
    /// What the headers before the next one left.
    walk: Walk,
    /// How many headers there are in all.
    numbers: u64,
}

impl Messages {
    /// The messages of `bundle`, whose headers, `numbers` of them, and payloads stand in
    /// `range`. `None` if they do not parse exactly to its end.
    pub(super) fn validate(bundle: Bytes, range: Range<usize>, numbers: u64) -> Option<Messages> {
        let mut left = bundle.get(range.clone())?;
        let mut walk = Walk::default();
        let mut payloads = 0_usize;
        // Bounded by the bytes that are there: each header takes one at least, or ends this.
        for _ in 0..numbers {
            if let Says::Data { len, .. } = walk.get(&mut left)?.says {
                payloads = payloads.checked_add(len)?;
            }
        }
        let headers_end = range.end.checked_sub(left.len())?;
        (left.len() == payloads).then_some(Messages {
            bundle,
            next: range.start,
            headers_end,
            payload: headers_end,
            walk: Walk::default(),
            numbers,
        })
    }

    /// How many message numbers there are in the bundle, whether or not they were iterated over.
    pub fn numbers(&self) -> u64 {
        self.numbers
    }
}

impl Iterator for Messages {
    type Item = (u64, Message);

    fn next(&mut self) -> Option<(u64, Message)> {
        let mut left = self.bundle.get(self.next..self.headers_end)?;
        let Header { number, says } = self.walk.get(&mut left)?;
        let mut count = 1_u64;
        let content = match says {
            Says::Data {
                stream,
                offset,
                mut end,
                mut len,
                mut fin,
            } => {
                while !fin {
                    let (mut walk, mut after) = (self.walk, left);
                    let Some(next) = walk.get(&mut after) else {
                        break;
                    };
                    let Says::Data {
                        stream: s,
                        offset: o,
                        end: e,
                        len: l,
                        fin: f,
                    } = next.says
                    else {
                        break;
                    };
                    if (s, o) != (stream, end) || Some(next.number) != number.checked_add(count) {
                        break;
                    }
                    (self.walk, left, end, fin) = (walk, after, e, f);
                    (len, count) = (len.saturating_add(l), count.saturating_add(1));
                }
                let start = self.payload;
                self.payload = start.saturating_add(len);
                Content::Data {
                    stream,
                    offset,
                    fin,
                    payload: self.bundle.slice(start..self.payload),
                }
            }
            Says::Void => Content::Void,
            Says::Control {
                must_understand,
                kind,
                fields,
            } => Content::Control(Control::read(must_understand, kind, fields)),
        };
        self.next = self.headers_end.saturating_sub(left.len());
        Some((count, Message { number, content }))
    }
}

impl core::iter::FusedIterator for Messages {}
