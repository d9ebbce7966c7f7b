//! The contract of the core's interface, C1 to C9 (STYLE): one test per clause.

use bytes::Bytes;
use posthole_protocol::wire::{AnswerPrefix, Bundle, decode};
use posthole_protocol::{
    Client, CloseReason, Event, Failure, Instant, Lesson, Read, RequestId, SessionId, StreamId,
};
use posthole_tests::app::Script;
use posthole_tests::craft::{FakeClient, FakeServer, data};
use posthole_tests::fault::{Fate, Fault};
use posthole_tests::host::Host;
use posthole_tests::pair::Pair;
use posthole_tests::{MS, SEC, settings};

fn busy(seed: u64) -> Pair {
    let mut pair = Pair::new(seed);
    pair.serve(Script::echo(10 * MS));
    for _ in 0..3 {
        pair.client().play(Script::paced(30_000, 900, 17 * MS));
    }
    let mut rng = posthole_tests::rng::Rng::new(seed);
    pair.net.rule = Box::new(move |_| match rng.below(12) {
        0 => Fault::request(Fate::Lose),
        1 => Fault::response(Fate::Fail(Failure::Cut)),
        2 => Fault::request(Fate::Corrupt(400)),
        _ => Fault::NONE,
    });
    pair
}

/// C1: several feeds before any poll lose nothing: two answers, each with bytes, then all events and polls.
#[test]
fn c1_feeds_before_polls_lose_nothing() {
    let mut fake = FakeServer::connected(settings::tuned());
    fake.run_for(SEC);
    let id = fake.client.open().unwrap();
    fake.client
        .stream(id)
        .unwrap()
        .write(&mut bytes::Bytes::from_static(b"key"))
        .unwrap();
    fake.collect();
    assert_eq!(fake.open.len(), 2, "one is held, one brings the keystroke");
    let now = Instant::from_micros(fake.now);
    let first = fake.open.remove(0).0;
    let second = fake.open.remove(0).0;
    let message = |number, stream| posthole_protocol::wire::Message {
        number,
        content: data(stream, 0, b"hello"),
    };
    let one = fake.body_of(first, &[message(0, 1)]);
    let two = fake.body_of(second, &[message(1, 3)]);
    fake.client.feed_response(now, second, two).unwrap();
    fake.client.feed_response(now, first, one).unwrap();
    fake.client.feed_timeout(now);
    let mut incoming = 0;
    while let Some(event) = fake.client.poll_event() {
        incoming += u32::from(event == Event::Incoming);
    }
    assert!(incoming >= 1);
    let streams = [fake.client.accept(), fake.client.accept()];
    assert!(streams.iter().all(Option::is_some), "{streams:?}");
}

/// C1, C6: whoever polls no events loses none of what they tell of, and costs no memory.
#[test]
fn c1_events_are_derived_when_polled() {
    let mut fake = FakeClient::connected(settings::tuned());
    for number in 0..50u64 {
        fake.send(&[data(0, number * 5, b"hello")]);
    }
    let machine = &mut fake.session().unwrap().machine;
    let id = machine.accept().unwrap();
    while let Ok(posthole_protocol::Read::Chunk(_)) = machine.stream(id).unwrap().read(usize::MAX) {
    }
    let body = fake.body(&[data(0, 250, b"again"), data(0, 255, b"again")]);
    let now = Instant::from_micros(fake.now);
    let machine = &mut fake.session().unwrap().machine;
    machine
        .feed_request(now, posthole_protocol::RequestId::new(999), body)
        .unwrap();
    let mut readable = 0;
    while let Some(event) = machine.poll_event() {
        readable += u32::from(event == Event::Readable(id));
    }
    assert_eq!(
        readable, 1,
        "one piece of news, however many messages brought it"
    );
}

/// C2: None is stable: whatever time it is, polls give nothing new before the next feed or stream call.
#[test]
fn c2_none_is_stable() {
    let mut pair = busy(2);
    for _ in 0..600 {
        let limit = pair.now + SEC;
        pair.step(limit);
        for later in [0, 10 * MS, 3600 * SEC] {
            let now = Instant::from_micros(pair.now + later);
            let mut client = pair.clients[0].machine.clone();
            assert_eq!(client.poll_request(now), None);
            assert_eq!(client.poll_event(), None);
            assert_eq!(client.poll_cancel(), None);
            assert_eq!(
                client, pair.clients[0].machine,
                "polling None changed the client"
            );
            for end in &pair.hosts[0].sessions {
                let mut server = end.machine.clone();
                assert_eq!(server.poll_response(now), None);
                assert_eq!(server.poll_event(), None);
                assert_eq!(server, end.machine, "polling None changed the server");
            }
        }
    }
}

