//! The runtime of tasks: each call is a future that the calling thread drives.

use crate::runtimes::direct::TakesDirect;
use bytes::Bytes;
use posthole_protocol::{CloseReason, Config, Learned};
use posthole_smol::carrier::ProxyChoice;
use posthole_smol::{ListenOptions, Options, Spawner, Stats, connect_on};
use posthole_tests::conformance::cancel::at_every_point;
use posthole_tests::conformance::runtime::{Dial, Listener, Runtime, Session, Stream};
use smol::future::{FutureExt, block_on, pending};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::{Executor, Timer};
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::sync::Once;
use std::thread;
use std::time::Duration;

/// How a call's future is driven.
pub(crate) trait Drive: Send + Sync + 'static {
    /// Whether futures are given up before they are done.
    const GIVES_UP: bool;

    fn drive<F: Future>(begin: impl FnMut() -> F) -> F::Output;

    /// Where tasks run.
    fn spawner() -> Spawner;
}

/// From its beginning to its end; tasks run on smol's global executor.
pub(crate) struct Patient;

impl Drive for Patient {
    const GIVES_UP: bool = false;

    fn drive<F: Future>(mut begin: impl FnMut() -> F) -> F::Output {
        block_on(begin())
    }

    fn spawner() -> Spawner {
        Spawner::default()
    }
}

/// Given up at every point at which it waits, and begun again: nothing may be lost by that. Tasks run on three threads of
/// an executor of their own.
pub(crate) struct Fickle;

impl Drive for Fickle {
    const GIVES_UP: bool = true;

    fn drive<F: Future>(begin: impl FnMut() -> F) -> F::Output {
        at_every_point(begin)
    }

    fn spawner() -> Spawner {
        static THREADS: Once = Once::new();
        static TASKS: Executor<'_> = Executor::new();
        THREADS.call_once(|| {
            for _ in 0..3 {
                thread::spawn(|| block_on(TASKS.run(pending::<()>())));
            }
        });
        Spawner::new(|task| TASKS.spawn(task).detach())
    }
}

/// The runtime of tasks.
pub(crate) struct Smol<D = Patient>(PhantomData<D>);

impl<D: Drive> Runtime for Smol<D> {
    type Session = Caller<D>;
    type Listener = Door<D>;

    /// Driven to its end: one that is given up gives the session up, and the next attempt makes another.
    fn connect(url: &str, how: Dial) -> io::Result<Caller<D>> {
        let mut options = Options::new()
            .proxy(how.proxy.map_or(ProxyChoice::None, ProxyChoice::Url))
            .config(how.config)
            .connect_timeout(how.timeout)
            .wait_for_answer(how.waits);
        for (name, value) in how.headers {
            options = options.header(name, value);
        }
        let session = block_on(connect_on(&D::spawner(), url, options))?;
        Ok(Caller(session, PhantomData))
    }

    fn bind(addr: SocketAddr, config: Config) -> io::Result<Door<D>> {
        let spawner = D::spawner();
        let bind = || {
            let options = ListenOptions::new().config(config.clone());
            posthole_smol::Listener::bind_on(&spawner, addr, options)
        };
        Ok(Door(D::drive(bind)?, PhantomData))
    }
}

impl<D: Drive> TakesDirect for Smol<D> {
    fn take_direct(door: &Door<D>, socket: TcpListener) -> io::Result<()> {
        door.0.serve_direct(socket)
    }
}

/// A listener.
pub(crate) struct Door<D>(posthole_smol::Listener, PhantomData<D>);

impl<D: Drive> Listener for Door<D> {
    type Session = Caller<D>;

    fn addr(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    fn accept(&self) -> io::Result<Caller<D>> {
        Ok(Caller(D::drive(|| self.0.accept())?, PhantomData))
    }

    fn sessions(&self) -> usize {
        self.0.sessions()
    }

    fn close(&self, grace: Duration) {
        D::drive(|| self.0.close(grace));
    }
}

/// A session.
pub(crate) struct Caller<D>(posthole_smol::Session, PhantomData<D>);

impl<D> Clone for Caller<D> {
    fn clone(&self) -> Caller<D> {
        Caller(self.0.clone(), PhantomData)
    }
}

impl<D: Drive> Session for Caller<D> {
    type Stream = Socket<D>;

    fn open(&self) -> io::Result<Socket<D>> {
        Ok(Socket(D::drive(|| self.0.open())?, PhantomData))
    }

    fn accept(&self) -> io::Result<Socket<D>> {
        Ok(Socket(D::drive(|| self.0.accept())?, PhantomData))
    }

    fn close(&self) -> io::Result<()> {
        D::drive(|| self.0.close())
    }

    fn abort(&self) {
        self.0.abort();
    }

    fn closed(&self) -> Option<CloseReason> {
        self.0.closed()
    }

    fn wait_closed(&self) -> CloseReason {
        D::drive(|| self.0.wait_closed())
    }

    fn is_connected(&self) -> bool {
        self.0.is_connected()
    }

    fn learned(&self) -> Option<Learned> {
        self.0.learned()
    }

    fn stats(&self) -> Stats {
        self.0.stats()
    }
}

/// A stream.
pub(crate) struct Socket<D>(posthole_smol::Stream, PhantomData<D>);

impl<D> Clone for Socket<D> {
    fn clone(&self) -> Socket<D> {
        Socket(self.0.clone(), PhantomData)
    }
}

/// `None`, if it is not ready in time.
fn within<T>(
    patience: Duration,
    future: impl Future<Output = io::Result<T>>,
) -> io::Result<Option<T>> {
    let done = async { future.await.map(Some) };
    let late = async {
        Timer::after(patience).await;
        Ok(None)
    };
    block_on(done.or(late))
}

impl<D: Drive> Stream for Socket<D> {
    fn id(&self) -> u64 {
        self.0.id().number()
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len();
        let read = D::drive(|| async move {
            // Its own, as it may be begun more than once.
            let mut bytes = vec![0; length];
            let n = (&self.0).read(&mut bytes).await?;
            bytes.truncate(n);
            io::Result::Ok(bytes)
        })?;
        buffer[..read.len()].copy_from_slice(&read);
        Ok(read.len())
    }

    fn read_bytes(&self, max: usize) -> io::Result<Bytes> {
        D::drive(|| self.0.read_bytes(max))
    }

    fn read_within(&self, buffer: &mut [u8], patience: Duration) -> io::Result<Option<usize>> {
        within(patience, (&self.0).read(buffer))
    }

    fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len();
        let seen = D::drive(|| async move {
            let mut bytes = vec![0; length];
            let n = self.0.peek(&mut bytes).await?;
            bytes.truncate(n);
            io::Result::Ok(bytes)
        })?;
        buffer[..seen.len()].copy_from_slice(&seen);
        Ok(seen.len())
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        D::drive(|| async move { (&self.0).write(bytes).await })
    }

    /// Given up, it has written it can't say how much.
    fn write_bytes(&self, bytes: Bytes) -> io::Result<()> {
        if D::GIVES_UP {
            return self.write_all(&bytes);
        }
        block_on(self.0.write_bytes(bytes))
    }

    fn write_within(&self, bytes: &[u8], patience: Duration) -> io::Result<Option<usize>> {
        within(patience, (&self.0).write(bytes))
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0.shutdown(how)
    }

    fn reset(&self, code: u32) {
        self.0.reset(code);
    }

    fn finish(&self) -> io::Result<()> {
        D::drive(|| async move { (&self.0).close().await })
    }
}
