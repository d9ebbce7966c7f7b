//! Strangers, who may send anything, slowly, and very much of it.

use super::quick;
use crate::front_common::{
    Dummy, LONG, Limits, Mode, Seen, connect, connect_to, post, read_reply, read_some, read_to_end,
    status, stop, until,
};
use posthole_protocol::http::Refusal;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

#[test]
#[rustfmt::skip]
fn each_abuse_gets_a_definite_answer_and_others_go_on() {
    let limits = Limits { body: 1000, ..quick() };
    let (front, dummy) = Dummy::start(Mode::Echo, limits);
    let mut other = connect(&front);
    let many_headers = format!("POST /p HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(101));
    let many_chunks = format!("POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{}", "1\r\nx\r\n".repeat(1001));
    let abuses = [
        ("get", &b"GET /p HTTP/1.1\r\nHost: a\r\n\r\n"[..], &[Refusal::NOT_POST][..]),
        ("wrong path", b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", &[Refusal::NOT_HERE]),
        ("absolute-form without a path", b"POST http://a HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", &[Refusal::NOT_HERE]),
        ("asterisk-form", b"OPTIONS * HTTP/1.1\r\n\r\n", &[Refusal::NOT_HERE]),
        ("authority-form", b"CONNECT a:443 HTTP/1.1\r\n\r\n", &[Refusal::NOT_HERE]),
        ("random bytes", b"\x80\xff\x00\x13 rubbish \xfe", &[Refusal::NOT_HTTP]),
        ("tls", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", &[Refusal::NOT_HTTP]),
        ("enormous length", b"POST /p HTTP/1.1\r\nContent-Length: 100000000000\r\n\r\nabc", &[Refusal::TOO_LARGE]),
        ("uncountable length", b"POST /p HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n", &[Refusal::NOT_HTTP, Refusal::TOO_LARGE]),
        ("negative length", b"POST /p HTTP/1.1\r\nContent-Length: -5\r\n\r\n", &[Refusal::NOT_HTTP, Refusal::BAD_LENGTH]),
        ("two lengths", b"POST /p HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", &[Refusal::NOT_HTTP, Refusal::TWO_LENGTHS]),
        ("folded header", b"POST /p HTTP/1.1\r\nContent-Length: 5\r\n folded\r\n\r\nabcde", &[Refusal::NOT_HTTP]),
        ("chunks in 1.0", b"POST /p HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[Refusal::NOT_HTTP, Refusal::OLD_CHUNKS]),
        ("other coding", b"POST /p HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", &[Refusal::UNKNOWN_CODING]),
        ("no length", b"POST /p HTTP/1.1\r\n\r\n", &[Refusal::NO_LENGTH]),
        ("expect", b"POST /p HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n", &[Refusal::EXPECTS]),
        ("http/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[Refusal::BAD_VERSION]),
        ("http/7", b"POST /p HTTP/7.0\r\nContent-Length: 1\r\n\r\nx", &[Refusal::BAD_VERSION]),
        ("bad chunk", b"POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", &[Refusal::BAD_CHUNKS]),
        ("enormous chunk", b"POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", &[Refusal::BAD_CHUNKS, Refusal::TOO_LARGE]),
        ("many chunks", many_chunks.as_bytes(), &[Refusal::TOO_LARGE]),
        ("many headers", many_headers.as_bytes(), &[Refusal::HEAD_TOO_LARGE, Refusal::TOO_MANY_HEADERS]),
        ("two requests", b"POST /p HTTP/1.1\r\nContent-Length: 1\r\n\r\naPOST /p HTTP/1.1\r\nContent-Length: 1\r\n\r\nb", &[Refusal::PIPELINED]),
        ("half a head", b"POST /p HTTP/1.1\r\nContent-Le", &[Refusal::TOO_SLOW]),
        ("half a body", b"POST /p HTTP/1.1\r\nContent-Length: 100\r\n\r\nabc", &[Refusal::TOO_SLOW]),
        ("half a chunk", b"POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", &[Refusal::TOO_SLOW]),
    ];
    for (name, bytes, expected) in abuses {
        let mut stream = connect(&front);
        stream.write_all(bytes).unwrap();
        let answer = String::from_utf8(read_to_end(&mut stream)).unwrap();
        // hyper's words for some of it are fewer than ours.
        let is = |refusal: &Refusal| status(answer.as_bytes()) == refusal.status
            && answer.ends_with(&format!("\r\n\r\n{}", refusal.text()));
        assert!(expected.iter().any(is), "{name}: {answer}");
        assert!(!answer.to_lowercase().contains("posthole"), "{name}: only ours are marked");
        post(&mut other, b"still here");
        assert_eq!(read_reply(&mut other).body, b"still here", "{name}");
    }
    assert_eq!(dummy.begun(), abuses.len() as u64, "the service has seen the other's requests alone");
}

/// However large the memory is that a body is received into.
#[test]
fn a_request_behind_a_large_body_is_not_swallowed() {
    let (front, dummy) = Dummy::start(Mode::Hold, Limits::default());
    for _ in 0..5 {
        let mut stream = connect(&front);
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        // Its memory is there for the next body, which is smaller.
        let larger = vec![1; 96 * 1024];
        post(&mut stream, &larger);
        dummy.wait(|seen| matches!(seen, Seen::Begun(_)));
        dummy.answer_all();
        assert!(read_reply(&mut stream).body == larger);
        let mut both = b"POST /p HTTP/1.1\r\nContent-Length: 71680\r\n\r\n".to_vec();
        both.resize(both.len() + 71_680, 2);
        both.extend_from_slice(b"POST /p HTTP/1.1\r\nContent-Length: 1\r\n\r\nb");
        stream.write_all(&both).unwrap();
        // Refused, or hung up if it was held before the other came.
        let answer = read_to_end(&mut stream);
        assert!(
            answer.is_empty() || status(&answer) == Refusal::PIPELINED.status,
            "{}",
            String::from_utf8_lossy(&answer)
        );
        dummy.drop_all();
    }
}

#[test]
fn a_head_request_gets_no_text() {
    let (front, _) = Dummy::start(Mode::Echo, Limits::default());
    let mut stream = connect(&front);
    stream.write_all(b"HEAD /p HTTP/1.1\r\n\r\n").unwrap();
    let answer = String::from_utf8(read_to_end(&mut stream)).unwrap();
    assert_eq!(status(answer.as_bytes()), 405);
    assert!(
        answer.to_lowercase().contains("allow: post\r\n") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
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
fn a_head_that_dribbles_in_is_given_up() {
    let (front, dummy) = Dummy::start(Mode::Echo, quick());
    let mut stream = connect(&front);
    stream.write_all(b"POST /p HTTP/1.1\r\nX: ").unwrap();
    assert_eq!(dribble(&mut stream), Some(Refusal::TOO_SLOW.status));
    assert_eq!(dummy.begun(), 0);
}

#[test]
fn a_body_that_dribbles_in_is_given_up() {
    let limits = Limits {
        min_rate: 1_000_000,
        ..quick()
    };
    let (front, dummy) = Dummy::start(Mode::Echo, limits);
    for head in [
        "Content-Length: 1000000\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\nf4240\r\n",
    ] {
        let mut stream = connect(&front);
        let bytes = format!("POST /p HTTP/1.1\r\n{head}");
        stream.write_all(bytes.as_bytes()).unwrap();
        let answer = dribble(&mut stream);
        assert_eq!(answer, Some(Refusal::TOO_SLOW.status), "{head}");
    }
    assert_eq!(dummy.begun(), 0);
}

/// Sends a byte every 20 ms, ten seconds and more: each of them in time for a time-out of one receive. The status of
/// the answer to that, if there is one.
fn dribble(stream: &mut TcpStream) -> Option<u16> {
    stream
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    for _ in 0..500 {
        let _ = stream.write_all(b"x");
        let mut answer = [0; 1024];
        match stream.read(&mut answer) {
            Ok(0) => return None,
            Ok(amount) => return Some(status(&answer[..amount])),
            Err(_) => {}
        }
    }
    None
}

#[test]
fn a_refused_client_that_goes_on_and_on_is_closed() {
    let limits = Limits {
        linger_time: Duration::from_millis(300),
        body_time: Duration::from_secs(1000),
        ..Limits::default()
    };
    let (front, _) = Dummy::start(Mode::Echo, limits);
    let mut stream = connect(&front);
    stream.write_all(b"GET /p HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(status(&read_to_end(&mut stream)), 405);
    let is_closed = (0..300).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        stream.write_all(b"x").is_err()
    });
    assert!(is_closed, "it is read for ever");
}

#[test]
fn a_head_may_be_as_large_as_the_limits_say() {
    let limits = Limits {
        head: 2000,
        ..Limits::default()
    };
    let (front, _) = Dummy::start(Mode::Echo, limits);
    for (size, expected) in [(1800, 200), (2100, 431)] {
        let mut stream = connect(&front);
        let header = "y".repeat(size);
        let head = format!("POST /p HTTP/1.1\r\nX: {header}\r\nContent-Length: 1\r\n\r\nx");
        stream.write_all(head.as_bytes()).unwrap();
        assert_eq!(status(&read_some(&mut stream)), expected, "{size}");
    }
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
fn a_connection_is_idle_from_its_last_answer_on() {
    let idle = Duration::from_millis(300);
    let limits = Limits {
        idle,
        ..Limits::default()
    };
    let (front, dummy) = Dummy::start(Mode::Hold, limits);
    let mut stream = connect(&front);
    post(&mut stream, b"x");
    dummy.wait(|seen| matches!(seen, Seen::Begun(_)));
    // Longer than it may be idle, and no multiple of that.
    std::thread::sleep(idle * 3 / 2);
    let answered = Instant::now();
    dummy.answer_all();
    assert_eq!(read_reply(&mut stream).body, b"x");
    assert_eq!(read_to_end(&mut stream), b"");
    assert!(answered.elapsed() >= idle, "{:?}", answered.elapsed());
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

/// What has come from it is read first, or its system would hear of a reset and might throw the answer away.
#[test]
fn who_asks_and_is_turned_away_reads_why_to_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    // All have asked before the first is looked at.
    let mut streams = [(); 5].map(|()| connect_to(addr));
    for stream in &mut streams {
        post(stream, b"in");
    }
    let limits = Limits {
        connections: 1,
        ..Limits::default()
    };
    let (front, _dummy) = Dummy::start_on(listener, Mode::Hold, limits);
    for stream in &mut streams[1..] {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(status(&answer), 503);
    }
    stop(front, LONG);
    for stream in &streams[1..] {
        let error = stream.take_error().unwrap();
        assert!(error.is_none(), "it was reset: {error:?}");
    }
}

/// A body in chunks says only by and by how large it is.
#[test]
fn a_body_that_grows_beyond_the_budget_is_told_to_come_again() {
    let limits = Limits {
        bodies: 100_000,
        ..Limits::default()
    };
    let (front, _) = Dummy::start(Mode::Echo, limits);
    let mut stream = connect(&front);
    let head = b"POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n";
    stream.write_all(head).unwrap();
    for _ in 0..15 {
        // Whoever is refused may be hung up on.
        let _ = stream.write_all(b"2710\r\n");
        let _ = stream.write_all(&[1; 10_000]);
        let _ = stream.write_all(b"\r\n");
    }
    let _ = stream.write_all(b"0\r\n\r\n");
    assert_eq!(status(&read_some(&mut stream)), 503);
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

/// Or strangers could have all of it by saying how much is to come. And a body that is whole takes nothing.
#[test]
fn bodies_take_of_the_budget_what_has_come_and_not_what_is_claimed() {
    let limits = Limits {
        body: 1_000_000,
        bodies: 1_000_000,
        ..Limits::default()
    };
    let (front, _) = Dummy::start(Mode::Echo, limits);
    let claims: Vec<_> = (0..5)
        .map(|_| {
            let mut stream = connect(&front);
            stream
                .write_all(b"POST /p HTTP/1.1\r\nContent-Length: 900000\r\n\r\nabc")
                .unwrap();
            stream
        })
        .collect();
    let mut stream = connect(&front);
    for size in [10, 10, 500_000, 500_000, 500_000] {
        post(&mut stream, &vec![7; size]);
        assert_eq!(read_reply(&mut stream).body, vec![7; size]);
    }
    drop(claims);
}
