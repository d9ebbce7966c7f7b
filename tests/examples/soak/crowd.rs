//! Many at once: connections of one application, and strangers at the server's door.

use crate::load::{LIMIT, Pinger, transfer};
use crate::world::World;
use posthole_protocol::SessionId;
use posthole_protocol::wire::{Params, RequestPrefix, encode};
use posthole_tests::pattern::Pattern;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// What each of 199 connections moves each way, and what the one sends that never reads.
const EACH: u64 = 2 << 20;
const UNREAD: usize = 512 << 20;

/// 199 connections move something; then again, beside one that sends and never reads.
pub(crate) fn one_never_reads(world: &mut World) -> Result<String, String> {
    let local = world.local;
    // Once to warm up.
    all(local)?;
    let alone = all(local)?;
    let never = TcpStream::connect(local).map_err(|e| e.to_string())?;
    let sends = never.try_clone().map_err(|e| e.to_string())?;
    let _ = sends.set_write_timeout(Some(LIMIT));
    let fills = thread::spawn(move || (&sends).write_all(&vec![7; UNREAD]).is_err());
    thread::sleep(Duration::from_millis(500));
    let beside = all(local)?;
    let is_stuck = !fills.is_finished();
    let _ = never.shutdown(Shutdown::Both);
    let _ = fills.join();
    if !is_stuck {
        return Err(format!("{} MiB were taken that nobody reads", UNREAD >> 20));
    }
    let ratio = beside.as_secs_f32() / alone.as_secs_f32();
    let said = format!("intact, the 199 take {ratio:.2} times as long beside it");
    if ratio > 2.0 { Err(said) } else { Ok(said) }
}

fn all(local: SocketAddr) -> Result<Duration, String> {
    let began = Instant::now();
    let threads: Vec<_> = (0..199)
        .map(|_| thread::spawn(move || transfer(local, EACH, u64::MAX)))
        .collect();
    for moves in threads {
        moves.join().map_err(|_| "a panic".to_owned())??;
    }
    Ok(began.elapsed())
}

/// What strangers send, one after another and in the end many at once; a session goes on beside them.
pub(crate) fn rubbish(world: &mut World) -> Result<String, String> {
    let types = Pinger::start(world.local);
    let strangers = strangers();
    let (mut answered, mut closed) = (0, 0);
    for (name, bytes) in &strangers {
        match answer(world.http, bytes).map_err(|why| format!("{name}: {why}"))? {
            true => answered += 1,
            false => closed += 1,
        }
    }
    dribble(world.http)?;
    // More than it has descriptors for, all of them idle.
    let idle: Vec<TcpStream> = (0..500)
        .filter_map(|_| TcpStream::connect(world.http).ok())
        .collect();
    thread::sleep(Duration::from_secs(3));
    drop(idle);
    let waited = types.end()?;
    Ok(format!(
        "{answered} answered with an error, {closed} closed; longest wait beside them {:.2} s",
        waited.as_secs_f32()
    ))
}

/// What is sent, and then no more.
fn strangers() -> Vec<(String, Vec<u8>)> {
    let mut pattern = Pattern::new(5);
    let mut random = vec![0; 65_536];
    pattern.fill(&mut random);
    let opening = opening();
    let mut all = vec![
        ("GET", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        ("a wrong path", posted("/elsewhere", &opening)),
        ("nothing", Vec::new()),
        ("random bytes", random.clone()),
        ("a body of random bytes", posted("/", &random)),
        (
            "lengths of 2^62",
            posted("/", &changed(&opening, 40, &[0xff; 8])),
        ),
        (
            "a wrong version",
            posted("/", &changed(&opening, 0, &[0x99])),
        ),
        ("an unknown session", posted("/", &without_opening())),
        (
            "an enormous length",
            b"POST / HTTP/1.1\r\nContent-Length: 100000000000\r\n\r\nabc".to_vec(),
        ),
        (
            "two lengths",
            b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd".to_vec(),
        ),
        (
            "a header of 200 MB",
            [&b"POST / HTTP/1.1\r\nX: "[..], &vec![b'x'; 200_000_000]].concat(),
        ),
        (
            "a length that is false",
            [posted("/", &opening), random].concat(),
        ),
    ]
    .into_iter()
    .map(|(name, bytes)| (name.to_owned(), bytes))
    .collect::<Vec<_>>();
    for end in 0..opening.len() {
        all.push((
            format!("a bundle cut at {end}"),
            posted("/", &opening[..end]),
        ));
    }
    all
}

fn posted(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn changed(body: &[u8], at: usize, with: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    let end = (at + with.len()).min(body.len());
    body[at..end].copy_from_slice(&with[..end - at]);
    body
}

fn opening() -> Vec<u8> {
    bundle(
        0,
        Some(Params {
            streams: 100,
            ..Params::default()
        }),
    )
}

fn without_opening() -> Vec<u8> {
    bundle(3, None)
}

fn bundle(exchange: u64, opening: Option<Params>) -> Vec<u8> {
    let prefix = RequestPrefix {
        opening,
        credit: 65_536,
        timer: 1_000_000,
        hold: 1,
        wait: 12_000,
        answer_max: 1_000_000,
        ..RequestPrefix::default()
    };
    let id = SessionId::from_bytes(*b"a stranger's, 16");
    encode(&id, exchange, exchange, &prefix, &[])
        .into_bytes()
        .to_vec()
}

/// Sends it and waits for what comes of it: an answer that is an error (`true`), or a close.
fn answer(http: SocketAddr, bytes: &[u8]) -> Result<bool, String> {
    let mut socket = TcpStream::connect(http).map_err(|e| e.to_string())?;
    let _ = socket.set_read_timeout(Some(LIMIT));
    let _ = socket.set_write_timeout(Some(LIMIT));
    let _ = socket.write_all(bytes);
    let _ = socket.shutdown(Shutdown::Write);
    let mut got = Vec::new();
    match socket.read_to_end(&mut got) {
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Err(format!("neither an answer nor a close in {LIMIT:?}"))
        }
        Ok(_) | Err(_) => Ok(!got.is_empty()),
    }
}

/// A body that comes in a byte at a time is not waited for for ever.
fn dribble(http: SocketAddr) -> Result<(), String> {
    let mut socket = TcpStream::connect(http).map_err(|e| e.to_string())?;
    let _ = socket.write_all(b"POST / HTTP/1.1\r\nContent-Length: 100000\r\n\r\n");
    let _ = socket.set_read_timeout(Some(Duration::from_millis(100)));
    let until = Instant::now() + LIMIT;
    while Instant::now() < until {
        let _ = socket.write_all(b"x");
        match socket.read(&mut [0; 1024]) {
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Ok(_) | Err(_) => return Ok(()),
        }
    }
    Err(format!(
        "a body that dribbles in is waited for for {LIMIT:?}"
    ))
}
