//! What becomes of a lost exchange's messages (§5): they go again, in time, and not more often than needed.

use bytes::Bytes;
use posthole_protocol::{Failure, Instant};
use posthole_tests::app::Script;
use posthole_tests::craft::{FakeServer, ack};
use posthole_tests::fault::{Fate, Fault};
use posthole_tests::oracle::Side;
use posthole_tests::pair::Pair;
use posthole_tests::rng::Rng;
use posthole_tests::settings;
use posthole_tests::settings::Settings;
use posthole_tests::{MS, SEC};

/// Talk in small pieces both ways: every exchange near the k-th carries something.
fn conversation(seed: u64, requests: Option<u8>) -> Pair {
    let mut pair = Pair::with(
        seed,
        Settings {
            requests,
            ..Settings::default()
        }
        .config(),
    );
    pair.serve(Script::paced(3_000, 100, 90 * MS));
    pair.client().play(Script::paced(3_000, 100, 70 * MS));
    pair
}

/// S7: a request that is lost, however that shows, costs no byte.
#[test]
fn lost_request() {
    let fates = [
        Fate::Lose,
        Fate::Fail(Failure::Cut),
        Fate::Fail(Failure::Connect),
        Fate::Fail(Failure::Middlebox { status: 502 }),
        Fate::Fail(Failure::Refused { status: 403 }),
        Fate::Fail(Failure::Credentials),
    ];
    for fate in fates {
        for k in 0..12 {
            let mut pair = conversation(1, None);
            pair.net.rule = Box::new(move |i| {
                if i.nth == k {
                    Fault::request(fate)
                } else {
                    Fault::NONE
                }
            });
            pair.run_to_end(120 * SEC);
        }
    }
}

/// S7: an answer that is lost, however that shows, costs no byte, though the server has done its work.
#[test]
fn lost_response() {
    let fates = [
        Fate::Lose,
        Fate::Fail(Failure::Cut),
        Fate::Fail(Failure::Middlebox { status: 504 }),
    ];
    for fate in fates {
        for k in 0..12 {
            let mut pair = conversation(2, None);
            pair.net.rule = Box::new(move |i| {
                if i.nth == k {
                    Fault::response(fate)
                } else {
                    Fault::NONE
                }
            });
            pair.run_to_end(120 * SEC);
        }
    }
}

/// S8: a request that arrives but can't be read is reported in the answer, and its messages go again.
#[test]
fn unreadable_request() {
    for fate in [
        Fate::Corrupt(0),
        Fate::Corrupt(300),
        Fate::Corrupt(999),
        Fate::Cut(0),
        Fate::Cut(500),
        Fate::Cut(990),
    ] {
        for k in 0..8 {
            let mut pair = conversation(3, None);
            pair.net.rule = Box::new(move |i| {
                if i.nth == k {
                    Fault::request(fate)
                } else {
                    Fault::NONE
                }
            });
            pair.run_to_end(60 * SEC);
            assert!(
                pair.ledger.worst_lag() <= 4 * SEC,
                "{fate:?} of {k}: {} us",
                pair.ledger.worst_lag()
            );
        }
    }
}

/// S8: an answer that arrives but can't be read goes again, and the next request says that it could not be read.
#[test]
fn unreadable_answer() {
    for fate in [
        Fate::Corrupt(0),
        Fate::Corrupt(500),
        Fate::Corrupt(999),
        Fate::Cut(0),
        Fate::Cut(500),
        Fate::Cut(990),
    ] {
        for k in 0..8 {
            let mut pair = conversation(4, None);
            pair.net.record = Some(Default::default());
            pair.net.rule = Box::new(move |i| {
                if i.nth == k {
                    Fault::response(fate)
                } else {
                    Fault::NONE
                }
            });
            pair.run_to_end(60 * SEC);
            let id = pair.clients[0].machine.id();
            let sent = &pair.net.record.as_ref().unwrap().requests;
            let told = fate == Fate::Cut(0)
                || sent.iter().any(|(_, body)| {
                    posthole_tests::tally::requests(&id, body)[0].prefix.unread > 0
                });
            assert!(
                told || pair.net.tally.exchanges(0) <= k,
                "{fate:?} of {k}: nobody was told (S8)"
            );
        }
    }
}

/// D3, A5: with every slot taken, any one request may vanish without a word: every byte is there within three timers.
#[test]
fn black_hole_for_a_request() {
    for requests in [2, 4] {
        for k in 1..25 {
            let mut pair = conversation(5, Some(requests));
            pair.net.rule = Box::new(move |i| {
                if i.nth == k {
                    Fault::request(Fate::Lose)
                } else {
                    Fault::NONE
                }
            });
            pair.run_to_end(60 * SEC);
            let lag = pair.ledger.worst_lag();
            assert!(
                lag <= 3 * SEC,
                "requests {requests}, request {k} lost: a byte took {lag} us"
            );
        }
    }
}

