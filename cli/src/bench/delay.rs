//! A long path on loopback: a relay that hands on every byte half a round trip after it came, with much under way at a
//! time. It knows no loss, no rate and no slow start.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use crate::threads::copy::STACK;

/// Bytes under way in each direction of a connection: at 100 ms, a window that allows 160 MB/s.
const WINDOW: usize = 16 << 20;
/// Bytes taken at a time.
const PIECE: usize = 64 * 1024;

/// Passes every connection on to `to`, `round_trip` later there and back.
pub(super) fn run(
    to: SocketAddr,
    round_trip: Duration,
    ready: impl FnOnce(SocketAddr),
) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    ready(listener.local_addr()?);
    for near in listener.incoming().map_while(Result::ok) {
        let _ = thread::Builder::new()
            .stack_size(STACK)
            .spawn(move || join(&near, to, round_trip));
    }
    Ok(())
}

fn join(near: &TcpStream, to: SocketAddr, round_trip: Duration) -> io::Result<()> {
    let far = &TcpStream::connect(to)?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    // Before a client can say anything, its handshake takes a round trip.
    let (there, back) = (
        Way::new(round_trip / 2, Instant::now() + round_trip),
        Way::new(round_trip / 2, Instant::now()),
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

/// One direction.
struct Way {
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
    fn new(delay: Duration, not_before: Instant) -> Way {
        Way {
            delay,
            not_before,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn fill(&self, mut from: &TcpStream) {
        let mut piece = vec![0; PIECE];
        loop {
            let read = from.read(&mut piece).unwrap_or(0);
            let due = Instant::now().max(self.not_before) + self.delay;
            let mut state = self.lock();
            state.pieces.push_back((due, piece[..read].to_vec()));
            state.bytes += read;
            self.changed.notify_all();
            while state.bytes >= WINDOW && !state.is_broken {
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
    fn bytes_and_ends_arrive_late_but_whole() {
        let far = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = far.local_addr().unwrap();
        let (tell, ready) = mpsc::channel();
        let round_trip = Duration::from_millis(20);
        thread::spawn(move || run(to, round_trip, |addr| tell.send(addr).unwrap()));
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
