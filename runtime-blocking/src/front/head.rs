//! The head of a request: what is taken and what is refused. Pure; knows no socket.

use super::reply::{Persist, Refusal};
use httparse::{EMPTY_HEADER, Error, Request, Status};
pub(super) use posthole_protocol::http::request::Framing;
use posthole_protocol::http::request::{self, Taken, Version};

/// A head that may be served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RequestHead {
    /// Where the body begins.
    pub(super) len: usize,
    pub(super) framing: Framing,
    pub(super) persist: Persist,
    /// Its sender reads bodies in chunks.
    pub(super) chunks: bool,
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
        Err(Error::TooManyHeaders) => return Err(Refusal::TOO_MANY_HEADERS),
        Err(Error::Version) => return Err(Refusal::BAD_VERSION),
        Err(
            Error::HeaderName | Error::HeaderValue | Error::NewLine | Error::Status | Error::Token,
        ) => return Err(Refusal::NOT_HTTP),
    };
    let (method, target, version) = match (request.method, request.path, request.version) {
        (Some(method), Some(target), Some(0)) => (method, target, Version::Http10),
        (Some(method), Some(target), Some(_)) => (method, target, Version::Http11),
        _ => return Err(Refusal::NOT_HTTP),
    };
    let fields = request
        .headers
        .iter()
        .map(|field| (field.name, field.value));
    let Taken {
        framing,
        close,
        keep_alive,
    } = request::take(version, method, target, Some(path), fields)?;
    let persist = match (version, close, keep_alive) {
        (_, true, _) | (Version::Http10, _, false) => Persist::Close,
        (Version::Http10, false, true) => Persist::KeepAlive,
        (Version::Http11 | Version::Later, false, _) => Persist::Default,
    };
    Ok(Some(RequestHead {
        len,
        framing,
        persist,
        chunks: version != Version::Http10,
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
            "POST /p HTTP/1.1\r\ncontent-length: 5\r\nContent-Length: 5\r\n\r\n",
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
