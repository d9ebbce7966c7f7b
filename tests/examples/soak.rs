//! Real processes, and what can be done to them: a table in Markdown of what was tried and what survived.
//!
//! `cargo build --release && cargo run --release -p posthole-tests --example soak`; some two minutes for each runtime. Ends with
//! 1 if something did not go as it should. Only loopback is used, and only processes of its own are ended.
#![allow(clippy::unwrap_used)] // Whoever runs it sees what is wrong.

use posthole_tests::mutants::root;
use posthole_tests::pattern::Pattern;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// What is moved each way while something happens.
const BYTES: u64 = 24 << 20;
/// And how fast, so that there is a while for it.
const RATE: u64 = 8 << 20;
/// Nothing here takes longer.
const LIMIT: Duration = Duration::from_secs(90);

/// What is to become of the connections that are open.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// They go on, and every byte is right.
    Intact,
    /// They are reset, never ended as if all were well, and new ones work.
    Reset,
}

fn main() -> ExitCode {
    let mut wrong = 0;
    println!("| what was done | threads | tasks |\n| --- | --- | --- |");
    for (name, fate, act) in TRIALS {
        let mut row = format!("| {name} |");
        for runtime in ["blocking", "smol"] {
            let result = trial(runtime, *fate, *act);
            wrong += u32::from(result.is_err());
            row += &format!(" {} |", result.unwrap_or_else(|why| format!("**{why}**")));
        }
        println!("{row}");
    }
    println!("\n{wrong} not as it should be.");
    ExitCode::from(u8::from(wrong > 0))
}

type Act = fn(&mut World);

const TRIALS: &[(&str, Fate, Act)] = &[
    ("nothing", Fate::Intact, |_| ()),
    (
        "everything between them cut, five times a second",
        Fate::Intact,
        |world| {
            for _ in 0..15 {
                world.relay.cut();
                thread::sleep(Duration::from_millis(200));
            }
        },
    ),
    (
        "each connection between them cut after some hundred kilobytes",
        Fate::Intact,
        |world| {
            world.relay.most.store(400_000, Ordering::Relaxed);
            thread::sleep(Duration::from_secs(3));
            world.relay.most.store(u64::MAX, Ordering::Relaxed);
        },
    ),
    ("the way between them gone for 5 s", Fate::Intact, |world| {
        world.relay.down.store(true, Ordering::Relaxed);
        world.relay.cut();
        thread::sleep(Duration::from_secs(5));
        world.relay.down.store(false, Ordering::Relaxed);
    }),
    ("silence between them for 5 s", Fate::Intact, |world| {
        world.relay.silent.store(true, Ordering::Relaxed);
        thread::sleep(Duration::from_secs(5));
        world.relay.silent.store(false, Ordering::Relaxed);
    }),
    (
        "the server stopped (SIGSTOP) for 5 s",
        Fate::Intact,
        |world| {
            stop_for(&world.server, Duration::from_secs(5));
        },
    ),
    (
        "the client stopped (SIGSTOP) for 5 s",
        Fate::Intact,
        |world| {
            stop_for(&world.client, Duration::from_secs(5));
        },
    ),
    (
        "the server killed (SIGKILL) and started again",
        Fate::Reset,
        |world| {
            world.server.kill().unwrap();
            world.server.wait().unwrap();
            world.server = world.serve();
        },
    ),
    (
        "the client killed (SIGKILL) and started again",
        Fate::Reset,
        |world| {
            world.client.kill().unwrap();
            world.client.wait().unwrap();
            world.client = world.connect();
        },
    ),
    (
        "200 connections to the server that send one byte a second",
        Fate::Intact,
        |world| {
            let slow: Vec<TcpStream> = (0..200)
                .filter_map(|_| TcpStream::connect(world.http).ok())
                .collect();
            for byte in b"POST /" {
                for mut socket in &slow {
                    let _ = socket.write_all(&[*byte]);
                }
                thread::sleep(Duration::from_millis(500));
            }
        },
    ),
    (
        "200 connections to the server that say nothing",
        Fate::Intact,
        |world| {
            let _silent: Vec<TcpStream> = (0..200)
                .filter_map(|_| TcpStream::connect(world.http).ok())
                .collect();
            thread::sleep(Duration::from_secs(2));
        },
    ),
    ("rubbish sent to both", Fate::Intact, |world| {
        let mut pattern = Pattern::new(5);
        let mut rubbish = vec![0; 65_536];
        for _ in 0..100 {
            for addr in [world.http, world.local] {
                let Ok(mut socket) = TcpStream::connect(addr) else {
                    continue;
                };
                pattern.fill(&mut rubbish);
                let _ = socket.write_all(&rubbish);
            }
        }
    }),
    (
        "the server without descriptors for a while",
        Fate::Intact,
        |world| {
            // It has 256, and each of these takes one at least.
            let _all: Vec<TcpStream> = (0..600)
                .filter_map(|_| TcpStream::connect(world.http).ok())
                .collect();
            thread::sleep(Duration::from_secs(2));
        },
    ),
];

