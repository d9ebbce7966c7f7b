//! Many streams at once, as a forwarder has them.
#![allow(clippy::unwrap_used)]

mod session_support;

use posthole_blocking::{Config, ListenOptions, Listener, connect};
use session_support::{assert_same, bounded, options, pair, pattern, url};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::thread;

#[test]
fn one_of_two_hundred_streams_is_never_read_and_slows_no_other() {
    bounded(|| {
        const STREAMS: usize = 200;
        const SIZE: usize = 100_000;
        let pair = pair();
        let server = pair.server.clone();
        let serving = thread::spawn(move || {
            let mut echoes = Vec::new();
            for _ in 0..STREAMS {
                let stream = server.accept().unwrap();
                echoes.push(thread::spawn(move || {
                    let mut kind = [0];
                    (&stream).read_exact(&mut kind).unwrap();
                    if kind == *b"s" {
                        // Nobody reads what this writes, so it waits for room until the client leaves.
                        assert!((&stream).write_all(&pattern(0, 100 << 20)).is_err());
                    } else {
                        io::copy(&mut &stream, &mut &stream).unwrap();
                        stream.shutdown(Shutdown::Write).unwrap();
                    }
                }));
            }
            for echo in echoes {
                echo.join().unwrap();
            }
        });
        let stuck = pair.client.open().unwrap();
        (&stuck).write_all(b"s").unwrap();
        let others: Vec<_> = (1..STREAMS)
            .map(|n| {
                let session = pair.client.clone();
                thread::spawn(move || {
                    let mut stream = session.open().unwrap();
                    stream.write_all(b"e").unwrap();
                    let data = pattern(n as u64, SIZE);
                    let mut writes = stream.try_clone().unwrap();
                    let writer = {
                        let data = data.clone();
                        thread::spawn(move || {
                            writes.write_all(&data).unwrap();
                            writes.shutdown(Shutdown::Write).unwrap();
                        })
                    };
                    let mut got = Vec::new();
                    stream.read_to_end(&mut got).unwrap();
                    assert_same(&got, &data);
                    writer.join().unwrap();
                })
            })
            .collect();
        for other in others {
            other.join().unwrap();
        }
        drop(stuck);
        serving.join().unwrap();
        pair.client.close().unwrap();
    });
}

#[test]
fn opening_waits_until_the_peer_allows_another_stream() {
    bounded(|| {
        const STREAMS: u32 = 300;
        // The client may have this many open at once.
        let config = Config::builder().streams(16).build().unwrap();
        let listener = Listener::bind("127.0.0.1:0", ListenOptions::new().config(config)).unwrap();
        let client = connect(&url(&listener), options()).unwrap();
        let server = listener.accept().unwrap();
        let openers: Vec<_> = (0..30)
            .map(|_| {
                let client = client.clone();
                thread::spawn(move || {
                    for _ in 0..STREAMS / 30 {
                        let mut stream = client.open().unwrap();
                        stream.write_all(b"?").unwrap();
                        stream.read_exact(&mut [0]).unwrap();
                    }
                })
            })
            .collect();
        for _ in 0..STREAMS {
            let mut stream = server.accept().unwrap();
            stream.read_exact(&mut [0]).unwrap();
            stream.write_all(b"!").unwrap();
        }
        for opener in openers {
            opener.join().unwrap();
        }
    });
}
