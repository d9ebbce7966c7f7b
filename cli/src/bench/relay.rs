//! The plain relay that tunnels are compared with: two threads per connection, one read and one write per piece. Two of
//! them in a row are what two processes in user space can do.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use crate::threads::copy::STACK;

/// Bytes taken at a time: where a system call's own cost no longer shows.
const PIECE: usize = 256 * 1024;

/// Passes every connection on to `to`.
pub(super) fn run(to: SocketAddr, ready: impl FnOnce(SocketAddr)) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    ready(listener.local_addr()?);
    for near in listener.incoming().map_while(Result::ok) {
        // A connection that fails ends both, which is all that there is to say.
        let _ = thread::Builder::new()
            .stack_size(STACK)
            .spawn(move || join(&near, to));
    }
    Ok(())
}

fn join(near: &TcpStream, to: SocketAddr) -> io::Result<()> {
    let far = &TcpStream::connect(to)?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    thread::scope(|scope| {
        thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, || pass(far, near))?;
        pass(near, far);
        Ok(())
    })
}

fn pass(mut from: &TcpStream, mut to: &TcpStream) {
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece) {
            Ok(0) => {
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            Ok(n) if to.write_all(&piece[..n]).is_ok() => {}
            Ok(_) | Err(_) => {
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.shutdown(Shutdown::Both);
                return;
            }
        }
    }
}
