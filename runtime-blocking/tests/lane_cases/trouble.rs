//! A lane whose call can't go on: nobody there, nobody answering, a refusal in the middle of the request.

use super::{HUGE, LONG, direct, lane, through, zeros};
use crate::carrier::Plain;
use crate::script::{Script, answer, ours};
use posthole_protocol::Failure;
use posthole_protocol::http::policy::IDLE;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread::sleep;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(300);

/// Of an exchange that takes three times as long, in steps of a third.
const PATIENCE: Duration = Duration::from_secs(1);

#[test]
fn nobody_there() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let trouble = lane(direct(&format!("http://{address}/")))
        .exchange(0, &zeros(1), LONG, &mut || {})
        .unwrap_err();
    assert_eq!(
        (trouble.failure, trouble.reached),
        (Failure::Connect, false)
    );
    assert!(
        trouble.says.contains(&address.to_string()) && trouble.says.contains("efused"),
        "{}",
        trouble.says
    );
}

/// Some of the request may have arrived by the connection that was closed.
#[test]
fn nobody_there_after_a_connection_that_had_closed() {
    fn skip_request(stream: &mut TcpStream) {
        let (mut came, mut byte) = (Vec::new(), [0]);
        while !came.ends_with(b"\r\n\r\n\0") {
            stream.read_exact(&mut byte).unwrap();
            came.extend_from_slice(&byte);
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        drop(listener);
        skip_request(&mut stream);
        stream.write_all(&ours(0, b"\xf8")).unwrap();
        skip_request(&mut stream);
    });
    let mut lane = lane(direct(&url));
    lane.exchange(0, &zeros(1), LONG, &mut || {}).unwrap();
    let trouble = lane.exchange(1, &zeros(1), LONG, &mut || {}).unwrap_err();
    assert_eq!((trouble.failure, trouble.reached), (Failure::Cut, true));
    server.join().unwrap();
}

/// What another exchange of the lane has sent is not this one's.
#[test]
fn nobody_there_after_an_exchange_that_came_through() {
    let server = Script::new(|mut visit| {
        visit.request().unwrap();
        let last = answer("200 OK", "Connection: close\r\n", b"\xf8");
        visit.stream.write_all(&last).unwrap();
    });
    let mut lane = lane(direct(&server.url("/")));
    lane.exchange(0, &zeros(1), LONG, &mut || {}).unwrap();
    server.join();
    let trouble = lane.exchange(1, &zeros(1), LONG, &mut || {}).unwrap_err();
    assert_eq!(
        (trouble.failure, trouble.reached),
        (Failure::Connect, false)
    );
}

#[test]
fn a_name_that_nobody_has() {
    let trouble = lane(direct("http://no-such-host.invalid/"))
        .exchange(0, &zeros(1), LONG, &mut || {})
        .unwrap_err();
    assert_eq!(
        (trouble.failure, trouble.reached),
        (Failure::Connect, false)
    );
    assert!(
        trouble.says.contains("no-such-host.invalid"),
        "{}",
        trouble.says
    );
}

#[test]
fn a_name_that_somebody_has() {
    let server = Script::new(|mut visit| {
        visit.request().unwrap();
        visit.stream.write_all(&ours(0, b"\xf8")).unwrap();
    });
    let url = server.url("/").replace("127.0.0.1", "localhost");
    lane(direct(&url))
        .exchange(0, &zeros(1), LONG, &mut || {})
        .unwrap();
}

#[test]
fn patience_ends_while_waiting_for_the_answer() {
    for begun in [
        &b""[..],
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nPosthole: 1\r\nContent-Length: 9\r\n\r\n\xf8",
    ] {
        patience_ends_after(begun);
    }
}

fn patience_ends_after(begun: &'static [u8]) {
    let server = Script::new(move |mut visit| {
        visit.request().unwrap();
        visit.stream.write_all(begun).unwrap();
        visit.request().is_none()
    });
    let mut lane = lane(direct(&server.url("/")));
    let trouble = lane.exchange(0, &zeros(1), SHORT, &mut || {}).unwrap_err();
    assert_eq!(
        (trouble.failure, trouble.reached),
        (Failure::TimedOut, true),
        "{}",
        trouble.says
    );
    assert_eq!(
        server.join(),
        [true],
        "the connection is gone with the exchange"
    );
}

