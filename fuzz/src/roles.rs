//! Each role before a peer that says anything that can be said.

use crate::dice::Dice;
use bytes::Bytes;
use posthole_protocol::wire::{Ack, Content, Control, Message};
use posthole_protocol::{Failure, Instant, ResetCode, StreamId};
use posthole_tests::craft::{FakeClient, FakeServer};
use posthole_tests::{end::Machine, settings};

/// How many steps one input may take.
const STEPS: usize = 200;

/// A client before a server that answers anything: no panic, no busy loop, no endless output.
pub fn client(data: &[u8]) {
    let mut dice = Dice::new(data);
    let config = if dice.below(8) == 0 {
        settings::classic()
    } else {
        settings::tuned()
    };
    let mut fake = if dice.coin() {
        FakeServer::connected(config)
    } else {
        FakeServer::unanswered(config)
    };
    let mut requests = fake.requests;
    for _ in 0..STEPS {
        if dice.is_empty() {
            break;
        }
        match dice.below(8) {
            0 => drop(fake.run_for(u64::from(dice.word()) * 200)),
            1 => application(&mut fake.client, &mut dice),
            2 => {
                let now = Instant::from_micros(fake.now);
                if let Some((exchange, _)) = fake.take(dice.below(4) as usize) {
                    let why = [
                        Failure::Cut,
                        Failure::TooLarge,
                        Failure::TimedOut,
                        Failure::Middlebox { status: 502 },
                    ];
                    let _ = fake
                        .client
                        .feed_failure(now, exchange, why[dice.below(4) as usize]);
                }
            }
            3 => {
                let now = Instant::from_micros(fake.now);
                if let Some((exchange, _)) = fake.take(dice.below(4) as usize) {
                    let len = usize::from(dice.byte());
                    let body = Bytes::copy_from_slice(dice.bytes(len));
                    let _ = fake.client.feed_response(now, exchange, body);
                }
            }
            _ => {
                let prefix = &mut fake.prefix;
                twist(
                    &mut dice,
                    &mut prefix.ack,
                    &mut [
                        &mut prefix.credit,
                        &mut prefix.unread,
                        &mut prefix.held_for,
                        &mut prefix.newest,
                        &mut prefix.backlog,
                    ],
                );
                let which = dice.below(4) as usize;
                let messages = messages(&mut dice, &mut fake.message);
                if let Some((exchange, _)) = fake.take(which) {
                    let body = fake.body_of(exchange, &messages);
                    let _ =
                        fake.client
                            .feed_response(Instant::from_micros(fake.now), exchange, body);
                }
            }
        }
        fake.collect();
        assert!(
            fake.requests - requests < 100,
            "{} requests at once",
            fake.requests - requests
        );
        requests = fake.requests;
    }
    fake.run_for(1_000_000_000);
}

/// A router and its servers before a client that asks anything: no panic, no busy loop, an answer for each request.
pub fn server(data: &[u8]) {
    let mut dice = Dice::new(data);
    let config = if dice.below(8) == 0 {
        settings::classic()
    } else {
        settings::tuned()
    };
    let mut fake = if dice.coin() {
        FakeClient::connected(config)
    } else {
        FakeClient::new(config)
    };
    for _ in 0..STEPS {
        if dice.is_empty() {
            break;
        }
        match dice.below(8) {
            0 => fake.run_for(u64::from(dice.word()) * 200),
            1 => {
                if let Some(session) = fake.session() {
                    application(&mut session.machine, &mut dice);
                }
            }
            2 => {
                let len = usize::from(dice.byte());
                let body = Bytes::copy_from_slice(dice.bytes(len));
                fake.put(body);
            }
            3 => {
                let request = fake.send(&[]);
                let now = fake.now;
                fake.host.hangup(now, request);
            }
            _ => {
                let prefix = &mut fake.prefix;
                twist(
                    &mut dice,
                    &mut prefix.ack,
                    &mut [
                        &mut prefix.credit,
                        &mut prefix.unread,
                        &mut prefix.timer,
                        &mut prefix.hold,
                        &mut prefix.wait,
                        &mut prefix.answer_max,
                        &mut prefix.backlog,
                    ],
                );
                if dice.below(4) == 0 {
                    fake.exchange = fake.exchange.saturating_sub(dice.below(5));
                }
                let exchange = fake.exchange;
                prefix_open(&mut fake, exchange, dice.byte());
                let messages = messages(&mut dice, &mut fake.message);
                let body = fake.body_of(&messages);
                fake.put(body);
            }
        }
    }
    fake.run_for(1_000_000_000);
    let asked = fake.asked();
    assert!(
        fake.bodies.len() as u64 <= asked,
        "{} answers to {asked} requests",
        fake.bodies.len()
    );
}

