#![allow(clippy::unwrap_used)]

use super::*;
use alloc::string::ToString;
use proptest::prelude::*;

#[test]
fn server_urls() {
    // Written, host, port, target with an all-zero tag, `Host`, as shown.
    for (text, host, port, target, authority, shown) in [
        ("http://h", "h", 80, "/?0000000000000000", "h", "http://h/"),
        (
            "https://h/",
            "h",
            443,
            "/?0000000000000000",
            "h",
            "https://h/",
        ),
        (
            "HTTPS://H.Example:8443/A/b",
            "h.example",
            8443,
            "/A/b?0000000000000000",
            "h.example:8443",
            "https://h.example:8443/A/b",
        ),
        (
            "h:8080/x",
            "h",
            8080,
            "/x?0000000000000000",
            "h:8080",
            "http://h:8080/x",
        ),
        ("h:80", "h", 80, "/?0000000000000000", "h", "http://h/"),
        (
            "http://h?a=1",
            "h",
            80,
            "/?a=1&0000000000000000",
            "h",
            "http://h/",
        ),
        (
            "http://h/p?a=1&b#frag",
            "h",
            80,
            "/p?a=1&b&0000000000000000",
            "h",
            "http://h/p",
        ),
        (
            "http://h/p?u=http://x",
            "h",
            80,
            "/p?u=http://x&0000000000000000",
            "h",
            "http://h/p",
        ),
        (
            "h/p?u=http://x",
            "h",
            80,
            "/p?u=http://x&0000000000000000",
            "h",
            "http://h/p",
        ),
        (
            "http://[::1]:81/",
            "::1",
            81,
            "/?0000000000000000",
            "[::1]:81",
            "http://[::1]:81/",
        ),
        (
            "http://[2001:DB8:0:0::1]",
            "2001:db8::1",
            80,
            "/?0000000000000000",
            "[2001:db8::1]",
            "http://[2001:db8::1]/",
        ),
        (
            "http://u:p@10.0.0.1:99",
            "10.0.0.1",
            99,
            "/?0000000000000000",
            "10.0.0.1:99",
            "http://10.0.0.1:99/",
        ),
        (
            "http://h:/",
            "h",
            80,
            "/?0000000000000000",
            "h",
            "http://h/",
        ),
    ] {
        let url = Url::parse(text).unwrap();
        assert_eq!((url.host.as_str(), url.port), (host, port), "{text}");
        assert_eq!(url.target(Tag::from_bytes([0; 8])), target, "{text}");
        assert_eq!(url.authority(), authority, "{text}");
        assert_eq!(url.to_string(), shown, "{text}");
    }
    assert_eq!(
        Url::parse("http://u:p@h")
            .unwrap()
            .credentials
            .unwrap()
            .basic(),
        "Basic dTpw"
    );
}

#[test]
fn wrong_server_urls() {
    for (text, error) in [
        ("", UrlError::NoHost),
        ("http://", UrlError::NoHost),
        ("http:///x", UrlError::NoHost),
        ("http://:80/", UrlError::NoHost),
        ("http://u:p@", UrlError::NoHost),
        ("ftp://h", UrlError::Scheme("ftp".into())),
        ("http://h:0", UrlError::Port("0".into())),
        ("http://h:65536", UrlError::Port("65536".into())),
        ("http://h:+80", UrlError::Port("+80".into())),
        ("http://::1/", UrlError::NoHost),
        ("http://[::1", UrlError::Host("[::1".into())),
        ("http://[::1]x", UrlError::Host("[::1]x".into())),
        (
            "http://[fe80::1%25eth0]",
            UrlError::Host("[fe80::1%25eth0]".into()),
        ),
        ("http://a b/", UrlError::Host("a b".into())),
        (
            "http://häuser.example",
            UrlError::Host("häuser.example".into()),
        ),
        ("http://h/a b", UrlError::Character(' ')),
        ("http://h/?q=\r\nX: y", UrlError::Character('\r')),
        ("http://h/é", UrlError::Character('é')),
    ] {
        assert_eq!(Url::parse(text), Err(error), "{text}");
    }
}

#[test]
fn proxy_urls() {
    for (text, shown, basic) in [
        ("p", "http://p:1080", None),
        ("p:3128", "http://p:3128", None),
        ("http://p:3128/", "http://p:3128", None),
        ("https://p", "https://p:443", None),
        ("u:p%40ss@p:3128", "http://p:3128", Some("Basic dTpwQHNz")),
        (
            "http://u:p@ss@p:3128/x?y",
            "http://p:3128",
            Some("Basic dTpwQHNz"),
        ),
        ("[::1]:8080", "http://[::1]:8080", None),
    ] {
        let proxy = Proxy::parse(text).unwrap();
        assert_eq!(proxy.to_string(), shown, "{text}");
        assert_eq!(
            proxy.credentials.map(|c| c.basic()).as_deref(),
            basic,
            "{text}"
        );
    }
    for (text, error) in [
        ("socks5h://p:1080", UrlError::Socks("socks5h".into())),
        ("ftp://p", UrlError::Scheme("ftp".into())),
        ("", UrlError::NoHost),
        ("p:x", UrlError::Port("x".into())),
    ] {
        assert_eq!(Proxy::parse(text), Err(error), "{text}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,40}|[a-z0-9:/@%\\[\\]?#.]{0,30}") {
        if let Ok(url) = Url::parse(&text) {
            let again = Url::parse(&url.to_string()).unwrap();
            prop_assert_eq!((again.host, again.port, again.path), (url.host, url.port, url.path));
        }
        let _ = Proxy::parse(&text);
    }
}
