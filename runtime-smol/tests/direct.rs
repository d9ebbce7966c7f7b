//! Direct connections on tasks: a session goes by one, leaves it, and ends with it. `runtime-blocking/tests/direct.rs` has
//! the same tests on threads.
#![allow(clippy::unwrap_used)]

#[path = "../../runtime-blocking/tests/direct_support/mod.rs"]
mod direct_support;
mod support;

use async_executor::Executor;
use direct_support::{
    Relay, answer_to_a_harmed_bundle, answer_to_a_harmed_request, beginning, by, deaf,
    first_bundle, garbage, is_closed_though_bytes_come, is_hung_up, is_left_by_its_client,
    may_go_on, narrow, say, unknown_bundle,
};
use posthole_protocol::{Carrier, Config};
use posthole_runtime::Direct;
use posthole_smol::front::Limits;
use posthole_smol::{
    ListenOptions, Listener, Options, Session, Spawner, Stream, connect, connect_on,
};
use posthole_tests::pattern::{assert_same, pattern};
use smol::future::{poll_once, yield_now, zip};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use std::future::Future;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use support::{bounded, in_time, listener, listener_on, options, url};

/// Takes direct connections; where.
fn serve_direct(listener: &Listener) -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    listener.serve_direct(socket).unwrap();
    addr
}

fn at(addr: SocketAddr) -> Options {
    options().direct(Direct::At(addr.to_string()))
}

async fn impatient(connections: usize) -> Listener {
    let limits = Limits {
        connections,
        head_time: Duration::from_millis(200),
        body_time: Duration::from_millis(200),
        min_rate: 100_000_000,
        ..Limits::for_tasks()
    };
    listener_with(limits).await
}

async fn listener_with(limits: Limits) -> Listener {
    let options = ListenOptions::new().limits(limits);
    Listener::bind("127.0.0.1:0", options).await.unwrap()
}

/// Both ends of a session, and of a stream that echoes.
struct Echo {
    near: Stream,
    client: Session,
    server: Session,
}

async fn echo(listener: &Listener, options: Options) -> Echo {
    echo_on(&Spawner::default(), listener, options).await
}

async fn echo_on(spawner: &Spawner, listener: &Listener, options: Options) -> Echo {
    let client = connect_on(spawner, &url(listener), options).await.unwrap();
    let server = listener.accept().await.unwrap();
    let near = client.open().await.unwrap();
    let accepts = server.clone();
    spawner.spawn(async move {
        let far = accepts.accept().await.unwrap();
        drop(accepts);
        // Whoever cuts it short is not in need of the rest.
        let _ = smol::io::copy(&far, &mut &far).await;
        let _ = (&far).close().await;
    });
    Echo {
        near,
        client,
        server,
    }
}

impl Echo {
    async fn ping(&mut self) {
        self.near.write_all(b"?").await.unwrap();
        let mut back = [0];
        self.near.read_exact(&mut back).await.unwrap();
        assert_eq!(back, *b"?");
    }

    /// Sends all of it and gets it back; does something after each half.
    async fn bulk(&self, data: &[u8], mut between: impl FnMut()) {
        let write = async { (&self.near).write_all(data).await.unwrap() };
        let read = async {
            let mut got = vec![0; data.len()];
            for half in got.chunks_mut(data.len().div_ceil(2)) {
                (&self.near).read_exact(half).await.unwrap();
                between();
            }
            assert_same(&got, data);
        };
        zip(write, read).await;
    }
}

#[test]
fn a_session_by_a_direct_connection_alone() {
    bounded(async {
        let listener = listener().await;
        let addr = serve_direct(&listener);
        let mut echo = echo(&listener, at(addr).config(by(Carrier::Direct))).await;
        for _ in 0..100 {
            echo.ping().await;
        }
        echo.bulk(&pattern(1, 20_000_000), || ()).await;
        echo.client.close().await.unwrap();
        assert_eq!(echo.client.stats().exchanges, 0);
    });
}

