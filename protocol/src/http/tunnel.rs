//! Asking a proxy for a tunnel to the server (RFC 9110 §9.3.6): what to send, and what the answer says.

use super::{Trouble, Verdict, Way, verdict};
use alloc::format;
use alloc::string::String;
use core::str;

/// The largest head of an answer to CONNECT, in bytes.
const LARGEST: usize = 16 * 1024;

/// What every answer begins with (RFC 9112 §4).
const BEGINNING: &[u8] = b"HTTP/1.";

impl Way {
    /// The request for a tunnel, whole. May hold secrets.
    pub fn tunnel_request(&self) -> String {
        let place = self.url().host_and_port();
        let mut request = format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n");
        if let Some(credentials) = self.proxy_authorization() {
            request.push_str(&format!("Proxy-Authorization: {credentials}\r\n"));
        }
        request.push_str("\r\n");
        request
    }

    /// Reads what the proxy has answered so far: how many bytes the whole answer is, after which the tunnel begins,
    /// or `None` if more of it is to come.
    ///
    /// # Errors
    /// There will be no tunnel.
    pub fn tunnel_answer(&self, input: &[u8]) -> Result<Option<usize>, Trouble> {
        let Head {
            status,
            headers,
            rest,
        } = match Head::split(input) {
            Ok(Some(head)) => head,
            Ok(None) if input.len() > LARGEST => {
                return Err(Trouble::no_tunnel(self, &"its answer is too long"));
            }
            Ok(None) => return Ok(None),
            Err(NotHttp) => return Err(Trouble::no_tunnel(self, &"its answer is not HTTP")),
        };
        if (200..300).contains(&status) {
            return Ok(Some(input.len().saturating_sub(rest.len())));
        }
        let header = |name: &str| {
            lines(headers)
                .take_while(|(line, _)| !line.is_empty())
                .filter_map(|(line, _)| str::from_utf8(line).ok()?.split_once(':'))
                .find(|(n, _)| n.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.trim())
        };
        Err(match verdict(status, header, 0, rest) {
            Verdict::NotOurs { failure, who } => {
                Trouble::tunnel_refused(self, failure, status, &who)
            }
            Verdict::Ours => Trouble::no_tunnel(self, &"it answered in our place"),
        })
    }
}

struct NotHttp;

struct Head<'a> {
    status: u16,
    /// The header lines and all that follows.
    headers: &'a [u8],
    /// What follows the empty line.
    rest: &'a [u8],
}

impl Head<'_> {
    /// `None` if its end is not there yet.
    fn split(input: &[u8]) -> Result<Option<Head<'_>>, NotHttp> {
        if !input.iter().zip(BEGINNING).all(|(a, b)| a == b) {
            return Err(NotHttp);
        }
        let mut all = lines(input);
        let Some((first, headers)) = all.next() else {
            return Ok(None);
        };
        let status = first
            .strip_prefix(BEGINNING)
            .and_then(|rest| str::from_utf8(rest).ok()?.split(' ').nth(1))
            .filter(|digits| digits.len() == 3)
            .and_then(|digits| digits.parse().ok())
            .ok_or(NotHttp)?;
        let end = all.find(|(line, _)| line.is_empty());
        Ok(end.map(|(_, rest)| Head {
            status,
            headers,
            rest,
        }))
    }
}

/// Each whole line, without its end, and all that comes after it.
fn lines(input: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = input;
    core::iter::from_fn(move || {
        let end = rest.iter().position(|b| *b == b'\n')?;
        let (line, after) = rest.split_at_checked(end)?;
        rest = after.get(1..)?;
        Some((line.strip_suffix(b"\r").unwrap_or(line), rest))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::super::{ProxyChoice, Tag};
    use super::*;
    use crate::error::Failure;
    use alloc::borrow::ToOwned;
    use alloc::vec;

    fn way(proxy: &str) -> Way {
        let proxy = ProxyChoice::Url(proxy.to_owned());
        let url = "https://other:word@[2001:db8::1]/in";
        Way::new(url, Tag::from_bytes([1; 8]), proxy, |_| None).unwrap()
    }

    #[test]
    fn the_request() {
        assert_eq!(
            way("http://user:pass@p").tunnel_request(),
            "CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\
             Proxy-Authorization: Basic dXNlcjpwYXNz\r\n\r\n"
        );
        assert_eq!(
            way("http://p").tunnel_request(),
            "CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\r\n"
        );
    }

    #[test]
    fn a_tunnel_begins_where_the_answer_ends() {
        for answer in [
            &b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n"[..],
            b"HTTP/1.0 200\r\n\r\n",
            b"HTTP/1.1 299 \nno colon\nX: \xff\n\n",
        ] {
            for cut in 0..answer.len() {
                assert_eq!(way("p").tunnel_answer(&answer[..cut]), Ok(None), "{cut}");
            }
            let more = [answer, b"more"].concat();
            assert_eq!(way("p").tunnel_answer(&more), Ok(Some(answer.len())));
        }
    }

    #[test]
    fn a_refusal_says_who_refused() {
        let answer = b"HTTP/1.1 403 Forbidden\r\nserver:squid/5.7\r\n\r\n<title>No</title>";
        let trouble = way("p").tunnel_answer(answer).unwrap_err();
        assert_eq!(trouble.failure, Failure::Refused { status: 403 });
        assert!(!trouble.reached);
        assert!(
            trouble.says.contains("403 (Server: squid/5.7, \"No\")"),
            "{}",
            trouble.says
        );
        let answer = b"HTTP/1.1 407 x\r\n\r\n";
        let trouble = way("p").tunnel_answer(answer).unwrap_err();
        assert_eq!(trouble.failure, Failure::Credentials);
    }

    #[test]
    fn what_is_no_answer() {
        let endless = [b"HTTP/1.1 200 OK\r\n".to_vec(), vec![b'x'; LARGEST]].concat();
        for (input, words) in [
            (&b"SSH-2.0"[..], "not HTTP"),
            (b"S", "not HTTP"),
            (b"HTTP/1.1 OK\r\n", "not HTTP"),
            (b"HTTP/1.1 2000 OK\r\n", "not HTTP"),
            (b"HTTP/1.1\r\n", "not HTTP"),
            (b"HTTP/2 200\r\n\r\n", "not HTTP"),
            (&endless, "too long"),
        ] {
            let trouble = way("p").tunnel_answer(input).unwrap_err();
            assert_eq!(trouble.failure, Failure::Connect);
            assert!(trouble.says.contains(words), "{}", trouble.says);
        }
    }

    #[test]
    fn an_answer_without_an_end_is_not_read_for_long() {
        let endless = [b"HTTP/1.1 200 OK\r\n".to_vec(), vec![b'x'; 20_000]].concat();
        assert_eq!(way("p").tunnel_answer(&endless[..10_000]), Ok(None));
        assert!(way("p").tunnel_answer(&endless).is_err());
    }
}
