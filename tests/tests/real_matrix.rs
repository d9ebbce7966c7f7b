//! The same demands of every box: 16 MiB each way and a ping-pong with no setting but where the box is, the best carrier
//! that it allows, and a probe that is right about it.
#![allow(clippy::unwrap_used)] // A test fails by it.

mod real;
mod runtimes;

use clap::Parser;
use posthole::args::{Cli, Command};
use posthole_tests::bounded::bounded;
use posthole_tests::conformance::pair::{Pair, listener};
use posthole_tests::conformance::runtime::{Dial, Listener, Session, Stream};
use posthole_tests::conformance::talk::{MIB, both_ways, ping_pong};
use posthole_tests::conformance::world::{World, until};
use real::{Proxy, apache, haproxy, lighttpd, nginx, privoxy, squid, tinyproxy, varnish};
use runtimes::{Blocking, Loopback, Smol};
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

/// What stands between a client and its server.
struct Boxes {
    _all: Vec<Proxy>,
    /// As a client is told.
    proxy: Option<String>,
    /// Where the client finds the server.
    addr: SocketAddr,
    /// Whether answers are given on as they come.
    streams: bool,
    /// Whether it keeps a client's connections from one request to the next.
    keeps: bool,
    /// The largest request that passes, in bytes, if that is less than posthole's largest.
    largest: Option<u64>,
}

impl Boxes {
    /// The first is a forward proxy.
    fn forward(addr: SocketAddr, all: Vec<Proxy>) -> Boxes {
        Boxes {
            proxy: Some(all[0].url()),
            addr,
            _all: all,
            streams: true,
            keeps: true,
            largest: None,
        }
    }

    /// The first seems to be the server.
    fn reverse(all: Vec<Proxy>) -> Boxes {
        Boxes {
            proxy: None,
            ..Boxes::forward(all[0].addr(), all)
        }
    }
}

/// Starts boxes before a server; `None`: something is not installed here.
type Make = fn(SocketAddr) -> Option<Boxes>;

fn squid_alone(server: SocketAddr) -> Option<Boxes> {
    Some(Boxes::forward(server, vec![squid::start()?]))
}

fn squid_with_passwords(server: SocketAddr) -> Option<Boxes> {
    let squid = squid::start_with_passwords()?;
    let proxy = Some(format!("http://user:open%20sesame@{}", squid.addr()));
    Some(Boxes {
        proxy,
        ..Boxes::forward(server, vec![squid])
    })
}

fn squid_with_a_parent(server: SocketAddr) -> Option<Boxes> {
    let parent = squid::start()?;
    let first = squid::start_with_parent(parent.addr())?;
    Some(Boxes::forward(server, vec![first, parent]))
}

fn tinyproxy_alone(server: SocketAddr) -> Option<Boxes> {
    Some(Boxes::forward(server, vec![tinyproxy::start()?]))
}

fn tinyproxy_and_squid(server: SocketAddr) -> Option<Boxes> {
    let parent = squid::start()?;
    let first = tinyproxy::start_with_parent(parent.addr())?;
    Some(Boxes::forward(server, vec![first, parent]))
}

fn nginx_alone(server: SocketAddr) -> Option<Boxes> {
    Some(Boxes::reverse(vec![nginx::start(server)?]))
}

fn nginx_with_small_bodies(server: SocketAddr) -> Option<Boxes> {
    let nginx = nginx::start_with(server, "client_max_body_size 96k;")?;
    Some(Boxes {
        largest: Some(96 * 1024),
        ..Boxes::reverse(vec![nginx])
    })
}

fn nginx_with_fresh_connections(server: SocketAddr) -> Option<Boxes> {
    let nginx = nginx::start_with(server, "keepalive_timeout 0;")?;
    Some(Boxes {
        keeps: false,
        ..Boxes::reverse(vec![nginx])
    })
}

fn haproxy_alone(server: SocketAddr) -> Option<Boxes> {
    Some(Boxes::reverse(vec![haproxy::start(server)?]))
}

fn haproxy_and_nginx(server: SocketAddr) -> Option<Boxes> {
    let nginx = nginx::start(server)?;
    let haproxy = haproxy::start(nginx.addr())?;
    Some(Boxes::reverse(vec![haproxy, nginx]))
}

fn squid_and_nginx(server: SocketAddr) -> Option<Boxes> {
    let nginx = nginx::start(server)?;
    let squid = squid::start()?;
    Some(Boxes::forward(nginx.addr(), vec![squid, nginx]))
}

fn lighttpd_alone(server: SocketAddr) -> Option<Boxes> {
    Some(Boxes {
        streams: false,
        ..Boxes::reverse(vec![lighttpd::start(server)?])
    })
}

