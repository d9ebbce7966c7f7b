//! A bound for tests that would hang.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// How long any test may take: far more than it needs, on a machine that has much else to do.
pub const LIMIT: Duration = Duration::from_secs(120);

/// Runs a test that fails instead of hanging.
///
/// # Panics
/// If the test does, or takes longer than [`LIMIT`].
pub fn bounded(test: impl FnOnce() + Send + 'static) {
    let (done, ended) = channel();
    let name = thread::current().name().unwrap_or("test").to_owned();
    let runs = thread::Builder::new()
        .name(name)
        .spawn(move || {
            test();
            let _ = done.send(());
        })
        .expect("the system has a thread to give");
    match ended.recv_timeout(LIMIT) {
        Err(RecvTimeoutError::Timeout) => panic!("still not done after {LIMIT:?}"),
        // A sender that was dropped is a test that panicked.
        Ok(()) | Err(RecvTimeoutError::Disconnected) => {
            if let Err(panic) = runs.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}
