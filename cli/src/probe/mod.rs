//! `posthole probe`: what the way to a server lets through, asked question by question, and said so that a person without
//! knowledge of HTTP understands it.
//!
//! ```text
//! run ──asks──▶ caller (one session's requests, made by hand) ──▶ the runtime's own lanes
//!  └──what was found──▶ report (rows, what it means, JSON)
//! ```
//!
//! Each question is asked in sessions of its own, which are closed again. All in all it is some forty exchanges and, if
//! nothing stands in the way, about four megabytes.

mod caller;
mod report;

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use posthole_blocking::carrier::Target;
use posthole_protocol::http::{ProxyChoice, Tag};
use posthole_protocol::{Config, Failure};

use crate::args::Probe;
use crate::error::Error;
use caller::{Asked, Caller};
pub use report::Report;
use report::{Ended, Held, Sizes};

/// The smallest body that is tried, and that any path must let through for posthole to work.
const LEAST: usize = 32 * 1024;

/// For how long a request is tried to be held: the longest that posthole ever asks for, and longer ones to find out what
/// ends them.
const HOLDS: [u64; 6] = [5, 12, 25, 35, 48, 62];

/// So many requests are held at once to see whether they are let through together.
const AT_ONCE: usize = 12;

/// And for so long.
const TOGETHER: Duration = Duration::from_secs(2);

/// How long an answer may take that is not held.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks everything, and says what came of it.
///
/// # Errors
/// What makes no sense in URL or proxy, and that posthole would not work, when everything was said.
pub fn run(args: &Probe) -> Result<(), Error> {
    let report = ask(args)?;
    if args.json {
        println!("{}", report.json());
    } else {
        print!("{report}");
    }
    match report.why_not() {
        None => Ok(()),
        Some(why) => Err(Error::failed(why)),
    }
}

/// Asks everything.
///
/// # Errors
/// What makes no sense in URL or proxy.
pub fn ask(args: &Probe) -> Result<Report, Error> {
    let target = target(args)?;
    let mut report = Report::new(&target.describe());
    let began = Instant::now();
    ask_all(&target, args, &mut report);
    report.took = began.elapsed();
    Ok(report)
}

fn target(args: &Probe) -> Result<Arc<Target>, Error> {
    let options = args.options();
    let mut tag = [0; 8];
    crate::random::system(&mut tag).map_err(|e| Error::failed(format!("no random bytes: {e}")))?;
    let target = Target::new(&args.url, Tag::from_bytes(tag), options.proxy, options.tls)
        .map_err(|e| Error::usage(e.to_string()))?;
    Ok(Arc::new(target.plain(options.plain)))
}

fn ask_all(target: &Arc<Target>, args: &Probe, report: &mut Report) {
    report.issuer = issuer(args);
    let mut first = match Caller::open(target, false) {
        Ok((caller, answer)) => {
            report.reached = Some(Ok(answer.took));
            report.direct_port = answer.direct_port;
            caller
        }
        Err(trouble) => {
            report.reached = Some(Err((trouble.failure, trouble.says)));
            return;
        }
    };
    // What takes long runs beside the rest.
    let (tell, told) = mpsc::channel();
    for seconds in HOLDS.into_iter().filter(|s| *s <= args.time.as_secs()) {
        let (target, tell) = (Arc::clone(target), tell.clone());
        let asking = move || tell.send(hold(&target, Duration::from_secs(seconds)));
        report.unasked += usize::from(spawn(asking).is_err());
    }
    drop(tell);
    report.trips = (0..5)
        .filter_map(|_| first.ask(Asked::now()).ok().map(|a| a.took))
        .collect();
    report.connections = Some((first.exchanges(), first.connections()));
    report.streamed = Some(first.streams());
    report.seen = first.seen().clone();
    first.close();
    report.direct = report.direct_port.map(|port| direct(&args.url, port));
    report.bypass = target.proxy().map(|proxy| (proxy, bypass(args)));
    report.up = Some(sizes(target, Way::Up));
    report.down = Some(sizes(target, Way::Down));
    report.together = Some(together(target));
    report.holds = told.into_iter().collect();
    report.holds.sort_by_key(|held: &Held| held.asked);
}

/// Which way a body goes.
#[derive(Clone, Copy)]
enum Way {
    Up,
    Down,
}

