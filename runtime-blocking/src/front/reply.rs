//! What is written: the head of a reply.

use super::Reply;
pub(super) use posthole_protocol::http::Refusal;
use posthole_protocol::http::{ANSWER_HEADERS, EXCHANGE, reason};
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

/// How a body's end is told.
#[derive(Clone, Copy)]
enum Length {
    Is(usize),
    Chunked,
    /// It is the connection's.
    ToEnd,
}

const FITS: &str = "the longest status, numbers and all fixed headers make 330 bytes";

/// The bytes of a head, without an allocation.
pub(super) struct Head {
    bytes: [u8; Head::MOST],
    len: usize,
}

impl Head {
    const MOST: usize = 384;

    /// None at all.
    pub(super) const NONE: Head = Head {
        bytes: [0; Head::MOST],
        len: 0,
    };

    pub(super) fn of(reply: &Reply, persist: Persist) -> Head {
        let mut head = Head::NONE;
        head.put(
            reply.status,
            reply.exchange,
            persist,
            Length::Is(reply.body.len()),
        )
        .expect(FITS);
        head
    }

    /// Of a streamed reply, and of its first piece if that is one.
    pub(super) fn of_streamed(exchange: u64, persist: Persist, chunks: bool) -> Head {
        let length = if chunks {
            Length::Chunked
        } else {
            Length::ToEnd
        };
        let mut head = Head::NONE;
        head.put(200, Some(exchange), persist, length).expect(FITS);
        head
    }

    /// The line before a chunk of `len` bytes.
    pub(super) fn chunk(mut self, len: usize) -> Head {
        let mut out = &mut self.bytes[self.len..];
        write!(out, "{len:x}\r\n").expect(FITS);
        let left = out.len();
        self.len = Head::MOST - left;
        self
    }

    fn put(
        &mut self,
        status: u16,
        exchange: Option<u64>,
        persist: Persist,
        length: Length,
    ) -> std::io::Result<()> {
        let mut out = &mut self.bytes[..];
        write!(out, "HTTP/1.1 {} {}\r\n", status, reason(status))?;
        for (name, value) in ANSWER_HEADERS {
            write!(out, "{name}: {value}\r\n")?;
        }
        if let Some(exchange) = exchange {
            write!(out, "{EXCHANGE}: {exchange}\r\n")?;
        }
        out.write_all(match persist {
            Persist::Default => b"",
            Persist::KeepAlive => b"Connection: keep-alive\r\n",
            Persist::Close => b"Connection: close\r\n",
        })?;
        match length {
            Length::Is(length) => write!(out, "Content-Length: {length}\r\n\r\n")?,
            Length::Chunked => out.write_all(b"Transfer-Encoding: chunked\r\n\r\n")?,
            Length::ToEnd => out.write_all(b"\r\n")?,
        }
        let left = out.len();
        self.len = Head::MOST - left;
        Ok(())
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
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
             Cache-Control: no-store, no-transform\r\nX-Accel-Buffering: no\r\nPosthole: 1\r\n\
             Posthole-Exchange: 7\r\nContent-Length: 0\r\n\r\n"
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
}
