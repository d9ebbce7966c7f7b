//! Credit (§6.3): windows neither stall nor overflow, and no stream blocks another.

use posthole_protocol::wire::Message;
use posthole_protocol::{Config, Read, ResetCode, StreamId, WriteError};
use posthole_tests::app::{Reading, Script};
use posthole_tests::craft::{FakeClient, data};
use posthole_tests::oracle::Side;
use posthole_tests::pair::Pair;
use posthole_tests::settings;
use posthole_tests::settings::Settings;
use posthole_tests::{MS, SEC};

/// D1, A1: 1 MB each way through a 64 KiB window with a reader 1 ms behind takes two round trips a window and no
/// copy, whatever the number of requests.
#[test]
fn window_crawl() {
    const TOTAL: u64 = 1_000_000;
    const WINDOW: u64 = 65_536;
    for (requests, hold) in [(2, 1), (4, 1), (4, 2)] {
        for (up, down) in [(TOTAL, 0), (0, TOTAL), (TOTAL, TOTAL)] {
            let settings = Settings {
                requests: Some(requests),
                hold: Some(hold),
                window: Some(WINDOW),
            };
            let mut pair = Pair::with(1, settings.config());
            let behind = Reading::Slow {
                max: usize::MAX,
                every: MS,
            };
            pair.serve(Script::bulk(down).reading(behind));
            pair.client().play(Script::bulk(up).reading(behind));
            let began = pair.now;
            pair.run_to_end(300 * SEC);
            let (took, limit) = (pair.now - began, TOTAL.div_ceil(WINDOW) * 2 * 50 * MS + SEC);
            assert!(
                took <= limit,
                "requests {requests}, hold {hold}, {up} up {down} down: {took} us, limit {limit}"
            );
            for side in [Side::Client, Side::Server] {
                assert_eq!(
                    pair.net.tally.repeats(0, side),
                    0,
                    "copies without loss, from {side:?}"
                );
            }
        }
    }
}

/// D1, A23: the same at one request, where the pause of the reader adds its wait.
#[test]
fn window_crawl_with_one_request() {
    let settings = Settings {
        requests: Some(1),
        hold: Some(1),
        window: Some(65_536),
    };
    let mut pair = Pair::with(2, settings.config());
    let behind = Reading::Slow {
        max: usize::MAX,
        every: MS,
    };
    pair.serve(Script::bulk(1_000_000).reading(behind));
    pair.client().play(Script::bulk(1_000_000).reading(behind));
    pair.run_to_end(30 * SEC);
}

/// L4, A16: streams that nobody reads take nothing from one that is read.
#[test]
fn slow_stream_never_blocks_another() {
    let time = |deaf: usize| {
        let mut pair = Pair::new(3);
        pair.serve(Script::bulk(1_000_000).reading(Reading::Never));
        for _ in 0..deaf {
            pair.client()
                .play(Script::bulk(1_000_000).reading(Reading::Never));
        }
        pair.run_for(5 * SEC);
        pair.serve(Script::bulk(1_000_000));
        for end in &mut pair.hosts[0].sessions {
            end.on_accept = Some(Script::bulk(1_000_000));
        }
        pair.client().play(Script::bulk(1_000_000));
        pair.settle();
        let began = pair.now;
        let id = *pair.client().talkers.keys().next_back().unwrap();
        let (up, down) = (pair.key(id, Side::Client), pair.key(id, Side::Server));
        let done = pair.run_until(120 * SEC, |p| {
            p.ledger.flow(up).ended && p.ledger.flow(down).ended
        });
        assert!(done, "{deaf} unread streams block the one that is read");
        pair.now - began
    };
    let (alone, beside) = (time(0), time(20));
    // Each unread stream may fill its share of the pools; what remains is a stream's own 16 KiB a round trip.
    assert!(
        beside <= alone * 20 + 5 * SEC,
        "alone {alone} us, beside unread streams {beside} us"
    );
}

/// L4: a peer that never reads bounds what is taken from the writer, and costs no exchanges but the idle ones.
#[test]
fn never_reading_peer_stops_the_writer() {
    let mut pair = Pair::new(4);
    pair.serve(Script::sink().reading(Reading::Never));
    pair.client().play(Script::bulk(1 << 40));
    pair.run_for(20 * SEC);
    let taken = pair.talker().sent();
    assert!(
        taken < 64 << 20,
        "{taken} bytes were taken for a peer that reads nothing"
    );
    let before = pair.net.tally.exchanges(0);
    pair.run_for(600 * SEC);
    assert_eq!(pair.talker().sent(), taken);
    let cost = pair.net.tally.exchanges(0) - before;
    assert!(
        cost <= 600 / 12 + 3,
        "{cost} exchanges in ten minutes of a blocked stream (A3)"
    );
}

