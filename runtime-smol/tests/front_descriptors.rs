//! A front without descriptors.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

#[path = "../../runtime-blocking/tests/front_cases/descriptors.rs"]
mod descriptors;
#[path = "../../runtime-blocking/tests/direct_support/mod.rs"]
mod direct_support;
#[path = "../../runtime-blocking/tests/front_child/mod.rs"]
mod front_child;
mod front_common;
