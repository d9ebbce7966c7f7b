//! Streams behave as `async_net::TcpStream`s do.
#![allow(clippy::unwrap_used)]

mod support;

use bytes::Bytes;
use posthole_smol::{ReadError, ResetCode, WriteError};
use posthole_tests::pattern::{assert_same, pattern};
use smol::future::zip;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use std::io::{ErrorKind, IoSlice};
use std::net::Shutdown;
use support::{bounded, pair, read_all, streams};

#[test]
fn bytes_go_both_ways_at_once() {
    bounded(async {
        let pair = pair().await;
        let (near, far) = streams(&pair).await;
        let (up, down) = (pattern(1, 5_000_000), pattern(2, 5_000_000));
        let write = |stream: posthole_smol::Stream, data: Vec<u8>| async move {
            (&stream).write_all(&data).await.unwrap();
            (&stream).close().await.unwrap();
        };
        let writing = zip(
            write(near.clone(), up.clone()),
            write(far.clone(), down.clone()),
        );
        let reading = zip(read_all(&near), read_all(&far));
        let (_, (got_down, got_up)) = zip(writing, reading).await;
        assert_same(&got_up, &up);
        assert_same(&got_down, &down);
    });
}

#[test]
fn a_half_closed_stream_goes_on_the_other_way() {
    bounded(async {
        let pair = pair().await;
        let (mut near, mut far) = streams(&pair).await;
        near.write_all(b"question").await.unwrap();
        near.close().await.unwrap();
        assert_eq!(read_all(&far).await, b"question");
        // The end is there as often as it is asked for.
        assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0);
        far.write_all(b"answer").await.unwrap();
        drop(far);
        assert_eq!(read_all(&near).await, b"answer");
        let error = near.write(b"x").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn reading_can_be_shut_too() {
    bounded(async {
        let pair = pair().await;
        let (near, mut far) = streams(&pair).await;
        let waits = near.clone();
        let waiting = smol::spawn(async move { (&waits).read(&mut [0; 8]).await });
        near.shutdown(Shutdown::Read).unwrap();
        assert_eq!(waiting.await.unwrap(), 0);
        let error = loop {
            if let Err(error) = far.write(&[0; 1000]).await {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_reset_is_told_to_both_directions_of_the_peer() {
    bounded(async {
        let pair = pair().await;
        let (near, mut far) = streams(&pair).await;
        near.reset(7);
        let error = far.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let inner = error.get_ref().unwrap().downcast_ref::<ReadError>();
        assert_eq!(inner, Some(&ReadError::Reset(ResetCode(7))));
        let error = far.write(b"x").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        let inner = error.get_ref().unwrap().downcast_ref::<WriteError>();
        assert_eq!(inner, Some(&WriteError::Stopped(ResetCode(7))));
    });
}

#[test]
fn what_is_peeked_is_read_again() {
    bounded(async {
        let pair = pair().await;
        let (mut near, mut far) = streams(&pair).await;
        near.write_all(b"hello").await.unwrap();
        let mut buf = [0; 8];
        let mut seen = 0;
        while seen < 5 {
            seen = far.peek(&mut buf).await.unwrap();
        }
        assert_eq!(&buf[..5], b"hello");
        let mut got = [0; 5];
        far.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"hello");
        assert_eq!(far.peek(&mut []).await.unwrap(), 0);
    });
}

#[test]
fn bytes_go_through_without_being_copied_by_the_caller() {
    bounded(async {
        let pair = pair().await;
        let (near, far) = streams(&pair).await;
        let data = Bytes::from(pattern(3, 3_000_000));
        let wanted = data.clone();
        let write = async {
            near.write_bytes(data).await.unwrap();
            near.shutdown(Shutdown::Write).unwrap();
        };
        let read = async {
            let mut got = Vec::new();
            loop {
                let piece = far.read_bytes(100_000).await.unwrap();
                assert!(piece.len() <= 100_000);
                if piece.is_empty() {
                    return got;
                }
                got.extend_from_slice(&piece);
            }
        };
        let ((), got) = zip(write, read).await;
        assert_same(&got, &wanted);
        assert_eq!(far.read_bytes(0).await.unwrap(), Bytes::new());
    });
}

#[test]
fn several_slices_are_one_write() {
    bounded(async {
        let pair = pair().await;
        let (mut near, mut far) = streams(&pair).await;
        let slices = [b"".as_slice(), b"one ", b"", b"two three"].map(IoSlice::new);
        assert_eq!(near.write_vectored(&slices).await.unwrap(), 13);
        let mut got = [0; 13];
        far.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"one two three");
    });
}

#[test]
fn one_read_takes_all_that_is_here() {
    bounded(async {
        let pair = pair().await;
        let (mut near, mut far) = streams(&pair).await;
        for piece in ["one ", "two ", "three"] {
            near.write_all(piece.as_bytes()).await.unwrap();
            // Acknowledged: it has arrived as a piece of its own.
            let before = pair.server.stats().bytes_in;
            while pair.server.stats().bytes_in == before {
                smol::future::yield_now().await;
            }
        }
        // What was sent last may just be on its way into the stream.
        let mut buf = [0; 32];
        while far.peek(&mut buf).await.unwrap() < 13 {}
        assert_eq!(far.read(&mut buf).await.unwrap(), 13);
        assert_eq!(&buf[..13], b"one two three");
    });
}

#[test]
fn several_tasks_may_wait_for_one_stream() {
    bounded(async {
        let pair = pair().await;
        let (mut near, far) = streams(&pair).await;
        let readers: Vec<_> = (0..20)
            .map(|_| {
                let far = far.clone();
                smol::spawn(async move {
                    let mut byte = [0];
                    (&far).read_exact(&mut byte).await.unwrap();
                    byte[0]
                })
            })
            .collect();
        near.write_all(&(0..20).collect::<Vec<u8>>()).await.unwrap();
        let mut got = Vec::new();
        for reader in readers {
            got.push(reader.await);
        }
        got.sort_unstable();
        assert_eq!(got, (0..20).collect::<Vec<u8>>());
    });
}

#[test]
fn it_answers_what_is_asked_of_sockets() {
    bounded(async {
        let pair = pair().await;
        let (near, far) = streams(&pair).await;
        assert_eq!(near.id(), far.id());
        assert!(near.nodelay().unwrap());
        near.clone().set_nodelay(false).unwrap();
        assert!(!near.nodelay().unwrap());
        for addr in [near.peer_addr(), near.local_addr()] {
            assert_eq!(addr.unwrap_err().kind(), ErrorKind::Unsupported);
        }
        fn is_easy_to_use<T: Unpin + Send + Sync + Clone>(_: &T) {}
        is_easy_to_use(&near);
    });
}
