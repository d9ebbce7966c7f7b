#![allow(clippy::unwrap_used)]
use super::*;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};

/// A server that answers each POST with its body, twice over; counts what it sees.
struct Origin {
    addr: SocketAddr,
    seen: Arc<AtomicU64>,
}

fn origin() -> Origin {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let seen = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&seen);
    thread::spawn(move || {
        for mut connection in listener.incoming().map_while(Result::ok) {
            let Ok(Some(mut message)) = http::read(&mut BufReader::new(&connection), Kind::Request)
            else {
                continue;
            };
            assert!(
                matches!(&message.start, Start::Request { target, .. } if target == "/x"),
                "origin-form"
            );
            count.fetch_add(1, Ordering::SeqCst);
            message.start = Start::Response {
                status: 200,
                reason: "OK".into(),
            };
            message.body = message.body.repeat(2);
            let _ = connection.write_all(&http::encode(&message, false));
        }
    });
    Origin { addr, seen }
}

/// One POST through the proxy, as a client sees its fate.
fn post(proxy: &Hostile, origin: &Origin) -> io::Result<(u16, Vec<u8>)> {
    let connection = TcpStream::connect(proxy.addr())?;
    connection.set_read_timeout(Some(Duration::from_secs(1)))?;
    let request = Message {
        start: Start::Request {
            method: "POST".into(),
            target: format!("http://{}/x", origin.addr),
        },
        headers: vec![("Host".into(), origin.addr.to_string().into_bytes())],
        body: b"0123456789".to_vec(),
        wire: 0,
        keep_alive: true,
    };
    let answer = http::exchange(&connection, &request)?;
    let Start::Response { status, .. } = answer.start else {
        unreachable!()
    };
    Ok((status, answer.body))
}

fn under(fault: Fault) -> (io::Result<(u16, Vec<u8>)>, u64) {
    let origin = origin();
    let proxy = Hostile::start(3, Faults::only(fault, 100.0), Upstream::AsAsked).unwrap();
    let result = post(&proxy, &origin);
    assert_eq!(proxy.counts().exchanges, 1);
    assert_eq!(proxy.counts().faults[fault.index()], 1);
    assert_eq!(proxy.counts().harmed(), 1);
    (result, origin.seen.load(Ordering::SeqCst))
}

const WHOLE: &[u8] = b"01234567890123456789";

#[test]
fn without_faults_everything_passes_and_is_counted() {
    let origin = origin();
    let proxy = Hostile::start(1, Faults::none(), Upstream::AsAsked).unwrap();
    for _ in 0..3 {
        assert_eq!(post(&proxy, &origin).unwrap(), (200, WHOLE.to_vec()));
    }
    let counts = proxy.counts();
    assert_eq!((counts.exchanges, counts.harmed()), (3, 0));
    assert!(counts.up > 30 && counts.down > 60);
    let reverse = Hostile::start(1, Faults::none(), Upstream::Fixed(origin.addr)).unwrap();
    let mut connection = TcpStream::connect(reverse.addr()).unwrap();
    connection
        .write_all(b"POST /x HTTP/1.0\r\nContent-Length: 1\r\n\r\na")
        .unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("\r\n\r\naa"),
        "{answer}"
    );
}

#[test]
fn delayed_reordered_and_doubled_exchanges_come_through_whole() {
    for (fault, seen) in [(Fault::Delay, 1), (Fault::Reorder, 1), (Fault::Double, 2)] {
        let (result, times) = under(fault);
        assert_eq!(result.unwrap(), (200, WHOLE.to_vec()), "{fault}");
        assert_eq!(times, seen, "{fault}");
    }
}

#[test]
fn lost_ones_get_no_answer_and_no_close() {
    for (fault, seen) in [(Fault::LoseRequest, 0), (Fault::LoseResponse, 1)] {
        let (result, times) = under(fault);
        assert_eq!(
            result.unwrap_err().kind(),
            io::ErrorKind::WouldBlock,
            "{fault}"
        );
        assert_eq!(times, seen, "{fault}");
    }
}

#[test]
fn a_page_comes_instead_of_the_answer_whether_or_not_the_server_saw_the_request() {
    for (fault, seen) in [(Fault::ErrorBefore, 0), (Fault::ErrorAfter, 1)] {
        let (result, times) = under(fault);
        let (status, body) = result.unwrap();
        assert!(status == 502 && body.starts_with(b"<html>"), "{fault}");
        assert_eq!(times, seen, "{fault}");
    }
}

#[test]
fn cuts_are_seen_by_the_length_or_not_at_all() {
    let (result, _) = under(Fault::Cut);
    assert_eq!(result.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    let (status, body) = under(Fault::CutClean).0.unwrap();
    assert!(status == 200 && body.len() < WHOLE.len() && WHOLE.starts_with(&body));
}

#[test]
fn one_bit_is_flipped() {
    let differing = |a: &[u8], b: &[u8]| {
        a.iter()
            .zip(b)
            .map(|(a, b)| (a ^ b).count_ones())
            .sum::<u32>()
    };
    let (_, body) = under(Fault::CorruptResponse).0.unwrap();
    assert_eq!((body.len(), differing(&body, WHOLE)), (20, 1));
    let (_, body) = under(Fault::CorruptRequest).0.unwrap();
    assert_eq!(
        (body.len(), differing(&body, WHOLE)),
        (20, 2),
        "the server repeats what it got"
    );
}

#[test]
fn resets_are_resets() {
    for (fault, seen) in [(Fault::ResetBefore, 0), (Fault::ResetAfter, 1)] {
        let (result, times) = under(fault);
        assert!(result.is_err(), "{fault}");
        assert_eq!(times, seen, "{fault}");
    }
}

#[test]
fn only_posts_pass() {
    let proxy = Hostile::start(1, Faults::none(), Upstream::AsAsked).unwrap();
    for (request, status) in [
        ("CONNECT a:443 HTTP/1.1\r\n\r\n", "403"),
        ("GET http://a/ HTTP/1.1\r\n\r\n", "405"),
    ] {
        let mut connection = TcpStream::connect(proxy.addr()).unwrap();
        connection.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
    }
    let nowhere = Origin {
        addr: free_addr(),
        seen: Arc::default(),
    };
    assert_eq!(post(&proxy, &nowhere).unwrap().0, 502);
}

fn free_addr() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

#[test]
fn silence_ends_when_it_is_told_to() {
    let origin = origin();
    let proxy = Hostile::start(1, Faults::none(), Upstream::AsAsked).unwrap();
    proxy.set_silent(true);
    assert_eq!(
        post(&proxy, &origin).unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
    proxy.set_silent(false);
    assert_eq!(post(&proxy, &origin).unwrap().0, 200);
}

#[test]
fn one_that_is_dropped_frees_its_port_for_the_next() {
    let origin = origin();
    let proxy = Hostile::start(1, Faults::none(), Upstream::AsAsked).unwrap();
    let addr = proxy.addr();
    let mut open = TcpStream::connect(addr).unwrap();
    post(&proxy, &origin).unwrap();
    drop(proxy);
    assert!(
        open.read(&mut [0; 1]).map_or(true, |n| n == 0),
        "its connections end"
    );
    let next = Hostile::start_at(addr, 1, Faults::none(), Upstream::AsAsked).unwrap();
    assert_eq!(post(&next, &origin).unwrap().0, 200);
}
