//! Whole conversations in orders that a seed draws: real sessions, streams, lanes and tasks of both sides, over a carrier in
//! this process and in a time that passes when nobody can go on (`simulation`). Nothing is lost, everybody is woken, what is
//! dropped leaves nothing behind, and the same seed does the same again.
//!
//! `ORDERS=n` runs more seeds than CI does.
#![allow(clippy::unwrap_used)]

mod pair;

use crate::simulation::{below, run, sleep};
use crate::spawn::Spawner;
use crate::{Carrier, Config, Stream};
use pair::{AFTERWARDS, By, Pair};
use posthole_tests::pattern::{Pattern, pattern};
use smol::future::{poll_once, yield_now};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use std::future::Future;
use std::net::Shutdown;
use std::ops::Range;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake};
use std::time::Duration;

/// Seeds, each with a bad network in two of three cases. `FIRST=2785 ORDERS=2786` runs one alone.
fn seeds() -> Range<u64> {
    let or = |name, default| std::env::var(name).map_or(default, |n| n.parse().unwrap());
    or("FIRST", 0)..or("ORDERS", 150)
}

/// A conversation that nothing harms takes less: whatever waits for a timer of a lane or session takes longer.
const UNHARMED: Duration = Duration::from_millis(1_500);

fn config(seed: u64) -> Config {
    match seed % 5 {
        0 => Config::default(),
        1 => Config::default().by(Carrier::Exchange),
        2 => Config::default().by(Carrier::Streamed),
        3 => Config::model(3),
        _ => narrow(),
    }
}

/// Little room everywhere, so that everybody has to wait.
fn narrow() -> Config {
    let narrow = Config::builder()
        .streams(16)
        .pool(64 * 1024)
        .send_pool(64 * 1024);
    narrow
        .body_first(32 * 1024)
        .body_max(32 * 1024)
        .build()
        .unwrap()
}

fn percent(seed: u64) -> u64 {
    [0, 10, 30][usize::try_from(seed / 5 % 3).unwrap()]
}

/// Sends the pattern in pieces, each written by a future that may be dropped while it waits, and ends.
async fn send(stream: &Stream, number: u64, length: usize) {
    let all = pattern(number, length);
    let mut sent = 0;
    while sent < length {
        let end = length.min(sent + 1 + usize::try_from(below(40_000)).unwrap());
        let mut writer = stream.clone();
        let mut write = pin!(writer.write(&all[sent..end]));
        let n = match below(4) {
            0 => poll_once(&mut write).await,
            _ => Some(write.await),
        };
        sent += n.map_or(0, |n| n.unwrap());
        if below(8) == 0 {
            sleep(Duration::from_micros(below(200_000))).await;
        }
    }
    stream.shutdown(Shutdown::Write).unwrap();
}

/// Has the pattern whole, read by futures that may be dropped while they wait.
async fn receive(stream: &Stream, number: u64, length: usize) {
    let (mut pattern, mut read) = (Pattern::new(number), 0);
    loop {
        let max = 1 + usize::try_from(below(40_000)).unwrap();
        let mut reading = pin!(stream.read_bytes(max));
        let got = match below(4) {
            0 => poll_once(&mut reading).await,
            _ => Some(reading.await),
        };
        let Some(got) = got else {
            yield_now().await;
            continue;
        };
        let got = got.unwrap();
        if got.is_empty() {
            assert_eq!(read, length, "an end that is none");
            return;
        }
        let mut wanted = vec![0; got.len()];
        pattern.fill(&mut wanted);
        assert!(got == wanted, "wrong bytes after {read}");
        read += got.len();
    }
}

/// Says how much comes and then that, while the other side does the same.
async fn talk(stream: Stream, number: u64, length: usize) {
    let (reads, sends) = (stream.clone(), stream);
    smol::future::zip(
        receive(&reads, number, length),
        send(&sends, number, length),
    )
    .await;
}

fn length(number: u64) -> usize {
    usize::try_from(posthole_tests::rng::mix(number) % 150_000).unwrap()
}

/// Streams from both sides, at once; how long that took.
async fn conversation(spawner: Spawner, seed: u64) -> Duration {
    let pair = Pair::new(&spawner, &config(seed), percent(seed));
    let handler = pair.handler.clone();
    let accepted = pair.spawn(async move { handler.accept().await.unwrap() });
    let (client, mut talks) = (pair.client.clone(), Vec::new());
    for number in 0..3 {
        let stream = client.open().await.unwrap();
        talks.push(pair.spawn(talk(stream, number, length(number))));
    }
    let server = accepted.recv().await.unwrap();
    for number in 10..12 {
        let stream = server.open().await.unwrap();
        talks.push(pair.spawn(talk(stream, number, length(number))));
    }
    // Who accepts learns from the first byte which of them it is.
    for (side, count) in [(&server, 3), (&client, 2)] {
        for _ in 0..count {
            let stream = side.accept().await.unwrap();
            let number = stream.id().number() / 2;
            let number = if count == 3 { number } else { 10 + number };
            talks.push(pair.spawn(talk(stream, number, length(number))));
        }
    }
    for talk in talks {
        talk.recv().await.expect("it panicked");
    }
    drop(client);
    let by = match below(2) {
        0 => By::Close,
        _ => By::Drop,
    };
    pair.end(by, server).await
}

