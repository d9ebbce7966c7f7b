//! What a server says to those who don't talk to it properly.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// An answer to a request that no session sees. The connection closes after it, since where the next request would
/// begin is not known. It has no marker: only a session's answer is ours (§9.3, §9.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The reason, for people to read.
    pub why: &'static str,
    /// RFC 9110 §9.3.2: "the server MUST NOT send content in the response" to HEAD.
    pub to_head: bool,
}

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $status:literal $why:literal;)*) => {
        impl Refusal {
            $($(#[$doc])* pub const $name: Refusal = Refusal::new($status, $why);)*
        }
    };
}

refusals! {
    /// No head, or a damaged one.
    NOT_HTTP = 400 "that is not an HTTP request";
    /// HTTP/1.0 with `Transfer-Encoding`. RFC 9112 §6.1: such a message has faulty framing.
    OLD_CHUNKS = 400 "HTTP/1.0 has no chunks";
    /// RFC 9112 §6.3: "ought to be handled as an error", being the tool of request smuggling.
    TWO_FRAMINGS = 400 "both Content-Length and Transfer-Encoding";
    /// Two values of `Content-Length`. RFC 9112 §6.3 lets one that is said again count once.
    TWO_LENGTHS = 400 "two Content-Lengths";
    /// More than one `Transfer-Encoding`.
    TWO_CODINGS = 400 "two Transfer-Encodings";
    /// A `Content-Length` that is not digits.
    BAD_LENGTH = 400 "that is no Content-Length";
    /// A body whose chunked coding is damaged.
    BAD_CHUNKS = 400 "those are no chunks";
    /// A body that ended before its length.
    CUT = 400 "the body ended early";
    /// A second request before the answer to the first (§9.1).
    PIPELINED = 400 "one request at a time";
    /// Another path than ours.
    NOT_HERE = 404 "there is nothing here";
    /// Another method than [`METHOD`](super::METHOD).
    NOT_POST = 405 "only POST is served here";
    /// A head or body that did not come in time.
    TOO_SLOW = 408 "the request came too slowly";
    /// A body of unknown length.
    NO_LENGTH = 411 "a Content-Length is needed";
    /// More bytes of body than are taken.
    TOO_LARGE = 413 "the body is too large";
    /// RFC 9110 §10.1.1 wants a final status at once, or a 1xx, which boxes garble: who asked comes again without.
    EXPECTS = 417 "send it without Expect";
    /// More fields in the head than are taken.
    TOO_MANY_HEADERS = 431 "too many headers";
    /// More bytes of head than are taken.
    HEAD_TOO_LARGE = 431 "the head is too large";
    /// The service gave no answer.
    NO_ANSWER = 500 "there is no answer";
    /// A coding other than `chunked`.
    UNKNOWN_CODING = 501 "no Transfer-Encoding but chunked";
    /// The memory for bodies that are being read is used up.
    TOO_MANY_BODIES = 503 "too many bodies at once";
    /// As many connections are open as may be.
    TOO_MANY_CONNECTIONS = 503 "too many connections";
    /// The process has used up its descriptors.
    NO_DESCRIPTOR = 503 "no descriptor left";
    /// Another version of HTTP.
    BAD_VERSION = 505 "this server speaks HTTP/1.0 and HTTP/1.1";
}

impl Refusal {
    /// A refusal in words of its own.
    pub const fn new(status: u16, why: &'static str) -> Refusal {
        Refusal {
            status,
            why,
            to_head: false,
        }
    }

    /// Its headers beside `Content-Length` and `Connection: close`.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &'static str)> + use<> {
        let more = match self.status {
            405 => Some(("Allow", super::METHOD)),
            503 => Some(("Retry-After", "1")),
            _ => None,
        };
        [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Cache-Control", "no-store"),
        ]
        .into_iter()
        .chain(more)
    }

    /// What its body would be, were it not to HEAD: a line of text.
    pub fn text(&self) -> String {
        format!("{}\n", self.why)
    }

    /// All of it, as HTTP/1.1 writes it.
    pub fn to_bytes(self) -> Vec<u8> {
        let (status, text) = (self.status, self.text());
        let mut bytes = format!("HTTP/1.1 {status} {}\r\n", reason(status));
        for (name, value) in self.headers() {
            bytes.push_str(name);
            bytes.push_str(": ");
            bytes.push_str(value);
            bytes.push_str("\r\n");
        }
        bytes.push_str(&format!(
            "Connection: close\r\nContent-Length: {}\r\n\r\n",
            text.len()
        ));
        if !self.to_head {
            bytes.push_str(&text);
        }
        bytes.into_bytes()
    }
}

/// What stands behind a status on the first line of an answer.
pub fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        413 => "Content Too Large",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Other",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_refusal_by_exact_bytes() {
        assert_eq!(
            String::from_utf8(Refusal::TOO_MANY_CONNECTIONS.to_bytes()).unwrap(),
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n\
             Retry-After: 1\r\nConnection: close\r\nContent-Length: 21\r\n\r\ntoo many connections\n"
        );
    }

    /// RFC 9110 15.
    #[test]
    fn every_status_that_is_answered_has_its_words() {
        for (status, words) in [
            (200, "OK"),
            (400, "Bad Request"),
            (404, "Not Found"),
            (405, "Method Not Allowed"),
            (408, "Request Timeout"),
            (411, "Length Required"),
            (413, "Content Too Large"),
            (417, "Expectation Failed"),
            (431, "Request Header Fields Too Large"),
            (500, "Internal Server Error"),
            (501, "Not Implemented"),
            (503, "Service Unavailable"),
            (505, "HTTP Version Not Supported"),
            (299, "Other"),
        ] {
            assert_eq!(reason(status), words);
        }
    }

    #[test]
    fn head_requests_get_no_text() {
        let refusal = Refusal {
            to_head: true,
            ..Refusal::new(405, "only POST")
        };
        let text = String::from_utf8(refusal.to_bytes()).unwrap();
        assert!(
            text.contains("Allow: POST\r\n") && text.ends_with("Content-Length: 10\r\n\r\n"),
            "{text}"
        );
    }
}
