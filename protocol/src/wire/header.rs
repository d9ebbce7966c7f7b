//! The headers of messages (§3.6): one pass that both directions and both readers (validation, [`Messages`]) share.
//!
//! [`Messages`]: super::messages::Messages

use super::codec::{Put, Size, byte, take};
use super::message::{Content, Control, MAX_PAYLOAD, Message};
use super::varint::{self, LIMIT};
use crate::id::StreamId;

const DATA: u8 = 0;
const VOID: u8 = 1;
const CONTROL: u8 = 2;
const KINDS: u8 = 0x0f;

const NUMBERED: u8 = 0x10;
const CONTINUES: u8 = 0x20;
const FIN: u8 = 0x40;
const MUST_UNDERSTAND: u8 = 0x80;

/// The most bytes that the fields of a control message take.
const MAX_FIELDS: u64 = 1024;

/// What a header of a bundle leaves for the next one to build upon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Walk {
    /// The number of the last message.
    number: Option<u64>,
    /// The stream of the last data message and the offset where it ended.
    data: Option<(StreamId, u64)>,
}

/// A header that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header<'a> {
    pub(super) number: u64,
    pub(super) says: Says<'a>,
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says<'a> {
    Data {
        stream: StreamId,
        offset: u64,
        /// Where the payload ends in the stream.
        end: u64,
        /// At most [`MAX_PAYLOAD`].
        len: usize,
        fin: bool,
    },
    Void,
    Control {
        must_understand: bool,
        kind: u64,
        fields: &'a [u8],
    },
}

impl Walk {
    /// Takes the next header off the front of `from`. `None` if there is no valid one.
    pub(super) fn get<'a>(&mut self, from: &mut &'a [u8]) -> Option<Header<'a>> {
        let first = byte(from)?;
        let kind = first & KINDS;
        let allowed = match kind {
            DATA => NUMBERED | CONTINUES | FIN,
            VOID => NUMBERED,
            CONTROL => NUMBERED | MUST_UNDERSTAND,
            _ => return None,
        };
        if first & !KINDS & !allowed != 0 {
            return None;
        }
        let number = if first & NUMBERED != 0 {
            varint::get(from).filter(|number| self.number.is_none_or(|last| last < *number))?
        } else {
            following(self.number).filter(|number| *number < LIMIT)?
        };
        let says = match kind {
            DATA => {
                let (stream, offset) = if first & CONTINUES != 0 {
                    self.data?
                } else {
                    (
                        StreamId::from_number(varint::get(from)?),
                        varint::get(from)?,
                    )
                };
                let len = varint::get(from)?;
                let end = offset.checked_add(len).filter(|end| *end < LIMIT)?;
                let len = usize::try_from(len)
                    .ok()
                    .filter(|len| *len <= MAX_PAYLOAD)?;
                let fin = first & FIN != 0;
                self.data = Some((stream, end));
                Says::Data {
                    stream,
                    offset,
                    end,
                    len,
                    fin,
                }
            }
            VOID => Says::Void,
            _ => {
                let kind = varint::get(from)?;
                let len = varint::get(from).filter(|len| *len <= MAX_FIELDS)?;
                Says::Control {
                    must_understand: first & MUST_UNDERSTAND != 0,
                    kind,
                    fields: take(from, len)?,
                }
            }
        };
        self.number = Some(number);
        Some(Header { number, says })
    }

    /// Writes the header of `message`, in the shortest form.
    ///
    /// # Panics
    /// If the message breaks what its type says of its fields, or its number is not above the last one.
    pub(super) fn put(&mut self, out: &mut impl Put, message: &Message) {
        assert!(
            self.number.is_none_or(|last| last < message.number),
            "message numbers in a bundle rise"
        );
        let numbered = following(self.number) != Some(message.number);
        let put_first = |out: &mut _, kind_and_flags: u8| {
            Put::byte(out, kind_and_flags | if numbered { NUMBERED } else { 0 });
            if numbered {
                Put::varint(out, message.number);
            }
        };
        match &message.content {
            Content::Data {
                stream,
                offset,
                fin,
                payload,
            } => {
                let continues = self.data == Some((*stream, *offset));
                put_first(
                    out,
                    DATA | if continues { CONTINUES } else { 0 } | if *fin { FIN } else { 0 },
                );
                if !continues {
                    out.varint(stream.number());
                    out.varint(*offset);
                }
                assert!(payload.len() <= MAX_PAYLOAD, "a payload has at most 16 KiB");
                let len = payload.len() as u64;
                out.varint(len);
                let end = offset.checked_add(len).filter(|end| *end < LIMIT);
                self.data = Some((*stream, end.expect("offset plus length is below 2^62")));
            }
            Content::Void => put_first(out, VOID),
            Content::Control(control) => {
                // All that this version sends are to be understood.
                put_first(out, CONTROL | MUST_UNDERSTAND);
                put_control(out, control);
            }
        }
        self.number = Some(message.number);
    }
}

fn put_control(out: &mut impl Put, control: &Control) {
    out.varint(control.kind());
    out.varint(Size::of(|size| control.put_fields(size)) as u64);
    control.put_fields(out);
}

fn following(last: Option<u64>) -> Option<u64> {
    last?.checked_add(1)
}
