//! `posthole connect … --stdio` on threads: one for each way.

use std::io::{self, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use posthole_blocking::{Stream, connect};
use posthole_runtime::Options;
use tracing::debug;

use super::copy::STACK;
use super::far::close_within;
use crate::address::Destination;
use crate::copy::PIECE;
use crate::error::Error;
use crate::intake::Intake;
use crate::link::cannot_connect;
use crate::preamble;
use crate::refusal::Refusal;
use crate::stdio::{self, end_output, input, output};
use crate::stop::Stop;

/// What the main thread hears.
enum News {
    Ended(io::Result<()>),
    Stopped,
}

pub(crate) fn run(
    url: &str,
    options: Options,
    destination: &Destination,
    grace: Duration,
    stop: &Stop,
) -> Result<(), Error> {
    let session = connect(url, options).map_err(|e| cannot_connect(url, e).into_error())?;
    let broken = |e: &io::Error| stdio::broken(destination, e);
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
    let input = input()?;
    let mut intake = Intake::new();
    loop {
        // A pipe has no time-outs; one connection's block is no matter.
        let bytes = intake.read(&input, |_| Ok(()))?;
        if bytes.is_empty() {
            return stream.shutdown(Shutdown::Write);
        }
        stream.write_bytes(bytes)?;
    }
}

fn down(stream: &Stream) -> io::Result<()> {
    let mut output = output()?;
    loop {
        let bytes = stream.read_bytes(PIECE)?;
        if bytes.is_empty() {
            drop(output);
            return end_output();
        }
        output.write_all(&bytes)?;
    }
}
