//! Streams end like TCP connections: each way by itself, and a reset is never a clean end (§6).

use bytes::Bytes;
use posthole_protocol::wire::{Content, Control};
use posthole_protocol::{Event, Read, ReadError, ResetCode, StreamId, WriteError};
use posthole_tests::app::Script;
use posthole_tests::craft::{FakeClient, ack, last};
use posthole_tests::fault::{Fate, Fault};
use posthole_tests::oracle::Side;
use posthole_tests::pair::Pair;
use posthole_tests::settings;
use posthole_tests::{MS, SEC};

/// S12: one way ends long before the other goes on, from either side.
#[test]
fn each_way_ends_by_itself() {
    for (up, down) in [
        (0, 300_000),
        (300_000, 0),
        (1, 1),
        (0, 0),
        (20_000, 300_000),
    ] {
        let mut pair = Pair::new(1);
        pair.serve(Script::paced(down, 10_000, 5 * MS));
        pair.client().play(Script::bulk(up));
        pair.run_to_end(60 * SEC);
        let flows: Vec<_> = pair
            .ledger
            .flows()
            .map(|(_, flow)| (flow.read, flow.ended))
            .collect();
        assert_eq!(flows, [(up, true), (down, true)]);
    }
}

/// S12: whoever finished is told once when all of it was acknowledged.
#[test]
fn finished_is_told_when_acknowledged() {
    let mut pair = Pair::new(2);
    pair.serve(Script::sink());
    pair.client().play(Script::bulk(100_000));
    pair.run_to_end(60 * SEC);
    pair.run_for(2 * SEC);
    let told = pair
        .client()
        .events
        .iter()
        .filter(|event| matches!(event, Event::Finished(_)))
        .count();
    assert_eq!(told, 1, "{:?}", pair.client().events);
}

/// §6.5: a reset by either side is a reset at the other, with its code, also when bytes are on the way.
#[test]
fn reset_is_a_reset_at_the_other_end() {
    for side in [Side::Client, Side::Server] {
        for after in [0, 10 * MS, 60 * MS, 500 * MS] {
            let mut pair = Pair::new(3);
            pair.net.set_rate(Some(1_000_000), Some(1_000_000));
            pair.serve(Script::bulk(2_000_000));
            pair.client().play(Script::bulk(2_000_000));
            assert!(pair.run_until(10 * SEC, |p| {
                p.hosts[0]
                    .sessions
                    .iter()
                    .any(|end| !end.talkers.is_empty())
            }));
            pair.run_for(after);
            let id = pair.talker().stream;
            let key = pair.key(id, side);
            match side {
                Side::Client => pair
                    .client()
                    .machine
                    .stream(id)
                    .unwrap()
                    .reset(ResetCode(77)),
                Side::Server => pair
                    .server()
                    .unwrap()
                    .machine
                    .stream(id)
                    .unwrap()
                    .reset(ResetCode(77)),
            }
            pair.ledger.reset(key, 77);
            pair.run_for(20 * SEC);
            let reader = match side {
                Side::Client => pair.server().unwrap().talkers[&id].clone(),
                Side::Server => pair.talker().clone(),
            };
            assert_eq!(
                reader.read_error,
                Some(ReadError::Reset(ResetCode(77))),
                "{side:?} after {after} us"
            );
            assert!(!pair.ledger.flow(key).ended);
            let back = pair.ledger.flow(pair.key(id, side.peer()));
            assert!(
                back.ended && back.read == 2_000_000,
                "the other direction goes on: {back:?}"
            );
        }
    }
}

/// §6.6: a stop is told to the writer, with its code; the other direction goes on.
#[test]
fn stop_is_told_to_the_writer() {
    let mut pair = Pair::new(4);
    pair.serve(Script::paced(40_000, 1_000, 20 * MS));
    pair.client()
        .play(Script::paced(u64::MAX / 2, 1_000, 10 * MS));
    assert!(pair.run_until(10 * SEC, |p| p.ledger.total_read() > 5_000));
    let id = pair.talker().stream;
    let key = pair.key(id, Side::Client);
    pair.server()
        .unwrap()
        .machine
        .stream(id)
        .unwrap()
        .stop(ResetCode(5));
    pair.ledger.stopped(key, 5);
    pair.run_for(20 * SEC);
    assert_eq!(
        pair.talker().write_error,
        Some(WriteError::Stopped(ResetCode(5)))
    );
    let back = pair.ledger.flow(pair.key(id, Side::Server));
    assert!(back.ended && back.read == 40_000, "{back:?}");
}

