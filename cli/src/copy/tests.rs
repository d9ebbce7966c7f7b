//! The copiers of all runtimes, each by the same tests.
#![allow(clippy::unwrap_used)]

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use event_listener::{Event, Listener};
use socket2::SockRef;

use super::*;
use crate::random::Random;
use crate::refusal::Refusal;
use crate::{tasks, threads};

/// Far more than anything here takes.
const LIMIT: Duration = Duration::from_secs(30);

/// A stream in memory, with the far peer's end in the test's hand.
#[derive(Default)]
struct Mock {
    state: Mutex<State>,
    changed: Event,
}

#[derive(Default)]
struct State {
    to_socket: Vec<Bytes>,
    to_socket_ended: bool,
    from_socket: Vec<u8>,
    from_socket_ended: bool,
    /// Bytes of `from_socket` before writes block.
    room: Option<usize>,
    peer_reset: bool,
    reset: Option<u32>,
}

impl State {
    fn check(&self) -> io::Result<()> {
        let over = self.peer_reset || self.reset.is_some();
        if over {
            Err(io::ErrorKind::ConnectionReset.into())
        } else {
            Ok(())
        }
    }

    fn read(&mut self) -> Option<io::Result<Bytes>> {
        match self.check() {
            Err(e) => Some(Err(e)),
            Ok(()) if !self.to_socket.is_empty() => Some(Ok(self.to_socket.remove(0))),
            Ok(()) => self.to_socket_ended.then(|| Ok(Bytes::new())),
        }
    }

    fn write(&mut self, bytes: &Bytes) -> Option<io::Result<()>> {
        if let Err(e) = self.check() {
            return Some(Err(e));
        }
        if self.room.is_some_and(|room| self.from_socket.len() >= room) {
            return None;
        }
        self.from_socket.extend_from_slice(bytes);
        Some(Ok(()))
    }

    fn finish(&mut self) -> io::Result<()> {
        self.from_socket_ended = true;
        self.check()
    }
}

impl Mock {
    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        let result = f(&mut self.state.lock().unwrap());
        // What it took may be what another waits for.
        self.changed.notify(usize::MAX);
        result
    }

    fn wait<T>(&self, mut f: impl FnMut(&mut State) -> Option<T>) -> T {
        let until = Instant::now() + LIMIT;
        loop {
            let changed = self.changed.listen();
            let result = f(&mut self.state.lock().unwrap());
            if let Some(result) = result {
                self.changed.notify(usize::MAX);
                return result;
            }
            assert!(changed.wait_deadline(until).is_some(), "nothing happened");
        }
    }

    async fn until<T>(&self, mut f: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            let changed = self.changed.listen();
            let result = f(&mut self.state.lock().unwrap());
            if let Some(result) = result {
                self.changed.notify(usize::MAX);
                return result;
            }
            changed.await;
        }
    }
}

impl threads::copy::Far for Mock {
    fn read_bytes(&self, _max: usize) -> io::Result<Bytes> {
        self.wait(State::read)
    }

    fn write_bytes(&self, bytes: Bytes) -> io::Result<()> {
        self.wait(|s| s.write(&bytes))
    }

    fn finish(&self) -> io::Result<()> {
        self.with(State::finish)
    }

    fn reset(&self, code: u32) {
        self.with(|s| s.reset = Some(code));
    }
}

impl tasks::copy::Far for Mock {
    async fn read_bytes(&self, _max: usize) -> io::Result<Bytes> {
        self.until(State::read).await
    }

    async fn write_bytes(&self, bytes: Bytes) -> io::Result<()> {
        self.until(|s| s.write(&bytes)).await
    }

    fn finish(&self) -> io::Result<()> {
        self.with(State::finish)
    }

    fn reset(&self, code: u32) {
        self.with(|s| s.reset = Some(code));
    }
}

/// What a running copier comes to.
type Copier = JoinHandle<Result<Carried, Broken>>;

/// How a runtime begins to join.
type Join = fn(TcpStream, Arc<Mock>) -> Copier;

