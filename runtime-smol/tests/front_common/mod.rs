//! A service that echoes, holds or floods, behind a front on tasks.
#![allow(dead_code, unreachable_pub)]

#[path = "../../../runtime-blocking/tests/front_client/mod.rs"]
pub mod client;

use bytes::Bytes;
pub use client::*;
use posthole_protocol::wire::Chain;
pub use posthole_smol::front::{Limits, OwnFront};
use posthole_smol::front::{Reply, Service};
use posthole_smol::{ListenOptions, Listener};
use smol::channel::bounded;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Answer with the same bytes at once.
    Echo,
    /// Keep until `answer_all` or `drop_all`.
    Hold,
    /// Answer with so many bytes at once.
    Large(usize),
    /// Keep bodies that begin with `h`, echo the others.
    Either,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    Begun(u64),
    /// Dropped before there was a reply.
    Gone(u64),
}

impl Seen {
    pub fn number(self) -> Option<u64> {
        match self {
            Seen::Begun(number) | Seen::Gone(number) => Some(number),
        }
    }
}

#[derive(Clone)]
pub struct Dummy(Arc<Inner>);

struct Inner {
    mode: Mode,
    begun: AtomicU64,
    gone: AtomicU64,
    held: Mutex<Vec<(Reply, smol::channel::Sender<Reply>)>>,
    tell: Mutex<Sender<Seen>>,
    seen: Mutex<Receiver<Seen>>,
}

impl Dummy {
    pub fn new(mode: Mode) -> Dummy {
        let (tell, seen) = channel();
        Dummy(Arc::new(Inner {
            mode,
            begun: AtomicU64::new(0),
            gone: AtomicU64::new(0),
            held: Mutex::default(),
            tell: Mutex::new(tell),
            seen: Mutex::new(seen),
        }))
    }

    pub fn start(mode: Mode, limits: Limits) -> (OwnFront, Dummy) {
        Dummy::start_on(TcpListener::bind("127.0.0.1:0").unwrap(), mode, limits)
    }

    pub fn start_on(listener: TcpListener, mode: Mode, limits: Limits) -> (OwnFront, Dummy) {
        let dummy = Dummy::new(mode);
        (
            OwnFront::start(listener, "/p".into(), limits, dummy.clone()).unwrap(),
            dummy,
        )
    }

    pub fn begun(&self) -> u64 {
        self.0.begun.load(Ordering::SeqCst)
    }

    pub fn gone(&self) -> u64 {
        self.0.gone.load(Ordering::SeqCst)
    }

    /// The next thing seen that `is` is true of.
    pub fn wait(&self, is: impl Fn(Seen) -> bool) -> Seen {
        let seen = self.0.seen.lock().unwrap();
        loop {
            let next = seen
                .recv_timeout(LONG)
                .expect("the front has told the service in time");
            if is(next) {
                return next;
            }
        }
    }

    pub fn answer_all(&self) {
        let held = std::mem::take(&mut *self.0.held.lock().unwrap());
        for (reply, to) in held {
            // Who has gone gets none.
            let _ = to.try_send(reply);
        }
    }

    pub fn drop_all(&self) {
        self.0.held.lock().unwrap().clear();
    }

    fn tell(&self, seen: Seen) {
        let _ = self.0.tell.lock().unwrap().send(seen);
    }
}

pub fn reply(number: u64, body: Bytes) -> Reply {
    Reply {
        status: 200,
        exchange: Some(number),
        body: Chain::from(body),
    }
}

impl Service for Dummy {
    type Pending = Pin<Box<dyn Future<Output = Option<Reply>> + Send>>;

    fn begin(&self, body: Bytes) -> Self::Pending {
        let number = self.0.begun.fetch_add(1, Ordering::SeqCst);
        let mode = match self.0.mode {
            Mode::Either if body.first() == Some(&b'h') => Mode::Hold,
            mode @ (Mode::Either | Mode::Echo | Mode::Hold | Mode::Large(_)) => mode,
        };
        let pending: Self::Pending = match mode {
            Mode::Echo | Mode::Either => Box::pin(std::future::ready(Some(reply(number, body)))),
            Mode::Large(size) => Box::pin(std::future::ready(Some(reply(
                number,
                vec![9; size].into(),
            )))),
            Mode::Hold => {
                let (to, from) = bounded(1);
                self.0.held.lock().unwrap().push((reply(number, body), to));
                let held = Held(self.clone(), Some(number));
                Box::pin(async move {
                    // The whole of it, not the one field that is set below.
                    let mut held = held;
                    let reply = from.recv().await.ok()?;
                    held.1 = None;
                    Some(reply)
                })
            }
        };
        self.tell(Seen::Begun(number));
        pending
    }
}

/// Notices that it is dropped.
struct Held(Dummy, Option<u64>);

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(number) = self.1 {
            self.0.0.gone.fetch_add(1, Ordering::SeqCst);
            self.0.tell(Seen::Gone(number));
        }
    }
}

pub fn connect(front: &OwnFront) -> TcpStream {
    connect_to(front.local_addr())
}

pub fn stop(front: OwnFront, grace: Duration) {
    smol::block_on(front.stop(grace));
}

/// A listener that takes direct connections; where.
pub fn start_direct() -> (Listener, SocketAddr) {
    let listener = smol::block_on(Listener::bind("127.0.0.1:0", ListenOptions::new())).unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    listener.serve_direct(socket).unwrap();
    (listener, addr)
}
