//! A service that echoes, holds or floods, behind a front on threads.
#![allow(dead_code, unreachable_pub)]

#[path = "../front_client/mod.rs"]
pub mod client;

use bytes::Bytes;
pub use client::*;
pub use posthole_blocking::front::{Limits, OwnFront};
use posthole_blocking::front::{Reply, Responder, Service, Ticket};
use posthole_blocking::{ListenOptions, Listener};
use posthole_protocol::wire::Chain;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Answer with the same bytes from inside `begin`.
    Echo,
    /// Keep until `answer_all` or `drop_all`.
    Hold,
    /// Answer with so many bytes from inside `begin`.
    Large(usize),
    /// Keep bodies that begin with `h`, echo the others.
    Either,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    Begun(Ticket),
    Answered,
    Gone(Ticket),
}

impl Seen {
    pub fn number(self) -> Option<u64> {
        match self {
            Seen::Begun(ticket) | Seen::Gone(ticket) => Some(ticket.0),
            Seen::Answered => None,
        }
    }
}

type Held = (u64, Bytes, Box<dyn Responder>);

pub struct Dummy {
    mode: Mode,
    begun: AtomicU64,
    gone: AtomicU64,
    held: Mutex<Vec<Held>>,
    tell: Mutex<Sender<Seen>>,
    seen: Mutex<Receiver<Seen>>,
}

impl Dummy {
    pub fn new(mode: Mode) -> Arc<Dummy> {
        let (tell, seen) = channel();
        Arc::new(Dummy {
            mode,
            begun: AtomicU64::new(0),
            gone: AtomicU64::new(0),
            held: Mutex::default(),
            tell: Mutex::new(tell),
            seen: Mutex::new(seen),
        })
    }

    pub fn start(mode: Mode, limits: Limits) -> (OwnFront, Arc<Dummy>) {
        Dummy::start_on(TcpListener::bind("127.0.0.1:0").unwrap(), mode, limits)
    }

    pub fn start_on(listener: TcpListener, mode: Mode, limits: Limits) -> (OwnFront, Arc<Dummy>) {
        let dummy = Dummy::new(mode);
        (
            OwnFront::start(listener, "/p".into(), limits, dummy.clone()).unwrap(),
            dummy,
        )
    }

    pub fn begun(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }

    pub fn gone(&self) -> u64 {
        self.gone.load(Ordering::SeqCst)
    }

    /// The next thing seen that `is` is true of.
    pub fn wait(&self, is: impl Fn(Seen) -> bool) -> Seen {
        let seen = self.seen.lock().unwrap();
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
        let held = std::mem::take(&mut *self.held.lock().unwrap());
        for (number, body, responder) in held {
            responder.respond(reply(number, body));
        }
    }

    pub fn drop_all(&self) {
        self.held.lock().unwrap().clear();
    }

    fn tell(&self, seen: Seen) {
        let _ = self.tell.lock().unwrap().send(seen);
    }
}

fn reply(number: u64, body: Bytes) -> Reply {
    Reply {
        status: 200,
        exchange: Some(number),
        body: Chain::from(body),
    }
}

impl Service for Dummy {
    fn begin(&self, body: Bytes, responder: Box<dyn Responder>) -> Ticket {
        let number = self.begun.fetch_add(1, Ordering::SeqCst);
        let mode = match self.mode {
            Mode::Either if body.first() == Some(&b'h') => Mode::Hold,
            mode @ (Mode::Either | Mode::Echo | Mode::Hold | Mode::Large(_)) => mode,
        };
        match mode {
            Mode::Echo | Mode::Either => responder.respond(reply(number, body)),
            Mode::Hold => self.held.lock().unwrap().push((number, body, responder)),
            Mode::Large(size) => {
                responder.respond(reply(number, vec![9; size].into()));
                self.tell(Seen::Answered);
            }
        }
        self.tell(Seen::Begun(Ticket(number)));
        Ticket(number)
    }

    fn hangup(&self, ticket: Ticket) {
        self.gone.fetch_add(1, Ordering::SeqCst);
        self.tell(Seen::Gone(ticket));
    }
}

pub fn connect(front: &OwnFront) -> TcpStream {
    connect_to(front.local_addr())
}

pub fn stop(front: OwnFront, grace: Duration) {
    front.stop(grace);
}

/// A listener that takes direct connections; where.
pub fn start_direct() -> (Listener, SocketAddr) {
    let listener = Listener::bind("127.0.0.1:0", ListenOptions::new()).unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    listener.serve_direct(socket).unwrap();
    (listener, addr)
}
