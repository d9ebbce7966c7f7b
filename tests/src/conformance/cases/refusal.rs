//! Sessions that don't come to be, or not at once.

use crate::conformance::pair::{connect, listener};
use crate::conformance::runtime::{Dial, Listener, Runtime, Session, Stream};
use crate::conformance::world::{World, spawn, until};
use posthole_protocol::Config;
use std::io::ErrorKind;
use std::time::Duration;

pub fn a_server_that_is_not_there_is_named<W: World>() {
    let place = W::place();
    let how = Dial {
        timeout: Duration::from_millis(300),
        ..Dial::default()
    };
    let error = connect::<W>(place.addr, how).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let words = error.to_string();
    assert!(words.contains(W::REFUSED), "{words}");
}

pub fn what_makes_no_sense_is_said_at_once<W: World>() {
    let proxy = Dial {
        proxy: Some("socks9://x".into()),
        ..Dial::default()
    };
    let header = Dial {
        headers: vec![("Content-Length".into(), "5".into())],
        ..Dial::default()
    };
    for (url, how) in [
        ("ftp://127.0.0.1/", Dial::default()),
        ("http://", Dial::default()),
        ("http://127.0.0.1/", proxy),
        ("http://127.0.0.1/", header),
    ] {
        let error = W::Client::connect(url, how).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{url}: {error}");
    }
}

pub fn an_address_that_is_taken_is_an_error<W: World>() {
    let listener = listener::<W>();
    let taken = W::Server::bind(listener.addr(), Config::default());
    assert_eq!(taken.err().unwrap().kind(), ErrorKind::AddrInUse);
}

pub fn a_session_begins_before_its_server_does<W: World>() {
    let place = W::place();
    let how = Dial {
        waits: false,
        ..Dial::default()
    };
    let client = connect::<W>(place.addr, how).unwrap();
    assert!(!client.is_connected());
    let early = client.clone();
    let writer = spawn::<W, _>(move || {
        let stream = early.open().unwrap();
        stream.write_all(b"was here first").unwrap();
    });
    until::<W>(|| client.stats().lost > 0);
    let trouble = client.stats().last_trouble.unwrap();
    assert!(trouble.contains(W::REFUSED), "{trouble}");
    let listener = W::Server::bind(place.addr, Config::default()).unwrap();
    let server = listener.accept().unwrap();
    let stream = server.accept().unwrap();
    assert_eq!(stream.read_to_end().unwrap(), b"was here first");
    writer.join();
    until::<W>(|| client.is_connected());
}
