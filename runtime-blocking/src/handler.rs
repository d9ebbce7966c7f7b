//! The server without HTTP: which session a request belongs to, and the sessions that wait to be accepted.
//!
//! Locks are taken in this order: the table of sessions, then one session's. The table's is held to find a session and
//! to forget one, never while a session works.

use crate::driver::{Shared, State};
use crate::front::{Reply, Responder, Service, Ticket};
use crate::machine::Machine;
use crate::options::ListenOptions;
use crate::random;
use crate::server::Running;
use crate::session::Session;
use crate::timer;
use bytes::Bytes;
use posthole_protocol::wire::Chain;
use posthole_protocol::{
    Config, Instance, Nonce, Opening, Reject, RequestId, Route, Router, Server,
};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

/// The server's side without an HTTP server: give it the bodies of requests and it has the replies (S18).
///
/// Clone it: one handle goes to the HTTP server, which calls it as a [`Service`], another accepts sessions. When the
/// last one is dropped, the sessions end, as nobody could bring their requests any more.
#[derive(Clone)]
pub struct Handler {
    pub(crate) house: Arc<House>,
}

/// What the sessions of a server have in common.
pub(crate) struct House {
    config: Config,
    table: Mutex<Table>,
    /// The table has lost a session.
    left: Condvar,
    queue: Mutex<Queue>,
    arrived: Condvar,
    requests: AtomicU32,
    /// Whom sessions keep running.
    front: OnceLock<Weak<Running>>,
}

struct Table {
    router: Router<Arc<Shared>>,
    /// By the number that their tickets begin with. Each keeps the front alive that brings its requests.
    known: HashMap<u32, (Arc<Shared>, Option<Arc<Running>>)>,
}

struct Queue {
    waiting: VecDeque<Session>,
    is_open: bool,
}

/// A session's way back to the house that it is in.
pub(crate) struct Home(Weak<House>);

