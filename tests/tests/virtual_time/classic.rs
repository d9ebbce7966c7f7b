//! The source's own schedule, its worked examples step by step, under `Config::classic()`.

use posthole_protocol::wire::Content;
use posthole_protocol::{Event, SessionId};
use posthole_tests::app::Script;
use posthole_tests::fault::{Fate, Fault};
use posthole_tests::pair::Pair;
use posthole_tests::{MS, SEC, settings, tally};

/// The numbers of the data messages in each request since the record was begun.
fn data_sent(pair: &Pair) -> Vec<Vec<u64>> {
    let id: SessionId = pair.clients[0].machine.id();
    let sent = &pair.net.record.as_ref().unwrap().requests;
    sent.iter()
        .map(|(_, body)| data_in(tally::requests(&id, body).remove(0).messages))
        .collect()
}

fn data_in(messages: impl Iterator<Item = (u64, posthole_protocol::wire::Message)>) -> Vec<u64> {
    messages
        .filter(|(_, message)| matches!(message.content, Content::Data { .. }))
        .flat_map(|(count, message)| message.number..message.number + count)
        .collect()
}

/// A session that is there, at rest, with nothing recorded yet.
fn at_rest() -> Pair {
    let mut pair = Pair::with(1, settings::classic());
    pair.serve(Script::sink().open_ended());
    assert!(pair.run_until(5 * SEC, |p| p.clients[0].events.contains(&Event::Connected)));
    // Just after the exchange that is held has begun anew.
    let begun = pair.net.tally.exchanges(0);
    pair.run_until(40 * SEC, |p| p.net.tally.exchanges(0) > begun);
    pair.run_for(100 * MS);
    pair.net.record = Some(Default::default());
    pair
}

/// So many messages at once: each on a stream of its own, so that none can be joined to another.
fn gather(pair: &mut Pair, count: usize) {
    for _ in 0..count {
        pair.client().play(Script::bulk(10).open_ended());
    }
    pair.settle();
}

/// S1, S3, S7: five are sent; no answer within one second, while three more gather; the second request carries eight.
#[test]
fn five_then_eight() {
    let mut pair = Pair::with(1, settings::classic());
    pair.serve(Script::sink().open_ended());
    pair.net.record = Some(Default::default());
    pair.net.rule = Box::new(|info| {
        if info.nth == 0 {
            Fault::request(Fate::Lose)
        } else {
            Fault::NONE
        }
    });
    gather(&mut pair, 5);
    pair.run_for(500 * MS);
    let sent = data_sent(&pair);
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!(
        sent[0].len(),
        5,
        "the first request carries the five: {sent:?}"
    );
    gather(&mut pair, 3);
    pair.run_for(450 * MS);
    assert_eq!(
        data_sent(&pair).len(),
        1,
        "three are not enough (S3a), and the second has not passed (S3b)"
    );
    pair.run_for(100 * MS);
    let sent = data_sent(&pair);
    assert!(
        sent.len() >= 2,
        "after one second everything stored goes (S3b): {sent:?}"
    );
    assert_eq!(sent[1].len(), 8, "the five again and the three: {sent:?}");
    assert_eq!(sent[1][..5], sent[0][..], "the same five");
}

/// S2: a bundle holds ten messages; what does not fit goes in further requests.
#[test]
fn ten_messages_a_bundle() {
    let mut pair = at_rest();
    gather(&mut pair, 25);
    pair.run_for(5 * SEC);
    let sent = data_sent(&pair);
    assert!(sent.iter().all(|numbers| numbers.len() <= 10), "{sent:?}");
    let mut all: Vec<u64> = sent.concat();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 25);
    assert_eq!(
        sent.iter()
            .filter(|numbers| !numbers.is_empty())
            .map(Vec::len)
            .max(),
        Some(10)
    );
}

/// S3a: a bundle's worth that gathers while a request is out is sent at once, not after the second.
#[test]
fn a_bundle_worth_goes_at_once() {
    let mut pair = at_rest();
    pair.net.rule = Box::new(|info| {
        if info.messages > 0 {
            Fault::late(10 * SEC)
        } else {
            Fault::NONE
        }
    });
    gather(&mut pair, 1);
    pair.run_for(100 * MS);
    let before = data_sent(&pair).len();
    gather(&mut pair, 10);
    pair.run_for(10 * MS);
    assert!(
        data_sent(&pair).len() > before,
        "ten more are a bundle's worth"
    );
}

/// S4: the server answers the first request when the second arrives, even with nothing.
#[test]
fn the_second_request_releases_the_first() {
    let mut pair = at_rest();
    assert_eq!(
        pair.net.held(),
        1,
        "one request is outstanding at the server"
    );
    let answers = pair
        .net
        .tally
        .way(0, posthole_tests::oracle::Side::Server)
        .bodies;
    gather(&mut pair, 1);
    // One message is less than a bundle's worth: it goes a second after the first request (S3b).
    pair.run_for(1_100 * MS);
    let after = pair
        .net
        .tally
        .way(0, posthole_tests::oracle::Side::Server)
        .bodies;
    assert_eq!(after - answers, 1, "exactly the first is answered");
    assert_eq!(pair.net.held(), 1, "and the second is held in its place");
}

/// S4: a bundle's worth at the server releases the held request at once.
#[test]
fn a_bundle_worth_at_the_server_is_answered_at_once() {
    let mut pair = at_rest();
    pair.client().on_accept = Some(Script::sink().open_ended());
    let began = pair.now;
    for _ in 0..10 {
        pair.server().unwrap().play(Script::bulk(10).open_ended());
    }
    pair.settle();
    assert!(pair.run_until(10 * SEC, |p| p.ledger.total_read() == 100));
    assert!(
        pair.now - began <= 100 * MS,
        "ten messages took {} us",
        pair.now - began
    );
}

/// S5: what is less than a bundle's worth at the server goes as well, after a short wait to gather more.
#[test]
fn less_than_a_bundle_worth_is_not_kept_for_ever() {
    let mut pair = at_rest();
    pair.client().on_accept = Some(Script::sink().open_ended());
    let began = pair.now;
    pair.server().unwrap().play(Script::bulk(10).open_ended());
    pair.settle();
    assert!(pair.run_until(40 * SEC, |p| p.ledger.total_read() == 10));
    assert!(
        pair.now - began <= 13 * SEC,
        "a message took {} us",
        pair.now - began
    );
}

/// S3, S22: classic comes to rest as well, and carries everything, lossy or not.
#[test]
fn classic_rests_and_delivers() {
    let mut pair = at_rest();
    pair.run_for(600 * SEC);
    assert!(
        pair.net.tally.exchanges(0) <= 600,
        "{} exchanges",
        pair.net.tally.exchanges(0)
    );
    for seed in 0..5 {
        let mut pair = Pair::with(seed, settings::classic());
        pair.serve(Script::paced(4_000, 100, 50 * MS));
        pair.client().play(Script::paced(4_000, 100, 50 * MS));
        let mut rng = posthole_tests::rng::Rng::new(seed);
        pair.net.rule = Box::new(move |_| match rng.below(10) {
            0 => Fault::request(Fate::Lose),
            1 => Fault::response(Fate::Lose),
            _ => Fault::NONE,
        });
        pair.run_to_end(600 * SEC);
    }
}
