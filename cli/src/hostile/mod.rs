//! A forward proxy that lets only HTTP through and does harm to some of it: for `demo` and for tests.
//!
//! It takes `POST http://host:port/path` (absolute-form, as a client sends it to its proxy) and passes it to that host on
//! a connection of its own; with [`Upstream::Fixed`] it is a reverse proxy for one server. Bodies have a
//! Content-Length and are taken whole, as most boxes do. CONNECT gets 403, everything else than POST 405. One thread
//! per connection; a thread that waits for the server doesn't notice that its client has left, as with most boxes.
//!
//! ```
//! use posthole::hostile::{Fault, Faults, Hostile, Upstream};
//!
//! let proxy = Hostile::start(7, Faults::only(Fault::Cut, 10.0), Upstream::AsAsked)?;
//! println!("a proxy at {} that cuts every tenth answer", proxy.url());
//! assert_eq!(proxy.counts().exchanges, 0);
//! # Ok::<(), std::io::Error>(())
//! ```

mod faults;
mod http;
mod relay;

use std::collections::HashMap;
use std::io::{self, BufReader};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::SockRef;

pub use faults::{Fault, Faults};
use http::{Kind, Message, Start};
use relay::Relay;

use crate::threads::copy::STACK;

/// The longest silence.
const SILENCE: Duration = Duration::from_secs(3600);
/// Connections at once; one more is closed.
const CONNECTIONS: usize = 512;

/// Where requests are passed on to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// To the host that the request's absolute-form names: a forward proxy.
    AsAsked,
    /// To this one, whatever is asked for: a reverse proxy.
    Fixed(SocketAddr),
}

/// What has passed so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that were read whole.
    pub exchanges: u64,
    /// How often each fault of [`Fault::ALL`] was done.
    pub faults: [u64; Fault::ALL.len()],
    /// Bytes from clients, heads and all.
    pub up: u64,
    /// Bytes to clients, heads and all.
    pub down: u64,
}

impl Counts {
    /// How many exchanges were harmed.
    pub fn harmed(&self) -> u64 {
        self.faults.iter().sum()
    }
}

/// The running proxy. Dropping it resets its connections and frees its port.
#[derive(Debug)]
pub struct Hostile {
    shared: Arc<Shared>,
    addr: SocketAddr,
    accepting: Option<JoinHandle<()>>,
}

impl Hostile {
    /// Starts one on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// The system gives no port or no thread.
    pub fn start(seed: u64, faults: Faults, upstream: Upstream) -> io::Result<Hostile> {
        Hostile::start_at((Ipv4Addr::LOCALHOST, 0).into(), seed, faults, upstream)
    }

