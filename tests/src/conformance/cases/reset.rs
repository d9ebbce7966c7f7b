//! Streams are given up: never a clean end, never without notice, and no harm to others.

use crate::conformance::pair::Pair;
use crate::conformance::runtime::Stream;
use crate::conformance::talk::{MIB, both_ways, ping_pong};
use crate::conformance::world::{World, spawn, until};
use crate::pattern::pattern;
use posthole_protocol::{Config, ReadError, ResetCode, WriteError};
use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::sync::mpsc::channel;
use std::time::Duration;

/// Writes until that fails.
fn write_until_error<W: World>(stream: &impl Stream) -> io::Error {
    loop {
        // Nobody need read for it to fail, so it may wait for room.
        match stream.write(&[0; 10_000]) {
            Ok(_) => W::pause(Duration::ZERO),
            Err(error) => return error,
        }
    }
}

pub fn a_reset_is_never_a_clean_end<W: World>() {
    fn resets_and_hears<W: World>(resets: impl Stream, other: impl Stream) {
        resets.write_all(&pattern(1, 10_000)).unwrap();
        resets.reset(7);
        let error = loop {
            // What came before it may be read or not.
            match other.read(&mut [0; 8]) {
                Ok(n) => assert!(n > 0, "a clean end"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let why = error.get_ref().unwrap().downcast_ref::<ReadError>();
        assert_eq!(why, Some(&ReadError::Reset(ResetCode(7))));
        assert_eq!(
            other.read(&mut [0; 8]).unwrap_err().kind(),
            ErrorKind::ConnectionReset,
            "it stays an error"
        );
        let error = write_until_error::<W>(&other);
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        let why = error.get_ref().unwrap().downcast_ref::<WriteError>();
        assert_eq!(why, Some(&WriteError::Stopped(ResetCode(7))));
        assert_eq!(
            resets.write(b"x").unwrap_err().kind(),
            ErrorKind::BrokenPipe
        );
    }
    let pair = Pair::<W>::new();
    let (near, far) = pair.stream();
    resets_and_hears::<W>(near, far);
    let (near, far) = pair.stream();
    resets_and_hears::<W>(far, near);
}

pub fn a_reset_wakes_who_waits_on_the_same_stream<W: World>() {
    fn reader_and_writer<W: World>(near: impl Stream) {
        let (reads, writes) = (near.clone(), near.clone());
        let (full, is_full) = channel();
        let reader = spawn::<W, _>(move || reads.read(&mut [0; 8]).unwrap());
        let writer = spawn::<W, _>(move || {
            while let Ok(Some(_)) = writes.write_within(&[0; 65536], Duration::from_millis(20)) {}
            full.send(()).unwrap();
            write_until_error::<W>(&writes).kind()
        });
        until::<W>(|| is_full.try_recv().is_ok());
        // Whether they wait already or come later, they must end.
        near.reset(0);
        assert_eq!(reader.join(), 0);
        assert_eq!(writer.join(), ErrorKind::BrokenPipe);
    }
    let pair = Pair::<W>::new();
    let (near, _far) = pair.stream();
    reader_and_writer::<W>(near);
    let (_near, far) = pair.stream();
    reader_and_writer::<W>(far);
}

pub fn who_reads_no_more_breaks_the_pipe<W: World>() {
    fn deaf_and_talker<W: World>(deaf: impl Stream, talker: impl Stream) {
        deaf.shutdown(Shutdown::Read).unwrap();
        assert_eq!(deaf.read(&mut [0; 8]).unwrap(), 0);
        let error = write_until_error::<W>(&talker);
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        deaf.write_all(b"still").unwrap();
        drop(deaf);
        assert_eq!(talker.read_to_end().unwrap(), b"still");
    }
    let pair = Pair::<W>::new();
    let (near, far) = pair.stream();
    deaf_and_talker::<W>(near, far);
    let (near, far) = pair.stream();
    deaf_and_talker::<W>(far, near);
}

pub fn both_directions_can_be_shut_at_once<W: World>() {
    fn shut<W: World>(shuts: impl Stream, other: impl Stream) {
        shuts.write_all(b"last").unwrap();
        shuts.shutdown(Shutdown::Both).unwrap();
        assert_eq!(shuts.read(&mut [0; 8]).unwrap(), 0);
        assert_eq!(shuts.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(other.read_to_end().unwrap(), b"last");
        assert_eq!(write_until_error::<W>(&other).kind(), ErrorKind::BrokenPipe);
    }
    let pair = Pair::<W>::new();
    let (near, far) = pair.stream();
    shut::<W>(near, far);
    let (near, far) = pair.stream();
    shut::<W>(far, near);
}

/// Resets in mid-transfer give back what the streams had of the session's room.
pub fn resets_leave_the_others_alone<W: World>() {
    let builder = Config::builder().pool(512 * 1024).send_pool(512 * 1024);
    let config = builder.build().unwrap();
    let pair = Pair::<W>::with(config.clone(), config);
    let (near, far) = pair.stream();
    let keys = spawn::<W, _>(move || ping_pong(&near, &far, 50));
    for round in 0..20 {
        let (near, far) = pair.stream();
        let writes = near.clone();
        let writer = spawn::<W, _>(move || write_until_error::<W>(&writes).kind());
        far.read_exact(&mut [0; 100_000]).unwrap();
        if round % 2 == 0 {
            near.reset(round);
        } else {
            far.reset(round);
        }
        assert_eq!(writer.join(), ErrorKind::BrokenPipe);
    }
    keys.join();
    both_ways(&pair, 1, 2 * MIB);
    pair.close();
}
