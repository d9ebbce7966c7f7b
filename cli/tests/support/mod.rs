//! Running the built command and talking to it: every wait is for an event, and bounded.
#![allow(dead_code)] // Each test file uses its part.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Far more than anything here takes.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// What the two ends run on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct On {
    pub(crate) client: &'static str,
    pub(crate) server: &'static str,
}

impl On {
    /// A server with these arguments, and its URL.
    pub(crate) fn serve(self, arguments: &str) -> (Posthole, String) {
        Posthole::serve(&format!("{arguments} --runtime {}", self.server))
    }

    /// The same, where the arguments say the port.
    pub(crate) fn serve_at(self, arguments: &str) -> Posthole {
        let server = Posthole::start(&format!("serve {arguments} --runtime {}", self.server));
        server.line("listening on");
        server
    }

    /// A client with these arguments, and where its first forward listens.
    pub(crate) fn connect(self, arguments: &str) -> (Posthole, SocketAddr) {
        Posthole::connect(&format!("{arguments} --runtime {}", self.client))
    }

    /// The same, of which nothing is awaited.
    pub(crate) fn start_connect(self, arguments: &str) -> Posthole {
        Posthole::start(&format!("connect {arguments} --runtime {}", self.client))
    }
}

/// Makes tests of functions that take an [`On`]: one for each runtime at both ends.
#[macro_export]
macro_rules! on_each_runtime {
    ($($test:ident)*) => {
        $crate::on_runtimes!(blocking: "blocking", "blocking"; $($test)*);
        $crate::on_runtimes!(smol: "smol", "smol"; $($test)*);
    };
}

/// The same, and one for each mixed pair.
#[macro_export]
macro_rules! on_each_pair {
    ($($test:ident)*) => {
        $crate::on_each_runtime!($($test)*);
        $crate::on_runtimes!(smol_to_blocking: "smol", "blocking"; $($test)*);
        $crate::on_runtimes!(blocking_to_smol: "blocking", "smol"; $($test)*);
    };
}

/// The same, for one pair, in a module of its own.
#[macro_export]
macro_rules! on_runtimes {
    ($name:ident: $client:literal, $server:literal; $($test:ident)*) => {
        mod $name {
            $(#[test]
            fn $test() {
                super::$test($crate::support::On { client: $client, server: $server });
            })*
        }
    };
}

/// A running `posthole`; killed when dropped.
pub(crate) struct Posthole {
    child: Child,
    said: Arc<Said>,
}

#[derive(Default)]
struct Said {
    /// Lines of standard error, and whether it has ended.
    lines: Mutex<(Vec<String>, bool)>,
    changed: Condvar,
}

impl Posthole {
    /// Starts it with these arguments, split at spaces.
    pub(crate) fn start(line: &str) -> Posthole {
        Posthole::start_in(&[], line)
    }

