//! Where the server is and by which way: read once, before anything is sent.

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use posthole_protocol::http::{Plain, ProxyChoice, Tag, UrlError, Way, WayError as ConnectError};
use posthole_runtime::TlsChoice;
use std::fmt;
#[cfg(any(test, feature = "tls"))]
use std::sync::Arc;

/// A server and the way there. Made once, shared by its lanes.
pub struct Target {
    pub(crate) way: Way,
    /// In tests: what carries instead of sockets.
    #[cfg(test)]
    pub(crate) net: Option<Arc<crate::simulation::net::Net>>,
    /// Shared, so that the authorities are read once and sessions are resumed by any lane.
    #[cfg(feature = "tls")]
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
}

impl Target {
    /// The target at this URL, for the session with this tag. Reads the file of authorities, if one is wanted.
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
        if way.target().parse::<Uri>().is_err() {
            return Err(ConnectError::Url(UrlError::Host(way.url().host.clone())));
        }
        let has_tls = way.has_tls();
        #[cfg(not(feature = "tls"))]
        tls.left_out(has_tls)?;
        Ok(Target {
            #[cfg(feature = "tls")]
            tls: has_tls.then(|| super::tls::config(tls)).transpose()?,
            #[cfg(test)]
            net: None,
            way,
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

    /// The target of every request, in the form that the first hop wants.
    pub(super) fn uri(&self) -> Uri {
        // What was parsed when this was made, with or without its authority.
        self.way.target().parse().unwrap_or_default()
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
