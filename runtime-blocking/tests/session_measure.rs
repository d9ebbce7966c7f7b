//! What it costs, on loopback; prints and asserts nothing of time. Run it by
//! `cargo test --release -p posthole-blocking --test session_measure -- --ignored --nocapture --test-threads 1`.
#![allow(clippy::unwrap_used)]

mod session_support;

use session_support::{Pair, bounded, pair, streams};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Processor seconds of this process so far, in ticks of 10 ms; 0 where that can't be told.
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|t| t.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

fn report(what: &str, mut times: Vec<Duration>, cpu: f64, pair: Option<&Pair>, before: u64) {
    times.sort();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    let exchanges = pair.map_or(0, |pair| pair.client.stats().exchanges - before);
    println!(
        "{what}: {} rounds, p50 {:?}, p90 {:?}, p99 {:?}, {:.1} us of processor and {:.2} exchanges a round",
        times.len(),
        at(50),
        at(90),
        at(99),
        cpu * 1e6 / times.len() as f64,
        exchanges as f64 / times.len() as f64,
    );
}

fn ping_pong(rounds: usize, near: &mut (impl Read + Write)) -> Vec<Duration> {
    (0..rounds)
        .map(|_| {
            let start = Instant::now();
            near.write_all(&[7; 64]).unwrap();
            near.read_exact(&mut [0; 64]).unwrap();
            start.elapsed()
        })
        .collect()
}

fn echo(mut far: impl Read + Write) {
    let mut buffer = [0; 64];
    while far.read_exact(&mut buffer).is_ok() {
        far.write_all(&buffer).unwrap();
    }
}

#[test]
#[ignore = "measures"]
fn ping_pongs() {
    bounded(|| {
        let door = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut plain = TcpStream::connect(door.local_addr().unwrap()).unwrap();
        plain.set_nodelay(true).unwrap();
        let far = door.accept().unwrap().0;
        far.set_nodelay(true).unwrap();
        let echoing = thread::spawn(move || echo(far));
        let cpu = processor();
        let times = ping_pong(20_000, &mut plain);
        report("ping-pong over TCP", times, processor() - cpu, None, 0);
        drop(plain);
        echoing.join().unwrap();

        let pair = pair();
        let (mut near, far) = streams(&pair);
        let echoing = thread::spawn(move || echo(far));
        ping_pong(200, &mut near);
        let (cpu, before) = (processor(), pair.client.stats().exchanges);
        let times = ping_pong(10_000, &mut near);
        report(
            "ping-pong over a stream",
            times,
            processor() - cpu,
            Some(&pair),
            before,
        );
        drop(near);
        echoing.join().unwrap();
    });
}

#[test]
#[ignore = "measures"]
fn short_streams() {
    bounded(|| {
        let pair = pair();
        let server = pair.server.clone();
        let rounds = 300;
        let serving = thread::spawn(move || {
            for _ in 0..rounds {
                let mut stream = server.accept().unwrap();
                let mut word = [0; 64];
                stream.read_exact(&mut word).unwrap();
                stream.write_all(&word).unwrap();
            }
        });
        let (cpu, before) = (processor(), pair.client.stats().exchanges);
        let times = (0..rounds)
            .map(|_| {
                let start = Instant::now();
                let mut stream = pair.client.open().unwrap();
                stream.write_all(&[3; 64]).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
                stream.read_to_end(&mut Vec::new()).unwrap();
                start.elapsed()
            })
            .collect();
        report(
            "a stream for a question and an answer",
            times,
            processor() - cpu,
            Some(&pair),
            before,
        );
        serving.join().unwrap();
    });
}

#[test]
#[ignore = "measures"]
fn bulk() {
    bounded(|| {
        const SIZE: usize = 512 << 20;
        let carry = |what: &str, mut from: Box<dyn Write + Send>, mut to: Box<dyn Read + Send>| {
            let (start, cpu) = (Instant::now(), processor());
            let writer = thread::spawn(move || {
                let piece = vec![5; 256 * 1024];
                for _ in 0..SIZE / piece.len() {
                    from.write_all(&piece).unwrap();
                }
            });
            let mut buffer = vec![0; 256 * 1024];
            let mut got = 0;
            while got < SIZE {
                got += to.read(&mut buffer).unwrap();
            }
            let (time, cpu) = (start.elapsed().as_secs_f64(), processor() - cpu);
            writer.join().unwrap();
            let gigabytes = SIZE as f64 / 1e9;
            println!(
                "{what}: {:.0} MB/s, {:.2} s of processor per GB",
                1e3 * gigabytes / time,
                cpu / gigabytes
            );
        };
        let door = TcpListener::bind("127.0.0.1:0").unwrap();
        let plain = TcpStream::connect(door.local_addr().unwrap()).unwrap();
        carry(
            "bulk over TCP",
            Box::new(plain),
            Box::new(door.accept().unwrap().0),
        );
        let pair = pair();
        let (near, far) = streams(&pair);
        carry(
            "bulk up",
            Box::new(near.try_clone().unwrap()),
            Box::new(far.try_clone().unwrap()),
        );
        println!("{:?}", pair.client.stats());
        carry("bulk down", Box::new(far), Box::new(near));
        println!("{:?}", pair.client.stats());
    });
}
