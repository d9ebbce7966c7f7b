//! Clients that behave, and those that go.

use super::quick;
use crate::front_common::{
    Dummy, Limits, Mode, Seen, connect, post, read_reply, read_to_end, status,
};
use std::io::Write;
use std::net::Shutdown;
use std::time::Duration;

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
        (text.contains("connection: close\r\n") || text.starts_with("http/1.0 200"))
            && text.ends_with("\r\n\r\nb")
            && !text.contains("chunked"),
        "{text}"
    );
}

/// proxy.py 2.4 does not know ours in lower case, and adds its own.
#[test]
fn a_length_that_a_box_says_again_counts_once() {
    let (front, _) = Dummy::start(Mode::Echo, Limits::default());
    let mut stream = connect(&front);
    stream
        .write_all(b"POST /p HTTP/1.1\r\ncontent-length: 3\r\nContent-Length: 3\r\n\r\nabc")
        .unwrap();
    assert_eq!(read_reply(&mut stream).body, b"abc");
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
        // What follows the last one is nobody's.
        coded.extend_from_slice(b"0\r\nX-Sum: 7\r\n\r\n");
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
fn a_head_may_come_in_two_pieces_wherever_it_is_cut() {
    let (front, _) = Dummy::start(Mode::Echo, Limits::default());
    let mut stream = connect(&front);
    let head = b"POST /p HTTP/1.1\r\nContent-Length: 1\r\n\r\n";
    for cut in 1..head.len() {
        stream.write_all(&head[..cut]).unwrap();
        // Time enough to be received by itself.
        std::thread::sleep(Duration::from_millis(5));
        stream.write_all(&head[cut..]).unwrap();
        stream.write_all(b"x").unwrap();
        assert_eq!(read_reply(&mut stream).body, b"x", "cut at {cut}");
    }
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
fn a_hangup_is_of_the_request_that_is_held_and_not_of_one_before_it() {
    let (front, dummy) = Dummy::start(Mode::Either, Limits::default());
    let mut stream = connect(&front);
    post(&mut stream, b"echo");
    read_reply(&mut stream);
    let echoed = dummy.wait(|seen| matches!(seen, Seen::Begun(_)));
    post(&mut stream, b"hold me");
    let held = dummy.wait(|seen| matches!(seen, Seen::Begun(_)));
    assert_ne!(echoed.number(), held.number());
    drop(stream);
    let gone = dummy.wait(|seen| matches!(seen, Seen::Gone(_)));
    assert_eq!(held.number(), gone.number());
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

/// What comes while an answer is being written waits for its end, and is heard then.
#[test]
fn who_asks_again_before_it_has_read_the_answer_has_both() {
    let (front, dummy) = Dummy::start(Mode::Large(20_000_000), Limits::default());
    let mut early = connect(&front);
    post(&mut early, b"x");
    // The answer is far more than the sockets' buffers take.
    dummy.wait(|seen| matches!(seen, Seen::Begun(_)));
    std::thread::sleep(Duration::from_millis(100));
    post(&mut early, b"y");
    assert_eq!(read_reply(&mut early).body.len(), 20_000_000);
    assert_eq!(read_reply(&mut early).body.len(), 20_000_000);
}

/// Beside what any body has: as much as its bytes need at the lowest rate.
#[test]
fn a_body_of_which_much_has_come_has_time() {
    let limits = Limits {
        min_rate: 1,
        ..quick()
    };
    let (front, _) = Dummy::start(Mode::Echo, limits);
    let mut stream = connect(&front);
    stream
        .write_all(b"POST /p HTTP/1.1\r\nContent-Length: 20000\r\n\r\n")
        .unwrap();
    // It is waited for when nothing has come.
    std::thread::sleep(Duration::from_millis(100));
    stream.write_all(&[1; 10_000]).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    stream.write_all(&[1; 10_000]).unwrap();
    assert!(read_reply(&mut stream).body == [1; 20_000]);
}

#[test]
fn a_large_answer_has_the_time_that_its_bytes_need() {
    let limits = Limits {
        min_rate: 10_000,
        ..quick()
    };
    let (front, _) = Dummy::start(Mode::Large(20_000_000), limits);
    let mut stream = connect(&front);
    post(&mut stream, b"x");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(read_reply(&mut stream).body.len(), 20_000_000);
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

/// hyper takes a connection with such a request for one that is to speak something else soon.
#[test]
fn a_large_last_answer_to_who_would_upgrade_is_whole_too() {
    let (front, _) = Dummy::start(Mode::Large(20_000_000), Limits::default());
    for more in ["", "Connection: close\r\n"] {
        let mut stream = connect(&front);
        let head = format!("POST /p HTTP/1.1\r\nContent-Length: 1\r\nUpgrade: h2c\r\n{more}\r\nx");
        stream.write_all(head.as_bytes()).unwrap();
        assert_eq!(read_reply(&mut stream).body.len(), 20_000_000);
        if more.is_empty() {
            post(&mut stream, b"y");
            assert_eq!(read_reply(&mut stream).body.len(), 20_000_000);
        } else {
            assert_eq!(read_to_end(&mut stream), b"");
        }
    }
}
