//! `posthole demo`: a file both ways through a proxy that does harm, all on this machine.
//!
//! ```text
//!   file ── TCP ──▶ client ── HTTP ──▶ hostile ── HTTP ──▶ server ── TCP ──▶ destination
//!      └───────────────────── TCP, to compare ──────────────────────────────────┘
//! ```

mod file;
mod progress;
mod table;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use posthole_protocol::http::ProxyChoice;
use posthole_runtime::Options;

use crate::allow::{AllowList, Pattern};
use crate::args::Demo;
use crate::connect::Client;
use crate::error::Error;
use crate::forward::{At, Forward};
use crate::hostile::{Counts, Faults, Hostile, Upstream};
use crate::line::{Line, Show};
use crate::runtime::Runtime;
use crate::serve::{ServeOptions, Server};
use crate::stop::{Hangup, Stop};
use crate::units::Size;
use file::{Carried, File, Progress};
use table::Report;

/// Between two looks at how far it is.
const TICK: Duration = Duration::from_millis(100);
/// For the goodbyes at the end.
const GRACE: Duration = Duration::from_secs(5);

/// Runs the demo and prints its table.
///
/// # Errors
/// It could not be set up, took longer than its limit, was interrupted, or a byte was wrong.
pub fn run(args: &Demo, progress: Show) -> Result<(), Error> {
    let stop = Stop::on_signals(Hangup::Untouched)?;
    let watch = Watch {
        stop,
        until: Instant::now() + args.limit,
        limit: args.limit,
        show: progress,
    };
    let file = File {
        size: args.size,
        seed: args.seed,
    };
    let setup = |e: io::Error| Error::failed(format!("can't set the demo up: {e}"));

    let destination = file::destination(file).map_err(setup)?;
    let server = serve(args.runtime, destination)?;
    let proxy =
        Hostile::start(args.seed, Faults::all(args.faults), Upstream::AsAsked).map_err(setup)?;
    let client = connect(args.runtime, server.addr(), &proxy, destination)?;
    let [(At::Tcp(local), _)] = client.forwards() else {
        return Err(Error::failed("the demo has one forward"));
    };

    let tunnel = watch.carry(*local, file, || Some(proxy.counts()))?;
    let (used, counts) = (client.stats().unwrap_or_default(), proxy.counts());
    let plain = watch.carry(destination, file, || None)?;
    client.stop(GRACE);
    server.stop(GRACE);

    let report = Report {
        file,
        percent: args.faults,
        tunnel,
        plain,
        client: used,
        proxy: counts,
    };
    write!(io::stdout(), "{report}")
        .map_err(|e| Error::failed(format!("can't print the table: {e}")))?;
    let equal = tunnel.is_equal() && plain.is_equal();
    if equal {
        Ok(())
    } else {
        Err(Error::failed("the file did not arrive as it was sent"))
    }
}

fn serve(runtime: Runtime, destination: SocketAddr) -> Result<Server, Error> {
    let pattern: Pattern = destination
        .to_string()
        .parse()
        .expect("an address and a port are a pattern");
    let options = ServeOptions {
        tcp: None,
        socket: None,
        allow_reverse: AllowList::default(),
        listen: "127.0.0.1:0".into(),
        path: "/".into(),
        allow: AllowList::from_iter([pattern]),
        connect_timeout: GRACE,
        sessions: 4,
        connections: 16,
    };
    Server::start(runtime, options)
}

fn connect(
    runtime: Runtime,
    server: SocketAddr,
    proxy: &Hostile,
    destination: SocketAddr,
) -> Result<Client, Error> {
    let options = Options::new().proxy(ProxyChoice::Url(proxy.url()));
    let forward: Forward = format!("0:{destination}")
        .parse()
        .expect("any port, and an address with a port");
    // Its own: an interrupt ends the demo as a whole.
    Client::start(
        runtime,
        &format!("http://{server}/"),
        options,
        &[forward],
        &[],
        Stop::new(),
    )
}

/// Who looks on while a file is carried.
struct Watch {
    stop: Stop,
    until: Instant,
    limit: Duration,
    show: Show,
}

impl Watch {
    fn carry(
        &self,
        addr: SocketAddr,
        file: File,
        counts: impl Fn() -> Option<Counts>,
    ) -> Result<Carried, Error> {
        let progress = Arc::new(Progress::default());
        let (tell, done) = mpsc::channel();
        let counted = Arc::clone(&progress);
        let work = move || {
            let _ = tell.send(file::carry(addr, file, &counted));
        };
        thread::Builder::new()
            .name("file".into())
            .spawn(work)
            .map_err(|e| Error::failed(format!("no thread for the file: {e}")))?;
        let mut line = Line::new(self.show);
        let began = Instant::now();
        let text = || progress::line(file.size, &progress, counts(), began.elapsed());
        loop {
            line.show(text);
            let ended = done.recv_timeout(TICK);
            let far = |what: &str| {
                let far = |n: &std::sync::atomic::AtomicU64| {
                    Size(n.load(std::sync::atomic::Ordering::Relaxed))
                };
                let size = Size(file.size);
                Error::failed(format!(
                    "{what}: {} of {size} were up, {} down",
                    far(&progress.up),
                    far(&progress.down)
                ))
            };
            match ended {
                Err(RecvTimeoutError::Timeout) if self.stop.is_over() => {
                    line.clear();
                    return Err(far("interrupted"));
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() >= self.until => {
                    line.clear();
                    return Err(far(&format!(
                        "gave up after {} s",
                        self.limit.as_secs_f32()
                    )));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(far("the thread that carried the file is gone"));
                }
                Ok(result) => {
                    line.show(text);
                    line.clear();
                    return result.map_err(|e| far(&format!("the connection failed ({e})")));
                }
            }
        }
    }
}
