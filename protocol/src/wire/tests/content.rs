//! What a bundle holds, byte by byte: the corners. `tests/vectors` has whole bodies.

use super::*;
use crate::error::ResetCode;
use alloc::string::String;
use alloc::vec;
use core::ops::Range;
use smallvec::smallvec;

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
    assert_eq!(open("03 01 02 09"), Ok(smallvec![8, 7, 0]));
    for bad in ["01 00", "02 02 02", "02 03 01", "01 0a", "02 01", "4041"] {
        assert_eq!(open(bad), Err(Unreadable::Content), "{bad}");
    }
    let held = |list: &str| {
        let body = answer_of(1, &format!("00 00 00 00 00 00 08 {list} 00 00"));
        only::<AnswerPrefix>(body, None).map(|bundle| session(bundle).prefix.held)
    };
    assert_eq!(held("03 00 01 08"), Ok(smallvec![8, 7, 0]));
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
        let params: String = (0..count).map(|id| format!("{:02x} 00", id + 16)).collect();
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
