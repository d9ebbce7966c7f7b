//! As much of HTTP/1.1 as the relay needs: whole messages with a Content-Length, read and written.

use std::io::{self, BufRead, Read, Write};

/// The largest head that is read, in bytes.
const HEAD_MAX: u64 = 64 * 1024;
/// The largest body that is read, in bytes.
const BODY_MAX: u64 = 64 * 1024 * 1024;
/// Headers between two neighbours only (RFC 9110 §7.6.1), and those that the writer sets itself.
const NOT_PASSED_ON: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
];

/// A request or a response, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) start: Start,
    /// Without those between neighbours.
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
    /// Bytes it took on the wire.
    pub(super) wire: u64,
    /// Whether its sender means to use the connection again.
    pub(super) keep_alive: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Request { method: String, target: String },
    Response { status: u16, reason: String },
}

/// The next message; none if the connection ended before its first byte.
pub(super) fn read(from: &mut impl BufRead, kind: Kind) -> io::Result<Option<Message>> {
    let mut head = Vec::new();
    let mut limited = from.take(HEAD_MAX);
    loop {
        let line = head.len();
        if limited.read_until(b'\n', &mut head)? == 0 {
            return if head.is_empty() {
                Ok(None)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
        if matches!(&head[line..], b"\r\n" | b"\n") && line > 0 {
            break;
        }
    }
    let (start, headers, minor) = parse(&head, kind)?;
    let named = |name: &str| {
        headers
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_slice())
            .next()
    };
    if named("transfer-encoding").is_some() {
        return Err(invalid("chunked bodies don't pass here"));
    }
    let connection = named("connection")
        .or(named("proxy-connection"))
        .unwrap_or_default();
    let keep_alive = minor == 1 && !connection.eq_ignore_ascii_case(b"close");
    let length = match named("content-length") {
        Some(v) => std::str::from_utf8(v)
            .ok()
            .and_then(|v| v.trim().parse::<u64>().ok()),
        // To the end of the connection, or no body.
        None if kind == Kind::Response => Some(BODY_MAX),
        None => Some(0),
    };
    let length = length
        .filter(|l| *l <= BODY_MAX)
        .ok_or_else(|| invalid("a length that can't be carried"))?;
    let mut body = Vec::new();
    let read = from.take(length).read_to_end(&mut body)? as u64;
    if read < length && named("content-length").is_some() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let wire = (head.len() + body.len()) as u64;
    let headers = headers
        .into_iter()
        .filter(|(n, _)| !NOT_PASSED_ON.iter().any(|h| n.eq_ignore_ascii_case(h)))
        .collect();
    Ok(Some(Message {
        start,
        headers,
        body,
        wire,
        keep_alive,
    }))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Response,
}

type Head = (Start, Vec<(String, Vec<u8>)>, u8);

fn parse(head: &[u8], kind: Kind) -> io::Result<Head> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let bad = |e: httparse::Error| invalid(&e.to_string());
    let (start, headers, minor) = match kind {
        Kind::Request => {
            let mut request = httparse::Request::new(&mut headers);
            request.parse(head).map_err(bad)?;
            let word = |w: Option<&str>| w.unwrap_or_default().to_owned();
            let start = Start::Request {
                method: word(request.method),
                target: word(request.path),
            };
            (start, request.headers, request.version)
        }
        Kind::Response => {
            let mut response = httparse::Response::new(&mut headers);
            response.parse(head).map_err(bad)?;
            let reason = response.reason.unwrap_or_default().to_owned();
            let start = Start::Response {
                status: response.code.unwrap_or_default(),
                reason,
            };
            (start, response.headers, response.version)
        }
    };
    let headers = headers
        .iter()
        .map(|h| (h.name.to_owned(), h.value.to_vec()))
        .collect();
    Ok((start, headers, minor.unwrap_or_default()))
}

/// Head and body as they go on the wire, with the body's own length and whether the connection stays open.
pub(super) fn encode(message: &Message, keep_alive: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.body.len() + 1024);
    match &message.start {
        Start::Request { method, target } => {
            out.extend_from_slice(format!("{method} {target} HTTP/1.1\r\n").as_bytes())
        }
        Start::Response { status, reason } => {
            out.extend_from_slice(format!("HTTP/1.1 {status} {reason}\r\n").as_bytes())
        }
    }
    for (name, value) in &message.headers {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    let connection = if keep_alive { "keep-alive" } else { "close" };
    let framing = format!(
        "Content-Length: {}\r\nConnection: {connection}\r\n\r\n",
        message.body.len()
    );
    out.extend_from_slice(framing.as_bytes());
    out.extend_from_slice(&message.body);
    out
}

/// An answer of the relay's own: a page of HTML, as boxes give it.
pub(super) fn page(status: u16, reason: &str) -> Message {
    let body = format!(
        "<html><head><title>{status}</title></head><body><h1>{status} {reason}</h1><hr>hostile</body></html>\n"
    );
    Message {
        start: Start::Response {
            status,
            reason: reason.to_owned(),
        },
        headers: vec![("Content-Type".into(), b"text/html".to_vec())],
        body: body.into_bytes(),
        wire: 0,
        keep_alive: true,
    }
}

/// Sends a request on a connection of its own and reads the answer.
pub(super) fn exchange(
    mut connection: impl Read + Write,
    request: &Message,
) -> io::Result<Message> {
    connection.write_all(&encode(request, false))?;
    connection.flush()?;
    let response = read(&mut io::BufReader::new(connection), Kind::Response)?;
    response.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_request_is_read_to_its_end_and_not_further() {
        let bytes = b"POST http://a:1/x HTTP/1.1\r\nHost: a:1\r\nContent-Length: 3\r\nProxy-Authorization: secret\r\n\r\nabcPOST";
        let mut rest = &bytes[..];
        let message = read(&mut rest, Kind::Request).unwrap().unwrap();
        assert_eq!(rest, b"POST");
        assert_eq!(
            message.start,
            Start::Request {
                method: "POST".into(),
                target: "http://a:1/x".into()
            }
        );
        assert_eq!(message.headers, [("Host".to_owned(), b"a:1".to_vec())]);
        assert_eq!(
            (message.body.as_slice(), message.wire),
            (&b"abc"[..], bytes.len() as u64 - 4)
        );
        assert!(message.keep_alive);
        let again = read(&mut &encode(&message, true)[..], Kind::Request)
            .unwrap()
            .unwrap();
        assert_eq!((again.start, again.body), (message.start, message.body));
    }

    #[test]
    fn the_end_before_a_message_is_none_and_within_it_an_error() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        assert!(read(&mut &bytes[..0], Kind::Response).unwrap().is_none());
        for cut in 1..bytes.len() {
            assert!(
                read(&mut &bytes[..cut], Kind::Response).is_err(),
                "cut at {cut}"
            );
        }
        let message = read(&mut &bytes[..], Kind::Response).unwrap().unwrap();
        assert_eq!(
            message.start,
            Start::Response {
                status: 200,
                reason: "OK".into()
            }
        );
    }

    #[test]
    fn what_it_does_not_speak_is_an_error() {
        for head in [
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
            "rubbish\r\n\r\n",
        ] {
            assert!(read(&mut head.as_bytes(), Kind::Request).is_err(), "{head}");
        }
        let endless = vec![b'x'; 100_000];
        assert!(read(&mut &endless[..], Kind::Request).is_err());
    }
}
