//! A stream is used as a socket would be.
#![allow(clippy::unwrap_used)]

mod session_support;

use bytes::Bytes;
use posthole_blocking::{ReadError, ResetCode, WriteError};
use session_support::{assert_same, bounded, pair, pattern, streams};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write, copy};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

#[test]
fn an_echo_comes_back() {
    bounded(|| {
        let pair = pair();
        let (mut near, mut far) = streams(&pair);
        assert_eq!(near.id(), far.id());
        let echo = thread::spawn(move || {
            let mut buffer = [0; 1024];
            loop {
                let n = far.read(&mut buffer).unwrap();
                if n == 0 {
                    return;
                }
                far.write_all(&buffer[..n]).unwrap();
            }
        });
        for round in 0..50u8 {
            near.write_all(&[round; 64]).unwrap();
            let mut back = [0; 64];
            near.read_exact(&mut back).unwrap();
            assert_eq!(back, [round; 64]);
        }
        near.shutdown(Shutdown::Write).unwrap();
        assert_eq!(near.read(&mut [0; 8]).unwrap(), 0);
        echo.join().unwrap();
    });
}

#[test]
fn bulk_goes_both_ways_at_once() {
    bounded(|| {
        const SIZE: usize = 12 << 20;
        let pair = pair();
        let (near, far) = streams(&pair);
        let sides = [(near, 1, 2), (far, 2, 1)].map(|(stream, ours, theirs)| {
            let stream = Arc::new(stream);
            let write = {
                let stream = stream.clone();
                thread::spawn(move || {
                    (&*stream).write_all(&pattern(ours, SIZE)).unwrap();
                    stream.shutdown(Shutdown::Write).unwrap();
                })
            };
            let read = thread::spawn(move || {
                let mut got = Vec::new();
                (&*stream).read_to_end(&mut got).unwrap();
                assert_same(&got, &pattern(theirs, SIZE));
            });
            [write, read]
        });
        for side in sides.into_iter().flatten() {
            side.join().unwrap();
        }
    });
}

#[test]
fn either_side_ends_first_and_still_hears_the_other() {
    bounded(|| {
        let pair = pair();
        for client_first in [true, false] {
            let (near, far) = streams(&pair);
            let (mut first, mut second) = if client_first {
                (near, far)
            } else {
                (far, near)
            };
            first.write_all(b"all I have").unwrap();
            first.shutdown(Shutdown::Write).unwrap();
            let mut got = String::new();
            second.read_to_string(&mut got).unwrap();
            assert_eq!(got, "all I have");
            assert_eq!(
                second.read(&mut [0; 8]).unwrap(),
                0,
                "the end stays the end"
            );
            second.write_all(b"heard").unwrap();
            drop(second);
            got.clear();
            first.read_to_string(&mut got).unwrap();
            assert_eq!(got, "heard");
            assert_eq!(
                first.write(b"more").unwrap_err().kind(),
                ErrorKind::BrokenPipe
            );
        }
    });
}

