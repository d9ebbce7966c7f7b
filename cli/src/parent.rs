//! A process that must not outlive the one that started it: it ends with its standard input, whose other end that one
//! holds, however that one ends.

use std::io;
use std::thread;

use crate::error::Error;

/// From here on, the end of standard input ends this process, at once and with 0.
///
/// # Errors
/// The system gives no thread.
pub fn follow() -> Result<(), Error> {
    let watch = || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        std::process::exit(0);
    };
    thread::Builder::new()
        .name("parent".into())
        .stack_size(128 * 1024)
        .spawn(watch)
        .map_err(|e| Error::failed(format!("can't watch standard input: {e}")))?;
    Ok(())
}
