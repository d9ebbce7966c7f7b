//! The world without sockets: the runtimes' own loop over real cores, a network that is a data structure, and time that
//! passes only while everybody waits.
//!
//! What it shows of a runtime is all but its I/O: `posthole-runtime` is under it as it is under the others. In exchange
//! everything is decided by a seed, who is never woken is found out at once, and clocks can jump.

mod handles;
mod harm;
mod paths;
mod server;
mod stage;
mod wire;

use crate::conformance::world::{Path, Place, Wait, World};
use crate::oracle::Side;
pub use handles::Virtual;
pub use harm::{Harm, Meets};
use std::net::SocketAddr;
use std::time::Duration;

/// The world itself.
#[derive(Debug)]
pub struct Memory;

/// How often each case is played: each time over another network, and with threads that take turns in another order.
const SEEDS: u64 = 4;

impl World for Memory {
    type Client = Virtual;
    type Server = Virtual;
    type Path = Way;

    const REFUSED: &'static str = "no connection could be made";

    fn play(case: fn()) {
        for seed in 1..=SEEDS {
            stage::play(seed, case);
        }
    }

    fn place() -> Place {
        Place::new(stage::act(|wire| wire.place()), ())
    }

    fn is_free(addr: SocketAddr) -> bool {
        stage::act(|wire| wire.is_free(addr))
    }

    fn path(to: SocketAddr) -> Way {
        Way {
            addr: stage::act(|wire| wire.lay(to)),
        }
    }

    fn start(work: Box<dyn FnOnce() + Send>) -> Wait {
        let thread = stage::start(work);
        Box::new(move || stage::join(thread))
    }

    fn pause(time: Duration) {
        stage::pause(time);
    }
}

impl Memory {
    /// One side's clock jumps forward, as that of a machine that slept does.
    pub fn jump(side: Side, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        stage::act(|wire| wire.jump(side, micros));
    }
}

/// A path of this world.
#[derive(Debug)]
pub struct Way {
    addr: SocketAddr,
}

impl Path for Way {
    type Harm = Harm;

    const ALL: &'static [Harm] = &Harm::ALL;

    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn harm(&self, kinds: &[Harm], percent: u8) {
        stage::act(|wire| wire.set_harm(self.addr, kinds, percent));
    }

    fn harmed(&self) -> u64 {
        stage::act(|wire| wire.harmed(self.addr))
    }

    fn set_silent(&self, silent: bool) {
        stage::act(|wire| wire.set_silent(silent));
    }

    fn cut(&self) {
        stage::act(|wire| wire.cut());
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        stage::act_if_on(|wire| wire.tear(self.addr));
    }
}
