//! One connection, one exchange at a time.

use super::dial::{Dial, NoResolver};
use super::socket::is_closed;
use super::target::Target;
use super::watch::{Canceller, Watch};
use crate::block;
use bytes::Bytes;
use posthole_protocol::Failure;
use posthole_protocol::http::{METHOD, Verdict, verdict};
use posthole_protocol::wire::Chain;
use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::sync::Arc;
use std::time::Duration;
use ureq::http::{HeaderMap, HeaderValue, Request, header};
use ureq::{Agent, SendBody};

/// The largest answer that is read: a bundle's most, and something for a server that counts otherwise.
const LARGEST_ANSWER: usize = 1024 * 1024 + 64 * 1024;

/// How much of an answer of unknown length is read at first.
const FIRST_PIECE: usize = 16 * 1024;

/// After how many bytes of an answer progress is told.
const STEP: usize = 64 * 1024;

/// For how long an idle connection is used again. Varnish and apache close theirs after 5 s.
const IDLE: Duration = Duration::from_secs(4);

/// A keep-alive connection to a target, made when it is needed and made anew when it is gone.
///
/// Not for two threads at once: each exchange that is open at the same time needs a lane of its own.
#[derive(Debug)]
pub struct Lane {
    target: Arc<Target>,
    watch: Arc<Watch>,
    headers: HeaderMap,
    agent: Agent,
}

/// Why an exchange came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What the core is to be told.
    pub failure: Failure,
    /// Whether any of the request may have left this machine; if not, nobody has seen it.
    pub reached: bool,
    /// For a person, in one line: what happened, where, and what to do. Never credentials.
    pub says: String,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.says)
    }
}

impl std::error::Error for Trouble {}

impl Trouble {
    /// Something other than the server answered.
    pub(super) fn answered(
        failure: Failure,
        status: u16,
        who: &str,
        whom: &str,
        reached: bool,
    ) -> Trouble {
        let who = if who.is_empty() {
            String::new()
        } else {
            format!(" ({who})")
        };
        let what = match failure {
            Failure::TooLarge => "it is too large for a box on the way; smaller ones are tried",
            Failure::Credentials => {
                "the proxy wants a name and password: http://name:password@proxy:port"
            }
            Failure::Refused { .. } => {
                "it is not allowed, or there is no such place; is the URL right?"
            }
            Failure::Middlebox { status: 502..=504 } => {
                "a box on the way got no answer from the server"
            }
            Failure::Middlebox { .. } | Failure::Connect | Failure::Cut | Failure::TimedOut | _ => {
                "this is not a posthole server's answer; is the URL right, or does a login page want attention?"
            }
        };
        Trouble {
            failure,
            reached,
            says: format!("{whom} was answered with {status}{who}: {what}"),
        }
    }
}

