//! What a lane must do, whatever it is made of: the same cases for every runtime. Who includes them has a module
//! `carrier` with the runtime's names (whose `exchange` blocks) and the module `script`.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each runtime uses a part of it"
)]

mod plain;
#[cfg(feature = "tls")]
pub mod tls;
mod trouble;
mod way;

use crate::carrier::{Lane, ProxyChoice, Target, TlsChoice};
use bytes::Bytes;
use posthole_protocol::http::Tag;
use posthole_protocol::wire::Chain;
use std::sync::Arc;
use std::time::Duration;

pub const TAG: Tag = Tag::from_bytes([0xab; 8]);

pub const LONG: Duration = Duration::from_secs(60);

/// More than the buffers of two sockets on loopback hold.
pub const HUGE: usize = 32 << 20;

pub fn direct(url: &str) -> Target {
    Target::new(url, TAG, ProxyChoice::None, TlsChoice::Platform).unwrap()
}

pub fn through(url: &str, proxy: &str) -> Target {
    let proxy = ProxyChoice::Url(proxy.to_owned());
    Target::new(url, TAG, proxy, TlsChoice::Platform).unwrap()
}

pub fn lane(target: Target) -> Lane {
    Lane::new(Arc::new(target))
}

/// In pieces of several sizes, an empty one among them.
pub fn chain(body: &[u8]) -> Chain {
    let mut parts: Vec<Bytes> = body
        .chunks(body.len() / 3 + 1)
        .map(Bytes::copy_from_slice)
        .collect();
    parts.insert(0, Bytes::new());
    parts.into_iter().collect()
}

pub fn zeros(length: usize) -> Chain {
    Chain::from(Bytes::from(vec![0; length]))
}

pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(length)
    .collect()
}
