//! What a side says of itself in the first exchange.

use super::codec::{self, Put};
use super::varint;
use crate::id::{Instance, SessionId};

/// What a side says of itself at the opening (PROTOCOL §3.5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Params {
    /// How many streams the receiver of this may open at first.
    pub streams: u64,
    /// Lowest and highest version spoken.
    pub versions: Option<(u8, u8)>,
    /// Microseconds for which this side may owe an acknowledgement.
    pub ack_delay: Option<u64>,
    /// Microseconds of silence after which this side ends the session.
    pub idle: Option<u64>,
    /// The server's instance.
    pub instance: Option<Instance>,
    /// The largest body that the server reads.
    pub body_max: Option<u64>,
    /// The session that this one replaces.
    pub replaces: Option<SessionId>,
    /// The port on which the server takes direct connections.
    pub direct: Option<u64>,
    /// A client's that tries what answers come through: they are filled up to the largest wanted, if this is 1.
    pub pad: Option<u64>,
}

/// The most parameters that an opening has.
const MAX_PARAMS: usize = 32;

const STREAMS: u64 = 1;
const VERSIONS: u64 = 2;
const ACK_DELAY: u64 = 3;
const IDLE: u64 = 4;
const INSTANCE: u64 = 5;
const BODY_MAX: u64 = 6;
const REPLACES: u64 = 7;
const DIRECT: u64 = 8;
const PAD: u64 = 9;

/// What a parameter holds.
#[derive(Clone, Copy)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl Params {
    pub(super) fn put(&self, out: &mut impl Put) {
        let versions = self.versions.map(|(lowest, highest)| [lowest, highest]);
        let instance = self.instance.map(|instance| instance.0.to_be_bytes());
        let streams = Some(self.streams).filter(|streams| *streams != 0);
        let all = [
            (STREAMS, streams.map(Value::Number)),
            (VERSIONS, versions.as_ref().map(|it| Value::Bytes(it))),
            (ACK_DELAY, self.ack_delay.map(Value::Number)),
            (IDLE, self.idle.map(Value::Number)),
            (INSTANCE, instance.as_ref().map(|it| Value::Bytes(it))),
            (BODY_MAX, self.body_max.map(Value::Number)),
            (
                REPLACES,
                self.replaces.as_ref().map(|it| Value::Bytes(it.as_bytes())),
            ),
            (DIRECT, self.direct.map(Value::Number)),
            (PAD, self.pad.map(Value::Number)),
        ];
        let given = all.into_iter().filter_map(|(id, value)| Some((id, value?)));
        out.varint(given.clone().count() as u64);
        for (id, value) in given {
            out.varint(id);
            match value {
                Value::Number(number) => {
                    out.varint(varint::len(number) as u64);
                    out.varint(number);
                }
                Value::Bytes(bytes) => {
                    out.varint(bytes.len() as u64);
                    out.slice(bytes);
                }
            }
        }
    }

    pub(super) fn get(from: &mut &[u8]) -> Option<Params> {
        let count = codec::count(from, MAX_PARAMS, 2)?;
        let mut params = Params::default();
        let mut seen = [None; MAX_PARAMS];
        for slot in 0..count {
            let id = varint::get(from)?;
            // "Each id at most once", those that are not known too.
            if seen.contains(&Some(id)) {
                return None;
            }
            *seen.get_mut(slot)? = Some(id);
            let len = varint::get(from)?;
            let mut value = codec::take(from, len)?;
            let value = &mut value;
            match id {
                STREAMS => params.streams = varint::get(value)?,
                VERSIONS => {
                    params.versions = Some(codec::array(value).map(|[low, high]| (low, high))?)
                }
                ACK_DELAY => params.ack_delay = Some(varint::get(value)?),
                IDLE => params.idle = Some(varint::get(value)?),
                INSTANCE => {
                    params.instance = Some(Instance(u64::from_be_bytes(codec::array(value)?)))
                }
                BODY_MAX => params.body_max = Some(varint::get(value)?),
                DIRECT => params.direct = Some(varint::get(value)?),
                PAD => params.pad = Some(varint::get(value)?),
                REPLACES => params.replaces = Some(SessionId::from_bytes(codec::array(value)?)),
                _ => *value = &[],
            }
            if !value.is_empty() {
                return None;
            }
        }
        Some(params)
    }
}
