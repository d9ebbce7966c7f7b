//! The end of a session (S10, D9, A24): never an error after all was acknowledged, never success otherwise.

use bytes::Bytes;
use posthole_protocol::wire::Refusal;
use posthole_protocol::{CloseReason, Failure};
use posthole_tests::app::{Reading, Script};
use posthole_tests::craft::FakeServer;
use posthole_tests::fault::{Fate, Fault};
use posthole_tests::oracle::Side;
use posthole_tests::pair::Pair;
use posthole_tests::{MS, SEC, settings};

/// A session with data on the way both ways.
fn in_mid_talk() -> Pair {
    let mut pair = Pair::new(1);
    pair.serve(Script::bulk(50_000));
    pair.client().play(Script::bulk(50_000));
    pair.run_for(40 * MS);
    pair
}

fn close(pair: &mut Pair, side: Side) {
    match side {
        Side::Client => pair.client().machine.close(7, "that was it"),
        Side::Server => pair
            .server()
            .expect("it is there by now")
            .machine
            .close(7, "that was it"),
    }
    pair.settle();
}

/// What each side said of the end, once both have said it.
fn ends(pair: &mut Pair) -> (CloseReason, CloseReason) {
    let both = |p: &Pair| p.clients[0].closed.is_some() && p.hosts[0].sessions[0].closed.is_some();
    assert!(pair.run_until(400 * SEC, both), "not ended on both sides");
    (
        pair.clients[0].closed.clone().unwrap(),
        pair.hosts[0].sessions[0].closed.clone().unwrap(),
    )
}

/// §3.6: a reason has at most 256 bytes; what is longer is cut, between characters.
#[test]
fn a_long_reason_is_cut_between_its_characters() {
    let mut pair = in_mid_talk();
    let reason = format!("a{}", "é".repeat(200));
    pair.client().machine.close(7, &reason);
    let (_, told) = ends(&mut pair);
    let reason = format!("a{}", "é".repeat(127));
    assert_eq!(told, CloseReason::Peer { code: 7, reason });
}

/// S10: either side ends the session; the other is told its code and words.
#[test]
fn either_side_closes() {
    for side in [Side::Client, Side::Server] {
        let mut pair = in_mid_talk();
        pair.run_to_end(60 * SEC);
        let began = pair.now;
        close(&mut pair, side);
        let (client, server) = ends(&mut pair);
        let told = CloseReason::Peer {
            code: 7,
            reason: "that was it".into(),
        };
        match side {
            Side::Client => assert_eq!((client, server), (CloseReason::Local, told)),
            Side::Server => assert_eq!((client, server), (told, CloseReason::Local)),
        }
        assert!(
            pair.now - began <= SEC,
            "ending took {} ms",
            (pair.now - began) / MS
        );
        pair.run_for(SEC);
        assert_eq!(pair.hosts[0].router.len(), 0);
        assert_eq!(
            (pair.net.held(), pair.net.open(0)),
            (0, 0),
            "exchanges are left open (A13)"
        );
    }
}

/// S10: both sides close at once.
#[test]
fn both_close_at_once() {
    let mut pair = in_mid_talk();
    pair.run_to_end(60 * SEC);
    close(&mut pair, Side::Client);
    close(&mut pair, Side::Server);
    let (client, server) = ends(&mut pair);
    for reason in [client, server] {
        assert!(
            matches!(reason, CloseReason::Local | CloseReason::Peer { .. }),
            "{reason:?}"
        );
    }
}

/// S10: what was written and finished before close is delivered first.
#[test]
fn close_delivers_what_was_written() {
    for side in [Side::Client, Side::Server] {
        let mut pair = Pair::new(2);
        pair.serve(Script::bulk(if side == Side::Server { 60_000 } else { 0 }));
        pair.client()
            .play(Script::bulk(if side == Side::Client { 60_000 } else { 0 }));
        pair.run_until(5 * SEC, |p| {
            p.ledger
                .flows()
                .any(|(_, flow)| flow.written == 60_000 && flow.finished)
        });
        close(&mut pair, side);
        ends(&mut pair);
        assert_eq!(
            pair.ledger.total_read(),
            60_000,
            "{side:?} closed and something was lost"
        );
    }
}

/// §8.3: a server that has ended says up to where it has heard everything; short of what was sent, that is no success.
#[test]
fn a_server_that_ended_without_having_heard_everything_is_gone() {
    let told = |reason| CloseReason::Peer { code: 0, reason };
    for (heard_all, end) in [(true, told(String::new())), (false, CloseReason::Gone)] {
        let mut fake = FakeServer::connected(settings::tuned());
        let before = fake.prefix.ack.next;
        let id = fake.client.open().unwrap();
        let mut stream = fake.client.stream(id).unwrap();
        stream.write(&mut Bytes::from_static(b"hello")).unwrap();
        fake.run_for(SEC);
        let all = fake.prefix.ack.next;
        assert!(all > before);
        fake.refuse(Refusal::Ended(if heard_all { all } else { before }));
        assert_eq!(fake.closed, Some(end));
    }
}

