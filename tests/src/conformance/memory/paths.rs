//! Addresses: what is behind them, and what happens on the way there.

use super::harm::Harm;
use super::wire::Wire;
use crate::fault::{Fate, Fault, Outage};
use posthole_protocol::Failure;
use std::net::{Ipv4Addr, SocketAddr};

/// What is behind an address.
pub(super) enum Door {
    /// A server.
    Host(usize),
    /// A path to another address.
    Path(Route),
}

pub(super) struct Route {
    to: SocketAddr,
    kinds: Vec<Harm>,
    percent: u64,
    harmed: u64,
}

/// Places to listen at.
impl Wire {
    /// An address that nobody had before.
    pub(super) fn place(&mut self) -> SocketAddr {
        self.port += 1;
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Whether nothing serves at this address.
    pub(super) fn is_free(&self, addr: SocketAddr) -> bool {
        match self.doors.get(&addr) {
            Some(Door::Host(host)) => !self.hosts[*host].is_up(),
            Some(Door::Path(_)) => false,
            None => true,
        }
    }

    /// What becomes of a request to this address.
    pub(super) fn fault(&mut self, addr: SocketAddr) -> Fault {
        let refused = Fault::request(Fate::Fail(Failure::Connect));
        let (host, harm) = match self.doors.get_mut(&addr) {
            Some(Door::Host(host)) => (*host, None),
            None => return refused,
            Some(Door::Path(route)) => {
                let to = route.to;
                let harm = (!route.kinds.is_empty() && self.rng.percent(route.percent))
                    .then(|| route.kinds[self.rng.below(route.kinds.len() as u64) as usize]);
                route.harmed += u64::from(harm.is_some());
                let Some(Door::Host(host)) = self.doors.get(&to) else {
                    return refused;
                };
                (*host, harm)
            }
        };
        if !self.hosts[host].is_up() {
            return refused;
        }
        let fault = harm.map_or(Fault::NONE, |harm| harm.fault(&mut self.rng));
        Fault { host, ..fault }
    }
}

/// Paths that do harm.
impl Wire {
    /// Puts a path before an address.
    pub(super) fn lay(&mut self, to: SocketAddr) -> SocketAddr {
        let addr = self.place();
        let route = Route {
            to,
            kinds: Vec::new(),
            percent: 0,
            harmed: 0,
        };
        self.doors.insert(addr, Door::Path(route));
        addr
    }

    /// Takes it away, and what is under way with it.
    pub(super) fn tear(&mut self, path: SocketAddr) {
        self.doors.remove(&path);
        self.cut();
    }

    /// What harm it does from now on.
    pub(super) fn set_harm(&mut self, path: SocketAddr, kinds: &[Harm], percent: u8) {
        if let Some(Door::Path(route)) = self.doors.get_mut(&path) {
            route.kinds = kinds.to_vec();
            route.percent = percent.into();
        }
    }

    /// How much it has done.
    pub(super) fn harmed(&self, path: SocketAddr) -> u64 {
        match self.doors.get(&path) {
            Some(Door::Path(route)) => route.harmed,
            Some(Door::Host(_)) | None => 0,
        }
    }

    /// Whether nothing passes.
    pub(super) fn set_silent(&mut self, silent: bool) {
        self.net.conditions.outages.clear();
        self.net.conditions.outages.extend(silent.then_some(Outage {
            from: self.now,
            until: u64::MAX,
            fate: Fate::Lose,
        }));
    }

    /// Resets all connections.
    pub(super) fn cut(&mut self) {
        self.net.kill(self.now);
    }
}
