//! The `posthole` command, as a library: everything but exiting.
//!
//! ```text
//! args            what can be said           main -> args, then one of
//!   serve         streams  -> destinations    allow, dial
//!   connect       ports    -> streams         forward, link (the session, kept)
//!   stdio         stdin/stdout <-> a stream
//!   threads, tasks          how these six wait: files of the same names, one for each runtime
//!   cgi           a request handed on by a web server   bridge (serve's end of that)
//!   probe         what the way lets through
//!   demo          all of it on one machine    hostile (the proxy that does harm)
//!   bench         what it costs, beside plain relays
//! copy, intake    a socket joined to a stream
//! preamble, refusal, address                  what client and server say to each other
//! runtime         what serve and connect run on
//! stop, live, parent, log, line, error, units, random     what the commands share
//! ```
//!
//! Besides the command, it offers [`hostile`] to tests. For tunnels in a program of your own take `posthole-blocking`.

pub mod address;
pub mod allow;
pub mod args;
pub mod bench;
mod bridge;
pub mod cgi;
pub mod connect;
pub mod copy;
pub mod demo;
mod dial;
pub mod error;
pub mod forward;
pub mod hostile;
mod intake;
pub mod line;
mod link;
mod live;
pub mod log;
pub mod parent;
pub mod preamble;
pub mod probe;
pub mod random;
pub mod refusal;
pub mod reverse;
pub mod runtime;
pub mod serve;
pub mod socks;
pub mod stdio;
pub mod stop;
mod tasks;
mod threads;
pub mod units;
pub mod unix;