#[test]
fn a_server_tells_its_port_and_the_session_moves_there() {
    bounded(async {
        let listener = listener().await;
        serve_direct(&listener);
        let mut echo = echo(&listener, options()).await;
        // By HTTP each of them takes an exchange.
        let (mut quiet, mut before) = (0, 0);
        while quiet < 50 {
            echo.ping().await;
            let exchanges = echo.client.stats().exchanges;
            quiet = if exchanges == before { quiet + 1 } else { 0 };
            before = exchanges;
        }
        assert!(before > 0, "it began by HTTP");
    });
}

#[test]
fn a_connection_that_is_cut_loses_nothing() {
    bounded(async {
        let listener = listener().await;
        let relay = Relay::to(serve_direct(&listener));
        let mut echo = echo(&listener, at(relay.addr)).await;
        echo.ping().await;
        echo.bulk(&pattern(2, 8_000_000), || relay.cut()).await;
        while relay.made() < 2 {
            echo.ping().await;
        }
        echo.bulk(&pattern(3, 8_000_000), || relay.cut()).await;
        assert!(relay.moved() > 0);
        echo.client.close().await.unwrap();
    });
}

#[test]
fn a_black_hole_is_left_for_http() {
    bounded(async {
        let listener = listener().await;
        let relay = Relay::to(serve_direct(&listener));
        let echo = echo(&listener, at(relay.addr)).await;
        echo.bulk(&pattern(4, 1_000_000), || ()).await;
        assert!(relay.moved() > 0, "it went by the connection");
        relay.swallow();
        echo.bulk(&pattern(5, 8_000_000), || ()).await;
        assert!(echo.client.stats().exchanges > 0);
        echo.client.close().await.unwrap();
    });
}

/// A bundle that takes longer than the server may be silent: each part of it is a sign of life.
#[test]
fn a_slow_connection_is_not_taken_for_a_dead_one() {
    bounded(async {
        let listener = listener().await;
        let socket = narrow();
        let addr = socket.local_addr().unwrap();
        listener.serve_direct(socket).unwrap();
        let relay = Relay::to(addr);
        let echo = echo(&listener, at(relay.addr).config(by(Carrier::Direct))).await;
        // It was fast, so a bundle is expected to take little time.
        echo.bulk(&pattern(7, 4_000_000), || ()).await;
        let before = relay.moved();
        let mut far = echo.server.open().await.unwrap();
        far.write_all(b"!").await.unwrap();
        let mut near = echo.client.accept().await.unwrap();
        near.read_exact(&mut [0]).await.unwrap();
        relay.slow_down();
        let data = pattern(6, 300_000);
        let mut got = vec![0; data.len()];
        let write = async { far.write_all(&data).await.unwrap() };
        let read = async { near.read_exact(&mut got).await.unwrap() };
        zip(write, read).await;
        assert_same(&got, &data);
        assert_eq!(relay.made(), 1);
        assert!(
            relay.moved() - before < data.len() * 3 / 2,
            "nothing went twice"
        );
        echo.client.close().await.unwrap();
    });
}

#[test]
fn whatever_is_dropped_first_no_task_and_nothing_open_stays() {
    for order in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ] {
        let executor = Arc::new(Executor::new());
        let spawner = {
            let executor = Arc::clone(&executor);
            Spawner::new(move |task| executor.spawn(task).detach())
        };
        let test = async {
            let listener = listener_on(&spawner).await;
            let http = listener.local_addr().unwrap();
            let addr = serve_direct(&listener);
            let relay = Relay::to(addr);
            let mut echo = echo_on(&spawner, &listener, at(relay.addr)).await;
            echo.ping().await;
            let Echo {
                near,
                client,
                server,
            } = echo;
            let (mut listener, mut client, mut server) =
                (Some(listener), Some((near, client)), Some(server));
            for what in order {
                match what {
                    0 => drop(listener.take()),
                    1 => drop(client.take()),
                    _ => drop(server.take()),
                }
            }
            while !executor.is_empty() || !relay.is_idle() {
                yield_now().await;
            }
            drop((
                TcpListener::bind(addr).unwrap(),
                TcpListener::bind(http).unwrap(),
            ));
        };
        smol::block_on(executor.run(in_time(test)));
    }
}

