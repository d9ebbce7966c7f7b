//! The blocking runtime on both sides of a proxy that does harm: the bytes are right, and nobody sees an error.
#![allow(clippy::unwrap_used)] // A test fails by it.

mod traffic;

use posthole::hostile::{Counts, Fault, Faults, Hostile, Upstream};
use posthole_blocking::{Config, ListenOptions};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use traffic::{
    MIB, Pair, both_ways, bounded, half_close, listener_with, options, pair_with, ping_pong,
    receive, reset, send,
};

/// The largest body.
const BODY: u32 = 128 * 1024;

/// A session through a proxy that does this harm. The session's beginning is spared; that has tests of its own.
fn through(seed: u64, faults: Faults) -> (Pair, Hostile) {
    // Small bodies, so that a few megabytes are many exchanges.
    let config = Config::builder().body_max(BODY).build().unwrap();
    let hostile = Hostile::start(seed, Faults::none(), Upstream::AsAsked).unwrap();
    let (listener, addr) = listener_with(ListenOptions::new().config(config.clone()));
    let options = options(Some(&hostile.url())).config(config);
    let pair = pair_with(listener, addr, options);
    hostile.set_faults(faults);
    (pair, hostile)
}

/// All kinds of harm at this rate: 4 MiB both ways on each of three streams at once, with three seeds.
fn at_a_rate_of(percent: f64) {
    bounded(move || {
        for seed in 1..=3 {
            let (pair, hostile) = through(seed, Faults::all(percent));
            both_ways(&pair, 3, 4 * MIB);
            println!("seed {seed}: {:?}", hostile.counts());
            assert!(hostile.counts().harmed() >= 3);
            hostile.set_faults(Faults::none());
            pair.close();
        }
    });
}

#[test]
fn one_exchange_in_twenty_harmed() {
    at_a_rate_of(5.0);
}

#[test]
fn one_exchange_in_ten_harmed() {
    at_a_rate_of(10.0);
}

#[test]
fn one_exchange_in_four_harmed() {
    at_a_rate_of(25.0);
}

/// One kind of harm to every tenth exchange, whatever the streams do, until it was done three times.
fn every_tenth(fault: Fault) -> Counts {
    let (pair, hostile) = through(4, Faults::only(fault, 10.0));
    both_ways(&pair, 2, 4 * MIB);
    let (near, far) = pair.stream();
    ping_pong(&near, &far, 50);
    half_close(&pair);
    reset(&pair);
    for _ in 0..100 {
        if hostile.counts().harmed() >= 3 {
            break;
        }
        ping_pong(&near, &far, 10);
    }
    let counts = hostile.counts();
    assert!(counts.harmed() >= 3, "{counts:?}");
    hostile.set_faults(Faults::none());
    pair.close();
    counts
}

macro_rules! every_tenth {
    ($($name:ident: $fault:ident;)*) => {$(
        #[test]
        fn $name() {
            bounded(|| {
                every_tenth(Fault::$fault);
            });
        }
    )*};
}

every_tenth! {
    every_tenth_request_late: Delay;
    every_tenth_request_overtaken: Reorder;
    every_tenth_request_lost: LoseRequest;
    every_tenth_answer_lost: LoseResponse;
    every_tenth_request_answered_502_with_html: ErrorBefore;
    every_tenth_answer_made_a_502_with_html: ErrorAfter;
    every_tenth_request_delivered_twice: Double;
    every_tenth_answer_cut_though_its_status_is_200: Cut;
    every_tenth_answer_cut_to_look_whole: CutClean;
    every_tenth_request_corrupted: CorruptRequest;
    every_tenth_answer_corrupted: CorruptResponse;
    every_tenth_request_reset: ResetBefore;
    every_tenth_answer_reset_in_the_middle: ResetAfter;
}

/// S8: for five seconds nothing passes and nothing is closed.
#[test]
fn a_silence_in_mid_transfer() {
    const LENGTH: usize = 8 * MIB;
    bounded(|| {
        let (pair, hostile) = through(5, Faults::none());
        let (near, far) = pair.stream();
        let is_silent = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| send(&near, 0, LENGTH));
            scope.spawn(|| send(&far, 1, LENGTH));
            scope.spawn(|| receive(&near, 1, LENGTH, |_| {}));
            receive(&far, 0, LENGTH, |so_far| {
                if so_far >= LENGTH / 4 && !is_silent.swap(true, Ordering::Relaxed) {
                    hostile.set_silent(true);
                    thread::sleep(Duration::from_secs(5));
                    hostile.set_silent(false);
                }
            });
        });
        pair.close();
    });
}

/// Connections are reset at moments that have nothing to do with exchanges, 20 to 200 ms apart: twenty times, and on
/// until three have met an exchange. Those that meet an idle connection cost none.
#[test]
fn connections_reset_at_random() {
    bounded(|| {
        let (pair, hostile) = through(6, Faults::none());
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..500 {
                    if n >= 20 && pair.client.stats().lost >= 3 {
                        break;
                    }
                    thread::sleep(Duration::from_millis(20 + n * 67 % 180));
                    hostile.reset_all();
                }
                is_over.store(true, Ordering::Relaxed);
            });
            let (near, far) = pair.stream();
            while !is_over.load(Ordering::Relaxed) {
                both_ways(&pair, 2, MIB);
                ping_pong(&near, &far, 5);
            }
        });
        assert!(pair.client.stats().lost >= 3);
        pair.close();
    });
}
