#![allow(clippy::unwrap_used)]
use super::*;
use crate::testing::{Names, Pair, client};
use posthole_protocol::{Client, CloseReason, SessionId};
use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

/// The opening of a session, and who asks.
fn opening(secret: u8) -> (Bytes, posthole_protocol::ExchangeId) {
    let work = client(secret, Config::default()).poll(Instant::ZERO);
    let request = work.rest.unwrap().requests.remove(0);
    (request.body.into_bytes(), request.exchange)
}

#[test]
fn every_session_has_a_number_and_every_request_a_name() {
    let mut pair = Pair::new(Config::default());
    pair.house.number = u32::MAX - 2;
    pair.house.request = u32::MAX - 2;
    let mut names = HashSet::new();
    for secret in 0..5 {
        let (body, _) = opening(secret);
        for _ in 0..2 {
            let make = |core, number| {
                let state = State::server(core);
                (std::rc::Rc::new(std::cell::RefCell::new(state)), number)
            };
            let nonce = || Some(Nonce(1));
            let visit = pair.house.route(Instant::ZERO, &body, nonce, make).unwrap();
            assert!(names.insert(visit.request));
            let (request, number) = (visit.request, visit.session.1);
            assert_eq!(pair.house.session_of(request).unwrap().1, number);
        }
    }
    let numbers: HashSet<u32> = pair.house.sessions().map(|at| at.1).collect();
    assert_eq!(numbers.len(), 5);
    assert!(!numbers.contains(&0));
    assert!(pair.house.session_of(RequestId::new(0)).is_none());
}

#[test]
fn strangers_get_a_word_and_no_session() {
    let mut pair = Pair::new(Config::default());
    let (_, exchange) = opening(1);
    pair.visit(Bytes::from_static(b"GET / HTTP/1.0"), exchange);
    assert_eq!(pair.refused, [400]);
    assert_eq!(pair.house.sessions().len(), 0);
}

#[test]
fn a_house_that_is_shut_lets_nobody_in() {
    let mut pair = Pair::new(Config::default());
    pair.run();
    pair.house.arrived.0.push("accept");
    let (waiting, wake) = pair.house.shut();
    assert_eq!((waiting.len(), wake), (1, Some(vec!["accept"])));
    let error = pair.house.accept().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConnected);
    assert_eq!(pair.house.announce(3), Err(3));
    let (body, exchange) = opening(2);
    pair.visit(body, exchange);
    assert_eq!(pair.refused, [503]);
    assert_eq!(
        pair.house.sessions().len(),
        1,
        "the one that was there stays"
    );
}

#[test]
fn without_random_bytes_there_is_no_session() {
    let mut pair = Pair::new(Config::default());
    let (body, _) = opening(1);
    let routed = pair
        .house
        .route(Instant::ZERO, &body, || None, |_, _| unreachable!());
    assert_eq!(routed.err().unwrap().status, 503);
}

#[test]
fn sessions_are_accepted_in_the_order_in_which_they_came() {
    let mut pair = Pair::new(Config::default());
    for number in 1..4 {
        assert_eq!(pair.house.announce(number), Ok(None));
    }
    for number in 1..4 {
        assert!(matches!(pair.house.accept(), Ok(Tried::Done(n)) if n == number));
    }
}

/// The server has not noticed that the client went; the one in its place names it.
#[test]
fn a_session_that_another_replaces_is_to_be_ended() {
    let (mut pair, old) = Pair::connected();
    let (id, before) = (SessionId::from_bytes([2; 16]), pair.client.id());
    let core = Client::replacing(Config::default(), id, before, pair.now);
    let mut next: State<(), Names> = State::client(core);
    let body = next
        .poll(pair.now)
        .rest
        .unwrap_or_default()
        .requests
        .remove(0)
        .body
        .into_bytes();
    let make = |core, number| (Rc::new(RefCell::new(State::server(core))), number);
    let visit = pair.house.route(pair.now, &body, || Some(Nonce(1)), make);
    let replaced = visit.unwrap().replaced.unwrap();
    assert!(Rc::ptr_eq(&replaced.0, &old));
    old.borrow_mut().replace();
    assert_eq!(
        old.borrow_mut()
            .poll(pair.now)
            .rest
            .unwrap_or_default()
            .closed,
        Some(CloseReason::Replaced)
    );
}