#[test]
fn an_executor_that_ends_closes_its_connections() {
    let relay = {
        let executor = Arc::new(Executor::new());
        let spawner = {
            // Weak: the last handle's drop ends it.
            let executor = Arc::downgrade(&executor);
            Spawner::new(move |task| {
                if let Some(executor) = executor.upgrade() {
                    executor.spawn(task).detach();
                }
            })
        };
        let begin = async {
            let listener = listener_on(&spawner).await;
            let relay = Relay::to(serve_direct(&listener));
            let mut echo = echo_on(&spawner, &listener, at(relay.addr)).await;
            echo.ping().await;
            // What does not fit makes the connection keep its rest.
            relay.swallow();
            let data = vec![7; 50_000_000];
            assert!(poll_once(pin!(echo.near.write_all(&data))).await.is_none());
            (relay, echo, listener)
        };
        let (relay, echo, listener) = smol::block_on(executor.run(in_time(begin)));
        drop(executor);
        drop((echo, listener));
        relay
    };
    relay.pass_on();
    while !relay.is_idle() {
        std::thread::yield_now();
    }
}

#[test]
fn what_is_no_bundle_is_closed_and_harms_nobody() {
    bounded(async {
        let listener = impatient(100).await;
        let addr = serve_direct(&listener);
        let mut echo = echo(&listener, at(addr).config(by(Carrier::Direct))).await;
        for bytes in garbage() {
            smol::unblock(move || say(addr, &bytes)).await;
            echo.ping().await;
        }
        assert_eq!(listener.sessions(), 1);
    });
}

#[test]
fn part_of_a_bundle_after_a_whole_one_has_its_time() {
    bounded(async {
        let listener = impatient(100).await;
        let addr = serve_direct(&listener);
        let mut bytes = first_bundle(1);
        let second = bytes.clone();
        bytes.extend_from_slice(&second[..20]);
        let said = smol::unblock(move || say(addr, &bytes)).await;
        assert!(!said.is_empty(), "the first was answered");
    });
}

#[test]
fn a_connection_that_says_nothing_has_the_time_of_a_head() {
    bounded(async {
        let limits = Limits {
            head_time: Duration::from_millis(200),
            body_time: Duration::from_secs(1000),
            ..Limits::for_tasks()
        };
        let listener = listener_with(limits).await;
        let addr = serve_direct(&listener);
        assert!(smol::unblock(move || is_hung_up(addr)).await);
    });
}

#[test]
fn a_connection_too_many_is_closed_at_once_and_the_others_stay() {
    bounded(async {
        let limits = Limits {
            connections: 1,
            head_time: Duration::from_secs(1000),
            ..Limits::for_tasks()
        };
        let listener = listener_with(limits).await;
        let addr = serve_direct(&listener);
        let relay = Relay::to(addr);
        let mut echo = echo(&listener, at(relay.addr).config(by(Carrier::Direct))).await;
        echo.ping().await;
        assert!(smol::unblock(move || is_hung_up(addr)).await);
        echo.ping().await;
        assert_eq!(relay.made(), 1);
    });
}

#[test]
fn a_connection_may_be_quiet_once_it_is_a_session_s() {
    bounded(async {
        let head_time = Duration::from_secs(2);
        let limits = Limits {
            head_time,
            body_time: Duration::from_millis(300),
            min_rate: 100_000_000,
            ..Limits::for_tasks()
        };
        let listener = listener_with(limits).await;
        let relay = Relay::to(serve_direct(&listener));
        let mut echo = echo(&listener, at(relay.addr).config(by(Carrier::Direct))).await;
        echo.ping().await;
        smol::Timer::after(head_time * 3 / 2).await;
        echo.ping().await;
        assert_eq!(relay.made(), 1, "it was cut");
    });
}

#[test]
fn a_client_that_still_sends_is_not_reset_by_the_last_word() {
    bounded(async {
        // Several times, as what comes late is reset, and a busy machine may be late.
        for seed in 1..=5 {
            let listener = listener().await;
            let addr = serve_direct(&listener);
            let mut stream = TcpStream::connect(addr).unwrap();
            stream.write_all(&first_bundle(seed)).unwrap();
            let stream = smol::unblock(move || {
                stream.peek(&mut [0]).unwrap();
                stream
            })
            .await;
            listener.close(Duration::ZERO).await;
            if smol::unblock(move || may_go_on(stream)).await {
                return;
            }
        }
        panic!("it is closed at once");
    });
}

