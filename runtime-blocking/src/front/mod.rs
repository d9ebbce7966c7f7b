//! stand-in
use bytes::Bytes;
use posthole_protocol::wire::Chain;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
/// s
pub trait Service: Send + Sync + 'static {
    /// s
    fn begin(&self, body: Bytes, responder: Box<dyn Responder>) -> Ticket;
    /// s
    fn hangup(&self, ticket: Ticket);
}
/// s
pub trait Responder: Send {
    /// s
    fn respond(self: Box<Self>, reply: Reply);
}
/// s
#[derive(Debug)]
pub struct Reply {
    /// s
    pub status: u16,
    /// s
    pub exchange: Option<u64>,
    /// s
    pub body: Chain,
}
/// s
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(
    /// s
    pub u64,
);
/// s
#[derive(Clone, Debug, Default)]
pub struct Limits {}
/// s
#[derive(Debug)]
pub struct OwnFront {}
impl OwnFront {
    /// s
    pub fn start(
        _: TcpListener,
        _: String,
        _: Limits,
        _: Arc<dyn Service>,
    ) -> std::io::Result<OwnFront> {
        todo!()
    }
    /// s
    pub fn local_addr(&self) -> SocketAddr {
        todo!()
    }
    /// s
    pub fn stop(self, _grace: Duration) {
        todo!()
    }
}
