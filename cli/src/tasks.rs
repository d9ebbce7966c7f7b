//! `serve` and `connect` as tasks on smol: no thread waits for anybody.
//!
//! All tasks run on threads of their own: one, or as many as the environment's `SMOL_THREADS` says.

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
use std::sync::LazyLock;

static TASKS: LazyLock<Spawner> = LazyLock::new(|| {
    let threads = std::env::var("SMOL_THREADS").ok();
    Spawner::threads(threads.and_then(|it| it.parse().ok()).unwrap_or(1))
});

fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    TASKS.spawn(task);
}
