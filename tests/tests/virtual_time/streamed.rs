//! Streamed answers: tried, believed and dropped (A22, S20; PROTOCOL §5.9).

use posthole_protocol::wire::{Content, Message, RequestPrefix};
use posthole_protocol::{Carrier, Client, Config, Event, ExchangeId, Instant, Lesson};
use posthole_tests::app::{Script, Talker};
use posthole_tests::craft::FakeServer;
use posthole_tests::fault::Fate;
use posthole_tests::oracle::Side;
use posthole_tests::pair::Pair;
use posthole_tests::settings;
use posthole_tests::{MS, SEC};

/// A pair whose client has been told by its first answer that it is streamed, or will be at once.
fn pair(seed: u64) -> Pair {
    pair_by(seed, Carrier::Streamed)
}

fn pair_by(seed: u64, carrier: Carrier) -> Pair {
    let client = Config::builder().carrier(carrier).build().unwrap();
    let mut pair = Pair::many(seed, 1, client, settings::direct());
    pair.net.direct.allowed = Some(false);
    pair
}

fn machine(pair: &Pair) -> &Client {
    &pair.clients[0].machine
}

fn lost(pair: &Pair) -> usize {
    let told = pair.clients[0].events.iter();
    told.filter(|e| matches!(e, Event::Learned(Lesson::StreamLost { .. })))
        .count()
}

/// A server that was asked for a streamed answer, and in which exchange.
fn asked() -> (FakeServer, ExchangeId) {
    let mut fake = FakeServer::unanswered(Config::default().by(Carrier::Streamed));
    fake.client.reads_pieces();
    fake.answer(&[]);
    fake.run_for(2 * SEC);
    let asks = |prefix: &RequestPrefix| prefix.streamed == Some(0);
    let mut open = fake.open.iter();
    let (exchange, _) = open
        .find(|(_, r)| asks(&r.prefix))
        .expect("it asks for one");
    let exchange = *exchange;
    (fake, exchange)
}

/// A message that makes a 65th range counts as not arrived; the server, for which nothing is lost on the way while the
/// answer goes on, would never say it again, and a stream of 200 stood still for ever.
#[test]
fn what_cannot_be_kept_track_of_ends_a_streamed_answer() {
    let (mut fake, exchange) = asked();
    fake.prefix.more = Some(10_000);
    let mut say = |number: u64| {
        let message = Message {
            number,
            content: Content::Void,
        };
        let body = fake.body_of(exchange, &[message]);
        let now = Instant::from_micros(fake.now);
        fake.client.feed_bundles(now, exchange, body).unwrap();
        fake.client.poll_cancel()
    };
    for range in 1..=64 {
        assert_eq!(say(2 * range), None);
    }
    assert_eq!(say(4), None, "that one is known");
    assert_eq!(say(2 * 65), Some(exchange));
}

/// Whatever a server promises: its client does not believe in silence for longer than a minute.
#[test]
fn a_promise_for_next_year_is_one_for_a_minute() {
    let (mut fake, exchange) = asked();
    fake.prefix.more = Some(365 * 86_400_000);
    let body = fake.body_of(exchange, &[]);
    let now = Instant::from_micros(fake.now);
    fake.client.feed_bundles(now, exchange, body).unwrap();
    fake.run_for(59 * SEC);
    assert!(fake.client.learned().streamed);
    fake.run_for(10 * SEC);
    assert!(!fake.client.learned().streamed, "it believes it");
}

/// §5.9.3: bytes of a bundle that has not come whole are no silence.
#[test]
fn a_bundle_that_takes_long_on_its_way_is_no_silence() {
    let believed_for = |moves: bool| {
        let (mut fake, exchange) = asked();
        fake.prefix.more = Some(1_000);
        let (began, body) = (fake.now, fake.body_of(exchange, &[]));
        let now = Instant::from_micros(began);
        fake.client.feed_bundles(now, exchange, body).unwrap();
        while fake.client.learned().streamed {
            if moves && fake.now < began + 5 * SEC {
                let now = Instant::from_micros(fake.now);
                fake.client.feed_progress(now, exchange).unwrap();
            }
            fake.run_for(100 * MS);
        }
        fake.now - began
    };
    let (silent, moving) = (believed_for(false), believed_for(true));
    assert!(silent < 3 * SEC, "{silent}");
    assert_eq!(moving, silent + 4_900 * MS);
}

