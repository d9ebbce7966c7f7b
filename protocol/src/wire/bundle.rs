//! The self-delimiting, checked unit of the wire (PROTOCOL §3.1, §3.2, §3.7).

use super::chain::{Chain, SMALL};
use super::codec::{Put, Size, byte};
use super::head::{ANSWER, CHECK_AT, Fields, MAGIC, REFUSAL, VERSION, check, head_len};
use super::header::Walk;
use super::message::Message;
use super::messages::Messages;
use super::prefix::{AnswerPrefix, RequestPrefix};
use super::refusal::Refusal;
use super::varint::{self, LIMIT};
use crate::id::SessionId;
use bytes::{BufMut, Bytes, BytesMut};
use core::iter;

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

/// Why a bundle is not believed (PROTOCOL §3.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unreadable {
    /// It ends before it should, or its length is smaller than its head.
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

/// A prefix of either direction.
pub trait Prefix: Sized + sealed::Prefix {}
impl Prefix for RequestPrefix {}
impl Prefix for AnswerPrefix {}

pub(super) mod sealed {
    use crate::wire::codec::Put;

    /// What bundles need of a prefix: its direction and its layout.
    pub trait Prefix: Sized {
        /// Whether it is the server's.
        const ANSWER: bool;

        /// Writes it, as part of a bundle of this exchange.
        fn put(&self, exchange: u64, out: &mut impl Put);

        /// Takes it off the front of `from`, a bundle of this exchange. `None` if it does not parse.
        fn get(from: &mut &[u8], exchange: u64) -> Option<Self>;
    }
}

/// Takes the first bundle off the front of `body`. `None` when `body` is empty. After an `Err` nothing further in
/// the body may be read; `body` is then empty.
///
/// `exchange` is, for answers, the exchange that the response belongs to as HTTP knows it: a bundle that names
/// another does not pass (`Unreadable::Check`). For requests `None`.
///
/// # Errors
/// The first of these that applies (§3.1.2): `Magic`; `Version`, if at least the length is right; `Flags`; `Short`,
/// which is also what any bundle is that was cut off; `Check`; `Content`.
pub fn decode<P: Prefix>(
    body: &mut Bytes,
    session: &SessionId,
    exchange: Option<u64>,
) -> Option<Result<Bundle<P>, Unreadable>> {
    // What is not put back below stays taken: nothing is read after an error.
    let mut rest = core::mem::take(body);
    if rest.is_empty() {
        return None;
    }
    Some(frame(P::ANSWER, &rest).and_then(|head| {
        let bundle = rest.split_to(head.len);
        let content = believe(bundle, &head, session, exchange)?;
        *body = rest;
        Ok(content)
    }))
}

/// The head of the bundle in front of `body`, if it is what is spoken here and all of the bundle is there.
fn frame(answer: bool, body: &[u8]) -> Result<Fields, Unreadable> {
    let mut left = body;
    if byte(&mut left) != Some(MAGIC) {
        return Err(Unreadable::Magic);
    }
    let version = byte(&mut left).ok_or(Unreadable::Short)?;
    let flags = byte(&mut left).ok_or(Unreadable::Short)?;
    let expected = if answer {
        [ANSWER, ANSWER | REFUSAL]
    } else {
        [0, 0]
    };
    if version == VERSION && !expected.contains(&flags) {
        return Err(Unreadable::Flags);
    }
    let head = Fields::get(body).ok_or(Unreadable::Short)?;
    if head.len < head_len(head.is_answer()) || head.len > body.len() {
        return Err(Unreadable::Short);
    }
    // "A version it does not speak is reported as such (§3.7) where length and magic are right."
    if version == VERSION {
        Ok(head)
    } else {
        Err(Unreadable::Version(version))
    }
}

/// What `bundle` says, if it belongs here, passes its check and parses.
fn believe<P: Prefix>(
    bundle: Bytes,
    head: &Fields,
    session: &SessionId,
    exchange: Option<u64>,
) -> Result<Bundle<P>, Unreadable> {
    let belongs = head.session.is_none_or(|it| it == *session)
        && exchange.is_none_or(|it| it == head.exchange);
    if !belongs || check(session, &bundle, iter::empty()) != head.check {
        return Err(Unreadable::Check);
    }
    content(bundle, head).ok_or(Unreadable::Content)
}

fn content<P: Prefix>(bundle: Bytes, head: &Fields) -> Option<Bundle<P>> {
    if head.exchange >= LIMIT || head.bundle >= LIMIT {
        return None;
    }
    let end = bundle.len().checked_sub(head.trailer.into())?;
    let mut left = bundle.get(head_len(P::ANSWER)..end)?;
    if head.flags & REFUSAL != 0 {
        let refusal = Refusal::get(&mut left)?;
        return (left.is_empty() && head.bundle == 0).then_some(Bundle::Refusal(refusal));
    }
    let prefix = P::get(&mut left, head.exchange)?;
    let numbers = varint::get(&mut left)?;
    let headers = end.checked_sub(left.len())?;
    Some(Bundle::Session(Decoded {
        exchange: head.exchange,
        bundle: head.bundle,
        prefix,
        messages: Messages::validate(bundle, headers..end, numbers)?,
    }))
}

