//! Sessions run on any executor.
#![allow(clippy::unwrap_used)]

mod support;

use async_executor::Executor;
use futures::executor::ThreadPool;
use posthole_smol::{CloseReason, Spawner};
use posthole_tests::pattern::{assert_same, pattern};
use smol::channel::bounded as channel;
use smol::future::{block_on, zip};
use smol::io::AsyncWriteExt;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use support::{bounded, in_time, listener_on, pair_on, read_all, streams};

/// A session's whole life, on tasks that `spawner` starts.
async fn talk(spawner: Spawner) {
    let pair = pair_on(&spawner).await;
    let (near, far) = streams(&pair).await;
    let data = pattern(1, 2_000_000);
    let write = async {
        (&near).write_all(&data).await.unwrap();
        (&near).close().await.unwrap();
    };
    let echo = async {
        smol::io::copy(&far, &mut &far).await.unwrap();
        (&far).close().await.unwrap();
    };
    let (((), ()), got) = zip(zip(write, echo), read_all(&near)).await;
    assert_same(&got, &data);
    pair.client.close().await.unwrap();
    pair.listener.close(Duration::from_secs(20)).await;
}

fn spawner(executor: &Arc<Executor<'static>>) -> Spawner {
    let executor = executor.clone();
    Spawner::new(move |task| executor.spawn(task).detach())
}

#[test]
fn on_smols_own() {
    bounded(talk(Spawner::default()));
}

#[test]
fn on_an_executor_with_threads() {
    let executor = Arc::new(Executor::new());
    let (stop, stopped) = channel::<()>(1);
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let (executor, stopped) = (executor.clone(), stopped.clone());
            thread::spawn(move || block_on(executor.run(stopped.recv())))
        })
        .collect();
    bounded(talk(spawner(&executor)));
    drop(stop);
    for thread in threads {
        assert!(thread.join().unwrap().is_err(), "no message, only the end");
    }
}

#[test]
fn on_threads_of_its_own_of_which_there_is_one_at_least() {
    for threads in [0, 2] {
        bounded(talk(Spawner::threads(threads)));
    }
}

#[test]
fn what_blocks_one_of_several_threads_leaves_the_others() {
    let spawner = Spawner::threads(2);
    let (here, there) = std::sync::mpsc::channel();
    let (done, is_done) = std::sync::mpsc::channel();
    spawner.spawn(async move { done.send(there.recv().is_ok()).unwrap() });
    spawner.spawn(async move { here.send(()).unwrap() });
    let answer = is_done.recv_timeout(Duration::from_secs(20));
    assert_eq!(answer, Ok(true));
}

#[test]
fn direct_connections_are_served_where_the_listener_is() {
    let executor = Arc::new(Executor::new());
    let begin = async {
        let listener = listener_on(&spawner(&executor)).await;
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = socket.local_addr().unwrap();
        listener.serve_direct(socket).unwrap();
        (listener, addr)
    };
    let (_listener, addr) = block_on(executor.run(in_time(begin)));
    let mut stream = TcpStream::connect(addr).unwrap();
    // No bundle: whoever reads it closes.
    stream.write_all(&[0; 100]).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    assert!(
        stream.read(&mut [0]).is_err(),
        "nobody runs what serves it, and it is served"
    );
    stream.set_read_timeout(None).unwrap();
    let closed = smol::unblock(move || stream.read_to_end(&mut Vec::new()));
    // A reset is an end, too.
    let _ = block_on(executor.run(in_time(closed)));
}

#[test]
fn on_one_thread() {
    let executor = Arc::new(Executor::new());
    block_on(executor.run(in_time(talk(spawner(&executor)))));
}

#[test]
fn on_the_executors_of_others() {
    let pool = ThreadPool::builder().pool_size(2).create().unwrap();
    let spawner = Spawner::new(move |task| pool.spawn_ok(task));
    futures::executor::block_on(in_time(talk(spawner)));
}

#[test]
fn without_its_executor_a_session_ends() {
    let executor = Arc::new(Executor::new());
    let weak = Arc::downgrade(&executor);
    let spawner = Spawner::new(move |task| {
        // Without the executor, what would run there is dropped.
        if let Some(executor) = weak.upgrade() {
            executor.spawn(task).detach();
        }
    });
    let pair = block_on(executor.run(in_time(pair_on(&spawner))));
    let (near, far) = block_on(executor.run(in_time(streams(&pair))));
    bounded(async {
        let waiting = async { (near.read_bytes(9).await, far.read_bytes(9).await) };
        let end = async { drop(executor) };
        let ((near, far), ()) = zip(waiting, end).await;
        assert!(near.is_err() && far.is_err());
        assert_eq!(pair.client.wait_closed().await, CloseReason::Aborted);
        assert_eq!(pair.server.wait_closed().await, CloseReason::Aborted);
        assert!(pair.client.open().await.is_err());
        assert_eq!(pair.listener.sessions(), 0);
    });
}
