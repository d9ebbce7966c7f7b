//! tinyproxy as a forward proxy.

use super::{Home, Proxy, Recipe, arguments, edited, find, free_port};
use rustix::process::Signal;
use std::net::SocketAddr;

const DEBIAN: &str = "/etc/tinyproxy/tinyproxy.conf";

/// As Debian configures it, which lets in whoever is on this machine.
pub fn start() -> Option<Proxy> {
    start_with("")
}

/// One that asks another for everything.
pub fn start_with_parent(parent: SocketAddr) -> Option<Proxy> {
    start_with(&format!("\nUpstream http {parent}"))
}

fn start_with(more: &str) -> Option<Proxy> {
    let program = find("tinyproxy")?;
    let home = Home::new("tinyproxy");
    let folder = home.path();
    let addr = free_port();
    let port = format!("Port {}\nListen {}{more}", addr.port(), addr.ip());
    let text = edited(
        DEBIAN,
        &[
            ("Port 8888", &port),
            (
                "LogFile \"/var/log/tinyproxy/tinyproxy.log\"",
                &format!("LogFile \"{folder}/log\""),
            ),
            (
                "PidFile \"/run/tinyproxy/tinyproxy.pid\"",
                &format!("PidFile \"{folder}/pid\""),
            ),
        ],
    );
    let conf = home.write("tinyproxy.conf", &text);
    Some(
        Recipe {
            program,
            arguments: arguments(["-d".as_ref(), "-c".as_ref(), &conf]),
            home,
            addr,
            end: Signal::KILL,
            logs: vec!["log"],
        }
        .start(),
    )
}
