//! Unix sockets in the place of TCP ports: listened on, and as destinations.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::process::Signal;
use support::{Destination, LIMIT, On, dial};

on_each_pair! {
    bytes_and_ends_pass_between_every_kind_of_socket
    what_is_not_there_or_not_allowed_is_refused
    a_socket_is_this_users_and_goes_with_its_process
    a_reverse_port_may_lead_to_a_socket
}

/// A folder of a test's own, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("posthole-unix-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn reach(path: &Path) -> UnixStream {
    let socket = UnixStream::connect(path).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket
}

/// Sends back what comes in reverse order, after its end.
fn answering(listener: UnixListener) {
    thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            thread::spawn(move || {
                let mut heard = Vec::new();
                socket.read_to_end(&mut heard).unwrap();
                heard.reverse();
                socket.write_all(&heard).unwrap();
            });
        }
    });
}

/// Half a megabyte there, its end, and back.
fn talk(mut socket: impl Read + Write, end: impl FnOnce()) {
    let mut said: Vec<u8> = (0..500_000_u32).map(|n| (n % 251) as u8).collect();
    socket.write_all(&said).unwrap();
    end();
    let mut heard = Vec::new();
    socket.read_to_end(&mut heard).unwrap();
    said.reverse();
    assert!(heard == said, "{} bytes of {}", heard.len(), said.len());
}

fn bytes_and_ends_pass_between_every_kind_of_socket(on: On) {
    let folder = Folder::new();
    let there = folder.file("there");
    answering(UnixListener::bind(&there).unwrap());
    let tcp = Destination::new();
    let (to, addr) = (there.display(), tcp.addr);
    let (_server, url) = on.serve(&format!("--allow {to} --allow {addr}"));
    let [first, second] = ["first", "second"].map(|name| folder.file(name));
    let (_client, local) = on.connect(&format!(
        "{url} -L 0:{to} -L {}:{to} -L {}:{addr}",
        first.display(),
        second.display()
    ));
    let socket = dial(local);
    talk(&socket, || socket.shutdown(Shutdown::Write).unwrap());
    let socket = reach(&first);
    talk(&socket, || socket.shutdown(Shutdown::Write).unwrap());

    let mut here = reach(&second);
    let mut there = tcp.accept();
    there.write_all(b"greeting").unwrap();
    there.shutdown(Shutdown::Write).unwrap();
    let mut got = String::new();
    here.read_to_string(&mut got).unwrap();
    assert_eq!(got, "greeting");
    here.write_all(b"late question").unwrap();
    drop(here);
    got.clear();
    there.read_to_string(&mut got).unwrap();
    assert_eq!(got, "late question");
}

fn what_is_not_there_or_not_allowed_is_refused(on: On) {
    let folder = Folder::new();
    let (nobody, secret) = (folder.file("nobody"), folder.file("secret"));
    answering(UnixListener::bind(&secret).unwrap());
    let (server, url) = on.serve(&format!("--allow {} --allow *:*", nobody.display()));
    let at = folder.file("at");
    let (client, local) = on.connect(&format!(
        "{url} -L 0:{} -L {}:{}",
        secret.display(),
        at.display(),
        nobody.display()
    ));
    let refused = |mut socket: TcpStream| assert!(socket.read(&mut [0]).is_err());
    refused(dial(local));
    client.line("not allowed by the server");
    server.line("secret refused: not allowed");
    // A Unix socket knows no reset.
    assert_eq!(reach(&at).read(&mut [0]).unwrap_or(0), 0);
    client.line("nobody: connection refused");
    server.line("nobody: connection refused");
}

fn a_socket_is_this_users_and_goes_with_its_process(on: On) {
    let folder = Folder::new();
    let (there, at) = (folder.file("there"), folder.file("at"));
    answering(UnixListener::bind(&there).unwrap());
    let (_server, url) = on.serve(&format!("--allow {}", there.display()));
    let line = format!("{url} -L {}:{}", at.display(), there.display());
    // One that was left behind is replaced.
    drop(UnixListener::bind(&at).unwrap());
    let client = on.start_connect(&line);
    client.line("forwarding ");
    let mode = fs::metadata(&at).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let second = on.start_connect(&line);
    let (code, _, said) = second.end();
    assert_eq!(code, Some(1));
    assert!(
        said.concat().contains("another program listens there"),
        "{said:?}"
    );
    let socket = reach(&at);
    talk(&socket, || socket.shutdown(Shutdown::Write).unwrap());
    client.signal(Signal::TERM);
    assert_eq!(client.end().0, Some(0));
    assert!(!at.exists());
    fs::write(&at, "a file").unwrap();
    let (code, _, said) = on.start_connect(&line).end();
    assert_eq!(code, Some(1));
    assert!(said.concat().contains("another kind of file"), "{said:?}");
    assert_eq!(fs::read(&at).unwrap(), b"a file");
}

fn a_reverse_port_may_lead_to_a_socket(on: On) {
    let folder = Folder::new();
    let here = folder.file("here");
    answering(UnixListener::bind(&here).unwrap());
    let (_server, url) = on.serve("--allow-reverse 127.0.0.1:*");
    let client = on.start_connect(&format!("{url} -R 0:{}", here.display()));
    let line = client.line("the server forwards");
    let mut words = line
        .split_whitespace()
        .skip_while(|word| *word != "forwards");
    let at: SocketAddr = words.nth(1).unwrap().parse().unwrap();
    let socket = dial(at);
    talk(&socket, || socket.shutdown(Shutdown::Write).unwrap());
}

#[test]
fn a_path_that_is_none_is_said_at_once() {
    for wrong in ["-L 0:/a/../b", "-L /a//b:127.0.0.1:1", "--stdio /a/"] {
        let (code, _, said) = support::run(&format!("connect http://127.0.0.1:1/ {wrong}"));
        assert_eq!(code, Some(2), "{wrong}: {said:?}");
        assert!(said.concat().contains("path of a socket"), "{said:?}");
    }
}
