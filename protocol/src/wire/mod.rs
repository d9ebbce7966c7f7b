//! Bundles to bytes and back (PROTOCOL §3). Knows the layout and nothing of what it means.

pub mod bundle;
pub mod chain;
pub mod message;
pub mod prefix;
pub mod varint;

pub use bundle::{Bundle, Decoded, Head, Messages, Refusal, Unreadable, decode, encode, refusal};
pub use chain::Chain;
pub use message::{Content, Control, MAX_PAYLOAD, Message};
pub use prefix::{Ack, AnswerPrefix, MAX_RANGES, Params, RequestPrefix};
