//! Direct connections beside exchanges: a session moves between them in mid-stream (S11, A8, A22, D10).

mod machines;
mod sessions;

use posthole_protocol::{Client, Duration, ExchangeId, Instant, SessionId};
use posthole_tests::craft::FakeServer;
use posthole_tests::pair::Pair;
use posthole_tests::settings;

/// A client that knows where to dial, and a path on which that works.
fn pair(seed: u64) -> Pair {
    let mut pair = Pair::many(seed, 1, settings::tuned(), settings::direct());
    pair.net.direct.allowed = Some(true);
    knows(&mut pair);
    pair
}

fn knows(pair: &mut Pair) {
    let now = Instant::from_micros(pair.now);
    let head_start = Duration::from_millis(300);
    pair.client().machine.knows_direct(now, head_start);
}

/// A client that has been told where to connect.
fn alone(now: Instant) -> Client {
    let id = SessionId::from_bytes([9; 16]);
    let mut client = Client::new(settings::tuned(), id, now);
    client.knows_direct(now, Duration::from_millis(300));
    client
}

/// Makes a direct connection.
fn connect(fake: &mut FakeServer) -> ExchangeId {
    let now = Instant::from_micros(fake.now);
    fake.client.knows_direct(now, Duration::ZERO);
    assert!(fake.client.poll_dial().is_some());
    fake.client.feed_dialled(now).expect("it is wanted")
}

fn exchanges(pair: &Pair) -> u64 {
    pair.clients[0].machine.stats().exchanges
}
