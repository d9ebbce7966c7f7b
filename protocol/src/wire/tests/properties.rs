//! What must hold whatever the values are.

use super::super::varint::LIMIT;
use super::*;
use crate::error::ResetCode;
use crate::id::{Instance, Nonce};
use alloc::vec;
use core::ops::Range;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// Numbers of every length in which they travel.
fn number() -> impl Strategy<Value = u64> {
    (0..LIMIT, 0u32..62).prop_map(|(value, bits)| value >> bits)
}

/// A number that leaves room for others above it.
fn modest() -> impl Strategy<Value = u64> {
    number().prop_map(|value| value / 4)
}

fn ack() -> impl Strategy<Value = Ack> {
    (modest(), vec((modest(), modest()), 0..=MAX_RANGES)).prop_map(|(next, ranges)| {
        let mut end = next;
        let rising = ranges.into_iter().map_while(|(gap, more)| {
            let start = end + 1 + gap / 64;
            end = start + 1 + more / 64;
            (end <= LIMIT).then_some(start..end)
        });
        Ack {
            next,
            ranges: rising.collect::<Vec<Range<u64>>>(),
        }
    })
}

fn params() -> impl Strategy<Value = Params> {
    let id = any::<[u8; 16]>().prop_map(SessionId::from_bytes);
    (
        number(),
        option::of(any::<(u8, u8)>()),
        option::of(number()),
        option::of(number()),
        option::of(any::<u64>().prop_map(Instance)),
        option::of(number()),
        option::of(id),
        (option::of(number()), option::of(number())),
    )
        .prop_map(
            |(streams, versions, ack_delay, idle, instance, body_max, replaces, (direct, pad))| {
                Params {
                    streams,
                    versions,
                    ack_delay,
                    idle,
                    instance,
                    body_max,
                    replaces,
                    direct,
                    pad,
                }
            },
        )
}

/// Falling numbers from `top` on, the first of them at least `least` below it.
fn falling(top: u64, least: u64, steps: &[u64]) -> Vec<u64> {
    let mut next = top.checked_sub(least);
    let fall = |step: &u64| {
        let exchange = next?.checked_sub(step - 1)?;
        next = exchange.checked_sub(1);
        Some(exchange)
    };
    steps.iter().map_while(fall).collect()
}

fn steps() -> impl Strategy<Value = Vec<u64>> {
    vec(number().prop_map(|step| step / 64 + 1), 0..=MAX_EXCHANGES)
}

/// An exchange's number and the prefix of its request.
fn request() -> impl Strategy<Value = (u64, RequestPrefix)> {
    let numbers = [(); 7].map(|()| number());
    (
        (number(), option::of(0_u64..1000), option::of(0_u64..1000)),
        option::of(params()),
        option::of(any::<u64>().prop_map(Nonce)),
        ack(),
        steps(),
        numbers,
    )
        .prop_map(
            |(
                (exchange, long, streamed),
                opening,
                echo,
                ack,
                steps,
                [credit, unread, timer, hold, wait, answer_max, backlog],
            )| {
                let long = long.filter(|later| exchange.saturating_add(*later) < LIMIT);
                let streamed = streamed.filter(|below| long.is_none() && *below <= exchange);
                let mut open = match long {
                    Some(later) => falling(exchange + later, 0, &steps),
                    None => falling(exchange, 1, &steps),
                };
                open.retain(|other| *other != exchange);
                let prefix = RequestPrefix {
                    opening,
                    echo,
                    ack,
                    credit,
                    unread,
                    timer,
                    long,
                    streamed,
                    open: open.into(),
                    hold,
                    wait,
                    answer_max,
                    backlog,
                };
                (exchange, prefix)
            },
        )
}

fn answer() -> impl Strategy<Value = (u64, AnswerPrefix)> {
    let numbers = [(); 5].map(|()| number());
    let nonce = option::of(any::<u64>().prop_map(Nonce));
    (
        number(),
        option::of(params()),
        nonce,
        (any::<bool>(), option::of(number())),
        ack(),
        steps(),
        numbers,
    )
        .prop_map(
            |(
                exchange,
                opening,
                nonce,
                (read, more),
                ack,
                steps,
                [credit, unread, held_for, newest, backlog],
            )| {
                let held = falling(newest, 0, &steps);
                let prefix = AnswerPrefix {
                    opening,
                    nonce,
                    read,
                    ack,
                    credit,
                    unread,
                    held_for,
                    newest,
                    held: held.into(),
                    backlog,
                    more,
                };
                (exchange, prefix)
            },
        )
}

