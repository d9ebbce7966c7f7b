//! Paths that let less and less through, queue, or are slow (A2, A18, A23, A25).

use posthole_protocol::{Event, Failure, Lesson};
use posthole_tests::app::Script;
use posthole_tests::fault::{Fate, Fault};
use posthole_tests::oracle::Side;
use posthole_tests::pair::Pair;
use posthole_tests::{MS, SEC};

/// A transfer of 20 MB one way, after a second of which the path lets only 120 kB, then 64 kB through that way.
fn shrinks(side: Side) {
    let (up, down) = if side == Side::Client {
        (20_000_000, 0)
    } else {
        (0, 20_000_000)
    };
    let mut pair = Pair::new(1);
    pair.net.set_rate(Some(4_000_000), Some(4_000_000));
    pair.serve(Script::bulk(down));
    pair.client().play(Script::bulk(up));
    pair.run_for(SEC);
    for limit in [120_000, 64_000] {
        match side {
            Side::Client => pair.net.conditions.limit_up = Some(limit),
            Side::Server => pair.net.conditions.limit_down = Some(limit),
        }
        pair.run_for(2 * SEC);
    }
    pair.run_to_end(600 * SEC);
}

/// D2, A2: unlimited, then 413 above 120 kB in mid-transfer, then above 64 kB, with messages that have their numbers
/// already: it completes, with few copies (L5).
#[test]
fn path_shrinks_for_requests() {
    shrinks(Side::Client);
}

/// D2, A2: the same for answers, which a box turns into 502.
#[test]
fn path_shrinks_for_answers() {
    shrinks(Side::Server);
}

/// A2: a box that lets 40 kB of request through from the start lets everything through.
#[test]
fn small_requests_from_the_start() {
    for limit in [40_000, 64_000, 128_000] {
        let mut pair = Pair::new(2);
        pair.net.conditions.limit_up = Some(limit);
        pair.serve(Script::sink());
        pair.client().play(Script::bulk(3_000_000));
        pair.run_to_end(300 * SEC);
    }
}

/// A25: a box that resets connections on which much comes at once says nothing of sizes; two bodies lost are enough to see it,
/// and few are lost later, in trials.
#[test]
fn large_bodies_that_are_cut_are_too_large() {
    for side in [Side::Client, Side::Server] {
        for limit in [40_000, 300_000, 700_000, 800_000] {
            let mut pair = Pair::new(5);
            let cut = move |size| match size > limit {
                true => Fate::Fail(Failure::Cut),
                false => Fate::Pass,
            };
            match side {
                Side::Client => pair.net.rule = Box::new(move |it| Fault::request(cut(it.size))),
                Side::Server => pair.net.answer_rule = Box::new(move |it| cut(it.size)),
            }
            let (up, down) = match side {
                Side::Client => (40_000_000, 0),
                Side::Server => (0, 40_000_000),
            };
            pair.serve(Script::bulk(down));
            pair.client().play(Script::bulk(up));
            pair.run_to_end(600 * SEC);
            let lost = pair.clients[0].machine.stats().lost;
            // Every exchange that is open when twice the limit is tried again: of answers more are.
            let most = if side == Side::Client { 60 } else { 300 };
            assert!(lost < most, "{side:?} {limit}: {lost} lost");
            let told = pair.clients[0].events.iter().any(|event| match side {
                Side::Client => matches!(event, Event::Learned(Lesson::RequestTooLarge { .. })),
                Side::Server => matches!(event, Event::Learned(Lesson::AnswerTooLarge { .. })),
            });
            assert!(told, "{side:?} {limit}");
        }
    }
}

/// A2: a box that lets 40 kB of answer through from the start lets everything through.
#[test]
fn small_answers_from_the_start() {
    for limit in [40_000, 64_000, 128_000] {
        let mut pair = Pair::new(2);
        pair.net.conditions.limit_down = Some(limit);
        pair.serve(Script::bulk(3_000_000));
        pair.client().play(Script::sink());
        pair.run_to_end(300 * SEC);
    }
}