/// More short streams at once than may be open, and several who accept them.
async fn churn(spawner: Spawner, seed: u64) -> Duration {
    const STREAMS: u64 = 40;
    let pair = Pair::new(&spawner, &narrow(), percent(seed));
    let mut asks = Vec::new();
    for number in 0..STREAMS {
        let client = pair.client.clone();
        asks.push(pair.spawn(async move {
            sleep(Duration::from_micros(below(100_000))).await;
            let stream = client.open().await.unwrap();
            talk(stream, number, 100).await;
        }));
    }
    let server = pair.handler.accept().await.unwrap();
    let mut ends = Vec::new();
    for _ in 0..3 {
        let server = server.clone();
        pair.spawn(async move {
            while let Ok(stream) = server.accept().await {
                let mut got = Vec::new();
                (&stream).read_to_end(&mut got).await.unwrap();
                (&stream).write_all(&got).await.unwrap();
            }
        });
        let client = pair.client.clone();
        ends.push(pair.spawn(async move { client.wait_closed().await }));
    }
    for ask in asks {
        ask.recv().await.expect("it panicked");
    }
    let took = pair.end(By::Close, server).await;
    for end in ends {
        assert!(end.recv().await.unwrap().is_clean());
    }
    took
}

/// A session that ends in mid-sentence: whoever waits for anything of it hears, and nothing is left.
async fn broken_off(spawner: Spawner, seed: u64) {
    let pair = Pair::new(&spawner, &config(seed), percent(seed));
    let mut talks = Vec::new();
    for _ in 0..3 {
        let client = pair.client.clone();
        talks.push(pair.spawn(async move { until_it_ends(client.open().await).await }));
        let client = pair.client.clone();
        talks.push(pair.spawn(async move { until_it_ends(client.accept().await).await }));
    }
    let server = pair.handler.accept().await.unwrap();
    for _ in 0..2 {
        let server = server.clone();
        talks.push(pair.spawn(async move { until_it_ends(server.accept().await).await }));
    }
    sleep(Duration::from_micros(below(800_000))).await;
    let (client, net, shared) = (pair.client.clone(), pair.net.clone(), pair.shared.clone());
    match below(4) {
        0 => client.abort(),
        1 => server.abort(),
        2 => net.close(),
        _ => client.close().await.unwrap_or(()),
    }
    for talk in talks {
        talk.recv().await.expect("it panicked");
    }
    for session in [&client, &server] {
        session.wait_closed().await;
    }
    sleep(Duration::from_millis(1)).await;
    assert_eq!(net.carried(), 0, "an exchange goes on");
    drop((client, server, pair.client));
    sleep(AFTERWARDS).await;
    assert_eq!(pair.handler.sessions(), 0);
    assert!(shared.upgrade().is_none(), "something holds the session");
}

/// Writes and reads for as long as that goes.
async fn until_it_ends(stream: std::io::Result<Stream>) {
    let Ok(stream) = stream else {
        return;
    };
    let (reads, piece) = (stream.clone(), [7; 5000]);
    let reading = async { while reads.read_bytes(1000).await.is_ok_and(|b| !b.is_empty()) {} };
    let writing = async {
        while (&stream).write_all(&piece).await.is_ok() {
            sleep(Duration::from_micros(below(40_000))).await;
        }
    };
    smol::future::zip(reading, writing).await;
}

/// What is typed now and then goes by the same lanes, each of which ends only when it has rested for long itself.
async fn typing(spawner: Spawner) {
    let tasks = Arc::new(AtomicUsize::new(0));
    let counting = {
        let (tasks, spawner) = (tasks.clone(), spawner.clone());
        Spawner::new(move |task| {
            tasks.fetch_add(1, Ordering::Relaxed);
            spawner.spawn(task);
        })
    };
    let pair = Pair::new(&counting, &Config::default().by(Carrier::Exchange), 0);
    let stream = pair.client.open().await.unwrap();
    stream.write_bytes(pattern(7, 1).into()).await.unwrap();
    let server = pair.handler.accept().await.unwrap();
    let far = server.accept().await.unwrap();
    assert_eq!(far.read_bytes(9).await.unwrap(), pattern(7, 1));
    // A lane or two more for what is at the beginning.
    let before = tasks.load(Ordering::Relaxed) + 2;
    for _ in 0..60 {
        stream.write_bytes(pattern(8, 1).into()).await.unwrap();
        assert_eq!(far.read_bytes(9).await.unwrap(), pattern(8, 1));
        sleep(Duration::from_secs(1)).await;
    }
    let after = tasks.load(Ordering::Relaxed);
    assert!(after <= before, "lanes end while they are in use: {after}");
    drop((stream, far));
    pair.end(By::Close, server).await;
}

