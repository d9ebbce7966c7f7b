//! How a lane behaves, whatever it is made of: sizes, times, and the rules that need no more than facts.

use core::time::Duration;

/// The largest answer that is read where bodies may have so many bytes ([`Config::body_max`](crate::Config::body_max)):
/// something more, for a server that counts otherwise, and never less than 1 MiB and that.
pub const fn largest_answer(body_max: usize) -> usize {
    const MIB: usize = 1024 * 1024;
    let most = if body_max > MIB { body_max } else { MIB };
    most.saturating_add(64 * 1024)
}

/// How much of an answer of unknown length is read at first, in bytes.
pub const FIRST_PIECE: usize = 16 * 1024;

/// The largest head of an answer, in bytes.
pub const LARGEST_HEAD: usize = 32 * 1024;

/// For how long an idle connection is used again (§9.5). Varnish and apache close theirs after 5 s.
pub const IDLE: Duration = Duration::from_secs(4);

/// How long connecting to an address may take. `left` is how many others there are to try after it; `patience` is the
/// exchange's.
///
/// RFC 8305 would race the addresses; a session has other lanes that go on meanwhile.
pub fn connect_limit(left: usize, patience: Duration) -> Duration {
    let limit = if left == 0 {
        LAST_ADDRESS
    } else {
        NEXT_ADDRESS
    };
    limit.min(patience)
}

/// An address that drops what is sent to it is left for the next one.
const NEXT_ADDRESS: Duration = Duration::from_secs(3);

/// Two repeats of a lost SYN, and an end before the patience is over.
const LAST_ADDRESS: Duration = Duration::from_secs(10);

/// Whether an exchange whose connection has closed goes again, once, over a fresh one: "only if the connection had
/// served an exchange before and ended before the first byte of an answer" (§9.5).
pub const fn goes_again(was_used_before: bool, has_heard: bool) -> bool {
    was_used_before && !has_heard
}

/// Whether the connection may carry another request after an answer that was read to its end (RFC 9112 §9.3), given
/// the values of its `Connection` headers.
pub fn is_kept_open<'h>(is_http_1_0: bool, connection: impl IntoIterator<Item = &'h str>) -> bool {
    let mut keeps = !is_http_1_0;
    for option in connection.into_iter().flat_map(|value| value.split(',')) {
        if option.trim().eq_ignore_ascii_case("close") {
            return false;
        }
        keeps |= option.trim().eq_ignore_ascii_case("keep-alive");
    }
    keeps
}

/// After how many bytes progress is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Steps {
    untold: usize,
}

impl Steps {
    /// How many bytes are a step.
    pub const STEP: usize = 64 * 1024;

    /// So many bytes have moved; says whether that is to be told.
    pub fn advance(&mut self, bytes: usize) -> bool {
        self.untold = self.untold.saturating_add(bytes);
        let is_due = self.untold >= Steps::STEP;
        if is_due {
            self.untold = 0;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_may_be_as_large_as_a_body() {
        let (mib, more) = (1 << 20, 64 << 10);
        assert_eq!(largest_answer(32 << 10), mib + more);
        assert_eq!(largest_answer(mib + 1), mib + 1 + more);
        assert_eq!(largest_answer(usize::MAX), usize::MAX);
    }

    #[test]
    fn the_last_address_gets_longest_but_no_longer_than_patience() {
        let long = Duration::from_secs(60);
        assert_eq!(connect_limit(1, long), Duration::from_secs(3));
        assert_eq!(connect_limit(0, long), Duration::from_secs(10));
        assert_eq!(
            connect_limit(0, Duration::from_secs(1)),
            Duration::from_secs(1)
        );
    }

    #[test]
    fn only_a_stale_connection_is_replaced() {
        assert!(goes_again(true, false));
        assert!(!goes_again(true, true) && !goes_again(false, false));
    }

    #[test]
    fn who_keeps_a_connection_open() {
        for (is_http_1_0, values, expected) in [
            (false, &[][..], true),
            (true, &[][..], false),
            (true, &["Keep-Alive"][..], true),
            (false, &["x, CLOSE"][..], false),
            (false, &["keep-alive", "close"][..], false),
            (true, &["closed"][..], false),
        ] {
            let values = values.iter().copied();
            assert_eq!(
                is_kept_open(is_http_1_0, values.clone()),
                expected,
                "{values:?}"
            );
        }
    }

    #[test]
    fn progress_is_told_by_steps() {
        let mut steps = Steps::default();
        assert!(!steps.advance(Steps::STEP - 1));
        assert!(steps.advance(1));
        assert!(!steps.advance(1));
        assert!(steps.advance(usize::MAX));
    }
}