/// Once it is doubted, an answer to another request shows that it is not the server that is silent: nobody waits out the
/// patience then.
#[test]
fn a_stream_that_is_silent_beside_answers_is_given_up_soon() {
    let (mut fake, exchange) = asked();
    fake.prefix.more = Some(1000);
    let body = fake.body_of(exchange, &[]);
    let (began, now) = (fake.now, Instant::from_micros(fake.now));
    fake.client.feed_bundles(now, exchange, body).unwrap();
    fake.prefix.more = None;
    assert!(fake.client.learned().streamed);
    while fake.open.iter().any(|(open, _)| *open == exchange) {
        fake.run_for(100 * MS);
        while let Some(which) = fake.open.iter().position(|(other, _)| *other != exchange) {
            let (other, _) = fake.take(which).unwrap();
            // It says that it still has that one.
            fake.prefix.newest = other.number();
            fake.prefix.held = [exchange.number()].into_iter().collect();
            let (now, body) = (Instant::from_micros(fake.now), fake.body_of(other, &[]));
            fake.client.feed_response(now, other, body).unwrap();
        }
        // What was promised, and two timers; the patience is 15 s.
        assert!(fake.now - began < 6 * SEC, "it is still believed");
    }
}

/// What a server says on its own comes half a round trip later, however fast one thing follows the other.
#[test]
fn s5_what_a_server_says_waits_for_no_request() {
    let mut behind = Vec::new();
    for carrier in [Carrier::Exchange, Carrier::Streamed] {
        let mut pair = pair_by(1, carrier);
        pair.net.conditions.delay_up = 150 * MS;
        pair.net.conditions.delay_down = 150 * MS;
        pair.serve(Script::paced(1_000, 1, 20 * MS));
        pair.client().play(Script::bulk(1));
        pair.run_for(3 * SEC);
        let streamed = machine(&pair).learned().streamed;
        assert_eq!(streamed, carrier == Carrier::Streamed);
        let mut most = 0;
        for _ in 0..500 {
            pair.run_for(MS);
            most = most.max(pair.server_talker().sent() - pair.talker().got());
        }
        behind.push(most);
        pair.run_to_end(30 * SEC);
    }
    // 150 ms are 7.5 bytes, and small writes gather for 5 ms.
    assert!(behind[1] <= 9, "{behind:?}");
    assert!(behind[0] >= 14, "nothing gained: {behind:?}");
}

/// S20: bulk from the server fills the path as whole answers do, and no message goes twice.
#[test]
fn s20_bulk_in_a_streamed_answer() {
    let mut took = Vec::new();
    for carrier in [Carrier::Exchange, Carrier::Streamed, Carrier::Auto] {
        let mut pair = pair_by(2, carrier);
        pair.net.conditions.delay_up = 50 * MS;
        pair.net.conditions.delay_down = 50 * MS;
        pair.net.set_rate(Some(12_500_000), Some(12_500_000));
        pair.serve(Script::bulk(30_000_000));
        pair.client().play(Script::bulk(30_000_000));
        let began = pair.now;
        pair.run_to_end(60 * SEC);
        took.push(pair.now - began);
        for side in [Side::Client, Side::Server] {
            assert_eq!(pair.net.tally.repeats(0, side), 0, "{carrier:?} {side:?}");
        }
        let server = pair.server().unwrap().machine.stats();
        let resent = [machine(&pair).stats().resent, server.resent];
        assert_eq!(resent, [0, 0], "{carrier:?}");
        assert!(server.messages >= 30_000_000 / 16_384, "{server:?}");
    }
    assert!(took[1] * 9 <= took[0] * 10, "{took:?}");
    assert!(took[2] * 19 <= took[0] * 20, "{took:?}");
}

/// Bulk in bursts, with a moment between in which nothing waits: the client asks for no further whole answers then, and
/// when those it has asked for are used up, that must not keep the next burst out of the streamed one.
#[test]
fn s20_bursts_do_not_wait_for_an_acknowledgement() {
    let mut pair = pair_by(8, Carrier::Auto);
    pair.net.conditions.delay_up = 50 * MS;
    pair.net.conditions.delay_down = 50 * MS;
    pair.serve(Script::bulk(1));
    pair.client().play(Script::sink());
    pair.run_for(3 * SEC);
    assert!(machine(&pair).learned().streamed);
    let bursts = Script::paced(30_000_000, 100_000, 8 * MS);
    pair.server().unwrap().on_accept = Some(bursts);
    pair.client().play(Script::sink());
    pair.run_for(SEC / 2);
    let mut most = 0;
    for _ in 0..400 {
        pair.run_for(MS);
        let sent = pair.server().unwrap().talkers.values().map(Talker::sent);
        let sent: u64 = sent.sum();
        let got = pair.client().talkers.values().map(Talker::got);
        most = most.max(sent - got.sum::<u64>());
    }
    // Seven bursts are on their way at any time.
    assert!(most <= 1_000_000, "{most} bytes behind");
    pair.run_to_end(30 * SEC);
}

