//! A connection's task: drives hyper, keeps [`Conn`]'s time, and ends the connection as [`Conn`] says.

use super::conn::{Conn, End, Next, Stop};
use super::mount::{Abandoned, Answering, Hall};
use super::wire::Wire;
use super::{Answer, Service};
use crate::io::{Adapter, Alarm};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use posthole_protocol::http::Refusal;
use smol::Async;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use std::future::{Future, poll_fn};
use std::io;
use std::net::{Shutdown, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

/// A connection as its task has it.
pub(super) struct Task<S> {
    pub(super) stream: Arc<Async<TcpStream>>,
    pub(super) conn: Arc<Conn>,
    pub(super) hall: Arc<Hall<S>>,
    pub(super) http: Arc<http1::Builder>,
}

impl<S: Service> Task<S> {
    /// Serves the connection to its end.
    pub(super) async fn run(self) {
        let text = match self.requests().await {
            End::Closed => return,
            End::Refused => Vec::new(),
            End::Refuse(refusal) => {
                self.hall.log(refusal, Some(self.conn.peer()));
                refusal.to_bytes()
            }
        };
        let until = Instant::now().checked_add(self.hall.limits().linger_time);
        let late = async {
            match until {
                Some(until) => Alarm::at(until).await,
                None => std::future::pending().await,
            }
            Err(io::ErrorKind::TimedOut.into())
        };
        // However it goes, the connection is closed.
        let _ = smol::future::or(self.part(text), late).await;
    }

    /// Serves requests until one is the last, and says how to part with the client.
    async fn requests(&self) -> End {
        let mut http = self.connect();
        let mut alarm = None;
        let done = poll_fn(|cx| {
            loop {
                let asked = self.conn.asked(cx);
                match asked {
                    Some(Stop::Now) => return Poll::Ready(Err(End::Closed)),
                    Some(Stop::Finish) => Pin::new(&mut http).graceful_shutdown(),
                    None => {}
                }
                if let Poll::Ready(result) = Pin::new(&mut http).poll(cx) {
                    return Poll::Ready(Ok(result));
                }
                // Only now: a reply may have been there that hyper had not taken yet.
                if asked == Some(Stop::Finish) && !self.conn.is_answering() {
                    return Poll::Ready(Err(End::Closed));
                }
                let until = match self.conn.next(self.hall.limits()) {
                    Next::Again => continue,
                    Next::Renew => {
                        http = self.connect();
                        continue;
                    }
                    Next::End(end) => return Poll::Ready(Err(end)),
                    Next::Wait(None) => return Poll::Pending,
                    Next::Wait(Some(until)) => until,
                };
                let alarm = alarm.get_or_insert_with(|| Alarm::at(until));
                alarm.move_to(until);
                return Pin::new(alarm).poll(cx).map(|()| Err(self.conn.late()));
            }
        })
        .await;
        match done {
            Ok(result) => {
                let unread = http.into_parts().read_buf;
                self.conn
                    .ended(result.err().and_then(|error| refusal(&error, &unread)))
            }
            Err(end) => end,
        }
    }

    fn connect(&self) -> http1::Connection<Adapter<Wire>, Requests<S>> {
        let wire = Wire::new(Arc::clone(&self.stream), Arc::clone(&self.conn));
        let requests = Requests {
            hall: Arc::clone(&self.hall),
            conn: Arc::clone(&self.conn),
        };
        self.http.serve_connection(Adapter(wire), requests)
    }

    /// Says what is left to say, and then goes on reading for a while: closing while the client still sends would
    /// make its system throw the answer away (RFC 9112 §9.6).
    async fn part(&self, text: Vec<u8>) -> io::Result<()> {
        let mut stream = &*self.stream;
        stream.write_all(&text).await?;
        stream.get_ref().shutdown(Shutdown::Write)?;
        let mut left = self.hall.limits().linger;
        let mut waste = vec![0; 16 * 1024];
        while left > 0 {
            match stream.read(&mut waste).await? {
                0 => break,
                amount => left = left.saturating_sub(amount),
            }
        }
        Ok(())
    }
}

/// The requests of a connection.
struct Requests<S> {
    hall: Arc<Hall<S>>,
    conn: Arc<Conn>,
}

impl<S: Service> hyper::service::Service<Request<Incoming>> for Requests<S> {
    type Response = Response<Answer>;
    type Error = Abandoned;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Answering {
        self.conn.begin();
        self.hall.answer(request, Some(Arc::clone(&self.conn)))
    }
}

/// What was wrong with a head that hyper could not read, of which the rest is `unread`; `None` if it only ended too
/// early.
fn refusal(error: &hyper::Error, unread: &[u8]) -> Option<Refusal> {
    if error.is_parse_too_large() {
        return Some(Refusal::HEAD_TOO_LARGE);
    }
    if !error.is_parse() {
        return None;
    }
    // hyper doesn't tell another version from other rubbish; its parser does.
    match httparse::Request::new(&mut []).parse(unread) {
        Err(httparse::Error::Version) => Some(Refusal::BAD_VERSION),
        Ok(_) | Err(_) => Some(Refusal::NOT_HTTP),
    }
}
