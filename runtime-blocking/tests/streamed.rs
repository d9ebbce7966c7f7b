//! Streamed answers on threads: what a server says comes piece by piece in one response (PROTOCOL §5.9).
#![allow(clippy::unwrap_used)]

mod session_support;

use posthole_blocking::{Session, connect};
use posthole_protocol::{Carrier, Config};
use posthole_tests::bounded::bounded;
use posthole_tests::pattern::{assert_same, pattern};
use session_support::{listener, options, url};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

fn by(carrier: Carrier) -> Config {
    Config::builder().carrier(carrier).build().unwrap()
}

/// Waits until answers are streamed, or `false` after some seconds.
fn is_streamed(session: &Session) -> bool {
    (0..500).any(|_| {
        thread::sleep(Duration::from_millis(10));
        session.learned().is_some_and(|learned| learned.streamed)
    })
}

#[test]
fn bulk_and_keystrokes_by_a_streamed_answer() {
    bounded(|| {
        let listener = listener();
        let client = connect(&url(&listener), options().config(by(Carrier::Streamed))).unwrap();
        let server = listener.accept().unwrap();
        let mut near = client.open().unwrap();
        near.write_all(b"?").unwrap();
        let mut far = server.accept().unwrap();
        assert!(is_streamed(&client));
        let before = client.stats().exchanges;
        for round in 0..200_u32 {
            far.write_all(&round.to_be_bytes()).unwrap();
            let mut back = [0; 4];
            near.read_exact(&mut back).unwrap();
            assert_eq!(back, round.to_be_bytes());
        }
        let exchanges = client.stats().exchanges - before;
        assert!(
            exchanges <= 100,
            "{exchanges} exchanges for 200 words of the server's"
        );
        let sent = pattern(1, 24 << 20);
        let expected = sent.clone();
        let writer = thread::spawn(move || {
            far.write_all(&sent).unwrap();
            far.shutdown(Shutdown::Write).unwrap();
        });
        let mut got = Vec::new();
        near.read_to_end(&mut got).unwrap();
        writer.join().unwrap();
        assert_same(&got, &expected);
        assert!(client.learned().unwrap().streamed);
    });
}

/// Every connection is cut now and then: pieces are lost, bytes are not.
#[test]
fn cut_in_mid_stream() {
    bounded(|| {
        let listener = listener();
        let to = listener.local_addr().unwrap();
        let relay = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", relay.local_addr().unwrap());
        thread::spawn(move || {
            for (count, near) in relay.incoming().enumerate().take(2_000) {
                let (near, Ok(far)) = (near.unwrap(), TcpStream::connect(to)) else {
                    return;
                };
                let (back, forth) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                thread::spawn(move || {
                    let _ = std::io::copy(&mut &near, &mut &forth);
                    let _ = forth.shutdown(Shutdown::Both);
                });
                thread::spawn(move || {
                    let most = 300_000 + 70_000 * (count as u64 % 7);
                    let _ = std::io::copy(&mut (&far).take(most), &mut &back);
                    let _ = back.shutdown(Shutdown::Both);
                    let _ = far.shutdown(Shutdown::Both);
                });
            }
        });
        let client = connect(&url, options().config(by(Carrier::Streamed))).unwrap();
        let server = listener.accept().unwrap();
        let mut near = client.open().unwrap();
        near.write_all(b"?").unwrap();
        let mut far = server.accept().unwrap();
        let _ = is_streamed(&client);
        let sent = pattern(2, 8 << 20);
        let expected = sent.clone();
        let writer = thread::spawn(move || {
            far.write_all(&sent).unwrap();
            far.shutdown(Shutdown::Write).unwrap();
        });
        let mut got = Vec::new();
        near.read_to_end(&mut got).unwrap();
        writer.join().unwrap();
        assert_same(&got, &expected);
    });
}
