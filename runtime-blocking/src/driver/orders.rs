//! Every order in which threads can meet at a session's lock: nobody waits for ever, nothing is lost. Real machines, handles and
//! waiting; loom has the lock and the condition variables, and fails where all threads wait.
//!
//! `RUSTFLAGS="--cfg interleave" cargo test --release -p posthole-blocking --lib orders`
#![allow(clippy::unwrap_used)]

use super::*;
use crate::session::Keeper;
use crate::stream::Stream;
use posthole_protocol::{Carrier, Config, Instance, Nonce, Route, Router, RouterConfig, SessionId};
use posthole_runtime::Tried;
use std::io;

/// A client's session with a stream, and what its server answers next: `WORLD`, and the stream's end.
struct Played {
    shared: Arc<Shared>,
    stream: Stream,
    exchange: ExchangeId,
    answer: Bytes,
}

const WORLD: &[u8] = b"world";

/// The next request that the session makes.
fn request(shared: &Arc<Shared>) -> posthole_protocol::Request {
    let mut locked = shared.lock();
    locked.poll_state().rest.unwrap().requests.remove(0)
}

impl Locked<'_> {
    fn poll_state(&mut self) -> Work {
        self.inside.as_mut().unwrap().state.poll(timer::now())
    }
}

fn play() -> Played {
    let now = timer::now();
    let config = Config::builder()
        .carrier(Carrier::Exchange)
        .build()
        .unwrap();
    let client = Client::new(config.clone(), SessionId::from_bytes([3; 16]), now);
    let shared = Shared::new(State::client(client), None, None);
    let mut locked = shared.lock();
    let Tried::Done(id) = locked.open().unwrap() else {
        panic!("it may be opened");
    };
    locked.put(id, &mut Bytes::from_static(b"hello")).unwrap();
    drop(locked);
    let opening = request(&shared);
    let body = opening.body.into_bytes();
    let mut router: Router<()> = Router::new(RouterConfig::default(), Instance(1), now);
    let Route::Opening { opening: asked, .. } = router.route(now, &body) else {
        panic!("it opens");
    };
    let mut server = Server::new(config, asked, Nonce(3), now);
    server.feed_request(now, RequestId::new(0), body).unwrap();
    let first = server.poll_response(now).unwrap().body.into_bytes();
    let mut locked = shared.lock();
    locked.feed_answer(now, opening.exchange, Ok(first));
    drop(locked);
    let echo = request(&shared);
    let body = echo.body.into_bytes();
    server.feed_request(now, RequestId::new(1), body).unwrap();
    let mut far = server.accept().map(|_| server.stream(id).unwrap()).unwrap();
    far.write(&mut Bytes::from_static(WORLD)).unwrap();
    far.finish();
    server.feed_timeout(now);
    let answer = server.poll_response(now).unwrap().body.into_bytes();
    let keeper = Arc::new(Keeper {
        shared: shared.clone(),
    });
    Played {
        stream: Stream::new(&keeper, id),
        shared,
        exchange: echo.exchange,
        answer,
    }
}

/// In a thread of its own the answer comes.
fn answers(played: &Played) -> loom::thread::JoinHandle<()> {
    let (shared, exchange) = (played.shared.clone(), played.exchange);
    let answer = played.answer.clone();
    loom::thread::spawn(move || {
        let mut locked = shared.lock();
        locked.feed_answer(timer::now(), exchange, Ok(answer));
        locked.settle();
    })
}

/// In a thread of its own the session ends at once.
fn aborts(played: &Played) -> loom::thread::JoinHandle<()> {
    let shared = played.shared.clone();
    loom::thread::spawn(move || {
        let mut locked = shared.lock();
        locked.abort();
        locked.settle();
    })
}

/// In a thread of its own a deadline comes.
fn rings(played: &Played) -> loom::thread::JoinHandle<()> {
    let shared = played.shared.clone();
    loom::thread::spawn(move || timer::Expire::expire(shared, timer::now()))
}

fn read_all(stream: &Stream) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let bytes = stream.read_bytes(3)?;
        if bytes.is_empty() {
            return Ok(all);
        }
        all.extend_from_slice(&bytes);
    }
}

fn every_order(test: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(test);
}

#[test]
fn who_reads_hears_of_the_answer() {
    every_order(|| {
        let played = play();
        let (answer, ring) = (answers(&played), rings(&played));
        assert_eq!(read_all(&played.stream).unwrap(), WORLD);
        answer.join().unwrap();
        ring.join().unwrap();
    });
}

#[test]
fn two_that_read_share_what_comes_and_both_see_the_end() {
    every_order(|| {
        let played = play();
        let answer = answers(&played);
        let other = played.stream.try_clone().unwrap();
        let reads = loom::thread::spawn(move || read_all(&other).unwrap().len());
        let own = read_all(&played.stream).unwrap().len();
        assert_eq!(own + reads.join().unwrap(), WORLD.len());
        answer.join().unwrap();
    });
}

/// Whoever brings the bytes passes them on, or the thread that waits does: once, in order, and the end comes last.
#[test]
fn what_is_passed_on_comes_once() {
    every_order(|| {
        let played = play();
        let answer = answers(&played);
        let passed = Arc::new(std::sync::Mutex::new(Vec::new()));
        let into = passed.clone();
        // Two bytes at a time are taken at once, as by a socket that is nearly full.
        let mut all = Vec::new();
        loop {
            let into = into.clone();
            let rest = played.stream.read_through(100, move |bytes| {
                let now = bytes.len().min(2);
                into.lock().unwrap().extend_from_slice(&bytes[..now]);
                now
            });
            all.append(&mut passed.lock().unwrap());
            let rest = rest.unwrap();
            if rest.is_empty() {
                break;
            }
            all.extend_from_slice(&rest);
        }
        assert_eq!(all, WORLD);
        answer.join().unwrap();
    });
}

#[test]
fn who_reads_hears_of_the_end_of_the_session() {
    every_order(|| {
        let played = play();
        let (answer, abort) = (answers(&played), aborts(&played));
        let read = read_all(&played.stream);
        assert!(read.is_err() || read.unwrap() == WORLD);
        answer.join().unwrap();
        abort.join().unwrap();
    });
}

/// More than there is room for is written: whoever waits for room hears of the end.
#[test]
fn who_writes_hears_of_the_end_of_the_session() {
    static MUCH: [u8; 64 << 20] = [0; 64 << 20];
    every_order(|| {
        let played = play();
        let (abort, ring) = (aborts(&played), rings(&played));
        let written = played.stream.write_bytes(Bytes::from_static(&MUCH));
        assert!(written.is_err());
        abort.join().unwrap();
        ring.join().unwrap();
    });
}

mod direct;
