//! A lane against servers and boxes that follow a script: the cases of every runtime, and cancels from other threads.
#![allow(clippy::unwrap_used)]

mod direct_support;
mod lane_cases;
mod script;

use bytes::Bytes;
use direct_support::first_bundle;
use lane_cases::{HUGE, LONG, direct, lane, zeros};
use posthole_blocking::carrier;
use posthole_protocol::Failure;
use script::{Script, ours};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Instant;

#[test]
fn a_cancel_wakes_who_reads_and_who_writes() {
    for size in [10, HUGE] {
        let (arrived, has_arrived) = mpsc::channel();
        let (done, is_done) = mpsc::channel();
        let server = Script::new(move |mut visit| {
            let number = visit.number as u64;
            if number == 0 {
                visit.head().unwrap();
                arrived.send(()).unwrap();
                // Reads no further until the lane has given up.
                is_done.recv().unwrap();
            } else {
                visit.request().unwrap();
                visit.stream.write_all(&ours(9, b"\xf8")).unwrap();
            }
        });
        let mut lane = lane(direct(&server.url("/")));
        let canceller = lane.canceller();
        let other = thread::spawn(move || {
            has_arrived.recv().unwrap();
            canceller.cancel(7);
            canceller.cancel(8);
            canceller
        });
        let trouble = lane
            .exchange(8, &zeros(size), LONG, &mut || {})
            .unwrap_err();
        assert_eq!(
            (trouble.failure, trouble.reached),
            (Failure::Cut, true),
            "{}",
            trouble.says
        );
        assert!(trouble.says.contains("given up"), "{}", trouble.says);
        done.send(()).unwrap();
        other.join().unwrap().cancel(8);
        lane.exchange(9, &zeros(1), LONG, &mut || {}).unwrap();
        server.join();
    }
}

/// A cancel between a lane's pick-up of a request and its start was lost: the exchange ran to its answer or patience.
#[test]
fn a_cancel_before_the_start_is_not_lost() {
    let server = Script::new(|mut visit| {
        let request = visit.request().unwrap();
        assert_eq!(request.body.len(), 9, "only the exchange that was wanted");
        visit.stream.write_all(&ours(9, b"\xf8")).unwrap();
    });
    let mut lane = lane(direct(&server.url("/")));
    lane.canceller().cancel(8);
    let trouble = lane.exchange(8, &zeros(8), LONG, &mut || {}).unwrap_err();
    assert!(!trouble.reached);
    assert!(trouble.says.contains("given up"), "{}", trouble.says);
    lane.exchange(9, &zeros(9), LONG, &mut || {}).unwrap();
    drop(lane);
    server.join();
}