#[test]
fn patience_ends_while_a_proxy_makes_no_tunnel() {
    let proxy = Script::new(|mut visit| {
        visit.head().unwrap();
        visit.head().is_none()
    });
    let target = through("http://server.example/", &proxy.url(""));
    let trouble = lane(target.plain(Plain::Connect))
        .exchange(0, &zeros(1), SHORT, &mut || {})
        .unwrap_err();
    assert!(trouble.says.contains("timed out"), "{}", trouble.says);
    assert_eq!(proxy.join(), [true]);
}

/// It is the exchange's own, whatever the one before it on the same connection had.
#[test]
fn patience_ends_on_a_connection_that_was_used_before() {
    let server = Script::new(|mut visit| {
        visit.request().unwrap();
        visit.stream.write_all(&ours(0, b"\xf8")).unwrap();
        visit.request().unwrap();
        visit.request().is_none()
    });
    let mut lane = lane(direct(&server.url("/")));
    lane.exchange(0, &zeros(1), LONG, &mut || {}).unwrap();
    let trouble = lane.exchange(1, &zeros(1), SHORT, &mut || {}).unwrap_err();
    assert_eq!(
        (trouble.failure, trouble.reached),
        (Failure::TimedOut, true),
        "{}",
        trouble.says
    );
    assert_eq!(server.join(), [true]);
}

#[test]
fn patience_ends_while_sending() {
    let (done, is_done) = mpsc::channel::<()>();
    let server = Script::new(move |mut visit| {
        visit.head().unwrap();
        is_done.recv().unwrap_err();
    });
    let mut lane = lane(direct(&server.url("/")));
    let trouble = lane
        .exchange(0, &zeros(HUGE), SHORT, &mut || {})
        .unwrap_err();
    assert_eq!(
        (trouble.failure, trouble.reached),
        (Failure::TimedOut, true),
        "{}",
        trouble.says
    );
    drop(done);
    server.join();
}

/// A box that empties its buffer now and then takes much longer than the patience, and never that long for nothing.
#[test]
fn an_upload_that_moves_in_bursts_outlasts_its_patience() {
    const BURST: usize = 2 << 20;
    const BURSTS: usize = 10;
    let server = Script::new(|mut visit| {
        visit.head().unwrap();
        for _ in 0..BURSTS {
            visit.skip(BURST);
            sleep(PATIENCE * 3 / 10);
        }
        visit.skip(HUGE - BURSTS * BURST);
        visit.stream.write_all(&ours(0, b"\xf8")).unwrap();
    });
    lane(direct(&server.url("/")))
        .exchange(0, &zeros(HUGE), PATIENCE, &mut || {})
        .unwrap();
    assert_eq!(server.join().len(), 1);
}

#[test]
fn an_answer_that_dribbles_outlasts_its_patience() {
    dribbles("Content-Length: 10", b"\xf8", b"");
}

#[test]
fn chunks_that_dribble_outlast_their_patience() {
    dribbles("Transfer-Encoding: chunked", b"1\r\n\xf8\r\n", b"0\r\n\r\n");
}

fn dribbles(header: &'static str, piece: &'static [u8], end: &'static [u8]) {
    let server = Script::new(move |mut visit| {
        visit.request().unwrap();
        let head = format!("HTTP/1.1 200 OK\r\n{header}\r\n\r\n");
        visit.stream.write_all(head.as_bytes()).unwrap();
        for _ in 0..10 {
            visit.stream.write_all(piece).unwrap();
            sleep(PATIENCE * 3 / 10);
        }
        visit.stream.write_all(end).unwrap();
    });
    let answer = lane(direct(&server.url("/")))
        .exchange(0, &zeros(1), PATIENCE, &mut || {})
        .unwrap();
    assert_eq!(answer, [0xf8; 10][..]);
    assert_eq!(server.join().len(), 1);
}

