//! The client's beginning of a session.

use crate::carrier::Target;
use crate::carrier::direct::DirectLane;
use crate::driver::Shared;
use crate::lanes::Lanes;
use crate::random;
use crate::session::Session;
use crate::spawn::Spawner;
use crate::timer;
use posthole_protocol::http::Tag;
use posthole_protocol::{Client, SessionId};
use posthole_runtime::{ConnectError, DirectPlan, HEAD_START, Options};
use std::sync::Arc;

/// Begins a session with the server at `url`, such as `http://host:8080/` or `https://host/path`, on smol's global
/// executor.
///
/// Unless [`Options::wait_for_answer`](Options::wait_for_answer()) says otherwise, this waits until the server has
/// answered. What fails meanwhile is tried again: a proxy that is just being restarted is no reason to fail.
///
/// Cancel-safe: dropped before it is ready, it gives the session up.
///
/// ```no_run
/// use smol::io::{AsyncReadExt, AsyncWriteExt};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let session = posthole_smol::connect("http://127.0.0.1:8080/", Default::default()).await?;
/// let mut stream = session.open().await?;
/// stream.write_all(b"hello").await?;
/// stream.close().await?;
/// let mut answer = String::new();
/// stream.read_to_string(&mut answer).await?;
/// session.close().await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// What makes no sense in URL, proxy or TLS settings, at once; and what stood in the way, after
/// [`Options::connect_timeout`](Options::connect_timeout()).
pub async fn connect(url: &str, options: Options) -> Result<Session, ConnectError> {
    connect_on(&Spawner::default(), url, options).await
}

/// As [`connect`], with the session's tasks wherever `spawner` starts them. They must be run for as long as the session
/// is in use; a session whose tasks are dropped is aborted.
///
/// # Errors
/// As [`connect`].
pub async fn connect_on(
    spawner: &Spawner,
    url: &str,
    options: Options,
) -> Result<Session, ConnectError> {
    let id = SessionId::from_bytes(random::bytes().map_err(ConnectError::System)?);
    let tag = Tag::from_bytes(random::bytes().map_err(ConnectError::System)?);
    let mut target = Target::new(url, tag, options.proxy, options.tls)
        .map_err(ConnectError::Target)?
        .plain(options.plain)
        .body_max(options.config.body_max());
    for (name, value) in &options.headers {
        target = target.header(name, value).map_err(ConnectError::Target)?;
    }
    tracing::debug!(?id, to = %target.describe(), "connecting");
    let plan = DirectPlan::new(options.direct, &target.way, options.config)?;
    let mut core = Client::new(plan.config, id, timer::now());
    core.reads_pieces();
    let direct = DirectLane::new(plan.host, plan.port);
    let lanes = Lanes::new(Arc::new(target), spawner.clone(), direct);
    let shared = Shared::client(core, lanes);
    if plan.port.is_some() {
        shared.lock().knows_direct(timer::now(), HEAD_START);
    }
    let begun = Begun(Some(Session::new(shared.clone())));
    shared.begin(spawner);
    if !options.wait_for_answer {
        return Ok(begun.done());
    }
    if begun
        .session()
        .wait_connected(options.connect_timeout)
        .await
    {
        return Ok(begun.done());
    }
    let session = begun.done();
    let ended = session.closed();
    session.abort();
    Err(match ended {
        Some(reason) => ConnectError::Ended(reason),
        None => ConnectError::NoAnswer {
            waited: options.connect_timeout,
            trouble: session.stats().last_trouble,
        },
    })
}

/// A session that nobody has got yet; dropped as such it is aborted, as there is nothing to deliver.
struct Begun(Option<Session>);

const THERE: &str = "only `done` takes it, and ends this";

impl Begun {
    fn session(&self) -> &Session {
        self.0.as_ref().expect(THERE)
    }

    fn done(mut self) -> Session {
        self.0.take().expect(THERE)
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(session) = &self.0 {
            session.abort();
        }
    }
}
