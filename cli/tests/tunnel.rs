//! What passes through `serve` and `connect`, and how connections end: an end of file is an end of file, a reset is a
//! reset, and one connection's trouble is no other's.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use posthole::hostile::{Faults, Hostile, Upstream};
use posthole::random::Random;
use rustix::process::Signal;
use support::{Destination, On, Posthole, dial, free_addr, ping, read_to_reset, reset};

on_each_pair! {
    either_end_may_end_first_and_the_other_way_goes_on
    a_reset_at_one_end_is_a_reset_at_the_other
    a_destination_that_refuses_is_a_reset_and_a_line_on_each_side
    a_socks_port_leads_where_each_connection_says
    a_client_that_comes_before_its_server_waits_for_it
    after_a_restart_of_the_server_new_connections_go_through_a_new_session
    connections_live_on_while_the_way_is_hostile
    a_proxy_that_the_environment_names_is_gone_through
    a_hundred_connections_go_on_though_one_never_reads
    a_server_that_is_full_refuses_and_goes_on
    a_server_with_as_many_sessions_as_it_may_have_takes_the_next_when_one_has_ended
}

/// A server and a client with one forward to this destination.
fn tunnel(on: On, destination: SocketAddr) -> (Posthole, Posthole, SocketAddr) {
    let (server, url) = on.serve(&format!("--allow {destination}"));
    let (client, local) = on.connect(&format!("{url} -L 0:{destination}"));
    (server, client, local)
}

fn either_end_may_end_first_and_the_other_way_goes_on(on: On) {
    let destination = Destination::new();
    let (_server, _client, local) = tunnel(on, destination.addr);

    let mut here = dial(local);
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

    let mut here = dial(local);
    let mut there = destination.accept();
    there.write_all(b"greeting").unwrap();
    there.shutdown(Shutdown::Write).unwrap();
    got.clear();
    here.read_to_string(&mut got).unwrap();
    assert_eq!(got, "greeting");
    here.write_all(b"late reply").unwrap();
    drop(here);
    got.clear();
    there.read_to_string(&mut got).unwrap();
    assert_eq!(got, "late reply");
}

fn a_reset_at_one_end_is_a_reset_at_the_other(on: On) {
    let destination = Destination::new();
    let (_server, _client, local) = tunnel(on, destination.addr);

    let here = dial(local);
    let mut there = destination.accept();
    (&here).write_all(b"some").unwrap();
    let mut some = [0; 4];
    there.read_exact(&mut some).unwrap();
    reset(here);
    assert_eq!(read_to_reset(&there), b"");

    let mut here = dial(local);
    let there = destination.accept();
    (&there).write_all(b"some").unwrap();
    here.read_exact(&mut some).unwrap();
    reset(there);
    assert_eq!(read_to_reset(&here), b"");

    // Also where one way has ended well before.
    let mut here = dial(local);
    let there = destination.accept();
    here.shutdown(Shutdown::Write).unwrap();
    assert_eq!((&there).read(&mut some).unwrap(), 0);
    (&there).write_all(b"half").unwrap();
    here.read_exact(&mut some).unwrap();
    reset(there);
    assert_eq!(read_to_reset(&here), b"");
}

