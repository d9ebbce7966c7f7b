//! The listener against clients, boxes and strangers: raw bytes in, exact answers out.
#![allow(clippy::unwrap_used)]

mod front_common;

use front_common::{
    Dummy, LONG, Mode, Seen, connect, post, read_reply, read_to_end, status, until,
};
use posthole_protocol::http::Refusal;
use posthole_smol::front::{Limits, OwnFront};
use posthole_smol::spawn::Spawner;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

fn quick() -> Limits {
    Limits {
        head_time: Duration::from_millis(300),
        body_time: Duration::from_millis(300),
        ..Limits::default()
    }
}

#[test]
#[rustfmt::skip]
fn each_abuse_gets_a_definite_answer_and_others_go_on() {
    let limits = Limits { body: 1000, ..quick() };
    let (front, dummy) = Dummy::start(Mode::Echo, limits);
    let mut other = connect(&front);
    let many_headers = format!("POST /p HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(101));
    let many_chunks = format!("POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{}", "1\r\nx\r\n".repeat(1001));
    let abuses = [
        ("get", &b"GET /p HTTP/1.1\r\nHost: a\r\n\r\n"[..], Refusal::NOT_POST),
        ("wrong path", b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", Refusal::NOT_HERE),
        ("absolute-form without a path", b"POST http://a HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", Refusal::NOT_HERE),
        ("asterisk-form", b"OPTIONS * HTTP/1.1\r\n\r\n", Refusal::NOT_HERE),
        ("authority-form", b"CONNECT a:443 HTTP/1.1\r\n\r\n", Refusal::NOT_HERE),
        ("random bytes", b"\x80\xff\x00\x13 rubbish \xfe", Refusal::NOT_HTTP),
        ("tls", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Refusal::NOT_HTTP),
        ("enormous length", b"POST /p HTTP/1.1\r\nContent-Length: 100000000000\r\n\r\nabc", Refusal::TOO_LARGE),
        ("uncountable length", b"POST /p HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n", Refusal::NOT_HTTP),
        ("negative length", b"POST /p HTTP/1.1\r\nContent-Length: -5\r\n\r\n", Refusal::NOT_HTTP),
        ("two lengths", b"POST /p HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", Refusal::NOT_HTTP),
        ("folded header", b"POST /p HTTP/1.1\r\nContent-Length: 5\r\n folded\r\n\r\nabcde", Refusal::NOT_HTTP),
        ("chunks in 1.0", b"POST /p HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refusal::NOT_HTTP),
        ("other coding", b"POST /p HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", Refusal::UNKNOWN_CODING),
        ("no length", b"POST /p HTTP/1.1\r\n\r\n", Refusal::NO_LENGTH),
        ("expect", b"POST /p HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n", Refusal::EXPECTS),
        ("http/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Refusal::BAD_VERSION),
        ("http/7", b"POST /p HTTP/7.0\r\nContent-Length: 1\r\n\r\nx", Refusal::BAD_VERSION),
        ("bad chunk", b"POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", Refusal::BAD_CHUNKS),
        ("enormous chunk", b"POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", Refusal::BAD_CHUNKS),
        ("many chunks", many_chunks.as_bytes(), Refusal::TOO_LARGE),
        ("many headers", many_headers.as_bytes(), Refusal::HEAD_TOO_LARGE),
        ("two requests", b"POST /p HTTP/1.1\r\nContent-Length: 1\r\n\r\naPOST /p HTTP/1.1\r\nContent-Length: 1\r\n\r\nb", Refusal::PIPELINED),
        ("half a head", b"POST /p HTTP/1.1\r\nContent-Le", Refusal::TOO_SLOW),
        ("half a body", b"POST /p HTTP/1.1\r\nContent-Length: 100\r\n\r\nabc", Refusal::TOO_SLOW),
        ("half a chunk", b"POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", Refusal::TOO_SLOW),
    ];
    for (name, bytes, expected) in abuses {
        let mut stream = connect(&front);
        stream.write_all(bytes).unwrap();
        let answer = String::from_utf8(read_to_end(&mut stream)).unwrap();
        assert_eq!(status(answer.as_bytes()), expected.status, "{name}: {answer}");
        assert!(answer.ends_with(&format!("\r\n\r\n{}", expected.text())), "{name}: {answer}");
        assert!(!answer.to_lowercase().contains("posthole"), "{name}: only ours are marked");
        post(&mut other, b"still here");
        assert_eq!(read_reply(&mut other).body, b"still here", "{name}");
    }
    assert_eq!(dummy.begun(), abuses.len() as u64, "the service has seen the other's requests alone");
}

#[test]
fn a_head_request_gets_no_text() {
    let (front, _) = Dummy::start(Mode::Echo, Limits::default());
    let mut stream = connect(&front);
    stream.write_all(b"HEAD /p HTTP/1.1\r\n\r\n").unwrap();
    let answer = String::from_utf8(read_to_end(&mut stream)).unwrap();
    assert_eq!(status(answer.as_bytes()), 405);
    assert!(
        answer.contains("allow: POST\r\n") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
}

/// RFC 9110 §8.6 and RFC 9112 §6.3 leave a choice here, and hyper's is not the blocking front's: it serves these. The
/// second closes, so that nothing can be smuggled behind it.
#[test]
fn equal_lengths_are_one_and_chunks_go_before_a_length() {
    let (front, _) = Dummy::start(Mode::Echo, Limits::default());
    let mut stream = connect(&front);
    stream
        .write_all(b"POST /p HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc")
        .unwrap();
    assert_eq!(read_reply(&mut stream).body, b"abc");
    stream
        .write_all(b"POST /p HTTP/1.1\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n")
        .unwrap();
    assert_eq!(read_reply(&mut stream).body, b"ab");
    assert_eq!(read_to_end(&mut stream), b"");
}

#[test]
fn half_a_request_and_then_an_end_is_a_close() {
    let (front, dummy) = Dummy::start(Mode::Echo, Limits::default());
    for bytes in [
        &b""[..],
        b"POST /p HT",
        b"POST /p HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc",
    ] {
        let mut stream = connect(&front);
        stream.write_all(bytes).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&mut stream), b"");
    }
    assert_eq!(dummy.begun(), 0);
}

#[test]
fn a_body_that_dribbles_in_is_given_up() {
    let limits = Limits {
        min_rate: 1_000_000,
        ..quick()
    };
    let (front, dummy) = Dummy::start(Mode::Echo, limits);
    let mut stream = connect(&front);
    stream
        .write_all(b"POST /p HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n")
        .unwrap();
    // Each byte in time for a time-out of one receive, all of them far too slow for the rate.
    stream
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    let mut answer = Vec::new();
    for _ in 0..3000 {
        let _ = stream.write_all(b"x");
        match stream.read(&mut [0; 1024][..]) {
            Ok(0) => break,
            Ok(n) => answer.push(n),
            Err(_) => {}
        }
    }
    assert!(!answer.is_empty(), "never refused");
    assert_eq!(dummy.begun(), 0);
}

#[test]
fn a_head_of_200_mb_is_read_to_a_bound_only() {
    let (front, _) = Dummy::start(
        Mode::Echo,
        Limits {
            linger: 1_000_000,
            ..Limits::default()
        },
    );
    let mut stream = connect(&front);
    stream.write_all(b"POST /p HTTP/1.1\r\n").unwrap();
    let line = [b"x: ".to_vec(), vec![b'y'; 64 * 1024], b"\r\n".to_vec()].concat();
    let mut sent = 0;
    while sent < 200_000_000 && stream.write_all(&line).is_ok() {
        sent += line.len();
    }
    // What the front takes and what both sockets' buffers hold.
    assert!(sent < 20_000_000, "{sent} bytes were taken");
}

#[test]
fn a_refusal_is_readable_by_a_client_that_still_sends() {
    let (front, _) = Dummy::start(Mode::Echo, Limits::default());
    for _ in 0..20 {
        let mut stream = connect(&front);
        stream
            .write_all(b"POST /p HTTP/1.1\r\nContent-Length: 5000000\r\n\r\n")
            .unwrap();
        stream.write_all(&vec![0; 5_000_000]).unwrap();
        assert_eq!(status(&read_to_end(&mut stream)), 413);
    }
}

#[test]
fn a_connection_serves_many_requests_of_all_sizes() {
    let (front, dummy) = Dummy::start(Mode::Echo, Limits::default());
    let mut stream = connect(&front);
    for n in 0..100_usize {
        let body = vec![n as u8; (n * n * 107) % 1_048_577];
        post(&mut stream, &body);
        let reply = read_reply(&mut stream);
        assert_eq!(
            (reply.status, reply.body == body),
            (200, true),
            "request {n}"
        );
        assert_eq!(reply.header("posthole"), Some("1"));
        assert_eq!(
            reply.header("posthole-exchange"),
            Some(n.to_string().as_str())
        );
        assert_eq!(
            reply.header("cache-control"),
            Some("no-store, no-transform")
        );
        assert_eq!(reply.header("x-accel-buffering"), Some("no"));
        assert_eq!(
            reply.header("content-type"),
            Some("application/octet-stream")
        );
        assert_eq!(reply.header("connection"), None);
    }
    assert_eq!(dummy.begun(), 100);
}

#[test]
fn the_largest_body_passes_and_one_byte_more_does_not() {
    let (front, _) = Dummy::start(
        Mode::Echo,
        Limits {
            body: 100_000,
            ..Limits::default()
        },
    );
    let mut stream = connect(&front);
    post(&mut stream, &[7; 100_000]);
    assert_eq!(read_reply(&mut stream).body, [7; 100_000]);
    post(&mut stream, &[7; 100_001]);
    assert_eq!(status(&read_to_end(&mut stream)), 413);
}

#[test]
fn http_1_0_closes_unless_asked_to_stay() {
    let (front, _) = Dummy::start(Mode::Echo, Limits::default());
    let mut stream = connect(&front);
    stream
        .write_all(
            b"POST http://h/p?t=1 HTTP/1.0\r\ncontent-length: 1\r\nconnection: keep-alive\r\n\r\na",
        )
        .unwrap();
    let reply = read_reply(&mut stream);
    assert_eq!(
        (reply.body.as_slice(), reply.header("connection")),
        (&b"a"[..], Some("keep-alive"))
    );
    stream
        .write_all(b"POST /p HTTP/1.0\r\ncontent-length: 1\r\n\r\nb")
        .unwrap();
    let answer = read_to_end(&mut stream);
    let text = String::from_utf8_lossy(&answer).to_lowercase();
    assert!(
        text.starts_with("http/1.0 200 ok\r\n")
            && text.ends_with("\r\n\r\nb")
            && !text.contains("chunked"),
        "{text}"
    );
}

#[test]
fn chunked_bodies_are_taken_however_they_are_cut() {
    let (front, _) = Dummy::start(Mode::Echo, Limits::default());
    let mut stream = connect(&front);
    let body: Vec<u8> = (0..600_000_u32).map(|n| (n % 251) as u8).collect();
    for (size, piece) in [
        (1000, 77_777),
        (65_536, 1_000),
        (600_000, 600_000),
        (50_000, 3_001),
    ] {
        let mut coded = b"POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for chunk in body.chunks(size) {
            coded.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            coded.extend_from_slice(chunk);
            coded.extend_from_slice(b"\r\n");
        }
        coded.extend_from_slice(b"0\r\n\r\n");
        for piece in coded.chunks(piece) {
            stream.write_all(piece).unwrap();
        }
        assert!(
            read_reply(&mut stream).body == body,
            "chunks of {size} in pieces of {piece}"
        );
    }
}

#[test]
fn a_client_that_goes_while_held_is_noticed() {
    let (front, dummy) = Dummy::start(Mode::Hold, Limits::default());
    let mut stream = connect(&front);
    post(&mut stream, b"hold me");
    let held = dummy.wait(|seen| matches!(seen, Seen::Begun(_)));
    drop(stream);
    let gone = dummy.wait(|seen| matches!(seen, Seen::Gone(_)));
    assert_eq!(held.number(), gone.number());
    dummy.answer_all();
    assert_eq!(dummy.gone(), 1, "said once");
}

#[test]
fn a_client_that_closes_its_side_gets_an_answer_that_is_ready_but_is_not_held() {
    let (front, dummy) = Dummy::start(Mode::Large(20_000_000), Limits::default());
    let mut stream = connect(&front);
    post(&mut stream, b"all there is");
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_reply(&mut stream).body.len(), 20_000_000);
    assert_eq!(read_to_end(&mut stream), b"");
    assert_eq!(dummy.begun(), 1);

    let (front, dummy) = Dummy::start(Mode::Hold, Limits::default());
    for closes_at_once in [true, false] {
        let mut stream = connect(&front);
        post(&mut stream, b"hold me");
        if closes_at_once {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        dummy.wait(|seen| matches!(seen, Seen::Begun(_)));
        if !closes_at_once {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        dummy.wait(|seen| matches!(seen, Seen::Gone(_)));
        assert_eq!(read_to_end(&mut stream), b"");
    }
}

#[test]
fn a_request_before_the_answer_closes_the_connection() {
    let (front, dummy) = Dummy::start(Mode::Hold, Limits::default());
    let mut stream = connect(&front);
    post(&mut stream, b"one");
    dummy.wait(|seen| matches!(seen, Seen::Begun(_)));
    post(&mut stream, b"two");
    dummy.wait(|seen| matches!(seen, Seen::Gone(_)));
    assert_eq!(read_to_end(&mut stream), b"");
    assert_eq!(dummy.begun(), 1);
}

#[test]
fn answers_may_come_later_from_another_thread() {
    let (front, dummy) = Dummy::start(Mode::Hold, Limits::default());
    let mut streams: Vec<_> = (0..20).map(|_| connect(&front)).collect();
    for round in 0..10_u8 {
        for (n, stream) in streams.iter_mut().enumerate() {
            post(stream, &[round, n as u8]);
        }
        for _ in 0..20 {
            dummy.wait(|seen| matches!(seen, Seen::Begun(_)));
        }
        dummy.answer_all();
        for (n, stream) in streams.iter_mut().enumerate() {
            assert_eq!(read_reply(stream).body, [round, n as u8]);
        }
    }
    assert_eq!(dummy.gone(), 0);
}

#[test]
fn a_request_that_comes_to_no_reply_closes_the_connection() {
    let (front, dummy) = Dummy::start(Mode::Hold, Limits::default());
    let mut stream = connect(&front);
    post(&mut stream, b"one");
    dummy.wait(|seen| matches!(seen, Seen::Begun(_)));
    dummy.drop_all();
    assert_eq!(read_to_end(&mut stream), b"");
    dummy.wait(|seen| matches!(seen, Seen::Gone(_)));
}

#[test]
fn a_large_answer_to_a_slow_reader_holds_up_nobody() {
    let (front, dummy) = Dummy::start(Mode::Large(20_000_000), Limits::default());
    let mut slow = connect(&front);
    post(&mut slow, b"x");
    // The answer is far more than the sockets' buffers take.
    dummy.wait(|seen| matches!(seen, Seen::Begun(_)));
    let mut other = connect(&front);
    post(&mut other, b"x");
    assert_eq!(read_reply(&mut other).body.len(), 20_000_000);
    let reply = read_reply(&mut slow);
    assert!(reply.body.len() == 20_000_000 && reply.body.iter().all(|byte| *byte == 9));
    post(&mut slow, b"y");
    assert_eq!(
        read_reply(&mut slow).body.len(),
        20_000_000,
        "and the connection goes on"
    );
    assert_eq!(dummy.gone(), 0);
}

#[test]
fn a_large_last_answer_is_whole_before_the_end() {
    let (front, _) = Dummy::start(Mode::Large(20_000_000), Limits::default());
    let mut stream = connect(&front);
    stream
        .write_all(b"POST /p HTTP/1.0\r\nContent-Length: 1\r\n\r\nx")
        .unwrap();
    assert_eq!(read_reply(&mut stream).body.len(), 20_000_000);
    assert_eq!(read_to_end(&mut stream), b"");
}

#[test]
fn an_answer_that_is_not_taken_closes_the_connection() {
    let (front, dummy) = Dummy::start(
        Mode::Large(20_000_000),
        Limits {
            min_rate: u32::MAX,
            ..quick()
        },
    );
    let mut never = connect(&front);
    post(&mut never, b"x");
    dummy.wait(|seen| matches!(seen, Seen::Begun(_)));
    until(|| front.connections() == 0);
    let mut broken = connect(&front);
    post(&mut broken, b"x");
    dummy.wait(|seen| matches!(seen, Seen::Begun(_)));
    drop(broken);
    until(|| front.connections() == 0);
}

#[test]
fn five_hundred_idle_connections_hinder_nobody() {
    let (front, _) = Dummy::start(Mode::Echo, Limits::default());
    let idle: Vec<TcpStream> = (0..500).map(|_| connect(&front)).collect();
    let mut stream = connect(&front);
    post(&mut stream, b"hello");
    assert_eq!(read_reply(&mut stream).body, b"hello");
    drop(idle);
}

#[test]
fn an_idle_connection_is_closed_in_time_and_a_held_one_is_not() {
    let limits = Limits {
        idle: Duration::from_millis(100),
        ..Limits::default()
    };
    let (front, dummy) = Dummy::start(Mode::Hold, limits);
    let mut held = connect(&front);
    post(&mut held, b"x");
    dummy.wait(|seen| matches!(seen, Seen::Begun(_)));
    for _ in 0..3 {
        assert_eq!(read_to_end(&mut connect(&front)), b"");
    }
    dummy.answer_all();
    assert_eq!(read_reply(&mut held).body, b"x");
    assert_eq!(read_to_end(&mut held), b"");
}

#[test]
fn beyond_the_limit_connections_are_told_to_come_again() {
    let (front, _) = Dummy::start(
        Mode::Echo,
        Limits {
            connections: 2,
            ..Limits::default()
        },
    );
    let mut held = [connect(&front), connect(&front)];
    for stream in &mut held {
        post(stream, b"in");
        assert_eq!(read_reply(stream).body, b"in");
    }
    let answer = read_to_end(&mut connect(&front));
    assert_eq!(status(&answer), 503);
    assert!(String::from_utf8_lossy(&answer).contains("Retry-After: 1\r\n"));
    let [stays, goes] = held;
    drop(goes);
    until(|| {
        let mut stream = connect(&front);
        post(&mut stream, b"again");
        status(&read_some(&mut stream)) == 200
    });
    drop(stays);
}

fn read_some(stream: &mut TcpStream) -> Vec<u8> {
    let mut some = vec![0; 1000];
    let n = stream.read(&mut some).unwrap_or(0);
    some.truncate(n);
    some
}

#[test]
fn bodies_beyond_the_budget_are_told_to_come_again() {
    let (front, _) = Dummy::start(
        Mode::Echo,
        Limits {
            bodies: 100_000,
            ..Limits::default()
        },
    );
    let mut both = [connect(&front), connect(&front)];
    for stream in &mut both {
        stream
            .write_all(b"POST /p HTTP/1.1\r\nContent-Length: 60000\r\n\r\nabc")
            .unwrap();
        stream.set_nonblocking(true).unwrap();
    }
    // There is room for one of them, whichever was first.
    let mut refused = None;
    until(|| {
        refused = both.iter().position(|stream| stream.peek(&mut [0]).is_ok());
        refused.is_some()
    });
    let (mut refused, mut served) = match (refused, both) {
        (Some(0), [a, b]) => (a, b),
        (_, [a, b]) => (b, a),
    };
    refused.set_nonblocking(false).unwrap();
    served.set_nonblocking(false).unwrap();
    let mut answer = [0; 100];
    let read = refused.read(&mut answer).unwrap();
    assert_eq!(status(&answer[..read]), 503);
    served.write_all(&[1; 59_997]).unwrap();
    assert_eq!(read_reply(&mut served).status, 200);
}

#[test]
fn stop_lets_a_reply_finish_and_closes_the_rest() {
    let (front, dummy) = Dummy::start(Mode::Large(20_000_000), Limits::default());
    let mut writing = connect(&front);
    let mut idle = connect(&front);
    post(&mut writing, b"x");
    dummy.wait(|seen| matches!(seen, Seen::Begun(_)));
    let addr = front.local_addr();
    let stopper = std::thread::spawn(move || smol::block_on(front.stop(Duration::from_secs(60))));
    assert_eq!(read_to_end(&mut idle), b"");
    let reply = read_reply(&mut writing);
    assert_eq!(reply.body.len(), 20_000_000);
    assert_eq!(read_to_end(&mut writing), b"");
    stopper.join().unwrap();
    assert!(TcpStream::connect(addr).is_err(), "it listens no more");
}

/// Whatever a connection is doing, short of writing an answer, it ends at once.
#[test]
fn stop_in_the_middle_of_a_request() {
    let (front, dummy) = Dummy::start(Mode::Hold, Limits::default());
    let mut streams: Vec<_> = [
        &b""[..],
        b"POST /p HT",
        b"POST /p HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc",
        b"POST /p HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
    ]
    .into_iter()
    .map(|bytes| {
        let mut stream = connect(&front);
        stream.write_all(bytes).unwrap();
        stream
    })
    .collect();
    dummy.wait(|seen| matches!(seen, Seen::Begun(_)));
    until(|| front.connections() == 4);
    smol::block_on(front.stop(LONG));
    for stream in &mut streams {
        assert_eq!(read_to_end(stream), b"");
    }
    assert_eq!((dummy.begun(), dummy.gone()), (1, 1));
}

#[test]
fn a_reply_that_is_not_taken_is_waited_for_no_longer_than_told() {
    let (front, dummy) = Dummy::start(Mode::Large(20_000_000), Limits::default());
    let mut never = connect(&front);
    post(&mut never, b"x");
    dummy.wait(|seen| matches!(seen, Seen::Begun(_)));
    smol::block_on(front.stop(Duration::from_millis(50)));
    assert!(read_to_end(&mut never).len() < 20_000_000);
}

#[test]
fn it_runs_wherever_its_tasks_are_started() {
    let executor = Arc::new(smol::Executor::new());
    let spawner = {
        let executor = Arc::clone(&executor);
        Spawner::new(move |task| executor.spawn(task).detach())
    };
    let (stop, stopped) = smol::channel::bounded::<()>(1);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let dummy = Dummy::new(Mode::Echo);
    let front = OwnFront::start_on(
        &spawner,
        listener,
        "/p".into(),
        Limits::default(),
        dummy.clone(),
    )
    .unwrap();
    // One thread, so that nothing may block it.
    let thread = std::thread::spawn(move || smol::block_on(executor.run(stopped.recv())));
    let mut streams: Vec<_> = (0..50).map(|_| connect(&front)).collect();
    for round in 0..20_u8 {
        for stream in &mut streams {
            post(stream, &[round; 5000]);
        }
        for stream in &mut streams {
            assert_eq!(read_reply(stream).body, [round; 5000]);
        }
    }
    smol::block_on(front.stop(LONG));
    drop(stop);
    assert!(thread.join().unwrap().is_err());
    assert_eq!(dummy.begun(), 1000);
}

#[test]
fn dropping_the_front_hangs_up_what_is_held() {
    let (front, dummy) = Dummy::start(Mode::Hold, Limits::default());
    let mut stream = connect(&front);
    post(&mut stream, b"x");
    dummy.wait(|seen| matches!(seen, Seen::Begun(_)));
    drop::<OwnFront>(front);
    dummy.wait(|seen| matches!(seen, Seen::Gone(_)));
    assert_eq!(read_to_end(&mut stream), b"");
}
