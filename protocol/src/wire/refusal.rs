//! What stands in a bundle that is not the session's own (§3.7).

use super::codec::{Put, array};
use super::varint;
use crate::id::Instance;

/// What a server says of a session from outside it (PROTOCOL §3.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The id is unknown.
    Gone(Instance),
    /// No room; try again after so many milliseconds.
    Busy(u64),
    /// The request could not be read.
    Unreadable,
    /// The request's version is none of these.
    Version(u8, u8),
    /// The session has ended in order; everything below this number was delivered.
    Ended(u64),
}

const GONE: u64 = 1;
const BUSY: u64 = 2;
const UNREADABLE: u64 = 3;
const VERSION: u64 = 4;
const ENDED: u64 = 5;

impl Refusal {
    pub(super) fn put(&self, out: &mut impl Put) {
        match *self {
            Refusal::Gone(instance) => {
                out.varint(GONE);
                out.slice(&instance.0.to_be_bytes());
            }
            Refusal::Busy(milliseconds) => {
                out.varint(BUSY);
                out.varint(milliseconds);
            }
            Refusal::Unreadable => out.varint(UNREADABLE),
            Refusal::Version(lowest, highest) => {
                out.varint(VERSION);
                out.slice(&[lowest, highest]);
            }
            Refusal::Ended(next) => {
                out.varint(ENDED);
                out.varint(next);
            }
        }
    }

    pub(super) fn get(from: &mut &[u8]) -> Option<Refusal> {
        Some(match varint::get(from)? {
            GONE => Refusal::Gone(Instance(u64::from_be_bytes(array(from)?))),
            BUSY => Refusal::Busy(varint::get(from)?),
            UNREADABLE => Refusal::Unreadable,
            VERSION => {
                let [lowest, highest] = array(from)?;
                Refusal::Version(lowest, highest)
            }
            ENDED => Refusal::Ended(varint::get(from)?),
            _ => return None,
        })
    }
}
