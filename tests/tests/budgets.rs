//! What the machines cost, in numbers that are the same on every run: allocations, memory, bytes on the wire.
//!
//! `cargo test -p posthole-tests --test budgets -- --nocapture` prints them; docs/verification.md has them.
#![allow(clippy::unwrap_used)] // A test fails by it.

use allocation_counter::measure;
use bytes::Bytes;
use posthole_protocol::{Carrier, Config};
use posthole_tests::app::Script;
use posthole_tests::fault::{Fate, Fault};
use posthole_tests::oracle::Side;
use posthole_tests::pair::Pair;
use posthole_tests::rng::Rng;
use posthole_tests::talk::{BULK, Counts, PING, Talk};
use posthole_tests::{MS, SEC, settings};

/// How often memory is taken.
fn allocations(what: &mut dyn FnMut()) -> u64 {
    measure(what).count_total
}

/// In steady state a bundle costs at most one block of memory where it is made, and none where it is taken in.
#[test]
fn allocations_in_steady_state() {
    for (name, turn, blocks) in [("bulk", BULK, 1.0), ("ping-pong", PING, 0.5)] {
        let mut talk = Talk::new(allocations);
        let id = talk.client.open().unwrap();
        for _ in 0..200 {
            turn(&mut talk, id);
        }
        talk.counts = Counts::default();
        let before = talk.messages();
        for _ in 0..1_000 {
            turn(&mut talk, id);
        }
        let Counts {
            requests,
            answers,
            sending,
            receiving,
        } = talk.counts;
        let messages = talk.messages() - before;
        let per = |n: u64, all: u64| n as f64 / all as f64;
        let sent = per(sending, requests + answers);
        println!(
            "{name}: {requests} requests, {answers} answers, {messages} messages; allocations per bundle: {sent:.2} to make, \
             {:.2} to take in; per message {:.2}",
            per(receiving, requests + answers),
            per(sending + receiving, messages)
        );
        assert!(messages >= 1_000, "{name}");
        assert!(sent <= blocks, "{name}: {sent}");
        assert_eq!(receiving, 0, "{name}");
    }
}

/// What an idle session keeps at either side, and a stream that is open and idle.
#[test]
fn memory_of_what_is_idle() {
    let mut kept = None;
    let session = measure(|| kept = Some(Talk::new(allocations))).bytes_current;
    let mut talk = kept.unwrap();
    let streams = measure(|| {
        for _ in 0..15 {
            let id = talk.client.open().unwrap();
            talk.client
                .stream(id)
                .unwrap()
                .write(&mut Bytes::from_static(b"x"))
                .unwrap();
            talk.run(30 * MS);
            talk.read(id);
        }
        talk.run(500 * MS);
    })
    .bytes_current;
    println!(
        "idle: {session} bytes a session, {} a stream, both sides together",
        streams / 15
    );
    assert!(session <= 3_200, "{session}");
    assert!(streams / 15 <= 1_700, "{}", streams / 15);
}

/// Bytes on the wire for each byte delivered, both ways together, where so many of a hundred exchanges are lost.
#[test]
fn bytes_on_the_wire() {
    for (percent, bound) in [(0, 1.01), (1, 1.02), (5, 1.03), (10, 1.05), (20, 1.25)] {
        let client = Config::builder()
            .carrier(Carrier::Exchange)
            .build()
            .unwrap();
        let mut pair = Pair::many(5, 1, client, settings::tuned());
        pair.net.set_rate(Some(12_500_000), Some(12_500_000));
        let mut rng = Rng::new(9);
        pair.net.rule = Box::new(move |_| match (rng.percent(percent), rng.percent(50)) {
            (true, true) => Fault::request(Fate::Lose),
            (true, false) => Fault::response(Fate::Lose),
            (false, _) => Fault::NONE,
        });
        pair.serve(Script::bulk(10_000_000));
        pair.client().play(Script::bulk(10_000_000));
        pair.run_to_end(600 * SEC);
        let sent: u64 = [Side::Client, Side::Server]
            .iter()
            .map(|side| pair.net.tally.way(0, *side).bytes)
            .sum();
        let share = sent as f64 / 20e6;
        println!("lost {percent} %: {share:.3} bytes on the wire for each one delivered");
        assert!(share <= bound, "{percent} %: {share}");
    }
}
