//! Where a case plays: two runtimes, the path between them, threads and time.

use crate::conformance::runtime::Runtime;
use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Two runtimes and what lies between them.
pub trait World: 'static {
    /// The client's runtime.
    type Client: Runtime;
    /// The server's runtime.
    type Server: Runtime;
    /// What can stand between them and do harm.
    type Path: Path;

    /// What an error says where nobody listens.
    const REFUSED: &'static str;

    /// Plays a case, which fails instead of hanging.
    fn play(case: fn());

    /// An address where a server may listen, and nobody does yet.
    fn place() -> Place;

    /// Whether nothing serves at an address (any more).
    fn is_free(addr: SocketAddr) -> bool;

    /// Puts a path before a server; the client takes it for the server.
    fn path(to: SocketAddr) -> Self::Path;

    /// Starts a thread. What is given back waits for its end.
    fn start(work: Box<dyn FnOnce() + Send>) -> Wait;

    /// Lets others go on for so long. For what has no event to wait for.
    fn pause(time: Duration);
}

/// Waits for a thread's end.
pub type Wait = Box<dyn FnOnce() + Send>;

/// An address that is kept from others while this lives.
pub struct Place {
    /// The address.
    pub addr: SocketAddr,
    keeps: Box<dyn Any + Send>,
}

impl Place {
    /// The address, and what keeps it.
    pub fn new(addr: SocketAddr, keeps: impl Any + Send) -> Place {
        Place {
            addr,
            keeps: Box::new(keeps),
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = &self.keeps;
        f.debug_tuple("Place").field(&self.addr).finish()
    }
}

/// A path that can be made bad. When it is dropped it is gone: what is open is cut, and who comes is refused.
pub trait Path: Send + Sync + 'static {
    /// What can happen to an exchange.
    type Harm: Copy + fmt::Debug + Send + Sync + 'static;

    /// All that can: losses of either half, cuts, flipped bits, errors of boxes, delays, second deliveries.
    const ALL: &'static [Self::Harm];

    /// Where clients find it.
    fn addr(&self) -> SocketAddr;

    /// From now on this happens to so many of a hundred exchanges; each kind is as likely as another.
    fn harm(&self, kinds: &[Self::Harm], percent: u8);

    /// How many exchanges have been harmed.
    fn harmed(&self) -> u64;

    /// While silent, nothing passes and nothing is closed.
    fn set_silent(&self, silent: bool);

    /// Resets all connections.
    fn cut(&self);
}

/// A thread of a case; what it gives is waited for by [`Task::join`].
#[must_use = "its panic is seen by `join` alone"]
pub struct Task<T> {
    wait: Wait,
    gives: Arc<Mutex<Option<thread::Result<T>>>>,
}

impl<T> Task<T> {
    /// Waits for its end. Its panic goes on here.
    pub fn join(self) -> T {
        (self.wait)();
        let gives = self.gives.lock().expect("nobody panics with it").take();
        match gives.expect("a thread that has ended has left this") {
            Ok(gives) => gives,
            Err(panic) => resume_unwind(panic),
        }
    }
}

/// Starts a thread in this world.
pub fn spawn<W: World, T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Task<T> {
    let gives = Arc::new(Mutex::new(None));
    let given = gives.clone();
    let wait = W::start(Box::new(move || {
        let result = catch_unwind(AssertUnwindSafe(work));
        *given.lock().expect("nobody panics with it") = Some(result);
    }));
    Task { wait, gives }
}

/// Waits for the ends of all.
pub fn join_all(tasks: impl IntoIterator<Item = Task<()>>) {
    for task in tasks {
        task.join();
    }
}

/// Waits until it is true.
pub fn until<W: World>(mut is: impl FnMut() -> bool) {
    while !is() {
        W::pause(Duration::from_millis(1));
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").finish_non_exhaustive()
    }
}
