//! `serve` and `connect` as tasks on smol: no thread waits for anybody.
//!
//! All tasks run where the library's do by default, on as many threads as the environment's `SMOL_THREADS` says.

pub(crate) mod connect;
pub(crate) mod copy;
mod dial;
mod far;
mod link;
mod reverse;
pub(crate) mod serve;
pub(crate) mod stdio;

use posthole_smol::Spawner;
use std::future::Future;

fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    Spawner::default().spawn(task);
}
