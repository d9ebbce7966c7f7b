//! The self-delimiting, checked unit of the wire (PROTOCOL §3.1, §3.2, §3.7).

use super::chain::Chain;
use super::message::Message;
use super::prefix::{AnswerPrefix, RequestPrefix};
use crate::id::{Instance, SessionId};
use bytes::Bytes;

/// What can be said of a body before it is believed: where it claims to belong. Nothing of it is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Head {
    /// The version it claims.
    pub version: u8,
    /// Whether it claims to come from the server.
    pub answer: bool,
    /// The exchange it claims.
    pub exchange: u64,
    /// The bundle number it claims.
    pub bundle: u64,
    /// The session it claims; requests only.
    pub session: Option<SessionId>,
}

impl Head {
    /// Reads the head of the first bundle in a body, of any version. `None` if there is none: too short, another
    /// magic, a length below the head's own.
    pub fn peek(body: &[u8]) -> Option<Head> {
        let _ = body;
        todo!()
    }
}

/// A bundle that passed its check and parses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bundle<P> {
    /// One of the session's own.
    Session(Decoded<P>),
    /// One that says something of the session from outside it; answers only.
    Refusal(Refusal),
}

/// The parts of a session's own bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded<P> {
    /// The exchange it belongs to.
    pub exchange: u64,
    /// Its own number.
    pub bundle: u64,
    /// What stands before the messages.
    pub prefix: P,
    /// The messages.
    pub messages: Messages,
}

/// The messages of a bundle that was validated: an iterator that slices their payloads.
///
/// Runs of data messages with following numbers where each continues the one before come out as one item: their
/// payload is one slice of the body. An item is `(count, Message)`; `count` is how many numbers it covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Messages {
    // headers left, position in headers, position in payloads, last number, last stream and end ...
    body: Bytes,
}

impl Messages {
    /// How many message numbers there are in all.
    pub fn count(&self) -> u64 {
        todo!()
    }
}

impl Iterator for Messages {
    type Item = (u64, Message);

    fn next(&mut self) -> Option<(u64, Message)> {
        let _ = &self.body;
        todo!()
    }
}

/// Why a bundle is not believed (PROTOCOL §3.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unreadable {
    /// It ends before it should.
    Short,
    /// It does not begin with the magic.
    Magic,
    /// Its version is not spoken here.
    Version(u8),
    /// A flag that is not known, the wrong direction, or sealed.
    Flags,
    /// The check is wrong: damaged, or another session's or exchange's.
    Check,
    /// The check is right and the content does not parse.
    Content,
}

/// What a server says of a session from outside it (PROTOCOL §3.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The id is unknown.
    Gone(Instance),
    /// No room; try again after so many milliseconds.
    Busy(u64),
    /// The request could not be read.
    Unreadable,
    /// The request's version is none of these.
    Version(u8, u8),
    /// The session has ended in order; everything below this number was delivered.
    Ended(u64),
}

/// A prefix of either direction.
pub trait Prefix: Sized + sealed::Prefix {}
impl Prefix for RequestPrefix {}
impl Prefix for AnswerPrefix {}

mod sealed {
    /// What bundles need of a prefix: its direction, and its bytes.
    pub trait Prefix {}
    impl Prefix for crate::wire::RequestPrefix {}
    impl Prefix for crate::wire::AnswerPrefix {}
}

/// Takes the first bundle off the front of `body`. `None` when `body` is empty. After an `Err` nothing further in
/// the body may be read; `body` is then empty.
///
/// `exchange` is, for answers, the exchange that the response belongs to as HTTP knows it: a bundle that names
/// another does not pass (`Unreadable::Check`). For requests `None`.
pub fn decode<P: Prefix>(
    body: &mut Bytes,
    session: &SessionId,
    exchange: Option<u64>,
) -> Option<Result<Bundle<P>, Unreadable>> {
    let _ = (body, session, exchange);
    todo!()
}

/// The bytes of a bundle. Messages must have rising numbers; a data message that continues the one before it is
/// found out here. Payloads are not copied unless small (see `chain`).
pub fn encode<P: Prefix>(session: &SessionId, exchange: u64, bundle: u64, prefix: &P, messages: &[Message]) -> Chain {
    let _ = (session, exchange, bundle, prefix, messages);
    todo!()
}

/// The bytes of a refusal.
pub fn refusal(session: &SessionId, exchange: u64, refusal: Refusal) -> Chain {
    let _ = (session, exchange, refusal);
    todo!()
}
