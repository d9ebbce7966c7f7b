//! One session's requests, made by hand, over the runtime's own lane.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use posthole_blocking::carrier::{Lane, Target};
use posthole_protocol::http::Trouble;
use posthole_protocol::wire::{
    Ack, AnswerPrefix, Bundle, Content, Control, Head, Message, Params, RequestPrefix, decode,
    encode,
};
use posthole_protocol::{Failure, Nonce, SessionId};

use super::PATIENCE;

/// How long a direct connection may take, and its first answer.
const DIRECT: Duration = Duration::from_secs(3);

/// A session of the probe's.
pub(super) struct Caller {
    lane: Lane,
    id: SessionId,
    next: u64,
    nonce: Option<Nonce>,
    heard: Ack,
    changed: bool,
    padded: bool,
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
            changed: false,
            padded,
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

    /// Whether an answer came that had been changed on the way.
    pub(super) fn changed(&self) -> bool {
        self.changed
    }

    fn exchange(&mut self, asked: Asked, messages: &[Message]) -> Result<Answer, Trouble> {
        let number = self.next;
        self.next += 1;
        let prefix = RequestPrefix {
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
        };
        let mut body = encode(&self.id, number, number, &prefix, messages);
        // Behind its bundle nothing in a body is read.
        if let Some(more) = asked.body.checked_sub(body.len()) {
            body.push(Bytes::from(vec![0; more]));
        }
        let begun = Instant::now();
        let patience = asked.wait + PATIENCE;
        let answer = self.lane.exchange(number, &body, patience, &mut || {})?;
        let took = begun.elapsed();
        let size = answer.len();
        let mut rest = answer;
        match decode::<AnswerPrefix>(&mut rest, &self.id, Some(number)) {
            Some(Ok(Bundle::Session(decoded))) => {
                let params = decoded.prefix.opening.as_ref();
                let port = params.and_then(|p| p.direct).map(u16::try_from);
                self.nonce = decoded.prefix.nonce;
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
                self.changed = true;
                Err(failed("the answer was changed on the way".to_owned()))
            }
        }
    }
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
