//! Futures of the runtime of tasks that are given up: what they waited for goes to others, and what they began has an end.
//!
//! That a call which is given up and made again loses nothing is shown by the conformance suite itself, whose world
//! `fickle_fickle` gives up every call at every point. Here is what a single one leaves behind.
#![allow(clippy::unwrap_used)] // A test fails by it.

use bytes::Bytes;
use posthole_smol::carrier::ProxyChoice;
use posthole_smol::{
    CloseReason, Config, ListenOptions, Listener, Options, Session, Spawner, Stream, connect,
    connect_on,
};
use posthole_tests::bounded::bounded;
use posthole_tests::conformance::cancel::{Waiting, give_up_after};
use posthole_tests::pattern::{assert_same, pattern};
use smol::Executor;
use smol::future::block_on;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// A session by its two ends.
struct Pair {
    client: Session,
    server: Session,
    listener: Listener,
}

fn options() -> Options {
    Options::new().proxy(ProxyChoice::None)
}

fn url(listener: &Listener) -> String {
    format!("http://{}/", listener.local_addr().unwrap())
}

async fn bind(config: Config) -> Listener {
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    let options = ListenOptions::new().config(config);
    Listener::bind(any, options).await.unwrap()
}

async fn pair_with(config: Config) -> Pair {
    let listener = bind(config.clone()).await;
    let url = url(&listener);
    let client = connect(&url, options().config(config)).await.unwrap();
    let server = listener.accept().await.unwrap();
    Pair {
        client,
        server,
        listener,
    }
}

async fn pair() -> Pair {
    pair_with(Config::default()).await
}

/// A stream by its two ends, the first of which is the client's.
async fn stream(pair: &Pair) -> (Stream, Stream) {
    let mut near = pair.client.open().await.unwrap();
    near.write_all(b"!").await.unwrap();
    let mut far = pair.server.accept().await.unwrap();
    far.read_exact(&mut [0]).await.unwrap();
    (near, far)
}

/// Of many who wait for the same, all but one give up: some before the news, some when they have been woken by them. The
/// one that is left must be woken and find what it waited for.
fn others_give_up<F: Future>(begin: impl Fn() -> F, news: impl FnOnce()) -> F::Output {
    let mut waiting: Vec<_> = (0..9).map(|_| Waiting::begin(begin())).collect();
    let stays = waiting.remove(4);
    let woken = waiting.split_off(4);
    drop(waiting);
    news();
    for future in woken {
        future.woken();
        drop(future);
    }
    stays.finish()
}

#[test]
fn a_stream_goes_to_whoever_still_waits_to_accept_it() {
    bounded(|| {
        let pair = block_on(pair());
        for (opens, accepts) in [(&pair.client, &pair.server), (&pair.server, &pair.client)] {
            let mut near = None;
            let open = || {
                let stream = block_on(opens.open()).unwrap();
                block_on((&stream).write_all(b"x")).unwrap();
                near = Some(stream);
            };
            let far = others_give_up(|| accepts.accept(), open).unwrap();
            assert_eq!(far.id(), near.unwrap().id());
        }
    });
}

#[test]
fn a_session_goes_to_whoever_still_waits_to_accept_it() {
    bounded(|| {
        let listener = block_on(bind(Config::default()));
        let mut client = None;
        let accepted = others_give_up(
            || listener.accept(),
            || client = Some(block_on(connect(&url(&listener), options())).unwrap()),
        );
        block_on(client.unwrap().close()).unwrap();
        assert!(block_on(accepted.unwrap().wait_closed()).is_clean());
    });
}

#[test]
fn room_for_a_stream_goes_to_whoever_still_waits_to_open_one() {
    bounded(|| {
        let pair = block_on(pair_with(Config::builder().streams(16).build().unwrap()));
        let mut open = Vec::new();
        while let Some(stream) = give_up_after(1, pair.client.open()) {
            let stream = stream.unwrap();
            block_on((&stream).write_all(b"x")).unwrap();
            open.push(stream);
        }
        // Half of them end at both ends, which is when the peer allows more (§6.1).
        let end_half = || {
            for _ in 0..open.len() / 2 {
                let far = block_on(pair.server.accept()).unwrap();
                let at = open.iter().position(|near| near.id() == far.id());
                drop((far, open.swap_remove(at.unwrap())));
            }
        };
        others_give_up(|| pair.client.open(), end_half).unwrap();
    });
}