    /// Starts one at this address: that of one before, for instance, which was killed.
    ///
    /// # Errors
    /// The address is taken, or the system gives no thread.
    pub fn start_at(
        addr: SocketAddr,
        seed: u64,
        faults: Faults,
        upstream: Upstream,
    ) -> io::Result<Hostile> {
        let listener = TcpListener::bind(addr)?;
        let addr = listener.local_addr()?;
        let state = State {
            faults,
            counts: Counts::default(),
            connections: HashMap::new(),
            passed: 0,
            silent: false,
            stopped: false,
        };
        let shared = Arc::new(Shared {
            seed,
            upstream,
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let accepting = {
            let shared = Arc::clone(&shared);
            thread::Builder::new()
                .name("hostile".into())
                .spawn(move || accept(&listener, &shared))?
        };
        Ok(Hostile {
            shared,
            addr,
            accepting: Some(accepting),
        })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The same, as a client wants it: `http://127.0.0.1:3128`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// What has passed so far.
    pub fn counts(&self) -> Counts {
        self.shared.lock().counts
    }

    /// Does other harm to the exchanges that come from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.lock().faults = faults;
    }

    /// While silent, nothing passes in either direction and nothing is closed: the path that went dead.
    pub fn set_silent(&self, silent: bool) {
        self.shared.lock().silent = silent;
        self.shared.changed.notify_all();
    }

    /// Resets every connection that clients have open.
    pub fn reset_all(&self) {
        for connection in self.shared.lock().connections.values() {
            reset(connection);
        }
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.changed.notify_all();
        self.reset_all();
        // Wakes the accepting thread, which then sees that it is to stop.
        let _ = TcpStream::connect(self.addr);
        if let Some(thread) = self.accepting.take() {
            let _ = thread.join();
        }
    }
}

/// Both ends see an error; the thread that serves it finds out at its next read or write.
fn reset(connection: &TcpStream) {
    let _ = SockRef::from(connection).set_linger(Some(Duration::ZERO));
    let _ = connection.shutdown(Shutdown::Both);
}

#[derive(Debug)]
struct Shared {
    seed: u64,
    upstream: Upstream,
    state: Mutex<State>,
    /// Whenever `passed`, `silent` or `stopped` changes.
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    faults: Faults,
    counts: Counts,
    /// The clients', by a number of their own.
    connections: HashMap<u64, TcpStream>,
    /// Requests that were passed on.
    passed: u64,
    silent: bool,
    stopped: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Waits until `done`, the end of the proxy, or this time is over.
    fn wait(&self, at_most: Duration, done: impl Fn(&State) -> bool) {
        let until = Instant::now() + at_most;
        let mut state = self.lock();
        while !state.stopped && !done(&state) {
            let Some(left) = until
                .checked_duration_since(Instant::now())
                .filter(|l| !l.is_zero())
            else {
                return;
            };
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(|poisoned| poisoned.into_inner())
                .0;
        }
    }

    /// Waits while the path is silent.
    fn pass(&self) {
        self.wait(SILENCE, |s| !s.silent);
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for number in 0.. {
        let Ok((connection, _)) = listener.accept() else {
            // Descriptors have run out, most likely: some time for others to give theirs back.
            shared.wait(Duration::from_millis(50), |_| false);
            if shared.lock().stopped {
                return;
            } else {
                continue;
            }
        };
        {
            let mut state = shared.lock();
            if state.stopped {
                return;
            }
            if state.connections.len() >= CONNECTIONS {
                continue;
            }
            let Ok(handle) = connection.try_clone() else {
                continue;
            };
            state.connections.insert(number, handle);
        }
        let served = Arc::clone(shared);
        let thread = thread::Builder::new()
            .name("hostile".into())
            .stack_size(STACK)
            .spawn(move || {
                // An error is a connection that is no more, which is what such a connection comes to anyway.
                let _ = serve(&connection, &served);
                served.lock().connections.remove(&number);
            });
        if thread.is_err() {
            shared.lock().connections.remove(&number);
        }
    }
}

fn serve(connection: &TcpStream, shared: &Shared) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(32 * 1024, connection);
    while let Some(request) = http::read(&mut reader, Kind::Request)? {
        if let Some(answer) = refusal(&request) {
            Relay { connection, shared }.answer(&answer, false)?;
            return Ok(());
        }
        let harm = {
            let mut state = shared.lock();
            let number = state.counts.exchanges;
            state.counts.exchanges += 1;
            state.counts.up += request.wire;
            let harm = state.faults.draw(shared.seed, number);
            if let Some(fault) = harm.fault {
                state.counts.faults[fault.index()] += 1;
            }
            harm
        };
        let relay = Relay { connection, shared };
        if !relay.carry(request, harm)? {
            return Ok(());
        }
    }
    Ok(())
}

fn refusal(request: &Message) -> Option<Message> {
    match &request.start {
        Start::Request { method, .. } if method == "POST" => None,
        Start::Request { method, .. } if method == "CONNECT" => Some(http::page(403, "Forbidden")),
        Start::Request { .. } | Start::Response { .. } => {
            Some(http::page(405, "Method Not Allowed"))
        }
    }
}

#[cfg(test)]
mod tests;
