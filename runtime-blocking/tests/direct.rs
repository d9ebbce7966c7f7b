//! Direct connections on threads: a session goes by one, leaves it, and ends with it. `runtime-smol/tests/direct.rs` has
//! the same tests on tasks.
#![allow(clippy::unwrap_used)]

mod direct_support;
mod session_support;

use direct_support::{
    Relay, answer_to_a_harmed_bundle, answer_to_a_harmed_request, beginning, by, deaf,
    first_bundle, garbage, is_closed_though_bytes_come, is_hung_up, is_left_by_its_client,
    may_go_on, narrow, say, unknown_bundle,
};
use posthole_blocking::front::Limits;
use posthole_blocking::{ListenOptions, Listener, Options, Session, Stream, connect};
use posthole_protocol::{Carrier, Config};
use posthole_runtime::Direct;
use posthole_tests::bounded::bounded;
use posthole_tests::pattern::{assert_same, pattern};
use session_support::{listener, options, url};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

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

fn impatient(connections: usize) -> Listener {
    let limits = Limits {
        connections,
        head_time: Duration::from_millis(200),
        body_time: Duration::from_millis(200),
        min_rate: 100_000_000,
        ..Limits::default()
    };
    listener_with(limits)
}

fn listener_with(limits: Limits) -> Listener {
    let options = ListenOptions::new().limits(limits);
    Listener::bind("127.0.0.1:0", options).unwrap()
}

/// Both ends of a session, and of a stream that echoes.
struct Echo {
    near: Stream,
    client: Session,
    server: Session,
}

fn echo(listener: &Listener, options: Options) -> Echo {
    let client = connect(&url(listener), options).unwrap();
    let server = listener.accept().unwrap();
    let near = client.open().unwrap();
    let accepts = server.clone();
    thread::spawn(move || {
        let mut far = accepts.accept().unwrap();
        let mut room = vec![0; 100_000];
        while let Ok(amount @ 1..) = far.read(&mut room) {
            if far.write_all(&room[..amount]).is_err() {
                return;
            }
        }
        let _ = far.shutdown(Shutdown::Write);
    });
    Echo {
        near,
        client,
        server,
    }
}

impl Echo {
    fn ping(&mut self) {
        self.near.write_all(b"?").unwrap();
        let mut back = [0];
        self.near.read_exact(&mut back).unwrap();
        assert_eq!(back, *b"?");
    }

    /// Sends all of it and gets it back; does something after each half.
    fn bulk(&mut self, data: &[u8], mut between: impl FnMut()) {
        let mut writes = self.near.try_clone().unwrap();
        thread::scope(|scope| {
            scope.spawn(move || writes.write_all(data).unwrap());
            let mut got = vec![0; data.len()];
            for half in got.chunks_mut(data.len().div_ceil(2)) {
                self.near.read_exact(half).unwrap();
                between();
            }
            assert_same(&got, data);
        });
    }
}

#[test]
fn a_session_by_a_direct_connection_alone() {
    bounded(|| {
        let listener = listener();
        let addr = serve_direct(&listener);
        let mut echo = echo(&listener, at(addr).config(by(Carrier::Direct)));
        for _ in 0..100 {
            echo.ping();
        }
        echo.bulk(&pattern(1, 20_000_000), || ());
        echo.client.close().unwrap();
        assert_eq!(echo.client.stats().exchanges, 0);
    });
}

#[test]
fn a_direct_connection_that_is_known_is_tried_before_http() {
    bounded(|| {
        let listener = listener();
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let options = at(silent.local_addr().unwrap()).wait_for_answer(false);
        loop {
            let begun = Instant::now();
            let client = connect(&url(&listener), options.clone()).unwrap();
            let exchanges = client.stats().exchanges;
            client.abort();
            // Less than its head start; who took longer has seen nothing.
            if begun.elapsed() < Duration::from_millis(100) {
                return assert_eq!(exchanges, 0);
            }
        }
    });
}

#[test]
fn a_server_tells_its_port_and_the_session_moves_there() {
    bounded(|| {
        let listener = listener();
        serve_direct(&listener);
        let mut echo = echo(&listener, options());
        // By HTTP each of them takes an exchange.
        let (mut quiet, mut before) = (0, 0);
        while quiet < 50 {
            echo.ping();
            let exchanges = echo.client.stats().exchanges;
            quiet = if exchanges == before { quiet + 1 } else { 0 };
            before = exchanges;
        }
        assert!(before > 0, "it began by HTTP");
    });
}

