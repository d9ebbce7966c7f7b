//! Sessions and listeners end: everybody hears of it, once and for all.

use crate::conformance::pair::{Pair, anywhere, connect};
use crate::conformance::runtime::{Dial, Listener, Runtime, Session, Stream, ended};
use crate::conformance::talk::{receiving, send};
use crate::conformance::world::{World, spawn, until};
use posthole_protocol::{CloseReason, Config};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

/// Far more than any end takes.
const GRACE: Duration = Duration::from_secs(60);

fn assert_ended(error: &io::Error) {
    assert!(
        matches!(
            error.kind(),
            ErrorKind::NotConnected | ErrorKind::ConnectionAborted
        ),
        "{error}"
    );
}

pub fn closing_delivers_what_was_written_and_tells_the_peer<W: World>() {
    fn close<W: World, A: Session, B: Session>(
        (closes, writes): (A, A::Stream),
        (other, reads): (B, B::Stream),
    ) {
        let reader = receiving::<W>(&reads, 4, 300_000);
        send(&writes, 4, 300_000);
        closes.close().unwrap();
        assert_eq!(closes.closed(), Some(CloseReason::Local));
        reader.join();
        let reason = other.wait_closed();
        assert!(
            matches!(reason, CloseReason::Peer { code: 0, .. }),
            "{reason}"
        );
        // Once more is no error.
        closes.close().unwrap();
        assert_eq!(other.closed(), Some(reason));
        for error in [closes.open().err(), closes.accept().err()] {
            assert_ended(&error.unwrap());
        }
        for error in [other.open().err(), other.accept().err()] {
            assert_ended(&error.unwrap());
        }
        let error = writes.write(b"x").unwrap_err();
        assert!(
            matches!(
                error.kind(),
                ErrorKind::NotConnected | ErrorKind::BrokenPipe
            ),
            "{error}"
        );
        assert_eq!(writes.finish().unwrap_err().kind(), ErrorKind::NotConnected);
    }
    let pair = Pair::<W>::new();
    let (near, far) = pair.stream();
    close::<W, _, _>((pair.client, near), (pair.server, far));
    let pair = Pair::<W>::new();
    let (near, far) = pair.stream();
    close::<W, _, _>((pair.server, far), (pair.client, near));
}

pub fn both_sides_may_close_at_once<W: World>() {
    for _ in 0..10 {
        let pair = Pair::<W>::new();
        let (near, _far) = pair.stream();
        near.write_all(&[0; 1000]).unwrap();
        let client = pair.client.clone();
        let closing = spawn::<W, _>(move || client.close());
        pair.server.close().unwrap();
        closing.join().unwrap();
        assert!(pair.client.closed().unwrap().is_clean());
        assert!(pair.server.closed().unwrap().is_clean());
    }
}

pub fn an_ended_session_says_how<W: World>() {
    fn aborted<W: World, A: Session, B: Session>(
        (aborts, near): (A, A::Stream),
        (other, far): (B, B::Stream),
    ) {
        let waits = aborts.clone();
        let accepting = spawn::<W, _>(move || waits.accept().err().unwrap());
        aborts.abort();
        assert_eq!(aborts.closed(), Some(CloseReason::Aborted));
        let errors = [
            near.read(&mut [0; 8]).unwrap_err(),
            near.write(b"x").unwrap_err(),
            aborts.open().err().unwrap(),
            aborts.close().unwrap_err(),
            accepting.join(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::NotConnected, "{error}");
            assert_eq!(ended(&error), Some(CloseReason::Aborted), "{error}");
        }
        // Unless it has found out by itself.
        other.abort();
        assert_ended(&far.read(&mut [0; 8]).unwrap_err());
    }
    let pair = Pair::<W>::new();
    let (near, far) = pair.stream();
    aborted::<W, _, _>((pair.client, near), (pair.server, far));
    let pair = Pair::<W>::new();
    let (near, far) = pair.stream();
    aborted::<W, _, _>((pair.server, far), (pair.client, near));
}

