//! Strangers can't flood the log. In a process of its own, since what listens to the log is the process's.

use crate::front_common::{Dummy, Limits, Mode, connect, read_to_end};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Counts the lines.
#[derive(Clone, Default)]
struct Lines(Arc<AtomicU64>);

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("posthole")
    }
    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn rubbish_is_logged_once_a_second() {
    let lines = Lines::default();
    tracing::subscriber::set_global_default(lines.clone()).unwrap();
    let begun = Instant::now();
    let (front, _dummy) = Dummy::start(Mode::Echo, Limits::default());
    for _ in 0..500 {
        let mut stream = connect(&front);
        stream
            .write_all(b"GET /wp-login.php HTTP/1.1\r\n\r\n")
            .unwrap();
        read_to_end(&mut stream);
    }
    let (said, seconds) = (lines.0.load(Ordering::SeqCst), begun.elapsed().as_secs());
    assert!(
        (1..=seconds + 1).contains(&said),
        "{said} lines in {seconds} s"
    );
}
