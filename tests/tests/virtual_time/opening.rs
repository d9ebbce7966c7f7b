//! How a session begins (§7): in any order of arrival, once, and never from a copy.

use posthole_protocol::Event;
use posthole_protocol::wire::Message;
use posthole_tests::app::Script;
use posthole_tests::craft::{FakeClient, data};
use posthole_tests::fault::{Fate, Fault};
use posthole_tests::oracle::Side;
use posthole_tests::pair::Pair;
use posthole_tests::settings::{self, Settings};
use posthole_tests::{MS, SEC, tally};

const PERMUTATIONS: [[u64; 3]; 6] = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
];

/// Three writes in the first 20 ms, so that three exchanges are on their way before any answer is there.
fn three_at_once(seed: u64) -> Pair {
    let mut pair = Pair::with(
        seed,
        Settings {
            requests: Some(4),
            ..Settings::default()
        }
        .config(),
    );
    pair.serve(Script::echo(0));
    pair.client().play(Script::paced(300, 100, 8 * MS));
    pair
}

/// D5, A7: in whatever order the first requests arrive, there is one session and its data comes once.
#[test]
fn first_requests_arrive_in_every_order() {
    for order in PERMUTATIONS {
        let mut pair = three_at_once(1);
        pair.net.rule = Box::new(move |info| match order.get(info.nth as usize) {
            Some(place) => Fault::late(place * 30 * MS),
            None => Fault::NONE,
        });
        pair.run_to_end(60 * SEC);
        assert_eq!(
            pair.hosts[0].sessions.len(),
            1,
            "order {order:?} made more than one session"
        );
    }
}

/// D5, A21: each of the first requests may come twice, and either copy's answer may be the one that returns.
#[test]
fn first_requests_arrive_twice() {
    for twice in 0..3 {
        for second_wins in [false, true] {
            for after in [0, 10 * MS, 200 * MS] {
                let mut pair = three_at_once(2);
                pair.net.rule = Box::new(move |info| {
                    if info.nth == twice {
                        Fault::twice(after, second_wins)
                    } else {
                        Fault::NONE
                    }
                });
                pair.run_to_end(60 * SEC);
                assert_eq!(pair.hosts[0].sessions.len(), 1);
            }
        }
    }
}

/// D5, S7: any of the first three requests, or of their answers, may be lost, up to all of them.
#[test]
fn first_exchanges_are_lost() {
    for lost in 0u64..64 {
        let mut pair = three_at_once(3);
        pair.net.rule = Box::new(move |info| {
            let bit = |at: u64| info.nth < 3 && lost >> (info.nth * 2 + at) & 1 == 1;
            match (bit(0), bit(1)) {
                (true, _) => Fault::request(Fate::Lose),
                (false, true) => Fault::response(Fate::Lose),
                (false, false) => Fault::NONE,
            }
        });
        pair.run_to_end(120 * SEC);
        assert_eq!(pair.hosts[0].sessions.len(), 1, "losses {lost:06b}");
    }
}

/// A7: the answer to an opening is not held: one round trip tells the client that the path works.
#[test]
fn opening_is_answered_at_once() {
    let mut pair = Pair::new(4);
    let began = pair.now;
    assert!(pair.run_until(5 * SEC, |p| p.clients[0].events.contains(&Event::Connected)));
    let took = pair.now - began;
    assert!(
        took <= 100 * MS,
        "connected after {took} us on a path of 50 ms"
    );
}

/// A7: every request carries the opening until an answer has come, and none does afterwards.
#[test]
fn opening_is_repeated_until_answered() {
    let mut pair = Pair::new(5);
    pair.net.record = Some(Default::default());
    pair.net.rule = Box::new(|info| {
        if info.nth < 3 {
            Fault::request(Fate::Lose)
        } else {
            Fault::NONE
        }
    });
    pair.client().play(Script::paced(100, 10, SEC));
    pair.run_for(60 * SEC);
    let id = pair.clients[0].machine.id();
    let sent = &pair.net.record.as_ref().unwrap().requests;
    let opens: Vec<bool> = sent
        .iter()
        .map(|(_, body)| tally::requests(&id, body)[0].prefix.opening.is_some())
        .collect();
    assert!(opens.len() > 5);
    assert!(opens[..4].iter().all(|&opening| opening), "{opens:?}");
    let first_without = opens
        .iter()
        .position(|opening| !opening)
        .expect("the opening ends");
    assert!(
        opens[first_without..].iter().all(|&opening| !opening),
        "{opens:?}"
    );
}

