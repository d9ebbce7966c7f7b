//! A client that opens sessions and lets them rest, so that what one costs can be measured at both ends.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use posthole_protocol::http::ProxyChoice;
use posthole_runtime::{ConnectError, Options};

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
        Runtime::Smol => in_tasks(url, count),
    }
}

fn on_threads(url: &str, count: usize) -> Result<(), Error> {
    let sessions = Mutex::new(Vec::new());
    let open = || {
        let session = posthole_blocking::connect(url, options()).map_err(failed)?;
        let mut sessions = sessions.lock().unwrap_or_else(|e| e.into_inner());
        sessions.push(session);
        Ok(())
    };
    open()?;
    wait_to_go_on()?;
    let begun = AtomicUsize::new(1);
    let open_all = || {
        while begun.fetch_add(1, Ordering::Relaxed) < count {
            open()?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let openers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(open_all)).collect();
        let panicked = |_| Err(Error::failed("a thread that opened sessions panicked"));
        let mut results = openers
            .into_iter()
            .map(|o| o.join().unwrap_or_else(panicked));
        results.try_for_each(|result| result)
    })?;
    rest(count)
}

fn in_tasks(url: &str, count: usize) -> Result<(), Error> {
    let mut sessions =
        vec![smol::block_on(posthole_smol::connect(url, options())).map_err(failed)?];
    wait_to_go_on()?;
    let open_share = |first: usize| {
        let url = url.to_owned();
        smol::spawn(async move {
            let mut sessions = Vec::new();
            for _ in (first..count).step_by(AT_ONCE) {
                sessions.push(
                    posthole_smol::connect(&url, options())
                        .await
                        .map_err(failed)?,
                );
            }
            Ok::<_, Error>(sessions)
        })
    };
    let openers: Vec<_> = (1..=AT_ONCE).map(open_share).collect();
    for opener in openers {
        sessions.extend(smol::block_on(opener)?);
    }
    rest(count)
}

fn options() -> Options {
    Options::new()
        .proxy(ProxyChoice::None)
        .connect_timeout(PATIENCE)
}

fn failed(error: ConnectError) -> Error {
    Error::failed(format!("can't open a session: {error}"))
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
