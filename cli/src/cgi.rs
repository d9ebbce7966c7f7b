//! `posthole cgi`: a CGI program (RFC 3875) that hands its one request to a running server, over the Unix socket that
//! `serve --socket` opens, and that server's answer to whoever started it.
//!
//! What can't be handed on is answered here, with a status and a line for a person, and said on standard error, which web
//! servers log.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// The most that a head of the server's may have.
const HEAD: usize = 64 * 1024;

/// A request as the web server tells it, in its environment.
#[derive(Debug)]
struct Told {
    method: String,
    query: String,
    length: u64,
}

/// Why there is no answer of the server's.
#[derive(Debug)]
struct Trouble {
    status: &'static str,
    says: String,
}

impl Trouble {
    fn new(status: &'static str, says: impl Into<String>) -> Trouble {
        let says = says.into();
        Trouble { status, says }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.says)
    }
}

/// Handles the one request.
///
/// # Errors
/// What the answer says, too.
pub fn run(socket: Option<PathBuf>, path: &str) -> Result<(), Error> {
    let variable = |name: &str| std::env::var(name).ok();
    let result = socket
        .or_else(|| variable("POSTHOLE_SOCKET").map(PathBuf::from))
        .ok_or_else(|| {
            let says =
                "neither --socket nor POSTHOLE_SOCKET says where `posthole serve --socket` listens";
            Trouble::new("500 Internal Server Error", says)
        })
        .and_then(|socket| hand_on(&socket, path, &told(variable)?));
    let Err(Outcome { trouble, begun }) = result.map_err(Outcome::from) else {
        return Ok(());
    };
    if !begun {
        let text = format!("posthole cgi: {trouble}\n");
        print!(
            "Status: {}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\r\n{text}",
            trouble.status,
            text.len()
        );
        let _ = io::stdout().flush();
    }
    Err(Error::failed(format!("cgi: {trouble}")))
}

/// A failure, and whether the answer had begun: then it ends before its length, which tells whoever reads it.
struct Outcome {
    trouble: Trouble,
    begun: bool,
}

impl From<Trouble> for Outcome {
    fn from(trouble: Trouble) -> Outcome {
        let begun = trouble.status.is_empty();
        Outcome { trouble, begun }
    }
}

fn told(variable: impl Fn(&str) -> Option<String>) -> Result<Told, Trouble> {
    let method = variable("REQUEST_METHOD").ok_or_else(|| {
        let says =
            "there is no REQUEST_METHOD: this is a CGI program, to be started by a web server";
        Trouble::new("500 Internal Server Error", says)
    })?;
    let length = variable("CONTENT_LENGTH").filter(|text| !text.is_empty());
    let length = length
        .map_or(Ok(0), |text| text.parse())
        .map_err(|_| Trouble::new("400 Bad Request", "CONTENT_LENGTH is no number"))?;
    Ok(Told {
        method,
        query: variable("QUERY_STRING").unwrap_or_default(),
        length,
    })
}

fn hand_on(socket: &Path, path: &str, told: &Told) -> Result<(), Trouble> {
    let token = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
    if !token(&told.method) || !token(&told.query) {
        return Err(Trouble::new(
            "400 Bad Request",
            "method or query can't be sent on",
        ));
    }
    let gateway = |what: &str, e: io::Error| {
        let says = format!("{what} {}: {e}", socket.display());
        Trouble::new("502 Bad Gateway", says)
    };
    let server = UnixStream::connect(socket).map_err(|e| {
        let says = format!(
            "no server at {}: {e}; is `posthole serve --socket` running, and may this user connect to it?",
            socket.display()
        );
        Trouble::new("503 Service Unavailable", says)
    })?;
    let query = if told.query.is_empty() { "" } else { "?" };
    let head = format!(
        "{} {path}{query}{} HTTP/1.1\r\nHost: cgi\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        told.method, told.query, told.length
    );
    (&server)
        .write_all(head.as_bytes())
        .map_err(|e| gateway("can't write to", e))?;
    let sent = io::copy(&mut io::stdin().lock().take(told.length), &mut &server);
    // A server that refuses a body answers before it has all of it.
    if let Ok(sent) = sent
        && sent < told.length
    {
        let says = format!("the request ended after {sent} of {} bytes", told.length);
        return Err(Trouble::new("400 Bad Request", says));
    }
    let mut from = BufReader::new(&server);
    let (head, length) = answer_head(&mut from).map_err(|e| gateway("no answer from", e))?;
    let mut out = io::stdout().lock();
    // From here on there is an answer; if it is cut it must not look whole.
    let cut = |says: String| Trouble { status: "", says };
    out.write_all(head.as_bytes())
        .map_err(|e| cut(format!("nobody takes the answer: {e}")))?;
    let copied = io::copy(&mut from.take(length), &mut out).and_then(|n| {
        out.flush()?;
        Ok(n)
    });
    match copied {
        Ok(n) if n == length => Ok(()),
        Ok(n) => Err(cut(format!("the answer ended after {n} of {length} bytes"))),
        Err(e) => Err(cut(format!("the answer was cut: {e}"))),
    }
}

/// The server's head as a CGI program says it, and the body's length.
fn answer_head(from: &mut impl BufRead) -> io::Result<(String, u64)> {
    let wrong = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut from = from.take(HEAD as u64);
    let mut line = String::new();
    from.read_line(&mut line)?;
    let status = line.trim_end().split_once(' ').map(|(_, status)| status);
    let status = status.ok_or_else(|| wrong("it ended before it had said anything"))?;
    let (mut head, mut length) = (format!("Status: {status}\r\n"), None);
    loop {
        line.clear();
        if from.read_line(&mut line)? == 0 {
            return Err(wrong("its head has no end"));
        }
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok();
        }
        // What is about the connection is the web server's business.
        if !name.eq_ignore_ascii_case("connection") {
            head.push_str(line.trim_end());
            head.push_str("\r\n");
        }
    }
    head.push_str("\r\n");
    Ok((head, length.ok_or_else(|| wrong("its body has no length"))?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_head_is_said_as_cgi_says_it() {
        let text =
            "HTTP/1.1 200 OK\r\nPosthole: 1\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc";
        let mut from = text.as_bytes();
        let (head, length) = answer_head(&mut from).unwrap();
        assert_eq!(
            head,
            "Status: 200 OK\r\nPosthole: 1\r\nContent-Length: 3\r\n\r\n"
        );
        assert_eq!((length, from), (3, &b"abc"[..]));
        for wrong in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\n\r\n"] {
            assert!(answer_head(&mut wrong.as_bytes()).is_err(), "{wrong:?}");
        }
    }
}
