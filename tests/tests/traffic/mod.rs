//! Applications at both ends of a session, and what they say to each other.
#![allow(dead_code, unreachable_pub)] // Each test file uses its part.

use posthole_blocking::carrier::ProxyChoice;
use posthole_blocking::{ListenOptions, Listener, Options, Session, Stream, connect};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// How long one test may take: far more than it needs.
const LIMIT: Duration = Duration::from_secs(120);
/// Bytes read or written at a time.
const PIECE: usize = 64 * 1024;

pub const MIB: usize = 1024 * 1024;

/// Runs a test that fails instead of hanging.
pub fn bounded(test: impl FnOnce() + Send + 'static) {
    let (done, ended) = channel();
    let runs = thread::spawn(move || {
        test();
        let _ = done.send(());
    });
    match ended.recv_timeout(LIMIT) {
        Err(RecvTimeoutError::Timeout) => panic!("still not done after {LIMIT:?}"),
        // A sender that was dropped is a test that panicked.
        Ok(()) | Err(RecvTimeoutError::Disconnected) => {
            if let Err(panic) = runs.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

/// A server on a port of its own, and that port.
pub fn listener() -> (Listener, SocketAddr) {
    listener_with(ListenOptions::new())
}

pub fn listener_with(options: ListenOptions) -> (Listener, SocketAddr) {
    let listener = Listener::bind("127.0.0.1:0", options).unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// Options with this proxy, or with none, whatever the environment says.
pub fn options(proxy: Option<&str>) -> Options {
    Options::new().proxy(match proxy {
        None => ProxyChoice::None,
        Some(url) => ProxyChoice::Url(url.to_owned()),
    })
}

/// A session, by its two ends.
pub struct Pair {
    pub client: Session,
    pub server: Session,
    listener: Listener,
}

/// One that goes to the listener by this address: its own, or that of a reverse proxy before it.
pub fn pair(listener: Listener, by: SocketAddr, proxy: Option<&str>) -> Pair {
    pair_with(listener, by, options(proxy))
}

pub fn pair_with(listener: Listener, by: SocketAddr, options: Options) -> Pair {
    let client = connect(&format!("http://{by}/"), options).unwrap();
    let server = listener.accept().unwrap();
    Pair {
        client,
        server,
        listener,
    }
}

impl Pair {
    /// A stream, by its two ends; the first is the client's, who opened it with one byte.
    pub fn stream(&self) -> (Stream, Stream) {
        let mut near = self.client.open().unwrap();
        near.write_all(b"!").unwrap();
        let mut far = self.server.accept().unwrap();
        let mut first = [0];
        far.read_exact(&mut first).unwrap();
        assert_eq!(first, *b"!");
        (near, far)
    }

    /// Ends the session in order, which says that all was delivered.
    pub fn close(self) {
        self.client.close().unwrap();
        assert!(self.server.wait_closed().is_clean());
    }
}

/// All that an application does with streams: bulk both ways, many at once, ping-pong, half-close and reset.
pub fn everything(pair: &Pair) {
    both_ways(pair, 1, 16 * MIB);
    both_ways(pair, 20, MIB / 4);
    let (near, far) = pair.stream();
    ping_pong(&near, &far, 200);
    half_close(pair);
    reset(pair);
}

/// This many streams at once, each with this many bytes in both directions at the same time, ended by both sides.
pub fn both_ways(pair: &Pair, streams: u64, length: usize) {
    let ends: Vec<_> = (0..streams).map(|_| pair.stream()).collect();
    thread::scope(|scope| {
        for (seed, (near, far)) in ends.iter().enumerate() {
            let seed = seed as u64;
            scope.spawn(move || send(near, 2 * seed, length));
            scope.spawn(move || send(far, 2 * seed + 1, length));
            scope.spawn(move || receive(far, 2 * seed, length, |_| {}));
            scope.spawn(move || receive(near, 2 * seed + 1, length, |_| {}));
        }
    });
}

/// Writes that many bytes of the pattern, then the end.
pub fn send(mut to: &Stream, seed: u64, length: usize) {
    let mut pattern = Pattern::new(seed);
    let mut piece = vec![0; PIECE];
    let mut left = length;
    while left > 0 {
        let piece = &mut piece[..left.min(PIECE)];
        pattern.fill(piece);
        to.write_all(piece).unwrap();
        left -= piece.len();
    }
    to.shutdown(Shutdown::Write).unwrap();
}

/// Reads that many bytes of the pattern, then the end. `progress` is told how many there were so far.
pub fn receive(mut from: &Stream, seed: u64, length: usize, mut progress: impl FnMut(usize)) {
    let mut pattern = Pattern::new(seed);
    let mut got = vec![0; PIECE];
    let mut wanted = vec![0; PIECE];
    let mut so_far = 0;
    loop {
        let n = from.read(&mut got).unwrap();
        if n == 0 {
            assert_eq!(so_far, length, "length of stream {seed}");
            return;
        }
        let (got, wanted) = (&got[..n], &mut wanted[..n]);
        pattern.fill(wanted);
        // Said without printing megabytes.
        if let Some(at) = got.iter().zip(&*wanted).position(|(a, b)| a != b) {
            panic!("stream {seed} is different from byte {} on", so_far + at);
        }
        so_far += n;
        progress(so_far);
    }
}

/// One byte there and back, this many times.
pub fn ping_pong(mut near: &Stream, mut far: &Stream, rounds: u32) {
    let mut got = [0];
    for round in 0..rounds {
        let byte = [round.to_le_bytes()[0]];
        near.write_all(&byte).unwrap();
        far.read_exact(&mut got).unwrap();
        assert_eq!(got, byte);
        far.write_all(&byte).unwrap();
        near.read_exact(&mut got).unwrap();
        assert_eq!(got, byte);
    }
}

/// The answer is given after the question's end was read.
pub fn half_close(pair: &Pair) {
    let (mut near, mut far) = pair.stream();
    near.write_all(b"a question").unwrap();
    near.shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    far.read_to_string(&mut text).unwrap();
    assert_eq!(text, "a question");
    far.write_all(b"an answer").unwrap();
    far.shutdown(Shutdown::Write).unwrap();
    text.clear();
    near.read_to_string(&mut text).unwrap();
    assert_eq!(text, "an answer");
}

/// A reset is an error at the other end, never an end; whichever side resets.
pub fn reset(pair: &Pair) {
    for is_near in [true, false] {
        let (near, far) = pair.stream();
        let (resets, mut reads) = if is_near { (near, far) } else { (far, near) };
        resets.reset(7);
        let error = reads.read(&mut [0; 16]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}

/// Sends back what it reads, on all streams of the first session, until that ends.
pub fn echo(listener: &Listener) {
    let session = listener.accept().unwrap();
    while let Ok(stream) = session.accept() {
        thread::spawn(move || {
            let _ = std::io::copy(&mut &stream, &mut &stream);
            let _ = stream.shutdown(Shutdown::Write);
        });
    }
}

/// Bytes that are different everywhere, so that a piece at a wrong place is seen; the same for the same seed.
pub struct Pattern {
    state: u64,
    word: [u8; 8],
    used: usize,
}

impl Pattern {
    pub fn new(seed: u64) -> Pattern {
        Pattern {
            state: seed,
            word: [0; 8],
            used: 8,
        }
    }

    /// The next bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            if self.used == self.word.len() {
                self.word = self.next().to_le_bytes();
                self.used = 0;
            }
            *byte = self.word[self.used];
            self.used += 1;
        }
    }

    /// splitmix64 (Steele, Lea, Flood 2014).
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