/// A25: of which way a limit is, is told as it is.
#[test]
fn a25_a_limit_of_answers_is_none_of_requests() {
    for side in [Side::Client, Side::Server] {
        let mut pair = Pair::new(2);
        let (limit, up, down) = match side {
            Side::Client => (&mut pair.net.conditions.limit_up, 3_000_000, 0),
            Side::Server => (&mut pair.net.conditions.limit_down, 0, 3_000_000),
        };
        *limit = Some(40_000);
        pair.serve(Script::bulk(down));
        pair.client().play(Script::bulk(up));
        let limits = |pair: &Pair| {
            let learned = pair.clients[0].machine.learned();
            match side {
                Side::Client => [learned.limit_up, learned.limit_down],
                Side::Server => [learned.limit_down, learned.limit_up],
            }
        };
        let is_known = pair.run_until(60 * SEC, |pair| limits(pair) != [None; 2]);
        let [own, other] = limits(&pair);
        assert!(is_known && own.is_some() && other.is_none(), "{side:?}");
    }
}

/// A18: a link of 56 kbit/s carries what it can: nothing is cancelled while bytes move, and little goes twice.
#[test]
fn slow_link() {
    let mut pair = Pair::new(3);
    pair.net.set_rate(Some(7_000), Some(7_000));
    pair.serve(Script::bulk(300_000));
    pair.client().play(Script::bulk(300_000));
    let began = pair.now;
    pair.run_to_end(300 * SEC);
    let took = pair.now - began;
    assert!(took <= 120 * SEC, "300 kB at 7 kB/s took {} s", took / SEC);
    for side in [Side::Client, Side::Server] {
        let way = pair.net.tally.way(0, side);
        assert!(
            way.bytes <= 400_000,
            "{side:?} sent {} bytes for 300,000",
            way.bytes
        );
    }
}

/// A23: a box that queues the second request in silence passes a talk both ways all the same.
#[test]
fn queueing_box() {
    let mut pair = Pair::new(4);
    pair.net.conditions.lanes = Some(1);
    pair.serve(Script::paced(2_000, 100, 500 * MS));
    pair.client().play(Script::paced(2_000, 100, 500 * MS));
    pair.run_to_end(400 * SEC);
}

/// S4: a buffering proxy that holds every answer back for a while and reorders them delays, and no more.
#[test]
fn buffering_proxy() {
    let mut pair = Pair::new(5);
    pair.serve(Script::echo(0));
    pair.client().play(Script::paced(50_000, 2_000, 100 * MS));
    pair.net.rule = Box::new(|info| Fault {
        response_delay: (info.nth % 4) * 300 * MS,
        ..Fault::NONE
    });
    pair.run_to_end(120 * SEC);
}

/// S13, S20: with 100 ms of round trip and no limit of rate, 20 MB each way take few seconds.
#[test]
fn long_path_is_filled() {
    for (up, down) in [(20_000_000, 0), (0, 20_000_000)] {
        let mut pair = Pair::new(6);
        pair.net.conditions.delay_up = 50 * MS;
        pair.net.conditions.delay_down = 50 * MS;
        pair.serve(Script::bulk(down));
        pair.client().play(Script::bulk(up));
        let began = pair.now;
        pair.run_to_end(120 * SEC);
        let took = pair.now - began;
        assert!(
            took <= 10 * SEC,
            "{up} up, {down} down took {} ms",
            took / MS
        );
    }
}

/// A25: an origin that restarts gives 502s for a while; afterwards bodies are as large as before.
#[test]
fn restarting_origin_teaches_nothing() {
    let mut pair = Pair::new(7);
    pair.net.set_rate(Some(10_000_000), Some(10_000_000));
    pair.serve(Script::sink());
    pair.client().play(Script::bulk(1 << 40));
    pair.run_for(10 * SEC);
    let body = |pair: &mut Pair| {
        let (bodies, bytes) = (
            pair.net.tally.way(0, Side::Client).bodies,
            pair.net.tally.way(0, Side::Client).bytes,
        );
        pair.run_for(10 * SEC);
        let way = pair.net.tally.way(0, Side::Client);
        (way.bytes - bytes) / (way.bodies - bodies)
    };
    let before = body(&mut pair);
    pair.net.rule = Box::new(|_| Fault::request(Fate::Fail(Failure::Middlebox { status: 502 })));
    pair.run_for(5 * SEC);
    pair.net.heal();
    pair.run_for(10 * SEC);
    let after = body(&mut pair);
    assert!(
        after * 10 >= before * 8,
        "{before} bytes a body before the restart, {after} after it"
    );
}

