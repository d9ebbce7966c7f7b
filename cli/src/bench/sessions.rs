//! A client that opens sessions and lets them rest, so that what one costs can be measured at both ends.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use posthole_blocking::carrier::ProxyChoice;
use posthole_blocking::{ConnectError, Options, Session, connect};

use crate::error::Error;
use crate::log::say;
use crate::runtime::Runtime;

/// How many are opened at a time: enough to keep both ends busy, few enough to bound nobody's patience.
const AT_ONCE: usize = 8;
/// How long one may take to open.
const PATIENCE: Duration = Duration::from_secs(20);

/// Opens one session, says so and waits for a line on standard input; opens the rest of `count`, says so and keeps them
/// until standard input ends.
pub(super) fn run(url: &str, count: usize, runtime: Runtime) -> Result<(), Error> {
    match runtime {
        Runtime::Blocking => on_threads(url, count),
    }
}

fn on_threads(url: &str, count: usize) -> Result<(), Error> {
    let options = || {
        Options::new()
            .proxy(ProxyChoice::None)
            .connect_timeout(PATIENCE)
    };
    let failed = |e: ConnectError| Error::failed(format!("can't open a session: {e}"));
    let first = connect(url, options()).map_err(failed)?;
    wait_to_go_on()?;
    let sessions: Mutex<Vec<Session>> = Mutex::new(vec![first]);
    let begun = AtomicUsize::new(1);
    let results = thread::scope(|scope| {
        let open = || {
            while begun.fetch_add(1, Ordering::Relaxed) < count {
                let session = connect(url, options())?;
                let mut sessions = sessions.lock().unwrap_or_else(|e| e.into_inner());
                sessions.push(session);
            }
            Ok(())
        };
        let openers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(open)).collect();
        openers.into_iter().map(|o| o.join()).collect::<Vec<_>>()
    });
    for result in results {
        result
            .map_err(|_| Error::failed("a thread that opened sessions panicked"))?
            .map_err(failed)?;
    }
    rest(count)
}

fn wait_to_go_on() -> Result<(), Error> {
    say("opened 1");
    let read = io::stdin().read_line(&mut String::new());
    read.map_err(|e| Error::failed(format!("can't read: {e}")))?;
    Ok(())
}

fn rest(count: usize) -> Result<(), Error> {
    say(format_args!("opened {count}"));
    let _ = io::copy(&mut io::stdin(), &mut io::sink());
    Ok(())
}
