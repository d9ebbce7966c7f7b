//! Bodies as a form's file over real sockets (PROTOCOL §9.8), through a firewall that lets nothing else pass.
#![allow(clippy::unwrap_used)] // A test fails by it.

mod runtimes;

use posthole_protocol::Config;
use posthole_tests::conformance::pair::{Pair, anywhere};
use posthole_tests::conformance::runtime::{Dial, Listener, Runtime, Stream};
use posthole_tests::conformance::talk::{MIB, both_ways, ping_pong};
use posthole_tests::conformance::world::World;
use std::io::{BufRead, BufReader, Read, Write, copy};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

runtimes::tests_for_each_pair! {
    a_firewall_that_lets_only_forms_pass,
}

fn a_firewall_that_lets_only_forms_pass<W: World>() {
    let listener = W::Server::bind(anywhere(), Config::default()).unwrap();
    let passed = Arc::new(AtomicUsize::new(0));
    let by = firewall(listener.addr(), passed.clone());
    let pair = Pair::<W>::at(listener, by, Dial::default());
    both_ways(&pair, 2, 2 * MIB);
    let (near, far) = pair.stream();
    ping_pong(&near, &far, 50);
    near.finish().unwrap();
    pair.close();
    assert!(passed.load(Ordering::Relaxed) > 10);
}

/// Passes requests whose body is a form with one file, whole; answers 403 to others.
fn firewall(to: SocketAddr, passed: Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind(anywhere()).unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().take(1_000) {
            let (client, passed) = (client.unwrap(), passed.clone());
            let Ok(server) = TcpStream::connect(to) else {
                return;
            };
            thread::spawn(move || {
                let (from, mut back) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                thread::spawn(move || copy(&mut &from, &mut back));
                judge(&client, &server, &passed);
                let _ = server.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    addr
}

fn judge(client: &TcpStream, mut server: &TcpStream, passed: &AtomicUsize) {
    let mut from = BufReader::new(client);
    loop {
        let (mut head, mut length, mut boundary) = (String::new(), 0, None);
        while !head.ends_with("\r\n\r\n") {
            let begin = head.len();
            if from.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
            let line = head[begin..].trim_end();
            let Some((name, value)) = line.split_once(": ") else {
                continue;
            };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().unwrap(),
                "content-type" => {
                    let form = value.strip_prefix("multipart/form-data; boundary=");
                    boundary = form.map(str::to_owned);
                }
                _ => {}
            }
        }
        let mut body = vec![0; length];
        if from.read_exact(&mut body).is_err() {
            return;
        }
        let is_form = boundary.is_some_and(|boundary| {
            let begin = format!("--{boundary}\r\nContent-Disposition: form-data; name=");
            let end = format!("\r\n--{boundary}--\r\n");
            body.starts_with(begin.as_bytes()) && body.ends_with(end.as_bytes())
        });
        if !is_form {
            let answer = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
            let mut client = client;
            if client.write_all(answer.as_bytes()).is_err() {
                return;
            }
            continue;
        }
        passed.fetch_add(1, Ordering::Relaxed);
        if server
            .write_all(&[head.as_bytes(), &body].concat())
            .is_err()
        {
            return;
        }
    }
}
