//! `posthole cgi`: by itself, and under a real web server.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use support::{Destination, On, dial, free_addr, ping};

on_each_runtime! {
    a_request_is_handed_on_and_its_answer_comes_back
    a_tunnel_under_lighttpd
}

/// A folder of this test's own.
struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Home {
        let folder = std::env::temp_dir().join(format!("posthole-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        Home(folder)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs it as a web server does: its answer, and what it says to the log.
fn cgi(socket: &str, variables: &[(&str, &str)], body: &[u8]) -> (String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_posthole"))
        .args(["cgi", "--socket", socket])
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // One that does not read its request has its reasons.
    let _ = stdin.write_all(body);
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

const POST: (&str, &str) = ("REQUEST_METHOD", "POST");

fn a_request_is_handed_on_and_its_answer_comes_back(on: On) {
    let home = Home::new(&format!("cgi-{}", on.server));
    let socket = home.file("sock");
    let arguments = format!("--allow 127.0.0.1:1 --socket {socket} --socket-mode 640");
    let (_server, _) = on.serve(&arguments);
    let mode = fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    let (answer, said) = cgi(&socket, &[POST, ("CONTENT_LENGTH", "5")], b"hello");
    assert!(answer.starts_with("Status: 400 "), "{answer}");
    assert!(
        answer.to_ascii_lowercase().contains("posthole: 1\r\n"),
        "the server's own: {answer}"
    );
    assert_eq!(said, "");
    let get = [("REQUEST_METHOD", "GET"), ("QUERY_STRING", "a=b")];
    assert!(cgi(&socket, &get, b"").0.starts_with("Status: 405 "));
    // Another server can't take its place.
    let (code, _, said) = support::run(&format!("serve --listen 127.0.0.1:0 {arguments}"));
    assert_eq!(code, Some(1));
    assert!(
        said.concat().contains("another program listens there"),
        "{said:?}"
    );
}

#[test]
fn what_a_killed_server_has_left_is_replaced() {
    let home = Home::new("cgi-left");
    let socket = home.file("sock");
    drop(UnixListener::bind(&socket).unwrap());
    let on = On {
        client: "blocking",
        server: "blocking",
    };
    let (server, _) = on.serve(&format!("--allow 127.0.0.1:1 --socket {socket}"));
    assert!(cgi(&socket, &[POST], b"").0.starts_with("Status: 400 "));
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.end().0, Some(0));
    assert!(!Path::new(&socket).exists());
    fs::write(&socket, "mine").unwrap();
    let line = format!("serve --listen 127.0.0.1:0 --allow 127.0.0.1:1 --socket {socket}");
    let (code, _, said) = support::run(&line);
    assert_eq!(code, Some(1), "{said:?}");
    assert_eq!(fs::read_to_string(&socket).unwrap(), "mine");
}

#[test]
fn what_stands_in_the_way_is_answered_and_logged() {
    let home = Home::new("cgi-trouble");
    let nobody = home.file("nobody");
    let (answer, said) = cgi(&nobody, &[POST], b"");
    assert!(answer.starts_with("Status: 503 "), "{answer}");
    assert!(
        answer.contains("serve --socket") && said.contains("nobody"),
        "{answer}{said}"
    );
    assert!(cgi(&nobody, &[], b"").0.starts_with("Status: 500 "));
    let many = [POST, ("CONTENT_LENGTH", "many")];
    assert!(cgi(&nobody, &many, b"").0.starts_with("Status: 400 "));

    // A server that takes requests and says half of an answer, or nothing.
    let socket = home.file("half");
    let listener = UnixListener::bind(&socket).unwrap();
    thread::spawn(move || {
        let half = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf";
        for say in [half, ""] {
            let (connection, _) = listener.accept().unwrap();
            (&connection).write_all(say.as_bytes()).unwrap();
            connection.shutdown(std::net::Shutdown::Write).unwrap();
            let _ = std::io::copy(&mut &connection, &mut std::io::sink());
        }
    });
    let (answer, said) = cgi(&socket, &[POST], b"");
    // Whoever knows the length sees that it is not whole.
    assert!(
        answer.ends_with("Content-Length: 10\r\n\r\nhalf"),
        "{answer}"
    );
    assert!(said.contains("ended after 4 of 10 bytes"), "{said}");
    assert!(cgi(&socket, &[POST], b"").0.starts_with("Status: 502 "));
}

/// A running web server; ended when dropped.
struct Web(Child);

impl Drop for Web {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn a_tunnel_under_lighttpd(on: On) {
    let program = ["/usr/sbin/lighttpd", "/usr/bin/lighttpd"];
    let Some(program) = program.into_iter().find(|p| Path::new(p).is_file()) else {
        let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(
            !ci,
            "with CI=true nothing is skipped: lighttpd is not installed"
        );
        eprintln!("skipped: lighttpd is not installed");
        return;
    };
    let home = Home::new(&format!("lighttpd-{}", on.server));
    let (socket, script) = (home.file("sock"), home.file("tunnel.cgi"));
    let echo = Destination::echo();
    let (_server, _) = on.serve(&format!("--allow {echo} --socket {socket}"));
    let command = env!("CARGO_BIN_EXE_posthole");
    fs::write(
        &script,
        format!("#!/bin/sh\nexec {command} cgi --socket {socket}\n"),
    )
    .unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let addr = free_addr();
    let recipe = format!(
        "{}/../docs/recipes/lighttpd.conf",
        env!("CARGO_MANIFEST_DIR")
    );
    let mut conf = fs::read_to_string(recipe).unwrap();
    for (from, to) in [
        ("server.port = 80", format!("server.port = {}", addr.port())),
        ("\"0.0.0.0\"", "\"127.0.0.1\"".to_owned()),
        ("/var/www/html", home.file("")),
        ("/usr/local/lib/posthole/tunnel.cgi", script.clone()),
    ] {
        assert!(conf.contains(from), "{from}");
        conf = conf.replace(from, &to);
    }
    fs::write(
        home.file("conf"),
        conf + "\nserver.errorlog = \"/dev/null\"\n",
    )
    .unwrap();
    let started = Command::new(program)
        .args(["-D", "-f", &home.file("conf")])
        .stderr(Stdio::null())
        .spawn();
    let _web = Web(started.unwrap());
    let until = Instant::now() + support::LIMIT;
    while TcpStream::connect(addr).is_err() {
        assert!(Instant::now() < until, "lighttpd does not listen");
        thread::sleep(Duration::from_millis(10));
    }
    let (_client, local) = on.connect(&format!("http://{addr}/tunnel -L 0:{echo} --proxy none"));
    let app = dial(local);
    ping(&app, b"hello");
    // Larger than the sockets hold, so it goes both ways at once.
    let all = vec![b'p'; 4 << 20];
    let writing = thread::spawn({
        let (app, all) = (app.try_clone().unwrap(), all.clone());
        move || (&app).write_all(&all).unwrap()
    });
    let mut got = vec![0; all.len()];
    std::io::Read::read_exact(&mut &app, &mut got).unwrap();
    assert!(got == all);
    writing.join().unwrap();
    ping(&app, b"bye");
}
