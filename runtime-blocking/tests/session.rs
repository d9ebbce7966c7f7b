//! Sessions and listeners begin and end.
#![allow(clippy::unwrap_used)]

mod session_support;

use posthole_blocking::carrier::ProxyChoice;
use posthole_blocking::front::{Limits, OwnFront};
use posthole_blocking::{
    CloseReason, ConnectError, Handler, ListenOptions, Listener, Options, SessionEnded, connect,
};
use session_support::{assert_same, bounded, listener, options, pair, pattern, streams, url};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// An address where nobody listens.
fn nowhere() -> std::net::SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

#[test]
fn a_server_that_is_not_there_is_named() {
    bounded(|| {
        let url = format!("http://{}/", nowhere());
        let quick = options().connect_timeout(Duration::from_millis(300));
        let error = connect(&url, quick).unwrap_err();
        let ConnectError::NoAnswer {
            trouble: Some(trouble),
            ..
        } = &error
        else {
            panic!("{error}")
        };
        assert!(trouble.contains("refused"), "{trouble}");
        assert_eq!(io::Error::from(error).kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn what_makes_no_sense_is_said_at_once() {
    for (url, options) in [
        ("ftp://127.0.0.1/", options()),
        ("http://", options()),
        (
            "http://127.0.0.1/",
            Options::new().proxy(ProxyChoice::Url("socks9://x".into())),
        ),
        ("http://127.0.0.1/", options().header("Content-Length", "5")),
    ] {
        let error = connect(url, options).unwrap_err();
        assert!(matches!(error, ConnectError::Target(_)), "{url}: {error}");
    }
}

#[test]
fn a_session_begins_before_its_server_does() {
    bounded(|| {
        let addr = nowhere();
        let client = connect(&format!("http://{addr}/"), options().wait_for_answer(false)).unwrap();
        assert!(!client.is_connected());
        let early = client.clone();
        let writer = thread::spawn(move || {
            let mut stream = early.open().unwrap();
            stream.write_all(b"was here first").unwrap();
        });
        while client.stats().lost == 0 {
            thread::yield_now();
        }
        assert!(client.stats().last_trouble.unwrap().contains("refused"));
        let listener = Listener::bind(addr, ListenOptions::new()).unwrap();
        let server = listener.accept().unwrap();
        let mut got = String::new();
        server.accept().unwrap().read_to_string(&mut got).unwrap();
        assert_eq!(got, "was here first");
        writer.join().unwrap();
        assert!(client.is_connected());
    });
}

#[test]
fn closing_delivers_what_was_written_and_tells_the_peer() {
    bounded(|| {
        for client_closes in [true, false] {
            let pair = pair();
            let (near, far) = streams(&pair);
            let (closes, other) = if client_closes {
                (&pair.client, &pair.server)
            } else {
                (&pair.server, &pair.client)
            };
            let (mut writes, mut reads) = if client_closes {
                (near, far)
            } else {
                (far, near)
            };
            let data = pattern(4, 300_000);
            writes.write_all(&data).unwrap();
            writes.shutdown(Shutdown::Write).unwrap();
            let reader = thread::spawn(move || {
                let mut got = Vec::new();
                reads.read_to_end(&mut got).map(|_| got)
            });
            closes.close().unwrap();
            assert_eq!(closes.closed(), Some(CloseReason::Local));
            assert_same(&reader.join().unwrap().unwrap(), &data);
            assert!(matches!(
                other.wait_closed(),
                CloseReason::Peer { code: 0, .. }
            ));
            closes.close().unwrap();
            for session in [closes, other] {
                assert!(session.open().is_err());
                assert!(session.accept().is_err());
            }
            let error = writes.write(b"x").unwrap_err();
            assert!(
                matches!(
                    error.kind(),
                    ErrorKind::NotConnected | ErrorKind::BrokenPipe
                ),
                "{error}"
            );
        }
    });
}

#[test]
fn an_ended_session_says_how() {
    bounded(|| {
        let pair = pair();
        let (mut near, mut far) = streams(&pair);
        let waits = pair.client.clone();
        let accepting = thread::spawn(move || waits.accept());
        pair.client.abort();
        let error = near.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        let inner = error.get_ref().unwrap().downcast_ref::<SessionEnded>();
        assert_eq!(inner, Some(&SessionEnded(CloseReason::Aborted)));
        assert_eq!(
            near.write(b"x").unwrap_err().kind(),
            ErrorKind::NotConnected
        );
        assert_eq!(
            accepting.join().unwrap().unwrap_err().kind(),
            ErrorKind::NotConnected
        );
        pair.server.abort();
        assert_eq!(
            far.read(&mut [0; 8]).unwrap_err().kind(),
            ErrorKind::NotConnected
        );
    });
}

#[test]
fn a_closed_listener_ends_its_sessions() {
    bounded(|| {
        let pair = pair();
        let (mut near, mut far) = streams(&pair);
        far.write_all(b"last words").unwrap();
        far.shutdown(Shutdown::Write).unwrap();
        let addr = pair.listener.local_addr().unwrap();
        let listener = Arc::new(pair.listener);
        let accepting = {
            let listener = listener.clone();
            thread::spawn(move || listener.incoming().count())
        };
        listener.close(Duration::from_secs(20));
        assert_eq!(accepting.join().unwrap(), 0);
        assert!(matches!(
            pair.client.wait_closed(),
            CloseReason::Peer { code: 0, .. }
        ));
        let mut got = String::new();
        near.read_to_string(&mut got).unwrap();
        assert_eq!(got, "last words");
        assert_eq!(listener.sessions(), 0);
        TcpListener::bind(addr).unwrap();
    });
}

#[test]
fn a_dropped_listener_leaves_its_sessions_alone() {
    bounded(|| {
        let pair = pair();
        let addr = pair.listener.local_addr().unwrap();
        drop(pair.listener);
        let late = connect(
            &format!("http://{addr}/"),
            options().connect_timeout(Duration::from_millis(300)),
        );
        assert!(late.is_err());
        let mut near = pair.client.open().unwrap();
        near.write_all(b"still there").unwrap();
        near.shutdown(Shutdown::Write).unwrap();
        let mut got = String::new();
        let mut far = pair.server.accept().unwrap();
        far.read_to_string(&mut got).unwrap();
        assert_eq!(got, "still there");
        drop((near, far));
        pair.client.close().unwrap();
        drop((pair.client, pair.server));
        // The last session has ended: the port comes back.
        while TcpListener::bind(addr).is_err() {
            thread::yield_now();
        }
    });
}

#[test]
fn sessions_that_nobody_accepted_end_with_the_listener() {
    bounded(|| {
        let listener = listener();
        let client = connect(&url(&listener), options()).unwrap();
        drop(listener);
        assert!(matches!(
            client.wait_closed(),
            CloseReason::Peer { code: 0, .. }
        ));
    });
}

#[test]
fn handles_may_be_dropped_in_any_order() {
    bounded(|| {
        let listener = listener();
        for order in 0..6 {
            let client = connect(&url(&listener), options()).unwrap();
            let server = listener.accept().unwrap();
            let mut near = client.open().unwrap();
            near.write_all(b"x").unwrap();
            let far = server.accept().unwrap();
            match order {
                0 => drop((near, far, client, server)),
                1 => drop((client, server, far, near)),
                2 => drop((server, near, client, far)),
                3 => drop((far, server, near, client)),
                4 => drop((client, near, server, far)),
                _ => drop((near, client, far, server)),
            }
        }
        // All end by themselves, in order.
        while listener.sessions() > 0 {
            thread::yield_now();
        }
    });
}

#[test]
fn many_clients_share_a_server() {
    bounded(|| {
        let listener = listener();
        let url = url(&listener);
        let clients: Vec<_> = (0..20u64)
            .map(|n| {
                let url = url.clone();
                thread::spawn(move || {
                    let client = connect(&url, options()).unwrap();
                    let mut stream = client.open().unwrap();
                    let data = pattern(n, 100_000);
                    stream.write_all(&data).unwrap();
                    stream.shutdown(Shutdown::Write).unwrap();
                    let mut got = Vec::new();
                    stream.read_to_end(&mut got).unwrap();
                    assert_same(&got, &data);
                    client.close().unwrap();
                })
            })
            .collect();
        let serving: Vec<_> = listener
            .incoming()
            .take(20)
            .map(|session| {
                thread::spawn(move || {
                    let session = session.unwrap();
                    let stream = session.accept().unwrap();
                    io::copy(&mut &stream, &mut &stream).unwrap();
                    stream.shutdown(Shutdown::Write).unwrap();
                    session.wait_closed();
                })
            })
            .collect();
        for thread in clients.into_iter().chain(serving) {
            thread.join().unwrap();
        }
    });
}

#[test]
fn a_handler_serves_in_an_http_server_of_others() {
    bounded(|| {
        let handler = Handler::new(ListenOptions::new()).unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let theirs = OwnFront::start(
            socket,
            "/deep/path".into(),
            Limits::default(),
            Arc::new(handler.clone()),
        )
        .unwrap();
        let url = format!("http://{}/deep/path", theirs.local_addr());
        let client = connect(&url, options()).unwrap();
        let server = handler.accept().unwrap();
        let mut near = client.open().unwrap();
        near.write_all(b"mounted").unwrap();
        drop(near);
        let mut got = String::new();
        server.accept().unwrap().read_to_string(&mut got).unwrap();
        assert_eq!(got, "mounted");
        handler.close(Duration::from_secs(20));
        assert_eq!(handler.sessions(), 0);
        assert!(matches!(
            client.wait_closed(),
            CloseReason::Peer { code: 0, .. }
        ));
        assert_eq!(
            handler.accept().unwrap_err().kind(),
            ErrorKind::NotConnected
        );
        theirs.stop(Duration::from_secs(1));
    });
}

#[test]
fn a_server_that_was_restarted_ends_its_old_sessions() {
    bounded(|| {
        let first = listener();
        let addr = first.local_addr().unwrap();
        let client = connect(&url(&first), options()).unwrap();
        let mut stream = client.open().unwrap();
        stream.write_all(b"x").unwrap();
        let server = first.accept().unwrap();
        server.abort();
        first.close(Duration::ZERO);
        let _second = Listener::bind(addr, ListenOptions::new()).unwrap();
        assert_eq!(client.wait_closed(), CloseReason::Gone);
        let error = stream.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
        assert!(error.to_string().contains("restarted"), "{error}");
    });
}

#[test]
fn a_session_counts_what_it_does() {
    bounded(|| {
        let pair = pair();
        let (mut near, mut far) = streams(&pair);
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
        assert_eq!((client.lost, client.last_trouble), (0, None));
    });
}

#[cfg(feature = "tiny_http")]
#[test]
fn a_listener_may_have_tiny_http_for_its_front() {
    bounded(|| {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let tiny = posthole_blocking::FrontChoice::TinyHttp;
        let listener = Listener::serve_by(socket, tiny, ListenOptions::new()).unwrap();
        let client = connect(&url(&listener), options()).unwrap();
        let mut near = client.open().unwrap();
        let data = pattern(6, 1_000_000);
        near.write_all(&data).unwrap();
        near.shutdown(Shutdown::Write).unwrap();
        let mut got = Vec::new();
        let server = listener.accept().unwrap();
        server.accept().unwrap().read_to_end(&mut got).unwrap();
        assert_same(&got, &data);
        client.close().unwrap();
        listener.close(Duration::from_secs(20));
    });
}