/// C3: an early, late or repeated feed_timeout is harmless: a run with many of them delivers, in as few exchanges.
#[test]
fn c3_timeouts_come_whenever_they_like() {
    let run = |spurious: bool| {
        let mut pair = busy(3);
        for _ in 0..5_000 {
            let limit = pair.now + SEC;
            pair.step(limit);
            if spurious {
                let now = Instant::from_micros(pair.now);
                pair.clients[0].machine.feed_timeout(now);
                pair.clients[0].machine.feed_timeout(now);
                for end in &mut pair.hosts[0].sessions {
                    end.machine.feed_timeout(now);
                }
                pair.settle();
            }
        }
        pair.run_to_end(120 * SEC);
        pair.net.tally.exchanges(0)
    };
    let (without, with) = (run(false), run(true));
    assert!(
        with <= without + without / 10 + 5,
        "{without} exchanges without, {with} with spurious timeouts"
    );
}

/// C4: an earlier now counts as the latest seen.
#[test]
fn c4_time_never_goes_back() {
    let mut pair = busy(4);
    for round in 0..3_000u64 {
        let limit = pair.now + SEC;
        pair.step(limit);
        let mut client = pair.clients[0].machine.clone();
        client.feed_timeout(Instant::from_micros(pair.now));
        let before = client.next_timeout();
        client.feed_timeout(Instant::from_micros(pair.now.saturating_sub(round * 100)));
        client.feed_timeout(Instant::ZERO);
        assert_eq!(client.next_timeout(), before, "an old now moved a deadline");
        pair.clients[0].machine.feed_timeout(Instant::ZERO);
        pair.settle();
    }
    pair.run_to_end(120 * SEC);
}

/// C4: also where it stamps what is sent.
#[test]
fn c4_what_is_polled_with_an_old_clock_was_not_sent_long_ago() {
    let (now, id) = (
        Instant::from_micros(1_000 * SEC),
        SessionId::from_bytes([3; 16]),
    );
    let mut client = Client::new(settings::tuned(), id, now);
    client.feed_timeout(now);
    assert!(client.poll_request(Instant::ZERO).is_some());
    client.feed_timeout(now);
    assert_eq!(client.poll_cancel(), None);
    assert!(client.next_timeout().is_some_and(|at| at > now));
    let mut fake = FakeClient::connected(settings::tuned());
    fake.prefix.echo = None;
    fake.send(&[]);
    fake.run_for(SEC);
    let (now, id) = (Instant::from_micros(fake.now), fake.id);
    let machine = &mut fake.session().unwrap().machine;
    let stream = machine.open().unwrap();
    let mut stream = machine.stream(stream).unwrap();
    stream.write(&mut Bytes::from_static(b"!")).unwrap();
    machine.feed_timeout(now);
    let answer = machine.poll_response(Instant::ZERO).unwrap();
    let said = decode::<AnswerPrefix>(&mut answer.body.into_bytes(), &id, None);
    let Some(Ok(Bundle::Session(said))) = said else {
        panic!("{said:?}");
    };
    assert_eq!(said.prefix.held_for, SEC);
}

/// C5: after feed_timeout(t), the next one is later, or there is something to take. (Each step of each pair checks
/// it; here for machines that nobody answers.)
#[test]
fn c5_no_busy_loop_when_nobody_answers() {
    let mut client = Client::new(
        settings::tuned(),
        SessionId::from_bytes([3; 16]),
        Instant::ZERO,
    );
    let mut fed = 0;
    let mut now = Instant::ZERO;
    loop {
        let mut did = false;
        while client.poll_request(now).is_some() {
            did = true;
        }
        while client.poll_cancel().is_some() {
            did = true;
        }
        while let Some(event) = client.poll_event() {
            did = true;
            if matches!(event, Event::Closed(_)) {
                assert!(fed < 2_000, "{fed} deadlines until it gave up");
                return;
            }
        }
        let next = client
            .next_timeout()
            .expect("it waits for answers that are due");
        assert!(did || next > now, "a busy loop at {now}");
        now = now.max(next);
        client.feed_timeout(now);
        fed += 1;
        assert!(fed < 10_000, "it never gives up");
    }
}

