//! Whose answer is this? (PROTOCOL §9.4)

use super::{EXCHANGE, MAGIC, MARKER};
use crate::error::Failure;
use alloc::format;
use alloc::string::{String, ToString};

/// Who answered a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Our server, as far as can be seen from outside; the bundles' check decides.
    Ours,
    /// Something on the way.
    NotOurs {
        /// What the core should take it for.
        failure: Failure,
        /// What it says about itself, for a person: `Server`, `Via`, Squid's error, a page's title or a text's first
        /// line. Printable, at most a few hundred characters; empty if it says nothing.
        who: String,
    },
}

/// Judges an answer by its status, its headers (`header` finds a value by name, whatever the case), and the first
/// bytes of its body: all that there is of it, or at least one byte; for what it says to people some hundred.
///
/// An answer is ours only with status 200, a body, the marker or our magic, and no other exchange's number. Any
/// status can come from a box, and no box was ever seen to send our marker (§9.4).
pub fn verdict<'h>(
    status: u16,
    header: impl Fn(&str) -> Option<&'h str>,
    exchange: u64,
    first: &[u8],
) -> Verdict {
    let marked = header(MARKER.0).map(str::trim) == Some(MARKER.1) || first.first() == Some(&MAGIC);
    let (failure, note) = match status {
        200 if first.is_empty() => (
            Failure::Middlebox { status },
            Some("an empty answer".to_string()),
        ),
        200 if marked => match header(EXCHANGE)
            .map(str::trim)
            .filter(|n| *n != exchange.to_string())
        {
            None => return Verdict::Ours,
            Some(other) => (
                Failure::Middlebox { status },
                Some(format!("the answer to exchange {}", printable(other))),
            ),
        },
        407 => (Failure::Credentials, None),
        413 => (Failure::TooLarge, None),
        401 | 403 | 404 | 405 | 410 => (Failure::Refused { status }, None),
        _ => (Failure::Middlebox { status }, None),
    };
    // What is ours has no words for people.
    let words = title(first).or_else(|| line(first).filter(|_| note.is_none()));
    let said = [
        note,
        header("Server").map(|v| format!("Server: {}", printable(v))),
        header("Via").map(|v| format!("Via: {}", printable(v))),
        header("X-Squid-Error").map(|v| format!("X-Squid-Error: {}", printable(v))),
        header("Location").map(|v| format!("Location: {}", printable(v))),
        words.map(|t| format!("\"{t}\"")),
    ];
    let mut who = String::new();
    for fact in said.into_iter().flatten() {
        if !who.is_empty() {
            who.push_str(", ");
        }
        who.push_str(&fact);
    }
    Verdict::NotOurs { failure, who }
}

/// The title of an HTML page, if it stands in these bytes.
fn title(page: &[u8]) -> Option<String> {
    let page = String::from_utf8_lossy(page);
    let lower = page.to_ascii_lowercase();
    let begin = lower.find("<title")?;
    let open = lower.get(begin..)?.find('>')?;
    let begin = begin.checked_add(open)?.checked_add(1)?;
    let length = lower.get(begin..)?.find("</title")?;
    // ASCII lower case keeps every byte in its place, so places in one are places in the other.
    let title = printable(page.get(begin..begin.checked_add(length)?)?);
    Some(title).filter(|t| !t.is_empty())
}

/// The first line, if these bytes are text and no page.
fn line(body: &[u8]) -> Option<String> {
    let text = match core::str::from_utf8(body) {
        Ok(text) => text,
        // They may end within a character.
        Err(error) if error.error_len().is_none() => {
            core::str::from_utf8(body.get(..error.valid_up_to())?).ok()?
        }
        Err(_) => return None,
    };
    let is_odd = |c: char| c.is_control() && !c.is_whitespace();
    let text = text.trim_start();
    let is_page = text.starts_with('<');
    let line = printable(text.lines().next()?);
    Some(line).filter(|line| !is_page && !text.contains(is_odd) && !line.is_empty())
}

