//! Peers that want memory, bytes or somebody else's session (D8, A15): all are bounded.

use bytes::Bytes;
use posthole_protocol::wire::{Content, Message, varint};
use posthole_protocol::{Config, StreamId};
use posthole_tests::craft::{FakeClient, FakeServer, data};
use posthole_tests::settings::{self, Settings};
use posthole_tests::{MS, SEC};

/// The window that these tests give the peer.
const WINDOW: u64 = 65_536;

fn config() -> Config {
    Settings {
        window: Some(WINDOW),
        ..Settings::default()
    }
    .config()
}

/// The most bytes that were in use at once while `work` ran.
fn peak(work: impl FnOnce()) -> u64 {
    let info = allocation_counter::measure(work);
    info.bytes_max
}

/// What a session may use: a few windows and bodies and what it needs to count them; far from what the peer sent.
const BOUND: u64 = 8 << 20;

fn payload(stream: u64, offset: u64, bytes: Bytes) -> Content {
    Content::Data {
        stream: StreamId::from_number(stream),
        offset,
        fin: false,
        payload: bytes,
    }
}

/// D8, A15a: one byte that must be kept of each 1 MB body does not pin the body: a hundred of them, 100 MB in all.
#[test]
fn small_slices_pin_no_bodies() {
    let used = peak(|| {
        let mut fake = FakeClient::connected(config());
        let filler = Bytes::from(vec![0; 16_384]);
        for round in 0..100u64 {
            // The rest of the body repeats bytes at offset 0, which are read and gone; one byte stays, beyond a gap.
            let mut messages: Vec<Message> = Vec::new();
            let mut number = round * 100;
            for _ in 0..60 {
                messages.push(Message {
                    number,
                    content: payload(0, 0, filler.clone()),
                });
                number += 1;
            }
            messages.push(Message {
                number,
                content: payload(0, 20_000 + round * 2, Bytes::from_static(b"x")),
            });
            let body = fake.body_of(&messages);
            fake.put(body);
            if let Some(id) = fake
                .session()
                .unwrap()
                .machine
                .accept()
                .or(Some(StreamId::from_number(0)))
            {
                let machine = &mut fake.session().unwrap().machine;
                if let Some(mut stream) = machine.stream(id) {
                    let _ = stream.read(usize::MAX);
                }
            }
            fake.bodies.clear();
            fake.answers.clear();
        }
    });
    assert!(
        used < BOUND,
        "{used} bytes for 100 bytes that had to be kept"
    );
}

/// D8, A15b: every second message number makes no endless list of ranges.
#[test]
fn alternating_numbers() {
    let used = peak(|| {
        let mut fake = FakeClient::connected(config());
        for round in 0..3_000u64 {
            let message = Message {
                number: round * 2 + 1,
                content: data(0, round * 2 + 1, b"x"),
            };
            let body = fake.body_of(&[message]);
            fake.put(body);
            if let Some(answer) = fake.answers.last() {
                assert!(answer.prefix.ack.ranges.len() <= 64);
            }
            fake.bodies.clear();
        }
        assert_eq!(fake.closed(), None);
    });
    assert!(used < BOUND, "{used} bytes");
}

/// D8, A15c: streams without bytes are bounded by their count; controls without sense cost nothing.
#[test]
fn endless_streams_and_controls() {
    let used = peak(|| {
        let mut fake = FakeClient::connected(config());
        for round in 0..20_000u64 {
            fake.send(&[payload(round * 2, 0, Bytes::new())]);
            fake.bodies.clear();
            fake.answers.clear();
            if fake.closed().is_some() {
                break;
            }
        }
    });
    assert!(
        used < 4 * BOUND,
        "{used} bytes for streams that carry nothing"
    );
}

/// D8, A15e: a client that acknowledges nothing and lists nothing gets no flood for its small requests.
#[test]
fn never_acknowledging() {
    let mut fake = FakeClient::connected(config());
    let id = fake
        .session()
        .unwrap()
        .machine
        .open()
        .expect("the client allows a hundred streams");
    let mut data = Bytes::from(vec![1; 1 << 20]);
    fake.session()
        .unwrap()
        .machine
        .stream(id)
        .unwrap()
        .write(&mut data)
        .unwrap();
    let mut sent = 0u64;
    for _ in 0..200 {
        fake.send(&[]);
        fake.run_for(100 * MS);
    }
    sent += fake
        .bodies
        .iter()
        .map(|body| body.len() as u64)
        .sum::<u64>();
    let limit = WINDOW * 20;
    assert!(
        sent <= limit,
        "{sent} bytes in 20 s to a client that acknowledges nothing (limit {limit})"
    );
}

