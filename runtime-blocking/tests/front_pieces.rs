//! Replies in pieces, of which some are larger than the socket takes at once: what comes while a helper writes.
#![allow(clippy::unwrap_used)]

mod front_common;
mod session_support;

use bytes::Bytes;
use front_common::{LONG, Limits, OwnFront, connect, post, read_reply, read_to_end};
use posthole_blocking::front::{Pieces, Reply, Responder, Service, Ticket};
use posthole_blocking::{Handler, ListenOptions};
use posthole_protocol::wire::Chain;
use posthole_protocol::{Carrier, Config};
use posthole_tests::bounded::bounded;
use session_support::options;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

/// More than the buffers of two sockets hold.
const LARGE: usize = 20_000_000;

/// Hands each request to the test.
struct Hands {
    begun: Mutex<Sender<Box<dyn Responder>>>,
    gone: Mutex<Sender<Ticket>>,
}

impl Service for Hands {
    fn begin(&self, _: Bytes, responder: Box<dyn Responder>) -> Ticket {
        self.begun.lock().unwrap().send(responder).unwrap();
        Ticket(7)
    }

    fn hangup(&self, ticket: Ticket) {
        self.gone.lock().unwrap().send(ticket).unwrap();
    }
}

/// A front, what was begun there, and what is gone.
struct Handed {
    front: OwnFront,
    begun: Receiver<Box<dyn Responder>>,
    gone: Receiver<Ticket>,
}

impl Handed {
    fn start() -> Handed {
        let (begin, begun) = channel();
        let (go, gone) = channel();
        let service = Arc::new(Hands {
            begun: Mutex::new(begin),
            gone: Mutex::new(go),
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let front = OwnFront::start(listener, "/p".into(), Limits::default(), service).unwrap();
        Handed { front, begun, gone }
    }

    /// A request came: who answers it, at once or in pieces.
    fn request(&self) -> (Box<dyn Responder>, Arc<dyn Pieces>) {
        let responder = self.begun.recv_timeout(LONG).unwrap();
        assert!(responder.streams());
        let pieces = responder.pieces().unwrap();
        (responder, pieces)
    }
}

/// A piece of so many bytes. Whether it was written at once, and what tells when it has been later.
fn piece(to: &Arc<dyn Pieces>, length: usize) -> (bool, Receiver<()>) {
    let (tell, written) = channel();
    let then = Box::new(move || tell.send(()).unwrap());
    let at_once = to.clone().piece(3, bytes(length), then);
    (at_once, written)
}

fn bytes(length: usize) -> Chain {
    Chain::from(Bytes::from(vec![9; length]))
}

fn end(length: usize) -> Reply {
    Reply {
        status: 200,
        exchange: Some(3),
        body: bytes(length),
    }
}

fn head(stream: &mut TcpStream) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push_str(&line(stream));
    }
    head
}

fn line(stream: &mut TcpStream) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

/// Reads a chunk; its length, of which the last one's is 0.
fn chunk(stream: &mut TcpStream) -> usize {
    let length = usize::from_str_radix(line(stream).trim_end(), 16).unwrap();
    let mut data = vec![0; length];
    stream.read_exact(&mut data).unwrap();
    assert!(data.iter().all(|byte| *byte == 9));
    assert_eq!(line(stream), "\r\n");
    length
}

#[test]
fn pieces_come_one_after_another_and_the_connection_goes_on() {
    let handed = Handed::start();
    let mut stream = connect(&handed.front);
    for _ in 0..2 {
        post(&mut stream, b"x");
        let (responder, pieces) = handed.request();
        assert!(piece(&pieces, 5).0);
        let (at_once, written) = piece(&pieces, LARGE);
        assert!(!at_once);
        let head = head(&mut stream);
        assert!(head.contains("Posthole-Exchange: 3\r\n"), "{head}");
        assert_eq!([chunk(&mut stream), chunk(&mut stream)], [5, LARGE]);
        written.recv_timeout(LONG).expect("it is told");
        assert!(piece(&pieces, 7).0);
        responder.respond(end(2));
        let left = [(); 3].map(|()| chunk(&mut stream));
        assert_eq!(left, [7, 2, 0]);
    }
    // One that is not in pieces has a head of its own.
    post(&mut stream, b"x");
    handed.request().0.respond(end(4));
    assert_eq!(read_reply(&mut stream).body, [9; 4]);
}

