//! As many bytes as go in a time.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::time::Instant;

use super::super::far::{Ask, STALL, read_verdict};
use super::super::stream;
use super::super::system::Tunnel;
use super::{Extent, Failed, Meter, Sample, ask, at_once};

/// Which way they go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Up,
    Down,
}

/// The rate until the last byte has arrived, and processor seconds per GB.
pub(super) fn run(
    tunnel: &Tunnel,
    way: Way,
    connections: u64,
    extent: Extent,
) -> Result<Sample, Failed> {
    let meter = Meter::start(tunnel);
    let began = Instant::now();
    let entry = tunnel.entry;
    let counts = at_once(connections, |number| {
        let own = Extent {
            seed: extent.seed.wrapping_add(number),
            ..extent
        };
        match way {
            Way::Up => up(entry, own),
            Way::Down => down(entry, own, || {}),
        }
    })?;
    let bytes = counts.iter().sum::<u64>() as f64;
    Ok(Sample {
        figure: Some(bytes / 1e6 / began.elapsed().as_secs_f64()),
        processor: meter.each(bytes / 1e9),
        ..Sample::default()
    })
}

fn up(entry: SocketAddr, extent: Extent) -> Result<u64, Failed> {
    let connection = ask(entry, Ask::Up { seed: extent.seed }, &[])?;
    let until = Instant::now() + extent.time;
    let sent = stream::send(&connection, extent.seed, || Instant::now() < until)?;
    connection.shutdown(Shutdown::Write)?;
    match read_verdict(&connection)? {
        (true, count) if count == sent => Ok(sent),
        _ => Err(Failed("the far end did not get what was sent".into())),
    }
}

/// `more` is called whenever something has come.
pub(super) fn down(
    entry: SocketAddr,
    extent: Extent,
    mut more: impl FnMut(),
) -> Result<u64, Failed> {
    let wish = Ask::Down {
        seed: extent.seed,
        time: extent.time,
    };
    let connection = ask(entry, wish, &[])?;
    // What is on its way when the far end stops still comes, but not for ever.
    let until = Instant::now() + extent.time + STALL;
    let count = stream::receive(&connection, extent.seed, || {
        more();
        if Instant::now() < until {
            Ok(())
        } else {
            Err(io::Error::other("it goes on long after its end"))
        }
    })?;
    Ok(count)
}
