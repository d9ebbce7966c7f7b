//! Anything may happen; once the wire heals everything arrives, ends and is forgotten.

use super::*;

fn random_session(seed: u64) {
    let mut w = World::new(seed);
    note!(
        w,
        "{:?} delay {} {:#?} {:#?}",
        w.faults,
        w.delay,
        w.client.session.config,
        w.config
    );
    let ops = w.rng.pick(&[5, 20, 60, 200]);
    let close_early = w.rng.chance(25);
    for _ in 0..ops {
        w.op();
        if w.rng.chance(50) {
            let until = w.now + w.rng.below(20 * MS);
            w.run(until);
        }
        if w.rng.chance(1)
            && w.server
                .as_ref()
                .is_some_and(|s| s.is_connected() && !s.is_over())
        {
            w.now += w.rng.below(3600 * SEC);
        }
    }
    if close_early {
        let side = w.rng.below(2) as usize;
        close(&mut w, side);
        if w.rng.chance(30) {
            let until = w.now + w.rng.below(2 * SEC);
            w.run(until);
            close(&mut w, 1 - side);
        }
    } else {
        w.faults = Faults::default();
        note!(w, "--- heals");
        // A classic server says one thing per wait.
        let classic = w.client.session.config.classic || w.config.classic;
        let until = w.now + if classic { 4000 * SEC } else { 200 * SEC };
        w.settle(until);
        for (key, flow) in &w.flows {
            let out = flow.reset || flow.stopped;
            assert!(
                out || (flow.read == flow.written && flow.pending == 0),
                "{key:?} not delivered: {flow:?}"
            );
            assert!(
                out || !flow.finished || (flow.ended && flow.finished_told),
                "{key:?} {flow:?}"
            );
            if flow.reset && !flow.stopped {
                assert!(flow.ended || flow.failed.is_some(), "{key:?}: {flow:?}");
            }
        }
        assert_eq!(w.closed, [None, None]);
        if let Some(server) = &w.server {
            assert!(w.client.session.outbox.is_empty(), "{:#?}", w.client);
            assert!(server.is_flushed());
        }
        // Everything ends: nothing may be left.
        for side in [0, 1] {
            for id in w.known[side].clone() {
                if let Some(mut stream) = w.stream(side, id) {
                    stream.finish();
                    let flow = w.flows.get_mut(&(id.number(), side)).unwrap();
                    if !flow.reset {
                        flow.finished = true;
                    }
                }
            }
        }
        let known = w.known.clone();
        let until = w.now + if classic { 1000 * SEC } else { 100 * SEC };
        w.settle(until);
        for side in [0, 1] {
            for id in known[side].clone() {
                assert!(
                    w.stream(side, id).is_none(),
                    "side {side} keeps {id}: {:?} {:?}",
                    w.flows[&(id.number(), 0)],
                    w.flows[&(id.number(), 1)]
                );
            }
        }
        assert!(!w.full[0] && !w.full[1], "never told that it can open");
        let polls = w.polls;
        let until = w.now + 1000 * SEC;
        w.settle(until);
        let wait = w.client.session.config.wait_first.as_secs().min(5);
        assert!(
            w.polls - polls < 2 * 1000 / wait + 10,
            "{} polls while idle",
            w.polls - polls
        );
        let side = w.rng.below(2) as usize;
        close(&mut w, side);
    }
    w.faults = Faults::default();
    note!(w, "--- closing");
    let until = w.now + 400 * SEC;
    w.settle(until);
    if w.server.is_none() || w.closing == [false, false] {
        return;
    }
    for side in [0, 1] {
        let why = w.closed[side]
            .clone()
            .unwrap_or_else(|| panic!("{side} never ends"));
        assert!(
            why.is_clean() || matches!(why, CloseReason::Peer { code: 5, .. }),
            "{side}: {why:?}"
        );
        if why == CloseReason::Local && w.closing == [side == 0, side == 1] {
            for (key, flow) in w.flows.iter().filter(|(k, _)| k.1 == side) {
                assert!(
                    flow.reset || flow.stopped || flow.read == flow.written,
                    "closed with {key:?} not delivered: {flow:?}"
                );
            }
        }
    }
    for body in w.ghosts.clone() {
        w.requests += 1;
        let rid = RequestId::new(w.requests);
        w.open_requests.push((rid, 0));
        w.arrive(Packet::Request(rid, body));
    }
}

fn close(w: &mut World, side: usize) {
    note!(w, "{side}: closes");
    if side == 0 {
        w.client.close(5, "bye");
    } else if let Some(server) = &mut w.server {
        server.close(5, "bye");
    } else {
        return;
    }
    w.closing[side] = true;
}

#[test]
fn random_sessions_keep_every_promise() {
    each_seed(random_session);
}

/// A8, D9: a server that is closed while a session may still be a copy of an old one does not tell its client that
/// all is well before the application can have it.
#[test]
fn a_server_that_closes_early_loses_nothing() {
    let mut w = World::new(1);
    w.faults = Faults::default();
    (w.now, w.delay) = (0, 10 * MS);
    w.config = Config::default();
    w.client = Client::new(Config::default(), SessionId::from_bytes([1; 16]), w.at());
    w.open(0);
    w.flows.get_mut(&(0, 0)).unwrap().pending = 3;
    w.write(0, StreamId::from_number(0));
    close(&mut w, 0);
    w.drain();
    let (_, request) = w.wire.pop_first().unwrap();
    w.arrive(request);
    close(&mut w, 1);
    w.settle(5 * SEC);
    assert_eq!(w.flows[&(0, 0)].read, 3);
    assert!(
        w.closed
            .iter()
            .all(|why| why.as_ref().is_some_and(CloseReason::is_clean)
                || matches!(why, Some(CloseReason::Peer { code: 5, .. })))
    );
}
