//! The pure part of the HTTP mapping (PROTOCOL §9): what stands around a body, and what an answer's status, headers
//! and first byte say about who gave it. Knows no socket and no HTTP library; every runtime and front shares it.
//!
//! ```
//! use posthole_protocol::http::{Tag, Url};
//! let url = Url::parse("http://server.example/in?key=7")?;
//! assert_eq!(url.target(Tag::from_bytes([0xab; 8])), "/in?key=7&abababababababab");
//! # Ok::<(), posthole_protocol::http::UrlError>(())
//! ```
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod basic;
mod environment;
pub mod form;
pub mod policy;
mod refusal;
pub mod request;
mod trouble;
mod tunnel;
mod url;
mod verdict;
mod way;

pub use basic::Credentials;
pub use environment::{Setting, bypasses, from_environment};
pub use form::Form;
pub use refusal::{Refusal, reason};
pub use trouble::Trouble;
pub use url::{Proxy, Scheme, Url, UrlError};
pub use verdict::{Verdict, verdict};
pub use way::{Plain, ProxyChoice, Way, WayError};

use core::fmt;

/// The method of every request (§9.1).
pub const METHOD: &str = "POST";

/// The header by which an answer says that it is ours (§9.3), and its value.
pub const MARKER: (&str, &str) = ("Posthole", "1");

/// The header by which an answer names its exchange in decimal digits (§9.3).
pub const EXCHANGE: &str = "Posthole-Exchange";

/// What begins every bundle, and so every body of ours (§3.1).
pub const MAGIC: u8 = 0xf8;

/// What §9.1 wants in every request, besides `Host` and `Content-Length`; [`Way::headers`] has all.
pub const REQUEST_HEADERS: [(&str, &str); 2] = [TYPE, CACHE];

/// The headers of every answer, besides `Content-Length` and [`EXCHANGE`] (§9.3).
///
/// `X-Accel-Buffering` keeps nginx from holding an answer back.
pub const ANSWER_HEADERS: [(&str, &str); 4] = [TYPE, CACHE, ("X-Accel-Buffering", "no"), MARKER];

/// Text types get compressed, filtered or sniffed on the way.
const TYPE: (&str, &str) = ("Content-Type", "application/octet-stream");

/// Some boxes cache answers to POST; some rewrite bodies to save bytes.
const CACHE: (&str, &str) = ("Cache-Control", "no-store, no-transform");

/// Whether this is a header's name (RFC 9110 §5.6.2).
fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// What stands in the URL so that a load balancer can send one session always to the same server (§2.2). It opens
/// nothing and is no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag([u8; 8]);

impl Tag {
    /// The tag of these bytes, which should be random and must not be part of the session's id.
    pub const fn from_bytes(bytes: [u8; 8]) -> Tag {
        Tag(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }

    /// The tag in a request's target (`/path?…&0123456789abcdef`, any form of RFC 9112 §3.2): the last parameter of
    /// its query, if that is 16 lower-case hexadecimal digits.
    pub fn in_target(target: &str) -> Option<Tag> {
        let (_, query) = target.split_once('?')?;
        let digits = query.rsplit('&').next()?;
        if digits.len() != 16
            || !digits
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        {
            return None;
        }
        let number = u64::from_str_radix(digits, 16).ok()?;
        Some(Tag(number.to_be_bytes()))
    }
}

/// As it stands in the URL: 16 lower-case hexadecimal digits.
impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_tag_is_found_where_it_was_put() {
        let tag = Tag::from_bytes([0, 1, 2, 3, 0xfc, 0xfd, 0xfe, 0xff]);
        assert_eq!(tag.to_string(), "00010203fcfdfeff");
        for url in [
            "http://h",
            "h/in",
            "http://h/in?a=1",
            "http://h?",
            "http://h/in?a&b",
        ] {
            let target = Url::parse(url).unwrap().target(tag);
            assert_eq!(Tag::in_target(&target), Some(tag), "{target}");
        }
        assert_eq!(Tag::in_target("http://h:80/x?00010203fcfdfeff"), Some(tag));
    }

    #[test]
    fn what_is_no_tag_is_none() {
        for target in [
            "",
            "/",
            "/?",
            "/00010203fcfdfeff",
            "/?00010203fcfdfef",
            "/?00010203fcfdfeff0",
            "/?00010203FCFDFEFF",
            "/?+0010203fcfdfeff",
            "/?00010203fcfdfeff&x",
        ] {
            assert_eq!(Tag::in_target(target), None, "{target}");
        }
    }
}
