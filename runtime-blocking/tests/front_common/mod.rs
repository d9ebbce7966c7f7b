//! A service that echoes, holds or floods, and a client that is nothing but a socket.
#![allow(dead_code, unreachable_pub)]

use bytes::Bytes;
use posthole_blocking::front::{Limits, OwnFront, Reply, Responder, Service, Ticket};
use posthole_protocol::wire::Chain;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Far beyond what anything here takes: a test that waits as long has failed.
pub const LONG: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Answer with the same bytes from inside `begin`.
    Echo,
    /// Keep until `answer_all` or `drop_all`.
    Hold,
    /// Answer with so many bytes from inside `begin`.
    Large(usize),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    Begun(Ticket),
    Answered,
    Gone(Ticket),
}

impl Seen {
    pub fn ticket(self) -> Option<Ticket> {
        match self {
            Seen::Begun(ticket) | Seen::Gone(ticket) => Some(ticket),
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
        let dummy = Dummy::new(mode);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
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
        match self.mode {
            Mode::Echo => responder.respond(reply(number, body)),
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

pub fn connect_to(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.set_write_timeout(Some(LONG)).unwrap();
    stream
}

pub fn post(stream: &mut TcpStream, body: &[u8]) {
    let head = format!(
        "POST /p?tag=1 HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
}

pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Reads one answer with a length.
pub fn read_reply(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a head comes");
        bytes.push(byte[0]);
    }
    let text = String::from_utf8(bytes.clone()).unwrap();
    let headers: Vec<_> = text
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut answer = Answer {
        status: status(&bytes),
        headers,
        body: Vec::new(),
    };
    answer.body = vec![0; answer.header("content-length").unwrap().parse().unwrap()];
    stream.read_exact(&mut answer.body).unwrap();
    answer
}

/// All that comes before the end; a reset is an end.
pub fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => {
            panic!("neither end nor answer: {error}")
        }
        _ => bytes,
    }
}

pub fn status(answer: &[u8]) -> u16 {
    std::str::from_utf8(answer.get(9..12).unwrap_or(b"0"))
        .unwrap()
        .parse()
        .unwrap()
}

/// Tries until it is true.
pub fn until(mut is: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < LONG, "it never came true");
        std::thread::yield_now();
    }
}
