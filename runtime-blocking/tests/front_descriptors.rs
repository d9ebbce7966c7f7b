//! A front without descriptors.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

#[path = "front_cases/descriptors.rs"]
mod descriptors;
mod direct_support;
mod front_child;
mod front_common;
