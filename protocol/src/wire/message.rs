//! The numbered unit (PROTOCOL §3.6).

use super::codec::{Put, Size};
use super::header::Walk;
use super::varint;
use crate::error::ResetCode;
use crate::id::StreamId;
use alloc::string::String;
use bytes::Bytes;

/// The largest payload of one message, in bytes: any message fits the smallest body that is ever learned (A2).
pub const MAX_PAYLOAD: usize = 16 * 1024;

/// The longest reason of a [`Control::Close`], in bytes.
pub const MAX_REASON: usize = 256;

/// One message to be put into a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    /// Its number.
    pub number: u64,
    /// What it says.
    pub content: Content,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    /// Bytes of a stream.
    Data {
        /// Which stream.
        stream: StreamId,
        /// Where in the stream the payload begins.
        offset: u64,
        /// Whether the stream ends where the payload ends.
        fin: bool,
        /// The bytes; when sent at most [`MAX_PAYLOAD`].
        payload: Bytes,
    },
    /// The number of a message whose stream was reset since.
    Void,
    /// Something about the session.
    Control(Control),
}

/// What a control message says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Control {
    /// A stream's own credit reaches up to this offset.
    StreamCredit {
        /// Which stream.
        stream: StreamId,
        /// The offset.
        limit: u64,
    },
    /// So many streams in all may be opened by the receiver of this.
    Streams {
        /// How many since the session began.
        total: u64,
    },
    /// The sender sends no more on this stream, and what it sent may be forgotten.
    Reset {
        /// Which stream.
        stream: StreamId,
        /// Why.
        code: ResetCode,
        /// How many bytes it had sent.
        size: u64,
    },
    /// The sender wants no more from this stream.
    Stop {
        /// Which stream.
        stream: StreamId,
        /// Why.
        code: ResetCode,
    },
    /// The session ends.
    Close {
        /// Why.
        code: u32,
        /// In words, at most [`MAX_REASON`] bytes.
        reason: String,
    },
    /// A kind that is not known and may be skipped. Never sent.
    Unknown,
    /// A kind that is not known and may not be skipped. Never sent.
    NotUnderstood,
    /// A known kind whose fields don't parse. Never sent.
    Malformed,
}

impl Message {
    /// The most bytes this message can take in a bundle, payload and all. What a sender adds up to stay below a limit.
    ///
    /// # Panics
    /// As [`encode`](super::encode) does.
    pub fn cost(&self) -> usize {
        // Alone in a bundle it needs its number, stream and offset; after others it may need none of them.
        let header = Size::of(|size| Walk::default().put(size, self));
        header.saturating_add(self.payload().map_or(0, Bytes::len))
    }

    /// The bytes that stand after the headers for it.
    pub(super) fn payload(&self) -> Option<&Bytes> {
        match &self.content {
            Content::Data { payload, .. } => Some(payload),
            Content::Void | Content::Control(_) => None,
        }
    }
}

impl Control {
    const STREAM_CREDIT: u64 = 1;
    const STREAMS: u64 = 2;
    const RESET: u64 = 3;
    const STOP: u64 = 4;
    const CLOSE: u64 = 5;

    /// The number of its kind.
    pub(super) fn kind(&self) -> u64 {
        match self {
            Control::StreamCredit { .. } => Control::STREAM_CREDIT,
            Control::Streams { .. } => Control::STREAMS,
            Control::Reset { .. } => Control::RESET,
            Control::Stop { .. } => Control::STOP,
            Control::Close { .. } => Control::CLOSE,
            Control::Unknown | Control::NotUnderstood | Control::Malformed => {
                panic!("this control is never sent")
            }
        }
    }

    /// Writes what stands after kind and length.
    pub(super) fn put_fields(&self, out: &mut impl Put) {
        match self {
            Control::StreamCredit { stream, limit } => {
                out.varint(stream.number());
                out.varint(*limit);
            }
            Control::Streams { total } => out.varint(*total),
            Control::Reset { stream, code, size } => {
                out.varint(stream.number());
                out.varint(code.0.into());
                out.varint(*size);
            }
            Control::Stop { stream, code } => {
                out.varint(stream.number());
                out.varint(code.0.into());
            }
            Control::Close { code, reason } => {
                assert!(reason.len() <= MAX_REASON, "a reason has at most 256 bytes");
                out.varint((*code).into());
                out.slice(reason.as_bytes());
            }
            Control::Unknown | Control::NotUnderstood | Control::Malformed => {
                panic!("this control is never sent")
            }
        }
    }

    /// What a control message of this kind and with these fields says. `must_understand` matters only where the
    /// kind is not known.
    pub(super) fn read(must_understand: bool, kind: u64, mut fields: &[u8]) -> Control {
        if !(Control::STREAM_CREDIT..=Control::CLOSE).contains(&kind) {
            return if must_understand {
                Control::NotUnderstood
            } else {
                Control::Unknown
            };
        }
        let control = Control::read_fields(kind, &mut fields);
        // "A control message's fields must fill its length exactly" (§3.6).
        control
            .filter(|_| fields.is_empty())
            .unwrap_or(Control::Malformed)
    }

    fn read_fields(kind: u64, from: &mut &[u8]) -> Option<Control> {
        Some(match kind {
            Control::STREAM_CREDIT => Control::StreamCredit {
                stream: stream(from)?,
                limit: varint::get(from)?,
            },
            Control::STREAMS => Control::Streams {
                total: varint::get(from)?,
            },
            Control::RESET => Control::Reset {
                stream: stream(from)?,
                code: ResetCode(code(from)?),
                size: varint::get(from)?,
            },
            Control::STOP => Control::Stop {
                stream: stream(from)?,
                code: ResetCode(code(from)?),
            },
            Control::CLOSE => {
                let code = code(from)?;
                let reason = core::mem::take(from);
                let reason = core::str::from_utf8(reason)
                    .ok()
                    .filter(|reason| reason.len() <= MAX_REASON)?;
                Control::Close {
                    code,
                    reason: reason.into(),
                }
            }
            _ => return None,
        })
    }
}

fn stream(from: &mut &[u8]) -> Option<StreamId> {
    varint::get(from).map(StreamId::from_number)
}

fn code(from: &mut &[u8]) -> Option<u32> {
    u32::try_from(varint::get(from)?).ok()
}
