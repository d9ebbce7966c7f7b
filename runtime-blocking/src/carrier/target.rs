//! Where the server is and by which way: read once, before anything is sent.

use posthole_protocol::http::{Plain, ProxyChoice, Tag, UrlError, Way, WayError as ConnectError};
use posthole_runtime::TlsChoice;
use std::fmt;
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Uri};

/// A server and the way there. Made once, shared by its lanes.
pub struct Target {
    pub(crate) way: Way,
    pub(super) uri: Uri,
    #[cfg(feature = "tls")]
    pub(super) tls: ureq::tls::TlsConfig,
    /// Shared, so that the authorities are read once and sessions are resumed by any lane.
    #[cfg(feature = "tls")]
    pub(super) tls_connector: ureq::unversioned::transport::RustlsConnector,
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
        let way = Way::new(url, tag, proxy, |name| std::env::var(name).ok())?;
        let url = way.url();
        let uri = Uri::builder()
            .scheme(url.scheme.as_str())
            .authority(url.authority())
            .path_and_query(way.origin_form())
            .build()
            .map_err(|_| ConnectError::Url(UrlError::Host(url.host.clone())))?;
        let has_tls = way.has_tls();
        #[cfg(not(feature = "tls"))]
        tls.left_out(has_tls)?;
        Ok(Target {
            #[cfg(feature = "tls")]
            tls: tls_config(tls, has_tls)?,
            #[cfg(feature = "tls")]
            tls_connector: Default::default(),
            way,
            uri,
        })
    }

    /// Sets how a proxy is asked for an http server. Default: [`Plain::Absolute`].
    pub fn plain(mut self, plain: Plain) -> Target {
        self.way = self.way.plain(plain);
        self
    }

    /// Sets how large bodies may be in the session, in bytes, and so what is read of an answer at most. Default: 1 MiB.
    pub fn body_max(mut self, bytes: usize) -> Target {
        self.way = self.way.body_max(bytes);
        self
    }

    /// Adds a header to every request, in place of one of ours that has the same name.
    ///
    /// # Errors
    /// Not a header's name or value, or one that says how long a message is.
    pub fn header(mut self, name: &str, value: &str) -> Result<Target, ConnectError> {
        self.way = self.way.header(name, value)?;
        Ok(self)
    }

    /// The way in words: `http://host:80/ through proxy http://p:3128`. Never credentials.
    pub fn describe(&self) -> String {
        self.way.describe()
    }

    /// The proxy's URL, without credentials, if there is one.
    pub fn proxy(&self) -> Option<String> {
        self.way.proxy().map(ToString::to_string)
    }

    /// The headers of every request but the body's length.
    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in self.way.headers() {
            // Both were checked by the way.
            let name = HeaderName::from_bytes(name.as_bytes());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
                headers.insert(name, value);
            }
        }
        headers
    }
}

/// As [`Target::describe`]: queries and headers may hold secrets.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.describe())
    }
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
