//! When either side declares the session dead (S9, A19), and when it must not.

use posthole_protocol::{CloseReason, Failure};
use posthole_tests::app::Script;
use posthole_tests::fault::{Fate, Fault};
use posthole_tests::pair::Pair;
use posthole_tests::{MS, SEC};

fn talk() -> Pair {
    let mut pair = Pair::new(1);
    pair.serve(Script::echo(0));
    pair.client()
        .play(Script::paced(u64::MAX / 2, 100, 100 * MS));
    pair.run_for(5 * SEC);
    pair
}

/// S9: the client gives up after 90 s without an answer, having tried at least five times; not before.
#[test]
fn client_gives_up() {
    for fate in [
        Fate::Lose,
        Fate::Fail(Failure::Connect),
        Fate::Fail(Failure::Middlebox { status: 502 }),
    ] {
        let mut pair = talk();
        pair.net.rule = Box::new(move |_| Fault::request(fate));
        pair.run_for(80 * SEC);
        assert_eq!(pair.client().closed, None, "{fate:?}: given up too soon");
        assert!(
            pair.run_until(400 * SEC, |p| p.clients[0].closed.is_some()),
            "{fate:?}: never given up"
        );
        let Some(CloseReason::GaveUp { silence, exchanges }) = pair.client().closed.clone() else {
            panic!("{fate:?}: {:?}", pair.clients[0].closed)
        };
        assert!(
            silence.as_secs() >= 80 && exchanges >= 5,
            "{silence:?}, {exchanges} exchanges"
        );
    }
}

/// S9: the server ends a session that nobody asks for, after its idle time; not before the client would.
#[test]
fn server_gives_up() {
    let mut pair = talk();
    pair.client().machine.abort();
    pair.run_for(100 * SEC);
    assert_eq!(
        pair.server().unwrap().closed,
        None,
        "the server gave up before a client would"
    );
    pair.run_for(500 * SEC);
    let Some(CloseReason::Idle { silence }) = pair.server().unwrap().closed.clone() else {
        panic!("{:?}", pair.server().unwrap().closed)
    };
    assert!(silence.as_secs() >= 100, "{silence:?}");
    assert_eq!(pair.hosts[0].router.len(), 0);
}

/// S9, A19: a client that nobody ever answered gives up as well, and says so.
#[test]
fn client_that_never_reached_anybody() {
    let mut pair = Pair::new(2);
    pair.net.rule = Box::new(|_| Fault::request(Fate::Fail(Failure::Connect)));
    assert!(pair.run_until(600 * SEC, |p| p.clients[0].closed.is_some()));
    assert!(matches!(
        pair.client().closed,
        Some(CloseReason::GaveUp { .. })
    ));
    assert!(
        pair.net.tally.exchanges(0) < 400,
        "{} exchanges",
        pair.net.tally.exchanges(0)
    );
}

/// S9: after giving up, readers and writers get errors, never an end.
#[test]
fn giving_up_is_no_end() {
    let mut pair = talk();
    pair.net.rule = Box::new(|_| Fault::request(Fate::Lose));
    pair.run_for(900 * SEC);
    assert!(pair.talker().read_error.is_some() && pair.talker().write_error.is_some());
    assert!(pair.ledger.flows().all(|(_, flow)| !flow.ended));
    let server = pair.server_talker();
    assert!(server.read_error.is_some());
}

/// A19: a session that only idles gives up too when nobody answers its polls.
#[test]
fn idle_session_notices_that_the_server_has_gone() {
    let mut pair = Pair::new(3);
    pair.run_for(60 * SEC);
    pair.net.rule = Box::new(|_| Fault::request(Fate::Lose));
    assert!(pair.run_until(400 * SEC, |p| p.clients[0].closed.is_some()));
}
