//! What applications at both ends of a stream say to each other.

use crate::conformance::pair::Pair;
use crate::conformance::runtime::{Session, Stream};
use crate::conformance::world::{Task, World, join_all, spawn};
use crate::pattern::{Pattern, first_difference};
use std::io::ErrorKind;

/// Bytes read or written at a time.
const PIECE: usize = 64 * 1024;

/// A mebibyte.
pub const MIB: usize = 1024 * 1024;

/// Writes so many bytes of the pattern, then the end.
pub fn send(to: &impl Stream, seed: u64, length: usize) {
    let mut pattern = Pattern::new(seed);
    let mut piece = vec![0; PIECE];
    let mut left = length;
    while left > 0 {
        let piece = &mut piece[..left.min(PIECE)];
        pattern.fill(piece);
        to.write_all(piece).expect("somebody reads");
        left -= piece.len();
    }
    to.finish().expect("the session is there");
}

/// Reads so many bytes of the pattern, then the end. `progress` is told how many there were so far.
///
/// # Panics
/// If other bytes come, or more, or fewer.
pub fn receive(from: &impl Stream, seed: u64, length: usize, mut progress: impl FnMut(usize)) {
    let mut pattern = Pattern::new(seed);
    let mut got = vec![0; PIECE];
    let mut wanted = vec![0; PIECE];
    let mut so_far = 0;
    loop {
        let n = from.read(&mut got).expect("the peer writes, then ends");
        if n == 0 {
            assert_eq!(so_far, length, "length of pattern {seed}");
            return;
        }
        let (got, wanted) = (&got[..n], &mut wanted[..n]);
        pattern.fill(wanted);
        if let Some(at) = first_difference(got, wanted) {
            panic!("pattern {seed} is different from byte {} on", so_far + at);
        }
        so_far += n;
        progress(so_far);
    }
}

/// Sends in a thread of its own.
pub fn sending<W: World>(to: &impl Stream, seed: u64, length: usize) -> Task<()> {
    let to = to.clone();
    spawn::<W, _>(move || send(&to, seed, length))
}

/// Receives in a thread of its own.
pub fn receiving<W: World>(from: &impl Stream, seed: u64, length: usize) -> Task<()> {
    let from = from.clone();
    spawn::<W, _>(move || receive(&from, seed, length, |_| {}))
}

/// Sends back what it reads, up to the end, in a thread of its own.
pub fn echoing<W: World>(stream: impl Stream) -> Task<()> {
    spawn::<W, _>(move || {
        let mut piece = vec![0; PIECE];
        loop {
            let n = stream.read(&mut piece).expect("the peer writes, then ends");
            if n == 0 {
                return stream.finish().expect("the session is there");
            }
            stream.write_all(&piece[..n]).expect("the peer reads");
        }
    })
}

/// This many streams at once, each with this many bytes in both directions at the same time, ended by both sides.
pub fn both_ways<W: World>(pair: &Pair<W>, streams: u64, length: usize) {
    let ends: Vec<_> = (0..streams).map(|_| pair.stream()).collect();
    let mut tasks = Vec::new();
    for (seed, (near, far)) in (0u64..).zip(&ends) {
        tasks.push(sending::<W>(near, 2 * seed, length));
        tasks.push(sending::<W>(far, 2 * seed + 1, length));
        tasks.push(receiving::<W>(far, 2 * seed, length));
        tasks.push(receiving::<W>(near, 2 * seed + 1, length));
    }
    join_all(tasks);
}

/// One byte there and back, this many times.
pub fn ping_pong(near: &impl Stream, far: &impl Stream, rounds: u32) {
    let mut got = [0];
    for round in 0..rounds {
        let byte = [round.to_le_bytes()[0]];
        near.write_all(&byte).expect("there is room");
        far.read_exact(&mut got).expect("a byte was written");
        assert_eq!(got, byte);
        far.write_all(&byte).expect("there is room");
        near.read_exact(&mut got).expect("a byte was written");
        assert_eq!(got, byte);
    }
}

/// Asks on a stream of its own, ends the question, and reads the answer to its end.
pub fn ask(session: &impl Session, question: &[u8]) -> Vec<u8> {
    let stream = session.open().expect("the session is there");
    stream.write_all(question).expect("somebody reads");
    stream.finish().expect("the session is there");
    stream.read_to_end().expect("somebody answers")
}

/// Accepts a stream, reads the question to its end, and answers with the same in capitals.
pub fn answer(session: &impl Session) {
    let stream = session.accept().expect("somebody asks");
    let question = stream.read_to_end().expect("the question has an end");
    let answer = question.to_ascii_uppercase();
    stream.write_all(&answer).expect("the asker reads");
}

/// All that an application does with streams: bulk both ways, many at once, ping-pong, half-close and reset.
pub fn everything<W: World>(pair: &Pair<W>) {
    both_ways(pair, 1, 16 * MIB);
    both_ways(pair, 20, MIB / 4);
    let (near, far) = pair.stream();
    ping_pong(&near, &far, 200);
    let server = pair.server.clone();
    let answers = spawn::<W, _>(move || answer(&server));
    assert_eq!(ask(&pair.client, b"a question"), b"A QUESTION");
    answers.join();
    near.reset(7);
    let error = far.read(&mut [0; 8]).expect_err("a reset is no end");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let (near, far) = pair.stream();
    far.reset(7);
    let error = near.read(&mut [0; 8]).expect_err("a reset is no end");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}