/// D9: each of the last exchanges lost or doubled, either side closing: Local only if all was acknowledged, and
/// never an error if it was.
#[test]
fn the_last_exchanges_are_lost_or_doubled() {
    let faults = [
        Fault::request(Fate::Lose),
        Fault::response(Fate::Lose),
        Fault::request(Fate::Fail(Failure::Cut)),
        Fault::response(Fate::Fail(Failure::Cut)),
        Fault::response(Fate::Cut(500)),
        Fault::twice(0, false),
        Fault::twice(30 * MS, true),
        Fault::twice(20 * SEC, false),
    ];
    for side in [Side::Client, Side::Server] {
        for fault in faults {
            for k in 0..5 {
                let mut pair = in_mid_talk();
                pair.run_to_end(60 * SEC);
                let from = pair.net.tally.all_exchanges();
                pair.net.rule = Box::new(move |i| {
                    if i.nth == from + k {
                        fault
                    } else {
                        Fault::NONE
                    }
                });
                close(&mut pair, side);
                let (client, server) = ends(&mut pair);
                for reason in [&client, &server] {
                    let clean = matches!(reason, CloseReason::Local | CloseReason::Peer { .. });
                    assert!(
                        clean,
                        "{side:?} closed, {fault:?} of exchange {k}: {client:?}, {server:?}"
                    );
                }
                pair.run_for(700 * SEC);
                assert_eq!(pair.hosts[0].router.len(), 0);
            }
        }
    }
}

/// D9, A13b: an exchange that is held as the session closes is lost in its answer.
#[test]
fn the_held_exchange_is_lost_as_the_session_closes() {
    for side in [Side::Client, Side::Server] {
        let mut pair = in_mid_talk();
        pair.run_to_end(60 * SEC);
        pair.run_for(SEC);
        let mut left = 1;
        pair.net.answer_rule = Box::new(move |_| {
            left -= 1;
            if left >= 0 {
                Fate::Fail(Failure::Cut)
            } else {
                Fate::Pass
            }
        });
        close(&mut pair, side);
        let (client, server) = ends(&mut pair);
        for reason in [&client, &server] {
            assert!(
                matches!(reason, CloseReason::Local | CloseReason::Peer { .. }),
                "{client:?}, {server:?}"
            );
        }
    }
}

/// D9, A24: a close whose flush gets no further ends by itself, and says how much was not acknowledged.
/// §8: whoever is told of the end has nothing to say any more that anybody would hear, and does not wait to say it.
#[test]
fn who_is_told_of_the_end_does_not_wait_for_credit() {
    for side in [Side::Client, Side::Server] {
        let mut pair = Pair::new(3);
        let (talks, deaf) = (
            Script::bulk(1 << 40),
            Script::sink().reading(Reading::Never),
        );
        let (near, far) = match side {
            Side::Client => (deaf, talks),
            Side::Server => (talks, deaf),
        };
        pair.serve(far);
        pair.client().play(near);
        pair.run_for(20 * SEC);
        let began = pair.now;
        close(&mut pair, side);
        let (client, server) = ends(&mut pair);
        let other = if side == Side::Client { server } else { client };
        assert!(
            matches!(other, CloseReason::Peer { code: 7, .. }),
            "{other:?}"
        );
        assert!(pair.now - began <= SEC, "{} ms", (pair.now - began) / MS);
    }
}

#[test]
fn flush_towards_a_deaf_application_is_bounded() {
    let mut pair = Pair::new(3);
    pair.serve(Script::sink().reading(Reading::Never));
    pair.client().play(Script::bulk(1 << 40));
    pair.run_for(20 * SEC);
    let began = pair.now;
    close(&mut pair, Side::Client);
    assert!(
        pair.run_until(120 * SEC, |p| p.clients[0].closed.is_some()),
        "the flush never ends"
    );
    let Some(CloseReason::Stalled { unacknowledged }) = pair.client().closed.clone() else {
        panic!(
            "not everything arrived, and yet: {:?}",
            pair.clients[0].closed
        )
    };
    // All but what a deaf application's machine takes in: what a stream owns, and two thirds of the pool.
    let (_, flow) = pair
        .ledger
        .flows()
        .find(|(_, flow)| flow.written > 0)
        .unwrap();
    let pool = 24 << 20;
    assert_eq!(unacknowledged, flow.written - 16_384 - pool / 3 * 2);
    assert!(
        pair.now - began >= 20 * SEC,
        "given up after {} s",
        (pair.now - began) / SEC
    );
}

