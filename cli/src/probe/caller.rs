//! One session's requests, made by hand, over the runtime's own lane.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use posthole_blocking::carrier::{How, Lane, Target};
use posthole_protocol::http::Trouble;
use posthole_protocol::wire::{
    Ack, AnswerPrefix, Bundle, Content, Control, Head, Message, Params, RequestPrefix, decode,
    encode,
};
use posthole_protocol::{Failure, Nonce, SessionId};

use super::PATIENCE;

/// How long nothing of a streamed answer may come: the server says something every second.
const STREAMED: Duration = Duration::from_secs(5);

/// Pieces that come so far apart came when they were sent.
const APART: Duration = Duration::from_millis(300);

/// How long a direct connection may take, and its first answer.
const DIRECT: Duration = Duration::from_secs(3);

/// A session of the probe's.
pub(super) struct Caller {
    lane: Lane,
    id: SessionId,
    next: u64,
    nonce: Option<Nonce>,
    heard: Ack,
    padded: bool,
    seen: Seen,
}

/// What could be seen of what stands between.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// An answer came that had been changed.
    pub(super) changed: bool,
    /// Answers came compressed, and how.
    pub(super) encoding: Option<String>,
    /// The boxes that name themselves, as their `Via` says.
    pub(super) via: Option<String>,
    /// The server has made so many answers more than it was asked for.
    pub(super) doubled: u64,
}

/// What a request asks for.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    wait: Duration,
    body: usize,
    answer: usize,
}

impl Asked {
    /// An answer at once.
    pub(super) fn now() -> Asked {
        Asked {
            wait: Duration::ZERO,
            body: 0,
            answer: 4096,
        }
    }

    /// To be held for so long.
    pub(super) fn held(wait: Duration) -> Asked {
        Asked {
            wait,
            ..Asked::now()
        }
    }

    /// With a body of so many bytes.
    pub(super) fn with_body(self, body: usize) -> Asked {
        Asked { body, ..self }
    }

    /// For an answer of so many bytes.
    pub(super) fn with_answer(self, answer: usize) -> Asked {
        Asked { answer, ..self }
    }
}

/// What came back.
pub(super) struct Answer {
    pub(super) took: Duration,
    pub(super) size: usize,
    pub(super) direct_port: Option<u16>,
}

impl Caller {
    /// A session, known to the server as no copy of an old one.
    pub(super) fn open(target: &Arc<Target>, padded: bool) -> Result<(Caller, Answer), Trouble> {
        let mut id = [0; 16];
        crate::random::system(&mut id).map_err(|e| failed(format!("no random bytes: {e}")))?;
        let mut caller = Caller {
            lane: Lane::new(Arc::clone(target)),
            id: SessionId::from_bytes(id),
            next: 0,
            nonce: None,
            heard: Ack::default(),
            padded,
            seen: Seen::default(),
        };
        let first = caller.ask(Asked::now())?;
        if caller.nonce.is_some() {
            caller.ask(Asked::now())?;
        }
        Ok((caller, first))
    }

    /// One exchange.
    pub(super) fn ask(&mut self, asked: Asked) -> Result<Answer, Trouble> {
        self.exchange(asked, &[])
    }

    /// Ends the session, as well as that can be done.
    pub(super) fn close(mut self) {
        let close = Message {
            number: 0,
            content: Content::Control(Control::Close {
                code: 0,
                reason: String::new(),
            }),
        };
        let _ = self.exchange(Asked::now(), &[close]);
        let _ = self.exchange(Asked::now(), &[]);
    }

    /// How many exchanges there were.
    pub(super) fn exchanges(&self) -> u64 {
        self.next
    }

    /// How many connections that took.
    pub(super) fn connections(&self) -> u64 {
        self.lane.connections()
    }

    /// What could be seen of what stands between.
    pub(super) fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Whether an answer that goes on comes piece by piece: when the first came, and the next, or why there was none.
    pub(super) fn streams(&mut self) -> Result<(Duration, Duration), String> {
        let number = self.next;
        self.next += 1;
        let prefix = RequestPrefix {
            streamed: Some(0),
            ..self.prefix(number, Asked::held(STREAMED))
        };
        let body = encode(&self.id, number, number, &prefix, &[]);
        let (begun, mut came) = (Instant::now(), Vec::new());
        let canceller = self.lane.canceller();
        let mut piece = |_| {
            came.push(begun.elapsed());
            if came.len() == 2 {
                canceller.cancel(number);
            }
        };
        let how = How {
            pieces: Some(&mut piece),
            ..How::default()
        };
        let end = self
            .lane
            .exchange_with(number, &body, STREAMED, &mut || {}, how);
        match (&came[..], end) {
            // Had they been kept back, they would have come together.
            ([first, second, ..], _) if *second - *first >= APART => Ok((*first, *second)),
            ([_, _, ..], _) => Err("pieces come together, not as they are sent".to_owned()),
            ([_], Err(trouble)) => Err(format!("ended after the first piece: {}", trouble.says)),
            ([], Err(trouble)) if trouble.failure == Failure::TimedOut => {
                Err(format!("nothing of it came for {} s", STREAMED.as_secs()))
            }
            ([], Err(trouble)) => Err(trouble.says),
            ([] | [_], Ok(_)) => Err("comes as a whole, at its end".to_owned()),
        }
    }

