//! What time it is for tasks, and what wakes one when its time has come: the system's, except in tests of this crate that turn
//! the clock themselves (`simulation`).

#[cfg(test)]
pub(crate) use crate::simulation::Timer;
#[cfg(not(test))]
pub(crate) use smol::Timer;

use std::time::Instant;

/// What time it is.
pub(crate) fn instant() -> Instant {
    #[cfg(test)]
    if let Some(now) = crate::simulation::instant() {
        return now;
    }
    Instant::now()
}
