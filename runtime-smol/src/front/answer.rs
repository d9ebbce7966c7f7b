//! Replies and refusals as hyper writes them.

use super::conn::Conn;
use super::{Abandoned, Pieces, Reply};
use bytes::Bytes;
use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use posthole_protocol::http::{ANSWER_HEADERS, EXCHANGE, Refusal};
use posthole_protocol::wire::Chain;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// The body of an answer: one frame, which hyper writes together with the head, or one for each piece as it comes.
pub struct Answer(Content);

enum Content {
    Whole(Chain),
    /// `conn`: on a connection of ours, which says when a piece has been written.
    Streamed {
        pieces: Pieces,
        conn: Option<Arc<Conn>>,
    },
}

impl Body for Answer {
    type Data = Chain;
    type Error = Abandoned;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Chain>, Abandoned>>> {
        match &mut self.0 {
            Content::Whole(chain) => {
                let chain = std::mem::take(chain);
                Poll::Ready((!chain.is_empty()).then(|| Ok(Frame::data(chain))))
            }
            Content::Streamed { pieces, conn } => {
                if let Some(conn) = conn {
                    ready!(conn.poll_written(cx));
                }
                let next = ready!(pieces.as_mut().poll_next(cx));
                match (&next, conn) {
                    (Some(Ok(_)), Some(conn)) => conn.piece(),
                    (None, Some(conn)) => conn.reply()?,
                    (Some(Err(_)), _) | (_, None) => {}
                }
                Poll::Ready(next.map(|piece| piece.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, Content::Whole(chain) if chain.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Content::Whole(chain) => SizeHint::with_exact(chain.len() as u64),
            Content::Streamed { .. } => SizeHint::default(),
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Content::Whole(chain) => f.debug_tuple("Answer").field(chain).finish(),
            Content::Streamed { .. } => f.write_str("Answer(..)"),
        }
    }
}

/// What stands in every head, made once.
#[derive(Debug)]
pub(super) struct Heads {
    fixed: HeaderMap,
    exchange: HeaderName,
}

impl Heads {
    pub(super) fn new() -> Heads {
        Heads {
            fixed: ANSWER_HEADERS.into_iter().map(field).collect(),
            exchange: name(EXCHANGE),
        }
    }

    pub(super) fn reply(&self, reply: Reply) -> Response<Answer> {
        self.head(reply.status, reply.exchange, Content::Whole(reply.body))
    }

    pub(super) fn streamed(
        &self,
        exchange: u64,
        pieces: Pieces,
        conn: Option<Arc<Conn>>,
    ) -> Response<Answer> {
        self.head(200, Some(exchange), Content::Streamed { pieces, conn })
    }

    fn head(&self, code: u16, exchange: Option<u64>, content: Content) -> Response<Answer> {
        let mut response = Response::new(Answer(content));
        *response.status_mut() = status(code);
        *response.headers_mut() = self.fixed.clone();
        if let Some(exchange) = exchange {
            let headers = response.headers_mut();
            headers.insert(self.exchange.clone(), HeaderValue::from(exchange));
        }
        response
    }
}

/// The refusal of a request that speaks `version`.
pub(super) fn refuse(refusal: Refusal, version: Version) -> Response<Answer> {
    let mut response = Response::new(Answer(Content::Whole(Bytes::from(refusal.text()).into())));
    *response.status_mut() = status(refusal.status);
    *response.headers_mut() = refusal.headers().map(field).collect();
    // RFC 9113 §8.2.2: not in HTTP/2, where other requests share the connection.
    if version <= Version::HTTP_11 {
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn field((key, value): (&'static str, &'static str)) -> (HeaderName, HeaderValue) {
    (name(key), HeaderValue::from_static(value))
}

fn name(name: &'static str) -> HeaderName {
    HeaderName::from_bytes(name.as_bytes()).expect("what the protocol names is a header's name")
}

/// A status that is none of HTTP's (RFC 9110 §15), or an interim one, is our own fault.
fn status(status: u16) -> StatusCode {
    StatusCode::from_u16(status)
        .ok()
        .filter(|status| !status.is_informational())
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_reply_has_the_headers_of_the_protocol_and_its_exchange() {
        let reply = |status| Reply {
            status,
            exchange: Some(u64::MAX),
            body: Chain::from(Bytes::from_static(b"abc")),
        };
        let response = Heads::new().reply(reply(200));
        assert_eq!(response.status(), 200);
        for (name, value) in ANSWER_HEADERS {
            assert_eq!(response.headers()[name], value);
        }
        assert_eq!(response.headers()[EXCHANGE], "18446744073709551615");
        assert_eq!(response.headers().len(), ANSWER_HEADERS.len() + 1);
        assert_eq!(response.body().size_hint().exact(), Some(3));
        for none in [0, 100, 199, 1000] {
            assert_eq!(Heads::new().reply(reply(none)).status(), 500);
        }
    }

    #[test]
    fn a_refusal_is_not_marked_and_closes_where_it_can() {
        let response = refuse(Refusal::TOO_MANY_BODIES, Version::HTTP_11);
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "1");
        assert_eq!(response.headers()["connection"], "close");
        assert!(!response.headers().contains_key("posthole"));
        let response = refuse(Refusal::NOT_POST, Version::HTTP_2);
        assert_eq!(response.headers()["allow"], "POST");
        assert!(!response.headers().contains_key("connection"));
    }
}
