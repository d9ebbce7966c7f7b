//! One direction ends, the other goes on.

use crate::conformance::pair::Pair;
use crate::conformance::runtime::{Session, Stream};
use crate::conformance::talk::{MIB, receiving, send};
use crate::conformance::world::{World, spawn};
use std::io::ErrorKind;

pub fn half_close_passes_through<W: World>() {
    fn first_and_second(first: impl Stream, second: impl Stream) {
        first.write_all(b"all I have").unwrap();
        first.finish().unwrap();
        assert_eq!(second.read_to_end().unwrap(), b"all I have");
        assert_eq!(
            second.read(&mut [0; 8]).unwrap(),
            0,
            "the end stays the end"
        );
        assert!(second.read_bytes(8).unwrap().is_empty());
        second.write_all(b"heard").unwrap();
        drop(second);
        assert_eq!(first.read_to_end().unwrap(), b"heard");
        assert_eq!(
            first.write(b"more").unwrap_err().kind(),
            ErrorKind::BrokenPipe
        );
        // Once more is no error, as with a socket.
        first.finish().unwrap();
    }
    let pair = Pair::<W>::new();
    let (near, far) = pair.stream();
    first_and_second(near, far);
    let (near, far) = pair.stream();
    first_and_second(far, near);
}

pub fn a_stream_may_end_without_a_byte<W: World>() {
    fn empty(opens: &impl Session, accepts: &impl Session) {
        let near = opens.open().unwrap();
        near.finish().unwrap();
        let far = accepts.accept().unwrap();
        assert_eq!(far.read(&mut [0; 8]).unwrap(), 0);
        far.finish().unwrap();
        assert_eq!(near.read(&mut [0; 8]).unwrap(), 0);
    }
    let pair = Pair::<W>::new();
    empty(&pair.client, &pair.server);
    empty(&pair.server, &pair.client);
}

pub fn bulk_flows_long_after_the_other_direction_has_ended<W: World>() {
    fn sink_and_source<W: World>(ended: impl Stream, goes_on: impl Stream) {
        ended.finish().unwrap();
        assert_eq!(goes_on.read(&mut [0; 8]).unwrap(), 0);
        let reads = receiving::<W>(&ended, 9, 4 * MIB);
        send(&goes_on, 9, 4 * MIB);
        reads.join();
    }
    let pair = Pair::<W>::new();
    let (near, far) = pair.stream();
    sink_and_source::<W>(near, far);
    let (near, far) = pair.stream();
    sink_and_source::<W>(far, near);
}

pub fn the_end_wakes_who_waits_for_bytes<W: World>() {
    fn waiting<W: World>(waits: impl Stream, ends: impl Stream) {
        let reader = spawn::<W, _>(move || waits.read(&mut [0; 8]).unwrap());
        // Whether it waits already or comes later, it must end.
        ends.finish().unwrap();
        assert_eq!(reader.join(), 0);
    }
    let pair = Pair::<W>::new();
    let (near, far) = pair.stream();
    waiting::<W>(near, far);
    let (near, far) = pair.stream();
    waiting::<W>(far, near);
}
