//! `posthole connect … --stdio`: standard input and output joined to one stream, for ssh's ProxyCommand.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use posthole_blocking::{Options, Stream, connect};
use tracing::debug;

use crate::address::HostPort;
use crate::copy::STACK;
use crate::error::Error;
use crate::far::{close_within, refusal_in};
use crate::intake::Intake;
use crate::link::{Failure, cannot_connect};
use crate::preamble;
use crate::refusal::Refusal;
use crate::stop::Stop;

/// The most that is taken from the stream at once, in bytes.
const PIECE: usize = 256 * 1024;

/// What the main thread hears.
enum News {
    Ended(io::Result<()>),
    Stopped,
}

/// Carries standard input to the destination and what it says to standard output, until both have ended.
///
/// # Errors
/// There is no server, no destination, or the connection did not end well.
pub fn run(
    url: &str,
    options: Options,
    destination: &HostPort,
    grace: Duration,
    stop: &Stop,
) -> Result<(), Error> {
    let session = connect(url, options).map_err(|e| match cannot_connect(url, e) {
        Failure::Lasting(error) | Failure::Passing(error) => error,
    })?;
    let broken = |e: &io::Error| {
        let why = refusal_in(e).map_or_else(|| e.to_string(), |why| why.to_string());
        Error::failed(format!("{destination}: {why}"))
    };
    let stream = Arc::new(session.open().map_err(|e| broken(&e))?);
    stream
        .write_bytes(Bytes::from(preamble::encode(destination)))
        .map_err(|e| broken(&e))?;

    // Neither thread is joined: no call wakes a read of standard input.
    let (tell, news) = mpsc::channel();
    let spawn = |name: &str, work: fn(&Stream) -> io::Result<()>| {
        let (tell, stream) = (tell.clone(), Arc::clone(&stream));
        let work = move || {
            let _ = tell.send(News::Ended(work(&stream)));
        };
        thread::Builder::new()
            .name(name.into())
            .stack_size(STACK)
            .spawn(work)
            .map_err(|e| broken(&e))
    };
    spawn("up", up)?;
    spawn("down", down)?;
    let stopping = stop.clone();
    let waiting = move || {
        let _ = stopping.wait();
        let _ = tell.send(News::Stopped);
    };
    thread::Builder::new()
        .name("stop".into())
        .spawn(waiting)
        .map_err(|e| broken(&e))?;

    let mut ends = 0;
    let mut stopped = false;
    let outcome = loop {
        let next = if stopped {
            news.recv_timeout(grace).ok()
        } else {
            news.recv().ok()
        };
        match next {
            Some(News::Ended(Ok(()))) if ends == 1 => break Ok(()),
            Some(News::Ended(Ok(()))) => ends += 1,
            Some(News::Ended(Err(e))) => {
                stream.reset(Refusal::Reset.code());
                // Who interrupts it knows that the connection does not end well.
                break if stopped { Ok(()) } else { Err(broken(&e)) };
            }
            Some(News::Stopped) => stopped = true,
            None => {
                debug!("{destination}: cut off");
                stream.reset(Refusal::Reset.code());
                break Ok(());
            }
        }
    };
    close_within(&session, grace);
    outcome
}

fn up(stream: &Stream) -> io::Result<()> {
    // Past the buffers of `std::io`, which belong to text.
    let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut intake = Intake::new();
    loop {
        // A pipe has no time-outs; one connection's block is no matter.
        let bytes = intake.read(&input, |_| Ok(()))?;
        if bytes.is_empty() {
            return stream.shutdown(std::net::Shutdown::Write);
        }
        stream.write_bytes(bytes)?;
    }
}

fn down(stream: &Stream) -> io::Result<()> {
    let mut output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    loop {
        let bytes = stream.read_bytes(PIECE)?;
        if bytes.is_empty() {
            // The reader sees the end of file now, though standard input may go on.
            rustix::stdio::dup2_stdout(File::options().write(true).open("/dev/null")?)?;
            return Ok(());
        }
        output.write_all(&bytes)?;
    }
}