#[test]
fn bytes_go_to_whoever_still_waits_to_read_them() {
    bounded(|| {
        let pair = block_on(pair());
        let (near, far) = block_on(stream(&pair));
        let read = || async {
            let mut bytes = [0; 8];
            let n = (&far).read(&mut bytes).await?;
            io::Result::Ok(bytes[..n].to_vec())
        };
        let write = |bytes| block_on((&near).write_all(bytes)).unwrap();
        assert_eq!(others_give_up(read, || write(b"one")).unwrap(), b"one");
        let shared = others_give_up(|| far.read_bytes(8), || write(b"two"));
        assert_eq!(&shared.unwrap()[..], b"two");
        let peek = || async {
            let mut bytes = [0; 8];
            let n = far.peek(&mut bytes).await?;
            io::Result::Ok(bytes[..n].to_vec())
        };
        assert_eq!(others_give_up(peek, || write(b"three")).unwrap(), b"three");
        assert_eq!(block_on(read()).unwrap(), b"three");
        // The end is news to everybody.
        let end = || block_on((&near).close()).unwrap();
        assert_eq!(others_give_up(read, end).unwrap(), b"");
    });
}

#[test]
fn room_goes_to_whoever_still_waits_to_write() {
    bounded(|| {
        let builder = Config::builder().pool(512 * 1024).send_pool(512 * 1024);
        let pair = block_on(pair_with(builder.build().unwrap()));
        let (near, far) = block_on(stream(&pair));
        let data = pattern(1, 64 * 1024);
        let write = || async { (&near).write(&data).await };
        let mut written = 0;
        // Full is what stays full, also while others have the processor.
        while let Some(n) = give_up_after(200, write()) {
            written += n.unwrap();
        }
        let mut got = vec![0; written];
        let read = || block_on((&far).read_exact(&mut got)).unwrap();
        written = others_give_up(write, read).unwrap();
        assert!(written > 0);
        drop(near);
        let mut rest = Vec::new();
        block_on((&far).read_to_end(&mut rest)).unwrap();
        assert_same(&rest, &data[..written]);
    });
}

#[test]
fn the_end_comes_to_whoever_still_waits_for_it() {
    bounded(|| {
        let pair = block_on(pair());
        let close = || block_on(pair.client.close()).unwrap();
        let reason = others_give_up(|| pair.server.wait_closed(), close);
        assert!(matches!(reason, CloseReason::Peer { code: 0, .. }));
    });
}

/// What was taken of them is the front of them.
#[test]
fn bytes_whose_writing_is_given_up_arrive_up_to_some_point() {
    bounded(|| {
        let builder = Config::builder().pool(128 * 1024).send_pool(128 * 1024);
        let pair = block_on(pair_with(builder.build().unwrap()));
        let data = Bytes::from(pattern(7, 2 << 20));
        for polls in [0, 1, 2, 3, 5, 8, 13] {
            let (near, mut far) = block_on(stream(&pair));
            let reader = thread::spawn(move || {
                let mut got = Vec::new();
                block_on(far.read_to_end(&mut got)).unwrap();
                got
            });
            let done = give_up_after(polls, near.write_bytes(data.clone()));
            drop(near);
            let got = reader.join().unwrap();
            assert_same(&got, &data[..got.len()]);
            assert!(done.is_none() || got.len() == data.len());
            assert!(polls > 0 || got.is_empty());
        }
    });
}

#[test]
fn a_session_whose_closing_is_given_up_closes_all_the_same() {
    bounded(|| {
        for client_closes in [true, false] {
            let pair = block_on(pair());
            let (near, far) = block_on(stream(&pair));
            let (closes, mut writes, other, mut reads) = if client_closes {
                (&pair.client, near, &pair.server, far)
            } else {
                (&pair.server, far, &pair.client, near)
            };
            let data = pattern(2, 300_000);
            block_on(writes.write_all(&data)).unwrap();
            block_on(writes.close()).unwrap();
            // Not begun is not closed.
            assert!(give_up_after(0, closes.close()).is_none());
            assert!(block_on(closes.open()).is_ok());
            drop(Waiting::begin(closes.close()));
            let mut got = Vec::new();
            block_on(reads.read_to_end(&mut got)).unwrap();
            assert_same(&got, &data);
            assert!(block_on(other.wait_closed()).is_clean());
            assert_eq!(block_on(closes.wait_closed()), CloseReason::Local);
        }
    });
}

#[test]
fn a_listener_whose_closing_is_given_up_ends_its_sessions_all_the_same() {
    bounded(|| {
        let Pair {
            client,
            server,
            listener,
        } = block_on(pair());
        let addr = listener.local_addr().unwrap();
        drop(Waiting::begin(listener.close(Duration::from_secs(3600))));
        let refused = block_on(listener.accept()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::NotConnected);
        assert!(block_on(client.wait_closed()).is_clean());
        drop((client, server, listener));
        while TcpListener::bind(addr).is_err() {
            thread::yield_now();
        }
    });
}

