//! squid as a forward proxy.

use super::{Home, Proxy, Recipe, arguments, at, edited, find};
use rustix::process::Signal;
use std::net::{Ipv4Addr, SocketAddr};

const DEBIAN: &str = "/etc/squid/squid.conf";
/// `user` with the password `open sesame`.
const PASSWORDS: &str = "user:$apr1$posthole$Yhy7pEElg9jqQBcmb49Nh0\n";

/// As Debian configures it, which lets in whoever is on this machine.
pub fn start() -> Option<Proxy> {
    start_with(Ipv4Addr::LOCALHOST, "http_access allow localhost")
}

/// One that asks for a name and a password: [`PASSWORDS`].
pub fn start_with_passwords() -> Option<Proxy> {
    start_with(
        Ipv4Addr::LOCALHOST,
        "auth_param basic program /usr/lib/squid/basic_ncsa_auth FOLDER/passwords\n\
         acl known proxy_auth REQUIRED\n\
         http_access allow localhost known",
    )
}

/// One that asks another for everything.
pub fn start_with_parent(parent: SocketAddr) -> Option<Proxy> {
    let (ip, port) = (parent.ip(), parent.port());
    start_with(
        Ipv4Addr::LOCALHOST,
        &format!(
            "http_access allow localhost\n\
             cache_peer {ip} parent {port} 0 no-query default\n\
             never_direct allow all\n\
             unique_hostname child"
        ),
    )
}

/// One at an address of its own that lets in Debian's `localnet` too.
pub fn start_for_the_network(ip: Ipv4Addr) -> Option<Proxy> {
    start_with(
        ip,
        "http_access allow localnet\nhttp_access allow localhost",
    )
}

/// `access` stands in place of Debian's `http_access allow localhost`.
fn start_with(ip: Ipv4Addr, access: &str) -> Option<Proxy> {
    let program = find("squid")?;
    let home = Home::new("squid");
    let folder = home.path();
    let addr = at(ip);
    let files = format!(
        "http_port {addr}\n\
         pid_filename {folder}/pid\n\
         cache_log {folder}/cache.log\n\
         access_log stdio:{folder}/access.log"
    );
    let text = edited(
        DEBIAN,
        &[
            (
                "http_access allow localhost",
                &access.replace("FOLDER", folder),
            ),
            ("http_port 3128", &files),
            (
                "coredump_dir /var/spool/squid",
                &format!("coredump_dir {folder}"),
            ),
        ],
    );
    home.write("passwords", PASSWORDS);
    let conf = home.write("squid.conf", &text);
    // Names its shared memory: two squids of one name that begin at once get in each other's way.
    let service = home.service();
    Some(
        Recipe {
            program,
            arguments: arguments([
                "-N".as_ref(),
                "-n".as_ref(),
                service.as_ref(),
                "-f".as_ref(),
                &conf,
            ]),
            home,
            addr,
            // Asked politely it waits 30 s for its clients.
            end: Signal::KILL,
            logs: vec!["cache.log", "access.log"],
        }
        .start(),
    )
}
