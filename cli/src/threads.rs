//! `serve` and `connect` on threads.

pub(crate) mod connect;
pub(crate) mod copy;
mod dial;
mod far;
mod link;
mod reverse;
pub(crate) mod serve;
pub(crate) mod stdio;
