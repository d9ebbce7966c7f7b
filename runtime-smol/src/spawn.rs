//! Where tasks run.

use smol::future::FutureExt;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Starts tasks on an executor, which must run for as long as anything here is in use. Cheap to clone.
///
/// The default is smol's global executor, which runs on threads of its own.
///
/// ```
/// use posthole_smol::spawn::Spawner;
/// use std::sync::Arc;
/// let executor = Arc::new(smol::Executor::new());
/// let spawner = {
///     let executor = Arc::clone(&executor);
///     Spawner::new(move |task| executor.spawn(task).detach())
/// };
/// let (tell, told) = smol::channel::bounded(1);
/// spawner.spawn(async move { tell.send(7).await.expect("it is waited for") });
/// assert_eq!(smol::block_on(executor.run(told.recv())), Ok(7));
/// ```
#[derive(Clone)]
pub struct Spawner(Arc<dyn Fn(Task) + Send + Sync>);

impl Spawner {
    /// Tasks are given to `spawn`, which must see to it that they run to their end unless the executor ends.
    pub fn new(spawn: impl Fn(Task) + Send + Sync + 'static) -> Spawner {
        Spawner(Arc::new(spawn))
    }

    /// Starts a task. If it panics, it ends, and that is logged: an executor that many share is not to end with it.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        (self.0)(Box::pin(async move {
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                tracing::error!("a task panicked");
            }
        }));
    }
}

impl Default for Spawner {
    fn default() -> Spawner {
        Spawner::new(|task| smol::spawn(task).detach())
    }
}

impl fmt::Debug for Spawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spawner")
    }
}
