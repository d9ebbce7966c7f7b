//! So many turns of one load over two machines, to be counted by callgrind: `cost bulk|ping TURNS`. Says how many messages and
//! bytes that were. See tests/tests/instructions.rs.

use posthole_tests::talk::{BULK, PING, Talk};

fn main() {
    let mut args = std::env::args().skip(1);
    let (load, turns) = (args.next(), args.next());
    let turn = if load.as_deref() == Some("ping") {
        PING
    } else {
        BULK
    };
    let turns = turns.and_then(|it| it.parse().ok()).unwrap_or(100);
    let mut talk = Talk::new(|what| {
        what();
        0
    });
    let Ok(id) = talk.client.open() else { return };
    for _ in 0..turns {
        turn(&mut talk, id);
    }
    let stats = talk.client.stats();
    println!("{} {}", talk.messages(), stats.bytes_out + stats.bytes_in);
}
