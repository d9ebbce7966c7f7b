//! The file that the demo carries, and the service that it carries it to and from. Nothing is ever held whole: the file
//! is made as it is sent, and hashed as it is read.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::random::Random;

/// Bytes made, sent or read at a time.
const PIECE: usize = 128 * 1024;
/// The first byte of a connection: the file follows, to be answered with its hash.
const UP: u8 = b'<';
/// The first byte of a connection: the file is wanted.
const DOWN: u8 = b'>';

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Hash([u8; 32]);

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A file of pseudo-random bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct File {
    pub(super) size: u64,
    pub(super) seed: u64,
}

impl File {
    /// Sends it, counting; gives the hash of what was sent.
    fn send(self, mut to: impl Write, count: &AtomicU64) -> io::Result<Hash> {
        let mut random = Random::new(self.seed);
        let mut hash = Sha256::new();
        let mut piece = vec![0; PIECE];
        let mut left = self.size;
        while left > 0 {
            let n = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            random.fill(&mut piece[..n]);
            hash.update(&piece[..n]);
            to.write_all(&piece[..n])?;
            left -= n as u64;
            count.fetch_add(n as u64, Ordering::Relaxed);
        }
        Ok(Hash(hash.finalize().into()))
    }
}

/// Reads to the end, counting; gives the hash of what was read.
fn receive(mut from: impl Read, count: &AtomicU64) -> io::Result<Hash> {
    let mut hash = Sha256::new();
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece)? {
            0 => return Ok(Hash(hash.finalize().into())),
            n => {
                hash.update(&piece[..n]);
                count.fetch_add(n as u64, Ordering::Relaxed);
            }
        }
    }
}

/// Starts the service on a free port of loopback; it lasts as long as the process.
pub(super) fn destination(file: File) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let addr = listener.local_addr()?;
    thread::Builder::new()
        .name("destination".into())
        .spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || {
                    // A connection that failed shows at the other end, which is the one that reports.
                    let _ = answer(&connection, file);
                });
            }
        })?;
    Ok(addr)
}

fn answer(mut connection: &TcpStream, file: File) -> io::Result<()> {
    let mut wish = [0; 1];
    connection.read_exact(&mut wish)?;
    let uncounted = AtomicU64::new(0);
    match wish {
        [UP] => connection.write_all(&receive(connection, &uncounted)?.0),
        [DOWN] => file.send(connection, &uncounted).map(drop),
        _ => Ok(()),
    }
}

/// How far a file has come.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Bytes that the sender has handed over.
    pub(super) up: AtomicU64,
    /// Bytes read.
    pub(super) down: AtomicU64,
}

/// The file was carried both ways.
#[derive(Clone, Copy, Debug)]
pub(super) struct Carried {
    /// The file's own hash.
    pub(super) sent: Hash,
    /// As it arrived at the destination.
    pub(super) up: Hash,
    /// As it arrived from there.
    pub(super) down: Hash,
    pub(super) up_time: Duration,
    pub(super) down_time: Duration,
}

impl Carried {
    /// Whether every byte was right, both ways.
    pub(super) fn is_equal(&self) -> bool {
        self.up == self.sent && self.down == self.sent
    }
}

/// Carries the file to the service at `addr` and back from there.
pub(super) fn carry(addr: SocketAddr, file: File, progress: &Arc<Progress>) -> io::Result<Carried> {
    let began = Instant::now();
    let mut connection = TcpStream::connect(addr)?;
    connection.write_all(&[UP])?;
    let sent = file.send(&connection, &progress.up)?;
    connection.shutdown(Shutdown::Write)?;
    let mut up = [0; 32];
    connection.read_exact(&mut up)?;
    drop(connection);
    let up_time = began.elapsed();

    let began = Instant::now();
    let mut connection = TcpStream::connect(addr)?;
    connection.write_all(&[DOWN])?;
    connection.shutdown(Shutdown::Write)?;
    let down = receive(&connection, &progress.down)?;
    Ok(Carried {
        sent,
        up: Hash(up),
        down,
        up_time,
        down_time: began.elapsed(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_comes_back_as_it_went() {
        let file = File {
            size: 3 * PIECE as u64 + 17,
            seed: 5,
        };
        let progress = Arc::new(Progress::default());
        let carried = carry(destination(file).unwrap(), file, &progress).unwrap();
        assert!(carried.is_equal());
        assert_eq!(progress.up.load(Ordering::Relaxed), file.size);
        assert_eq!(progress.down.load(Ordering::Relaxed), file.size);
    }

    #[test]
    fn another_file_is_noticed() {
        let here = File {
            size: 1000,
            seed: 5,
        };
        let there = File {
            size: 1000,
            seed: 6,
        };
        let carried = carry(destination(there).unwrap(), here, &Arc::default()).unwrap();
        assert!(carried.up == carried.sent && carried.down != carried.sent && !carried.is_equal());
    }

    #[test]
    fn an_empty_file_has_the_hash_of_nothing() {
        let file = File { size: 0, seed: 1 };
        let carried = carry(destination(file).unwrap(), file, &Arc::default()).unwrap();
        assert!(carried.is_equal());
        assert_eq!(
            carried.sent.to_string(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
