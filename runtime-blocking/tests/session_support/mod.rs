//! A client and a server on loopback, and bounds for tests that would hang.
#![allow(dead_code, unreachable_pub)]

use posthole_blocking::carrier::ProxyChoice;
use posthole_blocking::{ListenOptions, Listener, Options, Session, Stream, connect};
use std::io::{Read, Write};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// How long any test may take: far more than it needs.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs a test that fails instead of hanging.
pub fn bounded(test: impl FnOnce() + Send + 'static) {
    let (done, ended) = channel();
    let runs = thread::spawn(move || {
        test();
        let _ = done.send(());
    });
    match ended.recv_timeout(LIMIT) {
        Err(RecvTimeoutError::Timeout) => panic!("still not done after {LIMIT:?}"),
        // A sender that was dropped is a test that panicked.
        Ok(()) | Err(RecvTimeoutError::Disconnected) => {
            if let Err(panic) = runs.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

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

/// Bytes that are different everywhere, so that a piece at a wrong place is seen.
pub fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mut x = seed | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        x = x
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        bytes.extend_from_slice(&(x >> 11).to_le_bytes()[..6]);
    }
    bytes.truncate(length);
    bytes
}

/// Compares without printing megabytes.
pub fn assert_same(got: &[u8], wanted: &[u8]) {
    assert_eq!(got.len(), wanted.len(), "lengths");
    if let Some(at) = got.iter().zip(wanted).position(|(a, b)| a != b) {
        panic!("different from byte {at} on");
    }
}
