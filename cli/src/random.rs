//! Seeded pseudo-random numbers and bytes, the same on every machine, for faults and files to be checked; and the system's.

/// Random bytes from the system, for what must differ from all others.
///
/// # Errors
/// It has none to give.
pub fn system(bytes: &mut [u8]) -> std::io::Result<()> {
    getrandom::fill(bytes).map_err(std::io::Error::from)
}

/// Splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A sequence of its own for every seed.
    pub fn new(seed: u64) -> Random {
        Random { state: seed }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to `n - 1`, near enough evenly for an `n` far below 2^64; 0 if `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next_u64().checked_rem(n).unwrap_or(0)
    }

    /// Whether something that happens in `percent` of all cases happens.
    pub fn chance(&mut self, percent: f64) -> bool {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64 * 100.0 < percent
    }

    /// Fills `bytes`; eight bytes a step, so that pieces of a multiple of eight give the same bytes as one large piece.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for piece in bytes.chunks_mut(8) {
            piece.copy_from_slice(&self.next_u64().to_le_bytes()[..piece.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_published_one() {
        let mut random = Random::new(1_234_567);
        let first = [random.next_u64(), random.next_u64(), random.next_u64()];
        assert_eq!(
            first,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    #[test]
    fn chances_are_what_they_say() {
        let mut random = Random::new(1);
        let happened = (0..10_000).filter(|_| random.chance(10.0)).count();
        assert!((900..1100).contains(&happened), "{happened}");
        assert!((0..1000).all(|_| random.chance(100.0)) && !(0..1000).any(|_| random.chance(0.0)));
    }

    #[test]
    fn pieces_give_what_the_whole_gives() {
        let (mut whole, mut pieces) = ([0; 52], [0; 52]);
        Random::new(5).fill(&mut whole);
        let mut random = Random::new(5);
        for piece in pieces.chunks_mut(16) {
            random.fill(piece);
        }
        assert_eq!(whole, pieces);
    }
}
