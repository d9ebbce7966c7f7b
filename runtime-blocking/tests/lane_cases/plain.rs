//! A lane against servers and boxes that follow a script.

use super::{HUGE, LONG, chain, direct, lane, noise, zeros};
use crate::script::{Script, answer, ours};
use posthole_protocol::Failure;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

#[test]
fn answers_that_are_not_ours() {
    let page = b"<html><title>Hotel  Wi-Fi</title>";
    for (bytes, failure, words) in [
        (
            answer("407 x", "", b""),
            Failure::Credentials,
            "name and password",
        ),
        (
            answer("413 x", "Server: nginx\r\n", b""),
            Failure::TooLarge,
            "Server: nginx",
        ),
        (
            answer("403 x", "X-Squid-Error: ERR_ACCESS_DENIED 0\r\n", b""),
            Failure::Refused { status: 403 },
            "ERR_ACCESS_DENIED 0",
        ),
        (
            answer("404 x", "", page),
            Failure::Refused { status: 404 },
            "URL",
        ),
        (
            answer("502 x", "Via: 1.1 gw\r\n", page),
            Failure::Middlebox { status: 502 },
            "Via: 1.1 gw",
        ),
        (
            answer("200 OK", "", page),
            Failure::Middlebox { status: 200 },
            "\"Hotel Wi-Fi\"",
        ),
        (
            answer("200 OK", "Posthole: 1\r\n", b""),
            Failure::Middlebox { status: 200 },
            "empty",
        ),
        (
            answer("302 x", "Location: http://login.example/\r\n", b""),
            Failure::Middlebox { status: 302 },
            "login.example",
        ),
        (
            ours(6, b"\xf8"),
            Failure::Middlebox { status: 200 },
            "exchange 6",
        ),
        (
            b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
            Failure::Middlebox { status: 204 },
            "204",
        ),
        (
            b"SSH-2.0-OpenSSH\r\n\r\n".to_vec(),
            Failure::Cut,
            "not HTTP",
        ),
    ] {
        let server = Script::new(move |mut visit| {
            visit.request().unwrap();
            visit.stream.write_all(&bytes).unwrap();
        });
        let mut lane = lane(direct(&server.url("/")));
        let trouble = lane
            .exchange(7, &chain(b"a"), LONG, &mut || {})
            .unwrap_err();
        assert_eq!(
            (trouble.failure, trouble.reached),
            (failure, true),
            "{}",
            trouble.says
        );
        assert!(
            trouble.says.contains(words),
            "{words:?} in {}",
            trouble.says
        );
        assert_eq!(
            server.join().len(),
            1,
            "an answer is an answer: nothing goes again"
        );
    }
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = Script::new(|_| ());
    let to = elsewhere.url("/");
    let server = Script::new(move |mut visit| {
        visit.request().unwrap();
        visit
            .stream
            .write_all(&answer("307 x", &format!("Location: {to}\r\n"), b""))
            .unwrap();
    });
    let mut lane = lane(direct(&server.url("/")));
    let trouble = lane
        .exchange(1, &chain(b"a"), LONG, &mut || {})
        .unwrap_err();
    assert_eq!(trouble.failure, Failure::Middlebox { status: 307 });
    assert!(elsewhere.join().is_empty());
}

