//! Many of everything.

use crate::conformance::pair::{Pair, connect, listener};
use crate::conformance::runtime::{Dial, Listener, Session, Stream};
use crate::conformance::talk::{answer, ask, echoing, receive, sending};
use crate::conformance::world::{Task, World, join_all, spawn, until};

/// Asks this often, one after the other, in a thread of its own.
fn asking<W: World>(session: &impl Session, who: usize, times: usize) -> Task<()> {
    let session = session.clone();
    spawn::<W, _>(move || {
        for n in 0..times {
            let question = format!("stream {n} of {who}");
            let answer = ask(&session, question.as_bytes());
            assert_eq!(answer, question.to_uppercase().as_bytes());
        }
    })
}

/// Answers this often, in a thread of its own.
fn answering<W: World>(session: &impl Session, times: usize) -> Task<()> {
    let session = session.clone();
    spawn::<W, _>(move || {
        for _ in 0..times {
            answer(&session);
        }
    })
}

pub fn streams_come_and_go<W: World>() {
    let pair = Pair::<W>::new();
    for (asks, answers) in [
        (
            asking::<W>(&pair.client, 0, 100),
            answering::<W>(&pair.server, 100),
        ),
        (
            asking::<W>(&pair.server, 0, 100),
            answering::<W>(&pair.client, 100),
        ),
    ] {
        asks.join();
        answers.join();
    }
}

pub fn thousands_of_short_streams<W: World>() {
    const SIDE: usize = 8;
    const EACH: usize = 150;
    let pair = Pair::<W>::new();
    let mut tasks = Vec::new();
    for who in 0..SIDE {
        tasks.push(asking::<W>(&pair.client, who, EACH));
        tasks.push(answering::<W>(&pair.server, EACH));
        tasks.push(asking::<W>(&pair.server, who, EACH));
        tasks.push(answering::<W>(&pair.client, EACH));
    }
    join_all(tasks);
    // And none of them is left: the same two sides can do it all again.
    let more = (
        asking::<W>(&pair.client, 0, 10),
        answering::<W>(&pair.server, 10),
    );
    more.0.join();
    more.1.join();
    pair.close();
}

/// More open at once than fit one bundle, all of them used after all were opened.
pub fn five_hundred_streams_stay_open<W: World>() {
    let pair = Pair::<W>::new();
    let near: Vec<_> = (0..500).map(|_| pair.client.open().unwrap()).collect();
    for stream in &near {
        stream.write_all(&stream.id().to_be_bytes()).unwrap();
    }
    let far: Vec<_> = (0..500).map(|_| pair.server.accept().unwrap()).collect();
    for stream in &far {
        let mut id = [0; 8];
        stream.read_exact(&mut id).unwrap();
        assert_eq!(u64::from_be_bytes(id), stream.id());
        stream.write_all(&id).unwrap();
    }
    for stream in near {
        let mut id = [0; 8];
        stream.read_exact(&mut id).unwrap();
        assert_eq!(u64::from_be_bytes(id), stream.id());
        stream.finish().unwrap();
    }
    for stream in far {
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
    }
    pair.close();
}

pub fn many_clients_share_a_server<W: World>() {
    const CLIENTS: u64 = 20;
    let listener = listener::<W>();
    let addr = listener.addr();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|n| {
            spawn::<W, _>(move || {
                let client = connect::<W>(addr, Dial::default()).unwrap();
                let stream = client.open().unwrap();
                let sends = sending::<W>(&stream, n, 100_000);
                receive(&stream, n, 100_000, |_| {});
                sends.join();
                drop(stream);
                client.close().unwrap();
            })
        })
        .collect();
    let serve = || {
        let session = listener.accept().unwrap();
        spawn::<W, _>(move || {
            echoing::<W>(session.accept().unwrap()).join();
            assert!(session.wait_closed().is_clean());
        })
    };
    let serving: Vec<_> = (0..CLIENTS).map(|_| serve()).collect();
    join_all(clients.into_iter().chain(serving));
    until::<W>(|| listener.sessions() == 0);
}
