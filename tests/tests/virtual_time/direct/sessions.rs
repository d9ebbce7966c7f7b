//! Whole sessions, with an application at either end.

use super::{exchanges, knows, pair};
use posthole_protocol::{
    Carrier, Client, CloseReason, Config, Duration, Event, Failure, Instant, Lesson, SessionId,
};
use posthole_tests::app::Script;
use posthole_tests::fault::{Fate, Fault};
use posthole_tests::oracle::Side;
use posthole_tests::pair::Pair;
use posthole_tests::{MS, SEC, settings};

/// S11: what goes by a direct connection needs no exchange at all.
#[test]
fn s11_direct_first() {
    let mut pair = pair(1);
    pair.serve(Script::bulk(5_000_000));
    pair.client().play(Script::bulk(5_000_000));
    pair.run_to_end(20 * SEC);
    assert_eq!(exchanges(&pair), 0);
    assert_eq!(pair.net.direct_connections(), 1);
    let told = pair.clients[0].events.iter();
    let told = told.filter(|e| matches!(e, Event::Learned(Lesson::Direct)));
    assert_eq!(told.count(), 1);
    for side in [Side::Client, Side::Server] {
        assert_eq!(pair.net.tally.repeats(0, side), 0, "{side:?}");
    }
}

/// S11: where no direct connection can be had, or dialling hangs, exchanges begin after the head start.
#[test]
fn s11_exchanges_where_no_direct_connection_can_be_had() {
    for allowed in [Some(false), None] {
        let mut pair = pair(2);
        pair.net.direct.allowed = allowed;
        pair.serve(Script::bulk(100_000));
        pair.client().play(Script::bulk(100_000));
        let began = pair.now;
        pair.run_to_end(20 * SEC);
        assert!(pair.now - began < 2 * SEC, "{allowed:?}");
    }
}

/// The server tells its port, and a session that has begun by exchanges goes on by a connection, nothing twice.
#[test]
fn the_server_tells_its_port() {
    let mut pair = Pair::many(3, 1, settings::tuned(), settings::direct());
    pair.net.direct.allowed = Some(true);
    pair.serve(Script::sink());
    pair.client().play(Script::bulk(20_000_000));
    pair.run_to_end(60 * SEC);
    assert_eq!(pair.net.direct_connections(), 1);
    let few = exchanges(&pair);
    assert!(few < 20, "{few} exchanges");
}

/// A client that wants exchanges alone does not dial.
#[test]
fn no_dialling_where_it_is_not_wanted() {
    let by_exchanges = settings::tuned().by(Carrier::Exchange);
    // As over TLS, or past a proxy.
    let not_allowed = settings::tuned().without_direct();
    for client in [by_exchanges, not_allowed] {
        let mut pair = Pair::many(4, 1, client, settings::direct());
        pair.net.direct.allowed = Some(true);
        knows(&mut pair);
        pair.serve(Script::bulk(100_000));
        pair.client().play(Script::bulk(100_000));
        pair.run_to_end(20 * SEC);
        assert_eq!(pair.net.direct_connections(), 0);
    }
}

/// A client that wants a connection alone waits for one, and gives up like any other.
#[test]
fn direct_alone() {
    let client = Config::builder().carrier(Carrier::Direct).build().unwrap();
    let mut pair = Pair::many(5, 1, client.clone(), settings::direct());
    knows(&mut pair);
    pair.serve(Script::bulk(100_000));
    pair.client().play(Script::bulk(100_000));
    pair.run_for(20 * SEC);
    pair.net.direct.allowed = Some(true);
    pair.run_to_end(60 * SEC);
    assert_eq!(exchanges(&pair), 0);

    let mut pair = Pair::many(5, 1, client, settings::direct());
    knows(&mut pair);
    pair.client().play(Script::bulk(100_000));
    let closed = |pair: &Pair| pair.clients[0].closed.is_some();
    assert!(pair.run_until(400 * SEC, closed));
}

/// What is made and lost again and again bears nothing either.
#[test]
fn connections_alone_that_are_always_lost_are_given_up() {
    let config = Config::builder().carrier(Carrier::Direct).build().unwrap();
    let (id, mut now) = (SessionId::from_bytes([9; 16]), Instant::from_micros(SEC));
    let mut client = Client::new(config, id, now);
    client.knows_direct(now, Duration::ZERO);
    for _ in 0..400 {
        client.feed_timeout(now);
        if client.poll_dial().is_some() {
            let exchange = client.feed_dialled(now).unwrap();
            assert!(client.poll_request(now).is_some());
            client.feed_failure(now, exchange, Failure::Cut).unwrap();
        }
        now = now.checked_add(Duration::from_secs(1)).unwrap();
    }
    let end = std::iter::from_fn(|| client.poll_event()).last();
    let gave_up = |event: &Event| matches!(event, Event::Closed(CloseReason::GaveUp { .. }));
    assert!(end.as_ref().is_some_and(gave_up), "{end:?}");
}