/// C6: memory is bounded though nobody polls events nor accepts streams: see hostile.rs for the bytes; here what is
/// pending does not grow.
#[test]
fn c6_news_is_not_queued() {
    let mut fake = FakeClient::connected(settings::tuned());
    let now = Instant::from_micros(fake.now);
    for number in 0..500u64 {
        let body = fake.body(&[data(0, number, b"x")]);
        let request = posthole_protocol::RequestId::new(10_000 + number);
        let machine = &mut fake.session().unwrap().machine;
        machine.feed_request(now, request, body).unwrap();
    }
    let machine = &mut fake.session().unwrap().machine;
    let mut events = 0;
    while machine.poll_event().is_some() {
        events += 1;
    }
    assert!(events <= 3, "{events} events are pending for one stream");
}

/// C7: Closed comes once, last; afterwards feeds are ignored and polls are None.
#[test]
fn c7_closed_comes_once_and_last() {
    for orderly in [true, false] {
        let mut pair = busy(7);
        pair.run_for(2 * SEC);
        pair.net.heal();
        if orderly {
            pair.client().machine.close(3, "enough");
        } else {
            pair.client().machine.abort();
        }
        // An event after Closed makes the harness panic.
        assert!(pair.run_until(60 * SEC, |p| p.clients[0].closed.is_some()));
        let closed = pair.client().closed.clone();
        assert_eq!(
            closed,
            Some(if orderly {
                CloseReason::Local
            } else {
                CloseReason::Aborted
            })
        );
        pair.run_for(5 * SEC);
        let mut fake = pair.client().machine.clone();
        let now = Instant::from_micros(pair.now + SEC);
        fake.feed_timeout(now);
        assert_eq!(fake.next_timeout(), None);
        assert_eq!(fake.poll_request(now), None);
        assert_eq!(fake.poll_cancel(), None);
        assert_eq!(fake.poll_event(), None);
        assert!(fake.open().is_err());
        assert!(fake.accept().is_none());
    }
}

/// C8, L6: equal inputs give equal bytes.
#[test]
fn c8_equal_inputs_give_equal_bytes() {
    let run = || {
        let mut pair = busy(8);
        pair.net.record = Some(Default::default());
        pair.run_to_end(120 * SEC);
        let record = pair.net.record.take().unwrap();
        (
            record.requests,
            record.answers,
            pair.clients[0].machine.clone(),
        )
    };
    let (first, second) = (run(), run());
    assert_eq!(first.0, second.0);
    assert_eq!(first.1, second.1);
    assert!(first.2 == second.2, "the machines differ");
}

/// C8: a clone goes on as its original does.
#[test]
fn c8_a_clone_goes_on_as_its_original() {
    let mut pair = busy(9);
    pair.run_for(SEC);
    let mut clone = pair.clients[0].machine.clone();
    let now = Instant::from_micros(pair.now + 10 * SEC);
    pair.clients[0].machine.feed_timeout(now);
    clone.feed_timeout(now);
    loop {
        let (one, two) = (
            pair.clients[0].machine.poll_request(now),
            clone.poll_request(now),
        );
        assert_eq!(one, two);
        if one.is_none() {
            break;
        }
    }
}

/// C9: several bundles in one body are read one after the other, each by itself: whole is as piece by piece.
#[test]
fn c9_bundles_in_one_body_are_as_bundles_apart() {
    use posthole_protocol::wire::RequestPrefix;
    let mut fake = FakeClient::new(settings::tuned());
    let bodies: Vec<_> = (0..5)
        .map(|n| fake.body(&[data(0, n * 5, b"hello")]))
        .collect();
    let mut whole = bytes::Bytes::from(bodies.concat());
    for body in &bodies {
        let apart = decode::<RequestPrefix>(&mut body.clone(), &fake.id, None)
            .unwrap()
            .unwrap();
        let together = decode::<RequestPrefix>(&mut whole, &fake.id, None)
            .unwrap()
            .unwrap();
        let (Bundle::Session(a), Bundle::Session(b)) = (apart, together) else {
            panic!("no refusals here")
        };
        assert_eq!(
            (a.exchange, a.bundle, &a.prefix),
            (b.exchange, b.bundle, &b.prefix)
        );
        assert!(a.messages.eq(b.messages));
    }
    assert!(decode::<RequestPrefix>(&mut whole, &fake.id, None).is_none());
    for cut in 0..bodies[0].len() {
        let mut part = bodies[0].slice(..cut);
        let read = decode::<RequestPrefix>(&mut part, &fake.id, None);
        assert!(
            !matches!(read, Some(Ok(_))),
            "{cut} bytes of a bundle were believed"
        );
    }
}

