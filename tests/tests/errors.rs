//! What a person is told of each way a path can fail, and of each way a session can end: docs/errors.md is made of it.
//!
//! `ERRORS=write cargo test -p posthole-tests --test errors` makes the page anew.
#![allow(missing_docs, clippy::unwrap_used)]

use posthole_protocol::http::{ProxyChoice, Trouble, Verdict, Way, verdict};
use posthole_protocol::{
    CloseReason, Failure, OpenError, ReadError, ResetCode, Violation, WriteError,
};
use std::fmt::Write;
use std::time::Duration;

fn way(url: &str, proxy: Option<&str>) -> Way {
    let tag = posthole_protocol::http::Tag::from_bytes([1; 8]);
    let proxy = proxy.map_or(ProxyChoice::None, |p| ProxyChoice::Url(p.to_owned()));
    Way::new(url, tag, proxy, |_| None).unwrap()
}

/// An answer that is not a posthole server's.
fn answered(way: &Way, status: u16, headers: &[(&str, &str)], page: &str) -> Trouble {
    let header = |name: &str| {
        let mut all = headers.iter();
        all.find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| *v)
    };
    match verdict(status, header, 7, page.as_bytes()) {
        Verdict::NotOurs { failure, who } => Trouble::not_ours(way, failure, status, &who),
        Verdict::Ours => panic!("{status} is ours"),
    }
}

/// What happened, and what is said.
fn troubles() -> Vec<(&'static str, Trouble)> {
    let direct = way("http://server.example/in", None);
    let proxied = way(
        "http://server.example/in",
        Some("http://proxy.example:3128"),
    );
    let tunnelled = way(
        "https://server.example/in",
        Some("http://proxy.example:3128"),
    );
    let refused = "Connection refused (os error 111)";
    let squid = [("Server", "squid/5.7"), ("Via", "1.1 box (squid/5.7)")];
    vec![
        (
            "the server's name is unknown",
            Trouble::no_name(&direct, &"no such name"),
        ),
        (
            "the proxy's name is unknown",
            Trouble::no_name(&proxied, &"no such name"),
        ),
        ("a name without an address", Trouble::no_address(&direct)),
        (
            "nobody listens at the server's address",
            Trouble::no_connection(&direct, &"192.0.2.1:80", &refused),
        ),
        (
            "nobody listens at the proxy's address",
            Trouble::no_connection(&proxied, &"192.0.2.9:3128", &refused),
        ),
        (
            "a firewall drops what is sent",
            Trouble::no_connection(&direct, &"192.0.2.1:80", &"no answer within 10 s"),
        ),
        (
            "the proxy closes instead of making a tunnel",
            Trouble::no_tunnel(&tunnelled, &"it hung up"),
        ),
        (
            "the proxy forbids the tunnel",
            Trouble::tunnel_refused(
                &tunnelled,
                Failure::Refused { status: 403 },
                403,
                "Server: squid/5.7",
            ),
        ),
        (
            "the proxy wants a password for the tunnel",
            Trouble::tunnel_refused(&tunnelled, Failure::Credentials, 407, "Server: squid/5.7"),
        ),
        (
            "a certificate nobody here believes",
            Trouble::no_tls(
                &"https://server.example/in",
                &"invalid peer certificate: UnknownIssuer",
            ),
        ),
        (
            "a login page (captive portal)",
            answered(
                &direct,
                200,
                &[("Server", "portal")],
                "<html><title>Hotel: please log in</title>",
            ),
        ),
        (
            "a redirection to one",
            answered(
                &direct,
                302,
                &[("Location", "http://portal.example/login")],
                "",
            ),
        ),
        ("an empty answer", answered(&direct, 200, &[], "")),
        (
            "the answer to another exchange (a cache)",
            answered(
                &direct,
                200,
                &[("Posthole", "1"), ("Posthole-Exchange", "3")],
                "x",
            ),
        ),
        (
            "the server's front wants a password",
            answered(&direct, 401, &[("Server", "nginx")], ""),
        ),
        (
            "the proxy forbids it",
            answered(
                &proxied,
                403,
                &[squid[0], squid[1], ("X-Squid-Error", "ERR_ACCESS_DENIED 0")],
                "",
            ),
        ),
        (
            "there is no such path",
            answered(&direct, 404, &[("Server", "nginx")], ""),
        ),
        (
            "POST is not allowed",
            answered(&direct, 405, &[("Server", "nginx")], ""),
        ),
        (
            "the proxy wants a password",
            answered(&proxied, 407, &squid, ""),
        ),
        (
            "a box lets no body of this size through",
            answered(&direct, 413, &[("Server", "nginx/1.22.1")], ""),
        ),
        (
            "a box's own trouble",
            answered(&direct, 500, &[("Server", "nginx")], ""),
        ),
        (
            "a box reaches no server",
            answered(
                &direct,
                502,
                &[("Server", "nginx")],
                "<html><title>502 Bad Gateway</title>",
            ),
        ),
        (
            "a box has no server to ask",
            answered(&proxied, 503, &squid, ""),
        ),
        (
            "a box has waited long enough",
            answered(&direct, 504, &[("Server", "nginx")], ""),
        ),
        ("an answer without an end", Trouble::too_long(&direct, 200)),
        (
            "no answer at all",
            Trouble::timed_out(&direct, Duration::from_secs(40), true),
        ),
        ("the connection breaks off", Trouble::closed(&proxied, true)),
        (
            "something that does not speak HTTP",
            Trouble::not_http(&direct, &"an invalid status line", true),
        ),
        (
            "this side did not want it any more",
            Trouble::given_up(&direct, true),
        ),
    ]
}

