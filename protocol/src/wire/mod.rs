//! Bundles to bytes and back (PROTOCOL §3). Knows the layout and nothing of what it means.
//!
//! [`encode`] makes a [`Chain`] out of a prefix and messages; [`decode`] takes the bundles off a body, one by one, and
//! believes each whole or not at all (§3.1.2). Both are pure, [`decode`] is total: whatever the bytes are, it neither
//! panics nor allocates more than a small multiple of them.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

pub mod bundle;
pub mod chain;
mod codec;
pub mod head;
mod header;
pub mod message;
mod messages;
mod params;
pub mod prefix;
mod refusal;
pub mod varint;

pub use bundle::{Bundle, Decoded, Prefix, Unreadable, decode, encode, refusal};
pub use chain::Chain;
pub use head::Head;
pub use message::{Content, Control, MAX_PAYLOAD, MAX_REASON, Message};
pub use messages::Messages;
pub use params::Params;
pub use prefix::{Ack, AnswerPrefix, MAX_EXCHANGES, MAX_RANGES, Numbers, RequestPrefix};
pub use refusal::Refusal;

#[cfg(test)]
mod tests;
