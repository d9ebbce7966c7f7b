//! A keystroke never queues behind megabytes (S20), and streams share what there is.

use posthole_tests::app::{Reading, Script, Turn};
use posthole_tests::pair::Pair;
use posthole_tests::{MS, SEC};

/// The middle of the times that 40 ping-pongs took, with so many bulk streams beside them; and the pair, which tells
/// its story if the test fails.
fn ping(rate: Option<u64>, up: usize, down: usize) -> (u64, Pair) {
    let mut pair = Pair::new(1);
    pair.net.set_rate(rate, rate);
    // Streams beside the ping send for ever, so that the load lasts; the server tells them by their number.
    pair.serve(Script::echo(0));
    pair.client().play(Script::ping(40, 20, 50 * MS));
    pair.run_for(100 * MS);
    for _ in 0..down {
        let endless = Script {
            turn: Turn::Free,
            ..Script::bulk(1 << 40)
        };
        for end in &mut pair.hosts[0].sessions {
            end.on_accept = Some(endless);
        }
        pair.client().play(Script::sink().open_ended());
        pair.run_for(200 * MS);
    }
    for end in &mut pair.hosts[0].sessions {
        end.on_accept = Some(Script::sink().open_ended());
    }
    for _ in 0..up {
        pair.client().play(Script::bulk(1 << 40));
    }
    assert!(
        pair.run_until(120 * SEC, |p| p.talker().laps.len() == 40),
        "{} laps",
        pair.talker().laps.len()
    );
    let mut laps = pair.talker().laps.clone();
    laps.sort_unstable();
    (laps[20], pair)
}

/// S20, A4: beside bulk in either direction, on a path of 20 MB/s, a ping-pong takes three round trips
/// at most.
#[test]
fn ping_beside_bulk() {
    let rate = Some(20_000_000);
    let (alone, _) = ping(rate, 0, 0);
    assert!(alone <= 60 * MS, "alone {alone} us");
    for (up, down) in [(1, 0), (0, 1), (1, 1), (4, 4)] {
        let (beside, _pair) = ping(rate, up, down);
        assert!(
            beside <= 3 * alone,
            "alone {alone} us, beside {up} up and {down} down {beside} us"
        );
    }
}

/// S20, A4: on a link of 1 MB/s, whose bytes all share, it stays within a small multiple.
#[test]
fn ping_beside_bulk_on_a_slow_link() {
    let rate = Some(1_000_000);
    let (alone, _) = ping(rate, 0, 0);
    for (up, down) in [(1, 0), (0, 1), (1, 1)] {
        let (beside, _pair) = ping(rate, up, down);
        assert!(
            beside <= 5 * alone,
            "alone {alone} us, beside {up} up and {down} down {beside} us"
        );
    }
}

/// Fairness: streams that all have much to send get through at about the same time.
#[test]
fn streams_share_evenly() {
    let mut pair = Pair::new(2);
    pair.net.set_rate(Some(2_000_000), Some(2_000_000));
    pair.serve(Script::sink());
    for _ in 0..8 {
        pair.client().play(Script::bulk(1 << 40));
    }
    pair.run_for(20 * SEC);
    let read: Vec<u64> = pair
        .ledger
        .flows()
        .map(|(_, flow)| flow.read)
        .filter(|&read| read > 0)
        .collect();
    assert_eq!(read.len(), 8);
    let (least, most) = (read.iter().min().unwrap(), read.iter().max().unwrap());
    assert!(most - least <= most / 4 + 300_000, "{read:?}");
    assert!(
        read.iter().sum::<u64>() >= 20_000_000,
        "20 s at 2 MB/s carried {read:?}"
    );
}

/// L4, S20: one reader that is slow leaves the others as fast as they were.
#[test]
fn slow_reader_beside_fast_ones() {
    let mut pair = Pair::new(3);
    pair.serve(Script::sink().reading(Reading::Slow {
        max: 100,
        every: 500 * MS,
    }));
    pair.client().play(Script::bulk(1 << 40));
    pair.run_for(3 * SEC);
    for end in &mut pair.hosts[0].sessions {
        end.on_accept = Some(Script::echo(0));
    }
    pair.client().play(Script::ping(50, 100, 10 * MS));
    pair.settle();
    let id = *pair.client().talkers.keys().next_back().unwrap();
    assert!(pair.run_until(30 * SEC, |p| p.clients[0].talkers[&id].laps.len() == 50));
    let mut laps = pair.client().talkers[&id].laps.clone();
    laps.sort_unstable();
    assert!(
        laps[25] <= 110 * MS,
        "the middle ping-pong took {} us",
        laps[25]
    );
}
