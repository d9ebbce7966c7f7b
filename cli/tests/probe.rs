//! `posthole probe`: right about what stands in the way.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use support::{free_addr, run};

on_each_runtime! {
    a_clean_way_lets_everything_through
    a_box_that_limits_bodies_is_found_out
    a_box_that_ends_held_requests_is_found_out
    a_box_that_doubles_requests_is_found_out
}

/// What a box between does.
#[derive(Clone, Copy)]
struct Box {
    to: SocketAddr,
    largest: usize,
    /// Answers 504 instead of waiting for longer.
    patience: Option<std::time::Duration>,
    /// Sends every request twice.
    doubles: bool,
}

/// Reads one HTTP message: its head, and its body by its length or chunk by chunk, as they stand.
fn message(from: &mut BufReader<TcpStream>) -> Option<(Vec<u8>, Vec<u8>)> {
    let (mut head, mut length, mut chunked) = (Vec::new(), 0, false);
    loop {
        let mut line = String::new();
        if from.read_line(&mut line).ok()? == 0 {
            return None;
        }
        head.extend_from_slice(line.as_bytes());
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        chunked |= line.eq_ignore_ascii_case("transfer-encoding: chunked\r\n");
        if line == "\r\n" {
            break;
        }
    }
    if chunked {
        let mut body = Vec::new();
        loop {
            let mut line = String::new();
            from.read_line(&mut line).ok()?;
            let length = usize::from_str_radix(line.trim(), 16).ok()?;
            let mut chunk = vec![0; length + 2];
            from.read_exact(&mut chunk).ok()?;
            body.extend_from_slice(line.as_bytes());
            body.extend_from_slice(&chunk);
            if length == 0 {
                return Some((head, body));
            }
        }
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body).ok()?;
    Some((head, body))
}

fn serve_box(it: Box, client: TcpStream) {
    let mut from = BufReader::new(client.try_clone().unwrap());
    let server = TcpStream::connect(it.to).unwrap();
    server.set_read_timeout(it.patience).unwrap();
    let mut back = BufReader::new(server.try_clone().unwrap());
    let answer = |status: &str| {
        let page = format!("<html><title>{status}</title></html>");
        let head = format!(
            "HTTP/1.1 {status}\r\nServer: thebox/1.0\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            page.len()
        );
        let _ = (&client).write_all((head + &page).as_bytes());
    };
    while let Some((head, body)) = message(&mut from) {
        if body.len() > it.largest {
            return answer("413 Too Large");
        }
        let request = [head, body].concat();
        (&server).write_all(&request).unwrap();
        if it.doubles {
            let second = TcpStream::connect(it.to).unwrap();
            (&second).write_all(&request).unwrap();
            let _ = message(&mut BufReader::new(second));
        }
        let Some((head, body)) = message(&mut back) else {
            return answer("504 Too Late");
        };
        if (&client).write_all(&[head, body].concat()).is_err() {
            return;
        }
    }
}

impl Box {
    fn start(self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || serve_box(self, client));
            }
        });
        addr
    }
}

fn address(url: &str) -> SocketAddr {
    let rest = url.strip_prefix("http://").unwrap();
    rest.trim_end_matches('/').parse().unwrap()
}

/// A number in flat JSON.
fn number(json: &str, name: &str) -> f64 {
    let rest = json.split(&format!("\"{name}\":")).nth(1);
    let rest = rest.unwrap_or_else(|| panic!("no {name} in {json}"));
    rest.split([',', '}']).next().unwrap().parse().unwrap()
}

fn a_clean_way_lets_everything_through(on: support::On) {
    let (_server, url) = on.serve("--allow 127.0.0.1:1 --tcp 127.0.0.1:0");
    let (code, json, said) = run(&format!("probe {url} --proxy none --time 5s --json"));
    assert_eq!(code, Some(0), "{said:?}");
    assert!(json.contains("\"works\":true"), "{json}");
    for (name, least) in [
        ("request_bytes", 1e6),
        ("answer_bytes", 1e6),
        ("held_seconds", 5.0),
        ("at_once", 12.0),
    ] {
        assert!(number(&json, name) >= least, "{name} in {json}");
    }
    for part in [
        "\"direct\":{\"answer\":\"yes\"",
        "\"keep_alive\":{\"answer\":\"yes\"",
        "\"unchanged\":{\"answer\":\"yes\"",
        "\"streaming\":{\"answer\":\"yes\"",
        "\"doubled\":{\"answer\":\"no\"",
    ] {
        assert!(json.contains(part), "{part} in {json}");
    }
}

