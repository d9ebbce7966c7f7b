//! The head of a bundle and its check (§3.1): the fields that stand at the same places in every version.

use super::codec::{self, Put};
use crate::id::SessionId;
use crc32fast::Hasher;

/// The first byte of every bundle: begins no text in any usual encoding.
pub const MAGIC: u8 = 0xf8;

/// The version that is spoken here.
pub const VERSION: u8 = 1;

/// Flag: from the server.
pub(super) const ANSWER: u8 = 0x01;
/// Flag: not the session's own but about it (§3.7).
pub(super) const REFUSAL: u8 = 0x04;

/// Where the check stands.
pub(super) const CHECK_AT: core::ops::Range<usize> = 8..12;

/// How many bytes the head has.
pub(super) const fn head_len(answer: bool) -> usize {
    if answer { 28 } else { 44 }
}

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
    /// How long the bundle is that begins so, by its first 8 bytes. `None` if fewer are there, or these are no bundle's.
    pub fn length(beginning: &[u8]) -> Option<usize> {
        let [magic, _, flags, _, len @ ..] = beginning.first_chunk::<8>()?;
        let len = usize::try_from(u32::from_be_bytes(*len)).unwrap_or(usize::MAX);
        (*magic == MAGIC && len >= head_len(flags & ANSWER != 0)).then_some(len)
    }

    /// Reads the head of the first bundle in a body, of any version. `None` if there is none: too short, another
    /// magic, a length below the head's own.
    pub fn peek(body: &[u8]) -> Option<Head> {
        let fields =
            Fields::get(body).filter(|fields| fields.len >= head_len(fields.is_answer()))?;
        Some(Head {
            version: fields.version,
            answer: fields.is_answer(),
            exchange: fields.exchange,
            bundle: fields.bundle,
            session: fields.session,
        })
    }
}

/// The fields as they stand there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields {
    pub(super) version: u8,
    pub(super) flags: u8,
    pub(super) trailer: u8,
    pub(super) len: usize,
    pub(super) check: u32,
    pub(super) exchange: u64,
    pub(super) bundle: u64,
    pub(super) session: Option<SessionId>,
}

impl Fields {
    /// The fields of a head in front of `body`; `None` if there is another magic or the head is not all there.
    pub(super) fn get(mut body: &[u8]) -> Option<Fields> {
        let from = &mut body;
        let [magic, version, flags, trailer] = codec::array(from)?;
        let mut fields = Fields {
            version,
            flags,
            trailer,
            // What doesn't fit here is larger than any body that is.
            len: usize::try_from(u32::from_be_bytes(codec::array(from)?)).unwrap_or(usize::MAX),
            check: u32::from_be_bytes(codec::array(from)?),
            exchange: u64::from_be_bytes(codec::array(from)?),
            bundle: u64::from_be_bytes(codec::array(from)?),
            session: None,
        };
        if !fields.is_answer() {
            fields.session = Some(SessionId::from_bytes(codec::array(from)?));
        }
        (magic == MAGIC).then_some(fields)
    }

    pub(super) fn put(&self, out: &mut impl Put) {
        let len = u32::try_from(self.len).expect("a bundle is shorter than 4 GiB");
        out.slice(&[MAGIC, self.version, self.flags, self.trailer]);
        out.slice(&len.to_be_bytes());
        out.slice(&self.check.to_be_bytes());
        out.slice(&self.exchange.to_be_bytes());
        out.slice(&self.bundle.to_be_bytes());
        if let Some(session) = &self.session {
            out.slice(session.as_bytes());
        }
    }

    pub(super) fn is_answer(&self) -> bool {
        self.flags & ANSWER != 0
    }
}

/// The check of a bundle that is `first`, the whole head in it, and then `rest` (§3.1.1).
pub(super) fn check<'a>(
    session: &SessionId,
    first: &[u8],
    rest: impl Iterator<Item = &'a [u8]>,
) -> u32 {
    let mut check = Hasher::new();
    check.update(session.as_bytes());
    check.update(first.get(..CHECK_AT.start).unwrap_or(first));
    check.update(first.get(CHECK_AT.end..).unwrap_or_default());
    rest.for_each(|more| check.update(more));
    check.finalize()
}