#[test]
fn a_connection_that_takes_nothing_ends_with_its_session() {
    bounded(async {
        let listener = impatient(1).await;
        let socket = narrow();
        let addr = socket.local_addr().unwrap();
        listener.serve_direct(socket).unwrap();
        let relay = Relay::to(addr);
        let echo = echo(&listener, at(relay.addr).config(by(Carrier::Direct))).await;
        let mut far = echo.server.open().await.unwrap();
        relay.swallow();
        // Until no more is taken, by the session as by the socket.
        let data = vec![7; 1_000_000];
        while in_a_moment(far.write(&data)).await.is_some() {}
        echo.server.abort();
        another_gets_its_place(&listener, addr).await;
        assert!(!relay.is_idle());
    });
}

#[test]
fn a_client_that_never_closes_is_closed_with_its_session() {
    bounded(async {
        let listener = impatient(1).await;
        let addr = serve_direct(&listener);
        let relay = Relay::to(addr);
        let mut echo = echo(&listener, at(relay.addr).config(by(Carrier::Direct))).await;
        echo.ping().await;
        relay.swallow();
        echo.server.abort();
        another_gets_its_place(&listener, addr).await;
        assert!(!relay.is_idle());
    });
}

#[test]
fn bytes_that_dribble_in_keep_no_connection_open() {
    bounded(async {
        let listener = impatient(100).await;
        let addr = serve_direct(&listener);
        let (silent, said) = (Vec::new(), first_bundle(1));
        for (first, then) in [
            (silent, beginning(8_000, 600)),
            (said, beginning(100_000, 600)),
        ] {
            let is_closed = move || is_closed_though_bytes_come(addr, &first, &then);
            assert!(smol::unblock(is_closed).await);
        }
    });
}

#[test]
fn a_large_bundle_has_the_time_that_its_bytes_need() {
    bounded(async {
        let limits = Limits {
            body_time: Duration::from_millis(200),
            ..Limits::for_tasks()
        };
        let listener = listener_with(limits).await;
        let addr = serve_direct(&listener);
        let (first, then) = (first_bundle(1), beginning(100_000, 40));
        let is_closed = move || is_closed_though_bytes_come(addr, &first, &then);
        assert!(!smol::unblock(is_closed).await);
    });
}

/// However much time they have.
#[test]
fn strangers_and_sessions_send_no_more_of_a_bundle_than_they_may() {
    bounded(async {
        let limits = Limits {
            bodies: 50_000,
            head_time: Duration::from_secs(1000),
            body_time: Duration::from_secs(1000),
            ..Limits::for_tasks()
        };
        let listener = listener_with(limits).await;
        let addr = serve_direct(&listener);
        let stranger = beginning(900_000, 20_000);
        assert_eq!(smol::unblock(move || say(addr, &stranger)).await, b"");
        let all = [first_bundle(1), beginning(900_000, 200_000)].concat();
        smol::unblock(move || say(addr, &all)).await;
    });
}

/// What has come of a bundle counts until that is whole.
#[test]
fn connections_at_rest_take_nothing_of_the_others_room() {
    bounded(async {
        let largest = 32 * 1024;
        let config = Config::builder().body_first(largest).body_max(largest);
        let limits = Limits {
            bodies: usize::try_from(largest).unwrap() + 100,
            ..Limits::for_tasks()
        };
        let options = ListenOptions::new()
            .limits(limits)
            .config(config.build().unwrap());
        let listener = Listener::bind("127.0.0.1:0", options).await.unwrap();
        let relay = Relay::to(serve_direct(&listener));
        // So that no bundle comes at once.
        relay.slow_down();
        let mut rest = Vec::new();
        for seed in 0..3 {
            let echo = echo(&listener, at(relay.addr).config(by(Carrier::Direct))).await;
            echo.bulk(&pattern(seed, 40_000), || ()).await;
            rest.push(echo);
            assert_eq!(relay.made(), rest.len(), "one was cut");
        }
    });
}

#[test]
fn who_is_nobody_is_told_so() {
    bounded(async {
        let listener = listener().await;
        let addr = serve_direct(&listener);
        let said = smol::unblock(move || say(addr, &unknown_bundle())).await;
        assert!(!said.is_empty(), "it is closed without a word");
    });
}

