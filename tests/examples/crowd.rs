//! Ten thousand sessions at rest on one server, and a thousand clients that work beside them: memory, processor time, and
//! whether anything is lost.
//!
//! `cargo run --release -p posthole-tests --example crowd [IDLE [BUSY]]`; about a minute and a half, on tasks at both ends. Needs
//! twice as many descriptors as sessions (`ulimit -n`). Ends with 1 if something was lost. Only loopback is used.
#![cfg_attr(not(target_os = "linux"), allow(unused))]
#![allow(clippy::unwrap_used)] // Whoever runs it sees what is wrong.

use posthole_protocol::http::ProxyChoice;
use posthole_runtime::Limits;
use posthole_smol::{ListenOptions, Listener, Options, RouterConfig, Session, connect};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::stream::StreamExt;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// What each client that works sends and gets back, so often.
const LAP: usize = 1_000;
const LAPS: usize = 100;

/// How many sessions are opened, or work, at a time.
const AT_ONCE: usize = 8;

/// For how long the processor time of those at rest is measured: two holds.
const REST: Duration = Duration::from_secs(50);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    raise_descriptors();
    if args.first().is_some_and(|it| it == "server") {
        serve();
        return ExitCode::SUCCESS;
    }
    let number = |at: usize, default| args.get(at).map_or(default, |it| it.parse().unwrap());
    let (idle, busy) = (number(0, 10_000), number(1, 1_000));
    let mut server = Server::start();
    let lost = smol::block_on(crowd(&server, idle, busy));
    server.end();
    println!("- lost: {lost}");
    ExitCode::from(u8::from(lost > 0))
}

async fn crowd(server: &Server, idle: usize, busy: usize) -> usize {
    // What the first session needs, all others use too.
    let first = open(&server.url).await;
    let before = server.memory();
    let resting = open_all(&server.url, idle).await;
    // Connections that only the opening needed end, and their memory is given back.
    smol::Timer::after(Duration::from_secs(10)).await;
    let each = (server.memory() - before) / idle as f64;
    println!(
        "- {idle} sessions at rest: {:.1} KiB each at the server, with its connection",
        each / 1024.0
    );

    let (processor, exchanges) = (server.processor(), all_exchanges(&resting));
    smol::Timer::after(REST).await;
    let exchanges = all_exchanges(&resting) - exchanges;
    let took = server.processor() - processor;
    println!(
        "- in {} s they made {exchanges} exchanges ({:.2} each), for which the server took {:.0} us each",
        REST.as_secs(),
        exchanges as f64 / idle as f64,
        took * 1e6 / exchanges.max(1) as f64
    );

    let begun = Instant::now();
    let (url, clients) = (server.url.clone(), busy.div_ceil(AT_ONCE));
    let working: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let url = url.clone();
            smol::spawn(async move {
                let sessions = open_each(&url, clients).await;
                let mut all = Vec::new();
                for session in sessions {
                    all.push(smol::spawn(async move { work(&session, LAPS).await }));
                }
                let mut lost = 0;
                for one in all {
                    lost += usize::from(!one.await);
                }
                lost
            })
        })
        .collect();
    let mut lost = 0;
    for one in working {
        lost += one.await;
    }
    println!(
        "- {} clients beside them, {LAPS} times {LAP} bytes there and back each: {:.1} s, {lost} lost",
        clients * AT_ONCE,
        begun.elapsed().as_secs_f64()
    );
    let mut silent = 0;
    for session in resting.iter().chain([&first]) {
        silent += usize::from(!work(session, 1).await);
    }
    println!("- of those at rest {silent} did not answer afterwards");
    lost + silent
}

/// Sends so many laps over a stream of its own and reads each back. Whether all came back as they were.
async fn work(session: &Session, laps: usize) -> bool {
    let work = async {
        let mut stream = session.open().await?;
        for lap in 0..laps {
            let sent = [lap as u8; LAP];
            stream.write_all(&sent).await?;
            let mut got = [0; LAP];
            stream.read_exact(&mut got).await?;
            if got != sent {
                return Ok(false);
            }
        }
        stream.close().await?;
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await?;
        std::io::Result::Ok(rest.is_empty())
    };
    let late = async {
        smol::Timer::after(Duration::from_secs(60)).await;
        Ok(false)
    };
    smol::future::or(work, late).await.unwrap_or(false)
}

async fn open(url: &str) -> Session {
    let options = Options::new()
        .proxy(ProxyChoice::None)
        .connect_timeout(Duration::from_secs(30));
    connect(url, options).await.unwrap()
}

async fn open_each(url: &str, count: usize) -> Vec<Session> {
    let mut sessions = Vec::new();
    for _ in 0..count {
        sessions.push(open(url).await);
    }
    sessions
}

async fn open_all(url: &str, count: usize) -> Vec<Session> {
    let shares: Vec<_> = (0..AT_ONCE)
        .map(|i| {
            let (url, count) = (url.to_owned(), (count + AT_ONCE - 1 - i) / AT_ONCE);
            smol::spawn(async move { open_each(&url, count).await })
        })
        .collect();
    let mut sessions = Vec::new();
    for share in shares {
        sessions.extend(share.await);
    }
    sessions
}

fn all_exchanges(sessions: &[Session]) -> u64 {
    sessions
        .iter()
        .map(|session| session.stats().exchanges)
        .sum()
}

/// The server's process: every stream of every session is echoed.
fn serve() {
    smol::block_on(async {
        let limits = Limits {
            connections: 40_000,
            ..Limits::default()
        };
        let router = RouterConfig {
            sessions: 20_000,
            ..RouterConfig::default()
        };
        let options = ListenOptions::new().limits(limits).router(router);
        let listener = Listener::bind("127.0.0.1:0", options).await.unwrap();
        println!("http://{}/", listener.local_addr().unwrap());
        // Until whoever started this ends.
        std::thread::spawn(|| {
            let _ = std::io::stdin().read(&mut [0]);
            std::process::exit(0);
        });
        let mut incoming = listener.incoming();
        while let Some(Ok(session)) = incoming.next().await {
            smol::spawn(async move {
                while let Ok(stream) = session.accept().await {
                    smol::spawn(async move {
                        let (mut reader, mut writer) = smol::io::split(stream);
                        let _ = smol::io::copy(&mut reader, &mut writer).await;
                        let _ = writer.close().await;
                    })
                    .detach();
                }
            })
            .detach();
        }
    });
}

struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start() -> Server {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("server")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        let said = child.stdout.take().unwrap();
        BufReader::new(said).read_line(&mut url).unwrap();
        Server {
            child,
            url: url.trim().to_owned(),
        }
    }

    fn proc_file(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap()
    }

    /// Bytes of resident memory.
    fn memory(&self) -> f64 {
        let pages = self.proc_file("statm");
        pages
            .split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<f64>()
            .unwrap()
            * 4096.0
    }

    /// Processor seconds, in ticks of 10 ms.
    fn processor(&self) -> f64 {
        let stat = self.proc_file("stat");
        let after_name = stat.rsplit(')').next().unwrap();
        let ticks = after_name.split_whitespace().skip(11).take(2);
        ticks.map(|it| it.parse::<f64>().unwrap()).sum::<f64>() / 100.0
    }

    fn end(&mut self) {
        let _ = self.child.stdin.take().map(|mut it| it.flush());
        let _ = self.child.wait();
    }
}

fn raise_descriptors() {
    let most = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: most,
            maximum: most,
        },
    );
}