fn stop_for(child: &Child, time: Duration) {
    let pid = Pid::from_child(child);
    kill_process(pid, Signal::STOP).unwrap();
    thread::sleep(time);
    kill_process(pid, Signal::CONT).unwrap();
}

/// A server, a client, what is between them, and an application that echoes behind the server.
struct World {
    runtime: &'static str,
    server: Child,
    client: Child,
    relay: Arc<Relay>,
    /// Where the server listens for HTTP, where the relay does, and where the client's forward does.
    http: SocketAddr,
    by: SocketAddr,
    local: SocketAddr,
    echo: SocketAddr,
}

impl World {
    fn new(runtime: &'static str) -> World {
        let echo = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = echo.local_addr().unwrap();
        thread::spawn(move || echoes(&echo));
        let [http, local] = [free(), free()];
        let relay = Arc::new(Relay::default());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let by = listener.local_addr().unwrap();
        relay.most.store(u64::MAX, Ordering::Relaxed);
        let runs = Arc::clone(&relay);
        thread::spawn(move || runs.run(&listener, http));
        let nothing = || Command::new("true").spawn().unwrap();
        let mut world = World {
            runtime,
            server: nothing(),
            client: nothing(),
            relay,
            http,
            by,
            local,
            echo: addr,
        };
        let _ = (world.server.wait(), world.client.wait());
        world.server = world.serve();
        world.client = world.connect();
        world
    }

    fn serve(&self) -> Child {
        // What it says has nowhere to go: a disk that is full.
        let line = format!(
            "ulimit -n 256; exec {} serve --listen {} --allow {} --runtime {} -v 2>/dev/full",
            posthole(),
            self.http,
            self.echo,
            self.runtime
        );
        let child = start(&line);
        wait_for(self.http);
        child
    }

    fn connect(&self) -> Child {
        let line = format!(
            "exec {} connect http://{}/ -L {}:{} --proxy none --runtime {} -v 2>/dev/full",
            posthole(),
            self.by,
            self.local,
            self.echo,
            self.runtime
        );
        let child = start(&line);
        wait_for(self.local);
        child
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for child in [&mut self.client, &mut self.server] {
            let _ = child.kill();
            let _ = child.wait();
        }
        self.relay.over.store(true, Ordering::Relaxed);
        self.relay.cut();
    }
}

fn posthole() -> String {
    root().join("target/release/posthole").display().to_string()
}

fn start(line: &str) -> Child {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", line])
        .env("http_proxy", "")
        .stdin(Stdio::null());
    shell.stdout(Stdio::null()).spawn().unwrap()
}

fn free() -> SocketAddr {
    let any = TcpListener::bind("127.0.0.1:0").unwrap();
    any.local_addr().unwrap()
}

fn wait_for(addr: SocketAddr) {
    let until = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(addr).is_err() {
        assert!(Instant::now() < until, "{addr} does not listen");
        thread::sleep(Duration::from_millis(20));
    }
}

fn echoes(listener: &TcpListener) {
    for socket in listener.incoming().map_while(Result::ok) {
        thread::spawn(move || {
            let copied = io::copy(&mut &socket, &mut &socket);
            if copied.is_ok() {
                let _ = socket.shutdown(Shutdown::Write);
            }
        });
    }
}

/// What is between client and server.
#[derive(Default)]
struct Relay {
    open: Mutex<Vec<TcpStream>>,
    /// Bytes after which a connection ends.
    most: AtomicU64,
    down: AtomicBool,
    silent: AtomicBool,
    over: AtomicBool,
}

