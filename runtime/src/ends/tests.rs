#![allow(clippy::unwrap_used)]
use super::*;
use crate::testing::{Pair, Session};
use std::cell::RefCell;
use std::rc::Rc;

/// A stream, by the client's end in the pair and the server's beside it.
fn stream() -> (Pair, Rc<RefCell<Session>>, StreamId) {
    let (mut pair, server) = Pair::connected();
    let id = pair.stream(&server);
    pair.woken.clear();
    (pair, server, id)
}

fn send(pair: &mut Pair, id: StreamId, text: &'static str) {
    let mut data = Bytes::from_static(text.as_bytes());
    pair.client.put(id, &mut data).unwrap();
    assert!(data.is_empty());
    pair.run();
}

fn done<T>(tried: io::Result<Tried<T>>) -> T {
    match tried.unwrap() {
        Tried::Done(done) => done,
        Tried::Blocked => panic!("it would have to wait"),
    }
}

#[test]
fn what_was_peeked_is_read_again_and_who_peeks_again_sees_more() {
    let (mut pair, server, id) = stream();
    send(&mut pair, id, "first ");
    assert_eq!(done(server.borrow_mut().look(id, 3)), "fir");
    assert_eq!(done(server.borrow_mut().look(id, 100)), "first ");
    send(&mut pair, id, "second");
    let mut server = server.borrow_mut();
    assert_eq!(done(server.look(id, 100)), "first second");
    assert_eq!(done(server.take(id, 8)), "first se");
    assert_eq!(done(server.look(id, 100)), "cond");
    assert_eq!(done(server.take(id, 100)), "cond");
    assert!(matches!(server.take(id, 9), Ok(Tried::Blocked)));
    assert!(matches!(server.look(id, 9), Ok(Tried::Blocked)));
}

#[test]
fn one_read_takes_all_pieces_that_are_here() {
    let (mut pair, server, id) = stream();
    send(&mut pair, id, "one ");
    assert_eq!(done(server.borrow_mut().look(id, 100)), "one ");
    send(&mut pair, id, "two ");
    send(&mut pair, id, "three");
    let mut buf = [0; 11];
    let pieces = done(server.borrow_mut().take_all(id, buf.len()));
    assert_eq!(pieces.copy_to(&mut buf), 11);
    assert_eq!(&buf, b"one two thr");
    pair.client.shutdown(id, Shutdown::Write).unwrap();
    pair.run();
    let mut buf = [0; 11];
    let pieces = done(server.borrow_mut().take_all(id, buf.len()));
    assert_eq!(pieces.copy_to(&mut buf), 2, "the end is for the next read");
    for _ in 0..2 {
        let pieces = done(server.borrow_mut().take_all(id, buf.len()));
        assert_eq!(pieces.copy_to(&mut buf), 0);
    }
}

#[test]
fn an_end_is_said_as_often_as_it_is_asked() {
    let (mut pair, server, id) = stream();
    server.borrow_mut().readable(id).0.push("reader");
    server.borrow_mut().writable(id).0.push("writer");
    // Only who was told to wait is woken.
    assert!(matches!(
        server.borrow_mut().take(id, 9),
        Ok(Tried::Blocked)
    ));
    pair.client.reset(id, ResetCode(5));
    pair.run();
    assert_eq!(pair.woken, ["reader"]);
    for _ in 0..3 {
        let mut server = server.borrow_mut();
        let error = server.take(id, 9).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let inner = error.get_ref().unwrap().downcast_ref::<ReadError>();
        assert_eq!(inner, Some(&ReadError::Reset(ResetCode(5))));
        let error = server.put(id, &mut Bytes::from_static(b"x")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        let inner = error.get_ref().unwrap().downcast_ref::<WriteError>();
        assert_eq!(inner, Some(&WriteError::Stopped(ResetCode(5))));
    }
    // To whoever reset it, it is over.
    assert_eq!(done(pair.client.take(id, 9)), "");
    let error = pair.client.put(id, &mut Bytes::from_static(b"x"));
    assert_eq!(error.unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn a_shutdown_wakes_this_sides_own() {
    let (mut pair, _, id) = stream();
    for (how, wakes) in [(Shutdown::Write, "writer"), (Shutdown::Read, "reader")] {
        pair.client.readable(id).0 = vec!["reader"];
        pair.client.writable(id).0 = vec!["writer"];
        pair.client.shutdown(id, how).unwrap();
        pair.run();
        assert_eq!(pair.woken, [wakes]);
        pair.woken.clear();
    }
    assert_eq!(done(pair.client.take(id, 9)), "");
}

#[test]
fn what_was_peeked_is_gone_when_no_more_is_read() {
    let (mut pair, server, id) = stream();
    send(&mut pair, id, "some");
    let mut server = server.borrow_mut();
    assert_eq!(done(server.look(id, 2)), "so");
    server.shutdown(id, Shutdown::Read).unwrap();
    assert_eq!(done(server.take(id, 9)), "");
}

#[test]
fn what_was_peeked_comes_before_the_error_behind_it() {
    let (mut pair, server, id) = stream();
    send(&mut pair, id, "some");
    assert_eq!(done(server.borrow_mut().look(id, 100)), "some");
    pair.client.reset(id, ResetCode(5));
    pair.run();
    let mut server = server.borrow_mut();
    assert_eq!(done(server.look(id, 100)), "some");
    assert_eq!(done(server.take(id, 100)), "some");
    let error = server.look(id, 100).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn after_the_session_a_shutdown_says_that_there_is_none() {
    let (mut pair, server, id) = stream();
    pair.client.abort();
    pair.run();
    for how in [Shutdown::Write, Shutdown::Both] {
        let error = pair.client.shutdown(id, how).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
    }
    drop(server);
}

#[test]
fn a_stream_whose_handles_are_gone_is_not_kept() {
    let (mut pair, server, id) = stream();
    assert!(pair.client.has(id));
    pair.client.release(id);
    server.borrow_mut().release(id);
    assert_eq!((pair.client.streams(), server.borrow().streams()), (0, 0));
    assert!(!pair.client.has(id));
}
