//! The end of a front.

use crate::front_common::{
    Dummy, LONG, Limits, Mode, OwnFront, Seen, connect, post, read_reply, read_to_end, stop,
};
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

#[test]
fn stop_lets_a_reply_finish_and_closes_the_rest() {
    let (front, dummy) = Dummy::start(Mode::Large(20_000_000), Limits::default());
    let mut writing = connect(&front);
    let mut idle = connect(&front);
    post(&mut writing, b"x");
    dummy.wait(|seen| matches!(seen, Seen::Begun(_)));
    let addr = front.local_addr();
    let begun = Instant::now();
    let stopper = std::thread::spawn(move || stop(front, LONG));
    assert_eq!(read_to_end(&mut idle), b"");
    let reply = read_reply(&mut writing);
    assert_eq!(reply.body.len(), 20_000_000);
    assert_eq!(read_to_end(&mut writing), b"");
    stopper.join().unwrap();
    assert!(begun.elapsed() < LONG / 2, "it waited for more requests");
    assert!(TcpStream::connect(addr).is_err(), "it listens no more");
}

/// Also those which their connections have yet to write.
#[test]
fn replies_given_before_a_stop_are_written() {
    let (front, dummy) = Dummy::start(Mode::Hold, Limits::default());
    let mut streams: Vec<_> = (0..50).map(|_| connect(&front)).collect();
    for stream in &mut streams {
        post(stream, b"x");
        dummy.wait(|seen| matches!(seen, Seen::Begun(_)));
    }
    dummy.answer_all();
    stop(front, LONG);
    for stream in &mut streams {
        assert_eq!(read_reply(stream).body, b"x");
        assert_eq!(read_to_end(stream), b"");
    }
}

#[test]
fn a_front_that_serves_nobody_stops_at_once() {
    let (front, _) = Dummy::start(Mode::Echo, Limits::default());
    let begun = Instant::now();
    stop(front, LONG);
    assert!(begun.elapsed() < LONG / 2, "it waited for nobody");
}

/// Who sets a limit aside by the longest time there is has none, and no panic.
#[test]
fn times_without_end_are_none() {
    let never = Duration::MAX;
    let limits = Limits {
        head_time: never,
        body_time: never,
        linger_time: never,
        idle: never,
        min_rate: 0,
        ..Limits::default()
    };
    let (front, _) = Dummy::start(Mode::Echo, limits);
    let mut stream = connect(&front);
    post(&mut stream, b"x");
    assert_eq!(read_reply(&mut stream).body, b"x");
    stream.write_all(b"GET /p HTTP/1.1\r\n\r\n").unwrap();
    assert!(read_to_end(&mut stream).starts_with(b"HTTP/1.1 405 "));
    drop(stream);
    stop(front, never);
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
    stop(front, LONG);
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
    stop(front, Duration::from_millis(50));
    assert!(read_to_end(&mut never).len() < 20_000_000);
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
