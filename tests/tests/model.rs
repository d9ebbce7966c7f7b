//! The two machines under a model checker: every order in which requests, answers, copies, losses, timers, applications
//! and carriers can meet, up to a bound that is printed.
//!
//! What is checked is the code itself, not a model of it. `MODEL=2` (or 3, …) makes the bounds wider:
//! `MODEL=2 cargo test --release -p posthole-tests --test model -- --nocapture`.
#![allow(clippy::unwrap_used)] // A test fails by it.

mod world;

use stateright::{Checker, Model, Property};
use world::{Action, Trouble, World};

/// How far the search goes.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// What may go wrong.
    trouble: Trouble,
    /// Whether a direct connection can be had beside exchanges.
    direct: bool,
    /// Exchanges open at once.
    requests: u8,
}

/// More states than this are no proof: the test fails.
const MOST: usize = 1_000_000_000;

impl Model for Bounds {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self.requests, self.direct, self.trouble)]
    }

    fn actions(&self, state: &World, actions: &mut Vec<Action>) {
        state.actions(actions);
    }

    fn next_state(&self, state: &World, action: Action) -> Option<World> {
        let mut next = state.clone();
        next.act(action);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Bounds>> {
        vec![
            // L1, L2: what is read is what was written, once and in order; no end before the end, and no panic.
            Property::always("prefix", |_, world: &World| world.wrong().is_none()),
            // S13: no more exchanges than allowed, and none that nobody settles.
            Property::always("bounded", |bounds: &Bounds, world: &World| {
                world.open() <= usize::from(bounds.requests)
            }),
            // L6: from wherever it has come, without further trouble all is delivered and the session ends.
            Property::always("recoverable", |_, world: &World| world.recover().is_ok()),
            Property::sometimes("done", |_, world: &World| world.is_done()),
        ]
    }
}

/// How much wider than by default.
fn scale() -> u8 {
    let scale = std::env::var("MODEL").ok().and_then(|n| n.parse().ok());
    scale.unwrap_or(1)
}

fn check(name: &str, bounds: Bounds) {
    let checker = bounds
        .checker()
        .threads(std::thread::available_parallelism().map_or(1, |n| n.get()))
        .target_state_count(MOST)
        // Depth first, what waits to be looked at is a few hundred worlds; in breadth it would be most of them.
        .spawn_dfs()
        .join();
    println!(
        "{name}: {} states, {} unique, {bounds:?}",
        checker.state_count(),
        checker.unique_state_count()
    );
    if let Some(path) = checker.discovery("recoverable") {
        println!("{}", path.last_state().recover().unwrap_err());
    }
    checker.assert_properties();
    assert!(
        checker.is_done() && checker.state_count() < MOST,
        "cut off: no proof"
    );
}

fn by_exchanges(trouble: Trouble) -> Bounds {
    Bounds {
        trouble,
        direct: false,
        requests: 2,
    }
}

fn beside_a_connection(trouble: Trouble) -> Bounds {
    Bounds {
        direct: true,
        ..by_exchanges(trouble)
    }
}

fn none() -> Trouble {
    Trouble::default()
}

#[test]
fn exchanges_that_are_lost() {
    let (losses, ticks) = (1, scale() - 1);
    check(
        "losses",
        by_exchanges(Trouble {
            losses,
            ticks,
            ..none()
        }),
    );
}

#[test]
fn requests_that_come_twice() {
    let (copies, ticks) = (1, scale() - 1);
    check(
        "copies",
        by_exchanges(Trouble {
            copies,
            ticks,
            ..none()
        }),
    );
}

#[test]
fn sessions_that_are_closed_at_any_moment() {
    let (closes, ticks) = (1, scale() - 1);
    check(
        "closes",
        by_exchanges(Trouble {
            closes,
            ticks,
            ..none()
        }),
    );
}

#[test]
fn timers_that_go_off_at_any_moment() {
    let ticks = scale();
    check("timers", by_exchanges(Trouble { ticks, ..none() }));
}

#[test]
fn three_exchanges() {
    let bounds = by_exchanges(Trouble {
        ticks: scale() - 1,
        copies: scale(),
        ..none()
    });
    check(
        "three",
        Bounds {
            requests: 3,
            ..bounds
        },
    );
}

#[test]
fn a_direct_connection_that_is_cut() {
    let (cuts, ticks) = (1, scale() - 1);
    check(
        "cuts",
        beside_a_connection(Trouble {
            cuts,
            ticks,
            ..none()
        }),
    );
}

#[test]
fn a_direct_connection_that_is_cut_and_made_again_and_cut() {
    // A third finds none to cut.
    let cuts = 2;
    check("again", beside_a_connection(Trouble { cuts, ..none() }));
}
