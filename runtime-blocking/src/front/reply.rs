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
