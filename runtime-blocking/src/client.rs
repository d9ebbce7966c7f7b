//! The client's beginning of a session.

use crate::carrier::Target;
use crate::carrier::direct::DirectLane;
use crate::driver::Shared;
use crate::lanes::Lanes;
use crate::random;
use crate::session::Session;
use crate::timer;
use posthole_protocol::http::Tag;
use posthole_protocol::{Client, SessionId};
use posthole_runtime::{ConnectError, DirectPlan, HEAD_START, Options};
use std::sync::Arc;

/// Begins a session with the server at `url`, such as `http://host:8080/` or `https://host/path`.
///
/// Unless [`Options::wait_for_answer`] says otherwise, this waits until the server has answered. What fails meanwhile is
/// tried again: a proxy that is just being restarted is no reason to fail.
///
/// ```no_run
/// use std::io::{Read, Write};
///
/// let session = posthole_blocking::connect("http://127.0.0.1:8080/", Default::default())?;
/// let mut stream = session.open()?;
/// stream.write_all(b"hello")?;
/// stream.shutdown(std::net::Shutdown::Write)?;
/// let mut answer = String::new();
/// stream.read_to_string(&mut answer)?;
/// session.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// What makes no sense in URL, proxy or TLS settings, at once; and what stood in the way, after
/// [`Options::connect_timeout`].
pub fn connect(url: &str, options: Options) -> Result<Session, ConnectError> {
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
    let lanes = Lanes::new(Arc::new(target), DirectLane::new(plan.host, plan.port));
    let session = Session::new(Shared::client(core, lanes));
    let mut locked = session.shared().lock();
    if plan.port.is_some() {
        locked.knows_direct(timer::now(), HEAD_START);
    }
    locked.settle();
    if !options.wait_for_answer || session.wait_connected(options.connect_timeout) {
        return Ok(session);
    }
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