impl Lane {
    /// A lane to this target. Connects when first used.
    pub fn new(target: Arc<Target>) -> Lane {
        let watch = Arc::new(Watch::default());
        let config = Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(1)
            .max_idle_connections_per_host(1)
            .max_idle_age(IDLE)
            .max_response_header_size(32 * 1024)
            .user_agent(concat!("posthole/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity");
        #[cfg(feature = "tls")]
        let config = config.tls_config(target.tls.clone());
        let agent = Agent::with_parts(
            config.build(),
            Dial::new(target.clone(), watch.clone()),
            NoResolver,
        );
        Lane {
            headers: target.headers(),
            target,
            watch,
            agent,
        }
    }

    /// Gives up this lane's exchanges from other threads.
    pub fn canceller(&self) -> Canceller {
        Canceller(self.watch.clone())
    }

    /// Closes the connection. For a lane that has not been used for about 4 s: a box may close it, and counts it as
    /// one of its user's until then. The next exchange connects anew.
    pub fn hang_up(&mut self) {
        self.watch.hang_up();
    }

    /// Sends a body and waits for the answer to it. `exchange` is the number that the answer must name, if it names
    /// one, and that [`Canceller::cancel`] takes; `patience` is for how long nothing may move, in either direction,
    /// and connecting may take; `progress` is called when bytes have moved,
    /// at most every 64 KiB and at the answer's beginning.
    ///
    /// If a connection that was used before closes before the first byte of an answer, the same bytes go again, once,
    /// over a fresh one: it may have been closed while it was idle (§9.5).
    ///
    /// # Errors
    /// Anything else than an answer of ours, whole, of at most 1 MiB and a little.
    pub fn exchange(
        &mut self,
        exchange: u64,
        body: &Chain,
        patience: Duration,
        progress: &mut dyn FnMut(),
    ) -> Result<Bytes, Trouble> {
        self.watch.begin(exchange, patience);
        let mut result = self.attempt(exchange, body, progress);
        if let Err(Broken::Http(error)) = &result
            && is_closed_error(error)
            && self.watch.may_be_stale()
            && !self.watch.is_cancelled()
        {
            result = self.attempt(exchange, body, progress);
        }
        let reached = self.watch.has_sent();
        let is_cancelled = self.watch.end();
        result.map_err(|broken| {
            if is_cancelled {
                let says = format!(
                    "the exchange with {} was given up by this side",
                    self.target.describe()
                );
                return Trouble {
                    failure: Failure::Cut,
                    reached,
                    says,
                };
            }
            match broken {
                Broken::Trouble(trouble) => trouble,
                Broken::Http(error) => self.explain(error, reached, patience),
            }
        })
    }

    fn attempt(
        &self,
        exchange: u64,
        body: &Chain,
        progress: &mut dyn FnMut(),
    ) -> Result<Bytes, Broken> {
        let mut parts = Parts {
            parts: body.parts(),
            at: 0,
            is_begun: false,
            progress,
        };
        let mut request = Request::new(SendBody::from_reader(&mut parts));
        *request.method_mut() = METHOD
            .parse()
            .map_err(ureq::http::Error::from)
            .map_err(ureq::Error::from)?;
        *request.uri_mut() = self.target.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
            .headers_mut()
            .insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        let response = self.agent.run(request)?;
        progress();
        self.read(exchange, response, progress)
    }

    fn read(
        &self,
        exchange: u64,
        response: ureq::http::Response<ureq::Body>,
        progress: &mut dyn FnMut(),
    ) -> Result<Bytes, Broken> {
        let (head, mut body) = response.into_parts();
        let status = head.status.as_u16();
        let declared = body.content_length();
        let length = declared.map_or(FIRST_PIECE, |n| usize::try_from(n).unwrap_or(usize::MAX));
        let mut reader = body.as_reader();
        // An answer of ours is read into one piece of just its length.
        let mut answer = block::take_filled(length.min(LARGEST_ANSWER));
        let mut filled = reader.read(&mut answer).map_err(ureq::Error::from)?;
        let header = |name: &str| head.headers.get(name).and_then(|v| v.to_str().ok());
        let first = answer.get(..filled).unwrap_or_default();
        let not_ours = |failure, who: &str| {
            let whom = format!("a request to {}", self.target.describe());
            Err(Broken::Trouble(Trouble::answered(
                failure, status, who, &whom, true,
            )))
        };
        match verdict(status, header, exchange, first) {
            Verdict::Ours => {}
            Verdict::NotOurs { failure, who } => return not_ours(failure, &who),
        }
        let mut told = filled;
        loop {
            if filled == answer.len() && declared.is_none() {
                answer.resize(LARGEST_ANSWER.min(2 * filled), 0);
            }
            // At the end there is one more read, which finds nothing and gives the connection back.
            let mut probe = [0];
            let room = answer.get_mut(filled..).filter(|room| !room.is_empty());
            let is_full = room.is_none();
            let amount = reader
                .read(room.unwrap_or(&mut probe))
                .map_err(ureq::Error::from)?;
            if amount == 0 {
                break;
            }
            if is_full {
                return not_ours(
                    Failure::Middlebox { status },
                    "an answer larger than any of ours",
                );
            }
            filled += amount;
            if filled - told >= STEP {
                told = filled;
                progress();
            }
        }
        answer.truncate(filled);
        Ok(block::freeze(answer))
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "ureq's variants come and go with its features"
    )]
    fn explain(&self, error: ureq::Error, reached: bool, patience: Duration) -> Trouble {
        let there = self.target.describe();
        let (failure, what) = match error {
            ureq::Error::Other(inner) => match inner.downcast::<Trouble>() {
                // No fresh connection, but a stale one may have taken the request with it.
                Ok(trouble) if reached && trouble.failure == Failure::Connect => {
                    return Trouble {
                        failure: Failure::Cut,
                        reached,
                        ..*trouble
                    };
                }
                Ok(trouble) => return *trouble,
                Err(other) => (Failure::Cut, other.to_string()),
            },
            ureq::Error::Io(e) if e.kind() == ErrorKind::TimedOut => (
                Failure::TimedOut,
                format!("nothing moved for {} s", patience.as_secs_f32()),
            ),
            ureq::Error::Io(e) if is_closed(&e) => (
                Failure::Cut,
                "the connection was closed before the whole answer was here".to_owned(),
            ),
            ureq::Error::Protocol(e) => (
                Failure::Cut,
                format!("the answer is not HTTP as it should be: {e}"),
            ),
            other => (Failure::Cut, other.to_string()),
        };
        let failure = if reached { failure } else { Failure::Connect };
        Trouble {
            failure,
            reached,
            says: format!("{there}: {what}"),
        }
    }
}

/// An attempt that came to nothing: known why, or not yet.
#[derive(Debug)]
enum Broken {
    Http(ureq::Error),
    Trouble(Trouble),
}

impl From<ureq::Error> for Broken {
    fn from(error: ureq::Error) -> Broken {
        Broken::Http(error)
    }
}

fn is_closed_error(error: &ureq::Error) -> bool {
    matches!(error, ureq::Error::Io(e) if is_closed(e))
}

/// A body as a reader that fills whatever it is given: ureq sends what one read gave before it reads again.
struct Parts<'a> {
    parts: &'a [Bytes],
    /// Where in the first of them.
    at: usize,
    is_begun: bool,
    progress: &'a mut dyn FnMut(),
}

impl Read for Parts<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Asked again, so what it got before is on its way.
        if std::mem::replace(&mut self.is_begun, true) {
            (self.progress)();
        }
        let mut filled = 0;
        while let Some((part, others)) = self.parts.split_first() {
            let rest = part.get(self.at..).unwrap_or_default();
            let room = buffer.get_mut(filled..).unwrap_or_default();
            if room.is_empty() {
                break;
            }
            let amount = rest.len().min(room.len());
            if let (Some(to), Some(from)) = (room.get_mut(..amount), rest.get(..amount)) {
                to.copy_from_slice(from);
            }
            filled += amount;
            if amount == rest.len() {
                self.parts = others;
                self.at = 0;
            } else {
                self.at += amount;
            }
        }
        Ok(filled)
    }
}