/// D3, A5: the same for an answer; a lost push with one held exchange may take its wait besides.
#[test]
fn black_hole_for_an_answer() {
    for (requests, hold, limit) in [(2, 1, 15 * SEC), (4, 2, 3 * SEC)] {
        for k in 1..25 {
            let settings = Settings {
                requests: Some(requests),
                hold: Some(hold),
                window: None,
            };
            let mut pair = Pair::with(6, settings.config());
            pair.serve(Script::paced(3_000, 100, 90 * MS));
            pair.client().play(Script::paced(3_000, 100, 70 * MS));
            pair.net.rule = Box::new(move |i| {
                if i.nth == k {
                    Fault::response(Fate::Lose)
                } else {
                    Fault::NONE
                }
            });
            pair.run_to_end(60 * SEC);
            let lag = pair.ledger.worst_lag();
            assert!(
                lag <= limit,
                "requests {requests}, answer {k} lost: a byte took {lag} us"
            );
        }
    }
}

/// D3, S8: half an answer each in turn, which HTTP takes for whole: no wait at all.
#[test]
fn half_an_answer() {
    for k in 1..25 {
        let mut pair = conversation(11, Some(4));
        pair.net.rule = Box::new(move |i| {
            if i.nth == k {
                Fault::response(Fate::Cut(500))
            } else {
                Fault::NONE
            }
        });
        pair.run_to_end(60 * SEC);
        let lag = pair.ledger.worst_lag();
        assert!(lag <= SEC, "half of answer {k} lost: a byte took {lag} us");
    }
}

/// D3: two exchanges in a row vanish, request and answer, with all slots taken.
#[test]
fn two_black_holes_in_a_row() {
    for k in 1..25 {
        let mut pair = conversation(12, Some(2));
        pair.net.rule = Box::new(move |i| match i.nth {
            n if n == k => Fault::request(Fate::Lose),
            n if n == k + 1 => Fault::response(Fate::Lose),
            _ => Fault::NONE,
        });
        pair.run_to_end(60 * SEC);
        let lag = pair.ledger.worst_lag();
        assert!(
            lag <= 15 * SEC,
            "{k} and the next lost: a byte took {lag} us"
        );
    }
}

/// D3: one lonely push that is lost, with nothing else said by anybody.
#[test]
fn black_hole_for_a_lonely_push() {
    let mut pair = Pair::new(7);
    pair.serve(Script::echo(2 * SEC));
    pair.client().play(Script::bulk(10));
    // The first answers acknowledge; the one with the echo is lost.
    let mut lost = false;
    pair.net.answer_rule = Box::new(move |info| {
        let lose = info.messages > 0 && info.now > 2 * SEC && !lost;
        lost |= lose;
        if lose { Fate::Lose } else { Fate::Pass }
    });
    pair.run_to_end(60 * SEC);
    let id = pair.talker().stream;
    let lag = pair.ledger.flow(pair.key(id, Side::Server)).worst_lag;
    assert!(
        lag <= 28 * SEC,
        "{lag} us: longer than the longest wait and three timers"
    );
}

/// D3: the push and its copy are both lost in silence; the next request brings it, as it shows that they were.
#[test]
fn black_hole_for_a_lonely_push_twice() {
    let mut pair = Pair::new(7);
    pair.serve(Script::echo(2 * SEC));
    pair.client().play(Script::bulk(10));
    let mut lost = 0;
    pair.net.answer_rule = Box::new(move |info| {
        let lose = info.messages > 0 && info.now > 2 * SEC && lost < 2;
        lost += u32::from(lose);
        if lose { Fate::Lose } else { Fate::Pass }
    });
    pair.run_to_end(90 * SEC);
    let id = pair.talker().stream;
    let lag = pair.ledger.flow(pair.key(id, Side::Server)).worst_lag;
    assert!(lag <= 32 * SEC, "{lag} us");
}

/// S7, L3: one exchange in ten gets through; everything is delivered in the end.
#[test]
fn one_in_ten_gets_through() {
    for seed in 0..3 {
        let mut pair = Pair::new(seed);
        pair.serve(Script::bulk(20_000));
        pair.client().play(Script::bulk(20_000));
        let mut rng = posthole_tests::rng::Rng::new(seed);
        pair.net.rule = Box::new(move |_| {
            if rng.percent(10) {
                Fault::NONE
            } else if rng.percent(50) {
                Fault::request(Fate::Fail(Failure::Cut))
            } else {
                Fault::response(Fate::Fail(Failure::Middlebox { status: 502 }))
            }
        });
        pair.run_to_end(600 * SEC);
    }
}

