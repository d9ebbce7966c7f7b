//! Late copies of what was sent, at every wrong time and place (D6, A8, A9): nothing is delivered twice.

use bytes::Bytes;
use posthole_protocol::wire::{AnswerPrefix, Bundle, decode};
use posthole_protocol::{
    Client, Event, Instance, Instant, Nonce, RequestId, Route, Router, RouterConfig, Server,
    SessionId,
};
use posthole_tests::app::Script;
use posthole_tests::pair::Pair;
use posthole_tests::settings;
use posthole_tests::{MS, SEC};

/// A talk that is over and closed, with all that was sent.
fn recorded(seed: u64) -> (Pair, Vec<Bytes>) {
    let mut pair = Pair::new(seed);
    pair.net.record = Some(Default::default());
    pair.serve(Script::echo(0));
    for _ in 0..3 {
        pair.client().play(Script::paced(3_000, 300, 20 * MS));
    }
    pair.run_to_end(60 * SEC);
    pair.client().machine.close(0, "done");
    pair.run_for(5 * SEC);
    assert!(pair.client().closed.is_some());
    let requests = pair
        .net
        .record
        .as_ref()
        .unwrap()
        .requests
        .iter()
        .map(|(_, body)| body.clone())
        .collect();
    (pair, requests)
}

/// What applications at a server have been given in all.
fn given(pair: &Pair) -> (usize, u64) {
    let streams = pair
        .hosts
        .iter()
        .flat_map(|host| &host.sessions)
        .map(|end| end.talkers.len())
        .sum();
    (streams, pair.ledger.total_read())
}

/// D6, A8: every request again after the end, in order and backwards.
#[test]
fn replayed_after_the_end() {
    let (mut pair, requests) = recorded(1);
    let before = given(&pair);
    for body in requests.iter().chain(requests.iter().rev()) {
        pair.inject(0, body.clone());
    }
    pair.run_for(60 * SEC);
    assert_eq!(given(&pair), before);
    assert_eq!(
        pair.ghosts.len(),
        2 * requests.len(),
        "each ghost has its answer, so that no connection hangs"
    );
    assert_eq!(pair.hosts[0].router.len(), 0, "a ghost made a session");
}

/// D6, A8: every request again after the session expired, within linger: it is remembered, and no application hears.
#[test]
fn replayed_after_expiry() {
    let mut pair = Pair::new(2);
    pair.net.record = Some(Default::default());
    pair.serve(Script::echo(0));
    pair.client().play(Script::paced(3_000, 300, 20 * MS));
    pair.run_to_end(60 * SEC);
    pair.client().machine.abort();
    pair.run_for(300 * SEC);
    assert_eq!(pair.hosts[0].router.len(), 0, "it should have expired");
    let before = given(&pair);
    for (_, body) in pair.net.record.take().unwrap().requests {
        pair.inject(0, body);
    }
    pair.run_for(60 * SEC);
    assert_eq!(given(&pair), before);
    assert_eq!(pair.hosts[0].router.len(), 0, "a ghost made a session");
}

/// D6, A8: every request again at a server that has just started, the session's own or another.
#[test]
fn replayed_at_a_fresh_server() {
    let (mut pair, requests) = recorded(3);
    let before = pair.ledger.total_read();
    let other = pair.add_host(settings::tuned());
    pair.hosts[other].on_accept = Some(Script::sink());
    for body in requests.iter().chain(&requests) {
        pair.inject(other, body.clone());
    }
    pair.run_for(60 * SEC);
    assert_eq!(pair.ledger.total_read(), before);
    assert!(
        pair.hosts[other]
            .sessions
            .iter()
            .all(|end| end.talkers.is_empty()),
        "an application heard of a ghost"
    );
    pair.run_for(1000 * SEC);
    assert_eq!(
        pair.hosts[other].router.len(),
        0,
        "a ghost keeps a session alive"
    );
}