#[test]
fn a_connection_that_is_cut_loses_nothing() {
    bounded(|| {
        let listener = listener();
        let relay = Relay::to(serve_direct(&listener));
        let mut echo = echo(&listener, at(relay.addr));
        echo.ping();
        echo.bulk(&pattern(2, 8_000_000), || relay.cut());
        while relay.made() < 2 {
            echo.ping();
        }
        echo.bulk(&pattern(3, 8_000_000), || relay.cut());
        assert!(relay.moved() > 0);
        echo.client.close().unwrap();
    });
}

#[test]
fn a_black_hole_is_left_for_http() {
    bounded(|| {
        let listener = listener();
        let relay = Relay::to(serve_direct(&listener));
        let mut echo = echo(&listener, at(relay.addr));
        echo.bulk(&pattern(4, 1_000_000), || ());
        assert!(relay.moved() > 0, "it went by the connection");
        relay.swallow();
        echo.bulk(&pattern(5, 8_000_000), || ());
        assert!(echo.client.stats().exchanges > 0);
        echo.client.close().unwrap();
    });
}

/// A bundle that takes longer than the server may be silent: each part of it is a sign of life.
#[test]
fn a_slow_connection_is_not_taken_for_a_dead_one() {
    bounded(|| {
        let listener = listener();
        let socket = narrow();
        let addr = socket.local_addr().unwrap();
        listener.serve_direct(socket).unwrap();
        let relay = Relay::to(addr);
        let mut echo = echo(&listener, at(relay.addr).config(by(Carrier::Direct)));
        // It was fast, so a bundle is expected to take little time.
        echo.bulk(&pattern(7, 4_000_000), || ());
        let before = relay.moved();
        let mut far = echo.server.open().unwrap();
        far.write_all(b"!").unwrap();
        let mut near = echo.client.accept().unwrap();
        near.read_exact(&mut [0]).unwrap();
        relay.slow_down();
        let data = pattern(6, 300_000);
        thread::scope(|scope| {
            scope.spawn(|| far.write_all(&data).unwrap());
            let mut got = vec![0; data.len()];
            near.read_exact(&mut got).unwrap();
            assert_same(&got, &data);
        });
        assert_eq!(relay.made(), 1);
        assert!(
            relay.moved() - before < data.len() * 3 / 2,
            "nothing went twice"
        );
        echo.client.close().unwrap();
    });
}

#[test]
fn whatever_is_dropped_first_nothing_stays_open() {
    bounded(|| {
        for order in [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ] {
            let listener = listener();
            let http = listener.local_addr().unwrap();
            let addr = serve_direct(&listener);
            let relay = Relay::to(addr);
            let mut echo = echo(&listener, at(relay.addr));
            echo.ping();
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
            while !relay.is_idle()
                || TcpListener::bind(addr).is_err()
                || TcpListener::bind(http).is_err()
            {
                thread::yield_now();
            }
        }
    });
}

#[test]
fn what_is_no_bundle_is_closed_and_harms_nobody() {
    bounded(|| {
        let listener = impatient(100);
        let addr = serve_direct(&listener);
        let mut echo = echo(&listener, at(addr).config(by(Carrier::Direct)));
        for bytes in garbage() {
            say(addr, &bytes);
            echo.ping();
        }
        assert_eq!(listener.sessions(), 1);
    });
}

#[test]
fn part_of_a_bundle_after_a_whole_one_has_its_time() {
    bounded(|| {
        let listener = impatient(100);
        let addr = serve_direct(&listener);
        let mut bytes = first_bundle(1);
        let second = bytes.clone();
        bytes.extend_from_slice(&second[..20]);
        assert!(!say(addr, &bytes).is_empty(), "the first was answered");
    });
}

/// And not ahead of what was said before: then the server's end of the session would be lost with the connection.
#[test]
fn a_session_needs_no_second_connection_for_its_end() {
    bounded(|| {
        let listener = listener();
        let relay = Relay::to(serve_direct(&listener));
        for made in 1..=5 {
            let mut echo = echo(&listener, at(relay.addr).config(by(Carrier::Direct)));
            echo.ping();
            echo.client.close().unwrap();
            assert_eq!(relay.made(), made);
        }
    });
}

/// A session of which the application has not heard, and never will, is no reason to go on listening.
#[test]
fn a_session_that_has_not_come_so_far_ends_with_the_listener() {
    let config = Config::builder().flush(Duration::from_millis(100));
    let options = ListenOptions::new().config(config.build().unwrap());
    let listener = Listener::bind("127.0.0.1:0", options).unwrap();
    let (http, addr) = (listener.local_addr().unwrap(), serve_direct(&listener));
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.write_all(&first_bundle(1)).unwrap();
    stream.peek(&mut [0]).unwrap();
    assert_eq!(listener.sessions(), 1);
    let dropped = Instant::now();
    drop(listener);
    while TcpListener::bind(http).is_err() {
        assert!(dropped.elapsed() < Duration::from_secs(60), "it goes on");
        thread::yield_now();
    }
}