/// The bytes of a bundle. Messages must have rising numbers; a data message that continues the one before it is
/// found out here. Payloads are not copied unless small (see [`Chain`]); all else is one block.
///
/// # Panics
/// If a field breaks what its type says of it: message numbers that don't rise; numbers, offsets or sizes of 2^62 or
/// more; a list, reason or payload that is too long; ranges or exchanges out of order; a control that is never sent.
/// And if it would be 4 GiB or more.
pub fn encode<P: Prefix>(
    session: &SessionId,
    exchange: u64,
    bundle: u64,
    prefix: &P,
    messages: &[Message],
) -> Chain {
    encode_in(
        &mut BytesMut::new(),
        session,
        exchange,
        bundle,
        prefix,
        messages,
    )
}

/// The same, with the block taken off `memory`, which grows when it is used up: bundles of which nothing is left give
/// theirs back.
///
/// # Panics
/// As [`encode`].
pub(crate) fn encode_in<P: Prefix>(
    memory: &mut BytesMut,
    session: &SessionId,
    exchange: u64,
    bundle: u64,
    prefix: &P,
    messages: &[Message],
) -> Chain {
    let head = Fields {
        version: VERSION,
        flags: if P::ANSWER { ANSWER } else { 0 },
        trailer: 0,
        len: 0,
        check: 0,
        exchange,
        bundle,
        session: (!P::ANSWER).then_some(*session),
    };
    let content = Size::of(|size| put_content(size, exchange, prefix, messages));
    seal(memory, session, head, content, messages, |block| {
        put_content(block, exchange, prefix, messages)
    })
}

fn put_content<P: Prefix>(out: &mut impl Put, exchange: u64, prefix: &P, messages: &[Message]) {
    prefix.put(exchange, out);
    out.varint(messages.len() as u64);
    let mut walk = Walk::default();
    messages.iter().for_each(|message| walk.put(out, message));
}

/// The bytes of a refusal.
///
/// # Panics
/// If a number is 2^62 or more.
pub fn refusal(session: &SessionId, exchange: u64, refusal: Refusal) -> Chain {
    let head = Fields {
        version: VERSION,
        flags: ANSWER | REFUSAL,
        trailer: 0,
        len: 0,
        check: 0,
        exchange,
        bundle: 0,
        session: None,
    };
    let content = Size::of(|size| refusal.put(size));
    seal(&mut BytesMut::new(), session, head, content, &[], |block| {
        refusal.put(block)
    })
}

/// Blocks are cut off memory of this size, in bytes, or larger: some five of small bundles in a row.
const BLOCK: usize = 512;

/// A bundle of this head, but for its length and check, of a content of so many bytes, and of the payloads of
/// `messages`.
fn seal(
    memory: &mut BytesMut,
    session: &SessionId,
    mut head: Fields,
    content: usize,
    messages: &[Message],
    put: impl FnOnce(&mut BytesMut),
) -> Chain {
    assert!(
        head.exchange < LIMIT && head.bundle < LIMIT,
        "a number of 2^62 or more cannot travel"
    );
    let before = head_len(head.is_answer()).saturating_add(content);
    let (mut room, mut len, mut parts) = (0_usize, 0_usize, 0_usize);
    for piece in pieces(before, messages) {
        let (of_block, size) = match piece {
            Piece::Block(size) => (size, size),
            Piece::Payload(payload) => (0, payload.len()),
        };
        room = room.saturating_add(of_block);
        len = len.saturating_add(size);
        parts = parts.saturating_add(1);
    }
    head.len = len;

    memory.clear();
    if memory.capacity() < room {
        memory.reserve(room.max(BLOCK));
    }
    head.put(memory);
    put(memory);
    small_payloads(messages).for_each(|payload| memory.put_slice(payload));
    debug_assert_eq!(memory.len(), room, "the layout wrote what it counted");

    let mut left = &memory[..];
    let mut all = pieces(before, messages).map(|piece| match piece {
        Piece::Block(size) => left
            .split_off(..size)
            .expect("the block has what was counted"),
        Piece::Payload(payload) => payload,
    });
    let first = all.next().expect("the head is in the first piece");
    let check = check(session, first, all);
    let field = memory.get_mut(CHECK_AT).expect("the head is in the block");
    field.copy_from_slice(&check.to_be_bytes());

    let mut block = memory.split().freeze();
    let mut chain = Chain::with_capacity(parts);
    for piece in pieces(before, messages) {
        chain.push(match piece {
            Piece::Block(size) => block.split_to(size),
            Piece::Payload(payload) => payload.clone(),
        });
    }
    chain
}

/// What is written one after the other.
enum Piece<'a> {
    /// So many further bytes of the block.
    Block(usize),
    /// A payload that is not in the block.
    Payload(&'a Bytes),
}

/// The pieces of a bundle whose block has so many bytes before the first payload.
fn pieces(before: usize, messages: &[Message]) -> impl Iterator<Item = Piece<'_>> {
    let mut payloads = messages.iter().filter_map(Message::payload);
    let mut block = before;
    let mut large = None;
    iter::from_fn(move || {
        if large.is_none() {
            large = payloads.by_ref().find(|payload| {
                let is_small = payload.len() < SMALL;
                block = block.saturating_add(if is_small { payload.len() } else { 0 });
                !is_small
            });
        }
        match core::mem::take(&mut block) {
            0 => large.take().map(Piece::Payload),
            size => Some(Piece::Block(size)),
        }
    })
}

fn small_payloads(messages: &[Message]) -> impl Iterator<Item = &Bytes> {
    let payloads = messages.iter().filter_map(Message::payload);
    payloads.filter(|payload| payload.len() < SMALL)
}
