#![allow(clippy::single_range_in_vec_init)]

use super::*;
use crate::error::Violation;
use crate::wire::Ack;
use bytes::Bytes;
use core::ops::Range;
use proptest::prelude::*;
use std::collections::BTreeMap as Map;

const PACE: Duration = Duration::from_millis(100);
const PACE_MAX: Duration = Duration::from_secs(2);
const T0: Instant = Instant::ZERO;

fn data(n: u64) -> Content {
    let payload = Bytes::from(alloc::vec![n as u8; 10]);
    Content::Data {
        stream: StreamId(0),
        offset: n * 10,
        fin: false,
        payload,
    }
}

fn fly(outbox: &mut Outbox, exchange: u64, new: u64) {
    outbox.begin(exchange, T0);
    for _ in 0..new {
        let n = outbox.next_number();
        outbox.number(exchange, data(n));
    }
    outbox.end(exchange);
}

fn ack(next: u64, ranges: &[Range<u64>]) -> Ack {
    Ack {
        next,
        ranges: ranges.to_vec(),
    }
}

fn due(outbox: &mut Outbox, exchange: u64, now: Instant) -> Vec<u64> {
    outbox.begin(exchange, now);
    let numbers = core::iter::from_fn(|| outbox.take(exchange, now, usize::MAX))
        .map(|m| m.number)
        .collect();
    outbox.end(exchange);
    numbers
}

#[test]
fn s6_nothing_is_dropped_before_it_is_acknowledged() {
    let mut o = Outbox::default();
    fly(&mut o, 0, 4);
    assert_eq!(o.bytes(), 40);
    assert_eq!(o.on_ack(T0, &ack(1, &[2..3]), |_| {}), Ok(true));
    assert_eq!((o.base(), o.bytes()), (1, 20));
    o.lost(0, T0, PACE, PACE_MAX);
    assert_eq!(due(&mut o, 1, T0), [1, 3]);
    assert_eq!(o.on_ack(T0, &ack(4, &[]), |_| {}), Ok(true));
    assert!(o.is_empty() && !o.is_flying(1));
}

#[test]
fn s7_lost_twice_goes_again_at_once_and_then_paced() {
    let mut o = Outbox::default();
    fly(&mut o, 0, 1);
    o.lost(0, T0, PACE, PACE_MAX);
    assert_eq!(due(&mut o, 1, T0), [0]);
    o.lost(1, T0, PACE, PACE_MAX);
    assert_eq!(due(&mut o, 2, T0), []);
    assert_eq!(o.again_at(T0, usize::MAX), Some(T0.after(PACE)));
    assert_eq!(due(&mut o, 2, T0.after(PACE)), [0]);
}

/// What fits exactly goes, and is told to.
#[test]
fn a_message_goes_that_just_fits() {
    let mut o = Outbox::default();
    fly(&mut o, 0, 1);
    o.lost(0, T0, PACE, PACE_MAX);
    let message = Message {
        number: 0,
        content: data(0),
    };
    let cost = message.cost();
    o.begin(1, T0);
    assert_eq!(o.take(1, T0, cost - 1), None);
    assert_eq!(o.take(1, T0, cost), Some(message));
    o.end(1);
    o.lost(1, T0, PACE, PACE_MAX);
    let at = T0.after(PACE);
    assert_eq!(o.again_at(at, 10 + CONTROL_COST), Some(at));
    assert_eq!(o.again_at(at, 9 + CONTROL_COST), None);
}

/// While the lowest that is due does not fit, only a lower one goes, when it becomes due.
#[test]
fn s9_what_goes_again_is_told_in_time() {
    let mut o = Outbox::default();
    fly(&mut o, 0, 1);
    o.lost(0, T0, PACE, PACE_MAX);
    assert_eq!(due(&mut o, 1, T0), [0]);
    o.begin(2, T0);
    o.number(
        2,
        Content::Data {
            stream: StreamId(2),
            offset: 0,
            fin: false,
            payload: Bytes::from(alloc::vec![1; 5000]),
        },
    );
    o.end(2);
    o.late(2, T0);
    assert_eq!(o.again_at(T0, 5000), None);
    o.lost(1, T0, PACE, PACE_MAX);
    assert_eq!(o.again_at(T0, 5000), Some(T0.after(PACE)));
    assert_eq!(o.again_at(T0, 6000), Some(T0));
    assert_eq!(due(&mut o, 3, T0.after(PACE)), [0, 1]);
}