/// A18, A6: on a slow link a body takes long to arrive, and a hundred keystrokes overtake it: it counts all the same.
#[test]
fn slow_body_is_overtaken_by_keystrokes() {
    let mut pair = Pair::new(8);
    pair.serve(Script::sink());
    // Slots grow and bodies are large before the path turns slow.
    pair.client().play(Script::bulk(5_000_000));
    pair.run_to_end(60 * SEC);
    pair.net.set_rate(Some(20_000), Some(20_000));
    pair.client().play(Script::bulk(200_000));
    pair.client().play(Script::paced(2_000, 1, 10 * MS));
    pair.run_to_end(120 * SEC);
    let way = pair.net.tally.way(0, Side::Client);
    assert!(
        way.bytes <= 6_000_000,
        "{} bytes for 5,202,000 and some headers",
        way.bytes
    );
}

/// S20: at 100 ms of round trip and 100 Mbit/s, one exchange in a hundred lost costs at most a fifth of the rate.
#[test]
fn s20_one_in_a_hundred_is_lost() {
    let seconds = |seed: u64, side: Side, fate: Option<Fate>| {
        let (up, down) = if side == Side::Client {
            (60_000_000, 0)
        } else {
            (0, 60_000_000)
        };
        let mut pair = Pair::new(seed);
        (pair.net.conditions.delay_up, pair.net.conditions.delay_down) = (50 * MS, 50 * MS);
        pair.net.set_rate(Some(12_500_000), Some(12_500_000));
        if let Some(fate) = fate {
            let mut rng = posthole_tests::rng::Rng::new(seed);
            pair.net.rule = Box::new(move |_| match rng.below(200) {
                0 => Fault::request(fate),
                1 => Fault::response(fate),
                _ => Fault::NONE,
            });
        }
        pair.serve(Script::bulk(down));
        pair.client().play(Script::bulk(up));
        let began = pair.now;
        pair.run_to_end(600 * SEC);
        pair.now - began
    };
    for side in [Side::Client, Side::Server] {
        for fate in [Fate::Lose, Fate::Fail(Failure::Cut)] {
            let (mut clean, mut lossy) = (0, 0);
            for seed in [1, 3] {
                clean += seconds(seed, side, None);
                lossy += seconds(seed, side, Some(fate));
            }
            assert!(
                clean * 10 >= lossy * 8,
                "{side:?} {fate:?}: {clean} {lossy}"
            );
        }
    }
}

/// A25: a box that ends requests of 10 s is understood after two of them; then hardly any is lost, and it is put to the
/// test ever less often.
#[test]
fn a25_a_box_that_ends_held_requests() {
    for limit in [7, 10, 15, 20] {
        let mut pair = Pair::new(20 + limit);
        pair.net.conditions.hold_limit = Some(limit * SEC);
        pair.serve(Script::paced(1, 1, SEC));
        pair.client().play(Script::paced(1, 1, SEC));
        pair.run_for(1_800 * SEC);
        let lost = pair.clients[0].machine.stats().lost;
        // Streamed answers are ended at that age, too, and tried again after 1, 2, 4, 8 and 16 minutes.
        assert!(lost <= 8 + 5, "{limit} s: {lost} lost in half an hour");
        let learned = pair.clients[0].machine.learned();
        let at = learned.hold_limit.unwrap().as_micros() as u64;
        assert!(at.abs_diff(limit * SEC) < SEC, "{limit} s: {at} us");
        let told = pair.clients[0].events.iter();
        let told = told.filter(|e| matches!(e, Event::Learned(Lesson::HoldEnds { .. })));
        assert_eq!(told.count(), 1);
    }
}

/// A23: with a box that queues, a keystroke waits for a held request only until that is understood.
#[test]
fn a23_a_queueing_box_is_understood() {
    let mut pair = Pair::new(30);
    pair.net.conditions.lanes = Some(1);
    pair.serve(Script::sink());
    pair.client().play(Script::paced(3, 1, 20 * SEC));
    pair.run_for(100 * SEC);
    assert!(pair.clients[0].machine.learned().one_at_a_time);
    for side in [Side::Client, Side::Server] {
        let before = pair.now;
        let script = Script::paced(8, 1, 3 * SEC);
        match side {
            Side::Client => pair.client().play(script),
            Side::Server => pair.server().unwrap().play(script),
        }
        pair.run_for(30 * SEC);
        let flows = pair.ledger.flows();
        let last = flows.filter(|(key, _)| key.from == side).last().unwrap();
        assert!(
            last.1.worst_lag < 2_500 * MS,
            "{side:?} {before}: {} ms",
            last.1.worst_lag / MS
        );
    }
    // And forgotten when the box is gone.
    pair.net.conditions.lanes = None;
    pair.run_for(600 * SEC);
    pair.client().play(Script::paced(8, 1, 3 * SEC));
    pair.run_for(30 * SEC);
    assert!(!pair.clients[0].machine.learned().one_at_a_time);
}

