//! Sockets and time as hyper wants them.
//!
//! hyper reads into memory that safe code can only fill by copying (`ReadBufCursor::put_slice`), so a read goes through
//! one piece of scratch memory per thread, which stays in the processor's cache and is zeroed once. Processor seconds
//! per GB of bodies of 512 KiB on loopback, both ends together, 5 runs each: 0.34 by zeroing hyper's memory before each
//! read (as `smol-hyper` does), 0.26 through the scratch memory, 0.23 with unsafe code that does neither.

use crate::clock;
use hyper::rt::{Read, ReadBufCursor, Sleep, Timer, Write};
use smol::Async;
use smol::io::{AsyncRead, AsyncWrite};
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// How much is read at once. With 64 KiB the same bodies cost 0.30 s per GB: hyper's work per read weighs more than the
/// processor's cache. What is never filled takes no memory.
const SCRATCH: usize = 256 * 1024;

/// Connects a TCP socket, as `Async::<TcpStream>::connect` does, which sends as `posthole_runtime::send_near` has it.
///
/// May be dropped before it is done: nothing is left of it.
///
/// # Errors
/// The system's: nobody listens there, or it can't be reached.
pub async fn connect(address: SocketAddr) -> io::Result<Async<TcpStream>> {
    let socket = posthole_runtime::socket_to(address)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error) if is_under_way(&error) => {}
        Err(error) => return Err(error),
    }
    let stream = Async::new(TcpStream::from(socket))?;
    stream.writable().await?;
    match stream.get_ref().take_error()? {
        Some(error) => Err(error),
        None => Ok(stream),
    }
}

fn is_under_way(error: &io::Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) {
        return true;
    }
    error.kind() == ErrorKind::WouldBlock
}

thread_local! {
    static ROOM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Runs `read` on the thread's scratch memory, at most on `limit` bytes of it, and gives what it read to `put`.
pub(crate) fn read_through(
    limit: usize,
    read: impl FnOnce(&mut [u8]) -> Poll<io::Result<usize>>,
    put: impl FnOnce(&[u8]),
) -> Poll<io::Result<usize>> {
    // Taken, not borrowed: a stream may have another one of these below it.
    let mut room = ROOM.take();
    if room.is_empty() {
        // Zeroed by the system, page by page as they are used.
        room = vec![0; SCRATCH];
    }
    let limit = limit.min(room.len());
    let result = read(&mut room[..limit]);
    if let Poll::Ready(Ok(amount)) = result {
        put(&room[..amount]);
    }
    ROOM.set(room);
    result
}

/// A read into what hyper offers.
pub(crate) fn fill(
    cursor: &mut ReadBufCursor<'_>,
    read: impl FnOnce(&mut [u8]) -> Poll<io::Result<usize>>,
) -> Poll<io::Result<usize>> {
    read_through(cursor.remaining(), read, |bytes| cursor.put_slice(bytes))
}

/// A TCP connection, shared with whoever else wants to look at it or shut it down.
#[derive(Clone, Debug)]
pub struct Socket(Arc<Async<TcpStream>>);

impl Socket {
    /// The connection as hyper wants it.
    pub fn new(stream: Async<TcpStream>) -> Socket {
        Socket(Arc::new(stream))
    }

    /// The connection itself.
    pub fn stream(&self) -> &Async<TcpStream> {
        &self.0
    }

    fn poll_io<T>(
        &self,
        cx: &mut Context<'_>,
        wait: PollReady,
        attempt: impl FnMut(&TcpStream) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        poll_io(&self.0, cx, wait, attempt)
    }
}

/// [`Async::poll_readable`] or [`Async::poll_writable`].
pub(crate) type PollReady = fn(&Async<TcpStream>, &mut Context<'_>) -> Poll<io::Result<()>>;

/// Tries until the socket is ready for it.
pub(crate) fn poll_io<T>(
    stream: &Async<TcpStream>,
    cx: &mut Context<'_>,
    wait: PollReady,
    mut attempt: impl FnMut(&TcpStream) -> io::Result<T>,
) -> Poll<io::Result<T>> {
    loop {
        match attempt(stream.as_ref()) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => ready!(wait(stream, cx))?,
            result => return Poll::Ready(result),
        }
    }
}

impl Read for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        fill(&mut cursor, |room| {
            self.poll_io(cx, Async::poll_readable, |mut stream| {
                io::Read::read(&mut stream, room)
            })
        })
        .map_ok(drop)
    }
}

impl Write for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_io(cx, Async::poll_writable, |mut stream| {
            io::Write::write(&mut stream, bytes)
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.as_ref().as_ref().shutdown(Shutdown::Write))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_io(cx, Async::poll_writable, |mut stream| {
            io::Write::write_vectored(&mut stream, slices)
        })
    }
}

/// Any other stream, for instance TLS.
#[derive(Debug)]
pub struct Adapter<S>(pub S);

impl<S: AsyncRead + Unpin> Read for Adapter<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        fill(&mut cursor, |room| {
            Pin::new(&mut self.0).poll_read(cx, room)
        })
        .map_ok(drop)
    }
}

impl<S: AsyncWrite + Unpin> Write for Adapter<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }
}

