//! What the application does meanwhile, and whether it was served.

use posthole_tests::pattern::Pattern;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Nothing here waits longer.
pub(crate) const LIMIT: Duration = Duration::from_secs(150);
/// How often the [`Pinger`] asks.
const PERIOD: Duration = Duration::from_millis(10);

/// A destination that sends back what it gets.
pub(crate) fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let _ = socket.set_nodelay(true);
                if copy(&socket).is_ok() {
                    let _ = socket.shutdown(Shutdown::Write);
                }
            });
        }
    });
    addr
}

fn copy(mut socket: &TcpStream) -> io::Result<()> {
    let mut piece = vec![0; 65_536];
    loop {
        match socket.read(&mut piece)? {
            0 => return Ok(()),
            n => socket.write_all(&piece[..n])?,
        }
    }
}

/// Sends so many bytes, at most so many of them in a second, and has them back.
///
/// # Errors
/// One that begins with `reset` if that is how the connection ended; others are faults of posthole's.
pub(crate) fn transfer(addr: SocketAddr, bytes: u64, rate: u64) -> Result<(), String> {
    let socket = TcpStream::connect(addr).map_err(|e| format!("no connection: {e}"))?;
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let sends = socket.try_clone().unwrap();
    let sender = thread::spawn(move || send(&sends, bytes, rate));
    let received = receive(&socket, bytes);
    let has_ended = received
        .as_ref()
        .is_err_and(|why| why.starts_with("an end"));
    if received.is_err() && !has_ended {
        return received;
    }
    // Of a reset the system tells one of the two alone; to the other it is an end.
    let sent = sender.join().map_err(|_| "a panic".to_owned())?;
    match (sent, received) {
        (Ok(()), received) => received,
        (Err(e), Ok(())) => Err(format!("reset: {e}")),
        (Err(e), Err(end)) => Err(format!("reset: {e}, and {end}")),
    }
}

fn send(mut socket: &TcpStream, bytes: u64, rate: u64) -> io::Result<()> {
    let (mut pattern, mut piece, began) = (Pattern::new(1), vec![0; 65_536], Instant::now());
    let mut sent = 0;
    while sent < bytes {
        pattern.fill(&mut piece);
        socket.write_all(&piece)?;
        sent += piece.len() as u64;
        let due = Duration::from_secs_f64(sent as f64 / rate as f64);
        thread::sleep(due.saturating_sub(began.elapsed()));
    }
    socket.shutdown(Shutdown::Write)
}

fn receive(mut socket: &TcpStream, bytes: u64) -> Result<(), String> {
    let (mut pattern, mut wanted, mut got) = (Pattern::new(1), vec![0; 65_536], vec![0; 65_536]);
    let mut read = 0;
    loop {
        match socket.read(&mut got) {
            Ok(0) if read == bytes => return Ok(()),
            Ok(0) => return Err(format!("an end after {read} bytes of {bytes}")),
            Ok(n) => {
                pattern.fill(&mut wanted[..n]);
                if got[..n] != wanted[..n] {
                    return Err(format!("wrong bytes after {read}"));
                }
                read += n as u64;
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err(format!("nothing in {LIMIT:?} after {read} bytes"));
            }
            Err(e) => return Err(format!("reset after {read} bytes: {e}")),
        }
    }
}

/// Somebody who types beside it all.
pub(crate) struct Pinger {
    is_over: Arc<AtomicBool>,
    types: JoinHandle<Result<Duration, String>>,
}

impl Pinger {
    pub(crate) fn start(addr: SocketAddr) -> Pinger {
        let is_over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&is_over);
        Pinger {
            is_over,
            types: thread::spawn(move || types(addr, &seen)),
        }
    }

    /// The longest that an answer took.
    pub(crate) fn end(self) -> Result<Duration, String> {
        self.is_over.store(true, Ordering::Relaxed);
        self.types.join().map_err(|_| "a panic".to_owned())?
    }
}

fn types(addr: SocketAddr, is_over: &AtomicBool) -> Result<Duration, String> {
    let mut socket = TcpStream::connect(addr).map_err(|e| format!("no connection: {e}"))?;
    socket.set_nodelay(true).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let (mut longest, mut count) = (Duration::ZERO, 0_u64);
    while !is_over.load(Ordering::Relaxed) {
        let (asked, mut got) = (Instant::now(), [0; 8]);
        let answered = socket
            .write_all(&count.to_le_bytes())
            .and_then(|()| socket.read_exact(&mut got));
        answered.map_err(|e| format!("reset after {count} pings: {e}"))?;
        if got != count.to_le_bytes() {
            return Err(format!("ping {count} came back as another"));
        }
        longest = longest.max(asked.elapsed());
        count += 1;
        thread::sleep(PERIOD);
    }
    Ok(longest)
}