/// A connection that is cut every second for a minute while exchanges work: right, and never long without progress.
#[test]
fn a_connection_cut_every_second() {
    for seed in 0..4 {
        let mut pair = pair(10 + seed);
        pair.net.direct.rate = Some(1_000_000);
        pair.net.set_rate(Some(1_000_000), Some(1_000_000));
        pair.serve(Script::paced(2_000_000, 1000, 20 * MS));
        pair.client().play(Script::paced(2_000_000, 1000, 20 * MS));
        for _ in 0..60 {
            pair.run_for(SEC);
            pair.net.cut_direct(pair.now);
        }
        pair.run_to_end(60 * SEC);
    }
}

/// The other way round: exchanges come and go, the connection stays.
#[test]
fn exchanges_cut_every_second() {
    let mut pair = pair(20);
    pair.serve(Script::paced(2_000_000, 1000, 20 * MS));
    pair.client().play(Script::paced(2_000_000, 1000, 20 * MS));
    for _ in 0..60 {
        pair.run_for(SEC);
        pair.net.kill(pair.now);
    }
    pair.run_to_end(60 * SEC);
    assert_eq!(pair.net.direct_connections(), 1);
}

/// A22: a connection turns into a black hole in mid-transfer. What flows either way goes on within 5 s by exchanges.
#[test]
fn a22_a_black_hole_in_mid_transfer() {
    for (up, down) in [(true, false), (false, true), (true, true)] {
        for when in [700, 1_530, 4_000, 21_000] {
            let mut pair = pair(30 + when);
            let script = |on| {
                if on {
                    Script::paced(30_000_000, 5_000, 10 * MS)
                } else {
                    Script::sink()
                }
            };
            pair.serve(script(down));
            pair.client().play(script(up));
            pair.run_for(when * MS);
            let before = |pair: &Pair| {
                (
                    pair.ledger.read_from(Side::Client),
                    pair.ledger.read_from(Side::Server),
                )
            };
            pair.net.swallow_direct(pair.now);
            pair.run_for(200 * MS);
            let (was_up, was_down) = before(&pair);
            pair.net.direct.allowed = None;
            let went_on = pair.run_until(4_800 * MS, |pair| {
                let (is_up, is_down) = before(pair);
                (!up || is_up > was_up + 20_000) && (!down || is_down > was_down + 20_000)
            });
            assert!(
                went_on,
                "up {up}, down {down}: still nothing 5 s after {when} ms"
            );
            pair.run_to_end(120 * SEC);
        }
    }
}

/// A22 where there is nothing else: no other carrier will ever show that it is not the server, and nobody waits for one.
#[test]
fn a22_a_black_hole_without_another_way() {
    for when in [700, 1_530, 4_000, 21_000] {
        let client = Config::builder().carrier(Carrier::Direct).build().unwrap();
        let mut pair = Pair::many(50 + when, 1, client, settings::direct());
        pair.net.direct.allowed = Some(true);
        knows(&mut pair);
        pair.serve(Script::paced(30_000_000, 5_000, 10 * MS));
        pair.client()
            .play(Script::paced(30_000_000, 5_000, 10 * MS));
        pair.run_for(when * MS);
        pair.net.swallow_direct(pair.now);
        pair.run_for(200 * MS);
        let before = pair.ledger.read_from(Side::Client);
        let went_on = pair.run_until(4_800 * MS, |pair| {
            pair.ledger.read_from(Side::Client) > before + 20_000
        });
        assert!(went_on, "still nothing 5 s after {when} ms");
    }
}

/// A connection that dies while nobody says anything: the next keystroke comes through all the same.
#[test]
fn a22_a_connection_dies_at_rest() {
    let mut pair = pair(40);
    pair.serve(Script::paced(3, 1, 100 * SEC));
    pair.client().play(Script::paced(3, 1, 100 * SEC));
    pair.run_for(50 * SEC);
    pair.net.swallow_direct(pair.now);
    pair.net.direct.allowed = Some(false);
    pair.run_to_end(300 * SEC);
}

/// Silence costs next to nothing on a connection, and keeps it.
#[test]
fn an_hour_of_silence_on_a_connection() {
    let mut pair = pair(41);
    pair.serve(Script::paced(2, 1, 3_600 * SEC));
    pair.client().play(Script::paced(2, 1, 3_600 * SEC));
    pair.run_to_end(3_700 * SEC);
    assert_eq!(exchanges(&pair), 0);
    for side in [Side::Client, Side::Server] {
        let way = pair.net.tally.way(0, side);
        assert!(
            way.bodies < 250,
            "{side:?}: {} bundles in an hour",
            way.bodies
        );
    }
}