impl Relay {
    fn run(self: Arc<Self>, listener: &TcpListener, to: SocketAddr) {
        for near in listener.incoming().map_while(Result::ok) {
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            if self.down.load(Ordering::Relaxed) {
                continue;
            }
            let Ok(far) = TcpStream::connect(to) else {
                continue;
            };
            let mut open = self.open.lock().unwrap();
            open.extend([near.try_clone().unwrap(), far.try_clone().unwrap()]);
            drop(open);
            let most = self.most.load(Ordering::Relaxed);
            for (from, to) in [(near.try_clone(), far.try_clone()), (Ok(far), Ok(near))] {
                let (from, to, relay) = (from.unwrap(), to.unwrap(), Arc::clone(&self));
                thread::spawn(move || relay.copy(&from, &to, most));
            }
        }
    }

    fn copy(&self, mut from: &TcpStream, mut to: &TcpStream, most: u64) {
        let (mut piece, mut moved) = (vec![0; 65_536], 0);
        while let Ok(n) = from.read(&mut piece) {
            while self.silent.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(10));
            }
            moved += n as u64;
            if n == 0 || moved > most || to.write_all(&piece[..n]).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }

    fn cut(&self) {
        for socket in self.open.lock().unwrap().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

fn trial(runtime: &'static str, fate: Fate, act: Act) -> Result<String, String> {
    let mut world = World::new(runtime);
    let began = Instant::now();
    let local = world.local;
    let moves = thread::spawn(move || transfer(local, BYTES));
    thread::sleep(Duration::from_millis(700));
    act(&mut world);
    let moved = moves.join().map_err(|_| "a panic".to_owned())?;
    let took = began.elapsed().as_secs_f32();
    match (fate, moved) {
        (Fate::Intact, Ok(())) => {}
        (Fate::Intact, Err(why)) => return Err(why),
        (Fate::Reset, Ok(())) => return Err("it ended well, which it can't have".to_owned()),
        (Fate::Reset, Err(why)) if why.starts_with("reset") => {}
        (Fate::Reset, Err(why)) => return Err(why),
    }
    // And then everything is as before.
    transfer(local, 1 << 20).map_err(|why| format!("afterwards: {why}"))?;
    Ok(match fate {
        Fate::Intact => format!("intact, {took:.1} s"),
        Fate::Reset => "reset; new ones work".to_owned(),
    })
}

/// Sends so many bytes and has them back.
fn transfer(addr: SocketAddr, bytes: u64) -> Result<(), String> {
    let until = Instant::now() + LIMIT;
    let socket = TcpStream::connect(addr).map_err(|e| format!("no connection: {e}"))?;
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let sends = socket.try_clone().unwrap();
    let sender = thread::spawn(move || -> io::Result<()> {
        let (mut pattern, mut piece, began) = (Pattern::new(1), vec![0; 65_536], Instant::now());
        let mut sent = 0;
        while sent < bytes {
            pattern.fill(&mut piece);
            (&sends).write_all(&piece)?;
            sent += piece.len() as u64;
            let due = Duration::from_secs_f64(sent as f64 / RATE as f64);
            thread::sleep(due.saturating_sub(began.elapsed()));
        }
        sends.shutdown(Shutdown::Write)
    });
    let (mut pattern, mut wanted, mut got, mut read) =
        (Pattern::new(1), vec![0; 65_536], vec![0; 65_536], 0);
    loop {
        if Instant::now() > until {
            return Err(format!("not over after {LIMIT:?}"));
        }
        match (&socket).read(&mut got) {
            Ok(0) if read == bytes => break,
            Ok(0) => return Err(format!("an end after {read} bytes of {bytes}")),
            Ok(n) => {
                pattern.fill(&mut wanted[..n]);
                if got[..n] != wanted[..n] {
                    return Err(format!("wrong bytes after {read}"));
                }
                read += n as u64;
            }
            Err(e) => return Err(format!("reset after {read} bytes: {e}")),
        }
    }
    let sent = sender.join().map_err(|_| "a panic".to_owned())?;
    sent.map_err(|e| format!("reset: {e}"))
}
