//! One connection, one exchange at a time.

use super::body::Outgoing;
use super::dial::{Dial, NoResolver};
use super::socket::is_closed;
use super::target::Target;
use super::watch::{Canceller, Watch};
use bytes::Bytes;
use posthole_protocol::http::policy::{FIRST_PIECE, IDLE, LARGEST_ANSWER, LARGEST_HEAD, Steps};
use posthole_protocol::http::{METHOD, Trouble, Verdict, verdict};
use posthole_protocol::wire::Chain;
use posthole_runtime::block;
use std::io::{ErrorKind, Read};
use std::sync::Arc;
use std::time::Duration;
use ureq::http::{HeaderMap, HeaderValue, Request, header};
use ureq::{Agent, SendBody};

/// A keep-alive connection to a target, made when it is needed and made anew when it is gone.
///
/// Not for two threads at once: each exchange that is open at the same time needs a lane of its own.
#[derive(Debug)]
pub struct Lane {
    target: Arc<Target>,
    watch: Arc<Watch>,
    headers: HeaderMap,
    body: Outgoing,
    agent: Agent,
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
            .max_response_header_size(LARGEST_HEAD);
        #[cfg(feature = "tls")]
        let config = config.tls_config(target.tls.clone());
        let body = Outgoing::new(!target.way.has_tls());
        let agent = Agent::with_parts(
            config.build(),
            Dial::new(target.clone(), watch.clone(), body.clone()),
            NoResolver,
        );
        Lane {
            headers: target.headers(),
            target,
            watch,
            body,
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
        if !self.watch.begin(exchange, patience) {
            self.watch.end();
            return Err(Trouble::given_up(&self.target.way, false));
        }
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
                return Trouble::given_up(&self.target.way, reached);
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
        let mut reader = self.body.reader(body, progress);
        let mut request = Request::new(SendBody::from_reader(&mut reader));
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
        if let Verdict::NotOurs { failure, who } = verdict(status, header, exchange, first) {
            return Err(Trouble::not_ours(&self.target.way, failure, status, &who).into());
        }
        let mut steps = Steps::default();
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
                return Err(Trouble::too_long(&self.target.way, status).into());
            }
            filled += amount;
            if steps.advance(amount) {
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
        let way = &self.target.way;
        match error {
            ureq::Error::Other(inner) => match inner.downcast::<Trouble>() {
                Ok(trouble) if reached => trouble.after_a_stale_connection(),
                Ok(trouble) => *trouble,
                Err(other) => Trouble::broken(way, &other, reached),
            },
            ureq::Error::Io(e) if e.kind() == ErrorKind::TimedOut => {
                Trouble::timed_out(way, patience, reached)
            }
            ureq::Error::Io(e) if is_closed(&e) => Trouble::closed(way, reached),
            ureq::Error::Protocol(e) => Trouble::not_http(way, &e, reached),
            other => Trouble::broken(way, &other, reached),
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

impl From<Trouble> for Broken {
    fn from(trouble: Trouble) -> Broken {
        Broken::Trouble(trouble)
    }
}

fn is_closed_error(error: &ureq::Error) -> bool {
    matches!(error, ureq::Error::Io(e) if is_closed(e))
}
