//! One request at the server, between its arrival and its reply.

use crate::driver::Shared;
use crate::front::Reply;
use crate::wire::Wire;
use posthole_protocol::RequestId;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// A request that waits for its [`Reply`]. Dropped before, it says that whoever asked has gone.
pub struct Pending {
    desk: Arc<Desk>,
    /// Whom to tell; `None`: nobody waits for that.
    asked: Option<(Arc<Shared>, RequestId)>,
}

/// Where the reply to one request goes. Dropped without a reply, it closes the connection.
pub(crate) struct Responder(To);

enum To {
    Desk(Arc<Desk>),
    /// What is said last on a direct connection, which then ends.
    Wire(Arc<Wire>),
}

/// What lies between them.
#[derive(Default)]
struct Desk(Mutex<Lying>);

#[derive(Default)]
enum Lying {
    /// Nothing, and perhaps somebody waits.
    #[default]
    Nothing,
    Waiter(Waker),
    /// What has become of the request.
    Outcome(Option<Reply>),
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Lying> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, outcome: Option<Reply>) {
        let before = std::mem::replace(&mut *self.lock(), Lying::Outcome(outcome));
        if let Lying::Waiter(waker) = before {
            waker.wake();
        }
    }
}

impl Responder {
    /// To a direct connection.
    pub(crate) fn to_wire(wire: &Arc<Wire>) -> Responder {
        Responder(To::Wire(wire.clone()))
    }

    pub(crate) fn respond(self, reply: Reply) {
        match &self.0 {
            To::Desk(desk) => desk.put(Some(reply)),
            To::Wire(wire) => wire.end(reply.body),
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        let To::Desk(desk) = &self.0 else {
            return;
        };
        let is_answered = matches!(*desk.lock(), Lying::Outcome(_));
        if !is_answered {
            desk.put(None);
        }
    }
}

impl Pending {
    /// For a request of this session's, and where its reply goes.
    pub(crate) fn new(shared: Arc<Shared>, request: RequestId) -> (Pending, Responder) {
        let desk = Arc::new(Desk::default());
        let pending = Pending {
            desk: desk.clone(),
            asked: Some((shared, request)),
        };
        (pending, Responder(To::Desk(desk)))
    }

    /// Answered at once.
    pub(crate) fn ready(reply: Reply) -> Pending {
        let desk = Arc::new(Desk::default());
        desk.put(Some(reply));
        Pending { desk, asked: None }
    }
}

impl Future for Pending {
    type Output = Option<Reply>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Reply>> {
        let mut lying = self.desk.lock();
        if let Lying::Outcome(outcome) = &mut *lying {
            let outcome = outcome.take();
            drop(lying);
            self.asked = None;
            return Poll::Ready(outcome);
        }
        let old = std::mem::replace(&mut *lying, Lying::Waiter(cx.waker().clone()));
        drop(lying);
        drop(old);
        Poll::Pending
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some((shared, request)) = self.asked.take() {
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
    use crate::front::Service;
    use crate::{Config, Handler, ListenOptions};
    use bytes::Bytes;
    use posthole_protocol::{Client, ExchangeId, Instant, Request, SessionId};
    use smol::future::{block_on, poll_once};

    fn now() -> Instant {
        Instant::from_micros(1)
    }

    /// A client's core whose request is held, and that request.
    fn held(handler: &Handler) -> (Client, ExchangeId, super::Pending) {
        let mut client = Client::new(Config::default(), SessionId::from_bytes([3; 16]), now());
        loop {
            let Request { exchange, body, .. } = client.poll_request(now()).unwrap();
            let mut pending = handler.begin(body.into_bytes());
            match block_on(poll_once(&mut pending)) {
                Some(reply) => {
                    let body = reply.unwrap().body.into_bytes();
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
        assert_eq!(reply.unwrap().status, 400);
        assert_eq!(handler.sessions(), 0);
    }

    #[test]
    fn what_the_server_says_answers_the_request_that_is_held() {
        let handler = Handler::new(ListenOptions::new()).unwrap();
        let (mut client, exchange, pending) = held(&handler);
        let session = block_on(handler.accept()).unwrap();
        let stream = block_on(session.open()).unwrap();
        block_on(stream.write_bytes(Bytes::from_static(b"hi"))).unwrap();
        let reply = block_on(pending).unwrap();
        assert_eq!(
            (reply.status, reply.exchange),
            (200, Some(exchange.number()))
        );
        let body = reply.body.into_bytes();
        client.feed_response(now(), exchange, body).unwrap();
        assert_eq!(client.accept(), Some(stream.id()));
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
        let reply = block_on(handler.begin(request.body.into_bytes())).unwrap();
        let body = reply.body.into_bytes();
        client.feed_response(now(), request.exchange, body).unwrap();
        assert_eq!(client.accept(), Some(stream.id()));
    }

    #[test]
    fn without_its_handler_a_session_answers_and_ends() {
        let handler = Handler::new(ListenOptions::new()).unwrap();
        let (_, _, pending) = held(&handler);
        let session = block_on(handler.accept()).unwrap();
        drop(handler);
        assert!(session.closed().is_some());
        assert!(block_on(pending).is_some());
    }
}
