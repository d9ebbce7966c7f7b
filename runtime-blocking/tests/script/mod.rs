//! A server on loopback that does what a closure says, one connection after the other.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each file of tests uses a part of it"
)]

use bytes::Bytes;
use posthole_protocol::wire::{Head, Refusal, refusal};
use posthole_protocol::{
    Config, Instance, Instant, Nonce, RequestId, Route, Router, RouterConfig, Server,
};
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A request as it stood on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The request line.
    pub line: String,
    /// Names as sent.
    pub headers: Vec<(String, String)>,
    /// By its Content-Length.
    pub body: Vec<u8>,
}

impl Request {
    /// The value of the only header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self
            .headers
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, v)| v.as_str());
        assert!(found.next().is_none(), "{name} comes twice");
        value
    }
}

/// One connection.
pub struct Visit {
    /// Which, from 0.
    pub number: usize,
    /// To answer by, and to read what is left to read.
    pub stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Visit {
    /// The head of the next request; `None` at the connection's end.
    pub fn head(&mut self) -> Option<Request> {
        let line = self.line()?;
        let mut headers = Vec::new();
        loop {
            let text = self.line()?;
            if text.is_empty() {
                return Some(Request {
                    line,
                    headers,
                    body: Vec::new(),
                });
            }
            let (name, value) = text.split_once(": ").unwrap();
            headers.push((name.to_owned(), value.to_owned()));
        }
    }

    /// The next request; `None` at the connection's end, wherever that comes.
    pub fn request(&mut self) -> Option<Request> {
        let mut request = self.head()?;
        let length = request
            .header("content-length")
            .map_or(0, |v| v.parse().unwrap());
        request.body = vec![0; length];
        self.reader.read_exact(&mut request.body).ok()?;
        Some(request)
    }

    /// Reads so many bytes and forgets them.
    pub fn skip(&mut self, bytes: usize) {
        let mut some = Read::take(&mut self.reader, bytes as u64);
        let skipped = std::io::copy(&mut some, &mut std::io::sink()).unwrap();
        assert_eq!(skipped, bytes as u64, "the connection's end");
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line.trim_end().to_owned()),
        }
    }
}

/// The server. Ends with the last handle.
pub struct Script<T> {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<Vec<T>>>>,
}

impl<T: Send + 'static> Script<T> {
    /// Serves each connection by this closure, one after the other.
    pub fn new(mut serve: impl FnMut(Visit) -> T + Send + 'static) -> Script<T> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let over = is_over.clone();
        let thread = std::thread::spawn(move || {
            let mut results = Vec::new();
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    break;
                }
                let stream = stream.unwrap();
                stream.set_nodelay(true).unwrap();
                // A script that waits for what never comes fails, and does not hang.
                stream
                    .set_read_timeout(Some(Duration::from_secs(30)))
                    .unwrap();
                let reader = BufReader::new(stream.try_clone().unwrap());
                results.push(serve(Visit {
                    number: results.len(),
                    stream,
                    reader,
                }));
            }
            results
        });
        Script {
            address,
            is_over,
            thread: Mutex::new(Some(thread)),
        }
    }

    /// `http://127.0.0.1:port` and this.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// `127.0.0.1:port`.
    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    /// Ends it, once it is done with what was begun; gives what the closure gave for each connection.
    pub fn join(&self) -> Vec<T> {
        self.is_over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        self.thread.lock().unwrap().take().unwrap().join().unwrap()
    }
}

/// An answer with Content-Length.
pub fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// An answer of ours.
pub fn ours(exchange: u64, body: &[u8]) -> Vec<u8> {
    answer(
        "200 OK",
        &format!("Posthole: 1\r\nPosthole-Exchange: {exchange}\r\n"),
        body,
    )
}

/// What a server answers that speaks other versions only.
pub fn other_versions(request: &Request) -> Vec<u8> {
    let head = Head::peek(&request.body).unwrap();
    let versions = Refusal::Version(2, 3);
    let body = refusal(&head.session.unwrap(), head.exchange, versions);
    ours(head.exchange, &body.into_bytes())
}

/// Takes a connection, and answers nothing until it is closed. By then there must be no other.
pub fn only_connection(listener: &TcpListener) {
    let (mut stream, _) = listener.accept().unwrap();
    let patient = stream.set_read_timeout(Some(Duration::from_secs(30)));
    let end = patient.and_then(|()| std::io::copy(&mut stream, &mut std::io::sink()));
    end.expect("the connection is closed");
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "there is another");
}

/// What a server answers to the body of a client's first request.
pub fn first_answer(body: Vec<u8>) -> Vec<u8> {
    let (now, body) = (Instant::ZERO, Bytes::from(body));
    let mut router: Router<()> = Router::new(RouterConfig::default(), Instance(1), now);
    let Route::Opening { opening, .. } = router.route(now, &body) else {
        panic!("it opens");
    };
    let mut server = Server::new(Config::default(), opening, Nonce(3), now);
    server.feed_request(now, RequestId::new(0), body).unwrap();
    let answer = server.poll_response(now).unwrap().body;
    answer.into_bytes().to_vec()
}

/// A first answer of ours whose length is not told ahead.
pub fn in_chunks(body: &[u8]) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\nPosthole: 1\r\nPosthole-Exchange: 0\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut bytes = head.as_bytes().to_vec();
    for piece in body.chunks(body.len() / 2 + 1) {
        bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        bytes.extend_from_slice(piece);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}