#[test]
fn whole_answers_in_every_form() {
    let body = [b"\xf8".to_vec(), noise(200_000)].concat();
    let mut chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for piece in body.chunks(70_001) {
        chunked.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        chunked.extend_from_slice(piece);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let close_delimited = [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec(),
        body.clone(),
    ]
    .concat();
    let old = [b"HTTP/1.0 200 OK\r\n\r\n".to_vec(), body.clone()].concat();
    let stripped = answer("200 OK", "", &body);
    for bytes in [ours(7, &body), chunked, close_delimited, old, stripped] {
        let server = Script::new(move |mut visit| {
            visit.request().unwrap();
            visit.stream.write_all(&bytes).unwrap();
        });
        let mut lane = lane(direct(&server.url("/")));
        assert_eq!(
            lane.exchange(7, &chain(b"a"), LONG, &mut || {}).unwrap(),
            body
        );
    }
}

#[test]
fn cut_answers() {
    let whole = ours(7, &[0xf8; 1000]);
    let chunked =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n\xf8\xf8\xf8".to_vec();
    for bytes in [
        whole[..whole.len() - 1].to_vec(),
        whole[..20].to_vec(),
        chunked,
    ] {
        let server = Script::new(move |mut visit| {
            visit.request().unwrap();
            visit.stream.write_all(&bytes).unwrap();
        });
        let mut lane = lane(direct(&server.url("/")));
        let trouble = lane
            .exchange(7, &chain(b"a"), LONG, &mut || {})
            .unwrap_err();
        assert_eq!(
            (trouble.failure, trouble.reached),
            (Failure::Cut, true),
            "{}",
            trouble.says
        );
        assert_eq!(server.join().len(), 1);
    }
}

#[test]
fn too_much_is_not_read() {
    let declared =
        b"HTTP/1.1 200 OK\r\nPosthole: 1\r\nContent-Length: 99999999999\r\n\r\n".to_vec();
    let endless = b"HTTP/1.1 200 OK\r\nPosthole: 1\r\n\r\n".to_vec();
    for head in [declared, endless] {
        let server = Script::new(move |mut visit| {
            visit.request().unwrap();
            visit.stream.write_all(&head).unwrap();
            // Until the lane has had enough, or 100 MB.
            for _ in 0..1600 {
                if visit.stream.write_all(&[0xf8; 65536]).is_err() {
                    return true;
                }
            }
            false
        });
        let mut lane = lane(direct(&server.url("/")));
        let trouble = lane
            .exchange(7, &chain(b"a"), LONG, &mut || {})
            .unwrap_err();
        assert_eq!(
            trouble.failure,
            Failure::Middlebox { status: 200 },
            "{}",
            trouble.says
        );
        assert_eq!(server.join(), [true]);
    }
}

/// With bodies of more than 1 MiB allowed to a session, answers of that size were refused all the same.
#[test]
fn an_answer_may_be_as_large_as_bodies_may() {
    let body = [b"\xf8", &noise(3 << 20)[..]].concat();
    let declared = ours(7, &body);
    let at = declared.len() - body.len();
    let length = format!("Content-Length: {}\r\n", body.len());
    let head = String::from_utf8(declared[..at].to_vec()).unwrap();
    assert!(head.contains(&length), "{head}");
    let until_closed = [head.replace(&length, "").as_bytes(), &body].concat();
    for bytes in [declared, until_closed] {
        let server = Script::new(move |mut visit| {
            visit.request().unwrap();
            // Whoever has had enough closes.
            let _ = visit.stream.write_all(&bytes);
        });
        for (body_max, is_read) in [(4 << 20, true), (2 << 20, false)] {
            let mut lane = lane(direct(&server.url("/")).body_max(body_max));
            match lane.exchange(7, &chain(b"a"), LONG, &mut || {}) {
                Ok(answer) => assert!(is_read && answer == body),
                Err(trouble) => {
                    assert!(!is_read, "{}", trouble.says);
                    assert_eq!(trouble.failure, Failure::Middlebox { status: 200 });
                }
            }
        }
        assert_eq!(server.join().len(), 2);
    }
}

#[test]
fn one_connection_serves_many_exchanges() {
    let server = Script::new(|mut visit| {
        let mut served = 0;
        while let Some(request) = visit.request() {
            visit
                .stream
                .write_all(&ours(served, &[b"\xf8", &request.body[..]].concat()))
                .unwrap();
            served += 1;
        }
        served
    });
    let mut lane = lane(direct(&server.url("/")));
    for exchange in 0..50 {
        let body = noise(exchange as usize * 5000);
        let answer = lane
            .exchange(exchange, &chain(&body), LONG, &mut || {})
            .unwrap();
        assert_eq!(answer[1..], body[..]);
    }
    drop(lane);
    assert_eq!(server.join(), [50]);
}

#[test]
fn which_connections_are_used_again() {
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n\xf8\r\n0\r\n\r\n";
    let old = b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n\xf8";
    for (bytes, is_kept) in [
        (ours(0, b"\xf8"), true),
        (chunked.to_vec(), true),
        (answer("200 OK", "Connection: x, close\r\n", b"\xf8"), false),
        (
            answer("200 OK", "Connection: x\r\nConnection: close\r\n", b"\xf8"),
            false,
        ),
        (old.to_vec(), false),
        ([&ours(0, b"\xf8")[..], b"more"].concat(), false),
        ([&chunked[..], b"more"].concat(), false),
    ] {
        let server = Script::new(move |mut visit| {
            let mut served = 0;
            while visit.request().is_some() {
                visit.stream.write_all(&bytes).unwrap();
                served += 1;
            }
            served
        });
        let mut lane = lane(direct(&server.url("/")));
        for _ in 0..2 {
            let answer = lane.exchange(0, &chain(b"a"), LONG, &mut || {}).unwrap();
            assert_eq!(answer, &b"\xf8"[..]);
        }
        drop(lane);
        let expected = if is_kept { vec![2] } else { vec![1, 1] };
        assert_eq!(server.join(), expected);
    }
}

/// What a box does to an idle connection, or to one just used: it is closed, and the client doesn't know yet.
#[test]
fn a_reused_connection_that_closes_is_replaced_once() {
    for size in [10, 900_000] {
        let server = Script::new(|mut visit| {
            let mut bodies = vec![visit.request().unwrap()];
            visit
                .stream
                .write_all(&ours(visit.number as u64, b"\xf8"))
                .unwrap();
            bodies.extend(visit.request());
            bodies
        });
        let mut lane = lane(direct(&server.url("/")));
        lane.exchange(0, &chain(b"first"), LONG, &mut || {})
            .unwrap();
        lane.exchange(1, &chain(&noise(size)), LONG, &mut || {})
            .unwrap();
        drop(lane);
        let visits = server.join();
        assert_eq!(visits.len(), 2);
        assert_eq!(visits[0][1], visits[1][0], "the same bytes");
        assert_eq!(visits[0][1].body, noise(size));
    }
}

/// A box that closes an idle connection says so in words of its own.
#[test]
fn what_comes_unasked_is_no_answer_to_what_is_asked_next() {
    let (rests, has_rested) = mpsc::channel::<()>();
    let (said, was_said) = mpsc::channel();
    let server = Script::new(move |mut visit| {
        visit.request().unwrap();
        let number = visit.number as u64;
        visit.stream.write_all(&ours(number, b"\xf8")).unwrap();
        if number == 0 {
            has_rested.recv().unwrap();
            let unasked = answer("408 Request Timeout", "", b"late");
            visit.stream.write_all(&unasked).unwrap();
            said.send(()).unwrap();
        }
        visit.request().is_none()
    });
    let mut lane = lane(direct(&server.url("/")));
    lane.exchange(0, &chain(b"a"), LONG, &mut || {}).unwrap();
    rests.send(()).unwrap();
    was_said.recv().unwrap();
    lane.exchange(1, &chain(b"a"), LONG, &mut || {}).unwrap();
    drop(lane);
    assert_eq!(server.join(), [true, true], "it was asked there again");
}

#[test]
fn nothing_goes_again_but_over_a_reused_connection_and_once() {
    // A fresh connection closes: a failure. A reused one closes, and the fresh one after it as well: a failure.
    let server = Script::new(|mut visit| {
        visit.request().unwrap();
        if visit.number == 1 {
            visit.stream.write_all(&ours(1, b"\xf8")).unwrap();
            visit.request().unwrap();
        }
    });
    let mut lane = lane(direct(&server.url("/")));
    let trouble = lane
        .exchange(0, &chain(b"a"), LONG, &mut || {})
        .unwrap_err();
    assert_eq!((trouble.failure, trouble.reached), (Failure::Cut, true));
    lane.exchange(1, &chain(b"a"), LONG, &mut || {}).unwrap();
    let trouble = lane
        .exchange(2, &chain(b"a"), LONG, &mut || {})
        .unwrap_err();
    assert_eq!((trouble.failure, trouble.reached), (Failure::Cut, true));
    assert_eq!(server.join().len(), 3);
}

#[test]
fn a_reused_connection_that_closes_in_the_answer_is_a_failure() {
    let server = Script::new(|mut visit| {
        visit.request().unwrap();
        visit.stream.write_all(&ours(0, b"\xf8")).unwrap();
        visit.request().unwrap();
        visit.stream.write_all(b"H").unwrap();
    });
    let mut lane = lane(direct(&server.url("/")));
    lane.exchange(0, &chain(b"a"), LONG, &mut || {}).unwrap();
    let trouble = lane
        .exchange(1, &chain(b"a"), LONG, &mut || {})
        .unwrap_err();
    assert_eq!(trouble.failure, Failure::Cut);
    assert_eq!(server.join().len(), 1);
}

#[test]
fn progress_is_told_both_ways() {
    let server = Script::new(|mut visit| {
        visit.request().unwrap();
        visit
            .stream
            .write_all(&ours(0, &[0xf8; 1_000_000]))
            .unwrap();
    });
    let mut lane = lane(direct(&server.url("/")));
    let mut calls = 0;
    lane.exchange(0, &chain(&noise(1_000_000)), LONG, &mut || calls += 1)
        .unwrap();
    // Each way at least once, and the answer's beginning; how much more depends on how much a system call takes.
    assert!((3..2000).contains(&calls), "{calls}");
}

#[test]
fn progress_is_told_for_as_long_as_a_request_leaves() {
    let told = Arc::new(AtomicUsize::new(0));
    let so_far = told.clone();
    let server = Script::new(move |mut visit| {
        visit.request().unwrap();
        let calls = so_far.load(Ordering::SeqCst);
        visit.stream.write_all(&ours(0, b"\xf8")).unwrap();
        calls
    });
    let mut lane = lane(direct(&server.url("/")));
    let mut progress = || {
        told.fetch_add(1, Ordering::SeqCst);
    };
    lane.exchange(0, &zeros(HUGE), LONG, &mut progress).unwrap();
    let calls = server.join()[0];
    assert!(calls > 1, "{calls}");
}