/// L4, S15: two hundred streams at once, one of them never read: the others get through.
#[test]
fn two_hundred_streams() {
    let mut pair = Pair::new(5);
    pair.serve(Script::echo(0));
    for number in 0..200 {
        let script = Script::paced(10_000, 1_000, 3 * MS);
        pair.client().play(if number == 0 {
            script.reading(Reading::Never)
        } else {
            script
        });
    }
    let all = pair.run_until(120 * SEC, |p| {
        p.clients[0].talkers.len() == 200
            && p.clients[0]
                .talkers
                .values()
                .skip(1)
                .all(|talker| talker.is_done())
    });
    assert!(all, "not all streams got through");
}

/// §6.1: what is beyond the number of streams allowed waits for CanOpen, and then goes.
#[test]
fn streams_beyond_the_count_wait_their_turn() {
    let mut pair = Pair::new(6);
    pair.serve(Script::echo(0));
    for _ in 0..2_000 {
        pair.client().play(Script::bulk(100));
    }
    pair.run_to_end(300 * SEC);
    assert_eq!(pair.client().talkers.len(), 2_000);
}

/// §6.1: however many streams live long, one that ends makes room for another.
#[test]
fn streams_that_live_long_leave_room_for_short_ones() {
    let mut pair = Pair::with(7, settings::with_streams(16));
    pair.serve(Script::echo(0));
    for _ in 0..14 {
        pair.client().play(Script::ping(100, 10, 100 * SEC));
    }
    for _ in 0..40 {
        pair.client().play(Script::bulk(100));
    }
    let all = pair.run_until(60 * SEC, |p| {
        let talkers = p.clients[0].talkers.values();
        talkers.filter(|talker| talker.is_done()).count() == 40
    });
    assert!(all, "those that live long keep the short ones out");
}

/// L1, S14: a gap early in a stream, and hundreds of small writes behind it: an honest writer is no violator.
#[test]
fn many_small_writes_behind_a_gap() {
    let mut fake = FakeClient::connected(settings::tuned());
    for offset in 1..2_000 {
        let content = data(0, offset, b"x");
        let body = fake.body_of(&[Message {
            number: offset,
            content,
        }]);
        fake.put(body);
        assert_eq!(fake.closed(), None, "after {offset} writes");
    }
    let body = fake.body_of(&[Message {
        number: 0,
        content: data(0, 0, b"x"),
    }]);
    fake.put(body);
    let machine = &mut fake.session().unwrap().machine;
    let id = machine.accept().expect("a stream");
    let mut got = 0;
    while let Ok(Read::Chunk(bytes)) = machine.stream(id).unwrap().read(usize::MAX) {
        got += bytes.len();
    }
    assert_eq!(got, 2_000);
}

/// A pair whose client has two streams with much to write that nobody reads, and resets the first after a while.
fn two_unread_streams(client: Config, server: Config) -> (Pair, impl Fn(&mut Pair)) {
    let mut pair = Pair::many(20, 1, client, server);
    pair.serve(Script::sink().reading(Reading::Never));
    for _ in 0..2 {
        pair.client().play(Script::bulk(10_000_000));
    }
    pair.run_for(10 * SEC);
    let reset = |pair: &mut Pair| {
        let key = pair.key(StreamId::from_number(0), Side::Client);
        let client = pair.client();
        let stream = client.machine.stream(StreamId::from_number(0));
        stream.unwrap().reset(ResetCode(7));
        let talker = client.talkers.get_mut(&StreamId::from_number(0)).unwrap();
        talker.write_error = Some(WriteError::Finished);
        pair.ledger.reset(key, 7);
        pair.settle();
    };
    (pair, reset)
}

/// L4: what a stream had of the peer's pool is the others' when it is reset.
#[test]
fn l4_a_reset_gives_its_credit_to_the_others() {
    let server = Settings {
        window: Some(65_536),
        ..Settings::default()
    };
    let (mut pair, reset) = two_unread_streams(settings::tuned(), server.config());
    let before = pair.clients[0].machine.stats().bytes_out;
    reset(&mut pair);
    pair.run_for(10 * SEC);
    let more = pair.clients[0].machine.stats().bytes_out - before;
    assert!(more > 15_000, "{more} bytes more");
}

/// L4: what a stream had of the own pool is room for the others' writers when it is reset, at once.
#[test]
fn l4_a_reset_gives_its_room_to_other_writers() {
    let client = Config::builder().send_pool(65_536).build().unwrap();
    let server = Settings {
        window: Some(65_536),
        ..Settings::default()
    };
    let (mut pair, reset) = two_unread_streams(client, server.config());
    let sent = |pair: &Pair| pair.clients[0].talkers[&StreamId::from_number(2)].sent();
    let before = sent(&pair);
    reset(&mut pair);
    assert!(sent(&pair) > before + 10_000, "{before}, {}", sent(&pair));
}