/// Bulk in a streamed answer on a slow link: its bundles stay as small as the link is slow, so that a keystroke beside it
/// waits for no more than half a second's worth.
#[test]
fn s20_a_keystroke_beside_bulk_on_a_slow_link() {
    let mut pair = pair(10);
    pair.net.set_rate(None, Some(60_000));
    pair.serve(Script::bulk(1));
    pair.client().play(Script::sink());
    pair.run_for(3 * SEC);
    let known: Vec<_> = pair.client().talkers.keys().copied().collect();
    pair.server().unwrap().on_accept = Some(Script::bulk(1_500_000));
    pair.client().play(Script::sink());
    pair.run_for(10 * SEC);
    pair.server().unwrap().on_accept = Some(Script::paced(20, 1, 400 * MS));
    pair.client().play(Script::sink());
    pair.run_for(9 * SEC);
    let typed = *pair.client().talkers.keys().next_back().unwrap();
    assert!(!known.contains(&typed));
    let flow = pair.ledger.flow(pair.key(typed, Side::Server));
    assert_eq!(flow.read, 20);
    assert!(flow.worst_lag <= 1_200 * MS, "{} ms", flow.worst_lag / MS);
    pair.run_to_end(60 * SEC);
}

/// A ping-pong costs an exchange each way as before: the reply rides on the answer to what it replies to.
#[test]
fn s5_a_ping_pong_beside_it() {
    let mut pair = pair(3);
    pair.serve(Script::echo(0));
    pair.client().play(Script::ping(100, 64, 0));
    let began = pair.now;
    pair.run_to_end(60 * SEC);
    let (took, exchanges) = (pair.now - began, machine(&pair).stats().exchanges);
    assert!(took <= 100 * 52 * MS, "{} ms", took / MS);
    assert!(exchanges <= 110, "{exchanges} exchanges");
}

/// A box that keeps answers back until they have ended: whole answers, and a trial ever less often.
#[test]
fn a22_a_box_that_keeps_answers_back() {
    let mut pair = pair_by(4, Carrier::Auto);
    pair.net.conditions.streams = false;
    pair.serve(Script::paced(3_000, 1, 200 * MS));
    pair.client().play(Script::paced(3_000, 1, 200 * MS));
    pair.run_to_end(700 * SEC);
    assert!(!machine(&pair).learned().streamed);
    assert!(lost(&pair) <= 5, "{} trials in ten minutes", lost(&pair));
    for side in [Side::Client, Side::Server] {
        assert_eq!(pair.net.tally.repeats(0, side), 0, "{side:?}");
    }
}

/// It turns to that in mid-stream, or swallows everything: what is held back goes by whole answers, soon.
#[test]
fn a22_a_stream_that_falls_silent() {
    for swallow in [false, true] {
        let mut pair = pair(5);
        pair.serve(Script::paced(300_000, 1_000, 50 * MS));
        pair.client().play(Script::sink());
        pair.run_for(5 * SEC);
        assert!(machine(&pair).learned().streamed);
        if swallow {
            pair.net.answer_rule = Box::new(|answer| match answer.nth {
                n if n < 150 => Fate::Lose,
                _ => Fate::Pass,
            });
        } else {
            pair.net.conditions.streams = false;
        }
        let began = pair.now;
        pair.run_to_end(60 * SEC);
        assert!(
            pair.now - began <= 25 * SEC,
            "{swallow} {}",
            pair.now - began
        );
    }
}

/// §5.9.1: one that has lived for a minute was worth it, whatever came of those before: the next is asked for at once.
#[test]
fn one_that_has_lived_is_asked_for_again_at_once() {
    let mut pair = pair_by(10, Carrier::Auto);
    pair.net.conditions.streams = false;
    pair.serve(Script::echo(0).open_ended());
    pair.client().play(Script::ping(10_000, 10, 100 * MS));
    pair.run_for(60 * SEC);
    assert_eq!(lost(&pair), 1);
    pair.net.conditions.streams = true;
    let streams = |pair: &Pair| machine(pair).learned().streamed;
    assert!(pair.run_until(300 * SEC, streams));
    pair.run_for(90 * SEC);
    assert!(streams(&pair));
    let now = pair.now;
    pair.net.kill(now);
    assert!(pair.run_until(5 * SEC, |pair| !streams(pair)));
    assert!(pair.run_until(5 * SEC, streams), "it waits");
}

/// Cut every second under load: nothing is lost or repeated to the application, and it is tried less and less.
#[test]
fn a_stream_cut_every_second() {
    let mut pair = pair_by(6, Carrier::Auto);
    pair.net.set_rate(Some(5_000_000), Some(5_000_000));
    pair.serve(Script::bulk(50_000_000));
    pair.client().play(Script::bulk(50_000_000));
    while !pair.is_done() {
        pair.run_for(SEC);
        let now = pair.now;
        pair.net.kill(now);
        assert!(now < 100 * SEC);
    }
    assert!(lost(&pair) <= 4, "{}", lost(&pair));
}