/// The largest body that comes through: what posthole sends at most, or found by halving.
fn sizes(target: &Arc<Target>, way: Way) -> Sizes {
    let most = Config::default().body_max();
    let mut sizes = Sizes {
        passed: 0,
        refused: None,
    };
    let (mut low, mut high) = (LEAST, most);
    let mut size = most;
    // Five halvings: right within a tenth.
    for _ in 0..7 {
        let padded = matches!(way, Way::Down);
        let result = Caller::open(target, padded).and_then(|(mut caller, _)| {
            let asked = match way {
                Way::Up => Asked::now().with_body(size),
                Way::Down => Asked::now().with_answer(size),
            };
            let answer = caller.ask(asked);
            caller.close();
            answer
        });
        match result {
            Ok(answer) if matches!(way, Way::Up) || answer.size * 2 > size => {
                sizes.passed = sizes.passed.max(size);
                low = size;
            }
            Ok(answer) => sizes.refused = Some((size, format!("{} bytes came", answer.size))),
            Err(trouble) => {
                sizes.refused = Some((size, trouble.says));
                high = size;
            }
        }
        if sizes.passed == most || high - low < LEAST {
            break;
        }
        size = low.midpoint(high);
    }
    if sizes.passed == 0 && sizes.refused.is_some() {
        // Nothing of what was tried: does the least do?
        let least = Caller::open(target, false).and_then(|(mut c, _)| c.ask(Asked::now()));
        sizes.passed = usize::from(least.is_ok()) * low.min(4096);
    }
    sizes
}

fn hold(target: &Arc<Target>, wait: Duration) -> Held {
    let ended = |age, says| Held {
        asked: wait,
        ended: Some(Ended { age, says }),
    };
    let mut caller = match Caller::open(target, false) {
        Ok((caller, _)) => caller,
        Err(trouble) => return ended(Duration::ZERO, trouble.says),
    };
    let begun = Instant::now();
    let held = match caller.ask(Asked::held(wait)) {
        Ok(_) => Held {
            asked: wait,
            ended: None,
        },
        Err(trouble) => ended(begun.elapsed(), trouble.says),
    };
    caller.close();
    held
}

/// How many of the requests that are held at the same time are held by the server, and how many wait on the way.
fn together(target: &Arc<Target>) -> (usize, usize) {
    let (tell, told) = mpsc::channel();
    let mut asked = 0;
    for _ in 0..AT_ONCE {
        let (target, tell) = (Arc::clone(target), tell.clone());
        let asking = move || {
            let opened = Caller::open(&target, false);
            let Ok((mut caller, _)) = opened else {
                return tell.send(None);
            };
            let begun = Instant::now();
            let answer = caller.ask(Asked::held(TOGETHER));
            let took = begun.elapsed();
            caller.close();
            tell.send(answer.ok().map(|_| took))
        };
        asked += usize::from(spawn(asking).is_ok());
    }
    drop(tell);
    let at_once = |took: &Duration| *took < TOGETHER * 7 / 4;
    let came: Vec<Duration> = told.into_iter().flatten().collect();
    (came.iter().filter(|took| at_once(took)).count(), asked)
}

/// Whether a direct connection to the URL's host carries a bundle there and back.
fn direct(url: &str, port: u16) -> Result<Duration, String> {
    let url = posthole_protocol::http::Url::parse(url).map_err(|e| e.to_string())?;
    caller::direct(&url.host, port)
}

/// Who has issued the certificate of an https server, if that can be seen.
fn issuer(args: &Probe) -> Option<String> {
    let options = args.options();
    let tag = Tag::from_bytes([0; 8]);
    let target =
        posthole_smol::carrier::Target::new(&args.url, tag, options.proxy, options.tls).ok()?;
    let asked = posthole_smol::carrier::issuer(target.plain(options.plain), PATIENCE);
    // What stands in the way is said by the first exchange.
    smol::block_on(asked).ok().flatten()
}

/// Whether the server answers without the proxy, too.
fn bypass(args: &Probe) -> Result<Duration, String> {
    let mut args = args.clone();
    args.proxy = Some(ProxyChoice::None);
    let target = target(&args).map_err(|e| e.to_string())?;
    let opened = Caller::open(&target, false).map_err(|trouble| trouble.says)?;
    let (caller, answer) = opened;
    caller.close();
    Ok(answer.took)
}

fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> std::io::Result<()> {
    let thread = thread::Builder::new().name("probe".into());
    thread
        .spawn(move || {
            work();
        })
        .map(drop)
}

/// What kind of trouble it is, for whoever reads JSON.
pub(crate) fn kind(failure: Failure) -> &'static str {
    match failure {
        Failure::Connect => "no connection",
        Failure::Cut => "cut",
        Failure::TimedOut => "no answer",
        Failure::TooLarge => "too large",
        Failure::Credentials => "credentials",
        Failure::Middlebox { .. } => "answered by something else",
        Failure::Refused { .. } => "refused",
        _ => "failed",
    }
}
