//! (see ARCHITECTURE.md)

pub mod front;
