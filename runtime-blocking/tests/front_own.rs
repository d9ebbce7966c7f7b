//! The listener on threads: the cases of every runtime, and its own.
#![allow(clippy::unwrap_used)]

mod front_cases;
mod front_common;

use front_cases::quick;
use front_common::{Dummy, Limits, Mode, OwnFront, Seen, connect, post, read_to_end, status};
use posthole_protocol::http::Refusal;
use std::io::Write;

/// RFC 9112 §6.3 leaves a choice here.
#[test]
fn a_length_beside_chunks_is_refused() {
    let (front, dummy) = Dummy::start(Mode::Echo, Limits::default());
    let mut stream = connect(&front);
    let head = "Content-Length: 3\r\nTransfer-Encoding: chunked";
    let bytes = format!("POST /p HTTP/1.1\r\n{head}\r\n\r\n0\r\n\r\n");
    stream.write_all(bytes.as_bytes()).unwrap();
    assert_eq!(status(&read_to_end(&mut stream)), 400);
    assert_eq!(dummy.begun(), 0);
}

#[test]
fn an_answer_that_is_not_taken_is_a_hangup() {
    let (front, dummy) = Dummy::start(
        Mode::Large(20_000_000),
        Limits {
            min_rate: u32::MAX,
            ..quick()
        },
    );
    let mut never = connect(&front);
    post(&mut never, b"x");
    let begun = dummy.wait(|seen| matches!(seen, Seen::Begun(_)));
    let gone = dummy.wait(|seen| matches!(seen, Seen::Gone(_)));
    assert_eq!(begun.number(), gone.number());
    let mut broken = connect(&front);
    post(&mut broken, b"x");
    dummy.wait(|seen| matches!(seen, Seen::Begun(_)));
    drop(broken);
    dummy.wait(|seen| matches!(seen, Seen::Gone(_)));
}

#[test]
fn what_is_held_is_hung_up_before_the_drop_of_the_front_returns() {
    let (front, dummy) = Dummy::start(Mode::Hold, Limits::default());
    let mut stream = connect(&front);
    post(&mut stream, b"x");
    dummy.wait(|seen| matches!(seen, Seen::Begun(_)));
    drop::<OwnFront>(front);
    assert_eq!(dummy.gone(), 1, "before drop returns");
    assert_eq!(read_to_end(&mut stream), b"");
}

/// As behind a body whose length was told.
#[test]
fn a_request_behind_a_chunked_body_is_not_swallowed() {
    let (front, dummy) = Dummy::start(Mode::Echo, Limits::default());
    let mut stream = connect(&front);
    let chunked = b"POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n";
    let both = [
        &chunked[..],
        b"POST /p HTTP/1.1\r\nContent-Length: 1\r\n\r\nb",
    ]
    .concat();
    stream.write_all(&both).unwrap();
    assert_eq!(status(&read_to_end(&mut stream)), Refusal::PIPELINED.status);
    assert_eq!(dummy.begun(), 0);
}