/// A direct connection takes the place of a streamed answer that was as good as any: nobody is told that it is lost, and once
/// the connection is, another is asked for at once.
#[test]
fn a_direct_connection_is_no_fault_of_a_streamed_answer() {
    let mut pair = pair_by(13, Carrier::Auto);
    pair.serve(Script::echo(0).open_ended());
    pair.client().play(Script::ping(10_000, 10, 100 * MS));
    let streams = |pair: &Pair| machine(pair).learned().streamed;
    let is_direct = |pair: &Pair| machine(pair).learned().direct;
    assert!(pair.run_until(10 * SEC, streams));
    pair.net.direct.allowed = Some(true);
    assert!(pair.run_until(400 * SEC, is_direct));
    pair.run_for(SEC);
    assert!(!streams(&pair));
    pair.net.direct.allowed = Some(false);
    let now = pair.now;
    pair.net.cut_direct(now);
    assert!(pair.run_until(5 * SEC, streams), "it waits");
    assert_eq!(lost(&pair), 0);
}

/// Of all that a session has under way, the streamed answer would go on for longest.
#[test]
fn an_aborted_session_waits_for_no_streamed_answer() {
    let mut pair = pair(12);
    pair.serve(Script::sink());
    pair.client().play(Script::bulk(1).open_ended());
    pair.run_for(5 * SEC);
    assert!(machine(&pair).learned().streamed && pair.net.open(0) > 0);
    pair.client().machine.abort();
    pair.run_for(MS);
    assert_eq!(pair.net.open(0), 0);
}

/// A box that lets one request through at a time: the streamed answer does not stand in the way for long.
#[test]
fn a23_one_at_a_time() {
    let mut pair = pair_by(7, Carrier::Auto);
    pair.net.conditions.lanes = Some(1);
    pair.serve(Script::paced(1_000, 10, 100 * MS));
    pair.client().play(Script::paced(1_000, 10, 100 * MS));
    let began = pair.now;
    pair.run_to_end(120 * SEC);
    assert!(pair.now - began <= 60 * SEC, "{}", (pair.now - began) / SEC);
    assert!(!machine(&pair).learned().streamed);
}

/// A session at rest from the beginning needs no second connection to learn that answers are streamed: the one exchange
/// that is held does as much for it. One that is used learns it.
#[test]
fn rest_needs_one_connection() {
    for used in [false, true] {
        let mut pair = pair_by(9, Carrier::Auto);
        if used {
            pair.serve(Script::echo(0).open_ended());
            pair.client().play(Script::ping(1_000, 10, 100 * MS));
        }
        pair.run_for(500 * MS);
        let mut most = 0;
        for _ in 0..1_000 {
            pair.run_for(MS);
            most = most.max(pair.net.open(0));
        }
        assert_eq!(machine(&pair).learned().streamed, used);
        if used {
            continue;
        }
        for _ in 0..600 {
            pair.run_for(100 * MS);
            most = most.max(pair.net.open(0));
        }
        assert!(!machine(&pair).learned().streamed);
        assert_eq!(most, 1);
        // Once used, it learns it.
        pair.serve(Script::echo(0).open_ended());
        let echo = Some(Script::echo(0));
        pair.server().unwrap().on_accept = echo;
        pair.client().play(Script::ping(100, 10, 100 * MS));
        pair.run_for(SEC / 2);
        assert!(machine(&pair).learned().streamed);
    }
}

/// An hour of silence costs an exchange per wait, and after it a byte arrives at once.
#[test]
fn an_hour_of_silence() {
    let mut pair = pair(8);
    pair.serve(Script::bulk(1).open_ended());
    pair.client().play(Script::bulk(1).open_ended());
    pair.run_for(10 * SEC);
    let before = machine(&pair).stats().exchanges;
    pair.run_for(3_600 * SEC);
    let exchanges = machine(&pair).stats().exchanges - before;
    assert!(
        exchanges <= 150,
        "{exchanges} exchanges in an hour of silence"
    );
    assert!(machine(&pair).learned().streamed);
    assert_eq!(lost(&pair), 0);
}

/// Everything that can fail fails now and then, pieces among it.
#[test]
fn everything_fails_now_and_then() {
    for seed in 0..20 {
        let mut pair = pair(100 + seed);
        pair.net.answer_rule = Box::new(move |answer| match (answer.nth * 7 + seed) % 31 {
            3 => Fate::Lose,
            9 => Fate::Cut(400),
            14 => Fate::Corrupt(700),
            _ => Fate::Pass,
        });
        pair.serve(Script::paced(500_000, 5_000, 30 * MS));
        pair.client().play(Script::paced(500_000, 5_000, 30 * MS));
        pair.run_to_end(300 * SEC);
    }
}
