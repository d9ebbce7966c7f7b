//! `serve --socket`: a Unix socket through which programs on this machine reach the server's HTTP side, such as
//! `posthole cgi`, whose every request is a process of its own anyway: two threads for each connection.

use std::fs;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use tracing::{debug, warn};

use crate::error::Error;
use crate::unix;

/// Enough for a loop that copies.
const STACK: usize = 128 * 1024;

/// After an accept that failed.
const RETRY: Duration = Duration::from_millis(100);

/// The socket, for as long as it is there; removed when dropped.
#[derive(Debug)]
pub(crate) struct Bridge(PathBuf);

impl Bridge {
    /// Listens at `path` and leads to `server`. A file that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// Somebody listens there, it is another file, or it can't be made.
    pub(crate) fn start(path: &Path, mode: u32, server: SocketAddr) -> Result<Bridge, Error> {
        let failed =
            |e: io::Error| Error::failed(format!("can't listen on {}: {e}", path.display()));
        let listener = unix::bind(path, mode).map_err(failed)?;
        let bridge = Bridge(path.to_owned());
        thread::Builder::new()
            .name("bridge".into())
            .stack_size(STACK)
            .spawn(move || accept(&listener, server))
            .map_err(failed)?;
        Ok(bridge)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn accept(listener: &UnixListener, server: SocketAddr) {
    loop {
        match listener.accept() {
            Ok((near, _)) => {
                let carried = thread::Builder::new()
                    .name("bridge".into())
                    .stack_size(STACK)
                    .spawn(move || carry(&near, server));
                if let Err(e) = carried {
                    warn!("no thread for a connection to the socket: {e}");
                }
            }
            Err(e) => {
                debug!("can't accept on the socket: {e}");
                thread::sleep(RETRY);
            }
        }
    }
}

/// Copies both ways; whichever ends ends the other.
fn carry(near: &UnixStream, server: SocketAddr) {
    let far = match TcpStream::connect(server) {
        Ok(far) => far,
        Err(e) => return warn!("the server does not answer its own socket: {e}"),
    };
    let _ = far.set_nodelay(true);
    let end = || {
        let _ = near.shutdown(Shutdown::Both);
        let _ = far.shutdown(Shutdown::Both);
    };
    thread::scope(|scope| {
        let back = thread::Builder::new()
            .name("bridge".into())
            .stack_size(STACK)
            .spawn_scoped(scope, || {
                let _ = io::copy(&mut &far, &mut &*near);
                end();
            });
        if back.is_ok() {
            let _ = io::copy(&mut &*near, &mut &far);
        }
        end();
    });
}
