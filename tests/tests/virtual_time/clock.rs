//! Clocks that jump forward by hours between two calls, as those of machines that slept may.
//!
//! The runtimes' clocks are monotonic ([`std::time::Instant`]): they never go back, and on Linux they stand still while the
//! machine sleeps; on other systems they jump. Sessions must come through both, whichever end it is.

use posthole_protocol::{CloseReason, Config};
use posthole_tests::conformance::memory::{Memory, Virtual};
use posthole_tests::conformance::pair::{Pair, anywhere, connect};
use posthole_tests::conformance::runtime::{Dial, Listener, Runtime, Session, Stream, ended};
use posthole_tests::conformance::talk::{MIB, both_ways, ping_pong, receive, sending};
use posthole_tests::conformance::world::{World, join_all, spawn, until};
use posthole_tests::oracle::Side;
use std::time::Duration;

const HOURS: Duration = Duration::from_secs(5 * 3600);

/// Whose clocks jump.
const SIDES: [&[Side]; 3] = [
    &[Side::Client],
    &[Side::Server],
    &[Side::Client, Side::Server],
];

fn jump(sides: &[Side]) {
    for side in sides {
        Memory::jump(*side, HOURS);
    }
}

#[test]
fn between_a_question_and_its_answer() {
    Memory::play(|| {
        for sides in SIDES {
            let pair = Pair::<Memory>::new();
            let (near, far) = pair.stream();
            for _ in 0..5 {
                near.write_all(b"?").unwrap();
                jump(sides);
                far.read_exact(&mut [0]).unwrap();
                jump(sides);
                far.write_all(b"!").unwrap();
                jump(sides);
                near.read_exact(&mut [0]).unwrap();
                jump(sides);
                ping_pong(&near, &far, 3);
            }
            pair.close();
        }
    });
}

#[test]
fn in_mid_transfer() {
    Memory::play(|| {
        for sides in SIDES {
            let pair = Pair::<Memory>::new();
            let (near, far) = pair.stream();
            let sends = [
                sending::<Memory>(&near, 1, 2 * MIB),
                sending::<Memory>(&far, 2, 2 * MIB),
            ];
            let reads = spawn::<Memory, _>(move || {
                let mut next = 0;
                receive(&near, 2, 2 * MIB, |so_far| {
                    if so_far >= next {
                        next = so_far + MIB / 4;
                        jump(sides);
                    }
                });
            });
            receive(&far, 1, 2 * MIB, |_| {});
            reads.join();
            join_all(sends);
            pair.close();
        }
    });
}

#[test]
fn while_nothing_moves() {
    Memory::play(|| {
        for sides in SIDES {
            let pair = Pair::<Memory>::new();
            let (near, far) = pair.stream();
            for seconds in [0, 1, 20, 100] {
                Memory::pause(Duration::from_secs(seconds));
                jump(sides);
                Memory::pause(Duration::from_secs(seconds));
                assert_eq!((pair.client.closed(), pair.server.closed()), (None, None));
            }
            ping_pong(&near, &far, 3);
            both_ways(&pair, 1, MIB);
            pair.close();
        }
    });
}

#[test]
fn while_a_session_begins() {
    Memory::play(|| {
        for sides in SIDES {
            let place = Memory::place();
            let how = Dial {
                waits: false,
                ..Dial::default()
            };
            let client = connect::<Memory>(place.addr, how).unwrap();
            jump(sides);
            until::<Memory>(|| client.stats().lost > 0);
            jump(sides);
            let listener = Virtual::bind(place.addr, Config::default()).unwrap();
            let server = listener.accept().unwrap();
            jump(sides);
            let near = client.open().unwrap();
            near.write_all(b"x").unwrap();
            jump(sides);
            server.accept().unwrap().read_exact(&mut [0]).unwrap();
            client.close().unwrap();
        }
    });
}

/// All bytes arrive. A server whose clock jumps over the time for which it remembers ended sessions may have forgotten
/// this one before the client hears of the end.
#[test]
fn while_a_session_ends() {
    Memory::play(|| {
        for sides in SIDES {
            let listener = Virtual::bind(anywhere(), Config::default()).unwrap();
            let addr = listener.addr();
            let pair = Pair::<Memory>::at(listener, addr, Dial::default());
            let (near, far) = pair.stream();
            let sends = sending::<Memory>(&near, 1, MIB);
            let mut is_closing = None;
            let mut next = MIB / 4;
            receive(&far, 1, MIB, |so_far| {
                if so_far >= next {
                    next += MIB / 4;
                    is_closing.get_or_insert_with(|| {
                        let client = pair.client.clone();
                        spawn::<Memory, _>(move || client.close())
                    });
                    jump(sides);
                }
            });
            sends.join();
            jump(sides);
            if let Err(error) = is_closing.unwrap().join() {
                assert!(sides.contains(&Side::Server), "{error}");
                assert_eq!(ended(&error), Some(CloseReason::Gone));
            }
            assert!(pair.server.wait_closed().is_clean());
        }
    });
}