fn a_destination_that_refuses_is_a_reset_and_a_line_on_each_side(on: On) {
    let echo = Destination::echo();
    let nobody = free_addr();
    let (server, url) = on.serve(&format!(
        "--allow {echo} --allow {nobody} --allow no.such.name.invalid:1"
    ));
    let client = on.start_connect(&format!(
        "{url} -L 0:{echo} -L 0:{nobody} -L 0:localhost:22 -L 0:no.such.name.invalid:1"
    ));
    let forwards = client.lines_with("forwarding ", 4);
    let local = |i: usize| -> SocketAddr {
        forwards[i]
            .split("forwarding ")
            .nth(1)
            .unwrap()
            .split(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap()
    };
    let alive = dial(local(0));
    ping(&alive, b"before");
    for (i, destination, why) in [
        (1, nobody.to_string(), "connection refused"),
        (2, "localhost:22".into(), "not allowed"),
        (3, "no.such.name.invalid:1".into(), "name not found"),
    ] {
        assert_eq!(read_to_reset(&dial(local(i))), b"", "{destination}");
        let is_told = |l: &String| l.contains(&destination) && l.contains(why);
        client.line(why);
        server.line(why);
        assert_eq!(
            client.said().iter().filter(|l| is_told(l)).count(),
            1,
            "{:#?}",
            client.said()
        );
        assert_eq!(
            server.said().iter().filter(|l| is_told(l)).count(),
            1,
            "{:#?}",
            server.said()
        );
    }
    ping(&alive, b"others go on");
}

fn a_socks_port_leads_where_each_connection_says(on: On) {
    let [one, two] = [Destination::new(), Destination::new()];
    let (_server, url) = on.serve(&format!(
        "--allow {} --allow localhost:{}",
        one.addr,
        two.addr.port()
    ));
    let (_client, local) = on.connect(&format!("{url} -D 0"));
    let request = |name: &str, port: u16| {
        let length = u8::try_from(name.len()).unwrap();
        let [high, low] = port.to_be_bytes();
        [
            &[5, 1, 0, 5, 1, 0, 3, length],
            name.as_bytes(),
            &[high, low],
        ]
        .concat()
    };
    for (name, destination) in [("127.0.0.1", &one), ("localhost", &two)] {
        let mut here = dial(local);
        // All at once, with what is meant for the destination behind it.
        let mut words = request(name, destination.addr.port());
        words.extend(b"question");
        here.write_all(&words).unwrap();
        let mut there = destination.accept();
        let mut got = [0; 8];
        there.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"question");
        there.write_all(b"answer").unwrap();
        drop(there);
        let mut answer = Vec::new();
        here.shutdown(Shutdown::Write).unwrap();
        here.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, b"\x05\0\x05\0\0\x01\0\0\0\0\0\0answer");
    }
    // What is not allowed is a reset, as with -L; what is no SOCKS 5 is told so, or nothing.
    let mut here = dial(local);
    here.write_all(&request("127.0.0.1", 1)).unwrap();
    assert_eq!(read_to_reset(&here), b"\x05\0\x05\0\0\x01\0\0\0\0\0\0");
    let mut here = dial(local);
    here.write_all(&[5, 1, 0, 5, 2, 0, 1]).unwrap();
    let mut told = [0; 12];
    here.read_exact(&mut told).unwrap();
    assert_eq!(told[..4], [5, 0, 5, 7]);
    let mut here = dial(local);
    here.write_all(b"G").unwrap();
    assert_eq!(read_to_reset(&here), b"");
}

fn a_client_that_comes_before_its_server_waits_for_it(on: On) {
    let echo = Destination::echo();
    let addr = free_addr();
    let (client, local) = on.connect(&format!(
        "http://{addr}/x -L 0:{echo} --connect-timeout 200ms"
    ));
    client.line("trying again");
    let early = dial(local);
    (&early).write_all(b"early").unwrap();
    let _server = on.serve_at(&format!("--listen {addr} --path /x --allow {echo}"));
    let mut got = [0; 5];
    (&early).read_exact(&mut got).unwrap();
    assert_eq!(
        &got, b"early",
        "a connection that came meanwhile was waiting"
    );
}

fn after_a_restart_of_the_server_new_connections_go_through_a_new_session(on: On) {
    let echo = Destination::echo();
    let (server, url) = on.serve(&format!("--allow {echo}"));
    let (client, local) = on.connect(&format!("{url} -L 0:{echo}"));
    let old = dial(local);
    ping(&old, b"old");
    drop(server);
    let addr = url.trim_start_matches("http://").trim_end_matches('/');
    let _server = on.serve_at(&format!("--listen {addr} --allow {echo}"));
    read_to_reset(&old);
    client.line("the session has ended");
    ping(&dial(local), b"new");
}

