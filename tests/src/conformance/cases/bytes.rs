//! Bytes arrive as they were written, in order, in both directions.

use crate::conformance::pair::Pair;
use crate::conformance::runtime::{Session, Stream};
use crate::conformance::talk::{MIB, both_ways, echoing, ping_pong, receive};
use crate::conformance::world::{World, join_all, spawn, until};
use crate::pattern::{assert_same, pattern};
use crate::rng::Rng;
use bytes::Bytes;

pub fn an_echo_comes_back<W: World>() {
    let pair = Pair::<W>::new();
    let (near, far) = pair.stream();
    let echo = echoing::<W>(far);
    for round in 0..50u8 {
        near.write_all(&[round; 64]).unwrap();
        let mut back = [0; 64];
        near.read_exact(&mut back).unwrap();
        assert_eq!(back, [round; 64]);
    }
    near.finish().unwrap();
    assert_eq!(near.read(&mut [0; 8]).unwrap(), 0);
    echo.join();
}

pub fn keystrokes_go_back_and_forth<W: World>() {
    let pair = Pair::<W>::new();
    let (near, far) = pair.stream();
    ping_pong(&near, &far, 200);
    pair.close();
}

pub fn bulk_goes_both_ways_at_once<W: World>() {
    both_ways(&Pair::<W>::new(), 1, 12 * MIB);
}

pub fn bulk_and_keystrokes_share_a_session<W: World>() {
    let pair = Pair::<W>::new();
    let (near, far) = pair.stream();
    let keys = spawn::<W, _>(move || ping_pong(&near, &far, 100));
    both_ways(&pair, 2, 4 * MIB);
    keys.join();
}

/// Reads and writes of all sizes, none of which fits another.
pub fn pieces_of_all_sizes_join<W: World>() {
    const LENGTH: usize = MIB;
    fn one_way<W: World>(from: impl Stream, to: impl Stream) {
        let writer = spawn::<W, _>(move || {
            let (all, mut rng, mut at) = (pattern(3, LENGTH), Rng::new(1), 0);
            while at < LENGTH {
                let n = (1 << rng.below(18)).min(LENGTH - at);
                from.write_all(&all[at..at + n]).unwrap();
                at += n;
            }
            from.finish().unwrap();
        });
        let (mut got, mut rng) = (Vec::new(), Rng::new(2));
        loop {
            let mut piece = vec![0; 1 << rng.below(18)];
            let n = to.read(&mut piece).unwrap();
            if n == 0 {
                break;
            }
            got.extend_from_slice(&piece[..n]);
        }
        assert_same(&got, &pattern(3, LENGTH));
        writer.join();
    }
    let pair = Pair::<W>::new();
    let (near, far) = pair.stream();
    one_way::<W>(near, far);
    let (near, far) = pair.stream();
    one_way::<W>(far, near);
}

pub fn one_handle_reads_while_its_clone_writes<W: World>() {
    fn side<W: World>(stream: impl Stream) -> [crate::conformance::world::Task<()>; 2] {
        let writes = stream.clone();
        let writer = spawn::<W, _>(move || {
            for n in 0..2000u32 {
                writes.write_all(&n.to_be_bytes()).unwrap();
            }
            writes.finish().unwrap();
        });
        let reader = spawn::<W, _>(move || {
            let mut word = [0; 4];
            for n in 0..2000u32 {
                stream.read_exact(&mut word).unwrap();
                assert_eq!(u32::from_be_bytes(word), n);
            }
            assert_eq!(stream.read(&mut word).unwrap(), 0);
        });
        [writer, reader]
    }
    let pair = Pair::<W>::new();
    let (near, far) = pair.stream();
    join_all(side::<W>(near).into_iter().chain(side::<W>(far)));
}

pub fn bytes_need_no_copy<W: World>() {
    let pair = Pair::<W>::new();
    let (near, far) = pair.stream();
    let data = Bytes::from(pattern(8, 5 * MIB));
    let wanted = data.clone();
    let writer = spawn::<W, _>(move || near.write_bytes(data).unwrap());
    let mut got = Vec::new();
    loop {
        let piece = far.read_bytes(100_000).unwrap();
        assert!(piece.len() <= 100_000);
        if piece.is_empty() {
            break;
        }
        got.extend_from_slice(&piece);
    }
    // The handle went with its thread, which is what ended the stream.
    writer.join();
    assert_same(&got, &wanted);
}

pub fn what_was_peeked_is_read_all_the_same<W: World>() {
    fn peek<W: World>(near: impl Stream, far: impl Stream) {
        far.write_all(b"abc").unwrap();
        let mut seen = [0; 6];
        assert_eq!(near.peek(&mut seen[..1]).unwrap(), 1);
        far.write_all(b"def").unwrap();
        // Who peeks until enough has come must get there.
        until::<W>(|| near.peek(&mut seen).unwrap() == 6);
        assert_eq!(&seen, b"abcdef");
        let mut got = [0; 6];
        near.read_exact(&mut got[..2]).unwrap();
        assert_eq!(near.peek(&mut seen).unwrap(), 4);
        assert_eq!(&near.read_bytes(1).unwrap()[..], b"c");
        near.read_exact(&mut got[3..]).unwrap();
        assert_eq!((&got[..2], &got[3..]), (&b"ab"[..], &b"def"[..]));
        drop(far);
        assert_eq!(near.peek(&mut seen).unwrap(), 0);
        assert_eq!(near.read(&mut seen).unwrap(), 0);
        assert_eq!(near.peek(&mut seen).unwrap(), 0);
    }
    let pair = Pair::<W>::new();
    let (near, far) = pair.stream();
    peek::<W>(near, far);
    let (near, far) = pair.stream();
    peek::<W>(far, near);
}

pub fn the_server_opens_streams_too<W: World>() {
    let pair = Pair::<W>::new();
    let opened = pair.server.open().unwrap();
    opened.write_all(b"from inside").unwrap();
    opened.finish().unwrap();
    let accepted = pair.client.accept().unwrap();
    assert_eq!(accepted.id(), opened.id());
    assert_eq!(accepted.read_to_end().unwrap(), b"from inside");
    accepted.write_all(b"thanks").unwrap();
    drop(accepted);
    assert_eq!(opened.read_to_end().unwrap(), b"thanks");
}

pub fn nothing_asked_for_is_nothing_done<W: World>() {
    let pair = Pair::<W>::new();
    let (near, far) = pair.stream();
    assert_eq!(near.write(&[]).unwrap(), 0);
    near.write_bytes(Bytes::new()).unwrap();
    assert_eq!(near.read(&mut []).unwrap(), 0);
    assert_eq!(near.peek(&mut []).unwrap(), 0);
    assert!(near.read_bytes(0).unwrap().is_empty());
    // None of that was an end.
    near.write_all(b"x").unwrap();
    receive_one(&far);
    far.write_all(b"x").unwrap();
    receive_one(&near);
    near.finish().unwrap();
    receive(&far, 0, 0, |_| {});
}

fn receive_one(stream: &impl Stream) {
    let mut one = [0];
    stream.read_exact(&mut one).unwrap();
    assert_eq!(one, *b"x");
}
