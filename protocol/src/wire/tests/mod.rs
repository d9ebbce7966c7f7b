//! What bundles must be by exact bytes, and what must hold of all of them.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod bundles;
mod content;
mod properties;

use super::head::CHECK_AT;
use super::*;
use crate::id::{SessionId, StreamId};
use alloc::format;
use alloc::vec::Vec;
use bytes::Bytes;

const SESSION: SessionId = SessionId::from_bytes(*b"0123456789abcdef");

/// Bytes from hex digits, blanks ignored.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|c| c.to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    digits
        .chunks_exact(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

/// The bytes of a bundle with its length and check put right.
fn fix(mut bundle: Vec<u8>, session: &SessionId) -> Bytes {
    let len = bundle.len() as u32;
    bundle[4..8].copy_from_slice(&len.to_be_bytes());
    let check = super::head::check(session, &bundle, core::iter::empty());
    bundle[CHECK_AT].copy_from_slice(&check.to_be_bytes());
    bundle.into()
}

fn data(number: u64, stream: u64, offset: u64, payload: impl Into<Bytes>, fin: bool) -> Message {
    let content = Content::Data {
        stream: StreamId::from_number(stream),
        offset,
        fin,
        payload: payload.into(),
    };
    Message { number, content }
}

fn control(number: u64, control: Control) -> Message {
    let content = Content::Control(control);
    Message { number, content }
}

fn void(number: u64) -> Message {
    let content = Content::Void;
    Message { number, content }
}

/// What [`Messages`] is to make of these: runs of continuing data in one.
fn merged(messages: &[Message]) -> Vec<(u64, Message)> {
    let mut items: Vec<(u64, Message)> = Vec::new();
    for message in messages {
        if let Some((count, last)) = items.last_mut()
            && let Content::Data {
                stream,
                offset,
                fin,
                payload,
            } = &mut last.content
            && let Content::Data {
                stream: s,
                offset: o,
                fin: f,
                payload: p,
            } = &message.content
            && (
                *stream,
                *offset + payload.len() as u64,
                last.number + *count,
                *fin,
            ) == (*s, *o, message.number, false)
        {
            *payload = [&payload[..], &p[..]].concat().into();
            (*fin, *count) = (*f, *count + 1);
            continue;
        }
        items.push((1, message.clone()));
    }
    items
}

/// A word for how a whole body was read: for comparing.
fn all<P: Prefix + PartialEq + core::fmt::Debug>(
    mut body: Bytes,
    exchange: Option<u64>,
) -> Vec<Result<Bundle<P>, Unreadable>> {
    core::iter::from_fn(|| decode::<P>(&mut body, &SESSION, exchange)).collect()
}

fn only<P: Prefix>(body: impl Into<Bytes>, exchange: Option<u64>) -> Result<Bundle<P>, Unreadable> {
    let mut body = body.into();
    let first = decode::<P>(&mut body, &SESSION, exchange).unwrap();
    assert!(body.is_empty());
    first
}

fn session<P>(bundle: Bundle<P>) -> Decoded<P> {
    match bundle {
        Bundle::Session(decoded) => decoded,
        Bundle::Refusal(refusal) => panic!("{refusal:?}"),
    }
}

/// The least prefix of a request: all zero, nothing listed.
const REQUEST: &str = "00 00 00 00 00 00 00 00 00 00 00";
/// The least prefix of an answer.
const ANSWER: &str = "00 00 00 00 00 00 00 00 00";

fn request_of(content: &str) -> Bytes {
    let head = "f8 01 00 00 00000000 00000000 0000000000000009 0000000000000002";
    fix(
        [hex(head), SESSION.as_bytes().to_vec(), hex(content)].concat(),
        &SESSION,
    )
}

fn answer_of(flags: u8, content: &str) -> Bytes {
    let head = format!("f8 01 {flags:02x} 00 00000000 00000000 0000000000000009 0000000000000000");
    fix([hex(&head), hex(content)].concat(), &SESSION)
}