fn on_threads(socket: TcpStream, stream: Arc<Mock>) -> Copier {
    thread::spawn(move || threads::copy::join(socket, &*stream))
}

fn in_tasks(socket: TcpStream, stream: Arc<Mock>) -> Copier {
    let socket = smol::Async::new(socket).unwrap();
    thread::spawn(move || smol::block_on(tasks::copy::join(socket, &*stream)))
}

/// A joined pair: the local application's socket, the stream, and the running copier.
fn joined(join: Join) -> (TcpStream, Arc<Mock>, Copier) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let app = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    app.set_read_timeout(Some(LIMIT)).unwrap();
    let socket = listener.accept().unwrap().0;
    prepare(&socket).unwrap();
    let mock = Arc::new(Mock::default());
    let copier = join(socket, Arc::clone(&mock));
    (app, mock, copier)
}

/// Each of these for each runtime.
macro_rules! for_each_runtime {
    ($($test:ident)*) => {
        mod threads_tests {
            $(#[test] fn $test() { super::$test(super::on_threads); })*
        }
        mod tasks_tests {
            $(#[test] fn $test() { super::$test(super::in_tasks); })*
        }
    };
}

for_each_runtime! {
    bytes_and_ends_pass_both_ways_each_by_itself
    the_far_end_may_end_first
    many_bytes_arrive_as_they_were
    a_reset_of_the_socket_is_a_reset_of_the_stream
    a_reset_of_the_stream_is_a_reset_of_the_socket
    a_reset_after_an_end_the_other_way_is_still_a_reset
    a_reset_wakes_a_writer_whose_application_does_not_read
    a_reset_wakes_a_writer_that_waits_for_credit
    a_reset_that_the_writer_meets_first_is_no_end_to_the_reader
}

fn sees_reset(mut app: &TcpStream) {
    let error = app
        .read_to_end(&mut Vec::new())
        .expect_err("the application sees a reset, not an end");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

fn bytes_and_ends_pass_both_ways_each_by_itself(join: Join) {
    let (mut app, stream, copier) = joined(join);
    app.write_all(b"question").unwrap();
    app.shutdown(Shutdown::Write).unwrap();
    stream.wait(|s| s.from_socket_ended.then_some(()));
    assert_eq!(stream.with(|s| s.from_socket.clone()), b"question");
    // The way back goes on after the way there has ended.
    stream.with(|s| s.to_socket.push(Bytes::from_static(b"answer")));
    let mut answer = [0; 6];
    app.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"answer");
    stream.with(|s| s.to_socket_ended = true);
    assert_eq!(
        app.read(&mut answer).unwrap(),
        0,
        "an end of file, not a reset"
    );
    assert_eq!(copier.join().unwrap().unwrap(), Carried { up: 8, down: 6 });
    assert_eq!(stream.with(|s| s.reset), None);
}

fn the_far_end_may_end_first(join: Join) {
    let (mut app, stream, copier) = joined(join);
    stream.with(|s| s.to_socket_ended = true);
    assert_eq!(app.read(&mut [0; 1]).unwrap(), 0);
    app.write_all(b"more").unwrap();
    drop(app);
    assert_eq!(copier.join().unwrap().unwrap(), Carried { up: 4, down: 0 });
}

#[test]
fn what_is_there_early_is_taken_without_waiting_and_an_end_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut app = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut socket = listener.accept().unwrap().0;
    let mut first = b"preamble ".to_vec();
    read_early(&socket, &mut first);
    assert_eq!(first, b"preamble ", "nothing yet");
    app.write_all(b"early").unwrap();
    socket.peek(&mut [0]).unwrap();
    read_early(&socket, &mut first);
    assert_eq!(first, b"preamble early");
    app.shutdown(Shutdown::Write).unwrap();
    socket.peek(&mut [0]).unwrap();
    read_early(&socket, &mut first);
    assert_eq!(first, b"preamble early");
    assert_eq!(socket.read(&mut [0]).unwrap(), 0, "the end");
}

fn many_bytes_arrive_as_they_were(join: Join) {
    let (mut app, stream, copier) = joined(join);
    let mut sent = vec![0; 3_000_000];
    Random::new(1).fill(&mut sent);
    for piece in sent.chunks(100_001) {
        stream.with(|s| s.to_socket.push(Bytes::copy_from_slice(piece)));
    }
    stream.with(|s| s.to_socket_ended = true);
    let mut writer = app.try_clone().unwrap();
    let copy = sent.clone();
    let writing = thread::spawn(move || {
        writer.write_all(&copy).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut got = Vec::new();
    app.read_to_end(&mut got).unwrap();
    writing.join().unwrap();
    copier.join().unwrap().unwrap();
    assert!(got == sent && stream.with(|s| s.from_socket == sent));
}

fn a_reset_of_the_socket_is_a_reset_of_the_stream(join: Join) {
    let (app, stream, copier) = joined(join);
    SockRef::from(&app)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(app);
    assert_eq!(stream.wait(|s| s.reset), Refusal::Reset.code());
    let broken = copier.join().unwrap().unwrap_err();
    assert_eq!(
        (broken.side, broken.error.kind()),
        (Side::Socket, io::ErrorKind::ConnectionReset)
    );
    assert!(!stream.with(|s| s.from_socket_ended), "never a clean end");
}

fn a_reset_of_the_stream_is_a_reset_of_the_socket(join: Join) {
    let (app, stream, copier) = joined(join);
    stream.with(|s| s.peer_reset = true);
    sees_reset(&app);
    assert_eq!(copier.join().unwrap().unwrap_err().side, Side::Stream);
}

fn a_reset_after_an_end_the_other_way_is_still_a_reset(join: Join) {
    let (app, stream, copier) = joined(join);
    app.shutdown(Shutdown::Write).unwrap();
    stream.wait(|s| s.from_socket_ended.then_some(()));
    stream.with(|s| s.peer_reset = true);
    sees_reset(&app);
    copier.join().unwrap().unwrap_err();
}

fn a_reset_wakes_a_writer_whose_application_does_not_read(join: Join) {
    let (mut app, stream, copier) = joined(join);
    // More than both sockets' buffers hold, so that the way down is stuck in its write.
    stream.with(|s| {
        s.to_socket
            .extend((0..200).map(|_| Bytes::from(vec![1; PIECE])))
    });
    stream.with(|s| s.room = Some(0));
    app.write_all(b"x").unwrap();
    stream.wait(|s| (s.to_socket.len() < 200).then_some(()));
    stream.with(|s| s.peer_reset = true);
    copier.join().unwrap().unwrap_err();
    sees_reset(&app);
}

fn a_reset_wakes_a_writer_that_waits_for_credit(join: Join) {
    let (mut app, stream, copier) = joined(join);
    stream.with(|s| s.room = Some(1));
    app.write_all(&[7; 100]).unwrap();
    stream.wait(|s| (s.from_socket.len() == 100).then_some(()));
    app.write_all(&[7; 100]).unwrap();
    stream.with(|s| s.peer_reset = true);
    sees_reset(&app);
    copier.join().unwrap().unwrap_err();
}

fn a_reset_that_the_writer_meets_first_is_no_end_to_the_reader(join: Join) {
    // The system tells a reset once. Who writes all the time often is the one told, and the reader finds an end.
    for _ in 0..200 {
        let (app, stream, copier) = joined(join);
        let feeding = {
            let stream = Arc::clone(&stream);
            thread::spawn(move || {
                while stream.with(|s| {
                    s.to_socket.push(Bytes::from_static(&[1; 100]));
                    s.to_socket.len() < 1000 && s.reset.is_none()
                }) {}
            })
        };
        (&app).read_exact(&mut [0; 100]).unwrap();
        SockRef::from(&app)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(app);
        assert_eq!(stream.wait(|s| s.reset), Refusal::Reset.code());
        copier.join().unwrap().unwrap_err();
        feeding.join().unwrap();
        assert!(!stream.with(|s| s.from_socket_ended), "never a clean end");
    }
}
