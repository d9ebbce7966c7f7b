//! The same seam over the `tiny_http` crate: **behind a reverse proxy or among friends only.**
//!
//! What can be made good from outside is: head and body go out in one write, `TCP_NODELAY` and a write time-out are
//! set on the listening socket, from which connections inherit them on Linux, bodies are bounded, doubtful lengths are
//! refused, and a reply never waits for its reader. What can't, in its version 0.12:
//!
//! - A request that claims a length which can't be allocated **aborts the process** when its body is dropped unread
//!   (`tests/front_tiny.rs` shows it).
//! - Heads have no bound, and nothing that is read has a time-out: [`BODIES`] clients that stop in the middle of a
//!   body stop the front.
//! - Connections, with a thread and two descriptors each, have no bound; the first error of `accept` is its last.
//! - Of several connections opened at once, some wait until another one closes.
//! - A client that goes while its request is held is not noticed before the reply is written.

use super::helpers::Helpers;
use super::reply::{Head, Persist, Refusal};
use super::{Limits, Reply, Responder, Service, Ticket};
use crate::timer;
use bytes::Bytes;
use posthole_protocol::http::request::path_of;
use posthole_runtime::Quiet;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use tiny_http::{HTTPVersion, Method, Request, Server};

/// How many bodies are read at once, each by a thread of its own.
pub const BODIES: usize = 8;

/// A running front. Dropping it stops it, as far as `tiny_http` lets it: no request is begun any more and nothing is
/// accepted, but connections stay open until their clients close them.
pub struct TinyFront {
    shared: Arc<Shared>,
    addr: SocketAddr,
}

struct Shared {
    server: Server,
    path: String,
    limits: Limits,
    service: Arc<dyn Service>,
    helpers: Helpers,
    refused: Quiet,
    stopping: AtomicBool,
}

impl TinyFront {
    /// Serves POSTs to `path`, compared byte by byte and without the query, on `listener`. Of the limits, it keeps
    /// those for a body's size, for the time that a reader may stand still, and for stacks.
    ///
    /// # Errors
    /// If the listener is of no use, or a thread can't be had.
    pub fn start(
        listener: TcpListener,
        path: String,
        limits: Limits,
        service: Arc<dyn Service>,
    ) -> io::Result<TinyFront> {
        let addr = listener.local_addr()?;
        let socket = socket2::SockRef::from(&listener);
        // Without it, answers of more than a packet take 44 ms.
        socket.set_tcp_nodelay(true)?;
        socket.set_write_timeout(Some(limits.body_time))?;
        let server = Server::from_listener(listener, None).map_err(io::Error::other)?;
        let shared = Arc::new(Shared {
            server,
            path,
            helpers: Helpers::new(limits.stack),
            limits,
            service,
            refused: Quiet::default(),
            stopping: AtomicBool::new(false),
        });
        // Made first, so that its end stops those threads that could be had.
        let front = TinyFront { shared, addr };
        for _ in 0..BODIES {
            let shared = Arc::clone(&front.shared);
            thread::Builder::new()
                .name("posthole-tiny".into())
                .stack_size(shared.limits.stack)
                .spawn(move || shared.run())?;
        }
        Ok(front)
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for TinyFront {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        for _ in 0..BODIES {
            self.shared.server.unblock();
        }
    }
}

impl Shared {
    fn run(self: &Arc<Self>) {
        loop {
            let received = self.server.recv();
            if self.stopping.load(Ordering::Acquire) {
                return;
            }
            match received {
                Ok(request) => self.serve(request),
                Err(error) => tracing::error!(%error, "tiny_http has stopped accepting"),
            }
        }
    }

    fn serve(self: &Arc<Self>, mut request: Request) {
        let body = match self.body(&mut request) {
            Ok(body) => body,
            Err(refusal) => return self.refuse(request, refusal),
        };
        let fate = Arc::new(Mutex::new(Fate::Open));
        let responder = TinyResponder {
            persist: persist(&request),
            writer: Some(request.into_writer()),
            fate: Arc::clone(&fate),
            shared: Arc::clone(self),
        };
        let ticket = self.service.begin(body, Box::new(responder));
        let mut fate = fate.lock().unwrap_or_else(PoisonError::into_inner);
        match *fate {
            Fate::Open | Fate::Begun(_) => *fate = Fate::Begun(ticket),
            Fate::Failed => {
                drop(fate);
                self.service.hangup(ticket);
            }
        }
    }

