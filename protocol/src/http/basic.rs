//! User name and password in a URL, and how they travel (RFC 7617).

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// A user name and a password. Never shown: `Debug` says only that they are there.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `user:password`, percent-decoded.
    joined: Vec<u8>,
}

impl Credentials {
    /// Credentials from a URL's userinfo, where reserved characters are percent-encoded (RFC 3986 §3.2.1). A
    /// missing password is an empty one; a `%` that begins no two digits stands for itself, as with curl.
    pub(super) fn from_userinfo(userinfo: &str) -> Credentials {
        let mut joined = Vec::with_capacity(userinfo.len().saturating_add(1));
        match userinfo.split_once(':') {
            Some((user, password)) => {
                percent_decode(user, &mut joined);
                joined.push(b':');
                percent_decode(password, &mut joined);
            }
            None => {
                percent_decode(userinfo, &mut joined);
                joined.push(b':');
            }
        }
        Credentials { joined }
    }

    /// The value of an `Authorization` or `Proxy-Authorization` header. A secret.
    pub fn basic(&self) -> String {
        let mut value = String::from("Basic ");
        base64(&self.joined, &mut value);
        value
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

fn percent_decode(text: &str, out: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let decoded = match (byte, tail) {
            (b'%', [high, low, after @ ..]) => digit(*high)
                .zip(digit(*low))
                .map(|(h, l)| (h << 4 | l, after)),
            _ => None,
        };
        let (byte, tail) = decoded.unwrap_or((byte, tail));
        out.push(byte);
        rest = tail;
    }
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|d| u8::try_from(d).ok())
}

/// RFC 4648 §4, with padding.
fn base64(bytes: &[u8], out: &mut String) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in bytes.chunks(3) {
        let byte = |i: usize| u32::from(group.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (i, shift) in [18u32, 12, 6, 0].into_iter().enumerate() {
            let symbol = ALPHABET.get(((bits >> shift) & 63) as usize);
            let symbol = if i <= group.len() { symbol } else { None };
            out.push(char::from(*symbol.unwrap_or(&b'=')));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use alloc::format;

    #[test]
    fn base64_of_rfc_4648_section_10() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            let mut out = String::new();
            base64(plain.as_bytes(), &mut out);
            assert_eq!(out, coded);
        }
    }

    #[test]
    fn credentials_are_decoded_once_and_never_shown() {
        for (userinfo, joined) in [
            ("Aladdin:open%20sesame", "Aladdin:open sesame"),
            ("user", "user:"),
            ("a%3ab:c%25d%2", "a:b:c%d%2"),
            (":", ":"),
            ("u:p:q", "u:p:q"),
            ("100%:x%zz", "100%:x%zz"),
        ] {
            assert_eq!(
                Credentials::from_userinfo(userinfo).joined,
                joined.as_bytes(),
                "{userinfo}"
            );
        }
        let secret = Credentials::from_userinfo("Aladdin:open%20sesame");
        assert_eq!(secret.basic(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(format!("{secret:?}"), "Credentials(..)");
    }
}
