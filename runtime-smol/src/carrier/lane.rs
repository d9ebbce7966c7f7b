//! One connection, one exchange at a time.

use super::attempt::{Broken, Pieces, Whole, attempt};
use super::dial::dial;
use super::socket::Line;
use super::target::Target;
use super::watch::{Pulse, Watch};
use crate::io::Alarm;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use posthole_protocol::http::policy::{IDLE, goes_again};
use posthole_protocol::http::{Form, Trouble};
use posthole_protocol::wire::Chain;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A keep-alive connection to a target, made when it is needed and made anew when it is gone.
pub struct Lane {
    target: Arc<Target>,
    uri: Uri,
    headers: HeaderMap,
    form: Form,
    pulse: Arc<Pulse>,
    alarm: Alarm,
    idle: Option<Idle>,
}

/// A connection that waits for its next use.
struct Idle {
    line: Line,
    since: Instant,
}

/// How an exchange is carried, where that is not as always.
#[derive(Default)]
pub(crate) struct How<'a> {
    /// Its body goes as a form's file (PROTOCOL §9.8).
    pub(crate) form: bool,
    /// Its answer may be streamed: whole bundles go here as they come, and what is left at its end is given back.
    pub(crate) pieces: Option<Pieces<'a>>,
}

impl Lane {
    /// A lane to this target. Connects when first used.
    pub fn new(target: Arc<Target>) -> Lane {
        Lane {
            uri: target.uri(),
            headers: target.headers(),
            form: target.way.form(),
            target,
            pulse: Arc::default(),
            alarm: Alarm::never(),
            idle: None,
        }
    }

    /// Whether the connection of the last exchange may carry another.
    pub fn is_kept(&self) -> bool {
        self.idle.is_some()
    }

    /// Closes the connection. For a lane that has not been used for about 4 s: a box may close it, and counts it as
    /// one of its user's until then. The next exchange connects anew.
    pub fn hang_up(&mut self) {
        self.idle = None;
    }

    /// Sends a body and waits for the answer to it. `exchange` is the number that the answer must name, if it names
    /// one; `patience` is for how long nothing may move, in either direction, and connecting may take; `progress` is
    /// called when bytes have moved, at most every 64 KiB and at the answer's beginning.
    ///
    /// If a connection that was used before closes before the first byte of an answer, the same bytes go again, once,
    /// over a fresh one: it may have been closed while it was idle (§9.5).
    ///
    /// Cancel-safe in this sense: dropping the future gives the exchange up. Its connection closes; the lane stays
    /// usable, and its next exchange takes a fresh one.
    ///
    /// # Errors
    /// Anything else than an answer of ours, whole, of at most what [`Target::body_max`] says and a little.
    pub async fn exchange(
        &mut self,
        exchange: u64,
        body: &Chain,
        patience: Duration,
        progress: &mut (dyn FnMut() + Send),
    ) -> Result<Bytes, Trouble> {
        let how = How::default();
        self.carry(exchange, body, patience, progress, how).await
    }

    /// The same, in another way.
    pub(crate) async fn carry(
        &mut self,
        exchange: u64,
        body: &Chain,
        patience: Duration,
        progress: &mut (dyn FnMut() + Send),
        mut how: How<'_>,
    ) -> Result<Bytes, Trouble> {
        #[cfg(test)]
        if let Some(net) = self.target.net.clone() {
            return net.carry(body, patience, progress, how).await;
        }
        let form = how.form.then(|| self.form.put(body.clone()));
        let body = form.as_ref().unwrap_or(body);
        let kind = how.form.then(|| self.form.content_type());
        let kind = kind.and_then(|kind| HeaderValue::from_str(kind).ok());
        let mut idle = self.idle.take().filter(Idle::is_usable);
        let (target, pulse) = (self.target.clone(), self.pulse.clone());
        let way = &target.way;
        let mut watch = Watch::new(&pulse, &mut self.alarm, patience, progress);
        let mut has_sent = false;
        let result = loop {
            pulse.begin();
            let was_used = idle.is_some();
            let line = match idle.take() {
                Some(idle) => Ok(idle.line),
                // Boxed, as it is seldom done and large.
                None => Box::pin(dial(&target, &mut watch)).await,
            };
            let line = match line {
                Ok(line) => line,
                Err(trouble) if has_sent => return Err(trouble.after_a_stale_connection()),
                Err(trouble) => return Err(trouble),
            };
            let mut request = request(&self.uri, &self.headers, body, &pulse);
            if let Some(kind) = &kind {
                let headers = request.headers_mut();
                headers.insert(header::CONTENT_TYPE, kind.clone());
            }
            let result = attempt(way, line, exchange, request, &mut watch, &mut how.pieces).await;
            let is_closed = result.as_ref().is_err_and(Broken::is_closed);
            if !is_closed || !goes_again(was_used, pulse.heard.is_set()) {
                break result;
            }
            has_sent = pulse.sent.is_set();
        };
        let reached = has_sent || pulse.sent.is_set();
        let (answer, line) = result.map_err(|broken| broken.explain(way, reached, patience))?;
        self.idle = line.map(|line| Idle {
            line,
            since: Instant::now(),
        });
        Ok(answer)
    }
}

