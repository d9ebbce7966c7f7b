//! varnish as a reverse proxy.

use super::{Home, Proxy, Recipe, arguments, find, free_port};
use rustix::process::Signal;
use std::net::SocketAddr;

/// In front of the server there, with its own defaults.
pub fn start(server: SocketAddr) -> Option<Proxy> {
    let program = find("varnishd")?;
    let home = Home::new("varnish");
    let addr = free_port();
    let (from, to) = (addr.to_string(), server.to_string());
    Some(
        Recipe {
            program,
            arguments: arguments([
                "-F".as_ref(),
                "-n".as_ref(),
                home.path().as_ref(),
                "-s".as_ref(),
                "malloc,16m".as_ref(),
                "-a".as_ref(),
                from.as_ref(),
                "-b".as_ref(),
                to.as_ref(),
            ]),
            home,
            addr,
            end: Signal::TERM,
            logs: vec![],
        }
        .start(),
    )
}
