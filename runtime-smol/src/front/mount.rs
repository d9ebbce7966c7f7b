//! One request, from its head to its answer, as a service of hyper's.

use super::answer::{self, Answer, Heads};
use super::conn::Conn;
use super::request_body::{self, Fault};
use super::{Limits, Outcome, Service};
use crate::timer;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use posthole_protocol::http::Refusal;
use posthole_protocol::http::request::{Framing, Version, take};
use posthole_runtime::{Budget, Quiet};
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

/// A [`Service`] as a service of hyper's, to be mounted in an HTTP server of one's own, at any path. Cheap to clone:
/// all clones share their bounds.
///
/// Of the [`Limits`], it keeps those for bodies. The server around it owes the others: the time and the size of
/// heads, idle connections, readers that don't read. Its connections must tell when a client goes, as hyper's do by
/// dropping the future of a request: a proxy's server that reads on and tells nobody holds requests for nobody.
///
/// ```
/// use posthole_smol::front::{Limits, Mount, Reply, Service};
/// use posthole_smol::io::{Clock, Socket};
/// use posthole_protocol::wire::Chain;
///
/// struct Echo;
/// impl Service for Echo {
///     type Pending = std::future::Ready<Reply>;
///     fn begin(&self, body: bytes::Bytes) -> Self::Pending {
///         std::future::ready(Reply { status: 200, exchange: None, body: Chain::from(body) })
///     }
/// }
///
/// async fn serve(listener: smol::Async<std::net::TcpListener>) -> std::io::Result<()> {
///     let posthole = Mount::new(Echo, Limits::default());
///     loop {
///         let (stream, _) = listener.accept().await?;
///         let posthole = posthole.clone();
///         let router = hyper::service::service_fn(move |request| {
///             hyper::service::Service::call(&posthole, request) // if its path is ours
///         });
///         let connection = hyper::server::conn::http1::Builder::new()
///             .timer(Clock)
///             .serve_connection(Socket::new(stream), router);
///         smol::spawn(connection).detach();
///     }
/// }
/// ```
pub struct Mount<S>(Arc<Hall<S>>);

impl<S: Service> Mount<S> {
    /// Serves every POST that it is given.
    pub fn new(service: S, limits: Limits) -> Mount<S> {
        Mount(Arc::new(Hall::new(service, limits, None)))
    }
}

impl<S> Clone for Mount<S> {
    fn clone(&self) -> Mount<S> {
        Mount(Arc::clone(&self.0))
    }
}

impl<S> fmt::Debug for Mount<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mount").finish_non_exhaustive()
    }
}

impl<S, B> hyper::service::Service<Request<B>> for Mount<S>
where
    S: Service,
    B: Body<Data: Send> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<Answer>;
    type Error = Abandoned;
    type Future = Answering;

    fn call(&self, request: Request<B>) -> Answering {
        self.0.answer(request, None)
    }
}

/// A request in hand. Boxed, because hyper keeps room for it while a connection is idle.
pub(super) type Answering =
    Pin<Box<dyn Future<Output = Result<Response<Answer>, Abandoned>> + Send>>;

/// There is nobody to answer, or no answer: the connection must be closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Abandoned;

impl fmt::Display for Abandoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client has gone, or there is no answer")
    }
}

impl Error for Abandoned {}

/// What all requests share.
pub(super) struct Hall<S> {
    service: S,
    limits: Limits,
    /// `None`: whoever mounts this has seen to it.
    path: Option<String>,
    budget: Budget,
    refused: Quiet,
    heads: Heads,
}

impl<S: Service> Hall<S> {
    pub(super) fn new(service: S, limits: Limits, path: Option<String>) -> Hall<S> {
        Hall {
            service,
            path,
            budget: Budget::new(limits.bodies),
            limits,
            refused: Quiet::default(),
            heads: Heads::new(),
        }
    }

    /// Reads a request, begins it and answers. `conn` is told of each step, if the connection is one of ours.
    pub(super) fn answer<B>(
        self: &Arc<Self>,
        request: Request<B>,
        conn: Option<Arc<Conn>>,
    ) -> Answering
    where
        B: Body<Data: Send> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        // The head goes here, before the request may be held: its fields are slices of hyper's buffer.
        let (head, body) = request.into_parts();
        let taken = self.take(&head);
        let version = head.version;
        drop(head);
        let hall = Arc::clone(self);
        Box::pin(async move {
            let whole = match taken {
                Ok(framing) => {
                    let proven = conn.as_ref().map_or(0, |conn| conn.proven());
                    request_body::read(body, framing, proven, &hall.limits, &hall.budget).await
                }
                Err(refusal) => Err(refusal.into()),
            };
            let begun = whole.and_then(|body| {
                conn.as_ref().map_or(Ok(()), |conn| conn.hold(body.len()))?;
                Ok(hall.service.begin(body))
            });
            match begun {
                Ok(pending) => {
                    let outcome = pending.await.into();
                    match outcome {
                        Outcome::Reply(reply) => {
                            if let Some(conn) = conn {
                                conn.reply()?;
                            }
                            Ok(hall.heads.reply(reply))
                        }
                        Outcome::Streamed { exchange, pieces } => {
                            if let Some(conn) = &conn {
                                conn.stream()?;
                            }
                            Ok(hall.heads.streamed(exchange, pieces, conn))
                        }
                        Outcome::Abandoned => Err(Abandoned),
                    }
                }
                Err(Fault::Refused(refusal)) => {
                    hall.log(refusal, conn.as_ref().map(|conn| conn.peer()));
                    if let Some(conn) = conn {
                        conn.refuse();
                    }
                    Ok(answer::refuse(refusal, version))
                }
                Err(Fault::Gone) => Err(Abandoned),
            }
        })
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    fn take(&self, head: &Parts) -> Result<Framing, Refusal> {
        let version = match head.version {
            http::Version::HTTP_09 | http::Version::HTTP_10 => Version::Http10,
            http::Version::HTTP_11 => Version::Http11,
            _ => Version::Later,
        };
        let (method, target) = (head.method.as_str(), head.uri.path());
        let fields = head
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()));
        take(version, method, target, self.path.as_deref(), fields).map(|taken| taken.framing)
    }

    pub(super) fn log(&self, refusal: Refusal, peer: Option<SocketAddr>) {
        if let Some(unsaid) = self.refused.may_say(timer::now()) {
            let peer = peer.map(tracing::field::display);
            tracing::info!(
                status = refusal.status,
                why = refusal.why,
                peer,
                unsaid,
                "request refused"
            );
        }
    }
}
