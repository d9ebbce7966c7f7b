//! A long path on loopback: a relay that hands on every byte half a round trip after it came, with much under way at a
//! time, and so many bytes a second. It knows no loss and no slow start.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use crate::threads::copy::STACK;

/// Bytes under way in each direction of a connection, at most: at 100 ms, a window that allows 160 MB/s.
const WINDOW: usize = 16 << 20;
/// A narrow path keeps what it carries in this time beside what is on its way.
const QUEUE: Duration = Duration::from_millis(100);
/// Bytes taken at a time.
const PIECE: usize = 64 * 1024;

/// Passes every connection on to `to`, `round_trip` later there and back, `rate` million bits a second of all together
/// each way, or without limit if that is 0.
pub(super) fn run(
    to: SocketAddr,
    round_trip: Duration,
    rate: u32,
    ready: impl FnOnce(SocketAddr),
) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    ready(listener.local_addr()?);
    let (up, down) = (Wire::new(rate), Wire::new(rate));
    for near in listener.incoming().map_while(Result::ok) {
        let wires = (Arc::clone(&up), Arc::clone(&down));
        let _ = thread::Builder::new()
            .stack_size(STACK)
            .spawn(move || join(&near, to, round_trip, wires));
    }
    Ok(())
}

fn join(
    near: &TcpStream,
    to: SocketAddr,
    round_trip: Duration,
    (up, down): (Arc<Wire>, Arc<Wire>),
) -> io::Result<()> {
    let far = &TcpStream::connect(to)?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    // Before a client can say anything, its handshake takes a round trip.
    let (there, back) = (
        Way::new(up, round_trip / 2, Instant::now() + round_trip),
        Way::new(down, round_trip / 2, Instant::now()),
    );
    let (there, back) = (&there, &back);
    thread::scope(|scope| {
        spawn(scope, || there.fill(near))?;
        spawn(scope, || there.drain(far))?;
        spawn(scope, || back.fill(far))?;
        back.drain(near);
        Ok(())
    })
}

fn spawn<'s>(scope: &'s Scope<'s, '_>, work: impl FnOnce() + Send + 's) -> io::Result<()> {
    thread::Builder::new()
        .stack_size(STACK)
        .spawn_scoped(scope, work)
        .map(drop)
}

/// What all connections share in one direction: bytes wait for those before them.
struct Wire {
    /// Nanoseconds that a byte takes.
    pace: f64,
    free: Mutex<Instant>,
}

impl Wire {
    fn new(mbit: u32) -> Arc<Wire> {
        let pace = if mbit == 0 {
            0.0
        } else {
            8_000.0 / f64::from(mbit)
        };
        Arc::new(Wire {
            pace,
            free: Mutex::new(Instant::now()),
        })
    }

    /// How many bytes of one connection are under way at once over so long a path.
    fn window(&self, round_trip: Duration) -> usize {
        let time = (round_trip + QUEUE).as_nanos() as f64;
        ((time / self.pace) as usize).clamp(PIECE, WINDOW)
    }

    /// When so many bytes that come now have gone over it.
    fn pass(&self, bytes: usize) -> Instant {
        let mut free = self.free.lock().unwrap_or_else(|e| e.into_inner());
        let takes = Duration::from_nanos((bytes as f64 * self.pace) as u64);
        *free = (*free).max(Instant::now()) + takes;
        *free
    }
}

/// One direction of one connection.
struct Way {
    wire: Arc<Wire>,
    delay: Duration,
    not_before: Instant,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// What is under way and when it is there; an empty piece is the end.
    pieces: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
    is_broken: bool,
}

impl Way {
    fn new(wire: Arc<Wire>, delay: Duration, not_before: Instant) -> Way {
        Way {
            wire,
            delay,
            not_before,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn fill(&self, mut from: &TcpStream) {
        let mut piece = vec![0; PIECE];
        let window = self.wire.window(self.delay * 2);
        loop {
            let read = from.read(&mut piece).unwrap_or(0);
            let due = self.wire.pass(read).max(self.not_before) + self.delay;
            let mut state = self.lock();
            state.pieces.push_back((due, piece[..read].to_vec()));
            state.bytes += read;
            self.changed.notify_all();
            while state.bytes >= window && !state.is_broken {
                state = self.wait(state);
            }
            if read == 0 || state.is_broken {
                return;
            }
        }
    }

    fn drain(&self, mut to: &TcpStream) {
        loop {
            let mut state = self.lock();
            let (due, piece) = loop {
                match state.pieces.pop_front() {
                    Some(next) => break next,
                    None => state = self.wait(state),
                }
            };
            drop(state);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let sent = to.write_all(&piece);
            if piece.is_empty() {
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            let mut state = self.lock();
            state.bytes -= piece.len();
            state.is_broken = sent.is_err();
            self.changed.notify_all();
            if state.is_broken {
                return;
            }
        }
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed
            .wait(state)
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn bytes_of_all_connections_wait_for_those_before_them() {
        let wire = Wire::new(8);
        let began = Instant::now();
        assert!(wire.pass(1_000_000) >= began + Duration::from_secs(1));
        assert!(wire.pass(1_000_000) >= began + Duration::from_secs(2));
        assert_eq!(wire.window(Duration::from_millis(900)), 1_000_000);
        let free = Wire::new(0);
        assert_eq!(free.window(Duration::ZERO), WINDOW);
        assert!(free.pass(usize::MAX / 2) <= Instant::now());
    }

    #[test]
    fn bytes_and_ends_arrive_late_but_whole() {
        let far = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = far.local_addr().unwrap();
        let (tell, ready) = mpsc::channel();
        let round_trip = Duration::from_millis(20);
        thread::spawn(move || run(to, round_trip, 100, |addr| tell.send(addr).unwrap()));
        let began = Instant::now();
        let mut near = TcpStream::connect(ready.recv().unwrap()).unwrap();
        let (mut far, _) = far.accept().unwrap();
        near.write_all(b"there").unwrap();
        near.shutdown(Shutdown::Write).unwrap();
        let mut got = String::new();
        far.read_to_string(&mut got).unwrap();
        assert_eq!(got, "there");
        far.write_all(b"back").unwrap();
        drop(far);
        got.clear();
        near.read_to_string(&mut got).unwrap();
        assert_eq!(got, "back");
        // A lower bound only: handshake and both ways.
        assert!(began.elapsed() >= 2 * round_trip);
    }
}
