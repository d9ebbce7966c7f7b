//! The lock of a session and what waits at it: std's, or loom's, under which every order of threads is tried
//! (`driver/orders.rs`).

#[cfg(all(test, interleave))]
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
#[cfg(not(all(test, interleave)))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
