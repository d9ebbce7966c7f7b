//! What every runtime's listener must do: raw bytes in, exact answers out. They stand here once; each runtime brings its
//! own front, as `crate::front_common`.

mod ending;
mod serving;
mod strangers;

use crate::front_common::Limits;
use std::time::Duration;

/// Gives up on slow clients at once.
pub(crate) fn quick() -> Limits {
    Limits {
        head_time: Duration::from_millis(300),
        body_time: Duration::from_millis(300),
        ..Limits::default()
    }
}
