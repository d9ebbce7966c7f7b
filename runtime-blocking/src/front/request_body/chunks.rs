//! The chunked coding (RFC 9112 §7.1), strictly: CRLF only, no more digits than a size of ours can have.

use super::too_large;
use crate::front::reader::Fault;
use crate::front::reply::Refusal;

/// Takes the coding off, however its bytes are cut.
#[derive(Debug)]
pub(super) struct Chunks {
    at: At,
    /// Bytes of data that may still come.
    room: usize,
    /// Bytes of coding that may still come, of which extensions and trailers can have any number.
    coding: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    /// In the size; whether a digit has come.
    Size {
        size: usize,
        digit: bool,
    },
    /// In an extension, which is skipped.
    Extension {
        size: usize,
    },
    /// After the CR of the size's line.
    SizeEnd {
        size: usize,
    },
    /// In the data, with so much to come.
    Data {
        left: usize,
    },
    /// After the data, or after its CR.
    DataEnd {
        cr: bool,
    },
    /// In the trailers, which are skipped; whether their line has begun, and whether a CR has come.
    Trailer {
        begun: bool,
        cr: bool,
    },
    Done,
}

impl Chunks {
    /// For a body of at most `room` bytes.
    pub(super) fn new(room: usize) -> Chunks {
        // Chunks of one byte cost five more each; that and a page of extensions is what an honest box might send.
        Chunks {
            at: At::Size {
                size: 0,
                digit: false,
            },
            room,
            coding: room.saturating_mul(5).saturating_add(4096),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.at == At::Done
    }

    /// The next piece of data in `input`, which is shortened by what was used; `None` if it takes more input, or if
    /// the body is done.
    pub(super) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Fault> {
        while !self.is_done() {
            if let At::Data { left } = self.at {
                let (data, rest) = input.split_at(left.min(input.len()));
                *input = rest;
                self.at = if data.len() == left {
                    At::DataEnd { cr: false }
                } else {
                    At::Data {
                        left: left - data.len(),
                    }
                };
                return Ok((!data.is_empty()).then_some(data));
            }
            let Some((byte, rest)) = input.split_first() else {
                return Ok(None);
            };
            *input = rest;
            self.coding = self.coding.checked_sub(1).ok_or_else(too_large)?;
            self.at = self.after(*byte)?;
        }
        Ok(None)
    }

    fn after(&mut self, byte: u8) -> Result<At, Fault> {
        Ok(match (self.at, byte) {
            (At::Size { size, .. }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte)
                    .to_digit(16)
                    .map_or(0, |digit| digit as usize);
                let size = size
                    .checked_mul(16)
                    .map(|size| size + digit)
                    .filter(|size| *size <= self.room);
                At::Size {
                    size: size.ok_or_else(too_large)?,
                    digit: true,
                }
            }
            (At::Size { size, digit: true }, b'\r') | (At::Extension { size }, b'\r') => {
                At::SizeEnd { size }
            }
            (At::Size { size, digit: true }, b';' | b' ' | b'\t') => At::Extension { size },
            (At::Extension { size }, other) if other != b'\n' => At::Extension { size },
            (At::SizeEnd { size: 0 }, b'\n') => At::Trailer {
                begun: false,
                cr: false,
            },
            (At::SizeEnd { size }, b'\n') => {
                self.room -= size;
                At::Data { left: size }
            }
            (At::DataEnd { cr: false }, b'\r') => At::DataEnd { cr: true },
            (At::DataEnd { cr: true }, b'\n') => At::Size {
                size: 0,
                digit: false,
            },
            (At::Trailer { begun, cr: false }, b'\r') => At::Trailer { begun, cr: true },
            (
                At::Trailer {
                    begun: false,
                    cr: true,
                },
                b'\n',
            ) => At::Done,
            (
                At::Trailer {
                    begun: true,
                    cr: true,
                },
                b'\n',
            ) => At::Trailer {
                begun: false,
                cr: false,
            },
            (At::Trailer { cr: false, .. }, other) if other != b'\n' => At::Trailer {
                begun: true,
                cr: false,
            },
            _ => return Err(Refusal::BAD_CHUNKS.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The data and what is left after it, or the status of the refusal.
    fn decode(coded: &[u8], cut: usize, room: usize) -> Result<Option<(Vec<u8>, usize)>, u16> {
        let mut chunks = Chunks::new(room);
        let mut data = Vec::new();
        let mut left = coded.len();
        for piece in coded.chunks(cut) {
            let mut input = piece;
            loop {
                match chunks.next(&mut input) {
                    Ok(Some(some)) => data.extend_from_slice(some),
                    Ok(None) => break,
                    Err(Fault::Refused(refusal)) => return Err(refusal.status),
                    Err(Fault::Gone) => return Err(0),
                }
            }
            left -= piece.len() - input.len();
            if chunks.is_done() {
                return Ok(Some((data, left)));
            }
        }
        Ok(None)
    }

    #[test]
    fn takes_the_coding_off_however_it_is_cut() {
        let coded = b"3;a=b\r\nabc\r\n00a \r\n0123456789\r\n0\r\nTrailer: x\r\n\r\nnext";
        for cut in 1..=coded.len() {
            let expected = Some((b"abc0123456789".to_vec(), 4));
            assert_eq!(decode(coded, cut, 13), Ok(expected), "cut into {cut}");
        }
        for end in 0..coded.len() - 4 {
            assert_eq!(decode(&coded[..end], 1, 13), Ok(None), "ended at {end}");
        }
    }

    #[test]
    fn refuses_what_is_too_large_or_not_chunks() {
        for (coded, status) in [
            (&b"e\r\n"[..], 413),
            (b"5\r\nabcde\r\n9\r\n", 413),
            (b"fffffffffffffffffffffff\r\n", 413),
            (b"\r\n", 400),
            (b"-1\r\n", 400),
            (b"0x3\r\n", 400),
            (b"3\nabc", 400),
            (b"3\r\nabcd", 400),
            (b"3\r\nabc\n", 400),
            (b"0\r\n\n", 400),
        ] {
            assert_eq!(
                decode(coded, 1, 13),
                Err(status),
                "{:?}",
                String::from_utf8_lossy(coded)
            );
        }
        let endless = [b"1;".to_vec(), vec![b'x'; 10_000]].concat();
        assert_eq!(decode(&endless, 100, 13), Err(413));
    }
}