/// §7.3: a session that may be a ghost is kept for 120 s, and not as long as others.
#[test]
fn a_session_that_may_be_a_ghost_is_kept_for_two_minutes() {
    let (mut pair, requests) = recorded(7);
    let other = pair.add_host(settings::tuned());
    pair.inject(other, requests[0].clone());
    pair.run_for(119 * SEC);
    assert_eq!(pair.hosts[other].router.len(), 1);
    pair.run_for(2 * SEC);
    assert_eq!(pair.hosts[other].router.len(), 0);
}

/// D6, L1: while the session lives, every request so far again, twice, at every point.
#[test]
fn replayed_in_mid_session() {
    let mut pair = Pair::new(4);
    pair.net.record = Some(Default::default());
    pair.serve(Script::echo(0));
    pair.client().play(Script::paced(3_000, 100, 50 * MS));
    for _ in 0..20 {
        pair.run_for(70 * MS);
        let sent = pair.net.record.as_ref().unwrap().requests.clone();
        for (_, body) in sent {
            pair.inject(0, body);
        }
    }
    pair.run_to_end(120 * SEC);
    assert_eq!(pair.hosts[0].sessions.len(), 1);
}

/// D6, A9: answers of ten sessions, each given to another session's exchange of the same number: taken for lost.
#[test]
fn answers_are_swapped_between_sessions() {
    let mut pair = Pair::many(5, 10, settings::tuned(), settings::tuned());
    pair.net.record = Some(Default::default());
    pair.serve(Script::echo(0));
    for end in &mut pair.clients {
        end.play(Script::paced(2_000, 200, 60 * MS));
    }
    for _ in 0..40 {
        pair.run_for(50 * MS);
        let record = pair.net.record.take().unwrap();
        pair.net.record = Some(Default::default());
        for (client, number, body) in &record.answers {
            let victim = (client + 1) % 10;
            pair.misdeliver(victim, *number, body.clone());
        }
    }
    pair.run_to_end(120 * SEC);
}

/// §7.3: whoever had to forget an ended session early can't vouch for ids that it does not know, until copies of its
/// requests have died out.
#[test]
fn a_session_that_was_forgotten_early_may_come_back() {
    let config = RouterConfig {
        ended: 1,
        ..settings::router()
    };
    let at = |seconds| Instant::from_micros(seconds * SEC);
    let mut router: Router<()> = Router::new(config, Instance(1), at(0));
    // A session that is over at once. Whether it had to show that it is no copy.
    let mut visit = |seed, seconds| {
        let (now, id) = (at(seconds), SessionId::from_bytes([seed; 16]));
        let mut client = Client::new(settings::tuned(), id, at(0));
        let body = client.poll_request(at(0)).unwrap().body.into_bytes();
        let Route::Opening { opening, .. } = router.route(now, &body) else {
            panic!("it is not known");
        };
        let mut server = Server::new(settings::tuned(), opening, Nonce(5), now);
        router.insert(id, ());
        server.feed_request(now, RequestId::new(1), body).unwrap();
        server.feed_timeout(at(seconds + 1));
        let mut answer = server.poll_response(now).unwrap().body.into_bytes();
        let read = decode::<AnswerPrefix>(&mut answer, &id, Some(0));
        let Some(Ok(Bundle::Session(read))) = read else {
            panic!("{read:?}");
        };
        router.ended(now, id, &server);
        read.prefix.nonce.is_some()
    };
    assert!(visit(1, 299), "it may have ended before this server began");
    assert!(!visit(2, 700));
    assert!(!visit(3, 700), "only now is one forgotten early");
    assert!(visit(2, 999));
    // The last that was forgotten early was the third, at that moment.
    assert!(!visit(4, 1_300));
}

/// A8: a session that was made by an opening and never used ends by itself.
#[test]
fn lone_opening_expires() {
    let mut pair = Pair::new(6);
    pair.run_for(SEC);
    pair.client().machine.abort();
    pair.run_for(1000 * SEC);
    let events = &pair.hosts[0].sessions[0].events;
    assert!(
        matches!(events.last(), Some(Event::Closed(_))),
        "{events:?}"
    );
    assert_eq!(pair.hosts[0].router.len(), 0);
}