/// A session that ends has its last word while the one before is still being written.
#[test]
fn an_end_that_comes_while_a_piece_is_written_comes_after_it() {
    let handed = Handed::start();
    let mut stream = connect(&handed.front);
    post(&mut stream, b"x");
    let (responder, pieces) = handed.request();
    assert!(!piece(&pieces, LARGE).0);
    responder.respond(end(2));
    head(&mut stream);
    let all = [(); 3].map(|()| chunk(&mut stream));
    assert_eq!(all, [LARGE, 2, 0]);
    post(&mut stream, b"x");
    handed.request();
}

#[test]
fn what_is_given_up_while_a_piece_is_written_is_cut_after_it() {
    let handed = Handed::start();
    let mut stream = connect(&handed.front);
    post(&mut stream, b"x");
    let (responder, pieces) = handed.request();
    assert!(!piece(&pieces, LARGE).0);
    drop(responder);
    head(&mut stream);
    assert_eq!(chunk(&mut stream), LARGE);
    assert_eq!(read_to_end(&mut stream), b"", "no end that looks like one");
    assert_eq!(handed.gone.recv_timeout(LONG).unwrap(), Ticket(7));
}

#[test]
fn a_client_that_closes_its_side_while_a_piece_is_written_is_noticed_after_it() {
    let handed = Handed::start();
    let mut stream = connect(&handed.front);
    post(&mut stream, b"x");
    let (_responder, pieces) = handed.request();
    assert!(!piece(&pieces, LARGE).0);
    stream.shutdown(Shutdown::Write).unwrap();
    head(&mut stream);
    assert_eq!(chunk(&mut stream), LARGE);
    assert_eq!(handed.gone.recv_timeout(LONG).unwrap(), Ticket(7));
    assert_eq!(read_to_end(&mut stream), b"");
}

/// Who knows no chunks is told the end by the connection's.
#[test]
fn pieces_to_http_1_0_end_with_the_connection() {
    let handed = Handed::start();
    let mut stream = connect(&handed.front);
    let request = b"POST /p HTTP/1.0\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\nx";
    stream.write_all(request).unwrap();
    let (responder, pieces) = handed.request();
    assert!(piece(&pieces, 5).0);
    responder.respond(end(2));
    let head = head(&mut stream).to_lowercase();
    assert!(
        head.contains("connection: close\r\n") && !head.contains("chunked"),
        "{head}"
    );
    assert_eq!(read_to_end(&mut stream), [9; 7]);
}

/// A handler behind a front that knows whole answers only, and whether one was to be in pieces.
struct Whole(Handler, Arc<AtomicBool>);

struct WholeAnswer(Box<dyn Responder>, Arc<AtomicBool>);

impl Service for Whole {
    fn begin(&self, body: Bytes, responder: Box<dyn Responder>) -> Ticket {
        let answer = WholeAnswer(responder, self.1.clone());
        self.0.begin(body, Box::new(answer))
    }

    fn hangup(&self, ticket: Ticket) {
        self.0.hangup(ticket);
    }
}

impl Responder for WholeAnswer {
    fn respond(self: Box<Self>, reply: Reply) {
        self.0.respond(reply);
    }

    fn pieces(&self) -> Option<Arc<dyn Pieces>> {
        self.1.store(true, Ordering::SeqCst);
        None
    }
}

#[test]
fn a_front_that_knows_no_pieces_is_given_none() {
    bounded(|| {
        let handler = Handler::new(ListenOptions::new()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let is_asked = Arc::new(AtomicBool::new(false));
        let service = Arc::new(Whole(handler.clone(), is_asked.clone()));
        let front = OwnFront::start(listener, "/p".into(), Limits::default(), service).unwrap();
        let url = format!("http://{}/p", front.local_addr());
        let wants = Config::builder()
            .carrier(Carrier::Streamed)
            .build()
            .unwrap();
        let client = posthole_blocking::connect(&url, options().config(wants)).unwrap();
        let mut far = handler.accept().unwrap().open().unwrap();
        far.write_all(&vec![1; 8 << 20]).unwrap();
        drop(far);
        let mut all = Vec::new();
        client.accept().unwrap().read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), 8 << 20);
        assert!(!is_asked.load(Ordering::SeqCst));
        client.abort();
    });
}
