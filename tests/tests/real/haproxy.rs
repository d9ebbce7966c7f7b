//! haproxy as a reverse proxy.

use super::{Home, Proxy, Recipe, arguments, edited, find, free_port, is_root, recipe};
use rustix::process::Signal;
use std::net::SocketAddr;

const DEBIAN: &str = "/etc/haproxy/haproxy.cfg";

/// In front of the server there.
pub fn start(server: SocketAddr) -> Option<Proxy> {
    let addr = free_port();
    let sections = format!(
        "\nfrontend in\n\
         \x20   bind {addr}\n\
         \x20   default_backend out\n\
         backend out\n\
         \x20   server posthole {server}\n"
    );
    start_with(addr, &sections)
}

/// As the recipe has it, with these servers.
pub fn start_recipe([one, two]: [SocketAddr; 2]) -> Option<Proxy> {
    let addr = free_port();
    let sections = edited(
        &recipe("haproxy.cfg"),
        &[
            ("bind :8000", &format!("bind {addr}")),
            ("server one 127.0.0.1:8081", &format!("server one {one}")),
            ("server two 127.0.0.1:8082", &format!("server two {two}")),
        ],
    );
    start_with(addr, &sections)
}

fn start_with(addr: SocketAddr, sections: &str) -> Option<Proxy> {
    let program = find("haproxy")?;
    let home = Home::new("haproxy");
    let folder = home.path();
    let socket = format!("stats socket {folder}/admin.sock mode 660 level admin");
    let mut edits = vec![(
        "stats socket /run/haproxy/admin.sock mode 660 level admin",
        socket.as_str(),
    )];
    if !is_root() {
        // What only root may do.
        edits.extend([
            ("chroot /var/lib/haproxy", ""),
            ("user haproxy", ""),
            ("group haproxy", ""),
        ]);
    }
    let mut text = edited(DEBIAN, &edits);
    text += "\n";
    text += sections;
    let conf = home.write("haproxy.cfg", &text);
    Some(
        Recipe {
            program,
            // -db: in the foreground, one process.
            arguments: arguments(["-db".as_ref(), "-f".as_ref(), &conf]),
            home,
            addr,
            end: Signal::KILL,
            logs: Vec::new(),
        }
        .start(),
    )
}
