//! The front over `tiny_http`, and the reason why it is not the default.
#![cfg(feature = "tiny_http")]
#![allow(clippy::unwrap_used)]

mod front_common;

use front_common::{
    Dummy, LONG, Limits, Mode, OwnFront, Seen, connect_to, post, read_reply, status,
};
use posthole_blocking::front::tiny::TinyFront;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

fn start(mode: Mode, limits: Limits) -> (TinyFront, Arc<Dummy>) {
    let dummy = Dummy::new(mode);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    (
        TinyFront::start(listener, "/p".into(), limits, dummy.clone()).unwrap(),
        dummy,
    )
}

#[test]
fn a_connection_serves_many_requests_of_all_sizes() {
    let (front, dummy) = start(Mode::Echo, Limits::default());
    let mut stream = connect_to(front.local_addr());
    for n in 0..50_usize {
        let body = vec![n as u8; n * n * 400];
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
    }
    assert_eq!(dummy.begun(), 50);
}

#[test]
fn what_is_no_request_of_ours_is_refused() {
    let (front, dummy) = start(
        Mode::Echo,
        Limits {
            body: 1000,
            ..Limits::default()
        },
    );
    for (request, expected) in [
        ("GET /p HTTP/1.1\r\n\r\n", 405),
        ("POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", 404),
        ("POST /p HTTP/1.1\r\n\r\n", 411),
        (
            "POST /p HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
            400,
        ),
        ("POST /p HTTP/1.1\r\nContent-Length: x\r\n\r\nx", 400),
        (
            "POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n1\r\nx\r\n0\r\n\r\n",
            400,
        ),
        ("rubbish\r\n\r\n", 400),
    ] {
        let mut stream = connect_to(front.local_addr());
        stream.write_all(request.as_bytes()).unwrap();
        assert_eq!(read_status(&mut stream), expected, "{request}");
    }
    let mut stream = connect_to(front.local_addr());
    post(&mut stream, &[0; 1001]);
    assert_eq!(read_status(&mut stream), 413);
    assert_eq!(dummy.begun(), 0);
    let mut stream = connect_to(front.local_addr());
    post(&mut stream, &[7; 1000]);
    assert_eq!(read_reply(&mut stream).body, [7; 1000]);
    let mut stream = connect_to(front.local_addr());
    let again = "POST /p HTTP/1.1\r\ncontent-length: 1\r\nContent-Length: 1\r\n\r\nx";
    stream.write_all(again.as_bytes()).unwrap();
    assert_eq!(read_reply(&mut stream).body, b"x");
}

fn read_status(stream: &mut TcpStream) -> u16 {
    let mut some = [0; 2000];
    let n = stream.read(&mut some).unwrap();
    status(&some[..n])
}

#[test]
fn answers_may_come_later_and_are_missed_when_the_client_has_gone() {
    let (front, dummy) = start(Mode::Hold, Limits::default());
    let mut stream = connect_to(front.local_addr());
    post(&mut stream, b"later");
    dummy.wait(|seen| matches!(seen, Seen::Begun(_)));
    dummy.answer_all();
    assert_eq!(read_reply(&mut stream).body, b"later");
    let (front, dummy) = start(Mode::Large(20_000_000), Limits::default());
    let mut stream = connect_to(front.local_addr());
    post(&mut stream, b"x");
    dummy.wait(|seen| matches!(seen, Seen::Answered));
    drop(stream);
    dummy.wait(|seen| matches!(seen, Seen::Gone(_)));
}

#[test]
fn who_gets_no_answer_is_told_so() {
    let (front, dummy) = start(Mode::Hold, Limits::default());
    let mut stream = connect_to(front.local_addr());
    post(&mut stream, b"hold");
    dummy.wait(|seen| matches!(seen, Seen::Begun(_)));
    dummy.drop_all();
    assert_eq!(read_status(&mut stream), 500);
}

#[test]
fn a_body_in_chunks_is_served_whole_or_not_at_all() {
    let limits = Limits {
        body: 1000,
        ..Limits::default()
    };
    let (front, dummy) = start(Mode::Echo, limits);
    for (length, expected) in [(1000, 200), (1001, 413), (5000, 413)] {
        let head = "POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        let body = "x".repeat(length);
        let request = format!("{head}{length:x}\r\n{body}\r\n0\r\n\r\n");
        let mut stream = connect_to(front.local_addr());
        stream.write_all(request.as_bytes()).unwrap();
        assert_eq!(read_status(&mut stream), expected, "{length} bytes");
    }
    assert_eq!(dummy.begun(), 1);
}

#[test]
fn who_takes_nothing_of_a_reply_is_not_waited_for() {
    let limits = Limits {
        body_time: Duration::from_millis(200),
        ..Limits::default()
    };
    let (front, dummy) = start(Mode::Large(50_000_000), limits);
    let mut stream = connect_to(front.local_addr());
    post(&mut stream, b"x");
    dummy.wait(|seen| matches!(seen, Seen::Gone(_)));
    assert_eq!(read_status(&mut stream), 200, "it is there, and reads late");
}

const CHILD: &str = "POSTHOLE_TEST_ENORMOUS";

/// Serves, over the front that the variable names, until it is killed.
#[test]
fn child() {
    let Some(which) = std::env::var_os(CHILD) else {
        return;
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (path, limits, dummy) = ("/p".to_owned(), Limits::default(), Dummy::new(Mode::Echo));
    let _front: Box<dyn std::any::Any> = if which == "tiny" {
        Box::new(TinyFront::start(listener, path, limits, dummy).unwrap())
    } else {
        Box::new(OwnFront::start(listener, path, limits, dummy).unwrap())
    };
    println!("listening on {addr}");
    loop {
        std::thread::park();
    }
}

/// Starts one, with address space of 8 GB so that the outcome doesn't hang on what the system overcommits, sends a
/// request that claims 100 GB, and drops the connection.
#[cfg(unix)]
fn claim_100_gb(which: &str) -> (Child, SocketAddr) {
    let mut child = Command::new("sh")
        .args([
            "-c",
            "ulimit -v 8000000 && exec \"$0\" --exact child --nocapture",
        ])
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, which)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let addr = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .find_map(|line| {
            line.unwrap()
                .split_once("listening on ")
                .map(|(_, addr)| addr.parse().unwrap())
        })
        .expect("the child says where");
    let mut stream = connect_to(addr);
    stream
        .write_all(b"POST /p HTTP/1.1\r\nContent-Length: 100000000000\r\n\r\nabc")
        .unwrap();
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = stream.read_to_end(&mut Vec::new());
    (child, addr)
}

/// The day this fails, tiny_http is mended, and which front is the default may be thought over.
#[test]
#[cfg(unix)]
fn one_request_aborts_a_process_with_tiny_http() {
    use std::os::unix::process::ExitStatusExt;
    let (mut child, _) = claim_100_gb("tiny");
    let begun = std::time::Instant::now();
    let ended = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if begun.elapsed() > LONG => break None,
            None => std::thread::yield_now(),
        }
    };
    let _ = child.kill();
    let _ = child.wait();
    assert_eq!(ended.expect("it still runs").signal(), Some(6), "SIGABRT");
}

#[test]
#[cfg(unix)]
fn the_same_request_is_nothing_to_the_default_front() {
    let (mut child, addr) = claim_100_gb("own");
    let mut stream = connect_to(addr);
    post(&mut stream, b"alive");
    let reply = read_reply(&mut stream);
    let _ = child.kill();
    let _ = child.wait();
    assert_eq!(reply.body, b"alive");
}