fn connections_live_on_while_the_way_is_hostile(on: On) {
    let echo = Destination::echo();
    let (_server, url) = on.serve(&format!("--allow {echo}"));
    let proxy = Hostile::start(11, Faults::all(10.0), Upstream::AsAsked).unwrap();
    let (_client, local) = on.connect(&format!("{url} -L 0:{echo} --proxy {}", proxy.url()));
    let stop = Arc::new(AtomicBool::new(false));
    let resets = {
        let stop = Arc::clone(&stop);
        thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                proxy.reset_all();
                thread::sleep(Duration::from_millis(300));
            }
            proxy.counts()
        })
    };
    let apps: Vec<_> = (0..4)
        .map(|seed| thread::spawn(move || there_and_back(dial(local), seed, 2_000_000)))
        .collect();
    for app in apps {
        app.join().unwrap();
    }
    stop.store(true, Ordering::SeqCst);
    assert!(
        resets.join().unwrap().harmed() > 0,
        "nothing was harmed, so nothing was shown"
    );
}

fn a_proxy_that_the_environment_names_is_gone_through(on: On) {
    let echo = Destination::echo();
    let (_server, url) = on.serve(&format!("--allow {echo}"));
    let proxy = Hostile::start(1, Faults::none(), Upstream::AsAsked).unwrap();
    let line = format!("connect {url} -L 0:{echo} --runtime {}", on.client);
    let client = Posthole::start_in(&[("http_proxy", &proxy.url())], &line);
    ping(&dial(client.forward()), b"through it");
    assert!(proxy.counts().exchanges > 0, "it goes past it");
}

/// Sends this many bytes and expects them back.
fn there_and_back(connection: TcpStream, seed: u64, size: usize) {
    let mut sent = vec![0; size];
    Random::new(seed).fill(&mut sent);
    let mut writer = connection.try_clone().unwrap();
    let copy = sent.clone();
    let writing = thread::spawn(move || {
        writer.write_all(&copy).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut got = Vec::new();
    (&connection).read_to_end(&mut got).unwrap();
    writing.join().unwrap();
    assert!(got == sent, "{} bytes came back", got.len());
}

fn a_hundred_connections_go_on_though_one_never_reads(on: On) {
    let echo = Destination::echo();
    let (_server, _client, local) = tunnel(on, echo);
    let stuck = dial(local);
    let filler = stuck.try_clone().unwrap();
    thread::spawn(move || {
        // Ends when the buffers on the way are full and the test is over.
        let _ = (&filler).write_all(&vec![1; 64 << 20]);
    });
    let apps: Vec<_> = (0..100).map(|_| dial(local)).collect();
    for round in 0..3_u8 {
        for (i, app) in apps.iter().enumerate() {
            ping(app, &[round, i as u8, 3]);
        }
    }
    thread::scope(|scope| {
        for app in apps.into_iter().take(8) {
            scope.spawn(move || there_and_back(app, 1, 300_000));
        }
    });
    stuck.shutdown(Shutdown::Both).unwrap();
}

fn a_server_that_is_full_refuses_and_goes_on(on: On) {
    let echo = Destination::echo();
    let (server, url) = on.serve(&format!("--allow {echo} --max-connections 1"));
    let (client, local) = on.connect(&format!("{url} -L 0:{echo}"));
    let first = dial(local);
    ping(&first, b"first");
    read_to_reset(&dial(local));
    server.line("takes no more connections");
    client.line("takes no more connections");
    ping(&first, b"still there");
}

fn a_server_with_as_many_sessions_as_it_may_have_takes_the_next_when_one_has_ended(on: On) {
    let echo = Destination::echo();
    let (_server, url) = on.serve(&format!("--allow {echo} --max-sessions 1"));
    let arguments = format!("{url} -L 0:{echo} --connect-timeout 300ms");
    let (first, local) = on.connect(&arguments);
    ping(&dial(local), b"first");
    let (second, local) = on.connect(&arguments);
    second.line("trying again");
    first.signal(Signal::INT);
    assert_eq!(first.end().0, Some(0));
    ping(&dial(local), b"second");
}
