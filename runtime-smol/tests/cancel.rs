//! Every future may be dropped at any point, and nothing is lost by it.
#![allow(clippy::unwrap_used)]

mod support;

use bytes::Bytes;
use posthole_smol::{CloseReason, Config, ListenOptions, Listener, Stream, connect};
use posthole_tests::pattern::{assert_same, pattern};
use smol::future::{poll_once, yield_now, zip};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use std::future::Future;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake};
use std::time::Duration;
use support::{bounded, listener, options, pair, read_all, streams, url};

/// Polls once and drops it; what other tasks can get done meanwhile may be enough for it.
async fn left(future: impl Future) {
    let _ = poll_once(future).await;
}

/// Polls once, finds that it has to wait, and drops it.
async fn given_up<T: std::fmt::Debug>(future: impl Future<Output = T>) {
    let polled = poll_once(future).await;
    assert!(polled.is_none(), "it was ready: {polled:?}");
}

#[test]
fn a_connect() {
    bounded(async {
        let listener = listener().await;
        for _ in 0..5 {
            left(connect(&url(&listener), options())).await;
        }
        let client = connect(&url(&listener), options()).await.unwrap();
        let server = listener.accept().await.unwrap();
        let mut stream = client.open().await.unwrap();
        stream.write_all(b"here").await.unwrap();
        drop(stream);
        let stream = server.accept().await.unwrap();
        assert_eq!(read_all(&stream).await, b"here");
    });
}

#[test]
fn an_accept_of_sessions() {
    bounded(async {
        let listener = listener().await;
        given_up(listener.accept()).await;
        // One of two that wait goes; the other still gets it.
        let mut waits = pin!(listener.accept());
        {
            let goes = pin!(listener.accept());
            assert!(poll_once(goes).await.is_none());
            assert!(poll_once(waits.as_mut()).await.is_none());
        }
        let client = connect(&url(&listener), options()).await.unwrap();
        let server = waits.await.unwrap();
        assert!(client.is_connected() && server.is_connected());
    });
}

#[test]
fn an_accept_of_streams() {
    bounded(async {
        let pair = pair().await;
        for _ in 0..20 {
            given_up(pair.server.accept()).await;
        }
        let (near, far) = streams(&pair).await;
        assert_eq!(near.id(), far.id());
    });
}

#[test]
fn an_open() {
    bounded(async {
        let few = Config::builder().streams(16).build().unwrap();
        let options_few = ListenOptions::new().config(few);
        let listener = Listener::bind("127.0.0.1:0", options_few).await.unwrap();
        let client = connect(&url(&listener), options()).await.unwrap();
        let server = listener.accept().await.unwrap();
        let mut open = Vec::new();
        while let Some(stream) = poll_once(client.open()).await {
            let mut near = stream.unwrap();
            near.write_all(b"!").await.unwrap();
            open.push((near, server.accept().await.unwrap()));
        }
        assert_eq!(open.len(), 16);
        let last = open.last().unwrap().0.id().number();
        given_up(client.open()).await;
        open.clear();
        let next = client.open().await.unwrap();
        assert_eq!(next.id().number(), last + 2, "none was opened for nobody");
    });
}

#[test]
fn reads() {
    bounded(async {
        let pair = pair().await;
        let (mut near, mut far) = streams(&pair).await;
        for round in 0..3_u8 {
            let mut buf = [0; 100];
            given_up(far.read(&mut buf)).await;
            given_up(far.peek(&mut buf)).await;
            given_up(far.read_bytes(100)).await;
            assert_eq!(buf, [0; 100]);
            let data = [round; 10_000];
            near.write_all(&data).await.unwrap();
            let mut got = Vec::new();
            while got.len() < data.len() {
                // Some are dropped with bytes there, and never polled.
                drop(far.read_bytes(5000));
                got.extend_from_slice(&far.read_bytes(5000).await.unwrap());
            }
            assert_same(&got, &data);
        }
    });
}

/// Writes until there is no room any more, and gives up there. How much was written.
async fn fill(mut stream: &Stream, data: &[u8]) -> usize {
    let mut written = 0;
    while let Some(wrote) = poll_once(stream.write(&data[written..])).await {
        written += wrote.unwrap();
    }
    written
}

#[test]
fn writes() {
    bounded(async {
        let pair = pair().await;
        let (near, mut far) = streams(&pair).await;
        let data = pattern(5, 100_000_000);
        let (mut written, mut read) = (0, 0);
        for _ in 0..5 {
            written += fill(&near, &data[written..]).await;
            let mut some = vec![0; 100_000];
            far.read_exact(&mut some).await.unwrap();
            assert_same(&some, &data[read..][..some.len()]);
            read += some.len();
        }
        drop(near);
        assert_same(&read_all(&far).await, &data[read..written]);
    });
}

#[test]
fn a_write_of_bytes_writes_a_part_of_the_front() {
    bounded(async {
        let pair = pair().await;
        let (near, far) = streams(&pair).await;
        let data = Bytes::from(pattern(6, 100_000_000));
        given_up(near.write_bytes(data.clone())).await;
        near.shutdown(std::net::Shutdown::Write).unwrap();
        let got = read_all(&far).await;
        assert!(!got.is_empty() && got.len() < data.len());
        assert_same(&got, &data[..got.len()]);
    });
}

#[test]
fn the_end_of_a_session() {
    bounded(async {
        let pair = pair().await;
        let (near, far) = streams(&pair).await;
        given_up(pair.client.wait_closed()).await;
        (&near).write_all(b"last").await.unwrap();
        (&near).close().await.unwrap();
        left(pair.client.close()).await;
        // It goes on closing.
        let (reason, got) = zip(pair.client.wait_closed(), read_all(&far)).await;
        assert_eq!(reason, CloseReason::Local);
        assert_eq!(got, b"last");
    });
}

#[test]
fn the_end_of_a_listener() {
    bounded(async {
        let pair = pair().await;
        let addr = pair.listener.local_addr().unwrap();
        left(pair.listener.close(Duration::from_secs(20))).await;
        assert!(pair.listener.accept().await.is_err());
        // Its sessions go on closing.
        let reason = pair.client.wait_closed().await;
        assert!(matches!(reason, CloseReason::Peer { code: 0, .. }));
        assert_eq!(pair.server.wait_closed().await, CloseReason::Local);
        drop(pair);
        while TcpListener::bind(addr).is_err() {
            yield_now().await;
        }
    });
}

/// A waker that tells by its count who keeps it.
struct Nothing;

impl Wake for Nothing {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn what_was_dropped_is_kept_nowhere() {
    bounded(async {
        let pair = pair().await;
        let task = Arc::new(Nothing);
        let waker = Arc::clone(&task).into();
        let mut cx = Context::from_waker(&waker);
        for _ in 0..100 {
            assert!(pin!(pair.client.accept()).poll(&mut cx).is_pending());
            assert!(pin!(pair.client.wait_closed()).poll(&mut cx).is_pending());
            assert!(pin!(pair.listener.accept()).poll(&mut cx).is_pending());
        }
        assert_eq!(Arc::strong_count(&task), 2, "its own and the context's");
    });
}