#[test]
fn s22_a_late_message_flies_at_most_twice() {
    let mut o = Outbox::default();
    fly(&mut o, 0, 1);
    o.late(0, T0);
    assert_eq!(due(&mut o, 1, T0), [0]);
    o.late(1, T0);
    assert_eq!(due(&mut o, 2, T0), []);
    // One of the two is known to be lost: the other still flies, so nothing goes.
    o.lost(0, T0, PACE, PACE_MAX);
    assert_eq!(due(&mut o, 2, T0), []);
    o.lost(1, T0, PACE, PACE_MAX);
    assert_eq!(due(&mut o, 2, T0.after(PACE_MAX)), [0]);
}

/// Only for as long as the connection is doubted.
#[test]
fn what_a_connection_carries_goes_in_no_other_once_it_is_heard_again() {
    let mut o = Outbox::default();
    o.begin_long(0, T0);
    o.number(0, data(0));
    o.end(0);
    o.late(0, T0);
    o.prompt(0);
    assert_eq!(due(&mut o, 1, T0), []);
    o.late(0, T0);
    assert_eq!(due(&mut o, 1, T0), [0]);
}

/// §5.9.4: it may arrive all the same, so it goes once more, and not a third time before one of the two is lost.
#[test]
fn l5_what_the_answer_to_a_first_copy_carried_may_still_arrive() {
    let mut o = Outbox::default();
    o.begin_long(0, T0);
    o.number(0, data(0));
    o.end(0);
    o.anew(0, T0);
    assert!(!o.is_flying(0));
    assert_eq!(o.flying_bytes(0), 0);
    assert_eq!(due(&mut o, 1, T0), [0]);
    o.late(1, T0);
    assert_eq!(due(&mut o, 2, T0), []);
    let ended: Vec<_> = o.flights().filter(|f| f.exchange == 0).collect();
    assert!(matches!(&ended[..], [f] if f.late && !f.long && !f.single));
    // What follows under that number is another flight, and both are lost with it.
    o.begin_long(0, T0);
    o.number(0, data(1));
    o.end(0);
    assert_eq!(o.flying_bytes(0), 10);
    o.lost(0, T0, PACE, PACE_MAX);
    assert_eq!(due(&mut o, 2, T0), [1]);
    o.lost(1, T0, PACE, PACE_MAX);
    assert_eq!(due(&mut o, 3, T0.after(PACE_MAX)), [0]);
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_is_a_violation() {
    let mut o = Outbox::default();
    fly(&mut o, 0, 2);
    let before = o.clone();
    assert_eq!(
        o.on_ack(T0, &ack(3, &[]), |_| {}),
        Err(Violation::Acknowledgement)
    );
    assert_eq!(
        o.on_ack(T0, &ack(0, &[1..3]), |_| {}),
        Err(Violation::Acknowledgement)
    );
    assert_eq!(o, before);
}

#[test]
fn a_reset_stream_keeps_its_numbers_and_drops_its_bytes() {
    let mut o = Outbox::default();
    fly(&mut o, 0, 2);
    o.void(StreamId(0));
    assert_eq!(o.bytes(), 0);
    o.lost(0, T0, PACE, PACE_MAX);
    o.begin(1, T0);
    assert_eq!(
        o.take(1, T0, 100),
        Some(Message {
            number: 0,
            content: Content::Void
        })
    );
}

/// What it had under way on a connection counts no more there: others have the room.
#[test]
fn a_reset_stream_makes_room_on_its_connection() {
    let mut o = Outbox::default();
    o.begin_long(0, T0);
    o.number(0, data(0));
    o.end(0);
    o.void(StreamId(0));
    assert_eq!(o.flying_bytes(0), 0);
    o.check();
}

#[derive(Clone, Debug)]
enum Step {
    Fly(u64),
    Lost(usize),
    Late(usize),
    /// Another bundle of the long exchange.
    Long(u64),
    /// Its request has come once more.
    Anew,
    Ack(u64, u64, u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0u64..5).prop_map(Step::Fly),
        (0usize..8).prop_map(Step::Lost),
        (0usize..8).prop_map(Step::Late),
        (0u64..5).prop_map(Step::Long),
        Just(Step::Anew),
        (0u64..30, 0u64..5, 0u64..5).prop_map(|(a, b, c)| Step::Ack(a, b, c)),
    ]
}