/// At most 80 characters, blanks of all kinds as single spaces, nothing that moves a terminal's cursor.
fn printable(text: &str) -> String {
    let mut out = String::new();
    for word in text.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.extend(word.chars().filter(|c| !c.is_control()));
    }
    out.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn judge(status: u16, headers: &[(&str, &str)], first: &[u8]) -> Verdict {
        let header = |name: &str| {
            headers
                .iter()
                .find(|(n, _)| n.eq_ignore_ascii_case(name))
                .map(|(_, v)| *v)
        };
        verdict(status, header, 7, first)
    }

    #[test]
    fn ours() {
        assert_eq!(
            judge(
                200,
                &[("posthole", "1"), ("Posthole-Exchange", "7")],
                &[MAGIC]
            ),
            Verdict::Ours
        );
        // A box that strips unknown headers, and one that was not quite transparent: the check decides.
        assert_eq!(judge(200, &[], &[MAGIC, 1]), Verdict::Ours);
        assert_eq!(
            judge(
                200,
                &[("Posthole", " 1 "), ("Posthole-Exchange", " 7")],
                b"x"
            ),
            Verdict::Ours
        );
    }

    #[test]
    fn everything_else_and_what_it_is_taken_for() {
        let ours: &[(&str, &str)] = &[("Posthole", "1"), ("Posthole-Exchange", "7")];
        for (status, headers, first, expected) in [
            (200, ours, &b""[..], Failure::Middlebox { status: 200 }),
            (200, &[], b"<html>", Failure::Middlebox { status: 200 }),
            (
                200,
                &[("Posthole", "2")],
                b"x",
                Failure::Middlebox { status: 200 },
            ),
            (
                200,
                &[("Posthole", "1"), ("Posthole-Exchange", "8")],
                b"\xf8",
                Failure::Middlebox { status: 200 },
            ),
            (
                200,
                &[("Posthole-Exchange", "")],
                b"\xf8",
                Failure::Middlebox { status: 200 },
            ),
            (204, ours, b"", Failure::Middlebox { status: 204 }),
            (206, ours, b"\xf8", Failure::Middlebox { status: 206 }),
            (302, ours, b"\xf8", Failure::Middlebox { status: 302 }),
            (401, ours, b"\xf8", Failure::Refused { status: 401 }),
            (403, &[], b"", Failure::Refused { status: 403 }),
            (404, &[], b"", Failure::Refused { status: 404 }),
            (405, &[], b"", Failure::Refused { status: 405 }),
            (410, &[], b"", Failure::Refused { status: 410 }),
            (407, &[], b"", Failure::Credentials),
            (408, &[], b"", Failure::Middlebox { status: 408 }),
            (413, &[], b"", Failure::TooLarge),
            (500, &[], b"", Failure::Middlebox { status: 500 }),
            (502, &[], b"", Failure::Middlebox { status: 502 }),
            (0, &[], b"", Failure::Middlebox { status: 0 }),
            (999, &[], b"", Failure::Middlebox { status: 999 }),
        ] {
            let Verdict::NotOurs { failure, .. } = judge(status, headers, first) else {
                panic!("{status} {headers:?} was taken for ours")
            };
            assert_eq!(failure, expected, "{status} {headers:?}");
        }
    }

    #[test]
    fn who_it_was() {
        let who =
            |status, headers: &[(&str, &str)], first: &[u8]| match judge(status, headers, first) {
                Verdict::NotOurs { who, .. } => who,
                Verdict::Ours => panic!(),
            };
        assert_eq!(
            who(
                403,
                &[
                    ("Server", "squid/5.7"),
                    ("Via", "1.1 gw (squid/5.7)"),
                    ("X-Squid-Error", "ERR_ACCESS_DENIED 0")
                ],
                b"<html><head>\n<TITLE lang=en>ERROR:\n The requested   URL</title>"
            ),
            "Server: squid/5.7, Via: 1.1 gw (squid/5.7), X-Squid-Error: ERR_ACCESS_DENIED 0, \
             \"ERROR: The requested URL\""
        );
        assert_eq!(who(200, &[], b""), "an empty answer");
        assert_eq!(
            who(200, &[("Posthole", "1"), ("Posthole-Exchange", "9")], b"x"),
            "the answer to exchange 9"
        );
        assert_eq!(
            who(502, &[("Server", "a\x1b[31m\x07")], b"<title></title>"),
            "Server: a[31m"
        );
        assert_eq!(who(502, &[("Server", &"x".repeat(500))], b"").len(), 88);
        assert_eq!(
            who(502, &[], "<title>\u{212a}İ é</TITLE>".as_bytes()),
            "\"\u{212a}İ é\""
        );
        assert_eq!(who(502, &[], b"<title>\xff\xfe cut"), "");
    }

    #[test]
    fn what_it_says_in_plain_words() {
        let who = |first: &[u8]| match judge(400, &[], first) {
            Verdict::NotOurs { who, .. } => who,
            Verdict::Ours => panic!(),
        };
        let tls = "Client sent an HTTP request to an HTTPS server.";
        assert_eq!(
            who(format!("\r\n {tls}\nmore").as_bytes()),
            format!("\"{tls}\"")
        );
        assert_eq!(
            who(br#"{"message":"Forbidden"}"#),
            r#""{"message":"Forbidden"}""#
        );
        assert_eq!(
            who("cut in an \u{e9}".as_bytes().split_last().unwrap().1),
            "\"cut in an\""
        );
        for silent in [
            &b""[..],
            b" \r\n",
            b"a\x1b[31m",
            b"\xf8\x01",
            b"no\xfftext",
            b"<p>a page",
        ] {
            assert_eq!(who(silent), "", "{silent:?}");
        }
    }
}
