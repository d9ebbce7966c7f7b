//! `serve --tcp`: direct connections beside HTTP.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::net::SocketAddr;

use support::{Destination, On, Posthole, dial, ping, run};

on_each_pair! {
    a_client_that_is_told_goes_by_a_direct_connection
    a_client_that_knows_the_port_needs_no_http
    rubbish_on_the_port_harms_nobody
    nothing_listens_there_and_http_carries_all
}

/// A server that takes direct connections, its URL, and where it takes them.
fn serve(on: On, destination: SocketAddr) -> (Posthole, String, SocketAddr) {
    let (server, url) = on.serve(&format!("--allow {destination} --tcp 127.0.0.1:0"));
    let line = server.line("taking direct connections on ");
    let addr = line.split("connections on ").nth(1).unwrap();
    let addr = addr.trim().parse().unwrap();
    (server, url, addr)
}

fn a_client_that_is_told_goes_by_a_direct_connection(on: On) {
    let echo = Destination::echo();
    let (_server, url, _) = serve(on, echo);
    let (client, local) = on.connect(&format!("{url} -L 0:{echo} --proxy none -v"));
    let app = dial(local);
    ping(&app, b"hello");
    client.line("there is a direct connection: everything goes by it");
    ping(&app, &vec![7; 1_000_000]);
}

fn a_client_that_knows_the_port_needs_no_http(on: On) {
    let echo = Destination::echo();
    let (_server, _, addr) = serve(on, echo);
    let nowhere = support::free_addr();
    let (_client, local) = on.connect(&format!(
        "http://{nowhere}/ --tcp {addr} --carrier tcp -L 0:{echo} --proxy none"
    ));
    let app = dial(local);
    ping(&app, b"hello");
    ping(&app, &vec![7; 1_000_000]);
}

fn rubbish_on_the_port_harms_nobody(on: On) {
    let echo = Destination::echo();
    let (_server, url, addr) = serve(on, echo);
    let (_client, local) = on.connect(&format!("{url} -L 0:{echo} --proxy none --tcp {addr}"));
    let app = dial(local);
    ping(&app, b"hello");
    let too_long = [&[0xf8, 1, 0, 0, 0xff, 0xff, 0xff, 0xff][..], &[0; 100]].concat();
    let unknown = [&[0xf8, 1, 0, 0, 0, 0, 0, 60][..], &[0; 52]].concat();
    for rubbish in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0; 4096],
        &too_long,
        &unknown,
    ] {
        let mut connection = dial(addr);
        connection.write_all(rubbish).unwrap();
        let mut got = Vec::new();
        // Closed, with a refusal where there is one to say, or reset.
        let _ = connection.read_to_end(&mut got);
        assert!(got.len() < 100, "{got:?}");
    }
    ping(&app, b"still there");
}

fn nothing_listens_there_and_http_carries_all(on: On) {
    let echo = Destination::echo();
    let (_server, url) = on.serve(&format!("--allow {echo}"));
    let nowhere = support::free_addr();
    let (_client, local) = on.connect(&format!("{url} -L 0:{echo} --tcp {nowhere} --proxy none"));
    ping(&dial(local), b"hello");
}

#[test]
fn an_address_that_is_none_is_said_so() {
    let (code, _, said) = run("connect http://127.0.0.1:1/ --tcp nowhere -L 0:127.0.0.1:1");
    assert_eq!(code, Some(2), "{said:?}");
    assert!(said.concat().contains("wanted: host:port"), "{said:?}");
    let (code, _, said) = run("connect http://127.0.0.1:1/ --carrier tcp -L 0:127.0.0.1:1");
    assert_eq!(code, Some(2), "{said:?}");
    assert!(
        said.concat().contains("nothing but direct connections"),
        "{said:?}"
    );
}
