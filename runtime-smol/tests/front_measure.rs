//! What connections cost, on loopback; prints and asserts nothing. Run it by
//! `cargo test --release -p posthole-smol --test front_measure -- --ignored --nocapture --test-threads 1`.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

#[path = "../../runtime-blocking/tests/front_child/mod.rs"]
mod front_child;
mod front_common;

use front_child::Server;
use front_common::{connect_to, post, read_reply};
use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Lets the server come to rest: its memory has not changed for a while.
fn rest(server: &Server) -> u64 {
    let mut seen = server.memory();
    loop {
        std::thread::sleep(Duration::from_millis(300));
        let now = server.memory();
        if now == seen {
            return now;
        }
        seen = now;
    }
}

/// Prints how much memory each of many connections takes.
fn memory(bodies: &[&[u8]]) {
    const MANY: u64 = 5000;
    let server = Server::with_descriptors(8000);
    let before = rest(&server);
    let per_connection = |what: &str| {
        let each = (rest(&server) - before) as f64 / MANY as f64;
        println!("{what}: {each:.1} KiB a connection");
    };
    let mut streams: Vec<TcpStream> = (0..MANY).map(|_| connect_to(server.addr)).collect();
    per_connection("before the first request");
    for body in bodies {
        for stream in &mut streams {
            post(stream, body);
            read_reply(stream);
        }
        per_connection(&format!("after a request of {} bytes", body.len()));
    }
    for stream in &mut streams {
        post(stream, &[b'h'; 300]);
    }
    per_connection("while a request is held");
}

#[test]
#[ignore = "measures"]
fn memory_of_a_connection() {
    memory(&[&[0; 300]]);
}

#[test]
#[ignore = "measures"]
fn memory_of_a_connection_after_bulk() {
    memory(&[&[0; 300], &[0; 500_000]]);
}

/// Reads a reply with a body of `size` bytes, in as few steps as it comes.
fn skip_reply(stream: &mut TcpStream, buffer: &mut [u8], size: usize) {
    let (mut came, mut whole) = (0, usize::MAX);
    while came < whole {
        came += stream.read(&mut buffer[came..]).unwrap();
        if let Some(end) = buffer[..came]
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
        {
            whole = end + 4 + size;
        }
    }
}

#[test]
#[ignore = "measures"]
fn time_of_an_exchange() {
    let server = Server::with_descriptors(1000);
    let mut stream = connect_to(server.addr);
    for size in [64, 4096, 65_536, 524_288, 1_000_000] {
        let rounds = (400_000_000 / (size + 20_000)).min(20_000);
        let (body, mut buffer) = (vec![0; size], vec![0; size + 1000]);
        let (begun, before) = (Instant::now(), server.processor());
        let mut times: Vec<Duration> = (0..rounds)
            .map(|_| {
                let begun = Instant::now();
                post(&mut stream, &body);
                skip_reply(&mut stream, &mut buffer, size);
                begun.elapsed()
            })
            .collect();
        let (took, used) = (begun.elapsed(), server.processor() - before);
        times.sort();
        let bytes = (2 * size * rounds) as f64;
        println!(
            "echo of {size}: p50 {:?}, {:.0} MB/s, {:.2} s of the server's processor per GB, {:.1} us a round",
            times[rounds / 2],
            bytes / took.as_secs_f64() / 1e6,
            used / bytes * 1e9,
            used / rounds as f64 * 1e6,
        );
    }
}
