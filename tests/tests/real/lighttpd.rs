//! lighttpd as a reverse proxy: it has an answer whole before it gives it on.

use super::{Home, Proxy, Recipe, arguments, find, free_port};
use rustix::process::Signal;
use std::net::SocketAddr;

/// In front of the server there, with its own defaults.
pub fn start(server: SocketAddr) -> Option<Proxy> {
    let program = find("lighttpd")?;
    let home = Home::new("lighttpd");
    let folder = home.path();
    let addr = free_port();
    let (ip, port) = (addr.ip(), addr.port());
    let (to, its_port) = (server.ip(), server.port());
    let text = format!(
        "server.modules = ( \"mod_proxy\" )\n\
         server.bind = \"{ip}\"\n\
         server.port = {port}\n\
         server.document-root = \"{folder}\"\n\
         server.errorlog = \"{folder}/error.log\"\n\
         server.upload-dirs = ( \"{folder}\" )\n\
         proxy.server = ( \"\" => ( ( \"host\" => \"{to}\", \"port\" => {its_port} ) ) )\n"
    );
    let conf = home.write("lighttpd.conf", &text);
    Some(
        Recipe {
            program,
            arguments: arguments(["-D".as_ref(), "-f".as_ref(), &conf]),
            home,
            addr,
            end: Signal::KILL,
            logs: vec!["error.log"],
        }
        .start(),
    )
}