/// An exchange that is not open is an error value and changes nothing.
#[test]
fn feeding_an_unknown_exchange_changes_nothing() {
    let mut fake = FakeServer::connected(settings::tuned());
    fake.run_for(SEC);
    let exchange = fake.open[0].0;
    fake.answer(&[]);
    let now = Instant::from_micros(fake.now);
    let before = fake.client.clone();
    assert!(
        fake.client
            .feed_failure(now, exchange, Failure::Cut)
            .is_err()
    );
    assert!(
        fake.client
            .feed_response(now, exchange, bytes::Bytes::new())
            .is_err()
    );
    assert!(fake.client.feed_progress(now, exchange).is_err());
    assert!(fake.client == before);
}

/// What fills it up is read by nobody, and is as much as it takes to be as large as was asked for.
#[test]
fn whoever_asks_for_full_answers_gets_them() {
    let mut fake = FakeClient::new(settings::tuned());
    fake.prefix.opening.as_mut().unwrap().pad = Some(1);
    for size in [40_000, 65_536, 300_001] {
        fake.prefix.answer_max = size;
        fake.send(&[]);
        fake.run_for(30 * MS);
        assert_eq!(fake.bodies.last().unwrap().len() as u64, size);
    }
}

/// S10, A13: who owes an answer is not over.
#[test]
fn a_session_is_over_when_all_that_it_holds_is_answered() {
    let mut fake = FakeClient::connected(settings::tuned());
    fake.prefix.echo = None;
    fake.send(&[]);
    let now = Instant::from_micros(fake.now);
    let machine = &mut fake.session().unwrap().machine;
    machine.abort();
    assert!(!machine.is_over());
    let answers = std::iter::from_fn(|| machine.poll_response(now));
    assert!(answers.map(|answer| assert!(answer.last)).count() > 0);
    assert!(machine.is_over());
}

/// C7: `Closed` is the last that is heard of a session: until all that it holds is answered, it is not told.
#[test]
fn c7_the_end_is_told_when_nobody_waits_for_an_answer_any_more() {
    let mut fake = FakeClient::connected(settings::tuned());
    fake.prefix.echo = None;
    fake.send(&[]);
    let now = Instant::from_micros(fake.now);
    let machine = &mut fake.session().unwrap().machine;
    machine.abort();
    assert_eq!(machine.poll_event(), None);
    while machine.poll_response(now).is_some() {}
    let aborted = Event::Closed(CloseReason::Aborted);
    assert_eq!(machine.poll_event(), Some(aborted));
}

/// C7: what is learned before there is a session is told once there is one.
#[test]
fn lessons_come_after_the_connection() {
    let now = Instant::from_micros(1_000_000);
    let mut client = Client::new(settings::tuned(), SessionId::from_bytes([9; 16]), now);
    let stream = client.open().unwrap();
    let mut bytes = Bytes::from(vec![1; 60_000]);
    client.stream(stream).unwrap().write(&mut bytes).unwrap();
    client.feed_timeout(now);
    let large = client.poll_request(now).unwrap();
    assert!(large.body.len() > 50_000);
    let refused = Failure::TooLarge;
    client.feed_failure(now, large.exchange, refused).unwrap();
    assert_eq!(client.poll_event(), None);
    let mut server = Host::new(settings::tuned(), settings::router(), 7, 0);
    let opening = client.poll_request(now).unwrap();
    let (request, body) = (RequestId::new(0), opening.body.into_bytes());
    server.take(1_000_000, request, body);
    let answer = server.sessions[0].machine.poll_response(now).unwrap();
    let answer = answer.body.into_bytes();
    client.feed_response(now, opening.exchange, answer).unwrap();
    let news: Vec<_> = std::iter::from_fn(|| client.poll_event()).collect();
    assert_eq!(
        news.iter().position(|event| *event == Event::Connected),
        Some(0)
    );
    let is_lesson = |event: &Event| matches!(event, Event::Learned(Lesson::RequestTooLarge { .. }));
    assert!(news.iter().any(is_lesson), "{news:?}");
}

/// A14: a request that comes late, and that a newer one does not list any more, gives its messages and has its answer.
#[test]
fn a14_a_late_request_that_nobody_waits_for_is_answered() {
    let mut fake = FakeClient::connected(settings::tuned());
    fake.prefix.echo = None;
    let late = fake.body(&[data(0, 0, b"late")]);
    fake.send(&[]);
    let before = fake.answers.len();
    fake.put(late);
    assert_eq!(fake.answers.len(), before + 1);
    let answer = fake.answers.last().unwrap();
    assert!(answer.messages.clone().next().is_none());
    let id = StreamId::from_number(0);
    let stream = fake.session().unwrap().machine.stream(id);
    let read = stream.unwrap().read(100);
    assert_eq!(read, Ok(Read::Chunk(Bytes::from_static(b"late"))));
}

