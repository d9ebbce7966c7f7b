//! What is written: the head of a reply, and refusals to those who don't talk to us properly.

use super::Reply;
use posthole_protocol::http::{ANSWER_HEADERS, EXCHANGE};
use std::io::Write;

/// What to say about the connection's future.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Persist {
    /// Nothing: HTTP/1.1 stays open by default (RFC 9112 §9.3).
    Default,
    /// It stays open, to HTTP/1.0, which must be told.
    KeepAlive,
    /// It closes after this.
    Close,
}

/// The bytes of a head, without an allocation.
pub(super) struct Head {
    bytes: [u8; Head::MOST],
    len: usize,
}

impl Head {
    const MOST: usize = 384;

    pub(super) fn of(reply: &Reply, persist: Persist) -> Head {
        let mut head = Head {
            bytes: [0; Head::MOST],
            len: 0,
        };
        head.put(reply, persist)
            .expect("the longest status, numbers and all fixed headers make 310 bytes");
        head
    }

    fn put(&mut self, reply: &Reply, persist: Persist) -> std::io::Result<()> {
        let mut out = &mut self.bytes[..];
        write!(
            out,
            "HTTP/1.1 {} {}\r\n",
            reply.status,
            reason(reply.status)
        )?;
        for (name, value) in ANSWER_HEADERS {
            write!(out, "{name}: {value}\r\n")?;
        }
        if let Some(exchange) = reply.exchange {
            write!(out, "{EXCHANGE}: {exchange}\r\n")?;
        }
        out.write_all(match persist {
            Persist::Default => b"",
            Persist::KeepAlive => b"Connection: keep-alive\r\n",
            Persist::Close => b"Connection: close\r\n",
        })?;
        write!(out, "Content-Length: {}\r\n\r\n", reply.body.len())?;
        let left = out.len();
        self.len = Head::MOST - left;
        Ok(())
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// An answer to a request that the service never sees. The connection closes after it. It has no marker: only a
/// reply of the service is ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) why: &'static str,
    /// RFC 9110 §9.3.2: "the server MUST NOT send content in the response" to HEAD.
    pub(super) to_head: bool,
}

impl Refusal {
    pub(super) const fn new(status: u16, why: &'static str) -> Refusal {
        Refusal {
            status,
            why,
            to_head: false,
        }
    }

    /// All of it, for people to read.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let Refusal {
            status,
            why,
            to_head,
        } = self;
        let more = match status {
            405 => "Allow: POST\r\n",
            503 => "Retry-After: 1\r\n",
            _ => "",
        };
        let (reason, length) = (reason(status), why.len() + 1);
        let mut text = format!(
            "HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n\
             {more}Connection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        if !to_head {
            text.push_str(why);
            text.push('\n');
        }
        text.into_bytes()
    }
}

fn reason(status: u16) -> &'static str {
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
    use posthole_protocol::wire::Chain;

    #[test]
    fn the_head_of_a_reply_by_exact_bytes() {
        let reply = Reply {
            status: 200,
            exchange: Some(7),
            body: Chain::default(),
        };
        assert_eq!(
            std::str::from_utf8(Head::of(&reply, Persist::Default).bytes()).unwrap(),
            "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\
             Cache-Control: no-store, no-transform\r\nX-Accel-Buffering: no\r\nPosthole: 1\r\nPosthole-Exchange: 7\r\n\
             Content-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn the_longest_head_fits() {
        for status in 0..=u16::MAX {
            let reply = Reply {
                status,
                exchange: Some(u64::MAX),
                body: Chain::default(),
            };
            assert!(Head::of(&reply, Persist::KeepAlive).bytes().len() + 20 < Head::MOST);
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