/// A slow link is not taken for a dead one.
#[test]
fn a_slow_connection_is_not_dead() {
    let mut pair = pair(42);
    (pair.net.direct.rate, pair.net.direct.delay) = (Some(7_000), 150 * MS);
    pair.net.set_rate(Some(7_000), Some(7_000));
    pair.serve(Script::bulk(200_000));
    pair.client().play(Script::bulk(200_000));
    let began = pair.now;
    pair.run_to_end(300 * SEC);
    let took = pair.now - began;
    assert!(took <= 120 * SEC, "200 kB at 7 kB/s took {} s", took / SEC);
}

/// A firewall that lets connections be made and swallows all that follows: exchanges carry everything, and the
/// connection is tried less and less.
#[test]
fn connections_that_carry_nothing() {
    let mut pair = pair(43);
    pair.net.direct.swallow = true;
    pair.serve(Script::paced(100_000, 100, 100 * MS));
    pair.client().play(Script::paced(100_000, 100, 100 * MS));
    pair.run_to_end(300 * SEC);
}

/// A8: while the first answer is awaited, one carrier bears data: the other's opening is empty.
#[test]
fn a8_of_two_that_race_one_bears_data() {
    for direct_delay in [200 * MS, 1_000 * MS] {
        let mut pair = pair(44);
        pair.net.direct.delay = direct_delay;
        pair.net.conditions.delay_up = 700 * MS;
        pair.serve(Script::bulk(1_000));
        pair.client().play(Script::bulk(1_000));
        pair.run_to_end(30 * SEC);
        assert_eq!(pair.hosts[0].sessions.len(), 1);
        assert_eq!(pair.net.tally.repeats(0, Side::Client), 0);
    }
}

/// D10: by exchanges, by a connection and back, every 200 ms under load, old connections half-dead, on a link with a
/// rate: right, in order, once.
#[test]
fn d10_moving_house() {
    for seed in 0..8 {
        let mut pair = pair(50 + seed);
        pair.net.direct.rate = Some(2_000_000);
        pair.net.set_rate(Some(2_000_000), Some(2_000_000));
        pair.serve(Script::bulk(10_000_000));
        pair.client().play(Script::bulk(10_000_000));
        for turn in 0..100 {
            pair.run_for(200 * MS);
            match (turn + seed) % 4 {
                0 => pair.net.cut_direct(pair.now),
                1 => pair.net.kill(pair.now),
                2 => pair.net.swallow_direct(pair.now),
                _ => pair.net.direct.allowed = Some(turn % 3 > 0),
            }
        }
        pair.net.heal();
        pair.net.direct.allowed = Some(true);
        pair.run_to_end(300 * SEC);
    }
}

/// Both carriers lose what they like: everything arrives in the end.
#[test]
fn everything_fails_now_and_then() {
    for seed in 0..16 {
        let mut pair = pair(100 + seed);
        let mut rng = posthole_tests::rng::Rng::new(seed);
        pair.net.rule = Box::new(move |_| match rng.below(10) {
            0 => Fault::request(Fate::Lose),
            1 => Fault::response(Fate::Lose),
            2 => Fault::request(Fate::Fail(posthole_protocol::Failure::Cut)),
            3 => Fault::twice(30 * MS, rng.below(2) == 0),
            _ => Fault::NONE,
        });
        pair.serve(Script::paced(1_000_000, 3_000, 20 * MS));
        pair.client().play(Script::paced(1_000_000, 3_000, 20 * MS));
        let mut rng = posthole_tests::rng::Rng::new(seed ^ 77);
        for _ in 0..30 {
            pair.run_for(rng.below(2_000) * MS);
            match rng.below(5) {
                0 | 1 => pair.net.cut_direct(pair.now),
                2 => pair.net.swallow_direct(pair.now),
                3 => pair.net.direct.allowed = Some(rng.below(2) == 0),
                _ => pair.sleep(Side::Client, rng.below(3_000) * MS),
            }
        }
        pair.net.heal();
        pair.run_to_end(300 * SEC);
    }
}

/// The end of a session by a connection: nothing is left, and nobody hears an error.
#[test]
fn a_session_ends_by_its_connection() {
    let mut pair = pair(60);
    pair.serve(Script::bulk(10_000));
    pair.client().play(Script::bulk(10_000));
    pair.run_to_end(20 * SEC);
    pair.client().machine.close(0, "");
    pair.run_for(5 * SEC);
    let reason = pair.clients[0].closed.clone().unwrap();
    assert!(reason.is_clean(), "{reason}");
    assert!(pair.hosts[0].sessions[0].closed.clone().unwrap().is_clean());
    assert_eq!(pair.net.direct_connections(), 0);
}

