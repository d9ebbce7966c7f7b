//! A client and a server on loopback.
#![allow(dead_code, unreachable_pub)]

use posthole_blocking::carrier::ProxyChoice;
use posthole_blocking::{ListenOptions, Listener, Options, Session, Stream, connect};
use std::io::{Read, Write};

pub fn options() -> Options {
    Options::new().proxy(ProxyChoice::None)
}

pub fn listener() -> Listener {
    Listener::bind("127.0.0.1:0", ListenOptions::new()).unwrap()
}

pub fn url(listener: &Listener) -> String {
    format!("http://{}/", listener.local_addr().unwrap())
}

/// A session, by its two ends.
pub struct Pair {
    pub client: Session,
    pub server: Session,
    pub listener: Listener,
}

pub fn pair() -> Pair {
    let listener = listener();
    let client = connect(&url(&listener), options()).unwrap();
    let server = listener.accept().unwrap();
    Pair {
        client,
        server,
        listener,
    }
}

/// A stream, by its two ends; the first is the client's, who opened it with one byte.
pub fn streams(pair: &Pair) -> (Stream, Stream) {
    let mut near = pair.client.open().unwrap();
    near.write_all(b"!").unwrap();
    let mut far = pair.server.accept().unwrap();
    let mut first = [0];
    far.read_exact(&mut first).unwrap();
    assert_eq!(first, *b"!");
    (near, far)
}