    fn prefix(&self, number: u64, asked: Asked) -> RequestPrefix {
        RequestPrefix {
            opening: (number == 0).then(|| Params {
                streams: 16,
                pad: self.padded.then_some(1),
                ..Params::default()
            }),
            echo: self.nonce,
            ack: self.heard.clone(),
            credit: 65_536,
            timer: 1_000_000,
            hold: 1,
            wait: u64::try_from(asked.wait.as_millis()).unwrap_or(u64::MAX),
            answer_max: asked.answer as u64,
            ..RequestPrefix::default()
        }
    }

    fn exchange(&mut self, asked: Asked, messages: &[Message]) -> Result<Answer, Trouble> {
        let number = self.next;
        self.next += 1;
        let prefix = self.prefix(number, asked);
        let mut body = encode(&self.id, number, number, &prefix, messages);
        // Behind its bundle nothing in a body is read.
        if let Some(more) = asked.body.checked_sub(body.len()) {
            body.push(Bytes::from(vec![0; more]));
        }
        let begun = Instant::now();
        let patience = asked.wait + PATIENCE;
        let seen = &mut self.seen;
        let mut head = |name: &str, value: &str| match name {
            "via" => seen.via = Some(printable(value)),
            "content-encoding" if value != "identity" => seen.encoding = Some(printable(value)),
            _ => {}
        };
        let how = How {
            head: Some(&mut head),
            ..How::default()
        };
        let answer = self
            .lane
            .exchange_with(number, &body, patience, &mut || {}, how)?;
        let took = begun.elapsed();
        let size = answer.len();
        let mut rest = answer;
        match decode::<AnswerPrefix>(&mut rest, &self.id, Some(number)) {
            Some(Ok(Bundle::Session(decoded))) => {
                let params = decoded.prefix.opening.as_ref();
                let port = params.and_then(|p| p.direct).map(u16::try_from);
                self.nonce = decoded.prefix.nonce;
                // Its answers are numbered; each of ours was waited for.
                let more = decoded.bundle.saturating_sub(number);
                self.seen.doubled = self.seen.doubled.max(more);
                for (_, message) in decoded.messages {
                    self.heard.next = self.heard.next.max(message.number + 1);
                }
                Ok(Answer {
                    took,
                    size,
                    direct_port: port.and_then(Result::ok),
                })
            }
            Some(Ok(Bundle::Refusal(refusal))) => {
                Err(failed(format!("the server refuses it: {refusal:?}")))
            }
            Some(Err(_)) | None => {
                self.seen.changed = true;
                Err(failed("the answer was changed on the way".to_owned()))
            }
        }
    }
}

/// At most 80 characters of a header's value, none that moves a terminal's cursor.
fn printable(value: &str) -> String {
    value.chars().filter(|c| !c.is_control()).take(80).collect()
}

fn failed(says: String) -> Trouble {
    Trouble {
        failure: Failure::Cut,
        reached: true,
        says,
    }
}

/// Whether a bundle goes there and back on a direct connection, and how long that takes.
pub(super) fn direct(host: &str, port: u16) -> Result<Duration, String> {
    let mut id = [0; 16];
    crate::random::system(&mut id).map_err(|e| e.to_string())?;
    let id = SessionId::from_bytes(id);
    let prefix = RequestPrefix {
        opening: Some(Params::default()),
        credit: 65_536,
        timer: 1_000_000,
        long: Some(0),
        hold: 1,
        wait: 20_000,
        answer_max: 65_536,
        ..RequestPrefix::default()
    };
    let bundle = encode(&id, 0, 0, &prefix, &[]).into_bytes();
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let mut addresses = (name, port).to_socket_addrs().map_err(|e| e.to_string())?;
    let address = addresses.next().ok_or("the name has no address")?;
    let begun = Instant::now();
    let mut stream = TcpStream::connect_timeout(&address, DIRECT)
        .map_err(|e| format!("no connection to {address}: {e}"))?;
    stream
        .set_read_timeout(Some(DIRECT))
        .map_err(|e| e.to_string())?;
    stream.write_all(&bundle).map_err(|e| e.to_string())?;
    let mut answer = vec![0; 8];
    let read = stream.read_exact(&mut answer);
    read.map_err(|e| format!("{address} takes connections and does not answer: {e}"))?;
    match Head::length(&answer) {
        Some(_) => Ok(begun.elapsed()),
        None => Err(format!("something else answers on {address}")),
    }
}
