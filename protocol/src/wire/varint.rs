//! Variable-length integers (RFC 9000 §16).

use bytes::BufMut;

/// The largest number that travels, plus one.
pub const LIMIT: u64 = 1 << 62;

/// Takes a varint of any of the four lengths off the front of `bytes`; `None`, and `bytes` as it was, where it ends
/// too early.
///
/// ```
/// use posthole_protocol::wire::varint;
///
/// let mut bytes: &[u8] = &[0x7b, 0xbd, 0x25];
/// assert_eq!(varint::get(&mut bytes), Some(15_293));
/// assert_eq!(varint::get(&mut bytes), Some(37));
/// assert_eq!(varint::get(&mut bytes), None);
/// ```
#[inline(never)] // Asked in many places, which are all on the way of a byte.
pub fn get(bytes: &mut &[u8]) -> Option<u64> {
    // RFC 9000 §16: "the two most significant bits of the first byte" are "the base-2 logarithm" of the length.
    let first = *bytes.first()?;
    let (raw, rest) = match first >> 6 {
        0 => (u64::from(first), bytes.get(1..)?),
        1 => {
            let (raw, rest) = bytes.split_first_chunk()?;
            (u64::from(u16::from_be_bytes(*raw) & 0x3fff), rest)
        }
        2 => {
            let (raw, rest) = bytes.split_first_chunk()?;
            (u64::from(u32::from_be_bytes(*raw) & 0x3fff_ffff), rest)
        }
        _ => {
            let (raw, rest) = bytes.split_first_chunk()?;
            (u64::from_be_bytes(*raw) & (LIMIT - 1), rest)
        }
    };
    *bytes = rest;
    Some(raw)
}

/// Writes `value` in the shortest form.
///
/// # Panics
/// If `value` is [`LIMIT`] or more, or `out` has no room.
pub fn put(out: &mut impl BufMut, value: u64) {
    assert!(value < LIMIT, "a number of 2^62 or more cannot travel");
    match len(value) {
        1 => out.put_u8(value as u8),
        2 => out.put_u16(value as u16 | 0x4000),
        4 => out.put_u32(value as u32 | 0x8000_0000),
        _ => out.put_u64(value | 0xc000_0000_0000_0000),
    }
}

/// How many bytes [`put`] writes for `value`.
pub const fn len(value: u64) -> usize {
    match value {
        0..0x40 => 1,
        0x40..0x4000 => 2,
        0x4000..0x4000_0000 => 4,
        _ => 8,
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn bytes_of(value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, value);
        out
    }

    /// RFC 9000 §A.1 gives these.
    #[test]
    fn the_examples_of_the_rfc() {
        for (bytes, value) in [
            (
                &[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c][..],
                151_288_809_941_952_652,
            ),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
        ] {
            let mut left = bytes;
            assert_eq!(get(&mut left), Some(value));
            assert!(left.is_empty());
            assert_eq!(bytes_of(value), bytes);
        }
    }

    #[test]
    fn a_longer_form_than_needed_is_read_but_never_written() {
        assert_eq!(get(&mut &[0x40, 0x25][..]), Some(37));
        assert_eq!(get(&mut &[0x80, 0, 0, 0x25][..]), Some(37));
        assert_eq!(get(&mut &[0xc0, 0, 0, 0, 0, 0, 0, 0x25][..]), Some(37));
        for (value, size) in [
            (0, 1),
            (63, 1),
            (64, 2),
            (16_383, 2),
            (16_384, 4),
            ((1 << 30) - 1, 4),
            (1 << 30, 8),
            (LIMIT - 1, 8),
        ] {
            assert_eq!((bytes_of(value).len(), len(value)), (size, size), "{value}");
        }
    }

    #[test]
    #[should_panic(expected = "2^62")]
    fn what_is_too_large_is_not_written() {
        put(&mut Vec::new(), LIMIT);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value in 0..LIMIT, bits in 0u32..62) {
            let value = value >> bits;
            let mut bytes = bytes_of(value);
            prop_assert_eq!(bytes.len(), len(value));
            for cut in 0..bytes.len() {
                let mut left = &bytes[..cut];
                prop_assert_eq!(get(&mut left), None);
                prop_assert_eq!(left.len(), cut);
            }
            bytes.push(0xff);
            let mut left = &bytes[..];
            prop_assert_eq!(get(&mut left), Some(value));
            prop_assert_eq!(left, &[0xff]);
        }
    }
}