#[test]
fn a_connection_that_says_nothing_has_the_time_of_a_head() {
    bounded(|| {
        let limits = Limits {
            head_time: Duration::from_millis(200),
            body_time: Duration::from_secs(1000),
            ..Limits::default()
        };
        let listener = listener_with(limits);
        let addr = serve_direct(&listener);
        assert!(is_hung_up(addr));
    });
}

#[test]
fn a_connection_too_many_is_closed_at_once_and_the_others_stay() {
    bounded(|| {
        let limits = Limits {
            connections: 1,
            head_time: Duration::from_secs(1000),
            ..Limits::default()
        };
        let listener = listener_with(limits);
        let addr = serve_direct(&listener);
        let relay = Relay::to(addr);
        let mut echo = echo(&listener, at(relay.addr).config(by(Carrier::Direct)));
        echo.ping();
        assert!(is_hung_up(addr));
        echo.ping();
        assert_eq!(relay.made(), 1);
    });
}

#[test]
fn a_connection_may_be_quiet_once_it_is_a_session_s() {
    bounded(|| {
        let head_time = Duration::from_secs(2);
        let limits = Limits {
            head_time,
            body_time: Duration::from_millis(300),
            min_rate: 100_000_000,
            ..Limits::default()
        };
        let listener = listener_with(limits);
        let relay = Relay::to(serve_direct(&listener));
        let mut echo = echo(&listener, at(relay.addr).config(by(Carrier::Direct)));
        echo.ping();
        thread::sleep(head_time * 3 / 2);
        echo.ping();
        assert_eq!(relay.made(), 1, "it was cut");
    });
}

#[test]
fn a_client_that_still_sends_is_not_reset_by_the_last_word() {
    bounded(|| {
        // Several times, as what comes late is reset, and a busy machine may be late.
        for seed in 1..=5 {
            let listener = listener();
            let addr = serve_direct(&listener);
            let mut stream = TcpStream::connect(addr).unwrap();
            stream.write_all(&first_bundle(seed)).unwrap();
            stream.peek(&mut [0]).unwrap();
            listener.close(Duration::ZERO);
            if may_go_on(stream) {
                return;
            }
        }
        panic!("it is closed at once");
    });
}

#[test]
fn a_connection_that_takes_nothing_ends_with_its_session() {
    bounded(|| {
        let listener = impatient(1);
        let socket = narrow();
        let addr = socket.local_addr().unwrap();
        listener.serve_direct(socket).unwrap();
        let relay = Relay::to(addr);
        let echo = echo(&listener, at(relay.addr).config(by(Carrier::Direct)));
        let mut far = echo.server.open().unwrap();
        relay.swallow();
        // Until no more is taken, by the session as by the socket.
        far.set_write_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        let data = vec![7; 1_000_000];
        while far.write(&data).is_ok() {}
        echo.server.abort();
        // Its place is for another, though the relay has closed nothing.
        another_gets_its_place(&listener, addr);
        assert!(!relay.is_idle());
    });
}

#[test]
fn a_client_that_never_closes_is_closed_with_its_session() {
    bounded(|| {
        let listener = impatient(1);
        let addr = serve_direct(&listener);
        let relay = Relay::to(addr);
        let mut echo = echo(&listener, at(relay.addr).config(by(Carrier::Direct)));
        echo.ping();
        relay.swallow();
        echo.server.abort();
        another_gets_its_place(&listener, addr);
        assert!(!relay.is_idle());
    });
}

#[test]
fn bytes_that_dribble_in_keep_no_connection_open() {
    bounded(|| {
        let listener = impatient(100);
        let addr = serve_direct(&listener);
        let (silent, said) = (Vec::new(), first_bundle(1));
        for (first, then) in [
            (silent, beginning(8_000, 600)),
            (said, beginning(100_000, 600)),
        ] {
            assert!(is_closed_though_bytes_come(addr, &first, &then));
        }
    });
}

#[test]
fn a_large_bundle_has_the_time_that_its_bytes_need() {
    bounded(|| {
        let limits = Limits {
            body_time: Duration::from_millis(200),
            ..Limits::default()
        };
        let listener = listener_with(limits);
        let addr = serve_direct(&listener);
        let then = beginning(100_000, 40);
        assert!(!is_closed_though_bytes_come(addr, &first_bundle(1), &then));
    });
}

