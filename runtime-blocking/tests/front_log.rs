//! What a front logs.
#![allow(clippy::unwrap_used)]

mod front_common;
#[path = "front_cases/log.rs"]
mod log;
