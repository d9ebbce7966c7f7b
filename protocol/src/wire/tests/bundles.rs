//! Head, check and pieces, byte by byte.

use super::*;
use crate::error::ResetCode;
use alloc::vec;
use smallvec::smallvec;

#[test]
fn a_request_is_these_bytes() {
    let prefix = RequestPrefix {
        credit: 300,
        open: smallvec![8, 4],
        ..RequestPrefix::default()
    };
    let messages = [
        data(7, 2, 64, "ab", false),
        data(8, 2, 66, "c", true),
        void(10),
        control(
            11,
            Control::Stop {
                stream: StreamId::from_number(1),
                code: ResetCode(5),
            },
        ),
        data(12, 2, 67, "", false),
        data(13, 0, 67, "d", false),
    ];
    let bytes = encode(&SESSION, 9, 2, &prefix, &messages).into_bytes();
    // The check is what Python's zlib.crc32 makes of the session id and all bytes but these four.
    let expected = hex("
         f8 01 00 00 00000055 7e11fc25 0000000000000009 0000000000000002
         30313233343536373839616263646566
         00  00 00  412c 00 00  02 01 05  00 00 00 00
         06  10 07 02 4040 02  60 01  11 0a  82 04 02 01 05  20 00  00 00 4043 01
         61 62 63 64");
    assert_eq!(bytes, expected);
}

/// By what a connection's reader cuts bundles off: 44 bytes of head in a request, 28 in an answer.
#[test]
fn a_bundle_s_length_is_known_by_its_beginning() {
    let length = |magic: u8, flags: u8, len: u32| {
        let mut bytes = vec![magic, 0, flags, 0];
        bytes.extend_from_slice(&len.to_be_bytes());
        Head::length(&bytes)
    };
    assert_eq!(length(0xf8, 0, 44), Some(44));
    assert_eq!(length(0xf8, 0, 43), None);
    assert_eq!(length(0xf8, 1, 28), Some(28));
    assert_eq!(length(0xf8, 1, 27), None);
    assert_eq!(length(0xf9, 0, 44), None);
    assert_eq!(length(0xf8, 0, u32::MAX), Some(u32::MAX as usize));
    assert_eq!(Head::length(&[0xf8, 0, 0, 0, 0, 0, 1]), None);
}

#[test]
fn the_head_can_be_read_whatever_the_version_says() {
    let mut bytes = encode(&SESSION, 9, 2, &RequestPrefix::default(), &[])
        .into_bytes()
        .to_vec();
    bytes[1] = 7;
    let head = Head {
        version: 7,
        answer: false,
        exchange: 9,
        bundle: 2,
        session: Some(SESSION),
    };
    assert_eq!(Head::peek(&bytes), Some(head));
    assert_eq!(Head::peek(&bytes[..44]), Some(head));
    assert_eq!(Head::peek(&bytes[..43]), None);
    assert_eq!(
        only::<RequestPrefix>(bytes.clone(), None),
        Err(Unreadable::Version(7))
    );
    assert_eq!(
        only::<RequestPrefix>(bytes[..50].to_vec(), None),
        Err(Unreadable::Short)
    );
    bytes[7] = 43;
    assert_eq!(Head::peek(&bytes), None);
    bytes[7] = 44;
    bytes[0] = b'<';
    assert_eq!(Head::peek(&bytes), None);

    let answer = encode(&SESSION, 9, 2, &AnswerPrefix::default(), &[]).into_bytes();
    let head = Head::peek(&answer[..28]).unwrap();
    assert_eq!((head.answer, head.session), (true, None));
    assert_eq!(Head::peek(&answer[..27]), None);
}

#[test]
fn errors_come_in_the_order_of_the_rule() {
    let whole = encode(&SESSION, 9, 2, &RequestPrefix::default(), &[]).into_bytes();
    // Each spoils one more thing, from the last rule to the first.
    let mut bytes = whole.to_vec();
    let mut spoil = |at: usize, to: u8, expected| {
        bytes[at] = to;
        assert_eq!(only::<RequestPrefix>(bytes.clone(), None), Err(expected));
    };
    spoil(20, 0xff, Unreadable::Check);
    spoil(7, 0xff, Unreadable::Short);
    spoil(2, 0x02, Unreadable::Flags);
    spoil(1, 2, Unreadable::Short);
    spoil(7, whole.len() as u8, Unreadable::Version(2));
    spoil(0, b'H', Unreadable::Magic);
}

#[test]
fn only_the_expected_flags_are_read() {
    for flags in 0..=255 {
        let answer = only::<AnswerPrefix>(answer_of(flags, "03"), None);
        let request = encode(&SESSION, 9, 2, &RequestPrefix::default(), &[]).into_bytes();
        let mut request = request.to_vec();
        request[2] = flags;
        let request = only::<RequestPrefix>(fix(request, &SESSION), None);
        match flags {
            0 => assert!(request.is_ok()),
            _ => assert_eq!(request, Err(Unreadable::Flags)),
        }
        match flags {
            1 => assert_eq!(answer, Err(Unreadable::Content)),
            5 => assert_eq!(answer, Ok(Bundle::Refusal(Refusal::Unreadable))),
            _ => assert_eq!(answer, Err(Unreadable::Flags)),
        }
    }
}

#[test]
fn another_sessions_and_another_exchanges_bundles_do_not_pass() {
    let other = SessionId::from_bytes(*b"0123456789abcdeg");
    for session in [SESSION, other] {
        let mine = session == SESSION;
        let answer = encode(&session, 9, 0, &AnswerPrefix::default(), &[]).into_bytes();
        assert_eq!(only::<AnswerPrefix>(answer.clone(), Some(9)).is_ok(), mine);
        assert_eq!(
            only::<AnswerPrefix>(answer, Some(8)),
            Err(Unreadable::Check)
        );
        let request = encode(&session, 9, 0, &RequestPrefix::default(), &[]).into_bytes();
        assert_eq!(only::<RequestPrefix>(request, None).is_ok(), mine);
        let refused = refusal(&session, 9, Refusal::Busy(1)).into_bytes();
        assert_eq!(only::<AnswerPrefix>(refused, Some(9)).is_ok(), mine);
    }
    // The check of one session, the name of another: no sender makes this.
    let mut bytes = encode(&SESSION, 9, 0, &RequestPrefix::default(), &[])
        .into_bytes()
        .to_vec();
    bytes[28] ^= 1;
    assert_eq!(
        only::<RequestPrefix>(fix(bytes, &SESSION), None),
        Err(Unreadable::Check)
    );
}

#[test]
fn nothing_is_read_after_the_first_bad_bundle() {
    let good = encode(&SESSION, 1, 0, &RequestPrefix::default(), &[]).into_bytes();
    let mut bad = good.to_vec();
    *bad.last_mut().unwrap() ^= 1;
    let body = [&good[..], &bad, &good].concat();
    let read = all::<RequestPrefix>(body.into(), None);
    assert!(matches!(&read[..], [Ok(_), Err(Unreadable::Check)]));
    assert!(all::<RequestPrefix>(Bytes::new(), None).is_empty());
}

#[test]
fn a_trailer_is_covered_by_the_check_and_otherwise_ignored() {
    let bundle = |trailer, content: &str| {
        let mut bytes = request_of(content).to_vec();
        bytes[3] = trailer;
        only::<RequestPrefix>(fix(bytes, &SESSION), None)
    };
    let content = format!("{REQUEST} 01 10 05 00 00 01 61 ffffff");
    let read = session(bundle(3, &content).unwrap());
    assert_eq!(
        read.messages.collect::<Vec<_>>(),
        [(1, data(5, 0, 0, "a", false))]
    );
    assert_eq!(bundle(2, &content), Err(Unreadable::Content));
    assert_eq!(bundle(4, &content), Err(Unreadable::Content));
    assert_eq!(bundle(255, &content), Err(Unreadable::Content));
}

#[test]
fn numbers_of_the_head_are_below_two_to_the_62() {
    for at in [12, 20] {
        let mut bytes = request_of(&format!("{REQUEST} 00")).to_vec();
        bytes[at] = 0x40;
        assert_eq!(
            only::<RequestPrefix>(fix(bytes, &SESSION), None),
            Err(Unreadable::Content)
        );
    }
}

#[test]
fn large_payloads_are_handles_and_small_ones_stand_in_the_block() {
    let large: Bytes = vec![1; chain::SMALL].into();
    let small: Bytes = vec![2; chain::SMALL - 1].into();
    let mut offset = 0;
    let messages: Vec<Message> = [&small, &large, &large, &small, &small, &large, &small]
        .into_iter()
        .enumerate()
        .map(|(number, payload)| {
            offset += payload.len() as u64;
            data(
                number as u64,
                0,
                offset - payload.len() as u64,
                payload.clone(),
                false,
            )
        })
        .collect();
    let chain = encode(&SESSION, 1, 0, &RequestPrefix::default(), &messages);
    let sizes: Vec<usize> = chain.parts().iter().map(Bytes::len).collect();
    // Head, prefix and count are 44 + 11 + 1; the first header is numbered and names its stream and offset.
    let headers = 56 + 6 + 6 * 3;
    assert_eq!(sizes, [headers + 511, 512, 512, 2 * 511, 512, 511]);
    for at in [1, 2, 4] {
        assert_eq!(chain.parts()[at].as_ptr(), large.as_ptr());
    }
    // The pieces of the block are one allocation: each begins where the one before ended.
    let starts = [0, 3, 5].map(|at| chain.parts()[at].as_ptr() as usize);
    assert_eq!(starts[1] - starts[0], sizes[0]);
    assert_eq!(starts[2] - starts[1], sizes[3]);
}

#[test]
fn a_bundle_of_small_messages_is_one_piece() {
    let messages: Vec<Message> = (0..100).map(|n| data(n, 2 * n, 0, "key", false)).collect();
    assert_eq!(
        encode(&SESSION, 1, 0, &RequestPrefix::default(), &messages)
            .parts()
            .len(),
        1
    );
}

#[test]
fn costs_are_exact_for_a_message_alone() {
    let alone = |message: Message| {
        let empty = encode(&SESSION, 1, 0, &RequestPrefix::default(), &[]).len();
        let cost = message.cost();
        (
            encode(&SESSION, 1, 0, &RequestPrefix::default(), &[message]).len() - empty,
            cost,
        )
    };
    let reason = "bye".into();
    for message in [
        void(70),
        data(3, 2, 1 << 40, "abc", true),
        control(5, Control::Close { code: 0, reason }),
    ] {
        let (taken, cost) = alone(message);
        assert_eq!(taken, cost);
    }
}

fn broken(messages: &[Message]) {
    encode(&SESSION, 1, 0, &RequestPrefix::default(), messages);
}

#[test]
#[should_panic(expected = "message numbers in a bundle rise")]
fn falling_numbers_are_not_written() {
    broken(&[void(1), void(1)]);
}

#[test]
#[should_panic(expected = "16 KiB")]
fn a_payload_that_is_too_large_is_not_written() {
    broken(&[data(1, 0, 0, vec![0; MAX_PAYLOAD + 1], false)]);
}

#[test]
#[should_panic(expected = "never sent")]
fn what_is_not_known_is_not_written() {
    broken(&[control(1, Control::Unknown)]);
}
