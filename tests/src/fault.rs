//! What can happen to an exchange on its way, and the rules that decide it.

use bytes::Bytes;
use posthole_protocol::Failure;

/// What a rule is told about an exchange as its request leaves.
#[derive(Clone, Copy, Debug)]
pub struct ExchangeInfo {
    /// How many exchanges the network has seen before this one.
    pub nth: u64,
    /// Which client.
    pub client: usize,
    /// The client's number for it.
    pub exchange: u64,
    /// When, in microseconds.
    pub now: u64,
    /// Bytes of the request's body.
    pub size: usize,
    /// Numbered messages in it.
    pub messages: u64,
}

/// What a rule is told about an answer as it leaves.
#[derive(Clone, Copy, Debug)]
pub struct AnswerInfo {
    /// How many answers the network has seen before this one.
    pub nth: u64,
    /// Which client it goes to.
    pub client: usize,
    /// The exchange.
    pub exchange: u64,
    /// When, in microseconds.
    pub now: u64,
    /// Bytes of the body.
    pub size: usize,
    /// Numbered messages in it.
    pub messages: u64,
}

/// What becomes of one half of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives as it is.
    Pass,
    /// It vanishes; nobody is told.
    Lose,
    /// It does not arrive, and the client is told this.
    Fail(Failure),
    /// Only so many thousandths of the body arrive, in a message that HTTP takes for whole.
    Cut(u64),
    /// One bit of the byte at so many thousandths of the body is changed.
    Corrupt(u64),
}

impl Fate {
    /// What arrives of `body`, if anything does.
    pub(crate) fn apply(self, body: &Bytes) -> Option<Bytes> {
        let at = |thousandths: u64| (body.len() as u64 * thousandths.min(999) / 1000) as usize;
        match self {
            Fate::Pass => Some(body.clone()),
            Fate::Lose | Fate::Fail(_) => None,
            Fate::Cut(thousandths) => Some(body.slice(..at(thousandths))),
            Fate::Corrupt(thousandths) => {
                let mut bytes = body.to_vec();
                let bit = 1 << (thousandths % 8);
                if let Some(byte) = bytes.get_mut(at(thousandths)) {
                    *byte ^= bit;
                }
                Some(bytes.into())
            }
        }
    }
}

/// A second delivery of the same request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duplicate {
    /// How long after the first.
    pub after: u64,
    /// Whether the client gets the answer to the second copy, not to the first.
    pub second_wins: bool,
}

/// What becomes of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The request's fate.
    pub request: Fate,
    /// The answer's fate.
    pub response: Fate,
    /// Extra delay of the request: how exchanges overtake one another.
    pub request_delay: u64,
    /// Extra delay of the answer: a box that holds it back.
    pub response_delay: u64,
    /// Whether the request is delivered twice.
    pub duplicate: Option<Duplicate>,
    /// Which server the request reaches.
    pub host: usize,
}

impl Fault {
    /// None: everything arrives.
    pub const NONE: Fault = Fault {
        request: Fate::Pass,
        response: Fate::Pass,
        request_delay: 0,
        response_delay: 0,
        duplicate: None,
        host: 0,
    };

    /// The request meets this fate.
    pub const fn request(fate: Fate) -> Fault {
        Fault {
            request: fate,
            ..Fault::NONE
        }
    }

    /// The answer meets this fate: the server has done its work.
    pub const fn response(fate: Fate) -> Fault {
        Fault {
            response: fate,
            ..Fault::NONE
        }
    }

    /// The request arrives twice.
    pub const fn twice(after: u64, second_wins: bool) -> Fault {
        Fault {
            duplicate: Some(Duplicate { after, second_wins }),
            ..Fault::NONE
        }
    }

    /// The request arrives so much later.
    pub const fn late(by: u64) -> Fault {
        Fault {
            request_delay: by,
            ..Fault::NONE
        }
    }

    /// The request reaches this server.
    pub const fn to(host: usize) -> Fault {
        Fault {
            host,
            ..Fault::NONE
        }
    }
}

/// A time in which nothing gets through.
#[derive(Clone, Copy, Debug)]
pub struct Outage {
    /// From when.
    pub from: u64,
    /// Until when.
    pub until: u64,
    /// What requests meet, and what answers meet. `Fate::Lose` for silence.
    pub fate: Fate,
}

/// Decides what becomes of an exchange.
pub type Rule = Box<dyn FnMut(&ExchangeInfo) -> Fault + Send>;
/// Decides what becomes of an answer that its exchange's rule let pass.
pub type AnswerRule = Box<dyn FnMut(&AnswerInfo) -> Fate + Send>;
