//! Where the server is and by which way: read once, before anything is sent.

use posthole_protocol::http::{
    Proxy, REQUEST_HEADERS, Scheme, Tag, Url, UrlError, from_environment,
};
use std::fmt;
use std::path::PathBuf;
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};

/// Through which proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ProxyChoice {
    /// What the environment says, by curl's rules (`http_proxy`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY` ...).
    #[default]
    FromEnvironment,
    /// None, whatever the environment says.
    None,
    /// This one, whatever the environment says: `http://user:password@host:port`, credentials percent-encoded.
    Url(String),
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

/// Whom to believe in TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TlsChoice {
    /// Whom the operating system believes.
    #[default]
    Platform,
    /// The authorities in this PEM file only; for instance that of a proxy that opens TLS.
    CaFile(PathBuf),
}

/// What keeps a target from being used at all, found before anything is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectError {
    /// The server's URL.
    Url(UrlError),
    /// The proxy's URL, and who named it.
    Proxy(UrlError, &'static str),
    /// The file of authorities, or TLS as such.
    Tls(String),
    /// A header's name or value.
    Header(String),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::Url(why) => write!(f, "the server's URL can't be used: {why}"),
            ConnectError::Proxy(why, source) => {
                write!(f, "the proxy's URL ({source}) can't be used: {why}")
            }
            ConnectError::Tls(why) => f.write_str(why),
            ConnectError::Header(name) => write!(f, "the header {name:?} can't be sent"),
        }
    }
}

impl std::error::Error for ConnectError {}

/// A server and the way there. Made once, shared by its lanes.
pub struct Target {
    pub(super) url: Url,
    pub(super) uri: Uri,
    pub(super) proxy: Option<Proxy>,
    #[cfg(feature = "tls")]
    pub(super) tls: ureq::tls::TlsConfig,
    /// Shared, so that the authorities are read once and sessions are resumed by any lane.
    #[cfg(feature = "tls")]
    pub(super) tls_connector: ureq::unversioned::transport::RustlsConnector,
    plain: Plain,
    extra: HeaderMap,
}

impl Target {
    /// The target at this URL, for the session with this tag.
    ///
    /// # Errors
    /// An unusable URL of server or proxy, an unreadable file of authorities, or https without the feature `tls`.
    pub fn new(
        url: &str,
        tag: Tag,
        proxy: ProxyChoice,
        tls: TlsChoice,
    ) -> Result<Target, ConnectError> {
        let url = Url::parse(url).map_err(ConnectError::Url)?;
        let proxy = match proxy {
            ProxyChoice::None => None,
            ProxyChoice::Url(text) => {
                Some(Proxy::parse(&text).map_err(|why| ConnectError::Proxy(why, "as given"))?)
            }
            ProxyChoice::FromEnvironment => from_environment(&url, |name| std::env::var(name).ok())
                .map(|named| {
                    Proxy::parse(&named.value)
                        .map_err(|why| ConnectError::Proxy(why, named.variable))
                })
                .transpose()?,
        };
        let uri = Uri::builder()
            .scheme(url.scheme.as_str())
            .authority(url.authority())
            .path_and_query(url.target(tag))
            .build()
            .map_err(|_| ConnectError::Url(UrlError::Host(url.host.clone())))?;
        let has_tls =
            [Some(url.scheme), proxy.as_ref().map(|p| p.scheme)].contains(&Some(Scheme::Https));
        Ok(Target {
            #[cfg(feature = "tls")]
            tls: tls_config(tls, has_tls)?,
            #[cfg(feature = "tls")]
            tls_connector: Default::default(),
            #[cfg(not(feature = "tls"))]
            plain: refuse_tls(tls, has_tls)?,
            #[cfg(feature = "tls")]
            plain: Plain::default(),
            url,
            uri,
            proxy,
            extra: HeaderMap::new(),
        })
    }

    /// Sets how a proxy is asked for an http server. Default: [`Plain::Absolute`].
    pub fn plain(mut self, plain: Plain) -> Target {
        self.plain = plain;
        self
    }

    /// Adds a header to every request, in place of one of ours that has the same name.
    ///
    /// # Errors
    /// Not a header's name or value, or one that says how long a message is.
    pub fn header(mut self, name: &str, value: &str) -> Result<Target, ConnectError> {
        let wrong = || ConnectError::Header(name.to_owned());
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        if [
            header::CONTENT_LENGTH,
            header::TRANSFER_ENCODING,
            header::EXPECT,
            header::CONNECTION,
        ]
        .contains(&parsed)
        {
            return Err(wrong());
        }
        self.extra
            .insert(parsed, HeaderValue::from_str(value).map_err(|_| wrong())?);
        Ok(self)
    }

