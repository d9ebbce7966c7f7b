//! Real proxies as child processes of a test: Debian's own configuration, with an address on loopback, an access rule,
//! and files of their own. Each ends with its handle.
//!
//! A proxy that is not installed is a reason to skip a test, said on standard error; with `CI=true` it is a failure.
#![allow(dead_code, unreachable_pub)] // Each test file uses its part.

pub mod apache;
pub mod haproxy;
pub mod lighttpd;
pub mod namespace;
pub mod nginx;
pub mod privoxy;
pub mod squid;
pub mod tinyproxy;
pub mod varnish;

use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long a proxy may take to listen, or to end.
const LIMIT: Duration = Duration::from_secs(20);
/// How often it is tried whether one does.
const STEP: Duration = Duration::from_millis(10);

/// Whether what a test needs may be missing.
fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|ci| ci == "true")
}

/// Says why a test is skipped; with `CI=true` it fails.
pub fn skip(why: &str) {
    assert!(!is_ci(), "with CI=true nothing is skipped: {why}");
    eprintln!("skipped: {why}");
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Where a program is.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder: PathBuf| folder.join(name))
        .find(|file| file.is_file());
    if found.is_none() {
        skip(&format!("{name} is not installed"));
    }
    found
}

/// A folder for one proxy's files, open to whatever user it turns into.
#[derive(Debug)]
pub struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Home {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = format!("posthole-{name}-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
        Home(folder)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A name that no other proxy has, of letters and digits.
    fn service(&self) -> String {
        let name = self.0.file_name().unwrap_or_default().to_string_lossy();
        name.replace('-', "")
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let file = self.file(name);
        fs::write(&file, text).unwrap();
        file
    }

    /// The path, for a configuration file.
    fn path(&self) -> &str {
        self.0.to_str().expect("made of plain words")
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
        // What a squid that was killed leaves of its shared memory.
        let service = self.service();
        for file in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
            let name = file.file_name();
            if name.to_string_lossy().split('-').next() == Some(&service) {
                let _ = fs::remove_file(file.path());
            }
        }
    }
}

/// One of the configuration files that users are given.
fn recipe(name: &str) -> String {
    format!("{}/../docs/recipes/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A configuration file with some of its lines replaced, each by what stands beside it. All must be there.
fn edited(file: &str, edits: &[(&str, &str)]) -> String {
    let text = fs::read_to_string(file).unwrap();
    let mut found = vec![false; edits.len()];
    let mut lines = Vec::new();
    for line in text.lines() {
        let edit = edits.iter().position(|(wanted, _)| line.trim() == *wanted);
        match edit {
            None => lines.push(line),
            Some(i) => {
                found[i] = true;
                lines.push(edits[i].1);
            }
        }
    }
    for ((wanted, _), found) in edits.iter().zip(found) {
        assert!(found, "{file} has no line `{wanted}`");
    }
    lines.push("");
    lines.join("\n")
}

/// A port for a process that is yet to begin. Below those that the system gives to connections (32768 on), or one of the many that other
/// tests make meanwhile could have it before the proxy binds it, or while it is killed and not yet back; and no two
/// tests get the same.
pub fn free_port() -> SocketAddr {
    const FIRST: u32 = 12_000;
    const COUNT: u32 = 20_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Other processes begin elsewhere.
    let begin = std::process::id().wrapping_mul(97);
    for _ in 0..COUNT {
        let number = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(FIRST + number).expect("below 32768");
        let addr = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        if TcpListener::bind(addr).is_ok() {
            return addr.into();
        }
    }
    panic!("no free port from {FIRST} on");
}

/// What a proxy of some kind needs to run.
struct Recipe {
    program: PathBuf,
    arguments: Vec<OsString>,
    home: Home,
    addr: SocketAddr,
    /// What ends it and all of its processes at once.
    end: Signal,
    /// The files that say what went wrong.
    logs: Vec<&'static str>,
}

impl Recipe {
    fn start(self) -> Proxy {
        let child = self.spawn();
        let mut proxy = Proxy {
            child,
            recipe: self,
        };
        proxy.wait_until_it_listens();
        proxy
    }

    fn spawn(&self) -> Child {
        let said = File::options()
            .create(true)
            .append(true)
            .open(self.home.file("said"))
            .unwrap();
        Command::new(&self.program)
            .args(&self.arguments)
            .current_dir(&self.home.0)
            .stdin(Stdio::null())
            .stdout(said.try_clone().unwrap())
            .stderr(said)
            .spawn()
            .unwrap()
    }
}

/// A running proxy.
pub struct Proxy {
    recipe: Recipe,
    child: Child,
}

impl Proxy {
    pub fn addr(&self) -> SocketAddr {
        self.recipe.addr
    }

    /// As a client wants it: `http://127.0.0.1:3128`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// Kills it with -9; its connections are reset or closed by the system.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again at the same address.
    pub fn restart(&mut self) {
        self.child = self.recipe.spawn();
        self.wait_until_it_listens();
    }

    /// What it has logged in this file so far.
    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.recipe.home.file(name)).unwrap_or_default()
    }

    fn wait_until_it_listens(&mut self) {
        let until = Instant::now() + LIMIT;
        while TcpStream::connect(self.addr()).is_err() {
            let ended = self.child.try_wait().unwrap();
            let is_late = Instant::now() > until;
            if ended.is_some() || is_late {
                self.tell();
                panic!("it does not listen: {:?}", self.recipe.program);
            }
            thread::sleep(STEP);
        }
    }

    /// Prints the ends of its logs.
    fn tell(&self) {
        for name in ["said"].iter().chain(&self.recipe.logs) {
            let log = self.log(name);
            let lines: Vec<&str> = log.lines().collect();
            let last = lines.len().saturating_sub(30);
            eprintln!("--- {} of {:?}", name, self.recipe.program);
            eprintln!("{}", lines[last..].join("\n"));
        }
    }

    fn end(&mut self) -> Option<ExitStatus> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Some(status);
        }
        let _ = kill_process(Pid::from_child(&self.child), self.recipe.end);
        let until = Instant::now() + LIMIT;
        while Instant::now() < until {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            thread::sleep(STEP);
        }
        let _ = self.child.kill();
        self.child.wait().ok()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.end();
        if thread::panicking() {
            self.tell();
        }
    }
}

/// The arguments of a command line.
fn arguments<const N: usize>(of: [&Path; N]) -> Vec<OsString> {
    of.map(|a| a.as_os_str().to_owned()).to_vec()
}

/// An address that other machines reach as well.
fn at(ip: Ipv4Addr) -> SocketAddr {
    SocketAddrV4::new(ip, free_port().port()).into()
}
