//! Bundles on their way out of a direct connection, as far as the socket has not taken them.

use posthole_protocol::wire::Chain;
use std::io::IoSlice;

/// What is left of a chain.
#[derive(Debug)]
pub struct Unsent {
    chain: Chain,
    /// What comes next: so far into this part.
    part: usize,
    at: usize,
}

impl Unsent {
    /// All of it.
    pub fn new(chain: Chain) -> Unsent {
        Unsent {
            chain,
            part: 0,
            at: 0,
        }
    }

    /// The next slices, as many as there is room for; how many that are. None: everything has been sent.
    pub fn slices<'a>(&'a self, room: &mut [IoSlice<'a>]) -> usize {
        let parts = self.chain.parts().iter().enumerate().skip(self.part);
        let left = parts.map(|(n, part)| {
            let from = if n == self.part { self.at } else { 0 };
            part.get(from..).unwrap_or_default()
        });
        let mut count = 0;
        for (slot, slice) in room.iter_mut().zip(left.filter(|slice| !slice.is_empty())) {
            *slot = IoSlice::new(slice);
            count += 1;
        }
        count
    }

    /// So many bytes more were sent. Whether that is all.
    pub fn advance(&mut self, mut sent: usize) -> bool {
        while let Some(part) = self.chain.parts().get(self.part) {
            let left = part.len() - self.at;
            if sent < left {
                self.at += sent;
                return false;
            }
            sent -= left;
            (self.part, self.at) = (self.part + 1, 0);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn every_byte_is_sent_once_however_much_is_taken() {
        for step in 1..12 {
            let mut chain = Chain::default();
            for part in ["a", "bcd", "efghi", "jk"] {
                chain.push(Bytes::from_static(part.as_bytes()));
            }
            let (mut unsent, mut out) = (Unsent::new(chain), Vec::new());
            loop {
                let mut room = [IoSlice::new(&[]); 2];
                let count = unsent.slices(&mut room);
                let offered: Vec<u8> = room[..count].iter().flat_map(|s| s.to_vec()).collect();
                let sent = step.min(offered.len());
                out.extend_from_slice(&offered[..sent]);
                if unsent.advance(sent) {
                    break;
                }
            }
            assert_eq!(out, b"abcdefghijk", "{step}");
        }
    }
}
