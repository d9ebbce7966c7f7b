//! The command as someone at a terminal meets it: help, mistakes, exit codes, interrupts, standard input and output, demo.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use support::{Destination, On, dial, free_addr, ping, read_to_reset, run};

on_each_runtime! {
    what_makes_no_sense_to_the_runtime_is_one_line_and_exits_with_2
    what_does_not_work_is_one_line_and_exits_with_1
    a_url_that_makes_no_sense_ends_a_forwarding_client_too
    standard_input_and_output_are_a_connection
    standard_output_ends_when_the_destination_has_ended_though_input_goes_on
    a_destination_that_refuses_ends_stdio_with_1_and_one_line
    ssh_ends_its_proxy_command_with_a_hangup
    twice_verbose_says_every_exchange
    an_interrupt_ends_idle_ones_in_order_and_at_once
    an_interrupt_lets_connections_finish
    what_does_not_finish_in_time_is_cut_off_and_sees_a_reset
    a_second_interrupt_exits_at_once_and_even_then_nothing_looks_whole
    a_demo_under_faults_ends_with_equal_hashes
    a_log_on_a_full_disk_harms_nobody
}

#[test]
fn help_explains_every_command_and_exits_with_0() {
    for (line, parts) in [
        (
            "--help",
            &[
                "serve",
                "connect",
                "demo",
                "bench",
                "Examples:",
                "--verbose",
            ][..],
        ),
        ("-h", &["serve", "connect", "demo"]),
        (
            "serve --help",
            &[
                "Whoever reaches this server",
                "--listen",
                "--allow",
                "--path",
                "--grace",
                "127.0.0.1:8080",
                "Examples:",
            ],
        ),
        (
            "connect --help",
            &[
                "-L",
                "--stdio",
                "--proxy",
                "none",
                "--ca",
                "ProxyCommand",
                "Examples:",
            ],
        ),
        (
            "demo --help",
            &["--size", "64MiB", "--faults", "--seed", "Examples:"],
        ),
        (
            "bench --help",
            &["--tests", "ping-busy", "--runtimes", "--json", "Examples:"],
        ),
        ("--version", &["posthole 0."]),
    ] {
        let (code, stdout, stderr) = run(line);
        assert_eq!((code, stderr.len()), (Some(0), 0), "{line}");
        for part in parts {
            assert!(
                stdout.contains(part),
                "`{line}` does not speak of {part}:\n{stdout}"
            );
        }
    }
}

#[test]
fn without_a_command_it_explains_itself_and_exits_with_2() {
    let (code, _, stderr) = run("");
    assert_eq!(code, Some(2));
    assert!(
        stderr.iter().any(|l| l.contains("Usage: posthole")),
        "{stderr:#?}"
    );
}

/// One clear line.
fn fails(line: &str, code: i32, part: &str) {
    let (got, stdout, stderr) = run(line);
    assert_eq!(got, Some(code), "{line}: {stderr:#?}");
    assert_eq!(
        (stdout.as_str(), stderr.len()),
        ("", 1),
        "{line}: one line and no more: {stderr:#?}"
    );
    assert!(
        stderr[0].starts_with("posthole: ") && stderr[0].contains(part),
        "{line}: {}",
        stderr[0]
    );
}

#[test]
fn a_mistake_is_one_line_and_exits_with_2() {
    fails("nonsense", 2, "nonsense");
    fails("serve --allow nonsense", 2, "not HOST:PORT");
    fails("serve --allow 127.0.0.1:99999", 2, "not a port");
    fails("serve --allow a:1 --path tunnel", 2, "begins with `/`");
    fails("serve --allow a:1 --grace soon", 2, "not a unit of time");
    fails("connect http://127.0.0.1:1/", 2, "--stdio");
    fails(
        "connect http://127.0.0.1:1/ -L 22:host",
        2,
        "[BIND:]PORT:HOST:HOSTPORT",
    );
    fails(
        "connect http://127.0.0.1:1/ -L 0:host:22 --stdio host:22",
        2,
        "--stdio",
    );
    fails("demo --size 12parsecs", 2, "not a unit of size");
    fails("demo --faults 120", 2, "between 0 and 100");
}

#[test]
fn a_server_without_allow_refuses_to_start_and_says_why() {
    fails("serve", 2, "--allow HOST:PORT");
}

fn what_makes_no_sense_to_the_runtime_is_one_line_and_exits_with_2(on: On) {
    let fails_on = |line: &str, part| fails(&format!("{line} --runtime {}", on.client), 2, part);
    fails_on("connect gopher://127.0.0.1:1/ --stdio host:22", "gopher");
    fails_on(
        "connect http://127.0.0.1:1/ --proxy socks5://x:1 --stdio host:22",
        "socks5",
    );
    fails_on(
        "connect https://127.0.0.1:1/ --ca /nowhere.pem --stdio host:22",
        "/nowhere.pem",
    );
}

