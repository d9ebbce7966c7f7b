//! Pairs on stranger paths: every carrier and box, and somebody between who says again what was said.

use crate::dice::Dice;
use crate::op;
use bytes::Bytes;
use posthole_protocol::Carrier;
use posthole_tests::app::Script;
use posthole_tests::chaos::{self, Op, Weather};
use posthole_tests::pair::Pair;

/// As [`pair`](crate::pair), over every carrier, through boxes that limit, queue, hold back and refuse, with machines that
/// sleep.
pub fn paths(data: &[u8]) {
    let mut dice = Dice::new(data);
    let carrier = [
        Carrier::Auto,
        Carrier::Streamed,
        Carrier::Auto,
        Carrier::Exchange,
    ];
    let weather = Weather {
        seed: u64::from(dice.word()),
        percent: dice.below(60),
        jitter: dice.below(4) * 50_000,
        rate: (dice.below(4) == 0).then(|| 50_000 + u64::from(dice.word()) * 30),
        hangups: dice.coin(),
        classic: dice.below(16) == 0,
        carrier: carrier[dice.below(4) as usize],
        direct: [Some(false), Some(true), None][dice.below(3) as usize],
        streams: dice.coin(),
        limit: (dice.below(4) == 0).then(|| 40_000 + usize::from(dice.word()) * 4),
        lanes: (dice.below(6) == 0).then(|| 1 + dice.below(3) as usize),
        hold: (dice.below(6) == 0).then(|| 3_000_000 + u64::from(dice.word()) * 250),
        delay: [25_000, 1_000, 300_000, u64::from(dice.word())][dice.below(4) as usize],
        knows: dice.coin(),
        requests: (dice.below(4) == 0).then(|| 1 + dice.below(12) as u8),
        pool: (dice.below(4) == 0).then(|| 65_536 + u64::from(dice.word()) * 16),
    };
    let mut ops = Vec::new();
    while !dice.is_empty() && ops.len() < 30 {
        ops.push(match dice.below(16) {
            0 => Op::CutWires,
            1 => Op::Swallow,
            2 => Op::Forms,
            3 => Op::Sleep {
                server: dice.coin(),
                micros: u64::from(dice.word()) * 600,
            },
            _ => op(&mut dice),
        });
    }
    chaos::run(&weather, &ops);
}

/// Two machines, and somebody between who gives both what was said before: again, cut off, with bits flipped, or joined to
/// something else. The session lives on, and every byte arrives once.
pub fn adversary(data: &[u8]) {
    let mut dice = Dice::new(data);
    let mut pair = Pair::new(u64::from(dice.word()));
    pair.net.record = Some(Default::default());
    // What goes to somebody who never asked counts as sent.
    pair.net.tally.excused = 1_000;
    pair.serve(Script::paced(20_000, 2_000, 20_000));
    pair.client().play(Script::paced(20_000, 2_000, 20_000));
    for _ in 0..60 {
        if dice.is_empty() {
            break;
        }
        pair.run_for(u64::from(dice.word()) * 4);
        let Some(record) = &pair.net.record else {
            return;
        };
        if dice.coin() {
            let bodies = record.requests.iter().map(|(_, body)| body);
            let body = again(&mut dice, &bodies.collect::<Vec<_>>());
            pair.inject(0, body);
        } else {
            let bodies = record.answers.iter().map(|(_, _, body)| body);
            let body = again(&mut dice, &bodies.collect::<Vec<_>>());
            let newest = record.requests.len() as u64;
            let exchange = newest.saturating_sub(1 + dice.below(6));
            pair.misdeliver(0, exchange, body);
        }
    }
    pair.run_to_end(600_000_000);
}

/// Something that was said, or what became of it.
fn again(dice: &mut Dice<'_>, said: &[&Bytes]) -> Bytes {
    let pick = |dice: &mut Dice<'_>| {
        let back = usize::from(dice.byte()) % said.len().max(1);
        said.iter()
            .rev()
            .nth(back)
            .map_or_else(Bytes::new, |body| Bytes::clone(body))
    };
    let body = pick(dice);
    match dice.below(4) {
        0 => body,
        1 => body.slice(..body.len() * usize::from(dice.byte()) / 256),
        2 => {
            let mut flipped = body.to_vec();
            let at = usize::from(dice.word()) % flipped.len().max(1);
            let bit = dice.below(8);
            if let Some(byte) = flipped.get_mut(at) {
                *byte ^= 1 << bit;
            }
            flipped.into()
        }
        _ => [body, pick(dice)].concat().into(),
    }
}
