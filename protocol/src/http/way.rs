//! The way to a server: where it is, through which proxy, and what a request says on that way (§9.1, §9.6).

use super::policy::largest_answer;
use super::{
    Form, Proxy, REQUEST_HEADERS, Scheme, Setting, Tag, Url, UrlError, from_environment, is_token,
};
use alloc::borrow::{Cow, ToOwned};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

/// Through which proxy.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum ProxyChoice {
    /// What the environment says, by curl's rules (`http_proxy`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY` ...).
    #[default]
    FromEnvironment,
    /// None, whatever the environment says.
    None,
    /// This one, whatever the environment says: `http://user:password@host:port`, credentials percent-encoded.
    Url(String),
}

/// Without the URL, which may hold credentials.
impl fmt::Debug for ProxyChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProxyChoice::FromEnvironment => "FromEnvironment",
            ProxyChoice::None => "None",
            ProxyChoice::Url(_) => "Url(..)",
        })
    }
}

/// How a proxy is asked for an http server; for https it is always CONNECT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plain {
    /// By the whole URL in the request line, which every proxy allows.
    #[default]
    Absolute,
    /// By CONNECT, which many proxies allow to port 443 only; behind it the proxy changes nothing.
    Connect,
}

/// What keeps a way from being used at all, found before anything is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WayError {
    /// The server's URL.
    Url(UrlError),
    /// The proxy's URL, and who named it.
    Proxy(UrlError, &'static str),
    /// The file of authorities, or TLS as such, in words: that is the runtime's part of a way.
    Tls(String),
    /// A header's name or value; this is the name.
    Header(String),
}

impl fmt::Display for WayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WayError::Url(why) => write!(f, "the server's URL can't be used: {why}"),
            WayError::Proxy(why, source) => {
                write!(f, "the proxy's URL ({source}) can't be used: {why}")
            }
            WayError::Tls(why) => f.write_str(why),
            WayError::Header(name) => write!(f, "the header {name:?} can't be sent"),
        }
    }
}

impl core::error::Error for WayError {}

/// A server and the way there.
#[derive(Clone, PartialEq, Eq)]
pub struct Way {
    url: Url,
    tag: Tag,
    proxy: Option<Proxy>,
    plain: Plain,
    extra: Vec<(String, String)>,
    largest_answer: usize,
}