impl Idle {
    fn is_usable(&self) -> bool {
        self.since.elapsed() < IDLE && !self.line.has_input()
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane")
            .field("target", &self.target)
            .field("is_connected", &self.idle.is_some())
            .finish_non_exhaustive()
    }
}

fn request(uri: &Uri, headers: &HeaderMap, body: &Chain, pulse: &Arc<Pulse>) -> Request<Whole> {
    let mut request = Request::new(Whole::new(body.clone(), pulse.clone()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri.clone();
    request.headers_mut().clone_from(headers);
    request
        .headers_mut()
        .insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    request
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use posthole_protocol::Failure;
    use posthole_protocol::http::{ProxyChoice, Tag};
    use posthole_runtime::TlsChoice;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// What teaches how large a body may be, or that a proxy wants a password, may come in place of any answer.
    #[test]
    fn a_refusal_in_place_of_a_streamed_answer_is_heard() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let proxy = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let (mut came, mut byte) = (Vec::new(), [0]);
            while !came.ends_with(b"\r\n\r\nx") {
                stream.read_exact(&mut byte).unwrap();
                came.extend_from_slice(&byte);
            }
            let refusal =
                "HTTP/1.1 413 Too Large\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n";
            stream.write_all(refusal.as_bytes()).unwrap();
        });
        let (tag, tls) = (Tag::from_bytes([1; 8]), TlsChoice::Platform);
        let target = Target::new(&url, tag, ProxyChoice::None, tls).unwrap();
        let mut lane = Lane::new(Arc::new(target));
        let (mut pieces, mut progress) = (|_| panic!("they are none of ours"), || ());
        let how = How {
            form: false,
            pieces: Some(&mut pieces),
        };
        let (body, patience) = (
            Chain::from(Bytes::from_static(b"x")),
            Duration::from_secs(60),
        );
        let carried = lane.carry(7, &body, patience, &mut progress, how);
        assert_eq!(
            smol::block_on(carried).unwrap_err().failure,
            Failure::TooLarge
        );
        proxy.join().unwrap();
    }
    /// A request's head in small letters, once its body has come.
    fn head(stream: &mut impl Read) -> String {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0].to_ascii_lowercase());
        }
        let head = String::from_utf8(head).unwrap();
        let length = head.split("content-length: ").nth(1).unwrap();
        let length = length.lines().next().unwrap().parse().unwrap();
        stream.read_exact(&mut vec![0; length]).unwrap();
        head
    }

    #[test]
    fn a_form_that_goes_again_is_one_still() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let answer = "HTTP/1.1 200 OK\r\nPosthole: 1\r\nContent-Length: 1\r\n\r\n\u{8}";
            let mut stream = listener.accept().unwrap().0;
            let mut heads = vec![head(&mut stream)];
            stream.write_all(answer.as_bytes()).unwrap();
            // Closed as an idle one is, with the request on its way.
            heads.push(head(&mut stream));
            drop(stream);
            stream = listener.accept().unwrap().0;
            heads.push(head(&mut stream));
            stream.write_all(answer.as_bytes()).unwrap();
            heads
        });
        let (tag, tls) = (Tag::from_bytes([1; 8]), TlsChoice::Platform);
        let target = Target::new(&url, tag, ProxyChoice::None, tls).unwrap();
        let mut lane = Lane::new(Arc::new(target));
        for exchange in [1, 2] {
            let how = How {
                form: true,
                pieces: None,
            };
            let (body, mut progress) = (Chain::from(Bytes::from_static(b"x")), || ());
            let patience = Duration::from_secs(60);
            let carried = lane.carry(exchange, &body, patience, &mut progress, how);
            smol::block_on(carried).unwrap();
        }
        for head in server.join().unwrap() {
            assert!(head.contains("content-type: multipart/form-data"), "{head}");
        }
    }
}
