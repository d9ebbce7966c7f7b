//! The decoder: any bytes, and bytes whose check was made true so that they get further.

use bytes::Bytes;
use posthole_protocol::SessionId;
use posthole_protocol::wire::{
    AnswerPrefix, Bundle, Content, Control, Decoded, Head, MAX_PAYLOAD, Message, RequestPrefix,
    decode, encode,
};
use posthole_tests::craft;

const ID: SessionId = SessionId::from_bytes(*b"the fuzzer's own");

/// Decoding never panics, and what decoded means the same after it was encoded again.
pub fn wire_decode(data: &[u8]) {
    let raw = Bytes::copy_from_slice(data);
    let _ = Head::peek(&raw);
    while_some(&raw, |body| {
        decode::<RequestPrefix>(body, &ID, None).is_some()
    });
    while_some(&raw, |body| {
        decode::<AnswerPrefix>(body, &ID, Some(7)).is_some()
    });

    let mut request = vec![0; 44];
    request[..2].copy_from_slice(&[0xf8, 1]);
    request[28..].copy_from_slice(ID.as_bytes());
    request.extend_from_slice(data);
    if let Some(Ok(Bundle::Session(first))) =
        decode::<RequestPrefix>(&mut craft::seal(&ID, request), &ID, None)
    {
        let Some(messages) = sendable(&first) else {
            return;
        };
        let mut again =
            encode(&ID, first.exchange, first.bundle, &first.prefix, &messages).into_bytes();
        let second = decode::<RequestPrefix>(&mut again, &ID, None);
        let Some(Ok(Bundle::Session(second))) = second else {
            panic!("it does not decode again: {second:?}")
        };
        assert_eq!(first.prefix, second.prefix);
        assert!(first.messages.eq(second.messages), "other messages");
    }

    let mut answer = vec![0; 28];
    answer[..3].copy_from_slice(&[0xf8, 1, 1]);
    answer.extend_from_slice(data);
    if let Some(Ok(Bundle::Session(first))) =
        decode::<AnswerPrefix>(&mut craft::seal(&ID, answer), &ID, Some(0))
    {
        let Some(messages) = sendable(&first) else {
            return;
        };
        let mut again =
            encode(&ID, first.exchange, first.bundle, &first.prefix, &messages).into_bytes();
        let second = decode::<AnswerPrefix>(&mut again, &ID, Some(0));
        let Some(Ok(Bundle::Session(second))) = second else {
            panic!("it does not decode again: {second:?}")
        };
        assert_eq!(first.prefix, second.prefix);
        assert!(first.messages.eq(second.messages), "other messages");
    }
}

fn while_some(raw: &Bytes, mut step: impl FnMut(&mut Bytes) -> bool) {
    let mut body = raw.clone();
    let mut left = body.len() + 1;
    while step(&mut body) {
        assert!(body.len() < left, "nothing was taken off");
        left = body.len();
    }
}

/// The messages of a bundle as a sender would give them; `None` if it holds what is never sent.
fn sendable<P: Clone>(bundle: &Decoded<P>) -> Option<Vec<Message>> {
    let mut messages = Vec::new();
    for (count, message) in bundle.messages.clone() {
        match message.content {
            Content::Control(Control::Unknown | Control::NotUnderstood | Control::Malformed) => {
                return None;
            }
            Content::Data {
                stream,
                offset,
                fin,
                mut payload,
            } => {
                // A run of messages came out as one: any split of it means the same.
                let mut at = offset;
                for number in 0..count {
                    let later = usize::try_from(count - number - 1).ok()?;
                    let least = payload
                        .len()
                        .saturating_sub(later.saturating_mul(MAX_PAYLOAD));
                    let piece = payload.split_to(least.max(payload.len().min(MAX_PAYLOAD)));
                    let len = piece.len() as u64;
                    let last = later == 0;
                    let content = Content::Data {
                        stream,
                        offset: at,
                        fin: fin && last,
                        payload: piece,
                    };
                    messages.push(Message {
                        number: message.number + number,
                        content,
                    });
                    at += len;
                }
            }
            content @ (Content::Void | Content::Control(_)) => messages.push(Message {
                number: message.number,
                content,
            }),
        }
    }
    Some(messages)
}
