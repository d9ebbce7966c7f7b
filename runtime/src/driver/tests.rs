#![allow(clippy::unwrap_used)]
use super::*;
use crate::testing::{Names, Pair, client};
use crate::work::Alarm;
use posthole_protocol::{Config, Failure, Instance, Nonce, Route, Router, RouterConfig};
use std::time::Duration;

mod lull;

fn data(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn is_blocked<T>(tried: io::Result<Tried<T>>) -> bool {
    matches!(tried, Ok(Tried::Blocked))
}

#[test]
fn a_session_begins_and_both_sides_hear_of_it_once() {
    let mut pair = Pair::new(Config::default());
    pair.client.milestone.0.push("connecting");
    assert!(is_blocked(pair.house.accept()));
    pair.house.arrived.0.push("accepting");
    assert!(!pair.client.is_connected());
    pair.run();
    assert!(pair.client.is_connected());
    assert_eq!(pair.woken, ["connecting", "accepting"]);
    assert!(matches!(pair.house.accept(), Ok(Tried::Done(1))));
    pair.after(Duration::from_secs(1));
    pair.run();
    assert!(is_blocked(pair.house.accept()), "announced once");
}

#[test]
fn who_waits_is_woken_by_what_came_and_by_nothing_else() {
    let (mut pair, server) = Pair::connected();
    let (one, other) = (pair.stream(&server), pair.stream(&server));
    assert!(is_blocked(server.borrow_mut().take(one, 9)));
    assert!(is_blocked(server.borrow_mut().take(other, 9)));
    server.borrow_mut().readable(one).0.push("one");
    server.borrow_mut().readable(other).0.push("other");
    server.borrow_mut().incoming.0.push("accept");
    pair.woken.clear();
    pair.client.put(other, &mut data("x")).unwrap();
    pair.run();
    assert_eq!(pair.woken, ["other"]);
    pair.client.put(other, &mut data("y")).unwrap();
    pair.run();
    assert_eq!(pair.woken, ["other"], "nobody waits there any more");
}

#[test]
fn who_opens_one_stream_too_many_waits_until_others_have_ended() {
    let config = Config::builder().streams(16).build().unwrap();
    let mut pair = Pair::new(config);
    pair.run();
    let server = pair.house.sessions().next().unwrap().0.clone();
    let ids: Vec<_> = (0..16).map(|_| pair.stream(&server)).collect();
    assert!(is_blocked(pair.client.open()));
    pair.client.room.0.push("opening");
    pair.woken.clear();
    for id in ids {
        pair.client.release(id);
        server.borrow_mut().release(id);
    }
    pair.run();
    assert_eq!(pair.woken, ["opening"]);
    assert!(matches!(pair.client.open(), Ok(Tried::Done(_))));
}

#[test]
fn an_alarm_is_set_only_to_earlier_moments_and_taken_back_at_the_end() {
    let mut state = client(1, Config::default());
    let now = Instant::ZERO;
    let Some(Alarm::At {
        at,
        instead_of: None,
    }) = state.poll(now).alarm
    else {
        panic!("no alarm")
    };
    assert_eq!(state.poll(now).alarm, None, "set already");
    // Nothing is due any more when it rings; what holds by then is set.
    state.rang(Instant::from_micros(at.as_micros() - 1));
    assert_eq!(state.poll(now).alarm, None, "that was an earlier one");
    state.rang(at);
    let Some(Alarm::At {
        at: next,
        instead_of: None,
    }) = state.poll(at).alarm
    else {
        panic!("no second alarm")
    };
    assert!(next > at);
    state.abort();
    let work = state.poll(at);
    assert_eq!(work.alarm, off(Some(next)));
    assert_eq!(work.rest.unwrap().closed, Some(CloseReason::Aborted));
    assert_eq!(state.poll(at).alarm, None);
}

/// On tasks, whose task ends by this, each client that vanished left its session at the server for ever.
#[test]
fn a_session_that_ends_at_its_alarm_says_that_there_is_no_other() {
    let mut state = client(1, Config::default());
    let mut now = Instant::ZERO;
    let mut alarm = state.poll(now).alarm;
    while let Some(Alarm::At { at, .. }) = alarm {
        now = at;
        state.rang(now);
        alarm = state.poll(now).alarm;
    }
    assert_eq!(alarm, off(None));
    assert!(state.closed().is_some(), "nobody has ever answered");
    assert_eq!(state.poll(now).alarm, None, "said once");
}

fn off(instead_of: Option<Instant>) -> Option<Alarm> {
    Some(Alarm::Off { instead_of })
}

#[test]
fn what_an_application_writes_counts_from_when_it_wrote() {
    let (mut pair, server) = Pair::connected();
    let id = pair.stream(&server);
    let before = pair.client.stats().exchanges;
    pair.after(Duration::from_secs(5));
    pair.client.put(id, &mut data("late")).unwrap();
    // The core hears of that moment before it is asked what to send.
    let work = pair.client.poll(pair.now);
    assert_eq!(work.rest.unwrap().requests.len(), 1);
    assert_eq!(pair.client.stats().exchanges, before + 1);
}

#[test]
fn an_end_in_order_is_told_once_and_the_house_forgets() {
    let (mut pair, server) = Pair::connected();
    let id = pair.stream(&server);
    let last = pair.last_body.clone();
    server.borrow_mut().incoming.0.push("accept");
    server.borrow_mut().readable(id).0.push("read");
    server.borrow_mut().writable(id).0.push("write");
    server.borrow_mut().milestone.0.push("wait");
    pair.house.left.0.push("left");
    pair.client.close();
    pair.run();
    pair.woken.sort_unstable();
    assert_eq!(pair.woken, ["accept", "left", "read", "wait", "write"]);
    assert_eq!(pair.client.closed(), Some(&CloseReason::Local));
    let reason = server.borrow().closed().cloned().unwrap();
    assert!(reason.is_clean());
    assert_eq!(pair.house.sessions().len(), 0);
    assert!(
        !server
            .borrow_mut()
            .poll(pair.now)
            .rest
            .unwrap_or_default()
            .over,
        "said once"
    );
    let error = pair.client.open().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotConnected);
    // A late copy of a request makes no session.
    let mut late = client(1, Config::default());
    let exchange = late
        .poll(pair.now)
        .rest
        .unwrap_or_default()
        .requests
        .remove(0)
        .exchange;
    pair.visit(last, exchange);
    assert_eq!(pair.house.sessions().len(), 0);
}

