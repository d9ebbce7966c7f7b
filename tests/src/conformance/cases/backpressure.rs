//! Who reads slowly makes who writes wait, and nobody else.

use crate::conformance::pair::{Far, Pair};
use crate::conformance::runtime::{Session, Stream};
use crate::conformance::talk::{MIB, receive, receiving, send, sending};
use crate::conformance::world::{World, join_all, spawn};
use crate::pattern::{assert_same, pattern};
use posthole_protocol::Config;
use std::time::Duration;

/// How long nothing may be taken until a stream counts as full.
const FULL: Duration = Duration::from_millis(100);

/// Little room, and few streams to share it.
fn narrow() -> Config {
    let builder = Config::builder().streams(16);
    let builder = builder.pool(512 * 1024).send_pool(512 * 1024);
    builder.build().unwrap()
}

/// Writes until nothing more is taken; gives how much that was.
fn fill(stream: &impl Stream, data: &[u8]) -> usize {
    let mut written = 0;
    while let Some(n) = stream.write_within(&data[written..], FULL).unwrap() {
        written += n;
        assert!(written < data.len(), "buffers are bounded");
    }
    written
}

pub fn a_writer_waits_until_the_reader_reads<W: World>() {
    fn full(config: &Config, from: impl Stream, to: impl Stream) {
        let bound = config.send_bound() + config.receive_bound();
        let data = pattern(3, 2 * usize::try_from(bound).unwrap());
        let written = fill(&from, &data);
        assert!(written as u64 <= bound, "{written} of {bound} taken");
        // Nothing is taken without a byte being read, and reading makes room for as much.
        let mut got = vec![0; written];
        to.read_exact(&mut got).unwrap();
        let more = from.write(&data[written..]).unwrap();
        from.finish().unwrap();
        got.extend(to.read_to_end().unwrap());
        assert_same(&got, &data[..written + more]);
    }
    // A whole session's bounds, of which one stream gets the better part.
    let config = narrow();
    let pair = Pair::<W>::with(config.clone(), config.clone());
    let (near, far) = pair.stream();
    full(&config, near, far);
    let (near, far) = pair.stream();
    full(&config, far, near);
}

pub fn both_sides_write_before_they_read<W: World>() {
    let pair = Pair::<W>::with(narrow(), narrow());
    let (near, far) = pair.stream();
    let data = pattern(5, 4 * MIB);
    let (up, down) = (fill(&near, &data), fill(&far, &data));
    near.finish().unwrap();
    far.finish().unwrap();
    assert_same(&far.read_to_end().unwrap(), &data[..up]);
    assert_same(&near.read_to_end().unwrap(), &data[..down]);
    pair.close();
}

/// With little room a writer waits often, and goes on each time.
pub fn bulk_passes_through_little_room<W: World>() {
    let config = Config::builder()
        .pool(64 * 1024)
        .send_pool(64 * 1024)
        .build()
        .unwrap();
    let pair = Pair::<W>::with(config.clone(), config);
    let (near, far) = pair.stream();
    let tasks = [
        sending::<W>(&near, 1, 2 * MIB),
        sending::<W>(&far, 2, 2 * MIB),
        receiving::<W>(&far, 1, 2 * MIB),
        receiving::<W>(&near, 2, 2 * MIB),
    ];
    join_all(tasks);
}

pub fn one_of_two_hundred_streams_is_never_read_and_slows_no_other<W: World>() {
    const STREAMS: u64 = 200;
    const SIZE: usize = 50_000;
    let pair = Pair::<W>::new();
    let server = pair.server.clone();
    let serving = spawn::<W, _>(move || {
        let echo = |stream: Far<W>| {
            spawn::<W, _>(move || {
                let mut kind = [0];
                stream.read_exact(&mut kind).unwrap();
                if kind == *b"s" {
                    // Nobody reads what this writes, so it waits for room until the client leaves.
                    while stream.write(&[0; 65536]).is_ok() {}
                } else {
                    let all = stream.read_to_end().unwrap();
                    stream.write_all(&all).unwrap();
                }
            })
        };
        let echoes: Vec<_> = (0..STREAMS)
            .map(|_| echo(server.accept().unwrap()))
            .collect();
        join_all(echoes);
    });
    let stuck = pair.client.open().unwrap();
    stuck.write_all(b"s").unwrap();
    let ask = |n: u64| {
        let session = pair.client.clone();
        spawn::<W, _>(move || {
            let stream = session.open().unwrap();
            stream.write_all(b"e").unwrap();
            send(&stream, n, SIZE);
            receive(&stream, n, SIZE, |_| {});
        })
    };
    let others: Vec<_> = (1..STREAMS).map(ask).collect();
    join_all(others);
    drop(stuck);
    serving.join();
    pair.close();
}

pub fn opening_waits_until_the_peer_allows_another_stream<W: World>() {
    const OPENERS: usize = 20;
    const EACH: usize = 10;
    fn crowd<W: World>(opens: &impl Session, accepts: &impl Session) {
        let openers: Vec<_> = (0..OPENERS)
            .map(|_| {
                let opens = opens.clone();
                spawn::<W, _>(move || {
                    for _ in 0..EACH {
                        let stream = opens.open().unwrap();
                        stream.write_all(b"?").unwrap();
                        stream.read_exact(&mut [0]).unwrap();
                    }
                })
            })
            .collect();
        for _ in 0..OPENERS * EACH {
            let stream = accepts.accept().unwrap();
            stream.read_exact(&mut [0]).unwrap();
            stream.write_all(b"!").unwrap();
        }
        join_all(openers);
    }
    // Each may have this many open at the other.
    let config = Config::builder().streams(16).build().unwrap();
    let pair = Pair::<W>::with(config.clone(), config);
    crowd::<W>(&pair.client, &pair.server);
    crowd::<W>(&pair.server, &pair.client);
}
