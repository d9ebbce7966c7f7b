//! One machine, and what it makes of each thing that comes.

use super::{alone, connect, pair};
use bytes::Bytes;
use posthole_protocol::wire::{Content, Message};
use posthole_protocol::{Client, Duration, Instant, RequestId};
use posthole_tests::app::Script;
use posthole_tests::craft::{FakeClient, FakeServer};
use posthole_tests::tally::numbers_up;
use posthole_tests::{MS, SEC, settings};

/// §9.7: the head start of a connection that can't be made is over.
#[test]
fn exchanges_begin_at_once_when_no_connection_can_be_made() {
    let now = Instant::from_micros(1_000_000);
    let mut client = alone(now);
    assert!(client.poll_dial().is_some());
    assert!(client.poll_request(now).is_none());
    client.feed_undialled(now);
    assert!(
        client
            .poll_request(now)
            .is_some_and(|request| !request.long)
    );
}

/// §5.8.4: what can't be read on a connection ends it: what came after it would be lost.
#[test]
fn what_can_not_be_read_ends_a_connection() {
    let now = Instant::from_micros(1_000_000);
    let mut client = alone(now);
    assert!(client.poll_dial().is_some());
    let exchange = client.feed_dialled(now).unwrap();
    assert!(client.poll_request(now).is_some());
    let body = Bytes::from_static(b"\xf8 it begins well");
    client.feed_bundles(now, exchange, body).unwrap();
    assert_eq!(client.poll_cancel(), Some(exchange));
}

/// §5.8.4, §3.4: and whoever wrote it is told so by the next request.
#[test]
fn what_could_not_be_read_on_a_connection_is_counted() {
    let mut fake = FakeServer::connected(settings::tuned());
    let now = Instant::from_micros(fake.now);
    let connection = connect(&mut fake);
    fake.collect();
    let body = Bytes::from_static(b"\xf8 it begins well");
    fake.client.feed_bundles(now, connection, body).unwrap();
    assert_eq!(fake.client.poll_cancel(), Some(connection));
    assert_eq!(fake.client.stats().unreadable, 1);
    let before = fake.requests;
    let stream = fake.client.open().unwrap();
    let mut stream = fake.client.stream(stream).unwrap();
    stream.write(&mut Bytes::from_static(b"so")).unwrap();
    fake.client.feed_timeout(now);
    fake.collect();
    assert!(fake.requests > before);
    assert_eq!(fake.open.last().unwrap().1.prefix.unread, 1);
}

/// §5.8: all that comes by a connection is of its own exchange, and says that it is a long one; nor does its number come by
/// a request.
#[test]
fn a_connection_is_one_exchange() {
    for (by, number, long, is_right) in [
        (1_000, 0, Some(0), true),
        (1_000, 1, Some(0), false),
        (1_000, 0, None, false),
        (1_001, 0, None, false),
        (1_001, 0, Some(0), false),
        (1_001, 1, None, true),
    ] {
        let mut fake = FakeClient::connected(settings::tuned());
        let exchange = fake.exchange;
        let mut feed = |by, number, long| {
            (fake.exchange, fake.prefix.long) = (exchange + number, long);
            let body = fake.body(&[]);
            let now = Instant::from_micros(fake.now);
            let machine = &mut fake.session().unwrap().machine;
            machine.feed_request(now, RequestId::new(by), body)
        };
        feed(1_000, 0, Some(0)).unwrap();
        let told = feed(by, number, long);
        assert_eq!(told.is_ok(), is_right, "{by} {number} {long:?}: {told:?}");
    }
}

/// A connection that can't be made is tried again later and later.
#[test]
fn who_can_not_be_reached_is_dialled_ever_more_seldom() {
    let mut now = Instant::from_micros(1_000_000);
    let mut client = alone(now);
    let mut dials = Vec::new();
    for step in 0..12_000 {
        client.feed_timeout(now);
        while client.poll_dial().is_some() {
            dials.push(step);
            client.feed_undialled(now);
        }
        while client.poll_request(now).is_some() {}
        while client.poll_cancel().is_some() {}
        now = now.checked_add(Duration::from_millis(10)).unwrap();
    }
    let pauses: Vec<_> = dials.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!((4..=12).contains(&dials.len()), "{dials:?}");
    assert!(
        pauses.windows(2).all(|pair| pair[1] >= pair[0]),
        "{pauses:?}"
    );
}