fn ends() -> Vec<(&'static str, CloseReason)> {
    let silence = Duration::from_secs(90);
    vec![
        ("this side closed it", CloseReason::Local),
        (
            "the peer closed it",
            CloseReason::Peer {
                code: 0,
                reason: "done".into(),
            },
        ),
        ("this side gave it up at once", CloseReason::Aborted),
        (
            "no way to the server for too long",
            CloseReason::GaveUp {
                silence,
                exchanges: 12,
            },
        ),
        ("no client for too long", CloseReason::Idle { silence }),
        ("the server was started anew", CloseReason::Gone),
        ("the client was started anew", CloseReason::Replaced),
        (
            "the peer left before all was there",
            CloseReason::Stalled {
                unacknowledged: 4096,
            },
        ),
        (
            "the other side is of another version",
            CloseReason::Version {
                lowest: 2,
                highest: 3,
            },
        ),
    ]
}

fn violations() -> Vec<(&'static str, CloseReason)> {
    [
        Violation::Credit,
        Violation::StreamCount,
        Violation::FinalSize,
        Violation::Offset,
        Violation::Acknowledgement,
        Violation::NotUnderstood,
        Violation::Malformed,
        Violation::Scattered,
    ]
    .map(|it| ("the peer broke a rule", CloseReason::Violation(it)))
    .to_vec()
}

fn streams() -> Vec<(&'static str, String)> {
    let code = ResetCode(7);
    vec![
        (
            "the peer reset the stream",
            ReadError::Reset(code).to_string(),
        ),
        (
            "this side wanted no more of it",
            ReadError::Stopped.to_string(),
        ),
        ("the session ended before it", ReadError::Closed.to_string()),
        ("this side has ended it", WriteError::Finished.to_string()),
        (
            "the peer wants no more of it",
            WriteError::Stopped(code).to_string(),
        ),
        ("the session has ended", WriteError::Closed.to_string()),
        (
            "as many are open as the peer allows",
            OpenError::Full.to_string(),
        ),
        ("none can be opened any more", OpenError::Closed.to_string()),
    ]
}

fn page() -> String {
    let mut page = String::from(
        "# What posthole says when something fails\n\n\
         Made by `ERRORS=write cargo test -p posthole-tests --test errors`; that test sees to it that this page says what the\n\
         program says. Each line names who answered, as far as that shows, and what to do. A session goes on through all of the\n\
         first table's but where it says that it has ended; `connect` says the first of them once, and when it is over.\n\
         [`posthole probe`](../README.md) says more of a way.\n\n\
         ## An exchange came to nothing\n| what happened | what is said |\n| --- | --- |\n",
    );
    for (what, trouble) in troubles() {
        writeln!(page, "| {what} | {trouble} |").unwrap();
    }
    page.push_str("\n## A session has ended\n| what happened | what is said |\n| --- | --- |\n");
    for (what, reason) in ends().into_iter().chain(violations()) {
        writeln!(page, "| {what} | {reason} |").unwrap();
    }
    page.push_str("\n## A stream is of no use\n| what happened | what is said |\n| --- | --- |\n");
    for (what, says) in streams() {
        writeln!(page, "| {what} | {says} |").unwrap();
    }
    page
}

#[test]
fn the_page_says_what_the_program_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors.md");
    let page = page();
    if std::env::var_os("ERRORS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), page);
}

/// Whoever reads one learns where it happened, and what to do about it.
#[test]
fn each_says_where_and_what_to_do() {
    for (what, trouble) in troubles() {
        let says = &trouble.says;
        assert!(
            says.contains("server.example") || says.contains("proxy.example"),
            "{what}: {says}"
        );
        let advice = says.contains('?')
            || says.contains("; ")
            || says.contains(" wants a name and password: ")
            || says.contains(": a box on the way");
        assert!(advice || what.starts_with("this side"), "{what}: {says}");
        assert!(
            says.lines().count() == 1 && says.len() < 300,
            "{what}: {says}"
        );
    }
}
