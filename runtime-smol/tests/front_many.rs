//! Very many clients at once.
#![allow(clippy::unwrap_used)]

mod front_common;

use front_common::{Dummy, Limits, Mode, connect, post, read_reply, until};
use std::net::TcpStream;
use std::time::Instant;

/// Holds a request of each of `clients`, who then vanish; how long it takes to notice all of them.
fn vanish(clients: u64) -> std::time::Duration {
    let limits = Limits {
        connections: 20_000,
        ..Limits::default()
    };
    let (front, dummy) = Dummy::start(Mode::Either, limits);
    let mut stays = connect(&front);
    let held: Vec<TcpStream> = (0..clients)
        .map(|_| {
            let mut stream = connect(&front);
            post(&mut stream, b"hold");
            stream
        })
        .collect();
    until(|| dummy.begun() == clients);
    assert_eq!(front.connections() as u64, clients + 1);
    let begun = Instant::now();
    drop(held);
    until(|| dummy.gone() == clients);
    let took = begun.elapsed();
    until(|| front.connections() == 1);
    post(&mut stays, b"echo");
    assert_eq!(read_reply(&mut stays).body, b"echo");
    took
}

#[test]
fn five_hundred_held_requests_vanish() {
    vanish(500);
}

#[test]
#[ignore = "takes 10,000 descriptors"]
fn five_thousand_held_requests_vanish() {
    println!("5000 held requests vanished in {:?}", vanish(5000));
}
