//! `serve` and `connect` as tasks on smol: no thread waits for anybody.
//!
//! All tasks run on smol's own executor, whose number of threads the environment's `SMOL_THREADS` sets.

pub(crate) mod connect;
pub(crate) mod copy;
mod dial;
mod far;
mod link;
mod reverse;
pub(crate) mod serve;
pub(crate) mod stdio;