/// How many of the system's sockets have asked for a connection to this one, and not got it yet.
#[cfg(target_os = "linux")]
fn connecting(to: SocketAddr) -> usize {
    let peer = format!(" 0100007F:{:04X} 02 ", to.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table.matches(&peer).count()
}

/// An exchange that is not given up shows that nothing else ended the other one, which began after it.
#[test]
#[cfg(target_os = "linux")]
fn a_cancel_wakes_who_connects() {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    socket.bind(&any.into()).unwrap();
    // One that waits to be accepted fills it: the system drops whoever comes then.
    socket.listen(0).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    let _fills = TcpStream::connect(addr).unwrap();
    let [patient, given_up] = [7, 8].map(|number: u64| {
        let mut lane = lane(direct(&format!("http://{addr}/")));
        let canceller = lane.canceller();
        let exchanging = thread::spawn(move || {
            lane.exchange(number, &zeros(1), LONG, &mut || {})
                .unwrap_err()
        });
        while connecting(addr) < number as usize - 6 {
            thread::yield_now();
        }
        (canceller, exchanging)
    });
    given_up.0.cancel(8);
    let trouble = given_up.1.join().unwrap();
    assert!(!patient.1.is_finished(), "it ended by itself");
    assert!(!trouble.reached);
    assert!(trouble.says.contains("given up"), "{}", trouble.says);
    patient.0.cancel(7);
    patient.1.join().unwrap();
}

/// Whenever a cancel comes, the call ends, in an answer or an error, and the lane is good for another exchange.
#[test]
fn cancels_at_any_moment() {
    const EXCHANGES: u64 = 20_000;
    const CANCELS: u64 = 200;
    let server = Script::new(|mut visit| {
        while let Some(request) = visit.request() {
            let answer = ours(request.body.len() as u64, &[0xf8; 5000]);
            if visit.stream.write_all(&answer).is_err() {
                break;
            }
        }
    });
    let mut lane = lane(direct(&server.url("/")));
    let canceller = lane.canceller();
    let now = Arc::new(AtomicU64::new(0));
    let other = {
        let now = now.clone();
        thread::spawn(move || {
            let mut moment = 0u64;
            while now.load(Ordering::Relaxed) != u64::MAX {
                moment = moment
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                for _ in 0..moment >> 53 {
                    std::hint::spin_loop();
                }
                canceller.cancel(now.load(Ordering::Relaxed));
            }
        })
    };
    let mut cancelled = 0;
    for exchange in 0..EXCHANGES {
        now.store(exchange, Ordering::Relaxed);
        match lane.exchange(exchange, &zeros(exchange as usize), LONG, &mut || {}) {
            Ok(answer) => assert_eq!(answer.len(), 5000),
            Err(trouble) => {
                assert!(trouble.says.contains("given up"), "{}", trouble.says);
                cancelled += 1;
            }
        }
        if cancelled == CANCELS {
            break;
        }
    }
    now.store(u64::MAX, Ordering::Relaxed);
    other.join().unwrap();
    lane.exchange(7, &zeros(7), LONG, &mut || {}).unwrap();
    drop(lane);
    server.join();
    assert!(cancelled > 0);
}

/// A large bundle on a slow way is no silence.
#[test]
fn part_of_a_bundle_of_a_streamed_answer_is_progress() {
    let told = Arc::new(AtomicUsize::new(0));
    let so_far = told.clone();
    let bundle = first_bundle(1);
    let expected = bundle.clone();
    let server = Script::new(move |mut visit| {
        visit.request().unwrap();
        let head = "HTTP/1.1 200 OK\r\nPosthole: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
        visit.stream.write_all(head.as_bytes()).unwrap();
        for byte in &bundle {
            let before = so_far.load(Ordering::SeqCst);
            let chunk = [b"1\r\n", &[*byte][..], b"\r\n"].concat();
            visit.stream.write_all(&chunk).unwrap();
            let begun = Instant::now();
            while so_far.load(Ordering::SeqCst) == before {
                assert!(begun.elapsed() < LONG, "it is not told");
                thread::yield_now();
            }
        }
        visit.stream.write_all(b"0\r\n\r\n").unwrap();
    });
    let mut lane = lane(direct(&server.url("/")));
    let mut bundles = Vec::new();
    let mut piece = |bytes: Bytes| {
        bundles.extend_from_slice(&bytes);
        told.fetch_add(1, Ordering::SeqCst);
    };
    let how = carrier::How {
        pieces: Some(&mut piece),
        ..carrier::How::default()
    };
    let mut progress = || {
        told.fetch_add(1, Ordering::SeqCst);
    };
    let rest = lane.exchange_with(0, &zeros(1), LONG, &mut progress, how);
    assert!(rest.unwrap().is_empty());
    assert_eq!(bundles, expected);
    server.join();
}

#[cfg(feature = "tls")]
#[test]
fn a_cancel_wakes_a_handshake() {
    let (arrived, has_arrived) = mpsc::channel();
    let server = Script::new(move |mut visit: script::Visit| {
        visit.stream.read_exact(&mut [0; 1]).unwrap();
        arrived.send(()).unwrap();
        let _ = visit.stream.read_to_end(&mut Vec::new());
    });
    let mut lane = lane_cases::tls::secure(
        &server.url("/").replace("http:", "https:"),
        carrier::ProxyChoice::None,
        "ca.pem",
    );
    let canceller = lane.canceller();
    let other = thread::spawn(move || {
        has_arrived.recv().unwrap();
        canceller.cancel(3);
    });
    let trouble = lane.exchange(3, &zeros(1), LONG, &mut || {}).unwrap_err();
    assert!(trouble.says.contains("given up"), "{}", trouble.says);
    other.join().unwrap();
    server.join();
}