/// However much time they have.
#[test]
fn strangers_and_sessions_send_no_more_of_a_bundle_than_they_may() {
    bounded(|| {
        let limits = Limits {
            bodies: 50_000,
            head_time: Duration::from_secs(1000),
            body_time: Duration::from_secs(1000),
            ..Limits::default()
        };
        let listener = listener_with(limits);
        let addr = serve_direct(&listener);
        assert_eq!(say(addr, &beginning(900_000, 20_000)), b"");
        say(
            addr,
            &[first_bundle(1), beginning(900_000, 200_000)].concat(),
        );
    });
}

/// What has come of a bundle counts until that is whole.
#[test]
fn connections_at_rest_take_nothing_of_the_others_room() {
    bounded(|| {
        let largest = 32 * 1024;
        let config = Config::builder().body_first(largest).body_max(largest);
        let limits = Limits {
            bodies: usize::try_from(largest).unwrap() + 100,
            ..Limits::default()
        };
        let options = ListenOptions::new()
            .limits(limits)
            .config(config.build().unwrap());
        let listener = Listener::bind("127.0.0.1:0", options).unwrap();
        let relay = Relay::to(serve_direct(&listener));
        // So that no bundle comes at once.
        relay.slow_down();
        let mut rest = Vec::new();
        for seed in 0..3 {
            let mut echo = echo(&listener, at(relay.addr).config(by(Carrier::Direct)));
            echo.bulk(&pattern(seed, 40_000), || ());
            rest.push(echo);
            assert_eq!(relay.made(), rest.len(), "one was cut");
        }
    });
}

#[test]
fn who_is_nobody_is_told_so() {
    bounded(|| {
        let listener = listener();
        let said = say(serve_direct(&listener), &unknown_bundle());
        assert!(!said.is_empty(), "it is closed without a word");
    });
}

#[test]
fn who_is_not_understood_is_told_so() {
    bounded(|| {
        let listener = listener();
        let said = answer_to_a_harmed_bundle(serve_direct(&listener));
        assert!(!said.is_empty(), "it is closed without a word");
        assert_eq!(listener.sessions(), 1);
    });
}

#[test]
fn who_is_not_understood_by_http_is_told_so() {
    bounded(|| {
        let listener = listener();
        let addr = listener.local_addr().unwrap();
        let line = answer_to_a_harmed_request(addr);
        assert!(line.starts_with("HTTP/1.1 "), "it is hung up on: {line}");
        assert_eq!(listener.sessions(), 1);
    });
}

#[test]
fn where_nobody_listens_it_is_tried_again() {
    bounded(|| {
        let listener = listener();
        let (socket, addr) = deaf();
        let mut echo = echo(&listener, at(addr));
        echo.ping();
        assert!(echo.client.stats().exchanges > 0);
        socket.listen(16).unwrap();
        listener.serve_direct(socket.into()).unwrap();
        while !echo.client.learned().unwrap().direct {
            echo.ping();
        }
    });
}

#[test]
fn a_connection_that_is_given_up_is_closed() {
    bounded(|| {
        let listener = listener();
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut echo = echo(&listener, at(silent.local_addr().unwrap()));
        assert!(is_left_by_its_client(&silent));
        echo.ping();
    });
}

#[test]
fn a_socket_takes_the_place_of_the_one_before() {
    bounded(|| {
        let listener = listener();
        let before = serve_direct(&listener);
        let addr = serve_direct(&listener);
        while TcpListener::bind(before).is_err() {
            thread::yield_now();
        }
        echo(&listener, at(addr).config(by(Carrier::Direct))).ping();
    });
}

#[test]
fn a_listener_that_closes_gives_the_port_back_and_closes_what_strangers_opened() {
    bounded(|| {
        let limits = Limits {
            head_time: Duration::from_secs(1000),
            ..Limits::default()
        };
        let listener = listener_with(limits);
        let addr = serve_direct(&listener);
        let mut silent = TcpStream::connect(addr).unwrap();
        // Accepted after it.
        let mut echo = echo(&listener, at(addr).config(by(Carrier::Direct)));
        echo.ping();
        listener.close(Duration::ZERO);
        let amount = silent.read(&mut [0]);
        assert!(amount.is_ok_and(|amount| amount == 0), "it is still open");
        while TcpListener::bind(addr).is_err() {
            thread::yield_now();
        }
    });
}

/// Of which there is one; until then it is turned away and tries again.
fn another_gets_its_place(listener: &Listener, addr: SocketAddr) {
    let patient = at(addr)
        .config(by(Carrier::Direct))
        .connect_timeout(Duration::from_secs(100));
    connect(&url(listener), patient).unwrap().abort();
}