proptest! {
    /// L2, L5: kept until acknowledged, and sent at most 2 + (flights of it that were lost) times.
    #[test]
    fn l2_l5_hold_whatever_happens(steps in proptest::collection::vec(step(), 0..120)) {
        let (mut o, mut now, mut exchange) = (Outbox::default(), T0, 0u64);
        let (mut sent, mut lost): (Map<u64, u32>, Map<u64, u32>) = Default::default();
        let mut long = None;
        let (mut acked, mut flights) = (std::collections::BTreeSet::new(), Map::<u64, Vec<u64>>::new());
        for s in steps {
            now = now.after(Duration::from_millis(50));
            match s {
                Step::Fly(new) => {
                    let mut carried = due(&mut o, exchange, now);
                    let from = o.next_number();
                    fly(&mut o, exchange, new);
                    carried.extend(from..o.next_number());
                    for n in &carried {
                        *sent.entry(*n).or_default() += 1;
                        prop_assert!(!acked.contains(n), "sent after it was acknowledged");
                    }
                    flights.insert(exchange, carried);
                    exchange += 1;
                }
                Step::Long(new) => {
                    let number = *long.get_or_insert(exchange);
                    exchange = exchange.max(number + 1);
                    o.begin_long(number, now);
                    let mut carried: Vec<u64> = core::iter::from_fn(|| o.take(number, now, usize::MAX))
                        .map(|m| m.number)
                        .collect();
                    for _ in 0..new {
                        let n = o.next_number();
                        o.number(number, data(n));
                        carried.push(n);
                    }
                    o.end(number);
                    for n in &carried {
                        *sent.entry(*n).or_default() += 1;
                        prop_assert!(!acked.contains(n), "sent after it was acknowledged");
                    }
                    flights.entry(number).or_default().extend(carried);
                }
                Step::Anew => {
                    if let Some(number) = long {
                        o.anew(number, now);
                    }
                }
                Step::Lost(i) => {
                    if let Some(e) = flights.keys().nth(i).copied() {
                        o.lost(e, now, PACE, PACE_MAX);
                        long = long.filter(|number| *number != e);
                        for n in flights.remove(&e).unwrap() {
                            *lost.entry(n).or_default() += 1;
                        }
                    }
                }
                Step::Late(i) => {
                    if let Some(e) = flights.keys().nth(i).copied() {
                        o.late(e, now);
                    }
                }
                Step::Ack(next, gap, len) => {
                    let end = o.next_number();
                    let next = next.max(o.base()).min(end);
                    let from = (next + 1 + gap).min(end);
                    let to = (from + len).min(end);
                    let ranges = if from < to { alloc::vec![from..to] } else { alloc::vec![] };
                    o.on_ack(T0, &ack(next, &ranges), |_| {}).unwrap();
                    acked.extend((0..next).chain(from..to));
                }
            }
            for (n, times) in &sent {
                prop_assert!(*times <= 2 + lost.get(n).copied().unwrap_or(0), "{n} sent {times} times");
            }
            let open = (0..o.next_number()).filter(|n| !acked.contains(n)).count() as u64;
            prop_assert_eq!(o.bytes(), open * 10);
            o.check();
            prop_assert!(o.due.keys().all(|n| !acked.contains(n)));
        }
        // What nothing carries any more is due: nothing is forgotten.
        for e in flights.into_keys() {
            o.lost(e, now, PACE, PACE_MAX);
        }
        let left: Vec<u64> = (0..o.next_number()).filter(|n| !acked.contains(n)).collect();
        prop_assert_eq!(due(&mut o, exchange, now.after(PACE_MAX)), left);
    }
}