/// §6.5, A16: streams that end by reset give back what they held of the session's pools, also on a lossy path.
#[test]
fn resets_give_their_credit_back() {
    let mut pair = Pair::new(5);
    pair.serve(Script::sink());
    pair.net.rule = Box::new(|info| {
        if info.nth % 7 == 3 {
            Fault::request(Fate::Lose)
        } else {
            Fault::NONE
        }
    });
    for round in 0..60 {
        pair.client().play(Script::bulk(1_000_000).open_ended());
        pair.run_for(100 * MS);
        let id = *pair.client().talkers.keys().next_back().unwrap();
        let key = pair.key(id, Side::Client);
        if let Some(mut stream) = pair.client().machine.stream(id) {
            stream.reset(ResetCode(round));
            stream.stop(ResetCode(round));
        }
        pair.ledger.reset(key, round);
        pair.client().talkers.get_mut(&id).unwrap().read_error = Some(ReadError::Stopped);
        pair.client().talkers.get_mut(&id).unwrap().write_error = Some(WriteError::Finished);
        pair.run_for(100 * MS);
    }
    pair.net.heal();
    pair.run_for(30 * SEC);
    let before = pair.now;
    pair.client().play(Script::bulk(1_000_000));
    let key = {
        pair.settle();
        let id = *pair.client().talkers.keys().next_back().unwrap();
        pair.key(id, Side::Client)
    };
    assert!(
        pair.run_until(30 * SEC, |p| p.ledger.flow(key).ended),
        "the pool has run dry"
    );
    assert!(pair.now - before < 10 * SEC);
}

/// §6.6: a writer that is stopped hears of it even if it read the other way's end first.
#[test]
fn stop_is_told_after_the_end_was_read() {
    let mut fake = FakeClient::connected(settings::tuned());
    let stop = Content::Control(Control::Stop {
        stream: StreamId::from_number(0),
        code: ResetCode(40),
    });
    fake.send(&[last(0, 0, b"bye"), stop]);
    fake.run_for(50 * MS);
    // The reset that answers the stop is acknowledged: nothing more will be said on the wire.
    fake.prefix.ack = ack(1);
    fake.send(&[]);
    let machine = &mut fake.session().unwrap().machine;
    let id = machine.accept().expect("a stream");
    assert!(matches!(
        machine.stream(id).unwrap().read(10),
        Ok(Read::Chunk(_))
    ));
    assert_eq!(machine.stream(id).unwrap().read(10), Ok(Read::End));
    let mut stream = machine.stream(id).expect("not everything was said of it");
    assert_eq!(
        stream.write(&mut Bytes::from_static(b"more")),
        Err(WriteError::Stopped(ResetCode(40)))
    );
}

/// S6: a stream is finished when its end has been acknowledged, not when its bytes have, be it long before or in between.
#[test]
fn s6_finished_is_told_when_the_end_is_acknowledged() {
    for between in [0, 3 * SEC] {
        let mut pair = Pair::new(50);
        pair.serve(Script::sink());
        // The session is there, and nothing else is on its way.
        pair.run_for(2 * SEC);
        pair.client().play(Script::bulk(100).open_ended());
        pair.settle();
        pair.run_for(between);
        let id = StreamId::from_number(0);
        let is_told = |pair: &Pair| pair.clients[0].events.contains(&Event::Finished(id));
        pair.net.rule = Box::new(|_| Fault::request(Fate::Lose));
        let key = pair.key(id, Side::Client);
        pair.client().machine.stream(id).unwrap().finish();
        pair.ledger.finished(key);
        let talker = pair.client().talkers.get_mut(&id).unwrap();
        talker.write_error = Some(WriteError::Finished);
        pair.settle();
        pair.run_for(3 * SEC);
        assert!(!is_told(&pair), "{between}");
        pair.net.heal();
        assert!(pair.run_until(30 * SEC, is_told), "{between}");
    }
}