impl Way {
    /// The way to the server at `url`, for the session with this tag. `lookup` reads a variable of the environment.
    ///
    /// # Errors
    /// An unusable URL of server or proxy.
    pub fn new(
        url: &str,
        tag: Tag,
        proxy: ProxyChoice,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<Way, WayError> {
        let url = Url::parse(url).map_err(WayError::Url)?;
        let named = match proxy {
            ProxyChoice::None => None,
            ProxyChoice::Url(value) => Some(Setting {
                variable: "as given",
                value,
            }),
            ProxyChoice::FromEnvironment => from_environment(&url, lookup),
        };
        let proxy = named
            .map(|named| {
                Proxy::parse(&named.value).map_err(|why| WayError::Proxy(why, named.variable))
            })
            .transpose()?;
        Ok(Way {
            url,
            tag,
            proxy,
            plain: Plain::default(),
            extra: Vec::new(),
            largest_answer: largest_answer(0),
        })
    }

    /// Sets how a proxy is asked for an http server. Default: [`Plain::Absolute`].
    pub fn plain(mut self, plain: Plain) -> Way {
        self.plain = plain;
        self
    }

    /// Sets how large bodies may be in the session, in bytes ([`Config::body_max`](crate::Config::body_max)), and so
    /// what is read of an answer at most. Default: 1 MiB.
    pub fn body_max(mut self, bytes: usize) -> Way {
        self.largest_answer = largest_answer(bytes);
        self
    }

    /// Adds a header to every request, in place of one that is there and has the same name.
    ///
    /// # Errors
    /// Not a header's name or value (RFC 9110 §5.1, §5.5, printable ASCII only), or one that says how a message is
    /// delimited or sent.
    pub fn header(mut self, name: &str, value: &str) -> Result<Way, WayError> {
        const OURS: [&str; 4] = [
            "Content-Length",
            "Transfer-Encoding",
            "Expect",
            "Connection",
        ];
        let is_value = value
            .bytes()
            .all(|b| matches!(b, b'\t' | b' ') || b.is_ascii_graphic());
        if !is_token(name) || !is_value || OURS.iter().any(|n| n.eq_ignore_ascii_case(name)) {
            return Err(WayError::Header(name.to_owned()));
        }
        self.extra.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        self.extra.push((name.to_owned(), value.to_owned()));
        Ok(self)
    }

    /// Where the server is.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Where the proxy is, if there is one.
    pub fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    /// The largest answer that is read, in bytes.
    pub fn largest_answer(&self) -> usize {
        self.largest_answer
    }

    /// The way in words: `http://host:80/ through proxy http://p:3128`. Never credentials.
    pub fn describe(&self) -> String {
        match &self.proxy {
            None => self.url.to_string(),
            Some(proxy) => format!("{} through proxy {proxy}", self.url),
        }
    }

    /// The end of the TCP connection: name and port of the proxy or, without one, the server.
    pub fn first_hop(&self) -> (&str, u16) {
        match &self.proxy {
            None => (&self.url.host, self.url.port),
            Some(proxy) => (&proxy.host, proxy.port),
        }
    }

    /// Who is there, in words.
    pub fn first_hop_name(&self) -> String {
        match &self.proxy {
            None => format!("server {}", self.url.host_and_port()),
            Some(proxy) => format!("proxy {}", proxy.host_and_port()),
        }
    }

    /// Whether TLS is spoken with the proxy.
    pub fn has_tls_to_proxy(&self) -> bool {
        self.proxy
            .as_ref()
            .is_some_and(|p| p.scheme == Scheme::Https)
    }

    /// Whether TLS is spoken with the server.
    pub fn has_tls_to_server(&self) -> bool {
        self.url.scheme == Scheme::Https
    }

    /// Whether TLS is spoken with either.
    pub fn has_tls(&self) -> bool {
        self.has_tls_to_proxy() || self.has_tls_to_server()
    }

    /// Whether a CONNECT comes before the requests.
    pub fn is_tunnelled(&self) -> bool {
        self.proxy.is_some() && (self.has_tls_to_server() || self.plain == Plain::Connect)
    }

    /// What stands before the path in the request line: nothing, or scheme and authority for a proxy
    /// (RFC 9112 §3.2.2).
    pub fn absolute_prefix(&self) -> String {
        if self.proxy.is_some() && !self.is_tunnelled() {
            format!("{}://{}", self.url.scheme.as_str(), self.url.authority())
        } else {
            String::new()
        }
    }

    /// The request target in origin form (RFC 9112 §3.2.1).
    pub fn origin_form(&self) -> String {
        self.url.target(self.tag)
    }

    /// The request target, in the form that the first hop wants.
    pub fn target(&self) -> String {
        let mut target = self.absolute_prefix();
        target.push_str(&self.origin_form());
        target
    }

    /// What stands around bodies that go as a form's file.
    pub fn form(&self) -> Form {
        Form::new(self.tag)
    }

    /// `Proxy-Authorization`, if the proxy's URL has credentials. A secret.
    pub fn proxy_authorization(&self) -> Option<String> {
        self.proxy.as_ref()?.credentials.as_ref().map(|c| c.basic())
    }

    /// Every header of every request but the body's length, names and values, in the order in which they are sent.
    /// May hold secrets.
    pub fn headers(&self) -> Vec<(Cow<'static, str>, String)> {
        // RFC 9110 §7.2: "A user agent SHOULD generate Host as the first field in the header section".
        let mut headers = Vec::from([(Cow::Borrowed("Host"), self.url.authority())]);
        let mut add = |name: &'static str, value: String| headers.push((name.into(), value));
        for (name, value) in REQUEST_HEADERS {
            add(name, value.to_owned());
        }
        add("User-Agent", USER_AGENT.to_owned());
        add("Accept", "*/*".to_owned());
        // Nothing of ours gets smaller; what is compressed on the way would be unreadable.
        add("Accept-Encoding", "identity".to_owned());
        if let Some(credentials) = &self.url.credentials {
            add("Authorization", credentials.basic());
        }
        if let Some(value) = self.proxy_authorization().filter(|_| !self.is_tunnelled()) {
            add("Proxy-Authorization", value);
        }
        for (name, value) in &self.extra {
            let known = headers
                .iter_mut()
                .find(|(n, _)| n.eq_ignore_ascii_case(name));
            match known {
                Some((_, old)) => old.clone_from(value),
                None => headers.push((name.clone().into(), value.clone())),
            }
        }
        headers
    }
}

/// As [`Way::describe`]: queries and headers may hold secrets.
impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Way({})", self.describe())
    }
}

