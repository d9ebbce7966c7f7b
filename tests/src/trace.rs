//! A ladder of what happened, one line each, printed when a test fails.

use bytes::Bytes;
use posthole_protocol::SessionId;
use posthole_protocol::wire::{
    Ack, AnswerPrefix, Bundle, Content, Messages, Prefix, RequestPrefix, decode,
};
use std::collections::VecDeque;
use std::fmt::Write;

/// The last lines of a run, and the sum of all that happened in it.
#[derive(Debug, Default)]
pub struct Trace {
    lines: VecDeque<String>,
    dropped: u64,
    keeps_all: bool,
    sum: crc32fast::Hasher,
}

/// How many lines are kept.
const KEPT: usize = 600;

impl Trace {
    /// Keeps all lines from now on.
    pub fn keep_all(&mut self) {
        self.keeps_all = true;
    }

    /// Adds a line.
    pub fn line(&mut self, now: u64, text: impl AsRef<str>) {
        if self.lines.len() == KEPT && !self.keeps_all {
            self.lines.pop_front();
            self.dropped += 1;
        }
        let line = format!(
            "{:>5}.{:06} {}",
            now / 1_000_000,
            now % 1_000_000,
            text.as_ref()
        );
        self.sum.update(line.as_bytes());
        self.lines.push_back(line);
    }

    /// Adds the bytes of a body, of which lines say the most part, to the sum.
    pub fn body(&mut self, body: &[u8]) {
        self.sum.update(body);
    }

    /// How many lines there were, and a sum over them and all bodies: another run with the same one was the same.
    pub fn sum(&self) -> (u64, u32) {
        let lines = self.dropped + self.lines.len() as u64;
        (lines, self.sum.clone().finalize())
    }

    /// All lines that are kept.
    pub fn text(&self) -> String {
        let mut out = String::new();
        if self.dropped > 0 {
            let _ = writeln!(out, "  ... {} lines before", self.dropped);
        }
        for line in &self.lines {
            let _ = writeln!(out, "{line}");
        }
        out
    }
}

/// What a request's body says.
pub fn request(id: &SessionId, body: &Bytes) -> String {
    bundles::<RequestPrefix>(id, None, body, |out, p| {
        let _ = write!(out, " {}", ack(&p.ack));
        flag(out, p.opening.is_some(), " opening");
        flag(out, p.echo.is_some(), " echo");
        let _ = write!(
            out,
            " credit {} open {:?} hold {} wait {}",
            p.credit, p.open, p.hold, p.wait
        );
        let _ = write!(out, " max {} timer {}", p.answer_max, p.timer / 1000);
        facts(out, p.unread, p.backlog);
    })
}

/// What an answer's body says.
pub fn answer(id: &SessionId, exchange: u64, body: &Bytes) -> String {
    bundles::<AnswerPrefix>(id, Some(exchange), body, |out, p| {
        let _ = write!(out, " {}", ack(&p.ack));
        flag(out, p.opening.is_some(), " opening");
        flag(out, p.nonce.is_some(), " nonce");
        let _ = write!(
            out,
            " credit {} held {:?} newest {}",
            p.credit, p.held, p.newest
        );
        let _ = write!(out, " for {}", p.held_for / 1000);
        flag(out, !p.read, " NOT READ");
        facts(out, p.unread, p.backlog);
    })
}

fn bundles<P: Prefix>(
    id: &SessionId,
    exchange: Option<u64>,
    body: &Bytes,
    prefix: impl Fn(&mut String, &P),
) -> String {
    let mut rest = body.clone();
    let mut out = format!("{} B", body.len());
    while let Some(bundle) = decode::<P>(&mut rest, id, exchange) {
        let _ = match bundle {
            Ok(Bundle::Session(b)) => {
                let _ = write!(out, " | b{}", b.bundle);
                prefix(&mut out, &b.prefix);
                messages(&mut out, b.messages);
                Ok(())
            }
            Ok(Bundle::Refusal(r)) => write!(out, " | {r:?}"),
            Err(e) => write!(out, " | unreadable: {e:?}"),
        };
    }
    out
}

fn flag(out: &mut String, is: bool, says: &str) {
    if is {
        out.push_str(says);
    }
}

fn facts(out: &mut String, unread: u64, backlog: u64) {
    if unread > 0 {
        let _ = write!(out, " unread {unread}");
    }
    if backlog > 0 {
        let _ = write!(out, " backlog {backlog}");
    }
}

fn ack(ack: &Ack) -> String {
    if ack.ranges.is_empty() {
        format!("ack {}", ack.next)
    } else {
        format!("ack {} {:?}", ack.next, ack.ranges)
    }
}

fn messages(out: &mut String, messages: Messages) {
    for (count, message) in messages {
        let first = message.number;
        let _ = match message.content {
            Content::Data {
                stream,
                offset,
                fin,
                payload,
            } => {
                let fin = if fin { " fin" } else { "" };
                write!(
                    out,
                    " {first}+{count}:s{}@{offset}+{}{fin}",
                    stream.number(),
                    payload.len()
                )
            }
            Content::Void => write!(out, " {first}:void"),
            Content::Control(control) => write!(out, " {first}:{control:?}"),
        };
    }
}
