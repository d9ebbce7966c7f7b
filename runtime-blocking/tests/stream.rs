//! What is peculiar to this runtime's streams: they stand in for `std::net`'s, methods and all. What they do to bytes is in
//! the conformance suite (`tests/tests/conformance.rs`).
#![allow(clippy::unwrap_used)]

mod session_support;

use posthole_tests::bounded::bounded;
use posthole_tests::pattern::{assert_same, pattern};
use session_support::{pair, streams};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write, copy};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

#[test]
fn a_read_waits_no_longer_than_told() {
    bounded(|| {
        let pair = pair();
        let (mut near, mut far) = streams(&pair);
        assert_eq!(near.read_timeout().unwrap(), None);
        let zero = near.set_read_timeout(Some(Duration::ZERO)).unwrap_err();
        assert_eq!(zero.kind(), ErrorKind::InvalidInput);
        let short = Some(Duration::from_millis(20));
        near.set_read_timeout(short).unwrap();
        assert_eq!(near.try_clone().unwrap().read_timeout().unwrap(), short);
        assert_eq!(
            near.read(&mut [0; 8]).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        far.write_all(b"late").unwrap();
        near.set_read_timeout(None).unwrap();
        let mut got = [0; 4];
        near.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"late");
    });
}

/// Kept in microseconds, of which none at all would mean: for ever.
#[test]
fn the_shortest_time_out_is_one() {
    bounded(|| {
        let pair = pair();
        let (mut near, _far) = streams(&pair);
        near.set_read_timeout(Some(Duration::from_nanos(1)))
            .unwrap();
        near.set_write_timeout(Some(Duration::from_nanos(1)))
            .unwrap();
        assert!(near.read_timeout().unwrap().is_some());
        assert!(near.write_timeout().unwrap().is_some());
        assert_eq!(
            near.read(&mut [0; 8]).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
    });
}

#[test]
fn a_write_waits_no_longer_than_told() {
    bounded(|| {
        let pair = pair();
        let (near, mut far) = streams(&pair);
        near.set_write_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let piece = pattern(3, 1 << 20);
        let mut written = Vec::new();
        // Nobody reads: at some point there is no room.
        let error = loop {
            match (&near).write(&piece) {
                Ok(n) => written.extend_from_slice(&piece[..n]),
                Err(error) => break error,
            }
            assert!(written.len() < 1 << 30, "buffers are bounded");
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        drop(near);
        let mut got = Vec::new();
        far.read_to_end(&mut got).unwrap();
        assert_same(&got, &written);
    });
}

#[test]
fn a_non_blocking_stream_says_so() {
    bounded(|| {
        let pair = pair();
        let (mut near, mut far) = streams(&pair);
        near.set_nonblocking(true).unwrap();
        assert_eq!(
            near.read(&mut [0; 8]).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        assert_eq!(
            near.peek(&mut [0; 8]).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        far.write_all(b"x").unwrap();
        loop {
            match near.read(&mut [0; 8]) {
                Ok(n) => break assert_eq!(n, 1),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            thread::yield_now();
        }
    });
}

#[test]
fn a_write_to_a_non_blocking_stream_takes_what_there_is_room_for() {
    bounded(|| {
        let pair = pair();
        let (mut near, _far) = streams(&pair);
        near.set_nonblocking(true).unwrap();
        // Nobody reads: at some point there is no room.
        let error = loop {
            if let Err(error) = near.write(&[1; 1 << 20]) {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn a_stream_that_was_non_blocking_waits_again() {
    bounded(|| {
        let pair = pair();
        let (mut near, far) = streams(&pair);
        near.set_nonblocking(true).unwrap();
        near.set_nonblocking(false).unwrap();
        thread::spawn(move || copy(&mut &far, &mut &far));
        let mut got = [0];
        for _ in 0..10 {
            near.write_all(b"x").unwrap();
            near.read_exact(&mut got).unwrap();
        }
    });
}

/// Or one that is taken little by little would never be late.
#[test]
fn how_long_a_write_may_wait_is_settled_when_it_begins() {
    bounded(|| {
        let pair = pair();
        let (near, mut far) = streams(&pair);
        let data = vec![1; 64 << 20];
        let writer = {
            let (near, data) = (near.try_clone().unwrap(), data.clone());
            thread::spawn(move || {
                let written = near.write_bytes(data.into());
                near.shutdown(Shutdown::Write).unwrap();
                written
            })
        };
        // It has begun.
        far.peek(&mut [0]).unwrap();
        near.set_nonblocking(true).unwrap();
        let mut got = Vec::new();
        far.read_to_end(&mut got).unwrap();
        writer.join().unwrap().unwrap();
        assert_same(&got, &data);
    });
}

#[test]
fn lines_come_through_a_buf_reader() {
    bounded(|| {
        let pair = pair();
        let (near, far) = streams(&pair);
        let writer = thread::spawn(move || {
            for n in 0..500 {
                writeln!(&near, "line {n}").unwrap();
            }
        });
        let lines: Vec<String> = BufReader::new(&far).lines().map(Result::unwrap).collect();
        assert_eq!(lines.len(), 500);
        assert_eq!(lines[499], "line 499");
        writer.join().unwrap();
    });
}

/// Two threads that copy between a socket and a stream, as any forwarder has them.
fn join_up(socket: TcpStream, stream: posthole_blocking::Stream) -> thread::JoinHandle<()> {
    let (mut from_socket, mut to_socket) = (socket.try_clone().unwrap(), socket);
    let (mut from_stream, mut to_stream) = (stream.try_clone().unwrap(), stream);
    thread::spawn(move || {
        let up = thread::spawn(move || {
            copy(&mut from_socket, &mut to_stream).unwrap();
            to_stream.shutdown(Shutdown::Write).unwrap();
        });
        copy(&mut from_stream, &mut to_socket).unwrap();
        to_socket.shutdown(Shutdown::Write).unwrap();
        up.join().unwrap();
    })
}

#[test]
fn a_pair_of_copying_threads_needs_no_change() {
    bounded(|| {
        let pair = pair();
        let (near, far) = streams(&pair);
        let door = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut application = TcpStream::connect(door.local_addr().unwrap()).unwrap();
        let near = join_up(door.accept().unwrap().0, near);
        let service = TcpListener::bind("127.0.0.1:0").unwrap();
        let far = join_up(
            TcpStream::connect(service.local_addr().unwrap()).unwrap(),
            far,
        );
        let mut served = service.accept().unwrap().0;
        let data = pattern(5, 3 << 20);
        let echo =
            thread::spawn(move || copy(&mut served.try_clone().unwrap(), &mut served).unwrap());
        let writer = {
            let (mut application, data) = (application.try_clone().unwrap(), data.clone());
            thread::spawn(move || {
                application.write_all(&data).unwrap();
                application.shutdown(Shutdown::Write).unwrap();
            })
        };
        let mut got = Vec::new();
        application.read_to_end(&mut got).unwrap();
        assert_same(&got, &data);
        assert_eq!(echo.join().unwrap(), data.len() as u64);
        for thread in [writer, near, far] {
            thread.join().unwrap();
        }
    });
}

#[test]
fn the_rest_of_a_sockets_methods_answer() {
    bounded(|| {
        let pair = pair();
        let (near, _far) = streams(&pair);
        assert!(near.nodelay().unwrap());
        near.set_nodelay(false).unwrap();
        assert!(!near.nodelay().unwrap());
        assert!(near.take_error().unwrap().is_none());
        assert_eq!(near.peer_addr().unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!((&near).write(&[]).unwrap(), 0);
        assert_eq!((&near).read(&mut []).unwrap(), 0);
        assert!(near.read_bytes(0).unwrap().is_empty());
        (&near).flush().unwrap();
    });
}

/// Whoever brings bytes passes them on while the reader waits, and nothing is lost, doubled or out of order, however
/// much is taken each time.
#[test]
fn what_comes_is_passed_on() {
    bounded(|| {
        let pair = pair();
        let (near, far) = streams(&pair);
        let all = pattern(5, 300_000);
        let writer = thread::spawn({
            let all = all.clone();
            move || {
                for piece in all.chunks(777) {
                    (&far).write_all(piece).unwrap();
                    if piece[0] % 16 == 0 {
                        thread::yield_now();
                    }
                }
                far.shutdown(Shutdown::Write).unwrap();
            }
        });
        let taken = Arc::new(Mutex::new(Vec::new()));
        loop {
            let (into, mut calls) = (taken.clone(), 0_usize);
            let rest = near.read_through(1000, move |bytes| {
                calls += 1;
                assert!(bytes.len() <= 1000, "{}", bytes.len());
                // Now and then not all, as a socket that is full.
                let n = bytes.len() / if calls.is_multiple_of(3) { 2 } else { 1 };
                into.lock().unwrap().extend_from_slice(&bytes[..n]);
                n
            });
            let rest = rest.unwrap();
            assert!(rest.len() <= 1000, "{}", rest.len());
            if rest.is_empty() {
                break;
            }
            taken.lock().unwrap().extend_from_slice(&rest);
        }
        writer.join().unwrap();
        assert_same(&taken.lock().unwrap(), &all);
        let end = near.read_through(10, |bytes| bytes.len()).unwrap();
        assert!(end.is_empty());
    });
}

/// Who passes on looks once more for what has come meanwhile: nobody else does, before something else comes.
#[test]
fn what_comes_while_other_bytes_are_passed_on_is_passed_on() {
    bounded(|| {
        let pair = pair();
        let (near, far) = streams(&pair);
        let (begin, begun) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        let client = pair.client.clone();
        thread::spawn(move || {
            near.read_through(100, move |bytes| {
                let before = client.stats().bytes_in;
                begin.send(()).unwrap();
                while bytes == b"some" && client.stats().bytes_in == before {
                    thread::sleep(Duration::from_millis(5));
                }
                tell.send(bytes.to_vec()).unwrap();
                bytes.len()
            })
        });
        thread::sleep(Duration::from_millis(100));
        (&far).write_all(b"some").unwrap();
        begun.recv().unwrap();
        (&far).write_all(b"more").unwrap();
        assert_eq!(told.recv().unwrap(), b"some");
        assert_eq!(told.recv().unwrap(), b"more");
    });
}

/// Two threads of one stream that both wait for what is passed on, and each gets to its end.
#[test]
fn two_wait_for_what_is_passed_on() {
    bounded(|| {
        let pair = pair();
        let (near, far) = streams(&pair);
        let taken = Arc::new(Mutex::new(Vec::new()));
        let readers = [(); 2].map(|()| {
            let (near, into) = (near.try_clone().unwrap(), taken.clone());
            thread::spawn(move || {
                near.read_through(100, move |bytes| {
                    into.lock().unwrap().extend_from_slice(bytes);
                    bytes.len()
                })
            })
        });
        for _ in 0..10 {
            thread::sleep(Duration::from_millis(20));
            (&far).write_all(b"some").unwrap();
        }
        far.shutdown(Shutdown::Write).unwrap();
        for reader in readers {
            assert!(reader.join().unwrap().unwrap().is_empty());
        }
        assert_eq!(taken.lock().unwrap().len(), 40);
    });
}

/// A closure that panics takes down the thread that gave it, not the one that brings bytes.
#[test]
fn who_gave_what_panics_hears_of_it() {
    bounded(|| {
        let pair = pair();
        let (near, far) = streams(&pair);
        let (other, far_other) = streams(&pair);
        let reading =
            thread::spawn(move || near.read_through(10, |_| panic!("the test wants it so")));
        thread::sleep(Duration::from_millis(100));
        (&far).write_all(b"some").unwrap();
        assert!(reading.join().is_err());
        (&far_other).write_all(b"more").unwrap();
        let mut got = [0; 4];
        (&other).read_exact(&mut got).unwrap();
        assert_eq!(&got, b"more");
    });
}

/// A reader that waits while others pass on what comes learns of a reset.
#[test]
fn a_reset_comes_to_who_waits_for_what_is_passed_on() {
    bounded(|| {
        let pair = pair();
        let (near, far) = streams(&pair);
        let reading = thread::spawn(move || near.read_through(10, |bytes| bytes.len()));
        (&far).write_all(b"some").unwrap();
        far.reset(7);
        let error = reading.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}
