//! What is peculiar to this runtime's sessions and listeners: the types of its errors, iterators, handlers and fronts. All
//! else is in the conformance suite (`tests/tests/conformance.rs`).
#![allow(clippy::unwrap_used)]

mod direct_support;
mod script;
mod session_support;

use direct_support::Relay;
use posthole_blocking::carrier::{Plain, ProxyChoice};
use posthole_blocking::front::{Limits, OwnFront};
use posthole_blocking::{
    CloseReason, Config, ConnectError, Handler, ListenOptions, Listener, Options, RouterConfig,
    connect,
};
use posthole_tests::bounded::bounded;
use script::{Script, first_answer, in_chunks, only_connection, other_versions, ours};
use session_support::{listener, options, url};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn a_connect_error_says_what_stood_in_the_way() {
    bounded(|| {
        // Nobody listens at this port.
        let quick = options().connect_timeout(Duration::from_millis(300));
        let error = connect("http://127.0.0.1:1/", quick).unwrap_err();
        let ConnectError::NoAnswer {
            trouble: Some(trouble),
            waited,
        } = &error
        else {
            panic!("{error}")
        };
        assert!(trouble.contains("refused"), "{trouble}");
        assert_eq!(*waited, Duration::from_millis(300));
        assert_eq!(io::Error::from(error).kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn what_makes_no_sense_is_a_matter_of_the_target() {
    for (url, options) in [
        ("ftp://127.0.0.1/", options()),
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
fn a_listener_serves_where_and_what_it_was_told() {
    bounded(|| {
        let limits = Limits {
            body: 100_000,
            ..Limits::default()
        };
        let router = RouterConfig {
            sessions: 1,
            ..RouterConfig::default()
        };
        let told = ListenOptions::new()
            .path("/in")
            .limits(limits)
            .router(router);
        let listener = Listener::bind("127.0.0.1:0", told).unwrap();
        let addr = listener.local_addr().unwrap();
        for (path, length, status) in [("/", 1, "404"), ("/in", 100_001, "413")] {
            let head = format!("POST {path} HTTP/1.1\r\nContent-Length: {length}\r\n\r\n");
            let mut stream = TcpStream::connect(addr).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).unwrap();
            assert!(answer.ends_with(status.as_bytes()), "{path}");
        }
        let url = format!("http://{addr}/in");
        let _first = connect(&url, options()).unwrap();
        let quick = options().connect_timeout(Duration::from_millis(300));
        let error = connect(&url, quick).unwrap_err();
        assert!(matches!(error, ConnectError::NoAnswer { .. }), "{error}");
        assert_eq!(listener.sessions(), 1);
    });
}

#[test]
fn a_server_that_refuses_a_session_is_not_waited_for() {
    bounded(|| {
        let server = Script::new(|mut visit| {
            let answer = other_versions(&visit.request().unwrap());
            visit.stream.write_all(&answer).unwrap();
        });
        let patient = options().connect_timeout(Duration::from_secs(1000));
        let error = connect(&server.url("/"), patient).unwrap_err();
        let is_said = matches!(error, ConnectError::Ended(CloseReason::Version { .. }));
        assert!(is_said, "{error}");
        assert_eq!(io::Error::from(error).kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_server_is_asked_for_as_the_options_say() {
    bounded(|| {
        for (plain, line) in [
            (Plain::Absolute, "POST http://server.example/in?"),
            (Plain::Connect, "CONNECT server.example:80 HTTP/1.1"),
        ] {
            let (tell, told) = mpsc::channel();
            let proxy = Script::new(move |mut visit| drop(visit.head().map(|it| tell.send(it))));
            let options = Options::new()
                .proxy(ProxyChoice::Url(proxy.url("")))
                .plain(plain)
                .header("X-Key", "7")
                .header("X-Other", "8")
                .wait_for_answer(false);
            let client = connect("http://server.example/in", options).unwrap();
            let head = told.recv().unwrap();
            assert!(head.line.starts_with(line), "{}", head.line);
            let is_told = plain == Plain::Absolute;
            assert_eq!(head.header("x-key"), is_told.then_some("7"));
            assert_eq!(head.header("x-other"), is_told.then_some("8"));
            client.abort();
        }
    });
}

#[test]
fn incoming_sessions_come_until_the_listener_is_closed() {
    bounded(|| {
        let listener = Arc::new(listener());
        let (sender, accepted) = mpsc::channel();
        let accepting = {
            let listener = listener.clone();
            thread::spawn(move || {
                for session in listener.incoming() {
                    sender.send(session.unwrap()).unwrap();
                }
            })
        };
        let clients: Vec<_> = (0..3)
            .map(|_| connect(&url(&listener), options()).unwrap())
            .collect();
        // Kept, as dropping one closes it.
        let sessions: Vec<_> = accepted.iter().take(3).collect();
        for client in clients {
            client.close().unwrap();
        }
        listener.close(Duration::from_secs(20));
        accepting.join().unwrap();
        assert!(accepted.recv().is_err(), "a fourth");
        drop(sessions);
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

/// Boxes count each connection as one of their user's, and close it when it has rested for long.
#[test]
fn lanes_that_rest_end_with_their_connections() {
    bounded(|| {
        let listener = listener();
        let relay = Relay::to(listener.local_addr().unwrap());
        let client = connect(&format!("http://{}/", relay.addr), options()).unwrap();
        let server = listener.accept().unwrap();
        let mut near = client.open().unwrap();
        near.write_all(&[1; 4 << 20]).unwrap();
        near.shutdown(Shutdown::Write).unwrap();
        let mut got = Vec::new();
        server.accept().unwrap().read_to_end(&mut got).unwrap();
        assert!(relay.made() > 1, "they were needed");
        // What remains is for the request that the server holds.
        let begun = Instant::now();
        while relay.open() > 1 {
            assert!(begun.elapsed() < Duration::from_secs(30), "they stay");
            thread::sleep(Duration::from_millis(20));
        }
        client.close().unwrap();
    });
}

#[test]
fn a_close_waits_for_its_sessions_and_no_longer() {
    bounded(|| {
        let listener = listener();
        let client = connect(&url(&listener), options()).unwrap();
        let _server = listener.accept().unwrap();
        let begun = Instant::now();
        listener.close(Duration::from_secs(60));
        assert!(begun.elapsed() < Duration::from_secs(30), "nobody told it");
        client.wait_closed();
    });
}

#[test]
fn a_session_whose_peer_is_gone_ends_when_the_grace_does() {
    bounded(|| {
        let handler = Handler::new(ListenOptions::new()).unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let service = Arc::new(handler.clone());
        let theirs = OwnFront::start(socket, "/".into(), Limits::default(), service).unwrap();
        let relay = Relay::to(theirs.local_addr());
        let client = connect(&format!("http://{}/", relay.addr), options()).unwrap();
        let server = handler.accept().unwrap();
        // What the client has not got is what closing waits for.
        relay.swallow();
        server.open().unwrap().write_all(b"lost").unwrap();
        handler.close(Duration::from_millis(300));
        assert!(server.closed().is_some(), "it goes on");
        drop(relay);
        client.abort();
    });
}

#[cfg(feature = "tiny_http")]
#[test]
fn a_listener_may_have_tiny_http_for_its_front() {
    bounded(|| {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let tiny = posthole_blocking::FrontChoice::TinyHttp;
        let there = ListenOptions::new().path("/in");
        let listener = posthole_blocking::Listener::serve_by(socket, tiny, there).unwrap();
        let client = connect(&format!("{}in", url(&listener)), options()).unwrap();
        let mut near = client.open().unwrap();
        let data = posthole_tests::pattern::pattern(6, 1_000_000);
        near.write_all(&data).unwrap();
        near.shutdown(std::net::Shutdown::Write).unwrap();
        let mut got = Vec::new();
        let server = listener.accept().unwrap();
        server.accept().unwrap().read_to_end(&mut got).unwrap();
        posthole_tests::pattern::assert_same(&got, &data);
        client.close().unwrap();
        listener.close(Duration::from_secs(20));
    });
}

/// Bodies of more than 1 MiB may be had, and answers of that size were taken for somebody else's.
#[test]
fn answers_are_as_large_as_bodies_may_be() {
    let config = || {
        let large = 4 << 20;
        let config = Config::builder().body_first(large).body_max(large);
        config.pool(16 << 20).send_pool(16 << 20).build().unwrap()
    };
    bounded(move || {
        let listener =
            Listener::bind("127.0.0.1:0", ListenOptions::new().config(config())).unwrap();
        let client = connect(&url(&listener), options().config(config())).unwrap();
        let server = listener.accept().unwrap();
        let mut far = server.open().unwrap();
        far.write_all(&vec![1; 12 << 20]).unwrap();
        drop(far);
        let mut all = Vec::new();
        client.accept().unwrap().read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), 12 << 20);
        let stats = client.stats();
        assert_eq!((stats.lost, stats.last_trouble), (0, None));
    });
}

/// A lane is told how large bodies may be: what is no larger is read, whatever it then is.
#[test]
fn a_lane_reads_answers_as_large_as_its_session_allows() {
    bounded(|| {
        let large = 4 << 20;
        let config = Config::builder().body_max(large).build().unwrap();
        let server = Script::new(|mut visit| {
            if visit.request().is_some() {
                let _ = visit.stream.write_all(&ours(0, &vec![0; 2 << 20]));
            }
        });
        let options = options().config(config).wait_for_answer(false);
        let client = connect(&server.url("/"), options).unwrap();
        while client.stats().lost == 0 {
            thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(client.stats().bytes_in, 2 << 20, "it was not read");
        client.abort();
    });
}

/// Only an answer that has come shows what becomes of its connection.
#[test]
fn exchanges_that_fail_teach_nothing_of_connections() {
    bounded(|| {
        // Nobody listens at this port.
        let client = connect("http://127.0.0.1:1/", options().wait_for_answer(false)).unwrap();
        while client.stats().lost < 5 {
            thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(client.learned().unwrap().kept, None);
        client.abort();
    });
}

/// Nobody could bring their requests any more.
#[test]
fn sessions_end_with_the_last_handler() {
    bounded(|| {
        let handler = Handler::new(ListenOptions::new()).unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let service = Arc::new(handler.clone());
        let theirs = OwnFront::start(socket, "/".into(), Limits::default(), service).unwrap();
        let url = format!("http://{}/", theirs.local_addr());
        let client = connect(&url, options()).unwrap();
        let server = handler.accept().unwrap();
        theirs.stop(Duration::from_secs(20));
        assert_eq!(server.closed(), None);
        drop(handler);
        assert_eq!(server.wait_closed(), CloseReason::Aborted);
        client.abort();
    });
}

/// A request that nobody waits for any more would keep its connection, and its place at a box, until its patience ends.
#[test]
fn what_a_session_has_under_way_ends_with_it() {
    let long = Duration::from_secs(1000);
    let config = Config::builder().patience(long).idle(long * 2);
    let patient = options().config(config.build().unwrap());
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", server.local_addr().unwrap());
    let client = connect(&url, patient.wait_for_answer(false)).unwrap();
    let (mut stream, _) = server.accept().unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    stream.read_exact(&mut [0]).unwrap();
    client.abort();
    stream.read_to_end(&mut Vec::new()).expect("it is closed");
}

/// A large answer on a slow way takes longer than a session waits for one of which nothing comes.
#[test]
fn an_answer_that_takes_long_is_not_given_up_while_it_comes() {
    bounded(|| {
        // The shortest that there may be.
        let patience = Duration::from_secs(11);
        let server = Script::new(move |mut visit| {
            let Some(request) = visit.request() else {
                return;
            };
            // What follows the bundle is not read.
            let mut body = first_answer(request.body);
            body.resize(800_000, 0);
            for piece in ours(0, &body).chunks(80_000) {
                if visit.stream.write_all(piece).is_err() {
                    return;
                }
                thread::sleep(patience / 8);
            }
        });
        let config = Config::builder().requests(1).hold(1).patience(patience);
        let config = options().config(config.build().unwrap());
        let client = connect(&server.url("/"), config.wait_for_answer(false)).unwrap();
        while !client.is_connected() {
            assert_eq!(client.stats().lost, 0, "it is given up");
            thread::sleep(Duration::from_millis(10));
        }
        client.abort();
        server.join();
    });
}

/// Whoever gets an error has no session to end: one that went on would make another connection to say that it closes.
#[test]
fn a_connect_that_has_failed_leaves_nothing_behind() {
    bounded(|| {
        let long = Duration::from_secs(1000);
        let config = Config::builder().patience(long).idle(long * 2);
        let quick = options().connect_timeout(Duration::from_millis(300));
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", server.local_addr().unwrap());
        let hears = thread::spawn(move || only_connection(&server));
        let connected = connect(&url, quick.config(config.build().unwrap()));
        assert!(connected.is_err());
        hears.join().unwrap();
    });
}

/// A box may pass a whole answer on in chunks, having forgotten how long it is.
#[test]
fn a_whole_answer_may_come_in_chunks() {
    bounded(|| {
        let server = Script::new(|mut visit| {
            while let Some(request) = visit.request() {
                let answer = in_chunks(&first_answer(request.body));
                if visit.stream.write_all(&answer).is_err() {
                    return;
                }
            }
        });
        let config = Config::builder().requests(1).hold(1).build().unwrap();
        let options = options().config(config);
        let client = connect(&server.url("/"), options).unwrap();
        assert_eq!(client.stats().lost, 0);
        client.abort();
    });
}

/// A box that remembers what it has seen must not take one's requests for another's.
#[test]
fn each_session_asks_in_words_of_its_own() {
    bounded(|| {
        let mut lines = Vec::new();
        for _ in 0..2 {
            let server = Script::new(|mut visit| visit.head().map(|head| head.line));
            let client = connect(&server.url("/"), options().wait_for_answer(false)).unwrap();
            while client.stats().lost == 0 {
                thread::yield_now();
            }
            client.abort();
            lines.push(server.join().remove(0).unwrap());
        }
        assert_ne!(lines[0], lines[1]);
    });
}

#[test]
fn who_may_wait_for_ever_for_the_first_answer_gets_it() {
    bounded(|| {
        let listener = listener();
        let client = connect(&url(&listener), options().connect_timeout(Duration::MAX)).unwrap();
        client.close().unwrap();
    });
}
