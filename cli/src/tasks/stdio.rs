//! `posthole connect … --stdio` as tasks. Standard input and output may be files, which no system tells readiness of, so
//! they are read and written on threads that smol keeps for such.

use std::io::{self, Write};
use std::net::Shutdown;
use std::pin::pin;
use std::time::Duration;

use super::TASKS;
use bytes::Bytes;
use posthole_runtime::Options;
use posthole_smol::{Stream, connect_on};
use smol::{Timer, future, unblock};
use tracing::debug;

use super::far::close_within;
use crate::address::Destination;
use crate::copy::PIECE;
use crate::error::Error;
use crate::intake::Intake;
use crate::link::cannot_connect;
use crate::preamble;
use crate::refusal::Refusal;
use crate::stdio::{broken, end_output, input, output};
use crate::stop::Stop;

pub(crate) fn run(
    url: &str,
    options: Options,
    destination: &Destination,
    grace: Duration,
    stop: &Stop,
) -> Result<(), Error> {
    smol::block_on(carry(url, options, destination, grace, stop))
}

async fn carry(
    url: &str,
    options: Options,
    destination: &Destination,
    grace: Duration,
    stop: &Stop,
) -> Result<(), Error> {
    let session = connect_on(&TASKS, url, options).await;
    let session = session.map_err(|e| cannot_connect(url, e).into_error())?;
    let open = async {
        let stream = session.open().await?;
        let first = Bytes::from(preamble::encode(destination));
        stream.write_bytes(first).await?;
        Ok(stream)
    };
    let stream = open.await.map_err(|e| broken(destination, &e))?;

    let mut both = pin!(future::try_zip(up(&stream), down(&stream)));
    let stopped = async {
        stop.over().await;
        None
    };
    let ended = future::or(async { Some(both.as_mut().await) }, stopped).await;
    let (well, outcome) = match ended {
        Some(Ok(_)) => (true, Ok(())),
        Some(Err(e)) => (false, Err(broken(destination, &e))),
        None => {
            let late = async {
                Timer::after(grace).await;
                debug!("{destination}: cut off");
                Err(io::ErrorKind::TimedOut.into())
            };
            // Who interrupts it knows that the connection does not end well.
            (future::or(both, late).await.is_ok(), Ok(()))
        }
    };
    if !well {
        stream.reset(Refusal::Reset.code());
    }
    close_within(&session, grace).await;
    outcome
}

async fn up(stream: &Stream) -> io::Result<()> {
    let mut reader = (input()?, Intake::new());
    loop {
        let read = move || {
            // A pipe has no time-outs; one connection's block is no matter.
            let bytes = reader.1.read(&reader.0, |_| Ok(()));
            (reader, bytes)
        };
        let (back, bytes) = unblock(read).await;
        reader = back;
        let bytes = bytes?;
        if bytes.is_empty() {
            return stream.shutdown(Shutdown::Write);
        }
        stream.write_bytes(bytes).await?;
    }
}

async fn down(stream: &Stream) -> io::Result<()> {
    let mut output = output()?;
    loop {
        let bytes = stream.read_bytes(PIECE).await?;
        if bytes.is_empty() {
            drop(output);
            return end_output();
        }
        let write = move || {
            let written = output.write_all(&bytes);
            (output, written)
        };
        let (back, written) = unblock(write).await;
        output = back;
        written?;
    }
}
