//! The head of a request: what is taken and what is refused. Pure; knows no socket.

use super::reply::{Persist, Refusal};
use httparse::{EMPTY_HEADER, Error, Header, Request, Status};

/// A head that may be served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RequestHead {
    /// Where the body begins.
    pub(super) len: usize,
    pub(super) framing: Framing,
    pub(super) persist: Persist,
}

/// Where the body ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Framing {
    /// After so many bytes.
    Length(u64),
    /// Where the last chunk says so; boxes may re-frame what our client sends with a length.
    Chunked,
}

/// Headers beyond this number are refused: a browser sends about 15, each box adds one to five.
const HEADERS: usize = 64;

/// Reads the head at the start of `bytes`, if it is there whole.
///
/// # Errors
/// What to answer instead. Nothing after such a head can be read, so the connection must close.
pub(super) fn parse(bytes: &[u8], path: &str) -> Result<Option<RequestHead>, Refusal> {
    let mut headers = [EMPTY_HEADER; HEADERS];
    let mut request = Request::new(&mut headers);
    let len = match request.parse(bytes) {
        Ok(Status::Complete(len)) => len,
        Ok(Status::Partial) => return Ok(None),
        Err(Error::TooManyHeaders) => return Err(Refusal::new(431, "too many headers")),
        Err(Error::Version) => {
            return Err(Refusal::new(
                505,
                "this server speaks HTTP/1.0 and HTTP/1.1",
            ));
        }
        Err(
            Error::HeaderName | Error::HeaderValue | Error::NewLine | Error::Status | Error::Token,
        ) => {
            return Err(Refusal::new(400, "that is not an HTTP request"));
        }
    };
    let (method, target, version) = match (request.method, request.path, request.version) {
        (Some(method), Some(target), Some(version)) => (method, target, version),
        _ => return Err(Refusal::new(400, "that is not an HTTP request")),
    };
    let refuse = |status, why| {
        Err(Refusal {
            to_head: method == "HEAD",
            ..Refusal::new(status, why)
        })
    };
    if path_of(target) != Some(path) {
        return refuse(404, "there is nothing here");
    }
    if method != "POST" {
        return refuse(405, "only POST is served here");
    }
    let fields = Fields::of(request.headers)?;
    // RFC 9110 §10.1.1: "A server that receives a 100-continue expectation in an HTTP/1.0 request MUST ignore that
    // expectation." To others a final status must go at once, or a 1xx, which boxes garble: who asked comes again
    // without asking.
    if fields.expects && version > 0 {
        return refuse(417, "send it without Expect");
    }
    let framing = match (fields.length, fields.chunked) {
        (Some(length), false) => Framing::Length(length),
        // RFC 9112 §6.1: such a message in HTTP/1.0 has faulty framing.
        (None, true) if version > 0 => Framing::Chunked,
        (None, true) => return refuse(400, "HTTP/1.0 has no chunks"),
        // RFC 9112 §6.3: "ought to be handled as an error", being the tool of request smuggling.
        (Some(_), true) => return refuse(400, "both Content-Length and Transfer-Encoding"),
        (None, false) => return refuse(411, "a Content-Length is needed"),
    };
    let persist = match (version, fields.close, fields.keep_alive) {
        (_, true, _) | (0, _, false) => Persist::Close,
        (0, false, true) => Persist::KeepAlive,
        _ => Persist::Default,
    };
    Ok(Some(RequestHead {
        len,
        framing,
        persist,
    }))
}

/// The path in a target of origin-form or absolute-form (RFC 9112 §3.2), without its query.
pub(super) fn path_of(target: &str) -> Option<&str> {
    let path = if target.starts_with('/') {
        target
    } else {
        let (_, rest) = target.split_once("://")?;
        &rest[rest.find('/')?..]
    };
    path.split(['?', '#']).next()
}

/// What the headers say that matters here.
#[derive(Default)]
struct Fields {
    length: Option<u64>,
    chunked: bool,
    expects: bool,
    close: bool,
    keep_alive: bool,
}

