//! The layout, byte by byte. `tests/vectors` has whole bodies; here are the corners.

use super::*;
use crate::error::ResetCode;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use core::ops::Range;

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

/// The items of a request with these headers and payloads.
fn items_of(headers_and_payloads: &str) -> Vec<(u64, Message)> {
    let body = request_of(&format!("{REQUEST} {headers_and_payloads}"));
    session(only::<RequestPrefix>(body, None).unwrap())
        .messages
        .collect()
}

fn prefix_of(prefix: &str) -> Result<RequestPrefix, Unreadable> {
    only(request_of(&format!("{prefix} 00")), None).map(|bundle| session(bundle).prefix)
}

#[test]
fn a_request_is_these_bytes() {
    let prefix = RequestPrefix {
        credit: 300,
        open: vec![8, 4],
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
fn runs_of_continuing_data_are_one_slice_of_the_body() {
    let body = request_of(&format!(
        "{REQUEST} 03 10 05 02 07 01  20 02  60 01  61 62 63 64"
    ));
    let decoded = session(only::<RequestPrefix>(body.clone(), None).unwrap());
    assert_eq!(decoded.messages.numbers(), 3);
    let items: Vec<_> = decoded.messages.collect();
    assert_eq!(items, [(3, data(5, 2, 7, "abcd", true))]);
    let payload = items[0].1.payload().unwrap();
    assert_eq!(payload.as_ptr(), body[body.len() - 4..].as_ptr());
}

#[test]
fn a_run_ends_at_a_gap_a_fin_another_stream_another_kind() {
    let items = |headers| items_of(&format!("{headers} 61 62"));
    let two = |n, second| {
        vec![
            (1, data(5, 0, 0, "a", false)),
            (1, data(n, 0, second, "b", false)),
        ]
    };
    // A gap in the numbers, though the stream continues.
    assert_eq!(items("02 10 05 00 00 01  30 07 01"), two(7, 1));
    // A gap in the offsets.
    assert_eq!(items("02 10 05 00 00 01  00 00 02 01"), two(6, 2));
    // The same stream and the next offset, told at length: that is a run too.
    assert_eq!(
        items("02 10 05 00 00 01  10 06 00 01 01"),
        [(2, data(5, 0, 0, "ab", false))]
    );
    // Data after a fin is for the session to judge.
    let after_fin = [
        (1, data(5, 0, 0, "a", true)),
        (1, data(6, 0, 1, "b", false)),
    ];
    assert_eq!(items("02 50 05 00 00 01  20 01"), after_fin);
    // A void between them, after which the stream still continues.
    let around_void = [
        (1, data(5, 0, 0, "a", false)),
        (1, void(6)),
        (1, data(7, 0, 1, "b", false)),
    ];
    assert_eq!(items("03 10 05 00 00 01  01  20 01"), around_void);
    // Two streams in turn.
    let in_turn = [
        (1, data(5, 0, 0, "a", false)),
        (1, data(6, 2, 0, "b", false)),
    ];
    assert_eq!(items("02 10 05 00 00 01  00 02 00 01"), in_turn);
}

#[test]
fn controls_are_read_leniently_where_a_violation_can_be_told() {
    let read = |header: &str| match items_of(&format!("01 {header}")).pop().unwrap() {
        (
            1,
            Message {
                number: 5,
                content: Content::Control(control),
            },
        ) => control,
        other => panic!("{other:?}"),
    };
    let stream = StreamId::from_number(4);
    assert_eq!(
        read("92 05 01 02 04 09"),
        Control::StreamCredit { stream, limit: 9 }
    );
    assert_eq!(read("92 05 02 01 09"), Control::Streams { total: 9 });
    let reset = Control::Reset {
        stream,
        code: ResetCode(u32::MAX),
        size: 9,
    };
    assert_eq!(read("92 05 03 0a 04 c0000000ffffffff 09"), reset);
    assert_eq!(
        read("92 05 04 02 04 09"),
        Control::Stop {
            stream,
            code: ResetCode(9)
        }
    );
    let close = |code, reason: &str| Control::Close {
        code,
        reason: reason.into(),
    };
    assert_eq!(read("92 05 05 01 00"), close(0, ""));
    assert_eq!(read("92 05 05 03 07 c3a9"), close(7, "\u{e9}"));
    assert_eq!(
        read(&format!("92 05 05 4101 07 {}", "61".repeat(256))),
        close(7, &"a".repeat(256))
    );
    // Who knows a kind has no need of the flag.
    assert_eq!(read("12 05 02 01 09"), Control::Streams { total: 9 });

    assert_eq!(read("12 05 06 01 ff"), Control::Unknown);
    assert_eq!(read("12 05 00 00"), Control::Unknown);
    assert_eq!(read("92 05 06 01 ff"), Control::NotUnderstood);
    for malformed in [
        "92 05 01 01 04",                  // a field is missing
        "92 05 02 02 09 00",               // something is left
        "92 05 02 00",                     // nothing there
        "92 05 02 01 40",                  // half a varint
        "92 05 04 09 04 c000000100000000", // a code of 2^32
        "92 05 05 03 07 c328",             // no UTF-8
    ] {
        assert_eq!(read(malformed), Control::Malformed, "{malformed}");
    }
    assert_eq!(
        read(&format!("92 05 05 4102 07 {}", "61".repeat(257))),
        Control::Malformed
    );
}

#[test]
fn headers_that_do_not_parse_make_the_bundle_unreadable() {
    for bad in [
        "01",                      // a header is missing
        "01 10 05",                // half a header
        "00 00",                   // something is left
        "01 10 05 00 00 02 61",    // half a payload
        "01 10 05 00 00 01 61 62", // more than the payload
        "01 00 00 00 00",          // the first one has no number
        "02 11 05 11 05",          // the same number twice
        "02 11 05 11 04",          // a falling number
        "01 30 05 00",             // continues nothing
        "02 11 05 20 00",          // continues nothing
        "01 90 05 00 00 00",       // a flag that data does not have
        "01 31 05",                // flags that a void does not have
        "01 51 05",
        "01 91 05",
        "01 32 05 09 00", // flags that a control does not have
        "01 52 05 09 00",
        "01 13 05", // a kind that is none
        "01 1f 05",
        "01 12 05 09 02 00",                  // fields that are not there
        "02 11 ffffffffffffffff 01",          // a number of 2^62
        "01 10 05 00 ffffffffffffffff 01 61", // an offset of 2^62 at the end
        "ffffffffffffffff 11 05",             // 2^62 - 1 headers
    ] {
        let body = request_of(&format!("{REQUEST} {bad}"));
        assert_eq!(
            only::<RequestPrefix>(body, None),
            Err(Unreadable::Content),
            "{bad}"
        );
    }
    let with_payload = |len: usize, varint: &str| {
        let body = request_of(&format!(
            "{REQUEST} 01 10 05 00 00 {varint} {}",
            "61".repeat(len)
        ));
        only::<RequestPrefix>(body, None).map(drop)
    };
    assert_eq!(with_payload(16_384, "80004000"), Ok(()));
    assert_eq!(with_payload(16_385, "80004001"), Err(Unreadable::Content));
    let with_fields = |len: usize, varint: &str| {
        let body = request_of(&format!(
            "{REQUEST} 01 12 05 09 {varint} {}",
            "61".repeat(len)
        ));
        only::<RequestPrefix>(body, None).map(drop)
    };
    assert_eq!(with_fields(1024, "4400"), Ok(()));
    assert_eq!(with_fields(1025, "4401"), Err(Unreadable::Content));
    // The very last number, offset and limit are fine.
    assert_eq!(
        items_of("01 11 ffffffffffffffff"),
        [(1, void(varint::LIMIT - 1))]
    );
    let last = data(5, 0, varint::LIMIT - 2, "a", false);
    assert_eq!(items_of("01 10 05 00 fffffffffffffffe 01 61"), [(1, last)]);
}

#[test]
fn acknowledgements() {
    let ranges = |ranges: &str| {
        prefix_of(&format!("00 {ranges} 00 00 00 00 00 00 00 00")).map(|prefix| prefix.ack)
    };
    let ack = |next, ranges: &[Range<u64>]| {
        Ok(Ack {
            next,
            ranges: ranges.to_vec(),
        })
    };
    assert_eq!(ranges("05 00"), ack(5, &[]));
    assert_eq!(ranges("05 02 00 00 02 03"), ack(5, &[6..7, 10..14]));
    assert_eq!(
        ranges("fffffffffffffffe 01 00 00"),
        ack(
            varint::LIMIT - 2,
            core::slice::from_ref(&(varint::LIMIT - 1..varint::LIMIT))
        )
    );
    for bad in [
        "05",
        "05 01",
        "05 01 00",
        "ffffffffffffffff 01 00 00",
        "05 01 ffffffffffffffff ffffffffffffffff",
    ] {
        assert_eq!(ranges(bad), Err(Unreadable::Content), "{bad}");
    }
    let many =
        |count: usize, varint: &str| ranges(&format!("05 {varint} {}", "0000".repeat(count)));
    assert_eq!(many(64, "4040").unwrap().ranges.len(), MAX_RANGES);
    assert_eq!(many(65, "4041"), Err(Unreadable::Content));
}

#[test]
fn lists_of_exchanges() {
    // The exchange is 9.
    let open = |list: &str| {
        prefix_of(&format!("00 00 00 00 00 00 {list} 00 00 00 00")).map(|prefix| prefix.open)
    };
    assert_eq!(open("03 01 02 09"), Ok(vec![8, 7, 0]));
    for bad in ["01 00", "02 02 02", "02 03 01", "01 0a", "02 01", "4041"] {
        assert_eq!(open(bad), Err(Unreadable::Content), "{bad}");
    }
    let held = |list: &str| {
        let body = answer_of(1, &format!("00 00 00 00 00 00 08 {list} 00 00"));
        only::<AnswerPrefix>(body, None).map(|bundle| session(bundle).prefix.held)
    };
    assert_eq!(held("03 00 01 08"), Ok(vec![8, 7, 0]));
    for bad in ["02 00 00", "02 01 00", "01 09", "02 00"] {
        assert_eq!(held(bad), Err(Unreadable::Content), "{bad}");
    }
    assert!(only::<AnswerPrefix>(answer_of(1, &format!("{ANSWER} 00")), None).is_ok());
    // Flags of prefixes that are none.
    assert_eq!(
        prefix_of("04 00 00 00 00 00 00 00 00 00 00"),
        Err(Unreadable::Content)
    );
    assert_eq!(
        only::<AnswerPrefix>(answer_of(1, "08 00 00 00 00 00 00 00 00 00"), None),
        Err(Unreadable::Content)
    );
}

#[test]
fn parameters() {
    let read = |params: &str| {
        let prefix = prefix_of(&format!("01 {params} 00 00 00 00 00 00 00 00 00 00"));
        prefix.map(|prefix| prefix.opening.unwrap())
    };
    assert_eq!(read("00"), Ok(Params::default()));
    let some = Params {
        streams: 9,
        versions: Some((1, 3)),
        ..Params::default()
    };
    assert_eq!(read("02 01 01 09 02 02 01 03"), Ok(some.clone()));
    // In any order, with others that are not known, and at any length that a varint has.
    assert_eq!(read("03 02 02 01 03 3f 03 ffffff 01 02 4009"), Ok(some));
    for bad in [
        "02 01 01 09",             // one is missing
        "02 01 01 09 01 01 09",    // twice
        "02 3f 00 3f 00",          // twice, though not known
        "01 01 02 0900",           // more than the number
        "01 01 00",                // no number
        "01 01 01 40",             // half a number
        "01 02 01 01",             // half the versions
        "01 05 07 00000000000000", // half an instance
        "01 07 11 0000000000000000000000000000000000",
    ] {
        assert_eq!(read(bad), Err(Unreadable::Content), "{bad}");
    }
    let many = |count: u8| {
        let params: String = (0..count).map(|id| format!("{:02x} 00", id + 8)).collect();
        read(&format!("{count:02x} {params}"))
    };
    assert_eq!(many(32), Ok(Params::default()));
    assert_eq!(many(33), Err(Unreadable::Content));
}

#[test]
fn refusals() {
    let read = |content: &str| only::<AnswerPrefix>(answer_of(5, content), Some(9));
    for (refused, content) in [
        (
            Refusal::Gone(crate::id::Instance(0x1122)),
            "01 0000000000001122",
        ),
        (Refusal::Busy(1500), "02 45dc"),
        (Refusal::Unreadable, "03"),
        (Refusal::Version(1, 3), "04 01 03"),
        (Refusal::Ended(42), "05 2a"),
    ] {
        assert_eq!(
            refusal(&SESSION, 9, refused).into_bytes(),
            answer_of(5, content)
        );
        assert_eq!(read(content), Ok(Bundle::Refusal(refused)));
        assert_eq!(read(&format!("{content} 00")), Err(Unreadable::Content));
    }
    for bad in ["", "00", "06", "01 00000000000011", "02", "04 01", "05"] {
        assert_eq!(read(bad), Err(Unreadable::Content), "{bad}");
    }
    let mut numbered = answer_of(5, "03").to_vec();
    numbered[27] = 1;
    assert_eq!(
        only::<AnswerPrefix>(fix(numbered, &SESSION), None),
        Err(Unreadable::Content)
    );
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
