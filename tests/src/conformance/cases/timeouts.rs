//! Reads and writes wait no longer than told, and lose nothing by it.

use crate::conformance::pair::Pair;
use crate::conformance::runtime::Stream;
use crate::conformance::talk::{MIB, receive};
use crate::conformance::world::{World, spawn};
use crate::pattern::pattern;
use posthole_protocol::Config;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(20);

pub fn a_read_waits_no_longer_than_told<W: World>() {
    fn late(reads: impl Stream, writes: impl Stream) {
        for _ in 0..3 {
            assert_eq!(reads.read_within(&mut [0; 8], SHORT).unwrap(), None);
        }
        writes.write_all(b"late").unwrap();
        let mut got = [0; 4];
        reads.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"late");
    }
    let pair = Pair::<W>::new();
    let (near, far) = pair.stream();
    late(near, far);
    let (near, far) = pair.stream();
    late(far, near);
}

pub fn a_write_waits_no_longer_than_told<W: World>() {
    fn full<W: World>(writes: impl Stream, reads: impl Stream) {
        let data = pattern(3, 4 * MIB);
        let mut written = 0;
        // Nobody reads: at some point there is no room.
        while let Some(n) = writes.write_within(&data[written..], SHORT).unwrap() {
            written += n;
        }
        let writer = spawn::<W, _>(move || {
            // As often as it takes, with what a time-out left.
            let (mut at, end) = (written, written + MIB);
            while at < end {
                at += writes
                    .write_within(&data[at..end], SHORT)
                    .unwrap()
                    .unwrap_or(0);
            }
        });
        receive(&reads, 3, written + MIB, |_| {});
        writer.join();
    }
    let builder = Config::builder().pool(512 * 1024).send_pool(512 * 1024);
    let config = builder.build().unwrap();
    let pair = Pair::<W>::with(config.clone(), config);
    let (near, far) = pair.stream();
    full::<W>(near, far);
    let (near, far) = pair.stream();
    full::<W>(far, near);
}

/// Time-outs that come while bytes do.
pub fn time_outs_lose_no_byte<W: World>() {
    fn trickle<W: World>(writes: impl Stream, reads: impl Stream) {
        let writer = spawn::<W, _>(move || {
            for byte in 0..=255u8 {
                writes.write_all(&[byte]).unwrap();
                W::pause(Duration::from_micros(500));
            }
        });
        let mut wanted = 0..=255u8;
        let mut piece = [0; 3];
        loop {
            match reads
                .read_within(&mut piece, Duration::from_millis(1))
                .unwrap()
            {
                None => {}
                Some(0) => break,
                Some(n) => {
                    for byte in &piece[..n] {
                        assert_eq!(Some(*byte), wanted.next());
                    }
                }
            }
        }
        assert_eq!(wanted.next(), None);
        writer.join();
    }
    let pair = Pair::<W>::new();
    let (near, far) = pair.stream();
    trickle::<W>(near, far);
    let (near, far) = pair.stream();
    trickle::<W>(far, near);
}