    /// The same, in an environment of these variables only.
    pub(crate) fn start_in(environment: &[(&str, &str)], line: &str) -> Posthole {
        let mut child = Command::new(env!("CARGO_BIN_EXE_posthole"))
            .args(line.split_whitespace())
            .env_clear()
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Arc::new(Said::default());
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let heard = Arc::clone(&said);
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                heard.lines.lock().unwrap().0.push(line);
                heard.changed.notify_all();
            }
            heard.lines.lock().unwrap().1 = true;
            heard.changed.notify_all();
        });
        Posthole { child, said }
    }

    /// A server for these destinations, and its URL.
    fn serve(arguments: &str) -> (Posthole, String) {
        let server = Posthole::start(&format!("serve --listen 127.0.0.1:0 {arguments}"));
        let line = server.line("listening on http://");
        let url = line
            .split_whitespace()
            .find(|w| w.starts_with("http://"))
            .unwrap()
            .to_owned();
        (server, url)
    }

    /// A client with these arguments, and where its first forward listens.
    fn connect(arguments: &str) -> (Posthole, SocketAddr) {
        let client = Posthole::start(&format!("connect {arguments}"));
        let addr = client.forward();
        (client, addr)
    }

    /// Where the first forward of this client listens.
    pub(crate) fn forward(&self) -> SocketAddr {
        let line = self.line("forwarding ");
        let addr = line.split("forwarding ").nth(1).unwrap();
        let addr = addr.split_whitespace().next().unwrap();
        addr.parse().unwrap()
    }

    /// Waits for a line of standard error that contains this.
    pub(crate) fn line(&self, part: &str) -> String {
        self.lines_with(part, 1).remove(0)
    }

    /// Waits for this many lines of standard error that contain this.
    pub(crate) fn lines_with(&self, part: &str, count: usize) -> Vec<String> {
        let until = Instant::now() + LIMIT;
        let mut lines = self.said.lines.lock().unwrap();
        loop {
            let found: Vec<String> = lines
                .0
                .iter()
                .filter(|l| l.contains(part))
                .cloned()
                .collect();
            if found.len() >= count {
                return found;
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero() && !lines.1,
                "no line with `{part}` among {:#?}",
                lines.0
            );
            lines = self.said.changed.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// All that it has said on standard error so far.
    pub(crate) fn said(&self) -> Vec<String> {
        self.said.lines.lock().unwrap().0.clone()
    }

    pub(crate) fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    pub(crate) fn stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().unwrap()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end: exit code, standard output if it was not taken, and the lines of standard error.
    pub(crate) fn end(mut self) -> (Option<i32>, String, Vec<String>) {
        let mut stdout = String::new();
        if let Some(mut from) = self.child.stdout.take() {
            from.read_to_string(&mut stdout).unwrap();
        }
        let until = Instant::now() + LIMIT;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < until, "it does not end");
            thread::sleep(Duration::from_millis(5));
        };
        let mut lines = self.said.lines.lock().unwrap();
        while !lines.1 {
            lines = self.said.changed.wait_timeout(lines, LIMIT).unwrap().0;
        }
        (status.code(), stdout, lines.0.clone())
    }
}

impl Drop for Posthole {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs it to its end.
pub(crate) fn run(line: &str) -> (Option<i32>, String, Vec<String>) {
    let mut posthole = Posthole::start(line);
    drop(posthole.stdin());
    posthole.end()
}

/// A destination that the test accepts connections of.
pub(crate) struct Destination {
    listener: TcpListener,
    pub(crate) addr: SocketAddr,
}

impl Destination {
    pub(crate) fn new() -> Destination {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        Destination { listener, addr }
    }

    /// One that sends back what it gets, for ever, half-close included.
    pub(crate) fn echo() -> SocketAddr {
        let destination = Destination::new();
        let addr = destination.addr;
        thread::spawn(move || {
            for connection in destination.listener.incoming().map_while(Result::ok) {
                thread::spawn(move || echo(&connection));
            }
        });
        addr
    }

    pub(crate) fn accept(&self) -> TcpStream {
        bounded(self.listener.accept().unwrap().0)
    }
}

fn echo(mut connection: &TcpStream) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(n) = connection.read(&mut piece) {
        if n == 0 {
            let _ = connection.shutdown(Shutdown::Write);
            return;
        }
        if connection.write_all(&piece[..n]).is_err() {
            return;
        }
    }
}

/// A connection whose reads end in an error after the limit.
pub(crate) fn dial(addr: SocketAddr) -> TcpStream {
    bounded(TcpStream::connect(addr).unwrap())
}

fn bounded(connection: TcpStream) -> TcpStream {
    connection.set_read_timeout(Some(LIMIT)).unwrap();
    connection.set_write_timeout(Some(LIMIT)).unwrap();
    connection
}

/// Ends a connection as a crashed program does.
pub(crate) fn reset(connection: TcpStream) {
    socket2::SockRef::from(&connection)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
}

/// Reads to the end, which must be a reset; gives what came before it.
pub(crate) fn read_to_reset(mut connection: &TcpStream) -> Vec<u8> {
    let mut got = Vec::new();
    let error = connection
        .read_to_end(&mut got)
        .expect_err("a reset, not an end");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    got
}

/// Says something and waits until it has come back.
pub(crate) fn ping(mut connection: &TcpStream, text: &[u8]) {
    connection.write_all(text).unwrap();
    let mut got = vec![0; text.len()];
    connection.read_exact(&mut got).unwrap();
    assert_eq!(got, text);
}

/// An address that nobody listens on.
pub(crate) fn free_addr() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}