/// Whoever waits for anything of a session that ends is woken.
pub fn an_end_wakes_all_who_wait<W: World>() {
    fn waiters<W: World, A: Session>(session: A, stream: A::Stream) {
        let full = session.clone();
        let opening = spawn::<W, _>(move || {
            // The peer allows 16, and takes none.
            let mut open = Vec::new();
            loop {
                match full.open() {
                    Ok(stream) => {
                        let _ = stream.write(b"x");
                        open.push(stream);
                    }
                    Err(error) => return error.kind(),
                }
            }
        });
        let accepts = session.clone();
        let accepting = spawn::<W, _>(move || accepts.accept().err().unwrap().kind());
        let reads = stream.clone();
        let reading = spawn::<W, _>(move || reads.read(&mut [0; 8]).unwrap_err().kind());
        let writing = spawn::<W, _>(move || {
            loop {
                if let Err(error) = stream.write(&[0; 65536]) {
                    return error.kind();
                }
            }
        });
        let waits = session.clone();
        let waiting = spawn::<W, _>(move || waits.wait_closed());
        W::pause(Duration::from_millis(20));
        session.abort();
        for task in [opening, accepting, reading, writing] {
            assert_eq!(task.join(), ErrorKind::NotConnected);
        }
        assert_eq!(waiting.join(), CloseReason::Aborted);
    }
    let config = Config::builder().streams(16).build().unwrap();
    let pair = Pair::<W>::with(config.clone(), config.clone());
    let (near, _far) = pair.stream();
    waiters::<W, _>(pair.client.clone(), near);
    let pair = Pair::<W>::with(config.clone(), config);
    let (_near, far) = pair.stream();
    waiters::<W, _>(pair.server.clone(), far);
}

pub fn a_closed_listener_ends_its_sessions<W: World>() {
    let pair = Pair::<W>::new();
    let (near, far) = pair.stream();
    far.write_all(b"last words").unwrap();
    far.finish().unwrap();
    let addr = pair.listener.addr();
    let listener = Arc::new(pair.listener);
    let accepting = {
        let listener = listener.clone();
        spawn::<W, _>(move || listener.accept().err().unwrap().kind())
    };
    listener.close(GRACE);
    assert_eq!(accepting.join(), ErrorKind::NotConnected);
    let reason = pair.client.wait_closed();
    assert!(
        matches!(reason, CloseReason::Peer { code: 0, .. }),
        "{reason}"
    );
    assert_eq!(near.read_to_end().unwrap(), b"last words");
    assert_eq!(listener.sessions(), 0);
    assert!(W::is_free(addr));
    // Once more is no harm.
    listener.close(GRACE);
}

/// With no grace, sessions are aborted; their clients find out by themselves.
pub fn a_listener_closed_at_once_waits_for_nobody<W: World>() {
    let pair = Pair::<W>::new();
    let (_near, far) = pair.stream();
    pair.listener.close(Duration::ZERO);
    assert_eq!(
        far.read(&mut [0; 8]).unwrap_err().kind(),
        ErrorKind::NotConnected
    );
    let reason = pair.server.wait_closed();
    assert!(
        matches!(reason, CloseReason::Aborted | CloseReason::Local),
        "{reason}"
    );
}

pub fn a_server_that_was_restarted_ends_its_old_sessions<W: World>() {
    let place = W::place();
    let first = W::Server::bind(place.addr, Config::default()).unwrap();
    let client = connect::<W>(place.addr, Dial::default()).unwrap();
    let stream = client.open().unwrap();
    stream.write_all(b"x").unwrap();
    let server = first.accept().unwrap();
    server.abort();
    first.close(Duration::ZERO);
    drop((first, server));
    until::<W>(|| W::is_free(place.addr));
    let _second = W::Server::bind(place.addr, Config::default()).unwrap();
    assert_eq!(client.wait_closed(), CloseReason::Gone);
    let error = stream.read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    assert!(error.to_string().contains("restarted"), "{error}");
}

pub fn a_session_counts_what_it_does<W: World>() {
    let pair = Pair::<W>::new();
    let (near, far) = pair.stream();
    near.write_all(&[1; 100_000]).unwrap();
    far.read_exact(&mut [0; 100_000]).unwrap();
    let (client, server) = (pair.client.stats(), pair.server.stats());
    assert!(
        client.exchanges >= 2 && client.bytes_out >= 100_000,
        "{client:?}"
    );
    assert!(
        server.exchanges >= 2 && server.bytes_in >= 100_000,
        "{server:?}"
    );
    assert_eq!(client.last_trouble, None);
}

pub fn a_listener_is_where_it_says<W: World>() {
    let listener = W::Server::bind(anywhere(), Config::default()).unwrap();
    let addr = listener.addr();
    assert!(addr.port() > 0 && addr.ip() == anywhere().ip(), "{addr}");
    assert_eq!(listener.sessions(), 0);
    let client = connect::<W>(addr, Dial::default()).unwrap();
    assert!(client.is_connected());
    assert_eq!((listener.sessions(), client.closed()), (1, None));
}
