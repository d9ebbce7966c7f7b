//! (see ARCHITECTURE.md)
#![forbid(unsafe_code)]

pub mod carrier;