fn what_does_not_work_is_one_line_and_exits_with_1(on: On) {
    let runtime = on.client;
    let taken = Destination::new();
    fails(
        &format!(
            "serve --allow a:1 --listen {} --runtime {runtime}",
            taken.addr
        ),
        1,
        "can't listen on",
    );
    fails(
        &format!(
            "connect http://127.0.0.1:1/ -L {}:a:1 --runtime {runtime}",
            taken.addr
        ),
        1,
        "can't listen on",
    );
    fails(
        &format!(
            "connect http://{}/ --stdio a:1 --connect-timeout 300ms -q --runtime {runtime}",
            free_addr()
        ),
        1,
        "can't reach",
    );
}

fn a_url_that_makes_no_sense_ends_a_forwarding_client_too(on: On) {
    let mut client = on.start_connect("gopher://127.0.0.1:1/ -L 0:a:1");
    drop(client.stdin());
    let (code, _, stderr) = client.end();
    assert_eq!(code, Some(2));
    assert!(stderr.last().unwrap().contains("gopher"), "{stderr:#?}");
}

fn standard_input_and_output_are_a_connection(on: On) {
    let echo = Destination::echo();
    let (_server, url) = on.serve(&format!("--allow {echo}"));
    let mut stdio = on.start_connect(&format!("{url} --stdio {echo} -q"));
    let (mut to, mut from) = (stdio.stdin(), stdio.stdout());
    to.write_all(b"SSH-2.0\r\n").unwrap();
    let mut answer = [0; 9];
    from.read_exact(&mut answer).unwrap();
    assert_eq!(
        &answer, b"SSH-2.0\r\n",
        "small pieces don't wait for larger ones"
    );
    let sent: Vec<u8> = (0..2_000_000_u32).map(|i| (i % 251) as u8).collect();
    let writing = {
        let sent = sent.clone();
        std::thread::spawn(move || to.write_all(&sent).map(|()| drop(to)))
    };
    let mut got = Vec::new();
    from.read_to_end(&mut got).unwrap();
    writing.join().unwrap().unwrap();
    assert!(got == sent, "{} bytes came back", got.len());
    let (code, _, stderr) = stdio.end();
    assert_eq!((code, stderr.len()), (Some(0), 0), "{stderr:#?}");
}

fn standard_output_ends_when_the_destination_has_ended_though_input_goes_on(on: On) {
    let destination = Destination::new();
    let (_server, url) = on.serve(&format!("--allow {}", destination.addr));
    let mut stdio = on.start_connect(&format!("{url} --stdio {}", destination.addr));
    let (mut to, mut from) = (stdio.stdin(), stdio.stdout());
    let mut there = destination.accept();
    there.write_all(b"bye").unwrap();
    there.shutdown(std::net::Shutdown::Write).unwrap();
    let mut got = String::new();
    from.read_to_string(&mut got).unwrap();
    assert_eq!(got, "bye");
    to.write_all(b"still here").unwrap();
    drop(to);
    let mut heard = String::new();
    there.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "still here");
    assert_eq!(stdio.end().0, Some(0));
}

fn a_destination_that_refuses_ends_stdio_with_1_and_one_line(on: On) {
    let nobody = free_addr();
    let (server, url) = on.serve(&format!("--allow {nobody}"));
    // Its input stays open: nothing but the refusal ends it.
    let stdio = on.start_connect(&format!("{url} --stdio {nobody} -q"));
    server.line("connection refused");
    let (code, _, stderr) = stdio.end();
    assert_eq!((code, stderr.len()), (Some(1), 1), "{stderr:#?}");
    assert!(
        stderr[0].contains(&format!("{nobody}: connection refused")),
        "{}",
        stderr[0]
    );
    let stdio = on.start_connect(&format!("{url} --stdio localhost:1 -q"));
    let (code, _, stderr) = stdio.end();
    assert_eq!(code, Some(1));
    assert!(stderr[0].contains("not allowed"), "{stderr:#?}");
}

fn ssh_ends_its_proxy_command_with_a_hangup(on: On) {
    let echo = Destination::echo();
    let (server, url) = on.serve(&format!("--allow {echo}"));
    let mut stdio = on.start_connect(&format!("{url} --stdio {echo} --grace 200ms"));
    let (mut to, mut from) = (stdio.stdin(), stdio.stdout());
    to.write_all(b"x").unwrap();
    from.read_exact(&mut [0]).unwrap();
    stdio.signal(Signal::HUP);
    assert_eq!(stdio.end().0, Some(0));
    server.line("closed by the peer");
}

/// `--help` said so, and nothing of it was true.
fn twice_verbose_says_every_exchange(on: On) {
    let (server, url) = on.serve("--allow 127.0.0.1:1 -vv");
    let (client, _) = on.connect(&format!("{url} -L 0:127.0.0.1:1 -vv"));
    client.line("exchange 0: a request of ");
    client.line("exchange 0: an answer of ");
    server.line("a request of ");
    server.line("exchange 0: an answer of ");
}

fn an_interrupt_ends_idle_ones_in_order_and_at_once(on: On) {
    let echo = Destination::echo();
    for signal in [Signal::INT, Signal::TERM] {
        let (server, url) = on.serve(&format!("--allow {echo} --grace 300s"));
        let (client, local) = on.connect(&format!("{url} -L 0:{echo} --grace 300s"));
        ping(&dial(local), b"hello");
        client.signal(signal);
        assert_eq!(client.end().0, Some(0));
        server.line("closed by the peer");
        server.signal(signal);
        assert_eq!(server.end().0, Some(0));
    }
}

