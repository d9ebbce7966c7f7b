//! Sessions and listeners begin and end.
#![allow(clippy::unwrap_used)]

#[path = "../../runtime-blocking/tests/direct_support/mod.rs"]
mod direct_support;
#[path = "../../runtime-blocking/tests/script/mod.rs"]
mod script;
mod support;

use direct_support::Relay;
use posthole_smol::carrier::{Plain, ProxyChoice};
use posthole_smol::front::{Limits, OwnFront};
use posthole_smol::{
    CloseReason, Config, ConnectError, Handler, ListenOptions, Listener, Options, RouterConfig,
    SessionEnded, connect,
};
use posthole_tests::pattern::{assert_same, pattern};
use script::{Script, first_answer, in_chunks, only_connection, other_versions, ours};
use smol::Timer;
use smol::future::{yield_now, zip};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::stream::StreamExt;
use std::io::{self, ErrorKind, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use support::{bounded, listener, options, pair, read_all, streams, url};

/// An address where nobody listens.
fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

#[test]
fn a_server_that_is_not_there_is_named() {
    bounded(async {
        let url = format!("http://{}/", nowhere());
        let quick = options().connect_timeout(Duration::from_millis(300));
        let error = connect(&url, quick).await.unwrap_err();
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
    bounded(async {
        let endless = format!("http://127.0.0.1/{}", "x".repeat(70_000));
        for (url, options) in [
            ("ftp://127.0.0.1/", options()),
            ("http://", options()),
            (endless.as_str(), options()),
            (
                "http://127.0.0.1/",
                Options::new().proxy(ProxyChoice::Url("socks9://x".into())),
            ),
            ("http://127.0.0.1/", options().header("Content-Length", "5")),
        ] {
            let error = connect(url, options).await.unwrap_err();
            assert!(matches!(error, ConnectError::Target(_)), "{url}: {error}");
        }
    });
}

#[test]
fn a_server_is_asked_for_as_the_options_say() {
    bounded(async {
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
            let client = connect("http://server.example/in", options).await.unwrap();
            let head = smol::unblock(move || told.recv().unwrap()).await;
            assert!(head.line.starts_with(line), "{}", head.line);
            let is_told = plain == Plain::Absolute;
            assert_eq!(head.header("x-key"), is_told.then_some("7"));
            assert_eq!(head.header("x-other"), is_told.then_some("8"));
            client.abort();
        }
    });
}

#[test]
fn a_listener_serves_where_and_what_it_was_told() {
    bounded(async {
        let limits = Limits {
            body: 100_000,
            ..Limits::for_tasks()
        };
        let router = RouterConfig {
            sessions: 1,
            ..RouterConfig::default()
        };
        let told = ListenOptions::new()
            .path("/in")
            .limits(limits)
            .router(router);
        let listener = Listener::bind("127.0.0.1:0", told).await.unwrap();
        let addr = listener.local_addr().unwrap();
        for (path, length, status) in [("/", 1, "404"), ("/in", 100_001, "413")] {
            let head = format!("POST {path} HTTP/1.1\r\nContent-Length: {length}\r\n\r\n");
            let mut stream = smol::net::TcpStream::connect(addr).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await.unwrap();
            assert!(answer.ends_with(status.as_bytes()), "{path}");
        }
        let url = format!("http://{addr}/in");
        let _first = connect(&url, options()).await.unwrap();
        let quick = options().connect_timeout(Duration::from_millis(300));
        let error = connect(&url, quick).await.unwrap_err();
        assert!(matches!(error, ConnectError::NoAnswer { .. }), "{error}");
        assert_eq!(listener.sessions(), 1);
    });
}

#[test]
fn a_server_that_refuses_a_session_is_not_waited_for() {
    bounded(async {
        let server = Script::new(|mut visit| {
            let answer = other_versions(&visit.request().unwrap());
            visit.stream.write_all(&answer).unwrap();
        });
        let patient = options().connect_timeout(Duration::from_secs(1000));
        let error = connect(&server.url("/"), patient).await.unwrap_err();
        let is_said = matches!(error, ConnectError::Ended(CloseReason::Version { .. }));
        assert!(is_said, "{error}");
        assert_eq!(io::Error::from(error).kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_session_begins_before_its_server_does() {
    bounded(async {
        let addr = nowhere();
        let url = format!("http://{addr}/");
        let client = connect(&url, options().wait_for_answer(false)).await;
        let client = client.unwrap();
        assert!(!client.is_connected());
        let mut stream = client.open().await.unwrap();
        stream.write_all(b"was here first").await.unwrap();
        drop(stream);
        while client.stats().lost == 0 {
            yield_now().await;
        }
        assert!(client.stats().last_trouble.unwrap().contains("refused"));
        let listener = Listener::bind(addr, ListenOptions::new()).await.unwrap();
        let server = listener.accept().await.unwrap();
        let stream = server.accept().await.unwrap();
        assert_eq!(read_all(&stream).await, b"was here first");
        while !client.is_connected() {
            yield_now().await;
        }
    });
}

#[test]
fn closing_delivers_what_was_written_and_tells_the_peer() {
    bounded(async {
        for client_closes in [true, false] {
            let pair = pair().await;
            let (near, far) = streams(&pair).await;
            let (closes, other, mut writes, reads) = if client_closes {
                (&pair.client, &pair.server, near, far)
            } else {
                (&pair.server, &pair.client, far, near)
            };
            let data = pattern(4, 300_000);
            writes.write_all(&data).await.unwrap();
            writes.close().await.unwrap();
            let (got, closed) = zip(read_all(&reads), closes.close()).await;
            closed.unwrap();
            assert_same(&got, &data);
            assert_eq!(closes.closed(), Some(CloseReason::Local));
            let reason = other.wait_closed().await;
            assert!(matches!(reason, CloseReason::Peer { code: 0, .. }));
            closes.close().await.unwrap();
            for session in [closes, other] {
                assert!(session.open().await.is_err());
                assert!(session.accept().await.is_err());
            }
            assert!(writes.write(b"x").await.is_err());
        }
    });
}

#[test]
fn an_ended_session_says_how() {
    bounded(async {
        let pair = pair().await;
        let (mut near, mut far) = streams(&pair).await;
        let waits = pair.client.clone();
        let accepting = smol::spawn(async move { waits.accept().await.map(drop) });
        pair.client.abort();
        let error = near.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        let inner = error.get_ref().unwrap().downcast_ref::<SessionEnded>();
        assert_eq!(inner, Some(&SessionEnded(CloseReason::Aborted)));
        let error = accepting.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        pair.server.abort();
        let error = far.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        assert!(pair.server.close().await.is_err());
    });
}

#[test]
fn a_closed_listener_ends_its_sessions() {
    bounded(async {
        let pair = pair().await;
        let (near, mut far) = streams(&pair).await;
        far.write_all(b"last words").await.unwrap();
        far.close().await.unwrap();
        let addr = pair.listener.local_addr().unwrap();
        let accepted = pair.listener.incoming().count();
        let closing = pair.listener.close(Duration::from_secs(20));
        let (accepted, ()) = zip(accepted, closing).await;
        assert_eq!(accepted, 0);
        let reason = pair.client.wait_closed().await;
        assert!(matches!(reason, CloseReason::Peer { code: 0, .. }));
        assert_eq!(read_all(&near).await, b"last words");
        assert_eq!(pair.listener.sessions(), 0);
        TcpListener::bind(addr).unwrap();
    });
}

#[test]
fn a_dropped_listener_leaves_its_sessions_alone() {
    bounded(async {
        let pair = pair().await;
        let addr = pair.listener.local_addr().unwrap();
        drop(pair.listener);
        let quick = options().connect_timeout(Duration::from_millis(300));
        assert!(connect(&format!("http://{addr}/"), quick).await.is_err());
        let mut near = pair.client.open().await.unwrap();
        near.write_all(b"still there").await.unwrap();
        near.close().await.unwrap();
        let far = pair.server.accept().await.unwrap();
        assert_eq!(read_all(&far).await, b"still there");
        drop((near, far));
        pair.client.close().await.unwrap();
        drop((pair.client, pair.server));
        // The last session has ended: the port comes back.
        while TcpListener::bind(addr).is_err() {
            yield_now().await;
        }
    });
}

#[test]
fn sessions_that_nobody_accepted_end_with_the_listener() {
    bounded(async {
        let listener = listener().await;
        let client = connect(&url(&listener), options()).await.unwrap();
        drop(listener);
        let reason = client.wait_closed().await;
        assert!(matches!(reason, CloseReason::Peer { code: 0, .. }));
    });
}

#[test]
fn handles_may_be_dropped_in_any_order() {
    bounded(async {
        let listener = listener().await;
        for order in 0..6 {
            let client = connect(&url(&listener), options()).await.unwrap();
            let server = listener.accept().await.unwrap();
            let mut near = client.open().await.unwrap();
            near.write_all(b"x").await.unwrap();
            let far = server.accept().await.unwrap();
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
            yield_now().await;
        }
    });
}

#[test]
fn many_clients_share_a_server() {
    bounded(async {
        let listener = listener().await;
        let url: Arc<str> = url(&listener).into();
        let clients: Vec<_> = (0..50u64)
            .map(|n| {
                let url = url.clone();
                smol::spawn(async move {
                    let client = connect(&url, options()).await.unwrap();
                    let stream = client.open().await.unwrap();
                    let data = pattern(n, 100_000);
                    (&stream).write_all(&data).await.unwrap();
                    (&stream).close().await.unwrap();
                    assert_same(&read_all(&stream).await, &data);
                    client.close().await.unwrap();
                })
            })
            .collect();
        let mut serving = Vec::new();
        let mut incoming = listener.incoming();
        while serving.len() < clients.len() {
            let session = incoming.next().await.unwrap().unwrap();
            serving.push(smol::spawn(async move {
                let stream = session.accept().await.unwrap();
                smol::io::copy(&stream, &stream).await.unwrap();
                (&stream).close().await.unwrap();
                session.wait_closed().await;
            }));
        }
        for task in clients.into_iter().chain(serving) {
            task.await;
        }
    });
}

#[test]
fn a_handler_serves_in_an_http_server_of_others() {
    bounded(async {
        let handler = Handler::new(ListenOptions::new()).unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let theirs = OwnFront::start(
            socket,
            "/deep/path".into(),
            Limits::default(),
            handler.clone(),
        );
        let theirs = theirs.unwrap();
        let url = format!("http://{}/deep/path", theirs.local_addr());
        let client = connect(&url, options()).await.unwrap();
        let server = handler.accept().await.unwrap();
        let mut near = client.open().await.unwrap();
        near.write_all(b"mounted").await.unwrap();
        drop(near);
        let far = server.accept().await.unwrap();
        assert_eq!(read_all(&far).await, b"mounted");
        handler.close(Duration::from_secs(20)).await;
        assert_eq!(handler.sessions(), 0);
        let reason = client.wait_closed().await;
        assert!(matches!(reason, CloseReason::Peer { code: 0, .. }));
        let error = handler.accept().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        theirs.stop(Duration::from_secs(1)).await;
    });
}

#[test]
fn a_close_waits_for_its_sessions_and_no_longer() {
    bounded(async {
        let pair = pair().await;
        let begun = Instant::now();
        pair.listener.close(Duration::from_secs(50)).await;
        assert!(begun.elapsed() < Duration::from_secs(25), "nobody told it");
        pair.client.wait_closed().await;
    });
}

#[test]
fn a_session_whose_peer_is_gone_ends_when_the_grace_does() {
    bounded(async {
        let handler = Handler::new(ListenOptions::new()).unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let theirs = OwnFront::start(socket, "/".into(), Limits::for_tasks(), handler.clone());
        let theirs = theirs.unwrap();
        let relay = Relay::to(theirs.local_addr());
        let url = format!("http://{}/", relay.addr);
        let client = connect(&url, options()).await.unwrap();
        let server = handler.accept().await.unwrap();
        // What the client has not got is what closing waits for.
        relay.swallow();
        let mut stream = server.open().await.unwrap();
        stream.write_all(b"lost").await.unwrap();
        handler.close(Duration::from_millis(300)).await;
        assert!(server.closed().is_some(), "it goes on");
        drop(relay);
        client.abort();
    });
}

#[test]
fn a_server_that_was_restarted_ends_its_old_sessions() {
    bounded(async {
        let first = listener().await;
        let addr = first.local_addr().unwrap();
        let client = connect(&url(&first), options()).await.unwrap();
        let mut stream = client.open().await.unwrap();
        stream.write_all(b"x").await.unwrap();
        let server = first.accept().await.unwrap();
        server.abort();
        first.close(Duration::ZERO).await;
        let _second = Listener::bind(addr, ListenOptions::new()).await.unwrap();
        assert_eq!(client.wait_closed().await, CloseReason::Gone);
        let error = stream.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
        assert!(error.to_string().contains("restarted"), "{error}");
    });
}

#[test]
fn a_session_counts_what_it_does() {
    bounded(async {
        let pair = pair().await;
        let (mut near, mut far) = streams(&pair).await;
        near.write_all(&[1; 100_000]).await.unwrap();
        far.read_exact(&mut [0; 100_000]).await.unwrap();
        let (client, server) = (pair.client.stats(), pair.server.stats());
        assert!(client.exchanges >= 2 && client.bytes_out >= 100_000);
        assert!(server.exchanges >= 2 && server.bytes_in >= 100_000);
        assert_eq!((client.lost, client.last_trouble), (0, None));
    });
}

/// Boxes count each connection as one of their user's, and close it when it has rested for long.
#[test]
fn lanes_that_rest_end_with_their_connections() {
    bounded(async {
        let listener = listener().await;
        let relay = Relay::to(listener.local_addr().unwrap());
        let client = connect(&format!("http://{}/", relay.addr), options()).await;
        let client = client.unwrap();
        let server = listener.accept().await.unwrap();
        let mut near = client.open().await.unwrap();
        let writes = async {
            near.write_all(&[1; 4 << 20]).await.unwrap();
            near.close().await.unwrap();
        };
        let reads = async { read_all(&server.accept().await.unwrap()).await };
        zip(writes, reads).await;
        assert!(relay.made() > 1, "they were needed");
        // What remains is for the request that the server holds.
        let begun = Instant::now();
        while relay.open() > 1 {
            assert!(begun.elapsed() < Duration::from_secs(30), "they stay");
            Timer::after(Duration::from_millis(20)).await;
        }
        client.close().await.unwrap();
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
    bounded(async move {
        let options_of_it = ListenOptions::new().config(config());
        let listener = Listener::bind("127.0.0.1:0", options_of_it).await.unwrap();
        let client = connect(&url(&listener), options().config(config())).await;
        let client = client.unwrap();
        let server = listener.accept().await.unwrap();
        let mut far = server.open().await.unwrap();
        far.write_all(&vec![1; 12 << 20]).await.unwrap();
        far.close().await.unwrap();
        let all = read_all(&client.accept().await.unwrap()).await;
        assert_eq!(all.len(), 12 << 20);
        let stats = client.stats();
        assert_eq!((stats.lost, stats.last_trouble), (0, None));
    });
}

/// A lane is told how large bodies may be: what is no larger is read, whatever it then is.
#[test]
fn a_lane_reads_answers_as_large_as_its_session_allows() {
    bounded(async {
        let large = 4 << 20;
        let config = Config::builder().body_max(large).build().unwrap();
        let server = Script::new(|mut visit| {
            if visit.request().is_some() {
                let _ = visit.stream.write_all(&ours(0, &vec![0; 2 << 20]));
            }
        });
        let options = options().config(config).wait_for_answer(false);
        let client = connect(&server.url("/"), options).await.unwrap();
        while client.stats().lost == 0 {
            Timer::after(Duration::from_millis(10)).await;
        }
        assert_eq!(client.stats().bytes_in, 2 << 20, "it was not read");
        client.abort();
    });
}

/// Only an answer that has come shows what becomes of its connection.
#[test]
fn exchanges_that_fail_teach_nothing_of_connections() {
    bounded(async {
        let url = format!("http://{}/", nowhere());
        let client = connect(&url, options().wait_for_answer(false)).await;
        let client = client.unwrap();
        while client.stats().lost < 5 {
            Timer::after(Duration::from_millis(10)).await;
        }
        assert_eq!(client.learned().unwrap().kept, None);
        client.abort();
    });
}

/// Whoever gets an error has no session to end: one that went on would make another connection to say that it closes.
#[test]
fn a_connect_that_has_failed_leaves_nothing_behind() {
    bounded(async {
        let long = Duration::from_secs(1000);
        let config = Config::builder().patience(long).idle(long * 2);
        let quick = options().connect_timeout(Duration::from_millis(300));
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", server.local_addr().unwrap());
        let hears = smol::unblock(move || only_connection(&server));
        let connects = connect(&url, quick.config(config.build().unwrap()));
        let ((), connected) = zip(hears, connects).await;
        assert!(connected.is_err());
    });
}

/// A box may pass a whole answer on in chunks, having forgotten how long it is.
#[test]
fn a_whole_answer_may_come_in_chunks() {
    bounded(async {
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
        let client = connect(&server.url("/"), options).await.unwrap();
        assert_eq!(client.stats().lost, 0);
        client.abort();
    });
}

/// A box that remembers what it has seen must not take one's requests for another's.
#[test]
fn each_session_asks_in_words_of_its_own() {
    bounded(async {
        let mut lines = Vec::new();
        for _ in 0..2 {
            let server = Script::new(|mut visit| visit.head().map(|head| head.line));
            let options = options().wait_for_answer(false);
            let client = connect(&server.url("/"), options).await.unwrap();
            while client.stats().lost == 0 {
                yield_now().await;
            }
            client.abort();
            lines.push(server.join().remove(0).unwrap());
        }
        assert_ne!(lines[0], lines[1]);
    });
}

#[test]
fn a_listener_takes_the_first_address_that_can_be_had() {
    bounded(async {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let addresses = [taken.local_addr().unwrap(), ([127, 0, 0, 1], 0).into()];
        let listener = Listener::bind(&addresses[..], ListenOptions::new()).await;
        assert_ne!(listener.unwrap().local_addr().unwrap(), addresses[0]);
    });
}
