//! The numbered unit (PROTOCOL §3.6).

use crate::error::ResetCode;
use crate::id::StreamId;
use alloc::string::String;
use bytes::Bytes;

/// The largest payload of one message, in bytes: any message fits the smallest body that is ever learned (A2).
pub const MAX_PAYLOAD: usize = 16 * 1024;

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
        /// In words, at most 256 bytes.
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
    pub fn cost(&self) -> usize {
        todo!()
    }
}