fn varnish_alone(server: SocketAddr) -> Option<Boxes> {
    Some(Boxes::reverse(vec![varnish::start(server)?]))
}

fn apache_in_front(server: SocketAddr) -> Option<Boxes> {
    Some(Boxes::reverse(vec![apache::start(server)?]))
}

fn apache_as_a_proxy(server: SocketAddr) -> Option<Boxes> {
    Some(Boxes::forward(server, vec![apache::start_forward()?]))
}

fn privoxy_alone(server: SocketAddr) -> Option<Boxes> {
    Some(Boxes::forward(server, vec![privoxy::start()?]))
}

macro_rules! boxes {
    ($($make:ident,)*) => {
        mod threads_to_tasks {
            $(#[test]
            fn $make() {
                crate::play::<crate::Loopback<crate::Blocking, crate::Smol>>(crate::$make);
            })*
        }
        mod tasks_to_threads {
            $(#[test]
            fn $make() {
                crate::play::<crate::Loopback<crate::Smol, crate::Blocking>>(crate::$make);
            })*
        }
        mod probe {
            $(#[test]
            fn $make() {
                crate::bounded(|| crate::is_probed(crate::$make));
            })*
        }
    };
}

boxes! {
    squid_alone,
    squid_with_passwords,
    squid_with_a_parent,
    tinyproxy_alone,
    tinyproxy_and_squid,
    nginx_alone,
    nginx_with_small_bodies,
    nginx_with_fresh_connections,
    haproxy_alone,
    haproxy_and_nginx,
    squid_and_nginx,
    lighttpd_alone,
    varnish_alone,
    apache_in_front,
    apache_as_a_proxy,
    privoxy_alone,
}

fn play<W: World>(make: Make) {
    bounded(move || carries::<W>(make));
}

fn carries<W: World>(make: Make) {
    let listener = listener::<W>();
    let Some(boxes) = make(listener.addr()) else {
        return;
    };
    let how = Dial {
        proxy: boxes.proxy.clone(),
        ..Dial::default()
    };
    let pair = Pair::<W>::at(listener, boxes.addr, how);
    both_ways(&pair, 1, 16 * MIB);
    let (near, far) = pair.stream();
    ping_pong(&near, &far, 100);
    if boxes.streams {
        // It is tried on a session that is used.
        until::<W>(|| {
            ping_pong(&near, &far, 1);
            pair.client.learned().unwrap().streamed
        });
    } else {
        // Longer than a trial takes.
        W::pause(Duration::from_secs(6));
        assert!(!pair.client.learned().unwrap().streamed);
    }
    ping_pong(&near, &far, 100);
    let limit = pair.client.learned().unwrap().limit_up;
    assert_eq!(limit.is_some(), boxes.largest.is_some(), "{limit:?}");
    assert_eq!(pair.client.learned().unwrap().kept, Some(boxes.keeps));
    near.finish().unwrap();
    pair.close();
}

fn is_probed(make: Make) {
    let listener = listener::<Loopback<Blocking, Smol>>();
    let Some(boxes) = make(listener.addr()) else {
        return;
    };
    let server = thread::spawn(move || {
        // Sessions come and go.
        while let Ok(session) = listener.accept() {
            drop(session);
        }
    });
    let (url, proxy) = (format!("http://{}/", boxes.addr), boxes.proxy.as_deref());
    let proxy = proxy.unwrap_or("none");
    let line = ["posthole", "probe", &url, "--proxy", proxy, "--time", "5s"];
    let Command::Probe(args) = Cli::parse_from(line).command else {
        panic!("it is a probe");
    };
    let report = posthole::probe::ask(&args).unwrap();
    let json = report.json();
    let number = |name: &str| -> f64 {
        let rest = json.split(&format!("\"{name}\":")).nth(1).unwrap();
        rest.split([',', '}']).next().unwrap().parse().unwrap()
    };
    assert_eq!(report.why_not(), None, "{json}");
    let largest = boxes.largest.unwrap_or(1_000_000) as f64;
    let found = number("request_bytes");
    assert!((largest / 2.0..=largest).contains(&found), "{json}");
    assert!(number("answer_bytes") >= 1e6, "{json}");
    assert!(number("held_seconds") >= 5.0, "{json}");
    assert!(number("at_once") >= 12.0, "{json}");
    assert!(number("seconds") < 90.0, "{json}");
    let streams = if boxes.streams { "yes" } else { "no" };
    for (name, answer) in [
        ("streaming", streams),
        ("unchanged", "yes"),
        ("doubled", "no"),
    ] {
        let part = format!("\"{name}\":{{\"answer\":\"{answer}\"");
        assert!(json.contains(&part), "{part} in {json}");
    }
    assert_eq!(json.contains("\"bypass\""), boxes.proxy.is_some(), "{json}");
    drop(server);
}
