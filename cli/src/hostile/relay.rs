//! One exchange: taken to the server, harmed on the way there or back.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use super::faults::{Fault, Harm};
use super::http::{self, Message, Start};
use super::{Shared, Upstream, reset};

/// How long a request that is held back waits for the next one.
const HELD_BACK: Duration = Duration::from_millis(500);
/// How long a connection whose exchange was lost stays open.
const LOST: Duration = Duration::from_secs(120);

/// One exchange on one client's connection.
pub(super) struct Relay<'a> {
    pub(super) connection: &'a TcpStream,
    pub(super) shared: &'a Shared,
}

impl Relay<'_> {
    /// Carries one exchange and does it the harm drawn; whether the connection may be used again.
    pub(super) fn carry(&self, mut request: Message, harm: Harm) -> io::Result<bool> {
        let keep = request.keep_alive;
        self.shared.pass();
        match harm.fault {
            None => {}
            Some(Fault::Delay) => self.shared.wait(harm.late, |_| false),
            Some(Fault::Reorder) => {
                let passed = self.shared.lock().passed;
                self.shared.wait(HELD_BACK, |s| s.passed > passed);
            }
            Some(Fault::LoseRequest) => return self.lose(),
            Some(Fault::LoseResponse) => {
                let _ = self.forward(&request);
                return self.lose();
            }
            Some(Fault::ErrorBefore) => return self.answer(&http::page(502, "Bad Gateway"), keep),
            Some(Fault::ErrorAfter) => {
                let _ = self.forward(&request);
                return self.answer(&http::page(502, "Bad Gateway"), keep);
            }
            Some(Fault::Double) => {
                // The answer that comes first is passed on; both are waited for, so that no thread is left behind.
                let (first, second) = thread::scope(|scope| {
                    let second = scope.spawn(|| self.forward(&request));
                    (self.forward(&request), second.join())
                });
                let answer = first.or_else(|e| second.unwrap_or(Err(e)));
                return self.finish(answer, keep);
            }
            Some(Fault::CorruptRequest) => flip(&mut request.body, harm.place),
            Some(Fault::ResetBefore) => {
                reset(self.connection);
                return Ok(false);
            }
            Some(Fault::Cut | Fault::CutClean | Fault::CorruptResponse | Fault::ResetAfter) => {}
        }
        let mut answer = match self.forward(&request) {
            Ok(answer) => answer,
            Err(error) => return self.finish(Err(error), keep),
        };
        let half = usize::try_from(harm.place).unwrap_or(0) % answer.body.len().max(1);
        match harm.fault {
            Some(Fault::Cut) => self.cut(&answer, half),
            Some(Fault::ResetAfter) => {
                self.cut(&answer, half)?;
                reset(self.connection);
                Ok(false)
            }
            Some(Fault::CutClean) => {
                answer.body.truncate(half);
                self.answer(&answer, keep)
            }
            Some(Fault::CorruptResponse) => {
                flip(&mut answer.body, harm.place);
                self.answer(&answer, keep)
            }
            None
            | Some(
                Fault::Delay
                | Fault::Reorder
                | Fault::LoseRequest
                | Fault::LoseResponse
                | Fault::ErrorBefore
                | Fault::ErrorAfter
                | Fault::Double
                | Fault::CorruptRequest
                | Fault::ResetBefore,
            ) => self.answer(&answer, keep),
        }
    }

    fn forward(&self, request: &Message) -> io::Result<Message> {
        let Start::Request { method, target } = &request.start else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let (upstream, path) = match self.shared.upstream {
            Upstream::Fixed(addr) => (TcpStream::connect(addr), target.as_str()),
            Upstream::AsAsked => {
                let rest = target
                    .strip_prefix("http://")
                    .ok_or(io::ErrorKind::InvalidInput)?;
                let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                let upstream = if host.ends_with(']') || !host.contains(':') {
                    TcpStream::connect(format!("{host}:80"))
                } else {
                    TcpStream::connect(host)
                };
                (upstream, if path.is_empty() { "/" } else { path })
            }
        };
        let upstream = upstream?;
        upstream.set_nodelay(true)?;
        self.shared.lock().passed += 1;
        self.shared.changed.notify_all();
        let start = Start::Request {
            method: method.clone(),
            target: path.to_owned(),
        };
        http::exchange(
            upstream,
            &Message {
                start,
                ..request.clone()
            },
        )
    }

    /// Passes on an answer, or says that there was none.
    fn finish(&self, answer: io::Result<Message>, keep: bool) -> io::Result<bool> {
        match answer {
            Ok(answer) => self.answer(&answer, keep),
            Err(_) => self.answer(&http::page(502, "Bad Gateway"), keep),
        }
    }

    pub(super) fn answer(&self, answer: &Message, keep: bool) -> io::Result<bool> {
        self.write(&http::encode(answer, keep))?;
        Ok(keep)
    }

    /// The head as if the whole would follow, and then a part of the body.
    fn cut(&self, answer: &Message, part: usize) -> io::Result<bool> {
        let whole = http::encode(answer, false);
        self.write(&whole[..whole.len() - answer.body.len() + part])?;
        Ok(false)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.shared.pass();
        let mut connection = self.connection;
        connection.write_all(bytes)?;
        self.shared.lock().counts.down += bytes.len() as u64;
        Ok(())
    }

    /// Nothing is ever said; the connection stays open until the client loses patience.
    fn lose(&self) -> io::Result<bool> {
        self.connection.set_read_timeout(Some(LOST))?;
        let mut connection = self.connection;
        let _ = connection.read(&mut [0; 1]);
        Ok(false)
    }
}

fn flip(body: &mut [u8], place: u64) {
    let bits = body.len() as u64 * 8;
    if let Some(bit) = place.checked_rem(bits) {
        let byte = usize::try_from(bit / 8).expect("below the body's length");
        body[byte] ^= 1 << (bit % 8);
    }
}
