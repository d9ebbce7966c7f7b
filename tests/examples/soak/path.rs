//! What is between client and server, and does it harm.

use posthole_tests::rng::Rng;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How an open connection ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut {
    /// With a reset.
    Reset,
    /// As if all had been said.
    End,
    /// Not at all: it is silent from now on, and new ones are not.
    BlackHole,
}

/// A relay of bytes.
pub(crate) struct Relay {
    to: SocketAddr,
    open: Mutex<Vec<Arc<Pair>>>,
    /// Bytes after which a connection ends.
    pub(crate) most: AtomicU64,
    /// Connections are closed as they come.
    pub(crate) down: AtomicBool,
    /// Nothing passes.
    pub(crate) silent: AtomicBool,
    over: AtomicBool,
}

struct Pair {
    near: TcpStream,
    far: TcpStream,
    is_swallowed: AtomicBool,
    is_reset: AtomicBool,
}

impl Relay {
    /// A relay to there, and where it listens.
    pub(crate) fn start(to: SocketAddr) -> (Arc<Relay>, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let relay = Arc::new(Relay {
            to,
            open: Mutex::default(),
            most: AtomicU64::new(u64::MAX),
            down: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            over: AtomicBool::new(false),
        });
        let runs = Arc::clone(&relay);
        thread::spawn(move || runs.run(&listener));
        (relay, addr)
    }

    fn run(self: Arc<Self>, listener: &TcpListener) {
        for near in listener.incoming().map_while(Result::ok) {
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            if self.down.load(Ordering::Relaxed) {
                continue;
            }
            let Ok(far) = TcpStream::connect(self.to) else {
                continue;
            };
            for socket in [&near, &far] {
                let _ = socket.set_nodelay(true);
            }
            let pair = Arc::new(Pair {
                near,
                far,
                is_swallowed: AtomicBool::new(false),
                is_reset: AtomicBool::new(false),
            });
            self.open.lock().unwrap().push(Arc::clone(&pair));
            let most = self.most.load(Ordering::Relaxed);
            for is_up in [true, false] {
                let (pair, relay) = (Arc::clone(&pair), Arc::clone(&self));
                thread::spawn(move || relay.copy(&pair, is_up, most));
            }
        }
    }

    fn copy(&self, pair: &Pair, is_up: bool, most: u64) {
        let (mut from, mut to) = match is_up {
            true => (&pair.near, &pair.far),
            false => (&pair.far, &pair.near),
        };
        // So that it looks up now and then: a socket is reset when its last thread lets go of it.
        let _ = from.set_read_timeout(Some(Duration::from_millis(20)));
        let (mut piece, mut moved) = (vec![0; 65_536], 0);
        while !pair.is_reset.load(Ordering::Relaxed) {
            let n = match from.read(&mut piece) {
                Ok(n) => n,
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    continue;
                }
                Err(_) => break,
            };
            while self.silent.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(10));
            }
            let is_swallowed = pair.is_swallowed.load(Ordering::Relaxed);
            if is_swallowed && n > 0 {
                continue;
            }
            moved += n as u64;
            // What ends in a black hole ends for one side alone.
            if is_swallowed || n == 0 || moved > most || to.write_all(&piece[..n]).is_err() {
                break;
            }
        }
        let is_swallowed = pair.is_swallowed.load(Ordering::Relaxed);
        if !is_swallowed && !pair.is_reset.load(Ordering::Relaxed) {
            pair.cut(Cut::End);
        }
    }

    /// Ends all that are open.
    pub(crate) fn cut(&self, how: Cut) {
        let mut open = self.open.lock().unwrap();
        for pair in open.iter() {
            pair.cut(how);
        }
        // What is swallowed stays open at both ends until they close it.
        open.clear();
    }

    /// Ends them so once a second.
    pub(crate) fn cut_each_second(&self, how: Cut, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            thread::sleep(Duration::from_secs(1));
            self.cut(how);
        }
    }

    /// Resets each that is open, and each that comes, after a random time: 0.2 s at least, a second on average.
    pub(crate) fn reset_at_random(&self, time: Duration) {
        let (mut rng, until) = (Rng::new(9), Instant::now() + time);
        while Instant::now() < until {
            // Whoever is open now lives on for one step or for ten.
            thread::sleep(Duration::from_millis(200));
            let mut open = self.open.lock().unwrap();
            open.retain(|pair| {
                let lives = !rng.draw().is_multiple_of(5);
                if !lives {
                    pair.cut(Cut::Reset);
                }
                lives
            });
        }
    }

    /// Ends what is open, and takes no more.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
        self.cut(Cut::Reset);
    }
}

impl Pair {
    fn cut(&self, how: Cut) {
        match how {
            Cut::Reset => {
                for socket in [&self.near, &self.far] {
                    let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
                }
                self.is_reset.store(true, Ordering::Relaxed);
            }
            Cut::End => {
                let _ = self.near.shutdown(Shutdown::Both);
                let _ = self.far.shutdown(Shutdown::Both);
            }
            Cut::BlackHole => self.is_swallowed.store(true, Ordering::Relaxed),
        }
    }
}