/// S1, S6: nothing leaves the outbox before it is acknowledged: with every answer lost, the same messages are in
/// every request that carries any.
#[test]
fn nothing_is_forgotten_unacknowledged() {
    let mut pair = Pair::new(8);
    pair.serve(Script::sink());
    assert!(pair.run_until(5 * SEC, |p| !p.clients[0].events.is_empty()));
    pair.net.answer_rule = Box::new(|_| Fate::Fail(Failure::Cut));
    pair.client().play(Script::bulk(5_000));
    pair.run_for(20 * SEC);
    let id = pair.talker().stream;
    let stream = pair.client().machine.stream(id);
    assert!(
        !stream.expect("it is not over").is_flushed(),
        "forgotten though nothing was acknowledged"
    );
    pair.net.heal();
    pair.run_to_end(60 * SEC);
}

/// S14, L5: of many messages on the way, only those that were lost go again.
#[test]
fn only_what_was_lost_goes_again() {
    let mut pair = Pair::with(
        9,
        Settings {
            requests: Some(4),
            ..Settings::default()
        }
        .config(),
    );
    pair.serve(Script::sink());
    pair.client().play(Script::bulk(10_000_000));
    let mut lost = 0;
    pair.net.rule = Box::new(move |info| {
        let lose = info.size > 10_000 && info.nth % 2 == 0 && lost < 3;
        lost += u32::from(lose);
        if lose {
            Fault::request(Fate::Fail(Failure::Cut))
        } else {
            Fault::NONE
        }
    });
    pair.run_to_end(60 * SEC);
    let way = pair.net.tally.way(0, Side::Client);
    let lost: u64 = way.messages.values().map(|copies| copies.lost).sum();
    assert!(way.lost >= 3);
    assert_eq!(
        pair.net.tally.repeats(0, Side::Client),
        lost,
        "what was not lost was sent again"
    );
}

/// S22, A17: a path that damages every large body makes no storm of repeats.
#[test]
fn deterministic_damage_is_no_storm() {
    let mut pair = Pair::new(10);
    pair.serve(Script::sink());
    pair.client().play(Script::bulk(500_000));
    pair.net.rule = Box::new(|info| {
        if info.size > 2_000 {
            Fault::request(Fate::Corrupt(700))
        } else {
            Fault::NONE
        }
    });
    pair.run_for(60 * SEC);
    let way = pair.net.tally.way(0, Side::Client);
    assert!(
        way.bodies <= 200,
        "{} exchanges in a minute of damage",
        way.bodies
    );
    assert!(
        way.bytes <= 10_000_000,
        "{} bytes in a minute of damage",
        way.bytes
    );
}

/// S8: an answer that does not acknowledge what its request carried: that goes again, at once.
#[test]
fn s8_an_answer_that_does_not_acknowledge_its_request() {
    let mut fake = FakeServer::connected(settings::tuned());
    // Any echo that is due goes first.
    fake.run_for(SEC);
    let id = fake.client.open().unwrap();
    let mut stream = fake.client.stream(id).unwrap();
    stream.write(&mut Bytes::from_static(b"x")).unwrap();
    fake.run_for(10 * MS);
    let with_messages = |fake: &FakeServer| {
        let mut open = fake.open.iter();
        open.position(|(_, bundle)| bundle.messages.clone().next().is_some())
    };
    let which = with_messages(&fake).unwrap();
    let (exchange, _) = fake.take(which).unwrap();
    assert_eq!(with_messages(&fake), None);
    fake.prefix.ack = ack(0);
    let body = fake.body_of(exchange, &[]);
    let now = Instant::from_micros(fake.now);
    fake.client.feed_response(now, exchange, body).unwrap();
    fake.collect();
    assert!(with_messages(&fake).is_some(), "{:?}", fake.open);
}

/// S7, S9: bulk of which every tenth answer is lost in silence. What is lost twice goes again when the client has given the
/// second up, too, and has said so: the server had waited for the next request, for as long as the last was held.
#[test]
fn s7_an_answer_that_was_given_up_is_told() {
    let mut slow = Vec::new();
    for seed in 0..200 {
        let mut pair = Pair::new(seed);
        pair.net.conditions.streams = false;
        pair.net.conditions.delay_up = MS;
        pair.net.conditions.delay_down = MS;
        pair.net.set_rate(Some(50_000_000), Some(50_000_000));
        let mut rng = Rng::new(seed);
        pair.net.answer_rule = Box::new(move |_| match rng.percent(10) {
            true => Fate::Lose,
            false => Fate::Pass,
        });
        pair.serve(Script::bulk(5_000_000));
        pair.client().play(Script::bulk(1));
        let began = pair.now;
        pair.run_until(100 * SEC, |pair| pair.talker().got() == 5_000_000);
        let took = pair.now - began;
        if took > 5 * SEC {
            slow.push((seed, took));
        }
    }
    // What is lost at the very end, with nothing behind it and nothing known to wait, takes as long as the last request is held.
    assert!(slow.len() <= 3, "{slow:?}");
}
