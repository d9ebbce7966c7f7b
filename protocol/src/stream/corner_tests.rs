//! Corners of the table of streams that only a crowd or a race reaches.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::error::ResetCode;
use crate::event::Event;
use crate::outbox::Outbox;
use crate::outbox::{Delivered, DeliveredWhat};
use crate::wire::{Content, Control, MAX_PAYLOAD};
use alloc::vec;
use bytes::Bytes;

const CODE: ResetCode = ResetCode(1);

fn both() -> (Streams, Streams) {
    let config = Config::builder().pool(FIRST_POOL).build().unwrap();
    (
        Streams::new(Side::Client, &config),
        Streams::new(Side::Server, &config),
    )
}

fn handle(
    streams: &mut Streams,
    outbox: &mut Outbox,
    id: StreamId,
    act: impl FnOnce(&mut Stream<'_>),
) {
    act(&mut Stream::new(id, streams, outbox).unwrap());
    streams.check();
}

/// Moves everything that may be sent from one side to the other.
fn carry(from: &mut Streams, to: &mut Streams) {
    while let Some(control) = from.next_control() {
        to.on_control(&control).unwrap();
    }
    while let Some(Content::Data {
        stream,
        offset,
        fin,
        payload,
    }) = from.next_data(MAX_PAYLOAD, false, 0)
    {
        to.on_data(stream, offset, payload, fin, 0).unwrap();
    }
    from.check();
    to.check();
}

#[test]
fn a_stream_that_is_reset_waits_for_no_credit() {
    let ((mut a, mut b), mut outbox) = (both(), Outbox::default());
    let ids: vec::Vec<_> = (0..14).map(|_| a.open().unwrap()).collect();
    for id in &ids {
        let mut data = Bytes::from(vec![1; 100_000]);
        handle(&mut a, &mut outbox, *id, |s| {
            s.write(&mut data).unwrap();
        });
        carry(&mut a, &mut b);
    }
    assert!(a.has_unsent());
    for id in &ids {
        handle(&mut a, &mut outbox, *id, |s| s.reset(CODE));
    }
    while a.next_control().is_some() {}
    assert!(!a.has_unsent(), "{a:#?}");
}

#[test]
fn credit_of_its_own_lets_a_stream_go_on() {
    let ((mut a, mut b), mut outbox) = (both(), Outbox::default());
    // Others take all that they share, so that the last has what it owns and nothing beyond.
    let ids: vec::Vec<_> = (0..14).map(|_| a.open().unwrap()).collect();
    for id in ids.iter().copied() {
        let mut data = Bytes::from(vec![1; 100_000]);
        handle(&mut a, &mut outbox, id, |s| {
            s.write(&mut data).unwrap();
        });
        carry(&mut a, &mut b);
    }
    let id = ids[13];
    assert_eq!(a.table.get(id).unwrap().send.charged(), 0);
    assert!(a.has_unsent() && a.next_data(MAX_PAYLOAD, false, 0).is_none());
    let (stream, limit) = (id, OWN_CREDIT + 1000);
    a.on_control(&Control::StreamCredit { stream, limit })
        .unwrap();
    let Some(Content::Data { payload, .. }) = a.next_data(MAX_PAYLOAD, false, 0) else {
        panic!("{a:#?}");
    };
    assert_eq!(payload.len(), 1000);
}

/// §6.3.2: less than half of the stream's largest possible window is left to the peer, or half of it has been read.
#[test]
fn credit_is_urgent_by_half_a_window() {
    let window = OWN_CREDIT + share(FIRST_POOL, 0);
    let half = window / 2;
    for (came, read, say) in [
        (half, WORTH_SAYING - 1, Say::Nothing),
        (half, WORTH_SAYING, Say::Lazy),
        (window - half, WORTH_SAYING, Say::Lazy),
        (window - half + 1, WORTH_SAYING, Say::Urgent),
        (half - 1, half - 1, Say::Lazy),
        (half, half, Say::Urgent),
        // The peer has not used half of what the stream owns.
        (WORTH_SAYING - 1, WORTH_SAYING - 1, Say::Nothing),
    ] {
        let ((mut a, mut b), mut outbox) = (both(), Outbox::default());
        let id = a.open().unwrap();
        let mut data = Bytes::from(vec![1; came as usize]);
        handle(&mut a, &mut outbox, id, |s| {
            s.write(&mut data).unwrap();
        });
        carry(&mut a, &mut b);
        handle(&mut b, &mut outbox, id, |s| {
            let mut left = read as usize;
            while left > 0 {
                let crate::Read::Chunk(bytes) = s.read(left).unwrap() else {
                    panic!("it has come");
                };
                left -= bytes.len();
            }
        });
        assert_eq!(
            b.table.get(id).unwrap().say,
            say,
            "{came} came, {read} were read"
        );
    }
}

/// Whoever waits for room, with another stream in the way, hears when what was sent has arrived.
#[test]
fn what_is_flushed_is_what_the_peer_has_acknowledged() {
    let ((mut a, mut b), mut outbox) = (both(), Outbox::default());
    let id = a.open().unwrap();
    let is_flushed = |a: &mut Streams, outbox: &mut Outbox, is| {
        handle(a, outbox, id, |s| assert_eq!(s.is_flushed(), is));
    };
    is_flushed(&mut a, &mut outbox, true);
    handle(&mut a, &mut outbox, id, |s| {
        s.write(&mut Bytes::from_static(b"abc")).unwrap();
    });
    is_flushed(&mut a, &mut outbox, false);
    carry(&mut a, &mut b);
    is_flushed(&mut a, &mut outbox, false);
    a.on_delivered(Delivered {
        stream: id,
        bytes: 3,
        what: DeliveredWhat::Data,
    });
    is_flushed(&mut a, &mut outbox, true);
}

/// For who wants to copy once: what is told to fit is what is taken.
#[test]
fn there_is_as_much_room_as_a_write_takes() {
    let ((mut a, _), mut outbox) = (both(), Outbox::default());
    let id = a.open().unwrap();
    for bytes in [1_000, usize::MAX] {
        handle(&mut a, &mut outbox, id, |s| {
            let room = s.room();
            let mut data = Bytes::from(vec![1; bytes.min(room + 1)]);
            let all = data.len();
            assert_eq!(s.write(&mut data), Ok(all.min(room)));
            assert_eq!(s.room(), room - all.min(room));
        });
    }
}

/// Who asks for no bytes is told that there are none for it, and hears of those that come.
#[test]
fn nothing_is_read_as_nothing() {
    let ((mut a, mut b), mut outbox) = (both(), Outbox::default());
    let id = a.open().unwrap();
    handle(&mut a, &mut outbox, id, |s| {
        s.write(&mut Bytes::from_static(b"abc")).unwrap();
    });
    carry(&mut a, &mut b);
    handle(&mut b, &mut outbox, id, |s| {
        assert_eq!(s.read(0), Ok(crate::Read::Blocked));
        assert_eq!(
            s.read(9),
            Ok(crate::Read::Chunk(Bytes::from_static(b"abc")))
        );
    });
}

#[test]
fn an_end_that_was_acknowledged_is_told_though_the_session_closes() {
    let ((mut a, mut b), mut outbox) = (both(), Outbox::default());
    let id = a.open().unwrap();
    handle(&mut a, &mut outbox, id, |s| s.finish());
    carry(&mut a, &mut b);
    a.on_delivered(Delivered {
        stream: id,
        bytes: 0,
        what: DeliveredWhat::Fin,
    });
    a.close();
    assert_eq!(a.poll_event(), Some(Event::Finished(id)));
    assert_eq!(a.poll_event(), None);
}

#[test]
fn a_reset_gives_the_pool_back_though_everything_was_read() {
    let ((mut a, mut b), mut outbox) = (both(), Outbox::default());
    let id = a.open().unwrap();
    let mut data = Bytes::from(vec![1; 40_000]);
    handle(&mut a, &mut outbox, id, |s| {
        s.write(&mut data).unwrap();
        s.finish();
    });
    carry(&mut a, &mut b);
    handle(&mut b, &mut outbox, id, |s| {
        while s.read(usize::MAX).unwrap() != crate::Read::End {}
    });
    handle(&mut a, &mut outbox, id, |s| s.reset(CODE));
    while let Some(control) = a.next_control() {
        b.on_control(&control).unwrap();
    }
    // From here on the sender counts nothing for this stream; nor may the receiver.
    assert_eq!(b.received, 0);
    b.check();
}

/// Nothing else might ever wake it: its peer need not read while the session closes.
#[test]
fn who_waits_to_write_hears_of_the_close() {
    let ((mut a, _), mut outbox) = (both(), Outbox::default());
    let id = a.open().unwrap();
    let mut data = Bytes::from(vec![1; 8 << 20]);
    handle(&mut a, &mut outbox, id, |s| {
        s.write(&mut data).unwrap();
    });
    assert!(!data.is_empty(), "it waits for room");
    assert_eq!(a.poll_event(), None);
    a.end_writing();
    assert_eq!(a.poll_event(), Some(Event::Writable(id)));
    handle(&mut a, &mut outbox, id, |s| {
        assert_eq!(s.write(&mut data), Err(crate::WriteError::Closed));
    });
}

/// Messages overtake each other: what was said first may come last.
#[test]
fn as_many_streams_may_be_opened_as_was_ever_said() {
    let (mut a, _) = both();
    for total in [20, 18] {
        a.on_control(&Control::Streams { total }).unwrap();
    }
    assert_eq!((0..30).filter(|_| a.open().is_ok()).count(), 20);
}

/// A bundle that is late says what was offered when it was sent.
#[test]
fn a_pool_that_was_offered_stays_offered() {
    let (mut a, _) = both();
    for (offered, pool) in [(9, 9), (7, 9), (11, 11)] {
        a.on_pool(offered * FIRST_POOL);
        assert_eq!(a.peer_pool, pool * FIRST_POOL);
    }
}

/// §6.1: whose streams have ended may open more, and nobody else.
#[test]
fn streams_that_have_ended_make_room_for_who_opened_them() {
    let config = Config::builder().streams(FIRST_STREAMS).build().unwrap();
    let sides = [Side::Client, Side::Server].map(|side| Streams::new(side, &config));
    let ([mut a, mut b], mut outbox) = (sides, Outbox::default());
    for _ in 0..FIRST_STREAMS {
        let id = a.open().unwrap();
        handle(&mut a, &mut outbox, id, |s| s.reset(CODE));
        carry(&mut a, &mut b);
        handle(&mut b, &mut outbox, id, |s| s.reset(CODE));
        carry(&mut b, &mut a);
        for side in [&mut a, &mut b] {
            handle(side, &mut outbox, id, |s| assert!(s.read(1).is_err()));
            side.on_delivered(Delivered {
                stream: id,
                bytes: 0,
                what: DeliveredWhat::Reset,
            });
            assert!(side.table.get(id).is_none());
        }
    }
    carry(&mut b, &mut a);
    carry(&mut a, &mut b);
    assert_eq!((a.may_open, b.may_open), (2 * FIRST_STREAMS, FIRST_STREAMS));
}

#[test]
fn a_stream_that_was_reset_and_is_stopped_is_forgotten() {
    let ((mut a, mut b), mut outbox) = (both(), Outbox::default());
    let id = a.open().unwrap();
    carry(&mut a, &mut b);
    handle(&mut a, &mut outbox, id, |s| s.reset(CODE));
    carry(&mut a, &mut b);
    handle(&mut b, &mut outbox, id, |s| s.stop(CODE));
    handle(&mut b, &mut outbox, id, |s| s.reset(CODE));
    carry(&mut b, &mut a);
    b.on_delivered(Delivered {
        stream: id,
        bytes: 0,
        what: DeliveredWhat::Reset,
    });
    assert!(b.table.get(id).is_none(), "{b:#?}");
}
