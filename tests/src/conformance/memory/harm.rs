//! What a path of this world does to exchanges: the same kinds as the proxy that does harm on real sockets.

use crate::MS;
use crate::fault::{Fate, Fault};
use crate::rng::Rng;
use posthole_protocol::Failure;

/// What can happen to an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// The request arrives late, perhaps after others.
    Late,
    /// The request arrives twice.
    Twice,
    /// The request meets this.
    Request(Meets),
    /// The answer meets this: the server has done its work.
    Answer(Meets),
}

/// What half an exchange can meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meets {
    /// It vanishes.
    Silence,
    /// A box that answers in its place.
    Box,
    /// The connection's end.
    Cut,
    /// The same, and what came looks whole.
    CutClean,
    /// A bit is flipped.
    Flip,
}

impl Harm {
    /// Every kind.
    pub const ALL: [Harm; 12] = [
        Harm::Late,
        Harm::Twice,
        Harm::Request(Meets::Silence),
        Harm::Request(Meets::Box),
        Harm::Request(Meets::Cut),
        Harm::Request(Meets::CutClean),
        Harm::Request(Meets::Flip),
        Harm::Answer(Meets::Silence),
        Harm::Answer(Meets::Box),
        Harm::Answer(Meets::Cut),
        Harm::Answer(Meets::CutClean),
        Harm::Answer(Meets::Flip),
    ];

    /// The same in the network's words.
    pub(super) fn fault(self, rng: &mut Rng) -> Fault {
        match self {
            Harm::Late => Fault::late(rng.below(200 * MS)),
            Harm::Twice => Fault::twice(rng.below(20 * MS), rng.percent(50)),
            Harm::Request(meets) => Fault::request(meets.fate(rng)),
            Harm::Answer(meets) => Fault::response(meets.fate(rng)),
        }
    }
}

impl Meets {
    fn fate(self, rng: &mut Rng) -> Fate {
        match self {
            Meets::Silence => Fate::Lose,
            Meets::Box => Fate::Fail(Failure::Middlebox { status: 502 }),
            Meets::Cut => Fate::Fail(Failure::Cut),
            Meets::CutClean => Fate::Cut(rng.below(1000)),
            Meets::Flip => Fate::Corrupt(rng.below(1000)),
        }
    }
}
