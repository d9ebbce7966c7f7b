//! nginx as a reverse proxy.

use super::{Home, Proxy, Recipe, arguments, edited, find, free_port, recipe};
use rustix::process::Signal;
use std::net::SocketAddr;

const DEBIAN: &str = "/etc/nginx/nginx.conf";

/// In front of the server there, with nginx's own defaults: bodies up to 1 MiB.
pub fn start(server: SocketAddr) -> Option<Proxy> {
    start_with(server, "")
}

/// With further directives.
pub fn start_with(server: SocketAddr, directives: &str) -> Option<Proxy> {
    let addr = free_port();
    let site = format!(
        "server {{\n\
         listen {addr};\n\
         {directives}\n\
         location / {{ proxy_pass http://{server}; }}\n\
         }}\n"
    );
    start_site(addr, &site)
}

/// As the recipe has it, with these servers.
pub fn start_recipe([one, two]: [SocketAddr; 2]) -> Option<Proxy> {
    let addr = free_port();
    let site = edited(
        &recipe("nginx.conf"),
        &[
            ("listen 8000;", &format!("listen {addr};")),
            ("server 127.0.0.1:8081;", &format!("server {one};")),
            ("server 127.0.0.1:8082;", &format!("server {two};")),
        ],
    );
    start_site(addr, &site)
}

fn start_site(addr: SocketAddr, site: &str) -> Option<Proxy> {
    let program = find("nginx")?;
    let home = Home::new("nginx");
    let folder = home.path();
    let mut files = format!("access_log {folder}/access.log;");
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        files += &format!("\n{kind}_temp_path {folder}/{kind};");
    }
    let text = edited(
        DEBIAN,
        &[
            ("pid /run/nginx.pid;", &format!("pid {folder}/pid;")),
            (
                "error_log /var/log/nginx/error.log;",
                &format!("error_log {folder}/error.log;"),
            ),
            ("access_log /var/log/nginx/access.log;", &files),
            (
                "include /etc/nginx/sites-enabled/*;",
                &format!("include {folder}/site;"),
            ),
        ],
    );
    home.write("site", site);
    let conf = home.write("nginx.conf", &text);
    // The log that it uses before it has read its configuration.
    let early = home.file("error.log");
    Some(
        Recipe {
            program,
            arguments: arguments([
                "-e".as_ref(),
                &early,
                "-g".as_ref(),
                "daemon off;".as_ref(),
                "-c".as_ref(),
                &conf,
            ]),
            home,
            addr,
            // The first process ends its workers.
            end: Signal::TERM,
            logs: vec!["error.log"],
        }
        .start(),
    )
}
