//! posthole's core: a reliable bi-directional byte stream carried by ordinary HTTP exchanges, as pure state machines.
//!
//! Nothing here touches a socket, a thread, a clock or a random source. A [`Client`] says which requests to send, a
//! [`Server`] which responses; whoever embeds them does the HTTP. What was sent is kept until the other side has said
//! that it arrived, so requests and responses may be lost, doubled, cut, corrupted and reordered, and each stream still
//! delivers exactly the bytes written, once, in order, or ends with an error. The rules are in `PROTOCOL.md`.
//!
//! # The client's loop
//! ```
//! use posthole_protocol::{Client, Event, ExchangeId, Failure, Instant, Request, StreamId, UnknownExchange};
//! use bytes::Bytes;
//!
//! enum Wake { Response(ExchangeId, Bytes), Failed(ExchangeId, Failure), AppBytes(StreamId, Bytes), Deadline }
//!
//! trait Http {
//!     fn start(&mut self, request: Request);              // POST; at most `patience` without progress
//!     fn cancel(&mut self, exchange: ExchangeId);
//!     fn wait(&mut self, until: Option<Instant>) -> Wake; // whichever comes first
//! }
//! trait App {
//!     fn on_event(&mut self, client: &mut Client, event: Event) -> bool; // false: the session is closed
//! }
//!
//! fn run(mut client: Client, http: &mut dyn Http, app: &mut dyn App, now: impl Fn() -> Instant) {
//!     loop {
//!         while let Some(request) = client.poll_request(now()) { http.start(request) }
//!         while let Some(exchange) = client.poll_cancel() { http.cancel(exchange) }
//!         while let Some(event) = client.poll_event() {
//!             if !app.on_event(&mut client, event) { return }
//!         }
//!         let result = match http.wait(client.next_timeout()) {
//!             Wake::Response(exchange, body) => client.feed_response(now(), exchange, body),
//!             Wake::Failed(exchange, why) => client.feed_failure(now(), exchange, why),
//!             Wake::AppBytes(id, mut bytes) => {
//!                 // What is not taken now is for `Event::Writable`.
//!                 if let Some(mut stream) = client.stream(id) { let _ = stream.write(&mut bytes); }
//!                 Ok(client.feed_timeout(now()))
//!             }
//!             Wake::Deadline => Ok(client.feed_timeout(now())),
//!         };
//!         if result == Err(UnknownExchange) { /* an answer to what was cancelled meanwhile: nothing changed */ }
//!     }
//! }
//! ```
//!
//! # The server's loop
//! ```
//! use posthole_protocol::{Config, Event, Instant, Nonce, RequestId, Route, Router, Server, wire::Chain};
//! use bytes::Bytes;
//!
//! enum Wake { Request(RequestId, Bytes), Hangup(RequestId), Deadline }
//!
//! trait Http {
//!     fn respond(&mut self, to: RequestId, body: Chain);  // a failed send: `feed_hangup`, or nothing
//!     fn refuse(&mut self, to: RequestId);                // 400
//!     fn wait(&mut self, until: Option<Instant>) -> Wake;
//! }
//!
//! fn run(mut router: Router<Server>, http: &mut dyn Http, now: impl Fn() -> Instant, random: impl Fn() -> u64,
//!        app: &mut dyn FnMut(&mut Server, Event)) {
//!     loop {
//!         let (mut over, mut timeout) = (Vec::new(), None);
//!         for (id, server) in router.sessions() {
//!             while let Some(r) = server.poll_response(now()) { http.respond(r.request, r.body) }
//!             while let Some(event) = server.poll_event() { app(server, event) }
//!             if server.is_over() { over.push((*id, server.clone())) }
//!             timeout = [timeout, server.next_timeout()].into_iter().flatten().min();
//!         }
//!         for (id, server) in over { router.ended(now(), id, &server); }
//!         match http.wait(timeout) {
//!             Wake::Request(request, body) => match router.route(now(), &body) {
//!                 Route::Session(server) => {
//!                     if let Err(reject) = server.feed_request(now(), request, body) { http.respond(request, reject.body()) }
//!                 }
//!                 Route::Opening { opening, .. } => {
//!                     let id = opening.id();
//!                     let mut server = Server::new(Config::default(), opening, Nonce(random()), now());
//!                     if let Err(reject) = server.feed_request(now(), request, body) { http.respond(request, reject.body()) }
//!                     router.insert(id, server);
//!                 }
//!                 Route::Reject(reject) => http.respond(request, reject.body()),
//!                 Route::NotOurs => http.refuse(request),
//!             },
//!             Wake::Hangup(request) => router.sessions().for_each(|(_, s)| s.feed_hangup(now(), request)),
//!             Wake::Deadline => router.sessions().for_each(|(_, s)| s.feed_timeout(now())),
//!         }
//!     }
//! }
//! ```
//!
//! # The contract
//! Feeds and polls come in any order. `None` from a poll is stable until the next feed or stream call. An early, late or
//! repeated `feed_timeout` is harmless; an earlier `now` counts as the latest seen. After `feed_timeout(t)`,
//! `next_timeout()` is `None`, later than `t`, or there is output to take. `Event::Closed` comes once, last. Equal inputs
//! give equal outputs. Memory is bounded by [`Config`], whatever the peer sends. Nothing from outside makes it panic.
//!
//! # Map
//! `wire` (bundles to bytes and back) <- `outbox`, `inbox`, `stream` <- `session` <- `client`, `server`; `http` (the pure
//! part of HTTP) beside them. ARCHITECTURE.md in the repository says why.
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
mod learned;
mod outbox;
mod pace;
mod ranges;
mod server;
mod session;
mod stats;
mod stream;
mod time;
pub mod wire;

pub use client::{Client, Dial, Request};
pub use config::{
    Carrier, Config, ConfigBuilder, ConfigError, OWN_CREDIT, RouterConfig, SMALL_BODY,
};
pub use core::time::Duration;
pub use error::{
    CloseReason, Failure, OpenError, ReadError, ResetCode, UnknownExchange, Violation, WriteError,
};
pub use event::{Event, Read};
pub use id::{ExchangeId, Instance, Nonce, RequestId, SessionId, StreamId};
pub use learned::{Buffered, Learned, Lesson};
pub use server::{Opening, Reject, Response, Route, Router, Server};
pub use stats::Stats;
pub use stream::Stream;
pub use time::Instant;
