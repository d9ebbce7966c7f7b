//! Variable-length integers (RFC 9000 §16).

/// The largest number that travels, plus one.
pub const LIMIT: u64 = 1 << 62;
