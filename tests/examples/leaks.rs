//! Ten thousand sessions, one after another, and what is left of them: threads, descriptors, memory, sessions in the server's
//! table. Every other one ends in order; of the rest the client vanishes, and the server waits in vain, for a short time here.
//! Client and server in one process, which is another for each runtime.
//!
//! `cargo run --release -p posthole-tests --example leaks [SESSIONS]`; some three minutes. Ends with 1 if something is left.
//! Only loopback is used.
#![allow(clippy::unwrap_used)] // Whoever runs it sees what is wrong.

use posthole_protocol::Config;
use posthole_protocol::http::ProxyChoice;
use posthole_runtime::{ListenOptions, Options};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// How many are open at a time.
const AT_ONCE: usize = 8;

/// When a server gives up a client of which nothing is heard.
const IDLE: Duration = Duration::from_secs(15);

/// For so long at most something may still be on its way to its end.
const REST: Duration = Duration::from_secs(25);

/// How much memory may have grown, in bytes: an allocator's own disorder. A byte for each session would be 10 kB.
const GROWN: f64 = 4e6;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let count = args.last().and_then(|it| it.parse().ok()).unwrap_or(10_000);
    let left = match args.first().map(String::as_str) {
        Some("threads") => on_threads(count),
        Some("tasks") => in_tasks(count),
        _ => {
            println!(
                "| | sessions | threads | descriptors | memory |\n| --- | --- | --- | --- | --- |"
            );
            ["threads", "tasks"].into_iter().any(|runtime| {
                let program = std::env::current_exe().unwrap();
                let run = Command::new(program)
                    .args([runtime, &count.to_string()])
                    .status();
                !run.unwrap().success()
            })
        }
    };
    ExitCode::from(u8::from(left))
}

/// What a process has.
#[derive(Clone, Copy)]
struct Has {
    threads: usize,
    descriptors: usize,
    memory: f64,
}

fn has() -> Has {
    let entries = |folder| std::fs::read_dir(folder).unwrap().count();
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    Has {
        threads: entries("/proc/self/task"),
        descriptors: entries("/proc/self/fd"),
        memory: pages
            .split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<f64>()
            .unwrap()
            * 4096.0,
    }
}

/// Whether anything is left of those sessions that the first did not leave.
fn compare(name: &str, count: usize, run: impl Fn(usize)) -> bool {
    // Whatever is needed once is there then: threads that are used again, blocks of memory that are kept.
    run(count);
    thread::sleep(REST);
    let before = has();
    run(count);
    thread::sleep(REST);
    let after = has();
    println!(
        "| {name} | {count} | {} to {} | {} to {} | {:.1} to {:.1} MB |",
        before.threads,
        after.threads,
        before.descriptors,
        after.descriptors,
        before.memory / 1e6,
        after.memory / 1e6
    );
    after.threads > before.threads
        || after.descriptors > before.descriptors
        || after.memory > before.memory + GROWN
}

fn url(addr: SocketAddr) -> String {
    format!("http://{addr}/")
}

fn listening() -> ListenOptions {
    let second = Duration::from_secs(1);
    let brief = Config::builder()
        .give_up(second)
        .wait_first(second)
        .wait(second);
    let config = brief.patience(11 * second).idle(IDLE).build();
    ListenOptions::new().config(config.unwrap())
}

fn options() -> Options {
    Options::new().proxy(ProxyChoice::None)
}

fn on_threads(count: usize) -> bool {
    use posthole_blocking::{Listener, connect};
    let listener = Arc::new(Listener::bind("127.0.0.1:0", listening()).unwrap());
    let url = url(listener.local_addr().unwrap());
    let accepting = listener.clone();
    thread::spawn(move || {
        while let Ok(session) = accepting.accept() {
            thread::spawn(move || {
                while let Ok(mut stream) = session.accept() {
                    let mut got = Vec::new();
                    let _ = stream
                        .read_to_end(&mut got)
                        .and_then(|_| stream.write_all(&got));
                }
            });
        }
    });
    compare("threads", count, |count| {
        let begun = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    loop {
                        let number = begun.fetch_add(1, Ordering::Relaxed);
                        if number >= count {
                            break;
                        }
                        let session = connect(&url, options()).unwrap();
                        let mut stream = session.open().unwrap();
                        stream.write_all(&[7; 1_000]).unwrap();
                        stream.shutdown(std::net::Shutdown::Write).unwrap();
                        let mut got = Vec::new();
                        stream.read_to_end(&mut got).unwrap();
                        assert_eq!(got, [7; 1_000]);
                        drop(stream);
                        if number.is_multiple_of(2) {
                            session.close().unwrap();
                        } else {
                            session.abort();
                        }
                    }
                });
            }
        });
    })
}

fn in_tasks(count: usize) -> bool {
    use posthole_smol::{Listener, connect};
    use smol::io::{AsyncReadExt, AsyncWriteExt};
    let listener = smol::block_on(Listener::bind("127.0.0.1:0", listening())).unwrap();
    let url = url(listener.local_addr().unwrap());
    smol::spawn(async move {
        while let Ok(session) = listener.accept().await {
            smol::spawn(async move {
                while let Ok(mut stream) = session.accept().await {
                    let mut got = Vec::new();
                    if stream.read_to_end(&mut got).await.is_ok() {
                        let _ = stream.write_all(&got).await;
                    }
                }
            })
            .detach();
        }
    })
    .detach();
    compare("tasks", count, |count| {
        let begun = Arc::new(AtomicUsize::new(0));
        let all: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                let (url, begun) = (url.clone(), begun.clone());
                smol::spawn(async move {
                    loop {
                        let number = begun.fetch_add(1, Ordering::Relaxed);
                        if number >= count {
                            break;
                        }
                        let session = connect(&url, options()).await.unwrap();
                        let mut stream = session.open().await.unwrap();
                        stream.write_all(&[7; 1_000]).await.unwrap();
                        stream.close().await.unwrap();
                        let mut got = Vec::new();
                        stream.read_to_end(&mut got).await.unwrap();
                        assert_eq!(got, [7; 1_000]);
                        drop(stream);
                        if number.is_multiple_of(2) {
                            session.close().await.unwrap();
                        } else {
                            session.abort();
                        }
                    }
                })
            })
            .collect();
        for one in all {
            smol::block_on(one);
        }
    })
}