    /// The way in words: `http://host:80/ through proxy http://p:3128`. Never credentials.
    pub fn describe(&self) -> String {
        match &self.proxy {
            None => self.url.to_string(),
            Some(proxy) => format!("{} through proxy {proxy}", self.url),
        }
    }

    /// The end of the TCP connection: name and port of the proxy or, without one, the server.
    pub(super) fn first_hop(&self) -> (&str, u16) {
        match &self.proxy {
            None => (&self.url.host, self.url.port),
            Some(proxy) => (&proxy.host, proxy.port),
        }
    }

    /// Who is there, in words.
    pub(super) fn first_hop_name(&self) -> String {
        match &self.proxy {
            None => format!("server {}", self.url.host_and_port()),
            Some(proxy) => format!("proxy {}", proxy.host_and_port()),
        }
    }

    /// Whether a CONNECT comes before the requests.
    pub(super) fn is_tunnelled(&self) -> bool {
        self.proxy.is_some() && (self.url.scheme == Scheme::Https || self.plain == Plain::Connect)
    }

    /// What stands before the path in the request line: nothing, or scheme and authority for a proxy.
    pub(super) fn absolute_prefix(&self) -> String {
        if self.proxy.is_some() && !self.is_tunnelled() {
            format!("{}://{}", self.url.scheme.as_str(), self.url.authority())
        } else {
            String::new()
        }
    }

    /// Whether no TLS is spoken with anyone.
    pub(super) fn is_plain(&self) -> bool {
        self.url.scheme == Scheme::Http
            && self.proxy.as_ref().is_none_or(|p| p.scheme == Scheme::Http)
    }

    /// `Proxy-Authorization`, if the proxy's URL has credentials.
    pub(super) fn proxy_authorization(&self) -> Option<String> {
        self.proxy.as_ref()?.credentials.as_ref().map(|c| c.basic())
    }

    /// The headers of every request but those that ureq adds (`Host`) and the body's length.
    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in REQUEST_HEADERS {
            if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
                headers.insert(name, HeaderValue::from_static(value));
            }
        }
        let server = self.url.credentials.as_ref().map(|c| c.basic());
        let proxy = self.proxy_authorization().filter(|_| !self.is_tunnelled());
        for (name, value) in [
            (header::AUTHORIZATION, server),
            (header::PROXY_AUTHORIZATION, proxy),
        ] {
            if let Some(mut value) = value.and_then(|v| HeaderValue::try_from(v).ok()) {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
        }
        headers.extend(self.extra.clone());
        headers
    }
}

/// As [`Target::describe`]: queries and headers may hold secrets.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.describe())
    }
}

#[cfg(not(feature = "tls"))]
fn refuse_tls(_: TlsChoice, is_wanted: bool) -> Result<Plain, ConnectError> {
    if is_wanted {
        return Err(ConnectError::Tls(
            "https needs the feature \"tls\", which was left out of this build".to_owned(),
        ));
    }
    Ok(Plain::default())
}

#[cfg(feature = "tls")]
fn tls_config(choice: TlsChoice, is_wanted: bool) -> Result<ureq::tls::TlsConfig, ConnectError> {
    use std::sync::Arc;
    use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

    let roots = match choice {
        TlsChoice::CaFile(path) if is_wanted => {
            let wrong = |why: String| {
                ConnectError::Tls(format!("no certificates from {}: {why}", path.display()))
            };
            let pem = std::fs::read(&path).map_err(|e| wrong(e.to_string()))?;
            let mut certificates = Vec::new();
            for item in parse_pem(&pem) {
                if let PemItem::Certificate(certificate) = item.map_err(|e| wrong(e.to_string()))? {
                    certificates.push(certificate);
                }
            }
            if certificates.is_empty() {
                return Err(wrong("there are none in it".to_owned()));
            }
            RootCerts::Specific(Arc::new(certificates))
        }
        TlsChoice::CaFile(_) | TlsChoice::Platform => RootCerts::PlatformVerifier,
    };
    Ok(TlsConfig::builder()
        .root_certs(roots)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build())
}