impl Fields {
    fn of(headers: &[Header<'_>]) -> Result<Fields, Refusal> {
        let mut fields = Fields::default();
        for header in headers {
            if header.name.eq_ignore_ascii_case("content-length") {
                if fields.length.is_some() {
                    return Err(Refusal::new(400, "two Content-Lengths"));
                }
                fields.length = Some(
                    length(header.value).ok_or(Refusal::new(400, "that is no Content-Length"))?,
                );
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                if fields.chunked {
                    return Err(Refusal::new(400, "two Transfer-Encodings"));
                }
                if !header.value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                    return Err(Refusal::new(501, "no Transfer-Encoding but chunked"));
                }
                fields.chunked = true;
            } else if header.name.eq_ignore_ascii_case("expect") {
                fields.expects = true;
            } else if header.name.eq_ignore_ascii_case("connection") {
                for option in header
                    .value
                    .split(|byte| *byte == b',')
                    .map(<[u8]>::trim_ascii)
                {
                    fields.close |= option.eq_ignore_ascii_case(b"close");
                    fields.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
        }
        Ok(fields)
    }
}

/// RFC 9110 §8.6: digits and nothing else. What is too large for us to count is too large to be read, and stays so.
fn length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(value.iter().fold(0_u64, |sum, digit| {
        sum.saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(head: &str) -> u16 {
        match parse(head.as_bytes(), "/p") {
            Ok(Some(_)) => 200,
            Ok(None) => 0,
            Err(refusal) => refusal.status,
        }
    }

    #[test]
    fn takes_what_boxes_make_of_our_requests() {
        for head in [
            "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
            "POST /p?tag=0123 HTTP/1.0\r\ncontent-length: 5\r\n\r\n",
            "POST http://a:80/p?tag HTTP/1.1\r\nCONTENT-LENGTH:  5 \r\n\r\n",
            "\r\nPOST /p HTTP/1.1\nContent-Length: 5\n\n",
            "POST /p HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
            "POST /p HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n",
        ] {
            assert_eq!(status(head), 200, "{head:?}");
            for cut in 0..head.len() {
                assert_eq!(status(&head[..cut]), 0, "{:?}", &head[..cut]);
            }
        }
    }

    #[test]
    fn refuses_each_fault_with_its_status() {
        let many = format!("POST /p HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(65));
        for (head, expected) in [
            ("GET /p HTTP/1.1\r\n\r\n", 405),
            ("GET / HTTP/1.1\r\n\r\n", 404),
            ("POST /p/ HTTP/1.1\r\nContent-Length: 5\r\n\r\n", 404),
            ("POST //p HTTP/1.1\r\nContent-Length: 5\r\n\r\n", 404),
            ("POST http://a HTTP/1.1\r\nContent-Length: 5\r\n\r\n", 404),
            ("OPTIONS * HTTP/1.1\r\n\r\n", 404),
            ("CONNECT a:443 HTTP/1.1\r\n\r\n", 404),
            ("POST /p HTTP/1.1\r\n\r\n", 411),
            (
                "POST /p HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
                400,
            ),
            (
                "POST /p HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
                400,
            ),
            (
                "POST /p HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
                400,
            ),
            (
                "POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
                400,
            ),
            (
                "POST /p HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
                501,
            ),
            (
                "POST /p HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
                400,
            ),
            ("POST /p HTTP/1.1\r\nContent-Length: -5\r\n\r\n", 400),
            ("POST /p HTTP/1.1\r\nContent-Length: +5\r\n\r\n", 400),
            ("POST /p HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\n", 400),
            ("POST /p HTTP/1.1\r\nContent-Length:\r\n\r\n", 400),
            ("POST /p HTTP/1.1\r\nContent-Length : 5\r\n\r\n", 400),
            (
                "POST /p HTTP/1.1\r\nContent-Length: 5\r\n folded\r\n\r\n",
                400,
            ),
            (
                "POST /p HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
                417,
            ),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
            ("\x16\x03\x01\x02\x00\x01\x00", 400),
            (&many, 431),
        ] {
            assert_eq!(status(head), expected, "{head:?}");
        }
    }

    #[test]
    fn a_length_beyond_counting_is_just_too_large() {
        assert_eq!(length(b"99999999999999999999999999"), Some(u64::MAX));
        assert_eq!(length(b"0100"), Some(100));
    }

    #[test]
    fn the_connection_stays_as_the_version_and_the_client_say() {
        let persist = |version: &str, connection: &str| {
            let head = format!(
                "POST /p HTTP/{version}\r\nContent-Length: 0\r\nConnection: {connection}\r\n\r\n"
            );
            parse(head.as_bytes(), "/p")
                .ok()
                .flatten()
                .map(|head| head.persist)
        };
        assert_eq!(persist("1.1", "x"), Some(Persist::Default));
        assert_eq!(persist("1.1", "x, Close"), Some(Persist::Close));
        assert_eq!(persist("1.0", "x"), Some(Persist::Close));
        assert_eq!(persist("1.0", "Keep-Alive"), Some(Persist::KeepAlive));
        assert_eq!(persist("1.0", "keep-alive, close"), Some(Persist::Close));
    }
}
