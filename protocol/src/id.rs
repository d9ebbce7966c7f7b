//! Names of things. Newtypes, so that an exchange is never mistaken for a stream.

use core::fmt;

/// The secret name of a session: 128 bits that only its two ends know (§2.1).
///
/// It travels in request bodies only, never in a URL or header, so that no log holds it. The embedder makes it
/// from a good random source; who knows it can take part in the session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId([u8; 16]);

impl SessionId {
    /// A session id of these bytes, which must come from a cryptographic random source.
    pub const fn from_bytes(bytes: [u8; 16]) -> SessionId {
        SessionId(bytes)
    }

    /// The bytes, as they travel.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Shows only two bytes: a log must not hold a secret.
impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({:02x}{:02x}..)", self.0[0], self.0[1])
    }
}

/// A random value by which a server knows that a request is not a copy of an old one (§7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce(pub u64);

/// Which start of which server process speaks (§7.4). Random, one per start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instance(pub u64);

/// One exchange of a client's: a request and its response. Comes only out of `Client::poll_request`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeId(pub(crate) u64);

impl ExchangeId {
    /// The number that travels; for headers and logs.
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exchange {}", self.0)
    }
}

/// The embedder's own name for one HTTP request that waits for its response at the server. Two requests that are
/// held at the same time must have different ones, also when they carry the same exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(u64);

impl RequestId {
    /// A request id of the embedder's choosing.
    pub const fn new(number: u64) -> RequestId {
        RequestId(number)
    }

    /// What the embedder chose.
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// A stream of a session: even numbers are the client's, odd ones the server's, both counted up by two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub(crate) u64);

impl StreamId {
    /// The stream with this number. Whether it exists, the session knows.
    pub const fn from_number(number: u64) -> StreamId {
        StreamId(number)
    }

    /// The number that travels.
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream {}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_id_is_never_printed_whole() {
        let id = SessionId::from_bytes([0xab; 16]);
        assert_eq!(alloc::format!("{id:?}"), "SessionId(abab..)");
    }
}
