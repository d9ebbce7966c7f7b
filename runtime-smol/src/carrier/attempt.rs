//! One request and its answer over one connection.
//!
//! hyper is given the connection for the request and the answer's head. If the answer's length is known, the connection
//! is taken back then and the body read into memory of just that length: one copy less than through hyper, and two
//! system calls. Processor seconds per GB of answers of 512 KiB on loopback, both ends together: 0.20, and 0.26 to 0.31
//! through hyper; for an answer of 64 bytes there is no difference.

use super::socket::{Line, is_closed};
use super::watch::{Pulse, Watch};
use bytes::Bytes;
use http::{Request, Version, header, response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection};
use posthole_protocol::http::policy::{FIRST_PIECE, LARGEST_HEAD, is_kept_open};
use posthole_protocol::http::{Trouble, Verdict, Way, verdict};
use posthole_protocol::wire::Chain;
use posthole_runtime::{Frames, NotBundles, block};
use std::convert::Infallible;
use std::error::Error;
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Where the bundles of an answer go that is streamed.
pub(crate) type Pieces<'a> = &'a mut (dyn FnMut(Bytes) + Send);

/// Sends `request` over `line` and reads the answer to `exchange`; gives the connection back if it may carry another.
pub(super) async fn attempt(
    way: &Way,
    line: Line,
    exchange: u64,
    request: Request<Whole>,
    watch: &mut Watch<'_>,
    pieces: &mut Option<Pieces<'_>>,
) -> Result<(Bytes, Option<Line>), Broken> {
    let pulse = watch.pulse.clone();
    let (mut sender, connection) = Builder::new()
        .max_header_size(LARGEST_HEAD)
        .handshake(line)
        .await?;
    let mut driven = Driven {
        connection: Box::new(connection),
        is_over: false,
        pulse: pulse.clone(),
    };
    let response = {
        let mut response = pin!(sender.try_send_request(request));
        let head = poll_fn(|cx| driven.poll_for(cx, |cx| response.as_mut().poll(cx)));
        let head = async { head.await.map_err(|e| Broken::Http(e.into_error())) };
        watch.over(head).await?
    };
    watch.tell();
    let (head, body) = response.into_parts();
    let judge = |first: &[u8]| {
        let status = head.status.as_u16();
        let header = |name: &str| head.headers.get(name).and_then(|v| v.to_str().ok());
        match verdict(status, header, exchange, first) {
            Verdict::Ours => Ok(()),
            Verdict::NotOurs { failure, who } => {
                Err(Trouble::not_ours(way, failure, status, &who).into())
            }
        }
    };
    let too_long = || Broken::from(Trouble::too_long(way, head.status.as_u16()));
    let most = way.largest_answer();
    let (answer, line) = match body.size_hint().exact() {
        Some(length) => {
            let rest = read_bare(driven, body, length, most, judge, too_long);
            watch.over(rest).await?
        }
        None => {
            let (answer, line) = match pieces {
                Some(pieces) => {
                    let rest = read_pieces(driven, body, most, judge, too_long, *pieces);
                    watch.over(rest).await?
                }
                None => {
                    let rest = read_framed(driven, body, most, judge, too_long);
                    watch.over(rest).await?
                }
            };
            // Without a length or chunks it is the connection's end that ends the body.
            let is_delimited = head.headers.contains_key(header::TRANSFER_ENCODING);
            (answer, line.filter(|_| is_delimited))
        }
    };
    let is_kept = is_kept(&head) && pulse.is_sent_whole();
    Ok((answer, line.filter(|_| is_kept)))
}

fn is_kept(head: &response::Parts) -> bool {
    let options = head.headers.get_all(header::CONNECTION).iter();
    is_kept_open(
        head.version == Version::HTTP_10,
        options.filter_map(|value| value.to_str().ok()),
    )
}

/// Reads a body of known length; the connection comes back if nothing came after it.
async fn read_bare(
    driven: Driven,
    body: Incoming,
    length: u64,
    most: usize,
    judge: impl FnOnce(&[u8]) -> Result<(), Broken>,
    too_long: impl FnOnce() -> Broken,
) -> Result<(Bytes, Option<Line>), Broken> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let mut answer = block::take(length.min(most));
    let mut line = driven.take_back(body, &mut answer);
    if answer.is_empty() && length > 0 {
        read_more(&mut line, &mut answer).await?;
    }
    judge(answer.get(..length).unwrap_or(&answer))?;
    if length > most {
        return Err(too_long());
    }
    while answer.len() < length {
        read_more(&mut line, &mut answer).await?;
    }
    let is_clean = answer.len() == length;
    answer.truncate(length);
    Ok((block::freeze(answer), Some(line).filter(|_| is_clean)))
}