#[test]
fn a_reset_is_never_a_clean_end() {
    bounded(|| {
        let pair = pair();
        for client_resets in [true, false] {
            let (near, far) = streams(&pair);
            let (resets, mut other) = if client_resets {
                (near, far)
            } else {
                (far, near)
            };
            resets.reset(7);
            let error = other.read(&mut [0; 8]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            let why = error.get_ref().unwrap().downcast_ref::<ReadError>();
            assert_eq!(why, Some(&ReadError::Reset(ResetCode(7))));
            assert_eq!(
                other.read(&mut [0; 8]).unwrap_err().kind(),
                ErrorKind::ConnectionReset
            );
            let error = loop {
                // It hears of both at once or one after the other.
                match other.write_all(b"x") {
                    Ok(()) => thread::yield_now(),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            let why = error.get_ref().unwrap().downcast_ref::<WriteError>();
            assert_eq!(why, Some(&WriteError::Stopped(ResetCode(7))));
        }
    });
}

#[test]
fn a_reset_wakes_who_waits_on_the_same_stream() {
    bounded(|| {
        let pair = pair();
        let (near, _far) = streams(&pair);
        let waits = near.try_clone().unwrap();
        let reader = thread::spawn(move || (&waits).read(&mut [0; 8]));
        // Whether the reader waits already or comes later, it must end.
        near.reset(0);
        assert_eq!(reader.join().unwrap().unwrap(), 0);
    });
}

#[test]
fn who_reads_no_more_breaks_the_pipe() {
    bounded(|| {
        let pair = pair();
        let (near, mut far) = streams(&pair);
        near.shutdown(Shutdown::Read).unwrap();
        assert_eq!((&near).read(&mut [0; 8]).unwrap(), 0);
        let piece = [0; 10_000];
        let error = loop {
            if let Err(error) = far.write_all(&piece) {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        (&near).write_all(b"still").unwrap();
        drop(near);
        let mut got = String::new();
        far.read_to_string(&mut got).unwrap();
        assert_eq!(got, "still");
    });
}

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
fn one_handle_reads_while_its_clone_writes() {
    bounded(|| {
        let pair = pair();
        let (near, far) = streams(&pair);
        let sides = [near, far].map(|stream| {
            let mut writes = stream.try_clone().unwrap();
            let mut reads = stream;
            let writer = thread::spawn(move || {
                for n in 0..2000u32 {
                    writes.write_all(&n.to_be_bytes()).unwrap();
                }
                writes.shutdown(Shutdown::Write).unwrap();
            });
            let reader = thread::spawn(move || {
                let mut word = [0; 4];
                for n in 0..2000u32 {
                    reads.read_exact(&mut word).unwrap();
                    assert_eq!(u32::from_be_bytes(word), n);
                }
                assert_eq!(reads.read(&mut word).unwrap(), 0);
            });
            [writer, reader]
        });
        for side in sides.into_iter().flatten() {
            side.join().unwrap();
        }
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
fn bytes_need_no_copy() {
    bounded(|| {
        let pair = pair();
        let (near, far) = streams(&pair);
        let data = Bytes::from(pattern(8, 5 << 20));
        let writer = {
            let data = data.clone();
            thread::spawn(move || near.write_bytes(data).unwrap())
        };
        let mut got = Vec::new();
        loop {
            let piece = far.read_bytes(100_000).unwrap();
            assert!(piece.len() <= 100_000);
            if piece.is_empty() {
                break;
            }
            got.extend_from_slice(&piece);
        }
        writer.join().unwrap();
        assert_same(&got, &data);
    });
}

#[test]
fn what_was_peeked_is_read_all_the_same() {
    bounded(|| {
        let pair = pair();
        let (mut near, mut far) = streams(&pair);
        far.write_all(b"abcdef").unwrap();
        let mut seen = [0; 3];
        assert_eq!(near.peek(&mut seen[..1]).unwrap(), 1);
        // Who peeks until enough has come must get there.
        while near.peek(&mut seen).unwrap() < 3 {
            thread::yield_now();
        }
        assert_eq!(&seen, b"abc");
        let mut got = [0; 6];
        near.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"abcdef");
        drop(far);
        assert_eq!(near.peek(&mut seen).unwrap(), 0);
        assert_eq!(near.read(&mut seen).unwrap(), 0);
    });
}

#[test]
fn what_was_written_arrives_though_all_handles_are_gone() {
    bounded(|| {
        for client_writes in [true, false] {
            let pair = pair();
            let (near, far) = streams(&pair);
            let (mut writes, mut reads) = if client_writes {
                (near, far)
            } else {
                (far, near)
            };
            let data = pattern(9, 700_000);
            // More than one exchange's worth, and nobody reads yet.
            writes.write_all(&data).unwrap();
            if client_writes {
                drop((writes, pair.client));
            } else {
                drop((writes, pair.server));
            }
            let mut got = Vec::new();
            reads.read_to_end(&mut got).unwrap();
            assert_same(&got, &data);
        }
    });
}

#[test]
fn a_hundred_streams_come_and_go() {
    bounded(|| {
        let pair = pair();
        let server = pair.server.clone();
        let serving = thread::spawn(move || {
            for _ in 0..100 {
                let mut stream = server.accept().unwrap();
                let mut got = String::new();
                stream.read_to_string(&mut got).unwrap();
                stream.write_all(got.to_uppercase().as_bytes()).unwrap();
            }
        });
        for n in 0..100 {
            let mut stream = pair.client.open().unwrap();
            write!(stream, "stream {n}").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut got = String::new();
            stream.read_to_string(&mut got).unwrap();
            assert_eq!(got, format!("STREAM {n}"));
        }
        serving.join().unwrap();
    });
}

#[test]
fn the_server_opens_streams_too() {
    bounded(|| {
        let pair = pair();
        let mut opened = pair.server.open().unwrap();
        opened.write_all(b"from inside").unwrap();
        opened.shutdown(Shutdown::Write).unwrap();
        let mut accepted = pair.client.accept().unwrap();
        assert_eq!(accepted.id(), opened.id());
        let mut got = String::new();
        accepted.read_to_string(&mut got).unwrap();
        assert_eq!(got, "from inside");
        accepted.write_all(b"thanks").unwrap();
        drop(accepted);
        got.clear();
        opened.read_to_string(&mut got).unwrap();
        assert_eq!(got, "thanks");
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
