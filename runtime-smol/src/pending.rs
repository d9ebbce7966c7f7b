//! One request at the server, between its arrival and its reply, or the end of that.

use crate::driver::Shared;
use crate::front::{Abandoned, Outcome, Pieces, Reply};
use crate::wire::{Name, Wire};
use posthole_protocol::RequestId;
use posthole_protocol::wire::Chain;
use smol::stream::Stream;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// A request that waits for its [`Outcome`]. Dropped before, it says that whoever asked has gone.
pub struct Pending {
    desk: Arc<Desk>,
    asked: Asked,
}

/// Whom to tell that whoever asked has gone, when this is dropped; `None`: nobody waits for that.
struct Asked(Option<(Arc<Shared>, RequestId)>);

/// Where the reply to one request goes. Dropped without a reply, it closes the connection.
pub(crate) struct Responder(To);

enum To {
    Desk(Arc<Desk>),
    /// What is said last on a direct connection, which then ends.
    Wire(Arc<Wire>),
}

/// What lies between them.
#[derive(Default)]
pub(crate) struct Desk(Mutex<Lying>);

#[derive(Default)]
struct Lying {
    waiter: Option<Waker>,
    /// The next piece of a streamed reply, and the exchange that it answers.
    piece: Option<(u64, Chain)>,
    /// What has become of the request: a reply, the end of one that is streamed, or nothing.
    outcome: Option<Option<Reply>>,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Lying> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, put: impl FnOnce(&mut Lying)) {
        let mut lying = self.lock();
        put(&mut lying);
        let waiter = lying.waiter.take();
        drop(lying);
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }

    /// The next piece of a streamed reply, after the one before was taken for written.
    pub(crate) fn piece(&self, exchange: u64, bundle: Chain) {
        self.put(|lying| {
            debug_assert!(lying.piece.is_none(), "one at a time");
            lying.piece = Some((exchange, bundle));
        });
    }

    /// Takes what lies there, or waits for something.
    fn poll<T>(&self, cx: &Context<'_>, take: impl FnOnce(&mut Lying) -> Option<T>) -> Poll<T> {
        let mut lying = self.lock();
        if let Some(taken) = take(&mut lying) {
            return Poll::Ready(taken);
        }
        let old = lying.waiter.replace(cx.waker().clone());
        drop(lying);
        drop(old);
        Poll::Pending
    }
}

impl Responder {
    /// To a direct connection.
    pub(crate) fn to_wire(wire: &Arc<Wire>) -> Responder {
        Responder(To::Wire(wire.clone()))
    }

    pub(crate) fn respond(self, reply: Reply) {
        match &self.0 {
            To::Desk(desk) => desk.put(|lying| lying.outcome = Some(Some(reply))),
            To::Wire(wire) => wire.end(reply.body),
        }
    }

    /// Where the pieces of a streamed reply go, of which [`respond`](Responder::respond) brings the last.
    pub(crate) fn desk(&self) -> Option<Arc<Desk>> {
        match &self.0 {
            To::Desk(desk) => Some(desk.clone()),
            To::Wire(_) => None,
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        let To::Desk(desk) = &self.0 else {
            return;
        };
        let is_answered = desk.lock().outcome.is_some();
        if !is_answered {
            desk.put(|lying| lying.outcome = Some(None));
        }
    }
}

impl Pending {
    /// For a request of this session's, and where its reply goes.
    pub(crate) fn new(shared: Arc<Shared>, request: RequestId) -> (Pending, Responder) {
        let desk = Arc::new(Desk::default());
        let pending = Pending {
            desk: desk.clone(),
            asked: Asked(Some((shared, request))),
        };
        (pending, Responder(To::Desk(desk)))
    }

    /// Answered at once.
    pub(crate) fn ready(reply: Reply) -> Pending {
        let desk = Arc::new(Desk::default());
        desk.put(|lying| lying.outcome = Some(Some(reply)));
        Pending {
            desk,
            asked: Asked(None),
        }
    }
}

/// What lies there for whoever waits for a reply.
enum Found {
    Piece(u64, Chain),
    Outcome(Option<Reply>),
}

fn take(lying: &mut Lying) -> Option<Found> {
    let piece = lying
        .piece
        .take()
        .map(|(of, piece)| Found::Piece(of, piece));
    piece.or_else(|| lying.outcome.take().map(Found::Outcome))
}

impl Future for Pending {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        self.desk.poll(cx, take).map(|found| match found {
            Found::Piece(exchange, first) => {
                let pieces: Pieces = Box::pin(Streaming {
                    desk: self.desk.clone(),
                    asked: Asked(self.asked.0.take()),
                    at: At::First(first),
                });
                Outcome::Streamed { exchange, pieces }
            }
            Found::Outcome(reply) => {
                self.asked.0 = None;
                reply.into()
            }
        })
    }
}

/// The pieces of a streamed reply.
struct Streaming {
    desk: Arc<Desk>,
    asked: Asked,
    at: At,
}

enum At {
    First(Chain),
    /// A piece was given and is taken for written when the next is asked for.
    Given,
    /// The core knows that the last piece was written.
    Written,
    End,
}

