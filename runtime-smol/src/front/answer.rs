//! Replies and refusals as hyper writes them.

use super::Reply;
use bytes::Bytes;
use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use posthole_protocol::http::{ANSWER_HEADERS, EXCHANGE, Refusal};
use posthole_protocol::wire::Chain;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The body of an answer: one frame of many pieces, which hyper writes together with the head.
#[derive(Debug)]
pub struct Answer(Chain);

impl Body for Answer {
    type Data = Chain;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Chain>, Infallible>>> {
        let chain = std::mem::take(&mut self.0);
        Poll::Ready((!chain.is_empty()).then(|| Ok(Frame::data(chain))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
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
        let mut response = Response::new(Answer(reply.body));
        *response.status_mut() = status(reply.status);
        *response.headers_mut() = self.fixed.clone();
        if let Some(exchange) = reply.exchange {
            let headers = response.headers_mut();
            headers.insert(self.exchange.clone(), HeaderValue::from(exchange));
        }
        response
    }
}

/// The refusal of a request that speaks `version`.
pub(super) fn refuse(refusal: Refusal, version: Version) -> Response<Answer> {
    let mut response = Response::new(Answer(Chain::from(Bytes::from(refusal.text()))));
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
