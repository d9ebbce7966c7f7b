//! What a user would try before they trust it: a gibibyte each way, real boxes, minutes of cuts, strangers.

use crate::crowd::{one_never_reads, rubbish};
use crate::path::Cut;
use crate::trial::{Load, Run, Trial, intact, intact_within};
use crate::world::{Log, Way, World};
use posthole::hostile::Fault;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

/// For how long connections are cut every second, and what an application moves each way in that time.
const MINUTE: Duration = Duration::from_secs(60);
const SLOW: Load = Load {
    bytes: 512 << 20,
    rate: 8 << 20,
};
/// A gibibyte as fast as it goes, or in some 16 s, so that there is a while for something to happen.
const FAST: Load = Load {
    bytes: 1 << 30,
    rate: u64::MAX,
};
const PACED: Load = Load {
    bytes: 1 << 30,
    rate: 64 << 20,
};
/// How long somebody who types may wait when a direct connection has fallen silent.
const GAP: Option<Duration> = Some(Duration::from_secs(5));

const fn whole(name: &'static str, way: Way, load: Load, run: Run) -> Trial {
    Trial {
        name,
        way,
        log: Log::Kept,
        load,
        run,
    }
}

const UNHARMED: Run = |world, load| intact(world, load, |_| ());

pub(crate) const TRIALS: &[Trial] = &[
    whole(
        "1 GiB through squid, from a network that reaches nothing else",
        Way::Squid,
        FAST,
        UNHARMED,
    ),
    whole(
        "1 GiB, squid killed (SIGKILL) and started again 10 s later",
        Way::Squid,
        PACED,
        |world, load| {
            intact(world, load, |world| {
                let squid = world.squid.as_mut().unwrap();
                thread::sleep(Duration::from_secs(2));
                squid.kill();
                thread::sleep(Duration::from_secs(10));
                squid.restart();
            })
        },
    ),
    whole(
        "1 GiB, every tenth exchange answered 502 with a page of HTML",
        Way::Hostile(Fault::ErrorBefore),
        FAST,
        UNHARMED,
    ),
    whole(
        "1 GiB, the same, and the server did see it",
        Way::Hostile(Fault::ErrorAfter),
        FAST,
        UNHARMED,
    ),
    whole(
        "1 GiB, every tenth answer cut in the middle, its status 200",
        Way::Hostile(Fault::Cut),
        FAST,
        UNHARMED,
    ),
    whole(
        "1 GiB, every tenth answer cut so that it looks whole",
        Way::Hostile(Fault::CutClean),
        FAST,
        UNHARMED,
    ),
    whole(
        "1 GiB, every tenth request delivered twice",
        Way::Hostile(Fault::Double),
        FAST,
        UNHARMED,
    ),
    whole(
        "1 GiB, every connection reset after 0.2 s at least, 1 s on average",
        Way::Relay,
        PACED,
        |world, load| {
            intact(world, load, |world| {
                world.relay.reset_at_random(Duration::from_secs(15));
            })
        },
    ),
    whole(
        "1 GiB, 20 s of silence on the way",
        Way::Relay,
        PACED,
        |world, load| {
            intact(world, load, |world| {
                world.relay.silent.store(true, Ordering::Relaxed);
                thread::sleep(Duration::from_secs(20));
                world.relay.silent.store(false, Ordering::Relaxed);
            })
        },
    ),
    whole(
        "direct connections reset every second for a minute, HTTP beside them",
        Way::Direct,
        SLOW,
        |world, load| intact_within(world, load, GAP, |world| direct(world, Cut::Reset)),
    ),
    whole(
        "direct connections ended (FIN) every second for a minute",
        Way::Direct,
        SLOW,
        |world, load| intact_within(world, load, GAP, |world| direct(world, Cut::End)),
    ),
    whole(
        "direct connections silent for ever, every second for a minute",
        Way::Direct,
        SLOW,
        |world, load| intact_within(world, load, GAP, |world| direct(world, Cut::BlackHole)),
    ),
    whole(
        "HTTP connections reset every second for a minute, a direct one beside them",
        Way::Direct,
        SLOW,
        |world, load| {
            intact_within(world, load, GAP, |world| {
                world.relay.cut_each_second(Cut::Reset, MINUTE)
            })
        },
    ),
    whole(
        "HTTP connections ended (FIN) every second for a minute",
        Way::Direct,
        SLOW,
        |world, load| {
            intact_within(world, load, GAP, |world| {
                world.relay.cut_each_second(Cut::End, MINUTE)
            })
        },
    ),
    whole(
        "HTTP connections silent for ever, every second for a minute",
        Way::Direct,
        SLOW,
        |world, load| {
            intact_within(world, load, GAP, |world| {
                world.relay.cut_each_second(Cut::BlackHole, MINUTE)
            })
        },
    ),
    whole(
        "200 connections, one of which never reads",
        Way::Relay,
        FAST,
        |world, _| one_never_reads(world),
    ),
    whole(
        "strangers: rubbish, false lengths, slow ones, many",
        Way::Relay,
        FAST,
        |world, _| rubbish(world),
    ),
];

fn direct(world: &mut World, how: Cut) {
    let relay = world.direct.as_ref().unwrap();
    relay.cut_each_second(how, MINUTE);
}