/// A15: whoever asks for answers of any size gets none larger than any other.
#[test]
fn no_answer_is_larger_than_the_server_allows() {
    let mut fake = FakeClient::connected(settings::tuned());
    fake.prefix.answer_max = varint::LIMIT - 1;
    fake.prefix.credit = varint::LIMIT - 1;
    let server = &mut fake.session().unwrap().machine;
    let id = server.open().unwrap();
    let mut bytes = Bytes::from(vec![1; 3_000_000]);
    server.stream(id).unwrap().write(&mut bytes).unwrap();
    fake.send(&[]);
    fake.run_for(SEC);
    let (largest, most) = (
        fake.bodies.iter().map(Bytes::len).max().unwrap(),
        settings::tuned().body_max(),
    );
    assert!((most / 2..=most).contains(&largest), "{largest} bytes");
}

/// D8, A15d: an open list that is longer than may be, or names numbers that never were, does no harm.
#[test]
fn false_open_lists() {
    let mut fake = FakeClient::connected(config());
    fake.exchange = 1 << 40;
    fake.prefix.open = (1..=64).map(|n| (1 << 40) - n).collect();
    fake.send(&[data(0, 0, b"hello")]);
    fake.prefix.open = vec![0].into();
    fake.send(&[data(0, 5, b"hello")]);
    assert_eq!(fake.closed(), None);
    assert!(fake.session().unwrap().machine.accept().is_some());
}

/// D8: numbers at the end of what can be said are refused or taken, but nothing overflows.
#[test]
fn greatest_numbers() {
    let last = varint::LIMIT - 1;
    let mut fake = FakeClient::connected(config());
    fake.prefix.timer = last;
    fake.prefix.wait = last;
    fake.prefix.hold = last;
    fake.prefix.answer_max = last;
    fake.prefix.backlog = last;
    fake.prefix.unread = last;
    fake.prefix.credit = last;
    fake.send(&[]);
    fake.exchange = last;
    fake.bundle = last;
    let messages = [Message {
        number: last,
        content: data(0, 0, b"x"),
    }];
    let body = fake.body_of(&messages);
    fake.put(body);
    fake.run_for(60 * SEC);

    let mut fake = FakeServer::connected(config());
    fake.run_for(SEC);
    fake.prefix.held_for = last;
    fake.prefix.credit = last;
    fake.prefix.unread = last;
    fake.prefix.backlog = last;
    fake.answer(&[]);
    fake.run_for(60 * SEC);
    assert!(
        fake.requests < 100,
        "{} requests in a minute",
        fake.requests
    );
}

/// D8: zero everywhere is no reason to spin.
#[test]
fn least_numbers() {
    let mut fake = FakeClient::connected(config());
    fake.prefix.timer = 0;
    fake.prefix.wait = 0;
    fake.prefix.hold = 0;
    fake.prefix.answer_max = 0;
    fake.prefix.credit = 0;
    for _ in 0..20 {
        fake.send(&[data(0, 0, b"hello")]);
        fake.run_for(SEC);
    }
    assert!(fake.bodies.len() <= 22, "more answers than requests");
}

/// D8: a server that says it held an exchange for longer than it was away does not spoil the timer.
#[test]
fn held_for_longer_than_elapsed() {
    let mut fake = FakeServer::connected(config());
    for _ in 0..20 {
        fake.run_for(SEC);
        fake.prefix.held_for = 3_600 * SEC;
        if !fake.open.is_empty() {
            fake.answer(&[]);
        }
    }
    let timer = fake
        .open
        .last()
        .map(|(_, bundle)| bundle.prefix.timer)
        .expect("it polls");
    assert!((200 * MS..=10 * SEC).contains(&timer), "timer {timer} us");
}

/// D8: a client's timer, however long, does not keep what was lost from going again.
#[test]
fn a_timer_of_ages() {
    let mut fake = FakeClient::connected(config());
    fake.prefix.echo = None;
    (fake.prefix.timer, fake.prefix.hold, fake.prefix.wait) = (1 << 60, 2, 600_000);
    for _ in 0..2 {
        fake.prefix.open = (fake.exchange.saturating_sub(1)..fake.exchange).collect();
        fake.send(&[]);
    }
    let server = &mut fake.session().unwrap().machine;
    let id = server.open().unwrap();
    let mut bytes = Bytes::from_static(b"hello");
    server.stream(id).unwrap().write(&mut bytes).unwrap();
    fake.run_for(60 * SEC);
    let carry = fake.answers.iter().filter(|a| a.messages.numbers() > 0);
    assert_eq!(carry.count(), 2);
}

