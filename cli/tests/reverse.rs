//! `connect -R`: ports at the server that lead back to the client's side.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};

use rustix::process::Signal;
use support::{Destination, On, Posthole, dial, ping, read_to_reset};

on_each_pair! {
    a_reverse_forward_is_a_forward_the_other_way_round
    a_reverse_forward_to_nobody_is_a_reset
    whoever_asks_last_for_a_port_has_it_at_once
    a_port_that_is_not_allowed_is_refused_with_what_to_do
    a_port_that_another_program_has_is_refused
    a_port_is_given_back_with_its_client
}

/// A client that keeps a port for this destination, and where the server listens.
fn reverse(on: On, url: &str, port: u16, destination: SocketAddr) -> (Posthole, SocketAddr) {
    let client = on.start_connect(&format!("{url} -R {port}:{destination}"));
    let line = client.line("the server forwards ");
    let addr = line.split("forwards ").nth(1).unwrap();
    let addr = addr.split(' ').next().unwrap().parse().unwrap();
    (client, addr)
}

fn a_reverse_forward_is_a_forward_the_other_way_round(on: On) {
    let destination = Destination::new();
    let (_server, url) = on.serve("--allow-reverse 127.0.0.1:*");
    let (_client, far) = reverse(on, &url, 0, destination.addr);
    for _ in 0..3 {
        let mut here = dial(far);
        let mut there = destination.accept();
        here.write_all(b"question").unwrap();
        here.shutdown(Shutdown::Write).unwrap();
        let mut got = String::new();
        there.read_to_string(&mut got).unwrap();
        assert_eq!(got, "question");
        there.write_all(b"answer").unwrap();
        drop(there);
        got.clear();
        here.read_to_string(&mut got).unwrap();
        assert_eq!(got, "answer");
    }
}

fn a_reverse_forward_to_nobody_is_a_reset(on: On) {
    let nobody = support::free_addr();
    let (_server, url) = on.serve("--allow-reverse 127.0.0.1:*");
    let (client, far) = reverse(on, &url, 0, nobody);
    assert_eq!(read_to_reset(&dial(far)), b"");
    client.line(&format!("{nobody}: connection refused"));
}

fn whoever_asks_last_for_a_port_has_it_at_once(on: On) {
    let [one, two] = [Destination::new(), Destination::new()];
    let (server, url) = on.serve("--allow-reverse 127.0.0.1:*");
    let (first, far) = reverse(on, &url, 0, one.addr);
    let running = dial(far);
    let there = one.accept();
    // It is there and does not answer: its session lives for minutes.
    first.signal(Signal::STOP);
    let (second, same) = reverse(on, &url, far.port(), two.addr);
    assert_eq!(same, far);
    let mut here = dial(far);
    let mut taken = two.accept();
    here.write_all(b"x").unwrap();
    taken.read_exact(&mut [0]).unwrap();
    server.line("taken over");
    first.signal(Signal::CONT);
    first.line("another client has taken this port over");
    // What ran through the first goes on.
    (&running).write_all(b"y").unwrap();
    (&there).read_exact(&mut [0]).unwrap();
    // And it does not ask again: the port stays where it is.
    let here = dial(far);
    let _there = two.accept();
    drop((here, second));
}

fn a_port_that_is_not_allowed_is_refused_with_what_to_do(on: On) {
    let echo = Destination::echo();
    let (_server, url) = on.serve(&format!("--allow {echo} --allow-reverse 127.0.0.1:1"));
    let (client, local) = on.connect(&format!("{url} -L 0:{echo} -R 0:{echo}"));
    client.line("not allowed by the server (see serve --allow-reverse)");
    ping(&dial(local), b"the rest works");
}

fn a_port_that_another_program_has_is_refused(on: On) {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let (_server, url) = on.serve("--allow-reverse 127.0.0.1:*");
    let client = on.start_connect(&format!("{url} -R {port}:127.0.0.1:1"));
    client.line("another program has this port at the server");
}

fn a_port_is_given_back_with_its_client(on: On) {
    let echo = Destination::echo();
    let (server, url) = on.serve("--allow-reverse 127.0.0.1:*");
    let (client, far) = reverse(on, &url, 0, echo);
    ping(&dial(far), b"hello");
    client.signal(Signal::TERM);
    assert_eq!(client.end().0, Some(0));
    server.line("no client has it any more");
    let refused = (0..1000).any(|_| {
        std::thread::yield_now();
        TcpListener::bind(far).is_ok()
    });
    assert!(refused, "the port is free");
}
