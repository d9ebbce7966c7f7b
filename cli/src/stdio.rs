//! `posthole connect … --stdio`: standard input and output joined to one stream, for ssh's ProxyCommand. What both
//! runtimes need of it.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use posthole_runtime::Options;

use crate::address::Destination;
use crate::error::Error;
use crate::refusal::refusal_in;
use crate::runtime::Runtime;
use crate::stop::Stop;
use crate::{tasks, threads};

/// Carries standard input to the destination and what it says to standard output, until both have ended.
///
/// # Errors
/// There is no server, no destination, or the connection did not end well.
pub fn run(
    runtime: Runtime,
    url: &str,
    options: Options,
    destination: &Destination,
    grace: Duration,
    stop: &Stop,
) -> Result<(), Error> {
    match runtime {
        Runtime::Blocking => threads::stdio::run(url, options, destination, grace, stop),
        Runtime::Smol => tasks::stdio::run(url, options, destination, grace, stop),
    }
}

/// What to say when it did not end well.
pub(crate) fn broken(destination: &Destination, error: &io::Error) -> Error {
    let why = refusal_in(error).map_or_else(|| error.to_string(), |why| why.to_string());
    Error::failed(format!("{destination}: {why}"))
}

/// Standard input, past the buffers of `std::io`, which belong to text.
pub(crate) fn input() -> io::Result<File> {
    Ok(File::from(io::stdin().as_fd().try_clone_to_owned()?))
}

/// Standard output, likewise.
pub(crate) fn output() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

/// The reader of standard output sees the end of file, though standard input may go on. Other handles of it must be
/// gone.
pub(crate) fn end_output() -> io::Result<()> {
    let nothing = File::options().write(true).open("/dev/null")?;
    Ok(rustix::stdio::dup2_stdout(nothing)?)
}