/// A server that is started anew: its session is gone, by a connection as by an exchange.
#[test]
fn a_new_server_says_gone_by_a_connection() {
    let mut pair = pair(61);
    pair.serve(Script::paced(100_000, 100, 10 * MS));
    pair.client().play(Script::paced(100_000, 100, 10 * MS));
    pair.run_for(SEC);
    pair.restart(0);
    pair.net.cut_direct(pair.now);
    assert!(pair.run_until(20 * SEC, |pair| pair.clients[0].closed.is_some()));
}

/// S20: a connection is filled, on a long path as on a slow one.
#[test]
fn s20_a_connection_is_filled() {
    for (rate, delay) in [
        (12_500_000, 50 * MS),
        (125_000_000, 50 * MS),
        (1_000_000, 20 * MS),
        (100_000, 100 * MS),
    ] {
        let mut pair = pair(70);
        (pair.net.direct.rate, pair.net.direct.delay) = (Some(rate), delay);
        pair.net.set_rate(Some(rate), Some(rate));
        let bytes = rate * 4;
        pair.serve(Script::sink());
        pair.client().play(Script::bulk(bytes));
        let began = pair.now;
        pair.run_to_end(60 * SEC);
        let took = pair.now - began;
        assert!(
            took < 6_000 * MS,
            "4 s worth at {rate} B/s took {} ms",
            took / MS
        );
    }
}

/// A keystroke beside bulk waits for little, on any link.
#[test]
fn a_keystroke_beside_bulk_on_a_connection() {
    for (rate, most) in [(12_500_000, 300), (1_000_000, 600), (100_000, 1_500)] {
        let mut pair = pair(71);
        pair.net.direct.rate = Some(rate);
        pair.net.set_rate(Some(rate), Some(rate));
        pair.serve(Script::sink());
        pair.client().play(Script::bulk(rate * 20));
        pair.run_for(3 * SEC);
        pair.client().play(Script::paced(20, 1, 500 * MS));
        pair.run_for(12 * SEC);
        let flows = pair.ledger.flows();
        let key = flows.filter(|(key, _)| key.from == Side::Client && key.stream == 2);
        let lag = key.map(|(_, flow)| flow.worst_lag).next().unwrap();
        assert!(lag < most * MS, "{rate} B/s: {} ms", lag / MS);
    }
}

/// A connection that has turned into a black hole is left for good, and another takes its place.
#[test]
fn another_connection_after_a_black_hole() {
    let mut pair = pair(80);
    pair.serve(Script::paced(10_000_000, 1_000, 10 * MS));
    pair.client()
        .play(Script::paced(10_000_000, 1_000, 10 * MS));
    pair.run_for(5 * SEC);
    pair.net.swallow_direct(pair.now);
    pair.run_for(10 * SEC);
    let before = exchanges(&pair);
    pair.run_for(10 * SEC);
    assert_eq!(exchanges(&pair), before, "it went on by exchanges");
}

/// §5.8.5: a connection that has lived for a minute makes the next the first, however often that happens.
#[test]
fn a_good_connection_is_made_again_at_once() {
    let mut pair = pair(81);
    pair.serve(Script::paced(1_000, 1, SEC));
    pair.client().play(Script::paced(1_000, 1, SEC));
    for round in 0..6 {
        pair.run_for(70 * SEC);
        assert_eq!(pair.net.direct_connections(), 1, "{round}");
        pair.net.cut_direct(pair.now);
        let is_there = |pair: &Pair| pair.net.direct_connections() == 1;
        assert!(pair.run_until(SEC / 2, is_there), "{round}: not at once");
    }
}

/// S11, A18: a connection whose round trip is long fills its path like any other.
#[test]
fn s11_a_connection_with_a_long_round_trip() {
    for trip in [200, 500, 1_000, 2_000] {
        let mut pair = Pair::many(60, 1, settings::tuned(), settings::direct());
        pair.net.direct.allowed = Some(true);
        pair.net.direct.delay = trip / 2 * MS;
        pair.net.direct.rate = Some(12_500_000);
        pair.net.conditions.delay_up = trip / 2 * MS;
        pair.net.conditions.delay_down = trip / 2 * MS;
        knows(&mut pair);
        pair.serve(Script::bulk(30_000_000));
        pair.client().play(Script::bulk(1));
        let began = pair.now;
        pair.run_to_end(600 * SEC);
        let took = pair.now - began;
        // 2.4 s on the wire, and some thirty round trips until it is full.
        assert!(took < 3 * SEC + 30 * trip * MS, "{trip} ms: {took} us");
    }
}