fn a_box_that_limits_bodies_is_found_out(on: support::On) {
    let (_server, url) = on.serve("--allow 127.0.0.1:1");
    let it = Box {
        to: address(&url),
        largest: 131_072,
        patience: None,
        doubles: false,
    };
    let addr = it.start();
    let (code, json, said) = run(&format!(
        "probe http://{addr}/ --proxy none --time 0s --json"
    ));
    assert_eq!(code, Some(0), "{said:?}");
    let bytes = number(&json, "request_bytes");
    assert!((65_536.0..=131_072.0).contains(&bytes), "{json}");
    assert!(json.contains("413") && json.contains("thebox"), "{json}");
    assert!(number(&json, "answer_bytes") >= 1e6, "{json}");
    // It has an answer whole before it gives it on.
    assert!(json.contains("\"streaming\":{\"answer\":\"no\""), "{json}");
}

fn a_box_that_doubles_requests_is_found_out(on: support::On) {
    let (_server, url) = on.serve("--allow 127.0.0.1:1");
    let it = Box {
        to: address(&url),
        largest: usize::MAX,
        patience: None,
        doubles: true,
    };
    let addr = it.start();
    let (code, json, said) = run(&format!(
        "probe http://{addr}/ --proxy none --time 0s --json"
    ));
    assert_eq!(code, Some(0), "{said:?}");
    assert!(json.contains("\"doubled\":{\"answer\":\"yes\""), "{json}");
}

fn a_box_that_ends_held_requests_is_found_out(on: support::On) {
    let (_server, url) = on.serve("--allow 127.0.0.1:1");
    let it = Box {
        to: address(&url),
        largest: usize::MAX,
        patience: Some(std::time::Duration::from_secs(7)),
        doubles: false,
    };
    let addr = it.start();
    let (code, json, said) = run(&format!(
        "probe http://{addr}/ --proxy none --time 12s --json"
    ));
    assert_eq!(code, Some(0), "{said:?}");
    assert!(number(&json, "held_seconds") >= 5.0, "{json}");
    // It waited no shorter, and what waits longer than 12 s is no box of this test's.
    let ended = number(&json, "hold_ended_seconds");
    assert!((6.9..12.0).contains(&ended), "{json}");
    assert!(json.contains("504"), "{json}");
}

#[test]
fn a_server_that_is_not_there_is_said_so() {
    let nobody = free_addr();
    let (code, table, said) = run(&format!("probe http://{nobody}/ --proxy none"));
    assert_eq!(code, Some(1));
    assert!(
        table.contains("Server answers") && table.contains(" no "),
        "{table}"
    );
    assert!(said.concat().contains("posthole will not work"), "{said:?}");
}

#[test]
fn something_else_that_answers_is_named() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = other.local_addr().unwrap();
    thread::spawn(move || {
        for client in other.incoming().map_while(Result::ok) {
            let mut from = BufReader::new(client.try_clone().unwrap());
            let _ = message(&mut from);
            let page = "<title>Please log in</title>";
            let answer = format!(
                "HTTP/1.1 200 OK\r\nServer: portal/9\r\nContent-Length: {}\r\n\r\n{page}",
                page.len()
            );
            let _ = (&client).write_all(answer.as_bytes());
        }
    });
    let (code, _, said) = run(&format!("probe http://{addr}/ --proxy none"));
    assert_eq!(code, Some(1));
    let said = said.concat();
    assert!(
        said.contains("Please log in") && said.contains("portal/9"),
        "{said}"
    );
}

#[test]
fn what_makes_no_sense_is_another_exit_code() {
    assert_eq!(run("probe ftp://x/").0, Some(2));
    assert_eq!(run("probe").0, Some(2));
}
