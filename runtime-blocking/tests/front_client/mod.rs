//! A client that is nothing but a socket.
#![allow(dead_code, unreachable_pub)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Far beyond what anything here takes: a test that waits as long has failed.
pub const LONG: Duration = Duration::from_secs(60);

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

/// What has come, at most a little.
pub fn read_some(stream: &mut TcpStream) -> Vec<u8> {
    let mut some = vec![0; 2000];
    let n = stream.read(&mut some).unwrap_or(0);
    some.truncate(n);
    some
}