#[test]
fn a_hangup_gives_its_responder_back_once() {
    let (mut pair, server) = Pair::connected();
    let (now, mut held) = (pair.now, Vec::new());
    pair.run();
    for count in 0..100 {
        let request = RequestId::new(1 << 32 | count);
        held.extend(server.borrow_mut().feed_hangup(now, request));
    }
    assert_eq!(held.len(), 1, "one is held");
    let work = server.borrow_mut().poll(now);
    assert!(work.rest.is_none(), "nobody is there to answer");
}

#[test]
fn a_broken_session_wakes_all_and_asks_its_core_no_more() {
    let (mut pair, server) = Pair::connected();
    let id = pair.stream(&server);
    server.borrow_mut().readable(id).0.push("read");
    server.borrow_mut().room.0.push("open");
    let mut woken: Vec<_> = server.borrow_mut().break_off().concat();
    woken.sort_unstable();
    assert_eq!(woken, ["open", "read"]);
    assert!(server.borrow().is_broken());
    assert_eq!(server.borrow().closed(), Some(&CloseReason::Aborted));
    assert!(server.borrow_mut().open().is_err());
    assert!(server.borrow_mut().take(id, 9).is_err());
    assert!(server.borrow_mut().put(id, &mut data("x")).is_err());
    server.borrow_mut().release(id);
    let (exchange, body) = {
        pair.client.put(id, &mut data("x")).unwrap();
        let request = pair
            .client
            .poll(pair.now)
            .rest
            .unwrap_or_default()
            .requests
            .remove(0);
        (request.exchange, request.body.into_bytes())
    };
    pair.visit(body, exchange);
    assert_eq!(pair.refused, [503]);
    let number = pair.house.sessions().next().unwrap().1;
    pair.serve(&server, number);
    assert_eq!(pair.refused, [503, 503], "the one that was held");
    assert_eq!(pair.house.sessions().len(), 0);
}