const USER_AGENT: &str = concat!("posthole/", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn way(url: &str, proxy: &str) -> Way {
        let choice = if proxy.is_empty() {
            ProxyChoice::None
        } else {
            ProxyChoice::Url(proxy.to_owned())
        };
        let nothing = |_: &str| -> Option<String> { panic!("the environment is not asked") };
        Way::new(url, Tag::from_bytes([0xab; 8]), choice, nothing).unwrap()
    }

    fn value(way: &Way, name: &str) -> Option<String> {
        let headers = way.headers();
        let mut found = headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, v)| v.clone());
        assert!(found.next().is_none(), "{name} comes twice");
        value
    }

    #[test]
    fn a_choice_is_printed_without_its_secrets() {
        let named = ProxyChoice::Url("http://me:secret@proxy/".to_owned());
        assert_eq!(format!("{named:?}"), "Url(..)");
        let others = [ProxyChoice::FromEnvironment, ProxyChoice::None];
        assert_eq!(format!("{others:?}"), "[FromEnvironment, None]");
    }

    #[test]
    fn tls_with_either_is_tls() {
        for (url, proxy, is) in [
            ("http://server/", "", false),
            ("https://server/", "", true),
            ("http://server/", "http://proxy/", false),
            ("http://server/", "https://proxy/", true),
            ("https://server/", "http://proxy/", true),
        ] {
            assert_eq!(way(url, proxy).has_tls(), is, "{url} {proxy}");
        }
    }

    #[test]
    fn straight_through_a_proxy_and_through_a_tunnel() {
        let straight = way("http://Server:8080/in?key=1", "");
        assert_eq!(straight.first_hop(), ("server", 8080));
        assert_eq!(straight.first_hop_name(), "server server:8080");
        assert_eq!(straight.target(), "/in?key=1&abababababababab");
        assert!(!straight.is_tunnelled() && !straight.has_tls_to_server());

        let absolute = way("http://server/in", "http://proxy:3128");
        assert_eq!(absolute.first_hop(), ("proxy", 3128));
        assert_eq!(absolute.first_hop_name(), "proxy proxy:3128");
        assert_eq!(absolute.target(), "http://server/in?abababababababab");
        assert!(!absolute.is_tunnelled());

        for tunnelled in [
            way("http://server/in", "http://proxy:3128").plain(Plain::Connect),
            way("https://server/in", "https://proxy"),
        ] {
            assert_eq!(tunnelled.target(), "/in?abababababababab");
            assert!(tunnelled.is_tunnelled());
            assert_eq!(
                tunnelled.has_tls_to_proxy(),
                tunnelled.has_tls_to_server(),
                "both or none"
            );
        }
    }

    #[test]
    fn the_headers_in_their_order() {
        let way = way("http://server:81/", "")
            .header("X-Extra", "a b")
            .unwrap();
        let agent = USER_AGENT.to_owned();
        let expected = [
            ("Host", "server:81"),
            ("Content-Type", "application/octet-stream"),
            ("Cache-Control", "no-store, no-transform"),
            ("User-Agent", &agent),
            ("Accept", "*/*"),
            ("Accept-Encoding", "identity"),
            ("X-Extra", "a b"),
        ]
        .map(|(name, value)| (Cow::from(name), value.to_owned()));
        assert_eq!(way.headers(), expected);
    }

    #[test]
    fn credentials_go_to_whom_they_are_for() {
        let url = "http://user:word@server/";
        let proxy = "http://user:p%40ss@proxy";
        let basic = |text: &str| Some(format!("Basic {text}"));
        let absolute = way(url, proxy);
        assert_eq!(value(&absolute, "Authorization"), basic("dXNlcjp3b3Jk"));
        assert_eq!(
            value(&absolute, "Proxy-Authorization"),
            basic("dXNlcjpwQHNz")
        );
        let tunnelled = way(url, proxy).plain(Plain::Connect);
        assert_eq!(value(&tunnelled, "Authorization"), basic("dXNlcjp3b3Jk"));
        assert_eq!(value(&tunnelled, "Proxy-Authorization"), None);
        for shown in [
            format!("{tunnelled:?}"),
            tunnelled.describe(),
            format!("{:?}", ProxyChoice::Url(proxy.to_owned())),
        ] {
            assert!(
                !shown.contains("word") && !shown.contains("p%40ss"),
                "{shown}"
            );
        }
    }

    #[test]
    fn a_header_replaces_and_is_replaced() {
        let way = way("http://h", "")
            .header("cache-control", "no-store")
            .and_then(|w| w.header("x", "1"))
            .and_then(|w| w.header("X", "2"))
            .unwrap();
        assert_eq!(value(&way, "Cache-Control").unwrap(), "no-store");
        assert_eq!(value(&way, "x").unwrap(), "2");
    }

    #[test]
    fn what_is_no_header_or_not_the_users_to_set() {
        for (name, value) in [
            ("", "1"),
            ("not a name", "1"),
            ("X:", "1"),
            ("X", "1\r\nY: 2"),
            ("X", "\u{e9}"),
            ("X", "\u{7f}"),
            ("content-LENGTH", "1"),
            ("Transfer-Encoding", "chunked"),
            ("Expect", "100-continue"),
            ("connection", "close"),
        ] {
            let error = way("http://h", "").header(name, value).unwrap_err();
            assert_eq!(error, WayError::Header(name.to_owned()));
        }
        assert!(way("http://h", "").header("X", "a\tb ~").is_ok());
    }

    #[test]
    fn what_is_wrong_says_who_said_it() {
        let tag = Tag::from_bytes([0; 8]);
        let socks = |name: &str| (name == "http_proxy").then(|| "socks5://p".to_owned());
        for (url, choice, words) in [
            ("ftp://h", ProxyChoice::None, "the server's URL can't be"),
            ("http://h", ProxyChoice::FromEnvironment, "(http_proxy)"),
            (
                "http://h",
                ProxyChoice::Url("x://p".to_owned()),
                "(as given)",
            ),
        ] {
            let error = Way::new(url, tag, choice, socks).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
        let https = Way::new("https://h", tag, ProxyChoice::FromEnvironment, socks).unwrap();
        assert!(https.proxy().is_none());
    }
}