/// A14: no request is too old for which a newer one still waits, however many have come since.
#[test]
fn a14_a_late_request_that_is_waited_for_is_read() {
    let mut fake = FakeClient::connected(settings::tuned());
    fake.prefix.echo = None;
    let late = fake.body(&[data(0, 0, b"late")]);
    fake.prefix.open = vec![fake.exchange - 1].into();
    for _ in 0..70 {
        fake.send(&[]);
    }
    fake.put(late);
    let id = StreamId::from_number(0);
    let stream = fake.session().unwrap().machine.stream(id);
    let read = stream.unwrap().read(100);
    assert_eq!(read, Ok(Read::Chunk(Bytes::from_static(b"late"))));
}

/// A21, §5.6.3: a copy of a request that was answered gets what its answer carried once more, at once.
#[test]
fn a21_a_copy_of_an_answered_request_gets_what_its_answer_carried() {
    let mut fake = FakeClient::connected(settings::tuned());
    fake.prefix.echo = None;
    let body = fake.body(&[data(0, 0, b"?")]);
    fake.put(body.clone());
    let id = StreamId::from_number(0);
    let session = fake.session().unwrap();
    let mut stream = session.machine.stream(id).unwrap();
    stream.write(&mut Bytes::from_static(b"!")).unwrap();
    fake.run_for(100 * MS);
    let messages = |fake: &FakeClient| {
        let answer = fake.answers.last().unwrap();
        answer
            .messages
            .clone()
            .map(|(_, m)| m.number)
            .collect::<Vec<_>>()
    };
    let (count, said) = (fake.answers.len(), messages(&fake));
    assert!(!said.is_empty());
    fake.put(body);
    assert_eq!((fake.answers.len(), messages(&fake)), (count + 1, said));
}

/// A21: of three copies of a held request the first is answered, empty, at once.
#[test]
fn a21_a_third_copy_of_a_held_request_frees_the_first() {
    let mut fake = FakeClient::connected(settings::tuned());
    fake.prefix.echo = None;
    let body = fake.body(&[]);
    fake.put(body.clone());
    fake.run_for(100 * MS);
    let before = fake.answers.len();
    for expected in [0, 1, 2] {
        fake.put(body.clone());
        assert_eq!(fake.answers.len(), before + expected);
    }
}

/// §5.9: a client has one streamed answer at most: a second ends the first.
#[test]
fn a_second_streamed_answer_ends_the_first() {
    let mut fake = FakeClient::connected(settings::tuned());
    fake.prefix.echo = None;
    fake.prefix.streamed = Some(0);
    let first = fake.exchange;
    fake.send(&[]);
    let is_over = |fake: &FakeClient| {
        let mut answers = fake.answers.iter();
        answers.any(|answer| answer.exchange == first && answer.prefix.more.is_none())
    };
    assert!(!is_over(&fake));
    fake.prefix.open = vec![first].into();
    fake.send(&[]);
    fake.run_for(MS);
    assert!(is_over(&fake));
}

/// §5.9: whoever may be a copy hears once, however it asks.
#[test]
fn the_answer_to_an_opening_is_not_streamed() {
    let mut fake = FakeClient::new(settings::tuned());
    // To a server that has just started, which can't know what it forgot.
    fake.now = MS;
    fake.prefix.streamed = Some(0);
    fake.send(&[]);
    let answers: Vec<_> = fake
        .answers
        .iter()
        .map(|a| a.prefix.more.is_some())
        .collect();
    assert_eq!(answers, [false]);
}

/// §9.1: a request may hold several bundles of its exchange; what follows of another one is not read.
#[test]
fn several_bundles_in_one_request() {
    let mut fake = FakeClient::connected(settings::tuned());
    let mut body = Vec::new();
    for (offset, payload, other) in [(0, b"one ", 0), (4, b"two ", 0), (8, b"lost", 1)] {
        fake.exchange += other;
        body.extend_from_slice(&fake.body(&[data(0, offset, payload)]));
        fake.exchange -= 1;
    }
    fake.exchange += 1;
    fake.put(body.into());
    let machine = &mut fake.session().unwrap().machine;
    let id = machine.accept().unwrap();
    let mut stream = machine.stream(id).unwrap();
    let mut read = Vec::new();
    while let Ok(Read::Chunk(bytes)) = stream.read(usize::MAX) {
        read.extend_from_slice(&bytes);
    }
    assert_eq!(read, b"one two ");
}