fn an_interrupt_lets_connections_finish(on: On) {
    let echo = Destination::echo();
    let (server, url) = on.serve(&format!("--allow {echo} --grace 300s"));
    let (client, local) = on.connect(&format!("{url} -L 0:{echo} --grace 300s"));
    let app = dial(local);
    ping(&app, b"before");
    client.signal(Signal::TERM);
    ping(&app, b"after");
    server.signal(Signal::TERM);
    ping(&app, b"after that");
    drop(app);
    assert_eq!(client.end().0, Some(0));
    assert_eq!(server.end().0, Some(0));
}

fn what_does_not_finish_in_time_is_cut_off_and_sees_a_reset(on: On) {
    let echo = Destination::echo();
    let (server, url) = on.serve(&format!("--allow {echo} --grace 100ms"));
    let (client, local) = on.connect(&format!("{url} -L 0:{echo} --grace 100ms"));
    let app = dial(local);
    ping(&app, b"hello");
    client.signal(Signal::INT);
    read_to_reset(&app);
    let (code, _, stderr) = client.end();
    assert_eq!(code, Some(0), "{stderr:#?}");
    assert!(
        stderr.iter().any(|l| l.contains("cutting off 1")),
        "{stderr:#?}"
    );

    let (client, local) = on.connect(&format!("{url} -L 0:{echo}"));
    let app = dial(local);
    ping(&app, b"hello");
    server.signal(Signal::INT);
    read_to_reset(&app);
    assert_eq!(server.end().0, Some(0));
    drop(client);
}

fn a_second_interrupt_exits_at_once_and_even_then_nothing_looks_whole(on: On) {
    let echo = Destination::echo();
    let (_server, url) = on.serve(&format!("--allow {echo}"));
    let (client, local) = on.connect(&format!("{url} -L 0:{echo} --grace 300s"));
    let app = dial(local);
    ping(&app, b"hello");
    client.signal(Signal::INT);
    // Only once the first has arrived: two at once may be one.
    let refused = loop {
        let late = dial(local);
        let mut byte = [0];
        // Whichever meets the reset is told of it, once.
        match (&late)
            .write_all(b"x")
            .and_then(|()| (&late).read(&mut byte))
        {
            Ok(1) => {}
            other => break other,
        }
    };
    assert!(refused.is_err(), "no new connections: a reset");
    client.signal(Signal::INT);
    assert_eq!(client.end().0, Some(130));
    read_to_reset(&app);
}

fn a_demo_under_faults_ends_with_equal_hashes(on: On) {
    let line = "demo --size 1MiB --faults 20 --seed 7 --runtime";
    let (code, stdout, stderr) = run(&format!("{line} {}", on.server));
    assert_eq!(code, Some(0), "{stderr:#?}");
    for part in [
        "SHA-256 equal",
        "exchanges",
        "lost",
        "on the wire",
        "per byte carried",
        "plain TCP",
        "time",
    ] {
        assert!(stdout.contains(part), "no {part} in\n{stdout}");
    }
    assert!(
        stderr.iter().any(|l| l.contains("of 1 MiB")),
        "progress in plain lines: {stderr:#?}"
    );
}

#[test]
fn a_demo_that_takes_too_long_says_how_far_it_got() {
    let (code, stdout, stderr) = run("demo --size 1GiB --faults 100 --limit 300ms -q");
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(
        stderr.last().unwrap().contains("gave up after 0.3 s"),
        "{stderr:#?}"
    );
}

/// Where what is logged can't be written, a thread died of every line.
fn a_log_on_a_full_disk_harms_nobody(on: On) {
    struct Killed(Child);
    impl Drop for Killed {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
    let start = |line: String| {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_posthole"))
            .args(line.split_whitespace())
            .env_clear()
            .stdin(Stdio::null())
            .stderr(full)
            .spawn();
        Killed(child.unwrap())
    };
    let destination = Destination::new();
    let ([at, local], to) = ([free_addr(), free_addr()], destination.addr);
    let _server = start(format!(
        "serve --listen {at} --allow {to} -vv --runtime {}",
        on.server
    ));
    let _client = start(format!(
        "connect http://{at}/ -L {local}:{to} --proxy none -vv --runtime {}",
        on.client
    ));
    while TcpStream::connect(local).is_err() {
        thread::sleep(Duration::from_millis(10));
    }
    // The one that looked whether it listens is the destination's first.
    drop(destination.accept());
    for _ in 0..3 {
        let (here, there) = (dial(local), destination.accept());
        ping_across(&here, &there);
    }
}

fn ping_across(mut here: &TcpStream, mut there: &TcpStream) {
    let mut got = [0; 5];
    here.write_all(b"hello").unwrap();
    there.read_exact(&mut got).unwrap();
    there.write_all(&got).unwrap();
    here.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"hello");
}