/// Bytes that move slowly are no loss, and nothing goes twice for them.
async fn slow(spawner: Spawner) {
    const LENGTH: usize = 300_000;
    // One that sends and one that waits: more of them overtake each other, which is a loss.
    let config = Config::builder().carrier(Carrier::Exchange).requests(2);
    let pair = Pair::new(&spawner, &config.build().unwrap(), 0);
    let stream = pair.client.open().await.unwrap();
    stream.write_bytes(pattern(7, 1).into()).await.unwrap();
    let server = pair.handler.accept().await.unwrap();
    let far = server.accept().await.unwrap();
    assert_eq!(far.read_bytes(9).await.unwrap(), pattern(7, 1));
    pair.net.slow_down();
    let sent = pair.spawn(async move { send(&stream, 1, LENGTH).await });
    receive(&far, 1, LENGTH).await;
    sent.recv().await.expect("it panicked");
    let stats = pair.client.stats();
    assert_eq!((stats.lost, stats.resent), (0, 0), "{stats:?}");
    drop(far);
    pair.end(By::Close, server).await;
}

/// Whatever waits is told whom to wake, and forgets it when it is dropped.
async fn given_up(spawner: Spawner) {
    struct Count;
    impl Wake for Count {
        fn wake(self: Arc<Self>) {}
    }
    let pair = Pair::new(&spawner, &narrow(), 0);
    let mut streams = Vec::new();
    let last = loop {
        match poll_once(pair.client.open()).await {
            Some(stream) => streams.push(stream.unwrap()),
            None => break streams[0].clone(),
        }
    };
    let count = Arc::new(Count);
    let waker = count.clone().into();
    for _ in 0..3 {
        let (client, handler) = (&pair.client, &pair.handler);
        let mut waiting: [Pin<Box<dyn Future<Output = ()> + '_>>; 4] = [
            Box::pin(async { drop(client.open().await) }),
            Box::pin(async { drop(client.accept().await) }),
            Box::pin(async { drop(client.wait_closed().await) }),
            Box::pin(async { drop(handler.accept().await) }),
        ];
        for future in &mut waiting {
            let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
        }
        assert_eq!(Arc::strong_count(&count), 2 + waiting.len());
        drop(waiting);
        assert_eq!(
            Arc::strong_count(&count),
            2,
            "a list remembers who has gone"
        );
    }
    drop((last, streams));
    let server = pair.handler.accept().await.unwrap();
    pair.end(By::Close, server).await;
}

#[test]
fn a_future_that_is_dropped_is_forgotten() {
    run(1, given_up);
}

#[test]
fn a_lane_in_use_stays() {
    for seed in 0..10 {
        run(seed, typing);
    }
}

#[test]
fn what_takes_long_and_moves_is_not_taken_for_lost() {
    for seed in 0..10 {
        run(seed, slow);
    }
}

#[test]
fn more_streams_than_there_may_be_take_turns() {
    for seed in seeds() {
        println!("seed {seed}");
        let (took, _) = run(seed, |spawner| churn(spawner, seed));
        assert!(percent(seed) > 0 || took < UNHARMED, "it took {took:?}");
    }
}

#[test]
fn whoever_waits_hears_that_the_session_has_ended() {
    for seed in seeds() {
        println!("seed {seed}");
        run(seed, |spawner| broken_off(spawner, seed));
    }
}

#[test]
fn nothing_is_lost_and_nobody_is_forgotten_in_any_order() {
    for seed in seeds() {
        println!("seed {seed}");
        let (took, _) = run(seed, |spawner| conversation(spawner, seed));
        assert!(percent(seed) > 0 || took < UNHARMED, "it took {took:?}");
    }
}

#[test]
fn the_same_seed_does_the_same_again() {
    for seed in [5, 8] {
        let traces = [0, 1].map(|_| run(seed, |spawner| conversation(spawner, seed)).1);
        assert_eq!(traces[0], traces[1]);
        assert_ne!(traces[0], run(seed + 15, |s| conversation(s, seed)).1);
    }
}
