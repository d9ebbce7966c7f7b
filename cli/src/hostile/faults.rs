//! What can go wrong with one exchange, and how often it does.

use std::fmt;
use std::time::Duration;

use crate::random::Random;

/// One kind of harm, done to one exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request is passed on late.
    Delay,
    /// The request is passed on after the next one, or half a second late if none comes.
    Reorder,
    /// The request vanishes: no answer, and the connection stays open.
    LoseRequest,
    /// The server works on the request and its answer vanishes; the connection stays open.
    LoseResponse,
    /// A 502 with a page of HTML; the server never saw the request.
    ErrorBefore,
    /// The same, and the server did see it.
    ErrorAfter,
    /// The server gets the request twice, at the same time.
    Double,
    /// The answer ends in the middle although its status is 200 and its length says otherwise.
    Cut,
    /// The same, with a length that makes the half look whole.
    CutClean,
    /// A bit of the request's body is flipped.
    CorruptRequest,
    /// A bit of the answer's body is flipped.
    CorruptResponse,
    /// The connection is reset instead of passing the request on.
    ResetBefore,
    /// The connection is reset in the middle of the answer.
    ResetAfter,
}

impl Fault {
    /// Every kind; the order is that of [`Counts::faults`](super::Counts::faults).
    pub const ALL: [Fault; 13] = [
        Fault::Delay,
        Fault::Reorder,
        Fault::LoseRequest,
        Fault::LoseResponse,
        Fault::ErrorBefore,
        Fault::ErrorAfter,
        Fault::Double,
        Fault::Cut,
        Fault::CutClean,
        Fault::CorruptRequest,
        Fault::CorruptResponse,
        Fault::ResetBefore,
        Fault::ResetAfter,
    ];

    pub(super) fn index(self) -> usize {
        Fault::ALL
            .iter()
            .position(|f| *f == self)
            .expect("every fault is in ALL; a test checks it")
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Fault::Delay => "delayed",
            Fault::Reorder => "reordered",
            Fault::LoseRequest => "request lost",
            Fault::LoseResponse => "response lost",
            Fault::ErrorBefore => "502 instead of passing on",
            Fault::ErrorAfter => "502 instead of the answer",
            Fault::Double => "delivered twice",
            Fault::Cut => "cut in the middle",
            Fault::CutClean => "cut to look whole",
            Fault::CorruptRequest => "request corrupted",
            Fault::CorruptResponse => "response corrupted",
            Fault::ResetBefore => "reset before passing on",
            Fault::ResetAfter => "reset in the answer",
        })
    }
}

/// Which faults happen, and to how many exchanges.
#[derive(Clone, Debug)]
pub struct Faults {
    /// To how many of a hundred exchanges one happens.
    pub percent: f64,
    /// The kinds, each as likely as the others. None: nothing happens.
    pub kinds: Vec<Fault>,
    /// The longest [`Fault::Delay`]; the shortest is a tenth of it.
    pub delay: Duration,
}

impl Faults {
    /// All kinds, to this many of a hundred exchanges, with delays of up to half a second.
    pub fn all(percent: f64) -> Faults {
        Faults {
            percent,
            kinds: Fault::ALL.to_vec(),
            delay: Duration::from_millis(500),
        }
    }

    /// One kind, to this many of a hundred exchanges.
    pub fn only(fault: Fault, percent: f64) -> Faults {
        Faults {
            kinds: vec![fault],
            ..Faults::all(percent)
        }
    }

    /// A proxy as it should be.
    pub fn none() -> Faults {
        Faults {
            kinds: Vec::new(),
            ..Faults::all(0.0)
        }
    }

    /// What happens to one exchange: the same for the same seed and number.
    pub(super) fn draw(&self, seed: u64, number: u64) -> Harm {
        let mut random = Random::new(seed ^ number.wrapping_mul(0xd6e8_feb8_6659_fd93));
        let happens = random.chance(self.percent);
        let kind = random.below(self.kinds.len() as u64);
        let fault = if happens {
            self.kinds.get(usize::try_from(kind).unwrap_or(0)).copied()
        } else {
            None
        };
        let late = self.delay / 10 + self.delay.mul_f64(0.9 * random.below(1000) as f64 / 1000.0);
        Harm {
            fault,
            late,
            place: random.next_u64(),
        }
    }
}

/// One draw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Harm {
    pub(super) fault: Option<Fault>,
    /// How late a delayed request is.
    pub(super) late: Duration,
    /// Where in a body it happens, to be taken modulo its length.
    pub(super) place: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_its_place() {
        for (i, fault) in Fault::ALL.into_iter().enumerate() {
            assert_eq!(fault.index(), i);
        }
    }

    #[test]
    fn draws_depend_on_seed_and_number_alone_and_come_at_the_rate() {
        let faults = Faults::all(10.0);
        let draw = |seed| (0..5000).map(|n| faults.draw(seed, n)).collect::<Vec<_>>();
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let harmed: Vec<_> = draw(3).into_iter().filter_map(|h| h.fault).collect();
        assert!((400..600).contains(&harmed.len()), "{}", harmed.len());
        for kind in Fault::ALL {
            assert!(harmed.contains(&kind), "{kind} never came");
        }
        assert!((0..100).all(|n| Faults::none().draw(1, n).fault.is_none()));
        assert!(
            (0..100).all(|n| Faults::only(Fault::Cut, 100.0).draw(1, n).fault == Some(Fault::Cut))
        );
    }

    #[test]
    fn delays_keep_their_bounds() {
        let faults = Faults::all(10.0);
        for n in 0..1000 {
            let late = faults.draw(1, n).late;
            assert!(
                late >= faults.delay / 10 && late <= faults.delay,
                "{late:?}"
            );
        }
    }
}
