#![allow(clippy::unwrap_used)]
use super::*;
use crate::random::Random;
use std::io::Read;
use std::net::TcpListener;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

/// A stream in memory, with the far peer's end in the test's hand.
#[derive(Default)]
struct Mock {
    state: Mutex<State>,
    changed: Condvar,
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
}

impl Mock {
    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        let result = f(&mut self.state.lock().unwrap());
        self.changed.notify_all();
        result
    }

    fn wait<T>(&self, mut f: impl FnMut(&mut State) -> Option<T>) -> T {
        let mut state = self.state.lock().unwrap();
        loop {
            if let Some(result) = f(&mut state) {
                // What it took may be what another waits for.
                self.changed.notify_all();
                return result;
            }
            let (guard, waited) = self
                .changed
                .wait_timeout(state, Duration::from_secs(30))
                .unwrap();
            assert!(!waited.timed_out(), "nothing happened for 30 s");
            state = guard;
        }
    }
}

impl Far for Mock {
    fn read_bytes(&self, _max: usize) -> io::Result<Bytes> {
        self.wait(|s| match s.check() {
            Err(e) => Some(Err(e)),
            Ok(()) if !s.to_socket.is_empty() => Some(Ok(s.to_socket.remove(0))),
            Ok(()) => s.to_socket_ended.then(|| Ok(Bytes::new())),
        })
    }

    fn write_bytes(&self, bytes: Bytes) -> io::Result<()> {
        self.wait(|s| match s.check() {
            Err(e) => Some(Err(e)),
            Ok(()) => s
                .room
                .is_none_or(|r| s.from_socket.len() < r)
                .then_some(Ok(())),
        })?;
        self.with(|s| s.from_socket.extend_from_slice(&bytes));
        Ok(())
    }

    fn finish(&self) -> io::Result<()> {
        self.with(|s| {
            s.from_socket_ended = true;
            s.check()
        })
    }

    fn reset(&self, code: u32) {
        self.with(|s| s.reset = Some(code));
    }
}

/// A joined pair: the local application's socket, the stream, and the running copier.
fn joined() -> (TcpStream, Arc<Mock>, JoinHandle<Result<Carried, Broken>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let app = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    app.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let socket = listener.accept().unwrap().0;
    prepare(&socket).unwrap();
    let mock = Arc::new(Mock::default());
    let stream = Arc::clone(&mock);
    (app, mock, thread::spawn(move || join(socket, &*stream)))
}

fn sees_reset(mut app: &TcpStream) {
    let error = app
        .read_to_end(&mut Vec::new())
        .expect_err("the application sees a reset, not an end");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn bytes_and_ends_pass_both_ways_each_by_itself() {
    let (mut app, stream, copier) = joined();
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

#[test]
fn the_far_end_may_end_first() {
    let (mut app, stream, copier) = joined();
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

#[test]
fn many_bytes_arrive_as_they_were() {
    let (mut app, stream, copier) = joined();
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

#[test]
fn a_reset_of_the_socket_is_a_reset_of_the_stream() {
    let (app, stream, copier) = joined();
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

#[test]
fn a_reset_of_the_stream_is_a_reset_of_the_socket() {
    let (app, stream, copier) = joined();
    stream.with(|s| s.peer_reset = true);
    sees_reset(&app);
    assert_eq!(copier.join().unwrap().unwrap_err().side, Side::Stream);
}

#[test]
fn a_reset_after_an_end_the_other_way_is_still_a_reset() {
    let (app, stream, copier) = joined();
    app.shutdown(Shutdown::Write).unwrap();
    stream.wait(|s| s.from_socket_ended.then_some(()));
    stream.with(|s| s.peer_reset = true);
    sees_reset(&app);
    copier.join().unwrap().unwrap_err();
}

#[test]
fn a_reset_wakes_a_writer_whose_application_does_not_read() {
    let (mut app, stream, copier) = joined();
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

#[test]
fn a_reset_wakes_a_writer_that_waits_for_credit() {
    let (mut app, stream, copier) = joined();
    stream.with(|s| s.room = Some(1));
    app.write_all(&[7; 100]).unwrap();
    stream.wait(|s| (s.from_socket.len() == 100).then_some(()));
    app.write_all(&[7; 100]).unwrap();
    stream.with(|s| s.peer_reset = true);
    sees_reset(&app);
    copier.join().unwrap().unwrap_err();
}

#[test]
fn a_reset_that_the_writer_meets_first_is_no_end_to_the_reader() {
    // The system tells a reset once. Who writes all the time often is the one told, and the reader finds an end.
    for _ in 0..200 {
        let (app, stream, copier) = joined();
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
