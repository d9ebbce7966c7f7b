//! How soon: on a clean wire, after one exchange has vanished, and on a path slower than the first timers.

use super::*;

/// On a wire that loses nothing, what may be sent arrives soon: no deadline but gathering, an acknowledgement's delay
/// and, with one slot, its wait stands before it.
fn prompt_session(seed: u64) {
    let mut w = World::new(seed);
    let jitter = w.faults.jitter;
    w.faults = Faults {
        jitter,
        ..Faults::default()
    };
    note!(
        w,
        "delay {} {:#?} {:#?}",
        w.delay,
        w.client.session.config,
        w.config
    );
    let first = w.client.open().unwrap();
    w.learn(0, first);
    w.read_all(0, first);
    w.flows.get_mut(&(0, 0)).unwrap().pending = 1;
    w.write(0, first);
    let until = w.now + 10 * SEC;
    w.settle(until);
    let ops = w.rng.pick(&[1, 2, 5, 20]);
    for _ in 0..ops {
        for _ in 0..1 + w.rng.below(3) {
            let side = w.rng.below(2) as usize;
            match w.rng.below(10) {
                0 => w.open(side),
                1 => {
                    let id = w.rng.pick(&w.known[side].clone());
                    let key = (id.number(), side);
                    if !w.flows[&key].finished
                        && let Some(mut stream) = w.stream(side, id)
                    {
                        stream.finish();
                        w.flows.get_mut(&key).unwrap().finished = true;
                    }
                }
                _ => {
                    let id = w.rng.pick(&w.known[side].clone());
                    let key = (id.number(), side);
                    let size = w.rng.pick(&[1, 1, 10, 3000, 20_000, 300_000]);
                    if !w.flows[&key].finished {
                        w.flows.get_mut(&key).unwrap().pending += size;
                        w.write(side, id);
                    }
                }
            }
        }
        let (begun, most) = (w.now, w.rng.pick(&[10 * MS, 100 * MS, 3 * SEC, 30 * SEC]));
        let alone = w.client.session.config.requests == 1;
        let classic = w.client.session.config.classic || w.config.classic;
        let few = w
            .client
            .session
            .config
            .bundle_messages
            .min(w.config.bundle_messages)
            < 20;
        // Windows of 16 KiB at worst, some round trips each.
        let trip = 2 * (w.delay + jitter);
        let slow = if alone { 6 * SEC } else { SEC };
        let bound = 5 * slow + 80 * trip + if few || classic { 400 * SEC } else { 0 };
        let done = |w: &World| {
            w.flows.values().all(|f| {
                f.read == f.written && f.pending == 0 && (!f.finished || f.ended && f.finished_told)
            })
        };
        while !done(&w) {
            let next = w.now + MS;
            let at = [
                w.client.next_timeout(),
                w.server.as_ref().and_then(Server::next_timeout),
            ];
            let at = at.into_iter().flatten().map(Instant::as_micros).min();
            let at = at
                .into_iter()
                .chain(w.wire.keys().map(|k| k.0))
                .min()
                .unwrap_or(next);
            let until = at.max(w.now + 1);
            w.settle_on(until);
            assert!(w.now - begun < bound, "stalls from {begun}: {:?}", w.flows);
        }
        let took = w.now - begun;
        note!(w, "took {took}");
        let until = w.now + w.rng.below(most);
        w.settle_on(until);
    }
}

#[test]
fn what_may_be_sent_arrives_soon() {
    each_seed(prompt_session);
}

/// D3: one request or answer vanishes without a word. Gives the longest time that a byte of either side's took.
fn black_hole(
    requests: u8,
    trusted: bool,
    lost: (Option<u64>, Option<u64>),
    pause: u64,
) -> [u64; 2] {
    let mut w = World::new(1);
    w.faults = Faults::default();
    w.delay = 50 * MS;
    let config = Config::builder().requests(requests).build().unwrap();
    let start = if trusted { 2000 * SEC } else { 0 };
    w.now = start;
    w.config = config.clone();
    w.client = Client::new(config, SessionId::from_bytes([1; 16]), w.at());
    (w.lost_request, w.lost_answer) = lost;
    let id = w.client.open().unwrap();
    w.learn(0, id);
    w.read_all(0, id);
    let mut longest = [0, 0];
    for turn in 0..12 {
        let begun = w.now;
        for side in [0, 1] {
            if w.known[side].contains(&id) && turn % 3 != side {
                w.flows.get_mut(&(0, side)).unwrap().pending += 1;
                w.write(side, id);
            }
        }
        let mut open = [true, true];
        while open != [false, false] || w.now < begun + pause {
            let at = [
                w.client.next_timeout(),
                w.server.as_ref().and_then(Server::next_timeout),
            ];
            let at = at.into_iter().flatten().map(Instant::as_micros).min();
            let at = at
                .into_iter()
                .chain(w.wire.keys().map(|k| k.0))
                .chain([begun + pause].into_iter().filter(|t| *t > w.now))
                .min()
                .unwrap_or(w.now + 1);
            w.settle_on(at.max(w.now + 1));
            for side in [0, 1] {
                let flow = &w.flows[&(0, side)];
                if open[side] && flow.read == flow.written {
                    open[side] = false;
                    longest[side] = longest[side].max(w.now - begun);
                }
            }
            assert!(w.now < begun + 100 * SEC, "never arrives");
        }
    }
    longest
}

#[test]
fn d3_a_vanished_exchange_is_noticed_by_the_timer() {
    let mut bad = Vec::new();
    for (requests, trusted) in [(2, true), (2, false), (8, true), (8, false)] {
        for pause in [30 * MS, 500 * MS, 3 * SEC] {
            for k in 0..20 {
                for lost in [(Some(k), None), (None, Some(k)), (Some(k), Some(k))] {
                    let [up, down] = black_hole(requests, trusted, lost, pause);
                    let waits = u64::from(lost.0.is_some()) + u64::from(lost.1.is_some());
                    if up > 4 * SEC || down > (waits * 12 + 4) * SEC {
                        bad.push((requests, trusted, pause / MS, lost, up / MS, down / MS));
                    }
                }
            }
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

#[test]
fn a_path_slower_than_the_first_timers_still_works() {
    for (config, trusted) in [
        (Config::default(), true),
        (Config::default(), false),
        (Config::classic(), true),
        (Config::classic(), false),
    ] {
        let most = if config.classic { 3 } else { 7 };
        for delay in [600 * MS, SEC, 2 * SEC, 3 * SEC, most * SEC] {
            let mut w = World::new(1);
            w.faults = Faults::default();
            w.delay = delay;
            w.now = if trusted { 2000 * SEC } else { 0 };
            w.config = config.clone();
            w.client = Client::new(config.clone(), SessionId::from_bytes([1; 16]), w.at());
            let id = w.client.open().unwrap();
            w.learn(0, id);
            w.read_all(0, id);
            for side in [0, 1] {
                w.flows.get_mut(&(0, side)).unwrap().pending = 3000;
            }
            w.write(0, id);
            let until = w.now + 100 * SEC;
            w.settle_on(until);
            w.write(1, id);
            let until = w.now + 100 * SEC;
            w.settle_on(until);
            let read = [w.flows[&(0, 0)].read, w.flows[&(0, 1)].read];
            assert_eq!(
                read,
                [3000, 3000],
                "{delay} us, trusted: {trusted}, {config:?}"
            );
        }
    }
}