impl Handler {
    /// A server's sessions, none so far. Path and limits are those of the HTTP server that it is mounted in.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub fn new(options: ListenOptions) -> io::Result<Handler> {
        let instance = Instance(random::number()?);
        let router = Router::new(options.router, instance, timer::now());
        Ok(Handler {
            house: Arc::new(House {
                config: options.config,
                table: Mutex::new(Table {
                    router,
                    known: HashMap::new(),
                }),
                left: Condvar::new(),
                queue: Mutex::new(Queue {
                    waiting: VecDeque::new(),
                    is_open: true,
                }),
                arrived: Condvar::new(),
                requests: AtomicU32::new(0),
                front: OnceLock::new(),
            }),
        })
    }

    /// Waits for the next session.
    ///
    /// # Errors
    /// `NotConnected`, once the handler was closed.
    pub fn accept(&self) -> io::Result<Session> {
        let mut queue = self.house.queue();
        loop {
            if let Some(session) = queue.waiting.pop_front() {
                return Ok(session);
            }
            if !queue.is_open {
                return Err(closed());
            }
            queue = self
                .house
                .arrived
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// How many sessions there are, accepted or not.
    pub fn sessions(&self) -> usize {
        self.house.table().known.len()
    }

    /// Accepts no more and closes every session in order; those that have not ended within `grace` are aborted.
    /// Requests must go on being brought meanwhile.
    pub fn close(&self, grace: Duration) {
        let until = Instant::now().checked_add(grace);
        drop(self.house.shut());
        self.house.for_all(State::close);
        let mut table = self.house.table();
        while !table.known.is_empty() {
            table = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => self
                    .house
                    .left
                    .wait(table)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => break,
                Some(left) => {
                    self.house
                        .left
                        .wait_timeout(table, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
        drop(table);
        self.house.for_all(State::abort);
    }
}

impl Service for Handler {
    fn begin(&self, body: Bytes, responder: Box<dyn Responder>) -> Ticket {
        self.house.begin(body, responder)
    }

    fn hangup(&self, ticket: Ticket) {
        let number = u32::try_from(ticket.0 >> 32).expect("32 of 64 bits");
        let shared = self
            .house
            .table()
            .known
            .get(&number)
            .map(|(shared, _)| shared.clone());
        if let Some(shared) = shared {
            shared.feed_hangup(RequestId::new(ticket.0));
        }
    }
}

impl House {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sessions keep this front running.
    pub(crate) fn run_by(&self, front: &Arc<Running>) {
        let first = self.front.set(Arc::downgrade(front));
        debug_assert!(first.is_ok(), "a listener has one front");
    }

    fn begin(self: &Arc<Self>, body: Bytes, responder: Box<dyn Responder>) -> Ticket {
        let nobody = Ticket(u64::MAX);
        let now = timer::now();
        let mut table = self.table();
        let (shared, replaced) = match table.router.route(now, &body) {
            Route::Session(shared) => (shared.clone(), None),
            Route::Opening { opening, replaced } => match self.make(opening, now) {
                Some(shared) => {
                    let front = self.front.get().and_then(Weak::upgrade);
                    table
                        .router
                        .insert(shared.lock().machine.id(), shared.clone());
                    table
                        .known
                        .insert(number_of(&shared), (shared.clone(), front));
                    (shared, replaced)
                }
                None => {
                    drop(table);
                    responder.respond(unavailable());
                    return nobody;
                }
            },
            Route::Reject(reject) => {
                drop(table);
                tracing::debug!(exchange = reject.exchange(), "request refused");
                responder.respond(reject.into());
                return nobody;
            }
            Route::NotOurs => {
                drop(table);
                tracing::debug!(bytes = body.len(), "request of another kind");
                responder.respond(Reply {
                    status: 400,
                    exchange: None,
                    body: Bytes::from_static(b"only posthole's requests are served here\n").into(),
                });
                return nobody;
            }
        };
        drop(table);
        if let Some(replaced) = replaced {
            let mut locked = replaced.lock();
            if let Some(Machine::Server { core, .. }) = locked.machine() {
                core.replace();
            }
            locked.settle();
        }
        let count = self.requests.fetch_add(1, Ordering::Relaxed);
        let ticket = u64::from(number_of(&shared)) << 32 | u64::from(count);
        shared.feed_request(RequestId::new(ticket), body, responder);
        Ticket(ticket)
    }

    /// A new session, unless none is wanted any more.
    fn make(
        self: &Arc<Self>,
        opening: Opening,
        now: posthole_protocol::Instant,
    ) -> Option<Arc<Shared>> {
        if !self.queue().is_open {
            return None;
        }
        let nonce = Nonce(random::number().ok()?);
        let core = Server::new(self.config.clone(), opening, nonce, now);
        let machine = Machine::Server {
            core,
            held: HashMap::new(),
        };
        Some(Shared::new(machine, Some(Home(Arc::downgrade(self)))))
    }

    /// Lets no more sessions in; gives those that wait.
    pub(crate) fn shut(&self) -> VecDeque<Session> {
        let mut queue = self.queue();
        queue.is_open = false;
        self.arrived.notify_all();
        std::mem::take(&mut queue.waiting)
    }

    /// Does something to every session.
    pub(crate) fn for_all(&self, mut what: impl FnMut(&mut State)) {
        let all: Vec<_> = self
            .table()
            .known
            .values()
            .map(|(shared, _)| shared.clone())
            .collect();
        for shared in all {
            let mut locked = shared.lock();
            what(&mut locked);
            locked.settle();
        }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        drop(self.shut());
        self.for_all(State::abort);
    }
}

impl Home {
    /// The session is there: it can be accepted.
    pub(crate) fn announce(&self, shared: &Arc<Shared>) {
        let Some(house) = self.0.upgrade() else {
            return;
        };
        let session = Session::new(shared.clone());
        let mut queue = house.queue();
        if queue.is_open {
            queue.waiting.push_back(session);
            drop(queue);
            house.arrived.notify_one();
        } else {
            // Dropped below, with no lock held: that closes it.
            drop(queue);
        }
    }

    /// The session is over: late copies of its requests are the router's from here on.
    pub(crate) fn ended(&self, shared: &Arc<Shared>) {
        let Some(house) = self.0.upgrade() else {
            return;
        };
        let mut table = house.table();
        let locked = shared.lock();
        if let Machine::Server { core, .. } = &locked.machine {
            // A core that panicked may do so again; the others' table stays whole.
            let forget = AssertUnwindSafe(|| table.router.ended(timer::now(), core.id(), core));
            drop(catch_unwind(forget));
        }
        drop(locked);
        let known = table.known.remove(&number_of(shared));
        drop(table);
        house.left.notify_all();
        // Perhaps the last that kept the front.
        drop(known);
    }
}

/// What a session's tickets begin with. It differs among sessions that are there at the same time.
fn number_of(shared: &Shared) -> u32 {
    u32::try_from(shared.key() & u64::from(u32::MAX)).expect("32 bits")
}

fn closed() -> io::Error {
    io::Error::new(ErrorKind::NotConnected, "the listener is closed")
}

/// What a client takes for a lost exchange.
pub(crate) fn unavailable() -> Reply {
    Reply {
        status: 503,
        exchange: None,
        body: Chain::default(),
    }
}

impl From<Reject> for Reply {
    fn from(reject: Reject) -> Reply {
        Reply {
            status: 200,
            exchange: Some(reject.exchange()),
            body: reject.body(),
        }
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler")
            .field("sessions", &self.sessions())
            .finish_non_exhaustive()
    }
}