impl Stream for Streaming {
    type Item = Result<Chain, Abandoned>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Chain, Abandoned>>> {
        match std::mem::replace(&mut self.at, At::Written) {
            At::First(first) => {
                self.at = At::Given;
                return Poll::Ready(Some(Ok(first)));
            }
            At::Given => {
                if let Some((shared, request)) = &self.asked.0 {
                    shared.feed_written(Name::Request(*request));
                }
            }
            At::Written => {}
            At::End => {
                self.at = At::End;
                return Poll::Ready(None);
            }
        }
        self.desk.poll(cx, take).map(|found| match found {
            Found::Piece(_, piece) => {
                self.at = At::Given;
                Some(Ok(piece))
            }
            Found::Outcome(reply) => {
                self.at = At::End;
                self.asked.0 = None;
                match reply {
                    Some(reply) if reply.body.is_empty() => None,
                    Some(reply) => Some(Ok(reply.body)),
                    None => Some(Err(Abandoned)),
                }
            }
        })
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some((shared, request)) = self.0.take() {
            shared.feed_hangup(request);
        }
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Pending;
    use crate::driver::Shared;
    use crate::front::{Outcome, Reply, Service};
    use crate::{Config, Handler, ListenOptions};
    use bytes::Bytes;
    use posthole_protocol::RequestId;
    use posthole_protocol::wire::Chain;
    use posthole_protocol::{Client, CloseReason, ExchangeId, Instant, Request, SessionId};
    use smol::future::{block_on, poll_once};
    use smol::stream::StreamExt;

    fn now() -> Instant {
        Instant::from_micros(1)
    }

    /// A client's core whose request is held, and that request.
    fn held(handler: &Handler) -> (Client, ExchangeId, Pending) {
        let mut client = Client::new(Config::default(), SessionId::from_bytes([3; 16]), now());
        loop {
            let Request { exchange, body, .. } = client.poll_request(now()).unwrap();
            let mut pending = handler.begin(body.into_bytes());
            match block_on(poll_once(&mut pending)) {
                Some(outcome) => {
                    let body = outcome.into_reply().unwrap().body.into_bytes();
                    client.feed_response(now(), exchange, body).unwrap();
                }
                None => return (client, exchange, pending),
            }
        }
    }

    #[test]
    fn a_stranger_is_answered_at_once() {
        let handler = Handler::new(ListenOptions::new()).unwrap();
        let reply = block_on(handler.begin(Bytes::from_static(b"hello?")));
        assert_eq!(reply.into_reply().unwrap().status, 400);
        assert_eq!(handler.sessions(), 0);
    }

    #[test]
    fn what_the_server_says_answers_the_request_that_is_held() {
        let handler = Handler::new(ListenOptions::new()).unwrap();
        let (mut client, exchange, pending) = held(&handler);
        let session = block_on(handler.accept()).unwrap();
        let stream = block_on(session.open()).unwrap();
        block_on(stream.write_bytes(Bytes::from_static(b"hi"))).unwrap();
        let reply = block_on(pending).into_reply().unwrap();
        assert_eq!(
            (reply.status, reply.exchange),
            (200, Some(exchange.number()))
        );
        let body = reply.body.into_bytes();
        client.feed_response(now(), exchange, body).unwrap();
        assert_eq!(client.accept(), Some(stream.id()));
    }

    /// Both may be there before whoever writes them has looked once.
    #[test]
    fn the_last_piece_of_a_streamed_reply_comes_before_its_end() {
        let (pending, responder) = Pending::new(Shared::alone(), RequestId::new(1));
        let last = Reply {
            status: 200,
            exchange: Some(7),
            body: Chain::default(),
        };
        let desk = responder.desk().unwrap();
        desk.piece(7, Bytes::from_static(b"piece").into());
        responder.respond(last);
        let Outcome::Streamed { pieces, .. } = block_on(pending) else {
            panic!("it is no streamed reply any more");
        };
        let pieces: Vec<_> = block_on(pieces.collect());
        assert_eq!(pieces.len(), 1);
        let piece = pieces.into_iter().next().unwrap();
        assert_eq!(piece.unwrap().into_bytes(), &b"piece"[..]);
    }

    #[test]
    fn who_hangs_up_is_not_answered() {
        let handler = Handler::new(ListenOptions::new()).unwrap();
        let (mut client, exchange, pending) = held(&handler);
        drop(pending);
        let session = block_on(handler.accept()).unwrap();
        let stream = block_on(session.open()).unwrap();
        block_on(stream.write_bytes(Bytes::from_static(b"hi"))).unwrap();
        // The next request gets it.
        let cut = posthole_protocol::Failure::Cut;
        client.feed_failure(now(), exchange, cut).unwrap();
        client.feed_timeout(client.next_timeout().unwrap());
        let request = client.poll_request(now()).unwrap();
        let reply = block_on(handler.begin(request.body.into_bytes()))
            .into_reply()
            .unwrap();
        let body = reply.body.into_bytes();
        client.feed_response(now(), request.exchange, body).unwrap();
        assert_eq!(client.accept(), Some(stream.id()));
        assert_eq!(session.stats().resent, 0, "it was said to nobody before");
    }

    #[test]
    fn a_client_that_begins_anew_ends_the_session_that_it_names() {
        let handler = Handler::new(ListenOptions::new()).unwrap();
        let (client, _, pending) = held(&handler);
        let old = block_on(handler.accept()).unwrap();
        let id = SessionId::from_bytes([4; 16]);
        let mut next = Client::replacing(Config::default(), id, client.id(), now());
        let body = next.poll_request(now()).unwrap().body.into_bytes();
        let _begun = handler.begin(body);
        assert_eq!(old.closed(), Some(CloseReason::Replaced));
        assert!(block_on(pending).into_reply().is_some(), "it is held still");
    }

    #[test]
    fn without_its_handler_a_session_answers_and_ends() {
        let handler = Handler::new(ListenOptions::new()).unwrap();
        let (_, _, pending) = held(&handler);
        let session = block_on(handler.accept()).unwrap();
        drop(handler);
        assert!(session.closed().is_some());
        assert!(block_on(pending).into_reply().is_some());
    }
}
