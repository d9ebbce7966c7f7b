//! How far the demo is, in a line.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::file::Progress;
use crate::hostile::Counts;
use crate::units::{Rate, Size};

/// Characters of the bar.
const BAR: u64 = 24;

/// The line after this time.
pub(super) fn line(
    size: u64,
    progress: &Progress,
    counts: Option<Counts>,
    time: Duration,
) -> String {
    let up = progress.up.load(Ordering::Relaxed);
    let down = progress.down.load(Ordering::Relaxed);
    text(size, up, down, counts, time)
}

fn text(size: u64, up: u64, down: u64, counts: Option<Counts>, time: Duration) -> String {
    let (arrow, done) = if up < size || down == 0 {
        ("up  ", up)
    } else {
        ("down", down)
    };
    let full = (done * BAR).checked_div(size).unwrap_or(BAR);
    let bar: String = (0..BAR).map(|i| if i < full { '#' } else { '.' }).collect();
    let way = match counts {
        Some(counts) => format!("{} exchanges, {} harmed", counts.exchanges, counts.harmed()),
        None => "plain TCP".to_owned(),
    };
    format!(
        "{arrow} [{bar}] {:>9} of {}  {:>10}  {way}",
        Size(done).to_string(),
        Size(size),
        Rate(up + down, time).to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_which_way_and_how_far() {
        let mib = 1 << 20;
        let counts = Counts {
            exchanges: 7,
            ..Counts::default()
        };
        let line = text(4 * mib, mib, 0, Some(counts), Duration::from_secs(1));
        assert_eq!(
            line,
            "up   [######..................]     1 MiB of 4 MiB   1.05 MB/s  7 exchanges, 0 harmed"
        );
        let line = text(4 * mib, 4 * mib, 4 * mib, None, Duration::from_secs(1));
        assert!(
            line.starts_with("down [########################]     4 MiB of 4 MiB"),
            "{line}"
        );
        assert!(line.ends_with("plain TCP"), "{line}");
        assert!(text(0, 0, 0, None, Duration::ZERO).contains("0 B of 0 B"));
    }
}
