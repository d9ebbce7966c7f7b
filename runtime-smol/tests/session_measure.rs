//! What it costs, on loopback; prints and asserts nothing of time. Run it by
//! `cargo test --release -p posthole-smol --test session_measure -- --ignored --nocapture --test-threads 1`.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod support;

use bytes::Bytes;
use posthole_protocol::{Client, Instant as Moment, SessionId};
use posthole_smol::front::Service;
use posthole_smol::{Config, Handler, ListenOptions, RouterConfig, Spawner, Stream};
use smol::future::{poll_once, zip};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::{bounded, pair, pair_on, streams};

/// A number of this process from /proc.
fn from_proc(file: &str, pick: impl Fn(&str) -> f64) -> f64 {
    pick(&std::fs::read_to_string(format!("/proc/self/{file}")).unwrap())
}

/// Processor seconds of this process so far, in ticks of 10 ms.
fn processor() -> f64 {
    from_proc("stat", |stat| {
        let after_name = stat.rsplit(')').next().unwrap();
        let ticks = after_name.split_whitespace().skip(11).take(2);
        ticks.map(|t| t.parse::<f64>().unwrap()).sum::<f64>() / 100.0
    })
}

/// Bytes of memory of this process.
fn memory() -> f64 {
    from_proc("statm", |statm| {
        let pages: f64 = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
        pages * 4096.0
    })
}

async fn echo(mut far: &Stream) {
    let mut buffer = [0; 64];
    while far.read_exact(&mut buffer).await.is_ok() {
        far.write_all(&buffer).await.unwrap();
    }
}

#[test]
#[ignore = "measures"]
fn ping_pongs() {
    const ROUNDS: usize = 10_000;
    bounded(async {
        let pair = pair().await;
        let (mut near, far) = streams(&pair).await;
        let echoing = smol::spawn(async move { echo(&far).await });
        let (cpu, before) = (processor(), pair.client.stats().exchanges);
        let mut times = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            let start = Instant::now();
            near.write_all(&[7; 64]).await.unwrap();
            near.read_exact(&mut [0; 64]).await.unwrap();
            times.push(start.elapsed());
        }
        let cpu = (processor() - cpu) * 1e6 / ROUNDS as f64;
        let exchanges = (pair.client.stats().exchanges - before) as f64 / ROUNDS as f64;
        times.sort();
        let [p50, p99] = [50, 99].map(|share| times[ROUNDS * share / 100]);
        println!(
            "ping-pong: p50 {p50:?}, p99 {p99:?}, {cpu:.1} us of processor, {exchanges:.2} exchanges"
        );
        near.reset(0);
        echoing.await;
    });
}

#[test]
#[ignore = "measures"]
fn bulk() {
    const GB: u64 = 2_000_000_000;
    bounded(async {
        for is_up in [true, false] {
            let pair = pair().await;
            let (near, far) = streams(&pair).await;
            let (from, to) = if is_up { (near, far) } else { (far, near) };
            let (cpu, start) = (processor(), Instant::now());
            let writing = smol::spawn(async move {
                let piece = Bytes::from(vec![5; 256 * 1024]);
                let mut left = GB;
                while left > 0 {
                    let some = piece.slice(..piece.len().min(left as usize));
                    left -= some.len() as u64;
                    from.write_bytes(some).await.unwrap();
                }
                (&from).close().await.unwrap();
            });
            let mut got = 0;
            loop {
                let piece = to.read_bytes(1 << 20).await.unwrap();
                if piece.is_empty() {
                    break;
                }
                got += piece.len() as u64;
            }
            writing.await;
            let (time, cpu) = (start.elapsed().as_secs_f64(), processor() - cpu);
            println!(
                "bulk {}: {:.0} MB/s, {:.2} s of processor per GB, {} exchanges",
                if is_up { "up" } else { "down" },
                got as f64 / 1e6 / time,
                cpu * 1e9 / got as f64,
                pair.client.stats().exchanges,
            );
        }
    });
}

/// One session at the handler, whose client has gone: its held request.
async fn held(handler: &Handler, number: u32) -> posthole_smol::Pending {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    let now = Moment::from_micros(1);
    let mut client = Client::new(Config::default(), SessionId::from_bytes(id), now);
    for _ in 0..100 {
        while let Some(request) = client.poll_request(now) {
            let mut pending = handler.begin(request.body.into_bytes());
            match poll_once(&mut pending).await {
                Some(reply) => {
                    let body = reply.into_reply().unwrap().body.into_bytes();
                    client.feed_response(now, request.exchange, body).unwrap();
                }
                None => return pending,
            }
        }
    }
    panic!("no request was held");
}

#[test]
#[ignore = "measures"]
fn memory_of_idle_sessions() {
    const MANY: u32 = 20_000;
    bounded(async {
        let router = RouterConfig {
            sessions: 2 * MANY as usize,
            ..RouterConfig::default()
        };
        let handler = Handler::new(ListenOptions::new().router(router)).unwrap();
        let first = held(&handler, u32::MAX).await;
        let before = memory();
        let mut requests = Vec::new();
        let mut sessions = Vec::new();
        for number in 0..MANY {
            requests.push(held(&handler, number).await);
            sessions.push(handler.accept().await.unwrap());
        }
        println!(
            "an idle session with a held request: {:.0} bytes",
            (memory() - before) / f64::from(MANY)
        );
        drop((first, requests, sessions));
    });
}

#[test]
#[ignore = "measures"]
fn wakes_of_an_idle_session() {
    let polls = Arc::new(AtomicUsize::new(0));
    let counting = {
        let polls = polls.clone();
        Spawner::new(move |mut task| {
            let polls = polls.clone();
            smol::spawn(poll_fn(move |cx| {
                polls.fetch_add(1, Ordering::Relaxed);
                task.as_mut().poll(cx)
            }))
            .detach();
        })
    };
    bounded(async {
        let pair = pair_on(&counting).await;
        let _streams = streams(&pair).await;
        smol::Timer::after(Duration::from_secs(1)).await;
        let (before, exchanges) = (polls.load(Ordering::Relaxed), pair.server.stats().exchanges);
        smol::Timer::after(Duration::from_secs(50)).await;
        let polls = polls.load(Ordering::Relaxed) - before;
        let exchanges = pair.server.stats().exchanges - exchanges;
        println!("50 s of idleness, both ends: {polls} polls of tasks, {exchanges} exchanges");
        zip(pair.client.close(), pair.server.wait_closed())
            .await
            .0
            .unwrap();
    });
}
