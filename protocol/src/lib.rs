//! posthole's core (see ARCHITECTURE.md).
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

#[cfg(test)]
extern crate std;

mod client;
mod config;
mod error;
mod event;
pub mod http;
mod id;
mod inbox;
mod outbox;
mod ranges;
mod server;
mod session;
mod stats;
mod stream;
mod time;
pub mod wire;

pub use client::{Client, Request};
pub use config::{Config, ConfigBuilder, ConfigError, OWN_CREDIT, RouterConfig, SMALL_BODY};
pub use core::time::Duration;
pub use error::{
    CloseReason, Failure, OpenError, ReadError, ResetCode, UnknownExchange, Violation, WriteError,
};
pub use event::{Event, Read};
pub use id::{ExchangeId, Instance, Nonce, RequestId, SessionId, StreamId};
pub use server::{Opening, Reject, Response, Route, Router, Server};
pub use stats::Stats;
pub use stream::Stream;
pub use time::Instant;