/// The open list: the exchanges before this one that the bits name.
fn prefix_open(fake: &mut FakeClient, exchange: u64, bits: u8) {
    let named = (1..=8u64).filter(|back| bits >> (back - 1) & 1 == 1);
    fake.prefix.open = named
        .filter_map(|back| exchange.checked_sub(back))
        .collect();
}

/// Changes one or the other field of a prefix.
fn twist(dice: &mut Dice, ack: &mut Ack, fields: &mut [&mut u64]) {
    match dice.below(6) {
        0 => {
            let which = dice.below(fields.len() as u64) as usize;
            *fields[which] = dice.number();
        }
        1 => ack.next = ack.next.saturating_add(dice.below(3)),
        2 => {
            let from = ack.next + 1 + dice.below(5);
            ack.ranges.clear();
            ack.ranges.push(from..from + 1 + dice.below(3));
        }
        3 => ack.ranges.clear(),
        _ => {}
    }
    // Ranges that contradict their own acknowledgement can't be encoded.
    let next = ack.next;
    ack.ranges.retain(|range| range.start > next);
}

/// Up to four messages, rising from about where the last ones ended.
fn messages(dice: &mut Dice, next: &mut u64) -> Vec<Message> {
    let mut number = next.saturating_sub(dice.below(3));
    let mut messages = Vec::new();
    for _ in 0..dice.below(5) {
        messages.push(Message {
            number,
            content: content(dice),
        });
        number += 1 + u64::from(dice.below(8) == 0);
    }
    *next = number.max(*next).min(1 << 40);
    messages
}

fn content(dice: &mut Dice) -> Content {
    let stream = StreamId::from_number(if dice.below(8) == 0 {
        dice.number()
    } else {
        dice.below(6)
    });
    match dice.below(10) {
        0 => Content::Void,
        1 => Content::Control(Control::StreamCredit {
            stream,
            limit: dice.number(),
        }),
        2 => Content::Control(Control::Streams {
            total: dice.number(),
        }),
        3 => Content::Control(Control::Reset {
            stream,
            code: ResetCode(1),
            size: dice.number(),
        }),
        4 => Content::Control(Control::Stop {
            stream,
            code: ResetCode(2),
        }),
        5 if dice.below(4) == 0 => Content::Control(Control::Close {
            code: 3,
            reason: "fuzz".into(),
        }),
        _ => {
            let len = usize::from(dice.byte());
            let payload = Bytes::from(vec![0x5a; len]);
            let offset = dice.number().min((1 << 62) - 1 - len as u64);
            Content::Data {
                stream,
                offset,
                fin: dice.below(6) == 0,
                payload,
            }
        }
    }
}

/// The application at the machine under test does something.
fn application(machine: &mut impl Machine, dice: &mut Dice) {
    let id = StreamId::from_number(dice.below(6));
    match dice.below(8) {
        0 => drop(machine.open()),
        1 => drop(machine.accept()),
        choice => {
            let Some(mut stream) = machine.stream(id) else {
                return;
            };
            match choice {
                2 | 3 => {
                    let mut bytes = Bytes::from(vec![1; usize::from(dice.word())]);
                    let _ = stream.write(&mut bytes);
                }
                4 | 5 => drop(stream.read(usize::from(dice.word()) + 1)),
                6 => stream.finish(),
                _ if dice.coin() => stream.reset(ResetCode(9)),
                _ => stream.stop(ResetCode(8)),
            }
        }
    }
}
