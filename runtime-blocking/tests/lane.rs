//! A lane against servers and boxes that follow a script.
#![allow(clippy::unwrap_used)]

mod script;

use bytes::Bytes;
use posthole_blocking::carrier::{Lane, Plain, ProxyChoice, Target, TlsChoice};
use posthole_protocol::Failure;
use posthole_protocol::http::Tag;
use posthole_protocol::wire::Chain;
use script::{Script, answer, ours};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

const TAG: Tag = Tag::from_bytes([0xab; 8]);
const LONG: Duration = Duration::from_secs(60);

fn chain(body: &[u8]) -> Chain {
    // In pieces of several sizes, an empty one among them.
    let mut parts: Vec<Bytes> = body
        .chunks(body.len() / 3 + 1)
        .map(Bytes::copy_from_slice)
        .collect();
    parts.insert(0, Bytes::new());
    parts.into_iter().collect()
}

fn direct(url: &str) -> Target {
    Target::new(url, TAG, ProxyChoice::None, TlsChoice::Platform).unwrap()
}

fn through(url: &str, proxy: &str) -> Target {
    Target::new(
        url,
        TAG,
        ProxyChoice::Url(proxy.to_owned()),
        TlsChoice::Platform,
    )
    .unwrap()
}

fn lane(target: Target) -> Lane {
    Lane::new(Arc::new(target))
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(length)
    .collect()
}

#[test]
fn the_request_on_the_wire() {
    let script = Script::new(|mut visit| {
        let request = visit.request().unwrap();
        visit.stream.write_all(&ours(7, b"\xf8hello")).unwrap();
        assert!(visit.request().is_none());
        vec![request]
    });
    let mut lane = lane(
        direct(&script.url("/in?key=1"))
            .header("X-Extra", "yes")
            .unwrap(),
    );
    let body = noise(1000);
    let answer = lane.exchange(7, &chain(&body), LONG, &mut || {}).unwrap();
    assert_eq!(answer, &b"\xf8hello"[..]);
    drop(lane);
    let request = script.join().remove(0).remove(0);
    assert_eq!(request.line, "POST /in?key=1&abababababababab HTTP/1.1");
    assert_eq!(request.body, body);
    assert_eq!(request.header("host"), Some(script.authority().as_str()));
    assert_eq!(
        request.header("content-type"),
        Some("application/octet-stream")
    );
    assert_eq!(
        request.header("cache-control"),
        Some("no-store, no-transform")
    );
    assert_eq!(request.header("content-length"), Some("1000"));
    assert_eq!(request.header("x-extra"), Some("yes"));
    for absent in [
        "expect",
        "transfer-encoding",
        "cookie",
        "connection",
        "authorization",
        "proxy-authorization",
    ] {
        assert_eq!(request.header(absent), None, "{absent}");
    }
}
