//! What an HTTP server is to answer a request with.

use bytes::Bytes;
use posthole_protocol::Reject;
use posthole_protocol::wire::Chain;

/// What to answer a request with.
///
/// Around it stand the headers that [`http`](posthole_protocol::http) names: `ANSWER_HEADERS`, `EXCHANGE` with
/// [`exchange`](Reply::exchange) in decimal digits, and the body's length.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status; 200 for everything that posthole says.
    pub status: u16,
    /// The number of the exchange, echoed in a header so that a client can tell a misrouted answer early.
    pub exchange: Option<u64>,
    /// The body.
    pub body: Chain,
}

impl Reply {
    /// An answer of the session's.
    pub(crate) fn to(exchange: u64, body: Chain) -> Reply {
        Reply {
            status: 200,
            exchange: Some(exchange),
            body,
        }
    }

    /// What a client takes for a lost exchange.
    pub fn unavailable() -> Reply {
        Reply {
            status: 503,
            exchange: None,
            body: Chain::default(),
        }
    }

    /// To a stranger: a word for a person.
    pub(crate) fn not_ours() -> Reply {
        Reply {
            status: 400,
            exchange: None,
            body: Bytes::from_static(b"only posthole's requests are served here\n").into(),
        }
    }
}

impl From<Reject> for Reply {
    fn from(reject: Reject) -> Reply {
        Reply::to(reject.exchange(), reject.body())
    }
}