/// A8: a connection that can be made and says nothing bears no more than its first bundle, and what races it none: the
/// other carrier brings everything, soon.
#[test]
fn a8_a_connection_that_says_nothing_bears_nothing() {
    let mut pair = pair(70);
    pair.net.record = Some(Default::default());
    pair.serve(Script::sink());
    pair.client().play(Script::bulk(200_000));
    // It is there when it begins to swallow.
    pair.run_for(60 * MS);
    assert_eq!(pair.net.direct_connections(), 1);
    pair.net.swallow_direct(pair.now);
    let began = pair.now;
    pair.run_to_end(20 * SEC);
    assert!(pair.now - began < 4 * SEC, "{}", pair.now - began);
    let id = pair.clients[0].machine.id();
    let record = pair.net.record.as_ref().unwrap();
    let carried: Vec<u64> = record
        .requests
        .iter()
        .map(|(_, body)| body.len() as u64)
        .collect();
    let opening = numbers_up(&id, &record.requests[0].1);
    assert!(
        opening.is_empty(),
        "the race's second bears data: {carried:?}"
    );
    // What the connection swallowed went again; more than one bundle of it did not go there at all.
    let all: u64 = carried.iter().sum();
    assert!(all < 215_000, "{all}");
}

/// A8: until a connection has answered, only its first bundle is on it, and what races it bears nothing.
#[test]
fn a8_one_bundle_until_there_is_an_answer() {
    let now = Instant::from_micros(1_000_000);
    let mut client = alone(now);
    let write = |client: &mut Client, text: &'static [u8]| {
        let stream = client.open().unwrap();
        let mut stream = client.stream(stream).unwrap();
        stream.write(&mut Bytes::from_static(text)).unwrap();
    };
    write(&mut client, &[7; 30_000]);
    client.feed_timeout(now);
    assert!(client.poll_dial().is_some());
    let connection = client.feed_dialled(now).unwrap();
    let first = client.poll_request(now).unwrap();
    assert!(first.long && first.body.len() > 1_000 && first.body.len() < 5_000);
    client.feed_written(now, connection).unwrap();
    write(&mut client, b"a keystroke");
    client.feed_timeout(now);
    assert_eq!(client.poll_request(now), None);
    let later = now.checked_add(Duration::from_millis(301)).unwrap();
    client.feed_timeout(later);
    let second = client.poll_request(later).unwrap();
    assert!(!second.long);
    let carried = numbers_up(&client.id(), &second.body.into_bytes());
    assert!(carried.is_empty(), "{carried:?}");
}

/// One connection at a time is wanted, and none after the end; and on no other is anything written.
#[test]
fn a_second_connection_is_not_wanted() {
    let now = Instant::from_micros(1_000_000);
    let mut client = alone(now);
    client.feed_timeout(now);
    assert!(client.poll_dial().is_some());
    let connection = client.feed_dialled(now).unwrap();
    assert_eq!(client.feed_dialled(now), None);
    assert!(client.poll_request(now).unwrap().long);
    assert_eq!(client.feed_progress(now, connection), Ok(()));
    assert_eq!(client.feed_written(now, connection), Ok(()));
    let mut client = alone(now);
    client.feed_timeout(now);
    assert!(client.poll_dial().is_some());
    client.abort();
    assert_eq!(client.feed_dialled(now), None);
}

/// What is said of one connection is not said of an exchange beside it, of which more may follow at any time.
#[test]
fn what_follows_is_known_of_the_connection_alone() {
    let mut fake = FakeServer::connected(settings::tuned());
    let now = Instant::from_micros(fake.now);
    let exchange = fake.open.first().map(|(exchange, _)| *exchange);
    let connection = connect(&mut fake);
    let trial = fake.client.poll_request(now).unwrap();
    assert_eq!(trial.exchange, connection);
    let body = fake.body_of(connection, &[]);
    fake.client.feed_bundles(now, connection, body).unwrap();
    fake.client.feed_written(now, connection).unwrap();
    while fake.client.poll_request(now).is_some() {}
    let follows = fake.client.follows_at(connection);
    assert!(follows.is_none_or(|at| at > now), "{follows:?}");
    if let Some(exchange) = exchange {
        assert_eq!(fake.client.follows_at(exchange), Some(now));
    }
}

/// A message alone in its range of numbers.
fn far(range: u64) -> [Message; 1] {
    [Message {
        number: 2 * range,
        content: Content::Void,
    }]
}

/// §5.8.4: a client that drops a message for want of ranges would wait for it in vain while the connection lives.
#[test]
fn what_a_client_cannot_keep_track_of_ends_its_connection() {
    let mut fake = FakeServer::connected(settings::tuned());
    let now = Instant::from_micros(fake.now);
    let connection = connect(&mut fake);
    let mut say = |message: &[Message]| {
        let body = fake.body_of(connection, message);
        fake.client.feed_bundles(now, connection, body).unwrap();
        fake.client.poll_cancel()
    };
    for range in 1..=64 {
        assert_eq!(say(&far(range)), None);
    }
    assert_eq!(say(&far(2)), None, "that one is known");
    assert_eq!(say(&far(65)), Some(connection));
}