/// What the peer still says, and the credit for it, are no progress: a close went on for as long as the peer wrote.
#[test]
fn flush_towards_an_application_that_only_talks_is_bounded() {
    let mut pair = Pair::new(4);
    pair.serve(Script::paced(1 << 40, 2_000, 20 * MS).reading(Reading::Never));
    pair.client().play(Script::bulk(1 << 40));
    pair.run_for(20 * SEC);
    close(&mut pair, Side::Client);
    assert!(
        pair.run_until(120 * SEC, |p| p.clients[0].closed.is_some()),
        "the flush never ends"
    );
    let closed = pair.client().closed.clone();
    assert!(
        matches!(closed, Some(CloseReason::Stalled { .. })),
        "{closed:?}"
    );
}

/// D9: a close on a path that is down says so in the end; never success.
#[test]
fn close_on_a_dead_path_is_no_success() {
    let mut pair = in_mid_talk();
    // Of these not all is there yet.
    pair.client().play(Script::bulk(5_000_000));
    pair.run_for(40 * MS);
    pair.net.rule = Box::new(|_| Fault::request(Fate::Lose));
    close(&mut pair, Side::Client);
    assert!(pair.run_until(400 * SEC, |p| p.clients[0].closed.is_some()));
    let reason = pair.client().closed.clone().unwrap();
    assert!(
        matches!(
            reason,
            CloseReason::Stalled { .. } | CloseReason::GaveUp { .. }
        ),
        "{reason:?}"
    );
}

/// D9: and where all had been acknowledged before, it says no more than that this side has closed: nothing can be missing.
#[test]
fn close_on_a_dead_path_with_all_acknowledged_is_no_error() {
    for side in [Side::Client, Side::Server] {
        let mut pair = in_mid_talk();
        pair.run_to_end(60 * SEC);
        pair.run_for(10 * SEC);
        pair.net.rule = Box::new(|_| Fault::request(Fate::Lose));
        let began = pair.now;
        close(&mut pair, side);
        let closed = |p: &Pair| match side {
            Side::Client => p.clients[0].closed.clone(),
            Side::Server => p.hosts[0].sessions[0].closed.clone(),
        };
        assert!(pair.run_until(400 * SEC, |p| closed(p).is_some()));
        assert_eq!(closed(&pair), Some(CloseReason::Local));
        assert!(
            pair.now - began < 60 * SEC,
            "as late as the dead path is noticed"
        );
    }
}

/// S10: abort ends one side at once; its talkers get errors.
#[test]
fn abort_tells_nobody() {
    let mut pair = in_mid_talk();
    pair.client().machine.abort();
    pair.settle();
    assert_eq!(pair.client().closed, Some(CloseReason::Aborted));
    assert_eq!(
        pair.net.open(0),
        0,
        "an aborted session's exchanges are cancelled"
    );
    pair.run_for(SEC);
    assert_eq!(pair.server().unwrap().closed, None);
}

/// D9: late bytes of a closed session's streams are no end: readers that had not finished get an error.
#[test]
fn unfinished_streams_break_at_close() {
    let mut pair = Pair::new(4);
    pair.serve(Script::sink().open_ended());
    pair.client().play(Script::bulk(1_000).open_ended());
    pair.run_for(SEC);
    close(&mut pair, Side::Client);
    ends(&mut pair);
    let reader = pair.server_talker();
    assert!(
        reader.read_error.is_some(),
        "a stream that was not finished has no clean end"
    );
    assert!(pair.ledger.flows().all(|(_, flow)| !flow.ended));
}

/// S10, L1: sessions closed at a random moment on a bad path: whoever says Local has delivered everything it finished.
#[test]
fn closed_at_any_moment() {
    for seed in 0..40 {
        let mut pair = Pair::new(seed);
        let mut rng = posthole_tests::rng::Rng::new(seed);
        pair.serve(Script::bulk(30_000));
        pair.client().play(Script::bulk(30_000));
        let moment = 60 * MS + rng.below(SEC);
        pair.net.rule = Box::new(move |_| match rng.below(8) {
            0 => Fault::request(Fate::Lose),
            1 => Fault::response(Fate::Lose),
            2 => Fault::response(Fate::Fail(Failure::Cut)),
            3 => Fault::twice(50 * MS, true),
            _ => Fault::NONE,
        });
        pair.run_for(moment);
        let written = pair
            .ledger
            .flow(pair.key(pair.talker().stream, Side::Client));
        close(&mut pair, Side::Client);
        assert!(pair.run_until(400 * SEC, |p| p.clients[0].closed.is_some()));
        if pair.client().closed == Some(CloseReason::Local) {
            let flow = pair
                .ledger
                .flow(pair.key(pair.talker().stream, Side::Client));
            assert_eq!(
                flow.read, written.written,
                "seed {seed}: success, and bytes are missing"
            );
        }
    }
}