/// An executor on threads of its own, which tells whether anything is left on it.
struct Elsewhere {
    tasks: Arc<Executor<'static>>,
    is_over: Arc<AtomicBool>,
}

impl Elsewhere {
    fn new() -> (Elsewhere, Spawner) {
        let tasks = Arc::new(Executor::new());
        let is_over = Arc::new(AtomicBool::new(false));
        for _ in 0..2 {
            let (tasks, is_over) = (tasks.clone(), is_over.clone());
            thread::spawn(move || {
                block_on(tasks.run(async {
                    while !is_over.load(Ordering::Relaxed) {
                        smol::Timer::after(Duration::from_millis(1)).await;
                    }
                }));
            });
        }
        let spawner = {
            let tasks = Arc::downgrade(&tasks);
            Spawner::new(move |task| {
                if let Some(tasks) = tasks.upgrade() {
                    tasks.spawn(task).detach();
                }
            })
        };
        (Elsewhere { tasks, is_over }, spawner)
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_session_whose_beginning_is_given_up_leaves_no_task() {
    bounded(|| {
        let listener = block_on(bind(Config::default()));
        let (executor, spawner) = Elsewhere::new();
        let url = url(&listener);
        for polls in 0.. {
            let begun = give_up_after(polls, connect_on(&spawner, &url, options()));
            if let Some(session) = begun {
                // It was let: from here on nothing is given up any more.
                session.unwrap().abort();
                break;
            }
        }
        while !executor.tasks.is_empty() {
            thread::yield_now();
        }
        // The server is as good as before.
        let client = block_on(connect(&url, options())).unwrap();
        block_on(client.close()).unwrap();
    });
}

#[test]
fn a_listener_whose_beginning_is_given_up_listens_nowhere() {
    bounded(|| {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = first.local_addr().unwrap();
        drop(first);
        for polls in 0.. {
            let bound = give_up_after(polls, Listener::bind(addr, ListenOptions::new()));
            if let Some(listener) = bound {
                assert_eq!(listener.unwrap().local_addr().unwrap(), addr);
                break;
            }
            drop(TcpListener::bind(addr).unwrap());
        }
    });
}

/// With its tasks gone a session is over, and everybody who waits for it learns that.
#[test]
fn a_session_ends_with_its_executor() {
    bounded(|| {
        let listener = block_on(bind(Config::default()));
        let (executor, spawner) = Elsewhere::new();
        let client = block_on(connect_on(&spawner, &url(&listener), options())).unwrap();
        let stream = block_on(client.open()).unwrap();
        block_on((&stream).write_all(b"x")).unwrap();
        let reading = Waiting::begin(async { stream.read_bytes(8).await.unwrap_err().kind() });
        let accepting = Waiting::begin(async { client.accept().await.unwrap_err().kind() });
        let ending = Waiting::begin(client.wait_closed());
        drop(executor);
        assert_eq!(reading.finish(), ErrorKind::NotConnected);
        assert_eq!(accepting.finish(), ErrorKind::NotConnected);
        assert_eq!(ending.finish(), CloseReason::Aborted);
    });
}

#[test]
fn many_who_give_up_leave_nothing_behind() {
    bounded(|| {
        let (executor, spawner) = Elsewhere::new();
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        let listener = Listener::bind_on(&spawner, any, ListenOptions::new());
        let listener = block_on(listener).unwrap();
        let url = url(&listener);
        let pair = Pair {
            client: block_on(connect_on(&spawner, &url, options())).unwrap(),
            server: block_on(listener.accept()).unwrap(),
            listener,
        };
        let (near, far) = block_on(stream(&pair));
        for polls in 0..150 {
            let polls = polls % 3;
            assert!(give_up_after(polls, pair.client.accept()).is_none());
            assert!(give_up_after(polls, pair.listener.accept()).is_none());
            assert!(give_up_after(polls, near.read_bytes(8)).is_none());
            assert!(give_up_after(polls, pair.server.wait_closed()).is_none());
        }
        block_on((&far).write_all(b"still")).unwrap();
        assert_eq!(&block_on(near.read_bytes(8)).unwrap()[..], b"still");
        drop((near, far));
        block_on(pair.client.close()).unwrap();
        drop(pair);
        while !executor.tasks.is_empty() {
            thread::yield_now();
        }
    });
}
