//! Connections are cut in mid-exchange, over and over; the session and its bytes are not.
#![allow(clippy::unwrap_used)]

mod session_support;

use posthole_blocking::{Config, ListenOptions, Listener, connect};
use session_support::{assert_same, bounded, options, pattern};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Passes connections on to a server, and cuts them when told.
struct Relay {
    addr: SocketAddr,
    open: Arc<Mutex<Vec<TcpStream>>>,
    cuts: AtomicUsize,
    /// Whoever comes is turned away.
    shut: Arc<AtomicBool>,
}

impl Relay {
    fn new(to: SocketAddr) -> Relay {
        let door = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = door.local_addr().unwrap();
        let open = Arc::new(Mutex::new(Vec::new()));
        let list = open.clone();
        let shut = Arc::new(AtomicBool::new(false));
        let is_shut = shut.clone();
        thread::spawn(move || {
            for near in door.incoming() {
                if is_shut.load(Ordering::Relaxed) {
                    continue;
                }
                let (near, far) = (near.unwrap(), TcpStream::connect(to).unwrap());
                for stream in [&near, &far] {
                    stream.set_nodelay(true).unwrap();
                    list.lock().unwrap().push(stream.try_clone().unwrap());
                }
                let (mut up_from, mut up_to) =
                    (near.try_clone().unwrap(), far.try_clone().unwrap());
                thread::spawn(move || {
                    let _ = io::copy(&mut up_from, &mut up_to);
                    let _ = up_to.shutdown(Shutdown::Write);
                });
                let (mut down_from, mut down_to) = (far, near);
                thread::spawn(move || {
                    let _ = io::copy(&mut down_from, &mut down_to);
                    let _ = down_to.shutdown(Shutdown::Write);
                });
            }
        });
        Relay {
            addr,
            open,
            cuts: AtomicUsize::new(0),
            shut,
        }
    }

    fn cut_all(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            // An error: it has ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.cuts.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn bytes_are_right_though_connections_are_cut_all_the_time() {
    bounded(|| {
        const SIZE: usize = 24 << 20;
        let listener = Listener::bind("127.0.0.1:0", ListenOptions::new()).unwrap();
        let relay = Arc::new(Relay::new(listener.local_addr().unwrap()));
        let client = connect(&format!("http://{}/", relay.addr), options()).unwrap();
        let near = Arc::new(client.open().unwrap());
        (&*near).write_all(b"!").unwrap();
        let server = listener.accept().unwrap();
        let far = Arc::new(server.accept().unwrap());
        (&*far).read_exact(&mut [0]).unwrap();

        let done = Arc::new(AtomicBool::new(false));
        let cutting = {
            let (relay, done) = (relay.clone(), done.clone());
            thread::spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(8));
                    relay.cut_all();
                }
            })
        };
        let sides = [(near, 1, 2), (far, 2, 1)].map(|(stream, ours, theirs)| {
            let writer = {
                let stream = stream.clone();
                thread::spawn(move || {
                    (&*stream).write_all(&pattern(ours, SIZE)).unwrap();
                    stream.shutdown(Shutdown::Write).unwrap();
                })
            };
            let reader = thread::spawn(move || {
                let mut got = Vec::new();
                (&*stream).read_to_end(&mut got).unwrap();
                assert_same(&got, &pattern(theirs, SIZE));
            });
            [writer, reader]
        });
        for thread in sides.into_iter().flatten() {
            thread.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        cutting.join().unwrap();
        let stats = client.stats();
        println!("{} cuts, {stats:?}", relay.cuts.load(Ordering::Relaxed));
        assert!(stats.lost > 0, "nothing was cut: {stats:?}");
        client.close().unwrap();
    });
}

#[test]
fn a_path_that_is_gone_for_good_ends_the_session() {
    bounded(|| {
        let listener = Listener::bind("127.0.0.1:0", ListenOptions::new()).unwrap();
        let relay = Relay::new(listener.local_addr().unwrap());
        let config = Config::builder()
            .give_up(Duration::from_millis(400))
            .give_up_exchanges(2)
            .build()
            .unwrap();
        let client = connect(&format!("http://{}/", relay.addr), options().config(config)).unwrap();
        let mut stream = client.open().unwrap();
        stream.write_all(b"x").unwrap();
        relay.shut.store(true, Ordering::Relaxed);
        relay.cut_all();
        let error = stream.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        assert!(
            error.to_string().contains("no answer from the server"),
            "{error}"
        );
    });
}
