//! The same exchange number arrives twice (§5, A21).

use bytes::Bytes;
use posthole_protocol::Instant;
use posthole_protocol::wire::{AnswerPrefix, Decoded};
use posthole_tests::app::Script;
use posthole_tests::craft::FakeClient;
use posthole_tests::fault::Fault;
use posthole_tests::pair::Pair;
use posthole_tests::{MS, SEC, rng::Rng, settings};

/// A21: a box that doubles every request, early or late, and takes either answer, changes nothing.
#[test]
fn every_request_comes_twice() {
    for second_wins in [false, true] {
        for after in [0, 1, 30 * MS, 400 * MS, 15 * SEC] {
            let mut pair = Pair::new(1);
            pair.serve(Script::echo(0));
            pair.client().play(Script::paced(20_000, 500, 30 * MS));
            pair.net.rule = Box::new(move |_| Fault::twice(after, second_wins));
            pair.run_to_end(400 * SEC);
            assert_eq!(pair.hosts[0].sessions.len(), 1);
        }
    }
}

/// A21: of a request that is held twice, both copies get the same answer.
#[test]
fn both_copies_get_the_same_answer() {
    let mut pair = Pair::new(2);
    pair.net.record = Some(Default::default());
    pair.serve(Script::sink());
    pair.net.rule = Box::new(|_| Fault::twice(5 * MS, false));
    pair.client().play(Script::bulk(10).open_ended());
    // Before a streamed answer is asked for, which goes to one copy alone.
    pair.run_for(900 * MS);
    pair.server().unwrap().play(Script::bulk(100));
    pair.run_for(100 * MS);
    let answers = &pair.net.record.as_ref().unwrap().answers;
    let carrying = |exchange: u64| {
        answers
            .iter()
            .filter(move |(_, e, _)| *e == exchange)
            .map(|(_, _, body)| body)
    };
    let newest = answers
        .iter()
        .map(|(_, exchange, _)| *exchange)
        .max()
        .unwrap();
    let bodies: Vec<_> = carrying(newest).collect();
    assert_eq!(
        bodies.len(),
        2,
        "exchange {newest}: both copies of a held request are answered"
    );
    assert_eq!(bodies[0], bodies[1], "exchange {newest}");
}

/// §5.9.4: what the streamed answer to the first copy carried may go nowhere: the second's has it again, and waits for no
/// timer.
#[test]
fn what_a_streamed_answer_carried_comes_again_to_the_second_copy() {
    let mut fake = FakeClient::connected(settings::tuned());
    let written = |fake: &mut FakeClient, request| {
        let now = Instant::from_micros(fake.now);
        fake.session().unwrap().machine.feed_written(now, request);
    };
    // Another request says that the answer comes through.
    let tell = |fake: &mut FakeClient, streamed: u64| {
        fake.prefix.streamed = Some(fake.exchange - streamed);
        fake.prefix.open = [streamed].into_iter().collect();
        fake.send(&[]);
        fake.run_for(30 * MS);
    };
    fake.prefix.streamed = Some(0);
    let (streamed, body) = (fake.exchange, fake.body(&[]));
    let first = fake.put(body.clone());
    written(&mut fake, first);
    tell(&mut fake, streamed);
    let session = fake.session().unwrap();
    let stream = session.machine.open().unwrap();
    let mut word = Bytes::from_static(b"word");
    let mut stream = session.machine.stream(stream).unwrap();
    stream.write(&mut word).unwrap();
    fake.run_for(MS);
    let last = fake.answers.last().unwrap();
    assert_eq!((last.exchange, last.messages.numbers()), (streamed, 1));
    let second = fake.put(body);
    let last = fake.answers.last().unwrap();
    assert_eq!((last.exchange, last.messages.numbers()), (streamed, 0));
    written(&mut fake, second);
    let before = fake.answers.len();
    tell(&mut fake, streamed);
    let carry = |answer: &Decoded<AnswerPrefix>| answer.messages.numbers() == 1;
    assert!(fake.answers[before..].iter().any(carry), "it waits");
}

/// D3, A21: doubled, reordered and delayed at random.
#[test]
fn doubled_at_random() {
    for seed in 0..10 {
        let mut pair = Pair::new(seed);
        pair.net.conditions.jitter = 60 * MS;
        pair.serve(Script::echo(3 * MS));
        for _ in 0..3 {
            pair.client().play(Script::paced(10_000, 700, 11 * MS));
        }
        let mut rng = Rng::new(seed);
        pair.net.rule = Box::new(move |_| {
            if rng.percent(50) {
                Fault::twice(rng.below(300 * MS), rng.percent(50))
            } else {
                Fault::NONE
            }
        });
        pair.run_to_end(120 * SEC);
    }
}

/// A21: of two copies that get the same answer, the one whose sender has gone gets none.
#[test]
fn a_copy_whose_sender_has_gone_is_not_answered() {
    let mut fake = FakeClient::connected(settings::tuned());
    fake.prefix.echo = None;
    let body = fake.body(&[]);
    let copies = [fake.put(body.clone()), fake.put(body)];
    let now = Instant::from_micros(fake.now);
    let machine = &mut fake.session().unwrap().machine;
    let stream = machine.open().unwrap();
    let mut stream = machine.stream(stream).unwrap();
    stream.write(&mut Bytes::from_static(b"word")).unwrap();
    machine.feed_timeout(now);
    let answered = machine.poll_response(now).unwrap().request;
    let mut others = copies.into_iter().filter(|copy| *copy != answered);
    let other = others.next().unwrap();
    machine.feed_hangup(now, other);
    assert_eq!(machine.poll_response(now), None);
}