    fn body(&self, request: &mut Request) -> Result<Bytes, Refusal> {
        if path_of(request.url()) != Some(&self.path) {
            return Err(Refusal::NOT_HERE);
        }
        if *request.method() != Method::Post {
            return Err(Refusal::NOT_POST);
        }
        let fields = || request.headers().iter();
        let mut lengths: Vec<&str> = fields()
            .filter(|field| field.field.equiv("Content-Length"))
            .map(|field| field.value.as_str())
            .collect();
        // One that is said again counts once (§9.2).
        lengths.dedup();
        let coded = fields().any(|field| field.field.equiv("Transfer-Encoding"));
        let length = match (lengths.len(), coded, request.body_length()) {
            (1, false, Some(length)) => Some(length),
            (0, true, _) => None,
            (0, false, _) => return Err(Refusal::NO_LENGTH),
            (_, _, _) => return Err(Refusal::BAD_LENGTH),
        };
        let too_large = Refusal::TOO_LARGE;
        if length.is_some_and(|length| length > self.limits.body) {
            return Err(too_large);
        }
        let mut body = Vec::new();
        let mut reader = request.as_reader().take(self.limits.body as u64 + 1);
        let read = reader.read_to_end(&mut body);
        if read.is_err() || length.is_some_and(|length| length != body.len()) {
            return Err(Refusal::CUT);
        }
        if body.len() > self.limits.body {
            Err(too_large)
        } else {
            Ok(Bytes::from(body))
        }
    }

    fn refuse(&self, request: Request, mut refusal: Refusal) {
        if let Some(unsaid) = self.refused.may_say(timer::now()) {
            tracing::info!(
                status = refusal.status,
                why = refusal.why,
                unsaid,
                "request refused"
            );
        }
        refusal.to_head = *request.method() == Method::Head;
        let mut writer = request.into_writer();
        // Who doesn't take a refusal has refused it.
        let _ = writer
            .write_all(&refusal.to_bytes())
            .and_then(|()| writer.flush());
    }
}

/// What `tiny_http` will do with the connection, which can't be told it from here.
fn persist(request: &Request) -> Persist {
    let asked = request
        .headers()
        .iter()
        .find(|field| field.field.equiv("Connection"));
    let asked = asked
        .map(|field| field.value.as_str().to_ascii_lowercase())
        .unwrap_or_default();
    let old = *request.http_version() == HTTPVersion(1, 0);
    if asked.contains("close")
        || asked.contains("upgrade")
        || (old && !asked.contains("keep-alive"))
    {
        Persist::Close
    } else if old {
        Persist::KeepAlive
    } else {
        Persist::Default
    }
}

/// Where a reply may fail before its ticket is known, and the other way round.
enum Fate {
    Open,
    Begun(Ticket),
    Failed,
}

struct TinyResponder {
    persist: Persist,
    writer: Option<Box<dyn Write + Send>>,
    fate: Arc<Mutex<Fate>>,
    shared: Arc<Shared>,
}

impl TinyResponder {
    fn send(&mut self, bytes: Vec<u8>) {
        let Some(mut writer) = self.writer.take() else {
            return;
        };
        let (shared, fate) = (Arc::clone(&self.shared), Arc::clone(&self.fate));
        // Always a helper: here a write can't be tried without waiting. One that can't be had means that nothing
        // can be written, and the writer, dropped, gives way to the next.
        let _ = self.shared.helpers.run(move || {
            if writer
                .write_all(&bytes)
                .and_then(|()| writer.flush())
                .is_ok()
            {
                return;
            }
            let before = std::mem::replace(
                &mut *fate.lock().unwrap_or_else(PoisonError::into_inner),
                Fate::Failed,
            );
            if let Fate::Begun(ticket) = before {
                shared.service.hangup(ticket);
            }
        });
    }
}

impl Responder for TinyResponder {
    fn respond(mut self: Box<Self>, reply: Reply) {
        let head = Head::of(&reply, self.persist);
        let parts = reply.body.parts().iter().map(|part| &part[..]);
        self.send(
            std::iter::once(head.bytes())
                .chain(parts)
                .collect::<Vec<_>>()
                .concat(),
        );
    }
}

impl Drop for TinyResponder {
    fn drop(&mut self) {
        self.send(Refusal::NO_ANSWER.to_bytes());
    }
}
