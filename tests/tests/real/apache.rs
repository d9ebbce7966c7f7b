//! Apache, before a server or as a forward proxy, with Debian's modules and settings.

use super::{Home, Proxy, Recipe, arguments, find, free_port};
use rustix::process::Signal;
use std::net::SocketAddr;

const FOLDER: &str = "/etc/apache2";
const MODULES: &str = "/usr/lib/apache2/modules";

/// In front of the server there.
pub fn start(server: SocketAddr) -> Option<Proxy> {
    start_with(&format!("ProxyPass / http://{server}/"))
}

/// For whoever is on this machine.
pub fn start_forward() -> Option<Proxy> {
    start_with("ProxyRequests On\nProxyVia On")
}

fn start_with(more: &str) -> Option<Proxy> {
    let program = find("apache2")?;
    let home = Home::new("apache");
    let folder = home.path();
    let addr = free_port();
    let mut text = format!(
        "ServerRoot {FOLDER}\n\
         ServerName localhost\n\
         DefaultRuntimeDir {folder}\n\
         PidFile {folder}/pid\n\
         Mutex file:{folder} default\n\
         ErrorLog {folder}/log\n\
         User www-data\n\
         Group www-data\n\
         Timeout 300\n\
         KeepAliveTimeout 5\n\
         Listen {addr}\n\
         Include mods-available/mpm_event.load\n\
         Include mods-available/mpm_event.conf\n\
         Include mods-available/reqtimeout.load\n\
         Include mods-available/reqtimeout.conf\n\
         {more}\n"
    );
    for name in ["proxy_http", "proxy", "authz_core"] {
        text = format!("LoadModule {name}_module {MODULES}/mod_{name}.so\n{text}");
    }
    let conf = home.write("apache2.conf", &text);
    Some(
        Recipe {
            program,
            arguments: arguments(["-DFOREGROUND".as_ref(), "-f".as_ref(), &conf]),
            home,
            addr,
            end: Signal::TERM,
            logs: vec!["log"],
        }
        .start(),
    )
}
