//! What happens when no descriptor is left. In a child process, since the bound is the process's.

use crate::direct_support::first_bundle;
use crate::front_child::{Server, serve};
use crate::front_common::{
    Dummy, Limits, Mode, connect_to, post, read_reply, read_some, read_to_end, start_direct,
    status, until,
};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

#[test]
fn without_descriptors_everyone_gets_an_answer_and_the_front_recovers() {
    let mut server = Server::with_descriptors(40);
    let addr = server.addr;
    let mut first = connect_to(addr);
    post(&mut first, b"first");
    assert_eq!(read_reply(&mut first).body, b"first");

    let mut served = Vec::new();
    let mut turned_away = 0;
    for n in 0..100 {
        let mut stream = connect_to(addr);
        post(&mut stream, b"more");
        match first_status(&mut stream) {
            200 => served.push(stream),
            // Nothing at all is a reset that overtook the answer.
            503 | 0 => turned_away += 1,
            other => panic!("connection {n} was told {other}"),
        }
    }
    assert!(
        served.len() > 10 && turned_away > 50,
        "{} served, {turned_away} turned away",
        served.len()
    );
    // Those who are in are served as before.
    post(&mut first, b"again");
    assert_eq!(read_reply(&mut first).body, b"again");

    drop(served);
    until(|| {
        let mut stream = connect_to(addr);
        post(&mut stream, b"anew");
        first_status(&mut stream) == 200
    });
    assert!(
        server.process.try_wait().unwrap().is_none(),
        "it still runs"
    );
}

fn first_status(stream: &mut TcpStream) -> u16 {
    let mut some = [0; 2000];
    let n = stream.read(&mut some).unwrap_or(0);
    if n == 0 { 0 } else { status(&some[..n]) }
}

/// The server of the next test.
#[test]
fn direct_child() {
    serve(start_direct);
}

#[test]
fn without_descriptors_direct_connections_wait_and_are_taken_later() {
    let server = Server::running("descriptors::direct_child", 40);
    let before = server.processor();
    let silent: Vec<_> = (0..100).map(|_| connect_to(server.addr)).collect();
    // Time enough to accept what can be accepted, and to fail.
    std::thread::sleep(Duration::from_millis(300));
    // Who asks again and again takes all the processor that there is.
    let used = server.processor() - before;
    assert!(used < 0.15, "{used} s of processor");
    drop(silent);
    let mut stream = connect_to(server.addr);
    stream.write_all(&first_bundle(1)).unwrap();
    assert!(!read_some(&mut stream).is_empty(), "it is answered");
}

/// Each of them of a session that lives on: its client may come another way.
#[test]
fn direct_connections_that_have_ended_hold_no_descriptors() {
    let server = Server::running("descriptors::direct_child", 40);
    for seed in 1..=100 {
        let mut stream = connect_to(server.addr);
        stream.write_all(&first_bundle(seed)).unwrap();
        assert!(!read_some(&mut stream).is_empty(), "{seed} is answered");
    }
}

#[test]
fn a_reset_of_the_first_client_is_not_an_error_of_the_listener() {
    let (front, _dummy) = Dummy::start(Mode::Echo, Limits::default());
    for _ in 0..50 {
        let stream = connect_to(front.local_addr());
        socket2::SockRef::from(&stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }
    let mut stream = connect_to(front.local_addr());
    post(&mut stream, b"x");
    assert_eq!(read_reply(&mut stream).body, b"x");
    drop(front);
    assert_eq!(read_to_end(&mut stream), b"");
}
