//! Tasks at one end and threads at the other.
#![allow(clippy::unwrap_used)]

mod support;

use posthole_smol::carrier::ProxyChoice;
use posthole_tests::pattern::{assert_same, pattern};
use smol::future::zip;
use smol::io::AsyncWriteExt;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;
use support::{bounded, listener, options, read_all, url};

/// By a thread: sends back what comes, and its end.
fn echo(session: &posthole_blocking::Session) {
    let stream = session.accept().unwrap();
    std::io::copy(&mut &stream, &mut &stream).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
}

/// By a task.
async fn say(session: &posthole_smol::Session, data: &[u8]) {
    let stream = session.open().await.unwrap();
    let write = async {
        (&stream).write_all(data).await.unwrap();
        (&stream).close().await.unwrap();
    };
    let ((), got) = zip(write, read_all(&stream)).await;
    assert_same(&got, data);
}

#[test]
fn a_client_on_tasks_and_a_server_on_threads() {
    let options_theirs = posthole_blocking::ListenOptions::new();
    let listener = posthole_blocking::Listener::bind("127.0.0.1:0", options_theirs).unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let serving = thread::spawn(move || {
        let session = listener.accept().unwrap();
        echo(&session);
        session.wait_closed()
    });
    bounded(async {
        let session = posthole_smol::connect(&url, options()).await.unwrap();
        say(&session, &pattern(1, 3_000_000)).await;
        session.close().await.unwrap();
    });
    assert!(serving.join().unwrap().is_clean());
}

#[test]
fn a_client_on_threads_and_a_server_on_tasks() {
    bounded(async {
        let listener = listener().await;
        let url = url(&listener);
        let client = smol::unblock(move || {
            let options = posthole_blocking::Options::new().proxy(ProxyChoice::None);
            let session = posthole_blocking::connect(&url, options).unwrap();
            let (mut stream, data) = (session.open().unwrap(), pattern(2, 3_000_000));
            stream.write_all(&data).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut got = Vec::new();
            stream.read_to_end(&mut got).unwrap();
            assert_same(&got, &data);
            // And the other way round: the server opens.
            echo(&session);
            session.wait_closed()
        });
        let serve = async {
            let session = listener.accept().await.unwrap();
            let stream = session.accept().await.unwrap();
            smol::io::copy(&stream, &mut &stream).await.unwrap();
            (&stream).close().await.unwrap();
            say(&session, &pattern(3, 500_000)).await;
            session.close().await.unwrap();
        };
        let (reason, ()) = zip(client, serve).await;
        assert!(reason.is_clean());
    });
}