/// A8: where the server can't vouch that an opening is new (it has just started), the application hears of the data
/// only after a request that echoes the nonce.
#[test]
fn opening_data_waits_for_the_nonce_at_a_young_server() {
    let mut fake = FakeClient::new(settings::tuned());
    fake.now = SEC;
    fake.send(&[data(0, 0, b"BUY")]);
    let session = fake.session().expect("the opening made a session");
    assert!(
        session.machine.accept().is_none(),
        "data of an opening that may be a copy reached the application"
    );
    let nonce = fake.answers[0].prefix.nonce;
    assert!(nonce.is_some(), "the answer to an opening carries a nonce");
    fake.prefix.echo = nonce;
    fake.prefix.opening = None;
    fake.send(&[]);
    assert!(
        fake.session().unwrap().machine.accept().is_some(),
        "the echo vouches for it"
    );
}

/// A8: an opening at a young server that nobody vouches for ends in silence: no news but the session's end.
#[test]
fn opening_that_nobody_vouches_for_is_never_heard_of() {
    let mut fake = FakeClient::new(settings::tuned());
    fake.now = SEC;
    fake.send(&[data(0, 0, b"BUY")]);
    fake.run_for(300 * SEC);
    let events = &fake.session().unwrap().events;
    assert!(!events.contains(&Event::Incoming), "{events:?}");
}

/// A8: an old server remembers whom it has seen; data of an opening is delivered without a further round trip.
#[test]
fn opening_data_is_delivered_at_once_at_an_old_server() {
    let mut fake = FakeClient::new(settings::tuned());
    fake.send(&[data(0, 0, b"hello")]);
    assert!(fake.session().unwrap().machine.accept().is_some());
}

/// §7.2: of two carriers that race, the idle one makes no session that an application hears of.
#[test]
fn an_application_hears_of_a_session_once_it_is_used() {
    for message in [&[][..], &[data(0, 0, b"hello")]] {
        let mut fake = FakeClient::new(settings::tuned());
        fake.send(&[]);
        fake.run_for(SEC);
        assert_eq!(fake.session().unwrap().events, []);
        fake.send(message);
        let events = &fake.session().unwrap().events;
        assert_eq!(events.first(), Some(&Event::Connected));
    }
}

/// §7: a request of an unknown session that opens nothing makes none.
#[test]
fn unknown_session_without_opening_is_gone() {
    let mut fake = FakeClient::new(settings::tuned());
    fake.prefix.opening = None;
    fake.send(&[data(0, 0, b"hello")]);
    assert!(fake.session().is_none());
    assert_eq!(fake.bodies.len(), 1, "it has an answer all the same");
}

/// S15: one server process serves many clients, none of which sees another's bytes.
#[test]
fn many_clients_at_once() {
    let mut pair = Pair::many(6, 20, settings::tuned(), settings::tuned());
    pair.net.conditions.jitter = 40 * MS;
    pair.serve(Script::echo(0));
    for end in &mut pair.clients {
        end.play(Script::paced(20_000, 3_000, 7 * MS));
    }
    pair.run_to_end(60 * SEC);
    assert_eq!(pair.hosts[0].router.len(), 20);
    assert_eq!(pair.ledger.total_read(), 20 * 2 * 20_000);
}

/// Either side opens streams, at the same time, and both are told apart.
#[test]
fn both_sides_open_streams() {
    let mut pair = Pair::new(7);
    pair.serve(Script::echo(0));
    pair.client().on_accept = Some(Script::echo(0));
    assert!(pair.run_until(5 * SEC, |p| p.hosts[0].session_of(0).is_some()));
    for _ in 0..5 {
        pair.client().play(Script::bulk(5_000));
        pair.server().unwrap().play(Script::bulk(5_000));
    }
    pair.run_to_end(60 * SEC);
    let from = |side| {
        pair.ledger
            .flows()
            .filter(|(key, _)| key.from == side)
            .count()
    };
    assert_eq!((from(Side::Client), from(Side::Server)), (10, 10));
}

/// S14: messages carry numbers; the same ones twice, and out of order, are one delivery.
#[test]
fn the_same_messages_again_are_delivered_once() {
    let mut fake = FakeClient::connected(settings::tuned());
    let message = |number, offset, payload| Message {
        number,
        content: data(0, offset, payload),
    };
    let (a, b) = (message(0, 0, b"one"), message(1, 3, b"two"));
    for batch in [
        vec![b.clone()],
        vec![a.clone(), b.clone()],
        vec![a],
        vec![b],
    ] {
        let body = fake.body_of(&batch);
        fake.put(body);
    }
    let machine = &mut fake.session().unwrap().machine;
    let id = machine.accept().expect("a stream");
    assert!(machine.accept().is_none());
    let mut got = Vec::new();
    while let Ok(posthole_protocol::Read::Chunk(bytes)) =
        machine.stream(id).unwrap().read(usize::MAX)
    {
        got.extend_from_slice(&bytes);
    }
    assert_eq!(got, b"onetwo");
}
