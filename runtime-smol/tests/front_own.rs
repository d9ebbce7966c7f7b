//! The listener on tasks: the cases of every runtime, and its own.
#![allow(clippy::unwrap_used)]

#[path = "../../runtime-blocking/tests/front_cases/mod.rs"]
mod front_cases;
mod front_common;

use front_cases::quick;
use front_common::{
    Dummy, LONG, Limits, Mode, OwnFront, Seen, connect, post, read_reply, read_to_end, until,
};
use posthole_smol::spawn::Spawner;
use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;

/// RFC 9110 §8.6 and RFC 9112 §6.3 leave a choice here, and hyper's is not the blocking front's: it serves these. The
/// second closes, so that nothing can be smuggled behind it.
#[test]
fn equal_lengths_are_one_and_chunks_go_before_a_length() {
    let (front, _) = Dummy::start(Mode::Echo, Limits::default());
    let mut stream = connect(&front);
    stream
        .write_all(b"POST /p HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc")
        .unwrap();
    assert_eq!(read_reply(&mut stream).body, b"abc");
    stream
        .write_all(b"POST /p HTTP/1.1\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n")
        .unwrap();
    assert_eq!(read_reply(&mut stream).body, b"ab");
    assert_eq!(read_to_end(&mut stream), b"");
}

#[test]
fn an_answer_that_is_not_taken_closes_the_connection() {
    let (front, dummy) = Dummy::start(
        Mode::Large(20_000_000),
        Limits {
            min_rate: u32::MAX,
            ..quick()
        },
    );
    let mut never = connect(&front);
    post(&mut never, b"x");
    dummy.wait(|seen| matches!(seen, Seen::Begun(_)));
    until(|| front.connections() == 0);
    let mut broken = connect(&front);
    post(&mut broken, b"x");
    dummy.wait(|seen| matches!(seen, Seen::Begun(_)));
    drop(broken);
    until(|| front.connections() == 0);
}

#[test]
fn it_runs_wherever_its_tasks_are_started() {
    let executor = Arc::new(smol::Executor::new());
    let spawner = {
        let executor = Arc::clone(&executor);
        Spawner::new(move |task| executor.spawn(task).detach())
    };
    let (stop, stopped) = smol::channel::bounded::<()>(1);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let dummy = Dummy::new(Mode::Echo);
    let front = OwnFront::start_on(
        &spawner,
        listener,
        "/p".into(),
        Limits::default(),
        dummy.clone(),
    )
    .unwrap();
    // One thread, so that nothing may block it.
    let thread = std::thread::spawn(move || smol::block_on(executor.run(stopped.recv())));
    let mut streams: Vec<_> = (0..50).map(|_| connect(&front)).collect();
    for round in 0..20_u8 {
        for stream in &mut streams {
            post(stream, &[round; 5000]);
        }
        for stream in &mut streams {
            assert_eq!(read_reply(stream).body, [round; 5000]);
        }
    }
    smol::block_on(front.stop(LONG));
    drop(stop);
    assert!(thread.join().unwrap().is_err());
    assert_eq!(dummy.begun(), 1000);
}