async fn read_more(line: &mut Line, answer: &mut Vec<u8>) -> io::Result<()> {
    match poll_fn(|cx| line.poll_append(cx, answer)).await? {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// Reads a body in chunks, or one that the connection's end ends.
async fn read_framed(
    mut driven: Driven,
    mut body: Incoming,
    most: usize,
    judge: impl Fn(&[u8]) -> Result<(), Broken>,
    too_long: impl FnOnce() -> Broken,
) -> Result<(Bytes, Option<Line>), Broken> {
    let mut answer = Vec::with_capacity(FIRST_PIECE);
    let mut is_judged = false;
    loop {
        let frame = poll_fn(|cx| driven.poll_for(cx, |cx| Pin::new(&mut body).poll_frame(cx)));
        let frame = frame.await.transpose()?;
        if let Some(data) = frame.as_ref().and_then(Frame::data_ref) {
            answer.extend_from_slice(data);
        }
        if !is_judged {
            judge(&answer)?;
            is_judged = true;
        }
        if answer.len() > most {
            return Err(too_long());
        }
        if frame.is_none() {
            break;
        }
    }
    answer.shrink_to_fit();
    let parts = driven.connection.into_parts();
    let is_clean = parts.read_buf.is_empty() && !driven.is_over;
    Ok((answer.into(), Some(parts.io).filter(|_| is_clean)))
}

/// Reads a body that goes on: whole bundles go to `pieces`, what is left at the end comes back.
async fn read_pieces(
    mut driven: Driven,
    mut body: Incoming,
    most: usize,
    judge: impl Fn(&[u8]) -> Result<(), Broken>,
    too_long: impl FnOnce() -> Broken,
    pieces: Pieces<'_>,
) -> Result<(Bytes, Option<Line>), Broken> {
    let mut frames = Frames::new(most);
    let mut is_judged = false;
    loop {
        let frame = poll_fn(|cx| driven.poll_for(cx, |cx| Pin::new(&mut body).poll_frame(cx)));
        let frame = frame.await.transpose()?;
        let data = frame.as_ref().and_then(Frame::data_ref);
        frames
            .room()
            .extend_from_slice(data.map_or(&[], |data| data));
        if !is_judged {
            judge(frames.room())?;
            is_judged = true;
        }
        if frame.is_none() {
            break;
        }
        match frames.take() {
            Ok(Some(bundles)) => pieces(bundles),
            Ok(None) => {}
            Err(NotBundles) => return Err(too_long()),
        }
    }
    let parts = driven.connection.into_parts();
    let is_clean = parts.read_buf.is_empty() && !driven.is_over;
    let left = std::mem::take(frames.room());
    Ok((left.into(), Some(parts.io).filter(|_| is_clean)))
}

/// hyper's side of a connection, driven by who waits for something of it.
struct Driven {
    /// Boxed, as it would otherwise make every future of an exchange large.
    connection: Box<Connection<Line, Whole>>,
    is_over: bool,
    pulse: Arc<Pulse>,
}

impl Driven {
    /// Takes the connection back, and what hyper has read beyond the head.
    fn take_back(self, mut body: Incoming, read: &mut Vec<u8>) -> Line {
        let parts = self.connection.into_parts();
        // First what hyper has taken for the body already, then the rest of its memory. Nothing else comes any more.
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut cx) {
            read.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        }
        read.extend_from_slice(&parts.read_buf);
        parts.io
    }

    fn poll_for<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut wanted: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        loop {
            // What goes wrong is told to who waits for the answer or its body.
            self.is_over = self.is_over || self.connection.poll_without_shutdown(cx).is_ready();
            let result = wanted(cx);
            if result.is_ready() || self.is_over || !self.pulse.gate.open() {
                return result;
            }
        }
    }
}

/// A request's body: all of it in one frame, so that hyper writes it with the head and copies nothing.
pub(super) struct Whole {
    chain: Option<Chain>,
    pulse: Arc<Pulse>,
}

impl Whole {
    pub(super) fn new(chain: Chain, pulse: Arc<Pulse>) -> Whole {
        if chain.is_empty() {
            // hyper does not ask for it.
            pulse.taken.set();
        }
        let chain = Some(chain).filter(|chain| !chain.is_empty());
        Whole { chain, pulse }
    }
}

impl Body for Whole {
    type Data = Chain;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Chain>, Infallible>>> {
        self.pulse.taken.set();
        Poll::Ready(self.chain.take().map(|chain| Ok(Frame::data(chain))))
    }

    fn is_end_stream(&self) -> bool {
        self.chain.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.chain.as_ref().map_or(0, |chain| chain.len() as u64))
    }
}

/// An attempt that came to nothing: known why, or not yet.
#[derive(Debug)]
pub(super) enum Broken {
    Http(hyper::Error),
    Io(io::Error),
    Trouble(Trouble),
}

impl Broken {
    /// Whether the connection was closed, by the other side or on the way.
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Broken::Http(error) => {
                error.is_incomplete_message()
                    || error.is_canceled()
                    || error.is_closed()
                    || io_error(error).is_some_and(is_closed)
            }
            Broken::Io(error) => is_closed(error),
            Broken::Trouble(_) => false,
        }
    }

    pub(super) fn explain(self, way: &Way, reached: bool, patience: Duration) -> Trouble {
        match self {
            Broken::Trouble(trouble) => trouble,
            Broken::Io(error) if error.kind() == ErrorKind::TimedOut => {
                Trouble::timed_out(way, patience, reached)
            }
            broken if broken.is_closed() => Trouble::closed(way, reached),
            Broken::Http(error) if error.is_parse() => Trouble::not_http(way, &error, reached),
            Broken::Http(error) => Trouble::broken(way, &error, reached),
            Broken::Io(error) => Trouble::broken(way, &error, reached),
        }
    }
}

fn io_error(error: &hyper::Error) -> Option<&io::Error> {
    error.source()?.downcast_ref()
}

impl From<hyper::Error> for Broken {
    fn from(error: hyper::Error) -> Broken {
        Broken::Http(error)
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Broken {
        Broken::Io(error)
    }
}

impl From<Trouble> for Broken {
    fn from(trouble: Trouble) -> Broken {
        Broken::Trouble(trouble)
    }
}
