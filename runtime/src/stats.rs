//! What a session has done, in the numbers that an application may want.

/// What a session has done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Exchanges begun by a client, or arrived at a server.
    pub exchanges: u64,
    /// Those that came to nothing, as far as this side knows.
    pub lost: u64,
    /// Messages sent again.
    pub resent: u64,
    /// Bytes of bodies sent.
    pub bytes_out: u64,
    /// Bytes of bodies received.
    pub bytes_in: u64,
    /// What went wrong last, in words for a person; stays when it works again. Clients only.
    pub last_trouble: Option<String>,
}

impl Stats {
    pub(crate) fn new(counts: posthole_protocol::Stats, last_trouble: Option<&str>) -> Stats {
        Stats {
            exchanges: counts.exchanges,
            lost: counts.lost,
            resent: counts.resent,
            bytes_out: counts.bytes_out,
            bytes_in: counts.bytes_in,
            last_trouble: last_trouble.map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_count_is_told_by_its_name() {
        let mut counts = posthole_protocol::Stats::default();
        counts.exchanges = 1;
        counts.lost = 2;
        counts.resent = 3;
        counts.bytes_out = 4;
        counts.bytes_in = 5;
        let stats = Stats {
            exchanges: 1,
            lost: 2,
            resent: 3,
            bytes_out: 4,
            bytes_in: 5,
            last_trouble: Some("refused".to_owned()),
        };
        assert_eq!(Stats::new(counts, Some("refused")), stats);
    }
}