fn controls() -> impl Strategy<Value = Control> {
    let stream = || number().prop_map(StreamId::from_number);
    let code = || any::<u32>().prop_map(ResetCode);
    prop_oneof![
        (stream(), number()).prop_map(|(stream, limit)| Control::StreamCredit { stream, limit }),
        number().prop_map(|total| Control::Streams { total }),
        (stream(), code(), number()).prop_map(|(stream, code, size)| Control::Reset {
            stream,
            code,
            size
        }),
        (stream(), code()).prop_map(|(stream, code)| Control::Stop { stream, code }),
        (any::<u32>(), "\\PC{0,60}").prop_map(|(code, reason)| Control::Close { code, reason }),
    ]
}

/// One step of a list of messages: by how much its number rises, and what it says.
#[derive(Clone, Debug)]
enum Step {
    /// Bytes of this stream where it was last.
    Data(u64, usize, bool),
    /// Bytes elsewhere.
    Jump(u64, u64, usize),
    Void,
    Control(Control),
}

fn step() -> impl Strategy<Value = Step> {
    let size =
        || prop_oneof![4 => 0usize..40, 2 => 400usize..600, 1 => Just(0), 1 => Just(MAX_PAYLOAD)];
    prop_oneof![
        6 => (0u64..3, size(), prop::bool::weighted(0.1)).prop_map(|(stream, size, fin)| Step::Data(stream, size, fin)),
        1 => (number(), modest(), size()).prop_map(|(stream, offset, size)| Step::Jump(stream, offset, size)),
        1 => Just(Step::Void),
        1 => controls().prop_map(Step::Control),
    ]
}

fn messages() -> impl Strategy<Value = Vec<Message>> {
    (
        modest(),
        vec((prop_oneof![5 => Just(1), 1 => 1u64..1000], step()), 0..40),
    )
        .prop_map(|(first, steps)| {
            let mut number = first;
            let mut offsets = [0; 3];
            let bytes: Bytes = (0..MAX_PAYLOAD + 256)
                .map(|i| (i ^ (i >> 8)) as u8)
                .collect::<Vec<u8>>()
                .into();
            let make = |(rise, step)| {
                number += rise;
                let payload = |size| bytes.slice(number as usize % 256..).slice(..size);
                match step {
                    Step::Data(stream, size, fin) => {
                        let offset = offsets[stream as usize];
                        offsets[stream as usize] += size as u64;
                        data(number, stream, offset, payload(size), fin)
                    }
                    Step::Jump(stream, offset, size) => {
                        data(number, stream, offset, payload(size), false)
                    }
                    Step::Void => void(number),
                    Step::Control(what) => control(number, what),
                }
            };
            steps.into_iter().map(make).collect()
        })
}

fn few() -> impl Strategy<Value = Vec<Message>> {
    messages().prop_map(|mut messages| {
        messages.truncate(5);
        for message in &mut messages {
            if let Content::Data { payload, .. } = &mut message.content {
                payload.truncate(20);
            }
        }
        messages
    })
}