/// §5.8.4: so would a server.
#[test]
fn what_a_server_cannot_keep_track_of_ends_its_connection() {
    let mut fake = FakeClient::connected(settings::tuned());
    let (connection, exchange) = (RequestId::new(1_000), fake.exchange);
    fake.prefix.long = Some(0);
    let mut say = |message: &[Message]| {
        fake.exchange = exchange;
        let body = fake.body_of(message);
        let now = Instant::from_micros(fake.now);
        let server = &mut fake.session().unwrap().machine;
        server.feed_request(now, connection, body)
    };
    for range in 1..=64 {
        say(&far(range)).unwrap();
    }
    say(&far(2)).expect("that one is known");
    say(&far(65)).expect_err("it counts as not arrived");
}

/// Whatever its client asks for.
#[test]
fn a_server_does_not_speak_on_a_connection_without_a_pause() {
    let mut fake = FakeClient::connected(settings::tuned());
    (fake.prefix.long, fake.prefix.wait) = (Some(0), 0);
    let connection = fake.send(&[]);
    let before = fake.bodies.len();
    for _ in 0..1_000 {
        fake.host.said(fake.now, connection);
        fake.run_for(10 * MS);
    }
    let said = fake.bodies.len() - before;
    assert!((10..=20).contains(&said), "{said} bundles in 10 s");
}

/// §5.8.4: what a server can't read ends a connection there, too.
#[test]
fn nothing_more_is_said_on_a_connection_that_brought_what_can_not_be_read() {
    let mut fake = FakeClient::connected(settings::tuned());
    (fake.prefix.long, fake.prefix.echo) = (Some(0), None);
    let connection = fake.send(&[]);
    fake.host.said(fake.now, connection);
    let [now, later] = [0, SEC].map(|more| Instant::from_micros(fake.now + more));
    let machine = &mut fake.session().unwrap().machine;
    let body = Bytes::from_static(b"\xf8 it begins well");
    machine.feed_request(now, connection, body).unwrap_err();
    let stream = machine.open().unwrap();
    let mut stream = machine.stream(stream).unwrap();
    stream.write(&mut Bytes::from_static(b"so")).unwrap();
    machine.feed_timeout(later);
    let mut said = std::iter::from_fn(|| machine.poll_response(now));
    assert!(said.all(|response| response.request != connection));
}

/// §9.1: of what comes at once every bundle counts, and the newest says how long the server may be silent.
#[test]
fn all_bundles_that_a_connection_brings_at_once_are_heard() {
    let mut fake = FakeClient::connected(settings::tuned());
    (fake.prefix.long, fake.prefix.echo) = (Some(0), None);
    let bodies = [600_000, 500].map(|wait| {
        fake.prefix.wait = wait;
        fake.exchange -= u64::from(wait == 500);
        fake.body(&[])
    });
    let connection = fake.put(bodies.concat().into());
    fake.host.said(fake.now, connection);
    let before = fake.bodies.len();
    fake.run_for(499 * MS);
    assert_eq!(fake.bodies.len(), before);
    fake.run_for(2 * MS);
    assert_eq!(fake.bodies.len(), before + 1);
}

/// Nor is it silent on a connection for longer than ten minutes, whatever its client asks for.
#[test]
fn a_server_is_not_silent_on_a_connection_for_a_year() {
    let mut fake = FakeClient::connected(settings::tuned());
    (fake.prefix.long, fake.prefix.echo) = (Some(0), None);
    fake.prefix.wait = 365 * 86_400_000;
    let (connection, exchange) = (fake.send(&[]), fake.exchange - 1);
    fake.host.said(fake.now, connection);
    let before = fake.bodies.len();
    for _ in 0..6 {
        assert_eq!(fake.bodies.len(), before);
        fake.run_for(100 * SEC - 1);
        fake.exchange = exchange;
        let body = fake.body(&[]);
        let now = Instant::from_micros(fake.now);
        let machine = &mut fake.session().unwrap().machine;
        machine.feed_request(now, connection, body).unwrap();
    }
    fake.run_for(SEC);
    assert_eq!(fake.bodies.len(), before + 1);
}

/// D8: a server that says it may owe an acknowledgement for ages does not spoil a connection's timer.
#[test]
fn acknowledgements_that_may_be_owed_for_ages() {
    let mut fake = FakeServer::unanswered(settings::tuned());
    fake.prefix.opening.as_mut().unwrap().ack_delay = Some(1 << 60);
    fake.answer(&[]);
    let connection = connect(&mut fake);
    fake.collect();
    let (last, bundle) = fake.open.last().unwrap();
    assert_eq!(*last, connection);
    let timer = bundle.prefix.timer;
    assert!((200 * MS..=20 * SEC).contains(&timer), "timer {timer} us");
}