/// A23: a path that lets everything through at once is never taken for one that doesn't, however slow the server is.
#[test]
fn a23_no_box_is_no_line() {
    for (seed, delay) in [(31, 1), (32, 50), (33, 400)] {
        let mut pair = Pair::new(seed);
        (pair.net.conditions.delay_up, pair.net.conditions.delay_down) = (delay * MS, delay * MS);
        pair.net.conditions.jitter = 100 * MS;
        pair.serve(Script::paced(3_000, 30, 7 * SEC));
        pair.client().play(Script::paced(3_000, 30, 5 * SEC));
        pair.run_to_end(800 * SEC);
        let told = pair.clients[0].events.iter();
        let told = told.filter(|e| matches!(e, Event::Learned(Lesson::OneAtATime)));
        assert_eq!(told.count(), 0, "{delay} ms");
    }
}

/// How often this was told.
fn told(pair: &Pair, lesson: Lesson) -> usize {
    let events = pair.clients[0].events.iter();
    events.filter(|e| **e == Event::Learned(lesson)).count()
}

/// A25: a firewall that refuses all but form uploads is understood within three exchanges, whatever it says.
#[test]
fn a25_a_firewall_that_lets_only_forms_pass() {
    for (seed, status) in [(1, 400), (2, 403), (3, 405), (4, 406), (5, 415), (6, 501)] {
        let mut pair = Pair::new(seed);
        pair.net.conditions.only_forms = Some(status);
        // As ModSecurity does with its core rules.
        pair.net.conditions.limit_up = Some(128 * 1024);
        pair.serve(Script::bulk(2_000_000));
        pair.client().play(Script::bulk(2_000_000));
        assert!(
            pair.run_until(2 * SEC, |pair| pair.clients[0].machine.learned().form),
            "{status}"
        );
        pair.run_to_end(300 * SEC);
        assert_eq!(told(&pair, Lesson::Form), 1, "{status}");
        assert_eq!(told(&pair, Lesson::NoForm), 0, "{status}");
    }
}

/// A25: it comes up in mid-transfer, and another kind of it after that.
#[test]
fn a25_a_firewall_that_changes_its_mind() {
    let mut pair = Pair::new(7);
    pair.net.set_rate(Some(1_000_000), Some(1_000_000));
    pair.serve(Script::bulk(8_000_000));
    pair.client().play(Script::bulk(8_000_000));
    pair.run_for(2 * SEC);
    pair.net.conditions.only_forms = Some(403);
    pair.run_for(3 * SEC);
    assert!(pair.clients[0].machine.learned().form);
    pair.net.conditions.only_forms = None;
    pair.net.conditions.no_forms = Some(403);
    pair.run_for(3 * SEC);
    assert!(!pair.clients[0].machine.learned().form);
    pair.run_to_end(300 * SEC);
    let told = [Lesson::Form, Lesson::NoForm].map(|lesson| told(&pair, lesson));
    assert_eq!(told, [1, 1]);
}

/// A box that refuses everything for a while, as one with no room does, teaches nothing wrong.
#[test]
fn a_box_that_refuses_everything_for_a_while() {
    let mut pair = Pair::new(8);
    (pair.net.conditions.only_forms, pair.net.conditions.no_forms) = (Some(403), Some(403));
    pair.serve(Script::bulk(1_000_000));
    pair.client().play(Script::bulk(1_000_000));
    pair.run_for(20 * SEC);
    assert_eq!(told(&pair, Lesson::Form), 0);
    (pair.net.conditions.only_forms, pair.net.conditions.no_forms) = (None, None);
    pair.run_to_end(300 * SEC);
}

/// S18: what was learned of the way's rate is shown, and nothing before.
#[test]
fn what_the_way_carries_is_learned() {
    let mut pair = Pair::new(3);
    pair.net.set_rate(Some(200_000), Some(300_000));
    pair.serve(Script::bulk(3_000_000));
    let rates = |pair: &Pair| {
        let learned = pair.clients[0].machine.learned();
        (learned.rate_up, learned.rate_down)
    };
    pair.client().play(Script::bulk(2_000_000));
    assert_eq!(rates(&pair), (None, None));
    pair.run_to_end(60 * SEC);
    let (Some(up), Some(down)) = rates(&pair) else {
        panic!("{:?}", pair.clients[0].machine.learned());
    };
    assert!((150_000..=250_000).contains(&up), "{up}");
    assert!((200_000..=400_000).contains(&down), "{down}");
}