/// D8: a server that says it has seen exchanges that never were.
#[test]
fn server_that_saw_the_future() {
    let mut fake = FakeServer::connected(config());
    fake.run_for(SEC);
    fake.prefix.newest = 1 << 40;
    fake.prefix.held = vec![(1 << 40) - 1, 3].into();
    fake.answer(&[]);
    fake.run_for(60 * SEC);
    assert!(
        fake.requests < 200,
        "{} requests in a minute",
        fake.requests
    );
}

/// D8: one exchange number for many different requests: each has one answer, and the session goes on.
#[test]
fn one_number_for_all() {
    let mut fake = FakeClient::connected(config());
    let used = peak(|| {
        for round in 0..500 {
            fake.exchange = 5;
            fake.send(&[data(0, round * 5, b"hello")]);
        }
    });
    assert!(used < BOUND, "{used} bytes");
    fake.exchange = 6;
    fake.send(&[]);
    assert_eq!(fake.closed(), None);
}

/// L4, A15: a hundred requests held at once are not all kept.
#[test]
fn more_requests_than_may_be_open() {
    let mut fake = FakeClient::connected(config());
    fake.prefix.hold = 1;
    let before = fake.bodies.len();
    for _ in 0..100 {
        let newest = fake.exchange;
        fake.prefix.open = (newest.saturating_sub(64)..newest).rev().collect();
        fake.send(&[]);
    }
    fake.run_for(SEC);
    let kept = 100 - (fake.bodies.len() - before);
    assert!(
        kept <= 64,
        "{kept} requests are held for a client that asks for one"
    );
}

/// L4: bodies of rubbish at the door: each has a definite answer, and none makes a session.
#[test]
fn rubbish_at_the_door() {
    let mut fake = FakeClient::connected(config());
    let honest = fake.body(&[data(0, 0, b"hello")]);
    for cut in 0..honest.len() {
        fake.put(honest.slice(..cut));
    }
    for at in 0..honest.len() {
        let mut bytes = honest.to_vec();
        bytes[at] ^= 0x41;
        fake.put(bytes.into());
    }
    let mut rng = posthole_tests::rng::Rng::new(1);
    for _ in 0..300 {
        let bytes: Vec<u8> = (0..rng.below(200)).map(|_| rng.draw() as u8).collect();
        fake.put(bytes.into());
    }
    assert_eq!(fake.host.router.len(), 1);
    fake.put(honest);
    assert!(
        fake.session().unwrap().machine.accept().is_some(),
        "the session lives on"
    );
}

/// L4, S15: openings without end: sessions are bounded, and who comes too late is told "busy".
#[test]
fn endless_openings() {
    use posthole_protocol::wire::{AnswerPrefix, Bundle, Refusal, decode};
    let mut fake = FakeClient::new(config());
    let bound = settings::router().sessions;
    let used = peak(|| {
        for number in 0..bound as u64 + 200 {
            let mut id = [9; 16];
            id[..8].copy_from_slice(&number.to_be_bytes());
            fake.id = posthole_protocol::SessionId::from_bytes(id);
            fake.exchange = 0;
            fake.bundle = 0;
            fake.send(&[]);
        }
    });
    assert!(fake.host.router.len() <= bound);
    let mut answer = fake.bodies.pop().expect("the last one has an answer");
    let said = decode::<AnswerPrefix>(&mut answer, &fake.id, Some(0));
    assert!(
        matches!(said, Some(Ok(Bundle::Refusal(Refusal::Busy(_))))),
        "{said:?}"
    );
    assert!(used < 16 * BOUND, "{used} bytes for {bound} empty sessions");
}

/// L4, A16: a peer that never acknowledges bounds what is taken from the writer.
#[test]
fn writer_is_bounded_by_the_send_buffer() {
    let mut fake = FakeServer::connected(config());
    fake.prefix.credit = varint::LIMIT - 1;
    fake.run_for(SEC);
    fake.answer(&[]);
    let id = fake.client.open().unwrap();
    let mut taken = 0;
    for _ in 0..10_000 {
        let mut bytes = Bytes::from(vec![0; 65_536]);
        taken += fake.client.stream(id).unwrap().write(&mut bytes).unwrap();
        fake.collect();
    }
    assert!(taken < 64 << 20, "{taken} bytes were taken");
}

/// D8: a head that claims an exchange beyond what can be said is answered or turned away, never a panic.
#[test]
fn claimed_exchange_out_of_range() {
    let mut fake = FakeClient::connected(config());
    let honest = fake.body(&[]);
    let mut unknown = FakeClient::new(config());
    let stranger = unknown.body(&[]);
    for (fake, body) in [(&mut fake, honest), (&mut unknown, stranger)] {
        for byte in [0x40, 0x80, 0xff] {
            let mut bytes = body.to_vec();
            bytes[12] = byte;
            fake.put(bytes.into());
        }
    }
    assert_eq!(fake.closed(), None);
}
