//! posthole's fuzz targets: one plain function each, which takes any bytes and panics if a promise is broken.
//!
//! `fuzz_targets/` hands them to libFuzzer, `tests/replay.rs` to `cargo test`; see README.md.
#![forbid(unsafe_code)]

mod dice;
mod http;
mod paths;
mod roles;
mod wire;

pub use http::{frames, http_head, http_way};
pub use paths::{adversary, paths};
pub use roles::{client, server};
pub use wire::wire_decode;

use dice::Dice;
use posthole_protocol::http::{EXCHANGE, MARKER, Verdict, verdict};
use posthole_tests::chaos::{self, Op, Weather};

/// Two machines in virtual time: the bytes say how bad the path is and what the applications do. L1 to L6 hold, and
/// after the network has healed everything is delivered.
pub fn pair(data: &[u8]) {
    let mut dice = Dice::new(data);
    let weather = Weather {
        seed: u64::from(dice.word()),
        percent: dice.below(70),
        jitter: dice.below(4) * 60_000,
        rate: (dice.below(4) == 0).then(|| 30_000 + u64::from(dice.word()) * 30),
        hangups: dice.coin(),
        classic: dice.below(8) == 0,
        ..Weather::fair(0)
    };
    let mut ops = Vec::new();
    while !dice.is_empty() && ops.len() < 30 {
        ops.push(op(&mut dice));
    }
    chaos::run(&weather, &ops);
}

fn op(dice: &mut Dice) -> Op {
    let server = dice.coin();
    match dice.below(12) {
        0..4 => Op::Open {
            server,
            send: u64::from(dice.word()),
            chunk: usize::from(dice.word()) / 4 + 1,
            pace: dice.below(30) * 1_000,
            slow: dice.coin(),
        },
        4 => Op::Reset {
            server,
            which: dice.below(8) as usize,
        },
        5 => Op::Stop {
            server,
            which: dice.below(8) as usize,
        },
        6 => Op::Kill,
        7 => Op::Silence {
            micros: dice.below(80) * 100_000,
        },
        _ => Op::Pass {
            micros: u64::from(dice.word()) * 30,
        },
    }
}

/// Any answer of any box: judged without a panic, ours only if it can be, and what is said of others is short and
/// printable.
pub fn http_verdict(data: &[u8]) {
    let mut dice = Dice::new(data);
    let status = match dice.below(4) {
        0 | 1 => 200,
        2 => 400 + dice.below(120) as u16,
        _ => dice.word(),
    };
    let exchange = dice.below(4);
    let names = [
        "Server",
        "Via",
        "X-Squid-Error",
        "Location",
        "Content-Type",
        MARKER.0,
        EXCHANGE,
    ];
    let headers: Vec<(&str, String)> = (0..dice.below(8))
        .map(|_| {
            let name = names[dice.below(names.len() as u64) as usize];
            let value = match dice.below(4) {
                0 => MARKER.1.to_owned(),
                1 => exchange.to_string(),
                _ => {
                    let len = dice.below(60) as usize;
                    String::from_utf8_lossy(dice.bytes(len)).into_owned()
                }
            };
            (name, value)
        })
        .collect();
    let find = |wanted: &str| {
        let found = headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.as_str())
    };
    let body = dice.rest();
    match verdict(status, find, exchange, body) {
        Verdict::Ours => assert!(
            status == 200 && !body.is_empty(),
            "{status} with {} bytes is ours",
            body.len()
        ),
        Verdict::NotOurs { who, .. } => {
            assert!(who.len() < 4_000, "{} bytes about a box", who.len());
            assert!(!who.chars().any(char::is_control), "not printable: {who:?}");
        }
    }
}
