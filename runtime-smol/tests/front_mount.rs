//! The service mounted in somebody else's hyper server.
#![allow(clippy::unwrap_used)]

mod front_common;

use bytes::Bytes;
use front_common::{Dummy, Limits, Mode, Seen, connect_to, post, read_reply, read_to_end, status};
use http::{Request, Response, Version};
use http_body::{Body, Frame};
use hyper::service::{Service as _, service_fn};
use posthole_protocol::http::Refusal;
use posthole_smol::front::{Abandoned, Answer, Mount};
use posthole_smol::io::{Clock, Socket};
use smol::Async;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::task::{Context, Poll};

/// A server that has posthole at one path and something else, here nothing, at all others.
fn serve(mount: Mount<Dummy>) -> SocketAddr {
    let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0)).unwrap();
    let addr = listener.get_ref().local_addr().unwrap();
    smol::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mount = mount.clone();
            let router = service_fn(move |request: Request<hyper::body::Incoming>| {
                let ours = (request.uri().path() == "/p").then(|| mount.call(request));
                async move {
                    match ours {
                        Some(answer) => answer.await,
                        None => Err(Abandoned),
                    }
                }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(Clock)
                .serve_connection(Socket::new(stream), router);
            smol::spawn(connection).detach();
        }
    })
    .detach();
    addr
}

#[test]
fn a_connection_serves_many_requests_of_all_sizes() {
    let dummy = Dummy::new(Mode::Echo);
    let addr = serve(Mount::new(dummy.clone(), Limits::default()));
    let mut stream = connect_to(addr);
    for n in 0..50_usize {
        let body = vec![n as u8; (n * n * 417) % 1_048_577];
        post(&mut stream, &body);
        let reply = read_reply(&mut stream);
        assert_eq!(
            (reply.status, reply.body == body),
            (200, true),
            "request {n}"
        );
        assert_eq!(reply.header("posthole"), Some("1"));
        assert_eq!(
            reply.header("posthole-exchange"),
            Some(n.to_string().as_str())
        );
    }
    assert_eq!(dummy.begun(), 50);
}

#[test]
fn what_is_no_request_of_ours_is_refused_and_slow_bodies_given_up() {
    let limits = Limits {
        body: 1000,
        body_time: std::time::Duration::from_millis(200),
        ..Limits::default()
    };
    let dummy = Dummy::new(Mode::Echo);
    let addr = serve(Mount::new(dummy.clone(), limits));
    for (request, expected) in [
        ("GET /p HTTP/1.1\r\n\r\n", 405),
        ("POST /p HTTP/1.1\r\n\r\n", 411),
        ("POST /p HTTP/1.1\r\nContent-Length: 1001\r\n\r\n", 413),
        ("POST /p HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc", 408),
    ] {
        let mut stream = connect_to(addr);
        stream.write_all(request.as_bytes()).unwrap();
        assert_eq!(status(&read_to_end(&mut stream)), expected, "{request}");
    }
    assert_eq!(dummy.begun(), 0);
    let mut stream = connect_to(addr);
    post(&mut stream, &[7; 1000]);
    assert_eq!(read_reply(&mut stream).body, [7; 1000]);
}

#[test]
fn a_client_that_goes_while_held_is_noticed() {
    let dummy = Dummy::new(Mode::Hold);
    let addr = serve(Mount::new(dummy.clone(), Limits::default()));
    let mut stream = connect_to(addr);
    post(&mut stream, b"hold me");
    dummy.wait(|seen| matches!(seen, Seen::Begun(_)));
    drop(stream);
    dummy.wait(|seen| matches!(seen, Seen::Gone(_)));
}

/// A body of another server's: pieces, and maybe an error at the end.
struct Pieces(VecDeque<&'static str>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.0.pop_front();
        Poll::Ready(piece.map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes())))))
    }
}

fn call(
    version: Version,
    headers: &[(&'static str, &'static str)],
    body: &[&'static str],
) -> (u16, String) {
    let limits = Limits {
        body: 10,
        ..Limits::default()
    };
    let mount = Mount::new(Dummy::new(Mode::Echo), limits);
    let mut request = Request::post("/anywhere").version(version);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request
        .body(Pieces(body.iter().copied().collect()))
        .unwrap();
    smol::block_on(async {
        let answer: Response<Answer> = mount.call(request).await.unwrap();
        let status = answer.status().as_u16();
        let mut body = answer.into_body();
        let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        let chain = frame.unwrap().unwrap().into_data().unwrap();
        assert!(body.is_end_stream());
        let text = String::from_utf8(chain.into_bytes().to_vec()).unwrap();
        (status, text)
    })
}

#[test]
fn bodies_of_other_servers_are_held_to_the_same_rules() {
    let length = |digits| [("content-length", digits)];
    let refused = |refusal: Refusal| (refusal.status, refusal.text());
    let taken = (200, "abcde".to_owned());
    assert_eq!(
        call(Version::HTTP_11, &length("5"), &["ab", "", "cde"]),
        taken
    );
    assert_eq!(call(Version::HTTP_2, &[], &["ab", "cde"]), taken);
    let twice = [length("5"), length("5")].concat();
    assert_eq!(call(Version::HTTP_11, &twice, &["abcde"]), taken);
    for (expected, version, headers, body) in [
        (
            Refusal::CUT,
            Version::HTTP_11,
            &length("5")[..],
            &["abc"][..],
        ),
        (
            Refusal::TOO_LARGE,
            Version::HTTP_11,
            &length("5"),
            &["abc", "def"],
        ),
        (
            Refusal::TOO_LARGE,
            Version::HTTP_2,
            &[],
            &["abcdef", "ghijk"],
        ),
        (
            Refusal::TWO_LENGTHS,
            Version::HTTP_11,
            &[("content-length", "5"), ("content-length", "6")],
            &["abcde"],
        ),
        (
            Refusal::TWO_FRAMINGS,
            Version::HTTP_11,
            &[("content-length", "5"), ("transfer-encoding", "chunked")],
            &["abcde"],
        ),
        (
            Refusal::OLD_CHUNKS,
            Version::HTTP_10,
            &[("transfer-encoding", "chunked")],
            &["abcde"],
        ),
    ] {
        assert_eq!(
            call(version, headers, body),
            refused(expected),
            "{headers:?} {body:?}"
        );
    }
}
