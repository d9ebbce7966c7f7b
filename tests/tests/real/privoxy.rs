//! privoxy as a forward proxy, which filters what it understands.

use super::{Home, Proxy, Recipe, arguments, edited, find, free_port};
use rustix::process::Signal;

const DEBIAN: &str = "/etc/privoxy/config";

/// As Debian configures it.
pub fn start() -> Option<Proxy> {
    let program = find("privoxy")?;
    let home = Home::new("privoxy");
    let addr = free_port();
    let (listen, logs) = (
        format!("listen-address {addr}"),
        format!("logdir {}", home.path()),
    );
    let text = edited(
        DEBIAN,
        &[
            ("listen-address  127.0.0.1:8118", &listen),
            ("listen-address  [::1]:8118", ""),
            ("logdir /var/log/privoxy", &logs),
        ],
    );
    let conf = home.write("config", &text);
    Some(
        Recipe {
            program,
            arguments: arguments(["--no-daemon".as_ref(), &conf]),
            home,
            addr,
            end: Signal::KILL,
            logs: vec!["logfile"],
        }
        .start(),
    )
}
