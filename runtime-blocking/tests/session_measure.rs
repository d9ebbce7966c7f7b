//! What it costs, on loopback; prints and asserts nothing of time. Run it by
//! `cargo test --release -p posthole-blocking --test session_measure -- --ignored --nocapture --test-threads 1`.
#![allow(clippy::unwrap_used)]

mod session_support;

use posthole_blocking::connect;
use posthole_tests::bounded::bounded;
use session_support::{Pair, pair, streams};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
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
fn ping_pongs_in_company() {
    bounded(|| {
        let pair = pair();
        let (mut near, far) = streams(&pair);
        let echoing = thread::spawn(move || echo(far));
        let idle: Vec<_> = (0..1000).map(|_| streams(&pair)).collect();
        let (cpu, before) = (processor(), pair.client.stats().exchanges);
        let times = ping_pong(5000, &mut near);
        report(
            "ping-pong beside 1000 idle streams",
            times,
            processor() - cpu,
            Some(&pair),
            before,
        );
        drop(idle);

        let (bulk, mut sink) = streams(&pair);
        let bulk = Arc::new(bulk);
        let writes = bulk.clone();
        let writer = thread::spawn(move || while (&*writes).write_all(&[1; 65536]).is_ok() {});
        let reader = thread::spawn(move || {
            let mut buffer = vec![0; 65536];
            let mut bytes = 0u64;
            while let Ok(n @ 1..) = sink.read(&mut buffer) {
                bytes += n as u64;
            }
            bytes
        });
        let (start, cpu, before) = (Instant::now(), processor(), pair.client.stats().exchanges);
        let times = ping_pong(2000, &mut near);
        report(
            "ping-pong beside bulk up",
            times,
            processor() - cpu,
            Some(&pair),
            before,
        );
        bulk.reset(0);
        let bytes = reader.join().unwrap() as f64;
        println!(
            "bulk up meanwhile: {:.0} MB/s",
            bytes / 1e6 / start.elapsed().as_secs_f64()
        );
        writer.join().unwrap();
        drop(near);
        echoing.join().unwrap();
    });
}

/// Threads of this process, and how often they have gone to sleep so far.
fn threads() -> (usize, u64) {
    let mut sleeps = 0;
    let mut threads = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let count = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        sleeps += count
            .and_then(|n| n.trim().parse::<u64>().ok())
            .unwrap_or(0);
        threads += 1;
    }
    (threads, sleeps)
}

#[test]
#[ignore = "measures"]
fn idle_sessions() {
    bounded(|| {
        let (alone, _) = threads();
        let pairs: Vec<_> = (0..20).map(|_| pair()).collect();
        // Until what belongs to the beginning is over, and idle lanes have ended.
        thread::sleep(Duration::from_secs(8));
        let ((threads_before, sleeps), cpu) = (threads(), processor());
        let exchanges = |pairs: &[Pair]| {
            pairs
                .iter()
                .map(|p| p.client.stats().exchanges)
                .sum::<u64>()
        };
        let before = exchanges(&pairs);
        thread::sleep(Duration::from_secs(20));
        println!(
            "20 idle sessions for 20 s, both ends: {} threads, {} wakes, {} exchanges, {:.2} s of processor",
            threads_before - alone,
            threads().1 - sleeps,
            exchanges(&pairs) - before,
            processor() - cpu,
        );
    });
}

#[test]
#[ignore = "measures"]
fn sessions() {
    bounded(|| {
        let listener = session_support::listener();
        let url = session_support::url(&listener);
        let (mut begins, mut ends) = (Vec::new(), Vec::new());
        let cpu = processor();
        for _ in 0..50 {
            let start = Instant::now();
            let client = connect(&url, session_support::options()).unwrap();
            begins.push(start.elapsed());
            let start = Instant::now();
            client.close().unwrap();
            ends.push(start.elapsed());
        }
        report("a session's beginning", begins, processor() - cpu, None, 0);
        report("a session's end", ends, 0.0, None, 0);
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