/// The clock by which hyper's time-outs run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock;

impl Timer for Clock {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(Alarm::after(duration))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Alarm::at(deadline))
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<Alarm>() {
            Some(alarm) => alarm.get_mut().move_to(deadline),
            None => *sleep = self.sleep_until(deadline),
        }
    }
}

/// A deadline that is cheap to put off: the reactor is told only when it comes nearer, or when it was reached early.
pub(crate) struct Alarm {
    timer: clock::Timer,
    /// When the timer fires; never later than the deadline.
    fires: Option<Instant>,
    /// `None`: never.
    deadline: Option<Instant>,
}

impl Alarm {
    pub(crate) fn never() -> Alarm {
        Alarm {
            timer: clock::Timer::never(),
            fires: None,
            deadline: None,
        }
    }

    pub(crate) fn at(deadline: Instant) -> Alarm {
        Alarm {
            timer: clock::Timer::at(deadline),
            fires: Some(deadline),
            deadline: Some(deadline),
        }
    }

    fn after(duration: Duration) -> Alarm {
        match clock::instant().checked_add(duration) {
            Some(deadline) => Alarm::at(deadline),
            None => Alarm::never(),
        }
    }

    /// Sets the deadline to so long from now.
    pub(crate) fn move_after(&mut self, duration: Duration) {
        match clock::instant().checked_add(duration) {
            Some(deadline) => self.move_to(deadline),
            None => *self = Alarm::never(),
        }
    }

    pub(crate) fn move_to(&mut self, deadline: Instant) {
        self.deadline = Some(deadline);
        if self.fires.is_none_or(|fires| deadline < fires) {
            self.fires = Some(deadline);
            self.timer.set_at(deadline);
        }
    }
}

impl Future for Alarm {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(Pin::new(&mut self.timer).poll(cx));
            // A timer that has fired does so again only when it is set.
            self.fires = None;
            match self.deadline {
                Some(deadline) if clock::instant() < deadline => self.move_to(deadline),
                _ => return Poll::Ready(()),
            }
        }
    }
}

impl Sleep for Alarm {}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alarm")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use hyper::rt::ReadBuf;
    use smol::future::{block_on, poll_fn};
    use std::mem::MaybeUninit;
    use std::net::TcpListener;

    async fn read(io: &mut (impl Read + Unpin), limit: usize) -> Vec<u8> {
        let mut memory = vec![MaybeUninit::uninit(); limit];
        let mut buffer = ReadBuf::uninit(&mut memory);
        poll_fn(|cx| Pin::new(&mut *io).poll_read(cx, buffer.unfilled()))
            .await
            .unwrap();
        buffer.filled().to_vec()
    }

    async fn check(mut near: impl Read + Write + Unpin, mut far: TcpStream) {
        assert!(near.is_write_vectored());
        let slices = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cde")];
        let written = poll_fn(|cx| Pin::new(&mut near).poll_write_vectored(cx, &slices)).await;
        assert_eq!(written.unwrap(), 5);
        poll_fn(|cx| Pin::new(&mut near).poll_flush(cx))
            .await
            .unwrap();
        let mut bytes = [0; 5];
        io::Read::read_exact(&mut far, &mut bytes).unwrap();
        assert_eq!(&bytes, b"abcde");
        // No more is read than there is room for.
        io::Write::write_all(&mut far, b"12345").unwrap();
        let mut all = read(&mut near, 2).await;
        assert!(all.len() <= 2);
        while all.len() < 5 {
            all.extend(read(&mut near, 4).await);
        }
        assert_eq!(all, b"12345");
        poll_fn(|cx| Pin::new(&mut near).poll_shutdown(cx))
            .await
            .unwrap();
        assert_eq!(io::Read::read(&mut far, &mut bytes).unwrap(), 0);
        drop(far);
        assert!(read(&mut near, 9).await.is_empty(), "the end is no bytes");
    }

    #[test]
    fn what_is_read_and_written_is_what_was_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = || {
            let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            (Async::new(near).unwrap(), listener.accept().unwrap().0)
        };
        let (near, far) = connect();
        block_on(check(Socket::new(near), far));
        let (near, far) = connect();
        block_on(check(Adapter(smol::net::TcpStream::from(near)), far));
    }

    #[test]
    fn an_alarm_put_off_again_and_again_goes_off_at_the_last_deadline_or_a_nearer_one() {
        let begin = Instant::now();
        let [near, far] = [5, 30].map(|n| begin + Duration::from_millis(n));
        let mut alarm = Alarm::never();
        alarm.move_to(near);
        alarm.move_to(far);
        block_on(&mut alarm);
        assert!(Instant::now() >= far);
        // One that has gone off can be set again, and one that is set can be brought nearer.
        alarm.move_after(Duration::from_secs(3600));
        alarm.move_after(Duration::from_millis(1));
        block_on(&mut alarm);
    }

    #[test]
    fn hyper_moves_the_alarm_that_it_has() {
        let mut sleep = Clock.sleep(Duration::from_secs(3600));
        Clock.reset(&mut sleep, Instant::now());
        block_on(sleep);
        block_on(Clock.sleep_until(Instant::now()));
        drop(Clock.sleep(Duration::MAX));
    }
}
