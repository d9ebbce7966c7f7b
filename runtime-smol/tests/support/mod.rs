//! A client and a server on loopback, and bounds for tests that would hang.
#![allow(dead_code, unreachable_pub)]

use posthole_smol::carrier::ProxyChoice;
use posthole_smol::{ListenOptions, Listener, Options, Session, Spawner, Stream, connect_on};
use smol::Timer;
use smol::future::FutureExt;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use std::future::Future;
use std::time::Duration;

/// How long any test may take: far more than it needs.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Runs a test that fails instead of hanging.
pub fn bounded<T>(test: impl Future<Output = T>) -> T {
    smol::block_on(in_time(test))
}

pub async fn in_time<T>(test: impl Future<Output = T>) -> T {
    let late = async {
        Timer::after(LIMIT).await;
        panic!("still not done after {LIMIT:?}")
    };
    test.or(late).await
}

pub fn options() -> Options {
    Options::new().proxy(ProxyChoice::None)
}

pub async fn listener() -> Listener {
    listener_on(&Spawner::default()).await
}

pub async fn listener_on(spawner: &Spawner) -> Listener {
    Listener::bind_on(spawner, "127.0.0.1:0", ListenOptions::new())
        .await
        .unwrap()
}

pub fn url(listener: &Listener) -> String {
    format!("http://{}/", listener.local_addr().unwrap())
}

/// A session, by its two ends.
pub struct Pair {
    pub client: Session,
    pub server: Session,
    pub listener: Listener,
}

pub async fn pair() -> Pair {
    pair_on(&Spawner::default()).await
}

pub async fn pair_on(spawner: &Spawner) -> Pair {
    let listener = listener_on(spawner).await;
    let client = connect_on(spawner, &url(&listener), options()).await;
    let server = listener.accept().await.unwrap();
    Pair {
        client: client.unwrap(),
        server,
        listener,
    }
}

/// A stream, by its two ends; the first is the client's, who opened it with one byte.
pub async fn streams(pair: &Pair) -> (Stream, Stream) {
    let mut near = pair.client.open().await.unwrap();
    near.write_all(b"!").await.unwrap();
    let mut far = pair.server.accept().await.unwrap();
    let mut first = [0];
    far.read_exact(&mut first).await.unwrap();
    assert_eq!(first, *b"!");
    (near, far)
}

/// Everything up to the end.
pub async fn read_all(mut stream: &Stream) -> Vec<u8> {
    let mut got = Vec::new();
    stream.read_to_end(&mut got).await.unwrap();
    got
}