#[test]
fn how_a_session_ended_stays_when_a_call_panics_after_it() {
    let (mut pair, server) = Pair::connected();
    pair.client.close();
    pair.run();
    let reason = server.borrow().closed().cloned().unwrap();
    assert!(reason.is_clean());
    assert!(server.borrow_mut().break_off().is_empty());
    assert_eq!(server.borrow().closed(), Some(&reason));
}

#[test]
fn the_way_is_spoken_of_when_it_fails_and_when_it_works() {
    let mut state = client(1, Config::default());
    let mut rest = state.poll(Instant::ZERO).rest.unwrap();
    let exchange = rest.requests.remove(0).exchange;
    assert!(rest.news.is_none());
    let trouble = |says: &str| Trouble {
        failure: Failure::Connect,
        reached: false,
        says: says.to_owned(),
    };
    state.feed_answer(Instant::ZERO, exchange, Err(trouble("refused")));
    let work = state.poll(Instant::ZERO);
    assert!(matches!(work.rest.unwrap().news, Some(crate::News::Failed(why)) if why == "refused"));
    let stats = state.stats();
    assert_eq!(
        (stats.lost, stats.last_trouble.as_deref()),
        (1, Some("refused"))
    );
    // An exchange that is not open changes nothing.
    state.feed_answer(Instant::ZERO, exchange, Err(trouble("again")));
    assert_eq!(state.stats(), stats);
}

#[test]
fn whatever_comes_from_the_server_shows_that_the_way_works_again() {
    for by_a_direct_connection in [false, true] {
        let (mut state, mut now) = (client(1, Config::default()), Instant::ZERO);
        let exchange = state
            .poll(now)
            .rest
            .unwrap_or_default()
            .requests
            .remove(0)
            .exchange;
        let refused = Trouble {
            failure: Failure::Connect,
            reached: false,
            says: "refused".to_owned(),
        };
        state.feed_answer(now, exchange, Err(refused));
        let news = state.poll(now).rest.unwrap_or_default().news;
        assert!(matches!(news, Some(crate::News::Failed(_))));
        // What it says is for the core to judge.
        if by_a_direct_connection {
            state.knows_direct(now, Duration::ZERO);
            assert!(state.poll(now).rest.unwrap_or_default().dial.is_some());
            let exchange = state.feed_dialled(now, true).unwrap();
            state.feed_bundles(now, exchange, data("something"));
        } else {
            let request = loop {
                now = now.checked_add(Duration::from_secs(1)).unwrap();
                if let Some(request) = state.poll(now).rest.unwrap_or_default().requests.pop() {
                    break request;
                }
            };
            state.feed_answer(now, request.exchange, Ok(data("something")));
        }
        let news = state.poll(now).rest.unwrap_or_default().news;
        assert!(matches!(news, Some(crate::News::Works)));
    }
}

#[test]
fn a_role_takes_no_input_of_the_other() {
    let mut state: State<u32, Names> = State::client(Client::new(
        Config::default(),
        SessionId::from_bytes([1; 16]),
        Instant::ZERO,
    ));
    let request = RequestId::new(1);
    let fed = state.feed_request(Instant::ZERO, request, Bytes::new(), 5);
    let (responder, reply) = fed.unwrap_err();
    assert_eq!((responder, reply.status), (5, 503));
    assert_eq!(state.feed_hangup(Instant::ZERO, request), None);
}