proptest! {
    #[test]
    fn a_request_is_read_as_it_was_written(
        (exchange, prefix) in request(), bundle in number(), messages in messages(), more in few(),
    ) {
        let mut chain = encode(&SESSION, exchange, bundle, &prefix, &messages);
        let cost: usize = messages.iter().map(Message::cost).sum();
        prop_assert!(chain.len() <= prefix.cost() + cost);
        let large = messages.iter().filter_map(Message::payload).filter(|payload| payload.len() >= chain::SMALL).count();
        prop_assert!(chain.parts().len() <= 1 + 2 * large);
        prop_assert_eq!(chain.parts().iter().map(Bytes::len).sum::<usize>(), chain.len());
        let head = Head::peek(chain.parts().first().unwrap()).unwrap();
        prop_assert_eq!((head.version, head.answer, head.session), (1, false, Some(SESSION)));
        prop_assert_eq!((head.exchange, head.bundle), (exchange, bundle));

        chain.append(encode(&SESSION, exchange, bundle, &prefix, &more));
        let read = all::<RequestPrefix>(chain.into_bytes(), None);
        prop_assert_eq!(read.len(), 2);
        for (read, written) in read.into_iter().zip([messages, more]) {
            let read = session(read.unwrap());
            prop_assert_eq!((read.exchange, read.bundle), (exchange, bundle));
            prop_assert_eq!(&read.prefix, &prefix);
            prop_assert_eq!(read.messages.numbers(), written.len() as u64);
            prop_assert_eq!(read.messages.collect::<Vec<_>>(), merged(&written));
        }
    }

    #[test]
    fn an_answer_is_read_as_it_was_written(
        (exchange, prefix) in answer(), bundle in number(), messages in messages(),
    ) {
        let chain = encode(&SESSION, exchange, bundle, &prefix, &messages);
        let cost: usize = messages.iter().map(Message::cost).sum();
        prop_assert!(chain.len() <= prefix.cost() + cost);
        let body = chain.into_bytes();
        prop_assert_eq!(all::<AnswerPrefix>(body.clone(), Some(exchange ^ 1)), vec![Err(Unreadable::Check)]);
        let read = session(only::<AnswerPrefix>(body, Some(exchange)).unwrap());
        prop_assert_eq!((read.exchange, read.bundle), (exchange, bundle));
        prop_assert_eq!(&read.prefix, &prefix);
        prop_assert_eq!(read.messages.numbers(), messages.len() as u64);
        prop_assert_eq!(read.messages.collect::<Vec<_>>(), merged(&messages));
    }

    /// C9: how the bytes were cut on their way makes no difference.
    #[test]
    fn a_body_that_came_byte_by_byte_reads_the_same((exchange, prefix) in request(), messages in few()) {
        let whole = encode(&SESSION, exchange, 0, &prefix, &messages).into_bytes();
        let crumbs: Chain = (0..whole.len()).map(|at| Bytes::copy_from_slice(&whole[at..=at])).collect();
        prop_assert_eq!(crumbs.parts().len(), whole.len());
        prop_assert_eq!(all::<RequestPrefix>(crumbs.into_bytes(), None), all::<RequestPrefix>(whole, None));
    }

    #[test]
    fn what_was_cut_off_is_short((exchange, prefix) in answer(), messages in few()) {
        let whole = encode(&SESSION, exchange, 0, &prefix, &messages).into_bytes();
        for len in 1..whole.len() {
            prop_assert_eq!(all::<AnswerPrefix>(whole.slice(..len), None), vec![Err(Unreadable::Short)]);
        }
    }

    #[test]
    fn what_was_damaged_is_unreadable((exchange, prefix) in request(), messages in few(), flip in 1u8..) {
        let whole = encode(&SESSION, exchange, 0, &prefix, &messages).into_bytes();
        for at in 0..whole.len() {
            let mut damaged = whole.to_vec();
            damaged[at] ^= flip;
            let read = all::<RequestPrefix>(damaged.into(), None);
            let expected: &[Unreadable] = match at {
                0 => &[Unreadable::Magic],
                1 => &[Unreadable::Version(1 ^ flip)],
                2 => &[Unreadable::Flags],
                4..8 => &[Unreadable::Short, Unreadable::Check],
                _ => &[Unreadable::Check],
            };
            prop_assert_eq!(read.len(), 1);
            prop_assert!(matches!(&read[0], Err(error) if expected.contains(error)), "{at}: {read:?}");
        }
    }

    /// Behind a check that is right, too: it keeps out accidents, not attackers.
    #[test]
    fn no_bytes_make_it_panic(content in vec(any::<u8>(), 0..200), flags in 0u8..16, trailer in 0u8..4, small in any::<bool>()) {
        let content = content.into_iter().map(|byte| if small { byte & 0x43 } else { byte });
        let content: Bytes = content.collect::<Vec<u8>>().into();
        all::<RequestPrefix>(content.clone(), None);
        all::<AnswerPrefix>(content.clone(), None);
        let mut bundle = vec![0; 28];
        bundle[..4].copy_from_slice(&[head::MAGIC, head::VERSION, flags, trailer]);
        if flags & 1 == 0 {
            bundle.extend_from_slice(SESSION.as_bytes());
        }
        bundle.extend(content);
        let body = fix(bundle, &SESSION);
        sound(all::<RequestPrefix>(body.clone(), None));
        sound(all::<AnswerPrefix>(body, None));
    }

    /// Every change of a bundle whose check was put right again is read as something sound, or not at all.
    #[test]
    fn no_change_makes_it_panic((exchange, prefix) in answer(), messages in few(), at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut bundle = encode(&SESSION, exchange, 0, &prefix, &messages).into_bytes().to_vec();
        let at = at.index(bundle.len());
        bundle[at] = to;
        sound(all::<AnswerPrefix>(fix(bundle, &SESSION), None));
    }
}

/// What was read keeps the promises that its types make.
fn sound<P>(read: Vec<Result<Bundle<P>, Unreadable>>) {
    for bundle in read {
        let Ok(Bundle::Session(decoded)) = bundle else {
            continue;
        };
        assert!(decoded.exchange < LIMIT && decoded.bundle < LIMIT);
        let numbers = decoded.messages.numbers();
        let mut next = 0;
        let mut counted = 0;
        for (count, message) in decoded.messages {
            assert!(message.number >= next && count > 0);
            next = message.number + count;
            counted += count;
            if let Content::Data {
                offset, payload, ..
            } = message.content
            {
                assert!(offset + (payload.len() as u64) < LIMIT);
                assert!(payload.len() as u64 <= count * MAX_PAYLOAD as u64);
            }
        }
        assert!(next <= LIMIT);
        assert_eq!(counted, numbers);
    }
}