/// The box closes with the request half read, so the lane's next write fails; the answer is there all the same.
#[test]
fn a_refusal_in_mid_request_is_heard() {
    for size in [900_000, HUGE] {
        for _ in 0..10 {
            let server = Script::new(|mut visit| {
                visit.head().unwrap();
                if visit.number == 0 {
                    let refusal = answer("413 Too Large", "", b"no");
                    visit.stream.write_all(&refusal).unwrap();
                } else {
                    visit.skip(HUGE);
                    visit.stream.write_all(&ours(1, b"\xf8")).unwrap();
                }
            });
            let mut lane = lane(direct(&server.url("/")));
            let trouble = lane
                .exchange(0, &zeros(size), LONG, &mut || {})
                .unwrap_err();
            // Its reset may overtake the answer on the way; then there is nothing left to hear.
            assert!(
                matches!(trouble.failure, Failure::TooLarge | Failure::Cut),
                "{}",
                trouble.says
            );
            lane.exchange(1, &zeros(HUGE), LONG, &mut || {}).unwrap();
        }
    }
}

/// The box answers and neither reads on nor closes: waiting for room to write would end with the patience only.
#[test]
fn a_refusal_by_a_box_that_reads_no_further_is_heard() {
    for size in [900_000, HUGE] {
        let (done, is_done) = mpsc::channel::<()>();
        let server = Script::new(move |mut visit| {
            visit.head().unwrap();
            visit
                .stream
                .write_all(&answer("413 Too Large", "", b"no"))
                .unwrap();
            is_done.recv().unwrap_err();
        });
        let mut lane = lane(direct(&server.url("/")));
        let trouble = lane
            .exchange(0, &zeros(size), LONG, &mut || {})
            .unwrap_err();
        assert_eq!(trouble.failure, Failure::TooLarge, "{}", trouble.says);
        drop(done);
        server.join();
    }
}

#[test]
fn an_answer_to_half_a_request_ends_the_connection() {
    let (done, is_done) = mpsc::channel();
    let server = Script::new(move |mut visit| {
        let number = visit.number as u64;
        if number == 0 {
            visit.head().unwrap();
            visit.stream.write_all(&ours(0, b"\xf8")).unwrap();
            is_done.recv().unwrap();
            // The lane has stopped sending and closed.
            let mut rest = Vec::new();
            let end = visit.stream.read_to_end(&mut rest).map_err(|e| e.kind());
            assert!(
                !matches!(end, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut)),
                "the connection is still there"
            );
            assert!(rest.len() < HUGE);
        } else {
            visit.request().unwrap();
            visit.stream.write_all(&ours(number, b"\xf8")).unwrap();
        }
    });
    let mut lane = lane(direct(&server.url("/")));
    lane.exchange(0, &zeros(HUGE), LONG, &mut || {}).unwrap();
    done.send(()).unwrap();
    lane.exchange(1, &zeros(1), LONG, &mut || {}).unwrap();
    assert_eq!(server.join().len(), 2);
}

#[test]
fn a_lane_that_hung_up_connects_anew() {
    let server = Script::new(|mut visit| {
        let mut served = 0;
        while let Some(request) = visit.request() {
            visit
                .stream
                .write_all(&ours(request.body.len() as u64, b"\xf8"))
                .unwrap();
            served += 1;
        }
        served
    });
    let mut lane = lane(direct(&server.url("/")));
    lane.hang_up();
    for exchange in [1, 2, 3] {
        lane.exchange(exchange, &zeros(exchange as usize), LONG, &mut || {})
            .unwrap();
        if exchange == 2 {
            lane.hang_up();
        }
    }
    drop(lane);
    assert_eq!(server.join(), [2, 1]);
}

/// Boxes close a connection that has rested for 5 s, and a request on the way to them then is lost.
#[test]
fn a_connection_that_has_rested_for_long_is_not_used_again() {
    let server = Script::new(|mut visit| {
        let mut served = 0;
        while visit.request().is_some() {
            visit.stream.write_all(&ours(0, b"\xf8")).unwrap();
            served += 1;
        }
        served
    });
    let mut lane = lane(direct(&server.url("/")));
    lane.exchange(0, &zeros(1), LONG, &mut || {}).unwrap();
    sleep(IDLE + Duration::from_millis(10));
    lane.exchange(0, &zeros(1), LONG, &mut || {}).unwrap();
    drop(lane);
    assert_eq!(server.join(), [1, 1]);
}
