//! The load's far end, in a process of its own: what the tunnel leads to.
//!
//! | first bytes | then |
//! | --- | --- |
//! | `e`, 12 bytes unused | what comes goes back, until it ends |
//! | `u`, seed (8), unused (4) | a stream comes, up to its end; back go one byte, 1 if it was whole and right, and how many bytes (8) |
//! | `d`, seed (8), time in ms (4) | a stream goes back for this time |
//!
//! Numbers are big-endian.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::stream;
use crate::threads::copy::STACK;

/// How long nothing may move before a connection counts as lost.
pub(super) const STALL: Duration = Duration::from_secs(20);

/// What is asked of the far end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Echo,
    Up { seed: u64 },
    Down { seed: u64, time: Duration },
}

impl Ask {
    /// Bytes of every one.
    pub(super) const LENGTH: usize = 13;

    pub(super) fn encode(self) -> [u8; Ask::LENGTH] {
        let (kind, seed, millis) = match self {
            Ask::Echo => (b'e', 0, 0),
            Ask::Up { seed } => (b'u', seed, 0),
            Ask::Down { seed, time } => (
                b'd',
                seed,
                u32::try_from(time.as_millis()).unwrap_or(u32::MAX),
            ),
        };
        let mut bytes = [kind; Ask::LENGTH];
        bytes[1..9].copy_from_slice(&seed.to_be_bytes());
        bytes[9..].copy_from_slice(&millis.to_be_bytes());
        bytes
    }

    fn decode(bytes: [u8; Ask::LENGTH]) -> Option<Ask> {
        let [kind, seed @ .., a, b, c, d] = bytes;
        let seed = u64::from_be_bytes(seed);
        let time = Duration::from_millis(u32::from_be_bytes([a, b, c, d]).into());
        match kind {
            b'e' => Some(Ask::Echo),
            b'u' => Some(Ask::Up { seed }),
            b'd' => Some(Ask::Down { seed, time }),
            _ => None,
        }
    }
}

/// What the far end found: whether the stream was right, and how many bytes came.
pub(super) fn read_verdict(mut from: impl Read) -> io::Result<(bool, u64)> {
    let mut bytes = [0; 9];
    from.read_exact(&mut bytes)?;
    let [right, count @ ..] = bytes;
    Ok((right == 1, u64::from_be_bytes(count)))
}

/// Serves on a free port of loopback; what is said when it is ready goes to `ready`.
pub(super) fn run(ready: impl FnOnce(SocketAddr)) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    ready(listener.local_addr()?);
    for connection in listener.incoming().map_while(Result::ok) {
        // Who is not served finds out by the connection's end.
        let _ = thread::Builder::new()
            .stack_size(STACK)
            .spawn(move || serve(&connection));
    }
    Ok(())
}

/// A connection that fails shows at the near end, which is the one that reports.
fn serve(mut connection: &TcpStream) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut ask = [0; Ask::LENGTH];
    connection.read_exact(&mut ask)?;
    match Ask::decode(ask).ok_or(io::ErrorKind::InvalidData)? {
        Ask::Echo => {
            // Idle ones wait here: on the stack, and no more of it than their talk needs.
            let mut piece = [0; 4096];
            loop {
                match connection.read(&mut piece)? {
                    0 => return connection.shutdown(Shutdown::Write),
                    n => connection.write_all(&piece[..n])?,
                }
            }
        }
        Ask::Up { seed } => {
            connection.set_read_timeout(Some(STALL))?;
            let mut count = 0;
            let result = stream::receive(connection, seed, || Ok(()));
            if let Ok(n) = &result {
                count = *n;
            }
            let mut verdict = [u8::from(result.is_ok()); 9];
            verdict[1..].copy_from_slice(&count.to_be_bytes());
            connection.write_all(&verdict)?;
            result.map(drop)
        }
        Ask::Down { seed, time } => {
            connection.set_write_timeout(Some(STALL))?;
            let until = Instant::now() + time;
            stream::send(connection, seed, || Instant::now() < until)?;
            connection.shutdown(Shutdown::Write)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_asked_comes_back_from_its_bytes() {
        let time = Duration::from_millis(1500);
        for ask in [
            Ask::Echo,
            Ask::Up { seed: u64::MAX - 1 },
            Ask::Down { seed: 7, time },
        ] {
            assert_eq!(Ask::decode(ask.encode()), Some(ask));
        }
        assert_eq!(Ask::decode([0; Ask::LENGTH]), None);
    }
}
