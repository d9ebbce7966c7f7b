//! What a runtime must offer, in blocking terms. An adapter adds nothing to what its runtime does.

use bytes::Bytes;
use posthole_protocol::{CloseReason, Config, Learned};
use posthole_runtime::{SessionEnded, Stats};
use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

/// How to connect; what is not said is as the runtime has it by default.
#[derive(Clone, Debug)]
pub struct Dial {
    /// The proxy's URL; `None`: none, whatever the environment says.
    pub proxy: Option<String>,
    /// How the session behaves.
    pub config: Config,
    /// How long to wait for the first answer.
    pub timeout: Duration,
    /// Whether to wait for it at all.
    pub waits: bool,
    /// Headers for every request.
    pub headers: Vec<(String, String)>,
}

impl Default for Dial {
    fn default() -> Dial {
        Dial {
            proxy: None,
            config: Config::default(),
            timeout: Duration::from_secs(30),
            waits: true,
            headers: Vec::new(),
        }
    }
}

impl Dial {
    /// The defaults, and how the session behaves.
    pub fn with(config: Config) -> Dial {
        Dial {
            config,
            ..Dial::default()
        }
    }

    /// The defaults, and through which proxy.
    pub fn through(proxy: String) -> Dial {
        Dial {
            proxy: Some(proxy),
            ..Dial::default()
        }
    }
}

/// A runtime, by its functions.
pub trait Runtime: 'static {
    /// Its sessions.
    type Session: Session;
    /// Its listeners.
    type Listener: Listener<Session = Self::Session>;

    /// Begins a session with the server at this URL.
    ///
    /// # Errors
    /// `InvalidInput` for what makes no sense, `TimedOut` if no answer came in time, with the reason in words.
    fn connect(url: &str, how: Dial) -> io::Result<Self::Session>;

    /// Serves at this address; port 0 is any.
    ///
    /// # Errors
    /// If the address is taken.
    fn bind(addr: SocketAddr, config: Config) -> io::Result<Self::Listener>;
}

/// How a session ended, if that is what this error says.
pub fn ended(error: &io::Error) -> Option<CloseReason> {
    let SessionEnded(reason) = error.get_ref()?.downcast_ref()?;
    Some(reason.clone())
}

/// Accepts sessions.
pub trait Listener: Send + Sync + 'static {
    /// What it accepts.
    type Session: Session;

    /// Where it listens.
    fn addr(&self) -> SocketAddr;

    /// Waits for the next session.
    ///
    /// # Errors
    /// `NotConnected`, once it was closed.
    fn accept(&self) -> io::Result<Self::Session>;

    /// How many sessions there are.
    fn sessions(&self) -> usize;

    /// Ends all sessions in order, those that have not ended in this time at once, and gives the port back.
    fn close(&self, grace: Duration);
}

/// A session's handle.
pub trait Session: Clone + Send + Sync + 'static {
    /// What is opened and accepted on it.
    type Stream: Stream;

    /// Opens a stream; waits while the peer allows no more.
    ///
    /// # Errors
    /// If the session is closing or has ended.
    fn open(&self) -> io::Result<Self::Stream>;

    /// Waits for the next stream of the peer.
    ///
    /// # Errors
    /// Once the session has ended.
    fn accept(&self) -> io::Result<Self::Stream>;

    /// Ends it in order, and waits for that.
    ///
    /// # Errors
    /// If it ended in another way.
    fn close(&self) -> io::Result<()>;

    /// Ends it at once.
    fn abort(&self);

    /// How it ended, if it has.
    fn closed(&self) -> Option<CloseReason>;

    /// Waits for its end.
    fn wait_closed(&self) -> CloseReason;

    /// Whether the peer has answered yet.
    fn is_connected(&self) -> bool;

    /// What a client has learned of its way.
    fn learned(&self) -> Option<Learned>;

    /// What it has done so far.
    fn stats(&self) -> Stats;
}

/// A stream's handle; a clone is another one of the same stream, and all of them share everything.
pub trait Stream: Clone + Send + Sync + 'static {
    /// The same at both ends.
    fn id(&self) -> u64;

    /// Waits for bytes; 0 is the end.
    ///
    /// # Errors
    /// As sockets have them.
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize>;

    /// As `read`, without copying.
    ///
    /// # Errors
    /// As `read`.
    fn read_bytes(&self, max: usize) -> io::Result<Bytes>;

    /// As `read`, but no longer than this; then `None`.
    ///
    /// # Errors
    /// As `read`.
    fn read_within(&self, buffer: &mut [u8], patience: Duration) -> io::Result<Option<usize>>;

    /// As `read`; what was read stays to be read.
    ///
    /// # Errors
    /// As `read`.
    fn peek(&self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Waits until some of the bytes are taken.
    ///
    /// # Errors
    /// As sockets have them.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Waits until all are taken, without copying them.
    ///
    /// # Errors
    /// As `write`.
    fn write_bytes(&self, bytes: Bytes) -> io::Result<()>;

    /// As `write`, but no longer than this; then `None`.
    ///
    /// # Errors
    /// As `write`.
    fn write_within(&self, bytes: &[u8], patience: Duration) -> io::Result<Option<usize>>;

    /// Ends one or both directions.
    ///
    /// # Errors
    /// `NotConnected`, if the session has ended.
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;

    /// Gives it up in both directions.
    fn reset(&self, code: u32);

    /// Ends what is written here.
    ///
    /// # Errors
    /// As `shutdown`.
    fn finish(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    /// Writes all of the bytes.
    ///
    /// # Errors
    /// As `write`.
    fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let n = self.write(bytes)?;
            assert!(n > 0 && n <= bytes.len(), "{n} of {} taken", bytes.len());
            bytes = &bytes[n..];
        }
        Ok(())
    }

    /// Fills the buffer.
    ///
    /// # Errors
    /// As `read`; `UnexpectedEof` if the end comes before.
    fn read_exact(&self, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            let n = self.read(buffer)?;
            if n == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            buffer = &mut buffer[n..];
        }
        Ok(())
    }

    /// All up to the end.
    ///
    /// # Errors
    /// As `read`.
    fn read_to_end(&self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        let mut piece = vec![0; 64 * 1024];
        loop {
            let n = self.read(&mut piece)?;
            if n == 0 {
                return Ok(all);
            }
            all.extend_from_slice(&piece[..n]);
        }
    }
}
