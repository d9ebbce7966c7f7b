//! What lies between does harm; sessions and their bytes come through.

use crate::conformance::pair::{Pair, anywhere, connect, listener};
use crate::conformance::runtime::{Dial, Listener, Runtime, Session, Stream};
use crate::conformance::talk::{MIB, both_ways, ping_pong, receive, sending};
use crate::conformance::world::{Path, Task, World, join_all, spawn};
use crate::rng::Rng;
use posthole_protocol::Config;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

/// The largest body: small, so that a few megabytes are many exchanges.
const BODY: u32 = 64 * 1024;

type Harm<W> = <<W as World>::Path as Path>::Harm;

/// A session over a path that is good as yet.
fn through<W: World>() -> (Pair<W>, Arc<W::Path>) {
    let config = Config::builder().body_max(BODY).build().unwrap();
    let listener = W::Server::bind(anywhere(), config.clone()).unwrap();
    let path = W::path(listener.addr());
    let pair = Pair::at(listener, path.addr(), Dial::with(config));
    (pair, Arc::new(path))
}

/// Does this harm to every tenth exchange or so, whatever the streams do, until it was done three times.
fn survive<W: World>(kinds: &[Harm<W>], percent: u8) {
    let (pair, path) = through::<W>();
    path.harm(kinds, percent);
    both_ways(&pair, 2, MIB);
    let (near, far) = pair.stream();
    for _ in 0..100 {
        if path.harmed() >= 3 {
            break;
        }
        ping_pong(&near, &far, 10);
    }
    assert!(path.harmed() >= 3, "{kinds:?}: {}", path.harmed());
    near.finish().unwrap();
    assert_eq!(far.read(&mut [0; 8]).unwrap(), 0);
    let (near, far) = pair.stream();
    near.reset(7);
    let error = far.read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{kinds:?}");
    path.harm(&[], 0);
    pair.close();
}

/// Each kind on a path of its own, all at once: they wait more than they work.
pub fn every_kind_of_harm_is_survived<W: World>() {
    let one = |kind: &'static Harm<W>| spawn::<W, _>(move || survive::<W>(&[*kind], 10));
    let tasks: Vec<_> = W::Path::ALL.iter().map(one).collect();
    join_all(tasks);
}

pub fn all_kinds_of_harm_are_survived_at_any_rate<W: World>() {
    let tasks = [5, 10, 25].map(|rate| spawn::<W, _>(move || survive::<W>(W::Path::ALL, rate)));
    join_all(tasks);
}

/// Whenever some more has arrived, everything else that is under way is cut; until ten exchanges have met that.
pub fn bytes_are_right_though_connections_are_cut_all_the_time<W: World>() {
    fn cutting<W: World>(from: impl Stream, seed: u64, path: Arc<W::Path>) -> Task<()> {
        spawn::<W, _>(move || {
            let (mut rng, mut next) = (Rng::new(seed), 0);
            receive(&from, seed, MIB, |so_far| {
                if so_far >= next {
                    path.cut();
                    next = so_far + rng.below(4 * u64::from(BODY)) as usize;
                }
            });
        })
    }
    let (pair, path) = through::<W>();
    let mut seed = 0;
    while pair.client.stats().lost < 10 {
        assert!(seed < 100, "nothing is ever lost");
        let (near, far) = pair.stream();
        let tasks = [
            sending::<W>(&near, seed, MIB),
            sending::<W>(&far, seed + 1, MIB),
            cutting::<W>(far, seed, path.clone()),
            cutting::<W>(near, seed + 1, path.clone()),
        ];
        join_all(tasks);
        seed += 2;
    }
    pair.close();
}

/// For so long that an exchange is given up for lost, nothing passes and nothing is closed.
pub fn a_silence_in_mid_transfer_is_survived<W: World>() {
    const LENGTH: usize = 4 * MIB;
    let (pair, path) = through::<W>();
    let (near, far) = pair.stream();
    let sends = [
        sending::<W>(&near, 0, LENGTH),
        sending::<W>(&far, 1, LENGTH),
    ];
    let reads = spawn::<W, _>(move || receive(&near, 1, LENGTH, |_| {}));
    let mut is_silent = false;
    receive(&far, 0, LENGTH, |so_far| {
        if so_far >= LENGTH / 4 && !is_silent {
            is_silent = true;
            path.set_silent(true);
            let before = pair.client.stats().lost;
            while pair.client.stats().lost == before {
                W::pause(Duration::from_millis(10));
            }
            path.set_silent(false);
        }
    });
    reads.join();
    join_all(sends);
    assert!(pair.client.closed().is_none());
    pair.close();
}

pub fn a_path_that_is_gone_for_good_ends_the_session<W: World>() {
    let listener = listener::<W>();
    let path = W::path(listener.addr());
    let config = Config::builder()
        .give_up(Duration::from_millis(400))
        .give_up_exchanges(2)
        .build()
        .unwrap();
    let client = connect::<W>(path.addr(), Dial::with(config)).unwrap();
    let stream = client.open().unwrap();
    stream.write_all(b"x").unwrap();
    drop(path);
    let error = stream.read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    let words = error.to_string();
    assert!(words.contains("no answer from the server"), "{words}");
}
