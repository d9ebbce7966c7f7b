//! One connection, one exchange at a time.

use super::body::Outgoing;
use super::dial::{Dial, NoResolver};
use super::line::{Kept, Line};
use super::socket::is_closed;
use super::target::Target;
use super::watch::{Canceller, Watch};
use bytes::Bytes;
use posthole_protocol::http::policy::{FIRST_PIECE, LARGEST_HEAD, Steps, is_kept_open};
use posthole_protocol::http::{Form, METHOD, Trouble, Verdict, verdict};
use posthole_protocol::wire::Chain;
use posthole_runtime::{Frames, NotBundles, block};
use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::sync::Arc;
use std::time::Duration;
use ureq::http::response::Parts;
use ureq::http::{HeaderMap, HeaderValue, Request, Version, header};
use ureq::{Agent, SendBody};

/// A keep-alive connection to a target, made when it is needed and made anew when it is gone.
///
/// Not for two threads at once: each exchange that is open at the same time needs a lane of its own.
pub struct Lane {
    target: Arc<Target>,
    watch: Arc<Watch>,
    headers: HeaderMap,
    form: Form,
    body: Outgoing,
    kept: Kept,
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
            .max_idle_connections(0)
            .max_response_header_size(LARGEST_HEAD);
        #[cfg(feature = "tls")]
        let config = config.tls_config(target.tls.clone());
        let body = Outgoing::new(!target.way.has_tls());
        let kept = Kept::default();
        let agent = Agent::with_parts(
            config.build(),
            Dial::new(target.clone(), watch.clone(), body.clone(), kept.clone()),
            NoResolver,
        );
        Lane {
            headers: target.headers(),
            form: target.way.form(),
            target,
            watch,
            body,
            kept,
            agent,
        }
    }

    /// Gives up this lane's exchanges from other threads.
    pub fn canceller(&self) -> Canceller {
        Canceller(self.watch.clone())
    }

    /// How many connections it has made so far: more than one says that something closed one.
    pub fn connections(&self) -> u64 {
        self.watch.connections()
    }

    /// Whether the connection of the last exchange may carry another.
    pub fn is_kept(&self) -> bool {
        self.kept.is_idle()
    }

    /// Closes the connection. For a lane that has not been used for about 4 s: a box may close it, and counts it as
    /// one of its user's until then. The next exchange connects anew.
    pub fn hang_up(&mut self) {
        drop(self.kept.take_idle());
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
    /// Anything else than an answer of ours, whole, of at most what [`Target::body_max`] says and a little.
    pub fn exchange(
        &mut self,
        exchange: u64,
        body: &Chain,
        patience: Duration,
        progress: &mut dyn FnMut(),
    ) -> Result<Bytes, Trouble> {
        self.exchange_with(exchange, body, patience, progress, How::default())
    }

    /// The same, in another way or told more than its end.
    ///
    /// # Errors
    /// As [`exchange`](Lane::exchange) has them.
    pub fn exchange_with(
        &mut self,
        exchange: u64,
        body: &Chain,
        patience: Duration,
        progress: &mut dyn FnMut(),
        mut how: How<'_>,
    ) -> Result<Bytes, Trouble> {
        if !self.watch.begin(exchange, patience) {
            self.watch.end();
            return Err(Trouble::given_up(&self.target.way, false));
        }
        let mut result = self.attempt(exchange, body, progress, &mut how);
        if let Err(Broken::Http(error)) = &result
            && is_closed_error(error)
            && self.watch.may_be_stale()
            && !self.watch.is_cancelled()
        {
            result = self.attempt(exchange, body, progress, &mut how);
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
        how: &mut How<'_>,
    ) -> Result<Bytes, Broken> {
        let form = how.form.then(|| self.form.put(body.clone()));
        let body = form.as_ref().unwrap_or(body);
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
        if let (true, Ok(kind)) = (how.form, HeaderValue::from_str(self.form.content_type())) {
            request.headers_mut().insert(header::CONTENT_TYPE, kind);
        }
        let result = self.agent.run(request).map_err(Broken::from);
        let result = result.and_then(|response| {
            progress();
            self.read(exchange, response, progress, how)
        });
        // Whatever is left of a failure is of no use.
        drop(self.kept.take_returned());
        result
    }

    fn read(
        &self,
        exchange: u64,
        response: ureq::http::Response<ureq::Body>,
        progress: &mut dyn FnMut(),
        how: &mut How<'_>,
    ) -> Result<Bytes, Broken> {
        let (head, body) = response.into_parts();
        if let Some(hear) = &mut how.head {
            for (name, value) in &head.headers {
                hear(name.as_str(), value.to_str().unwrap_or_default());
            }
        }
        let judge = |first: &[u8]| {
            let status = head.status.as_u16();
            let header = |name: &str| head.headers.get(name).and_then(|v| v.to_str().ok());
            match verdict(status, header, exchange, first) {
                Verdict::Ours => Ok(()),
                Verdict::NotOurs { failure, who } => {
                    Err(Trouble::not_ours(&self.target.way, failure, status, &who).into())
                }
            }
        };
        let too_long = || Broken::from(Trouble::too_long(&self.target.way, head.status.as_u16()));
        let (answer, line) = match body.content_length() {
            Some(length) => self.read_bare(body, length, judge, too_long, progress)?,
            None => {
                let most = self.target.way.largest_answer();
                let answer = match &mut how.pieces {
                    Some(pieces) => read_pieces(body, most, judge, too_long, progress, *pieces)?,
                    None => read_framed(body, most, judge, too_long, progress)?,
                };
                // Without a length or chunks it is the connection's end that ends the body.
                let is_delimited = head.headers.contains_key(header::TRANSFER_ENCODING);
                (answer, self.kept.take_returned().filter(|_| is_delimited))
            }
        };
        if let Some(line) = line.filter(|_| is_kept(&head)) {
            self.kept.keep(line);
        }
        Ok(answer)
    }

    /// Reads a body of known length into one piece of just its length; gives the connection back with it.
    fn read_bare(
        &self,
        body: ureq::Body,
        length: u64,
        judge: impl FnOnce(&[u8]) -> Result<(), Broken>,
        too_long: impl FnOnce() -> Broken,
        progress: &mut dyn FnMut(),
    ) -> Result<(Bytes, Option<Line>), Broken> {
        // ureq lets go of the connection.
        drop(body);
        let mut line = self.kept.take_returned();
        let mut read = |room: &mut [u8]| match &mut line {
            Some(line) if !room.is_empty() => line.read(room).map_err(ureq::Error::from),
            Some(_) | None => Ok(0),
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let most = self.target.way.largest_answer();
        let mut answer = block::take_filled(length.min(most));
        let mut filled = read(&mut answer)?;
        judge(answer.get(..filled).unwrap_or_default())?;
        if length > most {
            return Err(too_long());
        }
        let mut steps = Steps::default();
        while filled < length {
            let amount = read(answer.get_mut(filled..).unwrap_or_default())?;
            if amount == 0 {
                let cut = io::Error::from(ErrorKind::UnexpectedEof);
                return Err(ureq::Error::from(cut).into());
            }
            filled += amount;
            if steps.advance(amount) {
                progress();
            }
        }
        Ok((block::freeze(answer), line))
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

/// How an exchange is carried, where that is not as always.
#[derive(Default)]
pub struct How<'a> {
    /// Its body goes as a form's file (PROTOCOL §9.8).
    pub form: bool,
    /// Of an answer that may be streamed, its whole bundles as they come; what is left at its end is given back then.
    pub pieces: Option<&'a mut dyn FnMut(Bytes)>,
    /// The headers of an answer, whoever gave it: names in lower case, and values as far as they are ASCII.
    pub head: Option<Hear<'a>>,
}

/// Hears of a header's name and value.
pub type Hear<'a> = &'a mut dyn FnMut(&str, &str);

/// As its target: headers may hold secrets, and bodies do.
impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane")
            .field("target", &self.target)
            .field("is_kept", &self.is_kept())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for How<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("How").finish_non_exhaustive()
    }
}

/// Reads a body in chunks, or one that the connection's end ends.
fn read_framed(
    mut body: ureq::Body,
    most: usize,
    judge: impl FnOnce(&[u8]) -> Result<(), Broken>,
    too_long: impl FnOnce() -> Broken,
    progress: &mut dyn FnMut(),
) -> Result<Bytes, Broken> {
    let mut reader = body.as_reader();
    let mut answer = vec![0; FIRST_PIECE];
    let mut filled = reader.read(&mut answer).map_err(ureq::Error::from)?;
    judge(answer.get(..filled).unwrap_or_default())?;
    let mut steps = Steps::default();
    loop {
        if filled == answer.len() {
            // With one byte more than may come, what is too long shows.
            answer.resize((2 * filled).min(most + 1), 0);
        }
        let room = answer.get_mut(filled..).unwrap_or_default();
        if room.is_empty() {
            return Err(too_long());
        }
        let amount = reader.read(room).map_err(ureq::Error::from)?;
        if amount == 0 {
            answer.truncate(filled);
            return Ok(answer.into());
        }
        filled += amount;
        if steps.advance(amount) {
            progress();
        }
    }
}

/// What is read of one that goes on at once: copied while it is warm.
const SCRATCH: usize = 64 * 1024;

/// Reads a body that goes on: whole bundles go to `pieces`, what is left at the end comes back.
fn read_pieces(
    mut body: ureq::Body,
    most: usize,
    judge: impl FnOnce(&[u8]) -> Result<(), Broken>,
    too_long: impl FnOnce() -> Broken,
    progress: &mut dyn FnMut(),
    pieces: &mut dyn FnMut(Bytes),
) -> Result<Bytes, Broken> {
    let mut reader = body.as_reader();
    let mut frames = Frames::new(most);
    let (mut judge, mut scratch) = (Some(judge), vec![0; SCRATCH]);
    loop {
        let amount = reader.read(&mut scratch).map_err(ureq::Error::from)?;
        let read = scratch.get(..amount).unwrap_or_default();
        let room = frames.room();
        room.extend_from_slice(read);
        if let Some(judge) = judge.take() {
            judge(room)?;
        }
        if amount == 0 {
            return Ok(std::mem::take(room).into());
        }
        match frames.take() {
            Ok(Some(bundles)) => pieces(bundles),
            Ok(None) => progress(),
            Err(NotBundles) => return Err(too_long()),
        }
    }
}

fn is_kept(head: &Parts) -> bool {
    let options = head.headers.get_all(header::CONNECTION).iter();
    is_kept_open(
        head.version == Version::HTTP_10,
        options.filter_map(|value| value.to_str().ok()),
    )
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
