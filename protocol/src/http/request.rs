//! Which requests a server takes (§9.2), judged by their heads.

use super::{METHOD, Refusal};

/// A request that may be served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taken {
    /// Where its body ends.
    pub framing: Framing,
    /// The client closes the connection afterwards.
    pub close: bool,
    /// The client asks for the connection to stay open, as HTTP/1.0 must.
    pub keep_alive: bool,
}

/// Where a body ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// After so many bytes.
    Length(u64),
    /// Where the last chunk says so, or HTTP/2's last frame; boxes may re-frame what our client sends with a length.
    Chunked,
}

/// The version of HTTP that a request speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// HTTP/1.0, which knows no chunks and closes unless asked not to.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2 and later, where a body needs no length.
    Later,
}

/// Judges a request by its head: `headers` are all of its fields, with names in any case; `path` is ours, compared
/// byte by byte and without the query, or `None` if somebody else has seen to that.
///
/// # Errors
/// What to answer instead.
pub fn take<'h>(
    version: Version,
    method: &str,
    target: &str,
    path: Option<&str>,
    headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
) -> Result<Taken, Refusal> {
    let refuse = |refusal| {
        Err(Refusal {
            to_head: method == "HEAD",
            ..refusal
        })
    };
    if path.is_some() && path_of(target) != path {
        return refuse(Refusal::NOT_HERE);
    }
    if method != METHOD {
        return refuse(Refusal::NOT_POST);
    }
    let fields = Fields::of(headers)?;
    // RFC 9110 §10.1.1: "A server that receives a 100-continue expectation in an HTTP/1.0 request MUST ignore that
    // expectation."
    if fields.expects && version != Version::Http10 {
        return refuse(Refusal::EXPECTS);
    }
    let framing = match (fields.length, fields.chunked, version) {
        (Some(length), false, _) => Framing::Length(length),
        (None, true, Version::Http10) => return refuse(Refusal::OLD_CHUNKS),
        (None, true, Version::Http11 | Version::Later) | (None, false, Version::Later) => {
            Framing::Chunked
        }
        (Some(_), true, _) => return refuse(Refusal::TWO_FRAMINGS),
        (None, false, Version::Http10 | Version::Http11) => return refuse(Refusal::NO_LENGTH),
    };
    Ok(Taken {
        framing,
        close: fields.close,
        keep_alive: fields.keep_alive,
    })
}

/// The path in a target of origin-form or absolute-form (RFC 9112 §3.2), without its query.
pub fn path_of(target: &str) -> Option<&str> {
    let path = if target.starts_with('/') {
        target
    } else {
        let (_, rest) = target.split_once("://")?;
        rest.get(rest.find('/')?..)?
    };
    path.split(['?', '#']).next()
}

/// What the headers say that matters here.
#[derive(Default)]
struct Fields {
    length: Option<u64>,
    chunked: bool,
    expects: bool,
    close: bool,
    keep_alive: bool,
}

impl Fields {
    fn of<'h>(headers: impl IntoIterator<Item = (&'h str, &'h [u8])>) -> Result<Fields, Refusal> {
        let mut fields = Fields::default();
        for (name, value) in headers {
            if name.eq_ignore_ascii_case("content-length") {
                let length = length(value).ok_or(Refusal::BAD_LENGTH)?;
                if fields.length.is_some_and(|other| other != length) {
                    return Err(Refusal::TWO_LENGTHS);
                }
                fields.length = Some(length);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                if fields.chunked {
                    return Err(Refusal::TWO_CODINGS);
                }
                if !value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                    return Err(Refusal::UNKNOWN_CODING);
                }
                fields.chunked = true;
            } else if name.eq_ignore_ascii_case("expect") {
                fields.expects = true;
            } else if name.eq_ignore_ascii_case("connection") {
                for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    fields.close |= option.eq_ignore_ascii_case(b"close");
                    fields.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
        }
        Ok(fields)
    }
}

/// RFC 9110 §8.6: digits and nothing else. What is too large for us to count is too large to be read, and stays so.
fn length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(value.iter().fold(0_u64, |sum, digit| {
        sum.saturating_mul(10)
            .saturating_add(u64::from(digit.saturating_sub(b'0')))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_beyond_counting_is_just_too_large() {
        assert_eq!(length(b"99999999999999999999999999"), Some(u64::MAX));
        assert_eq!(length(b"0100"), Some(100));
    }

    /// RFC 9112 6.1: chunked alone, once, in whatever letters.
    #[test]
    fn one_coding_is_known() {
        let of = |lines: &[&'static str]| {
            let lines = lines
                .iter()
                .map(|line| ("Transfer-Encoding", line.as_bytes()));
            Fields::of(lines).map(|fields| fields.chunked)
        };
        assert_eq!(of(&[]), Ok(false));
        assert_eq!(of(&[" Chunked "]), Ok(true));
        assert_eq!(of(&["gzip"]), Err(Refusal::UNKNOWN_CODING));
        assert_eq!(of(&["gzip, chunked"]), Err(Refusal::UNKNOWN_CODING));
        assert_eq!(of(&["chunked", "chunked"]), Err(Refusal::TWO_CODINGS));
    }

    /// RFC 9110 7.6.1: one name beside another on the line, or on another line.
    #[test]
    fn what_a_connection_is_told_is_not_taken_back() {
        let of = |lines: &[&'static str]| {
            let lines = lines.iter().map(|line| ("connection", line.as_bytes()));
            let fields = Fields::of(lines).unwrap();
            (fields.close, fields.keep_alive)
        };
        assert_eq!(of(&["close, te"]), (true, false));
        assert_eq!(of(&["Keep-Alive", "upgrade"]), (false, true));
        assert_eq!(of(&["te,keep-alive , CLOSE,x"]), (true, true));
        assert_eq!(of(&["closed"]), (false, false));
    }

    #[test]
    fn without_a_path_any_is_taken_and_later_versions_need_no_length() {
        let take = |version, headers: &[(&'static str, &'static [u8])]| {
            super::take(version, METHOD, "/any", None, headers.iter().copied())
                .map(|taken| taken.framing)
        };
        let five: &[(&str, &[u8])] = &[("content-length", b"5")];
        assert_eq!(take(Version::Http11, five), Ok(Framing::Length(5)));
        assert_eq!(take(Version::Later, five), Ok(Framing::Length(5)));
        assert_eq!(take(Version::Later, &[]), Ok(Framing::Chunked));
        assert_eq!(take(Version::Http11, &[]), Err(Refusal::NO_LENGTH));
    }
}