/// A session of which the application has not heard, and never will, is no reason to go on listening.
#[test]
fn a_session_that_has_not_come_so_far_ends_with_the_listener() {
    bounded(async {
        let config = Config::builder().flush(Duration::from_millis(100));
        let options = ListenOptions::new().config(config.build().unwrap());
        let listener = Listener::bind("127.0.0.1:0", options).await.unwrap();
        let (http, addr) = (listener.local_addr().unwrap(), serve_direct(&listener));
        let stream = smol::unblock(move || {
            let mut stream = TcpStream::connect(addr).unwrap();
            stream.write_all(&first_bundle(1)).unwrap();
            stream.peek(&mut [0]).unwrap();
            stream
        });
        let _stream = stream.await;
        assert_eq!(listener.sessions(), 1);
        drop(listener);
        while TcpListener::bind(http).is_err() {
            yield_now().await;
        }
    });
}

#[test]
fn who_is_not_understood_is_told_so() {
    bounded(async {
        let listener = listener().await;
        let addr = serve_direct(&listener);
        let said = smol::unblock(move || answer_to_a_harmed_bundle(addr)).await;
        assert!(!said.is_empty(), "it is closed without a word");
        assert_eq!(listener.sessions(), 1);
    });
}

#[test]
fn who_is_not_understood_by_http_is_told_so() {
    bounded(async {
        let listener = listener().await;
        let addr = listener.local_addr().unwrap();
        let line = smol::unblock(move || answer_to_a_harmed_request(addr)).await;
        assert!(line.starts_with("HTTP/1.1 "), "it is hung up on: {line}");
        assert_eq!(listener.sessions(), 1);
    });
}

#[test]
fn where_nobody_listens_it_is_tried_again() {
    bounded(async {
        let listener = listener().await;
        let (socket, addr) = deaf();
        let mut echo = echo(&listener, at(addr)).await;
        echo.ping().await;
        assert!(echo.client.stats().exchanges > 0);
        socket.listen(16).unwrap();
        listener.serve_direct(socket.into()).unwrap();
        while !echo.client.learned().unwrap().direct {
            echo.ping().await;
        }
    });
}

#[test]
fn a_connection_that_is_given_up_is_closed() {
    bounded(async {
        let listener = listener().await;
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut echo = echo(&listener, at(silent.local_addr().unwrap())).await;
        assert!(smol::unblock(move || is_left_by_its_client(&silent)).await);
        echo.ping().await;
    });
}

#[test]
fn a_socket_takes_the_place_of_the_one_before() {
    bounded(async {
        let listener = listener().await;
        let before = serve_direct(&listener);
        let addr = serve_direct(&listener);
        while TcpListener::bind(before).is_err() {
            yield_now().await;
        }
        let mut echo = echo(&listener, at(addr).config(by(Carrier::Direct))).await;
        echo.ping().await;
    });
}

#[test]
fn a_listener_that_closes_gives_the_port_back_and_closes_what_strangers_opened() {
    bounded(async {
        let limits = Limits {
            head_time: Duration::from_secs(1000),
            ..Limits::for_tasks()
        };
        let listener = listener_with(limits).await;
        let addr = serve_direct(&listener);
        let mut silent = TcpStream::connect(addr).unwrap();
        // Accepted after it.
        let mut echo = echo(&listener, at(addr).config(by(Carrier::Direct))).await;
        echo.ping().await;
        listener.close(Duration::ZERO).await;
        let amount = smol::unblock(move || silent.read(&mut [0])).await;
        assert!(amount.is_ok_and(|amount| amount == 0), "it is still open");
        while TcpListener::bind(addr).is_err() {
            yield_now().await;
        }
    });
}

/// What comes of it, unless that takes long.
async fn in_a_moment<T>(future: impl Future<Output = T>) -> Option<T> {
    let late = async {
        smol::Timer::after(Duration::from_millis(300)).await;
        None
    };
    smol::future::or(async { Some(future.await) }, late).await
}

/// Of which there is one; until then it is turned away and tries again.
async fn another_gets_its_place(listener: &Listener, addr: SocketAddr) {
    let patient = at(addr)
        .config(by(Carrier::Direct))
        .connect_timeout(Duration::from_secs(100));
    connect(&url(listener), patient).await.unwrap().abort();
}
